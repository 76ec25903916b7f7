/** `net.Server` on a VCL listener: `listen`, `address`, `close`, `getConnections`, the events, and async disposal. */
import { EventEmitter } from 'node:events';
import { E } from '../../core/sys/libc.ts';
import { TransportProto } from '../session/transport.ts';
import { socketError } from './net_error.ts';
import { Ready, type SessionObserver, type VclSession, VclState } from './session.ts';
import { Socket, type SocketOptions } from './socket.ts';
import { cryptoConfigOf, type TlsOptions } from './tls_options.ts';
import type { VclWorker } from './worker.ts';

export interface ServerOptions extends SocketOptions {
  pauseOnConnect?: boolean;
  /** Connections are TLS, in the stack. */
  tls?: TlsOptions;
}

export interface ListenOptions {
  port?: number;
  host?: string;
  backlog?: number;
  ipv6Only?: boolean;
  signal?: AbortSignal;
}

export class Server extends EventEmitter implements SessionObserver {
  listening = false;
  maxConnections: number | undefined = undefined;
  private readonly worker: VclWorker;
  private readonly options: ServerOptions;
  private session: VclSession | null = null;
  private readonly sockets = new Set<Socket>();
  private referenced = true;
  private counted = false;
  private closing = false;

  constructor(worker: VclWorker, options: ServerOptions = {}, listener?: (socket: Socket) => void) {
    super();
    this.worker = worker;
    this.options = options;
    if (listener !== undefined) this.on('connection', listener);
  }

  /** As net's: `listen(port, host?, backlog?, callback?)` or `listen(options, callback?)`. */
  listen(...parameters: unknown[]): this {
    const callback = parameters.findLast((value) => typeof value === 'function') as (() => void) | undefined;
    const [first, second, third] = parameters.filter((value) => typeof value !== 'function');
    const options: ListenOptions =
      typeof first === 'object' && first !== null
        ? (first as ListenOptions)
        : {
            port: Number(first ?? 0),
            host: typeof second === 'string' ? second : undefined,
            backlog: typeof second === 'number' ? second : typeof third === 'number' ? third : undefined,
          };
    if (this.session !== null) {
      throw Object.assign(new Error('Listen method has been called more than once without closing.'), {
        code: 'ERR_SERVER_ALREADY_LISTEN',
      });
    }
    if (callback !== undefined) this.once('listening', callback);
    this.closing = false;
    this.worker.useEventLoop();
    const crypto = this.options.tls === undefined ? null : cryptoConfigOf(this.options.tls, true);
    const session = this.worker.createSession(crypto === null ? TransportProto.tcp : TransportProto.tls);
    session.crypto = crypto;
    this.session = session;
    session.observer = this;
    session.v6only = options.ipv6Only ?? false;
    const host = options.host === 'localhost' ? '127.0.0.1' : (options.host ?? '::');
    const result = session.local.set(host, options.port ?? 0) ? this.worker.listen(session, options.backlog ?? 511) : -E.INVAL;
    if (result < 0) process.nextTick(() => this.fail(session, -result));
    this.updateHold();
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    return this;
  }

  address(): { address: string; port: number; family: string } | null {
    const { session } = this;
    if (session === null || !this.listening) return null;
    return { address: session.local.ip, port: session.local.port, family: session.local.isV4 ? 'IPv4' : 'IPv6' };
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.sockets.size);
    return this;
  }

  /** Takes no more connections; 'close' follows when the last one has ended. */
  close(callback?: (error?: Error) => void): this {
    if (callback !== undefined) {
      if (this.session === null) {
        this.once('close', () =>
          callback(Object.assign(new Error('Server is not running.'), { code: 'ERR_SERVER_NOT_RUNNING' })),
        );
      } else this.once('close', () => callback());
    }
    const { session } = this;
    this.session = null;
    this.listening = false;
    this.closing = true;
    this.updateHold();
    if (session !== null) this.worker.close(session);
    this.emitCloseIfIdle();
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.session === null) return;
    await new Promise<void>((resolve) => this.close(() => resolve()));
  }

  ref(): this {
    this.referenced = true;
    this.updateHold();
    return this;
  }

  unref(): this {
    this.referenced = false;
    this.updateHold();
    return this;
  }

  onSessionEvent(session: VclSession, events: number): void {
    if (session !== this.session) return;
    if (!this.listening && session.state === VclState.listening) {
      this.listening = true;
      this.emit('listening');
    }
    if ((events & Ready.err) !== 0) {
      this.fail(session, session.error);
      return;
    }
    while (this.session === session) {
      const accepted = this.worker.accept(session);
      if (accepted === null) return;
      this.connection(accepted);
    }
  }

  private connection(session: VclSession): void {
    if (this.maxConnections !== undefined && this.sockets.size >= this.maxConnections) {
      const drop = { remoteAddress: session.remote.ip, remotePort: session.remote.port, localPort: session.local.port };
      this.worker.close(session, true);
      this.emit('drop', drop);
      return;
    }
    const socket = new Socket(this.worker, this.options, session);
    socket.server = this;
    this.sockets.add(socket);
    socket.once('close', () => {
      this.sockets.delete(socket);
      this.emitCloseIfIdle();
    });
    if (this.options.pauseOnConnect) socket.pause();
    this.emit('connection', socket);
    if (!this.options.pauseOnConnect && !socket.destroyed) socket.read(0);
  }

  private fail(session: VclSession, errno: number): void {
    if (this.session !== session) return;
    const { ip, port } = session.local;
    const wasListening = this.listening;
    this.session = null;
    this.listening = false;
    this.updateHold();
    this.worker.close(session);
    if (errno === E.CONNABORTED) {
      // The application itself has left the stack.
      this.closing = true;
      this.emitCloseIfIdle();
    } else this.emit('error', socketError(errno, wasListening ? 'accept' : 'listen', ip, port));
  }

  private emitCloseIfIdle(): void {
    if (!this.closing || this.sockets.size > 0) return;
    this.closing = false;
    process.nextTick(() => this.emit('close'));
  }

  private updateHold(): void {
    const hold = this.session !== null && this.referenced;
    if (hold === this.counted) return;
    this.counted = hold;
    if (hold) this.worker.ref();
    else this.worker.unref();
  }
}
