/** CUBIC (RFC 9438) with HyStart++ in slow start. Windows are computed in segments, as the RFC has them, and kept in bytes. */
import type { CcState, CongestionControl } from './congestion_control.ts';
import { HyStart } from './hystart.ts';

const C = 0.4;
const BETA = 0.7;
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

export class Cubic implements CongestionControl {
  readonly name = 'cubic';
  readonly ownsWindow = false;
  private readonly hystart = new HyStart();
  /** In segments. */
  private wMax = 0;
  private wEst = 0;
  private k = 0;
  private cwndPrior = 0;
  private epochStartUs = 0;
  private fraction = 0;
  private priorWMax = 0;

  renew(): void {
    this.hystart.renew();
    this.wMax = 0;
    this.wEst = 0;
    this.k = 0;
    this.cwndPrior = 0;
    this.epochStartUs = 0;
    this.fraction = 0;
    this.priorWMax = 0;
  }

  onAck(state: CcState, ackedBytes: number, rttUs: number, limited: boolean, nowUs: number): void {
    if (state.cwnd < state.ssthresh) {
      const growth = this.hystart.onAck(state, ackedBytes, rttUs);
      if (limited) state.cwnd += growth;
      return;
    }
    if (!limited) {
      // Time that was not used for sending does not count towards growth (RFC 9438 5.8).
      this.epochStartUs = 0;
      return;
    }
    this.congestionAvoidance(state, ackedBytes, nowUs);
  }

  private congestionAvoidance(state: CcState, ackedBytes: number, nowUs: number): void {
    const cwnd = state.cwnd / state.mss;
    if (this.epochStartUs === 0) {
      this.epochStartUs = nowUs;
      if (cwnd < this.wMax) this.k = Math.cbrt((this.wMax - cwnd) / C);
      else {
        this.k = 0;
        this.wMax = cwnd;
      }
      this.wEst = cwnd;
      this.fraction = 0;
    }
    const t = (nowUs - this.epochStartUs) / 1e6;
    const rtt = Math.max(state.srttUs, 1) / 1e6;
    const d = t + rtt - this.k;
    const target = Math.min(Math.max(C * d * d * d + this.wMax, cwnd), 1.5 * cwnd);
    const acked = ackedBytes / state.mss;
    this.wEst += (this.wEst >= this.cwndPrior && this.cwndPrior > 0 ? 1 : ALPHA) * (acked / cwnd);
    const t0 = t - this.k;
    const cubicNow = C * t0 * t0 * t0 + this.wMax;
    if (cubicNow < this.wEst) {
      if (this.wEst > cwnd) state.cwnd = Math.floor(this.wEst * state.mss);
      return;
    }
    this.fraction += ((target - cwnd) / cwnd) * acked * state.mss;
    if (this.fraction < 1) return;
    const whole = Math.floor(this.fraction);
    this.fraction -= whole;
    state.cwnd += whole;
  }

  onLoss(state: CcState): number {
    const cwnd = state.cwnd / state.mss;
    this.priorWMax = this.wMax;
    this.cwndPrior = cwnd;
    // Fast convergence: give way to newcomers when the maximum is falling.
    this.wMax = cwnd < this.wMax ? (cwnd * (1 + BETA)) / 2 : cwnd;
    this.epochStartUs = 0;
    return Math.max(Math.floor(state.cwnd * BETA), 2 * state.mss);
  }

  onRecovered(): void {
    this.epochStartUs = 0;
  }

  onRto(): void {
    this.epochStartUs = 0;
    this.hystart.reset();
  }

  onUndo(): void {
    this.wMax = Math.max(this.wMax, this.priorWMax);
    this.epochStartUs = 0;
  }

  onSample(): void {}

  onRestart(): void {
    this.epochStartUs = 0;
    this.hystart.reset();
  }
}
