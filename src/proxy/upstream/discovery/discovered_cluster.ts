/**
 * One cluster as the main thread knows it: its hosts now, found at once (STATIC), by DNS (STRICT_DNS, LOGICAL_DNS), or never here
 * (ORIGINAL_DST). Envoy: StaticClusterImpl, StrictDnsClusterImpl, LogicalDnsCluster.
 *
 * DNS: every endpoint's name is asked again after the refresh rate (or the answer's TTL); failures keep the hosts there are and are
 * asked again after their own, growing, interval. An empty answer empties a STRICT_DNS cluster, and leaves a LOGICAL_DNS one as it is.
 */

import { isDeepStrictEqual } from 'node:util';
import type { Scope } from '../../../core/stats/stats.ts';
import { ConfigError } from '../../config/error.ts';
import { type SubscriptionStats, subscriptionStats } from '../../config/xds/subscription.ts';
import { ipAddress } from '../../network/address.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClusterSettings } from '../cluster_config.ts';
import type { ClusterStats } from '../cluster_stats.ts';
import type { PlainLoadAssignment } from '../cluster_types.ts';
import { type EndpointSettings, parseEndpoints } from '../endpoint_config.ts';
import type { HealthCheckSettings } from '../health_check/health_check_settings.ts';
import type { HealthChecker, OnChecked } from '../health_check/health_checker.ts';
import { HealthFlag, HostHealth, healthOf, isExcluded } from '../health_flags.ts';
import type { HostStatsTable } from '../host_stats.ts';
import { type HealthUpdate, type HostDescription, type HostEvent, type HostUpdate, hostKey } from '../host_update.ts';
import { createOutlierMemory } from '../outlier/host_monitor.ts';
import { OutlierDetector } from '../outlier/outlier_detector.ts';
import type { OutlierEvent } from '../outlier/outlier_events.ts';
import type { OutlierSettings } from '../outlier/outlier_settings.ts';
import { ClusterMember } from './cluster_member.ts';
import { type ClusterStatus, clusterStatus } from './cluster_status.ts';
import { type DnsAddress, type DnsResolver, resolveFamily } from './dns_resolver.ts';

/** Runs `callback` once after `delayMs`; the result takes it back. */
export type Schedule = (delayMs: number, callback: () => void) => () => void;

export interface DiscoveryEnvironment {
  readonly schedule: Schedule;
  /** In [0, 1). */
  readonly random: () => number;
  readonly hostStats: HostStatsTable;
  readonly warn: (message: string) => void;
  /** How many threads use hosts. */
  readonly threads: number;
  readonly runtime: Runtime | null;
  readonly logOutlier: (event: OutlierEvent) => void;
  /** Where clusters of type EDS get their endpoints. */
  readonly endpoints?: EndpointSource;
}

/** Calls `setAssignment` and `noAssignment` of the cluster, until it is closed. */
export interface EndpointSource {
  subscribe(cluster: DiscoveredCluster): { close(): void };
}

/** Makes what checks the hosts of a cluster. */
export type StartHealthChecks = (
  cluster: ClusterSettings,
  settings: HealthCheckSettings,
  onChecked: OnChecked<ClusterMember>,
) => HealthChecker<ClusterMember>;

/** Who is told of changes. */
export interface ClusterListener {
  onHosts(update: HostUpdate): void;
  onHealth(update: HealthUpdate): void;
}

export class DiscoveredCluster {
  readonly settings: ClusterSettings;
  readonly stats: ClusterStats;
  private readonly environment: DiscoveryEnvironment;
  private readonly resolver: DnsResolver | null;
  private readonly scope: Scope;
  private readonly targets: ResolveTarget[];
  readonly outlier: OutlierDetector<ClusterMember> | null;
  private members = new Map<string, ClusterMember>();
  private hosts: HostDescription[] = [];
  private listener: ClusterListener | null = null;
  private cancelOutlier: (() => void) | null = null;
  private health: HealthChecker<ClusterMember> | null = null;
  /** Hosts of which the first check is waited for; null: not (any more). Until then workers are told nothing of health. */
  private awaited: Set<ClusterMember> | null = null;
  private endpoints: { close(): void } | null = null;
  private onWarm: (() => void) | null = null;

