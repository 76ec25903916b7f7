/**
 * A session as the application sees it: the FIFO pair, the state, and the calls that move bytes. Calls return a count, or a negative
 * errno as VPP's do (-EAGAIN: not now). Nothing here blocks; blocking versions wait in `VclWorker`.
 */
import { E } from '../../core/sys/libc.ts';
import type { CryptoConfig } from '../session/crypto_config.ts';
import { ADDRESSED_HEADER, type AddressedHeader, DATAGRAM_HEADER } from '../session/datagram_header.ts';
import { Endpoint } from '../session/endpoint.ts';
import { IoEvent } from '../session/messages.ts';
import { FifoConsumer } from '../svm/fifo_consumer.ts';
import { FifoLoans } from '../svm/fifo_loans.ts';
import { FifoProducer } from '../svm/fifo_producer.ts';
import { DequeueNotify } from '../svm/layout.ts';
import type { DatagramEndpoint } from './datagram.ts';
import type { SegmentEnd } from './shared_segment.ts';
import type { TlsDetails } from './tls_options.ts';
import type { VclWorker } from './worker.ts';

/** Of datagrams: their length. */
const HEADER = new Uint8Array(DATAGRAM_HEADER);
const HEADER_VIEW = new DataView(HEADER.buffer);

export const VclState = { created: 0, bound: 1, listening: 2, connecting: 3, ready: 4, closed: 5 } as const;
export type VclState = (typeof VclState)[keyof typeof VclState];

/** Readiness bits, with epoll's values. */
export const Ready = { in: 1, pri: 2, out: 4, err: 8, hup: 16, rdhup: 0x2000 } as const;

/** Who wants to know at once, in the thread's event loop, that something happened to a session. */
export interface SessionObserver {
  onSessionEvent(session: VclSession, events: number): void;
}

/** Who reads by reference: told when something was given back, and to call `settleLoans` soon. */
export interface LoanKeeper {
  loanReturned(session: VclSession): void;
}

/** Who collects readiness (an epoll set). */
export interface ReadinessWatcher {
  sessionReady(session: VclSession): void;
}

export class VclSession {
  readonly worker: VclWorker;
  readonly proto: number;
  /** Handle in its worker; -1 once closed. */
  sh: number;
  state: VclState = VclState.created;
  nonBlocking = false;
  v6only = false;
  /** Of TLS: what it listens or connects with. */
  crypto: CryptoConfig | null = null;
  /** Of TLS, in place of that: a registered certificate; -1: none. */
  certKeyPair = -1;
  /** Of a TLS connect: sent as SNI, and verified. */
  serverName = '';
  /** Of TLS: the application protocol that was chosen; '' for none. */
  alpnProtocol = '';
  /** Of TLS, when the configuration wants it: what the handshake settled. */
  tlsDetails: TlsDetails | null = null;
  /** Of a udp listener: the peers of the network are to share one session (asked for; once it listens: the stack gives it one). */
  connectionless = false;
  /** Of datagrams: what is sent is cut into pieces of so many bytes, a datagram each (UDP_SEGMENT); 0: it is one. */
  segmentBytes = 0;
  readonly local = new Endpoint();
  readonly remote = new Endpoint();
  /** errno of what ended it; 0: nothing. */
  error = 0;
  /** No more bytes will come. */
  readClosed = false;
  /** The peer takes no more bytes. */
  peerClosed = false;
  writeShut = false;
  /** Received bytes before this position of the stream are urgent; null: none was. */
  private urgentEnd: number | null = null;
  observer: SessionObserver | null = null;
  readonly watchers: ReadinessWatcher[] = [];
  /** Of a listener: connections not yet accepted. */
  readonly acceptQueue: VclSession[] = [];
  /** Of an accepted session: where it came from. */
  listener: VclSession | null = null;
  /** Of a listener: sessions accepted from it that are open. */
  accepted = 0;
  /** Of a listener: a connect waits for the next acceptance. */
  ringOnAccept = false;
  /** Of a bound datagram session: its peers. */
  datagrams: DatagramEndpoint | null = null;
  /** Set by the application and only kept here: see `attributes.ts`. */
  attributes: Map<string, number> | null = null;
  /** Its name in requests whose answer is still to come. */
  context = 0;
  /** The stack's name of it. */
  stackIndex = -1;
  stackGeneration = 0;
  /** Where its events come and go. */
  end: SegmentEnd | null = null;
  slot = -1;
  /** Where its bytes are: the same, unless another process of the peer uses the session now. */
  private memory: SegmentEnd | null = null;
  rx: FifoConsumer | null = null;
  tx: FifoProducer | null = null;
  private loans: FifoLoans | null = null;
  /** Free space from which on the session counts as writable again. */
  writeThreshold = 1;

