/** NewReno's window (RFC 5681, 6582): slow start, then one segment per round trip; half the flight on loss. */
import type { CcState, CongestionControl } from './congestion_control.ts';

export class NewReno implements CongestionControl {
  readonly name = 'newreno';
  readonly ownsWindow = false;
  private credit = 0;

  onAck(state: CcState, ackedBytes: number, _rttUs: number, limited: boolean): void {
    if (!limited) return;
    if (state.cwnd < state.ssthresh) {
      state.cwnd += ackedBytes;
      return;
    }
    this.credit += ackedBytes;
    if (this.credit < state.cwnd) return;
    this.credit -= state.cwnd;
    state.cwnd += state.mss;
  }

  onLoss(state: CcState): number {
    this.credit = 0;
    return Math.max(state.cwnd >> 1, 2 * state.mss);
  }

  onRecovered(): void {}

  onRto(): void {
    this.credit = 0;
  }

  onUndo(): void {}

  onSample(): void {}

  onRestart(): void {}
}
