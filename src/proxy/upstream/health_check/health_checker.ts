/**
 * Checks all hosts of a cluster, on the main thread's dispatcher (Envoy: HealthCheckerImplBase): a session per host with its timers, stats
 * and event log. What a result means is in `health_check_state.ts`, how it is found out in the probes.
 */

import type { Timer } from '../../../core/event/dispatcher.ts';
import type { Counter, Gauge, Scope } from '../../../core/stats/stats.ts';
import type { ClusterInfoImpl } from '../cluster_info.ts';
import { HealthFlag } from '../health_flags.ts';
import type { HostDescription } from '../host_update.ts';
import type { UpstreamContext } from '../upstream_context.ts';
import { CheckConnector } from './check_connector.ts';
import { GrpcProbe } from './grpc_probe.ts';
import type { HealthCheckEvent } from './health_check_events.ts';
import type { HealthCheckSettings } from './health_check_settings.ts';
import {
  type FailureType,
  type HealthCheckOutcome,
  HealthCheckState,
  type HealthTransition,
  isNetworkFailure,
  nextCheckMs,
  withJitter,
} from './health_check_state.ts';
import { HttpProbe } from './http_probe.ts';
import type { Probe, ProbeCallbacks } from './probe.ts';
import { TcpProbe } from './tcp_probe.ts';

/** A host as main knows it. */
export interface CheckedHost {
  readonly key: string;
  healthFlags: number;
  readonly description: HostDescription;
}

export interface HealthCheckerOptions {
  readonly settings: HealthCheckSettings;
  /** The checker's own: it is closed with it. */
  readonly cluster: ClusterInfoImpl;
  /** The main thread's. */
  readonly context: UpstreamContext;
  readonly log: (event: HealthCheckEvent) => void;
}

/** After each check; the host's flags are set. */
export type OnChecked<H extends CheckedHost> = (host: H, transition: HealthTransition, healthy: boolean) => void;

export class HealthChecker<H extends CheckedHost> {
  readonly settings: HealthCheckSettings;
  readonly cluster: ClusterInfoImpl;
  readonly context: UpstreamContext;
  readonly stats: HealthCheckStats;
  readonly connector: CheckConnector;
  private readonly log: HealthCheckerOptions['log'];
  private readonly onChecked: OnChecked<H>;
  private readonly sessions = new Map<H, Session<H>>();

  constructor(options: HealthCheckerOptions, onChecked: OnChecked<H>) {
    this.settings = options.settings;
    this.cluster = options.cluster;
    this.context = options.context;
    this.log = options.log;
    this.onChecked = onChecked;
    this.stats = new HealthCheckStats(options.cluster.statsScope.scope('health_check.'));
    const { check } = options.settings;
    const http2 = check.kind === 'GRPC' || (check.kind === 'HTTP' && check.http2);
    const protocols = check.kind === 'TCP' ? [] : [http2 ? 'h2' : 'http/1.1'];
    this.connector = new CheckConnector(options.context, options.cluster, options.settings, protocols);
  }

  addHost(host: H): void {
    if (host.description.healthCheck?.disabled) return;
    const session = new Session(this, host);
    this.sessions.set(host, session);
    this.countHealth(0, host.healthFlags, true);
    this.context.dispatcher.post(() => session.start());
  }

  removeHost(host: H): void {
    const session = this.sessions.get(host);
    if (session === undefined) return;
    this.sessions.delete(host);
    this.countHealth(host.healthFlags, HealthFlag.FailedActiveHc, false);
    this.context.dispatcher.post(() => session.close());
  }

  /** Traffic brought `x-envoy-immediate-health-check-fail`. */
  onImmediateFailure(host: H): void {
    this.sessions.get(host)?.onPassiveFailure();
  }

  /** No check of this host is complete. */
  isUnchecked(host: H): boolean {
    return this.sessions.get(host)?.unchecked ?? false;
  }

  close(): void {
    for (const host of [...this.sessions.keys()]) this.removeHost(host);
    this.cluster.close();
  }

  // --- for sessions ---

  createProbe(callbacks: ProbeCallbacks): Probe {
    const { check, reuseConnection } = this.settings;
    switch (check.kind) {
      case 'HTTP':
        return new HttpProbe(check, this.connector, reuseConnection, callbacks);
      case 'TCP':
        return new TcpProbe(check, this.connector, reuseConnection, callbacks);
      case 'GRPC':
        return new GrpcProbe(check, this.connector, reuseConnection, callbacks);
    }
  }

  apply(host: H, outcome: HealthCheckOutcome, healthy: boolean): void {
    this.countHealth(host.healthFlags, outcome.flags, false);
    host.healthFlags = outcome.flags;
    const { cluster, settings } = this;
    for (const happening of outcome.happenings) {
      const timeMs = this.context.dispatcher.systemTimeMs;
      this.log({ checker: settings.check.kind, cluster: cluster.name, host: host.description, happening, timeMs });
    }
    this.onChecked(host, outcome.transition, healthy);
  }

