/** Stats of listeners, their names as Envoy's (`listener.<address>.`, `listener.<address>.worker_<n>.`, `listener_manager.`). */
import type { Counter, Gauge, Histogram, Scope } from '../../core/stats/stats.ts';

const LISTENER_COUNTERS = [
  'downstream_cx_total',
  'downstream_cx_destroy',
  'downstream_cx_overflow',
  'downstream_cx_overload_reject',
  'downstream_cx_transport_socket_connect_timeout',
  'downstream_global_cx_overflow',
  'downstream_listener_filter_error',
  'downstream_listener_filter_remote_close',
  'downstream_pre_cx_timeout',
  'no_filter_chain_match',
  'extension_config_missing',
  'network_extension_config_missing',
] as const;
const LISTENER_GAUGES = ['downstream_cx_active', 'downstream_pre_cx_active'] as const;

const MANAGER_COUNTERS = [
  'listener_added',
  'listener_create_failure',
  'listener_create_success',
  'listener_in_place_updated',
  'listener_modified',
  'listener_removed',
  'listener_stopped',
] as const;
const MANAGER_GAUGES = [
  'total_filter_chains_draining',
  'total_listeners_active',
  'total_listeners_draining',
  'total_listeners_warming',
  'workers_started',
] as const;

export type ListenerStats = Record<(typeof LISTENER_COUNTERS)[number], Counter> &
  Record<(typeof LISTENER_GAUGES)[number], Gauge> & {
    readonly downstream_cx_length_ms: Histogram;
    readonly connections_accepted_per_socket_event: Histogram;
    readonly worker: { readonly downstream_cx_total: Counter; readonly downstream_cx_active: Gauge };
  };

export type ListenerManagerStats = Record<(typeof MANAGER_COUNTERS)[number], Counter> &
  Record<(typeof MANAGER_GAUGES)[number], Gauge>;

/** `scope` is `listener.<address or stat_prefix>.`. */
export function listenerStats(scope: Scope, workerIndex: number): ListenerStats {
  const worker = scope.scope(`worker_${workerIndex}.`);
  return {
    ...counters(scope, LISTENER_COUNTERS),
    ...gauges(scope, LISTENER_GAUGES),
    downstream_cx_length_ms: scope.histogram('downstream_cx_length_ms', 'milliseconds'),
    connections_accepted_per_socket_event: scope.histogram('connections_accepted_per_socket_event', 'unspecified'),
    worker: {
      downstream_cx_total: worker.counter('downstream_cx_total'),
      downstream_cx_active: worker.gauge('downstream_cx_active'),
    },
  };
}

/** `root` is the scope without a prefix. For whoever adds and removes listeners on the main thread. */
export function listenerManagerStats(root: Scope): ListenerManagerStats {
  const scope = root.scope('listener_manager.');
  return { ...counters(scope, MANAGER_COUNTERS), ...gauges(scope, MANAGER_GAUGES) };
}

function counters<N extends string>(scope: Scope, names: readonly N[]): Record<N, Counter> {
  return Object.fromEntries(names.map((name) => [name, scope.counter(name)])) as Record<N, Counter>;
}

function gauges<N extends string>(scope: Scope, names: readonly N[]): Record<N, Gauge> {
  return Object.fromEntries(names.map((name) => [name, scope.gauge(name)])) as Record<N, Gauge>;
}
