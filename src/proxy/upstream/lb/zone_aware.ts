/**
 * Zone-aware routing (Envoy: ZoneAwareLoadBalancerBase): requests stay in this proxy's own locality as far as its share of the upstream
 * hosts goes, given this locality's share of the proxies (`cluster_manager.local_cluster_name`); what is left over goes to the other
 * localities in proportion to the room they have. Priority 0 only.
 *
 * Shares are in hundredths of a percent. Runtime: `upstream.zone_routing.enabled`, `upstream.zone_routing.min_cluster_size`.
 */
import type { HostImpl } from '../host.ts';
import type { HostSet, PrioritySet } from '../priority_set.ts';
import { type LoadBalancerEnvironment, NO_HOSTS } from './load_balancer.ts';
import { type HostsPerLocality, splitByLocality } from './locality_hosts.ts';
import type { LocalityRouter } from './locality_router.ts';

const WHOLE = 10_000;

/** How traffic of priority 0 goes; null: without regard to localities. */
interface Routing {
  readonly upstream: HostsPerLocality;
  /** All of it stays here. */
  readonly direct: boolean;
  /** What share stays here otherwise. */
  readonly localShare: number;
  /** Room of each locality, summed up over those before. */
  readonly residual: readonly number[];
}

export class ZoneAwareRouter implements LocalityRouter {
  private readonly environment: LoadBalancerEnvironment;
  private readonly isInPanic: (set: HostSet) => boolean;
  private set: PrioritySet | null = null;
  private split: HostsPerLocality | null = null;
  private fleet: PrioritySet | null = null;
  private fleetInPanic = false;
  private minClusterSize = 0;
  private routing: Routing | null = null;

  constructor(environment: LoadBalancerEnvironment, isInPanic: (set: HostSet) => boolean) {
    this.environment = environment;
    this.isInPanic = isInPanic;
  }

  update(set: PrioritySet): Iterable<readonly HostImpl[]> {
    this.set = set;
    this.split = splitByLocality(set.sets[0], this.environment.localLocality);
    this.fleet = this.environment.localCluster();
    this.regenerate();
    return this.split.localities.flatMap((locality) => [locality.healthyHosts, locality.degradedHosts]);
  }

  hosts(priority: number, degraded: boolean): readonly HostImpl[] | null {
    if (priority !== 0) return null;
    const { environment } = this;
    const fleet = environment.localCluster();
    if (fleet !== this.fleet || this.minimumSize() !== this.minClusterSize) {
      this.fleet = fleet;
      this.regenerate();
    }
    const { routing } = this;
    if (routing === null || !this.enabled()) return null;
    if (this.fleetInPanic) {
      environment.stats.lbLocalClusterNotOk.inc();
      return environment.settings.locality.failTrafficOnPanic ? NO_HOSTS : null;
    }
    const chosen = routing.upstream.localities[this.choose(routing)];
    return degraded ? chosen.degradedHosts : chosen.healthyHosts;
  }

  private choose(routing: Routing): number {
    const { stats, random } = this.environment;
    if (routing.direct) {
      stats.lbZoneRoutingAllDirectly.inc();
      return 0;
    }
    if ((random() >>> 0) % WHOLE < routing.localShare) {
      stats.lbZoneRoutingSampled.inc();
      return 0;
    }
    stats.lbZoneRoutingCrossZone.inc();
    const { residual } = routing;
    const room = residual[residual.length - 1];
    if (room === 0) {
      stats.lbZoneNoCapacityLeft.inc();
      return (random() >>> 0) % residual.length;
    }
    const wanted = (random() >>> 0) % room;
    return residual.findIndex((upTo) => wanted < upTo);
  }

  private enabled(): boolean {
    const { settings, runtime, random } = this.environment;
    const percent = settings.locality.routingEnabled;
    const value = runtime === null ? percent : runtime.snapshot.getInteger('upstream.zone_routing.enabled', percent);
    return value >= 100 || (random() >>> 0) % 100 < value;
  }

  private minimumSize(): number {
    const { settings, runtime } = this.environment;
    const size = settings.locality.minClusterSize;
    return runtime === null ? size : runtime.snapshot.getInteger('upstream.zone_routing.min_cluster_size', size);
  }

  private regenerate(): void {
    const { environment, fleet, set, split } = this;
    this.minClusterSize = this.minimumSize();
    this.routing = null;
    if (fleet === null || set === null || split === null) return;
    environment.stats.lbRecalculateZoneStructures.inc();
    this.fleetInPanic = this.isInPanic(fleet.sets[0]);
    const proxies = splitByLocality(fleet.sets[0], environment.localLocality);
    if (this.cannotRoute(split, proxies, set.sets[0].healthyHosts.length)) return;
    this.routing = routingOf(split, proxies);
  }

  private cannotRoute(upstream: HostsPerLocality, proxies: HostsPerLocality, healthy: number): boolean {
    const { stats } = this.environment;
    if (upstream.localities.length < 2 || proxies.localities.length < 2) return true;
    if (!proxies.hasLocal || proxies.localities[0].hosts.length === 0) {
      stats.lbLocalClusterNotOk.inc();
      return true;
    }
    if (healthy < this.minClusterSize) {
      stats.lbZoneClusterTooSmall.inc();
      return true;
    }
    return false;
  }
}

function routingOf(upstream: HostsPerLocality, proxies: HostsPerLocality): Routing {
  const proxyCounts = new Map(proxies.localities.map((locality) => [locality.key, locality.healthyHosts.length]));
  const allProxies = [...proxyCounts.values()].reduce((a, b) => a + b, 0);
  const allHosts = upstream.localities.reduce((n, locality) => n + locality.healthyHosts.length, 0);
  const shares = upstream.localities.map(({ key, healthyHosts }) => ({
    proxies: share(healthyHosts.length === 0 ? 0 : (proxyCounts.get(key) ?? 0), allProxies),
    hosts: share(healthyHosts.length, allHosts),
  }));
  const own = shares[0];
  const direct = upstream.hasLocal && own.hosts > 0 && own.hosts >= own.proxies;
  const localShare = upstream.hasLocal && own.proxies > 0 ? Math.floor((own.hosts * WHOLE) / own.proxies) : 0;
  let room = 0;
  const residual = shares.map(({ proxies: taken, hosts }, i) => {
    if (!(i === 0 && upstream.hasLocal)) room += Math.max(0, hosts - taken);
    return room;
  });
  return { upstream, direct, localShare, residual };
}

function share(part: number, all: number): number {
  return all === 0 ? 0 : Math.floor((WHOLE * part) / all);
}
