/**
 * SEGMENT ARRIVES (RFC 9293 3.10.7), with the checks of RFC 5961 against blind attacks, PAWS (RFC 7323 5) and RFC 1337 for TIME-WAIT.
 * Left out: data on a SYN is not accepted early.
 */
import { TcpFlag, type TcpRepr } from '../wire/tcp.ts';
import { type TcpConnection, TcpEvent } from './connection.ts';
import { ecnFlags } from './ecn.ts';
import { handleAck } from './loss_recovery.ts';
import { sendAck, sendSyn } from './output.ts';
import { seqAdd, seqDiff, seqGeq, seqGt, seqLeq, seqLt, seqMax, seqMin } from './seq.ts';
import { TcpState } from './state.ts';
import { urgentArrives, urgentBytes } from './urgent.ts';

const PAWS_IDLE_US = 24 * 24 * 3600 * 1e6;
/** Segments without data that are out of the window are answered this often (RFC 5961 7). */
const OUT_OF_WINDOW_ACK_US = 500_000;

/** Handles the segment `seg`, whose payload lies in `u8`. `segments`: how many were merged into it. */
export function segmentArrives(c: TcpConnection, seg: TcpRepr, u8: Uint8Array, gsoSize: number): void {
  switch (c.state) {
    case TcpState.closed:
      return;
    case TcpState.synSent:
      arrivesInSynSent(c, seg, u8);
      return;
    case TcpState.timeWait:
      arrivesInTimeWait(c, seg);
      return;
  }
  if (c.state === TcpState.synReceived && handshakeRepeat(c, seg)) return;
  if (!sequenceAcceptable(c, seg)) return;
  const { flags } = seg;
  c.lastReceiveUs = c.tcp.nowUs;
  c.keepAliveProbesSent = 0;
  if ((flags & TcpFlag.rst) !== 0) {
    resetArrives(c, seg);
    return;
  }
  if ((flags & TcpFlag.syn) !== 0) {
    c.tcp.challengeAck(c);
    return;
  }
  if ((flags & TcpFlag.ack) === 0) return;
  noteTimestamp(c, seg);
  if (c.state === TcpState.synReceived && !completeHandshake(c, seg)) return;
  const payloadLength = seg.end - seg.payload;
  if (seqGt(seg.ack, c.sndNxt) || seqLt(seg.ack, seqAdd(c.sndUna, -Math.min(c.maxSndWnd, 0x3fff_ffff)))) {
    c.tcp.challengeAck(c);
    return;
  }
  if (c.ecn) ecnFlags(c, seg, payloadLength);
  handleAck(c, seg, payloadLength);
  if (!afterAck(c)) return;
  if ((flags & TcpFlag.urg) !== 0) urgentArrives(c, seg);
  if (payloadLength > 0) {
    if (!textArrives(c, seg, u8, gsoSize)) return;
  }
  if ((flags & TcpFlag.fin) !== 0) finArrives(c, seg);
  if (c.finPending && c.rcvNxt === c.finSeq) acceptFin(c);
}

// --- SYN-SENT and SYN-RECEIVED

function arrivesInSynSent(c: TcpConnection, seg: TcpRepr, u8: Uint8Array): void {
  const { flags } = seg;
  const hasAck = (flags & TcpFlag.ack) !== 0;
  if (hasAck && (seqLeq(seg.ack, c.iss) || seqGt(seg.ack, c.sndNxt))) {
    if ((flags & TcpFlag.rst) === 0) c.tcp.resetSegment(c, seg);
    return;
  }
  if ((flags & TcpFlag.rst) !== 0) {
    if (hasAck) c.tcp.terminate(c, 'refused');
    return;
  }
  if ((flags & TcpFlag.syn) === 0) return;
  c.lastReceiveUs = c.tcp.nowUs;
  c.tcp.takeSyn(c, seg);
  c.sndWnd = seg.window;
  c.maxSndWnd = seg.window;
  c.sndWl1 = seg.seq;
  c.sndWl2 = seg.ack;
  if (!hasAck) {
    // Simultaneous open: both SYNs have crossed (RFC 9293 3.5, figure 7).
    c.state = TcpState.synReceived;
    sendSyn(c);
    return;
  }
  if (c.retries === 0) c.rtt.sample(c.tcp.nowUs - c.lastSendUs, c.tcp.nowUs);
  // RFC 3168 6.1.1: ECE alone; both flags are our own, reflected by something that does not know them.
  if (c.ecnAsked && (flags & (TcpFlag.ece | TcpFlag.cwr)) === TcpFlag.ece) c.tcp.useEcn(c);
  c.sndUna = seg.ack;
  established(c);
  if (!c.synchronized) return;
  if (c.finQueued) c.state = TcpState.finWait1;
  c.ackNow = true;
  c.schedule();
  if (seg.end > seg.payload) {
    seg.seq = seqAdd(seg.seq, 1);
    seg.flags &= ~TcpFlag.syn;
    if (textArrives(c, seg, u8, 0) && (flags & TcpFlag.fin) !== 0) finArrives(c, seg);
  }
}

