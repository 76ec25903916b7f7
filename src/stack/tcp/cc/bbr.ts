/**
 * BBR, version 1 in short (draft-cardwell-iccrg-bbr-congestion-control-00): a model of bottleneck bandwidth and round-trip propagation
 * delay sets pacing rate and window; loss alone does not reduce it. Left out: long-term (policer) bandwidth sampling, ACK aggregation.
 */
import type { RateSample } from '../rate.ts';
import type { CcState, CongestionControl } from './congestion_control.ts';

const HIGH_GAIN = 2.885;
const DRAIN_GAIN = 1 / HIGH_GAIN;
const CYCLE = [1.25, 0.75, 1, 1, 1, 1, 1, 1] as const;
const BANDWIDTH_ROUNDS = 10;
const MIN_RTT_WINDOW_US = 10_000_000;
const PROBE_RTT_US = 200_000;
const PACING_MARGIN = 0.99;

export class Bbr implements CongestionControl {
  readonly name = 'bbr';
  readonly ownsWindow = true;
  private mode: 'startup' | 'drain' | 'probeBw' | 'probeRtt' = 'startup';
  private readonly bandwidths = new Float64Array(BANDWIDTH_ROUNDS);
  private round = 0;
  private roundEndDelivered = 0;
  private fullBandwidth = 0;
  private fullRounds = 0;
  private filled = false;
  private minRttUs = Number.POSITIVE_INFINITY;
  private minRttAtUs = 0;
  private cycle = 2;
  private cycleAtUs = 0;
  private probeRttDoneUs = 0;
  private probeRttRound = false;
  private priorCwnd = 0;
  /** First round of a recovery: what is delivered may be replaced, and no more. */
  private conserving = false;
  private wasInRecovery = false;

  onAck(): void {}

  onSample(state: CcState, sample: RateSample, inRecovery: boolean, nowUs: number): void {
    let roundStart = false;
    if (sample.delivered > 0 && sample.priorDelivered >= this.roundEndDelivered) {
      this.roundEndDelivered = sample.totalDelivered;
      this.round++;
      this.bandwidths[this.round % BANDWIDTH_ROUNDS] = 0;
      roundStart = true;
    }
    const slot = this.round % BANDWIDTH_ROUNDS;
    if (sample.rate > 0 && (!sample.appLimited || sample.rate > this.bandwidth))
      this.bandwidths[slot] = Math.max(this.bandwidths[slot], sample.rate);
    const expired = nowUs - this.minRttAtUs > MIN_RTT_WINDOW_US;
    if (sample.rttUs > 0 && (sample.rttUs <= this.minRttUs || expired)) {
      this.minRttUs = sample.rttUs;
      this.minRttAtUs = nowUs;
    }
    if (roundStart && !sample.appLimited) this.checkFullPipe();
    if (this.conserving && (roundStart || !inRecovery)) this.conserving = false;
    this.updateMode(state, sample, roundStart, expired, nowUs);
    this.setPacing(state);
    this.setWindow(state, sample, inRecovery);
  }

  private get bandwidth(): number {
    let best = 0;
    for (let i = 0; i < BANDWIDTH_ROUNDS; i++) if (this.bandwidths[i] > best) best = this.bandwidths[i];
    return best;
  }

  private checkFullPipe(): void {
    if (this.filled) return;
    const now = this.bandwidth;
    if (now >= this.fullBandwidth * 1.25) {
      this.fullBandwidth = now;
      this.fullRounds = 0;
    } else if (++this.fullRounds >= 3) this.filled = true;
  }

  private updateMode(state: CcState, sample: RateSample, roundStart: boolean, minRttExpired: boolean, nowUs: number): void {
    if (this.mode === 'startup' && this.filled) this.mode = 'drain';
    if (this.mode === 'drain' && state.pipe <= this.flight(state, 1)) this.enterProbeBw(state, nowUs);
    if (this.mode === 'probeBw' && nowUs - this.cycleAtUs > this.minRttUs) {
      // A probe lasts until it has filled the pipe or was too much: a flow with a small share needs several round trips for that.
      const probing = CYCLE[this.cycle] > 1 && sample.lostBytes === 0 && state.pipe < this.flight(state, CYCLE[this.cycle]);
      if (!probing) this.nextPhase(nowUs);
    } else if (this.mode === 'probeBw' && CYCLE[this.cycle] < 1 && state.pipe <= this.flight(state, 1)) this.nextPhase(nowUs);
    if (this.mode !== 'probeRtt' && minRttExpired && this.filled) {
      this.mode = 'probeRtt';
      this.priorCwnd = state.cwnd;
      this.probeRttDoneUs = 0;
    }
    if (this.mode !== 'probeRtt') return;
    if (this.probeRttDoneUs === 0) {
      if (state.pipe > 4 * state.mss) return;
      this.probeRttDoneUs = nowUs + PROBE_RTT_US;
      this.probeRttRound = false;
      this.roundEndDelivered = sample.totalDelivered;
      return;
    }
    if (roundStart) this.probeRttRound = true;
    if (!this.probeRttRound || nowUs < this.probeRttDoneUs) return;
    this.minRttAtUs = nowUs;
    state.cwnd = Math.max(state.cwnd, this.priorCwnd);
    if (this.filled) this.enterProbeBw(state, nowUs);
    else this.mode = 'startup';
  }

