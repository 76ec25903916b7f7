/** The hosts of a cluster by priority, split by health, as balancers read them (Envoy's PrioritySet and HostSet). Replaced as a whole. */
import { HostHealth, isExcluded } from './health_flags.ts';
import type { HostImpl } from './host.ts';

export interface HostSet {
  readonly hosts: readonly HostImpl[];
  readonly healthyHosts: readonly HostImpl[];
  readonly degradedHosts: readonly HostImpl[];
  /** Neither healthy nor counted as a host when loads and panic are computed. */
  readonly excludedHosts: readonly HostImpl[];
  /** By `localityKey`, where they are others than the hosts say. */
  readonly localityWeights?: ReadonlyMap<string, number>;
}

export interface PrioritySet {
  /** Every priority up to the highest has a set, which may be empty; there is at least one. */
  readonly sets: readonly HostSet[];
  readonly hosts: readonly HostImpl[];
}

/** With at least `least` priorities. */
export function prioritySetOf(hosts: readonly HostImpl[], least = 1): PrioritySet {
  let highest = least - 1;
  for (const host of hosts) highest = Math.max(highest, host.priority);
  const sets = Array.from({ length: highest + 1 }, (_, priority): HostSet => {
    const all = hosts.filter((host) => host.priority === priority);
    const healthy = all.filter((host) => host.health === HostHealth.Healthy);
    return {
      hosts: all,
      // The same array when all are healthy, so that a balancer keeps one schedule for both.
      healthyHosts: healthy.length === all.length ? all : healthy,
      degradedHosts: all.filter((host) => host.health === HostHealth.Degraded),
      excludedHosts: all.filter((host) => isExcluded(host.healthFlags)),
    };
  });
  return { sets, hosts };
}
