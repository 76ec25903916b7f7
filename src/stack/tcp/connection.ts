/**
 * One TCP connection: the transmission control block of RFC 9293 3.3.1 and what the application may ask of it. Segments are handled in
 * `input.ts`, acknowledgments and losses in `loss_recovery.ts`, transmission in `output.ts`, timers in `timers.ts`; all work on this object.
 *
 * Application callbacks run from `Tcp.flush`, never from within the handling of a segment, so they may call anything here.
 */
import { WheelTimer } from '../../core/event/timer_wheel.ts';
import type { IpAddress } from '../ip/address.ts';
import { ReceiveBuffer, type ReceiveSink, SendBuffer, type SendSource } from './byte_buffers.ts';
import { type CcName, type CcState, type CongestionControl, newCongestionControl } from './cc/congestion_control.ts';
import type { TcpListener } from './listener.ts';
import type { TcpRoute } from './lower.ts';
import { sendReset } from './output.ts';
import { Rack } from './rack.ts';
import { RateEstimator } from './rate.ts';
import { Reassembly } from './reassembly.ts';
import { RttEstimator } from './rtt.ts';
import { type DeliveryObserver, Scoreboard, type SentRange } from './scoreboard.ts';
import { seqDiff, seqLt } from './seq.ts';
import { type TcpError, TcpState, tcpStateName } from './state.ts';
import type { Tcp } from './tcp.ts';
import { onAckTimer, onRetransmitTimer, onStateTimer } from './timers.ts';

export const TcpEvent = { connected: 1, data: 2, space: 4, end: 8, closed: 16, urgent: 32 } as const;

/** The application's side. All optional: an application that polls needs none. */
export interface TcpApp {
  /** The handshake is over. Called at once, before any data is stored: the place to change `source` and `sink`, and for nothing else. */
  onEstablished?(connection: TcpConnection): void;
  onConnected?(connection: TcpConnection): void;
  /** There are new bytes in `received`. */
  onData?(connection: TcpConnection): void;
  /** There is urgent data, or more of it (`urgentBytes`). */
  onUrgent?(connection: TcpConnection): void;
  /** Acknowledgments made room in `sending`. */
  onSpace?(connection: TcpConnection): void;
  /** The peer sends no more. */
  onEnd?(connection: TcpConnection): void;
  /** The connection is gone; nothing follows. */
  onClosed?(connection: TcpConnection, error: TcpError): void;
  /** The application keeps no reference beyond `onClosed`: the object may be used for another connection. */
  readonly recycles?: boolean;
}

export const NO_SACK = new Int32Array(0);

export const CaState = { open: 0, recovery: 1, loss: 2 } as const;
export type CaState = (typeof CaState)[keyof typeof CaState];

class ConnectionTimer extends WheelTimer {
  private readonly connection: TcpConnection;
  private readonly run: (connection: TcpConnection) => void;

  constructor(connection: TcpConnection, run: (connection: TcpConnection) => void) {
    super();
    this.connection = connection;
    this.run = run;
  }

  onTimer(): void {
    this.run(this.connection);
  }
}

export class TcpConnection implements CcState, DeliveryObserver {
  readonly tcp: Tcp;
  local: IpAddress;
  remote: IpAddress;
  localPort: number;
  remotePort: number;
  /** Number of the forwarding table that it belongs to. */
  fib: number;
  /** Chain of the lookup table. */
  hashNext: TcpConnection | null = null;
  app: TcpApp | null = null;
  /** For the application's own use. */
  context: unknown = null;
  /** The listener it came from, until it is accepted. */
  listener: TcpListener | null = null;
  route: TcpRoute | null = null;
  state: TcpState = TcpState.closed;
  error: TcpError = 'none';
  /** TcpEvent bits that the application has not been told yet. */
  events = 0;
  /** In `Tcp.dirty`. */
  scheduled = false;
  /** In the list of TIME-WAIT connections. */
  waiting = false;
  /** Its application has been told the end and keeps no reference: the object is used again. */
  released = false;

  // Send sequence space.
  iss = 0;
  sndUna = 0;
  sndNxt = 0;
  sndWnd = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  sndScale = 0;
  maxSndWnd = 0;
  /** Sequence number of the first byte in `sending`. */
  bufferSeq = 0;
  /** The application writes no more: a FIN follows the last byte. */
  finQueued = false;
  finSent = false;
  finAcked = false;
  /** Octets before `sndUp` are urgent, while the flag is set. */
  sndUp = 0;
  sndUrgent = false;

