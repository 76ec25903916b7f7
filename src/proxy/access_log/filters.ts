/**
 * Which streams a log writes (`envoy.config.accesslog.v3.AccessLogFilter`). Compiled once; asked once per line.
 *
 * The random choice of `runtime_filter` uses the first eight hex digits of x-request-id when there is one, so that all proxies on a
 * request's way decide alike. Left out: `extension_filter` (CEL, process rate limit), which is refused.
 */
import { compileMetadataMatcher, type MetadataMatcherConfig, valueAt } from '../common/value_matcher.ts';
import { ConfigError } from '../config/error.ts';
import { H } from '../http/header_names.ts';
import type { HeaderMatcherConfig } from '../http/route/config_types.ts';
import { compileHeaderMatcher } from '../http/route/header_matcher.ts';
import type { FractionalPercent, Runtime } from '../runtime/runtime.ts';
import { RESPONSE_FLAGS, type StreamInfo } from '../stream_info/stream_info.ts';
import type { FormatterContext } from './access_log.ts';
import { GRPC_STATUS_NAMES, GRPC_UNKNOWN, grpcStatusOf } from './grpc_status.ts';

export interface AccessLogFilter {
  evaluate(context: FormatterContext, info: StreamInfo): boolean;
}

/** What filters need of the factory context. */
export interface AccessLogFilterContext {
  readonly runtime: Runtime;
  random(): number;
}

export interface ComparisonFilterConfig {
  op?: string;
  value?: { defaultValue?: number; runtimeKey?: string };
}

export interface AccessLogFilterConfig {
  statusCodeFilter?: { comparison?: ComparisonFilterConfig };
  durationFilter?: { comparison?: ComparisonFilterConfig };
  notHealthCheckFilter?: object;
  traceableFilter?: object;
  runtimeFilter?: { runtimeKey?: string; percentSampled?: Partial<FractionalPercent>; useIndependentRandomness?: boolean };
  andFilter?: { filters?: readonly AccessLogFilterConfig[] };
  orFilter?: { filters?: readonly AccessLogFilterConfig[] };
  headerFilter?: { header?: HeaderMatcherConfig };
  responseFlagFilter?: { flags?: readonly string[] };
  grpcStatusFilter?: { statuses?: readonly string[]; exclude?: boolean };
  metadataFilter?: { matcher?: MetadataMatcherConfig; matchIfKeyNotFound?: boolean };
  logTypeFilter?: { types?: readonly string[]; exclude?: boolean };
  extensionFilter?: { name?: string };
}

type Predicate = AccessLogFilter['evaluate'];

/** Throws ConfigError. */
export function compileAccessLogFilter(
  config: AccessLogFilterConfig,
  context: AccessLogFilterContext,
  path = '',
): AccessLogFilter {
  return { evaluate: compile(config, context, path) };
}

function compile(config: AccessLogFilterConfig, context: AccessLogFilterContext, path: string): Predicate {
  const child = (field: string): string => (path === '' ? field : `${path}.${field}`);
  if (config.statusCodeFilter !== undefined) {
    const compare = comparison(config.statusCodeFilter.comparison, context, child('status_code_filter.comparison'));
    return (_, info) => compare(info.responseCode);
  }
  if (config.durationFilter !== undefined) {
    const compare = comparison(config.durationFilter.comparison, context, child('duration_filter.comparison'));
    return (_, info) => info.endMonotonicMs >= 0 && compare(Math.floor(info.endMonotonicMs - info.startMonotonicMs));
  }
  if (config.notHealthCheckFilter !== undefined) return (_, info) => !info.healthCheck;
  if (config.traceableFilter !== undefined) return isTraceable;
  if (config.runtimeFilter !== undefined) return runtimeFilter(config.runtimeFilter, context);
  if (config.andFilter !== undefined) {
    const filters = compileList(config.andFilter.filters, context, child('and_filter.filters'));
    return (log, info) => filters.every((filter) => filter(log, info));
  }
  if (config.orFilter !== undefined) {
    const filters = compileList(config.orFilter.filters, context, child('or_filter.filters'));
    return (log, info) => filters.some((filter) => filter(log, info));
  }
  if (config.headerFilter !== undefined) {
    const matcher = compileHeaderMatcher(config.headerFilter.header ?? {}, child('header_filter.header'));
    return (log) => log.requestHeaders !== null && matcher.matches(log.requestHeaders);
  }
  if (config.responseFlagFilter !== undefined)
    return responseFlagFilter(config.responseFlagFilter.flags ?? [], child('response_flag_filter'));
  if (config.grpcStatusFilter !== undefined) return grpcStatusFilter(config.grpcStatusFilter, child('grpc_status_filter'));
  if (config.metadataFilter !== undefined) return metadataFilter(config.metadataFilter, child('metadata_filter.matcher'));
  if (config.logTypeFilter !== undefined) {
    const types = new Set(config.logTypeFilter.types);
    const exclude = config.logTypeFilter.exclude === true;
    return (log) => types.has(log.accessLogType) !== exclude;
  }
  if (config.extensionFilter !== undefined) {
    const name = config.extensionFilter.name ?? '';
    throw new ConfigError(`access log filter ${name} is not supported`, { path: child('extension_filter') });
  }
  throw new ConfigError('one of the access log filters is required', { path });
}

