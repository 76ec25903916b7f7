/**
 * Transmission: what to send now, in what size, with which header. Order: lost data first, then new data as far as windows, Nagle (RFC
 * 9293 3.7.4) and sender silly-window avoidance (3.8.6.2.1) allow, then an acknowledgment if one is due and nothing carried it.
 *
 * With segmentation offload one packet holds many segments; its payload is a multiple of the segment size except at the end.
 */
import { emitTcp, TcpFlag, TcpRepr, tcpHeaderLength } from '../wire/tcp.ts';
import { CaState, type TcpConnection } from './connection.ts';
import type { SentRange } from './scoreboard.ts';
import { seqDiff, seqGeq, seqLt, seqMin } from './seq.ts';
import { TcpState } from './state.ts';
import { armRetransmit } from './timers.ts';
import { writeUrgent } from './urgent.ts';

/** Packets and bytes that one call may send: the rest waits for the next round, so that they are sent while still in the cache. */
const MAX_BURST = 32;
const MAX_BURST_BYTES = 256 * 1024;
/** ECN-capable transport, codepoint 0. */
const ECT0 = 2;
const out = new TcpRepr();

/** Sends what can be sent. */
export function output(c: TcpConnection): void {
  if (c.state < TcpState.established || c.state === TcpState.timeWait) {
    if (c.ackNow && c.state === TcpState.timeWait) sendAck(c);
    return;
  }
  let burst = 0;
  const now = c.tcp.nowUs;
  c.paceAtUs = 0;
  if (c.inFlight === 0 && c.source.length > 0 && now - c.lastSendUs > c.rtt.rtoUs && c.lastSendUs > 0) restartAfterIdle(c);
  const endBytes = c.tcp.stats.outBytes + MAX_BURST_BYTES;
  while (burst < MAX_BURST && c.tcp.stats.outBytes < endBytes) {
    if (paced(c)) break;
    const range = c.scoreboard.nextLost();
    const sent = range !== null ? retransmitLost(c, range) : sendNew(c);
    if (!sent) break;
    burst++;
  }
  if (burst === MAX_BURST || c.tcp.stats.outBytes >= endBytes) c.schedule();
  if (c.ackNow) sendAck(c);
  armRetransmit(c);
}

/** RFC 5681 4.1: after an idle period longer than the RTO the window says nothing about the path any more. */
function restartAfterIdle(c: TcpConnection): void {
  const restart = c.tcp.config.initialWindowSegments * c.mss;
  if (c.cwnd > restart && !c.cc.ownsWindow) {
    c.ssthresh = Math.max(c.ssthresh, (c.cwnd * 3) >> 2);
    c.cwnd = restart;
  }
  c.cc.onRestart(c, c.tcp.nowUs);
}

function paced(c: TcpConnection): boolean {
  if (c.pacedUntilUs <= c.tcp.nowUs) return false;
  if (c.pacingRate === 0) return false;
  if (c.source.length > c.inFlight || c.scoreboard.lostBytes > c.scoreboard.retransmitBytes) c.paceAtUs = c.pacedUntilUs;
  return c.paceAtUs !== 0;
}

/** The timers of the wheel tick in milliseconds: up to one of them is sent at once. */
function chargePacing(c: TcpConnection, bytes: number): void {
  if (c.pacingRate === 0) return;
  const now = c.tcp.nowUs;
  c.pacedUntilUs = Math.max(c.pacedUntilUs, now - 1000) + bytes / c.pacingRate;
}

/** Payload of one segment, given the options it will carry now. */
function segmentSize(c: TcpConnection): number {
  const blocks = sackBlocks(c);
  return blocks === 0 ? c.mss : c.mss - 4 - 8 * blocks;
}

function packetPayload(c: TcpConnection, mss: number): number {
  const gso = c.route?.maxGsoBytes ?? 0;
  return gso > mss ? gso - (gso % mss) : mss;
}