  // Receive sequence space.
  irs = 0;
  rcvNxt = 0;
  /** Right edge of the window as advertised. */
  rcvAdv = 0;
  rcvScale = 0;
  finReceived = false;
  /** Sequence number of the peer's FIN, when it came out of order. */
  finSeq = 0;
  finPending = false;
  /** Octets before `rcvUp` are urgent, until the application has read them: then the flag is of no meaning (see `urgentBytes`). */
  rcvUp = 0;
  rcvUrgent = false;
  /** The application takes no more: data that comes is answered by a reset. */
  receiveClosed = false;
  rcvMss = 536;

  // Options.
  /** Both sides offered window scaling. */
  scaling = false;
  timestamps = false;
  sackEnabled = false;
  noDelay: boolean;
  /** Both sides use ECN (RFC 3168). */
  ecn = false;
  /** Our SYN asked for it. */
  ecnAsked = false;
  /** Receiver: a mark has come; acknowledgments say so until the peer has reduced its window. */
  ecnEcho = false;
  /** The segment that is being handled carries a mark. */
  ecnMarked = false;
  /** Sender: the window was reduced; the next new data says so. */
  ecnReduced = false;
  /** Sender: one reduction per window, which ends here. */
  ecnWindowEnd = 0;
  /** Differentiated services code point (RFC 2474). */
  dscp = 0;
  /** Most bytes per segment that the application wants; 0: no wish. */
  userMss = 0;
  userTimeoutMs: number;
  keepAliveIdleMs: number;
  keepAliveIntervalMs: number;
  keepAliveProbes: number;
  tsRecent = 0;
  tsRecentUs = 0;
  tsOffset = 0;
  lastAckSent = 0;
  peerMss = 536;
  /** Payload bytes per segment without SACK blocks. */
  mss = 536;
  pathMtu = 0;

  /** The application's own buffers, unless a session's FIFOs take their place as `source` and `sink`. */
  readonly sending: SendBuffer;
  readonly received: ReceiveBuffer;
  source: SendSource;
  sink: ReceiveSink;
  readonly reassembly = new Reassembly();
  readonly scoreboard = new Scoreboard();
  readonly rtt: RttEstimator;
  readonly rack = new Rack();
  readonly rate = new RateEstimator();
  cc: CongestionControl;

  // Congestion and recovery.
  cwnd = 0;
  ssthresh = 0x7fff_ffff;
  pacingRate = 0;
  pacedUntilUs = 0;
  caState: CaState = CaState.open;
  recoveryPoint = 0;
  prrDelivered = 0;
  prrOut = 0;
  recoverFlight = 0;
  /** Without SACK: bytes that duplicate acknowledgments say have left. */
  renoSacked = 0;
  dupAcks = 0;
  cwndLimited = false;
  undoArmed = false;
  undoMarker = 0;
  undoBytes = 0;
  priorCwnd = 0;
  priorSsthresh = 0;
  /** Timestamp and place of the first retransmission of the episode; 0: none yet. */
  retransmitStamp = 0;
  retransmitHead = 0;
  tlpEnd = 0;
  tlpOpen = false;
  tlpRetransmitted = false;
  /** The blocks of the last acknowledgment; made when the first comes. */
  lastSack: Int32Array = NO_SACK;
  lastSackCount = 0;

  // What the acknowledgment that is being handled delivered.
  ackDelivered = 0;
  ackRttTxUs = -1;
  ackHadRetransmit = false;
  /** The oldest outstanding byte was acknowledged, and by its first transmission although it was sent again. */
  ackHeadSpurious = false;
  ackTsEcr = 0;
  ackHasTs = false;

  // Acknowledgments to send.
  ackNow = false;
  unackedBytes = 0;
  quickAcks = 16;
  dsackStart = 0;
  dsackEnd = 0;
  hasDsack = false;
  lastOutOfWindowAckUs = -1e12;

