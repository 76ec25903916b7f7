/**
 * `net.Socket` on a VCL session: a real `stream.Duplex` with net's properties, methods and events, on which http, http2, tls, undici and
 * ws run as on a kernel socket.
 *
 * Differences: there is no `_handle`; `setNoDelay` and `setKeepAlive` go to the transport, and mean nothing between two applications of one
 * machine; names other than `localhost` go through `dns.lookup` or the `lookup` option.
 */
import { X509Certificate } from 'node:crypto';
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Duplex } from 'node:stream';
import { E } from '../../core/sys/libc.ts';
import type { CryptoConfig } from '../session/crypto_config.ts';
import { TransportProto } from '../session/transport.ts';
import { type AttributeName, attribute } from './attributes.ts';
import { socketError } from './net_error.ts';
import { PendingWrite, type WriteCallback } from './pending_write.ts';
import { Ready, type SessionObserver, type VclSession, VclState } from './session.ts';
import { cryptoConfigOf, type TlsDetails, type TlsOptions } from './tls_options.ts';
import type { VclWorker } from './worker.ts';

const READ_BYTES = 64 * 1024;

export interface SocketOptions {
  allowHalfOpen?: boolean;
  highWaterMark?: number;
  signal?: AbortSignal;
}

export interface ConnectOptions extends SocketOptions {
  port: number | string;
  host?: string | null;
  localAddress?: string;
  localPort?: number;
  family?: number;
  lookup?: LookupFunction;
  timeout?: number;
  /** TLS in the stack. One object for many connects is sent to the stack once. */
  tls?: TlsOptions;
  /** Sent as SNI and verified. Default: `host`; '' for none. */
  servername?: string;
}

const clientConfigs = new WeakMap<TlsOptions, CryptoConfig>();

function clientConfig(options: TlsOptions): CryptoConfig {
  let config = clientConfigs.get(options);
  if (config === undefined) clientConfigs.set(options, (config = cryptoConfigOf(options, false)));
  return config;
}

export class Socket extends Duplex implements SessionObserver {
  connecting = false;
  bytesRead = 0;
  timeout = 0;
  /** Set by servers. */
  server: unknown = null;
  autoSelectFamilyAttemptedAddresses: string[] = [];
  private readonly worker: VclWorker;
  private session: VclSession | null = null;
  private written = 0;
  private readonly wanted = new Map<AttributeName, number>();
  private wantsData = false;
  private pending: PendingWrite | null = null;
  private final: WriteCallback | null = null;
  private timer: NodeJS.Timeout | null = null;
  private referenced = true;
  private holdsLoop = false;
  private counted = false;
  private resetOnClose = false;
  private localInfo: { address: string; port: number; family: string } | null = null;
  private remoteInfo: { address: string; port: number; family: string } | null = null;

