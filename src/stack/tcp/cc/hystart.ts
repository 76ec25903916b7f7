/**
 * HyStart++ (RFC 9406): leaves slow start when the round-trip time of a round rises, first into a slower conservative slow start from
 * which it returns if the rise was an accident.
 */
import { seqGeq } from '../seq.ts';
import type { CcState } from './congestion_control.ts';

const MIN_RTT_THRESHOLD_US = 4000;
const MAX_RTT_THRESHOLD_US = 16_000;
const RTT_DIVISOR = 8;
const SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

export class HyStart {
  private windowEnd = 0;
  private roundOpen = false;
  private lastMinUs = Number.POSITIVE_INFINITY;
  private currentMinUs = Number.POSITIVE_INFINITY;
  private samples = 0;
  private inCss = false;
  private cssBaselineUs = 0;
  private cssRounds = 0;

  reset(): void {
    this.roundOpen = false;
    this.inCss = false;
    this.lastMinUs = Number.POSITIVE_INFINITY;
    this.currentMinUs = Number.POSITIVE_INFINITY;
    this.samples = 0;
  }

  /** As if it were new. */
  renew(): void {
    this.reset();
    this.windowEnd = 0;
    this.cssBaselineUs = 0;
    this.cssRounds = 0;
  }

  /** Bytes to add to cwnd for `ackedBytes` in slow start; may set ssthresh to end it. */
  onAck(state: CcState, ackedBytes: number, rttUs: number): number {
    if (!this.roundOpen || seqGeq(state.sndUna, this.windowEnd)) this.newRound(state);
    if (rttUs > 0) {
      this.currentMinUs = Math.min(this.currentMinUs, rttUs);
      this.samples++;
    }
    if (this.samples >= SAMPLES && Number.isFinite(this.lastMinUs)) {
      const threshold = Math.max(MIN_RTT_THRESHOLD_US, Math.min(this.lastMinUs / RTT_DIVISOR, MAX_RTT_THRESHOLD_US));
      if (!this.inCss && this.currentMinUs >= this.lastMinUs + threshold) {
        this.inCss = true;
        this.cssBaselineUs = this.currentMinUs;
        this.cssRounds = 0;
      } else if (this.inCss && this.currentMinUs < this.cssBaselineUs) this.inCss = false;
    }
    return this.inCss ? Math.max(1, Math.floor(ackedBytes / CSS_GROWTH_DIVISOR)) : ackedBytes;
  }

  private newRound(state: CcState): void {
    if (this.roundOpen && this.inCss && ++this.cssRounds >= CSS_ROUNDS) state.ssthresh = state.cwnd;
    this.roundOpen = true;
    this.windowEnd = state.sndNxt;
    this.lastMinUs = this.currentMinUs;
    this.currentMinUs = Number.POSITIVE_INFINITY;
    this.samples = 0;
  }
}
