/**
 * Whether a request is tried again (Envoy's RetryState), as decisions only: no timers, no clock. The router asks about response
 * headers and resets, waits `nextBackOffMs`, and tells which hosts it tried.
 *
 * A retry holds one of the cluster's retry resources from the decision until the next one or `release`.
 * Left out: HTTP/3 (0-RTT, fallback), hedging.
 */
import { parseInteger } from '../common/byte_text.ts';
import type { RuntimeSnapshot } from '../runtime/runtime.ts';
import type { PriorityAvailability, PriorityLoad } from '../upstream/lb/priority_load.ts';
import type { Host, Resource } from '../upstream/upstream.ts';
import { StreamResetReason } from './codec.ts';
import type { HeaderMap } from './header_map.ts';
import { H } from './header_names.ts';
import { PreviousPriorities } from './previous_priorities.ts';
import { compileHeaderMatcher } from './route/header_matcher.ts';
import { parseRetryOn, RETRY_ON_GRPC, RetryOn } from './route/retry_policy.ts';
import type { HeaderPredicate, RetryPolicy } from './route/route.ts';

export { RetryOn } from './route/retry_policy.ts';

export const RetryStatus = {
  No: 0,
  /** The circuit breaker of retries is open. */
  NoOverflow: 1,
  /** `num_retries` used up: flag URX. */
  NoRetryLimitExceeded: 2,
  Yes: 3,
} as const;
export type RetryStatus = (typeof RetryStatus)[keyof typeof RetryStatus];

/** Counters of the cluster, by Envoy's names. */
export interface RetryStats {
  upstreamRqRetry: { inc(): void };
  upstreamRqRetrySuccess: { inc(): void };
  upstreamRqRetryOverflow: { inc(): void };
  upstreamRqRetryLimitExceeded: { inc(): void };
  upstreamRqRetryBackoffExponential: { inc(): void };
  upstreamRqRetryBackoffRatelimited: { inc(): void };
}

export interface RetryStateDeps {
  readonly runtime: RuntimeSnapshot;
  /** `retries` of the cluster's resource manager. */
  readonly retries: Resource;
  readonly stats: RetryStats | null;
  /** A random 32-bit number. */
  random(): number;
}

const GRPC_CODES: Record<string, number> = {
  '1': RetryOn.cancelled,
  '4': RetryOn['deadline-exceeded'],
  '8': RetryOn['resource-exhausted'],
  '13': RetryOn.internal,
  '14': RetryOn.unavailable,
};

const CONSUMED_HEADERS = [
  H['x-envoy-retry-on'],
  H['x-envoy-retry-grpc-on'],
  H['x-envoy-max-retries'],
  H['x-envoy-hedge-on-per-try-timeout'],
  H['x-envoy-retriable-header-names'],
  H['x-envoy-retriable-status-codes'],
  H['x-envoy-upstream-rq-per-try-timeout-ms'],
];

/** What a request that has no policy of its own starts from. */
const NO_POLICY: RetryPolicy = {
  retryOn: 0,
  numRetries: 1,
  perTryTimeoutMs: 0,
  perTryIdleTimeoutMs: 0,
  retriableStatusCodes: [],
  retriableHeaders: [],
  retriableRequestHeaders: [],
  baseIntervalMs: 0,
  maxIntervalMs: 0,
  rateLimitedResetHeaders: [],
  rateLimitedMaxIntervalMs: 300_000,
  hostPredicates: [],
  previousPriorities: 0,
  hostSelectionMaxAttempts: 1,
};

/**
 * The retry state of a request; null when it can never be retried. Takes the headers that steer retries out of the request, so
 * the per-try timeout must have been read before.
 */
export function createRetryState(policy: RetryPolicy | null, request: HeaderMap, deps: RetryStateDeps): RetryState | null {
  const byHeader = request.hasId(H['x-envoy-retry-on']) || request.hasId(H['x-envoy-retry-grpc-on']);
  const state = byHeader || (policy !== null && policy.retryOn !== 0) ? new RetryState(policy ?? NO_POLICY, request, deps) : null;
  for (const id of CONSUMED_HEADERS) request.removeId(id);
  return state;
}

