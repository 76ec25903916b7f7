/**
 * The hosts of a priority with their shares of it, which sum up to 1: what rings and tables are built from (Envoy: normalizeWeights in
 * thread_aware_lb_impl.cc). With locality weights a host's share is that of its locality times its own within it.
 */
import { byteText } from '../../common/byte_text.ts';
import type { Locality } from '../endpoint_config.ts';
import type { HostImpl } from '../host.ts';
import type { HostSet } from '../priority_set.ts';
import { splitByLocality } from './locality_hosts.ts';

export interface HostWeights {
  readonly hosts: readonly HostImpl[];
  readonly weights: readonly number[];
  /** What each host is hashed by, one character per byte. */
  readonly keys: readonly string[];
  readonly byHost: ReadonlyMap<HostImpl, number>;
  readonly min: number;
  readonly max: number;
}

export interface HostWeightOptions {
  /** All hosts, instead of the healthy ones. */
  readonly panic: boolean;
  readonly localityWeighted: boolean;
  readonly localLocality: Locality | null;
  readonly useHostname: boolean;
}

export function hostWeights(set: HostSet, options: HostWeightOptions): HostWeights {
  const byHost = new Map<HostImpl, number>();
  if (options.localityWeighted && set.localityWeights?.size !== 0) addLocalities(set, options, byHost);
  else addHosts(options.panic ? set.hosts : set.healthyHosts, 1, byHost);
  const hosts = [...byHost.keys()];
  const weights = [...byHost.values()];
  return {
    hosts,
    weights,
    keys: hosts.map((host) => hashKey(host, options.useHostname)),
    byHost,
    min: weights.reduce((min, weight) => Math.min(min, weight), 1),
    max: weights.reduce((max, weight) => Math.max(max, weight), 0),
  };
}

/** Whether a ring of `a` is a ring of `b`. */
export function sameWeights(a: HostWeights, b: HostWeights): boolean {
  return (
    a.hosts.length === b.hosts.length &&
    a.hosts.every((host, i) => host === b.hosts[i] && a.weights[i] === b.weights[i] && a.keys[i] === b.keys[i])
  );
}

/** `envoy.lb` `hash_key` of the host's metadata, else its hostname or address. */
function hashKey(host: HostImpl, useHostname: boolean): string {
  const key = host.metadata['envoy.lb']?.hash_key;
  if (typeof key === 'string' && key !== '') return byteText(key);
  return byteText(useHostname && host.hostname !== '' ? host.hostname : host.address.asString);
}

function addHosts(hosts: readonly HostImpl[], share: number, byHost: Map<HostImpl, number>): void {
  let sum = 0;
  for (const host of hosts) sum += host.weight;
  for (const host of hosts) byHost.set(host, (host.weight * share) / sum);
}

function addLocalities(set: HostSet, options: HostWeightOptions, byHost: Map<HostImpl, number>): void {
  const { localities } = splitByLocality(set, options.localLocality);
  const sum = localities.reduce((total, locality) => total + locality.weight, 0);
  for (const locality of localities) {
    if (locality.weight === 0) continue;
    addHosts(options.panic ? locality.hosts : locality.healthyHosts, locality.weight / sum, byHost);
  }
}
