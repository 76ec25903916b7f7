/**
 * `envoy.filters.http.local_ratelimit`: requests beyond what token buckets allow are answered 429. The buckets are those of the whole
 * process, counted exactly over all workers, or of each connection (Envoy: source/extensions/filters/http/local_ratelimit).
 *
 * Routes may have a whole configuration of their own, with their own buckets. Without `filter_enabled` nothing is counted, without
 * `filter_enforced` nothing is refused, as in Envoy.
 */
import type { Counter } from '../../../../core/stats/stats.ts';
import { parseHeaderFormat } from '../../../access_log/formatter.ts';
import { type HttpStatusConfig, httpStatusCode } from '../../../common/http_status.ts';
import { processTimeMs, type TokenBucket, type TokenBucketConfig } from '../../../common/token_bucket.ts';
import { ConfigError } from '../../../config/error.ts';
import { sharedCells } from '../../../config/shared_state.ts';
import { FilterHeadersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { HeadersContext, PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HeaderValueOptionConfig } from '../../../http/route/config_types.ts';
import { compileHeaderParser, type HeaderParser } from '../../../http/route/header_parser.ts';
import type { Connection } from '../../../network/connection.ts';
import { RuntimeFraction, type RuntimeFractionConfig } from '../../../runtime/runtime_fraction.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { type LocalDescriptorConfig, LocalRateLimiter } from '../../common/ratelimit/local_limiter.ts';
import {
  type DescriptorQuery,
  requestDescriptors,
  type VirtualHostRateLimits,
} from '../../common/ratelimit/request_descriptors.ts';

interface LocalRateLimitMessage {
  statPrefix?: string;
  status?: HttpStatusConfig;
  tokenBucket?: TokenBucketConfig;
  filterEnabled?: RuntimeFractionConfig;
  filterEnforced?: RuntimeFractionConfig;
  requestHeadersToAddWhenNotEnforced?: HeaderValueOptionConfig[];
  responseHeadersToAdd?: HeaderValueOptionConfig[];
  descriptors?: LocalDescriptorConfig[];
  stage?: number;
  localRateLimitPerDownstreamConnection?: boolean;
  enableXRatelimitHeaders?: 'OFF' | 'DRAFT_VERSION_03';
  vhRateLimits?: VirtualHostRateLimits;
  alwaysConsumeDefaultTokenBucket?: boolean;
  rateLimitedAsResourceExhausted?: boolean;
}

const RESOURCE_EXHAUSTED = 8;

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit',
  name: 'envoy.filters.http.local_ratelimit',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const own = new Settings(config as LocalRateLimitMessage, context);
    return (callbacks) => callbacks.addStreamFilter(new LocalRateLimitFilter(own));
  },
  createRouteSpecificConfig(config: TypedConfig, context) {
    const message = config as LocalRateLimitMessage;
    if (message.tokenBucket === undefined) {
      throw new ConfigError('local rate limit token bucket must be set for per filter configs', { path: 'token_bucket' });
    }
    return new Settings(message, context);
  },
};

let nextId = 0;

class Settings {
  readonly status: number;
  readonly grpcStatus: number | null;
  readonly enabled: RuntimeFraction;
  readonly enforced: RuntimeFraction;
  readonly whenNotEnforced: HeaderParser | null;
  readonly ofResponse: HeaderParser | null;
  readonly xRateLimitHeaders: boolean;
  readonly query: DescriptorQuery;
  readonly enabledCount: Counter;
  readonly enforcedCount: Counter;
  readonly limitedCount: Counter;
  readonly okCount: Counter;
  private readonly limiter: LocalRateLimiter;
  private readonly newLimiter: ((cells: null) => LocalRateLimiter) | null;
  /** Under which a connection keeps its limiter. */
  private readonly key = `sluice.local_ratelimit.${nextId++}`;