function compileList(
  filters: readonly AccessLogFilterConfig[] | undefined,
  context: AccessLogFilterContext,
  path: string,
): Predicate[] {
  return (filters ?? []).map((filter, i) => compile(filter, context, `${path}[${i}]`));
}

const OPERATIONS: Record<string, (a: number, b: number) => boolean> = {
  EQ: (a, b) => a === b,
  GE: (a, b) => a >= b,
  LE: (a, b) => a <= b,
  NE: (a, b) => a !== b,
};

function comparison(
  config: ComparisonFilterConfig | undefined,
  context: AccessLogFilterContext,
  path: string,
): (value: number) => boolean {
  const name = config?.op ?? 'EQ';
  if (!Object.hasOwn(OPERATIONS, name)) throw new ConfigError(`unknown operation ${name}`, { path: `${path}.op` });
  const operation = OPERATIONS[name];
  const { defaultValue = 0, runtimeKey = '' } = config?.value ?? {};
  if (runtimeKey === '') return (value) => operation(value, defaultValue);
  return (value) => operation(value, context.runtime.snapshot.getInteger(runtimeKey, defaultValue));
}

/** Not a health check, and chosen for tracing by whoever made the request id. */
function isTraceable(log: FormatterContext, info: StreamInfo): boolean {
  const id = log.requestHeaders?.getId(H['x-request-id']);
  return !info.healthCheck && id !== undefined && id.length === 36 && (id[14] === '9' || id[14] === 'a' || id[14] === 'b');
}

function runtimeFilter(config: NonNullable<AccessLogFilterConfig['runtimeFilter']>, context: AccessLogFilterContext): Predicate {
  const { runtimeKey = '', percentSampled = {}, useIndependentRandomness = false } = config;
  const fraction: FractionalPercent = {
    numerator: percentSampled.numerator ?? 0,
    denominator: percentSampled.denominator ?? 'HUNDRED',
  };
  return (log) => {
    const chosen = useIndependentRandomness ? undefined : stableRandom(log);
    return context.runtime.snapshot.featureEnabled(runtimeKey, fraction, chosen ?? context.random());
  };
}

function stableRandom(log: FormatterContext): number | undefined {
  const id = log.requestHeaders?.getId(H['x-request-id']);
  return id !== undefined && /^[0-9a-fA-F]{8}/.test(id) ? Number.parseInt(id.slice(0, 8), 16) : undefined;
}

function responseFlagFilter(flags: readonly string[], path: string): Predicate {
  const known = new Map(Object.values(RESPONSE_FLAGS).map(([bit, short]) => [short as string, bit as number]));
  let mask = flags.length === 0 ? -1 : 0;
  for (const [i, flag] of flags.entries()) {
    const bit = known.get(flag);
    if (bit === undefined) {
      throw new ConfigError(`unknown response flag '${flag}' (allowed: ${[...known.keys()].join(', ')})`, {
        path: `${path}.flags[${i}]`,
      });
    }
    mask |= 1 << bit;
  }
  return (_, info) => (info.responseFlags & mask) !== 0;
}

function grpcStatusFilter(config: { statuses?: readonly string[]; exclude?: boolean }, path: string): Predicate {
  const statuses = new Set<number>();
  for (const [i, name] of (config.statuses ?? []).entries()) {
    const status = GRPC_STATUS_NAMES.findIndex(
      ([, capitals]) => capitals === name || (name === 'CANCELED' && capitals === 'CANCELLED'),
    );
    if (status < 0) throw new ConfigError(`unknown gRPC status ${name}`, { path: `${path}.statuses[${i}]` });
    statuses.add(status);
  }
  const exclude = config.exclude === true;
  return (log, info) => statuses.has(grpcStatusOf(log, info) ?? GRPC_UNKNOWN) !== exclude;
}

/** Without a value at the path, `match_if_key_not_found` decides. */
function metadataFilter(config: NonNullable<AccessLogFilterConfig['metadataFilter']>, path: string): Predicate {
  const otherwise = config.matchIfKeyNotFound ?? true;
  if (config.matcher === undefined) return () => otherwise;
  const { filter = '', path: segments = [] } = config.matcher;
  const keys = segments.map((segment) => segment.key ?? '');
  const matches = compileMetadataMatcher(config.matcher, path);
  return (_, { dynamicMetadata }) => {
    if (valueAt(dynamicMetadata?.[filter], keys) === undefined) return otherwise;
    return matches(dynamicMetadata);
  };
}