function retransmitLost(c: TcpConnection, range: SentRange): boolean {
  const mss = segmentSize(c);
  let space = c.cwnd - c.pipe;
  if (space < Math.min(mss, range.length)) {
    // The first retransmission of a recovery goes out whatever the window (RFC 6937: at least one).
    if (c.prrOut > 0 || c.caState !== CaState.recovery) return false;
    space = mss;
  }
  // A window that was closed over data already sent does not keep the oldest of it from being sent again.
  const window = seqDiff((c.sndUna + c.sndWnd) | 0, range.seq);
  if (window <= 0 && range.seq !== c.sndUna) return false;
  const most = Math.min(packetPayload(c, mss), Math.max(space, mss), Math.max(window, mss));
  return retransmit(c, range, most);
}

/** Sends `range` again, at most `most` bytes of it. False when there was no packet. */
export function retransmit(c: TcpConnection, range: SentRange, most: number): boolean {
  const mss = segmentSize(c);
  let limit = c.sndUrgent ? Math.min(most, mss) : Math.min(most, packetPayload(c, mss));
  if (limit > mss && limit < range.length) limit -= limit % mss;
  if (limit > mss && range.length > limit) limit = Math.max(mss, limit);
  c.scoreboard.limit(range, limit);
  if (!transmit(c, range.seq, range.length, mss)) return false;
  const { nowUs: now, stats } = c.tcp;
  if (c.undoArmed) c.undoBytes += range.length;
  if (c.retransmitStamp === 0) {
    c.retransmitStamp = c.timestampAt(now) || 1;
    c.retransmitHead = range.seq;
  }
  c.scoreboard.retransmitted(range, now);
  c.rate.onSend(range, now, false);
  c.prrOut += range.length;
  c.retransmits++;
  stats.retransmittedSegments += Math.ceil(range.length / mss);
  stats.retransmittedBytes += range.length;
  return true;
}

/** The override timer of RFC 9293 3.8.6.2.1: what the window takes goes out, however small. */
export function pushSmall(c: TcpConnection): void {
  sendNew(c, true);
}

function sendNew(c: TcpConnection, override = false): boolean {
  const unsent = seqDiff(c.writtenEnd, c.sndNxt);
  const fin = c.finQueued && !c.finSent;
  if (unsent <= 0) return fin && unsent === 0 ? sendFin(c) : false;
  const mss = segmentSize(c);
  const window = seqDiff((c.sndUna + c.sndWnd) | 0, c.sndNxt);
  const congestion = c.cwnd - c.pipe;
  let length = Math.min(unsent, window, packetPayload(c, mss));
  if (length <= 0) return false;
  if (length > congestion) {
    c.cwndLimited = true;
    if (congestion < Math.min(mss, length)) return false;
    length = congestion;
  }
  // The flag belongs to one segment, and the pointer counts from it: offload would repeat them.
  if ((c.ecnReduced || c.sndUrgent) && length > mss) length = mss;
  const all = length === unsent;
  if (length > mss && !all) length -= length % mss;
  if (length < mss && !override) {
    // Small segment: only the last of what was written, not while others are unacknowledged (Nagle; urgent data does not wait), and not because the window is silly.
    if (!all && length < c.maxSndWnd >> 1) return false;
    if (all && !c.noDelay && !fin && !c.sndUrgent && c.inFlight > 0) return false;
  }
  if (c.route !== null && c.inFlight === 0) c.stalledSinceUs = c.tcp.nowUs;
  const withFin = all && fin;
  if (!transmit(c, c.sndNxt, length + (withFin ? 1 : 0), mss, true)) return false;
  sent(c, length + (withFin ? 1 : 0), withFin);
  return true;
}

function sendFin(c: TcpConnection): boolean {
  if (seqDiff((c.sndUna + c.sndWnd) | 0, c.sndNxt) <= 0 && c.inFlight > 0) return false;
  if (!transmit(c, c.sndNxt, 1, c.mss)) return false;
  sent(c, 1, true);
  return true;
}

function sent(c: TcpConnection, length: number, fin: boolean): void {
  const now = c.tcp.nowUs;
  const idle = c.inFlight === 0;
  const end = (c.sndNxt + length) | 0;
  const range = c.scoreboard.push(c.sndNxt, end, now);
  c.rate.onSend(range, now, idle);
  c.sndNxt = end;
  if (fin) c.finSent = true;
  if (c.caState === CaState.recovery) c.prrOut += length;
  if (c.pipe >= c.cwnd) c.cwndLimited = true;
  if (seqDiff(c.writtenEnd, c.sndNxt) <= 0 && c.pipe < c.cwnd) c.rate.markAppLimited(c.pipe);
}

