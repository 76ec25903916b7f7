/**
 * Explicit congestion notification (RFC 3168): marks of routers go back to the sender as ECE until it says with CWR that it has reduced its
 * window, which it does once per window as for a loss, without a retransmission. Left out: accurate ECN (RFC 9768), L4S, ECN on control
 * packets; BBR, which does not answer single losses either, takes no notice.
 */
import type { Packet } from '../graph/packet.ts';
import { TcpFlag, type TcpRepr } from '../wire/tcp.ts';
import { CaState, type TcpConnection } from './connection.ts';
import { seqGeq } from './seq.ts';

const CONGESTION_EXPERIENCED = 3;

/** Looks at the IP header of an arriving segment. */
export function noteCongestionMark(c: TcpConnection, packet: Packet): void {
  const { u8 } = packet.pool;
  const bits = packet.isV4 ? u8[packet.l3 + 1] & 3 : (u8[packet.l3 + 1] >> 4) & 3;
  if (bits !== CONGESTION_EXPERIENCED) return;
  c.tcp.stats.ecnMarksReceived++;
  // Before the flags are looked at: a CWR on a marked segment answers earlier marks only.
  c.ecnMarked = true;
}

/** ECE and CWR of a segment in sequence. */
export function ecnFlags(c: TcpConnection, seg: TcpRepr, payloadLength: number): void {
  const { flags } = seg;
  if ((flags & TcpFlag.cwr) !== 0) c.ecnEcho = false;
  if (c.ecnMarked) {
    c.ecnMarked = false;
    c.ecnEcho = true;
    if (payloadLength > 0) c.ackNow = true;
    c.schedule();
  }
  if ((flags & TcpFlag.ece) !== 0) reduce(c, seg.ack);
}

function reduce(c: TcpConnection, ack: number): void {
  if (c.caState !== CaState.open || c.cc.ownsWindow || !seqGeq(ack, c.ecnWindowEnd)) return;
  c.tcp.stats.ecnReductions++;
  c.ssthresh = c.cc.onLoss(c, c.tcp.nowUs);
  c.cwnd = Math.min(c.cwnd, c.ssthresh);
  c.ecnWindowEnd = c.sndNxt;
  c.ecnReduced = true;
}