  constructor(worker: VclWorker, proto: number, sh: number) {
    this.worker = worker;
    this.proto = proto;
    this.sh = sh;
  }

  /** Its bytes pass through the stack to a transport; else straight to another application. */
  get hasTransport(): boolean {
    return this.end !== null && this.end.bellFd === null;
  }

  /** Joins the session to its slot: from here on bytes can move. */
  attach(end: SegmentEnd, slot: number): void {
    this.end = end;
    this.slot = slot;
    this.memory = end;
    end.inUse++;
    end.sessions[slot] = this;
    this.rx = new FifoConsumer(end.segment, end.segment.fifoWord(slot, 1 - end.side), 1 - end.side);
    this.tx = new FifoProducer(end.arena, end.segment.fifoWord(slot, end.side));
    this.state = VclState.ready;
    // The peer may have written, and its event been taken, before this side knew of the session.
    this.rx.clearEvent();
  }

  /** Another process of the peer uses the session from now on: events take another way. Returns the one that they took. */
  reroute(end: SegmentEnd, slot: number): SegmentEnd {
    const before = this.leaveEvents()!;
    this.end = end;
    this.slot = slot;
    end.sessions[slot] = this;
    if (end !== this.memory) end.inUse++;
    // What was said the other way is not heard any more, on either side.
    this.rx!.clearEvent();
    end.toPeer.sendIo((slot << 2) | IoEvent.data);
    end.toPeer.sendIo((slot << 2) | IoEvent.room);
    return before;
  }

  /** Leaves the slot: both sides are done with it. Returns where it was. */
  detach(): SegmentEnd[] {
    const { memory } = this;
    if (memory === null) return [];
    const events = this.leaveEvents()!;
    this.endLoans();
    this.tx!.release();
    memory.inUse--;
    this.memory = null;
    this.end = null;
    this.rx = null;
    this.tx = null;
    return events === memory ? [memory] : [memory, events];
  }

  private leaveEvents(): SegmentEnd | null {
    const { end, slot } = this;
    if (end === null) return null;
    if (end.sessions[slot] === this) end.sessions[slot] = undefined;
    if (end !== this.memory) end.inUse--;
    return end;
  }

  /** Reads up to `length` bytes; 0 at the end of the stream. */
  read(target: Uint8Array, offset = 0, length = target.length - offset): number {
    const { rx } = this;
    if (rx === null) return this.unreadable();
    const n = rx.read(target, offset, length);
    if (n > 0) {
      if (rx.shouldNotify()) this.end!.toPeer.sendIo((this.slot << 2) | IoEvent.room);
      return n;
    }
    return length === 0 ? 0 : this.emptyRead();
  }

  /** What a read of an empty session says: 0 at the end, -EAGAIN while there may be more, or the errno that ended it. */
  get endState(): number {
    return this.rx === null ? this.unreadable() : this.emptyRead();
  }

  /** Copies what comes next without taking it. */
  peek(target: Uint8Array, offset = 0, length = target.length - offset): number {
    const n = this.rx === null ? 0 : this.rx.peek(0, target, offset, length);
    return n > 0 ? n : this.rx === null ? this.unreadable() : this.emptyRead();
  }

  /** Zero-copy read: views of up to `length` bytes, valid until `freeSegments`. Returns the bytes they cover. */
  readSegments(views: Uint8Array[], length = 0x7fff_ffff): number {
    if (this.rx === null) return this.unreadable();
    const n = this.rx.segments(length, views);
    return n > 0 ? n : this.emptyRead();
  }

  /** Gives back the first `length` bytes of what `readSegments` showed. */
  freeSegments(length: number): void {
    const { rx } = this;
    if (rx === null) return;
    rx.drop(length);
    if (rx.shouldNotify()) this.end!.toPeer.sendIo((this.slot << 2) | IoEvent.room);
  }

  /**
   * Reads by reference: lends up to `length` bytes as one slice of the slab that the worker has windows of. Its length, and where it lies in
   * `loanOffset`; 0 when the next bytes have to be copied (`read`), or there are none. The peer's room comes back when the slice is released.
   */
  lend(length: number, keeper: LoanKeeper): number {
    let { loans } = this;
    if (loans === null) {
      const window = this.memory?.window ?? null;
      if (this.rx === null || window === null || this.state === VclState.closed) return 0;
      loans = this.loans = new FifoLoans(this.rx, window, () => keeper.loanReturned(this));
    }
    return loans.lend(length);
  }

  /** Of the slice that `lend` gave out last. */
  get loanOffset(): number {
    return this.loans!.offset;
  }

