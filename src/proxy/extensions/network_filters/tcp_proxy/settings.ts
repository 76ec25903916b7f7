/** What tcp_proxy does, from its configuration: read once, shared by the connections of a worker. */
import type { AccessLog } from '../../../access_log/access_log.ts';
import { Hash64 } from '../../../common/hash64.ts';
import { ConfigError } from '../../../config/error.ts';
import type { CoreMetadata, TcpProxy } from '../../../config/types.gen.ts';
import { hashOfFilterState, hashOfSource } from '../../../http/route/hash_policy.ts';
import { rejectUnsupported } from '../../../network/listener_extensions.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { TcpProxyStats } from './stats.ts';

/** One cluster that connections can go to. */
export interface TcpRoute {
  readonly cluster: string;
  /** The `envoy.lb` fields that hosts must have; null: any. */
  readonly metadataMatch: Record<string, unknown> | null;
}

export interface TcpProxySettings {
  readonly stats: TcpProxyStats;
  readonly clusterManager: ClusterManager;
  readonly accessLogs: readonly AccessLog[];
  /** Cumulative weights up to `totalWeight`; a single cluster has all of it. */
  readonly routes: readonly { readonly route: TcpRoute; readonly upTo: number }[];
  readonly totalWeight: number;
  readonly metadataMatch: Record<string, unknown> | null;
  /** What hosts are chosen by where the cluster hashes; null when there is no policy, or it gives none. */
  readonly hashPolicy: ((info: StreamInfo) => Hash64 | null) | null;
  /** 0: none. */
  readonly idleTimeoutMs: number;
  readonly maxConnectAttempts: number;
  readonly backoff: { readonly baseMs: number; readonly maxMs: number } | null;
  /** 0: none. */
  readonly maxConnectionDurationMs: number;
  readonly maxConnectionDurationJitterPercent: number;
  /** 0: none. */
  readonly accessLogFlushIntervalMs: number;
  readonly flushAccessLogOnConnected: boolean;
  random(): number;
}

const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000;

const UNSUPPORTED = {
  onDemand: 'on_demand',
  downstreamIdleTimeout: 'downstream_idle_timeout',
  upstreamIdleTimeout: 'upstream_idle_timeout',
  tunnelingConfig: 'tunneling_config',
  proxyProtocolTlvs: 'proxy_protocol_tlvs',
  maxEarlyDataBytes: 'max_early_data_bytes',
};

/** Fields that are newer than the API the types were generated from. */
type TcpProxyConfig = Omit<TcpProxy, 'hashPolicy'> & {
  hashPolicy?: TcpProxy['hashPolicy'];
  upstreamConnectMode?: string;
  maxDownstreamConnectionDurationJitterPercentage?: { value: number };
};

/** Throws ConfigError. */
export function tcpProxySettings(
  config: TcpProxyConfig,
  accessLogs: readonly AccessLog[],
  context: FactoryContext,
): TcpProxySettings {
  rejectUnsupported(config, UNSUPPORTED);
  if (config.upstreamConnectMode !== undefined && config.upstreamConnectMode !== 'IMMEDIATE') {
    throw new ConfigError(`the mode '${config.upstreamConnectMode}' is not supported`, { path: 'upstream_connect_mode' });
  }
  const metadataMatch = lbMetadata(config.metadataMatch);
  const routes: { route: TcpRoute; upTo: number }[] = [];
  let totalWeight = 0;
  if (config.cluster !== undefined) {
    totalWeight = 1;
    routes.push({ route: { cluster: config.cluster, metadataMatch }, upTo: 1 });
  }
  for (const entry of config.weightedClusters?.clusters ?? []) {
    totalWeight += entry.weight;
    const own = lbMetadata(entry.metadataMatch);
    routes.push({
      route: { cluster: entry.name, metadataMatch: own === null ? metadataMatch : { ...metadataMatch, ...own } },
      upTo: totalWeight,
    });
  }
  if (routes.length === 0) throw new ConfigError('cluster or weighted_clusters is required', { path: 'cluster_specifier' });

  const backoff = config.backoffOptions;
  const baseMs = backoff?.baseInterval ?? 0;
  if (backoff?.maxInterval !== undefined && backoff.maxInterval < baseMs) {
    throw new ConfigError('max_backoff must be greater or equal to base_backoff', { path: 'backoff_options' });
  }
  if (config.accessLogOptions !== undefined) {
    const older =
      config.accessLogFlushInterval !== undefined
        ? 'access_log_flush_interval'
        : config.flushAccessLogOnConnected
          ? 'flush_access_log_on_connected'
          : '';
    if (older !== '') throw new ConfigError(`Only one of ${older} or access_log_options can be specified.`, { path: older });
  }
  const flushIntervalMs = config.accessLogOptions?.accessLogFlushInterval ?? config.accessLogFlushInterval ?? 0;
  return {
    stats: new TcpProxyStats(context.scope.scope(`tcp.${config.statPrefix}.`)),
    clusterManager: context.clusterManager,
    accessLogs,
    routes,
    totalWeight,
    metadataMatch,
    hashPolicy: hashPolicy(config),
    idleTimeoutMs: config.idleTimeout ?? DEFAULT_IDLE_TIMEOUT_MS,
    maxConnectAttempts: config.maxConnectAttempts ?? 1,
    backoff: backoff === undefined ? null : { baseMs, maxMs: backoff.maxInterval ?? baseMs * 10 },
    maxConnectionDurationMs: config.maxDownstreamConnectionDuration ?? 0,
    maxConnectionDurationJitterPercent: config.maxDownstreamConnectionDurationJitterPercentage?.value ?? 0,
    accessLogFlushIntervalMs: flushIntervalMs,
    flushAccessLogOnConnected: config.accessLogOptions?.flushAccessLogOnConnected ?? config.flushAccessLogOnConnected ?? false,
    random: () => context.random(),
  };
}

/** The route that `random` (32 bits) falls on. */
export function pickRoute(settings: TcpProxySettings, random: number): TcpRoute {
  const { routes } = settings;
  if (routes.length === 1) return routes[0].route;
  const at = random % settings.totalWeight;
  for (const { route, upTo } of routes) if (at < upTo) return route;
  return routes[routes.length - 1].route;
}

/** How long to wait before connect attempt `attempt` + 1: full jitter under a doubling bound. */
export function retryDelayMs(settings: TcpProxySettings, attempt: number): number {
  const { backoff } = settings;
  // At once, but in another turn: the pool cleans up after the failed connection first.
  if (backoff === null) return 0;
  const bound = Math.min(backoff.baseMs * 2 ** Math.min(attempt - 1, 30), backoff.maxMs);
  return settings.random() % Math.max(1, Math.ceil(bound));
}

/** `hash_policy`, of which there is at most one. */
function hashPolicy(config: TcpProxyConfig): TcpProxySettings['hashPolicy'] {
  const policy = config.hashPolicy?.[0];
  if (policy === undefined) return null;
  const hash = new Hash64();
  const key = policy.filterState?.key;
  return key === undefined
    ? (info) => (hashOfSource(hash, info) ? hash : null)
    : (info) => (hashOfFilterState(hash, info, key) ? hash : null);
}

function lbMetadata(metadata: CoreMetadata | undefined): Record<string, unknown> | null {
  return metadata?.filterMetadata['envoy.lb'] ?? null;
}