  constructor(worker: VclWorker, options: SocketOptions = {}, session: VclSession | null = null) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? false,
      highWaterMark: options.highWaterMark ?? READ_BYTES,
      autoDestroy: true,
      emitClose: false,
      signal: options.signal,
      decodeStrings: true,
    });
    this.worker = worker;
    if (session !== null) this.adopt(session);
  }

  // --- connecting ---

  connect(options: ConnectOptions | number | string, host?: string | (() => void), listener?: () => void): this {
    const wanted: ConnectOptions =
      typeof options === 'object' ? options : { port: options, host: typeof host === 'string' ? host : undefined };
    const callback = typeof host === 'function' ? host : listener;
    if (callback !== undefined) this.once('connect', callback);
    const port = Number(wanted.port);
    if (!Number.isInteger(port) || port < 0 || port > 65535) {
      throw Object.assign(new RangeError(`Port should be >= 0 and < 65536. Received ${wanted.port}.`), {
        code: 'ERR_SOCKET_BAD_PORT',
      });
    }
    // What is wrong with it is said to the caller.
    if (wanted.tls !== undefined) clientConfig(wanted.tls);
    this.connecting = true;
    this.hold();
    if (wanted.timeout) this.setTimeout(wanted.timeout);
    const name = wanted.host || 'localhost';
    if (isIP(name) !== 0) this.start(name, port, wanted);
    else if (name === 'localhost') this.start(wanted.family === 6 ? '::1' : '127.0.0.1', port, wanted);
    else this.resolve(name, port, wanted);
    return this;
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening';
    if (this.readable && this.writable) return 'open';
    return this.readable ? 'readOnly' : this.writable ? 'writeOnly' : 'closed';
  }

  // --- what the rest of the world asks a socket ---

  get remoteAddress(): string | undefined {
    return this.remoteInfo?.address;
  }

  get remotePort(): number | undefined {
    return this.remoteInfo?.port;
  }

  get remoteFamily(): string | undefined {
    return this.remoteInfo?.family;
  }

  get localAddress(): string | undefined {
    return this.localInfo?.address;
  }

  get localPort(): number | undefined {
    return this.localInfo?.port;
  }

  get localFamily(): string | undefined {
    return this.localInfo?.family;
  }

  /** TLS in the stack; as `tls.TLSSocket` says it, which plain sockets do not have. */
  get encrypted(): true | undefined {
    return this.session?.proto === TransportProto.tls ? true : undefined;
  }

  /** What TLS in the stack has chosen; plain sockets do not have it. */
  get alpnProtocol(): string | false | undefined {
    return this.encrypted && (this.session!.alpnProtocol || false);
  }

  /** What the TLS handshake settled, when the `tls` option wants `details`. */
  get tlsDetails(): TlsDetails | null {
    return this.session?.tlsDetails ?? null;
  }

  /** The peer's certificate, as `tls.TLSSocket` gives it; with `details`. */
  getPeerX509Certificate(): X509Certificate | undefined {
    const der = this.tlsDetails?.certificate;
    return der ? new X509Certificate(der) : undefined;
  }

  get bytesWritten(): number {
    return this.written + this.writableLength;
  }

  get bufferSize(): number {
    return this.writableLength;
  }

  address(): { address: string; port: number; family: string } | Record<string, never> {
    return this.localInfo ?? {};
  }

  setTimeout(timeoutMs: number, callback?: () => void): this {
    this.timeout = timeoutMs;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (timeoutMs > 0) {
      this.timer = setTimeout(() => this.emit('timeout'), timeoutMs);
      this.timer.unref();
      if (callback !== undefined) this.once('timeout', callback);
    } else if (callback !== undefined) this.removeListener('timeout', callback);
    return this;
  }

  setNoDelay(noDelay = true): this {
    return this.setAttribute('tcpNodelay', noDelay ? 1 : 0);
  }

  setKeepAlive(enable = false, initialDelayMs = 0): this {
    if (enable && initialDelayMs >= 1000) this.setAttribute('tcpKeepidle', Math.min(Math.floor(initialDelayMs / 1000), 32_767));
    return this.setAttribute('keepalive', enable ? 1 : 0);
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

  /** Closes after what was written has been handed over. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** The peer sees a reset. */
  resetAndDestroy(): this {
    this.resetOnClose = true;
    return this.destroy();
  }

  // --- Duplex ---

  override _read(): void {
    this.wantsData = true;
    if (this.session !== null && !this.connecting) this.pull();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.send([chunk], callback);
  }

  override _writev(chunks: { chunk: Uint8Array }[], callback: WriteCallback): void {
    this.send(
      chunks.map((entry) => entry.chunk),
      callback,
    );
  }

  override _final(callback: WriteCallback): void {
    if (this.connecting) this.final = callback;
    else this.shutdown(callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.connecting = false;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { session } = this;
    this.session = null;
    this.wantsData = false;
    if (session !== null) this.worker.close(session, this.resetOnClose);
    this.release();
    const waiting = this.pending;
    this.pending = null;
    waiting?.callback(error);
    callback(error);
    process.nextTick(() => this.emit('close', error !== null));
  }

  // --- events of the session ---

  onSessionEvent(session: VclSession, events: number): void {
    if (session !== this.session) return;
    this.timer?.refresh();
    if (session.error === E.CONNABORTED) {
      // The application itself has left the stack.
      this.destroy();
      return;
    }
    if (this.connecting) {
      this.connected(session);
      return;
    }
    if ((events & (Ready.out | Ready.err)) !== 0 && this.pending !== null) this.flush();
    if ((events & (Ready.in | Ready.err)) !== 0) {
      if (this.wantsData) this.pull();
      else if (session.error !== 0 && this.session !== null) this.fail(session.error, 'read');
    }
  }

  /** Now, or when there is a session. */
  private setAttribute(name: AttributeName, value: number): this {
    if (this.session !== null) attribute(this.session, name, value);
    else if (!this.destroyed) this.wanted.set(name, value);
    return this;
  }

  private start(ip: string, port: number, options: ConnectOptions): void {
    if (this.destroyed) return;
    this.worker.useEventLoop();
    const { tls } = options;
    const session = this.worker.createSession(tls === undefined ? TransportProto.tcp : TransportProto.tls);
    if (tls !== undefined) {
      session.crypto = clientConfig(tls);
      session.serverName = options.servername ?? options.host ?? 'localhost';
    }
    this.session = session;
    session.observer = this;
    for (const [name, value] of this.wanted) attribute(session, name, value);
    const bound = options.localAddress !== undefined || options.localPort !== undefined;
    const valid =
      session.remote.set(ip, port) && (!bound || session.local.set(options.localAddress ?? '', options.localPort ?? 0));
    const result = valid ? this.worker.connect(session) : -E.INVAL;
    if (result < 0) process.nextTick(() => this.destroy(socketError(-result, 'connect', ip, port)));
  }

  private resolve(name: string, port: number, options: ConnectOptions): void {
    const lookup = options.lookup ?? (dnsLookup as unknown as LookupFunction);
    lookup(name, { family: options.family ?? 0, all: false }, (error, address) => {
      if (this.destroyed) return;
      const ip = typeof address === 'string' ? address : (address as LookupAddress[] | undefined)?.[0]?.address;
      const resolved = ip !== undefined && isIP(ip) !== 0;
      this.emit('lookup', error, ip, ip === undefined ? undefined : isIP(ip), name);
      if (error === null && resolved) this.start(ip, port, options);
      else this.destroy(error ?? socketError(E.INVAL, 'connect', name, port));
    });
  }

  private adopt(session: VclSession): void {
    this.session = session;
    session.observer = this;
    this.hold();
    this.rememberAddresses(session);
  }

  private connected(session: VclSession): void {
    if (session.state === VclState.connecting) return;
    if (session.error !== 0) {
      this.destroy(socketError(session.error, 'connect', session.remote.ip, session.remote.port));
      return;
    }
    this.connecting = false;
    this.rememberAddresses(session);
    this.emit('connect');
    this.emit('ready');
    if (this.session === null) return;
    if (this.pending !== null) this.flush();
    if (this.final !== null && this.session !== null) {
      const callback = this.final;
      this.final = null;
      this.shutdown(callback);
    }
    if (this.wantsData && this.session !== null) this.pull();
    else if (this.session !== null) this.read(0);
  }

  private rememberAddresses(session: VclSession): void {
    const info = (endpoint: VclSession['local']) => ({
      address: endpoint.ip,
      port: endpoint.port,
      family: endpoint.isV4 ? 'IPv4' : 'IPv6',
    });
    this.localInfo = info(session.local);
    this.remoteInfo = info(session.remote);
  }

  private pull(): void {
    while (this.wantsData && this.session !== null) {
      const { session } = this;
      const available = session.readable;
      if (available === 0) {
        const state = session.endState;
        if (state === -E.AGAIN) return;
        this.wantsData = false;
        if (state === 0) {
          this.push(null);
          // Says 'end' also when nobody reads, or a socket that is only written to would never close.
          this.read(0);
        } else this.fail(-state, 'read');
        return;
      }
      const chunk = Buffer.allocUnsafe(Math.min(available, READ_BYTES));
      const n = session.read(chunk, 0, chunk.length);
      if (n <= 0) continue;
      this.bytesRead += n;
      this.wantsData = this.push(n === chunk.length ? chunk : chunk.subarray(0, n));
    }
  }

  private send(chunks: Uint8Array[], callback: WriteCallback): void {
    this.pending = new PendingWrite(chunks, callback);
    if (!this.connecting) this.flush();
  }

  private flush(): void {
    const { pending, session } = this;
    if (pending === null) return;
    if (session === null) {
      this.pending = null;
      pending.callback(socketError(E.PIPE, 'write'));
      return;
    }
    this.timer?.refresh();
    const result = pending.writeTo(session);
    this.written += pending.taken;
    if (result === PendingWrite.FULL) return;
    this.pending = null;
    if (result === 0) pending.callback();
    else pending.callback(socketError(-result, 'write'));
  }

  private shutdown(callback: WriteCallback): void {
    if (this.session !== null) this.worker.shutdownWrite(this.session);
    callback();
  }

  private fail(errno: number, syscall: string): void {
    this.destroy(socketError(errno, syscall));
  }

  private hold(): void {
    this.holdsLoop = true;
    if (this.referenced) this.worker.ref();
    this.counted = this.referenced;
  }

  private updateHold(): void {
    if (!this.holdsLoop || this.counted === this.referenced) return;
    this.counted = this.referenced;
    if (this.referenced) this.worker.ref();
    else this.worker.unref();
  }

  private release(): void {
    if (this.holdsLoop && this.counted) this.worker.unref();
    this.holdsLoop = false;
    this.counted = false;
  }
}
