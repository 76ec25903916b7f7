/**
 * The router: the terminal HTTP filter, which sends requests to clusters (Envoy: source/common/router/router.cc). Direct responses and
 * redirects, choice of the upstream, timeouts, retries, failure responses, upstream statistics.
 *
 * Router objects are kept with their stream object and used again; each has one UpstreamRequest, as there is one attempt at a time.
 * Left out: hedging, internal redirects, upstream HTTP filters.
 */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { FormatterContext } from '../../access_log/access_log.ts';
import type { Hash64 } from '../../common/hash64.ts';
import type { Connection } from '../../network/connection.ts';
import { LoadShedPoint } from '../../overload/overload_memory.ts';
import type { ResponseFlag } from '../../stream_info/stream_info.ts';
import type { PriorityAvailability, PriorityLoad } from '../../upstream/lb/priority_load.ts';
import { OutlierResult } from '../../upstream/outlier/host_monitor.ts';
import type {
  ClusterInfo,
  Host,
  HttpConnectionPool,
  LoadBalancerContext,
  TcpConnectionPool,
  ThreadLocalCluster,
} from '../../upstream/upstream.ts';
import { StreamResetReason } from '../codec.ts';
import { isConnect, isGrpcRequest } from '../conn_manager/conn_manager_utility.ts';
import { appendIdText, decimal, headerEquals } from '../conn_manager/header_bytes.ts';
import { LazyTimer } from '../conn_manager/lazy_timer.ts';
import {
  type DownstreamWatermarkCallbacks,
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type StreamDecoderFilter,
  type StreamDecoderFilterCallbacks,
} from '../filter.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { headerMask } from '../known_headers.ts';
import { createRetryState, type RetryState, RetryStatus } from '../retry_state.ts';
import type { DirectResponseEntry, Route, RouteEntry } from '../route/route.ts';
import { outlierStatus } from './outlier_status.ts';
import { RequestMirror } from './request_mirror.ts';
import type { RouterConfig } from './router_config.ts';
import { strictHeaderError } from './strict_headers.ts';
import { computeTimeouts, setExpectedTimeout, type TimeoutData } from './timeouts.ts';
import { RESET_FLAGS, resetBody, resetDetails, resetStatus } from './upstream_failure.ts';
import { UpstreamRequest } from './upstream_request.ts';

/** Request headers that steer the router; a request without any skips looking for each. */
const STEERING = headerMask([
  H['x-envoy-upstream-alt-stat-name'],
  H['x-envoy-upstream-rq-timeout-alt-response'],
  H['x-envoy-retry-on'],
  H['x-envoy-retry-grpc-on'],
  H['x-envoy-max-retries'],
  H['x-envoy-hedge-on-per-try-timeout'],
  H['x-envoy-retriable-header-names'],
  H['x-envoy-retriable-status-codes'],
  H['x-envoy-upstream-rq-per-try-timeout-ms'],
  H['content-type'],
]);

export class Router implements StreamDecoderFilter, LoadBalancerContext, DownstreamWatermarkCallbacks, FormatterContext {
  private readonly config: RouterConfig;
  private callbacks!: StreamDecoderFilterCallbacks;
  private upstream!: UpstreamRequest;
  readonly timeouts: TimeoutData = { globalMs: 0, perTryMs: 0, perTryIdleMs: 0 };
  private responseTimer!: LazyTimer;
  private retryTimer: LazyTimer | null = null;

  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  readonly responseTrailers = null;
  readonly localReplyBody = '';
  readonly accessLogType = 'UpstreamEnd';
  private requestTrailers: HeaderMap | null = null;
  private route: Route | null = null;
  private entry: RouteEntry | null = null;
  private cluster: ThreadLocalCluster | null = null;
  private info: ClusterInfo | null = null;
  private retryState: RetryState | null = null;
  /** The whole request was received. */
  requestComplete = false;
  private requestCompleteMs = -1;
  private responseStarted = false;
  private retryPending = false;
  private isRetry = false;
  private timedOutTry = false;
  private requestStarted = false;
  private attempts = 1;
  private isGrpc = false;
  private isTerminatedConnect = false;
  private altStatName = '';
  private timeoutStatus = 504;
  private finished = false;
  private bufferLimit = 0;
  private destroyed = false;
  private copy: SliceBuffer | null = null;
  private dropped = false;
  /** Copies of this request, when its route asks for any. */
  private mirror: RequestMirror | null = null;
  /** Of cookies that the route's hash policy made for this request. */
  private readonly setCookies: string[] = [];

