/**
 * The three timers of a connection on the wheel: retransmission (which serves RTO, tail loss probe, reordering, window probes and pacing,
 * whichever comes first), delayed acknowledgment, and state (keepalive, FIN-WAIT-2, TIME-WAIT).
 */
import { CaState, type TcpConnection } from './connection.ts';
import { onReorderTimeout, onRto, onTlpTimeout, tlpPossible } from './loss_recovery.ts';
import { pushSmall, sendProbe, sendReset, sendSyn } from './output.ts';
import { seqDiff } from './seq.ts';
import { TcpState } from './state.ts';

const WORST_DELAYED_ACK_US = 200_000;
const MIN_TLP_US = 2000;
const MAX_SYN_RTO_US = 64_000_000;
/** Retransmissions of full segments without answer after which the path is suspected to drop them silently (RFC 4821). */
const BLACK_HOLE_RETRIES = 3;
/** What is tried then, and when that is no better either. */
const BLACK_HOLE_MSS = [1024, 536] as const;

/** Arms the retransmission timer for what is the case now. */
export function armRetransmit(c: TcpConnection): void {
  const { nowUs: now, wheel } = c.tcp;
  if (c.inFlight > 0) {
    c.persistAtUs = 0;
    if (c.rtoAtUs === 0) c.rtoAtUs = now + c.rtt.rtoUs;
    if (tlpPossible(c)) {
      if (c.tlpAtUs === 0 || c.lastSendUs === now) c.tlpAtUs = now + tlpTimeout(c);
      if (c.tlpAtUs >= c.rtoAtUs) c.tlpAtUs = 0;
    } else c.tlpAtUs = 0;
  } else {
    c.rtoAtUs = 0;
    c.tlpAtUs = 0;
    c.reorderAtUs = 0;
    // Data that the window keeps back: somebody has to ask for the update that may have been lost.
    const waiting = c.synchronized && seqDiff(c.writtenEnd, c.sndNxt) > 0 && c.state !== TcpState.timeWait;
    if (!waiting || c.paceAtUs !== 0) c.persistAtUs = 0;
    else if (c.persistAtUs === 0)
      c.persistAtUs = now + Math.min(c.rtt.baseRtoUs * 2 ** Math.min(c.probes, 12), c.tcp.config.maxRtoMs * 1000);
  }
  const due = earliest(earliest(earliest(c.rtoAtUs, c.tlpAtUs), earliest(c.reorderAtUs, c.persistAtUs)), c.paceAtUs);
  if (due === 0) wheel.disarm(c.retransmitTimer);
  else wheel.arm(c.retransmitTimer, due / 1000);
}

function earliest(a: number, b: number): number {
  return a === 0 ? b : b === 0 ? a : Math.min(a, b);
}

/** RFC 8985 7.2. */
function tlpTimeout(c: TcpConnection): number {
  if (!c.rtt.hasSample) return 1_000_000;
  const single = c.inFlight <= c.mss ? WORST_DELAYED_ACK_US : 0;
  return Math.max(2 * c.rtt.srttUs + single, MIN_TLP_US);
}

export function onRetransmitTimer(c: TcpConnection): void {
  const now = c.tcp.nowUs;
  if (c.state === TcpState.closed) return;
  if (c.state === TcpState.synSent || c.state === TcpState.synReceived) {
    onSynTimeout(c);
    return;
  }
  if (c.reorderAtUs !== 0 && c.reorderAtUs <= now) {
    c.reorderAtUs = 0;
    onReorderTimeout(c);
  } else if (c.tlpAtUs !== 0 && c.tlpAtUs <= now) {
    onTlpTimeout(c);
    c.rtoAtUs = now + c.rtt.rtoUs;
  } else if (c.rtoAtUs !== 0 && c.rtoAtUs <= now) {
    if (giveUp(c)) return;
    onRto(c);
    if (c.rtt.backoff < 16) c.rtt.backOff();
    c.rtoAtUs = now + c.rtt.rtoUs;
  } else if (c.persistAtUs !== 0 && c.persistAtUs <= now) onPersist(c);
  c.schedule();
}

