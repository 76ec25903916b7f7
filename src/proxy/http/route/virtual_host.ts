/**
 * A virtual host: its routes in order, the first that matches wins; and the redirect of require_tls before them.
 *
 * Decorators and tracing settings of routes have an effect only with a tracer.
 * Left out, refused: matcher, virtual clusters, cors, hedging, filter and non-forwarding actions.
 */
import type { FractionDenominator } from '../../common/matchers.ts';
import { ConfigError } from '../../config/error.ts';
import { didYouMean } from '../../config/suggest.ts';
import type { FractionalPercent } from '../../runtime/runtime.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import { compileCustomTags } from '../../tracing/custom_tags.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { ClusterSpecifier } from './cluster_specifier.ts';
import { compileClusterSpecifier } from './cluster_specifier.ts';
import type { HeaderMutationConfig, RouteConfig, VirtualHostConfig } from './config_types.ts';
import { compileDirectResponse, DirectResponse } from './direct_response.ts';
import type { HeaderParser } from './header_parser.ts';
import { compileHeaderParser } from './header_parser.ts';
import { compileMirrorPolicies, type MirrorPolicy } from './mirror_policy.ts';
import type { PerFilterLevel } from './per_filter_config.ts';
import { compilePerFilterConfigs, PerFilterLookup } from './per_filter_config.ts';
import { compileRateLimits, type RateLimitEntry } from './rate_limit_policy.ts';
import { Redirect, sslRedirectUri } from './redirect.ts';
import { compileRetryPolicy } from './retry_policy.ts';
import type { DirectResponseEntry, RetryPolicy, Route, RouteEntry, VirtualHost } from './route.ts';
import type { RouteTableDeps } from './route_config.ts';
import { compileRouteAction } from './route_entry.ts';
import { RouteMatch } from './route_match.ts';
import { refuse } from './unsupported.ts';

/** What a virtual host takes from its table. */
export interface TableLevel {
  readonly deps: RouteTableDeps;
  readonly requestParser: HeaderParser | null;
  readonly responseParser: HeaderParser | null;
  readonly mostSpecificWins: boolean;
  readonly mirrors: readonly MirrorPolicy[];
  readonly perFilter: PerFilterLevel;
  readonly maxDirectResponseBodySizeBytes: number;
  readonly ignorePathParameters: boolean;
  readonly validateClusters: boolean;
}

interface CompiledRoute {
  readonly match: RouteMatch;
  readonly specifier: ClusterSpecifier;
}

const PATH = H[':path'];
const PROTO = H['x-forwarded-proto'];
const INTERNAL = H['x-envoy-internal'];

export class VirtualHostImpl implements VirtualHost {
  readonly name: string;
  readonly metadata: Record<string, Record<string, unknown>> | null;
  readonly includeAttemptCountInRequest: boolean;
  readonly includeAttemptCountInResponse: boolean;
  readonly includeIsTimeoutRetryHeader: boolean;
  readonly rateLimits: readonly RateLimitEntry[] | null;
  readonly clusterNames: readonly string[];
  private readonly requireTls: 'NONE' | 'EXTERNAL_ONLY' | 'ALL';
  private readonly sslRedirect: Route;
  private readonly routes: readonly CompiledRoute[];

  /** Throws ConfigError. */
  constructor(config: VirtualHostConfig, table: TableLevel, path: string) {
    refuse(config, UNSUPPORTED, path);
    this.name = config.name ?? '';
    this.metadata = config.metadata?.filterMetadata ?? null;
    this.includeAttemptCountInRequest = config.includeRequestAttemptCount === true;
    this.includeAttemptCountInResponse = config.includeAttemptCountInResponse === true;
    this.includeIsTimeoutRetryHeader = config.includeIsTimeoutRetryHeader === true;
    this.rateLimits = compileRateLimits(config.rateLimits, `${path}.rate_limits`);
    this.requireTls = config.requireTls ?? 'NONE';
    const level = new VirtualHostLevel(config, table, path);
    this.sslRedirect = new RouteImpl(
      '',
      this,
      new DirectResponse(301, '', sslRedirectUri, []),
      null,
      null,
      level.perFilterLevels,
    );
    this.routes = (config.routes ?? []).map((route, i) => compileRoute(route, this, level, `${path}.routes[${i}]`));
    this.clusterNames = this.routes.flatMap((route) => route.specifier.clusterNames);
  }

  route(headers: HeaderMap, info: StreamInfo, random: number): Route | null {
    if (this.requireTls !== 'NONE' && this.needsTls(headers)) return this.sslRedirect;
    const routes = this.routes;
    const start = headers.valueByteStart(PATH);
    const length = start < 0 ? 0 : headers.valueByteLength(PATH);
    for (let i = 0; i < routes.length; i++) {
      if (routes[i].match.matches(headers, info, random, start, length)) return routes[i].specifier.pick(headers, info, random);
    }
    return null;
  }

