/**
 * Makes a connection that is over a fresh one: the objects of a connection block, its estimators and timers are worth using again, because
 * at many connections per second their allocation and collection is a large part of the work. A test compares the result with a new object,
 * field by field, so a field that is added and not reset here is noticed.
 */
import type { IpAddress } from '../ip/address.ts';
import { newCongestionControl } from './cc/congestion_control.ts';
import { CaState, NO_SACK, type TcpConnection } from './connection.ts';
import { TcpState } from './state.ts';

/** `c` is closed, in no list, and its timers are disarmed. */
export function recycle(
  c: TcpConnection,
  local: IpAddress,
  localPort: number,
  remote: IpAddress,
  remotePort: number,
  fib: number,
): void {
  const { config } = c.tcp;
  c.local = local;
  c.localPort = localPort;
  c.remote = remote;
  c.remotePort = remotePort;
  c.fib = fib;
  c.sending.release();
  c.sending.limit = config.maxSendBufferBytes;
  c.received.release();
  c.received.limit = Math.min(config.initialReceiveBufferBytes, config.maxReceiveBufferBytes);
  c.source = c.sending;
  c.sink = c.received;
  c.reassembly.clear();
  c.scoreboard.clear();
  c.rtt.reset();
  c.rack.renew();
  c.rate.reset();
  if (c.cc.name === config.congestionControl && c.cc.renew !== undefined) c.cc.renew();
  else c.cc = newCongestionControl(config.congestionControl);
  c.noDelay = config.noDelay;
  c.keepAlive = config.keepAlive;
  c.userTimeoutMs = config.userTimeoutMs;
  c.keepAliveIdleMs = config.keepAliveIdleMs;
  c.keepAliveIntervalMs = config.keepAliveIntervalMs;
  c.keepAliveProbes = config.keepAliveProbes;
  c.hashNext = null;
  c.app = null;
  c.context = null;
  c.listener = null;
  c.route = null;
  c.state = TcpState.closed;
  c.error = 'none';
  c.events = 0;
  c.scheduled = false;
  c.waiting = false;
  c.released = false;
  c.iss = 0;
  c.sndUna = 0;
  c.sndNxt = 0;
  c.sndWnd = 0;
  c.sndWl1 = 0;
  c.sndWl2 = 0;
  c.sndScale = 0;
  c.maxSndWnd = 0;
  c.bufferSeq = 0;
  c.finQueued = false;
  c.finSent = false;
  c.finAcked = false;
  c.sndUp = 0;
  c.sndUrgent = false;
  c.irs = 0;
  c.rcvNxt = 0;
  c.rcvAdv = 0;
  c.rcvScale = 0;
  c.finReceived = false;
  c.finSeq = 0;
  c.finPending = false;
  c.rcvUp = 0;
  c.rcvUrgent = false;
  c.receiveClosed = false;
  c.rcvMss = 536;
  c.scaling = false;
  c.timestamps = false;
  c.sackEnabled = false;
  c.ecn = false;
  c.ecnAsked = false;
  c.ecnEcho = false;
  c.ecnMarked = false;
  c.ecnReduced = false;
  c.ecnWindowEnd = 0;
  c.dscp = 0;
  c.userMss = 0;
  c.tsRecent = 0;
  c.tsRecentUs = 0;
  c.tsOffset = 0;
  c.lastAckSent = 0;
  c.peerMss = 536;
  c.mss = 536;
  c.pathMtu = 0;
  c.cwnd = 0;
  c.ssthresh = 0x7fff_ffff;
  c.pacingRate = 0;
  c.pacedUntilUs = 0;
  c.caState = CaState.open;
  c.recoveryPoint = 0;
  c.prrDelivered = 0;
  c.prrOut = 0;
  c.recoverFlight = 0;
  c.renoSacked = 0;
  c.dupAcks = 0;
  c.cwndLimited = false;
  c.undoArmed = false;
  c.undoMarker = 0;
  c.undoBytes = 0;
  c.priorCwnd = 0;
  c.priorSsthresh = 0;
  c.retransmitStamp = 0;
  c.retransmitHead = 0;
  c.tlpEnd = 0;
  c.tlpOpen = false;
  c.tlpRetransmitted = false;
  c.lastSack = NO_SACK;
  c.lastSackCount = 0;
  c.ackDelivered = 0;
  c.ackRttTxUs = -1;
  c.ackHadRetransmit = false;
  c.ackHeadSpurious = false;
  c.ackTsEcr = 0;
  c.ackHasTs = false;
  c.ackNow = false;
  c.unackedBytes = 0;
  c.quickAcks = 16;
  c.dsackStart = 0;
  c.dsackEnd = 0;
  c.hasDsack = false;
  c.lastOutOfWindowAckUs = -1e12;
  c.rtoAtUs = 0;
  c.tlpAtUs = 0;
  c.reorderAtUs = 0;
  c.persistAtUs = 0;
  c.paceAtUs = 0;
  c.retries = 0;
  c.stalledSinceUs = 0;
  c.probes = 0;
  c.keepAliveProbesSent = 0;
  c.lastReceiveUs = 0;
  c.lastSendUs = 0;
  c.stateAtUs = 0;
  c.tuneBytes = 0;
  c.tuneAtUs = 0;
  c.deliveryRate = 0;
  c.bytesReceived = 0;
  c.bytesAcked = 0;
  c.retransmits = 0;
}
