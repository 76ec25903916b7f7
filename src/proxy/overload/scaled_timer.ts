/**
 * A timeout that becomes shorter under overload, running or not (Envoy: ScaledRangeTimerManager): what lies above its minimum is
 * multiplied by the scale, 1 while there is no overload and 0 when the action is saturated. The same methods as LazyTimer.
 */
import type { Dispatcher, Timer } from '../../core/event/dispatcher.ts';
import type { TimerMinimum } from './overload_config.ts';

export class ScaledTimer {
  private readonly dispatcher: Dispatcher;
  private readonly timer: Timer;
  private readonly minimum: TimerMinimum;
  private readonly running: Set<ScaledTimer>;
  private readonly scale: () => number;
  private setMs = 0;
  private timeoutMs = 0;

  /** `running`: those that follow a change of `scale`. */
  constructor(
    dispatcher: Dispatcher,
    callback: () => void,
    minimum: TimerMinimum,
    running: Set<ScaledTimer>,
    scale: () => number,
  ) {
    this.dispatcher = dispatcher;
    this.minimum = minimum;
    this.running = running;
    this.scale = scale;
    this.timer = dispatcher.createTimer(() => {
      this.running.delete(this);
      callback();
    });
  }

  static delay(minimum: TimerMinimum, timeoutMs: number, scale: number): number {
    const least = 'ms' in minimum ? Math.min(minimum.ms, timeoutMs) : timeoutMs * minimum.fraction;
    return least + (timeoutMs - least) * scale;
  }

  get enabled(): boolean {
    return this.timer.enabled;
  }

  set(timeoutMs: number): void {
    this.setMs = this.dispatcher.nowMs;
    this.timeoutMs = timeoutMs;
    this.running.add(this);
    this.timer.enableTimer(ScaledTimer.delay(this.minimum, timeoutMs, this.scale()));
  }

  clear(): void {
    this.running.delete(this);
    this.timer.disableTimer();
  }

  destroy(): void {
    this.clear();
  }

  rescale(): void {
    const end = this.setMs + ScaledTimer.delay(this.minimum, this.timeoutMs, this.scale());
    this.timer.enableTimer(Math.max(0, end - this.dispatcher.nowMs));
  }
}