export class RetryState {
  /** Bits of RetryOn. */
  readonly retryOn: number;
  readonly hostSelectionMaxAttempts: number;
  retriesRemaining: number;
  private readonly policy: RetryPolicy;
  private readonly deps: RetryStateDeps;
  private readonly statusCodes: readonly number[];
  private readonly headers: readonly HeaderPredicate[];
  private readonly attempted: Host[] = [];
  private previousPriorities: PreviousPriorities | null = null;
  private readonly maxIntervalMs: number;
  private nextIntervalMs: number;
  /** From a rate limit header of the response that is being retried; 0: none. */
  private rateLimitedIntervalMs = 0;
  private immediate = false;
  private holdsResource = false;

  constructor(policy: RetryPolicy, request: HeaderMap, deps: RetryStateDeps) {
    this.policy = policy;
    this.deps = deps;
    this.hostSelectionMaxAttempts = policy.hostSelectionMaxAttempts;
    const base = policy.baseIntervalMs || deps.runtime.getInteger('upstream.base_retry_backoff_ms', 25) || 1;
    this.nextIntervalMs = base;
    this.maxIntervalMs = policy.maxIntervalMs || base * 10;
    let retryOn = policy.retryOn;
    retryOn |= parseRetryOn(request.getId(H['x-envoy-retry-on']) ?? '') & ~RETRY_ON_GRPC;
    retryOn |= parseRetryOn(request.getId(H['x-envoy-retry-grpc-on']) ?? '') & RETRY_ON_GRPC;
    const required = policy.retriableRequestHeaders;
    if (required.length > 0 && !required.some((header) => header.matches(request))) retryOn = 0;
    this.retryOn = retryOn;
    const maxRetries = parseInteger(request.getId(H['x-envoy-max-retries']) ?? '');
    this.retriesRemaining = retryOn !== 0 && maxRetries !== undefined && maxRetries >= 0 ? maxRetries : policy.numRetries;
    this.statusCodes = withRequestedCodes(policy.retriableStatusCodes, request);
    this.headers = withRequestedHeaders(policy.retriableHeaders, request);
  }

  get enabled(): boolean {
    return this.retryOn !== 0;
  }

  /** `nowMs` is the wall clock, for rate limit headers that carry a timestamp. */
  shouldRetryHeaders(response: HeaderMap, request: HeaderMap, nowMs: number): RetryStatus {
    const would = this.wouldRetryFromHeaders(response, request);
    this.rateLimitedIntervalMs = would && !this.immediate ? this.resetInterval(response, nowMs) : 0;
    return this.decide(would);
  }

  /** `requestStarted`: some of the request was sent upstream. */
  shouldRetryReset(reason: StreamResetReason, requestStarted: boolean): RetryStatus {
    this.immediate = false;
    return this.decide(this.wouldRetryFromReset(reason, requestStarted));
  }

  /** Whether the policy asks for a retry, whatever is left of the budget. */
  wouldRetryFromHeaders(response: HeaderMap, request: HeaderMap): boolean {
    this.immediate = false;
    const { retryOn } = this;
    // Another proxy has limited it: only its own condition counts.
    if (response.hasId(H['x-envoy-ratelimited'])) return (retryOn & RetryOn['envoy-ratelimited']) !== 0;
    const status = parseInteger(response.getId(H[':status']) ?? '') ?? 0;
    if ((retryOn & RetryOn['5xx']) !== 0 && status >= 500 && status < 600) return true;
    if ((retryOn & RetryOn['gateway-error']) !== 0 && status >= 502 && status <= 504) return true;
    if ((retryOn & RetryOn['retriable-4xx']) !== 0 && status === 409) return true;
    if ((retryOn & RetryOn['retriable-status-codes']) !== 0 && this.statusCodes.includes(status)) {
      if (status !== 425) return true;
      if (!request.hasId(H['early-data'])) {
        this.immediate = true;
        return true;
      }
    }
    if ((retryOn & RetryOn['retriable-headers']) !== 0 && this.headers.some((header) => header.matches(response))) return true;
    if ((retryOn & RETRY_ON_GRPC) === 0) return false;
    return (retryOn & (GRPC_CODES[response.getId(H['grpc-status']) ?? ''] ?? 0)) !== 0;
  }

  wouldRetryFromReset(reason: StreamResetReason, requestStarted: boolean): boolean {
    const { retryOn } = this;
    if (reason === StreamResetReason.Overflow) return false;
    if (isConnectFailure(reason) && (retryOn & RetryOn['connect-failure']) !== 0) return true;
    if ((retryOn & RetryOn['reset-before-request']) !== 0 && !requestStarted) return true;
    if ((retryOn & (RetryOn.reset | RetryOn['5xx'] | RetryOn['gateway-error'])) !== 0) return true;
    return (retryOn & RetryOn['refused-stream']) !== 0 && reason === StreamResetReason.RemoteRefusedStreamReset;
  }

