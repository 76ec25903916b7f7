/**
 * Drives a NetStack from Node's event loop: its descriptors by uv_poll, its deadlines by timers. Bounded work per turn. For tests and
 * tools; a stack worker has its own loop.
 */
import { UvPoll } from '../../core/sys/uv_poll.ts';
import type { NetStack } from '../graph/net_stack.ts';

export class NetLoop {
  private readonly stack: NetStack;
  private readonly polls: UvPoll[] = [];
  private timer: NodeJS.Timeout | null = null;
  private immediate: NodeJS.Immediate | null = null;
  private readonly clockUs: () => number;
  private stopped = false;

  /** `clockUs`: monotonic time in microseconds. */
  constructor(stack: NetStack, fds: readonly number[], clockUs: () => number) {
    this.stack = stack;
    this.clockUs = clockUs;
    for (const fd of fds) this.polls.push(new UvPoll(fd, () => this.turn()));
  }

  /** Runs the stack now, and whenever it is due from then on. */
  turn(): void {
    if (this.stopped) return;
    const more = this.stack.poll(this.clockUs());
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (more) {
      this.wake();
      return;
    }
    const next = this.stack.nextDeadlineUs();
    if (next === Number.POSITIVE_INFINITY) return;
    const delay = Math.min(Math.max(0, Math.ceil((next - this.clockUs()) / 1000)), 0x7fff_ffff);
    this.timer = setTimeout(() => this.turn(), delay);
  }

  /** Runs the stack soon: something was asked of it. */
  wake(): void {
    if (this.stopped) return;
    this.immediate ??= setImmediate(() => {
      this.immediate = null;
      this.turn();
    });
  }

  stop(): void {
    this.stopped = true;
    for (const poll of this.polls) poll.close();
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.immediate !== null) clearImmediate(this.immediate);
  }
}
