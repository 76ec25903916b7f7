/**
 * All clusters of one worker (Envoy: ThreadLocalClusterManagerImpl). Built from the same plain configuration on every worker; what main
 * discovers arrives through `applyHosts`.
 *
 *     main:   const discovery = new ClusterDiscovery({ clusters, workers, scope, ... });  await discovery.start(post)
 *     worker: new ThreadLocalClusterManager(context, { clusters, shared: discovery.shared }); then applyHosts for each of `discovery.current()`
 */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Connection } from '../network/connection.ts';
import { atPath } from '../network/listener_extensions.ts';
import { AggregateCluster } from './aggregate_cluster.ts';
import { type ClusterSettings, parseCluster } from './cluster_config.ts';
import { ClusterInfoImpl } from './cluster_info.ts';
import type { PlainBindConfig, PlainCluster } from './cluster_types.ts';
import { type LocalHosts, NO_RATES } from './discovery/cluster_status.ts';
import { readHostStats } from './host_stats.ts';
import type { HealthUpdate, HostUpdate } from './host_update.ts';
import { createLoadBalancer } from './lb/create_load_balancer.ts';
import type { LoadBalancerEnvironment } from './lb/load_balancer.ts';
import { OriginalDstLoadBalancer } from './original_dst_cluster.ts';
import type { PrioritySet } from './priority_set.ts';
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
  /** `cluster_manager.local_cluster_name`. */
  readonly localClusterName?: string;
}

/** A cluster that is new or has changed, with its first hosts: plain data. */
export interface ClusterChange {
  readonly config: PlainCluster;
  readonly hosts: HostUpdate;
  /** Circuit-breaker counts. */
  readonly resources: SharedArrayBuffer | null;
}

export class ThreadLocalClusterManager implements ClusterManager {
  private readonly clusters = new Map<string, ThreadLocalClusterImpl>();
  /** Replaced or removed, with connections left. */
  private readonly draining = new Set<ThreadLocalClusterImpl>();
  private readonly context: UpstreamContext;
  private readonly upstreamBindConfig: PlainBindConfig | undefined;
  /** The hosts of `local_cluster_name`. */
  private readonly localCluster: (() => PrioritySet | null) | null;

  /** Throws ConfigError. */
  constructor(context: UpstreamContext, options: ClusterManagerOptions) {
    this.context = context;
    this.upstreamBindConfig = options.upstreamBindConfig;
    const fleet = options.localClusterName ?? '';
    this.localCluster = fleet === '' ? null : () => this.clusters.get(fleet)?.prioritySet ?? null;
    options.clusters.forEach((config, i) => {
      const path = `static_resources.clusters[${i}]`;
      const cluster = this.create(config, options.shared?.resources[config.name] ?? null, path);
      this.clusters.set(cluster.info.name, cluster);
    });
  }

  /** Builds one and lets go of it. Throws ConfigError. */
  check(config: PlainCluster): ClusterSettings {
    const cluster = this.create(config, null, '');
    cluster.close();
    return cluster.info.settings;
  }

  /** Adds a cluster, or puts it in the place of the one of its name, whose connections drain. Throws ConfigError. */
  setCluster({ config, hosts, resources }: ClusterChange): void {
    const cluster = this.create(config, resources, '');
    cluster.applyHosts(hosts);
    const previous = this.clusters.get(cluster.info.name);
    this.clusters.set(cluster.info.name, cluster);
    if (previous !== undefined) this.drainAway(previous);
  }

  /** New requests find no cluster; those under way end with their connections. */
  removeCluster(name: string): void {
    const cluster = this.clusters.get(name);
    this.clusters.delete(name);
    if (cluster !== undefined) this.drainAway(cluster);
  }

  private create(config: PlainCluster, shared: SharedArrayBuffer | null, path: string): ThreadLocalClusterImpl {
    const settings = parseCluster(config, path, this.upstreamBindConfig);
    const build = (): ClusterInfoImpl => new ClusterInfoImpl(settings, this.context, shared);
    return createCluster(path === '' ? build() : atPath(path, build), this.context, this.localCluster, (name) => this.get(name));
  }

  private drainAway(cluster: ThreadLocalClusterImpl): void {
    this.draining.add(cluster);
    cluster.drain(() => this.draining.delete(cluster));
  }

  get(name: string): ThreadLocalClusterImpl | null {
    return this.clusters.get(name) ?? null;
  }

  names(): string[] {
    return [...this.clusters.keys()];
  }

  /** For admin: upstream connections, by cluster. */
  *openConnections(): Iterable<{ cluster: string; connection: Connection }> {
    for (const cluster of [...this.clusters.values(), ...this.draining]) {
      for (const connection of cluster.openConnections()) yield { cluster: cluster.info.name, connection };
    }
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
    for (const cluster of [...this.clusters.values(), ...this.draining]) n += cluster.connections;
    return n;
  }

  close(): void {
    for (const cluster of [...this.clusters.values(), ...this.draining]) cluster.close();
  }
}

function createCluster(
  info: ClusterInfoImpl,
  context: UpstreamContext,
  localCluster: (() => PrioritySet | null) | null,
  find: (name: string) => ThreadLocalClusterImpl | null,
): ThreadLocalClusterImpl {
  if (info.settings.type === 'ORIGINAL_DST') {
    const balancer = new OriginalDstLoadBalancer(info, context);
    const cluster = new ThreadLocalClusterImpl(info, context, balancer);
    balancer.attach(cluster);
    return cluster;
  }
  const environment: LoadBalancerEnvironment = {
    settings: info.settings.lb,
    stats: info.stats,
    scope: info.statsScope,
    random: () => context.random(),
    runtime: context.runtime,
    nowMs: () => context.dispatcher.nowMs,
    defer: (callback) => defer(context.dispatcher, callback),
    activeRequests: () => info.resourceManager(0).requests.count + info.resourceManager(1).requests.count,
    setsGauges: context.workerIndex === 0,
    localLocality: context.localLocality ?? null,
    hasLocalCluster: localCluster !== null,
    localCluster: localCluster ?? (() => null),
  };
  if (info.settings.type === 'AGGREGATE') return new AggregateCluster(info, context, environment, find);
  return new ThreadLocalClusterImpl(info, context, createLoadBalancer(environment));
}

/** Runs `callback` in the next turn of the loop; what it returns takes it back. */
function defer(dispatcher: Dispatcher, callback: () => void): () => void {
  const scheduled = dispatcher.createSchedulableCallback(callback);
  scheduled.scheduleCallbackNextIteration();
  return () => scheduled.cancel();
}
