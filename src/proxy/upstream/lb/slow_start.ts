/**
 * Slow start (Envoy: EdfLoadBalancerBase::applySlowStartFactor): a host that became healthy less than a window ago counts with
 * weight x max(minimum, (age / window) ^ (1 / aggression)).
 */
import { HostHealth } from '../health_flags.ts';
import type { HostImpl } from '../host.ts';
import type { LoadBalancerEnvironment } from './load_balancer.ts';

export interface SlowStartSettings {
  readonly windowMs: number;
  readonly aggression: number;
  /** '' when there is none. */
  readonly aggressionKey: string;
  /** From 0 to 1. */
  readonly minWeight: number;
}

export function slowStartWeight(
  weight: number,
  host: HostImpl,
  settings: SlowStartSettings,
  environment: LoadBalancerEnvironment,
): number {
  const ageMs = slowStartAgeMs(host, settings, environment.nowMs());
  if (ageMs < 0) return weight;
  const time = Math.max(1, ageMs) / settings.windowMs;
  const aggression = aggressionOf(settings, environment);
  return weight * Math.max(aggression === 1 ? time : time ** (1 / aggression), settings.minWeight);
}

/** How long the host has been healthy, in ms; -1 when it is not in slow start. */
export function slowStartAgeMs(host: HostImpl, settings: SlowStartSettings, nowMs: number): number {
  if (host.healthySinceMs < 0 || host.health !== HostHealth.Healthy) return -1;
  const ageMs = nowMs - host.healthySinceMs;
  return ageMs < settings.windowMs ? ageMs : -1;
}

/** A value from runtime that makes no sense counts as 1, as in Envoy. */
function aggressionOf(settings: SlowStartSettings, environment: LoadBalancerEnvironment): number {
  const { runtime } = environment;
  if (settings.aggressionKey === '' || runtime === null) return settings.aggression;
  const value = runtime.snapshot.getDouble(settings.aggressionKey, settings.aggression);
  return value > 0 ? value : 1;
}
