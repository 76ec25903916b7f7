/**
 * `net.Socket.prototype.connect` of a program under `sluice exec`: looks up the name, asks the rules for each address, and connects over the
 * host stack or hands the call to the original. While it looks and connects the socket is as net's own are then: `connecting`, without a
 * handle.
 */
import { lookup as dnsLookup, type LookupAddress, type LookupAllOptions } from 'node:dns';
import { isIP, type LookupFunction, Socket, type TcpNetConnectOpts } from 'node:net';
import { TLSSocket } from 'node:tls';
import { E } from '../../../core/sys/libc.ts';
import { TransportProto } from '../native.ts';
import { type SocketError, socketError } from '../net_error.ts';
import { type VclSession, VclState } from '../session.ts';
import type { ExecThread } from './exec_thread.ts';
import { decide, type Verdict } from './rules.ts';
import { internalKey, leaveStack, moveToStack, setConnecting } from './stack_socket.ts';

type Connect = (this: Socket, ...args: unknown[]) => Socket;
type Internals = Socket & { _handle: object | null; _undestroy(): void; _parent: { connecting?: boolean } | null };

/** Of `net`: arguments in any form to [options, callback]. */
export type NormalizeArgs = (args: unknown[]) => [TcpNetConnectOpts & { path?: string | null }, (() => void) | null];

/** Answers of the stack after which `auto` asks the kernel. */
const NOT_THERE: ReadonlySet<number> = new Set([E.CONNREFUSED, E.NETUNREACH, E.HOSTUNREACH, E.ACCES, E.NETDOWN, E.ADDRNOTAVAIL]);

const bufferKey = internalKey('kBuffer');

export function patchConnect(thread: ExecThread, normalizeArgs: NormalizeArgs): void {
  const prototype = Socket.prototype as unknown as { connect: Connect };
  const original = prototype.connect;
  prototype.connect = function connect(this: Socket, ...args: unknown[]): Socket {
    const given = Array.isArray(args[0]) ? (args[0] as ReturnType<NormalizeArgs>) : normalizeArgs(args);
    const [options, callback] = given;
    leaveStack(this);
    if (!isForUs(this as Internals, options) || !mayBeStack(thread, options)) return original.apply(this, args);
    if (callback !== null) this.once('connect', callback);
    if (this.destroyed) (this as Internals)._undestroy();
    setConnecting(this, true);
    new Attempt(thread, this, options, original).start();
    return this;
  };
}

/** Could any address that this call means go to the stack? Names may mean any. */
export function mayBeStack(thread: ExecThread, options: { host?: string; port?: number | string }): boolean {
  const port = Number(options.port);
  const host = options.host ?? 'localhost';
  if (isIP(host) !== 0) return decide(thread.rules, 'connect', host, port) !== 'kernel';
  return thread.rules.some(
    (rule) => rule.operation === 'connect' && rule.verdict !== 'kernel' && port >= rule.firstPort && port <= rule.lastPort,
  );
}

/** Everything else is the kernel's, which also knows best what to say about a mistake. */
function isForUs(socket: Internals, options: TcpNetConnectOpts & { path?: string | null }): boolean {
  if (typeof options !== 'object' || options.path || socket._handle !== null) return false;
  if (
    socket instanceof TLSSocket ||
    socket._parent?.connecting ||
    (socket as unknown as Record<symbol, unknown>)[bufferKey] !== null
  )
    return false;
  const port = Number(options.port);
  return Number.isInteger(port) && port > 0 && port <= 65_535 && String(options.port).trim() !== '';
}

/** One call of `connect`. */
class Attempt {
  private readonly thread: ExecThread;
  private readonly socket: Socket;
  private readonly options: TcpNetConnectOpts;
  private readonly original: Connect;
  private readonly port: number;
  private addresses: LookupAddress[] = [];
  private session: VclSession | null = null;
  private lastError: SocketError | null = null;
  private readonly onClose = (): void => this.drop();

  constructor(thread: ExecThread, socket: Socket, options: TcpNetConnectOpts, original: Connect) {
    this.thread = thread;
    this.socket = socket;
    this.options = options;
    this.original = original;
    this.port = Number(options.port);
  }