  /** `resolver` is needed by DNS clusters only. */
  constructor(
    settings: ClusterSettings,
    stats: ClusterStats,
    environment: DiscoveryEnvironment,
    resolver: DnsResolver | null,
    scope: Scope,
  ) {
    this.settings = settings;
    this.stats = stats;
    this.environment = environment;
    this.resolver = resolver;
    this.scope = scope;
    this.targets = resolver === null ? [] : settings.endpoints.map((endpoint) => new ResolveTarget(endpoint));
    this.outlier = settings.outlier === null ? null : this.createOutlierDetector(settings.outlier, scope);
    if (settings.type === 'STATIC')
      this.apply(settings.endpoints.map((endpoint) => describe(endpoint, endpoint.address?.asString ?? '')));
  }

  /** Starts resolving. `onWarm` is called when there is a first result, good or bad; for static clusters at once. */
  start(listener: ClusterListener, onWarm: () => void, startHealthChecks: StartHealthChecks | null): void {
    this.listener = listener;
    this.startHealthChecks(startHealthChecks);
    this.onWarm = onWarm;
    if (this.settings.eds !== null) this.endpoints = this.environment.endpoints?.subscribe(this) ?? null;
    else if (this.targets.length === 0) this.warm();
    for (const target of this.targets) void this.resolve(target);
    this.scheduleOutlier();
  }

  current(): HostUpdate {
    return { cluster: this.settings.name, hosts: this.describeMembers(), logical: this.settings.type === 'LOGICAL_DNS' };
  }

  close(): void {
    this.listener = null;
    this.onWarm = null;
    this.cancelOutlier?.();
    for (const member of this.members.values()) this.health?.removeHost(member);
    for (const member of this.members.values()) this.outlier?.removeHost(member);
    this.health?.close();
    this.endpoints?.close();
    for (const member of this.members.values()) this.environment.hostStats.free(member.stats);
    this.members.clear();
    for (const target of this.targets) {
      target.closed = true;
      target.cancelRefresh?.();
    }
    this.resolver?.close();
  }

  /** The cluster is removed: its gauges say so. */
  noteGone(): void {
    const { stats } = this;
    for (const gauge of [
      stats.membershipTotal,
      stats.membershipHealthy,
      stats.membershipDegraded,
      stats.membershipExcluded,
      stats.maxHostWeight,
    ])
      gauge.set(0);
  }

  /** EDS: of the cluster's own. */
  subscriptionStats(): SubscriptionStats {
    return subscriptionStats(this.scope);
  }

  /** EDS: these are the endpoints now. Throws ConfigError; then nothing has changed. */
  setAssignment(loadAssignment: PlainLoadAssignment): void {
    const at = (field: string): string => field.replace(/^load_assignment\.?/, '');
    const policy = loadAssignment.policy ?? {};
    for (const [field, value] of Object.entries(policy)) {
      const isDefault =
        value === false || (Array.isArray(value) && value.length === 0) || (field === 'overprovisioningFactor' && value === 140);
      if (!isDefault && value !== undefined) {
        const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
        throw new ConfigError('is not supported by Sluice in assignments of EDS yet', { path: `policy.${name}` });
      }
    }
    const endpoints = parseEndpoints({ name: this.settings.name, loadAssignment }, 'EDS', at);
    this.apply(endpoints.map((endpoint) => describe(endpoint, endpoint.address?.asString ?? '')));
    this.warm();
  }

  /** EDS: there is nothing to wait for any longer. */
  noAssignment(): void {
    this.warm();
  }

  /** Discovery has a first result; warm when each host has been checked once, too. */
  private warm(): void {
    const { health } = this;
    if (this.onWarm === null || this.awaited !== null) return;
    const unchecked = health === null ? [] : [...this.members.values()].filter((member) => health.isUnchecked(member));
    if (unchecked.length === 0) this.finishWarming();
    else this.awaited = new Set(unchecked);
  }