/** Builds and sends the sequence space [seq, seq + length), of which the FIN is the last if it is in there. */
function transmit(c: TcpConnection, seq: number, length: number, mss: number, isNew = false): boolean {
  const end = (seq + length) | 0;
  const dataEnd = seqMin(end, c.writtenEnd);
  const bytes = Math.max(0, seqDiff(dataEnd, seq));
  const fin = c.finQueued && seqGeq(end, (c.writtenEnd + 1) | 0);
  prepare(c, seq, TcpFlag.ack | (fin ? TcpFlag.fin : 0) | (bytes > 0 && dataEnd === c.writtenEnd ? TcpFlag.psh : 0));
  addSack(c);
  // Retransmissions are not marked as capable (RFC 3168 6.1.5).
  const ect = isNew && c.ecn && bytes > 0;
  if (ect && c.ecnReduced) out.flags |= TcpFlag.cwr;
  const headerLength = tcpHeaderLength(out);
  const packet = c.tcp.lower.allocate(headerLength + bytes);
  if (packet === null) {
    c.tcp.starve(c);
    return false;
  }
  packet.fib = c.fib;
  const { u8 } = packet.pool;
  packet.l4 = packet.start;
  emitTcp(u8, packet.start, out);
  packet.end = packet.start + headerLength + bytes;
  if (bytes > 0) c.source.copyOut(seqDiff(seq, c.bufferSeq), u8, packet.start + headerLength, bytes);
  packet.gsoSize = bytes > mss ? mss : 0;
  const { stats } = c.tcp;
  stats.outSegments += bytes > mss ? Math.ceil(bytes / mss) : 1;
  stats.outBytes += bytes;
  acknowledged(c);
  if (ect) c.ecnReduced = false;
  c.lastSendUs = c.tcp.nowUs;
  chargePacing(c, bytes + headerLength);
  c.tcp.lower.send(packet, c.local, c.remote, (c.dscp << 2) | (ect ? ECT0 : 0));
  return true;
}

/** Sends a pure acknowledgment with the current window. */
export function sendAck(c: TcpConnection): void {
  prepare(c, c.sndNxt, TcpFlag.ack);
  addSack(c);
  if (!sendHeader(c)) return;
  c.tcp.stats.outAcks++;
  acknowledged(c);
}

/** A segment below the window, to make the peer answer (window probe, keepalive; RFC 9293 3.8.4, 3.8.6.1). */
export function sendProbe(c: TcpConnection): void {
  prepare(c, (c.sndUna - 1) | 0, TcpFlag.ack);
  if (sendHeader(c)) acknowledged(c);
}

/** SYN, or SYN and ACK when the peer's SYN has come. */
export function sendSyn(c: TcpConnection): void {
  const { config } = c.tcp;
  const passive = c.state === TcpState.synReceived;
  prepare(c, c.iss, TcpFlag.syn | (passive ? TcpFlag.ack : 0));
  out.mss = c.tcp.advertisedMss(c.local, c.remote, c.fib);
  if (passive ? c.scaling : config.windowScaling) out.windowScale = c.rcvScale;
  out.sackPermitted = passive ? c.sackEnabled : config.sack;
  out.hasTimestamps = passive ? c.timestamps : config.timestamps;
  out.tsVal = c.timestampAt(c.tcp.nowUs);
  out.tsEcr = passive ? c.tsRecent : 0;
  // RFC 3168 6.1.1.1: asks at first, and no more when nothing answers: some paths drop what they do not know.
  if (passive) out.flags |= c.ecn && c.retries === 0 ? TcpFlag.ece : 0;
  else if (config.ecn === 'active') {
    c.ecnAsked = c.retries === 0;
    if (c.ecnAsked) out.flags |= TcpFlag.ece | TcpFlag.cwr;
  }
  // The window of a SYN is never scaled.
  const window = Math.min(c.receiveRoom, 65535);
  out.window = window;
  c.rcvAdv = (c.rcvNxt + window) | 0;
  if (sendHeader(c)) acknowledged(c);
}

