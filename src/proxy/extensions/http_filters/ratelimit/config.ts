/**
 * `envoy.filters.http.ratelimit`: asks a rate limit service about the descriptors that route and virtual host give a request (Envoy:
 * source/extensions/filters/http/ratelimit). Without descriptors nobody is asked.
 *
 * Left out, refused: rate limits and override options in the per-route message.
 */
import { parseHeaderFormat } from '../../../access_log/formatter.ts';
import { type HttpStatusConfig, httpStatusCode } from '../../../common/http_status.ts';
import { WireError } from '../../../common/protobuf_reader.ts';
import type { GrpcServiceConfig } from '../../../grpc/grpc_service.ts';
import { GrpcUnaryClient } from '../../../grpc/unary_client.ts';
import type { AsyncRequest } from '../../../http/async_client.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { HeadersContext, PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HeaderValueOptionConfig } from '../../../http/route/config_types.ts';
import { compileHeaderParser, type HeaderParser } from '../../../http/route/header_parser.ts';
import { isSafeHeader } from '../../../http/safe_header.ts';
import type { FractionalPercent, Runtime } from '../../../runtime/runtime.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { requestDescriptors, type VirtualHostRateLimits } from '../../common/ratelimit/request_descriptors.ts';
import {
  type RateLimitAnswer,
  rateLimitHeaders,
  readRateLimitResponse,
  SHOULD_RATE_LIMIT,
  writeRateLimitRequest,
} from './service.ts';

interface RateLimitMessage {
  domain?: string;
  stage?: number;
  requestType?: string;
  timeout?: number;
  failureModeDeny?: boolean;
  rateLimitedAsResourceExhausted?: boolean;
  rateLimitService?: { grpcService?: GrpcServiceConfig };
  enableXRatelimitHeaders?: 'OFF' | 'DRAFT_VERSION_03';
  disableXEnvoyRatelimitedHeader?: boolean;
  rateLimitedStatus?: HttpStatusConfig;
  responseHeadersToAdd?: HeaderValueOptionConfig[];
  statusOnError?: HttpStatusConfig;
  statPrefix?: string;
}

interface PerRoute {
  readonly virtualHost: VirtualHostRateLimits;
  readonly domain: string;
}

const NAMESPACE = 'envoy.filters.http.ratelimit';
const DEFAULT_TIMEOUT_MS = 20;
const RESOURCE_EXHAUSTED = 8;
const ALWAYS: FractionalPercent = { numerator: 100, denominator: 'HUNDRED' };

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.ratelimit.v3.RateLimit',
  name: NAMESPACE,
  routeTypeName: 'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const settings = new Settings(config as RateLimitMessage, context);
    return (callbacks) => callbacks.addStreamFilter(new RateLimitFilter(settings));
  },
  createRouteSpecificConfig(config: TypedConfig): PerRoute {
    const message = config as { vhRateLimits?: VirtualHostRateLimits; domain?: string };
    return { virtualHost: message.vhRateLimits ?? 'OVERRIDE', domain: message.domain ?? '' };
  },
};

class Settings {
  readonly domain: string;
  readonly stage: number;
  /** Which requests; '': all. */
  readonly requestType: 'internal' | 'external' | '';
  readonly failureModeDeny: boolean;
  readonly grpcStatus: number | null;
  readonly client: GrpcUnaryClient;
  readonly xRateLimitHeaders: boolean;
  readonly markHeader: boolean;
  readonly limitedStatus: number;
  readonly ofResponse: HeaderParser | null;
  readonly statusOnError: number;
  readonly serviceCluster: string;
  private readonly statPrefix: string;
  private readonly runtime: Runtime;
  private readonly random: () => number;
  private readonly clusters: ClusterManager;

  /** Throws ConfigError. */
  constructor(message: RateLimitMessage, context: FactoryContext) {
    this.domain = message.domain ?? '';
    this.stage = message.stage ?? 0;
    this.requestType = message.requestType === 'internal' || message.requestType === 'external' ? message.requestType : '';
    this.failureModeDeny = message.failureModeDeny === true;
    this.grpcStatus = message.rateLimitedAsResourceExhausted === true ? RESOURCE_EXHAUSTED : null;
    const service = { ...message.rateLimitService?.grpcService, timeout: message.timeout ?? DEFAULT_TIMEOUT_MS };
    this.client = new GrpcUnaryClient(service, SHOULD_RATE_LIMIT, DEFAULT_TIMEOUT_MS, context);
    this.xRateLimitHeaders = message.enableXRatelimitHeaders === 'DRAFT_VERSION_03';
    this.markHeader = message.disableXEnvoyRatelimitedHeader !== true;
    const status = httpStatusCode(message.rateLimitedStatus);
    this.limitedStatus = status < 400 ? 429 : status;
    this.ofResponse = compileHeaderParser(message.responseHeadersToAdd, [], 'response', '', parseHeaderFormat);
    this.statusOnError = httpStatusCode(message.statusOnError) || 500;
    this.serviceCluster = context.localInfo.clusterName;
    this.statPrefix = (message.statPrefix ?? '') === '' ? '' : `${message.statPrefix}.`;
    this.runtime = context.runtime;
    this.random = () => context.random();
    this.clusters = context.clusterManager;
  }

  isOn(key: string): boolean {
    return this.runtime.snapshot.featureEnabled(key, ALWAYS, this.random());
  }

  readonly isDisabled = (disableKey: string): boolean => !this.isOn(`ratelimit.${disableKey}.http_filter_enabled`);

