/**
 * Balancing within subsets of the hosts (Envoy: SubsetLoadBalancer): each selector makes a subset of the hosts with the same values for its
 * keys, in metadata `envoy.lb`; a request goes to the subset that the route's `metadata_match` names, else by the fallback policy of
 * the selector or of all. Each subset has a balancer of the cluster's policy, with all the cluster's priorities.
 */
import type { Gauge } from '../../../core/stats/stats.ts';
import type { SubsetFallback, SubsetSettings } from '../cluster_config_subset.ts';
import type { HostImpl } from '../host.ts';
import { type HostSet, type PrioritySet, prioritySetOf } from '../priority_set.ts';
import type { LoadBalancerContext } from '../upstream.ts';
import type { LoadBalancer, LoadBalancerEnvironment } from './load_balancer.ts';
import { splitByLocality } from './locality_hosts.ts';
import { type Criteria, compileCriteria, hasLabels, hostSubsetKeys } from './subset_criteria.ts';

interface Subset {
  hosts: HostImpl[];
  readonly balancer: LoadBalancer;
}

const NO_CRITERIA = {};
const NO_WEIGHTS: ReadonlyMap<string, number> = new Map();

export class SubsetLoadBalancer implements LoadBalancer {
  private readonly environment: LoadBalancerEnvironment;
  private readonly settings: SubsetSettings;
  private readonly create: (environment: LoadBalancerEnvironment) => LoadBalancer;
  private readonly inner: LoadBalancerEnvironment;
  private readonly subsets = new Map<string, Subset>();
  /** All hosts, and those of `default_subset`; null where no fallback asks for them. */
  private readonly any: Subset | null;
  private readonly defaults: Subset | null;
  private readonly compiled = new WeakMap<object, readonly Criteria[]>();
  private readonly duplicates: Gauge | null;

  /** `create` makes the balancer of a subset. */
  constructor(
    environment: LoadBalancerEnvironment,
    settings: SubsetSettings,
    create: (environment: LoadBalancerEnvironment) => LoadBalancer,
  ) {
    this.environment = environment;
    this.settings = settings;
    this.create = create;
    this.inner = { ...environment, settings: { ...environment.settings, subset: null } };
    const wanted = (fallback: SubsetFallback): boolean =>
      settings.fallback === fallback || settings.selectors.some((selector) => selector.fallback === fallback);
    this.any = wanted('ANY_ENDPOINT') || settings.panicModeAny ? this.newSubset() : null;
    this.defaults = wanted('DEFAULT_SUBSET') ? this.newSubset() : null;
    this.duplicates = environment.setsGauges ? environment.scope.gauge('lb_subsets_single_host_per_subset_duplicate') : null;
  }

  update(set: PrioritySet): void {
    for (const subset of this.subsets.values()) subset.hosts = [];
    if (this.any !== null) this.any.hosts = [...set.hosts];
    if (this.defaults !== null) this.defaults.hosts = set.hosts.filter((host) => this.isDefault(host));
    let duplicates = 0;
    for (const host of set.hosts) {
      for (const { keys, singleHost } of this.settings.selectors) {
        for (const key of hostSubsetKeys(host.metadata['envoy.lb'], keys, this.settings.listAsAny)) {
          const { hosts } = this.subsets.get(key) ?? this.addSubset(key);
          if (hosts.includes(host)) continue;
          if (singleHost && hosts.some(({ priority }) => priority === host.priority)) duplicates++;
          else hosts.push(host);
        }
      }
    }
    this.duplicates?.set(duplicates);
    for (const [key, subset] of this.subsets) if (subset.hosts.length === 0) this.removeSubset(key, subset);
    const weights = this.localityWeights(set);
    for (const subset of [this.any, this.defaults, ...this.subsets.values()]) {
      subset?.balancer.update(subsetOf(subset.hosts, set, weights));
    }
  }

  chooseHost(context: LoadBalancerContext | null): HostImpl | null {
    const attempts = this.criteriaOf(context);
    for (let i = 0; i < attempts.length; i++) {
      const host = this.chooseBy(attempts[i], context);
      if (host !== null) return host;
    }
    return null;
  }

