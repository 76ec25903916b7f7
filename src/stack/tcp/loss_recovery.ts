/**
 * Acknowledgments: what they deliver, what they say is lost, and what that does to the window.
 *
 * Loss detection is RACK (RFC 8985) with SACK and three duplicate acknowledgments without (RFC 6582); recovery is paced by PRR (RFC
 * 6937); needless reductions are undone on D-SACK (RFC 3708) or by timestamps (Eifel, RFC 3522). The tail loss probe is RFC 8985 7.
 */
import type { TcpRepr } from '../wire/tcp.ts';
import { CaState, type TcpConnection, TcpEvent } from './connection.ts';
import { retransmit } from './output.ts';
import { seqAdd, seqDiff, seqGeq, seqGt, seqLeq, seqLt } from './seq.ts';
import { TcpState } from './state.ts';

const DUP_THRESHOLD = 3;
/** Pacing without a model of the path: faster than the window needs, so that it can grow. */
const PACE_SLOW_START = 2;
const PACE_AVOIDANCE = 1.2;

/** Handles a segment whose acknowledgment number is acceptable. */
export function handleAck(c: TcpConnection, seg: TcpRepr, payloadLength: number): void {
  const { nowUs: now } = c.tcp;
  const una = c.sndUna;
  const { ack } = seg;
  const advanced = seqGt(ack, una) ? seqDiff(ack, una) : 0;
  const windowChanged = updateWindow(c, seg);
  if (advanced === 0 && c.inFlight === 0) {
    // An answer to a window probe: the peer lives, the interval goes on growing while its window stays closed.
    c.retries = 0;
    if (c.sndWnd > 0) c.probes = 0;
    if (windowChanged) c.schedule();
    return;
  }
  c.ackDelivered = 0;
  c.ackRttTxUs = -1;
  c.ackHadRetransmit = false;
  c.ackHeadSpurious = false;
  c.ackHasTs = c.timestamps && seg.hasTimestamps;
  c.ackTsEcr = seg.tsEcr;
  c.rate.begin();
  const flightBefore = c.inFlight;

  let dsack = false;
  if (c.sackEnabled && seg.sackCount > 0) dsack = handleSack(c, seg, una);
  if (advanced > 0) {
    c.scoreboard.acknowledge(ack, c);
    advance(c, ack, advanced);
  }
  sampleRtt(c, seg, advanced);
  const delivered = c.ackDelivered;

  const lostBefore = c.scoreboard.lostBytes - c.scoreboard.retransmitBytes;
  if (!c.sackEnabled && advanced === 0 && payloadLength === 0 && !windowChanged && c.inFlight > 0) onDuplicateAck(c);
  const renoDelivered = !c.sackEnabled && advanced === 0 && c.dupAcks > 0 ? c.mss : 0;

  if (c.tlpOpen) checkTlp(c, seg, advanced, dsack);
  if (advanced > 0) tryEifelUndo(c);
  if (dsack) tryDsackUndo(c);

  const recoveryOver = c.caState !== CaState.open && seqGeq(c.sndUna, c.recoveryPoint);
  if (recoveryOver) endRecovery(c);
  detectLosses(c);
  const partial = !c.sackEnabled && advanced > 0 && c.caState === CaState.recovery;
  if (partial) markHeadLost(c);
  const newlyLost = c.scoreboard.lostBytes - c.scoreboard.retransmitBytes > lostBefore;
  if (newlyLost && c.caState === CaState.open) enterRecovery(c);

  const sample = c.rate.finish(now, Number.isFinite(c.minRttUs) ? c.minRttUs : 0);
  if (sample.rate > 0) c.deliveryRate = sample.rate;
  sample.lostBytes = newlyLost ? c.scoreboard.lostBytes - c.scoreboard.retransmitBytes - Math.max(lostBefore, 0) : 0;
  sample.rttUs = c.ackRttTxUs >= 0 ? now - c.ackRttTxUs : -1;
  if (c.cc.ownsWindow) c.cc.onSample(c, sample, c.caState !== CaState.open, now);
  else if (c.caState === CaState.recovery) proportionalReduction(c, delivered + renoDelivered);
  else if (advanced > 0 && !recoveryOver) {
    const limited = c.cwndLimited || flightBefore >= c.cwnd || c.caState === CaState.loss;
    c.cc.onAck(c, advanced, sample.rttUs, limited, now);
  }
  // RFC 6582 3.2 step 3: a partial acknowledgment sends the next hole at once.
  if (partial) c.cwnd = Math.max(c.cwnd, c.pipe + c.mss);
  if (advanced > 0) c.cwndLimited = false;
  if (c.tcp.config.pacing && !c.cc.ownsWindow && c.srttUs > 0)
    c.pacingRate = ((c.cwnd < c.ssthresh >> 1 ? PACE_SLOW_START : PACE_AVOIDANCE) * c.cwnd) / c.srttUs;
  c.tcp.probe?.onAck(c, now);
  c.schedule();
}

