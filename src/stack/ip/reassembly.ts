/**
 * Fragment reassembly for IPv4 (RFC 791, 815) and IPv6 (RFC 8200 4.5) with limits on time, on bytes and on fragments per packet. A
 * fragment that overlaps another ends the whole packet (RFC 5722; the same for IPv4, where overlaps are only ever an attack).
 */

export interface ReassemblyLimits {
  timeoutUs: number;
  maxBytes: number;
  maxFragments: number;
}

export const DEFAULT_REASSEMBLY: ReassemblyLimits = { timeoutUs: 30_000_000, maxBytes: 1024 * 1024, maxFragments: 64 };

export const FragmentResult = { stored: 0, complete: 1, overlap: 2, tooBig: 3, limit: 4, badLength: 5 } as const;
export type FragmentResult = (typeof FragmentResult)[keyof typeof FragmentResult];

interface Piece {
  offset: number;
  bytes: Uint8Array;
}

interface Pending {
  pieces: Piece[];
  bytes: number;
  total: number;
  /** The headers of the fragment at offset 0. */
  head: Uint8Array | null;
  expiresUs: number;
}

export interface Reassembled {
  head: Uint8Array;
  payload: Uint8Array;
}

export class FragmentTable {
  timedOut = 0;
  /** Called for a packet whose time is over and whose first fragment has come: with that fragment. */
  onExpired: ((key: string, head: Uint8Array, payload: Uint8Array) => void) | null = null;
  private readonly pending = new Map<string, Pending>();
  private bytes = 0;
  private readonly limits: ReassemblyLimits;

  constructor(limits: ReassemblyLimits = DEFAULT_REASSEMBLY) {
    this.limits = limits;
  }

  get count(): number {
    return this.pending.size;
  }

  /** Adds one fragment; with `complete`, the packet is in `out`. `head`: the headers in front of the payload. */
  add(
    key: string,
    offset: number,
    more: boolean,
    payload: Uint8Array,
    head: Uint8Array,
    nowUs: number,
    out: { packet: Reassembled | null },
  ): FragmentResult {
    this.expire(nowUs);
    const end = offset + payload.length;
    if (end > 65_535) return this.fail(key, FragmentResult.tooBig);
    if (payload.length === 0 || (more && payload.length % 8 !== 0)) return FragmentResult.badLength;
    let entry = this.pending.get(key);
    if (entry === undefined) {
      entry = { pieces: [], bytes: 0, total: -1, head: null, expiresUs: nowUs + this.limits.timeoutUs };
      this.pending.set(key, entry);
    }
    if (entry.pieces.length >= this.limits.maxFragments) return this.fail(key, FragmentResult.limit);
    let at = entry.pieces.length;
    while (at > 0 && entry.pieces[at - 1].offset > offset) at--;
    const previous = entry.pieces[at - 1];
    const next = entry.pieces[at];
    if (previous !== undefined && previous.offset === offset && previous.bytes.length === payload.length)
      return FragmentResult.stored;
    if ((previous !== undefined && previous.offset + previous.bytes.length > offset) || (next !== undefined && next.offset < end))
      return this.fail(key, FragmentResult.overlap);
    if ((entry.total >= 0 && end > entry.total) || (!more && entry.total >= 0 && entry.total !== end))
      return this.fail(key, FragmentResult.overlap);
    while (this.bytes + payload.length > this.limits.maxBytes) {
      const oldest = this.pending.keys().next().value;
      if (oldest === undefined || oldest === key) return this.fail(key, FragmentResult.limit);
      this.remove(oldest);
    }
    entry.pieces.splice(at, 0, { offset, bytes: payload.slice() });
    entry.bytes += payload.length;
    this.bytes += payload.length;
    if (!more) entry.total = end;
    if (offset === 0) entry.head = head.slice();
    if (entry.total < 0 || entry.bytes !== entry.total || entry.head === null) return FragmentResult.stored;
    const whole = new Uint8Array(entry.total);
    for (const piece of entry.pieces) whole.set(piece.bytes, piece.offset);
    out.packet = { head: entry.head, payload: whole };
    this.remove(key);
    return FragmentResult.complete;
  }

  /** Forgets packets whose time is over. Insertion order is expiry order. */
  expire(nowUs: number): void {
    for (const [key, entry] of this.pending) {
      if (entry.expiresUs > nowUs) return;
      this.timedOut++;
      if (entry.head !== null) this.onExpired?.(key, entry.head, entry.pieces[0].bytes);
      this.remove(key);
    }
  }

  /** When `expire` has something to do; Infinity: never. */
  nextDeadlineUs(): number {
    if (this.pending.size === 0) return Number.POSITIVE_INFINITY;
    return this.pending.values().next().value!.expiresUs;
  }

  private fail(key: string, result: FragmentResult): FragmentResult {
    this.remove(key);
    return result;
  }

  private remove(key: string): void {
    const entry = this.pending.get(key);
    if (entry === undefined) return;
    this.bytes -= entry.bytes;
    this.pending.delete(key);
  }
}
