/**
 * TCP for one stack worker: the tables of connections and listeners, the timer wheel, and the two entries of the pure core: `input` for a
 * segment, `poll` for time. What either wants to send goes through `TcpLower` before the call returns.
 *
 * RFC 9293 with 3168, 7323, 2018, 2883, 6298, 5681, 6582, 6675 (pipe), 8985, 6937, 9438, 9406, 5961, 6528, 4987, 1337, 6191. Left out: TCP Fast
 * Open, the IPv4 security option.
 */
import { TimerWheel } from '../../core/event/timer_wheel.ts';
import type { Packet } from '../graph/packet.ts';
import { IpAddress } from '../ip/address.ts';
import { emitTcp, TcpFlag, TcpRepr, tcpHeaderLength } from '../wire/tcp.ts';
import { DEFAULT_TCP_CONFIG, type TcpConfig } from './config.ts';
import { type TcpApp, TcpConnection, TcpEvent } from './connection.ts';
import { ConnectionTable } from './connection_table.ts';
import { noteCongestionMark } from './ecn.ts';
import { segmentArrives } from './input.ts';
import { initialSequenceNumber } from './isn.ts';
import { TcpListener, type TcpListenOptions } from './listener.ts';
import type { Random32, TcpLower } from './lower.ts';
import { output, sendAck, sendReset, sendSyn } from './output.ts';
import type { TcpProbe } from './probe.ts';
import { recycle } from './recycle.ts';
import { seqAdd, seqGt, seqLt } from './seq.ts';
import { SourcePool } from './source_pool.ts';
import { type TcpError, TcpState } from './state.ts';
import { newTcpStats } from './stats.ts';
import { decodeOptions, encodeOptions, SynCookies } from './syn_cookie.ts';

/** Connection blocks that are kept for use again. */
const MAX_SPARE = 4096;
/** Timers that one `poll` runs at most. */
const TIMERS_PER_POLL = 4096;
const STARVED_RETRY_US = 1000;
const MIN_MSS = 64;
const COOKIE_LIFE_US = 128_000_000;
const IPV4_TCP = 40;
const IPV6_TCP = 60;

export interface TcpOptions {
  lower: TcpLower;
  random: Random32;
  config?: Partial<TcpConfig>;
  nowUs?: number;
}

export interface TcpConnectOptions {
  remote: IpAddress;
  remotePort: number;
  local?: IpAddress;
  localPort?: number;
  /** Number of the forwarding table; 0 without. */
  fib?: number;
  app?: TcpApp;
}

const reply = new TcpRepr();

export class Tcp {
  readonly config: TcpConfig;
  readonly lower: TcpLower;
  readonly stats = newTcpStats();
  probe: TcpProbe | null = null;
  /** Where connections leave from whose application does not care; empty: the address that the route has. */
  readonly sources = new SourcePool();
  readonly wheel: TimerWheel;
  readonly connections: ConnectionTable;
  /** Connections that have something to tell or to send. */
  dirty: TcpConnection[] = [];
  /** The time of the current call. */
  nowUs: number;
  private readonly random: Random32;
  private readonly isnKey: Int32Array;
  private readonly cookies: SynCookies;
  private readonly listeners = new Map<number, TcpListener[]>();
  private readonly starved: TcpConnection[] = [];
  /** In the order in which they came; those before `timeWaitHead` are over. */
  private timeWaits: TcpConnection[] = [];
  private timeWaitHead = 0;
  private timeWaitCount = 0;
  /** Connections to use again, and those that are over since the last `poll`: whoever still works on one has returned by the next. */
  private readonly spare: TcpConnection[] = [];
  private readonly over: TcpConnection[] = [];
  private nextPort: number;
  private turn = 0;
  private challengeWindowUs = -1e12;
  private challengesLeft = 0;
  private cookiesUntilUs = 0;

  constructor(options: TcpOptions) {
    this.config = { ...DEFAULT_TCP_CONFIG, ...options.config };
    this.lower = options.lower;
    this.random = options.random;
    this.nowUs = options.nowUs ?? 0;
    this.wheel = new TimerWheel(this.nowUs / 1000);
    this.connections = new ConnectionTable(options.random());
    this.isnKey = Int32Array.from({ length: 4 }, options.random);
    this.cookies = new SynCookies(options.random);
    this.nextPort = this.config.minPort + ((options.random() >>> 0) % (this.config.maxPort - this.config.minPort + 1));
  }

