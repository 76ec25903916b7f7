/**
 * Urgent data (RFC 9293 3.8.5, RFC 6093): bytes of the stream as all others, delivered in line, with a mark at the octet that follows the
 * last of them. The receiver's application hears of a mark, and whenever it moves on; the sender says in each segment how far ahead it is.
 *
 * Left out: bytes taken out of the stream, as BSD sockets do without SO_OOBINLINE (RFC 6093 advises against it).
 */
import { TcpFlag, type TcpRepr } from '../wire/tcp.ts';
import { type TcpConnection, TcpEvent } from './connection.ts';
import { seqAdd, seqDiff, seqGt } from './seq.ts';
import { TcpState } from './state.ts';

/** What the field of the header can say. */
const MAX_POINTER = 65_535;
const MAX_AHEAD = 1 << 30;

/** The octets up to `ahead` behind the first one that is not acknowledged are urgent, written or not. */
export function markUrgent(c: TcpConnection, ahead: number): void {
  if (ahead <= 0 || ahead > MAX_AHEAD || c.finQueued) return;
  const end = seqAdd(c.bufferSeq, ahead);
  if (c.sndUrgent && !seqGt(end, c.sndUp)) return;
  c.sndUp = end;
  c.sndUrgent = true;
  // The peer hears of it also while its window keeps the data back.
  if (c.synchronized && c.sndWnd === 0) c.ackNow = true;
  c.schedule();
}

/** Says in `repr`, whose sequence number is set, where the urgent data ends. */
export function writeUrgent(c: TcpConnection, repr: TcpRepr): void {
  if (!seqGt(c.sndUp, c.sndUna)) {
    c.sndUrgent = false;
    return;
  }
  const ahead = seqDiff(c.sndUp, repr.seq);
  if (ahead <= 0) return;
  repr.flags |= TcpFlag.urg;
  repr.urgent = Math.min(ahead, MAX_POINTER);
}

/** The segment carries URG: the mark may move on. */
export function urgentArrives(c: TcpConnection, seg: TcpRepr): void {
  if (c.state !== TcpState.established && c.state !== TcpState.finWait1 && c.state !== TcpState.finWait2) return;
  const up = seqAdd(seg.seq, seg.urgent);
  if (urgentBytes(c) > 0 ? !seqGt(up, c.rcvUp) : !seqGt(up, unread(c))) return;
  c.rcvUp = up;
  c.rcvUrgent = true;
  c.raise(TcpEvent.urgent);
}

/** How many bytes the application has to read until the urgent data is over; some of them may be on their way. 0: none is urgent. */
export function urgentBytes(c: TcpConnection): number {
  if (!c.rcvUrgent) return 0;
  const left = seqDiff(c.rcvUp, unread(c));
  // Before the sequence space has gone half round.
  if (left <= 0) c.rcvUrgent = false;
  return Math.max(left, 0);
}

/** The first octet that the application has not read. */
function unread(c: TcpConnection): number {
  return seqAdd(c.rcvNxt, -c.sink.length);
}
