/**
 * `net.Server.prototype.listen` of a program under `sluice exec`. A server of the host stack has a handle of ours, which is what net asks for
 * its address, and to close, hold or release it; connections come as `net.Socket`s that live on the stack.
 */
import { lookup } from 'node:dns';
import { isIP, type ListenOptions, Server, Socket } from 'node:net';
import { E } from '../../../core/sys/libc.ts';
import { TransportProto } from '../native.ts';
import { socketError } from '../net_error.ts';
import { Ready, type SessionObserver, type VclSession, VclState } from '../session.ts';
import type { VclWorker } from '../worker.ts';
import type { NormalizeArgs } from './connect.ts';
import type { ExecThread, Restartable } from './exec_thread.ts';
import { decide } from './rules.ts';
import { moveToStack } from './stack_socket.ts';

type Listen = (this: Server, ...args: unknown[]) => Server;

interface Internals {
  _handle: object | null;
  _connections: number;
  _unref: boolean;
  _listeningId: number;
  allowHalfOpen: boolean;
  pauseOnConnect: boolean;
  highWaterMark?: number;
}

const LISTEN_TIMEOUT_MS = 5000;
const RETRY_MS = 100;

export function patchListen(thread: ExecThread, normalizeArgs: NormalizeArgs): void {
  const prototype = Server.prototype as unknown as { listen: Listen };
  const original = prototype.listen;
  prototype.listen = function listen(this: Server, ...args: unknown[]): Server {
    const own = this as Server & Internals;
    const wanted = own._handle ? null : tcpOptions(args, normalizeArgs);
    if (wanted === null) return original.apply(this, args);
    const { options, callback, port, backlog } = wanted;
    const host = options.host;
    const start = (ip: string): void => {
      if (decide(thread.rules, 'listen', ip, port) === 'kernel') {
        original.apply(this, args);
        return;
      }
      if (callback !== null) this.once('listening', callback);
      options.signal?.addEventListener('abort', () => this.close(), { once: true });
      listenOnStack(thread, own, ip, port, backlog, options.ipv6Only ?? false);
    };
    const id = ++own._listeningId;
    if (host === undefined || host === '') start('::');
    else if (isIP(host) !== 0) start(host);
    else {
      lookup(host, (error, ip) => {
        if (own._listeningId !== id) return;
        if (error !== null) this.emit('error', error);
        else start(ip);
      });
    }
    return this;
  };
}

/** Null: not about a TCP port, or so wrong that net should say it. */
function tcpOptions(
  args: unknown[],
  normalizeArgs: NormalizeArgs,
): { options: ListenOptions; callback: (() => void) | null; port: number; backlog: number } | null {
  const [given, callback] = normalizeArgs(args) as unknown as [
    ListenOptions & { fd?: number; _handle?: object; handle?: object },
    (() => void) | null,
  ];
  if (given.path || given.fd !== undefined || given._handle || given.handle || given.reusePort) return null;
  const none = args.length === 0 || typeof args[0] === 'function' || args[0] === null || args[0] === undefined;
  const wanted: unknown =
    none || (typeof args[0] === 'object' && 'port' in given && (given.port ?? null) === null) ? 0 : given.port;
  if (typeof wanted !== 'number' && typeof wanted !== 'string') return null;
  const port = Number(wanted);
  if (!Number.isInteger(port) || port < 0 || port > 65_535 || String(wanted).trim() === '') return null;
  const backlog = given.backlog || toNumber(args[1]) || toNumber(args[2]) || 511;
  return { options: given, callback, port, backlog };
}

function toNumber(value: unknown): number {
  const number = Number(value);
  return (typeof value === 'number' || typeof value === 'string') && number >= 0 ? number : 0;
}

/** Answers before it returns, as the kernel's does: `address()` is known right after `listen`. */
function listenOnStack(
  thread: ExecThread,
  server: Server & Internals,
  ip: string,
  port: number,
  backlog: number,
  v6only: boolean,
): void {
  const handle = new StackServerHandle(thread, server, ip, port, backlog, v6only);
  const error = handle.open();
  if (error !== 0) {
    process.nextTick(() => server.emit('error', socketError(error, 'listen', ip, port)));
    return;
  }
  server._handle = handle;
  if (server._unref) handle.unref();
  process.nextTick(() => {
    if (server._handle === handle) server.emit('listening');
  });
}

class StackServerHandle implements SessionObserver, Restartable {
  readonly fd = -1;
  private readonly thread: ExecThread;
  private readonly server: Server & Internals;
  private readonly ip: string;
  private readonly backlog: number;
  private readonly v6only: boolean;
  private port: number;
  private session: VclSession | null = null;
  private referenced = true;
  private retry: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(thread: ExecThread, server: Server & Internals, ip: string, port: number, backlog: number, v6only: boolean) {
    this.thread = thread;
    this.server = server;
    this.ip = ip;
    this.port = port;
    this.backlog = backlog;
    this.v6only = v6only;
  }