  // --- entries

  /** The connection that a segment belongs to, for the graph to choose a node by its state; null when there is none. */
  lookup(packet: Packet, ports: number): TcpConnection | null {
    const { u8 } = packet.pool;
    return packet.isV4
      ? this.connections.lookupPacket(u8, true, packet.l3 + 12, packet.l3 + 16, ports, packet.fib)
      : this.connections.lookupPacket(u8, false, packet.l3 + 8, packet.l3 + 24, ports, packet.fib);
  }

  /** Handles one checked segment (`packet.tcp`); the packet stays the caller's. `found`: what `lookup` said. */
  input(packet: Packet, found: TcpConnection | null, nowUs: number): void {
    this.nowUs = nowUs;
    const seg = packet.tcp;
    this.stats.inSegments++;
    let c = found;
    // Another segment of this batch may have made or ended the connection.
    if (c === null || c.state === TcpState.closed) c = this.lookup(packet, (seg.sourcePort << 16) | seg.destinationPort);
    if (c !== null && c.state === TcpState.timeWait && this.reuseTimeWait(c, seg)) c = null;
    if (c !== null) {
      if (c.ecn) noteCongestionMark(c, packet);
      segmentArrives(c, seg, packet.pool.u8, packet.gsoSize);
      return;
    }
    this.arrivesUnknown(packet, seg);
  }

  /** Runs timers and everything that is due. Call it after each batch of segments and at `nextDeadlineUs`. */
  poll(nowUs: number): void {
    this.nowUs = nowUs;
    while (this.over.length > 0) {
      const c = this.over.pop()!;
      if (this.spare.length < MAX_SPARE) this.spare.push(c);
    }
    this.wheel.advance(nowUs / 1000, TIMERS_PER_POLL);
    if (this.starved.length > 0) for (const c of this.starved.splice(0)) c.schedule();
    this.flush();
  }

  /** When `poll` has to be called next without input; Infinity: never. */
  nextDeadlineUs(): number {
    if (this.dirty.length > 0) return this.nowUs;
    const tick = this.wheel.nextTick();
    const next = tick < 0 ? Number.POSITIVE_INFINITY : Math.max(tick * 1000, this.nowUs);
    // Buffers come back as packets leave or arrive, which takes time: asking at once would spin.
    return this.starved.length > 0 ? Math.min(next, this.nowUs + STARVED_RETRY_US) : next;
  }

  /** Tells applications what happened and sends what became possible. Bounded: what is scheduled meanwhile waits for the next call. */
  flush(): void {
    const batch = this.dirty;
    if (batch.length === 0) return;
    this.dirty = [];
    // Another one is first each time: who comes last finds the queues behind the stack full more often.
    this.turn = (this.turn + 0x9e3779b1) >>> 0;
    const first = this.turn % batch.length;
    for (let i = 0; i < batch.length; i++) {
      const c = batch[first + i < batch.length ? first + i : first + i - batch.length];
      c.scheduled = false;
      const { events } = c;
      c.events = 0;
      if (events !== 0 && c.app !== null) notify(c, c.app, events);
      if (c.state !== TcpState.closed) output(c);
      else if (c.released) this.retire(c);
    }
  }

  // --- opening

  listen(options: TcpListenOptions): TcpListener | TcpError {
    const port = options.port;
    const list = this.listeners.get(port) ?? [];
    for (const other of list) if (other.fib === (options.fib ?? 0) && other.address.equals(options.address)) return 'noPort';
    const listener = new TcpListener(this, options);
    list.push(listener);
    this.listeners.set(port, list);
    return listener;
  }

  removeListener(listener: TcpListener): void {
    const list = this.listeners.get(listener.port);
    const at = list?.indexOf(listener) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.listeners.delete(listener.port);
    for (const c of this.connections.all()) {
      if (c.listener !== listener || c.state !== TcpState.synReceived) continue;
      sendReset(c);
      this.terminate(c, 'aborted');
    }
  }

