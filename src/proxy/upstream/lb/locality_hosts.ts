/** The hosts of one priority split by locality (Envoy's HostsPerLocality): this proxy's own locality first, then by name. */
import type { Locality } from '../endpoint_config.ts';
import { HostHealth, isExcluded } from '../health_flags.ts';
import type { HostImpl } from '../host.ts';
import type { HostSet } from '../priority_set.ts';

export interface LocalityHosts {
  readonly key: string;
  /** `load_balancing_weight` of the locality; 0 when it has none. */
  readonly weight: number;
  readonly hosts: readonly HostImpl[];
  readonly healthyHosts: readonly HostImpl[];
  readonly degradedHosts: readonly HostImpl[];
  /** Hosts that are not excluded. */
  readonly counted: number;
}

export interface HostsPerLocality {
  readonly localities: readonly LocalityHosts[];
  /** The first one is this proxy's own. */
  readonly hasLocal: boolean;
}

export function localityKey(locality: Locality): string {
  return `${locality.region}\0${locality.zone}\0${locality.subZone}`;
}

export function isUnknownLocality(locality: Locality): boolean {
  return locality.region === '' && locality.zone === '' && locality.subZone === '';
}

export function splitByLocality(set: HostSet, local: Locality | null): HostsPerLocality {
  const byKey = new Map<string, HostImpl[]>();
  for (const host of set.hosts) {
    const key = localityKey(host.locality);
    const group = byKey.get(key);
    if (group === undefined) byKey.set(key, [host]);
    else group.push(host);
  }
  const keys = [...byKey.keys()].sort();
  const at = local === null || isUnknownLocality(local) ? -1 : keys.indexOf(localityKey(local));
  if (at > 0) keys.unshift(...keys.splice(at, 1));
  const localities = keys.map((key): LocalityHosts => {
    const hosts = byKey.get(key) ?? [];
    const healthy = hosts.filter((host) => host.health === HostHealth.Healthy);
    return {
      key,
      weight: (set.localityWeights === undefined ? hosts[0]?.localityWeight : set.localityWeights.get(key)) ?? 0,
      hosts,
      healthyHosts: healthy.length === hosts.length ? hosts : healthy,
      degradedHosts: hosts.filter((host) => host.health === HostHealth.Degraded),
      counted: hosts.filter((host) => !isExcluded(host.healthFlags)).length,
    };
  });
  return { localities, hasLocal: at >= 0 };
}
