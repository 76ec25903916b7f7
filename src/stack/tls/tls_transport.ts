/**
 * TLS as a transport of the session layer (VPP: `vnet/tls`, an application that is a transport): sessions whose bytes are encrypted by
 * OpenSSL in the stack's worker and carried by TCP, or by nothing but memory between two applications of one stack.
 *
 * It is the session layer of the transport below: that one reports to it what happens to the sessions that carry records, and the real
 * session layer hears of a connection when its handshake is done. A connection attempt that does no handshake costs an application nothing.
 *
 * Leaves out: DTLS, asynchronous engines and hardware, renegotiation, early data.
 */
import { Slab } from '../../core/buffer/slab.ts';
import { NativeMemory } from '../../core/sys/memory.ts';
import { TlsConfigError } from '../../core/tls/errors.ts';
import type { Endpoint } from '../session/endpoint.ts';
import { SessionError } from '../session/errors.ts';
import type { ListenerWorker, Session } from '../session/session.ts';
import { type SessionHost, type Transport, TransportProto } from '../session/transport.ts';
import { AppCarrier, type SessionSide } from './app_carrier.ts';
import { LocalCarrier, LowerSession } from './carrier.ts';
import { TlsConnection, type TlsConnectionOwner } from './connection.ts';
import { clientContext, serverContext } from './contexts.ts';
import { Deadlines } from './deadlines.ts';
import { TlsStats } from './stats.ts';

export interface TlsTransportOptions {
  host: SessionHost;
  /** Makes the transport that carries records beyond this stack. */
  below?: (host: SessionHost) => Transport;
  handshakeTimeoutMs?: number;
}

const DEFAULT_HANDSHAKE_TIMEOUT_MS = 10_000;
/** How long a peer has to take the last word. */
const LINGER_MS = 2000;
const RETRY_MS = 10;
/** That fits a packet of the application's socket. */
const MAX_CERTIFICATE = 20_000;
const SLAB_BLOCKS = 64;
const INPUT_BYTES = 64 * 1024;
/** In their handshake at one time, whatever the backlogs are. */
const MAX_HANDSHAKES = 16_384;

export class TlsTransport implements Transport, SessionHost, TlsConnectionOwner {
  readonly proto = TransportProto.tls;
  readonly name = 'tls';
  readonly usesCrypto = true;
  readonly carriedBy = TransportProto.tcp;
  readonly host: SessionHost;
  readonly stats = new TlsStats();
  private readonly below: Transport | null;
  private readonly handshakes: Deadlines<TlsConnection>;
  private readonly lingering = new Deadlines<TlsConnection>(LINGER_MS, (connection) => connection.lingered());
  private readonly retries = new Deadlines<TlsConnection>(RETRY_MS, (connection) => this.activate(connection));
  /** Their handshake is done; the backlog of their application is full. */
  private readonly waiting = new Set<TlsConnection>();
  /** Of each listener: those in their handshake, and those that wait. */
  private readonly accepting = new Map<Session, number>();
  private active: TlsConnection[] = [];
  private immediate: NodeJS.Immediate | null = null;
  private memory: { slab: Slab; input: NativeMemory; gather: number; gatherPointer: bigint } | null = null;

  constructor(options: TlsTransportOptions) {
    this.host = options.host;
    this.below = options.below?.(this) ?? null;
    this.handshakes = new Deadlines(options.handshakeTimeoutMs ?? DEFAULT_HANDSHAKE_TIMEOUT_MS, (connection) => {
      this.uncount(connection);
      connection.handshakeTimedOut();
    });
  }

  /** Ends what would keep the loop alive. */
  dispose(): void {
    for (const deadlines of [this.handshakes, this.lingering, this.retries]) deadlines.close();
    if (this.immediate !== null) clearImmediate(this.immediate);
  }

  // --- Transport ---

  listen(listener: Session): number {
    const { config } = listener.crypto!;
    if (config.certificates.length === 0) return SessionError.tlsConfig;
    const code = this.tryContext(() => serverContext(config));
    if (code !== SessionError.none || this.below === null) return code;
    return this.below.listen(listener);
  }

  unlisten(listener: Session): void {
    this.below?.unlisten(listener);
    if (!this.accepting.has(listener)) return;
    for (const connection of [...this.handshakes.all, ...this.waiting]) if (connection.listener === listener) connection.reset();
    this.accepting.delete(listener);
  }

  connect(session: Session): number {
    if (this.below === null) return SessionError.noRoute;
    const code = this.tryContext(() => clientContext(session.crypto!.config));
    if (code !== SessionError.none) return code;
    const connection = new TlsConnection(this, session.crypto!, session, null);
    const lower = new LowerSession(connection, this.below);
    connection.carrier = lower;
    lower.worker = session.worker;
    lower.local.copyFrom(session.local);
    lower.remote.copyFrom(session.remote);
    const result = this.below.connect(lower);
    if (result !== SessionError.none) return result;
    session.local.copyFrom(lower.local);
    session.connection = connection;
    this.handshakes.add(connection);
    return SessionError.none;
  }