  /** Starts to connect; the outcome comes as `onConnected` or `onClosed`. */
  connect(options: TcpConnectOptions, nowUs: number): TcpConnection | TcpError {
    this.nowUs = nowUs;
    const { remote, fib = 0 } = options;
    // Who is on this stack, or cannot be reached, is so from any address.
    const usual = options.local ?? this.lower.sourceFor(remote, fib);
    if (usual === null) return 'noRoute';
    if (this.sources.size === 0 || options.local !== undefined || usual.equals(remote)) return this.connectFrom(usual, options);
    let result: TcpConnection | TcpError = 'noPort';
    for (let left = Math.max(this.sources.count(remote.isV4, fib), 1); left > 0 && result === 'noPort'; left--)
      result = this.connectFrom(this.sources.count(remote.isV4, fib) > 0 ? this.sources.take(remote.isV4, fib) : usual, options);
    return result;
  }

  private connectFrom(local: IpAddress, options: TcpConnectOptions): TcpConnection | TcpError {
    const { remote, remotePort, fib = 0 } = options;
    const { nowUs } = this;
    const route = this.lower.route(local, remote, fib);
    if (route === null || !this.lower.isUnicast(remote, fib)) return 'noRoute';
    const localPort = options.localPort ?? this.choosePort(local, remote, remotePort, fib);
    // A port that was chosen is free.
    const given = options.localPort !== undefined;
    if (localPort === 0 || (given && this.connections.has(local, localPort, remote, remotePort, fib))) return 'noPort';
    const c = this.make(local, localPort, remote, remotePort, fib);
    c.route = route;
    c.app = options.app ?? null;
    this.open(c, initialSequenceNumber(this.isnKey, local, localPort, remote, remotePort, nowUs));
    c.state = TcpState.synSent;
    c.rcvScale = this.config.windowScaling ? this.windowScale() : 0;
    this.stats.activeOpens++;
    this.sendFirstSyn(c);
    return c;
  }

  private make(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number, fib: number): TcpConnection {
    const c = this.spare.pop();
    if (c === undefined) return new TcpConnection(this, local, localPort, remote, remotePort, fib);
    recycle(c, local, localPort, remote, remotePort, fib);
    return c;
  }

  /** Has `c` used again, if nothing refers to it. */
  private retire(c: TcpConnection): void {
    if (c.scheduled || c.waiting) return;
    c.released = false;
    this.probe?.forget(c);
    this.over.push(c);
  }

  private open(c: TcpConnection, iss: number): void {
    c.iss = iss;
    c.ecnWindowEnd = iss;
    c.sndUna = iss;
    c.sndNxt = seqAdd(iss, 1);
    c.bufferSeq = c.sndNxt;
    c.tsOffset = this.random();
    c.stalledSinceUs = this.nowUs;
    c.lastReceiveUs = this.nowUs;
    this.connections.add(c);
  }

  private sendFirstSyn(c: TcpConnection): void {
    sendSyn(c);
    c.lastSendUs = this.nowUs;
    c.rtoAtUs = this.nowUs + c.rtt.rtoUs;
    this.wheel.arm(c.retransmitTimer, c.rtoAtUs / 1000);
  }

  private choosePort(local: IpAddress, remote: IpAddress, remotePort: number, fib: number): number {
    const { minPort, maxPort } = this.config;
    if (this.nextPort < minPort || this.nextPort > maxPort) this.nextPort = minPort;
    for (let i = minPort; i <= maxPort; i++) {
      const port = this.nextPort;
      this.nextPort = port >= maxPort ? minPort : port + 1;
      if (!this.connections.has(local, port, remote, remotePort, fib) && !this.listeners.has(port)) return port;
    }
    return 0;
  }

  /** The scale that lets the largest receive buffer be offered. */
  private windowScale(): number {
    const most = this.config.maxReceiveBufferBytes;
    return Math.max(0, Math.min(14, Math.ceil(Math.log2(most / 65535))));
  }

  advertisedMss(local: IpAddress, remote: IpAddress, fib: number): number {
    const mtu = this.lower.route(local, remote, fib)?.mtu ?? 1280;
    return Math.min(mtu, 65535) - (local.isV4 ? IPV4_TCP : IPV6_TCP);
  }

  // --- what arrives for no connection

  private arrivesUnknown(packet: Packet, seg: TcpRepr): void {
    if ((seg.flags & TcpFlag.rst) !== 0) return;
    const { u8 } = packet.pool;
    const listener = this.findListener(u8, packet, seg.destinationPort);
    if (listener === null || (seg.flags & (TcpFlag.syn | TcpFlag.ack)) === 0) {
      this.refuse(packet, seg);
      return;
    }
    if ((seg.flags & TcpFlag.ack) !== 0) {
      // While cookies are out, a segment that does not complete one may belong to a handshake whose last segment was lost or is late.
      const early = this.nowUs < this.cookiesUntilUs && (seg.flags & TcpFlag.syn) === 0;
      if ((seg.flags & TcpFlag.syn) !== 0 || (!this.acceptCookie(listener, packet, seg) && !early)) this.refuse(packet, seg);
      return;
    }
    if ((seg.flags & TcpFlag.fin) !== 0) return;
    this.synArrives(listener, packet, seg);
  }

