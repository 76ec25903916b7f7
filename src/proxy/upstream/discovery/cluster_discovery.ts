/**
 * The main thread's side of upstream (Envoy: ClusterManagerImpl): finds the hosts of all clusters, tells workers, and knows what
 * admin shows. Traffic never comes here.
 */
import type { Scope } from '../../../core/stats/stats.ts';
import { ConfigError } from '../../config/error.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { type ClusterSettings, parseCluster } from '../cluster_config.ts';
import type { DnsSettings } from '../cluster_config_dns.ts';
import { clusterStatPrefix } from '../cluster_info.ts';
import type { SharedUpstream } from '../cluster_manager.ts';
import { ClusterStats } from '../cluster_stats.ts';
import type { PlainBindConfig, PlainCluster } from '../cluster_types.ts';
import { HostStatsTable, resetHostCounters } from '../host_stats.ts';
import type { HostEvent, HostUpdate } from '../host_update.ts';
import type { OutlierEvent } from '../outlier/outlier_events.ts';
import { createSharedResources } from '../resource_manager.ts';
import type { ClusterStatus } from './cluster_status.ts';
import { type ClusterListener, DiscoveredCluster, type Schedule } from './discovered_cluster.ts';
import { createDnsResolver, type DnsResolver } from './dns_resolver.ts';

export interface ClusterDiscoveryOptions {
  readonly clusters: readonly PlainCluster[];
  /** Number of workers. */
  readonly workers: number;
  /** Root scope of the main thread's stats. */
  readonly scope: Scope;
  readonly upstreamBindConfig?: PlainBindConfig;
  readonly warn?: (message: string) => void;
  /** Absent: runtime keys have their defaults. */
  readonly runtime?: Runtime;
  /** For tests. */
  readonly schedule?: Schedule;
  readonly random?: () => number;
  readonly createDnsResolver?: (settings: DnsSettings) => DnsResolver;
}

export class ClusterDiscovery {
  /** Plain data for each worker's `workerData`. */
  readonly shared: SharedUpstream;
  private readonly clusters: DiscoveredCluster[];
  /** Who writes down what outlier detection does. */
  onOutlierEvent: ((event: OutlierEvent) => void) | null = null;

  /** Throws ConfigError. */
  constructor(options: ClusterDiscoveryOptions) {
    const settings = parseClusters(options.clusters, options.upstreamBindConfig);
    const environment = {
      schedule: options.schedule ?? scheduleUnref,
      random: options.random ?? Math.random,
      // Main may have connections too.
      hostStats: new HostStatsTable(options.workers + 1),
      warn: options.warn ?? (() => {}),
      threads: options.workers + 1,
      runtime: options.runtime ?? null,
      logOutlier: (event: OutlierEvent) => this.onOutlierEvent?.(event),
    };
    const makeResolver = options.createDnsResolver ?? createDnsResolver;
    this.clusters = settings.map((cluster) => {
      const scope = options.scope.scope(clusterStatPrefix(cluster.observabilityName));
      const stats = new ClusterStats(scope);
      const usesDns = cluster.type === 'STRICT_DNS' || cluster.type === 'LOGICAL_DNS';
      return new DiscoveredCluster(cluster, stats, environment, usesDns ? makeResolver(cluster.dns) : null, scope);
    });
    // One worker alone needs no shared counts.
    const counted = options.workers === 1 ? [] : settings;
    this.shared = { resources: Object.fromEntries(counted.map((cluster) => [cluster.name, createSharedResources()])) };
    const manager = options.scope.scope('cluster_manager.');
    manager.counter('cluster_added').add(settings.length);
    manager.gauge('active_clusters').set(settings.length);
    manager.gauge('warming_clusters').set(0);
    for (const name of ['cluster_modified', 'cluster_removed', 'cluster_updated', 'cluster_updated_via_merge'])
      manager.counter(name);
    for (const name of ['update_merge_cancelled', 'update_out_of_merge_window']) manager.counter(name);
  }

  /**
   * Starts looking. The callbacks get each cluster's hosts, and changes of their health alone, when they changed, starting from now: post it to every worker. Resolves when
   * all clusters that are to be waited for (`wait_for_warm_on_init`) have a first result, good or bad.
   */
  async start(onHosts: ClusterListener['onHosts'], onHealth: ClusterListener['onHealth'] = () => {}): Promise<void> {
    const listener = { onHosts, onHealth };
    const warming = this.clusters.map((cluster) => {
      const warm = new Promise<void>((resolve) => cluster.start(listener, resolve));
      return cluster.settings.waitForWarmOnInit ? warm : Promise.resolve();
    });
    await Promise.all(warming);
  }

  /** The hosts of all clusters now: for a worker that starts. */
  current(): HostUpdate[] {
    return this.clusters.filter((cluster) => cluster.settings.type !== 'ORIGINAL_DST').map((cluster) => cluster.current());
  }

  /** For admin's /clusters. */
  status(): ClusterStatus[] {
    return this.clusters.map((cluster) => cluster.status());
  }

  /** What a worker saw of a host. */
  onHostEvent(event: HostEvent): void {
    this.clusters.find((cluster) => cluster.settings.name === event.cluster)?.onHostEvent(event);
  }

  /** Admin's /reset_counters, as far as hosts are concerned. */
  resetHostCounters(): void {
    for (const cluster of this.clusters) {
      for (const host of cluster.current().hosts) if (host.stats !== undefined) resetHostCounters(host.stats);
    }
  }

  close(): void {
    for (const cluster of this.clusters) cluster.close();
  }
}

/** Reads and checks all clusters. Throws ConfigError. */
export function parseClusters(clusters: readonly PlainCluster[], bind?: PlainBindConfig): ClusterSettings[] {
  const names = new Set<string>();
  return clusters.map((config, i) => {
    const path = `static_resources.clusters[${i}]`;
    if (names.has(config.name))
      throw new ConfigError(`cluster manager: duplicate cluster '${config.name}'`, { path: `${path}.name` });
    names.add(config.name);
    return parseCluster(config, path, bind);
  });
}

const scheduleUnref: Schedule = (delayMs, callback) => {
  const timer = setTimeout(callback, Math.min(delayMs, 0x7fffffff));
  timer.unref();
  return () => clearTimeout(timer);
};
