/**
 * Decides on the main thread which hosts of a cluster are ejected and when they come back (Envoy: source/common/upstream/
 * outlier_detection_impl.cc). Knows neither clock nor timer: `now` comes in, and whoever owns it calls `onInterval`.
 *
 * A host is ejected for base_ejection_time x times ejected (at most max_ejection_time) plus jitter, looked at every interval; each
 * interval that it spends in service takes one from the multiplier. At most max_ejection_percent of the hosts are out at a time.
 */
import type { Counter, Gauge, Scope } from '../../../core/stats/stats.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { HealthFlag } from '../health_flags.ts';
import { Consecutive, OutlierCounts, type RequestVolume } from './host_monitor.ts';
import type { OutlierEvent } from './outlier_events.ts';
import { type OutlierNumber, type OutlierSettings, outlierNumber, outlierRuntimeKey } from './outlier_settings.ts';

/** Type of ejection -> its part of stats' names, and the number that says how many percent are enforced. */
const EJECTIONS = {
  CONSECUTIVE_5XX: ['consecutive_5xx', 'enforcingConsecutive5xx'],
  CONSECUTIVE_GATEWAY_FAILURE: ['consecutive_gateway_failure', 'enforcingConsecutiveGatewayFailure'],
  SUCCESS_RATE: ['success_rate', 'enforcingSuccessRate'],
  CONSECUTIVE_LOCAL_ORIGIN_FAILURE: ['consecutive_local_origin_failure', 'enforcingConsecutiveLocalOriginFailure'],
  SUCCESS_RATE_LOCAL_ORIGIN: ['local_origin_success_rate', 'enforcingLocalOriginSuccessRate'],
  FAILURE_PERCENTAGE: ['failure_percentage', 'enforcingFailurePercentage'],
  FAILURE_PERCENTAGE_LOCAL_ORIGIN: ['local_origin_failure_percentage', 'enforcingFailurePercentageLocalOrigin'],
} as const satisfies Record<string, readonly [stat: string, enforcing: OutlierNumber]>;

export type EjectionType = keyof typeof EJECTIONS;

const EJECTION_OF_ROW: Record<Consecutive, EjectionType> = {
  [Consecutive.Errors5xx]: 'CONSECUTIVE_5XX',
  [Consecutive.GatewayFailures]: 'CONSECUTIVE_GATEWAY_FAILURE',
  [Consecutive.LocalOriginFailures]: 'CONSECUTIVE_LOCAL_ORIGIN_FAILURE',
};

/** A host as main knows it. */
export interface OutlierHost {
  readonly key: string;
  readonly addressText: string;
  readonly healthFlags: number;
  readonly outlierMemory: SharedArrayBuffer | null;
}

export interface OutlierDetectorOptions<H extends OutlierHost> {
  readonly cluster: string;
  readonly settings: OutlierSettings;
  /** `cluster.<name>.` */
  readonly scope: Scope;
  readonly runtime: Runtime | null;
  /** A random 32-bit number. */
  random(): number;
  /** Monotonic ms. */
  now(): number;
  /** ms since the epoch. */
  wallClock(): number;
  /** Sets or clears FAILED_OUTLIER_CHECK. */
  setEjected(host: H, ejected: boolean): void;
  log?(event: OutlierEvent): void;
}

/** Of all hosts of a cluster; -1: unknown. */
export interface SuccessRates {
  readonly average: number;
  readonly ejectionThreshold: number;
}

const UNKNOWN: SuccessRates = { average: -1, ejectionThreshold: -1 };

type Origin = 'external' | 'local';

class Monitored<H> {
  readonly host: H;
  readonly counts: OutlierCounts;
  readonly successRate: Record<Origin, number> = { external: -1, local: -1 };
  volume: Record<Origin, RequestVolume> = { external: { total: 0, success: 0 }, local: { total: 0, success: 0 } };
  numEjections = 0;
  backoff = 0;
  jitterMs = 0;
  lastEjectionMs: number | null = null;
  lastUnejectionMs: number | null = null;

  constructor(host: H, memory: SharedArrayBuffer) {
    this.host = host;
    this.counts = new OutlierCounts(memory);
  }
}

export class OutlierDetector<H extends OutlierHost> {
  private readonly options: OutlierDetectorOptions<H>;
  private readonly hosts = new Map<string, Monitored<H>>();
  private readonly stats: OutlierStats;
  private ejectionsActive = 0;
  private rates: Record<Origin, SuccessRates> = { external: UNKNOWN, local: UNKNOWN };

  constructor(options: OutlierDetectorOptions<H>) {
    this.options = options;
    this.stats = new OutlierStats(options.scope.scope('outlier_detection.'));
  }