  /** In the cluster that the request goes to. */
  count(cluster: string | undefined, name: 'ok' | 'error' | 'over_limit' | 'failure_mode_allowed'): void {
    if (cluster !== undefined) this.clusters.get(cluster)?.info.statsScope.counter(`ratelimit.${this.statPrefix}${name}`).inc();
  }
}

class RateLimitFilter extends PassThroughFilter {
  private readonly settings: Settings;
  private readonly context = new HeadersContext();
  private calling = false;
  private initiating = false;
  private stopped = false;
  private request: AsyncRequest | null = null;
  private answer: RateLimitAnswer | null = null;

  constructor(settings: Settings) {
    super();
    this.settings = settings;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { settings, decoder } = this;
    if (!settings.isOn('ratelimit.http_filter_enabled') || !this.isOfType(headers)) return FilterHeadersStatus.Continue;
    const route = decoder.perFilterConfig<PerRoute>();
    const query = {
      stage: settings.stage,
      virtualHost: route?.virtualHost ?? 'OVERRIDE',
      serviceCluster: settings.serviceCluster,
      isDisabled: settings.isDisabled,
    } as const;
    const descriptors = requestDescriptors(query, decoder.route(), headers, decoder.streamInfo);
    if (descriptors.length === 0) return FilterHeadersStatus.Continue;
    this.context.requestHeaders = headers;
    this.calling = true;
    this.stopped = true;
    this.initiating = true;
    this.request = settings.client.call(
      writeRateLimitRequest(route?.domain || settings.domain, descriptors),
      decoder.streamInfo,
      headers,
      { onMessage: (message) => this.onAnswer(read(message)), onFailure: () => this.onAnswer(null) },
    );
    this.initiating = false;
    if (!this.calling) this.request = null;
    return this.stopped ? FilterHeadersStatus.StopIteration : FilterHeadersStatus.Continue;
  }

  override decodeData(): FilterDataStatus {
    return this.calling ? FilterDataStatus.StopIterationAndWatermark : FilterDataStatus.Continue;
  }

  override decodeTrailers(): FilterTrailersStatus {
    return this.calling ? FilterTrailersStatus.StopIteration : FilterTrailersStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    if (this.answer !== null) this.addToResponse(this.answer, headers);
    return FilterHeadersStatus.Continue;
  }

  override onDestroy(): void {
    this.request?.cancel();
    this.request = null;
    this.calling = false;
    this.context.requestHeaders = null;
  }

  reset(): void {
    this.stopped = false;
    this.answer = null;
  }

  private isOfType(headers: HeaderMap): boolean {
    const { requestType } = this.settings;
    return requestType === '' || (headers.getId(H['x-envoy-internal']) === 'true') === (requestType === 'internal');
  }

  /** Null: the service failed. */
  private onAnswer(answer: RateLimitAnswer | null): void {
    const { settings, decoder } = this;
    this.calling = false;
    this.request = null;
    this.answer = answer;
    const cluster = decoder.route()?.routeEntry?.clusterName;
    if (answer === null || answer.unknown) {
      settings.count(cluster, 'error');
      this.onError(cluster);
      return;
    }
    if (answer.metadata !== null) {
      const info = decoder.streamInfo;
      info.dynamicMetadata ??= {};
      info.dynamicMetadata[NAMESPACE] = { ...info.dynamicMetadata[NAMESPACE], ...answer.metadata };
    }
    settings.count(cluster, answer.overLimit ? 'over_limit' : 'ok');
    if (answer.overLimit && settings.isOn('ratelimit.http_filter_enforcing')) {
      this.refuse(answer);
      return;
    }
    const headers = this.context.requestHeaders as HeaderMap;
    for (const pair of answer.requestHeaders) if (isSafeHeader(pair) && pair[0][0] !== ':') headers.add(pair[0], pair[1]);
    this.goOn();
  }

  private onError(cluster: string | undefined): void {
    const { settings, decoder } = this;
    if (!settings.failureModeDeny) {
      settings.count(cluster, 'failure_mode_allowed');
      this.goOn();
      return;
    }
    decoder.streamInfo.setFlag('RateLimitServiceError');
    decoder.sendLocalReply(settings.statusOnError, '', null, null, 'rate_limiter_error');
  }

  private refuse(answer: RateLimitAnswer): void {
    const { settings, decoder } = this;
    const info = decoder.streamInfo;
    info.setFlag('RateLimited');
    const modify = (headers: HeaderMap): void => {
      if (settings.markHeader) headers.set('x-envoy-ratelimited', 'true');
      settings.ofResponse?.evaluate(headers, this.context, info);
    };
    decoder.sendLocalReply(settings.limitedStatus, answer.body, modify, settings.grpcStatus, 'request_rate_limited');
  }

  private goOn(): void {
    this.stopped = false;
    if (!this.initiating) this.decoder.continueDecoding();
  }

  private addToResponse(answer: RateLimitAnswer, headers: HeaderMap): void {
    for (const pair of answer.responseHeaders) if (isSafeHeader(pair) && pair[0][0] !== ':') headers.add(pair[0], pair[1]);
    if (!this.settings.xRateLimitHeaders) return;
    for (const [name, value] of rateLimitHeaders(answer.statuses)) headers.add(name, value);
  }
}

function read(message: Uint8Array): RateLimitAnswer | null {
  try {
    return readRateLimitResponse(message);
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}