  connectLocal(session: Session, listener: Session, target: ListenerWorker): number {
    const code = this.tryContext(() => {
      clientContext(session.crypto!.config);
      serverContext(listener.crypto!.config);
    });
    if (code !== SessionError.none) return code;
    if (!this.mayHandshake(listener)) return SessionError.backlog;
    const [to, from] = LocalCarrier.pair();
    const client = new TlsConnection(this, session.crypto!, session, null);
    const server = new TlsConnection(this, listener.crypto!, null, listener, target);
    client.carrier = to;
    to.use(client);
    server.carrier = from;
    from.use(server);
    server.local.copyFrom(session.remote);
    server.remote.copyFrom(session.local);
    session.connection = client;
    this.handshakes.add(client);
    this.count(server);
    client.begin();
    server.begin();
    return SessionError.none;
  }

  /** One of the two does TLS by itself. */
  connectAcross(session: Session, listener: Session, target: ListenerWorker): number {
    const isClient = session.proto === this.proto;
    const crypto = isClient ? session.crypto! : listener.crypto!;
    const code = this.tryContext(() => (isClient ? clientContext(crypto.config) : serverContext(crypto.config)));
    if (code !== SessionError.none) return code;
    if (!isClient && !this.mayHandshake(listener)) return SessionError.backlog;
    const connection = isClient
      ? new TlsConnection(this, crypto, session, null)
      : new TlsConnection(this, crypto, null, listener, target);
    const carrier = new AppCarrier(this.host, connection);
    connection.carrier = carrier;
    connection.local.copyFrom(session.remote);
    connection.remote.copyFrom(session.local);
    let plain: Session | null = session;
    if (isClient) {
      plain = this.host.acceptNotify(listener, carrier.side, session.remote, session.local, target);
      if (plain === null) return SessionError.alloc;
      session.connection = connection;
      this.handshakes.add(connection);
    } else {
      session.transport = this.proto;
      session.connection = carrier.side;
      if (!this.host.connectNotify(session, SessionError.none)) return SessionError.none;
      this.count(connection);
    }
    plain.transport = this.proto;
    carrier.open(plain);
    connection.begin();
    return SessionError.none;
  }

  halfClose(session: Session): void {
    sideOf(session)?.halfClose();
  }

  close(session: Session): void {
    sideOf(session)?.close();
  }

  reset(session: Session): void {
    sideOf(session)?.reset();
  }

  abort(session: Session): void {
    sideOf(session)?.abort();
  }

  announcing(session: Session): void {
    const connection = connectionOf(session);
    const info = connection?.info;
    if (!info || !connection!.wantsDetails) return;
    const der = info.peerCertificate?.der ?? new Uint8Array(0);
    const message = {
      type: 'tlsDetails' as const,
      session: session.index,
      generation: session.generation,
      serverName: info.sni,
      version: info.version,
      cipher: info.cipher,
      resumed: info.sessionReused,
      certificate: der.length > MAX_CERTIFICATE ? '' : Buffer.from(der).toString('base64'),
    };
    // An application that does not read its socket does not hear of it.
    session.worker!.sendFds(message, []);
  }

  appWriteEvent(session: Session): void {
    sideOf(session)?.wrote();
  }

  appReadEvent(session: Session): void {
    sideOf(session)?.read();
  }

  attribute(session: Session, name: string, value?: number): number | undefined {
    return connectionOf(session)?.carrier.attribute(name, value);
  }

  format(session: Session, verbose: number): string {
    const connection = connectionOf(session);
    if (connection === null) return session.connection === null ? 'closed' : 'carries TLS of this stack';
    const { info, carrier } = connection;
    const settled =
      info === null || !info.handshakeComplete
        ? 'handshake'
        : [info.version, info.cipher, info.alpn === '' ? '' : `alpn ${info.alpn}`, info.sni === '' ? '' : `sni ${info.sni}`]
            .filter((part) => part !== '')
            .join(' ');
    return `${settled} | ${carrier.format(verbose)}`;
  }

  describe(session: Session): Record<string, unknown> {
    const connection = connectionOf(session);
    const info = connection?.info;
    if (connection === null || !info) return {};
    return {
      tlsVersion: info.version,
      cipher: info.cipher,
      curve: info.curve,
      alpn: info.alpn,
      sni: info.sni,
      resumed: info.sessionReused,
      peerSubject: info.peerCertificate?.subject ?? null,
      inputBytes: connection.carrier.input.length,
      outputBytes: connection.carrier.output.length,
      carrier: connection.carrier.format(0),
    };
  }

  // --- SessionHost, for the transport below ---

