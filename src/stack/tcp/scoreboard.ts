/**
 * What is in flight: one record per transmission (up to a whole TSO segment), split where acknowledgments cut it. Records lie in sequence
 * order; those that wait for a verdict are also linked in order of their last transmission, which is the order RACK looks at them
 * (RFC 8985 6). Byte counts are kept so that the pipe (RFC 6675) is a subtraction.
 */
import { seqDiff, seqGeq, seqGt, seqLeq, seqLt } from './seq.ts';

export class SentRange {
  seq = 0;
  end = 0;
  /** Time of the last transmission. */
  txUs = 0;
  transmissions = 0;
  sacked = false;
  lost = false;
  /** Lost, sent again, and no verdict on that yet. */
  retransmitInFlight = false;
  /** For the delivery rate: what was delivered, and when, as this was sent. */
  delivered = 0;
  deliveredUs = 0;
  firstTxUs = 0;
  appLimited = false;
  timePrevious: SentRange | null = null;
  timeNext: SentRange | null = null;
  timeLinked = false;

  get length(): number {
    return (this.end - this.seq) | 0;
  }
}

/** Records that are free, of all connections of the thread. */
const spare: SentRange[] = [];
const MAX_SPARE = 8192;

/** Told about every record that becomes delivered, before it is dropped or marked. */
export interface DeliveryObserver {
  onDelivered(range: SentRange): void;
}

export class Scoreboard {
  sackedBytes = 0;
  lostBytes = 0;
  retransmitBytes = 0;
  /** Oldest transmission without a verdict. */
  timeHead: SentRange | null = null;
  private timeTail: SentRange | null = null;
  private ranges: SentRange[] = [];
  private first = 0;
  private lostHint = 0;

  get count(): number {
    return this.ranges.length - this.first;
  }

  at(i: number): SentRange {
    return this.ranges[this.first + i];
  }

  get last(): SentRange | null {
    return this.count === 0 ? null : this.ranges[this.ranges.length - 1];
  }

  /** Records a first transmission of [seq, end). */
  push(seq: number, end: number, nowUs: number): SentRange {
    const range = spare.pop() ?? new SentRange();
    range.seq = seq;
    range.end = end;
    range.txUs = nowUs;
    range.transmissions = 1;
    range.sacked = false;
    range.lost = false;
    range.retransmitInFlight = false;
    this.ranges.push(range);
    this.linkTime(range);
    return range;
  }

  /** Records that `range` (or its lost part) was sent again. */
  retransmitted(range: SentRange, nowUs: number): void {
    if (range.lost && !range.retransmitInFlight) {
      range.retransmitInFlight = true;
      this.retransmitBytes += range.length;
    }
    range.txUs = nowUs;
    range.transmissions++;
    this.unlinkTime(range);
    this.linkTime(range);
  }

  markLost(range: SentRange): void {
    if (range.sacked) return;
    if (range.retransmitInFlight) {
      range.retransmitInFlight = false;
      this.retransmitBytes -= range.length;
    }
    if (!range.lost) {
      range.lost = true;
      this.lostBytes += range.length;
    }
    this.unlinkTime(range);
    this.lostHint = 0;
  }

  /** The loss was none (undo): nothing is lost any more. */
  clearLost(): void {
    for (let i = 0; i < this.count; i++) {
      const range = this.at(i);
      if (!range.lost) continue;
      if (range.retransmitInFlight) this.retransmitBytes -= range.length;
      range.retransmitInFlight = false;
      range.lost = false;
      this.lostBytes -= range.length;
      if (!range.timeLinked) this.linkTime(range);
    }
  }

  /** First lost record that was not sent again; null when there is none. */
  nextLost(): SentRange | null {
    if (this.lostBytes <= this.retransmitBytes) return null;
    for (let i = this.lostHint; i < this.count; i++) {
      const range = this.at(i);
      if (range.lost && !range.retransmitInFlight) {
        this.lostHint = i;
        return range;
      }
    }
    return null;
  }

  /** Drops everything before `una`, telling `observer` of what is delivered by that. */
  acknowledge(una: number, observer: DeliveryObserver): void {
    let dropped = 0;
    while (this.count > 0) {
      const range = this.at(0);
      if (seqGeq(range.seq, una)) break;
      if (seqGt(range.end, una)) this.splitAt(0, una);
      if (!range.sacked) observer.onDelivered(range);
      this.forget(range);
      this.first++;
      dropped++;
      if (spare.length < MAX_SPARE) spare.push(range);
    }
    if (dropped === 0) return;
    this.lostHint = 0;
    if (this.first > 64 && this.first * 2 > this.ranges.length) {
      this.ranges.splice(0, this.first);
      this.first = 0;
    }
  }

