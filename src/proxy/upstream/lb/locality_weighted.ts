/**
 * `locality_weighted_lb_config`: localities are taken in proportion to weight x availability, where availability is
 * min(1, overprovisioning factor x healthy share) (Envoy: HostSetImpl::effectiveLocalityWeight). A locality without a weight gets nothing;
 * when none of a priority has one, localities do not matter.
 */
import type { HostImpl } from '../host.ts';
import type { PrioritySet } from '../priority_set.ts';
import { EdfScheduler } from './edf_scheduler.ts';
import type { LoadBalancerEnvironment } from './load_balancer.ts';
import { splitByLocality } from './locality_hosts.ts';
import type { LocalityRouter } from './locality_router.ts';

interface Entry {
  readonly weight: number;
  readonly hosts: readonly HostImpl[];
}

interface Schedules {
  readonly healthy: EdfScheduler<Entry> | null;
  readonly degraded: EdfScheduler<Entry> | null;
}

export class LocalityWeightedRouter implements LocalityRouter {
  private readonly environment: LoadBalancerEnvironment;
  private schedules: readonly Schedules[] = [];

  constructor(environment: LoadBalancerEnvironment) {
    this.environment = environment;
  }

  update(set: PrioritySet): Iterable<readonly HostImpl[]> {
    const lists: (readonly HostImpl[])[] = [];
    const { settings, random } = this.environment;
    const schedule = (entries: Entry[]): EdfScheduler<Entry> | null => {
      if (entries.length === 0) return null;
      const edf = new EdfScheduler<Entry>();
      for (const entry of entries) {
        edf.add(entry.weight, entry);
        lists.push(entry.hosts);
      }
      // Workers start at different places of the schedule.
      for (let i = (random() >>> 0) % entries.length; i > 0; i--) edf.pickAndAdd(weightOf);
      return edf;
    };
    this.schedules = set.sets.map((hosts) => {
      const { localities } = splitByLocality(hosts, this.environment.localLocality);
      const entries = (kind: 'healthyHosts' | 'degradedHosts'): Entry[] =>
        localities.flatMap((locality) => {
          if (locality.counted === 0) return [];
          const available = (settings.overprovisioningFactor / 100) * (locality[kind].length / locality.counted);
          const weight = locality.weight * Math.min(1, available);
          return weight > 0 ? [{ weight, hosts: locality[kind] }] : [];
        });
      return { healthy: schedule(entries('healthyHosts')), degraded: schedule(entries('degradedHosts')) };
    });
    return lists;
  }

  hosts(priority: number, degraded: boolean): readonly HostImpl[] | null {
    const schedules = this.schedules[priority];
    const edf = degraded ? schedules.degraded : schedules.healthy;
    return edf === null ? null : (edf.pickAndAdd(weightOf) as Entry).hosts;
  }
}

const weightOf = (entry: Entry): number => entry.weight;
