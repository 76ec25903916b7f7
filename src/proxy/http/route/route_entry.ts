/**
 * A route that forwards (RouteAction): where to, and how requests and responses change on the way.
 *
 * Order of changes: header mutations (weighted cluster, then route, virtual host, table; with most_specific_header_mutations_wins
 * the last three reversed), then the host, then the path. `autoHostRewrite` is the router's, once it knows the upstream host.
 */
import type { FormatterContext } from '../../access_log/access_log.ts';
import { byteText } from '../../common/byte_text.ts';
import { ConfigError } from '../../config/error.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { ResourcePriority } from '../../upstream/upstream.ts';
import { ResourcePriority as Priority } from '../../upstream/upstream.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { InternalRedirectPolicyConfig, RouteActionConfig, UpgradeConfigConfig } from './config_types.ts';
import { HashPolicy } from './hash_policy.ts';
import type { HeaderParser } from './header_parser.ts';
import { isModifiable } from './header_parser.ts';
import type { MirrorPolicy } from './mirror_policy.ts';
import type { PathMatcher } from './path_matcher.ts';
import { compileRateLimits, type RateLimitEntry } from './rate_limit_policy.ts';
import type { HostRewrite, PathRewrite } from './rewrite.ts';
import { compileHostRewrite, compilePathRewrite, rewritePath, updateAuthority } from './rewrite.ts';
import type { InternalRedirectPolicy, RetryPolicy, RouteEntry } from './route.ts';
import { refuse } from './unsupported.ts';

const DEFAULT_ROUTE_TIMEOUT_MS = 15_000;
const NOT_FOUND_CODES = { SERVICE_UNAVAILABLE: 503, NOT_FOUND: 404, INTERNAL_SERVER_ERROR: 500 } as const;

const UNSUPPORTED: readonly (keyof RouteActionConfig)[] = [
  'clusterSpecifierPlugin',
  'inlineClusterSpecifierPlugin',
  'pathRewritePolicy',
  'pathRewrite',
  'hostRewrite',
  'earlyDataPolicy',
  'flushTimeout',
  'retryPolicyTypedConfig',
  'cors',
  'maxGrpcTimeout',
  'grpcTimeoutOffset',
  'hedgePolicy',
];

/** What a route entry takes from the levels around it. */
export interface RouteLevels {
  readonly requestParsers: readonly HeaderParser[];
  readonly responseParsers: readonly HeaderParser[];
  readonly retryPolicy: RetryPolicy | null;
  readonly requestBodyBufferLimit: number | undefined;
  readonly mirrors: readonly MirrorPolicy[];
}

/** What differs when one cluster of several was chosen. */
export interface ClusterChoice {
  readonly clusterName: string;
  readonly metadataMatch: Record<string, unknown> | null;
  readonly requestParser: HeaderParser | null;
  readonly responseParser: HeaderParser | null;
  readonly hostRewriteLiteral: string;
}

/** The parts that all choices of a route share. */
interface Common {
  readonly config: RouteActionConfig;
  readonly matcher: PathMatcher;
  readonly levels: RouteLevels;
  readonly hostRewrite: HostRewrite | null;
  readonly pathRewrite: PathRewrite | null;
  readonly hashPolicy: HashPolicy | null;
  readonly upgrades: ReadonlyMap<string, boolean>;
  readonly connectConfig: RouteEntry['connectConfig'];
  readonly internalRedirect: InternalRedirectPolicy | null;
  readonly rateLimits: readonly RateLimitEntry[] | null;
}

