/**
 * Connects that wait because the listener has no room in its backlog, as a SYN would be sent again. In the order in which they came, one
 * queue per listener; each is given up after CONNECT_TIMEOUT_MS.
 */
import { type Session, SessionState } from './session.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const MAX_DEFERRED = 65_536;

interface Entry {
  session: Session;
  generation: number;
  untilMs: number;
}

export class DeferredConnects {
  /** Entries, those included whose application has given up. */
  size = 0;
  private readonly queues = new Map<Session, Entry[]>();

  /** False when too many wait already. */
  add(listener: Session, session: Session, nowMs: number): boolean {
    if (this.size >= MAX_DEFERRED) return false;
    this.size++;
    const entry = { session, generation: session.generation, untilMs: nowMs + CONNECT_TIMEOUT_MS };
    const queue = this.queues.get(listener);
    if (queue === undefined) this.queues.set(listener, [entry]);
    else queue.push(entry);
    return true;
  }

  waitsFor(listener: Session): boolean {
    return this.queues.has(listener);
  }

  /** Those with a connect that waits for them. */
  get listeners(): Session[] {
    return [...this.queues.keys()];
  }

  /** Gives the sessions that wait for `listener` to `attempt`, in order, for as long as it says that they no longer wait. */
  retry(listener: Session, attempt: (session: Session) => boolean): void {
    const queue = this.queues.get(listener);
    if (queue === undefined) return;
    let done = 0;
    while (done < queue.length && (!isWaiting(queue[done]) || attempt(queue[done].session))) done++;
    this.size -= done;
    queue.splice(0, done);
    if (queue.length === 0) this.queues.delete(listener);
  }

  /** Removes those whose time is over. */
  expire(nowMs: number, onExpired: (session: Session) => void): void {
    for (const [listener, queue] of this.queues) {
      let done = 0;
      while (done < queue.length && (queue[done].untilMs <= nowMs || !isWaiting(queue[done]))) done++;
      if (done === 0) continue;
      this.size -= done;
      const over = queue.splice(0, done);
      if (queue.length === 0) this.queues.delete(listener);
      for (const entry of over) if (isWaiting(entry)) onExpired(entry.session);
    }
  }
}

function isWaiting(entry: Entry): boolean {
  return entry.session.generation === entry.generation && entry.session.state === SessionState.connecting;
}
