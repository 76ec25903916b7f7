/** `overload_manager` of the bootstrap, checked (Envoy: the constructor of OverloadManagerImpl). What is not honoured is refused by name. */
import { ConfigError } from '../config/error.ts';
import type { OverloadManager } from '../config/types.gen.ts';
import { LOAD_SHED_POINTS, OVERLOAD_ACTIONS, OverloadAction } from './overload_memory.ts';

export type TimerType =
  | 'HTTP_DOWNSTREAM_CONNECTION_IDLE'
  | 'HTTP_DOWNSTREAM_STREAM_IDLE'
  | 'TRANSPORT_SOCKET_CONNECT'
  | 'HTTP_DOWNSTREAM_CONNECTION_MAX';

/** How short a timeout may become: a time, or a part of what is configured. */
export type TimerMinimum = { readonly ms: number } | { readonly fraction: number };

/** Below `from` inactive, from `to` on saturated, in between in proportion. A threshold has both in one place. */
export interface Trigger {
  readonly resource: string;
  readonly from: number;
  readonly to: number;
}

export interface TriggeredState {
  readonly name: string;
  /** Number of the action or point. */
  readonly index: number;
  readonly triggers: readonly Trigger[];
}

export interface OverloadConfig {
  readonly refreshIntervalMs: number;
  readonly actions: readonly TriggeredState[];
  readonly points: readonly TriggeredState[];
  readonly timerMinimums: ReadonlyMap<TimerType, TimerMinimum>;
  /** `global_downstream_max_connections`; null: no limit of this kind. */
  readonly maxDownstreamConnections: number | null;
  /** Threads report what their memory has to spare. */
  readonly needsSpareBytes: boolean;
}

const SCALE_TIMERS = 'envoy.config.overload.v3.ScaleTimersOverloadActionConfig';
export const DOWNSTREAM_CONNECTIONS = 'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig';
export const FIXED_HEAP = 'envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig';
const TIMER_TYPES: ReadonlySet<string> = new Set<TimerType>([
  'HTTP_DOWNSTREAM_CONNECTION_IDLE',
  'HTTP_DOWNSTREAM_STREAM_IDLE',
  'TRANSPORT_SOCKET_CONNECT',
  'HTTP_DOWNSTREAM_CONNECTION_MAX',
]);

/** Null when nothing is configured. Throws ConfigError with a path from the bootstrap. */
export function parseOverloadConfig(config: OverloadManager | undefined): OverloadConfig | null {
  if (config === undefined) return null;
  const resources = new Set<string>();
  let maxDownstreamConnections: number | null = null;
  for (const [i, { name, typedConfig }] of config.resourceMonitors.entries()) {
    const path = `overload_manager.resource_monitors[${i}]`;
    if (resources.has(name)) throw new ConfigError(`Duplicate resource monitor ${name}`, { path });
    resources.add(name);
    if (typedConfig === undefined) throw new ConfigError(`resource monitor '${name}' needs a typed_config`, { path });
    if (typedConfig['@type'] === DOWNSTREAM_CONNECTIONS) {
      maxDownstreamConnections = (typedConfig as { maxActiveDownstreamConnections?: number }).maxActiveDownstreamConnections ?? 0;
    }
  }
  const timerMinimums = new Map<TimerType, TimerMinimum>();
  const actions = triggered(config.actions, 'actions', 'overload action', OVERLOAD_ACTIONS, resources);
  for (const [i, action] of config.actions.entries()) {
    readTypedConfig(action as never, actions[i].index, `overload_manager.actions[${i}]`, timerMinimums);
  }
  return {
    refreshIntervalMs: config.refreshInterval ?? 1000,
    actions,
    points: triggered(config.loadshedPoints, 'loadshed_points', 'loadshed point', LOAD_SHED_POINTS, resources),
    timerMinimums,
    maxDownstreamConnections,
    needsSpareBytes: config.resourceMonitors.some(({ typedConfig }) => typedConfig?.['@type'] === FIXED_HEAP),
  };
}

interface PlainTriggered {
  name: string;
  triggers: readonly {
    name: string;
    threshold?: { value: number };
    scaled?: { scalingThreshold: number; saturationThreshold: number };
  }[];
}

function triggered(
  list: readonly unknown[],
  field: string,
  kind: string,
  known: readonly string[],
  resources: ReadonlySet<string>,
): TriggeredState[] {
  const names = new Set<string>();
  return (list as readonly PlainTriggered[]).map(({ name, triggers }, i) => {
    const path = `overload_manager.${field}[${i}]`;
    const index = known.indexOf(name);
    if (index < 0)
      throw new ConfigError(`${kind} '${name}' is not supported by Sluice; supported: ${known.join(', ')}`, { path });
    if (names.has(name)) throw new ConfigError(`Duplicate ${kind} ${name}`, { path });
    names.add(name);
    const seen = new Set<string>();
    return {
      name,
      index,
      triggers: triggers.map((trigger, k) => {
        const at = `${path}.triggers[${k}]`;
        if (seen.has(trigger.name)) throw new ConfigError(`Duplicate trigger resource for ${kind} ${name}`, { path: at });
        seen.add(trigger.name);
        if (!resources.has(trigger.name))
          throw new ConfigError(`Unknown trigger resource ${trigger.name} for ${kind} ${name}`, { path: at });
        const { scaled } = trigger;
        if (scaled === undefined) {
          const value = trigger.threshold?.value ?? 0;
          return { resource: trigger.name, from: value, to: value };
        }
        if (scaled.scalingThreshold >= scaled.saturationThreshold)
          throw new ConfigError('scaling_threshold must be less than saturation_threshold', { path: `${at}.scaled` });
        return { resource: trigger.name, from: scaled.scalingThreshold, to: scaled.saturationThreshold };
      }),
    };
  });
}

interface PlainScaleTimers {
  '@type': string;
  timerScaleFactors?: readonly { timer: string; minTimeout?: number; minScale?: { value: number } }[];
}

function readTypedConfig(
  action: { name: string; typedConfig?: PlainScaleTimers },
  index: number,
  path: string,
  minimums: Map<TimerType, TimerMinimum>,
): void {
  const { typedConfig } = action;
  if (index !== OverloadAction.ReduceTimeouts) {
    if (typedConfig !== undefined) {
      throw new ConfigError(`Overload action "${action.name}" has an unexpected value for the typed_config field`, {
        path: `${path}.typed_config`,
      });
    }
    return;
  }
  if (typedConfig?.['@type'] !== SCALE_TIMERS) {
    throw new ConfigError(`Overload action "${action.name}" needs a typed_config of ${SCALE_TIMERS}`, { path });
  }
  for (const [i, { timer, minTimeout, minScale }] of (typedConfig.timerScaleFactors ?? []).entries()) {
    const at = `${path}.typed_config.timer_scale_factors[${i}]`;
    if (!TIMER_TYPES.has(timer)) throw new ConfigError(`${timer} is not supported by Sluice yet`, { path: `${at}.timer` });
    if (minimums.has(timer as TimerType)) throw new ConfigError(`Found duplicate entry for timer type ${timer}`, { path: at });
    minimums.set(timer as TimerType, minTimeout === undefined ? { fraction: (minScale?.value ?? 0) / 100 } : { ms: minTimeout });
  }
}

/** The state that a pressure (0 to 1, or more) means for a trigger. */
export function triggerState({ from, to }: Trigger, pressure: number): number {
  if (pressure >= to) return 1;
  return pressure <= from ? 0 : (pressure - from) / (to - from);
}
