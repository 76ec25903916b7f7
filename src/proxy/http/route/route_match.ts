/**
 * RouteMatch: when a route applies. The path rule and every condition must hold: runtime_fraction (by the stream's stable random
 * value), grpc, headers, query parameters, dynamic metadata.
 *
 * Left out, refused: tls_context, filter_state, cookies.
 */
import type { MetadataMatcherConfig } from '../../common/value_matcher.ts';
import { compileMetadataMatcher } from '../../common/value_matcher.ts';
import { ConfigError } from '../../config/error.ts';
import type { FractionalPercent, Runtime } from '../../runtime/runtime.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RouteMatchConfig } from './config_types.ts';
import { compileHeaderMatchers, matchesAllHeaders } from './header_matcher.ts';
import type { PathMatcher } from './path_matcher.ts';
import { compilePathMatcher } from './path_matcher.ts';
import { QueryParameterMatcher } from './query_matcher.ts';
import { refuse } from './unsupported.ts';

/** One condition besides the path. */
type Condition = (headers: HeaderMap, info: StreamInfo, random: number) => boolean;

export class RouteMatch {
  readonly path: PathMatcher;
  /** False for requests without `:path`, unless the rule is a connect_matcher. */
  private readonly needsPath: boolean;
  private readonly conditions: readonly Condition[];

  /** Throws ConfigError. */
  constructor(config: RouteMatchConfig, ignoreParameters: boolean, runtime: Runtime, path: string) {
    refuse(config, ['tlsContext', 'filterState', 'cookies'], path);
    this.path = compilePathMatcher(config, ignoreParameters, path);
    this.needsPath = config.connectMatcher === undefined;
    this.conditions = compileConditions(config, runtime, path);
  }

  /** `pathStart` and `pathLength` as PathMatcher wants them. */
  matches(headers: HeaderMap, info: StreamInfo, random: number, pathStart: number, pathLength: number): boolean {
    if (this.needsPath && pathStart < 0 && !headers.hasId(H[':path'])) return false;
    if (!this.path.matches(headers, pathStart, pathLength)) return false;
    const conditions = this.conditions;
    for (let i = 0; i < conditions.length; i++) if (!conditions[i](headers, info, random)) return false;
    return true;
  }
}

function compileConditions(config: RouteMatchConfig, runtime: Runtime, path: string): Condition[] {
  const conditions: Condition[] = [];
  const fraction = config.runtimeFraction;
  if (fraction !== undefined) {
    const key = fraction.runtimeKey ?? '';
    const percent: FractionalPercent = {
      numerator: fraction.defaultValue?.numerator ?? 0,
      denominator: fraction.defaultValue?.denominator ?? 'HUNDRED',
    };
    conditions.push((_headers, _info, random) => runtime.snapshot.featureEnabled(key, percent, random));
  }
  if (config.grpc !== undefined) conditions.push(isGrpcRequest);
  const headerMatchers = compileHeaderMatchers(config.headers, `${path}.headers`);
  if (headerMatchers.length > 0) conditions.push((headers) => matchesAllHeaders(headerMatchers, headers));
  const parameters = (config.queryParameters ?? []).map((q, i) => new QueryParameterMatcher(q, `${path}.query_parameters[${i}]`));
  if (parameters.length > 0) conditions.push((headers) => matchesAllParameters(parameters, headers));
  for (const [i, metadata] of (config.dynamicMetadata ?? []).entries()) {
    conditions.push(metadataCondition(metadata, `${path}.dynamic_metadata[${i}]`));
  }
  return conditions;
}

/** `application/grpc`, alone or with a `+suffix`. */
export function isGrpcRequest(headers: HeaderMap): boolean {
  const type = headers.getId(H['content-type']);
  return type?.startsWith('application/grpc') === true && (type.length === 16 || type[16] === '+');
}

function matchesAllParameters(parameters: readonly QueryParameterMatcher[], headers: HeaderMap): boolean {
  const path = headers.getId(H[':path']) ?? '';
  for (const parameter of parameters) if (!parameter.matches(path)) return false;
  return true;
}

function metadataCondition(config: MetadataMatcherConfig, path: string): Condition {
  if ((config.path ?? []).length === 0) throw new ConfigError('path must not be empty', { path });
  const matches = compileMetadataMatcher(config, path);
  return (_headers, info) => matches(info.dynamicMetadata);
}