  /** Gives the peer the room of loans that came back. */
  settleLoans(): void {
    const { loans, rx } = this;
    if (loans === null) return;
    loans.settle();
    if (rx!.shouldNotify()) this.end!.toPeer.sendIo((this.slot << 2) | IoEvent.room);
  }

  /** Nothing is read any more: what is still on loan becomes a copy, and the peer may use its memory again. */
  endLoans(): void {
    this.loans?.end();
    this.loans = null;
  }

  /** Writes up to `length` bytes and tells the peer. A short count means that the FIFO is full: a `Ready.out` event follows. */
  write(source: Uint8Array, offset = 0, length = source.length - offset): number {
    const n = this.writeQuietly(source, offset, length);
    if (n > 0) this.announceWritten();
    return n;
  }

  /** As `write`, for a caller that calls `announceWritten` after the last of several. */
  writeQuietly(source: Uint8Array, offset: number, length: number): number {
    const { tx } = this;
    if (tx === null || this.writeShut || this.peerClosed || this.error !== 0) return this.unwritable();
    let n = tx.write(source, offset, length);
    if (n < length && !tx.corrupted) n += this.retryWrite(tx, source, offset + n, length - n);
    return n > 0 || length === 0 ? n : tx.corrupted ? this.fail(E.CONNRESET) : -E.AGAIN;
  }

  announceWritten(): void {
    if (this.tx !== null) this.announce(this.tx);
  }

  /** As `write`, for a caller that looks again by itself: a short count brings no event. */
  tryWrite(source: Uint8Array, offset: number, length: number): number {
    const { tx } = this;
    if (tx === null || this.writeShut || this.peerClosed || this.error !== 0) return this.unwritable();
    const n = tx.write(source, offset, length);
    if (n === 0 && length > 0) return tx.corrupted ? this.fail(E.CONNRESET) : -E.AGAIN;
    this.announce(tx);
    return n;
  }

  /** Zero-copy write: views of up to `length` bytes to fill, then `writeCommit`. Returns the bytes offered. */
  writeSegments(views: Uint8Array[], length: number): number {
    const { tx } = this;
    if (tx === null || this.writeShut || this.peerClosed || this.error !== 0) return this.unwritable();
    let n = tx.reserve(length, views);
    if (n === 0 && length > 0) {
      if (!tx.wantDequeueNotify(DequeueNotify.Room, 1)) return -E.AGAIN;
      n = tx.reserve(length, views);
    }
    return n > 0 || length === 0 ? n : -E.AGAIN;
  }

  /** Sends the first `length` bytes of what `writeSegments` offered. */
  writeCommit(length: number): void {
    const { tx } = this;
    if (tx === null || length <= 0) return;
    tx.commit(length);
    this.announce(tx);
  }

  /** Writes a datagram, all or nothing (-EAGAIN: a `Ready.out` event follows). */
  writeDatagram(source: Uint8Array, offset: number, length: number): number {
    const { tx } = this;
    if (tx === null || this.writeShut || this.peerClosed || this.error !== 0) return this.unwritable();
    HEADER_VIEW.setUint32(0, length);
    return this.writeRecord(tx, HEADER, source, offset, length);
  }

  /** `writeDatagram` on a session for all peers: `header` says who is meant. */
  writeAddressed(header: AddressedHeader, source: Uint8Array, offset: number, length: number): number {
    const { tx } = this;
    if (tx === null || this.peerClosed || this.error !== 0) return this.unwritable();
    header.length = length;
    return this.writeRecord(tx, header.bytes, source, offset, length);
  }

  private writeRecord(tx: FifoProducer, header: Uint8Array, source: Uint8Array, offset: number, length: number): number {
    const total = header.length + length;
    if (total > tx.capacity) return -E.MSGSIZE;
    if (!tx.writePair(header, source, offset, length)) {
      if (tx.corrupted) return this.fail(E.CONNRESET);
      if (!tx.wantDequeueNotify(DequeueNotify.Room, total) || !tx.writePair(header, source, offset, length)) return -E.AGAIN;
    }
    this.announce(tx);
    return length;
  }

  /** Takes the next datagram, cut to `length`; -EAGAIN when there is none. */
  readDatagram(target: Uint8Array, offset: number, length: number): number {
    const { rx } = this;
    if (rx === null) return this.unreadable();
    const used = rx.used;
    if (used === 0) return this.readClosed && this.error === 0 ? -E.AGAIN : this.emptyRead();
    if (rx.peek(0, HEADER, 0, HEADER.length) < HEADER.length) return this.fail(E.CONNRESET);
    return this.takeRecord(rx, HEADER.length, HEADER_VIEW.getUint32(0), used, target, offset, length);
  }

