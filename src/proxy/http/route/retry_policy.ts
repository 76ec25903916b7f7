/**
 * RetryPolicy of a route or virtual host, and the names of retry conditions. A route's policy replaces its virtual host's.
 *
 * Left out: retry_options_predicates. 0 as base interval means runtime's
 * `upstream.base_retry_backoff_ms` (25), 0 as maximum ten times the base.
 */

import { sameValue } from '../../common/struct_value.ts';
import { ConfigError } from '../../config/error.ts';
import type { AnyConfig, MetadataConfig, RetryPolicyConfig } from './config_types.ts';
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

type HostPredicate = RetryPolicy['hostPredicates'][number];

interface OmitHostMetadata {
  metadataMatch?: MetadataConfig;
}

/** What makes a predicate of its configuration; also by the names from before there were types. */
const HOST_PREDICATES: Record<string, (config: OmitHostMetadata | undefined) => HostPredicate> = {
  'envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate': () => wasTried,
  'envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate': () => isCanary,
  'envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig': (config) => hasMetadata(config),
  'envoy.retry_host_predicates.previous_hosts': () => wasTried,
  'envoy.retry_host_predicates.omit_canary_hosts': () => isCanary,
};

const wasTried: HostPredicate = (host, attempted) => attempted.includes(host);
const isCanary: HostPredicate = (host) => host.canary;

/** All of the given `envoy.lb` fields; none given: every host is as good. */
function hasMetadata(config: OmitHostMetadata | undefined): HostPredicate {
  const wanted = Object.entries(config?.metadataMatch?.filterMetadata?.['envoy.lb'] ?? {});
  if (wanted.length === 0) return () => false;
  return (host) => {
    const labels = host.metadata['envoy.lb'];
    return labels !== undefined && wanted.every(([key, value]) => sameValue(labels[key], value));
  };
}

const PREVIOUS_PRIORITIES = 'envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig';

/** Throws ConfigError. */
export function compileRetryPolicy(config: RetryPolicyConfig, path: string): RetryPolicy {
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
    previousPriorities: compileRetryPriority(config, path),
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
    if (!Object.hasOwn(HOST_PREDICATES, type)) throw notRegistered(predicate, `${path}.retry_host_predicate[${i}]`);
    return HOST_PREDICATES[type](predicate.typedConfig as OmitHostMetadata | undefined);
  });
}

function compileRetryPriority(config: RetryPolicyConfig, path: string): number {
  const priority = config.retryPriority;
  if (priority === undefined) return 0;
  if (priority.typedConfig?.['@type'] !== PREVIOUS_PRIORITIES) throw notRegistered(priority, `${path}.retry_priority`);
  const { updateFrequency = 0 } = priority.typedConfig as AnyConfig & { updateFrequency?: number };
  if (updateFrequency <= 0) {
    throw new ConfigError('update_frequency must be greater than 0', {
      path: `${path}.retry_priority.typed_config.update_frequency`,
    });
  }
  return updateFrequency;
}

function notRegistered(extension: { name?: string; typedConfig?: AnyConfig }, path: string): ConfigError {
  const type = extension.typedConfig?.['@type'] ?? '';
  return new ConfigError(`Didn't find a registered implementation for '${extension.name ?? ''}' with type URL: '${type}'`, {
    path,
  });
}
