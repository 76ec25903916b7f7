/** Delivery rate estimation (draft-cheng-iccrg-delivery-rate-estimation): how fast the network delivered between two acknowledgments. */
import type { SentRange } from './scoreboard.ts';

export interface RateSample {
  /** Bytes per microsecond; 0 when this acknowledgment gives no sample. */
  rate: number;
  appLimited: boolean;
  /** Bytes newly delivered by this acknowledgment. */
  delivered: number;
  /** Total delivered when the newest of the acknowledged was sent. */
  priorDelivered: number;
  /** Total delivered now. */
  totalDelivered: number;
  /** -1: none. */
  rttUs: number;
  lostBytes: number;
}

export class RateEstimator {
  delivered = 0;
  private deliveredUs = 0;
  private firstTxUs = 0;
  private appLimitedUntil = 0;
  private best: {
    priorDelivered: number;
    priorUs: number;
    sendUs: number;
    firstTxUs: number;
    txUs: number;
    appLimited: boolean;
  } = {
    priorDelivered: 0,
    priorUs: 0,
    sendUs: 0,
    firstTxUs: 0,
    txUs: 0,
    appLimited: false,
  };
  private has = false;
  readonly sample: RateSample = {
    rate: 0,
    appLimited: false,
    delivered: 0,
    priorDelivered: 0,
    totalDelivered: 0,
    rttUs: -1,
    lostBytes: 0,
  };

  reset(): void {
    const { best, sample } = this;
    this.delivered = 0;
    this.deliveredUs = 0;
    this.firstTxUs = 0;
    this.appLimitedUntil = 0;
    this.has = false;
    best.priorDelivered = 0;
    best.priorUs = 0;
    best.sendUs = 0;
    best.firstTxUs = 0;
    best.txUs = 0;
    best.appLimited = false;
    sample.rate = 0;
    sample.appLimited = false;
    sample.delivered = 0;
    sample.priorDelivered = 0;
    sample.totalDelivered = 0;
    sample.rttUs = -1;
    sample.lostBytes = 0;
  }

  onSend(range: SentRange, nowUs: number, nothingInFlight: boolean): void {
    if (nothingInFlight) {
      this.firstTxUs = nowUs;
      this.deliveredUs = nowUs;
    }
    range.delivered = this.delivered;
    range.deliveredUs = this.deliveredUs;
    range.firstTxUs = this.firstTxUs;
    range.appLimited = this.appLimitedUntil !== 0;
  }

  begin(): void {
    this.has = false;
    this.sample.delivered = 0;
    this.sample.rttUs = -1;
  }

  onDelivered(range: SentRange, nowUs: number): void {
    this.delivered += range.length;
    this.sample.delivered += range.length;
    this.deliveredUs = nowUs;
    if (this.has && range.delivered < this.best.priorDelivered) return;
    this.has = true;
    this.best.priorDelivered = range.delivered;
    this.best.priorUs = range.deliveredUs;
    this.best.sendUs = range.txUs - range.firstTxUs;
    this.best.appLimited = range.appLimited;
    this.firstTxUs = range.txUs;
  }

  finish(nowUs: number, minRttUs: number): RateSample {
    const { sample, best } = this;
    if (this.appLimitedUntil !== 0 && this.delivered > this.appLimitedUntil) this.appLimitedUntil = 0;
    sample.totalDelivered = this.delivered;
    sample.rate = 0;
    if (!this.has) return sample;
    sample.priorDelivered = best.priorDelivered;
    sample.appLimited = best.appLimited;
    const interval = Math.max(best.sendUs, nowUs - best.priorUs);
    if (interval > 0 && interval >= minRttUs / 2) sample.rate = (this.delivered - best.priorDelivered) / interval;
    return sample;
  }

  /** The application had nothing more to send while the window was open. */
  markAppLimited(inFlight: number): void {
    this.appLimitedUntil = Math.max(this.delivered + inFlight, 1);
  }
}