/** A repeated SYN is answered again; the SYN and ACK of a simultaneous open counts as its ACK. True when the segment is done with. */
function handshakeRepeat(c: TcpConnection, seg: TcpRepr): boolean {
  if ((seg.flags & (TcpFlag.syn | TcpFlag.rst)) !== TcpFlag.syn || seg.seq !== c.irs) return false;
  if ((seg.flags & TcpFlag.ack) === 0) {
    sendSyn(c);
    return true;
  }
  seg.seq = seqAdd(seg.seq, 1);
  seg.flags &= ~TcpFlag.syn;
  return false;
}

function completeHandshake(c: TcpConnection, seg: TcpRepr): boolean {
  if (seqLeq(seg.ack, c.iss) || seqGt(seg.ack, c.sndNxt)) {
    c.tcp.resetSegment(c, seg);
    return false;
  }
  if (c.listener !== null && !c.listener.mayEstablish(c)) return false;
  if (c.retries === 0) c.rtt.sample(c.tcp.nowUs - c.lastSendUs, c.tcp.nowUs);
  c.sndUna = seqAdd(c.iss, 1);
  c.sndWnd = seg.window * 2 ** c.sndScale;
  c.maxSndWnd = Math.max(c.maxSndWnd, c.sndWnd);
  c.sndWl1 = seg.seq;
  c.sndWl2 = seg.ack;
  established(c);
  if (c.finQueued) c.state = TcpState.finWait1;
  c.listener?.onEstablished(c);
  return c.synchronized;
}

function established(c: TcpConnection): void {
  c.state = TcpState.established;
  if (c.retries > 0) c.rtt.onSynLost();
  c.retries = 0;
  c.rtt.backoff = 0;
  c.rtoAtUs = 0;
  c.tcp.wheel.disarm(c.retransmitTimer);
  c.rack.reset(c.sndUna);
  c.tcp.startSending(c);
  c.app?.onEstablished?.(c);
  if (c.state === TcpState.established) c.raise(TcpEvent.connected | TcpEvent.space);
}

// --- the common checks

/** RFC 9293 3.10.7.4 first step, with PAWS before it. Answers what is not acceptable. */
function sequenceAcceptable(c: TcpConnection, seg: TcpRepr): boolean {
  const { flags } = seg;
  const rst = (flags & TcpFlag.rst) !== 0;
  const payloadLength = seg.end - seg.payload;
  const length = payloadLength + ((flags & TcpFlag.fin) !== 0 ? 1 : 0) + ((flags & TcpFlag.syn) !== 0 ? 1 : 0);
  if (c.timestamps && seg.hasTimestamps && !rst && seqLt(seg.tsVal, c.tsRecent)) {
    if (c.tcp.nowUs - c.tsRecentUs < PAWS_IDLE_US) {
      c.tcp.stats.pawsRejected++;
      answerUnacceptable(c, seg, length);
      return false;
    }
  }
  const edge = seqMax(c.rcvAdv, c.rcvNxt);
  const end = seqAdd(seg.seq, length);
  // A segment without length at the right edge is the pure acknowledgment of a peer that has filled the window.
  const inside =
    length === 0
      ? seqGeq(seg.seq, c.rcvNxt) && seqLeq(seg.seq, edge)
      : seqGt(end, c.rcvNxt) && (seqLt(seg.seq, edge) || seg.seq === c.rcvNxt);
  if (inside) return true;
  c.tcp.stats.inOutOfWindow++;
  if (!rst) answerUnacceptable(c, seg, length);
  return false;
}

