/**
 * One streaming call-out (Envoy: Http::AsyncStreamImpl): the router, driven without a connection manager. It sees the callbacks of a
 * filter here and a route that names the cluster, so that pools, circuit breakers, timeouts, retries and statistics are those of
 * proxied requests. Objects are used again; `AsyncClient` keeps them.
 *
 * What the proxy answers itself (no healthy host, timeout ...) arrives as a response, as in Envoy; `localReply` tells.
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { DeferredDeletable, Dispatcher } from '../../core/event/dispatcher.ts';
import { StreamInfo } from '../stream_info/stream_info.ts';
import type { AsyncClient, AsyncStreamCallbacks, AsyncStreamOptions } from './async_client.ts';
import { AsyncClientRoute } from './async_client_route.ts';
import type { StreamResetReason } from './codec.ts';
import { isGrpcRequest } from './conn_manager/conn_manager_utility.ts';
import { headerEquals } from './conn_manager/header_bytes.ts';
import { LocalReply, type LocalReplyContext } from './conn_manager/local_reply.ts';
import { resetStreamInfo } from './conn_manager/stream_info_reset.ts';
import { random32 } from './conn_manager/uuid.ts';
import type { DownstreamWatermarkCallbacks, ReplyBody, StreamDecoderFilterCallbacks } from './filter.ts';
import { HeaderMap } from './header_map.ts';
import { H } from './header_names.ts';
import type { Route } from './route/route.ts';
import { Router } from './router/router.ts';

const LOCAL_REPLY = new LocalReply([], null);
const DEFAULT_BUFFER_LIMIT = 1024 * 1024;
let nextStreamId = 1;

export class AsyncStream implements StreamDecoderFilterCallbacks, LocalReplyContext, DeferredDeletable {
  readonly dispatcher: Dispatcher;
  readonly streamInfo = new StreamInfo();
  readonly connection = null;
  streamId = 0;
  stableRandom = 0;
  decoderBufferLimit = DEFAULT_BUFFER_LIMIT;
  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  responseTrailers: HeaderMap | null = null;
  localReplyBody = '';
  readonly accessLogType = 'NotSet';
  /** The response is one that the proxy made: `streamInfo.responseCodeDetails` tells why. */
  localReply = false;
  /** The upstream takes the request's body too slowly. Read it, or be told by `onSendBackedUp`. */
  sendBackedUp = false;

  private readonly client: AsyncClient;
  private readonly router: Router;
  private readonly path = new AsyncClientRoute();
  private callbacks: AsyncStreamCallbacks | null = null;
  private ownRequestHeaders: HeaderMap | null = null;
  private requestTrailers: HeaderMap | null = null;
  private readonly replyHeaders: HeaderMap;
  private buffered: SliceBuffer | null = null;
  private scratch: SliceBuffer | null = null;
  private readonly watermarks: DownstreamWatermarkCallbacks[] = [];
  private readDisables = 0;
  private backedUp = 0;
  private localClosed = false;
  private remoteClosed = false;
  private ended = true;

  constructor(client: AsyncClient) {
    this.client = client;
    this.dispatcher = client.dispatcher;
    this.replyHeaders = new HeaderMap(client.dispatcher.slab);
    this.router = new Router(client.routerConfig);
    this.router.setDecoderFilterCallbacks(this);
  }

  /** For the client: a new call-out begins. */
  begin(cluster: string, callbacks: AsyncStreamCallbacks, options: AsyncStreamOptions): void {
    this.callbacks = callbacks;
    this.streamId = nextStreamId++;
    this.stableRandom = random32();
    this.decoderBufferLimit = options.bufferLimitBytes ?? DEFAULT_BUFFER_LIMIT;
    const path = this.path;
    path.clusterName = cluster;
    path.timeoutMs = options.timeoutMs ?? 0;
    path.retryPolicy = options.retryPolicy ?? null;
    path.hashPolicy = options.hashPolicy ?? null;
    path.metadataMatch = options.metadataMatch ?? null;
    this.localClosed = false;
    this.remoteClosed = false;
    this.ended = false;
    const info = this.streamInfo;
    info.startTimeMs = this.dispatcher.systemTimeMs;
    info.startMonotonicMs = this.dispatcher.nowMs;
  }

  /** False: over, nothing may be sent and no callback comes any more. */
  get active(): boolean {
    return !this.ended;
  }

  // The request, from the caller.

  /** `headers` (`:method`, `:path`, `:authority` at least) become the stream's. The answer may come before this returns. */
  sendHeaders(headers: HeaderMap, endStream: boolean): void {
    this.requestHeaders = headers;
    this.ownRequestHeaders = headers;
    if (endStream) this.localClosed = true;
    if (!headers.hasId(H[':scheme'])) headers.addId(H[':scheme'], 'http');
    this.router.decodeHeaders(headers, endStream);
    this.endIfClosed();
  }

  /** Takes all of `data`. */
  sendData(data: SliceBuffer, endStream: boolean): void {
    if (this.ended || this.localClosed) {
      data.clear();
      return;
    }
    if (endStream) this.localClosed = true;
    this.router.decodeData(data, endStream);
    data.clear();
    this.endIfClosed();
  }

  /** `trailers` become the stream's. */
  sendTrailers(trailers: HeaderMap): void {
    if (this.ended || this.localClosed) {
      trailers.release();
      return;
    }
    this.localClosed = true;
    this.requestTrailers = trailers;
    this.router.decodeTrailers(trailers);
    this.endIfClosed();
  }

  /** Cancels: the upstream's stream is reset, and no callback comes after this. */
  cancel(): void {
    if (this.ended) return;
    this.callbacks = null;
    this.end();
  }

  /** Counted: stops (resumes) reading the response. */
  readDisable(disable: boolean): void {
    if (this.ended) return;
    this.readDisables += disable ? 1 : -1;
    const list = this.watermarks;
    for (let i = 0; i < list.length; i++) {
      if (disable) list[i].onAboveWriteBufferHighWatermark();
      else list[i].onBelowWriteBufferLowWatermark();
    }
  }

  // StreamDecoderFilterCallbacks: the response, from the router.

  encode1xxHeaders(_headers: HeaderMap): void {}

  encodeHeaders(headers: HeaderMap, endStream: boolean, details: string): void {
    if (this.ended) {
      headers.release();
      return;
    }
    this.responseHeaders = headers;
    this.streamInfo.responseCodeDetails = details;
    if (endStream) this.remoteClosed = true;
    this.callbacks?.onHeaders(headers, endStream);
    if (endStream) this.endIfClosed();
  }

  encodeData(data: SliceBuffer, endStream: boolean): void {
    if (this.ended) {
      data.clear();
      return;
    }
    if (endStream) this.remoteClosed = true;
    data.makePrivate();
    this.callbacks?.onData(data, endStream);
    data.clear();
    if (endStream) this.endIfClosed();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.ended) {
      trailers.release();
      return;
    }
    this.responseTrailers = trailers;
    this.remoteClosed = true;
    this.callbacks?.onTrailers(trailers);
    this.endIfClosed();
  }

  sendLocalReply(
    status: number,
    body: ReplyBody,
    modifyHeaders: ((headers: HeaderMap) => void) | null,
    grpcStatus: number | null,
    details: string,
  ): void {
    if (this.ended) return;
    this.streamInfo.responseCodeDetails = details;
    if (this.responseHeaders !== null) {
      // It had begun: cut off.
      this.resetStream();
      return;
    }
    this.localReply = true;
    const request = this.requestHeaders as HeaderMap;
    const isHead = headerEquals(request, H[':method'], 'HEAD');
    const text = (this.scratch ??= new SliceBuffer(this.dispatcher.slab));
    const headers = this.replyHeaders;
    const reply = { status, body, modify: modifyHeaders, grpcStatus, isGrpc: isGrpcRequest(request), isHead };
    LOCAL_REPLY.prepare(reply, headers, text, this, this.streamInfo);
    const headersOnly = text.length === 0;
    this.encodeHeaders(headers, headersOnly, details);
    if (!headersOnly) this.encodeData(text, true);
    // The request's rest has nowhere to go.
    if (!this.ended) {
      this.localClosed = true;
      this.endIfClosed();
    }
  }

  resetStream(_reason?: StreamResetReason): void {
    if (this.ended) return;
    const callbacks = this.callbacks;
    this.callbacks = null;
    this.end();
    callbacks?.onReset();
  }

  route(): Route {
    return this.path;
  }

  clearRouteCache(): void {}

  perFilterConfig<T>(): T | undefined {
    return undefined;
  }

  perFilterConfigs<T>(): readonly T[] {
    return [];
  }

  continueDecoding(): void {}

  decodingBuffer(): SliceBuffer | null {
    return this.buffered;
  }

  addDecodedData(data: SliceBuffer, _streaming: boolean): void {
    this.buffered ??= new SliceBuffer(this.dispatcher.slab);
    if (this.buffered !== data) this.buffered.move(data);
  }

  injectDecodedData(_data: SliceBuffer, _endStream: boolean): void {}

  addDecodedTrailers(): HeaderMap {
    this.requestTrailers ??= new HeaderMap(this.dispatcher.slab);
    return this.requestTrailers;
  }

  setDecoderBufferLimit(limit: number): void {
    this.decoderBufferLimit = limit;
  }

  onDecoderFilterAboveWriteBufferHighWatermark(): void {
    if (this.backedUp++ > 0) return;
    this.sendBackedUp = true;
    this.callbacks?.onSendBackedUp?.(true);
  }

  onDecoderFilterBelowWriteBufferLowWatermark(): void {
    if (this.backedUp === 0 || --this.backedUp > 0) return;
    this.sendBackedUp = false;
    this.callbacks?.onSendBackedUp?.(false);
  }

  addDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void {
    this.watermarks.push(callbacks);
    for (let i = 0; i < this.readDisables; i++) callbacks.onAboveWriteBufferHighWatermark();
  }

  removeDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void {
    const at = this.watermarks.indexOf(callbacks);
    if (at >= 0) this.watermarks.splice(at, 1);
  }

  recreateStream(): boolean {
    return false;
  }

  // The end.

  private endIfClosed(): void {
    if (this.ended || !this.remoteClosed) return;
    // A response that is complete ends the call-out, whether the request was or not: its rest is of no use.
    const callbacks = this.callbacks;
    this.callbacks = null;
    this.end();
    callbacks?.onComplete();
  }

  private end(): void {
    this.ended = true;
    this.router.onDestroy();
    this.client.onStreamEnd(this);
    // The router may be on the call stack, and the caller may still look at the response.
    this.dispatcher.deferredDelete(this);
  }

  deleteNow(): void {
    this.router.reset();
    this.ownRequestHeaders?.release();
    this.requestTrailers?.release();
    this.responseHeaders?.release();
    this.responseTrailers?.release();
    this.replyHeaders.release();
    this.ownRequestHeaders = null;
    this.requestHeaders = null;
    this.requestTrailers = null;
    this.responseHeaders = null;
    this.responseTrailers = null;
    this.localReplyBody = '';
    this.localReply = false;
    this.buffered?.clear();
    this.scratch?.clear();
    this.watermarks.length = 0;
    this.readDisables = 0;
    this.backedUp = 0;
    this.sendBackedUp = false;
    resetStreamInfo(this.streamInfo);
    this.client.recycle(this);
  }
}
