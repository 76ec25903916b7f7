/** Round-trip time and retransmission timeout (RFC 6298), and the windowed minimum that RACK uses. Times in microseconds. */

const MIN_RTT_WINDOW_US = 300_000_000;
const MAX_BACKOFF = 16;
/** RFC 6298 5.7. */
const RTO_AFTER_LOST_SYN_US = 3_000_000;

export class RttEstimator {
  srttUs = 0;
  rttvarUs = 0;
  /** Lowest of the last five minutes; Infinity before the first sample. */
  minRttUs = Number.POSITIVE_INFINITY;
  latestUs = 0;
  backoff = 0;
  private minRttAtUs = 0;
  private readonly initialRtoUs: number;
  /** While there is no sample. */
  private firstRtoUs: number;
  private readonly minRtoUs: number;
  private readonly maxRtoUs: number;

  constructor(initialRtoMs: number, minRtoMs: number, maxRtoMs: number) {
    this.initialRtoUs = initialRtoMs * 1000;
    this.firstRtoUs = this.initialRtoUs;
    this.minRtoUs = minRtoMs * 1000;
    this.maxRtoUs = maxRtoMs * 1000;
  }

  reset(): void {
    this.firstRtoUs = this.initialRtoUs;
    this.srttUs = 0;
    this.rttvarUs = 0;
    this.minRttUs = Number.POSITIVE_INFINITY;
    this.latestUs = 0;
    this.backoff = 0;
    this.minRttAtUs = 0;
  }

  get hasSample(): boolean {
    return this.srttUs > 0;
  }

  sample(rttUs: number, nowUs: number): void {
    const rtt = Math.max(1, rttUs);
    this.latestUs = rtt;
    if (rtt <= this.minRttUs || nowUs - this.minRttAtUs > MIN_RTT_WINDOW_US) {
      this.minRttUs = rtt;
      this.minRttAtUs = nowUs;
    }
    if (this.srttUs === 0) {
      this.srttUs = rtt;
      this.rttvarUs = rtt / 2;
    } else {
      this.rttvarUs += (Math.abs(this.srttUs - rtt) - this.rttvarUs) / 4;
      this.srttUs += (rtt - this.srttUs) / 8;
    }
  }

  /** The timeout without backoff. As in Linux the variance part alone is at least the minimum, so a steady RTT keeps slack for delayed ACKs. */
  get baseRtoUs(): number {
    if (this.srttUs === 0) return this.firstRtoUs;
    return Math.min(this.srttUs + Math.max(4 * this.rttvarUs, this.minRtoUs), this.maxRtoUs);
  }

  get rtoUs(): number {
    const base = this.baseRtoUs;
    return Math.min(this.backoff === 0 ? base : base * 2 ** this.backoff, this.maxRtoUs);
  }

  /** The handshake had to be repeated: until a round trip is measured, the path may be slower than was thought. */
  onSynLost(): void {
    this.firstRtoUs = Math.max(this.firstRtoUs, RTO_AFTER_LOST_SYN_US);
  }

  backOff(): void {
    if (this.backoff < MAX_BACKOFF) this.backoff++;
  }
}