  private needsTls(headers: HeaderMap): boolean {
    if (headers.getId(PROTO) === 'https') return false;
    return this.requireTls === 'ALL' || headers.getId(INTERNAL) !== 'true';
  }
}

const UNSUPPORTED: readonly (keyof VirtualHostConfig)[] = [
  'matcher',
  'virtualClusters',
  'cors',
  'retryPolicyTypedConfig',
  'hedgePolicy',
];

/** What routes take from their virtual host. */
class VirtualHostLevel {
  readonly table: TableLevel;
  readonly retryPolicy: RetryPolicy | null;
  readonly bufferLimit: number | undefined;
  readonly mirrors: readonly MirrorPolicy[];
  readonly perFilterLevels: readonly PerFilterLevel[];
  private readonly requestParser: HeaderParser | null;
  private readonly responseParser: HeaderParser | null;

  constructor(config: VirtualHostConfig, table: TableLevel, path: string) {
    this.table = table;
    this.requestParser = this.headerParser(config, 'request', path);
    this.responseParser = this.headerParser(config, 'response', path);
    this.retryPolicy = config.retryPolicy === undefined ? null : compileRetryPolicy(config.retryPolicy, `${path}.retry_policy`);
    this.bufferLimit = config.requestBodyBufferLimit ?? config.perRequestBufferLimitBytes;
    const mirrors = compileMirrorPolicies(config.requestMirrorPolicies, table.deps.runtime, `${path}.request_mirror_policies`);
    this.mirrors = mirrors.length > 0 ? mirrors : table.mirrors;
    this.perFilterLevels = [
      compilePerFilterConfigs(config.typedPerFilterConfig, path, table.deps.createPerRouteConfig),
      table.perFilter,
    ];
  }

  headerParser(config: HeaderMutationConfig, side: 'request' | 'response', path: string): HeaderParser | null {
    return side === 'request'
      ? compileHeaderParser(config.requestHeadersToAdd, config.requestHeadersToRemove, side, path, this.table.deps.compileFormat)
      : compileHeaderParser(
          config.responseHeadersToAdd,
          config.responseHeadersToRemove,
          side,
          path,
          this.table.deps.compileFormat,
        );
  }

  /** Those of a route with its own, in the order they are applied. */
  parsers(own: HeaderParser | null, side: 'request' | 'response'): HeaderParser[] {
    const parsers =
      side === 'request'
        ? [own, this.requestParser, this.table.requestParser]
        : [own, this.responseParser, this.table.responseParser];
    const present = parsers.filter((parser) => parser !== null);
    return this.table.mostSpecificWins ? present.reverse() : present;
  }
}

function compileRoute(config: RouteConfig, virtualHost: VirtualHostImpl, level: VirtualHostLevel, path: string): CompiledRoute {
  refuse(config, ['filterAction', 'nonForwardingAction', 'statPrefix'], path);
  const { table } = level;
  const match = new RouteMatch(config.match ?? {}, table.ignorePathParameters, table.deps.runtime, `${path}.match`);
  const requestParsers = level.parsers(level.headerParser(config, 'request', path), 'request');
  const responseParsers = level.parsers(level.headerParser(config, 'response', path), 'response');
  const own = compilePerFilterConfigs(config.typedPerFilterConfig, path, table.deps.createPerRouteConfig);
  const levels = [own, ...level.perFilterLevels];
  const name = config.name ?? '';
  const metadata = config.metadata?.filterMetadata ?? null;
  const traced = compileTraced(config);
  if (config.route === undefined) {
    const response = compileAnswer(config, match, responseParsers, table.maxDirectResponseBodySizeBytes, path);
    const route = new RouteImpl(name, virtualHost, response, null, metadata, levels, traced);
    return { match, specifier: { pick: () => route, clusterNames: [] } };
  }
  const action = config.route;
  const retryPolicy =
    action.retryPolicy === undefined ? level.retryPolicy : compileRetryPolicy(action.retryPolicy, `${path}.route.retry_policy`);
  const requestBodyBufferLimit = config.requestBodyBufferLimit ?? config.perRequestBufferLimitBytes ?? level.bufferLimit;
  const ownMirrors = compileMirrorPolicies(
    action.requestMirrorPolicies,
    table.deps.runtime,
    `${path}.route.request_mirror_policies`,
  );
  const entry = compileRouteAction(
    action,
    match.path,
    {
      requestParsers,
      responseParsers,
      retryPolicy,
      requestBodyBufferLimit,
      mirrors: ownMirrors.length > 0 ? ownMirrors : level.mirrors,
    },
    `${path}.route`,
  );
  const specifier = compileClusterSpecifier(
    action,
    {
      routeName: name,
      runtime: table.deps.runtime,
      entry,
      route: (chosen, weighted) =>
        new RouteImpl(name, virtualHost, null, chosen, metadata, weighted === null ? levels : [weighted, ...levels], traced),
      headerParser: (cluster, side, at) => level.headerParser(cluster, side, at),
      perFilter: (cluster, at) => compilePerFilterConfigs(cluster.typedPerFilterConfig, at, table.deps.createPerRouteConfig),
    },
    `${path}.route`,
  );
  if (table.validateClusters) {
    checkClusters(specifier, table, `${path}.route`);
    checkMirrors(ownMirrors, table, `${path}.route`);
  }
  return { match, specifier };
}

