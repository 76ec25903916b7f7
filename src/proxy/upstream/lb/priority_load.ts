/**
 * How much traffic each priority gets, and whether it panics (Envoy: LoadBalancerBase in source/common/upstream/load_balancer_impl.cc).
 *
 * A priority can take min(100, overprovisioning x healthy share) percent; what it cannot take spills over, first to the healthy hosts
 * of later priorities, then to degraded hosts from priority 0 on. When nothing can take the whole, loads are scaled up to 100 %.
 */
import type { HostImpl } from '../host.ts';
import type { HostSet } from '../priority_set.ts';

export interface PriorityLoad {
  /** Percent by priority; both together sum to 100. */
  readonly healthy: readonly number[];
  readonly degraded: readonly number[];
  readonly panic: readonly boolean[];
}

export interface PriorityLoadOptions {
  readonly overprovisioningFactor: number;
  readonly weightedPriorityHealth: boolean;
  /** Percent; 0 turns panic off. */
  readonly panicThreshold: number;
}

/** Percent of its traffic that each priority can take, by healthy and by degraded hosts. */
export interface PriorityAvailability {
  readonly healthy: readonly number[];
  readonly degraded: readonly number[];
}

export function priorityAvailability(sets: readonly HostSet[], options: PriorityLoadOptions): PriorityAvailability {
  return {
    healthy: sets.map((set) => availability(set, set.healthyHosts, options)),
    degraded: sets.map((set) => availability(set, set.degradedHosts, options)),
  };
}

export function computePriorityLoad(sets: readonly HostSet[], options: PriorityLoadOptions): PriorityLoad {
  const { healthy: healthyShare, degraded: degradedShare } = priorityAvailability(sets, options);
  const total = Math.min(100, sum(healthyShare) + sum(degradedShare));
  const { healthy, degraded } = distributeLoad(healthyShare, degradedShare);
  if (options.panicThreshold === 0 && total === 0) {
    healthy[0] = 100;
    return { healthy, degraded, panic: sets.map(() => false) };
  }
  const panic = sets.map((set) => total !== 100 && isInPanic(set, options.panicThreshold));
  if (panic.every((p) => p)) totalPanic(sets, healthy, degraded);
  return { healthy, degraded, panic };
}

/** 100 percent over priorities by what they can take; nothing when none can take any. */
export function distributeLoad(
  healthyShare: readonly number[],
  degradedShare: readonly number[],
): { healthy: number[]; degraded: number[] } {
  const healthy = healthyShare.map(() => 0);
  const degraded = degradedShare.map(() => 0);
  const total = Math.min(100, sum(healthyShare) + sum(degradedShare));
  if (total > 0) {
    let left = distribute(healthyShare, healthy, 100, total);
    left = distribute(degradedShare, degraded, left, total);
    giveRest(healthy, degraded, left);
  }
  return { healthy, degraded };
}

/** The priority that `wanted` (0 to 99) falls on; of degraded hosts, plus the number of priorities. */
export function priorityOfShare(load: PriorityLoad, wanted: number): number {
  const { healthy, degraded } = load;
  let share = 0;
  for (let p = 0; p < healthy.length; p++) if (wanted < (share += healthy[p])) return p;
  for (let p = 0; p < degraded.length; p++) if (wanted < (share += degraded[p])) return healthy.length + p;
  return 0;
}

function availability(set: HostSet, hosts: readonly HostImpl[], options: PriorityLoadOptions): number {
  const all = options.weightedPriorityHealth ? weights(set.hosts) - weights(set.excludedHosts) : countedHosts(set);
  if (all <= 0) return 0;
  const some = options.weightedPriorityHealth ? weights(hosts) : hosts.length;
  return Math.min(100, Math.floor((options.overprovisioningFactor * some) / all));
}

/** Hosts that may be available or not: those that are excluded are neither. */
function countedHosts(set: HostSet): number {
  return set.hosts.length - set.excludedHosts.length;
}

function weights(hosts: readonly HostImpl[]): number {
  let total = 0;
  for (const host of hosts) total += host.weight;
  return total;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** Fills `load` in priority order; returns what is left to give. */
function distribute(share: readonly number[], load: number[], left: number, total: number): number {
  for (let p = 0; p < share.length; p++) {
    load[p] = Math.min(left, Math.floor((share[p] * 100) / total));
    left -= load[p];
  }
  return left;
}

/** Percents lost to rounding go to the first priority that takes anything. */
function giveRest(healthy: number[], degraded: number[], left: number): void {
  if (left === 0) return;
  const first = healthy.findIndex((load) => load > 0);
  if (first >= 0) healthy[first] += left;
  else {
    const firstDegraded = degraded.findIndex((load) => load > 0);
    if (firstDegraded >= 0) degraded[firstDegraded] += left;
  }
}

/** Too few healthy and degraded hosts. */
export function isInPanic(set: HostSet, threshold: number): boolean {
  const total = countedHosts(set);
  const healthy = total === 0 ? 0 : (100 * set.healthyHosts.length) / total;
  const degraded = total === 0 ? 0 : (100 * set.degradedHosts.length) / total;
  return healthy + degraded < Math.min(threshold, 100);
}

/** All priorities panic: traffic follows the number of hosts. */
function totalPanic(sets: readonly HostSet[], healthy: number[], degraded: number[]): void {
  const total = sets.reduce((n, set) => n + set.hosts.length, 0);
  healthy.fill(0);
  degraded.fill(0);
  if (total === 0) {
    healthy[0] = 100;
    return;
  }
  let left = 100;
  for (let p = 0; p < sets.length; p++) {
    healthy[p] = Math.floor((100 * sets[p].hosts.length) / total);
    left -= healthy[p];
  }
  healthy[sets.findIndex((set) => set.hosts.length > 0)] += left;
}