  /** Throws ConfigError. */
  constructor(message: LocalRateLimitMessage, context: FactoryContext) {
    const status = httpStatusCode(message.status);
    this.status = status < 400 ? 429 : status;
    this.grpcStatus = message.rateLimitedAsResourceExhausted === true ? RESOURCE_EXHAUSTED : null;
    const random = (): number => context.random();
    this.enabled = new RuntimeFraction(message.filterEnabled, 0, context.runtime, random);
    this.enforced = new RuntimeFraction(message.filterEnforced, 0, context.runtime, random);
    this.whenNotEnforced = compileHeaderParser(message.requestHeadersToAddWhenNotEnforced, [], 'request', '', parseHeaderFormat);
    this.ofResponse = compileHeaderParser(message.responseHeadersToAdd, [], 'response', '', parseHeaderFormat);
    this.xRateLimitHeaders = message.enableXRatelimitHeaders === 'DRAFT_VERSION_03';
    this.query = {
      stage: message.stage ?? 0,
      virtualHost: message.vhRateLimits ?? 'OVERRIDE',
      serviceCluster: context.localInfo.clusterName,
      isDisabled: () => true,
    };
    const scope = context.scope.scope(`${message.statPrefix ?? ''}.http_local_rate_limit.`);
    this.enabledCount = scope.counter('enabled');
    this.enforcedCount = scope.counter('enforced');
    this.limitedCount = scope.counter('rate_limited');
    this.okCount = scope.counter('ok');
    const descriptors = message.descriptors ?? [];
    const newLimiter = (cells: BigInt64Array | null): LocalRateLimiter =>
      new LocalRateLimiter(message.tokenBucket, descriptors, message.alwaysConsumeDefaultTokenBucket ?? true, cells);
    this.limiter = newLimiter(sharedCells(message, 1 + descriptors.length));
    this.newLimiter = message.localRateLimitPerDownstreamConnection === true ? newLimiter : null;
  }

  get hasDescriptors(): boolean {
    return this.limiter.hasDescriptors;
  }

  limiterFor(connection: Connection | null): LocalRateLimiter {
    if (this.newLimiter === null || connection === null) return this.limiter;
    const state = (connection.streamInfo.filterState ??= new Map());
    let limiter = state.get(this.key) as LocalRateLimiter | undefined;
    if (limiter === undefined) {
      limiter = this.newLimiter(null);
      state.set(this.key, limiter);
    }
    return limiter;
  }
}

class LocalRateLimitFilter extends PassThroughFilter {
  private readonly own: Settings;
  private settings: Settings;
  private readonly context = new HeadersContext();
  private used: TokenBucket | null = null;

  constructor(own: Settings) {
    super();
    this.own = own;
    this.settings = own;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { decoder: callbacks } = this;
    const settings = callbacks.perFilterConfig<Settings>() ?? this.own;
    this.settings = settings;
    if (!settings.enabled.isOn()) return FilterHeadersStatus.Continue;
    settings.enabledCount.inc();
    const info = callbacks.streamInfo;
    const descriptors = settings.hasDescriptors ? requestDescriptors(settings.query, callbacks.route(), headers, info) : [];
    const limiter = settings.limiterFor(callbacks.connection);
    const allowed = limiter.allows(descriptors, processTimeMs(callbacks.dispatcher.nowMs));
    this.used = limiter.used;
    if (allowed) {
      settings.okCount.inc();
      return FilterHeadersStatus.Continue;
    }
    settings.limitedCount.inc();
    this.context.requestHeaders = headers;
    if (!settings.enforced.isOn()) {
      settings.whenNotEnforced?.evaluate(headers, this.context, info);
      return FilterHeadersStatus.Continue;
    }
    settings.enforcedCount.inc();
    info.setFlag('RateLimited');
    const modify = (reply: HeaderMap): void => settings.ofResponse?.evaluate(reply, this.context, info);
    callbacks.sendLocalReply(settings.status, 'local_rate_limited', modify, settings.grpcStatus, 'local_rate_limited');
    return FilterHeadersStatus.StopIteration;
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { used } = this;
    if (used === null || !this.settings.xRateLimitHeaders) return FilterHeadersStatus.Continue;
    const now = processTimeMs(this.encoder.dispatcher.nowMs);
    headers.add('x-ratelimit-limit', String(used.maxTokens));
    headers.add('x-ratelimit-remaining', String(used.remaining(now)));
    headers.add('x-ratelimit-reset', String(Math.ceil(used.nextTokenMs(now) / 1000)));
    return FilterHeadersStatus.Continue;
  }

  override onDestroy(): void {
    this.context.requestHeaders = null;
  }

  reset(): void {
    this.used = null;
    this.settings = this.own;
  }
}
