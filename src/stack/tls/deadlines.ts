/** Things that each have the same time from when they are added: one timer for all. */
export class Deadlines<T> {
  private readonly timeoutMs: number;
  private readonly onExpired: (thing: T) => void;
  /** Deadlines, earliest first. */
  private readonly waiting = new Map<T, number>();
  private timer: NodeJS.Timeout | null = null;

  constructor(timeoutMs: number, onExpired: (thing: T) => void) {
    this.timeoutMs = timeoutMs;
    this.onExpired = onExpired;
  }

  get size(): number {
    return this.waiting.size;
  }

  add(thing: T): void {
    this.waiting.set(thing, performance.now() + this.timeoutMs);
    this.arm(this.timeoutMs);
  }

  /** False when it was not there. */
  delete(thing: T): boolean {
    return this.waiting.delete(thing);
  }

  get all(): IterableIterator<T> {
    return this.waiting.keys();
  }

  close(): void {
    this.waiting.clear();
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private arm(delayMs: number): void {
    if (this.timer !== null) return;
    this.timer = setTimeout(() => this.expire(), Math.max(1, Math.ceil(delayMs)));
    this.timer.unref();
  }

  private expire(): void {
    this.timer = null;
    const now = performance.now();
    for (const [thing, deadline] of this.waiting) {
      if (deadline > now) {
        this.arm(deadline - now);
        return;
      }
      this.waiting.delete(thing);
      this.onExpired(thing);
    }
  }
}
