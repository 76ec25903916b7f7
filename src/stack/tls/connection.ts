/**
 * One TLS session of the stack: moves plaintext between the application's FIFOs and the engine, and records between the engine and the
 * carrier. Everything is done in `run`, which the transport calls after `wake`.
 *
 * Each direction stops when the next one is full: records stay in the carrier's queue (and close TCP's window) while the application does
 * not read, plaintext stays in the application's FIFO while the carrier does not send. At most one record's plaintext waits outside of them.
 *
 * The end of the stream is the peer's close_notify; a carrier that ends without one has cut the stream off, and the application sees a
 * reset (RFC 8446 6.1). The application's half-close is close_notify and the carrier's half-close. After the last word the carrier gets
 * a while to deliver it: data of the peer that met a closed TCP would bring a reset, which overtakes the word.
 */
import { isIP } from 'node:net';
import type { Slab } from '../../core/buffer/slab.ts';
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import { ClientHelloStatus, parseClientHello } from '../../core/tls/client_hello.ts';
import { CLOSED, FAILED, HANDSHAKE_DONE, type TlsEngine } from '../../core/tls/engine.ts';
import { TlsConfigError } from '../../core/tls/errors.ts';
import type { TlsInfo } from '../../core/tls/info.ts';
import type { SessionCrypto } from '../session/crypto_config.ts';
import { Endpoint } from '../session/endpoint.ts';
import { SessionError } from '../session/errors.ts';
import type { ListenerWorker, Session } from '../session/session.ts';
import type { SessionHost } from '../session/transport.ts';
import type { SessionSide } from './app_carrier.ts';
import type { Carrier, CarrierUser } from './carrier.ts';
import { clientContext, serverContext } from './contexts.ts';
import type { TlsStats } from './stats.ts';

const MAX_CLIENT_HELLO = 17 * 1024;
/** After so many bytes others have their turn. */
const BYTES_PER_RUN = 256 * 1024;
/** More than a record adds. */
const RECORD_OVERHEAD = 256;
/** No record is cut for less room than that. */
const MIN_ROOM = 4096;
/** Answers to alerts and key updates that the peer does not take: beyond that it is an attack. */
const MAX_UNTAKEN_CONTROL = 32 * 1024;