/** RFC 9293 3.10.7.4: SND.WND follows the newest segment. True when it changed. */
function updateWindow(c: TcpConnection, seg: TcpRepr): boolean {
  if (seqLt(seg.ack, c.sndUna)) return false;
  if (!(seqLt(c.sndWl1, seg.seq) || (c.sndWl1 === seg.seq && seqLeq(c.sndWl2, seg.ack)))) return false;
  const window = seg.window * 2 ** c.sndScale;
  const changed = window !== c.sndWnd;
  c.sndWl1 = seg.seq;
  c.sndWl2 = seg.ack;
  if (changed && c.sndWnd === 0) {
    c.retries = 0;
    c.rtt.backoff = 0;
  }
  c.sndWnd = window;
  if (window > c.maxSndWnd) c.maxSndWnd = window;
  if (window > 0) c.persistAtUs = 0;
  return changed;
}

function advance(c: TcpConnection, ack: number, bytes: number): void {
  c.sndUna = ack;
  const acked = Math.min(seqDiff(ack, c.bufferSeq), c.source.length);
  if (acked > 0) {
    c.source.drop(acked);
    c.bufferSeq = seqAdd(c.bufferSeq, acked);
    c.bytesAcked += acked;
    c.raise(TcpEvent.space);
  }
  if (c.finSent && seqDiff(ack, c.writtenEnd) > 0) c.finAcked = true;
  c.retries = 0;
  c.probes = 0;
  c.stalledSinceUs = c.tcp.nowUs;
  c.dupAcks = 0;
  if (c.caState === CaState.open) c.renoSacked = 0;
  else c.renoSacked = Math.max(0, c.renoSacked - bytes);
  // RFC 6298 5.3: new data acknowledged restarts the timer.
  c.rtt.backoff = 0;
  c.rtoAtUs = c.inFlight > 0 ? c.tcp.nowUs + c.rtt.rtoUs : 0;
  c.tlpAtUs = 0;
}

/** True when the first block is a D-SACK (RFC 2883 4). */
function handleSack(c: TcpConnection, seg: TcpRepr, una: number): boolean {
  const { sack, sackCount } = seg;
  if (c.lastSack.length === 0) c.lastSack = new Int32Array(8);
  let first = 0;
  let dsack = false;
  if (isDsack(seg)) {
    first = 1;
    dsack = true;
    c.tcp.stats.dsackReceived++;
    c.rack.onDsack(una, c.sndNxt);
    if (c.undoArmed && seqGeq(sack[0], c.undoMarker)) c.undoBytes -= seqDiff(sack[1], sack[0]);
  }
  for (let i = first; i < sackCount; i++) {
    let start = sack[2 * i];
    const end = sack[2 * i + 1];
    if (!seqLt(start, end) || seqLt(start, una) || seqGt(end, c.sndNxt)) continue;
    for (let k = 0; k < c.lastSackCount; k++)
      if (c.lastSack[2 * k] === start && seqLeq(c.lastSack[2 * k + 1], end)) {
        start = c.lastSack[2 * k + 1];
        break;
      }
    if (seqLt(start, end)) c.scoreboard.sack(start, end, c);
  }
  let count = 0;
  for (let i = first; i < sackCount; i++, count++) {
    c.lastSack[2 * count] = sack[2 * i];
    c.lastSack[2 * count + 1] = sack[2 * i + 1];
  }
  c.lastSackCount = count;
  return dsack;
}

function isDsack(seg: TcpRepr): boolean {
  const { sack, sackCount, ack } = seg;
  if (!seqLt(sack[0], sack[1])) return false;
  if (seqLt(sack[0], ack)) return true;
  return sackCount > 1 && seqGeq(sack[0], sack[2]) && seqLeq(sack[1], sack[3]);
}

