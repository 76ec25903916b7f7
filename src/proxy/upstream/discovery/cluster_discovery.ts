/**
 * The main thread's side of upstream (Envoy: ClusterManagerImpl): finds the hosts of all clusters, tells workers, and knows what
 * admin shows. Traffic never comes here.
 */
import type { Counter, Gauge, Scope } from '../../../core/stats/stats.ts';
import { ConfigError } from '../../config/error.ts';
import { sameConfig } from '../../config/shared_state.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { type ClusterSettings, parseCluster } from '../cluster_config.ts';
import type { DnsSettings } from '../cluster_config_dns.ts';
import { clusterStatPrefix } from '../cluster_info.ts';
import type { ClusterChange, SharedUpstream } from '../cluster_manager.ts';
import { ClusterStats } from '../cluster_stats.ts';
import type { PlainBindConfig, PlainCluster } from '../cluster_types.ts';
import { HostStatsTable, resetHostCounters } from '../host_stats.ts';
import type { HostEvent, HostUpdate } from '../host_update.ts';
import type { OutlierEvent } from '../outlier/outlier_events.ts';
import { createSharedResources } from '../resource_manager.ts';
import type { ClusterStatus } from './cluster_status.ts';
import {
  type ClusterListener,
  DiscoveredCluster,
  type DiscoveryEnvironment,
  type EndpointSource,
  type Schedule,
  type StartHealthChecks,
} from './discovered_cluster.ts';
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

/** Who is told of everything; plain data, for workers. */
export interface DiscoveryListener extends ClusterListener {
  onClusters(update: ClusterUpdate): void;
  /** Null: nobody checks hosts, and they count as healthy. */
  readonly startHealthChecks: StartHealthChecks | null;
}

/** What workers are told when clusters come and go. */
export interface ClusterUpdate {
  readonly set: readonly ClusterChange[];
  readonly remove: readonly string[];
}

/** One cluster: its configuration, and what is found for it. */
export interface ManagedCluster {
  readonly config: PlainCluster;
  readonly cluster: DiscoveredCluster;
  readonly resources: SharedArrayBuffer | null;
  /** Came from a control plane, not from the bootstrap. */
  readonly addedViaApi: boolean;
}

export class ClusterDiscovery {
  /** Where clusters of type EDS get their endpoints; set before `start`. */
  endpoints: EndpointSource | null = null;
  /** Who writes down what outlier detection does. */
  onOutlierEvent: ((event: OutlierEvent) => void) | null = null;
  private readonly active = new Map<string, ManagedCluster>();
  /** New, or about to take the place of the active one, and without a first result yet. */
  private readonly warming = new Map<string, ManagedCluster>();
  private readonly options: ClusterDiscoveryOptions;
  private readonly environment: DiscoveryEnvironment;
  private readonly stats: ClusterManagerStats;
  private listener: DiscoveryListener = { onHosts() {}, onHealth() {}, onClusters() {}, startHealthChecks: null };

  /** Throws ConfigError. */
  constructor(options: ClusterDiscoveryOptions) {
    this.options = options;
    const settings = parseClusters(options.clusters, options.upstreamBindConfig);
    this.environment = {
      schedule: options.schedule ?? scheduleUnref,
      random: options.random ?? Math.random,
      // Main may have connections too.
      hostStats: new HostStatsTable(options.workers + 1),
      warn: options.warn ?? (() => {}),
      threads: options.workers + 1,
      runtime: options.runtime ?? null,
      endpoints: { subscribe: (cluster) => this.endpoints?.subscribe(cluster) ?? { close() {} } },
      logOutlier: (event: OutlierEvent) => this.onOutlierEvent?.(event),
    };
    options.clusters.forEach((config, i) => {
      this.active.set(config.name, this.manage(config, settings[i], false));
    });
    this.stats = clusterManagerStats(options.scope);
    this.stats.clusterAdded.add(settings.length);
    this.noteCounts();
  }

  /** Plain data for each worker's `workerData`. */
  get shared(): SharedUpstream {
    const entries = [...this.active.values()].flatMap(({ config, resources }) =>
      resources === null ? [] : [[config.name, resources] as const],
    );
    return { resources: Object.fromEntries(entries) };
  }

  /**
   * Starts looking. The listener gets each cluster's hosts, and changes of their health alone, when they changed, and clusters that came and
   * went: post it to every worker. Resolves when all clusters that are to be waited for (`wait_for_warm_on_init`) have a first result, good or
   * bad.
   */
  async start(told: Pick<DiscoveryListener, 'onHosts'> & Partial<DiscoveryListener>): Promise<void> {
    const listener = { onHealth() {}, onClusters() {}, startHealthChecks: null, ...told };
    this.listener = listener;
    const warming = [...this.active.values()].map(({ cluster }) => {
      const warm = new Promise<void>((resolve) => cluster.start(listener, resolve, listener.startHealthChecks));
      return cluster.settings.waitForWarmOnInit ? warm : Promise.resolve();
    });
    await Promise.all(warming);
  }

