/**
 * All clusters of one worker (Envoy: ThreadLocalClusterManagerImpl). Built from the same plain configuration on every worker; what main
 * discovers arrives through `applyHosts`.
 *
 *     main:   const discovery = new ClusterDiscovery({ clusters, workers, scope, ... });  await discovery.start(post)
 *     worker: new ThreadLocalClusterManager(context, { clusters, shared: discovery.shared }); then applyHosts for each of `discovery.current()`
 */
import { atPath } from '../network/listener_extensions.ts';
import { parseCluster } from './cluster_config.ts';
import { ClusterInfoImpl } from './cluster_info.ts';
import type { PlainBindConfig, PlainCluster } from './cluster_types.ts';
import { type LocalHosts, NO_RATES } from './discovery/cluster_status.ts';
import { readHostStats } from './host_stats.ts';
import type { HealthUpdate, HostUpdate } from './host_update.ts';
import { createLoadBalancer } from './lb/policies.ts';
import { OriginalDstLoadBalancer } from './original_dst_cluster.ts';
import { ThreadLocalClusterImpl } from './thread_local_cluster.ts';
import type { ClusterManager } from './upstream.ts';
import type { UpstreamContext } from './upstream_context.ts';

/** Memory that all workers share; plain data for `workerData`. */
export interface SharedUpstream {
  /** Circuit-breaker counts by cluster name. */
  readonly resources: Readonly<Record<string, SharedArrayBuffer>>;
}

export interface ClusterManagerOptions {
  readonly clusters: readonly PlainCluster[];
  /** Absent: circuit breakers count this worker alone. */
  readonly shared?: SharedUpstream;
  /** `cluster_manager.upstream_bind_config`. */
  readonly upstreamBindConfig?: PlainBindConfig;
}

export class ThreadLocalClusterManager implements ClusterManager {
  private readonly clusters = new Map<string, ThreadLocalClusterImpl>();

  /** Throws ConfigError. */
  constructor(context: UpstreamContext, options: ClusterManagerOptions) {
    options.clusters.forEach((config, i) => {
      const settings = parseCluster(config, `static_resources.clusters[${i}]`, options.upstreamBindConfig);
      const path = `static_resources.clusters[${i}]`;
      const shared = options.shared?.resources[settings.name] ?? null;
      const info = atPath(path, () => new ClusterInfoImpl(settings, context, shared));
      this.clusters.set(settings.name, createCluster(info, context));
    });
  }

  get(name: string): ThreadLocalClusterImpl | null {
    return this.clusters.get(name) ?? null;
  }

  names(): string[] {
    return [...this.clusters.keys()];
  }

  /** The hosts of a cluster as main sees them now. Unknown clusters are ignored: they may have gone meanwhile. */
  applyHosts(update: HostUpdate): void {
    this.clusters.get(update.cluster)?.applyHosts(update);
  }

  applyHealth(update: HealthUpdate): void {
    this.clusters.get(update.cluster)?.applyHealth(update);
  }

  /** Hosts that only this worker knows: main shows them with `withLocalHosts`. */
  localHosts(): LocalHosts[] {
    return [...this.clusters.values()]
      .filter((cluster) => cluster.info.settings.type === 'ORIGINAL_DST')
      .map((cluster) => ({
        cluster: cluster.info.name,
        hosts: cluster.hosts().map((host) => ({
          address: host.address,
          hostname: host.hostname,
          stats: readHostStats(host.stats),
          healthFlags: host.healthFlags,
          successRate: NO_RATES,
          weight: host.weight,
          locality: host.locality,
          canary: host.canary,
          priority: host.priority,
        })),
      }));
  }

  /** Upstream connections of this worker. */
  get connections(): number {
    let n = 0;
    for (const cluster of this.clusters.values()) n += cluster.connections;
    return n;
  }

  close(): void {
    for (const cluster of this.clusters.values()) cluster.close();
  }
}

function createCluster(info: ClusterInfoImpl, context: UpstreamContext): ThreadLocalClusterImpl {
  if (info.settings.type === 'ORIGINAL_DST') {
    const balancer = new OriginalDstLoadBalancer(info, context);
    const cluster = new ThreadLocalClusterImpl(info, context, balancer);
    balancer.attach(cluster);
    return cluster;
  }
  const balancer = createLoadBalancer({
    settings: info.settings.lb,
    healthyPanic: info.stats.lbHealthyPanic,
    random: () => context.random(),
    runtime: context.runtime,
  });
  return new ThreadLocalClusterImpl(info, context, balancer);
}