/** Counts a timeout; true when the connection was ended by it (RFC 9293 3.8.3). */
function giveUp(c: TcpConnection): boolean {
  const { config, nowUs: now } = c.tcp;
  c.retries++;
  const tooLong = c.userTimeoutMs > 0 && c.stalledSinceUs > 0 && now - c.stalledSinceUs >= c.userTimeoutMs * 1000;
  if (c.retries > config.dataRetries || tooLong) {
    sendReset(c);
    c.tcp.terminate(c, 'timedOut');
    return true;
  }
  if (c.retries % BLACK_HOLE_RETRIES === 0 && c.caState === CaState.loss) {
    const mss = BLACK_HOLE_MSS[c.retries / BLACK_HOLE_RETRIES - 1];
    if (mss !== undefined && c.mss > mss) c.tcp.reduceMss(c, mss);
  }
  return false;
}

/** Zero-window probes go on as long as the peer answers them (RFC 9293 3.8.6.1). */
function onPersist(c: TcpConnection): void {
  const { config, nowUs: now, stats } = c.tcp;
  c.persistAtUs = 0;
  const tooLong = c.userTimeoutMs > 0 && now - c.lastReceiveUs >= c.userTimeoutMs * 1000;
  if (c.retries > config.dataRetries || tooLong) {
    sendReset(c);
    c.tcp.terminate(c, 'timedOut');
    return;
  }
  c.retries++;
  c.probes++;
  stats.windowProbes++;
  if (c.sndWnd > 0) pushSmall(c);
  else sendProbe(c);
}

function onSynTimeout(c: TcpConnection): void {
  const { config, nowUs: now } = c.tcp;
  const most = c.state === TcpState.synSent ? config.synRetries : config.synAckRetries;
  if (++c.retries > most) {
    c.tcp.terminate(c, 'timedOut');
    return;
  }
  c.rtt.backOff();
  c.scoreboard.clear();
  c.ackRttTxUs = -1;
  sendSyn(c);
  c.rtoAtUs = now + Math.min(c.rtt.rtoUs, MAX_SYN_RTO_US);
  c.tcp.wheel.arm(c.retransmitTimer, c.rtoAtUs / 1000);
}

export function onAckTimer(c: TcpConnection): void {
  if (c.state === TcpState.closed || c.unackedBytes === 0) return;
  c.tcp.stats.delayedAcks++;
  c.ackNow = true;
  c.schedule();
}

export function onStateTimer(c: TcpConnection): void {
  const { nowUs: now, stats, wheel } = c.tcp;
  switch (c.state) {
    case TcpState.timeWait:
      c.tcp.terminate(c, 'none');
      return;
    case TcpState.finWait2:
      if (!c.receiveClosed) return;
      sendReset(c);
      c.tcp.terminate(c, 'none');
      return;
    case TcpState.closed:
      return;
  }
  if (!c.keepAlive || !c.synchronized) return;
  const idleMs = (now - c.lastReceiveUs) / 1000;
  if (idleMs < c.keepAliveIdleMs || c.inFlight > 0 || c.source.length > 0) {
    c.keepAliveProbesSent = 0;
    wheel.arm(c.stateTimer, (c.inFlight > 0 ? now / 1000 : c.lastReceiveUs / 1000) + c.keepAliveIdleMs);
    return;
  }
  // A user timeout replaces the number of probes (RFC 5482 4.2, as Linux).
  const over = c.userTimeoutMs > 0 ? idleMs >= c.userTimeoutMs : c.keepAliveProbesSent >= c.keepAliveProbes;
  if (c.keepAliveProbesSent > 0 && over) {
    sendReset(c);
    c.tcp.terminate(c, 'timedOut');
    return;
  }
  c.keepAliveProbesSent++;
  stats.keepAliveProbes++;
  sendProbe(c);
  wheel.arm(c.stateTimer, now / 1000 + c.keepAliveIntervalMs);
}
