/**
 * `Cluster.outlier_detection` with its defaults, and the runtime keys that override each number while the proxy runs
 * (Envoy: Outlier::DetectorConfig).
 *
 * Left out, as in Envoy: `monitors`.
 */
import { ConfigError } from '../../config/error.ts';
import type { Runtime } from '../../runtime/runtime.ts';

/** Plain `envoy.config.cluster.v3.OutlierDetection`: numbers, durations in ms. */
export type PlainOutlierDetection = {
  [K in keyof typeof NUMBERS]?: number;
} & {
  splitExternalLocalOriginErrors?: boolean;
  successfulActiveHealthCheckUnejectHost?: boolean;
  alwaysEjectOneHost?: boolean;
  monitors?: unknown[];
};

/** Field -> its runtime key after `outlier_detection.`, and its default. Durations are in ms. */
const NUMBERS = {
  consecutive5xx: ['consecutive_5xx', 5],
  consecutiveGatewayFailure: ['consecutive_gateway_failure', 5],
  consecutiveLocalOriginFailure: ['consecutive_local_origin_failure', 5],
  interval: ['interval_ms', 10_000],
  baseEjectionTime: ['base_ejection_time_ms', 30_000],
  maxEjectionTime: ['max_ejection_time_ms', 300_000],
  maxEjectionTimeJitter: ['max_ejection_time_jitter_ms', 0],
  maxEjectionPercent: ['max_ejection_percent', 10],
  enforcingConsecutive5xx: ['enforcing_consecutive_5xx', 100],
  enforcingConsecutiveGatewayFailure: ['enforcing_consecutive_gateway_failure', 0],
  enforcingConsecutiveLocalOriginFailure: ['enforcing_consecutive_local_origin_failure', 100],
  enforcingSuccessRate: ['enforcing_success_rate', 100],
  enforcingLocalOriginSuccessRate: ['enforcing_local_origin_success_rate', 100],
  enforcingFailurePercentage: ['enforcing_failure_percentage', 0],
  enforcingFailurePercentageLocalOrigin: ['enforcing_failure_percentage_local_origin', 0],
  successRateMinimumHosts: ['success_rate_minimum_hosts', 5],
  successRateRequestVolume: ['success_rate_request_volume', 100],
  successRateStdevFactor: ['success_rate_stdev_factor', 1900],
  failurePercentageThreshold: ['failure_percentage_threshold', 85],
  failurePercentageMinimumHosts: ['failure_percentage_minimum_hosts', 5],
  failurePercentageRequestVolume: ['failure_percentage_request_volume', 50],
} as const satisfies Record<string, readonly [key: string, byDefault: number]>;

export type OutlierNumber = keyof typeof NUMBERS;

export interface OutlierSettings {
  readonly numbers: Readonly<Record<OutlierNumber, number>>;
  readonly splitLocalOrigin: boolean;
  readonly activeCheckUnejects: boolean;
  readonly alwaysEjectOneHost: boolean;
}

/** Throws ConfigError; `path` is the message's. */
export function parseOutlierDetection(config: PlainOutlierDetection, path: string): OutlierSettings {
  const numbers = Object.fromEntries(
    (Object.keys(NUMBERS) as OutlierNumber[]).map((name) => [name, config[name] ?? NUMBERS[name][1]]),
  ) as Record<OutlierNumber, number>;
  if (config.maxEjectionTime === undefined) numbers.maxEjectionTime = Math.max(numbers.maxEjectionTime, numbers.baseEjectionTime);
  if (numbers.maxEjectionTime < numbers.baseEjectionTime) {
    throw new ConfigError("outlier detector's max_ejection_time cannot be smaller than base_ejection_time", {
      path: `${path}.max_ejection_time`,
    });
  }
  return {
    numbers,
    splitLocalOrigin: config.splitExternalLocalOriginErrors ?? false,
    activeCheckUnejects: config.successfulActiveHealthCheckUnejectHost ?? true,
    alwaysEjectOneHost: config.alwaysEjectOneHost ?? false,
  };
}

/** What the number is now: runtime's, or what is configured. */
export function outlierNumber(settings: OutlierSettings, runtime: Runtime | null, name: OutlierNumber): number {
  const configured = settings.numbers[name];
  return runtime === null ? configured : runtime.snapshot.getInteger(outlierRuntimeKey(name), configured);
}

export function outlierRuntimeKey(name: OutlierNumber): string {
  return `outlier_detection.${NUMBERS[name][0]}`;
}