function compileAnswer(
  config: RouteConfig,
  match: RouteMatch,
  parsers: readonly HeaderParser[],
  maxBodySizeBytes: number,
  path: string,
): DirectResponseEntry {
  if (config.directResponse !== undefined) {
    return compileDirectResponse(config.directResponse, parsers, maxBodySizeBytes, `${path}.direct_response`);
  }
  if (config.redirect === undefined) throw new ConfigError('one of route, redirect, direct_response is required', { path });
  const redirect = new Redirect(config.redirect, match.path, `${path}.redirect`);
  return new DirectResponse(redirect.status, '', (headers) => redirect.newUri(headers), parsers);
}

function checkClusters(specifier: ClusterSpecifier, table: TableLevel, path: string): void {
  for (const name of specifier.clusterNames) {
    if (table.deps.clusterExists(name)) continue;
    throw new ConfigError(`route: unknown cluster '${name}'${didYouMean(name, table.deps.clusterNames?.() ?? [])}`, { path });
  }
}

const NOT_TRACED = { decorator: null, tracing: null };

/** What is not given counts as always. */
function compileTraced({ decorator, tracing }: RouteConfig): Pick<Route, 'decorator' | 'tracing'> {
  const fraction = (config: { numerator?: number; denominator?: FractionDenominator } | undefined): FractionalPercent =>
    config === undefined ? ALWAYS : { numerator: config.numerator ?? 0, denominator: config.denominator ?? 'HUNDRED' };
  return {
    decorator: decorator === undefined ? null : { operation: decorator.operation, propagate: decorator.propagate ?? true },
    tracing:
      tracing === undefined
        ? null
        : {
            sampling: {
              client: fraction(tracing.clientSampling),
              random: fraction(tracing.randomSampling),
              overall: fraction(tracing.overallSampling),
            },
            customTags: compileCustomTags(tracing.customTags),
          },
  };
}

const ALWAYS: FractionalPercent = { numerator: 100, denominator: 'HUNDRED' };

function checkMirrors(mirrors: readonly MirrorPolicy[], table: TableLevel, path: string): void {
  for (const { clusterName } of mirrors) {
    if (clusterName === '' || table.deps.clusterExists(clusterName)) continue;
    throw new ConfigError(
      `route: unknown shadow cluster '${clusterName}'${didYouMean(clusterName, table.deps.clusterNames?.() ?? [])}`,
      { path },
    );
  }
}

class RouteImpl implements Route {
  readonly name: string;
  readonly virtualHost: VirtualHost;
  readonly directResponse: DirectResponseEntry | null;
  readonly routeEntry: RouteEntry | null;
  readonly metadata: Record<string, Record<string, unknown>> | null;
  readonly decorator: Route['decorator'];
  readonly tracing: Route['tracing'];
  private readonly perFilter: PerFilterLookup;

  constructor(
    name: string,
    virtualHost: VirtualHost,
    directResponse: DirectResponseEntry | null,
    routeEntry: RouteEntry | null,
    metadata: Record<string, Record<string, unknown>> | null,
    levels: readonly PerFilterLevel[],
    traced: Pick<Route, 'decorator' | 'tracing'> = NOT_TRACED,
  ) {
    this.name = name;
    this.decorator = traced.decorator;
    this.tracing = traced.tracing;
    this.virtualHost = virtualHost;
    this.directResponse = directResponse;
    this.routeEntry = routeEntry;
    this.metadata = metadata;
    this.perFilter = new PerFilterLookup(levels);
  }

  perFilterConfigs(filterName: string): readonly unknown[] {
    return this.perFilter.get(filterName);
  }

  filterDisabled(filterName: string): boolean | undefined {
    return this.perFilter.isDisabled(filterName);
  }
}