/** Karn: only what was sent once is timed; timestamps serve when everything acknowledged was sent again (RFC 7323 4). */
function sampleRtt(c: TcpConnection, seg: TcpRepr, advanced: number): void {
  const { nowUs: now } = c.tcp;
  if (c.ackRttTxUs >= 0 && !(c.ackHadRetransmit && advanced > 0)) c.rtt.sample(now - c.ackRttTxUs, now);
  else if (advanced > 0 && c.ackHasTs && seg.tsEcr !== 0) {
    const elapsed = seqDiff(c.timestampAt(now), seg.tsEcr);
    if (elapsed >= 0 && elapsed < 120_000) c.rtt.sample(Math.max(elapsed * 1000, 1), now);
  }
  if (c.rtoAtUs !== 0 && advanced > 0) c.rtoAtUs = now + c.rtt.rtoUs;
}

// --- detection

/** Runs RACK, and notes when it wants to look again. */
export function detectLosses(c: TcpConnection): void {
  c.reorderAtUs = 0;
  if (!c.sackEnabled || c.inFlight === 0) return;
  const { nowUs: now } = c.tcp;
  const window = c.rack.reorderWindowUs(c.caState !== CaState.open, c.scoreboard.sackedBytes, c.mss, c.srttUs, c.minRttUs);
  const wait = c.rack.detectLoss(c.scoreboard, window, now);
  if (wait > 0) c.reorderAtUs = now + wait;
}

/** RACK's reordering timer (RFC 8985 6.3). */
export function onReorderTimeout(c: TcpConnection): void {
  c.tcp.stats.reorderTimeouts++;
  const before = c.scoreboard.lostBytes - c.scoreboard.retransmitBytes;
  detectLosses(c);
  if (c.scoreboard.lostBytes - c.scoreboard.retransmitBytes <= before) return;
  if (c.caState === CaState.open) enterRecovery(c);
  if (c.caState === CaState.recovery && !c.cc.ownsWindow) proportionalReduction(c, 0);
}

function onDuplicateAck(c: TcpConnection): void {
  c.dupAcks++;
  const most = c.inFlight - c.scoreboard.lostBytes;
  c.renoSacked = Math.min(c.renoSacked + c.mss, Math.max(0, most));
  if (c.dupAcks === DUP_THRESHOLD && c.caState === CaState.open) markHeadLost(c);
}

function markHeadLost(c: TcpConnection): void {
  if (c.scoreboard.count === 0) return;
  const head = c.scoreboard.at(0);
  if (head.lost && head.retransmitInFlight) return;
  c.scoreboard.limit(head, c.mss);
  c.scoreboard.markLost(head);
}

// --- recovery

export function enterRecovery(c: TcpConnection): void {
  c.tcp.stats.fastRecoveries++;
  armUndo(c);
  c.ssthresh = c.cc.onLoss(c, c.tcp.nowUs);
  c.caState = CaState.recovery;
  c.recoveryPoint = c.sndNxt;
  c.recoverFlight = Math.max(c.inFlight, 1);
  c.prrDelivered = 0;
  c.prrOut = 0;
  c.tlpAtUs = 0;
}

function armUndo(c: TcpConnection): void {
  c.undoArmed = true;
  c.undoMarker = c.sndUna;
  c.undoBytes = 0;
  c.retransmitStamp = 0;
  c.priorCwnd = c.caState === CaState.open ? c.cwnd : Math.max(c.priorCwnd, c.cwnd);
  c.priorSsthresh = c.caState === CaState.open ? c.ssthresh : c.priorSsthresh;
}

/** RFC 6937: what was delivered decides what may be sent. */
function proportionalReduction(c: TcpConnection, delivered: number): void {
  c.prrDelivered += delivered;
  const { pipe } = c;
  let send: number;
  if (pipe > c.ssthresh) send = Math.ceil((c.prrDelivered * c.ssthresh) / c.recoverFlight) - c.prrOut;
  else send = Math.min(c.ssthresh - pipe, Math.max(c.prrDelivered - c.prrOut, delivered) + c.mss);
  c.cwnd = Math.max(pipe + Math.max(send, c.prrOut === 0 ? c.mss : 0), c.mss);
}

function endRecovery(c: TcpConnection): void {
  if (c.caState === CaState.recovery && !c.cc.ownsWindow)
    c.cwnd = Math.max(Math.min(c.ssthresh, Math.max(c.pipe, c.mss) + c.ssthresh), 2 * c.mss);
  const wasRecovery = c.caState === CaState.recovery;
  c.caState = CaState.open;
  c.renoSacked = 0;
  c.dupAcks = 0;
  c.rack.onRecoveryEnd();
  if (wasRecovery) c.cc.onRecovered(c, c.tcp.nowUs);
}