/** Checks an action and returns what builds an entry per chosen cluster. Throws ConfigError. */
export function compileRouteAction(
  config: RouteActionConfig,
  matcher: PathMatcher,
  levels: RouteLevels,
  path: string,
): (choice: ClusterChoice) => RouteEntryImpl {
  refuse(config, UNSUPPORTED, path);
  const common: Common = {
    config,
    matcher,
    levels,
    hostRewrite: compileHostRewrite(config, path),
    pathRewrite: compilePathRewrite(config, path),
    hashPolicy: (config.hashPolicy?.length ?? 0) === 0 ? null : new HashPolicy(config.hashPolicy!, `${path}.hash_policy`),
    ...compileUpgrades(config.upgradeConfigs ?? [], `${path}.upgrade_configs`),
    internalRedirect: compileInternalRedirect(config, path),
    rateLimits: compileRateLimits(config.rateLimits, `${path}.rate_limits`),
  };
  return (choice) => new RouteEntryImpl(common, choice);
}

export class RouteEntryImpl implements RouteEntry {
  readonly clusterName: string;
  readonly clusterNotFoundResponseCode: number;
  readonly priority: ResourcePriority;
  readonly timeoutMs: number;
  readonly idleTimeoutMs: number | undefined;
  readonly maxStreamDurationMs: number | undefined;
  readonly grpcTimeoutHeaderMaxMs: number | undefined;
  readonly grpcTimeoutHeaderOffsetMs: number | undefined;
  readonly retryPolicy: RetryPolicy | null;
  readonly metadataMatch: Record<string, unknown> | null;
  readonly hashPolicy: HashPolicy | null;
  readonly requestBodyBufferLimit: number | undefined;
  readonly mirrors: readonly MirrorPolicy[];
  readonly upgrades: ReadonlyMap<string, boolean>;
  readonly connectConfig: RouteEntry['connectConfig'];
  readonly internalRedirect: InternalRedirectPolicy | null;
  readonly rateLimits: readonly RateLimitEntry[] | null;
  readonly includeVirtualHostRateLimits: boolean;
  readonly autoHostRewrite: boolean;
  readonly appendXForwardedHost: boolean;
  readonly isIdentity: boolean;
  readonly hasResponseMutations: boolean;
  private readonly common: Common;
  private readonly choice: ClusterChoice;

  constructor(common: Common, choice: ClusterChoice) {
    const { config, levels } = common;
    this.common = common;
    this.choice = choice;
    this.clusterName = choice.clusterName;
    this.clusterNotFoundResponseCode = NOT_FOUND_CODES[config.clusterNotFoundResponseCode ?? 'SERVICE_UNAVAILABLE'];
    this.priority = config.priority === 'HIGH' ? Priority.High : Priority.Default;
    // With `max_stream_duration` the route's timeout does not count, given or not (Envoy: usingNewTimeouts).
    this.timeoutMs = config.maxStreamDuration !== undefined ? 0 : (config.timeout ?? DEFAULT_ROUTE_TIMEOUT_MS);
    this.idleTimeoutMs = config.idleTimeout;
    this.maxStreamDurationMs = config.maxStreamDuration?.maxStreamDuration;
    this.grpcTimeoutHeaderMaxMs = config.maxStreamDuration?.grpcTimeoutHeaderMax;
    this.grpcTimeoutHeaderOffsetMs = config.maxStreamDuration?.grpcTimeoutHeaderOffset;
    this.retryPolicy = levels.retryPolicy;
    this.metadataMatch = choice.metadataMatch;
    this.hashPolicy = common.hashPolicy;
    this.requestBodyBufferLimit = levels.requestBodyBufferLimit;
    this.mirrors = levels.mirrors;
    this.upgrades = common.upgrades;
    this.connectConfig = common.connectConfig;
    this.internalRedirect = common.internalRedirect;
    this.rateLimits = common.rateLimits;
    this.includeVirtualHostRateLimits = config.includeVhRateLimits === true;
    this.autoHostRewrite = config.autoHostRewrite === true;
    this.appendXForwardedHost = config.appendXForwardedHost === true;
    this.isIdentity =
      common.hostRewrite === null &&
      common.pathRewrite === null &&
      choice.requestParser === null &&
      choice.hostRewriteLiteral === '' &&
      levels.requestParsers.length === 0;
    this.hasResponseMutations = choice.responseParser !== null || levels.responseParsers.length > 0;
  }

