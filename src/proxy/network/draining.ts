/**
 * One listener, or some of its filter chains, on the way out: looks now and then whether the connections are gone, asks idle ones to end, and
 * ends when they are or when the drain time is over (in Envoy always then).
 */
import type { Dispatcher, Timer } from '../../core/event/dispatcher.ts';
import type { DrainSettings } from './drain_manager.ts';

const CHECK_MS = 250;

export interface DrainTarget {
  connections(): number;
  /** Asks connections that do nothing to end, as far as the drain decision wants it. */
  nudge(): void;
  /** Closes what is left. */
  end(): void;
}

export class Draining {
  private readonly dispatcher: Dispatcher;
  private readonly target: DrainTarget;
  private readonly timer: Timer;
  private readonly endMs: number;
  private ended = false;

  constructor(dispatcher: Dispatcher, settings: DrainSettings, target: DrainTarget) {
    this.dispatcher = dispatcher;
    this.target = target;
    this.endMs = dispatcher.nowMs + settings.durationMs;
    this.timer = dispatcher.createTimer(() => this.check());
  }

  start(): void {
    this.timer.enableTimer(0);
  }

  /** Idempotent. */
  endNow(): void {
    if (this.ended) return;
    this.ended = true;
    this.timer.disableTimer();
    this.target.end();
  }

  private check(): void {
    if (this.target.connections() > 0) this.target.nudge();
    const left = this.endMs - this.dispatcher.nowMs;
    if (left <= 0 || this.target.connections() === 0) this.endNow();
    else this.timer.enableTimer(Math.min(CHECK_MS, left));
  }
}
