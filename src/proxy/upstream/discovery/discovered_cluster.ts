/**
 * One cluster as the main thread knows it: its hosts now, found at once (STATIC), by DNS (STRICT_DNS, LOGICAL_DNS), or never here
 * (ORIGINAL_DST). Envoy: StaticClusterImpl, StrictDnsClusterImpl, LogicalDnsCluster.
 *
 * DNS: every endpoint's name is asked again after the refresh rate (or the answer's TTL); failures keep the hosts there are and are
 * asked again after their own, growing, interval. An empty answer empties a STRICT_DNS cluster, and leaves a LOGICAL_DNS one as it is.
 */
import { ipAddress } from '../../network/address.ts';
import type { ClusterSettings } from '../cluster_config.ts';
import type { ClusterStats } from '../cluster_stats.ts';
import type { EndpointSettings } from '../endpoint_config.ts';
import { HostHealth, healthOf } from '../host.ts';
import type { HostStatsRow, HostStatsTable } from '../host_stats.ts';
import { type HostDescription, type HostUpdate, hostKey } from '../host_update.ts';
import { type DnsAddress, type DnsResolver, resolveFamily } from './dns_resolver.ts';

/** Runs `callback` once after `delayMs`; the result takes it back. */
export type Schedule = (delayMs: number, callback: () => void) => () => void;

export interface DiscoveryEnvironment {
  readonly schedule: Schedule;
  /** In [0, 1). */
  readonly random: () => number;
  readonly hostStats: HostStatsTable;
  readonly warn: (message: string) => void;
}

export class DiscoveredCluster {
  readonly settings: ClusterSettings;
  readonly stats: ClusterStats;
  private readonly environment: DiscoveryEnvironment;
  private readonly resolver: DnsResolver | null;
  private readonly targets: ResolveTarget[];
  private readonly rows = new Map<string, HostStatsRow>();
  private hosts: HostDescription[] = [];
  private onUpdate: ((update: HostUpdate) => void) | null = null;
  private onWarm: (() => void) | null = null;

  /** `resolver` is needed by DNS clusters only. */
  constructor(settings: ClusterSettings, stats: ClusterStats, environment: DiscoveryEnvironment, resolver: DnsResolver | null) {
    this.settings = settings;
    this.stats = stats;
    this.environment = environment;
    this.resolver = resolver;
    this.targets = resolver === null ? [] : settings.endpoints.map((endpoint) => new ResolveTarget(endpoint));
    if (settings.type === 'STATIC')
      this.apply(settings.endpoints.map((endpoint) => describe(endpoint, endpoint.address?.asString ?? '')));
  }

  /** Starts resolving. `onWarm` is called when there is a first result, good or bad; for static clusters at once. */
  start(onUpdate: (update: HostUpdate) => void, onWarm: () => void): void {
    this.onUpdate = onUpdate;
    this.onWarm = onWarm;
    if (this.targets.length === 0) this.warm();
    for (const target of this.targets) void this.resolve(target);
  }

  current(): HostUpdate {
    return { cluster: this.settings.name, hosts: this.hosts, logical: this.settings.type === 'LOGICAL_DNS' };
  }

  close(): void {
    this.onUpdate = null;
    for (const target of this.targets) {
      target.closed = true;
      target.cancelRefresh?.();
    }
    this.resolver?.close();
  }

  private warm(): void {
    this.onWarm?.();
    this.onWarm = null;
  }

  private async resolve(target: ResolveTarget): Promise<void> {
    const { dns } = this.settings;
    this.stats.updateAttempt.inc();
    let found: DnsAddress[] | null = null;
    try {
      found = await resolveFamily(this.resolver as DnsResolver, target.endpoint.name, dns.family);
    } catch (error) {
      if (target.closed) return;
      this.environment.warn(
        `cluster ${this.settings.name}: resolving ${target.endpoint.name} failed: ${(error as Error).message}`,
      );
    }
    if (target.closed) return;
    const delayMs = found === null ? this.failureDelayMs(target) : this.refreshDelayMs(found);
    target.cancelRefresh = this.environment.schedule(delayMs, () => void this.resolve(target));
    if (found === null) this.stats.updateFailure.inc();
    else {
      this.stats.updateSuccess.inc();
      target.failures = 0;
      this.takeAnswer(
        target,
        found.map((address) => address.ip),
      );
    }
    this.warm();
  }