  /**
   * Adds a cluster, or changes the one of its name: the new one is used, by workers too, when it has a first result, good or bad; the promise
   * resolves then, or when it has been overtaken. Null: it is the same as before. The configuration has been checked.
   */
  set(config: PlainCluster, addedViaApi: boolean): Promise<void> | null {
    const { name } = config;
    const current = this.warming.get(name) ?? this.active.get(name);
    if (current !== undefined && current.addedViaApi === addedViaApi && sameConfig(current.config, config)) return null;
    const known = this.active.has(name);
    const managed = this.manage(config, parseCluster(config, '', this.options.upstreamBindConfig), addedViaApi);
    this.stopWarming(name);
    this.warming.set(name, managed);
    (known ? this.stats.clusterModified : this.stats.clusterAdded).inc();
    this.noteCounts();
    return new Promise((resolve) => {
      managed.abandoned = resolve;
      let warm = false;
      const activate = (): void => {
        // Hosts of before belong to the old one.
        if (warm) return;
        warm = true;
        if (this.warming.get(name) === managed) this.activate(managed);
        resolve();
      };
      const ifActive =
        <U>(tell: (update: U) => void) =>
        (update: U): void => {
          if (this.active.get(name) === managed) tell(update);
        };
      const { onHosts, onHealth } = this.listener;
      managed.cluster.start(
        { onHosts: ifActive(onHosts), onHealth: ifActive(onHealth) },
        activate,
        this.listener.startHealthChecks,
      );
    });
  }

  /** False: there is none. */
  remove(name: string): boolean {
    const warming = this.stopWarming(name);
    const managed = this.active.get(name);
    if (managed !== undefined) {
      this.active.delete(name);
      managed.cluster.close();
      managed.cluster.noteGone();
      this.listener.onClusters({ set: [], remove: [name] });
    }
    if (managed === undefined && !warming) return false;
    this.stats.clusterRemoved.inc();
    this.noteCounts();
    return true;
  }

  get(name: string): ManagedCluster | undefined {
    return this.active.get(name);
  }

  /** Names of active and warming ones. */
  names(): string[] {
    return [...new Set([...this.active.keys(), ...this.warming.keys()])];
  }

  /** Configurations, for workers that start. */
  configs(): PlainCluster[] {
    return [...this.active.values()].map(({ config }) => config);
  }

  warmingConfigs(): PlainCluster[] {
    return [...this.warming.values()].map(({ config }) => config);
  }

  /** The hosts of all clusters now: for a worker that starts. */
  current(): HostUpdate[] {
    return [...this.active.values()]
      .filter(({ cluster }) => cluster.settings.type !== 'ORIGINAL_DST')
      .map(({ cluster }) => cluster.current());
  }

  /** For admin's /clusters. */
  status(): ClusterStatus[] {
    return [...this.active.values()].map(({ cluster, addedViaApi }) => ({ ...cluster.status(), addedViaApi }));
  }

  /** What a worker saw of a host. */
  onHostEvent(event: HostEvent): void {
    this.active.get(event.cluster)?.cluster.onHostEvent(event);
  }

  /** Admin's /reset_counters, as far as hosts are concerned. */
  resetHostCounters(): void {
    for (const { cluster } of this.active.values()) {
      for (const host of cluster.current().hosts) if (host.stats !== undefined) resetHostCounters(host.stats);
    }
  }

  close(): void {
    for (const { cluster } of [...this.active.values(), ...this.warming.values()]) cluster.close();
  }

  private activate(managed: ManagedCluster): void {
    const { config, cluster, resources } = managed;
    this.warming.delete(config.name);
    this.active.get(config.name)?.cluster.close();
    this.active.set(config.name, managed);
    this.listener.onClusters({ set: [{ config, resources, hosts: cluster.current() }], remove: [] });
    this.noteCounts();
  }

  private stopWarming(name: string): boolean {
    const warming = this.warming.get(name) as (ManagedCluster & { abandoned?: () => void }) | undefined;
    if (warming === undefined) return false;
    this.warming.delete(name);
    warming.cluster.close();
    warming.abandoned?.();
    return true;
  }

  private manage(
    config: PlainCluster,
    settings: ClusterSettings,
    addedViaApi: boolean,
  ): ManagedCluster & { abandoned?: () => void } {
    const { options } = this;
    const scope = options.scope.scope(clusterStatPrefix(settings.observabilityName));
    const stats = new ClusterStats(scope);
    const usesDns = settings.type === 'STRICT_DNS' || settings.type === 'LOGICAL_DNS';
    const resolver = usesDns ? (options.createDnsResolver ?? createDnsResolver)(settings.dns) : null;
    return {
      config,
      cluster: new DiscoveredCluster(settings, stats, this.environment, resolver, scope),
      // One worker alone needs no shared counts.
      resources: options.workers === 1 ? null : createSharedResources(),
      addedViaApi,
    };
  }

  private noteCounts(): void {
    this.stats.activeClusters.set(this.active.size);
    this.stats.warmingClusters.set(this.warming.size);
  }
}

interface ClusterManagerStats {
  readonly clusterAdded: Counter;
  readonly clusterModified: Counter;
  readonly clusterRemoved: Counter;
  readonly activeClusters: Gauge;
  readonly warmingClusters: Gauge;
}

function clusterManagerStats(scope: Scope): ClusterManagerStats {
  const manager = scope.scope('cluster_manager.');
  for (const name of ['cluster_updated', 'cluster_updated_via_merge', 'update_merge_cancelled', 'update_out_of_merge_window'])
    manager.counter(name);
  return {
    clusterAdded: manager.counter('cluster_added'),
    clusterModified: manager.counter('cluster_modified'),
    clusterRemoved: manager.counter('cluster_removed'),
    activeClusters: manager.gauge('active_clusters'),
    warmingClusters: manager.gauge('warming_clusters'),
  };
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
