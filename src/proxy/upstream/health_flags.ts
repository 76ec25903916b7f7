/**
 * What is known about a host's health: a set of flags, and what follows from them (Envoy: Host::HealthFlag, HostImplBase::coarseHealth,
 * HostUtility). The bits and names are Envoy's.
 *
 * Main alone sets flags; workers hear of each change in order, with the hosts they balance over.
 */
import type { HealthStatus } from './endpoint_config.ts';

export const HealthFlag = {
  /** Fails active checks; hosts start so. */
  FailedActiveHc: 0x1,
  /** Ejected by outlier detection. */
  FailedOutlierCheck: 0x2,
  FailedEdsHealth: 0x4,
  /** Active checks find `x-envoy-degraded`. */
  DegradedActiveHc: 0x8,
  DegradedEdsHealth: 0x10,
  /** Discovery no longer has it; kept because its checks still succeed. */
  PendingDynamicRemoval: 0x20,
  /** Not checked yet, with `ignore_new_hosts_until_first_hc`. */
  PendingActiveHc: 0x40,
  /** It said `x-envoy-immediate-health-check-fail`. */
  ExcludedViaImmediateHcFail: 0x80,
  /** The last failed check of an unhealthy host was a timeout. */
  ActiveHcTimeout: 0x100,
  EdsStatusDraining: 0x200,
} as const;

export const HostHealth = { Unhealthy: 0, Degraded: 1, Healthy: 2 } as const;
export type HostHealth = (typeof HostHealth)[keyof typeof HostHealth];

const UNHEALTHY =
  HealthFlag.FailedActiveHc | HealthFlag.FailedOutlierCheck | HealthFlag.FailedEdsHealth | HealthFlag.EdsStatusDraining;
const DEGRADED = HealthFlag.DegradedActiveHc | HealthFlag.DegradedEdsHealth;
const EXCLUDED = HealthFlag.PendingActiveHc | HealthFlag.ExcludedViaImmediateHcFail | HealthFlag.EdsStatusDraining;

export function healthOf(flags: number): HostHealth {
  if ((flags & UNHEALTHY) !== 0) return HostHealth.Unhealthy;
  return (flags & DEGRADED) !== 0 ? HostHealth.Degraded : HostHealth.Healthy;
}

/** Not counted among a priority's hosts when its load and panic are computed. */
export function isExcluded(flags: number): boolean {
  return (flags & EXCLUDED) !== 0;
}

/** The flags that discovery gives: an endpoint's `health_status`. */
export function edsHealthFlags(status: HealthStatus): number {
  switch (status) {
    case 'UNHEALTHY':
    case 'TIMEOUT':
      return HealthFlag.FailedEdsHealth;
    case 'DRAINING':
      return HealthFlag.EdsStatusDraining;
    case 'DEGRADED':
      return HealthFlag.DegradedEdsHealth;
    default:
      return 0;
  }
}

/** All that `edsHealthFlags` may give. */
export const EDS_HEALTH_FLAGS = HealthFlag.FailedEdsHealth | HealthFlag.DegradedEdsHealth | HealthFlag.EdsStatusDraining;

/** Admin's names in text, by bit; in JSON where `HostHealthStatus` has a field. */
const NAMES: readonly (readonly [flag: number, text: string, field: string | null])[] = [
  [HealthFlag.FailedActiveHc, 'failed_active_hc', 'failed_active_health_check'],
  [HealthFlag.FailedOutlierCheck, 'failed_outlier_check', 'failed_outlier_check'],
  [HealthFlag.FailedEdsHealth, 'failed_eds_health', null],
  [HealthFlag.DegradedActiveHc, 'degraded_active_hc', 'failed_active_degraded_check'],
  [HealthFlag.DegradedEdsHealth, 'degraded_eds_health', null],
  [HealthFlag.PendingDynamicRemoval, 'pending_dynamic_removal', 'pending_dynamic_removal'],
  [HealthFlag.PendingActiveHc, 'pending_active_hc', 'pending_active_hc'],
  [HealthFlag.ExcludedViaImmediateHcFail, 'excluded_via_immediate_hc_fail', 'excluded_via_immediate_hc_fail'],
  [HealthFlag.ActiveHcTimeout, 'active_hc_timeout', 'active_hc_timeout'],
  [HealthFlag.EdsStatusDraining, 'eds_status_draining', null],
];

/** Admin's `health_flags`: `/failed_active_hc/active_hc_timeout`, or `healthy`. */
export function healthFlagsText(flags: number): string {
  let text = '';
  for (const [flag, name] of NAMES) if ((flags & flag) !== 0) text += `/${name}`;
  return text === '' ? 'healthy' : text;
}

/** `envoy.admin.v3.HostHealthStatus` in proto JSON. */
export function healthStatusJson(flags: number): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const [flag, , field] of NAMES) if (field !== null && (flags & flag) !== 0) json[field] = true;
  let eds = 'HEALTHY';
  if ((flags & HealthFlag.FailedEdsHealth) !== 0) eds = 'UNHEALTHY';
  else if ((flags & HealthFlag.EdsStatusDraining) !== 0) eds = 'DRAINING';
  else if ((flags & HealthFlag.DegradedEdsHealth) !== 0) eds = 'DEGRADED';
  json['eds_health_status'] = eds;
  return json;
}
