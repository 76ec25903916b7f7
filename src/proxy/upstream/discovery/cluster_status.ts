/** What admin's /clusters shows, as objects, text and JSON (Envoy: source/server/admin/clusters_handler.cc). */
import type { Address } from '../../network/address.ts';
import type { ClusterSettings, Thresholds } from '../cluster_config.ts';
import type { Locality } from '../endpoint_config.ts';
import { edsHealthFlags, healthFlagsText, healthStatusJson } from '../health_flags.ts';
import { HOST_STATS, type HostStatName, sumHostStat } from '../host_stats.ts';
import type { HostDescription } from '../host_update.ts';
import type { SuccessRates } from '../outlier/outlier_detector.ts';

export interface HostStatus {
  readonly address: Address;
  readonly hostname: string;
  readonly stats: Readonly<Record<HostStatName, number>>;
  /** `HealthFlag` bits. */
  readonly healthFlags: number;
  readonly weight: number;
  readonly locality: Locality;
  readonly canary: boolean;
  readonly priority: number;
  /** Percent; -1: unknown. */
  readonly successRate: HostRates;
}

/** Success rates by the origin of failures. */
export interface HostRates {
  readonly external: number;
  readonly local: number;
}

export const NO_RATES: HostRates = { external: -1, local: -1 };

export interface ClusterStatus {
  readonly name: string;
  readonly observabilityName: string;
  readonly addedViaApi: boolean;
  /** Default, then high priority. */
  readonly thresholds: readonly [Thresholds, Thresholds];
  readonly hosts: readonly HostStatus[];
  /** Null: no outlier detection. */
  readonly outlier: Readonly<Record<keyof HostRates, SuccessRates>> | null;
}

/** Hosts that only a worker knows (ORIGINAL_DST), as plain data it may send to main. */
export interface LocalHosts {
  readonly cluster: string;
  readonly hosts: readonly HostStatus[];
}

/** Adds to `clusters` what each worker reported; hosts that several have are summed. */
export function withLocalHosts(clusters: readonly ClusterStatus[], reports: readonly LocalHosts[]): ClusterStatus[] {
  return clusters.map((cluster) => {
    const hosts = new Map(cluster.hosts.map((host) => [host.address.asString, host]));
    for (const report of reports) {
      if (report.cluster !== cluster.name) continue;
      for (const host of report.hosts) {
        const known = hosts.get(host.address.asString);
        hosts.set(host.address.asString, known === undefined ? host : { ...known, stats: sum(known.stats, host.stats) });
      }
    }
    return { ...cluster, hosts: [...hosts.values()] };
  });
}

function sum(a: HostStatus['stats'], b: HostStatus['stats']): HostStatus['stats'] {
  return Object.fromEntries(HOST_STATS.map((name) => [name, a[name] + b[name]])) as Record<HostStatName, number>;
}

export function clusterStatus(
  settings: ClusterSettings,
  hosts: readonly HostDescription[],
  outlier: ClusterStatus['outlier'] = null,
  rates: readonly HostRates[] = [],
): ClusterStatus {
  return {
    name: settings.name,
    observabilityName: settings.observabilityName,
    addedViaApi: false,
    thresholds: settings.thresholds,
    outlier,
    hosts: hosts.map((host, i) => ({
      address: host.address,
      hostname: host.hostname,
      stats: statsOf(host),
      healthFlags: host.healthFlags ?? edsHealthFlags(host.healthStatus),
      weight: host.weight,
      locality: host.locality,
      canary: host.canary,
      priority: host.priority,
      successRate: rates[i] ?? NO_RATES,
    })),
  };
}

function statsOf(host: HostDescription): Record<HostStatName, number> {
  const row = host.stats;
  return Object.fromEntries(HOST_STATS.map((name) => [name, row === undefined ? 0 : sumHostStat(row, name)])) as Record<
    HostStatName,
    number
  >;
}

const PRIORITIES = ['default', 'high'] as const;
const LIMITS = [
  ['max_connections', 'maxConnections'],
  ['max_pending_requests', 'maxPendingRequests'],
  ['max_requests', 'maxRequests'],
  ['max_retries', 'maxRetries'],
] as const;