  constructor(config: RouterConfig) {
    this.config = config;
  }

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.callbacks = callbacks;
    this.upstream = new UpstreamRequest(this, callbacks);
    this.responseTimer = new LazyTimer(callbacks.dispatcher, () => this.onResponseTimeout());
  }

  // The request.

  decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    const callbacks = this.callbacks;
    const config = this.config;
    const stats = config.stats;
    const streamInfo = callbacks.streamInfo;
    this.requestHeaders = headers;
    stats.rqTotal.inc();
    const route = callbacks.route();
    if (route === null) {
      stats.noRoute.inc();
      streamInfo.setFlag('NoRouteFound');
      callbacks.sendLocalReply(404, '', null, null, 'route_not_found');
      return FilterHeadersStatus.StopIteration;
    }
    this.route = route;
    if (route.directResponse !== null) return this.answerDirectly(route.directResponse);
    const entry = route.routeEntry as RouteEntry;
    this.entry = entry;
    const cluster = config.clusterManager.get(entry.clusterName);
    if (cluster === null) {
      stats.noCluster.inc();
      streamInfo.upstreamClusterName = entry.clusterName;
      streamInfo.setFlag('NoClusterFound');
      callbacks.sendLocalReply(entry.clusterNotFoundResponseCode, '', null, null, 'cluster_not_found');
      return FilterHeadersStatus.StopIteration;
    }
    if (config.overload !== null && config.overload.shouldShed(LoadShedPoint.DownstreamFilterCheck)) {
      stats.rqOverloadLocalReply.inc();
      streamInfo.setFlag('OverloadManagerTerminated');
      callbacks.sendLocalReply(503, 'envoy overloaded', null, null, 'overload');
      return FilterHeadersStatus.StopIteration;
    }
    const info = cluster.info;
    this.cluster = cluster;
    this.info = info;
    streamInfo.upstreamClusterName = info.name;
    streamInfo.upstreamClusterObservableName = info.observabilityName;
    streamInfo.clusterMetadata = info.metadata;
    if (config.strictCheckHeaders.length > 0 && !this.passesStrictCheck(headers)) return FilterHeadersStatus.StopIteration;
    const steered = headers.mayHaveAny(STEERING);
    if (steered) this.readSteeringHeaders(headers);
    if (info.maintenanceMode) return this.refuseInMaintenance(info);
    if (info.dropOverload > 0 && this.dropsOverload(info.dropOverload)) return FilterHeadersStatus.StopIteration;

    computeTimeouts(this.timeouts, entry, headers, config.respectExpectedRqTimeout);
    if (!config.suppressEnvoyHeaders) setExpectedTimeout(this.timeouts, headers, 0, config.respectExpectedRqTimeout);
    if (route.virtualHost.includeAttemptCountInRequest) headers.setId(H['x-envoy-attempt-count'], '1');
    streamInfo.attemptCount = 1;
    if (!entry.isIdentity) entry.finalizeRequestHeaders(headers, this, streamInfo, !config.suppressEnvoyHeaders);
    const policy = entry.retryPolicy;
    if (steered || (policy !== null && policy.retryOn !== 0)) this.createRetryState(headers, info);
    this.bufferLimit = this.retryBufferLimit(entry);
    this.isTerminatedConnect = entry.connectConfig !== null && (isConnect(headers) || this.isAllowedPost(entry, headers));

    if (entry.mirrors.length > 0 && !this.isTerminatedConnect) this.startMirrors(entry, headers, endStream);
    if (!this.sendUpstream(endStream)) return FilterHeadersStatus.StopIteration;
    if (endStream && !this.finished) this.onRequestComplete();
    return FilterHeadersStatus.StopIteration;
  }

  decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (this.mirror !== null && !this.finished) {
      data.makePrivate();
      this.mirror.sendData(data, endStream);
    }
    let buffering = this.retryState !== null && this.retryState.enabled && !this.responseStarted;
    if (buffering) {
      const buffered = this.callbacks.decodingBuffer();
      if ((buffered === null || buffered === data ? 0 : buffered.length) + data.length > this.bufferLimit) {
        this.info?.stats.retryOrShadowAbandoned.inc();
        this.dropRetryState();
        buffering = false;
        if (this.retryPending) {
          // The attempt failed, the next one has not begun, and what it would need cannot be kept.
          this.cleanup();
          this.callbacks.sendLocalReply(
            507,
            'exceeded request buffer limit while retrying upstream',
            this.modifyLocalReply,
            null,
            'request_payload_exceeded_retry_buffer_limit',
          );
          return FilterDataStatus.StopIterationNoBuffer;
        }
      }
    }
    if (this.finished) {
      data.clear();
      return FilterDataStatus.StopIterationNoBuffer;
    }
    if (this.upstream.active) {
      if (buffering) {
        // It is kept until the response begins.
        data.makePrivate();
        const copy = (this.copy ??= new SliceBuffer(this.callbacks.dispatcher.slab));
        shareSlices(data, copy);
        this.callbacks.addDecodedData(data, true);
        this.upstream.acceptData(copy, endStream);
      } else this.upstream.acceptData(data, endStream);
    } else if (buffering) this.callbacks.addDecodedData(data, true);
    if (endStream && !this.finished) this.onRequestComplete();
    return FilterDataStatus.StopIterationNoBuffer;
  }

  decodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.requestTrailers = trailers;
    if (this.mirror !== null) this.mirror.sendTrailers(trailers);
    if (this.upstream.active) this.upstream.acceptTrailers(trailers);
    if (!this.finished) this.onRequestComplete();
    return FilterTrailersStatus.StopIteration;
  }

  private onRequestComplete(): void {
    this.requestComplete = true;
    this.requestCompleteMs = this.callbacks.dispatcher.nowMs;
    if (!this.upstream.active && !this.retryPending) return;
    if (this.timeouts.globalMs > 0) this.responseTimer.set(this.timeouts.globalMs);
    if (this.upstream.active) this.upstream.onRequestComplete();
  }

  // Parts of decodeHeaders that few requests need.

  private answerDirectly(entry: DirectResponseEntry): FilterHeadersStatus {
    const stats = this.config.stats;
    stats.rqDirectResponse.inc();
    if (entry.status >= 300 && entry.status < 400) stats.rqRedirect.inc();
    this.finished = true;
    this.callbacks.sendLocalReply(entry.status, entry.body, this.modifyDirectResponse, null, 'direct_response');
    return FilterHeadersStatus.StopIteration;
  }

  private readonly modifyDirectResponse = (headers: HeaderMap): void => {
    const entry = this.route === null ? null : this.route.directResponse;
    if (entry === null) return;
    const request = this.requestHeaders as HeaderMap;
    if (entry.status === 201 || (entry.status >= 300 && entry.status < 400)) {
      const uri = entry.newUri(request);
      if (uri !== undefined && uri !== '') headers.addId(H.location, uri);
    }
    if (entry.contentType !== undefined) headers.setId(H['content-type'], entry.contentType);
    entry.finalizeResponseHeaders(headers, this, this.callbacks.streamInfo);
  };

  private passesStrictCheck(headers: HeaderMap): boolean {
    const details = strictHeaderError(headers, this.config.strictCheckHeaders);
    if (details === null) return true;
    this.callbacks.streamInfo.setFlag('InvalidEnvoyRequestHeaders');
    this.callbacks.sendLocalReply(400, details, null, null, 'request_headers_failed_strict_check');
    return false;
  }

  private readSteeringHeaders(headers: HeaderMap): void {
    this.isGrpc = isGrpcRequest(headers);
    const alt = headers.getId(H['x-envoy-upstream-alt-stat-name']);
    if (alt !== undefined) {
      this.altStatName = alt;
      headers.removeId(H['x-envoy-upstream-alt-stat-name']);
    }
    if (headers.hasId(H['x-envoy-upstream-rq-timeout-alt-response'])) {
      this.timeoutStatus = 204;
      headers.removeId(H['x-envoy-upstream-rq-timeout-alt-response']);
    }
  }

  private refuseInMaintenance(info: ClusterInfo): FilterHeadersStatus {
    this.callbacks.streamInfo.setFlag('UpstreamOverflow');
    this.chargeCode(503, null, null);
    info.stats.upstreamRqMaintenanceMode.inc();
    this.dropped = true;
    this.callbacks.sendLocalReply(503, 'maintenance mode', this.modifyLocalReply, null, 'maintenance_mode');
    return FilterHeadersStatus.StopIteration;
  }

  private startMirrors(entry: RouteEntry, headers: HeaderMap, endStream: boolean): void {
    const { mirrorClient } = this.config;
    if (mirrorClient === null) return;
    for (const policy of entry.mirrors) {
      const cluster = policy.clusterOf(headers, this.callbacks.stableRandom);
      if (cluster === '') continue;
      this.mirror ??= new RequestMirror(this.callbacks.dispatcher, this.onMirrorAbandoned);
      this.mirror.start(mirrorClient(), policy, cluster, headers, this.timeouts.globalMs, endStream);
    }
  }

  private readonly onMirrorAbandoned = (): void => {
    this.info?.stats.retryOrShadowAbandoned.inc();
  };

  /** `drop_overloads`: answers, when the request is one of those to drop. */
  private dropsOverload(share: number): boolean {
    if (share < 1 && (this.config.random() >>> 0) / 0x1_0000_0000 >= share) return false;
    const what = share < 1 ? 'drop_overload' : 'unconditional_drop_overload';
    this.callbacks.streamInfo.setFlag(share < 1 ? 'DropOverload' : 'UnconditionalDropOverload');
    this.chargeCode(503, null, null);
    const modify = (headers: HeaderMap): void => {
      if (!this.config.suppressEnvoyHeaders) headers.set(`x-envoy-${what.replaceAll('_', '-')}`, 'true');
      this.modifyLocalReply(headers);
    };
    this.callbacks.sendLocalReply(503, what, modify, null, what);
    return true;
  }

  private createRetryState(headers: HeaderMap, info: ClusterInfo): void {
    const entry = this.entry as RouteEntry;
    this.retryState = createRetryState(entry.retryPolicy, headers, {
      runtime: this.config.runtime.snapshot,
      retries: info.resourceManager(entry.priority).retries,
      stats: info.stats,
      random: this.config.random,
    });
  }

  private retryBufferLimit(entry: RouteEntry): number {
    const limit = this.callbacks.decoderBufferLimit;
    const own = entry.requestBodyBufferLimit;
    const connection = limit === 0 ? Number.MAX_SAFE_INTEGER : limit;
    return own === undefined ? connection : Math.min(own, connection);
  }

  private isAllowedPost(entry: RouteEntry, headers: HeaderMap): boolean {
    return entry.connectConfig !== null && entry.connectConfig.allowPost && headerEquals(headers, H[':method'], 'POST');
  }

  /** Starts an attempt. False when there is no host. */
  private sendUpstream(endStream: boolean): boolean {
    // It may have been replaced since the last attempt.
    const cluster = this.config.clusterManager.get((this.info as ClusterInfo).name) ?? (this.cluster as ThreadLocalCluster);
    const entry = this.entry as RouteEntry;
    if (this.isTerminatedConnect) {
      const pool: TcpConnectionPool | null = cluster.tcpConnPool(entry.priority, this);
      if (pool === null) return this.answerNoHost();
      this.upstream.acceptTcp(pool, false);
      return true;
    }
    const pool: HttpConnectionPool | null = cluster.httpConnPool(entry.priority, this);
    if (pool === null) return this.answerNoHost();
    this.upstream.acceptHeaders(pool, endStream);
    return true;
  }

  private answerNoHost(): boolean {
    this.callbacks.streamInfo.setFlag('NoHealthyUpstream');
    this.chargeCode(503, null, null);
    this.cleanup();
    this.callbacks.sendLocalReply(503, 'no healthy upstream', this.modifyLocalReply, null, 'no_healthy_upstream');
    return false;
  }

  /** Adds to the router's own replies what the upstream's would get. */
  private readonly modifyLocalReply = (headers: HeaderMap): void => {
    if (this.dropped && !this.config.suppressEnvoyHeaders) headers.setId(H['x-envoy-overloaded'], 'true');
    if (this.route?.virtualHost.includeAttemptCountInResponse) headers.setId(H['x-envoy-attempt-count'], decimal(this.attempts));
  };

  // LoadBalancerContext.

  computeHashKey(): Hash64 | null {
    const policy = this.entry === null ? null : this.entry.hashPolicy;
    if (policy === null) return null;
    if (this.setCookies.length > 0) this.setCookies.length = 0;
    return policy.generateHash(this.requestHeaders as HeaderMap, this.callbacks.streamInfo, this.addSetCookie);
  }

  private readonly addSetCookie = (setCookie: string): void => {
    this.setCookies.push(setCookie);
  };

  determinePriorityLoad(
    load: PriorityLoad,
    availability: PriorityAvailability,
    priorityOf: (host: Host) => number | null,
  ): PriorityLoad {
    return this.isRetry && this.retryState !== null
      ? this.retryState.determinePriorityLoad(load, availability, priorityOf)
      : load;
  }

  metadataMatch(): Record<string, unknown> | null {
    return this.entry === null ? null : this.entry.metadataMatch;
  }

  downstreamConnection(): Connection | null {
    return this.callbacks.connection;
  }

  downstreamHeaders(): HeaderMap | null {
    return this.requestHeaders;
  }

  shouldSelectAnotherHost(host: Host): boolean {
    return this.isRetry && this.retryState !== null && this.retryState.shouldSelectAnotherHost(host);
  }

  hostSelectionRetryCount(): number {
    return this.isRetry && this.retryState !== null ? this.retryState.hostSelectionMaxAttempts : 1;
  }

  // From the upstream request.

  get startsChildSpans(): boolean {
    return this.config.startChildSpan;
  }

  /** The headers as this host gets them. */
  prepareHeaders(host: Host): HeaderMap {
    const headers = this.requestHeaders as HeaderMap;
    const entry = this.entry as RouteEntry;
    if (entry.autoHostRewrite && host.hostname !== '') {
      const before = headers.getId(H[':authority']);
      if (before !== host.hostname) {
        if (before !== undefined) {
          if (entry.appendXForwardedHost) appendIdText(headers, H['x-forwarded-host'], before, ',');
          if (!this.config.suppressEnvoyHeaders && !headers.hasId(H['x-envoy-original-host']))
            headers.addId(H['x-envoy-original-host'], before);
        }
        headers.setId(H[':authority'], host.hostname);
      }
    }
    return headers;
  }

  onHostSelected(host: Host): void {
    if (this.retryState !== null) this.retryState.onHostAttempted(host);
  }

  onInvalidRequestHeaders(error: string): void {
    this.callbacks.streamInfo.setFlag('DownstreamProtocolError');
    this.cleanup();
    this.callbacks.sendLocalReply(
      503,
      error,
      this.modifyLocalReply,
      null,
      `filter_removed_required_request_headers{${error.replaceAll(' ', '_')}}`,
    );
  }

  onUpstream1xx(headers: HeaderMap): void {
    if (this.retryState !== null) this.dropRetryState();
    this.callbacks.encode1xxHeaders(headers);
    headers.release();
  }

  onUpstreamHeaders(status: number, headers: HeaderMap, request: UpstreamRequest, endStream: boolean): void {
    const callbacks = this.callbacks;
    const config = this.config;
    const host = request.host as Host;
    const streamInfo = callbacks.streamInfo;
    const route = this.route as Route;
    const entry = this.entry as RouteEntry;
    if (route.virtualHost.includeAttemptCountInResponse) headers.setId(H['x-envoy-attempt-count'], decimal(this.attempts));
    if (host.outlier !== null) host.outlier.putResponse(this.isGrpc ? outlierStatus(status, headers) : status);
    if (host.reportImmediateFailure !== null && headers.hasId(H['x-envoy-immediate-health-check-fail']))
      host.reportImmediateFailure();
    if (this.retryState !== null && this.retryOnHeaders(status, headers, request, host)) return;
    this.responseStarted = true;
    this.responseHeaders = headers;
    const isCanary = host.canary || headerEquals(headers, H['x-envoy-upstream-canary'], 'true');
    if (this.requestCompleteMs >= 0 && !config.suppressEnvoyHeaders) {
      headers.setId(H['x-envoy-upstream-service-time'], decimal(Math.round(callbacks.dispatcher.nowMs - this.requestCompleteMs)));
    }
    for (let i = 0; i < this.setCookies.length; i++) headers.addId(H['set-cookie'], this.setCookies[i]);
    if (entry.hasResponseMutations) entry.finalizeResponseHeaders(headers, this, streamInfo);
    if (config.dynamicStats && !streamInfo.healthCheck) this.chargeCode(status, host, isCanary ? headers : null);
    if (status < 500 || status > 599) {
      if (!this.isGrpc) host.stats.rqSuccess.inc();
      else if (!endStream || headerEquals(headers, H['grpc-status'], '0')) host.stats.rqSuccess.inc();
      else host.stats.rqError.inc();
    }
    const complete = endStream && this.completeBeforeEncoding(request, isCanary);
    callbacks.encodeHeaders(headers, endStream, 'via_upstream');
    if (endStream && !complete) this.completeAfterEncoding(request);
  }

  /** True when the response is dropped and the request tried again. */
  private retryOnHeaders(status: number, headers: HeaderMap, request: UpstreamRequest, host: Host): boolean {
    const state = this.retryState as RetryState;
    const decision = state.shouldRetryHeaders(headers, this.requestHeaders as HeaderMap, this.callbacks.dispatcher.systemTimeMs);
    if (decision === RetryStatus.Yes) {
      host.stats.rqError.inc();
      if (this.config.dynamicStats) this.config.codeStatsOf(this.info as ClusterInfo).chargeRetry(status);
      headers.release();
      request.reset();
      this.scheduleRetry(state);
      return true;
    }
    this.flagRetryRefusal(decision);
    return false;
  }

  onUpstreamData(data: SliceBuffer, request: UpstreamRequest, endStream: boolean): void {
    const complete = endStream && this.completeBeforeEncoding(request, false);
    this.callbacks.encodeData(data, endStream);
    if (endStream && !complete) this.completeAfterEncoding(request);
  }

  onUpstreamTrailers(trailers: HeaderMap, request: UpstreamRequest): void {
    const complete = this.completeBeforeEncoding(request, false);
    this.callbacks.encodeTrailers(trailers);
    if (!complete) this.completeAfterEncoding(request);
  }

  /** The usual end: request and response are complete, the upstream connection is free. False when the request is not. */
  private completeBeforeEncoding(request: UpstreamRequest, isCanary: boolean): boolean {
    if (!this.requestComplete || !request.encodeComplete) return false;
    request.detach();
    if (this.config.dynamicStats && !this.callbacks.streamInfo.healthCheck) {
      const ms = Math.round(this.callbacks.dispatcher.nowMs - this.requestCompleteMs);
      this.config.codeStatsOf(this.info as ClusterInfo).chargeTime(ms, this.isInternalRequest(), isCanary);
    }
    this.logUpstream();
    this.cleanup();
    return true;
  }

  /** The response came early. Its last bytes lie in the upstream connection's buffer, so that is closed only when they are encoded. */
  private completeAfterEncoding(request: UpstreamRequest): void {
    if (this.destroyed) return;
    request.reset();
    this.logUpstream();
    this.cleanup();
  }

  onUpstreamReset(reason: StreamResetReason, transportFailureReason: string, request: UpstreamRequest): void {
    const host = request.host;
    if (request.started) this.requestStarted = true;
    request.detach();
    // A circuit breaker's refusal says nothing about the host.
    if (reason !== StreamResetReason.Overflow) host?.outlier?.putResult(OutlierResult.ConnectFailed);
    if (this.maybeRetryReset(reason, host, false)) return;
    const dropped = reason === StreamResetReason.Overflow;
    const status = resetStatus(reason);
    this.chargeAbort(status, host);
    const body = resetBody(reason, transportFailureReason, this.isRetry);
    this.abort(status, RESET_FLAGS[reason], body, dropped, resetDetails(reason, transportFailureReason, this.responseStarted));
  }

  private maybeRetryReset(reason: StreamResetReason, host: Host | null, isTimeout: boolean): boolean {
    const state = this.retryState;
    if (this.responseStarted || state === null) return false;
    const decision = state.shouldRetryReset(reason, this.requestStarted);
    if (decision === RetryStatus.Yes) {
      host?.stats.rqError.inc();
      this.timedOutTry = isTimeout;
      this.scheduleRetry(state);
      return true;
    }
    this.flagRetryRefusal(decision);
    return false;
  }

  private flagRetryRefusal(decision: RetryStatus): void {
    const streamInfo = this.callbacks.streamInfo;
    if (decision === RetryStatus.NoOverflow) streamInfo.setFlag('UpstreamOverflow');
    else if (decision === RetryStatus.NoRetryLimitExceeded) streamInfo.setFlag('UpstreamRetryLimitExceeded');
  }

  private scheduleRetry(state: RetryState): void {
    this.logUpstream();
    this.retryPending = true;
    this.retryTimer ??= new LazyTimer(this.callbacks.dispatcher, () => this.doRetry());
    this.retryTimer.set(state.nextBackOffMs());
  }

  private doRetry(): void {
    if (!this.retryPending || this.finished) return;
    this.retryPending = false;
    this.isRetry = true;
    this.attempts++;
    const headers = this.requestHeaders as HeaderMap;
    const callbacks = this.callbacks;
    const virtualHost = (this.route as Route).virtualHost;
    callbacks.streamInfo.attemptCount = this.attempts;
    if (virtualHost.includeAttemptCountInRequest) headers.setId(H['x-envoy-attempt-count'], decimal(this.attempts));
    if (virtualHost.includeIsTimeoutRetryHeader)
      headers.setId(H['x-envoy-is-timeout-retry'], this.timedOutTry ? 'true' : 'false');
    const elapsed = this.requestCompleteMs < 0 ? 0 : callbacks.dispatcher.nowMs - this.requestCompleteMs;
    if (!this.config.suppressEnvoyHeaders)
      setExpectedTimeout(this.timeouts, headers, elapsed, this.config.respectExpectedRqTimeout);
    const body = callbacks.decodingBuffer();
    const hasBody = body !== null && body.length > 0;
    const trailers = this.requestTrailers;
    if (!this.sendUpstream(this.requestComplete && !hasBody && trailers === null)) return;
    if (this.upstream.active && hasBody) {
      const copy = (this.copy ??= new SliceBuffer(callbacks.dispatcher.slab));
      shareSlices(body, copy);
      this.upstream.acceptData(copy, this.requestComplete && trailers === null);
    }
    if (this.upstream.active && trailers !== null) this.upstream.acceptTrailers(trailers);
  }

  // Timeouts.

  private onResponseTimeout(): void {
    if (this.finished) return;
    const request = this.upstream;
    const info = this.info as ClusterInfo;
    info.stats.upstreamRqTimeout.inc();
    if (request.active) {
      const host = request.host;
      if (request.awaitingHeaders) {
        host?.outlier?.putResult(OutlierResult.Timeout, this.timeoutStatus);
        this.chargeAbort(this.timeoutStatus, host);
        host?.stats.rqTimeout.inc();
      }
      request.reset();
    }
    this.abortForTimeout('response_timeout');
  }

  onPerTryTimeout(request: UpstreamRequest): void {
    this.tryTimedOut(request, 'upstream_per_try_timeout', false);
  }

  onPerTryIdleTimeout(request: UpstreamRequest): void {
    this.tryTimedOut(request, 'upstream_per_try_idle_timeout', true);
  }

  private tryTimedOut(request: UpstreamRequest, details: string, idle: boolean): void {
    // A response that began may go on up to the route's timeout; an idle one may not.
    if (this.responseStarted && !idle) return;
    const stats = (this.info as ClusterInfo).stats;
    (idle ? stats.upstreamRqPerTryIdleTimeout : stats.upstreamRqPerTryTimeout).inc();
    const host = request.host;
    host?.stats.rqTimeout.inc();
    host?.outlier?.putResult(OutlierResult.Timeout, this.timeoutStatus);
    if (request.started) this.requestStarted = true;
    request.reset();
    this.callbacks.streamInfo.setFlag('UpstreamRequestTimeout');
    if (this.maybeRetryReset(StreamResetReason.LocalReset, host, true)) return;
    this.chargeAbort(this.timeoutStatus, host);
    this.abortForTimeout(details);
  }

  private abortForTimeout(details: string): void {
    const body = this.timeoutStatus === 504 ? 'upstream request timeout' : '';
    this.abort(this.timeoutStatus, 'UpstreamRequestTimeout', body, false, details);
  }

  /** Answers; a response that began is cut off instead. */
  private abort(status: number, flag: ResponseFlag, body: string, dropped: boolean, details: string): void {
    this.callbacks.streamInfo.setFlag(flag);
    this.dropped = dropped;
    this.logUpstream();
    this.cleanup();
    this.callbacks.sendLocalReply(status, body, this.modifyLocalReply, null, details);
  }

  // Statistics.

  private isInternalRequest(): boolean {
    return headerEquals(this.requestHeaders as HeaderMap, H['x-envoy-internal'], 'true');
  }

  /** `canary`: response headers of a canary, else null. */
  private chargeCode(status: number, host: Host | null, canary: HeaderMap | null): void {
    const info = this.info as ClusterInfo;
    if (this.config.dynamicStats && !this.callbacks.streamInfo.healthCheck) {
      this.config.codeStatsOf(info).chargeResponse(status, this.isInternalRequest(), canary !== null);
      if (this.altStatName !== '')
        this.config.altCodeStatsOf(info, this.altStatName).chargeResponse(status, this.isInternalRequest(), canary !== null);
    }
    if (host !== null && status >= 500 && status <= 599) host.stats.rqError.inc();
  }

  private chargeAbort(status: number, host: Host | null): void {
    if (this.responseStarted) {
      this.config.stats.rqResetAfterDownstreamResponseStarted.inc();
      return;
    }
    this.chargeCode(status, host, null);
    if (host !== null && (status < 500 || status > 599)) host.stats.rqError.inc();
  }

  onStreamReset(remote: boolean): void {
    const stats = (this.info as ClusterInfo).stats;
    (remote ? stats.upstreamRqRxReset : stats.upstreamRqTxReset).inc();
  }

  onUpstreamBackedUp(above: boolean): void {
    const stats = (this.info as ClusterInfo).stats;
    (above ? stats.upstreamFlowControlBackedUpTotal : stats.upstreamFlowControlDrainedTotal).inc();
  }

  onResponsePaused(pause: boolean): void {
    const stats = (this.info as ClusterInfo).stats;
    (pause ? stats.upstreamFlowControlPausedReadingTotal : stats.upstreamFlowControlResumedReadingTotal).inc();
  }

  private logUpstream(): void {
    const logs = this.config.upstreamLogs;
    for (let i = 0; i < logs.length; i++) logs[i].log(this, this.callbacks.streamInfo);
  }

  // DownstreamWatermarkCallbacks: the client takes the response too slowly.

  onAboveWriteBufferHighWatermark(): void {
    this.upstream.pauseResponse(true);
  }

  onBelowWriteBufferLowWatermark(): void {
    this.upstream.pauseResponse(false);
  }

  // The end.

  private cleanup(): void {
    this.finished = true;
    this.upstream.reset();
    this.dropRetryState();
    this.retryPending = false;
    this.retryTimer?.clear();
    this.responseTimer.clear();
  }

  private dropRetryState(): void {
    const state = this.retryState;
    if (state === null) return;
    this.retryState = null;
    state.release();
  }

  onDestroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.cleanup();
    if (this.mirror !== null) {
      this.mirror.close();
      this.mirror = null;
    }
    if (this.copy !== null && this.copy.length > 0) this.copy.clear();
  }

  reset(): void {
    this.requestHeaders = null;
    this.responseHeaders = null;
    this.requestTrailers = null;
    this.route = null;
    this.entry = null;
    this.cluster = null;
    this.info = null;
    this.requestComplete = false;
    this.requestCompleteMs = -1;
    this.responseStarted = false;
    this.isRetry = false;
    this.timedOutTry = false;
    this.requestStarted = false;
    this.attempts = 1;
    this.isGrpc = false;
    this.isTerminatedConnect = false;
    this.altStatName = '';
    this.timeoutStatus = 504;
    this.finished = false;
    this.destroyed = false;
    this.dropped = false;
    if (this.setCookies.length > 0) this.setCookies.length = 0;
  }
}

/** Appends the bytes of `from` to `to` without taking them: both hold the slices. */
function shareSlices(from: SliceBuffer, to: SliceBuffer): void {
  for (let i = 0; i < from.slices; i++) {
    const offset = from.offsetAt(i);
    from.slab.retain(offset);
    to.push(offset, from.lengthAt(i));
  }
}
