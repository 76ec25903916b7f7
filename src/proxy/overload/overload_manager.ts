/**
 * The main thread's part of the overload manager (Envoy: OverloadManagerImpl): looks at all resources every `refresh_interval`, derives
 * the state of actions and load shed points, and writes it where workers read it. Stats below `overload.`.
 *
 * Monitors answer at once here, so no update is ever skipped.
 */
import type { Logger } from '../../core/log/logger.ts';
import type { Counter, Gauge, Scope } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import type { OverloadManager as OverloadManagerProto } from '../config/types.gen.ts';
import { type OverloadConfig, type TriggeredState, triggerState } from './overload_config.ts';
import { OVERLOAD_ACTIONS, OverloadAction, type OverloadMemory } from './overload_memory.ts';
import type { ResourceMonitor, ResourceMonitorFactory } from './resource_monitor.ts';

const SHRINK_INTERVAL_MS = 10_000;

interface Resource {
  readonly name: string;
  readonly monitor: ResourceMonitor;
  readonly gauge: Gauge;
  readonly failed: Counter;
  pressure: number;
  /** Its last failure was told. */
  failing: boolean;
}

interface Derived extends TriggeredState {
  readonly cells: Float64Array;
  readonly percent: Gauge;
  /** Null: a load shed point. */
  readonly active: Gauge | null;
}

export interface OverloadManagerOptions {
  readonly proto: OverloadManagerProto;
  readonly config: OverloadConfig;
  readonly memory: OverloadMemory;
  readonly factories: ReadonlyMap<string, ResourceMonitorFactory>;
  readonly scope: Scope;
  readonly log: Pick<Logger, 'info'>;
}

export interface OverloadEvents {
  /** Before resources are looked at. */
  onRefresh(): void;
  /** States have changed: workers look at them. */
  onChange(): void;
  /** Give memory back. */
  onShrinkHeap(): void;
}

export class OverloadManager {
  readonly memory: OverloadMemory;
  readonly config: OverloadConfig;
  private readonly resources: Resource[];
  private readonly derived: Derived[];
  private readonly log: Pick<Logger, 'info'>;
  private readonly shrinkCount: Counter | null;
  private timer: NodeJS.Timeout | null = null;
  private lastShrinkMs = Number.NEGATIVE_INFINITY;

  /** Throws ConfigError. */
  constructor(options: OverloadManagerOptions) {
    const { config, memory, scope } = options;
    this.memory = memory;
    this.config = config;
    this.log = options.log;
    this.resources = options.proto.resourceMonitors.map((proto, i) => createResource(proto as PlainMonitor, i, options));
    const derive = (state: TriggeredState, cells: Float64Array, isAction: boolean): Derived => ({
      ...state,
      cells,
      percent: scope.gauge(`overload.${state.name}.scale_percent`),
      active: isAction ? scope.gauge(`overload.${state.name}.active`) : null,
    });
    this.derived = [
      ...config.actions.map((state) => derive(state, memory.actions, true)),
      ...config.points.map((state) => derive(state, memory.points, false)),
    ];
    const shrinks = config.actions.some(({ index }) => index === OverloadAction.ShrinkHeap);
    this.shrinkCount = shrinks ? scope.counter(`overload.${OVERLOAD_ACTIONS[OverloadAction.ShrinkHeap]}.shrink_count`) : null;
  }

  /** The timer does not keep the process alive. */
  start(events: OverloadEvents): void {
    this.timer = setInterval(() => this.refresh(events, performance.now()), this.config.refreshIntervalMs);
    this.timer.unref();
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    for (const { monitor } of this.resources) monitor.close?.();
  }

  /** One look at everything; `now` in ms. */
  refresh(events: OverloadEvents, now: number): void {
    events.onRefresh();
    for (const resource of this.resources) this.look(resource);
    let changed = false;
    for (const state of this.derived) if (this.derive(state)) changed = true;
    if (changed) events.onChange();
    if (this.shrinkCount === null || this.memory.actions[OverloadAction.ShrinkHeap] < 1) return;
    if (now - this.lastShrinkMs < SHRINK_INTERVAL_MS) return;
    this.lastShrinkMs = now;
    this.shrinkCount.inc();
    events.onShrinkHeap();
  }

  /** A resource that cannot be looked at keeps its pressure. */
  private look(resource: Resource): void {
    try {
      resource.pressure = resource.monitor.pressure();
      resource.gauge.set(Math.round(resource.pressure * 100));
      resource.failing = false;
    } catch (error) {
      resource.failed.inc();
      if (!resource.failing) this.log.info(`Failed to update resource ${resource.name}: ${(error as Error).message}`);
      resource.failing = true;
    }
  }

  /** True when it changed. */
  private derive(state: Derived): boolean {
    let value = 0;
    for (const trigger of state.triggers) {
      const resource = this.resources.find(({ name }) => name === trigger.resource) as Resource;
      value = Math.max(value, triggerState(trigger, resource.pressure));
    }
    const before = state.cells[state.index];
    if (value === before) return false;
    state.cells[state.index] = value;
    state.percent.set(Math.round(value * 100));
    if (state.active === null) return true;
    state.active.set(value >= 1 ? 1 : 0);
    if (value >= 1 !== before >= 1) this.log.info(`Overload action ${state.name} became ${value >= 1 ? 'active' : 'inactive'}`);
    return true;
  }
}

interface PlainMonitor {
  name: string;
  typedConfig?: { '@type': string };
}

function createResource({ name, typedConfig }: PlainMonitor, i: number, options: OverloadManagerOptions): Resource {
  const path = `overload_manager.resource_monitors[${i}].typed_config`;
  const factory = options.factories.get(typedConfig?.['@type'] ?? '');
  if (factory === undefined) throw new ConfigError(`there is no such resource monitor`, { path });
  let monitor: ResourceMonitor;
  try {
    monitor = factory.create(typedConfig as Record<string, unknown>, options.memory);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
  }
  const stat = (suffix: string): string => `overload.${name}.${suffix}`;
  options.scope.counter(stat('skipped_updates'));
  return {
    name,
    monitor,
    gauge: options.scope.gauge(stat('pressure')),
    failed: options.scope.counter(stat('failed_updates')),
    pressure: 0,
    failing: false,
  };
}
