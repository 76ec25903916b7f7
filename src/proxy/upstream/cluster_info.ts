/** A cluster's settings, stats and circuit breakers on one thread (Envoy: ClusterInfoImpl). */
import type { Scope } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import { type Http1Stats, http1Stats } from '../http/http1/settings.ts';
import { type Http2Stats, http2Stats } from '../http/http2/settings.ts';
import type { FractionalPercent, Runtime, RuntimeSnapshot } from '../runtime/runtime.ts';
import type { Logger } from '../server/factory_context.ts';
import type { Protocol } from '../stream_info/stream_info.ts';
import type { ClusterSettings } from './cluster_config.ts';
import { ClusterStats } from './cluster_stats.ts';
import { ResourceManagerImpl } from './resource_manager.ts';
import { TransportSocketMatcher } from './transport_socket_matcher.ts';
import type { ClusterInfo, ResourcePriority } from './upstream.ts';
import type { UpstreamContext } from './upstream_context.ts';

export interface ClusterInfoContext {
  readonly scope: Scope;
  readonly runtime: Runtime | null;
  random(): number;
  readonly workerIndex?: number;
  readonly transportSockets?: UpstreamContext['transportSockets'];
  readonly logger?: UpstreamContext['logger'];
  readonly secrets?: UpstreamContext['secrets'];
}

export class ClusterInfoImpl implements ClusterInfo {
  readonly settings: ClusterSettings;
  readonly name: string;
  readonly observabilityName: string;
  readonly connectTimeoutMs: number;
  readonly perConnectionBufferLimitBytes: number;
  readonly statsScope: Scope;
  readonly stats: ClusterStats;
  readonly metadata: Record<string, Record<string, unknown>>;
  readonly upstreamHttpProtocol: Protocol;
  readonly maxRequestsPerConnection: number;
  readonly dropOverload: number;
  readonly transportSockets: TransportSocketMatcher;
  /** Some host of the cluster may be spoken to in other than plain text. */
  readonly mayBeSecure: boolean;
  private readonly onClose: (() => void)[] = [];
  private codecStats: Http1Stats | null = null;
  private codec2Stats: Http2Stats | null = null;
  private readonly context: ClusterInfoContext;
  private readonly maintenanceKey: string;
  /** Of which `maintenanceConfigured` tells whether the key is there. */
  private snapshot: RuntimeSnapshot | null = null;
  private maintenanceConfigured = false;
  private readonly resourceManagers: readonly [ResourceManagerImpl, ResourceManagerImpl];

  /** `sharedResources` of `createSharedResources`; null: circuit breakers count this thread alone. */
  constructor(settings: ClusterSettings, context: ClusterInfoContext, sharedResources: SharedArrayBuffer | null) {
    this.settings = settings;
    this.name = settings.name;
    this.observabilityName = settings.observabilityName;
    this.connectTimeoutMs = settings.connectTimeoutMs;
    this.perConnectionBufferLimitBytes = settings.perConnectionBufferLimitBytes;
    this.metadata = settings.metadata;
    this.upstreamHttpProtocol = settings.http.protocol === 'http2' ? 'HTTP/2' : 'HTTP/1.1';
    this.maxRequestsPerConnection = settings.http.maxRequestsPerConnection;
    this.dropOverload = settings.dropOverload;
    this.context = context;
    this.maintenanceKey = `upstream.maintenance_mode.${settings.name}`;
    this.statsScope = context.scope.scope(clusterStatPrefix(settings.observabilityName));
    this.stats = new ClusterStats(this.statsScope);
    this.transportSockets = new TransportSocketMatcher(
      settings.transportSocketMatches,
      settings.transportSocket,
      (type) => context.transportSockets?.(type),
      {
        statsScope: this.statsScope,
        workerIndex: context.workerIndex ?? 0,
        logger: context.logger?.('upstream') ?? NO_LOG,
        onDestroy: (callback) => this.onClose.push(callback),
        ...(context.secrets !== undefined && { secrets: context.secrets }),
      },
    );
    const factories = [...this.transportSockets.factories()];
    this.mayBeSecure = factories.some((factory) => factory !== null);
    if (settings.http.autoSni?.verifyName && factories.some((factory) => factory?.verifiesPeer !== true)) {
      throw new ConfigError("'auto_san_validation' was configured without a TLS transport socket that has a validation context", {
        path: 'transport_socket',
      });
    }
    this.resourceManagers = [
      new ResourceManagerImpl(this.statsScope, 0, settings.thresholds[0], sharedResources),
      new ResourceManagerImpl(this.statsScope, 1, settings.thresholds[1], sharedResources),
    ];
  }

  /** The cluster is gone. */
  close(): void {
    for (const callback of this.onClose.splice(0)) callback();
  }

  /** Runtime `upstream.maintenance_mode.<name>`: the share of requests that is answered 503 without asking a host. */
  get maintenanceMode(): boolean {
    const runtime = this.context.runtime;
    if (runtime === null) return false;
    const snapshot = runtime.snapshot;
    if (snapshot !== this.snapshot) {
      this.snapshot = snapshot;
      this.maintenanceConfigured = snapshot.get(this.maintenanceKey) !== undefined;
    }
    return this.maintenanceConfigured && snapshot.featureEnabled(this.maintenanceKey, NEVER, this.context.random());
  }

  /** `http1.*` of this cluster; they appear with the first HTTP/1 connection. */
  get http1Stats(): Http1Stats {
    this.codecStats ??= http1Stats(this.statsScope);
    return this.codecStats;
  }

  /** `http2.*`, as `http1Stats`. */
  get http2Stats(): Http2Stats {
    this.codec2Stats ??= http2Stats(this.statsScope);
    return this.codec2Stats;
  }

  resourceManager(priority: ResourcePriority): ResourceManagerImpl {
    return this.resourceManagers[priority];
  }
}

const nothing = (): void => {};
const NO_LOG: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  debugEnabled: false,
  traceEnabled: false,
};

const NEVER: FractionalPercent = { numerator: 0, denominator: 'HUNDRED' };

/** `cluster.<name>.`; `:` in names becomes `_`. */
export function clusterStatPrefix(observabilityName: string): string {
  return `cluster.${observabilityName.replaceAll(':', '_')}.`;
}
