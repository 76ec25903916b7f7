/**
 * Which bytes beyond rcv.nxt have arrived, in the order that SACK reports them: the range that changed last comes first (RFC 2018 4).
 * The number of ranges is bounded; what would exceed the bound is not stored, and the peer sends it again.
 */
import { seqGt, seqLeq, seqLt, seqMax, seqMin } from './seq.ts';

const MAX_RANGES = 64;

export interface SeqRange {
  start: number;
  end: number;
}

export class Reassembly {
  /** Most recently changed first; ranges never touch each other. */
  readonly ranges: SeqRange[] = [];

  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  /** True when [start, end) lies completely in what is there already. */
  contains(start: number, end: number): boolean {
    for (const range of this.ranges) if (seqLeq(range.start, start) && seqLeq(end, range.end)) return true;
    return false;
  }

  /** The part of [start, end) that is there already and comes first, for a D-SACK; null when there is none. */
  overlap(start: number, end: number): SeqRange | null {
    let first: SeqRange | null = null;
    for (const range of this.ranges) {
      if (!seqLt(range.start, end) || !seqLt(start, range.end)) continue;
      const part = { start: seqMax(range.start, start), end: seqMin(range.end, end) };
      if (first === null || seqLt(part.start, first.start)) first = part;
    }
    return first;
  }

  /** Adds [start, end); false when there are too many ranges. */
  add(start: number, end: number): boolean {
    let merged: SeqRange | null = null;
    for (let i = 0; i < this.ranges.length; ) {
      const range = this.ranges[i];
      if (seqGt(range.start, end) || seqGt(start, range.end)) {
        i++;
        continue;
      }
      start = seqMin(start, range.start);
      end = seqMax(end, range.end);
      merged ??= range;
      this.ranges.splice(i, 1);
    }
    if (merged === null) {
      if (this.ranges.length >= MAX_RANGES) return false;
      merged = { start, end };
    }
    merged.start = start;
    merged.end = end;
    this.ranges.unshift(merged);
    return true;
  }

  /** Removes what reaches `next` or is before it; where the contiguous bytes from `next` on end. */
  advance(next: number): number {
    for (let i = 0; i < this.ranges.length; ) {
      const range = this.ranges[i];
      if (seqGt(range.start, next)) {
        i++;
        continue;
      }
      next = seqMax(next, range.end);
      this.ranges.splice(i, 1);
      i = 0;
    }
    return next;
  }

  clear(): void {
    this.ranges.length = 0;
  }
}
