/**
 * `envoy.clusters.aggregate` (Envoy: source/extensions/clusters/aggregate): the priorities of its clusters one after the other as if they were
 * one's; the chosen priority's cluster then chooses among its hosts by its own policy, with its own pools and circuit breakers. Retries,
 * timeouts and request statistics are the aggregate's.
 *
 * Clusters that are not there now, and aggregates within aggregates, have no hosts. The overprovisioning factor is the default for all.
 */
import type { ClusterInfoImpl } from './cluster_info.ts';
import type { HostImpl } from './host.ts';
import { type LoadBalancer, type LoadBalancerEnvironment, PriorityLoads } from './lb/load_balancer.ts';
import { type PriorityAvailability, type PriorityLoad, priorityOfShare } from './lb/priority_load.ts';
import type { HostSet, PrioritySet } from './priority_set.ts';
import { ThreadLocalClusterImpl } from './thread_local_cluster.ts';
import type { Host, HttpConnectionPool, LoadBalancerContext, ResourcePriority, TcpConnectionPool } from './upstream.ts';
import type { UpstreamContext } from './upstream_context.ts';

/** A priority of one of the clusters. */
interface Place {
  readonly cluster: ThreadLocalClusterImpl;
  readonly priority: number;
}

export class AggregateCluster extends ThreadLocalClusterImpl {
  private readonly members: readonly string[];
  private readonly find: (name: string) => ThreadLocalClusterImpl | null;
  private readonly random: () => number;
  private readonly loads: PriorityLoads;
  private readonly chosen = new ChosenPriority();
  /** The members' hosts when `places` was made. */
  private seen: (PrioritySet | null)[] = [];
  private places: readonly Place[] = [];
  private priorities = new Map<Host, number>();

  constructor(
    info: ClusterInfoImpl,
    context: UpstreamContext,
    environment: LoadBalancerEnvironment,
    find: (name: string) => ThreadLocalClusterImpl | null,
  ) {
    super(info, context, NO_BALANCER);
    this.members = info.settings.aggregate;
    this.find = find;
    this.random = environment.random;
    this.loads = new PriorityLoads(environment);
  }

  override httpConnPool(priority: ResourcePriority, context: LoadBalancerContext | null): HttpConnectionPool | null {
    const cluster = this.choose(context);
    return cluster === null ? null : cluster.httpConnPool(priority, this.chosen);
  }

  override tcpConnPool(priority: ResourcePriority, context: LoadBalancerContext | null): TcpConnectionPool | null {
    const cluster = this.choose(context);
    return cluster === null ? null : cluster.tcpConnPool(priority, this.chosen);
  }

  /** Leaves the context for the cluster's own choice in `chosen`. */
  private choose(context: LoadBalancerContext | null): ThreadLocalClusterImpl | null {
    this.refresh();
    if (this.places.length === 0) {
      this.info.stats.upstreamCxNoneHealthy.inc();
      return null;
    }
    const { loads } = this;
    const load = context === null ? loads.load : context.determinePriorityLoad(loads.load, loads.availability, this.priorityOf);
    const share = load.healthy[0] < 100 ? priorityOfShare(load, (this.random() >>> 0) % 100) : 0;
    const degraded = share >= load.healthy.length;
    const place = this.places[degraded ? share - load.healthy.length : share];
    this.chosen.set(context, place.priority, degraded);
    return place.cluster;
  }

  private readonly priorityOf = (host: Host): number | null => this.priorities.get(host) ?? null;

  /** Looks whether members came, went or have other hosts. */
  private refresh(): void {
    const { members, seen } = this;
    let same = !this.loads.stale && seen.length === members.length;
    for (let i = 0; same && i < members.length; i++) same = (this.find(members[i])?.prioritySet ?? null) === seen[i];
    if (same) return;
    const sets: HostSet[] = [];
    const places: Place[] = [];
    this.priorities = new Map();
    this.seen = members.map((name) => {
      const cluster = this.find(name);
      if (cluster === null) return null;
      cluster.prioritySet.sets.forEach((set, priority) => {
        if (set.hosts.length === 0) return;
        for (const host of set.hosts) this.priorities.set(host, sets.length);
        sets.push(set);
        places.push({ cluster, priority });
      });
      return cluster.prioritySet;
    });
    this.places = places;
    if (sets.length > 0) this.loads.update({ sets, hosts: sets.flatMap((set) => set.hosts) });
  }
}

/** The request's context for the chosen cluster, which has to take the chosen priority. Used again for every request. */
class ChosenPriority implements LoadBalancerContext {
  private context: LoadBalancerContext | null = null;
  private priority = 0;
  private degraded = false;

  set(context: LoadBalancerContext | null, priority: number, degraded: boolean): void {
    this.context = context;
    this.priority = priority;
    this.degraded = degraded;
  }

  computeHashKey(): ReturnType<LoadBalancerContext['computeHashKey']> {
    return this.context === null ? null : this.context.computeHashKey();
  }

  metadataMatch(): Record<string, unknown> | null {
    return this.context === null ? null : this.context.metadataMatch();
  }

  downstreamConnection(): ReturnType<LoadBalancerContext['downstreamConnection']> {
    return this.context === null ? null : this.context.downstreamConnection();
  }

  downstreamHeaders(): ReturnType<LoadBalancerContext['downstreamHeaders']> {
    return this.context === null ? null : this.context.downstreamHeaders();
  }

  shouldSelectAnotherHost(host: Host): boolean {
    return this.context?.shouldSelectAnotherHost(host) ?? false;
  }

  hostSelectionRetryCount(): number {
    return this.context === null ? 0 : this.context.hostSelectionRetryCount();
  }

  determinePriorityLoad(load: PriorityLoad, _availability: PriorityAvailability): PriorityLoad {
    const { priority, degraded } = this;
    if (priority >= load.healthy.length) return load;
    const whole = load.healthy.map((_, p) => (p === priority ? 100 : 0));
    const nothing = load.healthy.map(() => 0);
    return { healthy: degraded ? nothing : whole, degraded: degraded ? whole : nothing, panic: load.panic };
  }
}

const NO_BALANCER: LoadBalancer = {
  chooseHost: (): HostImpl | null => null,
  update: () => {},
};
