/**
 * `rate_limits` of routes and virtual hosts: which descriptors a request has, for the rate limit filters (Envoy: router_ratelimit.cc,
 * RateLimitPolicyImpl). An action that has nothing to say drops the whole descriptor, unless it may be skipped.
 *
 * Left out, refused: actions of extensions, the deprecated `dynamic_metadata`.
 */
import { byteText } from '../../common/byte_text.ts';
import { valueAt } from '../../common/value_matcher.ts';
import { ConfigError } from '../../config/error.ts';
import type { IpAddress } from '../../network/address.ts';
import { ipFromBytes } from '../../network/address.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import type { HeaderMatcherConfig, QueryParameterMatcherConfig } from './config_types.ts';
import { compileHeaderMatchers, matchesAllHeaders } from './header_matcher.ts';
import { queryParameter as findQueryParameter, QueryParameterMatcher } from './query_matcher.ts';

export interface DescriptorEntry {
  readonly key: string;
  readonly value: string;
}

export interface RateLimitDescriptor {
  readonly entries: readonly DescriptorEntry[];
  /** What the service shall use in place of its own limit; null: its own. */
  readonly limit: RateLimitOverride | null;
}

export interface RateLimitOverride {
  readonly requestsPerUnit: number;
  /** `envoy.type.v3.RateLimitUnit` by name. */
  readonly unit: string;
}

interface MetadataKeyConfig {
  key?: string;
  path?: readonly { key?: string }[];
}

export interface RateLimitActionConfig {
  sourceCluster?: object;
  destinationCluster?: object;
  requestHeaders?: { headerName?: string; descriptorKey?: string; skipIfAbsent?: boolean };
  queryParameters?: { queryParameterName?: string; descriptorKey?: string; skipIfAbsent?: boolean };
  remoteAddress?: object;
  maskedRemoteAddress?: { v4PrefixMaskLen?: number; v6PrefixMaskLen?: number };
  genericKey?: { descriptorValue?: string; descriptorKey?: string };
  headerValueMatch?: {
    descriptorKey?: string;
    descriptorValue?: string;
    expectMatch?: boolean;
    headers?: readonly HeaderMatcherConfig[];
  };
  queryParameterValueMatch?: {
    descriptorKey?: string;
    descriptorValue?: string;
    expectMatch?: boolean;
    queryParameters?: readonly QueryParameterMatcherConfig[];
  };
  metadata?: {
    descriptorKey?: string;
    metadataKey?: MetadataKeyConfig;
    defaultValue?: string;
    source?: 'DYNAMIC' | 'ROUTE_ENTRY';
    skipIfAbsent?: boolean;
  };
}

export interface RateLimitConfig {
  stage?: number;
  disableKey?: string;
  actions?: readonly RateLimitActionConfig[];
  limit?: { dynamicMetadata?: { metadataKey?: MetadataKeyConfig } };
}

/** What actions look at. */
export interface DescriptorSource {
  readonly headers: HeaderMap;
  readonly info: StreamInfo;
  /** Of this proxy (`--service-cluster`). */
  readonly serviceCluster: string;
  readonly destinationCluster: string;
}

/** An entry; null: nothing to say, go on; undefined: no descriptor. */
type Action = (source: DescriptorSource) => DescriptorEntry | null | undefined;

export class RateLimitEntry {
  readonly stage: number;
  readonly disableKey: string;
  private readonly actions: readonly Action[];
  private readonly limitKey: MetadataKeyConfig | undefined;

  constructor(config: RateLimitConfig, path: string) {
    this.stage = config.stage ?? 0;
    this.disableKey = config.disableKey ?? '';
    this.actions = (config.actions ?? []).map((action, i) => compileAction(action, `${path}.actions[${i}]`));
    this.limitKey = config.limit?.dynamicMetadata?.metadataKey;
  }

  /** Undefined: this request has none. */
  descriptor(source: DescriptorSource): RateLimitDescriptor | undefined {
    const entries: DescriptorEntry[] = [];
    for (let i = 0; i < this.actions.length; i++) {
      const entry = this.actions[i](source);
      if (entry === undefined) return undefined;
      if (entry !== null) entries.push(entry);
    }
    if (entries.length === 0) return undefined;
    return { entries, limit: this.limitKey === undefined ? null : overrideOf(metadataValue(source.info, this.limitKey)) };
  }
}

/** Null: nothing is configured. Throws ConfigError. */
export function compileRateLimits(
  configs: readonly RateLimitConfig[] | undefined,
  path: string,
): readonly RateLimitEntry[] | null {
  if (configs === undefined || configs.length === 0) return null;
  return configs.map((config, i) => new RateLimitEntry(config, `${path}[${i}]`));
}

function compileAction(config: RateLimitActionConfig, path: string): Action {
  if (config.sourceCluster !== undefined) return ({ serviceCluster }) => ({ key: 'source_cluster', value: serviceCluster });
  if (config.destinationCluster !== undefined) {
    return ({ destinationCluster }) => ({ key: 'destination_cluster', value: destinationCluster });
  }
  if (config.requestHeaders !== undefined) return requestHeader(config.requestHeaders);
  if (config.queryParameters !== undefined) return queryParameter(config.queryParameters);
  if (config.remoteAddress !== undefined) return remoteAddress;
  if (config.maskedRemoteAddress !== undefined) return maskedAddress(config.maskedRemoteAddress);
  if (config.genericKey !== undefined) return genericKey(config.genericKey);
  if (config.headerValueMatch !== undefined) return headerValue(config.headerValueMatch, `${path}.header_value_match`);
  if (config.queryParameterValueMatch !== undefined) {
    return queryValue(config.queryParameterValueMatch, `${path}.query_parameter_value_match`);
  }
  if (config.metadata !== undefined) return metadata(config.metadata);
  throw new ConfigError('an action is required', { path });
}

