/**
 * What a check's result does to a host, and when the next check is due (Envoy: HealthCheckerImplBase::ActiveHealthCheckSession).
 * Pure: flags and results in, flags, a transition and what to log out.
 *
 * The very first success makes a host healthy at once; later ones count. A failure that is neither the network's nor retriable makes it
 * unhealthy at once.
 */
import type { Runtime } from '../../runtime/runtime.ts';
import { HealthFlag } from '../health_flags.ts';
import type { IntervalSettings } from './health_check_settings.ts';

export type FailureType = 'ACTIVE' | 'PASSIVE' | 'NETWORK' | 'NETWORK_TIMEOUT';

/** `pending`: on the way to a change, because of thresholds. */
export type HealthTransition = 'unchanged' | 'changed' | 'pending';

/** What happened, for the event log. */
export type HealthCheckHappening =
  | { readonly what: 'eject_unhealthy'; readonly failureType: FailureType }
  | { readonly what: 'add_healthy'; readonly firstCheck: boolean }
  | { readonly what: 'failure'; readonly failureType: FailureType; readonly firstCheck: boolean }
  | { readonly what: 'success' }
  | { readonly what: 'degraded' }
  | { readonly what: 'no_longer_degraded' };

export interface HealthCheckOutcome {
  readonly flags: number;
  readonly transition: HealthTransition;
  readonly happenings: readonly HealthCheckHappening[];
}

export interface HealthCheckThresholds {
  readonly healthyThreshold: number;
  readonly unhealthyThreshold: number;
  readonly alwaysLogFailures: boolean;
  readonly alwaysLogSuccess: boolean;
}

export class HealthCheckState {
  private readonly settings: HealthCheckThresholds;
  private firstCheck = true;
  private healthyInRow = 0;
  private unhealthyInRow = 0;

  constructor(settings: HealthCheckThresholds) {
    this.settings = settings;
  }

  /** No check of this host is complete. */
  get unchecked(): boolean {
    return this.firstCheck;
  }

  onSuccess(before: number, degraded: boolean): HealthCheckOutcome {
    let flags = before;
    let transition: HealthTransition = 'unchanged';
    const happenings: HealthCheckHappening[] = [];
    this.unhealthyInRow = 0;
    if ((flags & HealthFlag.FailedActiveHc) !== 0) {
      this.healthyInRow++;
      if (this.firstCheck || this.healthyInRow === this.settings.healthyThreshold) {
        flags &= ~(HealthFlag.FailedActiveHc | HealthFlag.ActiveHcTimeout | HealthFlag.ExcludedViaImmediateHcFail);
        transition = 'changed';
        happenings.push({ what: 'add_healthy', firstCheck: this.firstCheck });
      } else transition = 'pending';
    }
    if ((flags & HealthFlag.PendingActiveHc) !== 0) {
      flags &= ~HealthFlag.PendingActiveHc;
      transition = 'changed';
    }
    if (degraded !== ((flags & HealthFlag.DegradedActiveHc) !== 0)) {
      flags ^= HealthFlag.DegradedActiveHc;
      if (transition === 'unchanged') transition = 'changed';
      happenings.push({ what: degraded ? 'degraded' : 'no_longer_degraded' });
    }
    if (this.settings.alwaysLogSuccess) happenings.push({ what: 'success' });
    this.firstCheck = false;
    return { flags, transition, happenings };
  }

  /** `exclude`: it asked to be taken out at once. */
  onFailure(before: number, failureType: FailureType, retriable: boolean, exclude = false): HealthCheckOutcome {
    let flags = exclude ? before | HealthFlag.ExcludedViaImmediateHcFail : before;
    let transition: HealthTransition = 'unchanged';
    const happenings: HealthCheckHappening[] = [];
    const network = isNetworkFailure(failureType);
    this.healthyInRow = 0;
    if ((flags & HealthFlag.FailedActiveHc) === 0) {
      if ((!network && !retriable) || ++this.unhealthyInRow === this.settings.unhealthyThreshold) {
        flags |= HealthFlag.FailedActiveHc;
        transition = 'changed';
        happenings.push({ what: 'eject_unhealthy', failureType });
      } else transition = 'pending';
    }
    const timedOut = failureType === 'NETWORK_TIMEOUT' && (flags & HealthFlag.FailedActiveHc) !== 0;
    flags = timedOut ? flags | HealthFlag.ActiveHcTimeout : flags & ~HealthFlag.ActiveHcTimeout;
    if ((flags & HealthFlag.PendingActiveHc) !== 0) {
      flags &= ~HealthFlag.PendingActiveHc;
      transition = 'changed';
    }
    if (this.firstCheck || this.settings.alwaysLogFailures)
      happenings.push({ what: 'failure', failureType, firstCheck: this.firstCheck });
    this.firstCheck = false;
    return { flags, transition, happenings };
  }
}

export function isNetworkFailure(type: FailureType): boolean {
  return type === 'NETWORK' || type === 'NETWORK_TIMEOUT';
}

export interface NextCheck {
  readonly healthy: boolean;
  readonly transition: HealthTransition;
  /** The cluster has had connections for traffic. */
  readonly traffic: boolean;
}

/** ms until the next check. `random`: a random 32-bit number. */
export function nextCheckMs(settings: IntervalSettings, next: NextCheck, random: () => number, runtime: Runtime | null): number {
  const delayMs = withJitter(baseIntervalMs(settings, next), settings.jitterMs, settings.jitterPercent, random);
  if (runtime === null) return Math.max(1, delayMs);
  const min = runtime.snapshot.getInteger('health_check.min_interval', 1);
  const max = runtime.snapshot.getInteger('health_check.max_interval', Number.MAX_SAFE_INTEGER);
  return Math.min(Math.max(delayMs, min), max);
}

function baseIntervalMs(settings: IntervalSettings, { healthy, transition, traffic }: NextCheck): number {
  const edge = transition === 'pending';
  if (!traffic) return healthy && !edge ? settings.noTrafficHealthyMs : settings.noTrafficMs;
  if (healthy) return edge ? settings.healthyEdgeMs : settings.intervalMs;
  return edge ? settings.unhealthyEdgeMs : settings.unhealthyMs;
}

/** `baseMs`, and up to `jitterPercent` of it and `jitterMs` more. */
export function withJitter(baseMs: number, jitterMs: number, jitterPercent: number, random: () => number): number {
  let delayMs = baseMs;
  const part = Math.floor((jitterPercent * baseMs) / 100);
  if (part > 0) delayMs += (random() >>> 0) % part;
  if (jitterMs > 0) delayMs += (random() >>> 0) % jitterMs;
  return delayMs;
}