  // Timers: absolute microseconds, 0 = off.
  rtoAtUs = 0;
  tlpAtUs = 0;
  reorderAtUs = 0;
  persistAtUs = 0;
  paceAtUs = 0;
  retries = 0;
  /** Since when there is no progress. */
  stalledSinceUs = 0;
  probes = 0;
  keepAlive: boolean;
  keepAliveProbesSent = 0;
  lastReceiveUs = 0;
  lastSendUs = 0;
  readonly retransmitTimer = new ConnectionTimer(this, onRetransmitTimer);
  readonly ackTimer = new ConnectionTimer(this, onAckTimer);
  readonly stateTimer = new ConnectionTimer(this, onStateTimer);
  stateAtUs = 0;

  // Receive buffer auto-tuning.
  tuneBytes = 0;
  tuneAtUs = 0;

  // Totals.
  /** Bytes per microsecond, of the last acknowledgment that gave a sample. */
  deliveryRate = 0;
  bytesReceived = 0;
  bytesAcked = 0;
  retransmits = 0;

  constructor(tcp: Tcp, local: IpAddress, localPort: number, remote: IpAddress, remotePort: number, fib = 0) {
    const { config } = tcp;
    this.tcp = tcp;
    this.local = local;
    this.localPort = localPort;
    this.remote = remote;
    this.remotePort = remotePort;
    this.fib = fib;
    this.sending = new SendBuffer(config.maxSendBufferBytes);
    this.received = new ReceiveBuffer(Math.min(config.initialReceiveBufferBytes, config.maxReceiveBufferBytes));
    this.source = this.sending;
    this.sink = this.received;
    this.rtt = new RttEstimator(config.initialRtoMs, config.minRtoMs, config.maxRtoMs);
    this.cc = newCongestionControl(config.congestionControl);
    this.noDelay = config.noDelay;
    this.keepAlive = config.keepAlive;
    this.userTimeoutMs = config.userTimeoutMs;
    this.keepAliveIdleMs = config.keepAliveIdleMs;
    this.keepAliveIntervalMs = config.keepAliveIntervalMs;
    this.keepAliveProbes = config.keepAliveProbes;
  }

  // --- what the application calls

  /** Takes as much of [at, at + length) as there is room for; how much. 0 after `shutdown` or when the connection is gone. */
  write(bytes: Uint8Array, at = 0, length = bytes.length - at): number {
    if (!this.canWrite) return 0;
    const n = this.sending.write(bytes, at, length);
    if (n > 0) this.schedule();
    return n;
  }

  /** Copies received bytes out; how many. */
  read(to: Uint8Array, at = 0, length = to.length - at): number {
    const n = this.received.read(to, at, length);
    if (n > 0) this.afterRead(n);
    return n;
  }

  /** Frees `length` bytes that were looked at with `received.peek()`. */
  consume(length: number): void {
    this.received.consume(length);
    this.afterRead(length);
  }

  get canWrite(): boolean {
    return (
      !this.finQueued &&
      (this.state === TcpState.established ||
        this.state === TcpState.closeWait ||
        this.state === TcpState.synSent ||
        this.state === TcpState.synReceived)
    );
  }

  /** Sends a FIN after what was written (half-close). */
  shutdown(): void {
    if (this.finQueued) return;
    if (this.state === TcpState.synSent || this.state === TcpState.established || this.state === TcpState.synReceived) {
      this.finQueued = true;
      if (this.state !== TcpState.synSent && this.state !== TcpState.synReceived) this.state = TcpState.finWait1;
    } else if (this.state === TcpState.closeWait) {
      this.finQueued = true;
      this.state = TcpState.lastAck;
    } else return;
    this.schedule();
  }

  /** Closes both directions: what was written is still delivered. With bytes unread the peer gets a reset (RFC 2525 2.17). */
  close(): void {
    if (this.state === TcpState.closed || this.state === TcpState.timeWait) {
      this.app = null;
      return;
    }
    if (this.sink.length > 0 || this.state === TcpState.synSent) {
      this.abort();
      return;
    }
    this.finish();
  }

  /** `close` that delivers what was written whether or not everything was read. */
  finish(): void {
    this.receiveClosed = true;
    this.shutdown();
    if (this.state === TcpState.finWait2) this.tcp.armFinWait2(this);
  }

  /** Ends the connection with a reset. */
  abort(): void {
    if (this.state === TcpState.closed) return;
    if (this.state > TcpState.synSent && this.state !== TcpState.timeWait) sendReset(this);
    this.tcp.terminate(this, 'aborted');
  }

