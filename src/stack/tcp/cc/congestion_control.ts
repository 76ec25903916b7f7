/**
 * Congestion control as one interface (RFC 5681 with appropriate byte counting, RFC 3465). Windows in bytes, times in microseconds.
 * The connection owns cwnd and ssthresh; an algorithm changes them here and never while PRR runs a recovery.
 */
import type { RateSample } from '../rate.ts';
import { Bbr } from './bbr.ts';
import { Cubic } from './cubic.ts';
import { NewReno } from './newreno.ts';

/** What an algorithm sees and sets of a connection. */
export interface CcState {
  cwnd: number;
  ssthresh: number;
  mss: number;
  sndUna: number;
  sndNxt: number;
  /** Bytes outstanding that are neither sacked nor lost. */
  readonly pipe: number;
  readonly srttUs: number;
  readonly minRttUs: number;
  /** Bytes per microsecond; 0: not paced by the algorithm. */
  pacingRate: number;
}

export interface CongestionControl {
  readonly name: CcName;
  /** The algorithm models the path and sets cwnd itself at all times; PRR is left out. */
  readonly ownsWindow: boolean;
  /** Makes it as good as new, for another connection; without it a new one is made. */
  renew?(): void;
  /** New data was acknowledged outside recovery. `limited`: the window was the limit when it was sent (RFC 7661 in short). */
  onAck(state: CcState, ackedBytes: number, rttUs: number, limited: boolean, nowUs: number): void;
  /** A recovery begins: the new slow-start threshold. */
  onLoss(state: CcState, nowUs: number): number;
  /** A recovery is over and cwnd is at ssthresh. */
  onRecovered(state: CcState, nowUs: number): void;
  onRto(state: CcState, nowUs: number): void;
  /** The last reduction was spurious; cwnd and ssthresh are restored by the caller. */
  onUndo(state: CcState): void;
  /** Every acknowledgment, with the delivery rate it shows. */
  onSample(state: CcState, sample: RateSample, inRecovery: boolean, nowUs: number): void;
  /** Transmission restarts after idleness. */
  onRestart(state: CcState, nowUs: number): void;
}

export const CC_NAMES = ['newreno', 'cubic', 'bbr'] as const;
export type CcName = (typeof CC_NAMES)[number];

export function newCongestionControl(name: CcName): CongestionControl {
  switch (name) {
    case 'newreno':
      return new NewReno();
    case 'cubic':
      return new Cubic();
    case 'bbr':
      return new Bbr();
  }
}
