/**
 * RetryPolicy of a route or virtual host, and the names of retry conditions. A route's policy replaces its virtual host's.
 *
 * Left out: retry_priority, retry_options_predicates, the host predicate omit_host_metadata. 0 as base interval means runtime's
 * `upstream.base_retry_backoff_ms` (25), 0 as maximum ten times the base.
 */
import { ConfigError } from '../../config/error.ts';
import type { RetryPolicyConfig } from './config_types.ts';
import { compileHeaderMatchers } from './header_matcher.ts';
import type { RetryPolicy } from './route.ts';

/** Bits of `retryOn` by the names of `retry_on` and x-envoy-retry-on. */
export const RetryOn = {
  '5xx': 0x1,
  'gateway-error': 0x2,
  'connect-failure': 0x4,
  'retriable-4xx': 0x8,
  'refused-stream': 0x10,
  cancelled: 0x20,
  'deadline-exceeded': 0x40,
  'resource-exhausted': 0x80,
  unavailable: 0x100,
  internal: 0x200,
  'retriable-status-codes': 0x400,
  reset: 0x800,
  'retriable-headers': 0x1000,
  'envoy-ratelimited': 0x2000,
  'http3-post-connect-failure': 0x4000,
  'reset-before-request': 0x8000,
} as const;

/** Conditions that look at grpc-status: those of x-envoy-retry-grpc-on. */
export const RETRY_ON_GRPC =
  RetryOn.cancelled | RetryOn['deadline-exceeded'] | RetryOn['resource-exhausted'] | RetryOn.unavailable | RetryOn.internal;

/** Bits of a comma list. Names that are not known are left out. */
export function parseRetryOn(text: string): number {
  let bits = 0;
  for (const name of text.split(',')) {
    const key = name.trim();
    if (Object.hasOwn(RetryOn, key)) bits |= RetryOn[key as keyof typeof RetryOn];
  }
  return bits;
}

const HOST_PREDICATES = {
  'envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate': 'previous_hosts',
  'envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate': 'omit_canary_hosts',
  'envoy.retry_host_predicates.previous_hosts': 'previous_hosts',
  'envoy.retry_host_predicates.omit_canary_hosts': 'omit_canary_hosts',
} as const;

/** Throws ConfigError. */
export function compileRetryPolicy(config: RetryPolicyConfig, path: string): RetryPolicy {
  if ((config.retryPriority?.name ?? '') !== '') {
    throw new ConfigError('retry_priority is not supported', { path: `${path}.retry_priority` });
  }
  if ((config.retryOptionsPredicates?.length ?? 0) > 0) {
    throw new ConfigError('retry_options_predicates is not supported', { path: `${path}.retry_options_predicates` });
  }
  const backOff = compileBackOff(config, path);
  const rateLimited = config.rateLimitedRetryBackOff;
  return {
    retryOn: parseRetryOn(config.retryOn ?? ''),
    numRetries: config.numRetries ?? 1,
    perTryTimeoutMs: config.perTryTimeout ?? 0,
    perTryIdleTimeoutMs: config.perTryIdleTimeout ?? 0,
    retriableStatusCodes: config.retriableStatusCodes ?? [],
    retriableHeaders: compileHeaderMatchers(config.retriableHeaders, `${path}.retriable_headers`),
    retriableRequestHeaders: compileHeaderMatchers(config.retriableRequestHeaders, `${path}.retriable_request_headers`),
    baseIntervalMs: backOff.base,
    maxIntervalMs: backOff.max,
    rateLimitedResetHeaders: (rateLimited?.resetHeaders ?? []).map((header) => ({
      name: (header.name ?? '').toLowerCase(),
      format: header.format ?? 'SECONDS',
    })),
    rateLimitedMaxIntervalMs: Math.max(1, rateLimited?.maxInterval ?? 300_000),
    hostPredicates: compileHostPredicates(config, path),
    hostSelectionMaxAttempts: config.hostSelectionRetryMaxAttempts || 1,
  };
}

function compileBackOff(config: RetryPolicyConfig, path: string): { base: number; max: number } {
  const backOff = config.retryBackOff;
  if (backOff === undefined) return { base: 0, max: 0 };
  const base = Math.max(1, Math.floor(backOff.baseInterval ?? 0));
  if (backOff.maxInterval === undefined) return { base, max: 0 };
  const max = Math.max(1, Math.floor(backOff.maxInterval));
  if (max < base) {
    throw new ConfigError('retry_policy.max_interval must greater than or equal to the base_interval', {
      path: `${path}.retry_back_off`,
    });
  }
  return { base, max };
}

function compileHostPredicates(config: RetryPolicyConfig, path: string): RetryPolicy['hostPredicates'] {
  return (config.retryHostPredicate ?? []).map((predicate, i) => {
    const type = predicate.typedConfig?.['@type'] ?? predicate.name ?? '';
    const known = (HOST_PREDICATES as Record<string, 'previous_hosts' | 'omit_canary_hosts' | undefined>)[type];
    if (known === undefined) {
      throw new ConfigError(
        `Didn't find a registered implementation for '${predicate.name ?? ''}' with type URL: '${predicate.typedConfig?.['@type'] ?? ''}'`,
        { path: `${path}.retry_host_predicate[${i}]` },
      );
    }
    return known;
  });
}