  private findListener(u8: Uint8Array, packet: Packet, port: number): TcpListener | null {
    const list = this.listeners.get(port);
    if (list === undefined) return null;
    const at = packet.l3 + (packet.isV4 ? 16 : 24);
    let any: TcpListener | null = null;
    for (const listener of list) {
      if (listener.address.isV4 !== packet.isV4 || listener.fib !== packet.fib) continue;
      if (listener.address.isUnspecified) any = listener;
      else if (listener.address.matches(u8, at)) return listener;
    }
    return any;
  }

  private addresses(packet: Packet): { local: IpAddress; remote: IpAddress } {
    const { u8 } = packet.pool;
    const { l3, isV4 } = packet;
    return {
      remote: IpAddress.read(u8, l3 + (isV4 ? 12 : 8), isV4),
      local: IpAddress.read(u8, l3 + (isV4 ? 16 : 24), isV4),
    };
  }

  private synArrives(listener: TcpListener, packet: Packet, seg: TcpRepr): void {
    const { local, remote } = this.addresses(packet);
    if (!listener.hasRoom(local, remote, seg.sourcePort)) {
      this.stats.listenDrops++;
      return;
    }
    const overflow = listener.halfOpen >= this.config.synBacklog;
    if (this.config.synCookies === 'always' || (overflow && this.config.synCookies === 'overflow')) {
      this.sendCookie(local, remote, packet.fib, seg);
      return;
    }
    if (overflow) {
      this.stats.listenDrops++;
      return;
    }
    const c = this.passive(listener, local, remote, seg);
    if (c === null) return;
    this.takeSyn(c, seg);
    const asked = TcpFlag.ece | TcpFlag.cwr;
    if (this.config.ecn !== 'off' && (seg.flags & asked) === asked) this.useEcn(c);
    const isn = initialSequenceNumber(this.isnKey, local, seg.destinationPort, remote, seg.sourcePort, this.nowUs);
    this.open(c, isn);
    c.state = TcpState.synReceived;
    c.sndWnd = seg.window;
    c.maxSndWnd = seg.window;
    listener.halfOpen++;
    this.sendFirstSyn(c);
  }

  private passive(listener: TcpListener, local: IpAddress, remote: IpAddress, seg: TcpRepr): TcpConnection | null {
    const { fib } = listener;
    const route = this.lower.route(local, remote, fib);
    if (route === null || !this.lower.isUnicast(remote, fib)) return null;
    const c = this.make(local, seg.destinationPort, remote, seg.sourcePort, fib);
    c.route = route;
    c.listener = listener;
    this.stats.passiveOpens++;
    return c;
  }

  /** What the peer's SYN says about sequence numbers and options. */
  takeSyn(c: TcpConnection, seg: TcpRepr): void {
    const { config } = this;
    c.irs = seg.seq;
    c.rcvNxt = seqAdd(seg.seq, 1);
    c.lastAckSent = c.rcvNxt;
    c.rcvAdv = seqAdd(c.rcvNxt, Math.min(c.receiveRoom, 65535));
    c.timestamps = config.timestamps && seg.hasTimestamps;
    c.tsRecent = seg.hasTimestamps ? seg.tsVal : 0;
    c.tsRecentUs = this.nowUs;
    c.sackEnabled = config.sack && seg.sackPermitted;
    c.scaling = config.windowScaling && seg.windowScale >= 0;
    c.sndScale = c.scaling ? seg.windowScale : 0;
    c.rcvScale = c.scaling ? this.windowScale() : 0;
    c.peerMss = seg.mss === 0 ? 536 : Math.max(seg.mss, MIN_MSS);
  }

  useEcn(c: TcpConnection): void {
    c.ecn = true;
    this.stats.ecnNegotiated++;
  }

  // --- SYN cookies