function answerUnacceptable(c: TcpConnection, seg: TcpRepr, length: number): void {
  const now = c.tcp.nowUs;
  c.lastReceiveUs = now;
  c.keepAliveProbesSent = 0;
  if ((seg.flags & TcpFlag.syn) !== 0) {
    c.tcp.challengeAck(c);
    return;
  }
  if (length === 0) {
    if (now - c.lastOutOfWindowAckUs < OUT_OF_WINDOW_ACK_US) return;
    c.lastOutOfWindowAckUs = now;
  } else if (seqLt(seg.seq, c.rcvNxt)) noteDuplicate(c, seg.seq, seqMin(seqAdd(seg.seq, seg.end - seg.payload), c.rcvNxt));
  c.ackNow = true;
  c.schedule();
}

/** RFC 5961 3.2: only a reset at exactly rcv.nxt is believed. */
function resetArrives(c: TcpConnection, seg: TcpRepr): void {
  if (seg.seq !== c.rcvNxt) {
    c.tcp.challengeAck(c);
    return;
  }
  if (c.state === TcpState.synReceived) {
    c.tcp.terminate(c, c.listener === null ? 'refused' : 'reset');
    return;
  }
  c.tcp.stats.establishedResets++;
  const expected = c.state === TcpState.lastAck || c.state === TcpState.closing;
  c.tcp.terminate(c, expected ? 'none' : 'reset');
}

/** RFC 7323 4.3. */
function noteTimestamp(c: TcpConnection, seg: TcpRepr): void {
  if (!c.timestamps || !seg.hasTimestamps) return;
  if (seqGeq(seg.tsVal, c.tsRecent) && seqLeq(seg.seq, c.lastAckSent)) {
    c.tsRecent = seg.tsVal;
    c.tsRecentUs = c.tcp.nowUs;
  }
}

/** What the acknowledgment of our FIN means. False when the connection is gone. */
function afterAck(c: TcpConnection): boolean {
  if (!c.finAcked) return true;
  switch (c.state) {
    case TcpState.finWait1:
      c.state = TcpState.finWait2;
      c.tcp.armFinWait2(c);
      return true;
    case TcpState.closing:
      c.tcp.enterTimeWait(c);
      return false;
    case TcpState.lastAck:
      c.tcp.terminate(c, 'none');
      return false;
    default:
      return true;
  }
}

// --- data

/** False when the connection was ended. */
function textArrives(c: TcpConnection, seg: TcpRepr, u8: Uint8Array, gsoSize: number): boolean {
  if (c.state !== TcpState.established && c.state !== TcpState.finWait1 && c.state !== TcpState.finWait2) return true;
  const { stats } = c.tcp;
  if (c.receiveClosed) {
    // Nobody will read this: the peer has to know (RFC 1122 4.2.2.13).
    c.tcp.abortUnread(c);
    return false;
  }
  let start = seg.seq;
  let end = seqAdd(start, seg.end - seg.payload);
  let at = seg.payload;
  if (seqLt(start, c.rcvNxt)) {
    noteDuplicate(c, start, seqMin(end, c.rcvNxt));
    at += seqDiff(c.rcvNxt, start);
    start = c.rcvNxt;
    c.ackNow = true;
    c.schedule();
    if (seqGeq(start, end)) return true;
  }
  const edge = seqMax(c.rcvAdv, c.rcvNxt);
  if (seqGt(end, edge)) {
    end = edge;
    seg.flags &= ~TcpFlag.fin;
    c.ackNow = true;
    c.schedule();
    if (seqGeq(start, end)) return true;
  }
  if (c.finPending && seqGt(end, c.finSeq)) end = c.finSeq;
  const length = seqDiff(end, start);
  if (length <= 0) return true;
  const size = gsoSize > 0 ? gsoSize : length;
  if (size > c.rcvMss) c.rcvMss = Math.min(size, 65535);
  if (start === c.rcvNxt) {
    // Without memory nothing is acknowledged, and the peer sends it again.
    if (!c.sink.write(0, u8, at, length)) {
      stats.receivePruned++;
      seg.flags &= ~TcpFlag.fin;
      return true;
    }
    const hadGap = !c.reassembly.isEmpty;
    if (hadGap) {
      const twice = c.reassembly.overlap(start, end);
      if (twice !== null) noteDuplicate(c, twice.start, twice.end);
    }
    const next = hadGap ? c.reassembly.advance(end) : end;
    const added = seqDiff(next, c.rcvNxt);
    c.sink.commit(added);
    c.rcvNxt = next;
    c.bytesReceived += added;
    stats.inBytes += added;
    c.raise(TcpEvent.data);
    if (c.rcvUrgent) urgentBytes(c);
    scheduleAck(c, length, hadGap);
    return true;
  }
  stats.inOutOfOrder++;
  c.ackNow = true;
  c.schedule();
  const twice = c.reassembly.overlap(start, end);
  if (twice !== null) noteDuplicate(c, twice.start, twice.end);
  if (c.reassembly.contains(start, end)) return true;
  // What is reported as received is never dropped again: stored first, then noted.
  if (!c.sink.write(seqDiff(start, c.rcvNxt), u8, at, length) || !c.reassembly.add(start, end)) stats.receivePruned++;
  return true;
}