  /** The same route to another cluster (cluster_header). */
  withCluster(clusterName: string): RouteEntryImpl {
    return new RouteEntryImpl(this.common, { ...this.choice, clusterName });
  }

  finalizeRequestHeaders(headers: HeaderMap, context: FormatterContext, info: StreamInfo, insertOriginals: boolean): void {
    const { common, choice } = this;
    choice.requestParser?.evaluate(headers, context, info);
    if (choice.hostRewriteLiteral !== '') headers.setId(H[':authority'], choice.hostRewriteLiteral);
    const parsers = common.levels.requestParsers;
    for (let i = 0; i < parsers.length; i++) parsers[i].evaluate(headers, context, info);
    if (common.hostRewrite !== null) {
      const host = common.hostRewrite(headers);
      if (host !== '') updateAuthority(headers, host, this.appendXForwardedHost, insertOriginals);
    }
    if (common.pathRewrite !== null) rewritePath(headers, common.pathRewrite, common.matcher, insertOriginals);
  }

  finalizeResponseHeaders(headers: HeaderMap, context: FormatterContext, info: StreamInfo): void {
    this.choice.responseParser?.evaluate(headers, context, info);
    const parsers = this.common.levels.responseParsers;
    for (let i = 0; i < parsers.length; i++) parsers[i].evaluate(headers, context, info);
  }
}

function compileUpgrades(configs: readonly UpgradeConfigConfig[], path: string): Pick<Common, 'upgrades' | 'connectConfig'> {
  const upgrades = new Map<string, boolean>();
  let connectConfig: RouteEntry['connectConfig'] = null;
  for (const [i, config] of configs.entries()) {
    const given = config.upgradeType ?? '';
    const type = byteText(given).toLowerCase();
    const at = { path: `${path}[${i}]` };
    if (upgrades.has(type)) throw new ConfigError(`Duplicate upgrade ${given}`, at);
    upgrades.set(type, config.enabled ?? true);
    if (config.connectConfig === undefined) continue;
    if (type !== 'connect' && type !== 'connect-udp')
      throw new ConfigError(`Non-CONNECT upgrade type ${given} has ConnectConfig`, at);
    if (type === 'connect-udp') throw new ConfigError('connect_config of connect-udp is not supported', at);
    connectConfig = {
      proxyProtocol: config.connectConfig.proxyProtocolConfig !== undefined,
      allowPost: config.connectConfig.allowPost === true,
    };
  }
  return { upgrades, connectConfig };
}

const REDIRECT_CODES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function compileInternalRedirect(config: RouteActionConfig, path: string): InternalRedirectPolicy | null {
  const at = `${path}.internal_redirect_policy`;
  if (config.internalRedirectPolicy !== undefined) return internalRedirect(config.internalRedirectPolicy, at);
  if (config.internalRedirectAction !== 'HANDLE_INTERNAL_REDIRECT') return null;
  return internalRedirect({ maxInternalRedirects: config.maxInternalRedirects }, at);
}

function internalRedirect(config: InternalRedirectPolicyConfig, path: string): InternalRedirectPolicy {
  refuse(config, ['predicates'], path);
  const codes = config.redirectResponseCodes ?? [];
  const copied = config.responseHeadersToCopy ?? [];
  if (!copied.every(isModifiable)) throw new ConfigError(':-prefixed headers or Hosts may not be specified here.', { path });
  return {
    maxRedirects: config.maxInternalRedirects ?? 1,
    responseCodes: codes.length === 0 ? new Set([302]) : new Set(codes.filter((code) => REDIRECT_CODES.has(code))),
    allowCrossScheme: config.allowCrossSchemeRedirect === true,
    headersToCopy: copied.map((name) => name.toLowerCase()),
  };
}
