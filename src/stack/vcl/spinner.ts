/**
 * When a blocking call should look again for a while before it sleeps. Going to sleep and being woken costs about as much as MAX_US of
 * looking, so looking that long is never much worse than sleeping at once, and far better when the other side is busy on another core.
 *
 * Adaptive unless a time is given: after waits in which looking was no use the next ones sleep at once, ever more of them (up to
 * MAX_SKIPS), so an application whose peer is slow, or that shares its core with it, spends next to nothing on this. A sleep that was
 * shorter than a look says that looking would have been of use.
 *
 * Between looks the core is offered to others (sched_yield). Whoever is waited for may be waiting for this very core: a scheduler wakes a
 * thread where its waker runs, and two threads that take turns at sleeping never look like more work than one core has (they stayed on one
 * for half of the time on two cores, at 30,000 sleeps a second). One that yields is still there to run, so that the kernel sees two, and
 * moves one. Where the core goes to somebody else for long, yielding stops, for twice as many looks each time.
 */
import { availableParallelism } from 'node:os';
import { libc } from '../../core/sys/libc.ts';

/** Pass as the time: decide by what has been worth it lately. */
export const ADAPTIVE_SPIN = -1;

const MAX_US = 50;
const MAX_SKIPS = 64;
const LOOKS_PER_CLOCK = 32;
/** A yield that takes so long has not gone to the peer, which would have had to wait long before. */
const LOST_CORE_US = 1000;
const MAX_YIELD_SKIPS = 4096;

const pause = (Atomics as { pause?: (n?: number) => void }).pause ?? (() => {});

export class Spinner {
  private readonly limitMs: number;
  private readonly adaptive: boolean;
  private readonly yieldCore: () => unknown;
  /** Waits to let pass without looking: in this row, and still to come. */
  private skips = 0;
  private left = 0;
  /** Looks without a yield, in the same way. */
  private yieldSkips = 0;
  private yieldLeft = 0;

  /** `spinUs`: how long to look; 0 for never. */
  constructor(spinUs: number, yieldCore: () => unknown = libc.sched_yield) {
    this.adaptive = spinUs < 0;
    this.limitMs = (this.adaptive ? (availableParallelism() > 1 ? MAX_US : 0) : spinUs) / 1000;
    this.yieldCore = yieldCore;
  }

  /** Calls `look` until it returns true, or it is time to sleep: false. */
  until(look: () => boolean): boolean {
    if (this.limitMs === 0) return false;
    if (this.left > 0) {
      this.left--;
      return false;
    }
    const yields = this.yieldLeft === 0;
    if (!yields) this.yieldLeft--;
    let now = performance.now();
    const deadline = now + this.limitMs;
    for (;;) {
      for (let i = 0; i < LOOKS_PER_CLOCK; i++) {
        if (look()) {
          this.skips >>= 1;
          return true;
        }
        pause();
      }
      now = performance.now();
      if (now >= deadline) break;
      if (yields && this.yieldLeft === 0) this.offerCore(now);
    }
    if (this.adaptive) this.left = this.skips = Math.min(2 * this.skips + 1, MAX_SKIPS);
    return false;
  }

  /** After a wait that was not ended by looking: so long the thread has slept until it was woken. */
  slept(ms: number): void {
    if (ms >= this.limitMs || !this.adaptive) return;
    this.skips >>= 1;
    this.left = Math.min(this.left, this.skips);
  }

  private offerCore(before: number): void {
    this.yieldCore();
    if ((performance.now() - before) * 1000 >= LOST_CORE_US) {
      this.yieldLeft = this.yieldSkips = Math.min(2 * this.yieldSkips + 1, MAX_YIELD_SKIPS);
    }
  }
}