function noteDuplicate(c: TcpConnection, start: number, end: number): void {
  c.tcp.stats.inDuplicate++;
  if (!c.sackEnabled || c.hasDsack || !seqLt(start, end)) return;
  c.dsackStart = start;
  c.dsackEnd = end;
  c.hasDsack = true;
}

/** RFC 9293 3.8.6.3: at least every second full segment, at once around gaps (RFC 5681 4.2), the rest after a delay. */
function scheduleAck(c: TcpConnection, length: number, gap: boolean): void {
  c.unackedBytes += length;
  const delay = c.tcp.config.delayedAckMs;
  if (c.quickAcks > 0) c.quickAcks--;
  if (gap || delay === 0 || c.quickAcks > 0 || c.unackedBytes >= 2 * c.rcvMss) {
    c.ackNow = true;
    c.schedule();
  } else if (c.ackTimer.deadline < 0) c.tcp.wheel.arm(c.ackTimer, c.tcp.nowUs / 1000 + delay);
}

function finArrives(c: TcpConnection, seg: TcpRepr): void {
  if (c.finReceived) return;
  c.finSeq = seqAdd(seg.seq, seg.end - seg.payload);
  if (seqLt(c.finSeq, c.rcvNxt)) return;
  c.finPending = true;
  c.ackNow = true;
  c.schedule();
}

function acceptFin(c: TcpConnection): void {
  c.finPending = false;
  c.finReceived = true;
  c.rcvNxt = seqAdd(c.rcvNxt, 1);
  if (seqLt(c.rcvAdv, c.rcvNxt)) c.rcvAdv = c.rcvNxt;
  c.ackNow = true;
  c.raise(TcpEvent.end);
  switch (c.state) {
    case TcpState.established:
      c.state = TcpState.closeWait;
      return;
    case TcpState.finWait1:
      // Our own FIN is not acknowledged, or this would be FIN-WAIT-2.
      c.state = TcpState.closing;
      return;
    case TcpState.finWait2:
      sendAck(c);
      c.tcp.enterTimeWait(c);
      return;
  }
}

// --- TIME-WAIT

/** Repeats the acknowledgment of the peer's FIN; resets are ignored (RFC 1337). A new SYN was looked at by the table before. */
function arrivesInTimeWait(c: TcpConnection, seg: TcpRepr): void {
  if ((seg.flags & TcpFlag.rst) !== 0) return;
  const length = seg.end - seg.payload + ((seg.flags & TcpFlag.fin) !== 0 ? 1 : 0);
  if (length === 0 && seg.seq === c.rcvNxt && seg.ack === c.sndNxt) return;
  if ((seg.flags & TcpFlag.fin) !== 0 && seqLeq(seg.seq, c.rcvNxt)) c.tcp.armTimeWait(c);
  const now = c.tcp.nowUs;
  if (now - c.lastOutOfWindowAckUs < OUT_OF_WINDOW_ACK_US && (seg.flags & TcpFlag.fin) === 0) return;
  c.lastOutOfWindowAckUs = now;
  sendAck(c);
}