  start(): void {
    const host = this.options.host ?? 'localhost';
    this.socket.once('close', this.onClose);
    const family = isIP(host);
    if (family !== 0) {
      this.addresses = [{ address: host, family }];
      this.next(0);
      return;
    }
    const lookup = (this.options.lookup ?? dnsLookup) as LookupFunction;
    const wanted: LookupAllOptions = { family: this.options.family ?? 0, hints: this.options.hints, all: true };
    const answer = (error: Error | null, found: string | LookupAddress[], foundFamily?: number): void => {
      if (!this.live) return;
      this.addresses = typeof found === 'string' ? [{ address: found, family: foundFamily ?? isIP(found) }] : (found ?? []);
      if (this.addresses.length === 0) this.socket.emit('lookup', error, undefined, undefined, host);
      for (const one of this.addresses) this.socket.emit('lookup', error, one.address, one.family, host);
      if (!this.live) return;
      if (error !== null && error !== undefined) this.finish(error);
      else if (this.addresses.length === 0) this.finish(socketError(E.HOSTUNREACH, 'connect', host, this.port));
      else this.next(0);
    };
    // Answered in the same breath, there would be nobody to hear 'lookup' or an error yet.
    lookup(host, wanted, (error, found, foundFamily) => process.nextTick(answer, error, found, foundFamily));
  }

  private get live(): boolean {
    return this.socket.connecting && !this.socket.destroyed;
  }

  /** Asks the stack for the next address that is for it; when there is none left, the kernel, if any address is for that. */
  private next(at: number): void {
    for (; at < this.addresses.length; at++) {
      const verdict = this.verdict(at);
      if (verdict === 'kernel') continue;
      if (this.connect(at)) return;
    }
    const left = this.addresses.filter((_, i) => this.verdict(i) !== 'stack');
    if (left.length > 0) this.useKernel(left);
    else this.finish(this.lastError ?? socketError(E.NETDOWN, 'connect', this.addresses[0].address, this.port));
  }

  private verdict(at: number): Verdict {
    return decide(this.thread.rules, 'connect', this.addresses[at].address, this.port);
  }

  /** True when the answer is on its way. */
  private connect(at: number): boolean {
    const { address, family } = this.addresses[at];
    const worker = this.thread.worker();
    if (worker === null) {
      this.lastError = socketError(E.NETDOWN, 'connect', address, this.port);
      return false;
    }
    const session = worker.createSession(TransportProto.tcp);
    const { localAddress, localPort } = this.options;
    const bound = localAddress !== undefined || localPort !== undefined;
    const valid = session.remote.set(address, this.port) && (!bound || session.local.set(localAddress ?? '', localPort ?? 0));
    const result = valid ? worker.connect(session) : -E.INVAL;
    if (result < 0) {
      worker.close(session);
      this.lastError = socketError(-result, 'connect', address, this.port);
      return false;
    }
    this.session = session;
    worker.ref();
    session.observer = { onSessionEvent: () => this.onAnswer(at, session) };
    this.socket.emit('connectionAttempt', address, this.port, family);
    return true;
  }

  private onAnswer(at: number, session: VclSession): void {
    if (session !== this.session || session.state === VclState.connecting) return;
    if (this.thread.blocking) {
      this.thread.afterBlocking(() => this.onAnswer(at, session));
      return;
    }
    const { worker, error } = session;
    this.session = null;
    session.observer = null;
    worker.unref();
    if (!this.live) {
      worker.close(session, true);
      return;
    }
    if (error === 0 && session.state === VclState.ready) {
      this.connected(session);
      return;
    }
    const { address, family } = this.addresses[at];
    worker.close(session);
    this.lastError = socketError(error || E.NETDOWN, 'connect', address, this.port);
    this.socket.emit('connectionAttemptFailed', address, this.port, family, this.lastError);
    if (!this.live) return;
    if (this.verdict(at) === 'auto' && !NOT_THERE.has(error || E.NETDOWN)) this.finish(this.lastError);
    else this.next(at + 1);
  }

  private connected(session: VclSession): void {
    const { socket } = this;
    socket.removeListener('close', this.onClose);
    moveToStack(this.thread, socket, session);
    setConnecting(socket, false);
    socket.emit('connect');
    socket.emit('ready');
    if (!socket.destroyed && socket.readable && !socket.isPaused()) socket.read(0);
  }

  private useKernel(addresses: LookupAddress[]): void {
    const { socket, options, original } = this;
    socket.removeListener('close', this.onClose);
    const host = options.host ?? 'localhost';
    if (isIP(host) !== 0) {
      original.call(socket, options);
      return;
    }
    const lookup = (_name: string, wanted: { all?: boolean }, callback: (...answer: unknown[]) => void): void => {
      if (wanted.all) process.nextTick(callback, null, addresses);
      else process.nextTick(callback, null, addresses[0].address, addresses[0].family);
    };
    original.call(socket, { ...options, lookup });
  }

  private finish(error: Error): void {
    this.socket.removeListener('close', this.onClose);
    this.socket.destroy(error);
  }

  /** The socket was destroyed meanwhile. */
  private drop(): void {
    const { session } = this;
    if (session === null) return;
    this.session = null;
    session.worker.unref();
    session.worker.close(session, true);
  }
}