  close(): void {
    for (const subset of [this.any, this.defaults, ...this.subsets.values()]) subset?.balancer.close?.();
  }

  private criteriaOf(context: LoadBalancerContext | null): readonly Criteria[] {
    const match = context === null ? null : context.metadataMatch();
    const of = match ?? NO_CRITERIA;
    let criteria = this.compiled.get(of);
    if (criteria === undefined) {
      criteria = compileCriteria(match, this.settings);
      this.compiled.set(of, criteria);
    }
    return criteria;
  }

  private chooseBy(criteria: Criteria, context: LoadBalancerContext | null): HostImpl | null {
    const { stats } = this.environment;
    const subset = criteria.key === '' ? undefined : this.subsets.get(criteria.key);
    if (subset !== undefined) {
      stats.lbSubsetsSelected.inc();
      return subset.balancer.chooseHost(context);
    }
    const fallback = criteria.selector === null ? 'NOT_DEFINED' : criteria.selector.fallback;
    if (fallback === 'KEYS_SUBSET') return this.chooseBy(criteria.reduced as Criteria, context);
    if (fallback !== 'NOT_DEFINED') return this.fallbackSubset(fallback)?.balancer.chooseHost(context) ?? null;
    const others = this.fallbackSubset(this.settings.fallback);
    if (others === null) return null;
    const host = others.balancer.chooseHost(context);
    if (host !== null) {
      stats.lbSubsetsFallback.inc();
      return host;
    }
    if (!this.settings.panicModeAny || this.any === null) return null;
    const last = this.any.balancer.chooseHost(context);
    if (last !== null) stats.lbSubsetsFallbackPanic.inc();
    return last;
  }

  private fallbackSubset(fallback: SubsetFallback): Subset | null {
    if (fallback === 'NO_FALLBACK') return null;
    return fallback === 'ANY_ENDPOINT' ? this.any : this.defaults;
  }

  private isDefault(host: HostImpl): boolean {
    return hasLabels(host.metadata['envoy.lb'], this.settings.defaultSubset, this.settings.listAsAny);
  }

  private newSubset(): Subset {
    return { hosts: [], balancer: this.create(this.inner) };
  }

  private addSubset(key: string): Subset {
    const subset = this.newSubset();
    this.subsets.set(key, subset);
    if (this.environment.setsGauges) {
      this.environment.stats.lbSubsetsCreated.inc();
      this.environment.stats.lbSubsetsActive.inc();
    }
    return subset;
  }

  private removeSubset(key: string, subset: Subset): void {
    subset.balancer.close?.();
    this.subsets.delete(key);
    if (!this.environment.setsGauges) return;
    this.environment.stats.lbSubsetsRemoved.inc();
    this.environment.stats.lbSubsetsActive.dec();
  }

  /** By priority, what a subset's locality weights are, given its hosts of each locality. */
  private localityWeights(set: PrioritySet): (priority: number, hosts: HostSet) => HostSet {
    const { localityWeightAware, scaleLocalityWeight } = this.settings;
    if (!localityWeightAware) return (_priority, hosts) => ({ ...hosts, localityWeights: NO_WEIGHTS });
    if (!scaleLocalityWeight) return (_priority, hosts) => hosts;
    const all = set.sets.map(
      (hosts) => new Map(splitByLocality(hosts, null).localities.map((locality) => [locality.key, locality])),
    );
    return (priority, hosts) => {
      const weights = splitByLocality(hosts, null).localities.map(({ key, hosts: own }): [string, number] => {
        const whole = all[priority].get(key);
        return [key, whole === undefined ? 0 : Math.round((whole.weight * own.length) / whole.hosts.length)];
      });
      return { ...hosts, localityWeights: new Map(weights) };
    };
  }
}

/** With as many priorities as the cluster. */
function subsetOf(
  hosts: readonly HostImpl[],
  whole: PrioritySet,
  withWeights: (priority: number, hosts: HostSet) => HostSet,
): PrioritySet {
  const set = prioritySetOf(hosts, whole.sets.length);
  return { ...set, sets: set.sets.map((each, priority) => withWeights(priority, each)) };
}
