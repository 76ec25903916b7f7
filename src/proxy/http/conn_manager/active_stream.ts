/**
 * One request and its response on a downstream connection (Envoy: ConnectionManagerImpl::ActiveStream): between the codec and the
 * filters. Checks and changes request headers, finds the route, finishes response headers, keeps the stream's timeouts, writes its
 * access log. Objects are pooled per connection manager and worker; `deleteNow` makes one ready again.
 */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { DeferredDeletable, Dispatcher } from '../../../core/event/dispatcher.ts';
import type { AccessLogType } from '../../access_log/access_log.ts';
import type { Address } from '../../network/address.ts';
import type { Connection } from '../../network/connection.ts';
import { LoadShedPoint, OverloadAction } from '../../overload/overload_memory.ts';
import type { OverloadState } from '../../overload/overload_state.ts';
import type { ScaledTimer } from '../../overload/scaled_timer.ts';
import { StreamInfo } from '../../stream_info/stream_info.ts';
import type { Span } from '../../tracing/span.ts';
import { type RequestDecoder, type ResponseEncoder, type StreamCallbacks, StreamResetReason } from '../codec.ts';
import type { ReplyBody } from '../filter.ts';
import { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { headerMask } from '../known_headers.ts';
import type { Route } from '../route/route.ts';
import { type ConnectionManagerConfig, NormalizePathAction } from './conn_manager_config.ts';
import type { ConnectionManagerImpl } from './conn_manager_impl.ts';
import {
  type ClientAddressResult,
  isConnect,
  isGrpcRequest,
  isUpgradeRequest,
  mutateRequestHeaders,
  mutateResponseHeaders,
} from './conn_manager_utility.ts';
import { httpDate } from './date_provider.ts';
import { FilterManager, type FilterManagerCallbacks, type ModifyHeaders } from './filter_manager.ts';
import { decimal, firstByte, headerEquals, headerEqualsIgnoreCase, statusOf } from './header_bytes.ts';
import { normalizeHost } from './host_normalize.ts';
import { LazyTimer } from './lazy_timer.ts';
import type { LocalReplyContext, LocalReplyRequest } from './local_reply.ts';
import { maxStreamDurationMs } from './stream_duration.ts';
import { resetStreamInfo } from './stream_info_reset.ts';
import { random32 } from './uuid.ts';

/** Request headers that need more than the usual path. */
const SPECIAL = headerMask([H.expect, H.upgrade, H['content-type']]);
const SLASH = 47;
const appendLocalOverload = (headers: HeaderMap): void => headers.setId(H['x-envoy-local-overloaded'], 'true');
let nextStreamId = 1;

export class ActiveStream
  implements RequestDecoder, StreamCallbacks, FilterManagerCallbacks, LocalReplyContext, ClientAddressResult, DeferredDeletable
{
  readonly config: ConnectionManagerConfig;
  readonly dispatcher: Dispatcher;
  readonly filterManager: FilterManager;
  readonly streamInfo = new StreamInfo();
  connectionManager: ConnectionManagerImpl | null = null;
  responseEncoder: ResponseEncoder | null = null;
  /** Place in the connection manager's list. */
  listIndex = -1;
  streamId = 0;
  stableRandom = 0;

  requestHeaders: HeaderMap | null = null;
  requestTrailers: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  responseTrailers: HeaderMap | null = null;
  localReplyBody = '';
  accessLogType: AccessLogType = 'DownstreamEnd';
  downstreamRemoteAddress: Address | null = null;

  sawConnectionClose = false;
  codecSawLocalComplete = false;
  private isHead = false;
  private isGrpc = false;
  private isTunnel = false;
  /** The downstream accepted upgrade is counted as active until the stream ends. */
  private countedUpgrade = false;
  private defaultChain = false;
  /** It is refused, and answered past all filters. */
  private withoutFilters = false;
  private routeFound = false;
  private cachedRoute: Route | null = null;
  private resetCalled = false;

  private idleTimeoutMs = 0;
  private readonly idleTimer: LazyTimer | ScaledTimer;
  // Off by default: null until a stream has one.
  private requestTimer: LazyTimer | null = null;
  private requestHeaderTimer: LazyTimer | null = null;
  private maxDurationTimer: LazyTimer | null = null;
  private readonly reply: LocalReplyRequest = {
    status: 0,
    body: '',
    modify: null,
    grpcStatus: null,
    isGrpc: false,
    isHead: false,
  };

  constructor(config: ConnectionManagerConfig) {
    this.config = config;
    this.dispatcher = config.dispatcher;
    this.filterManager = new FilterManager(this);
    this.idleTimer = config.createTimer('HTTP_DOWNSTREAM_STREAM_IDLE', () => this.onIdleTimeout());
  }

  get connection(): Connection | null {
    return this.connectionManager === null ? null : this.connectionManager.connection;
  }

  /** A request begins. Everything of the one before was forgotten by `deleteNow`. */
  begin(manager: ConnectionManagerImpl, encoder: ResponseEncoder): void {
    const config = this.config;
    this.connectionManager = manager;
    this.responseEncoder = encoder;
    this.streamId = nextStreamId++;
    this.stableRandom = random32();
    this.filterManager.initialize(manager.connection.bufferLimit);
    const info = this.streamInfo;
    const of = manager.connection.streamInfo;
    info.startTimeMs = this.dispatcher.systemTimeMs;
    info.startMonotonicMs = this.dispatcher.nowMs;
    info.connectionId = manager.connection.id;
    info.downstreamRemoteAddress = of.downstreamRemoteAddress;
    info.downstreamDirectRemoteAddress = of.downstreamDirectRemoteAddress;
    info.downstreamLocalAddress = of.downstreamLocalAddress;
    info.downstreamDirectLocalAddress = of.downstreamDirectLocalAddress;
    info.requestedServerName = of.requestedServerName;
    info.helloFingerprints = of.helloFingerprints;
    info.downstreamSsl = of.downstreamSsl;
    info.downstreamHandshakeCompleteMs = of.downstreamHandshakeCompleteMs;
    info.filterChainName = of.filterChainName;
    info.listenerMetadata = of.listenerMetadata;
    encoder.stream.addCallbacks(this);
    if (config.streamIdleTimeoutMs > 0) {
      this.idleTimeoutMs = config.streamIdleTimeoutMs;
      this.idleTimer.set(config.streamIdleTimeoutMs);
    }
    if (config.requestTimeoutMs > 0) {
      this.requestTimer ??= new LazyTimer(this.dispatcher, () => this.onRequestTimeout());
      this.requestTimer.set(config.requestTimeoutMs);
    }
    if (config.requestHeadersTimeoutMs > 0) {
      this.requestHeaderTimer ??= new LazyTimer(this.dispatcher, () => this.onRequestHeaderTimeout());
      this.requestHeaderTimer.set(config.requestHeadersTimeoutMs);
    }
    if (config.maxStreamDurationMs > 0) this.limitDuration(config.maxStreamDurationMs);
  }

  /** The connection changes its protocol before the request was decoded: `encoder` answers it. */
  moveTo(encoder: ResponseEncoder): void {
    this.responseEncoder?.stream.removeCallbacks(this);
    this.responseEncoder = encoder;
    encoder.stream.addCallbacks(this);
  }

  // The request, from the codec.

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    const manager = this.connectionManager as ConnectionManagerImpl;
    const config = this.config;
    const info = this.streamInfo;
    this.requestHeaders = headers;
    this.requestHeaderTimer?.clear();
    info.protocol = manager.protocol;
    if (!manager.requestKeepsAlive(headers)) this.sawConnectionClose = true;
    if (headerEquals(headers, H[':method'], 'HEAD')) this.isHead = true;
    if (endStream) this.endRequest();
    if (config.overload !== null && this.shedsRequest(config.overload, headers)) return;
    const connect = isConnect(headers);
    this.isTunnel = connect;
    if (headers.mayHaveAny(SPECIAL)) {
      this.isGrpc = isGrpcRequest(headers);
      if (!config.proxy100Continue && headerEqualsIgnoreCase(headers, H.expect, '100-continue')) this.answerExpect(headers);
      if (isUpgradeRequest(headers)) this.isTunnel = true;
    }
    if (!this.passesChecks(headers, connect)) return;
    if (config.stripMatchingHostPort || config.stripAnyHostPort || config.stripTrailingHostDot) {
      normalizeHost(headers, config, manager.connection.localAddress);
    }
    mutateRequestHeaders(headers, config, manager.facts, this.isTunnel && !connect, this);
    info.downstreamRemoteAddress = this.downstreamRemoteAddress;

    const route = this.route();
    if (config.tracing !== null) info.activeSpan = config.tracing.start(headers, info, route);
    this.applyRouteTimeouts(route, headers);
    if (!this.createFilterChain(route, headers, connect)) {
      // Payload of a refused upgrade could be read as another request: nothing further is read from this connection.
      this.sawConnectionClose = true;
      config.stats.downstreamRqWsOnNonWsRoute.inc();
      this.sendLocalReply(403, '', 'upgrade_failed');
      return;
    }
    if (config.flushAccessLogOnNewRequest) this.log('DownstreamStart');
    this.filterManager.decodeHeaders(headers, endStream);
    this.resetIdleTimer();
  }

  /** True when the request was refused: no filter sees it, so that it costs as little as possible. */
  private shedsRequest(overload: OverloadState, headers: HeaderMap): boolean {
    if (!overload.shouldShed(LoadShedPoint.DecodeHeaders) && !overload.happens(OverloadAction.StopAcceptingRequests))
      return false;
    this.config.stats.downstreamRqOverloadClose.inc();
    this.isGrpc = isGrpcRequest(headers);
    this.dropKeptChain();
    this.withoutFilters = true;
    this.streamInfo.setFlag('OverloadManagerTerminated');
    const told = this.config.appendLocalOverload ? appendLocalOverload : null;
    this.filterManager.sendLocalReply(503, 'envoy overloaded', told, null, 'overload');
    return true;
  }

  /** Envoy's checks of a request head, in its order. False when the request was answered. */
  private passesChecks(headers: HeaderMap, connect: boolean): boolean {
    const config = this.config;
    if (this.streamInfo.protocol === 'HTTP/1.0') {
      if (!config.acceptHttp10) return this.refuse(426, 'low_version');
      if (!headers.hasId(H[':authority']) && config.defaultHostForHttp10 !== '') {
        headers.addId(H[':authority'], config.defaultHostForHttp10);
      }
    }
    if (!headers.hasId(H[':authority'])) return this.refuse(400, 'missing_host_header');
    const first = firstByte(headers, H[':path']);
    if (first < 0) return connect || this.refuse(404, 'missing_path_rejected');
    if (first !== SLASH) {
      config.stats.downstreamRqNonRelativePath.inc();
      return this.refuse(404, 'absolute_path_rejected');
    }
    return config.normalizePath === null || this.normalizePath(headers, config.normalizePath);
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    this.streamInfo.bytesReceived += data.length;
    if (endStream) this.endRequest();
    this.filterManager.decodeData(data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.requestTrailers = trailers;
    this.endRequest();
    this.filterManager.decodeTrailers(trailers);
  }

  sendLocalReply(status: number, body: string, details: string): void {
    if (this.connectionManager === null) return;
    // An error of the message: what follows on the connection is not to be trusted, unless configuration says so.
    if (status === 400 && this.responseEncoder?.streamErrorOnInvalidHttpMessage === false) this.sawConnectionClose = true;
    this.filterManager.sendLocalReply(status, body, null, null, details);
  }

  /** Answers; always false. */
  private refuse(status: number, details: string): boolean {
    this.sendLocalReply(status, '', details);
    return false;
  }

  private endRequest(): void {
    this.filterManager.remoteComplete = true;
    this.streamInfo.lastDownstreamRxByteMs = this.dispatcher.nowMs;
  }

  private answerExpect(headers: HeaderMap): void {
    const response = HeaderMap.of(this.dispatcher.slab, [[':status', '100']]);
    this.config.stats.chargeResponse(100);
    this.responseEncoder?.encode1xxHeaders(response);
    response.release();
    headers.removeId(H.expect);
  }

  /** False when the request was answered. */
  private normalizePath(headers: HeaderMap, normalize: (headers: HeaderMap) => NormalizePathAction): boolean {
    const action = normalize(headers);
    if (action === NormalizePathAction.Continue) return true;
    const stats = this.config.stats;
    if (action === NormalizePathAction.Reject || this.isGrpc) {
      stats.downstreamRqFailedPathNormalization.inc();
      return this.refuse(400, 'path_normalization_failed');
    }
    stats.downstreamRqRedirectedWithNormalizedPath.inc();
    const path = headers.getId(H[':path']) as string;
    this.filterManager.sendLocalReply(307, '', (response) => response.setId(H.location, path), null, 'path_normalization_failed');
    return false;
  }

  private applyRouteTimeouts(route: Route | null, headers: HeaderMap): void {
    const entry = route === null ? null : route.routeEntry;
    if (entry === null) return;
    if (entry.idleTimeoutMs !== undefined && entry.idleTimeoutMs !== this.idleTimeoutMs) {
      this.idleTimeoutMs = entry.idleTimeoutMs;
      if (entry.idleTimeoutMs > 0) this.idleTimer.set(entry.idleTimeoutMs);
      else this.idleTimer.clear();
    }
    const durationMs = maxStreamDurationMs(entry, headers);
    if (durationMs !== undefined) {
      if (durationMs > 0) this.limitDuration(durationMs);
      else this.maxDurationTimer?.clear();
    }
  }

  /** False when the request wants an upgrade that is not allowed. */
  private createFilterChain(route: Route | null, headers: HeaderMap, connect: boolean): boolean {
    const chain = this.config.filterChain;
    const filters = this.filterManager;
    if (this.isTunnel) {
      this.dropKeptChain();
      const type = connect ? 'connect' : (headers.getId(H.upgrade) as string).toLowerCase();
      if (!chain.createUpgrade(filters, type, route)) return false;
      this.defaultChain = false;
      this.countedUpgrade = true;
      this.config.stats.downstreamCxUpgradesTotal.inc();
      this.config.stats.downstreamCxUpgradesActive.inc();
      return true;
    }
    if (filters.chainCreated) {
      if (chain.defaultFits(route)) return true;
      this.dropKeptChain();
    }
    this.defaultChain = chain.create(filters, route);
    return true;
  }

  private dropKeptChain(): void {
    if (this.filterManager.chainCreated) this.filterManager.resetChain(false);
  }

  // FilterManagerCallbacks.

  route(): Route | null {
    if (this.routeFound) return this.cachedRoute;
    this.routeFound = true;
    const headers = this.requestHeaders;
    const route = headers === null ? null : this.config.routeTable.route(headers, this.streamInfo, this.stableRandom);
    this.cachedRoute = route;
    if (route !== null) {
      const info = this.streamInfo;
      info.routeName = route.name;
      info.virtualHostName = route.virtualHost.name;
      info.routeMetadata = route.metadata;
      info.virtualHostMetadata = route.virtualHost.metadata;
    }
    return route;
  }

  clearRouteCache(): void {
    this.routeFound = false;
    this.cachedRoute = null;
  }

  encode1xxHeaders(headers: HeaderMap): void {
    if (!this.config.proxy100Continue && statusOf(headers) === 100) return;
    this.config.stats.chargeResponse(statusOf(headers));
    mutateResponseHeaders(headers, this.requestHeaders, this.config, false);
    this.responseEncoder?.encode1xxHeaders(headers);
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    const manager = this.connectionManager as ConnectionManagerImpl;
    const config = this.config;
    const stats = config.stats;
    if (!headers.hasId(H.date)) headers.addId(H.date, httpDate(this.dispatcher.systemTimeMs));
    if (config.serverHeaderTransformation === 'OVERWRITE') headers.setId(H.server, config.serverName);
    else if (config.serverHeaderTransformation === 'APPEND_IF_ABSENT' && !headers.hasId(H.server))
      headers.addId(H.server, config.serverName);
    const status = statusOf(headers);
    // The upgrade was accepted: its `connection` and `upgrade` headers belong to the message.
    const upgraded =
      this.isTunnel && isUpgradeRequest(headers) && this.requestHeaders !== null && isUpgradeRequest(this.requestHeaders);
    mutateResponseHeaders(headers, this.requestHeaders, config, upgraded);

    if (manager.drainState === 0 && config.drainDecision.drainClose()) {
      manager.startDrainSequence();
      stats.downstreamCxDrainClose.inc();
    }
    if (config.overload !== null && manager.drainState === 0 && config.overload.happens(OverloadAction.DisableHttpKeepAlive)) {
      if (manager.http1) manager.setClosing();
      else manager.startDrainSequence();
      stats.downstreamCxOverloadDisableKeepalive.inc();
    }
    const http1 = manager.http1;
    if (http1) {
      if (this.streamInfo.protocol === 'HTTP/1.0') {
        if (!headers.hasId(H['content-length']) && !endStream) this.sawConnectionClose = true;
        if (!this.sawConnectionClose) headers.setId(H.connection, 'keep-alive');
      }
      if (this.sawConnectionClose && manager.drainState === 0) manager.setClosing();
    }
    if (!this.filterManager.remoteComplete) {
      if (http1 && !upgraded && !(this.isTunnel && status >= 200 && status < 300)) manager.setClosing();
      stats.downstreamRqResponseBeforeRqComplete.inc();
    }
    if (
      http1 &&
      manager.drainState !== 0 &&
      !upgraded &&
      !(this.isTunnel && !headers.hasId(H.upgrade) && status >= 200 && status < 300)
    ) {
      headers.setId(H.connection, 'close');
    }

    const info = this.streamInfo;
    if (info.activeSpan !== null) config.tracing?.onResponse(info.activeSpan, headers, info);
    info.responseCode = status;
    if (!info.healthCheck) stats.chargeResponse(status);
    if (info.firstDownstreamTxByteMs < 0) info.firstDownstreamTxByteMs = this.dispatcher.nowMs;
    this.responseEncoder?.encodeHeaders(headers, endStream);
    if (endStream) this.codecSawLocalComplete = true;
  }

  encodeData(data: SliceBuffer, endStream: boolean): void {
    const encoder = this.responseEncoder;
    if (encoder === null) return;
    this.streamInfo.bytesSent += data.length;
    if (endStream) this.codecSawLocalComplete = true;
    encoder.encodeData(data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.codecSawLocalComplete = true;
    this.responseEncoder?.encodeTrailers(trailers);
  }

  endStream(): void {
    this.filterManager.localComplete = true;
    this.streamInfo.lastDownstreamTxByteMs = this.dispatcher.nowMs;
    this.connectionManager?.doEndStream(this);
  }

  resetStream(_reason: StreamResetReason): void {
    this.connectionManager?.doEndStream(this);
  }

  resetIdleTimer(): void {
    if (this.idleTimeoutMs > 0 && this.connectionManager !== null) this.idleTimer.set(this.idleTimeoutMs);
  }

  disarmRequestTimeout(): void {
    this.requestTimer?.clear();
  }

  onRequestDataTooLarge(): void {
    this.config.stats.downstreamRqTooLarge.inc();
  }

  onResponseDataTooLarge(): void {
    this.config.stats.rsTooLarge.inc();
  }

  onDecoderFilterAboveWriteBufferHighWatermark(): void {
    const encoder = this.responseEncoder;
    if (encoder === null) return;
    encoder.stream.readDisable(true);
    this.readDisables++;
    this.config.stats.downstreamFlowControlPausedReadingTotal.inc();
  }

  onDecoderFilterBelowWriteBufferLowWatermark(): void {
    const encoder = this.responseEncoder;
    if (encoder === null || this.readDisables === 0) return;
    this.readDisables--;
    this.config.stats.downstreamFlowControlResumedReadingTotal.inc();
    encoder.stream.readDisable(false);
  }

  private readDisables = 0;

  recreateStream(): boolean {
    return false;
  }

  prepareLocalReply(
    headers: HeaderMap,
    body: SliceBuffer,
    status: number,
    text: ReplyBody,
    modify: ModifyHeaders | null,
    grpcStatus: number | null,
  ): void {
    // A reply before routing goes through the filters, too (access logs of filters, response header rules).
    if (!this.filterManager.chainCreated && !this.isTunnel && !this.withoutFilters)
      this.defaultChain = this.config.filterChain.create(this.filterManager, null);
    const reply = this.reply;
    reply.status = status;
    reply.body = text;
    reply.modify = modify;
    reply.grpcStatus = grpcStatus;
    reply.isGrpc = this.isGrpc;
    reply.isHead = this.isHead;
    this.config.localReply.prepare(reply, headers, body, this, this.streamInfo);
    reply.modify = null;
  }

  sendLocalReplyDirect(status: number, content: ReplyBody, modify: ModifyHeaders | null): void {
    const headers = HeaderMap.of(this.dispatcher.slab, [[':status', decimal(status)]]);
    modify?.(headers);
    const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
    if (bytes.length > 0) {
      headers.setId(H['content-length'], decimal(bytes.length));
      if (!headers.hasId(H['content-type'])) headers.addId(H['content-type'], 'text/plain');
    } else {
      headers.removeId(H['content-length']);
      headers.removeId(H['content-type']);
    }
    this.responseHeaders?.release();
    this.responseHeaders = headers;
    const headersOnly = bytes.length === 0 || this.isHead;
    this.filterManager.non100ResponseHeadersEncoded = true;
    this.encodeHeaders(headers, headersOnly);
    if (!headersOnly && !this.filterManager.destroyed) {
      const body = this.filterManager.emptyReplyBody();
      body.append(bytes);
      this.encodeData(body, true);
    }
    if (!this.filterManager.destroyed) this.endStream();
  }

  // StreamCallbacks of the downstream codec.

  onResetStream(reason: StreamResetReason, details: string): void {
    const manager = this.connectionManager;
    if (details !== '') this.streamInfo.responseCodeDetails = details;
    this.onReset(reason);
    manager?.onCodecReset();
  }

  /** The stream is over without its response. */
  onReset(reason: StreamResetReason): void {
    if (this.resetCalled || this.connectionManager === null) return;
    this.resetCalled = true;
    const stats = this.config.stats;
    if (reason === StreamResetReason.LocalReset || reason === StreamResetReason.LocalRefusedStreamReset)
      stats.downstreamRqTxReset.inc();
    else stats.downstreamRqRxReset.inc();
    this.connectionManager.doDeferredStreamDestroy(this);
  }

  onAboveWriteBufferHighWatermark(): void {
    this.filterManager.callHighWatermarkCallbacks();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.filterManager.callLowWatermarkCallbacks();
  }

  // Timeouts.

  private limitDuration(durationMs: number): void {
    this.maxDurationTimer ??= new LazyTimer(this.dispatcher, () => this.onMaxDuration());
    this.maxDurationTimer.set(durationMs);
  }

  private timeoutStatus(): number {
    return this.filterManager.remoteComplete ? 504 : 408;
  }

  private onIdleTimeout(): void {
    this.config.stats.downstreamRqIdleTimeout.inc();
    this.streamInfo.setFlag('StreamIdleTimeout');
    this.sendLocalReply(this.timeoutStatus(), 'stream timeout', 'stream_idle_timeout');
  }

  private onRequestTimeout(): void {
    this.config.stats.downstreamRqTimeout.inc();
    this.sendLocalReply(this.timeoutStatus(), 'request timeout', 'request_overall_timeout');
  }

  private onRequestHeaderTimeout(): void {
    this.config.stats.downstreamRqHeaderTimeout.inc();
    this.sendLocalReply(this.timeoutStatus(), 'request header timeout', 'request_header_timeout');
  }

  private onMaxDuration(): void {
    this.config.stats.downstreamRqMaxDurationReached.inc();
    // 4: DEADLINE_EXCEEDED.
    this.filterManager.sendLocalReply(this.timeoutStatus(), 'downstream duration timeout', null, 4, 'max_duration_timeout');
  }

  // The end.

  /** Called once, by the connection manager: stats, access log, end of filters. Memory goes in `deleteNow`. */
  complete(): void {
    const config = this.config;
    const info = this.streamInfo;
    const stats = config.stats;
    this.idleTimer.clear();
    this.requestTimer?.clear();
    this.requestHeaderTimer?.clear();
    this.maxDurationTimer?.clear();
    info.endMonotonicMs = this.dispatcher.nowMs;
    stats.downstreamRqActive.dec();
    stats.downstreamRqTime.recordValue(Math.round(info.endMonotonicMs - info.startMonotonicMs));
    if (this.countedUpgrade) stats.downstreamCxUpgradesActive.dec();
    const encoder = this.responseEncoder;
    if (encoder !== null) {
      const stream = encoder.stream;
      info.downstreamWireBytesReceived = stream.bytesReceived;
      info.downstreamWireBytesSent = stream.bytesSent;
      info.downstreamHeaderBytesReceived = stream.headerBytesReceived;
      info.downstreamHeaderBytesSent = stream.headerBytesSent;
      while (this.readDisables > 0) {
        this.readDisables--;
        stream.readDisable(false);
      }
    }
    this.filterManager.onStreamComplete();
    if (info.activeSpan !== null) this.finishSpan(info.activeSpan);
    if (config.accessLogs.length > 0) this.log('DownstreamEnd');
    this.filterManager.destroyFilters();
  }

  private finishSpan(span: Span): void {
    const { requestHeaders, responseHeaders, responseTrailers, streamInfo } = this;
    this.config.tracing?.finish(span, requestHeaders, responseHeaders, responseTrailers, streamInfo, this.cachedRoute);
  }

  private log(type: AccessLogType): void {
    this.accessLogType = type;
    const logs = this.config.accessLogs;
    for (let i = 0; i < logs.length; i++) logs[i].log(this, this.streamInfo);
  }

  deleteNow(): void {
    const manager = this.connectionManager;
    this.requestHeaders?.release();
    this.requestTrailers?.release();
    this.responseHeaders?.release();
    this.responseTrailers?.release();
    this.requestHeaders = null;
    this.requestTrailers = null;
    this.responseHeaders = null;
    this.responseTrailers = null;
    this.filterManager.resetChain(this.defaultChain);
    this.connectionManager = null;
    this.responseEncoder = null;
    this.localReplyBody = '';
    this.downstreamRemoteAddress = null;
    this.sawConnectionClose = false;
    this.codecSawLocalComplete = false;
    this.isHead = false;
    this.isGrpc = false;
    this.isTunnel = false;
    this.withoutFilters = false;
    this.countedUpgrade = false;
    this.defaultChain = this.filterManager.chainCreated;
    this.routeFound = false;
    this.cachedRoute = null;
    this.resetCalled = false;
    this.idleTimeoutMs = 0;
    this.readDisables = 0;
    resetStreamInfo(this.streamInfo);
    this.config.freeStreams.push(this);
    manager?.onStreamDeleted();
  }
}
