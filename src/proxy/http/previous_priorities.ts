/**
 * Retry priority `previous_priorities` (Envoy: source/extensions/retry/priority/previous_priorities): after each `updateFrequency` attempts
 * the priorities that were tried get nothing more, and the others share the whole; when none is left, all count again.
 */
import { distributeLoad, type PriorityAvailability, type PriorityLoad } from '../upstream/lb/priority_load.ts';
import type { Host } from '../upstream/upstream.ts';

export class PreviousPriorities {
  private readonly updateFrequency: number;
  private readonly excluded = new Set<number>();
  /** Of the attempts, those that were looked at; ones before `forgotten` do not count any more. */
  private seen = 0;
  private forgotten = 0;
  private adjusted: PriorityLoad | null = null;

  constructor(updateFrequency: number) {
    this.updateFrequency = updateFrequency;
  }

  load(
    attempted: readonly Host[],
    load: PriorityLoad,
    availability: PriorityAvailability,
    priorityOf: (host: Host) => number | null,
  ): PriorityLoad {
    const attempts = attempted.length - this.forgotten;
    if (attempts < this.updateFrequency) return load;
    if (attempts % this.updateFrequency === 0 && this.seen !== attempted.length) {
      this.seen = attempted.length;
      for (let i = this.forgotten; i < attempted.length; i++) {
        const priority = priorityOf(attempted[i]);
        if (priority !== null) this.excluded.add(priority);
      }
      this.adjusted = this.adjust(attempted.length, load, availability);
    }
    // The priorities may have become others meanwhile.
    return this.adjusted !== null && this.adjusted.healthy.length === load.healthy.length ? this.adjusted : load;
  }

  private adjust(attempts: number, load: PriorityLoad, { healthy, degraded }: PriorityAvailability): PriorityLoad | null {
    const left = (shares: readonly number[]): number[] => shares.map((share, p) => (this.excluded.has(p) ? 0 : share));
    let shares = distributeLoad(left(healthy), left(degraded));
    if (isNothing(shares)) {
      this.excluded.clear();
      this.forgotten = attempts;
      shares = distributeLoad(healthy, degraded);
    }
    return isNothing(shares) ? null : { ...shares, panic: load.panic };
  }
}

function isNothing(shares: { healthy: number[]; degraded: number[] }): boolean {
  return [...shares.healthy, ...shares.degraded].every((share) => share === 0);
}