  /** Sets or queries run-time options. */
  setNoDelay(on: boolean): void {
    this.noDelay = on;
    if (on) this.schedule();
  }

  setKeepAlive(on: boolean): void {
    this.keepAlive = on;
    this.tcp.armKeepAlive(this);
  }

  /** From now on; the window stays what it is. */
  setCongestionControl(name: CcName): void {
    if (this.cc.name === name) return;
    this.cc = newCongestionControl(name);
    this.pacingRate = 0;
    this.schedule();
  }

  // --- used by the protocol

  /** Has `Tcp.flush` look at this connection. */
  schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.tcp.dirty.push(this);
  }

  raise(event: number): void {
    this.events |= event;
    this.schedule();
  }

  get synchronized(): boolean {
    return this.state >= TcpState.established;
  }

  /** End of what the application wrote, as a sequence number. */
  get writtenEnd(): number {
    return (this.bufferSeq + this.source.length) | 0;
  }

  get inFlight(): number {
    return seqDiff(this.sndNxt, this.sndUna);
  }

  get pipe(): number {
    const { scoreboard } = this;
    return this.inFlight - scoreboard.sackedBytes - this.renoSacked - scoreboard.lostBytes + scoreboard.retransmitBytes;
  }

  get srttUs(): number {
    return this.rtt.srttUs;
  }

  get minRttUs(): number {
    return this.rtt.minRttUs;
  }

  /** Timestamp clock: milliseconds with a random offset per connection (RFC 7323 5.4). */
  timestampAt(us: number): number {
    return (Math.floor(us / 1000) + this.tsOffset) | 0;
  }

  onDelivered(range: SentRange): void {
    const now = this.tcp.nowUs;
    this.ackDelivered += range.length;
    const retransmitted = range.transmissions > 1;
    if (retransmitted) this.ackHadRetransmit = true;
    else if (range.txUs > this.ackRttTxUs) this.ackRttTxUs = range.txUs;
    if (
      range.seq === this.sndUna &&
      range.seq === this.retransmitHead &&
      this.retransmitStamp !== 0 &&
      this.ackHasTs &&
      this.ackTsEcr !== 0 &&
      seqLt(this.ackTsEcr, this.retransmitStamp)
    )
      this.ackHeadSpurious = true;
    const echoedBefore = retransmitted && this.ackHasTs && seqLt(this.ackTsEcr, this.timestampAt(range.txUs));
    this.rack.onDelivered(range, now, this.rtt.minRttUs, echoedBefore);
    this.rate.onDelivered(range, now);
  }

  /** Bytes of window that can be offered now. */
  get receiveRoom(): number {
    return Math.max(0, this.sink.limit - this.sink.length);
  }

  private afterRead(length: number): void {
    this.tuneReceiveBuffer(length);
    this.windowOpened();
  }

  /** The application has read: tells the peer when that is worth a segment. */
  windowOpened(): void {
    if (!this.synchronized || this.finReceived) return;
    // A window update is worth a segment when the window grows by half the buffer or two segments (RFC 9293 3.8.6.2.2).
    // Without window scaling there may be more room than can be told of.
    const growth = Math.min(this.receiveRoom, 0xffff << this.rcvScale) - seqDiff(this.rcvAdv, this.rcvNxt);
    if (growth >= Math.min(this.sink.limit >> 1, 2 * this.rcvMss) && growth >= this.sink.limit >> 3) {
      this.ackNow = true;
      this.schedule();
    }
  }

  /** Doubles the buffer while the application reads more than half of it per round trip (dynamic right-sizing). */
  private tuneReceiveBuffer(length: number): void {
    const now = this.tcp.nowUs;
    this.tuneBytes += length;
    const rtt = Math.max(this.rtt.srttUs, 1000);
    if (this.tuneBytes * 2 > this.received.limit && now - this.tuneAtUs <= rtt * 2) {
      this.received.limit = Math.min(this.received.limit * 2, this.tcp.config.maxReceiveBufferBytes);
      this.tuneBytes = 0;
      this.tuneAtUs = now;
    } else if (now - this.tuneAtUs > rtt) {
      this.tuneBytes = length;
      this.tuneAtUs = now;
    }
  }

  toString(): string {
    return `${this.local}:${this.localPort}->${this.remote}:${this.remotePort} ${tcpStateName(this.state)}`;
  }
}