  deniesSource(fib: number, remote: Endpoint): boolean {
    return this.host.deniesSource(fib, remote);
  }

  findListener(_proto: number, fib: number, local: Endpoint, remote: Endpoint): Session | null {
    return this.host.findListener(this.proto, fib, local, remote);
  }

  /** Whoever comes while too many are in their handshake, or wait for the application, waits too. */
  mayAccept(listener: Session): boolean {
    return this.mayHandshake(listener) && this.host.mayAccept(listener);
  }

  acceptNotify(listener: Session, below: unknown, local: Endpoint, remote: Endpoint): Session | null {
    if (this.below === null || !this.mayHandshake(listener)) return null;
    const connection = new TlsConnection(this, listener.crypto!, null, listener);
    const lower = new LowerSession(connection, this.below);
    connection.carrier = lower;
    lower.worker = listener.worker;
    lower.local.copyFrom(local);
    lower.remote.copyFrom(remote);
    lower.connection = below;
    lower.open();
    connection.local.copyFrom(local);
    connection.remote.copyFrom(remote);
    this.count(connection);
    connection.begin();
    return lower;
  }

  connectNotify(session: Session, code: number): boolean {
    const lower = session as LowerSession;
    if (code !== SessionError.none) {
      lower.closed = true;
      (lower.user as TlsConnection).connectFailed(code);
      return false;
    }
    lower.open();
    (lower.user as TlsConnection).begin();
    return true;
  }

  halfClosedNotify(session: Session): void {
    const lower = session as LowerSession;
    lower.ended = true;
    lower.user.wake();
  }

  resetNotify(session: Session, code = 0): void {
    const lower = session as LowerSession;
    lower.ended = true;
    lower.user.carrierReset(code);
  }

  closedNotify(session: Session): void {
    const lower = session as LowerSession;
    lower.closed = lower.ended = true;
    lower.user.wake();
  }

  // --- TlsConnectionOwner ---

  get slab(): Slab {
    return this.shared.slab;
  }

  get input(): NativeMemory {
    return this.shared.input;
  }

  get gather(): number {
    return this.shared.gather;
  }

  get gatherPointer(): bigint {
    return this.shared.gatherPointer;
  }

  activate(connection: TlsConnection): void {
    if (connection.queued) return;
    connection.queued = true;
    this.active.push(connection);
    this.immediate ??= setImmediate(() => this.run());
  }

  retryLater(connection: TlsConnection): void {
    this.retries.delete(connection);
    this.retries.add(connection);
  }

  linger(connection: TlsConnection): void {
    this.lingering.add(connection);
  }

  handshakeDone(connection: TlsConnection): void {
    if (this.handshakes.delete(connection)) this.waiting.add(connection);
  }

  settled(connection: TlsConnection): void {
    if (this.handshakes.delete(connection) || this.waiting.delete(connection)) this.uncount(connection);
    this.lingering.delete(connection);
    this.retries.delete(connection);
  }

  // --- private ---

  private run(): void {
    this.immediate = null;
    const turn = this.active;
    this.active = [];
    for (const connection of turn) {
      connection.queued = false;
      if (connection.run()) this.activate(connection);
    }
  }

  private mayHandshake(listener: Session): boolean {
    const most = listener.accept?.backlog ?? 0;
    if ((this.accepting.get(listener) ?? 0) < most && this.handshakes.size + this.waiting.size < MAX_HANDSHAKES) return true;
    this.stats.handshakesHeld++;
    return false;
  }

  private count(connection: TlsConnection): void {
    this.handshakes.add(connection);
    const listener = connection.listener!;
    this.accepting.set(listener, (this.accepting.get(listener) ?? 0) + 1);
  }

  private uncount(connection: TlsConnection): void {
    const { listener } = connection;
    const n = listener === null ? undefined : this.accepting.get(listener);
    if (n === undefined) return;
    if (n > 1) this.accepting.set(listener!, n - 1);
    else this.accepting.delete(listener!);
  }

  private tryContext(make: () => void): number {
    try {
      make();
      return SessionError.none;
    } catch (error) {
      if (!(error instanceof TlsConfigError)) throw error;
      this.stats.lastFailure = error.message;
      return SessionError.tlsConfig;
    }
  }

  private get shared(): NonNullable<TlsTransport['memory']> {
    if (this.memory === null) {
      const slab = new Slab(SLAB_BLOCKS);
      const gather = slab.allocatePermanent();
      const input = NativeMemory.map(INPUT_BYTES);
      this.memory = { slab, input, gather, gatherPointer: BigInt(slab.address + gather) };
    }
    return this.memory;
  }
}

/** A session's connection, or that of a plain one which carries a connection's records. */
function sideOf(session: Session): SessionSide | null {
  return session.connection as SessionSide | null;
}

function connectionOf(session: Session): TlsConnection | null {
  return session.connection instanceof TlsConnection ? session.connection : null;
}