  private finishWarming(): void {
    this.onWarm?.();
    this.onWarm = null;
  }

  /** `start` null: nobody checks, hosts count as healthy. */
  private startHealthChecks(start: StartHealthChecks | null): void {
    const { healthCheck } = this.settings;
    if (healthCheck === null) return;
    if (start === null) for (const member of this.members.values()) member.setFlag(HealthFlag.FailedActiveHc, false);
    this.hosts = this.describeMembers();
    this.health = start?.(this.settings, healthCheck, this.onChecked) ?? null;
    for (const member of this.members.values()) this.health?.addHost(member);
  }

  private readonly onChecked: OnChecked<ClusterMember> = (member, transition, healthy) => {
    if (healthy) this.outlier?.onActiveCheckSuccess(member);
    const failed = member.has(HealthFlag.FailedActiveHc);
    if (failed && member.has(HealthFlag.PendingDynamicRemoval)) {
      const next = new Map(this.members);
      next.delete(member.key);
      this.replaceMembers(next);
      return;
    }
    if (this.awaited === null) {
      if (transition === 'changed') this.onHealthChange(member, failed);
      return;
    }
    this.hosts = this.describeMembers();
    this.noteMembership();
    this.noLongerAwaited(member);
  };

  private noLongerAwaited(member: ClusterMember): void {
    if (this.awaited === null) return;
    this.awaited.delete(member);
    if (this.awaited.size > 0) return;
    this.awaited = null;
    this.listener?.onHosts(this.current());
    this.finishWarming();
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
    const before = this.members;
    const next = new Map<string, ClusterMember>();
    for (const host of found) {
      const key = logical ? 'logical' : hostKey(host);
      if (next.has(key)) continue;
      const known = before.get(key);
      known?.update(host);
      next.set(key, known ?? this.createMember(key, host));
    }
    for (const [key, member] of before) if (!next.has(key) && this.keepsRemoved(member)) next.set(key, member);
    this.replaceMembers(next);
  }

  /** A host that checks find well stays until they do not (Envoy: PENDING_DYNAMIC_REMOVAL). */
  private keepsRemoved(member: ClusterMember): boolean {
    if (this.health === null || this.settings.ignoreHealthOnHostRemoval) return false;
    if (member.description.healthCheck?.disabled) return false;
    if (member.has(HealthFlag.FailedActiveHc | HealthFlag.FailedEdsHealth)) return false;
    member.setFlag(HealthFlag.PendingDynamicRemoval, true);
    return true;
  }

  private replaceMembers(next: Map<string, ClusterMember>): void {
    const before = this.members;
    this.members = next;
    for (const [key, member] of before) if (next.get(key) !== member) this.onRemoved(member);
    const hosts = this.describeMembers();
    if (same(hosts, this.hosts)) {
      this.stats.updateNoRebuild.inc();
      return;
    }
    this.hosts = hosts;
    for (const [key, member] of next) if (before.get(key) !== member) this.onAdded(member);
    this.stats.membershipChange.inc();
    this.noteMembership();
    this.listener?.onHosts(this.current());
  }

  private createMember(key: string, host: HostDescription): ClusterMember {
    const { hostStats, threads } = this.environment;
    const memory = this.outlier === null ? null : createOutlierMemory(threads);
    return new ClusterMember(key, host, hostStats.allocate(), memory, this.initialFlags(host));
  }

  private initialFlags(host: HostDescription): number {
    const { healthCheck, ignoreNewHostsUntilFirstHc, type } = this.settings;
    if (healthCheck === null || host.healthCheck?.disabled) return 0;
    // Without anybody who checks, a host that comes later stays as it comes.
    if (this.listener !== null && this.health === null) return 0;
    const pending = ignoreNewHostsUntilFirstHc && type !== 'STATIC' ? HealthFlag.PendingActiveHc : 0;
    return HealthFlag.FailedActiveHc | pending;
  }

