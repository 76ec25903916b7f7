/**
 * When a blocking call should look again for a while before it sleeps. Going to sleep and being woken costs about as much as MAX_US of
 * looking, so looking that long is never much worse than sleeping at once, and far better when the other side is busy on another core.
 *
 * Adaptive unless a time is given: after waits in which looking was no use the next ones sleep at once, ever more of them (up to
 * MAX_SKIPS), so an application whose peer is slow, or that shares its core with it, spends next to nothing on this.
 */
import { availableParallelism } from 'node:os';

/** Pass as the time: decide by what has been worth it lately. */
export const ADAPTIVE_SPIN = -1;

const MAX_US = 50;
const MAX_SKIPS = 64;
const LOOKS_PER_CLOCK = 32;

const pause = (Atomics as { pause?: (n?: number) => void }).pause ?? (() => {});

export class Spinner {
  private readonly limitMs: number;
  private readonly adaptive: boolean;
  /** Waits to let pass without looking: in this row, and still to come. */
  private skips = 0;
  private left = 0;

  /** `spinUs`: how long to look; 0 for never. */
  constructor(spinUs: number) {
    this.adaptive = spinUs < 0;
    this.limitMs = (this.adaptive ? (availableParallelism() > 1 ? MAX_US : 0) : spinUs) / 1000;
  }

  /** Calls `look` until it returns true, or it is time to sleep: false. */
  until(look: () => boolean): boolean {
    if (this.limitMs === 0) return false;
    if (this.left > 0) {
      this.left--;
      return false;
    }
    const deadline = performance.now() + this.limitMs;
    do {
      for (let i = 0; i < LOOKS_PER_CLOCK; i++) {
        if (look()) {
          this.skips >>= 1;
          return true;
        }
        pause();
      }
    } while (performance.now() < deadline);
    if (this.adaptive) this.left = this.skips = Math.min(2 * this.skips + 1, MAX_SKIPS);
    return false;
  }
}
