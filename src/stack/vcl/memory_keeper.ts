/**
 * Looks after the memory of a worker's transmit FIFOs when nobody writes: takes back what peers have read, returns free pages to the
 * kernel, and wakes sessions that found no memory. Its timers run only while there is something to do.
 */
import { Ready, type VclSession } from './session.ts';
import type { SegmentEnd } from './shared_segment.ts';

const SWEEP_MS = 1000;
const STARVED_RETRY_MS = 2;

export class MemoryKeeper {
  private readonly sessions: Iterable<VclSession | null>;
  private readonly ends: () => readonly SegmentEnd[];
  private readonly starvedSessions = new Set<VclSession>();
  private sweepTimer: NodeJS.Timeout | null = null;
  private starvedTimer: NodeJS.Timeout | null = null;

  constructor(sessions: Iterable<VclSession | null>, ends: () => readonly SegmentEnd[]) {
    this.sessions = sessions;
    this.ends = ends;
  }

  /** A session found no memory: it is tried again when others have given some back. */
  starved(session: VclSession): void {
    this.starvedSessions.add(session);
    this.starvedTimer ??= setTimeout(() => this.retryStarved(), STARVED_RETRY_MS);
  }

  /** Something was written: memory is looked after in a while. */
  noteWrite(): void {
    if (this.sweepTimer !== null) return;
    this.sweepTimer = setTimeout(() => this.sweep(), SWEEP_MS);
    this.sweepTimer.unref();
  }

  forget(session: VclSession): void {
    this.starvedSessions.delete(session);
  }

  close(): void {
    if (this.sweepTimer !== null) clearTimeout(this.sweepTimer);
    if (this.starvedTimer !== null) clearTimeout(this.starvedTimer);
  }

  private retryStarved(): void {
    this.starvedTimer = null;
    for (const session of this.sessions) session?.tx?.reclaim();
    const waiting = [...this.starvedSessions];
    this.starvedSessions.clear();
    for (const session of waiting) session.raise(Ready.out);
  }

  private sweep(): void {
    this.sweepTimer = null;
    let more = false;
    // Asking for `used` takes back what was read.
    for (const session of this.sessions) {
      if (session !== null && session.tx !== null) more = session.tx.used > 0 || more;
    }
    for (const end of this.ends()) more = end.arena.trim() || more;
    if (more) this.noteWrite();
  }
}