  private sendCookie(local: IpAddress, remote: IpAddress, fib: number, seg: TcpRepr): void {
    this.stats.synCookiesSent++;
    this.cookiesUntilUs = this.nowUs + COOKIE_LIFE_US;
    const own = this.advertisedMss(local, remote, fib);
    const useTs = this.config.timestamps && seg.hasTimestamps;
    reply.sourcePort = seg.destinationPort;
    reply.destinationPort = seg.sourcePort;
    reply.seq = this.cookies.make(
      local,
      seg.destinationPort,
      remote,
      seg.sourcePort,
      seg.seq,
      Math.min(seg.mss || 536, own),
      this.nowUs,
    );
    reply.ack = seqAdd(seg.seq, 1);
    reply.flags = TcpFlag.syn | TcpFlag.ack;
    reply.window = Math.min(this.config.initialReceiveBufferBytes, 65535);
    reply.urgent = 0;
    reply.mss = own;
    const scaling = useTs && this.config.windowScaling && seg.windowScale >= 0;
    const sack = useTs && this.config.sack && seg.sackPermitted;
    reply.windowScale = scaling ? this.windowScale() : -1;
    reply.sackPermitted = sack;
    reply.hasTimestamps = useTs;
    reply.tsVal = encodeOptions(Math.floor(this.nowUs / 1000) | 0, scaling ? seg.windowScale : -1, sack);
    reply.tsEcr = seg.tsVal;
    reply.sackCount = 0;
    this.sendReply(local, remote, fib);
  }

  private acceptCookie(listener: TcpListener, packet: Packet, seg: TcpRepr): boolean {
    if (this.config.synCookies === 'never') return false;
    const { local, remote } = this.addresses(packet);
    const iss = seqAdd(seg.ack, -1);
    const irs = seqAdd(seg.seq, -1);
    const mss = this.cookies.check(local, seg.destinationPort, remote, seg.sourcePort, irs, iss, this.nowUs);
    if (mss === 0) {
      if (this.stats.synCookiesSent > 0) this.stats.synCookiesFailed++;
      return false;
    }
    if (!listener.hasRoom(local, remote, seg.sourcePort)) {
      this.stats.listenOverflows++;
      return true;
    }
    const c = this.passive(listener, local, remote, seg);
    if (c === null) return true;
    const options = seg.hasTimestamps ? decodeOptions(seg.tsEcr) : { windowScale: -1, sack: false };
    reply.seq = irs;
    reply.mss = mss;
    reply.windowScale = options.windowScale;
    reply.sackPermitted = options.sack;
    reply.hasTimestamps = seg.hasTimestamps;
    reply.tsVal = seg.tsVal;
    this.takeSyn(c, reply);
    this.open(c, iss);
    // The clock that the cookie's timestamp was made with has no offset.
    c.tsOffset = 0;
    c.state = TcpState.synReceived;
    c.lastSendUs = this.nowUs;
    c.retries = 1;
    listener.halfOpen++;
    this.stats.synCookiesAccepted++;
    segmentArrives(c, seg, packet.pool.u8, packet.gsoSize);
    return true;
  }

  // --- resets and challenges

  /** RFC 9293 3.10.7.1: the reset that answers a segment for which there is nothing. */
  private refuse(packet: Packet, seg: TcpRepr): void {
    const { local, remote } = this.addresses(packet);
    if (remote.isMulticast || remote.isUnspecified || local.isMulticast || local.isLimitedBroadcast) return;
    this.sendRefusal(local, remote, packet.fib, seg);
  }

  resetSegment(c: TcpConnection, seg: TcpRepr): void {
    this.sendRefusal(c.local, c.remote, c.fib, seg);
  }

  private sendRefusal(local: IpAddress, remote: IpAddress, fib: number, seg: TcpRepr): void {
    const hasAck = (seg.flags & TcpFlag.ack) !== 0;
    const length = seg.end - seg.payload + ((seg.flags & TcpFlag.syn) !== 0 ? 1 : 0) + ((seg.flags & TcpFlag.fin) !== 0 ? 1 : 0);
    reply.sourcePort = seg.destinationPort;
    reply.destinationPort = seg.sourcePort;
    reply.seq = hasAck ? seg.ack : 0;
    reply.ack = hasAck ? 0 : seqAdd(seg.seq, length);
    reply.flags = TcpFlag.rst | (hasAck ? 0 : TcpFlag.ack);
    reply.window = 0;
    reply.urgent = 0;
    reply.mss = 0;
    reply.windowScale = -1;
    reply.sackPermitted = false;
    reply.hasTimestamps = false;
    reply.sackCount = 0;
    this.stats.outResets++;
    this.sendReply(local, remote, fib);
  }

