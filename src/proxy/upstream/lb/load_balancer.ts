/**
 * Choosing a host (Envoy: source/extensions/load_balancing_policies/common/load_balancer_impl.cc): a priority by load, its healthy,
 * degraded or (in panic) all hosts, or those of one locality, then one of them by policy; again while the context does not like the choice.
 */
import type { Scope } from '../../../core/stats/stats.ts';
import type { Runtime, RuntimeSnapshot } from '../../runtime/runtime.ts';
import type { LbSettings } from '../cluster_config_lb.ts';
import type { ClusterStats } from '../cluster_stats.ts';
import type { Locality } from '../endpoint_config.ts';
import type { HostImpl } from '../host.ts';
import type { PrioritySet } from '../priority_set.ts';
import type { LoadBalancerContext } from '../upstream.ts';
import { createLocalityRouter, type LocalityRouter } from './locality_router.ts';
import {
  computePriorityLoad,
  isInPanic,
  type PriorityAvailability,
  type PriorityLoad,
  priorityAvailability,
  priorityOfShare,
} from './priority_load.ts';

export interface LoadBalancer {
  chooseHost(context: LoadBalancerContext | null): HostImpl | null;
  /** The hosts changed. */
  update(set: PrioritySet): void;
  close?(): void;
}

export interface LoadBalancerEnvironment {
  readonly settings: LbSettings;
  /** Of the cluster. */
  readonly stats: ClusterStats;
  readonly scope: Scope;
  /** A random 32-bit number. */
  random(): number;
  readonly runtime: Runtime | null;
  /** Monotonic. */
  nowMs(): number;
  /** Runs `callback` in a later turn of the loop; what it returns takes it back. */
  defer(callback: () => void): () => void;
  /** Requests of the cluster that are under way, on all workers. */
  activeRequests(): number;
  /** Gauges are set by one worker for all. */
  readonly setsGauges: boolean;
  /** Where this proxy is (`node.locality`). */
  readonly localLocality: Locality | null;
  /** `cluster_manager.local_cluster_name` names this proxy's own fleet. */
  readonly hasLocalCluster: boolean;
  /** The fleet's hosts; null: there is none. The same object until they change. */
  localCluster(): PrioritySet | null;
}

export const NO_HOSTS: readonly HostImpl[] = [];

const EMPTY_SET: PrioritySet = { sets: [{ hosts: [], healthyHosts: [], degradedHosts: [], excludedHosts: [] }], hosts: [] };

/** The load of each priority, computed anew when hosts or runtime's panic threshold change. */
export class PriorityLoads {
  set: PrioritySet = EMPTY_SET;
  load: PriorityLoad = { healthy: [100], degraded: [0], panic: [false] };
  availability: PriorityAvailability = { healthy: [0], degraded: [0] };
  private readonly environment: LoadBalancerEnvironment;
  private threshold = -1;
  private snapshot: RuntimeSnapshot | null = null;
  private runtimeThreshold = 0;

  constructor(environment: LoadBalancerEnvironment) {
    this.environment = environment;
  }

  update(set: PrioritySet): void {
    this.set = set;
    this.threshold = this.panicThreshold();
    const { overprovisioningFactor, weightedPriorityHealth } = this.environment.settings;
    const options = { overprovisioningFactor, weightedPriorityHealth, panicThreshold: this.threshold };
    this.availability = priorityAvailability(set.sets, options);
    this.load = computePriorityLoad(set.sets, options);
  }

  /** Runtime changed the panic threshold since the last update. */
  get stale(): boolean {
    return this.threshold !== this.panicThreshold();
  }

  /** The load for this request: that of the priorities, or what the request makes of it (retries). */
  loadFor(context: LoadBalancerContext | null): PriorityLoad {
    return context === null ? this.load : context.determinePriorityLoad(this.load, this.availability, priorityOfHost);
  }

  /** Looked up once per runtime snapshot. */
  panicThreshold(): number {
    const { runtime, settings } = this.environment;
    if (runtime === null) return settings.healthyPanicThreshold;
    const snapshot = runtime.snapshot;
    if (snapshot !== this.snapshot) {
      this.snapshot = snapshot;
      this.runtimeThreshold = Math.min(
        100,
        snapshot.getInteger('upstream.healthy_panic_threshold', settings.healthyPanicThreshold),
      );
    }
    return this.runtimeThreshold;
  }
}

const priorityOfHost = (host: { readonly priority: number }): number | null => host.priority;

/** What round robin, least request and random share. A subclass picks from a non-empty list that stays the same array until the next update. */
export abstract class LoadBalancerBase implements LoadBalancer {
  protected readonly environment: LoadBalancerEnvironment;
  private readonly loads: PriorityLoads;
  private readonly localities: LocalityRouter | null;
  private onlyHost: HostImpl | null = null;

  constructor(environment: LoadBalancerEnvironment) {
    this.environment = environment;
    this.loads = new PriorityLoads(environment);
    this.localities = createLocalityRouter(environment, (set) => isInPanic(set, this.loads.panicThreshold()));
  }

  update(set: PrioritySet): void {
    this.loads.update(set);
    const first = set.sets[0];
    const single = set.sets.length === 1 && first.hosts.length === 1 && first.healthyHosts.length === 1;
    this.onlyHost = single ? first.hosts[0] : null;
    for (const hosts of set.sets) {
      this.prepare(hosts.hosts);
      if (hosts.healthyHosts !== hosts.hosts) this.prepare(hosts.healthyHosts);
      this.prepare(hosts.degradedHosts);
    }
    if (this.localities !== null) for (const hosts of this.localities.update(set)) this.prepare(hosts);
  }

  chooseHost(context: LoadBalancerContext | null): HostImpl | null {
    if (this.onlyHost !== null) return this.onlyHost;
    if (context === null) return this.chooseHostOnce(null);
    let host: HostImpl | null = null;
    for (let attempt = context.hostSelectionRetryCount(); attempt >= 0; attempt--) {
      host = this.chooseHostOnce(context);
      if (host === null || !context.shouldSelectAnotherHost(host)) return host;
    }
    return host;
  }

  /** Called for each list after `update`, before any `pick` of it. */
  protected abstract prepare(hosts: readonly HostImpl[]): void;
  protected abstract pick(hosts: readonly HostImpl[]): HostImpl;

  private chooseHostOnce(context: LoadBalancerContext | null): HostImpl | null {
    if (this.loads.stale) this.update(this.loads.set);
    const hosts = this.hostsToUse(context);
    return hosts.length === 0 ? null : this.pick(hosts);
  }

  private hostsToUse(context: LoadBalancerContext | null): readonly HostImpl[] {
    const { loads } = this;
    const load = loads.loadFor(context);
    let share = 0;
    // Both kinds of shares in one number: priorities of healthy hosts, then those of degraded ones.
    if (load.healthy[0] < 100) share = priorityOfShare(load, (this.environment.random() >>> 0) % 100);
    const degraded = share >= load.healthy.length;
    const priority = degraded ? share - load.healthy.length : share;
    const set = loads.set.sets[priority];
    const { locality } = this.environment.settings;
    if (load.panic[priority]) {
      this.environment.stats.lbHealthyPanic.inc();
      return locality.failTrafficOnPanic ? NO_HOSTS : set.hosts;
    }
    if (this.localities !== null) {
      const hosts = this.localities.hosts(priority, degraded);
      if (hosts !== null) return hosts;
    }
    return degraded ? set.degradedHosts : set.healthyHosts;
  }
}