  /** `readDatagram` on a session for all peers: `header` says whose it was. */
  readAddressed(header: AddressedHeader, target: Uint8Array, offset: number, length: number): number {
    const { rx } = this;
    if (rx === null) return this.unreadable();
    const used = rx.used;
    if (used === 0) return this.emptyRead();
    if (rx.peek(0, header.bytes, 0, ADDRESSED_HEADER) < ADDRESSED_HEADER) return this.fail(E.CONNRESET);
    return this.takeRecord(rx, ADDRESSED_HEADER, header.length, used, target, offset, length);
  }

  private takeRecord(
    rx: FifoConsumer,
    headerBytes: number,
    bytes: number,
    used: number,
    target: Uint8Array,
    offset: number,
    length: number,
  ): number {
    // A header and its bytes come together: anything else is a peer's mistake.
    if (bytes > used - headerBytes) return this.fail(E.CONNRESET);
    rx.drop(headerBytes);
    const n = rx.read(target, offset, Math.min(length, bytes));
    rx.drop(bytes - n);
    if (rx.shouldNotify()) this.end!.toPeer.sendIo((this.slot << 2) | IoEvent.room);
    return n;
  }

  /** What could be done now without -EAGAIN. */
  get readiness(): number {
    if (this.datagrams !== null) return this.datagrams.readiness;
    if (this.state === VclState.listening) return this.acceptQueue.length > 0 ? Ready.in : 0;
    if (this.state === VclState.connecting) return 0;
    let mask = 0;
    if (this.error !== 0) mask |= Ready.err | Ready.hup | Ready.in | Ready.out;
    if (this.readClosed) mask |= Ready.in | Ready.rdhup;
    if (this.rx !== null && this.rx.used > 0) mask |= Ready.in;
    if (this.urgentEnd !== null && this.urgent > 0) mask |= Ready.pri;
    if (this.peerClosed) mask |= Ready.out | Ready.hup;
    else if (this.tx !== null && !this.writeShut && this.writable(this.tx)) mask |= Ready.out;
    return mask;
  }

  /** Bytes that can be read. */
  get readable(): number {
    return this.rx === null ? 0 : this.rx.used;
  }

  /** Bytes to be read until the peer's urgent data is over, some of which may be on their way; 0: none is urgent. */
  get urgent(): number {
    if (this.urgentEnd === null || this.rx === null) return 0;
    const left = (this.urgentEnd - this.rx.position) | 0;
    if (left <= 0) this.urgentEnd = null;
    return Math.max(left, 0);
  }

  /** The peer's urgent data ends at that position. */
  noteUrgent(end: number): void {
    this.urgentEnd = end;
    this.raise(Ready.pri);
  }

  /** Says to observer and epoll sets that something happened. */
  raise(events: number): void {
    for (let i = 0; i < this.watchers.length; i++) this.watchers[i].sessionReady(this);
    this.observer?.onSessionEvent(this, events);
  }

  /** The session has failed; reads give what is left, then the error. */
  fail(errno: number): number {
    if (this.error === 0) this.error = errno;
    this.readClosed = true;
    this.peerClosed = true;
    return -errno;
  }

  private announce(tx: FifoProducer): void {
    if (tx.raiseEvent()) this.end!.toPeer.sendIo((this.slot << 2) | IoEvent.data);
    this.worker.noteWrite();
  }

  /** Asks to hear of room; takes what has become free in that moment. */
  private retryWrite(tx: FifoProducer, source: Uint8Array, offset: number, length: number): number {
    if (!tx.wantDequeueNotify(DequeueNotify.Room, Math.min(Math.max(this.writeThreshold, tx.capacity >> 2), tx.capacity)))
      return 0;
    const n = tx.write(source, offset, length);
    if (n === 0) this.worker.starved(this);
    return n;
  }

  private writable(tx: FifoProducer): boolean {
    return tx.free > 0 || tx.wantDequeueNotify(DequeueNotify.Room, Math.max(1, tx.capacity >> 2));
  }

  private emptyRead(): number {
    if (this.rx!.corrupted) return this.fail(E.CONNRESET);
    if (this.error !== 0) return -this.error;
    return this.readClosed ? 0 : -E.AGAIN;
  }

  private unreadable(): number {
    if (this.error !== 0) return -this.error;
    if (this.state === VclState.connecting) return -E.AGAIN;
    return this.readClosed ? 0 : -E.NOTCONN;
  }

  private unwritable(): number {
    if (this.state === VclState.connecting) return -E.AGAIN;
    if (this.error !== 0) return -this.error;
    return this.writeShut || this.peerClosed ? -E.PIPE : -E.NOTCONN;
  }
}