  private sendReply(local: IpAddress, remote: IpAddress, fib: number): void {
    const packet = this.lower.allocate(tcpHeaderLength(reply));
    if (packet === null) {
      this.stats.outOfBuffers++;
      return;
    }
    packet.l4 = packet.start;
    packet.end = packet.start + emitTcp(packet.pool.u8, packet.start, reply);
    packet.gsoSize = 0;
    packet.fib = fib;
    this.stats.outSegments++;
    this.lower.send(packet, local, remote, 0);
  }

  /** RFC 5961 7: an acknowledgment that makes a real peer repeat itself exactly; limited per second over all connections. */
  challengeAck(c: TcpConnection): void {
    if (this.nowUs - this.challengeWindowUs >= 1_000_000) {
      this.challengeWindowUs = this.nowUs;
      // Half of the limit is random, so that the counter cannot be measured from outside.
      const limit = this.config.challengeAcksPerSecond;
      this.challengesLeft = (limit >> 1) + ((this.random() >>> 0) % Math.max(1, limit - (limit >> 1) + 1));
    }
    if (this.challengesLeft <= 0) {
      this.stats.challengeAcksSuppressed++;
      return;
    }
    this.challengesLeft--;
    this.stats.challengeAcks++;
    sendAck(c);
  }

  // --- life of a connection

  /** Both options are known: sizes and windows of the sending side. */
  startSending(c: TcpConnection): void {
    this.updateMss(c);
    c.cwnd = this.config.initialWindowSegments * c.mss;
    c.ssthresh = 0x7fff_ffff;
    if (c.retries > 1) c.cwnd = c.mss;
    this.armKeepAlive(c);
  }

  updateMss(c: TcpConnection): void {
    const mtu = c.pathMtu > 0 ? Math.min(c.pathMtu, c.route?.mtu ?? c.pathMtu) : (c.route?.mtu ?? 1280);
    const header = c.local.isV4 ? IPV4_TCP : IPV6_TCP;
    const wanted = c.userMss > 0 ? Math.min(c.peerMss, c.userMss) : c.peerMss;
    c.mss = Math.max(Math.min(wanted, mtu - header) - (c.timestamps ? 12 : 0), MIN_MSS - 12);
  }

  /**
   * A router says that packets of more than `mtu` bytes do not pass (RFC 1191, 8201); `seq`: of the segment it quotes. The MTU that is
   * believed from now on, 0 when it is not believed.
   */
  onPathMtu(c: TcpConnection, mtu: number, seq: number, nowUs: number): number {
    this.nowUs = nowUs;
    // Blind guesses are outside of what is in flight (RFC 5927).
    if (seqLt(seq, c.sndUna) || !seqGt(c.sndNxt, seq)) return 0;
    const floor = c.local.isV4 ? 552 : 1280;
    const current = c.pathMtu > 0 ? c.pathMtu : (c.route?.mtu ?? 65535);
    const limited = Math.max(mtu, floor);
    if (limited >= current) return 0;
    c.pathMtu = limited;
    this.stats.pmtuReductions++;
    this.updateMss(c);
    if (c.synchronized) this.resendOversized(c);
    return limited;
  }

  reduceMss(c: TcpConnection, mss: number): void {
    c.pathMtu = mss + (c.timestamps ? 12 : 0) + (c.local.isV4 ? IPV4_TCP : IPV6_TCP);
    this.stats.pmtuReductions++;
    this.updateMss(c);
  }

  private resendOversized(c: TcpConnection): void {
    const { scoreboard } = c;
    for (let i = 0; i < scoreboard.count; i++) {
      const range = scoreboard.at(i);
      if (!range.sacked && range.length > c.mss) scoreboard.markLost(range);
    }
    c.schedule();
  }

  /** An ICMP error that is about this connection: fatal only while it is being opened (RFC 5461). */
  onUnreachable(c: TcpConnection, seq: number, hard: boolean, nowUs: number): void {
    this.nowUs = nowUs;
    if (c.state === TcpState.synSent && seq === c.iss && hard) this.terminate(c, 'unreachable');
  }

  armKeepAlive(c: TcpConnection): void {
    if (!c.synchronized || c.state >= TcpState.finWait2) return;
    if (c.keepAlive) this.wheel.arm(c.stateTimer, this.nowUs / 1000 + c.keepAliveIdleMs);
    else this.wheel.disarm(c.stateTimer);
  }