  private onAdded(member: ClusterMember): void {
    this.health?.addHost(member);
    this.outlier?.addHost(member);
  }

  private onRemoved(member: ClusterMember): void {
    this.health?.removeHost(member);
    this.outlier?.removeHost(member);
    this.noLongerAwaited(member);
    this.environment.hostStats.free(member.stats);
  }

  private describeMembers(): HostDescription[] {
    return [...this.members.values()].map((member) => member.description);
  }

  /** `failed`: it just became unhealthy. */
  private onHealthChange(member: ClusterMember, failed: boolean): void {
    this.hosts = this.describeMembers();
    this.noteMembership();
    const { key, healthFlags } = member;
    this.listener?.onHealth({ cluster: this.settings.name, hosts: [{ key, healthFlags, failed }] });
  }

  /** What a worker saw. */
  onHostEvent({ key, what }: HostEvent): void {
    if (what !== 'immediate_health_check_fail') {
      this.outlier?.onConsecutive(key, what);
      return;
    }
    const member = this.members.get(key);
    if (member !== undefined) this.health?.onImmediateFailure(member);
  }

  private createOutlierDetector(settings: OutlierSettings, scope: Scope): OutlierDetector<ClusterMember> {
    const { environment } = this;
    return new OutlierDetector<ClusterMember>({
      cluster: this.settings.name,
      settings,
      scope,
      runtime: environment.runtime,
      random: () => Math.floor(environment.random() * 2 ** 32),
      now: () => performance.now(),
      wallClock: () => Date.now(),
      setEjected: (member, ejected) => {
        member.setFlag(HealthFlag.FailedOutlierCheck, ejected);
        this.onHealthChange(member, ejected);
      },
      log: (event) => environment.logOutlier(event),
    });
  }

  private scheduleOutlier(): void {
    const { outlier } = this;
    if (outlier === null) return;
    this.cancelOutlier = this.environment.schedule(outlier.intervalMs, () => {
      outlier.onInterval();
      this.scheduleOutlier();
    });
  }

  /** For admin. */
  status(): ClusterStatus {
    const { outlier, settings } = this;
    const hosts = this.describeMembers();
    if (outlier === null) return clusterStatus(settings, hosts);
    const members = [...this.members.values()];
    return clusterStatus(
      settings,
      hosts,
      { external: outlier.clusterRates('external'), local: outlier.clusterRates('local') },
      members.map((member) => ({
        external: outlier.successRate(member, 'external'),
        local: outlier.successRate(member, 'local'),
      })),
    );
  }

  private noteMembership(): void {
    const flags = this.hosts.map((host) => host.healthFlags ?? 0);
    this.stats.membershipTotal.set(flags.length);
    this.stats.membershipHealthy.set(flags.filter((f) => healthOf(f) === HostHealth.Healthy).length);
    this.stats.membershipDegraded.set(flags.filter((f) => healthOf(f) === HostHealth.Degraded).length);
    this.stats.membershipExcluded.set(flags.filter(isExcluded).length);
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
  const { hostname, weight, priority, locality, localityWeight, metadata, localityMetadata, canary, healthStatus, healthCheck } =
    endpoint;
  const address = endpoint.address ?? ipAddress(ip, endpoint.port);
  return {
    address,
    hostname,
    weight,
    priority,
    locality,
    localityWeight,
    metadata,
    localityMetadata,
    canary,
    healthStatus,
    healthCheck,
  };
}

/** Stats and memory belong to the address. */
function same(a: readonly HostDescription[], b: readonly HostDescription[]): boolean {
  if (a.length !== b.length) return false;
  const known = new Map(b.map((host) => [hostKey(host), host]));
  return a.every((host) => {
    const other = known.get(hostKey(host));
    if (other === undefined || host.healthFlags !== other.healthFlags || host.weight !== other.weight) return false;
    const { stats: _, outlier: __, address: ___, ...rest } = host;
    const { stats: _a, outlier: _b, address: _c, ...otherRest } = other;
    return isDeepStrictEqual(rest, otherRest);
  });
}
