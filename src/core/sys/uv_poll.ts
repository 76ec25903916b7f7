/**
 * uv_poll on a descriptor that Node knows nothing of. libuv calls the ffi callback on the loop's thread; it must not throw and
 * microtasks are not drained after it, so it does nothing but schedule one `setImmediate`.
 *
 * Handles must be closed before their thread ends: `process.on('exit')` of the thread closes what is left. The memory of a handle
 * is never unmapped (libuv touches it once more after `uv_close`).
 */
import ffi from 'node:ffi';
import { SysError } from './libc.ts';
import { NativeMemory } from './memory.ts';

const UV_READABLE = 1;
const UV_DISCONNECT = 4;
const HANDLE_BYTES = 512;

const uv = ffi.dlopen(null, {
  uv_poll_init: { arguments: ['pointer', 'pointer', 'int32'], return: 'int32' },
  uv_poll_start: { arguments: ['pointer', 'int32', 'pointer'], return: 'int32' },
  uv_poll_stop: { arguments: ['pointer'], return: 'int32' },
  uv_close: { arguments: ['pointer', 'pointer'], return: 'void' },
  uv_ref: { arguments: ['pointer'], return: 'void' },
  uv_unref: { arguments: ['pointer'], return: 'void' },
  uv_handle_size: { arguments: ['int32'], return: 'uint64' },
});

const UV_POLL_TYPE = 8;
const open = new Set<UvPoll>();
let exitHooked = false;

/** Runs `callback` in the loop's check phase whenever `fd` is readable (or hung up), until `close`. Level triggered. */
export class UvPoll {
  private readonly handle: bigint;
  private readonly trampoline: bigint;
  private readonly callback: () => void;
  private readonly run = (): void => {
    this.scheduled = false;
    if (this.closed) return;
    this.callback();
  };
  private scheduled = false;
  private closed = false;

  constructor(fd: number, callback: () => void) {
    this.callback = callback;
    this.handle = allocateHandle();
    this.trampoline = uv.lib.registerCallback({ arguments: ['pointer', 'int32', 'int32'], return: 'void' }, () => {
      if (this.scheduled || this.closed) return;
      this.scheduled = true;
      setImmediate(this.run);
    });
    const loop = ffi.getCurrentEventLoop() as bigint;
    const result = uv.functions.uv_poll_init(loop, this.handle, fd);
    if (result < 0) throw new SysError('uv_poll_init', -result);
    open.add(this);
    if (!exitHooked) {
      exitHooked = true;
      process.on('exit', closeAll);
    }
    this.start();
  }

  /** Keeps the event loop alive. */
  ref(): void {
    if (!this.closed) uv.functions.uv_ref(this.handle);
  }

  unref(): void {
    if (!this.closed) uv.functions.uv_unref(this.handle);
  }

  /** Idempotent. The descriptor stays open and may be closed right after. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    open.delete(this);
    uv.functions.uv_poll_stop(this.handle);
    uv.functions.uv_close(this.handle, 0n);
  }

  private start(): void {
    const result = uv.functions.uv_poll_start(this.handle, UV_READABLE | UV_DISCONNECT, this.trampoline);
    if (result < 0) throw new SysError('uv_poll_start', -result);
  }
}

function closeAll(): void {
  for (const handle of open) handle.close();
}

let page: NativeMemory | null = null;
let pageUsed = 0;

function allocateHandle(): bigint {
  if (Number(uv.functions.uv_handle_size(UV_POLL_TYPE)) > HANDLE_BYTES) throw new Error('uv_poll_t is larger than expected');
  if (page === null || pageUsed + HANDLE_BYTES > page.size) {
    page = NativeMemory.map(64 * 1024);
    pageUsed = 0;
  }
  const pointer = page.pointer + BigInt(pageUsed);
  pageUsed += HANDLE_BYTES;
  return pointer;
}
