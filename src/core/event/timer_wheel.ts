/**
 * Hierarchical timer wheel: O(1) to arm, disarm and expire, however many timers are active (Varghese and Lauck).
 *
 * Four levels of 256, 64, 64 and 64 slots of 1 ms, 256 ms, 16 s and 17 min: about 18.6 hours; longer timers wait in the last level
 * and move on. Arming a timer that is already linked for an earlier tick only notes the new deadline, and the timer moves when its
 * old slot comes up: re-arming an idle timeout at every read costs two stores.
 *
 * Pure: `now` comes in. Ticks are whole ms; a timer never fires early, and at most one tick late beyond the caller's own delay.
 */

const BITS = [8, 6, 6, 6] as const;
const SHIFT = [0, 8, 14, 20] as const;
const SPAN_LOG2 = 26;

/** A timer as the wheel sees it. `onTimer` runs when due. */
export abstract class WheelTimer {
  /** Tick at which the timer is due; -1: not armed. */
  deadline = -1;
  /** Tick of the slot it is linked in; -1: not linked. */
  linkedAt = -1;
  next: WheelTimer | null = null;
  previous: WheelTimer | null = null;
  slot = -1;
  abstract onTimer(): void;
}

export class TimerWheel {
  /** First timer of each slot, all levels in one array. */
  private readonly slots: (WheelTimer | null)[];
  private readonly levelStart: number[] = [];
  private readonly levelCount = [0, 0, 0, 0];
  private tick: number;
  private linked = 0;

  /** `nowMs`: the clock's value at the start. */
  constructor(nowMs: number) {
    this.tick = Math.floor(nowMs);
    let slots = 0;
    for (const bits of BITS) {
      this.levelStart.push(slots);
      slots += 1 << bits;
    }
    this.slots = new Array<WheelTimer | null>(slots).fill(null);
  }

  /** Timers that are linked (armed, or disarmed lazily). */
  get size(): number {
    return this.linked;
  }

  /** Arms `timer` to be due at `dueMs` (fractions are rounded up). */
  arm(timer: WheelTimer, dueMs: number): void {
    const deadline = Math.max(Math.ceil(dueMs), this.tick + 1);
    timer.deadline = deadline;
    if (timer.linkedAt >= 0) {
      if (timer.linkedAt <= deadline) return;
      this.unlink(timer);
    }
    this.link(timer, deadline);
  }

  disarm(timer: WheelTimer): void {
    timer.deadline = -1;
    if (timer.linkedAt >= 0) this.unlink(timer);
  }

  /** Runs what is due at `nowMs`; at most `limit` timers, the rest at the next call. How many ran. */
  advance(nowMs: number, limit: number): number {
    const target = Math.floor(nowMs);
    let ran = 0;
    if (this.linked === 0) {
      if (target > this.tick) this.tick = target;
      return 0;
    }
    while (this.tick <= target) {
      const slot = this.tick & 255;
      let timer = this.slots[slot];
      while (timer !== null) {
        if (ran >= limit) return ran;
        this.unlink(timer);
        if (timer.deadline > this.tick) this.link(timer, timer.deadline);
        else if (timer.deadline >= 0) {
          timer.deadline = -1;
          ran++;
          timer.onTimer();
        }
        timer = this.slots[slot];
      }
      if (this.tick === target) break;
      this.step(target);
    }
    return ran;
  }

  /** The tick by which `advance` should be called next, or -1 when nothing is linked. Never later than the first due timer. */
  nextTick(): number {
    if (this.linked === 0) return -1;
    if (this.levelCount[0] > 0) {
      for (let t = this.tick; t < this.tick + 256; t++) if (this.slots[t & 255] !== null) return t;
    }
    let best = -1;
    for (let level = 1; level < 4; level++) {
      if (this.levelCount[level] === 0) continue;
      const shift = SHIFT[level];
      const mask = (1 << BITS[level]) - 1;
      const base = Math.floor(this.tick / 2 ** shift);
      for (let k = 1; k <= mask + 1; k++) {
        if (this.slots[this.levelStart[level] + ((base + k) & mask)] === null) continue;
        const at = (base + k) * 2 ** shift;
        if (best < 0 || at < best) best = at;
        break;
      }
    }
    return best;
  }

  /** Moves to the next tick that can hold a timer, cascading higher levels at their boundaries. */
  private step(target: number): void {
    if (this.levelCount[0] === 0) {
      // Nothing in the finest level: jump to the next 256 ms boundary or the target.
      const boundary = (Math.floor(this.tick / 256) + 1) * 256;
      this.tick = Math.min(boundary, target);
    } else this.tick++;
    if ((this.tick & 255) === 0) this.cascade(1);
  }

  private cascade(level: number): void {
    if (level > 3) return;
    const index = Math.floor(this.tick / 2 ** SHIFT[level]) & ((1 << BITS[level]) - 1);
    if (index === 0) this.cascade(level + 1);
    const slot = this.levelStart[level] + index;
    let timer = this.slots[slot];
    this.slots[slot] = null;
    while (timer !== null) {
      const next: WheelTimer | null = timer.next;
      timer.next = null;
      timer.previous = null;
      timer.linkedAt = -1;
      this.linked--;
      this.levelCount[level]--;
      this.link(timer, timer.deadline);
      timer = next;
    }
  }

  private link(timer: WheelTimer, deadline: number): void {
    const distance = deadline - this.tick;
    let level = 0;
    let at = deadline;
    if (distance >= 256) {
      level = distance < 1 << 14 ? 1 : distance < 1 << 20 ? 2 : 3;
      // Beyond the last level: as far as it reaches, then again.
      if (distance >= 2 ** SPAN_LOG2) at = this.tick + 2 ** SPAN_LOG2 - 1;
    } else if (distance < 0) at = this.tick;
    const index = Math.floor(at / 2 ** SHIFT[level]) & ((1 << BITS[level]) - 1);
    const slot = this.levelStart[level] + index;
    const head = this.slots[slot];
    timer.slot = slot;
    timer.linkedAt = level === 0 ? at : Math.floor(at / 2 ** SHIFT[level]) * 2 ** SHIFT[level];
    timer.next = head;
    timer.previous = null;
    if (head !== null) head.previous = timer;
    this.slots[slot] = timer;
    this.levelCount[level]++;
    this.linked++;
  }

  private unlink(timer: WheelTimer): void {
    if (timer.previous !== null) timer.previous.next = timer.next;
    else this.slots[timer.slot] = timer.next;
    if (timer.next !== null) timer.next.previous = timer.previous;
    timer.next = null;
    timer.previous = null;
    timer.linkedAt = -1;
    this.linked--;
    this.levelCount[this.levelOf(timer.slot)]--;
  }

  private levelOf(slot: number): number {
    return slot < 256 ? 0 : slot < 320 ? 1 : slot < 384 ? 2 : 3;
  }
}