  armFinWait2(c: TcpConnection): void {
    if (c.receiveClosed) this.wheel.arm(c.stateTimer, this.nowUs / 1000 + this.config.finWait2Ms);
  }

  armTimeWait(c: TcpConnection): void {
    this.wheel.arm(c.stateTimer, this.nowUs / 1000 + this.config.timeWaitMs);
  }

  enterTimeWait(c: TcpConnection): void {
    c.state = TcpState.timeWait;
    this.wheel.disarm(c.retransmitTimer);
    this.wheel.disarm(c.ackTimer);
    c.rtoAtUs = 0;
    c.scoreboard.clear();
    c.reassembly.clear();
    c.source.release();
    this.armTimeWait(c);
    this.timeWaitCount++;
    c.waiting = true;
    this.timeWaits.push(c);
    this.trimTimeWaits();
    c.raise(TcpEvent.closed);
  }

  /** Forgets those that are over, and the oldest beyond the limit. Constant time per connection. */
  private trimTimeWaits(): void {
    const list = this.timeWaits;
    for (; this.timeWaitHead < list.length; this.timeWaitHead++) {
      const oldest = list[this.timeWaitHead];
      if (oldest.state === TcpState.timeWait) {
        if (this.timeWaitCount <= this.config.maxTimeWait) break;
        this.stats.timeWaitOverflow++;
        this.terminate(oldest, 'none');
      }
      oldest.waiting = false;
      if (oldest.released) this.retire(oldest);
    }
    if (this.timeWaitHead < 1024 || this.timeWaitHead * 2 < list.length) return;
    this.timeWaits = list.slice(this.timeWaitHead);
    this.timeWaitHead = 0;
  }

  /** A SYN that is newer than all the old connection had starts a new one (RFC 6191, RFC 1122 4.2.2.13). */
  private reuseTimeWait(c: TcpConnection, seg: TcpRepr): boolean {
    if ((seg.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) !== TcpFlag.syn) return false;
    const newerTs = c.timestamps && seg.hasTimestamps && seqGt(seg.tsVal, c.tsRecent);
    const newerSeq = seqGt(seg.seq, c.rcvNxt) && (!c.timestamps || !seg.hasTimestamps || !seqLt(seg.tsVal, c.tsRecent));
    if (!newerTs && !newerSeq) return false;
    this.stats.timeWaitReused++;
    this.terminate(c, 'none');
    return true;
  }

  /** The application has closed and data came: reset. */
  abortUnread(c: TcpConnection): void {
    sendReset(c);
    this.terminate(c, 'aborted');
  }

  /** Forgets the connection; the application is told unless it was before. */
  terminate(c: TcpConnection, error: TcpError): void {
    if (c.state === TcpState.closed) return;
    const before = c.state;
    if (before === TcpState.synSent) this.stats.attemptFails++;
    if (before === TcpState.timeWait) this.timeWaitCount--;
    c.state = TcpState.closed;
    c.error = error;
    this.connections.delete(c);
    this.wheel.disarm(c.retransmitTimer);
    this.wheel.disarm(c.ackTimer);
    this.wheel.disarm(c.stateTimer);
    c.scoreboard.clear();
    c.reassembly.clear();
    c.source.release();
    if (c.listener !== null) {
      c.listener.onGone(c, before === TcpState.synReceived);
      c.listener = null;
    }
    if (before !== TcpState.timeWait) c.raise(TcpEvent.closed);
  }

  /** There was no packet: try again when buffers are back. */
  starve(c: TcpConnection): void {
    this.stats.outOfBuffers++;
    if (!this.starved.includes(c)) this.starved.push(c);
  }
}

function notify(c: TcpConnection, app: TcpApp, events: number): void {
  if ((events & TcpEvent.connected) !== 0) app.onConnected?.(c);
  if ((events & TcpEvent.urgent) !== 0) app.onUrgent?.(c);
  if ((events & TcpEvent.data) !== 0) app.onData?.(c);
  if ((events & TcpEvent.space) !== 0) app.onSpace?.(c);
  if ((events & TcpEvent.end) !== 0) app.onEnd?.(c);
  if ((events & TcpEvent.closed) !== 0) {
    c.app = null;
    app.onClosed?.(c, c.error);
    c.released = app.recycles === true;
  }
}