  addHost(host: H): void {
    if (host.outlierMemory !== null) this.hosts.set(host.key, new Monitored(host, host.outlierMemory));
  }

  removeHost(host: H): void {
    if (this.hosts.delete(host.key) && isEjected(host)) this.countActive(-1);
  }

  /** The delay until `onInterval` is due. */
  get intervalMs(): number {
    return this.number('interval');
  }

  clusterRates(origin: Origin): SuccessRates {
    return this.rates[origin];
  }

  /** Percent, of the last interval; -1: too few requests. */
  successRate(host: H, origin: Origin): number {
    return this.hosts.get(host.key)?.successRate[origin] ?? -1;
  }

  /** A worker completed a row of failures. */
  onConsecutive(key: string, row: Consecutive): void {
    const monitored = this.hosts.get(key);
    // It may be gone, or out already, by the time main hears of it.
    if (monitored === undefined || isEjected(monitored.host)) return;
    const type = EJECTION_OF_ROW[row];
    this.stats.detected[type].inc();
    this.eject(monitored, type);
    if (row === Consecutive.Errors5xx) this.stats.deprecatedConsecutive5xx.inc();
    monitored.counts.resetConsecutive(row);
  }

  /** An active check found the host well. */
  onActiveCheckSuccess(host: H): void {
    const monitored = this.hosts.get(host.key);
    if (this.options.settings.activeCheckUnejects && monitored !== undefined && isEjected(host)) this.uneject(monitored);
  }

  onInterval(): void {
    const now = this.options.now();
    for (const monitored of this.hosts.values()) {
      this.checkForUneject(monitored, now);
      monitored.volume = monitored.counts.take();
      monitored.successRate.external = -1;
      monitored.successRate.local = -1;
    }
    this.lookAtRates('external');
    this.lookAtRates('local');
    for (const monitored of this.hosts.values()) if (!isEjected(monitored.host) && monitored.backoff > 0) monitored.backoff--;
  }

  private checkForUneject(monitored: Monitored<H>, now: number): void {
    if (!isEjected(monitored.host) || monitored.lastEjectionMs === null) return;
    const outMs = Math.min(this.number('baseEjectionTime') * monitored.backoff, this.number('maxEjectionTime'));
    if (outMs + monitored.jitterMs <= now - monitored.lastEjectionMs) this.uneject(monitored);
  }

  private lookAtRates(origin: Origin): void {
    this.rates[origin] = UNKNOWN;
    const minimum = { rate: this.number('successRateMinimumHosts'), failures: this.number('failurePercentageMinimumHosts') };
    if (this.hosts.size < minimum.rate && this.hosts.size < minimum.failures) return;
    const volume = { rate: this.number('successRateRequestVolume'), failures: this.number('failurePercentageRequestVolume') };
    const byRate: Monitored<H>[] = [];
    const byFailures: Monitored<H>[] = [];
    for (const monitored of this.hosts.values()) {
      const { total, success } = monitored.volume[origin];
      if (isEjected(monitored.host) || total === 0) continue;
      if (total >= Math.min(volume.rate, volume.failures)) monitored.successRate[origin] = (success * 100) / total;
      if (total >= volume.rate) byRate.push(monitored);
      if (total >= volume.failures) byFailures.push(monitored);
    }
    if (byRate.length > 0 && byRate.length >= minimum.rate) this.ejectBelowDeviation(byRate, origin);
    if (byFailures.length > 0 && byFailures.length >= minimum.failures) this.ejectByFailures(byFailures, origin);
  }

  private ejectBelowDeviation(valid: readonly Monitored<H>[], origin: Origin): void {
    const rates = valid.map((monitored) => monitored.successRate[origin]);
    this.rates[origin] = successRateThreshold(rates, this.number('successRateStdevFactor') / 1000);
    const type = origin === 'external' ? 'SUCCESS_RATE' : 'SUCCESS_RATE_LOCAL_ORIGIN';
    for (const monitored of valid) {
      if (monitored.successRate[origin] >= this.rates[origin].ejectionThreshold) continue;
      this.stats.deprecatedSuccessRate.inc();
      this.stats.detected[type].inc();
      this.eject(monitored, type, origin);
    }
  }

  private ejectByFailures(valid: readonly Monitored<H>[], origin: Origin): void {
    const threshold = this.number('failurePercentageThreshold');
    const type = origin === 'external' ? 'FAILURE_PERCENTAGE' : 'FAILURE_PERCENTAGE_LOCAL_ORIGIN';
    for (const monitored of valid) {
      // Its success rate may have ejected it just now.
      if (isEjected(monitored.host) || 100 - monitored.successRate[origin] < threshold) continue;
      this.stats.detected[type].inc();
      this.eject(monitored, type, origin);
    }
  }

