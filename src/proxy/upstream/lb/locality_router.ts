/** Which locality's hosts a request goes to: by configured weights, or to the own one first; see the two implementations. */
import type { HostImpl } from '../host.ts';
import type { HostSet, PrioritySet } from '../priority_set.ts';
import type { LoadBalancerEnvironment } from './load_balancer.ts';
import { LocalityWeightedRouter } from './locality_weighted.ts';
import { ZoneAwareRouter } from './zone_aware.ts';

export interface LocalityRouter {
  /** The hosts changed. Returns every list that `hosts` may give until the next update. */
  update(set: PrioritySet): Iterable<readonly HostImpl[]>;
  /** The list to choose from; null: localities do not matter for this request. */
  hosts(priority: number, degraded: boolean): readonly HostImpl[] | null;
}

/** Null: localities never matter. `isInPanic` tells about this proxy's own cluster. */
export function createLocalityRouter(
  environment: LoadBalancerEnvironment,
  isInPanic: (set: HostSet) => boolean,
): LocalityRouter | null {
  const { locality } = environment.settings;
  if (locality.weighted) return new LocalityWeightedRouter(environment);
  return environment.hasLocalCluster ? new ZoneAwareRouter(environment, isInPanic) : null;
}
