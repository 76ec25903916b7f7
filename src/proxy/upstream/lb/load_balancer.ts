/**
 * Choosing a host (Envoy: source/common/upstream/load_balancer_impl.cc): a priority by load, its healthy, degraded or (in panic) all
 * hosts, then one of them by policy; again while the context does not like the choice.
 *
 * Left out: locality-aware choice, subsets, consistent hashing.
 */
import type { Counter } from '../../../core/stats/stats.ts';
import type { Runtime, RuntimeSnapshot } from '../../runtime/runtime.ts';
import type { LbSettings } from '../cluster_config_lb.ts';
import type { HostImpl } from '../host.ts';
import type { PrioritySet } from '../priority_set.ts';
import type { LoadBalancerContext } from '../upstream.ts';
import { computePriorityLoad, type PriorityLoad } from './priority_load.ts';

export interface LoadBalancer {
  chooseHost(context: LoadBalancerContext | null): HostImpl | null;
  /** The hosts changed. */
  update(set: PrioritySet): void;
  close?(): void;
}

export interface LoadBalancerEnvironment {
  readonly settings: LbSettings;
  /** `lb_healthy_panic`. */
  readonly healthyPanic: Counter;
  /** A random 32-bit number. */
  random(): number;
  readonly runtime: Runtime | null;
}

/** What every policy shares. A subclass picks from a non-empty list that stays the same array until the next update. */
export abstract class LoadBalancerBase implements LoadBalancer {
  protected readonly environment: LoadBalancerEnvironment;
  private set: PrioritySet = { sets: [{ hosts: [], healthyHosts: [], degradedHosts: [], excludedHosts: [] }], hosts: [] };
  private load: PriorityLoad = { healthy: [100], degraded: [0], panic: [false] };
  /** What the panic threshold was when `load` was computed. */
  private panicThreshold = -1;
  private onlyHost: HostImpl | null = null;
  private snapshot: RuntimeSnapshot | null = null;
  private runtimeThreshold = 0;

  constructor(environment: LoadBalancerEnvironment) {
    this.environment = environment;
  }

  update(set: PrioritySet): void {
    this.set = set;
    this.panicThreshold = this.currentPanicThreshold();
    const { overprovisioningFactor, weightedPriorityHealth } = this.environment.settings;
    this.load = computePriorityLoad(set.sets, {
      overprovisioningFactor,
      weightedPriorityHealth,
      panicThreshold: this.panicThreshold,
    });
    const first = set.sets[0];
    const single = set.sets.length === 1 && first.hosts.length === 1 && first.healthyHosts.length === 1;
    this.onlyHost = single ? first.hosts[0] : null;
    for (const hosts of set.sets) {
      this.prepare(hosts.hosts);
      if (hosts.healthyHosts !== hosts.hosts) this.prepare(hosts.healthyHosts);
      this.prepare(hosts.degradedHosts);
    }
  }

  chooseHost(context: LoadBalancerContext | null): HostImpl | null {
    if (this.onlyHost !== null) return this.onlyHost;
    if (context === null) return this.chooseHostOnce();
    let host: HostImpl | null = null;
    for (let attempt = context.hostSelectionRetryCount(); attempt >= 0; attempt--) {
      host = this.chooseHostOnce();
      if (host === null || !context.shouldSelectAnotherHost(host)) return host;
    }
    return host;
  }

  /** Called for each list after `update`, before any `pick` of it. */
  protected abstract prepare(hosts: readonly HostImpl[]): void;
  protected abstract pick(hosts: readonly HostImpl[]): HostImpl;

  private chooseHostOnce(): HostImpl | null {
    if (this.panicThreshold !== this.currentPanicThreshold()) this.update(this.set);
    const hosts = this.hostsToUse();
    return hosts.length === 0 ? null : this.pick(hosts);
  }

  private hostsToUse(): readonly HostImpl[] {
    const { healthy, degraded, panic } = this.load;
    const sets = this.set.sets;
    let priority = 0;
    let useDegraded = false;
    if (healthy[0] < 100) {
      const wanted = (this.environment.random() >>> 0) % 100;
      let share = 0;
      priority = -1;
      for (let p = 0; p < healthy.length && priority < 0; p++) if (wanted < (share += healthy[p])) priority = p;
      for (let p = 0; p < degraded.length && priority < 0; p++) {
        if (wanted < (share += degraded[p])) {
          priority = p;
          useDegraded = true;
        }
      }
      if (priority < 0) priority = 0;
    }
    if (panic[priority]) {
      this.environment.healthyPanic.inc();
      return sets[priority].hosts;
    }
    return useDegraded ? sets[priority].degradedHosts : sets[priority].healthyHosts;
  }

  /** Looked up once per runtime snapshot. */
  private currentPanicThreshold(): number {
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