  /** 0, or the errno why it cannot listen. */
  open(): number {
    const worker = this.thread.worker();
    if (worker === null) return E.NETDOWN;
    const session = this.listen(worker);
    this.thread.block(worker, () => session.state !== VclState.connecting, LISTEN_TIMEOUT_MS);
    if (session.state !== VclState.listening) {
      this.session = null;
      const error = session.error || (worker.detached ? E.NETDOWN : E.TIMEDOUT);
      worker.close(session);
      return error;
    }
    this.port = session.local.port;
    if (this.referenced) worker.ref();
    session.observer = this;
    this.thread.servers.add(this);
    // A connection may have come already.
    setImmediate(() => this.accept());
    return 0;
  }

  /** There is a stack again. */
  restart(worker: VclWorker): void {
    if (this.closed) return;
    const session = this.listen(worker);
    if (this.referenced) worker.ref();
    session.observer = this;
  }

  // --- what net.Server asks of a handle ---

  getsockname(out: { address?: string; port?: number; family?: string }): number {
    out.address = this.ip;
    out.port = this.port;
    out.family = isIP(this.ip) === 4 ? 'IPv4' : 'IPv6';
    return 0;
  }

  close(callback?: () => void): void {
    if (this.closed) return;
    this.closed = true;
    this.thread.servers.delete(this);
    if (this.retry !== null) clearTimeout(this.retry);
    this.drop();
    if (callback !== undefined) process.nextTick(callback);
  }

  ref(): void {
    if (this.referenced) return;
    this.referenced = true;
    this.session?.worker.ref();
  }

  unref(): void {
    if (!this.referenced) return;
    this.referenced = false;
    this.session?.worker.unref();
  }

  hasRef(): boolean {
    return this.referenced;
  }

  getAsyncId(): number {
    return -1;
  }

  onSessionEvent(session: VclSession, events: number): void {
    if (session !== this.session) return;
    if (this.thread.blocking) {
      this.thread.afterBlocking(() => this.onSessionEvent(session, events));
      return;
    }
    if (session.error !== 0) this.lost(session);
    else if (session.state === VclState.listening && (events & Ready.in) !== 0) this.accept();
  }

  private listen(worker: VclWorker): VclSession {
    const session = worker.createSession(TransportProto.tcp);
    session.v6only = this.v6only;
    session.local.set(this.ip, this.port);
    this.session = session;
    worker.listen(session, this.backlog);
    return session;
  }

  private accept(): void {
    const { session } = this;
    if (session === null) return;
    while (this.session === session) {
      const accepted = session.worker.accept(session);
      if (accepted === null) return;
      this.connection(accepted);
    }
  }

  /** As net's onconnection. */
  private connection(session: VclSession): void {
    const { server } = this;
    if (server.maxConnections != null && server._connections >= server.maxConnections) {
      const data = {
        localAddress: session.local.ip,
        localPort: session.local.port,
        localFamily: session.local.isV4 ? 'IPv4' : 'IPv6',
        remoteAddress: session.remote.ip,
        remotePort: session.remote.port,
        remoteFamily: session.remote.isV4 ? 'IPv4' : 'IPv6',
      };
      session.worker.close(session, true);
      server.emit('drop', data);
      return;
    }
    const socket = new Socket({
      allowHalfOpen: server.allowHalfOpen,
      readableHighWaterMark: server.highWaterMark,
      writableHighWaterMark: server.highWaterMark,
    } as object);
    moveToStack(this.thread, socket, session);
    server._connections++;
    const own = socket as Socket & { server: Server; _server: Server };
    own.server = server;
    own._server = server;
    if (server.pauseOnConnect) socket.pause();
    server.emit('connection', socket);
    if (!server.pauseOnConnect && !socket.destroyed) socket.read(0);
  }

  /** The stack has gone: the thread calls `restart`. Or the address is another's for a moment after that. */
  private lost(session: VclSession): void {
    const { worker } = session;
    const refused = !worker.detached;
    this.drop();
    if (!refused || this.closed) return;
    this.retry = setTimeout(() => {
      const next = this.thread.worker();
      if (next !== null) this.restart(next);
    }, RETRY_MS);
  }

  private drop(): void {
    const { session } = this;
    if (session === null) return;
    this.session = null;
    session.observer = null;
    if (this.referenced) session.worker.unref();
    session.worker.close(session);
  }
}