/** The retransmission timer fired (RFC 6298 5.4-5.6; what is lost, RFC 8985 6.3). */
export function onRto(c: TcpConnection): void {
  c.tcp.stats.rtoTimeouts++;
  const { scoreboard } = c;
  if (c.caState !== CaState.loss || seqGeq(c.sndUna, c.recoveryPoint)) {
    armUndo(c);
    c.ssthresh = c.caState === CaState.recovery ? c.ssthresh : c.cc.onLoss(c, c.tcp.nowUs);
  }
  if (scoreboard.count > 0 && scoreboard.at(0).sacked) {
    // What was reported as received is still not acknowledged: the receiver has dropped it (RFC 2018 8).
    c.tcp.stats.sackReneging++;
    scoreboard.forgetSacks();
    c.lastSackCount = 0;
  }
  c.cc.onRto(c, c.tcp.nowUs);
  c.caState = CaState.loss;
  c.recoveryPoint = c.sndNxt;
  c.cwnd = c.mss;
  c.renoSacked = 0;
  c.dupAcks = 0;
  c.tlpOpen = false;
  for (let i = 0; i < scoreboard.count; i++) scoreboard.markLost(scoreboard.at(i));
  c.reorderAtUs = 0;
  c.pacedUntilUs = 0;
}

// --- undo

function tryEifelUndo(c: TcpConnection): void {
  if (c.undoArmed && c.caState !== CaState.open && c.ackHeadSpurious) undo(c);
}

function tryDsackUndo(c: TcpConnection): void {
  if (c.undoArmed && c.undoBytes <= 0 && c.retransmitStamp !== 0) undo(c);
}

function undo(c: TcpConnection): void {
  c.tcp.stats.undoRecoveries++;
  c.scoreboard.clearLost();
  if (!c.cc.ownsWindow) {
    c.cwnd = Math.max(c.cwnd, c.priorCwnd);
    c.ssthresh = Math.max(c.ssthresh, c.priorSsthresh);
  } else c.cwnd = Math.max(c.cwnd, c.priorCwnd);
  c.cc.onUndo(c);
  c.caState = CaState.open;
  c.undoArmed = false;
  c.renoSacked = 0;
}

// --- tail loss probe

/** Sends new data if there is some that the window takes, else the last segment again (RFC 8985 7.3). */
export function onTlpTimeout(c: TcpConnection): void {
  c.tlpAtUs = 0;
  const last = c.scoreboard.last;
  if (last === null || c.caState !== CaState.open || c.tlpOpen) return;
  c.tcp.stats.tlpProbes++;
  const unsent = seqDiff(c.writtenEnd, c.sndNxt);
  const window = seqDiff(seqAdd(c.sndUna, c.sndWnd), c.sndNxt);
  c.tlpOpen = true;
  if (unsent > 0 && window > 0) {
    c.tlpRetransmitted = false;
    // One segment beyond the window: `output` sends it at the end of this turn.
    c.cwnd = Math.max(c.cwnd, c.pipe + c.mss);
    c.tlpEnd = c.sndNxt;
    c.schedule();
    return;
  }
  c.tlpRetransmitted = true;
  c.tlpEnd = c.sndNxt;
  if (last.length > c.mss) c.scoreboard.splitAt(c.scoreboard.count - 1, (last.end - c.mss) | 0);
  const tail = c.scoreboard.last!;
  if (!retransmit(c, tail, c.mss)) c.tlpOpen = false;
}

/** RFC 8985 7.4: a probe that was needed is a loss that halves the window like any other. */
function checkTlp(c: TcpConnection, seg: TcpRepr, advanced: number, dsack: boolean): void {
  if (seqLt(seg.ack, c.tlpEnd)) return;
  if (!c.tlpRetransmitted) c.tlpOpen = false;
  else if (dsack && seg.sack[1] === c.tlpEnd) c.tlpOpen = false;
  else if (seqGt(seg.ack, c.tlpEnd)) {
    c.tlpOpen = false;
    c.tcp.stats.tlpRecoveries++;
    if (c.caState === CaState.open) {
      c.ssthresh = c.cc.onLoss(c, c.tcp.nowUs);
      if (!c.cc.ownsWindow) c.cwnd = Math.min(c.cwnd, c.ssthresh);
    }
  } else if (advanced === 0 && seg.sackCount === 0) c.tlpOpen = false;
}

export function tlpPossible(c: TcpConnection): boolean {
  return (
    c.sackEnabled &&
    c.caState === CaState.open &&
    !c.tlpOpen &&
    !c.scoreboard.hasSacked &&
    c.state !== TcpState.timeWait &&
    c.inFlight > 0
  );
}
