/**
 * libuv of this thread, by ffi: how a dispatcher owns the blocking wait and still gives Node its turn.
 *
 * A `uv_check` callback runs the dispatcher's turn. An always-active `uv_idle` keeps libuv's own poll from sleeping. While the
 * dispatcher sleeps, `backendFd` tells when Node has something to do (messages, finished file I/O, sockets), `backendTimeoutMs` when
 * its next timer is due.
 *
 * Handles made here must be closed before the thread ends (`close`); a thread killed with a live one takes the process down.
 */
import ffi from 'node:ffi';
import { NativeMemory } from './memory.ts';

const uv = ffi.dlopen(null, {
  uv_backend_fd: { arguments: ['pointer'], return: 'int32' },
  uv_backend_timeout: { arguments: ['pointer'], return: 'int32' },
  uv_update_time: { arguments: ['pointer'], return: 'void' },
  uv_check_init: { arguments: ['pointer', 'pointer'], return: 'int32' },
  uv_check_start: { arguments: ['pointer', 'pointer'], return: 'int32' },
  uv_check_stop: { arguments: ['pointer'], return: 'int32' },
  uv_idle_init: { arguments: ['pointer', 'pointer'], return: 'int32' },
  uv_idle_start: { arguments: ['pointer', 'pointer'], return: 'int32' },
  uv_idle_stop: { arguments: ['pointer'], return: 'int32' },
  uv_close: { arguments: ['pointer', 'pointer'], return: 'void' },
  // A C function that is harmless when called as an idle callback.
  getppid: { arguments: [], return: 'int32' },
});

/** Words of uv_loop_t. */
const BACKEND_FD = 16;
const PENDING_QUEUE = 18;
const WATCHER_QUEUE = 22;
const LOOP_BYTES = 128;

export class UvLoopHook {
  readonly backendFd: number;
  private readonly loop: bigint;
  private readonly handles = NativeMemory.map(4096);
  private readonly check: bigint;
  private readonly idle: bigint;
  private readonly doNothing: bigint;
  private readonly onExit = (): void => this.close();
  /** The start of uv_loop_t (uv.h, uv/unix.h: the same in all of libuv 1); null when this is another one. */
  private readonly words: Uint32Array | null;
  private callback: bigint | null = null;
  private closed = false;
  /** Low words of the addresses that the two queues have in themselves when they are empty. */
  private readonly emptyPending: number;
  private readonly emptyWatchers: number;

  constructor() {
    const loop = ffi.getCurrentEventLoop();
    if (loop === null || loop === undefined) throw new Error('no libuv loop on this thread');
    this.loop = loop as bigint;
    this.check = this.handles.pointer;
    this.idle = this.handles.pointer + 1024n;
    this.doNothing = uv.lib.getSymbol('getppid');
    this.backendFd = uv.functions.uv_backend_fd(this.loop);
    const words = new Uint32Array(ffi.toArrayBuffer(this.loop, LOOP_BYTES, false));
    this.words = words[BACKEND_FD] === this.backendFd && words[PENDING_QUEUE] !== 0 && words[WATCHER_QUEUE] !== 0 ? words : null;
    this.emptyPending = Number(BigInt.asUintN(32, this.loop + BigInt(PENDING_QUEUE * 4)));
    this.emptyWatchers = Number(BigInt.asUintN(32, this.loop + BigInt(WATCHER_QUEUE * 4)));
    uv.functions.uv_check_init(this.loop, this.check);
    uv.functions.uv_idle_init(this.loop, this.idle);
  }

  /** Runs `turn` once per iteration of the loop. It must not throw. */
  start(turn: () => void): void {
    this.callback = uv.lib.registerCallback(turn);
    uv.functions.uv_check_start(this.check, this.callback);
    uv.functions.uv_idle_start(this.idle, this.doNothing);
    process.once('exit', this.onExit);
  }

  /** Since the loop's last iteration nobody has started to watch a descriptor, which only an iteration tells the kernel. False: not known. */
  get nothingToRegister(): boolean {
    const { words } = this;
    return words !== null && words[PENDING_QUEUE] === this.emptyPending && words[WATCHER_QUEUE] === this.emptyWatchers;
  }

  /** How long Node's loop would sleep if it were asked now, in ms; -1: for ever. */
  nodeTimeoutMs(): number {
    uv.functions.uv_idle_stop(this.idle);
    uv.functions.uv_update_time(this.loop);
    const timeout = uv.functions.uv_backend_timeout(this.loop);
    uv.functions.uv_idle_start(this.idle, this.doNothing);
    return timeout;
  }

  /** Stops and closes both handles. Idempotent. Not from inside the turn's own callback. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    process.removeListener('exit', this.onExit);
    uv.functions.uv_check_stop(this.check);
    uv.functions.uv_idle_stop(this.idle);
    uv.functions.uv_close(this.check, 0n);
    uv.functions.uv_close(this.idle, 0n);
  }
}