/** `waiting`: the handshake is done, and the application's backlog is full. */
const Phase = { connecting: 0, handshake: 1, waiting: 2, open: 3, over: 4 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/** What the connections of a stack share, and what they ask of the transport. */
export interface TlsConnectionOwner {
  readonly host: SessionHost;
  readonly stats: TlsStats;
  readonly slab: Slab;
  /** Records on their way into the engine. */
  readonly input: { readonly u8: Uint8Array; readonly address: number; readonly size: number };
  /** Plaintext on its way into the engine: a block of the slab. */
  readonly gather: number;
  readonly gatherPointer: bigint;
  /** Calls `run` soon. */
  activate(connection: TlsConnection): void;
  /** There was no memory, and nothing says when there is. */
  retryLater(connection: TlsConnection): void;
  /** Calls `lingered` in a while. */
  linger(connection: TlsConnection): void;
  /** The handshake is done, though nobody has the connection yet. */
  handshakeDone(connection: TlsConnection): void;
  /** The application has the connection, or it is over. */
  settled(connection: TlsConnection): void;
}

export class TlsConnection implements CarrierUser, SessionSide {
  queued = false;
  carrier!: Carrier;
  info: TlsInfo | null = null;
  /** Of an accepted one. */
  readonly listener: Session | null;
  readonly local = new Endpoint();
  readonly remote = new Endpoint();
  private readonly owner: TlsConnectionOwner;
  private readonly crypto: SessionCrypto;
  private readonly target: ListenerWorker | undefined;
  private readonly listenerGeneration: number;
  private readonly control: SliceBuffer;
  private phase: Phase = Phase.connecting;
  private session: Session | null;
  private engine: TlsEngine | null = null;
  /** Plaintext of one record that the application's FIFO had no room for. */
  private leftover: Uint8Array | null = null;
  private leftoverAt = 0;
  /** The peer has said close_notify, and the application knows. */
  private readEnded = false;
  private endSaid = false;
  private finWanted = false;
  private finSent = false;
  private closing = false;

  /** `session` null: accepted for `listener`, and `target` of its workers when that is chosen already. */
  constructor(
    owner: TlsConnectionOwner,
    crypto: SessionCrypto,
    session: Session | null,
    listener: Session | null,
    target?: ListenerWorker,
  ) {
    this.owner = owner;
    this.crypto = crypto;
    this.session = session;
    this.listener = listener;
    this.target = target;
    this.listenerGeneration = listener === null ? 0 : listener.generation;
    this.control = new SliceBuffer(owner.slab);
  }

  /** The carrier is up. */
  begin(): void {
    this.phase = Phase.handshake;
    this.wake();
  }

  get wantsDetails(): boolean {
    return this.crypto.config.details;
  }

  get handshaking(): boolean {
    return this.phase <= Phase.handshake;
  }

  wake(): void {
    this.owner.activate(this);
  }

  /** Moves what can be moved; true: there is more to do. */
  run(): boolean {
    if (this.phase === Phase.handshake) this.handshake();
    else if (this.phase === Phase.waiting) this.accept();
    if (this.phase === Phase.open) return this.move();
    if (this.phase === Phase.over) this.finish();
    return false;
  }

  // --- what the application does ---

  wrote(): void {
    this.wake();
  }

  read(): void {
    this.wake();
  }

  halfClose(): void {
    this.finWanted = true;
    this.wake();
  }

  /** What is in the send FIFO is still delivered. */
  close(): void {
    this.closing = this.finWanted = true;
    this.leftover = null;
    this.wake();
  }

  reset(): void {
    const connected = this.phase === Phase.open;
    if (!connected) this.session = null;
    this.stop();
    this.carrier.reset();
    if (connected) this.releaseSession();
  }

  // --- what happens below ---

  /** The connect of the carrier has failed. */
  connectFailed(code: number): void {
    const { session } = this;
    this.session = null;
    this.stop();
    if (session !== null) this.owner.host.connectNotify(session, code);
  }

  carrierReset(code: number): void {
    const { phase, session } = this;
    this.stop();
    if (session === null) return;
    if (phase === Phase.open) {
      this.owner.host.resetNotify(session, code);
      this.releaseSession();
    } else if (phase !== Phase.over) {
      this.session = null;
      this.owner.host.connectNotify(session, code || SessionError.reset);
    }
  }

  // --- time ---

  handshakeTimedOut(): void {
    if (!this.handshaking) return;
    const { session } = this;
    this.owner.stats.handshakeTimeouts++;
    this.session = null;
    this.stop();
    this.carrier.reset();
    if (session !== null) this.owner.host.connectNotify(session, SessionError.timedOut);
  }

  lingered(): void {
    this.carrier.close();
  }

  // --- handshake ---

  private handshake(): void {
    if (this.engine === null && !this.makeEngine()) return;
    const { carrier, owner } = this;
    const engine = this.engine!;
    for (;;) {
      const n = this.peekInput();
      const result = engine.handshake();
      const taken = n - engine.inputLeft;
      this.sendControl(engine);
      carrier.input.consume(taken);
      if (result === HANDSHAKE_DONE) {
        this.established(engine);
        return;
      }
      if (result === FAILED) {
        if (engine.verifyFailure !== null) owner.stats.verifyFailures++;
        this.handshakeFailed(
          engine.verifyFailure !== null ? SessionError.tlsVerify : SessionError.tlsHandshake,
          engine.failureReason,
        );
        return;
      }
      if (carrier.input.length === 0) break;
    }
    if (carrier.ended) this.handshakeFailed(SessionError.reset, 'the peer has left');
  }

  /** False: not yet, or it cannot be. */
  private makeEngine(): boolean {
    const { config, serverName } = this.crypto;
    try {
      if (this.listener === null) {
        this.engine = clientContext(config).connect({
          serverName: isIP(serverName) === 0 ? serverName : '',
          alpn: config.alpn,
          verifyNames: config.verifyNames ?? (serverName === '' ? [] : [serverName]),
        });
      } else {
        const { input } = this.carrier;
        const n = this.peekInput();
        const hello = parseClientHello(this.owner.input.u8.subarray(0, n));
        if (hello.status === ClientHelloStatus.NeedMore && input.length < MAX_CLIENT_HELLO) {
          if (this.carrier.ended) this.handshakeFailed(SessionError.reset, 'the peer has left');
          return false;
        }
        this.engine = serverContext(config).accept(hello);
      }
    } catch (error) {
      if (!(error instanceof TlsConfigError)) throw error;
      this.handshakeFailed(SessionError.tlsConfig, error.message);
      return false;
    }
    this.info = this.engine.info;
    return true;
  }

  private established(engine: TlsEngine): void {
    const { owner, session } = this;
    const { stats } = owner;
    if (engine.info.sessionReused) stats.resumed++;
    if (this.listener !== null) {
      stats.handshakesAccepted++;
      owner.handshakeDone(this);
      this.phase = Phase.waiting;
      this.accept();
      if (this.phase === Phase.waiting) stats.acceptsDelayed++;
      return;
    }
    stats.handshakesConnected++;
    this.phase = Phase.open;
    owner.settled(this);
    session!.alpn = this.alpn(engine);
    if (owner.host.connectNotify(session!, SessionError.none)) return;
    this.session = null;
    this.stop();
    this.carrier.reset();
  }

  /** While the backlog of the application is full the connection waits, as those of TCP; what the peer sends fills the carrier's queue. */
  private accept(): void {
    const { owner } = this;
    const { host } = owner;
    const listener = this.listener!;
    const isThere = (): boolean => listener.generation === this.listenerGeneration && listener.accept !== null;
    if (isThere() && !host.mayAccept(listener) && isThere()) {
      owner.retryLater(this);
      return;
    }
    const target = isThere()
      ? listener.accept!.workers.find((entry) => entry === this.target && !entry.worker.overloaded)
      : undefined;
    this.phase = Phase.open;
    owner.settled(this);
    const alpn = this.alpn(this.engine!);
    this.session = isThere() ? host.acceptNotify(listener, this, this.local, this.remote, target, alpn) : null;
    if (this.session !== null) return;
    this.stop();
    this.carrier.reset();
  }

  /** 1-based in the application's list; 0: none. */
  private alpn(engine: TlsEngine): number {
    return this.crypto.config.alpn.indexOf(engine.info.alpn) + 1;
  }

  private handshakeFailed(code: number, reason: string): void {
    const { session, owner } = this;
    owner.stats.handshakeFailures++;
    owner.stats.lastFailure = reason;
    this.session = null;
    this.end();
    if (session !== null) owner.host.connectNotify(session, code);
  }

  // --- open ---

  private move(): boolean {
    let budget = this.receive(BYTES_PER_RUN);
    if (this.phase !== Phase.open) return false;
    budget = this.send(budget);
    if (this.phase !== Phase.open) return false;
    if (this.carrier.closed && this.endSaid) {
      this.stop();
      this.releaseSession();
    }
    return budget <= 0;
  }

  private receive(budget: number): number {
    const { carrier, owner } = this;
    const { input } = carrier;
    const engine = this.engine!;
    if (this.closing) {
      // Nobody reads any more.
      input.consume(input.length);
      this.endSaid = true;
      return budget;
    }
    while (this.leftover === null || this.deliverLeftover()) {
      if (this.phase !== Phase.open || budget <= 0) return budget;
      if (input.length === 0 || this.readEnded) break;
      const n = this.peekInput();
      let result: number;
      do {
        result = engine.read(owner.slab);
        if (engine.outputPending > 0) this.sendControl(engine);
        if (result <= 0) break;
        budget -= result;
        this.deliver(owner.slab.u8, engine.offset, result);
        owner.slab.release(engine.offset);
      } while (engine.inputLeft > 0 && this.leftover === null && this.phase === Phase.open);
      if (this.phase !== Phase.open) return budget;
      input.consume(n - engine.inputLeft);
      if (result === CLOSED) this.readEnded = true;
      else if (result === FAILED) {
        owner.stats.recordFailures++;
        owner.stats.lastFailure = engine.failureReason;
        this.fail(SessionError.tlsHandshake);
        return budget;
      }
    }
    if (this.phase === Phase.open && this.leftover === null && !this.endSaid) this.lookForEnd();
    return budget;
  }

  private lookForEnd(): void {
    const { carrier, owner } = this;
    const cutOff = !this.readEnded && carrier.ended && carrier.input.length === 0;
    if (this.readEnded || (cutOff && this.crypto.config.allowTruncation)) {
      carrier.input.consume(carrier.input.length);
      this.endSaid = true;
      owner.host.halfClosedNotify(this.session!);
    } else if (cutOff) {
      owner.stats.truncated++;
      this.fail(SessionError.tlsTruncated);
    }
  }

  /** Plaintext to the application; what has no room waits as `leftover`. */
  private deliver(from: Uint8Array, at: number, length: number): void {
    const n = this.place(from, at, length);
    if (n === length || this.phase !== Phase.open) return;
    this.leftover = from.slice(at + n, at + length);
    this.leftoverAt = 0;
  }

  /** False: it waits for room. */
  private deliverLeftover(): boolean {
    const fifo = this.session!.fifos!.receive;
    for (let tries = 0; tries < 2; tries++) {
      const leftover = this.leftover!;
      this.leftoverAt += this.place(leftover, this.leftoverAt, leftover.length - this.leftoverAt);
      if (this.phase !== Phase.open) return false;
      if (this.leftoverAt === leftover.length) {
        this.leftover = null;
        return true;
      }
      // With room but no memory: when all is read there is some again.
      const wanted = fifo.free > 0 ? fifo.limit : Math.min(leftover.length - this.leftoverAt, fifo.limit >> 1);
      if (!fifo.wantRoom(wanted)) return false;
    }
    this.owner.retryLater(this);
    return false;
  }

  /** Bytes that the application's FIFO took. */
  private place(from: Uint8Array, at: number, length: number): number {
    const fifo = this.session!.fifos!.receive;
    let done = 0;
    while (done < length) {
      const n = Math.min(length - done, fifo.free);
      if (n === 0 || !fifo.write(0, from, at + done, n)) break;
      fifo.commit(n);
      done += n;
    }
    if (fifo.corrupted) this.abort();
    return done;
  }

  private send(budget: number): number {
    const { carrier, owner } = this;
    const { output } = carrier;
    const { slab } = owner;
    const engine = this.engine!;
    const fifo = this.session!.fifos!.send;
    while (fifo.length > 0 && !this.finSent && !carrier.closed) {
      if (budget <= 0) return budget;
      if (output.free < MIN_ROOM && !output.wantRoom(output.limit >> 1)) return budget;
      const length = Math.min(fifo.length, engine.maxWrite, output.free - RECORD_OVERHEAD);
      const copied = fifo.copyOut(0, slab.u8, owner.gather, length);
      const record = copied === length ? engine.write(slab, owner.gatherPointer, length) : FAILED;
      if (record < 0) {
        this.abort();
        return budget;
      }
      fifo.drop(length);
      output.append(slab.u8, engine.offset, record);
      slab.release(engine.offset);
      budget -= length;
    }
    if (fifo.corrupted) this.abort();
    else if (this.finWanted && !this.finSent) {
      this.finSent = true;
      engine.closeNotify();
      this.sendControl(engine);
      carrier.halfClose();
    }
    if (this.closing && this.phase === Phase.open) {
      this.end();
      this.releaseSession();
    }
    return budget;
  }

  /** An operator, or an application that damages its FIFOs: reset on both sides. */
  abort(): void {
    const { session } = this;
    if (session !== null && this.phase === Phase.open) this.owner.host.resetNotify(session);
    this.reset();
  }

  /** Records went wrong; the alert that says so is on its way. */
  private fail(code: number): void {
    this.owner.host.resetNotify(this.session!, code);
    this.end();
    this.releaseSession();
  }

  // --- the end ---

  /** TLS is over. What was said is delivered, then the carrier closes. */
  private end(): void {
    const { carrier, owner } = this;
    this.stop();
    carrier.input.consume(carrier.input.length);
    carrier.halfClose();
    if (!carrier.ended && !carrier.closed) owner.linger(this);
    this.wake();
  }

  private finish(): void {
    const { carrier } = this;
    carrier.input.consume(carrier.input.length);
    if (!carrier.ended && !carrier.closed) return;
    this.owner.settled(this);
    carrier.close();
  }

  private stop(): void {
    this.phase = Phase.over;
    this.owner.settled(this);
    this.engine?.free();
    this.engine = null;
    this.leftover = null;
  }

  private releaseSession(): void {
    const { session } = this;
    if (session === null) return;
    this.session = null;
    session.connection = null;
    this.owner.host.closedNotify(session);
  }

  // --- engine ---

  /** The first bytes of the queue become the engine's input. */
  private peekInput(): number {
    const { input } = this.owner;
    const queue = this.carrier.input;
    const n = Math.min(queue.length, input.size);
    if (n > 0) queue.copyOut(0, input.u8, 0, n);
    this.engine?.setInput(input.address, n);
    return n;
  }

  /** Handshake messages, alerts, answers to key updates. */
  private sendControl(engine: TlsEngine): void {
    const { control, carrier } = this;
    engine.takeOutput(control);
    const { output } = carrier;
    const { u8 } = this.owner.slab;
    for (let i = 0; i < control.slices; i++) output.append(u8, control.offsetAt(i), control.lengthAt(i));
    control.clear();
    if (this.phase === Phase.open && output.length > output.limit + MAX_UNTAKEN_CONTROL) this.abort();
  }
}
