/** What is between those who want resources and where resources come from (Envoy: Config::Subscription, SubscriptionStats). */
import type { Counter, Gauge, Scope, TextReadout } from '../../../core/stats/stats.ts';
import { xxHash64 } from '../../common/xxhash64.ts';
import type { ResourceKind } from './resource_types.ts';
import type { ParsedResource } from './response.ts';

export interface ResourceUpdate {
  readonly resources: readonly ParsedResource[];
  readonly removed: readonly string[];
  /** What is not among `resources` is gone. */
  readonly full: boolean;
  readonly version: string;
}

/** Someone who wants resources. */
export interface Watcher {
  /** All that is new. Null, or why (some of) it is not accepted: then the control plane is told, and what could be used is used. */
  onResources(update: ResourceUpdate): string | null;
  /** Nothing came for the initial fetch timeout: go on without. */
  onFetchTimeout(): void;
  readonly stats: SubscriptionStats;
}

export interface Subscription {
  close(): void;
}

/** Where resources come from. */
export interface ResourceSource {
  /** `name` null: all there are. */
  subscribe(kind: ResourceKind, name: string | null, watcher: Watcher, fetchTimeoutMs: number): Subscription;
  close(): void;
}

export interface SubscriptionStats {
  readonly updateAttempt: Counter;
  readonly updateSuccess: Counter;
  readonly updateFailure: Counter;
  readonly updateRejected: Counter;
  readonly initFetchTimeout: Counter;
  readonly updateTime: Gauge;
  readonly version: Gauge;
  readonly versionText: TextReadout;
}

/** `scope`: such as `cluster_manager.cds.`. */
export function subscriptionStats(scope: Scope): SubscriptionStats {
  return {
    updateAttempt: scope.counter('update_attempt'),
    updateSuccess: scope.counter('update_success'),
    updateFailure: scope.counter('update_failure'),
    updateRejected: scope.counter('update_rejected'),
    initFetchTimeout: scope.counter('init_fetch_timeout'),
    updateTime: scope.gauge('update_time'),
    version: scope.gauge('version'),
    versionText: scope.textReadout('version_text'),
  };
}

export function noteSuccess(stats: SubscriptionStats, version: string): void {
  stats.updateSuccess.inc();
  stats.updateTime.set(Date.now());
  stats.version.set(Number(BigInt.asUintN(53, xxHash64(version))));
  stats.versionText.set(version);
}

/** Calls the watcher when nothing came in time; 0: never. The result ends the waiting. */
export function fetchTimeout(watcher: Watcher, timeoutMs: number): () => void {
  if (timeoutMs <= 0) return () => {};
  const timer = setTimeout(() => {
    watcher.stats.initFetchTimeout.inc();
    watcher.onFetchTimeout();
  }, timeoutMs);
  timer.unref();
  return () => clearTimeout(timer);
}