  private refreshDelayMs(found: readonly DnsAddress[]): number {
    const { dns } = this.settings;
    const ttls = dns.respectTtl ? found.flatMap((address) => (address.ttlSeconds === undefined ? [] : [address.ttlSeconds])) : [];
    const delayMs = ttls.length > 0 ? Math.max(1, Math.min(...ttls)) * 1000 : dns.refreshRateMs;
    return delayMs + Math.floor(this.environment.random() * dns.jitterMs);
  }

  private takeAnswer(target: ResolveTarget, ips: string[]): void {
    if (this.settings.type === 'LOGICAL_DNS') {
      if (ips.length === 0) {
        this.stats.updateEmpty.inc();
        return;
      }
      ips = ips.slice(0, 1);
    }
    target.hosts = ips.map((ip) => describe(target.endpoint, ip));
    this.apply(this.targets.flatMap((each) => each.hosts));
  }

  /** Random in [0, next), where next doubles from base to max (Envoy: JitteredExponentialBackOffStrategy). */
  private failureDelayMs(target: ResolveTarget): number {
    const { failureRefresh, refreshRateMs } = this.settings.dns;
    if (failureRefresh === null) return refreshRateMs;
    const next = Math.min(failureRefresh.maxMs, failureRefresh.baseMs * 2 ** Math.min(target.failures++, 30));
    return Math.max(1, Math.floor(this.environment.random() * next));
  }

  private apply(found: HostDescription[]): void {
    const logical = this.settings.type === 'LOGICAL_DNS';
    const next = new Map<string, HostDescription>();
    for (const host of found) {
      const key = logical ? 'logical' : hostKey(host);
      if (!next.has(key)) next.set(key, { ...host, stats: this.row(key) });
    }
    for (const [key, row] of this.rows) {
      if (next.has(key)) continue;
      this.rows.delete(key);
      this.environment.hostStats.free(row);
    }
    const hosts = [...next.values()];
    if (same(hosts, this.hosts)) {
      this.stats.updateNoRebuild.inc();
      return;
    }
    this.hosts = hosts;
    this.noteMembership();
    this.onUpdate?.(this.current());
  }

  private row(key: string): HostStatsRow {
    let row = this.rows.get(key);
    if (row === undefined) {
      row = this.environment.hostStats.allocate();
      this.rows.set(key, row);
    }
    return row;
  }

  private noteMembership(): void {
    const health = this.hosts.map((host) => healthOf(host.healthStatus));
    this.stats.membershipChange.inc();
    this.stats.membershipTotal.set(this.hosts.length);
    this.stats.membershipHealthy.set(health.filter((h) => h === HostHealth.Healthy).length);
    this.stats.membershipDegraded.set(health.filter((h) => h === HostHealth.Degraded).length);
    this.stats.maxHostWeight.set(this.hosts.reduce((max, host) => Math.max(max, host.weight), 0));
  }
}

class ResolveTarget {
  readonly endpoint: EndpointSettings;
  hosts: HostDescription[] = [];
  failures = 0;
  closed = false;
  cancelRefresh: (() => void) | null = null;

  constructor(endpoint: EndpointSettings) {
    this.endpoint = endpoint;
  }
}

function describe(endpoint: EndpointSettings, ip: string): HostDescription {
  const { hostname, weight, priority, locality, metadata, localityMetadata, canary, healthStatus } = endpoint;
  const address = endpoint.address ?? ipAddress(ip, endpoint.port);
  return { address, hostname, weight, priority, locality, metadata, localityMetadata, canary, healthStatus };
}

/** Only addresses and their order within priorities can change: the rest is configuration. */
function same(a: readonly HostDescription[], b: readonly HostDescription[]): boolean {
  if (a.length !== b.length) return false;
  const keys = new Set(b.map(hostKey));
  return a.every((host) => keys.has(hostKey(host)));
}