  private eject(monitored: Monitored<H>, type: EjectionType, origin: Origin = 'external'): void {
    const { settings, random } = this.options;
    const allowed = Math.min(100, this.number('maxEjectionPercent'));
    const fits = (100 * (this.ejectionsActive + 1)) / this.hosts.size <= allowed;
    if (!fits && !(settings.alwaysEjectOneHost && this.ejectionsActive === 0)) {
      this.stats.overflow.inc();
      return;
    }
    if (type === 'CONSECUTIVE_5XX' || type === 'SUCCESS_RATE') this.stats.deprecatedTotal.inc();
    const enforced = this.isEnforced(type);
    if (enforced) {
      this.countActive(1);
      this.stats.enforcedTotal.inc();
      this.stats.enforced[type].inc();
      const jitter = this.number('maxEjectionTimeJitter');
      monitored.numEjections++;
      monitored.lastEjectionMs = this.options.now();
      monitored.jitterMs = jitter > 0 ? (random() >>> 0) % (jitter + 1) : 0;
      const base = this.number('baseEjectionTime');
      if (monitored.backoff * base < this.number('maxEjectionTime') + base) monitored.backoff++;
      this.options.setEjected(monitored.host, true);
    }
    this.options.log?.({
      ...this.event(monitored, 'EJECT', monitored.lastUnejectionMs),
      ejection: {
        type,
        enforced,
        hostSuccessRate: monitored.successRate[origin],
        averageSuccessRate: this.rates[origin].average,
        successRateThreshold: this.rates[origin].ejectionThreshold,
      },
    });
  }

  private uneject(monitored: Monitored<H>): void {
    this.countActive(-1);
    // Few new errors must not complete an old row.
    for (const row of Object.values(Consecutive)) monitored.counts.resetConsecutive(row);
    monitored.lastUnejectionMs = this.options.now();
    this.options.setEjected(monitored.host, false);
    this.options.log?.(this.event(monitored, 'UNEJECT', monitored.lastEjectionMs));
  }

  private event(monitored: Monitored<H>, action: OutlierEvent['action'], lastMs: number | null): OutlierEvent {
    return {
      action,
      cluster: this.options.cluster,
      address: monitored.host.addressText,
      numEjections: monitored.numEjections,
      timeMs: this.options.wallClock(),
      sinceLastActionMs: lastMs === null ? null : this.options.now() - lastMs,
    };
  }

  private isEnforced(type: EjectionType): boolean {
    const { settings, runtime, random } = this.options;
    const name = EJECTIONS[type][1];
    const percent = settings.numbers[name];
    if (runtime === null) return (random() >>> 0) % 100 < percent;
    const byDefault = { numerator: percent, denominator: 'HUNDRED' } as const;
    return runtime.snapshot.featureEnabled(outlierRuntimeKey(name), byDefault, random() >>> 0);
  }

  private countActive(change: number): void {
    this.ejectionsActive += change;
    this.stats.active.add(change);
  }

  private number(name: OutlierNumber): number {
    return outlierNumber(this.options.settings, this.options.runtime, name);
  }
}

/** The mean, and the mean less `factor` standard deviations. */
export function successRateThreshold(rates: readonly number[], factor: number): SuccessRates {
  const average = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - average) ** 2, 0) / rates.length;
  return { average, ejectionThreshold: average - factor * Math.sqrt(variance) };
}

function isEjected(host: OutlierHost): boolean {
  return (host.healthFlags & HealthFlag.FailedOutlierCheck) !== 0;
}

class OutlierStats {
  readonly detected: Record<EjectionType, Counter>;
  readonly enforced: Record<EjectionType, Counter>;
  readonly enforcedTotal: Counter;
  readonly overflow: Counter;
  readonly active: Gauge;
  readonly deprecatedConsecutive5xx: Counter;
  readonly deprecatedSuccessRate: Counter;
  readonly deprecatedTotal: Counter;

  constructor(scope: Scope) {
    const byType = (kind: string): Record<EjectionType, Counter> =>
      Object.fromEntries(
        Object.entries(EJECTIONS).map(([type, [stat]]) => [type, scope.counter(`ejections_${kind}_${stat}`)]),
      ) as Record<EjectionType, Counter>;
    this.detected = byType('detected');
    this.enforced = byType('enforced');
    this.enforcedTotal = scope.counter('ejections_enforced_total');
    this.overflow = scope.counter('ejections_overflow');
    this.active = scope.gauge('ejections_active');
    this.deprecatedConsecutive5xx = scope.counter('ejections_consecutive_5xx');
    this.deprecatedSuccessRate = scope.counter('ejections_success_rate');
    this.deprecatedTotal = scope.counter('ejections_total');
  }
}