function requestHeader(config: NonNullable<RateLimitActionConfig['requestHeaders']>): Action {
  const name = (config.headerName ?? '').toLowerCase();
  const key = config.descriptorKey ?? '';
  const absent = config.skipIfAbsent === true ? null : undefined;
  return ({ headers }) => {
    const value = headers.get(name);
    return value === undefined ? absent : { key, value };
  };
}

function queryParameter(config: NonNullable<RateLimitActionConfig['queryParameters']>): Action {
  const name = byteText(config.queryParameterName ?? '');
  const key = config.descriptorKey ?? '';
  const absent = config.skipIfAbsent === true ? null : undefined;
  return ({ headers }) => {
    const value = findQueryParameter(headers.get(':path') ?? '', name);
    return value === undefined || value === '' ? absent : { key, value };
  };
}

const remoteAddress: Action = ({ info }) => {
  const address = info.downstreamRemoteAddress;
  return address?.kind === 'ip' ? { key: 'remote_address', value: address.ip } : undefined;
};

function maskedAddress(config: NonNullable<RateLimitActionConfig['maskedRemoteAddress']>): Action {
  const v4 = config.v4PrefixMaskLen ?? 32;
  const v6 = config.v6PrefixMaskLen ?? 128;
  return ({ info }) => {
    const address = info.downstreamRemoteAddress;
    if (address?.kind !== 'ip') return undefined;
    return { key: 'masked_remote_address', value: maskedText(address, address.version === 4 ? v4 : v6) };
  };
}

function maskedText(address: IpAddress, length: number): string {
  const bytes = address.bytes.slice();
  for (let i = 0; i < bytes.length; i++) {
    const bits = Math.max(0, Math.min(8, length - i * 8));
    bytes[i] &= (0xff << (8 - bits)) & 0xff;
  }
  return `${ipFromBytes(bytes, 0).ip}/${length}`;
}

function genericKey(config: NonNullable<RateLimitActionConfig['genericKey']>): Action {
  const entry = { key: config.descriptorKey || 'generic_key', value: config.descriptorValue ?? '' };
  return () => entry;
}

function headerValue(config: NonNullable<RateLimitActionConfig['headerValueMatch']>, path: string): Action {
  const entry = { key: config.descriptorKey || 'header_match', value: config.descriptorValue ?? '' };
  const expected = config.expectMatch ?? true;
  const matchers = compileHeaderMatchers(config.headers, `${path}.headers`);
  return ({ headers }) => (matchesAllHeaders(matchers, headers) === expected ? entry : undefined);
}

function queryValue(config: NonNullable<RateLimitActionConfig['queryParameterValueMatch']>, path: string): Action {
  const entry = { key: config.descriptorKey || 'query_match', value: config.descriptorValue ?? '' };
  const expected = config.expectMatch ?? true;
  const matchers = (config.queryParameters ?? []).map(
    (matcher, i) => new QueryParameterMatcher(matcher, `${path}.query_parameters[${i}]`),
  );
  return ({ headers }) => {
    const path = headers.get(':path') ?? '';
    return matchers.every((matcher) => matcher.matches(path)) === expected ? entry : undefined;
  };
}

function metadata(config: NonNullable<RateLimitActionConfig['metadata']>): Action {
  const key = config.descriptorKey ?? '';
  const absent = config.skipIfAbsent === true ? null : undefined;
  const fallback = config.defaultValue ?? '';
  const where = config.metadataKey ?? {};
  const ofRoute = config.source === 'ROUTE_ENTRY';
  return ({ info }) => {
    const found = ofRoute ? metadataValueIn(info.routeMetadata, where) : metadataValue(info, where);
    const value = typeof found === 'string' && found !== '' ? found : fallback;
    return value === '' ? absent : { key, value };
  };
}

function metadataValue(info: StreamInfo, where: MetadataKeyConfig): unknown {
  return metadataValueIn(info.dynamicMetadata, where);
}

function metadataValueIn(all: Record<string, Record<string, unknown>> | null, where: MetadataKeyConfig): unknown {
  return valueAt(
    all?.[where.key ?? ''],
    (where.path ?? []).map((segment) => segment.key ?? ''),
  );
}

const UNITS: ReadonlySet<string> = new Set(['SECOND', 'MINUTE', 'HOUR', 'DAY', 'MONTH', 'YEAR']);

/** `{requests_per_unit, unit}` of metadata; null when it is something else. */
function overrideOf(value: unknown): RateLimitOverride | null {
  if (typeof value !== 'object' || value === null) return null;
  const { requests_per_unit: requests, unit } = value as Record<string, unknown>;
  if (typeof requests !== 'number' || typeof unit !== 'string' || !UNITS.has(unit)) return null;
  return { requestsPerUnit: requests, unit };
}