/** `/clusters` */
export function clustersText(clusters: readonly ClusterStatus[]): string {
  const lines: string[] = [];
  for (const cluster of clusters) {
    const put = (...parts: (string | number | boolean)[]): void => void lines.push(`${[cluster.name, ...parts].join('::')}\n`);
    put('observability_name', cluster.observabilityName);
    if (cluster.outlier !== null) {
      const { external, local } = cluster.outlier;
      put('outlier', 'success_rate_average', external.average);
      put('outlier', 'success_rate_ejection_threshold', external.ejectionThreshold);
      put('outlier', 'local_origin_success_rate_average', local.average);
      put('outlier', 'local_origin_success_rate_ejection_threshold', local.ejectionThreshold);
    }
    PRIORITIES.forEach((priority, i) => {
      for (const [name, key] of LIMITS) put(`${priority}_priority`, name, cluster.thresholds[i][key]);
    });
    put('added_via_api', cluster.addedViaApi);
    for (const host of cluster.hosts) {
      const address = host.address.asString;
      for (const name of HOST_STATS) put(address, name, host.stats[name]);
      put(address, 'hostname', host.hostname);
      put(address, 'health_flags', healthFlagsText(host.healthFlags));
      put(address, 'weight', host.weight);
      put(address, 'region', host.locality.region);
      put(address, 'zone', host.locality.zone);
      put(address, 'sub_zone', host.locality.subZone);
      put(address, 'canary', host.canary);
      put(address, 'priority', host.priority);
      put(address, 'success_rate', host.successRate.external);
      put(address, 'local_origin_success_rate', host.successRate.local);
    }
  }
  return lines.join('');
}

const GAUGES: readonly HostStatName[] = ['cx_active', 'rq_active'];

/** `/clusters?format=json`: envoy.admin.v3.Clusters in proto JSON, where defaults are absent and 64-bit numbers are strings. */
export function clustersJson(clusters: readonly ClusterStatus[]): { cluster_statuses: Record<string, unknown>[] } {
  return {
    cluster_statuses: clusters.map((cluster) => ({
      name: cluster.name,
      ...(cluster.addedViaApi ? { added_via_api: true } : {}),
      ...(cluster.outlier !== null && {
        ...percentJson('success_rate_ejection_threshold', cluster.outlier.external.ejectionThreshold),
        ...percentJson('local_origin_success_rate_ejection_threshold', cluster.outlier.local.ejectionThreshold),
      }),
      host_statuses: cluster.hosts.map(hostJson),
      circuit_breakers: {
        thresholds: cluster.thresholds.map((thresholds, i) => ({
          ...(i === 1 ? { priority: 'HIGH' } : {}),
          ...Object.fromEntries(LIMITS.map(([name, key]) => [name, thresholds[key]])),
        })),
      },
      observability_name: cluster.observabilityName,
    })),
  };
}

function percentJson(name: string, value: number): Record<string, unknown> {
  return value >= 0 ? { [name]: { value } } : {};
}

function hostJson(host: HostStatus): Record<string, unknown> {
  const metric = (name: HostStatName): Record<string, unknown> => ({
    ...(GAUGES.includes(name) ? { type: 'GAUGE' } : {}),
    ...(host.stats[name] === 0 ? {} : { value: String(host.stats[name]) }),
    name,
  });
  const { region, zone, subZone } = host.locality;
  return {
    address:
      host.address.kind === 'ip'
        ? { socket_address: { address: host.address.ip, port_value: host.address.port } }
        : { pipe: { path: host.address.path } },
    stats: [...HOST_STATS.filter((name) => !GAUGES.includes(name)), ...GAUGES].map(metric),
    health_status: healthStatusJson(host.healthFlags),
    ...percentJson('success_rate', host.successRate.external),
    ...percentJson('local_origin_success_rate', host.successRate.local),
    weight: host.weight,
    ...(host.hostname === '' ? {} : { hostname: host.hostname }),
    ...(host.priority === 0 ? {} : { priority: host.priority }),
    locality: { ...(region && { region }), ...(zone && { zone }), ...(subZone && { sub_zone: subZone }) },
  };
}
