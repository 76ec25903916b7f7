/**
 * One thread's view of the overload manager (Envoy: ThreadLocalOverloadState): the state of actions and load shed points, the count of
 * downstream connections, and timeouts that shrink. Whoever has nothing configured has no such object.
 */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Counter, Scope } from '../../core/stats/stats.ts';
import type { OverloadConfig, TimerType } from './overload_config.ts';
import { LOAD_SHED_POINTS, type LoadShedPoint, OverloadAction, type OverloadMemory } from './overload_memory.ts';
import { ScaledTimer } from './scaled_timer.ts';

export class OverloadState {
  readonly memory: OverloadMemory;
  private readonly config: OverloadConfig;
  private readonly random: () => number;
  private readonly shed: readonly Counter[];
  private readonly timers = new Set<ScaledTimer>();
  private scale = 1;

  /** `random`: 32 bits. */
  constructor(config: OverloadConfig, memory: OverloadMemory, scope: Scope, random: () => number) {
    this.config = config;
    this.memory = memory;
    this.random = random;
    // By number of the point; those that are not configured share one that nobody adds to.
    const counter = (name: string): Counter => scope.counter(`overload.${name}.shed_load_count`);
    const configured = new Map(config.points.map(({ name, index }) => [index, counter(name)]));
    this.shed = LOAD_SHED_POINTS.map((_, i) => configured.get(i) as Counter);
  }

  /** 0 to 1. */
  value(action: OverloadAction): number {
    return this.memory.actions[action];
  }

  /** True with the probability that the action's state is. */
  happens(action: OverloadAction): boolean {
    return this.chance(this.memory.actions[action]);
  }

  /** True: refuse the work at hand. It was counted. */
  shouldShed(point: LoadShedPoint): boolean {
    if (!this.chance(this.memory.points[point])) return false;
    this.shed[point].inc();
    return true;
  }

  private chance(probability: number): boolean {
    return probability > 0 && (probability >= 1 || this.random() < probability * 0x1_0000_0000);
  }

  // Downstream connections.

  get limitsConnections(): boolean {
    return this.config.maxDownstreamConnections !== null;
  }

  /** Takes a place for a connection; false when all are taken. Exact over all workers. */
  takeConnection(): boolean {
    const { connections } = this.memory;
    if (Atomics.add(connections, 0, 1) < (this.config.maxDownstreamConnections as number)) return true;
    Atomics.sub(connections, 0, 1);
    return false;
  }

  giveConnectionBack(): void {
    Atomics.sub(this.memory.connections, 0, 1);
  }

  // Timeouts.

  /** Null: timeouts of this kind do not shrink. */
  createTimer(type: TimerType, dispatcher: Dispatcher, callback: () => void): ScaledTimer | null {
    const minimum = this.config.timerMinimums.get(type);
    return minimum === undefined ? null : new ScaledTimer(dispatcher, callback, minimum, this.timers, () => this.scale);
  }

  /** A timeout as it is now. */
  scaledTimeout(type: TimerType, timeoutMs: number): number {
    const minimum = this.config.timerMinimums.get(type);
    return minimum === undefined ? timeoutMs : ScaledTimer.delay(minimum, timeoutMs, this.scale);
  }

  /** Main has changed states: running timeouts follow. */
  onChange(): void {
    const scale = 1 - this.memory.actions[OverloadAction.ReduceTimeouts];
    if (scale === this.scale) return;
    this.scale = scale;
    for (const timer of this.timers) timer.rescale();
  }
}
