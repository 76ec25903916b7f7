/**
 * A token bucket that fills continuously (Envoy: AtomicTokenBucketImpl). Its whole state is one number, the time at which it was empty,
 * so that threads share a bucket by compare-and-exchange on one cell: no token is given twice.
 *
 * Time is counted in units of which `tokens_per_fill` make a millisecond; a token then costs as many units as the fill interval has
 * milliseconds. All of it are integers, and what is given out is exact.
 */

export interface TokenBucketConfig {
  maxTokens?: number;
  tokensPerFill?: number;
  /** ms */
  fillInterval?: number;
}

// A double and its bits: cells that threads share are exchanged as integers.
const BITS = new BigInt64Array(1);
const DOUBLE = new Float64Array(BITS.buffer);

/** `performance.now()` counts from the start of each thread; this is what all of them agree on. */
const CLOCK_OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** A time of a thread's dispatcher, as all threads of the process count it. */
export function processTimeMs(threadTimeMs: number): number {
  return threadTimeMs + CLOCK_OFFSET_MS;
}

/** A turn of a worker's loop has one time. */
const CLOCK_SKEW_MS = 2;

export class TokenBucket {
  readonly maxTokens: number;
  private readonly unitsPerMs: number;
  private readonly unitsPerToken: number;
  /** Less than a token: threads read their clocks up to this much apart, and none may miss a token for that. */
  private readonly slack: number;
  private readonly shared: BigInt64Array | null;
  private readonly cell: number;
  /** When it was empty, in units, which may be before the clock began; 0: nobody took anything yet. Of a bucket that is not shared. */
  private emptyAt = 0;

  /** `shared`: the cell that all threads count in, 0 at first; null: a bucket of this thread alone. */
  constructor(config: TokenBucketConfig, shared: BigInt64Array | null = null, cell = 0) {
    this.maxTokens = config.maxTokens ?? 0;
    const perFill = Math.max(1, config.tokensPerFill ?? 1);
    const intervalMs = Math.max(1, Math.round(config.fillInterval ?? 0));
    const divisor = gcd(perFill, intervalMs);
    this.unitsPerMs = perFill / divisor;
    this.unitsPerToken = intervalMs / divisor;
    this.slack = Math.min(CLOCK_SKEW_MS * this.unitsPerMs, this.unitsPerToken - 1);
    this.shared = shared;
    this.cell = cell;
  }

  /** Tokens that come back in a second. */
  get tokensPerSecond(): number {
    return (this.unitsPerMs * 1000) / this.unitsPerToken;
  }

  /** Takes a token. False: there is none. */
  consume(nowMs: number): boolean {
    const { shared, cell } = this;
    if (shared === null) {
      const next = this.afterOne(this.emptyAt, nowMs);
      if (Number.isNaN(next)) return false;
      this.emptyAt = next;
      return true;
    }
    for (;;) {
      const before = Atomics.load(shared, cell);
      BITS[0] = before;
      const next = this.afterOne(DOUBLE[0], nowMs);
      if (Number.isNaN(next)) return false;
      DOUBLE[0] = next;
      if (Atomics.compareExchange(shared, cell, before, BITS[0]) === before) return true;
    }
  }

  /** Whole tokens that are there. */
  remaining(nowMs: number): number {
    return Math.max(0, Math.floor(this.unitsAt(this.current(), nowMs) / this.unitsPerToken));
  }

  /** Until a token is there; 0 when one is. */
  nextTokenMs(nowMs: number): number {
    const missing = this.unitsPerToken - this.unitsAt(this.current(), nowMs);
    return missing <= 0 ? 0 : Math.ceil(missing / this.unitsPerMs);
  }

  private current(): number {
    if (this.shared === null) return this.emptyAt;
    BITS[0] = Atomics.load(this.shared, this.cell);
    return DOUBLE[0];
  }

  private unitsAt(emptyAt: number, nowMs: number): number {
    const full = this.maxTokens * this.unitsPerToken;
    return emptyAt === 0 ? full : Math.min(full, Math.floor(nowMs) * this.unitsPerMs - emptyAt);
  }

  /** The state after a token was taken; NaN: there is none. */
  private afterOne(emptyAt: number, nowMs: number): number {
    const units = this.unitsAt(emptyAt, nowMs);
    if (units < this.unitsPerToken - this.slack) return Number.NaN;
    const next = Math.floor(nowMs) * this.unitsPerMs - units + this.unitsPerToken;
    return next === 0 ? Number.MIN_VALUE : next;
  }
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
