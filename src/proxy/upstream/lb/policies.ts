/**
 * Round robin, least request and random (Envoy: RoundRobinLoadBalancer, LeastRequestLoadBalancer, RandomLoadBalancer).
 * Hosts of equal weight are taken by index; unequal ones, and those in slow start, by an EDF schedule.
 */
import type { HostImpl } from '../host.ts';
import { EdfScheduler } from './edf_scheduler.ts';
import { LoadBalancerBase, type LoadBalancerEnvironment } from './load_balancer.ts';
import { slowStartAgeMs, slowStartWeight } from './slow_start.ts';

/** A schedule per host list; without one the hosts' weights are equal. */
interface Schedule {
  edf: EdfScheduler<HostImpl> | null;
  next: number;
  /** Until then hosts of equal weight differ, as some are in slow start. */
  readonly edfUntilMs: number;
}

abstract class EdfLoadBalancer extends LoadBalancerBase {
  private schedules = new Map<readonly HostImpl[], Schedule>();
  private last: Schedule | null = null;
  private lastHosts: readonly HostImpl[] | null = null;
  private readonly seed: number;

  constructor(environment: LoadBalancerEnvironment) {
    super(environment);
    this.seed = environment.random() >>> 0;
  }

  override update(set: Parameters<LoadBalancerBase['update']>[0]): void {
    this.schedules = new Map();
    this.lastHosts = null;
    super.update(set);
  }

  protected prepare(hosts: readonly HostImpl[]): void {
    if (hosts.length === 0) return;
    const equal = hosts.every((host) => host.weight === hosts[0].weight);
    const slowUntilMs = this.slowStartEndMs(hosts);
    const edf = hosts.length === 1 || (equal && slowUntilMs < 0) ? null : new EdfScheduler<HostImpl>();
    if (edf !== null) {
      for (const host of hosts) edf.add(this.weightOf(host), host);
      // Workers start at different places of the schedule.
      for (let i = this.seed % hosts.length; i > 0; i--) edf.pickAndAdd(this.weightOf);
    }
    const edfUntilMs = equal ? slowUntilMs : Number.POSITIVE_INFINITY;
    this.schedules.set(hosts, { edf, next: this.seed % hosts.length, edfUntilMs });
  }

  /** When the last of them leaves slow start; -1 when none is in it. */
  private slowStartEndMs(hosts: readonly HostImpl[]): number {
    const { slowStart } = this.environment.settings;
    if (slowStart === null) return -1;
    const now = this.environment.nowMs();
    let end = -1;
    for (const host of hosts) {
      const ageMs = slowStartAgeMs(host, slowStart, now);
      if (ageMs >= 0) end = Math.max(end, now - ageMs + slowStart.windowMs);
    }
    return end;
  }

  protected pick(hosts: readonly HostImpl[]): HostImpl {
    let schedule = this.last;
    if (hosts !== this.lastHosts || schedule === null) {
      schedule = this.schedules.get(hosts) as Schedule;
      this.last = schedule;
      this.lastHosts = hosts;
    }
    const { edf } = schedule;
    if (edf === null) return this.unweightedPick(hosts, schedule);
    if (schedule.edfUntilMs < Number.POSITIVE_INFINITY && schedule.edfUntilMs <= this.environment.nowMs()) schedule.edf = null;
    return edf.pickAndAdd(this.weightOf) as HostImpl;
  }

  protected abstract hostWeight(host: HostImpl): number;
  protected abstract unweightedPick(hosts: readonly HostImpl[], schedule: Schedule): HostImpl;

  private readonly weightOf = (host: HostImpl): number => {
    const weight = this.hostWeight(host);
    const { slowStart } = this.environment.settings;
    return slowStart === null ? weight : slowStartWeight(weight, host, slowStart, this.environment);
  };
}

export class RoundRobinLoadBalancer extends EdfLoadBalancer {
  protected hostWeight(host: HostImpl): number {
    return host.weight;
  }

  protected unweightedPick(hosts: readonly HostImpl[], schedule: Schedule): HostImpl {
    const host = hosts[schedule.next];
    schedule.next = schedule.next + 1 === hosts.length ? 0 : schedule.next + 1;
    return host;
  }
}

export class LeastRequestLoadBalancer extends EdfLoadBalancer {
  protected hostWeight(host: HostImpl): number {
    const bias = this.bias();
    if (bias === 0) return host.weight;
    const active = host.stats.rqActive.value + 1;
    return bias === 1 ? host.weight / active : host.weight / active ** bias;
  }

  protected unweightedPick(hosts: readonly HostImpl[]): HostImpl {
    const { choiceCount, fullScan } = this.environment.settings;
    if (fullScan) return this.scan(hosts);
    let best = hosts[(this.environment.random() >>> 0) % hosts.length];
    let bestActive = best.stats.rqActive.value;
    for (let i = 1; i < choiceCount; i++) {
      const candidate = hosts[(this.environment.random() >>> 0) % hosts.length];
      const active = candidate.stats.rqActive.value;
      if (active < bestActive) {
        best = candidate;
        bestActive = active;
      }
    }
    return best;
  }

  /** The least loaded of all; among equals one by chance. */
  private scan(hosts: readonly HostImpl[]): HostImpl {
    let best = hosts[0];
    let bestActive = best.stats.rqActive.value;
    let equals = 1;
    for (let i = 1; i < hosts.length; i++) {
      const active = hosts[i].stats.rqActive.value;
      if (active > bestActive) continue;
      equals = active < bestActive ? 1 : equals + 1;
      if (equals === 1 || (this.environment.random() >>> 0) % equals === 0) best = hosts[i];
      bestActive = active;
    }
    return best;
  }

  /** A negative value from runtime counts as 1, as in Envoy. */
  private bias(): number {
    const { activeRequestBias, activeRequestBiasKey } = this.environment.settings;
    const runtime = this.environment.runtime;
    if (activeRequestBiasKey === '' || runtime === null) return activeRequestBias;
    const value = runtime.snapshot.getDouble(activeRequestBiasKey, activeRequestBias);
    return value < 0 ? 1 : value;
  }
}

export class RandomLoadBalancer extends LoadBalancerBase {
  protected prepare(): void {}

  protected pick(hosts: readonly HostImpl[]): HostImpl {
    return hosts[(this.environment.random() >>> 0) % hosts.length];
  }
}