  nextMs(healthy: boolean, transition: HealthTransition): number {
    const { context, settings, cluster } = this;
    const traffic = cluster.stats.upstreamCxTotal.value > 0;
    return nextCheckMs(settings.intervals, { healthy, transition, traffic }, () => context.random(), context.runtime);
  }

  private countHealth(before: number, after: number, added: boolean): void {
    const healthy = (flags: number): number => ((flags & HealthFlag.FailedActiveHc) === 0 ? 1 : 0);
    const degraded = (flags: number): number => ((flags & HealthFlag.DegradedActiveHc) === 0 ? 0 : 1);
    this.stats.healthy.add(healthy(after) - (added ? 0 : healthy(before)));
    this.stats.degraded.add(degraded(after) - (added ? 0 : degraded(before)));
  }
}

class Session<H extends CheckedHost> implements ProbeCallbacks {
  private readonly checker: HealthChecker<H>;
  private readonly host: H;
  private readonly state: HealthCheckState;
  private readonly probe: Probe;
  private readonly intervalTimer: Timer;
  private readonly timeoutTimer: Timer;
  private closed = false;

  constructor(checker: HealthChecker<H>, host: H) {
    this.checker = checker;
    this.host = host;
    this.state = new HealthCheckState(checker.settings);
    this.probe = checker.createProbe(this);
    const { dispatcher } = checker.context;
    this.intervalTimer = dispatcher.createTimer(() => this.check());
    this.timeoutTimer = dispatcher.createTimer(() => this.onTimeout());
  }

  get unchecked(): boolean {
    return this.state.unchecked;
  }

  start(): void {
    if (this.closed) return;
    const { initialJitterMs, intervals } = this.checker.settings;
    const { context } = this.checker;
    if (initialJitterMs === 0) this.check();
    else this.intervalTimer.enableTimer(withJitter(0, initialJitterMs, intervals.jitterPercent, () => context.random()));
  }

  close(): void {
    this.closed = true;
    this.intervalTimer.disableTimer();
    this.timeoutTimer.disableTimer();
    this.probe.close();
  }

  private check(): void {
    this.checker.stats.attempt.inc();
    this.timeoutTimer.enableTimer(this.checker.settings.timeoutMs);
    this.probe.begin(this.host.description);
  }

  private onTimeout(): void {
    this.probe.abandon();
    this.onFailure('NETWORK_TIMEOUT', false);
  }

  onSuccess(degraded: boolean): void {
    if (this.closed) return;
    this.checker.stats.success.inc();
    const outcome = this.state.onSuccess(this.host.healthFlags, degraded);
    this.checker.apply(this.host, outcome, true);
    this.scheduleNext(true, outcome.transition);
  }

  onFailure(type: FailureType, retriable: boolean, exclude = false): void {
    if (this.closed) return;
    this.scheduleNext(false, this.fail(type, retriable, exclude));
  }

  /** The check under way, or the next one, goes on as it is. */
  onPassiveFailure(): void {
    this.fail('PASSIVE', false, true);
  }

  verifiesCluster(): boolean {
    const { stats, context } = this.checker;
    const always = { numerator: 100, denominator: 'HUNDRED' } as const;
    const verifies = context.runtime?.snapshot.featureEnabled('health_check.verify_cluster', always, context.random()) ?? true;
    if (verifies) stats.verifyCluster.inc();
    return verifies;
  }

  private fail(type: FailureType, retriable: boolean, exclude: boolean): HealthTransition {
    const { stats } = this.checker;
    stats.failure.inc();
    if (isNetworkFailure(type)) stats.networkFailure.inc();
    else if (type === 'PASSIVE') stats.passiveFailure.inc();
    const outcome = this.state.onFailure(this.host.healthFlags, type, retriable, exclude);
    this.checker.apply(this.host, outcome, false);
    return outcome.transition;
  }

  private scheduleNext(healthy: boolean, transition: HealthTransition): void {
    // Whoever heard of the result may have removed the host.
    if (this.closed) return;
    this.timeoutTimer.disableTimer();
    this.intervalTimer.enableTimer(this.checker.nextMs(healthy, transition));
  }
}

class HealthCheckStats {
  readonly attempt: Counter;
  readonly success: Counter;
  readonly failure: Counter;
  readonly passiveFailure: Counter;
  readonly networkFailure: Counter;
  readonly verifyCluster: Counter;
  readonly healthy: Gauge;
  readonly degraded: Gauge;

  constructor(scope: Scope) {
    this.attempt = scope.counter('attempt');
    this.success = scope.counter('success');
    this.failure = scope.counter('failure');
    this.passiveFailure = scope.counter('passive_failure');
    this.networkFailure = scope.counter('network_failure');
    this.verifyCluster = scope.counter('verify_cluster');
    this.healthy = scope.gauge('healthy');
    this.degraded = scope.gauge('degraded');
  }
}