  /** Marks [start, end) as received. Returns how many bytes were new. */
  sack(start: number, end: number, observer: DeliveryObserver): number {
    let i = this.find(start);
    let bytes = 0;
    for (; i < this.count; i++) {
      const range = this.at(i);
      if (seqGeq(range.seq, end)) break;
      if (range.sacked) continue;
      if (seqLt(range.seq, start)) {
        this.splitAt(i, start);
        continue;
      }
      if (seqGt(range.end, end)) this.splitAt(i, end);
      observer.onDelivered(range);
      if (range.lost) {
        this.lostBytes -= range.length;
        if (range.retransmitInFlight) this.retransmitBytes -= range.length;
        range.lost = false;
        range.retransmitInFlight = false;
      }
      range.sacked = true;
      this.sackedBytes += range.length;
      bytes += range.length;
      this.unlinkTime(range);
    }
    return bytes;
  }

  /** The receiver took back what it had reported (RFC 2018 8). */
  forgetSacks(): void {
    for (let i = 0; i < this.count; i++) {
      const range = this.at(i);
      if (!range.sacked) continue;
      range.sacked = false;
      this.sackedBytes -= range.length;
      this.linkTime(range);
    }
  }

  /** Splits record `i` so that it ends at `seq`; the rest becomes record i + 1. */
  splitAt(i: number, seq: number): void {
    const range = this.at(i);
    const rest = spare.pop() ?? new SentRange();
    rest.seq = seq;
    rest.end = range.end;
    rest.txUs = range.txUs;
    rest.transmissions = range.transmissions;
    rest.sacked = range.sacked;
    rest.lost = range.lost;
    rest.retransmitInFlight = range.retransmitInFlight;
    rest.delivered = range.delivered;
    rest.deliveredUs = range.deliveredUs;
    rest.firstTxUs = range.firstTxUs;
    rest.appLimited = range.appLimited;
    range.end = seq;
    this.ranges.splice(this.first + i + 1, 0, rest);
    if (range.timeLinked) this.linkTimeAfter(rest, range);
    this.lostHint = 0;
  }

  /** Splits `range` so that it is at most `length` bytes. */
  limit(range: SentRange, length: number): void {
    if (range.length > length) this.splitAt(this.find(range.seq), (range.seq + length) | 0);
  }

  /** True when the receiver has reported everything up to the end of some record behind `seq`. */
  get hasSacked(): boolean {
    return this.sackedBytes > 0;
  }

  clear(): void {
    for (let i = 0; i < this.count; i++) {
      const range = this.at(i);
      range.timePrevious = range.timeNext = null;
      range.timeLinked = false;
      if (spare.length < MAX_SPARE) spare.push(range);
    }
    // Not `length = 0`, which gives the array's memory away.
    while (this.ranges.length > 0) this.ranges.pop();
    this.first = 0;
    this.sackedBytes = 0;
    this.lostBytes = 0;
    this.retransmitBytes = 0;
    this.timeHead = null;
    this.timeTail = null;
    this.lostHint = 0;
  }

  /** Takes `range` out of the order of transmissions: it has its verdict. */
  unlinkTime(range: SentRange): void {
    if (!range.timeLinked) return;
    if (range.timePrevious !== null) range.timePrevious.timeNext = range.timeNext;
    else this.timeHead = range.timeNext;
    if (range.timeNext !== null) range.timeNext.timePrevious = range.timePrevious;
    else this.timeTail = range.timePrevious;
    range.timePrevious = null;
    range.timeNext = null;
    range.timeLinked = false;
  }

  private linkTime(range: SentRange): void {
    range.timePrevious = this.timeTail;
    range.timeNext = null;
    if (this.timeTail !== null) this.timeTail.timeNext = range;
    else this.timeHead = range;
    this.timeTail = range;
    range.timeLinked = true;
  }

  private linkTimeAfter(range: SentRange, after: SentRange): void {
    range.timePrevious = after;
    range.timeNext = after.timeNext;
    if (after.timeNext !== null) after.timeNext.timePrevious = range;
    else this.timeTail = range;
    after.timeNext = range;
    range.timeLinked = true;
  }

  private forget(range: SentRange): void {
    const length = range.length;
    if (range.sacked) this.sackedBytes -= length;
    if (range.lost) this.lostBytes -= length;
    if (range.retransmitInFlight) this.retransmitBytes -= length;
    this.unlinkTime(range);
  }

  /** Index of the record that contains `seq`, or of the first behind it. */
  private find(seq: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqLeq(this.at(middle).end, seq)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** True when a transmission at (txUs, end) was after another (RFC 8985 6.2 `RACK_sent_after`). */
export function sentAfter(txUs: number, end: number, otherTxUs: number, otherEnd: number): boolean {
  return txUs > otherTxUs || (txUs === otherTxUs && seqDiff(end, otherEnd) > 0);
}
