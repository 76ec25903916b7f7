/**
 * RACK loss detection (RFC 8985 6): a transmission is lost when one sent later was delivered and a reordering window has passed. Times
 * in microseconds. The tail loss probe is in `loss_recovery.ts`, which owns the timers.
 */
import { type Scoreboard, type SentRange, sentAfter } from './scoreboard.ts';
import { seqGt, seqLt } from './seq.ts';

const DUP_THRESHOLD = 3;
/** Recoveries for which a widened reordering window is kept. */
const REORDER_PERSIST = 16;

export class Rack {
  txUs = 0;
  endSeq = 0;
  rttUs = 0;
  reorderingSeen = false;
  private fack = 0;
  private reoWndMult = 1;
  private reoWndPersist = REORDER_PERSIST;
  private dsackRoundEnd = 0;
  private dsackRoundOpen = false;
  private valid = false;

  /** As if it were new. */
  renew(): void {
    this.txUs = 0;
    this.endSeq = 0;
    this.rttUs = 0;
    this.reorderingSeen = false;
    this.fack = 0;
    this.reoWndMult = 1;
    this.reoWndPersist = REORDER_PERSIST;
    this.dsackRoundEnd = 0;
    this.dsackRoundOpen = false;
    this.valid = false;
  }

  reset(iss: number): void {
    this.fack = iss;
    this.valid = false;
  }

  /** A record was delivered. `spurious`: the acknowledgment can be of an earlier transmission than the last. */
  onDelivered(range: SentRange, nowUs: number, minRttUs: number, echoedBeforeRetransmit: boolean): void {
    if (!seqLt(range.end, this.fack)) {
      if (seqGt(range.end, this.fack)) this.fack = range.end;
    } else if (range.transmissions === 1) this.reorderingSeen = true;
    const rtt = nowUs - range.txUs;
    if (range.transmissions > 1 && (echoedBeforeRetransmit || rtt < minRttUs)) return;
    this.rttUs = rtt;
    if (!this.valid || sentAfter(range.txUs, range.end, this.txUs, this.endSeq)) {
      this.txUs = range.txUs;
      this.endSeq = range.end;
      this.valid = true;
    }
  }

  /** A D-SACK says that a retransmission was needless: widen the window once per round trip. */
  onDsack(una: number, sndNxt: number): void {
    if (this.dsackRoundOpen && seqLt(una, this.dsackRoundEnd)) return;
    this.dsackRoundOpen = true;
    this.dsackRoundEnd = sndNxt;
    this.reoWndMult++;
    this.reoWndPersist = REORDER_PERSIST;
  }

  onRecoveryEnd(): void {
    if (this.reoWndMult > 1 && --this.reoWndPersist <= 0) this.reoWndMult = 1;
  }

  reorderWindowUs(inRecovery: boolean, sackedBytes: number, mss: number, srttUs: number, minRttUs: number): number {
    if (!this.reorderingSeen && (inRecovery || sackedBytes >= DUP_THRESHOLD * mss)) return 0;
    const base = Number.isFinite(minRttUs) ? minRttUs / 4 : 0;
    return Math.min(this.reoWndMult * base, srttUs);
  }

  /** Marks what is lost by now. Returns how long to wait for the next verdict, 0 when nothing waits. */
  detectLoss(scoreboard: Scoreboard, reoWndUs: number, nowUs: number): number {
    if (!this.valid) return 0;
    let waitUs = 0;
    for (let range = scoreboard.timeHead; range !== null; ) {
      const next: SentRange | null = range.timeNext;
      if (!sentAfter(this.txUs, this.endSeq, range.txUs, range.end)) break;
      const remaining = range.txUs + this.rttUs + reoWndUs - nowUs;
      if (remaining <= 0) scoreboard.markLost(range);
      else if (remaining > waitUs) waitUs = remaining;
      range = next;
    }
    return waitUs;
  }
}