  /** Begins anywhere in the cycle but at its drain, so that flows do not probe in step; the sequence number is random enough. */
  private enterProbeBw(state: CcState, nowUs: number): void {
    this.mode = 'probeBw';
    const place = (state.sndNxt >>> 4) % (CYCLE.length - 1);
    this.cycle = place === 1 ? CYCLE.length - 1 : place;
    this.cycleAtUs = nowUs;
  }

  private nextPhase(nowUs: number): void {
    this.cycle = (this.cycle + 1) % CYCLE.length;
    this.cycleAtUs = nowUs;
  }

  private get pacingGain(): number {
    return this.mode === 'startup'
      ? HIGH_GAIN
      : this.mode === 'drain'
        ? DRAIN_GAIN
        : this.mode === 'probeBw'
          ? CYCLE[this.cycle]
          : 1;
  }

  private setPacing(state: CcState): void {
    const bandwidth = this.bandwidth;
    if (bandwidth === 0) {
      state.pacingRate = (HIGH_GAIN * state.cwnd) / Math.max(state.srttUs, 1000);
      return;
    }
    const rate = this.pacingGain * bandwidth * PACING_MARGIN;
    if (this.filled || rate > state.pacingRate) state.pacingRate = rate;
  }

  private target(gain: number): number {
    return Number.isFinite(this.minRttUs) ? gain * this.bandwidth * this.minRttUs : Number.POSITIVE_INFINITY;
  }

  /**
   * Bytes that fill the pipe at `gain`: the bandwidth-delay product, and slack of three bursts for delayed acknowledgments and segmentation
   * offload, two segments more while probing. Without the slack a flow with a small share could never show that there is more.
   */
  private flight(state: CcState, gain: number): number {
    const burst = Math.max(state.mss, Math.min(65_536, state.pacingRate * 1000));
    return this.target(gain) + 3 * burst + (this.mode === 'probeBw' && gain > 1 ? 2 * state.mss : 0);
  }

  private setWindow(state: CcState, sample: RateSample, inRecovery: boolean): void {
    const floor = 4 * state.mss;
    if (this.mode === 'probeRtt') {
      state.cwnd = Math.min(state.cwnd, floor);
      return;
    }
    const gain = this.mode === 'probeBw' ? 2 : HIGH_GAIN;
    const target = this.flight(state, gain);
    if (sample.lostBytes > 0) state.cwnd = Math.max(state.cwnd - sample.lostBytes, state.mss);
    if (inRecovery && !this.wasInRecovery) {
      this.conserving = true;
      this.roundEndDelivered = sample.totalDelivered;
      state.cwnd = state.pipe + sample.delivered;
    }
    this.wasInRecovery = inRecovery;
    if (this.conserving) state.cwnd = Math.max(state.cwnd, state.pipe + sample.delivered);
    else if (this.filled) state.cwnd = Math.min(state.cwnd + sample.delivered, target);
    else if (state.cwnd < target || sample.totalDelivered < 10 * state.mss) state.cwnd += sample.delivered;
    state.cwnd = Math.max(Math.floor(state.cwnd), floor);
  }

  onLoss(state: CcState): number {
    this.priorCwnd = this.mode === 'probeRtt' ? Math.max(this.priorCwnd, state.cwnd) : state.cwnd;
    return state.ssthresh;
  }

  onRecovered(state: CcState): void {
    state.cwnd = Math.max(state.cwnd, this.priorCwnd);
  }

  onRto(state: CcState): void {
    this.priorCwnd = state.cwnd;
  }

  onUndo(): void {}

  onRestart(): void {}
}