  /** After `Yes`: how long to wait. 0: the next turn. */
  nextBackOffMs(): number {
    const { deps } = this;
    if (this.immediate) return 0;
    if (this.rateLimitedIntervalMs > 0) {
      deps.stats?.upstreamRqRetryBackoffRatelimited.inc();
      const interval = this.rateLimitedIntervalMs;
      this.rateLimitedIntervalMs = 0;
      return interval + (deps.random() % Math.max(1, Math.floor(interval / 2)));
    }
    deps.stats?.upstreamRqRetryBackoffExponential.inc();
    const interval = this.nextIntervalMs;
    this.nextIntervalMs = Math.min(interval * 2, this.maxIntervalMs);
    return deps.random() % interval;
  }

  onHostAttempted(host: Host): void {
    this.attempted.push(host);
  }

  /** Asked by the load balancer about the host it chose. */
  shouldSelectAnotherHost(host: Host): boolean {
    for (const predicate of this.policy.hostPredicates) {
      if (predicate(host, this.attempted)) return true;
    }
    return false;
  }

  /** The load of the priorities for the next attempt. */
  determinePriorityLoad(
    load: PriorityLoad,
    availability: PriorityAvailability,
    priorityOf: (host: Host) => number | null,
  ): PriorityLoad {
    if (this.policy.previousPriorities === 0) return load;
    this.previousPriorities ??= new PreviousPriorities(this.policy.previousPriorities);
    return this.previousPriorities.load(this.attempted, load, availability, priorityOf);
  }

  /** The request is over: gives the retry resource back. */
  release(): void {
    if (!this.holdsResource) return;
    this.holdsResource = false;
    this.deps.retries.dec();
  }

  private decide(would: boolean): RetryStatus {
    const { deps } = this;
    // Asked again after a retry, and nothing to retry now: that one succeeded.
    if (this.holdsResource && !would) deps.stats?.upstreamRqRetrySuccess.inc();
    this.release();
    if (!would) return RetryStatus.No;
    if (this.retriesRemaining === 0) {
      deps.stats?.upstreamRqRetryLimitExceeded.inc();
      return RetryStatus.NoRetryLimitExceeded;
    }
    this.retriesRemaining--;
    if (!deps.retries.canCreate()) {
      deps.stats?.upstreamRqRetryOverflow.inc();
      return RetryStatus.NoOverflow;
    }
    if (!deps.runtime.featureEnabled('upstream.use_retry', ALWAYS, deps.random())) return RetryStatus.No;
    deps.retries.inc();
    this.holdsResource = true;
    deps.stats?.upstreamRqRetry.inc();
    return RetryStatus.Yes;
  }

  /** The first rate limit header with a usable interval, in ms; 0 without one. */
  private resetInterval(response: HeaderMap, nowMs: number): number {
    for (const { name, format } of this.policy.rateLimitedResetHeaders) {
      const value = parseInteger(response.getAll(name)[0] ?? '');
      if (value === undefined || value < 0) continue;
      const interval = format === 'SECONDS' ? value * 1000 : value * 1000 - nowMs;
      if (interval >= 0 && interval <= this.policy.rateLimitedMaxIntervalMs) return interval > 1 ? Math.floor(interval) : 0;
    }
    return 0;
  }
}

const ALWAYS = { numerator: 100, denominator: 'HUNDRED' } as const;

function isConnectFailure(reason: StreamResetReason): boolean {
  return (
    reason === StreamResetReason.LocalConnectionFailure ||
    reason === StreamResetReason.RemoteConnectionFailure ||
    reason === StreamResetReason.ConnectionTimeout
  );
}

function withRequestedCodes(codes: readonly number[], request: HeaderMap): readonly number[] {
  const text = request.getId(H['x-envoy-retriable-status-codes']);
  if (text === undefined) return codes;
  const requested = text.split(',').map(parseInteger);
  return [...codes, ...requested.filter((code) => code !== undefined && code >= 0).map(Number)];
}

function withRequestedHeaders(headers: readonly HeaderPredicate[], request: HeaderMap): readonly HeaderPredicate[] {
  const text = request.getId(H['x-envoy-retriable-header-names']);
  if (text === undefined) return headers;
  const names = text.split(',').map((name) => name.trim());
  return [...headers, ...names.filter((name) => name !== '').map((name) => compileHeaderMatcher({ name }))];
}