/** Ends the connection at the peer (RFC 9293 3.5.2): exactly at its window's left edge, so that it is believed (RFC 5961). */
export function sendReset(c: TcpConnection): void {
  const seq = seqLt(c.sndNxt, c.sndUna) ? c.sndUna : c.sndNxt;
  prepare(c, seq, TcpFlag.rst | (c.state === TcpState.synSent ? 0 : TcpFlag.ack));
  if (sendHeader(c)) c.tcp.stats.outResets++;
}

function prepare(c: TcpConnection, seq: number, flags: number): void {
  out.sourcePort = c.localPort;
  out.destinationPort = c.remotePort;
  out.seq = seq;
  out.ack = (flags & TcpFlag.ack) !== 0 ? c.rcvNxt : 0;
  out.flags = flags | (c.ecnEcho && (flags & (TcpFlag.syn | TcpFlag.rst)) === 0 ? TcpFlag.ece : 0);
  out.urgent = 0;
  if (c.sndUrgent && (flags & (TcpFlag.syn | TcpFlag.rst)) === 0) writeUrgent(c, out);
  out.mss = 0;
  out.windowScale = -1;
  out.sackPermitted = false;
  out.sackCount = 0;
  out.hasTimestamps = c.timestamps;
  out.tsVal = c.timestampAt(c.tcp.nowUs);
  out.tsEcr = c.tsRecent;
  out.window = (flags & TcpFlag.syn) !== 0 ? 0 : selectWindow(c);
}

function sendHeader(c: TcpConnection): boolean {
  const headerLength = tcpHeaderLength(out);
  const packet = c.tcp.lower.allocate(headerLength);
  if (packet === null) {
    c.tcp.starve(c);
    return false;
  }
  packet.fib = c.fib;
  packet.l4 = packet.start;
  packet.end = packet.start + emitTcp(packet.pool.u8, packet.start, out);
  packet.gsoSize = 0;
  c.tcp.stats.outSegments++;
  c.tcp.lower.send(packet, c.local, c.remote, c.dscp << 2);
  return true;
}

/** Something that carries rcv.nxt has been sent. */
function acknowledged(c: TcpConnection): void {
  c.ackNow = false;
  c.unackedBytes = 0;
  c.hasDsack = false;
  c.lastAckSent = c.rcvNxt;
  c.tcp.wheel.disarm(c.ackTimer);
}

/**
 * The window to advertise, which never moves its right edge back (RFC 9293 3.8.6) and moves it on only by a segment or half the buffer
 * (silly window avoidance of the receiver, 3.8.6.2.2). Notes the new right edge.
 */
function selectWindow(c: TcpConnection): number {
  const current = Math.max(0, seqDiff(c.rcvAdv, c.rcvNxt));
  const { sink } = c;
  let room = c.receiveRoom;
  if (room < sink.limit >> 1 && sink.wantRoom?.(sink.limit >> 1)) room = c.receiveRoom;
  const unit = 1 << c.rcvScale;
  let window: number;
  if (room - current >= Math.min(sink.limit >> 1, c.rcvMss)) window = room - (room % unit);
  else window = Math.ceil(current / unit) * unit;
  if (window < current) window = Math.ceil(current / unit) * unit;
  const field = Math.min(window >>> c.rcvScale, 65535);
  c.rcvAdv = (c.rcvNxt + field * unit) | 0;
  return field;
}

function sackBlocks(c: TcpConnection): number {
  if (!c.sackEnabled) return 0;
  const most = c.timestamps ? 3 : 4;
  return Math.min(most, c.reassembly.ranges.length + (c.hasDsack ? 1 : 0));
}

/** D-SACK first (RFC 2883), then the ranges, the latest first. */
function addSack(c: TcpConnection): void {
  const count = sackBlocks(c);
  if (count === 0) return;
  let i = 0;
  if (c.hasDsack) {
    out.sack[0] = c.dsackStart;
    out.sack[1] = c.dsackEnd;
    i = 1;
    c.tcp.stats.dsackSent++;
  }
  for (let k = 0; i < count; i++, k++) {
    out.sack[2 * i] = c.reassembly.ranges[k].start;
    out.sack[2 * i + 1] = c.reassembly.ranges[k].end;
  }
  out.sackCount = count;
}
