/**
 * Drives the HTTP filters of one stream (Envoy: source/common/http/filter_manager.cc): request frames through the decoder filters in
 * configured order, response frames through the encoder filters in reverse, with every stop, buffer, continue and local-reply rule
 * of the filter contract. The object is reused between streams; so is its chain when every filter in it has `reset`.
 */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../../core/event/dispatcher.ts';
import type { Connection } from '../../network/connection.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { StreamResetReason } from '../codec.ts';
import type {
  DownstreamWatermarkCallbacks,
  FilterChainFactoryCallbacks,
  ReplyBody,
  StreamDecoderFilter,
  StreamEncoderFilter,
} from '../filter.ts';
import { FilterHeadersStatus } from '../filter.ts';
import { HeaderMap } from '../header_map.ts';
import type { Route } from '../route/route.ts';
import { ActiveStreamDecoderFilter, ActiveStreamEncoderFilter, IterationState } from './stream_filters.ts';

/** What the filter manager needs of its stream. */
export interface FilterManagerCallbacks {
  readonly dispatcher: Dispatcher;
  readonly connection: Connection | null;
  readonly streamInfo: StreamInfo;
  readonly streamId: number;
  readonly stableRandom: number;
  requestHeaders: HeaderMap | null;
  requestTrailers: HeaderMap | null;
  responseHeaders: HeaderMap | null;
  responseTrailers: HeaderMap | null;
  route(): Route | null;
  clearRouteCache(): void;
  /** To the codec. */
  encode1xxHeaders(headers: HeaderMap): void;
  encodeHeaders(headers: HeaderMap, endStream: boolean): void;
  encodeData(data: SliceBuffer, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  /** The response is encoded. */
  endStream(): void;
  resetStream(reason: StreamResetReason): void;
  resetIdleTimer(): void;
  disarmRequestTimeout(): void;
  onRequestDataTooLarge(): void;
  onResponseDataTooLarge(): void;
  onDecoderFilterAboveWriteBufferHighWatermark(): void;
  onDecoderFilterBelowWriteBufferLowWatermark(): void;
  recreateStream(): boolean;
  /**
   * Fills `headers` (`:status`, content-type, content-length ...) and `body` of a local reply, after `local_reply_config` had its say.
   */
  prepareLocalReply(
    headers: HeaderMap,
    body: SliceBuffer,
    status: number,
    text: ReplyBody,
    modify: ModifyHeaders | null,
    grpcStatus: number | null,
  ): void;
  /** Answers without filters (the response could not pass them any more). */
  sendLocalReplyDirect(status: number, body: ReplyBody, modify: ModifyHeaders | null): void;
}

export type ModifyHeaders = (headers: HeaderMap) => void;

/** Calls in progress: where data that a filter adds goes. */
export const CallState = {
  DecodeHeaders: 1,
  DecodeData: 2,
  DecodeTrailers: 4,
  EncodeHeaders: 8,
  EncodeData: 16,
  EncodeTrailers: 32,
  LastDataFrame: 64,
} as const;
const IS_DECODING = CallState.DecodeHeaders | CallState.DecodeData | CallState.DecodeTrailers;

export class FilterManager implements FilterChainFactoryCallbacks {
  readonly callbacks: FilterManagerCallbacks;
  readonly dispatcher: Dispatcher;

  decoderFilters: ActiveStreamDecoderFilter[] = [];
  /** In calling order: last configured filter first. */
  encoderFilters: ActiveStreamEncoderFilter[] = [];
  /** Name under which per-route configuration of the filters being added is found. */
  currentFilterName = '';
  chainCreated = false;

  callState = 0;
  destroyed = false;
  remoteComplete = false;
  localComplete = false;
  /** The terminal filter (or a local reply) has given the last frame of the response. */
  observedEncodeEnd = false;
  decoderChainAborted = false;
  encoderChainAborted = false;
  non100ResponseHeadersEncoded = false;
  decoderFiltersStreaming = true;
  encoderFiltersStreaming = true;
  private replyPending = false;
  private replyStatus = 0;
  private replyBody: ReplyBody = '';
  private replyModify: ModifyHeaders | null = null;
  private replyGrpcStatus: number | null = null;

  bufferedRequest: SliceBuffer | null = null;
  bufferedResponse: SliceBuffer | null = null;
  private requestBuffer: SliceBuffer | null = null;
  private responseBuffer: SliceBuffer | null = null;
  private requestAbove = false;
  private responseAbove = false;
  decoderBufferLimit = 0;
  encoderBufferLimit = 0;
  private readonly watermarkCallbacks: DownstreamWatermarkCallbacks[] = [];
  private highWatermarkCount = 0;
  private readonly replyHeaders: HeaderMap;
  private replyData: SliceBuffer | null = null;

  constructor(callbacks: FilterManagerCallbacks) {
    this.callbacks = callbacks;
    this.dispatcher = callbacks.dispatcher;
    this.replyHeaders = new HeaderMap(callbacks.dispatcher.slab);
  }

  /** For a new stream. The chain of the one before stays when `resetChain` said so. */
  initialize(bufferLimit: number): void {
    this.callState = 0;
    this.destroyed = false;
    this.remoteComplete = false;
    this.localComplete = false;
    this.observedEncodeEnd = false;
    this.decoderChainAborted = false;
    this.encoderChainAborted = false;
    this.non100ResponseHeadersEncoded = false;
    this.decoderFiltersStreaming = true;
    this.encoderFiltersStreaming = true;
    this.decoderBufferLimit = bufferLimit;
    this.encoderBufferLimit = bufferLimit;
  }

  // Building the chain.

  addStreamDecoderFilter(filter: StreamDecoderFilter): void {
    const wrapper = new ActiveStreamDecoderFilter(this, filter, this.currentFilterName, this.decoderFilters.length, false);
    this.decoderFilters.push(wrapper);
    filter.setDecoderFilterCallbacks(wrapper);
  }

  addStreamEncoderFilter(filter: StreamEncoderFilter): void {
    this.addEncoder(filter, false);
  }

  addStreamFilter(filter: StreamDecoderFilter & StreamEncoderFilter): void {
    const wrapper = new ActiveStreamDecoderFilter(this, filter, this.currentFilterName, this.decoderFilters.length, true);
    this.decoderFilters.push(wrapper);
    filter.setDecoderFilterCallbacks(wrapper);
    this.addEncoder(filter, true);
  }

  private addEncoder(filter: StreamEncoderFilter, dual: boolean): void {
    const wrapper = new ActiveStreamEncoderFilter(this, filter, this.currentFilterName, dual);
    this.encoderFilters.unshift(wrapper);
    for (let i = 0; i < this.encoderFilters.length; i++) this.encoderFilters[i].index = i;
    filter.setEncoderFilterCallbacks(wrapper);
  }

  // The request, from the codec.

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.decodeHeadersFrom(0, headers, endStream);
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    this.decodeDataFrom(0, data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.decodeTrailersFrom(0, trailers);
  }

  decodeHeadersFrom(from: number, headers: HeaderMap, endStream: boolean): void {
    const filters = this.decoderFilters;
    const count = filters.length;
    const requestEnded = endStream;
    let continueDataAt = -1;
    for (let i = from; i < count; i++) {
      const entry = filters[i];
      entry.endStream = endStream && continueDataAt < 0;
      this.callState |= CallState.DecodeHeaders;
      let status = entry.filter.decodeHeaders(headers, entry.endStream);
      this.callState &= ~CallState.DecodeHeaders;
      if (this.destroyed) return;
      if (this.decoderChainAborted) {
        this.executeLocalReplyIfPrepared();
        status = FilterHeadersStatus.StopIteration;
        if (this.destroyed) return;
      }
      entry.processedHeaders = true;
      const go = entry.handleAfterHeaders(status);
      if (entry.endStream) entry.filter.decodeComplete?.();
      if (status === FilterHeadersStatus.ContinueAndDontEndStream) endStream = false;
      // The terminal filter may stop, and still an earlier one may have added a body that must reach it.
      if (!go && i + 1 < count) {
        this.maybeContinueDecoding(continueDataAt);
        return;
      }
      if (endStream && this.bufferedRequest !== null && continueDataAt < 0) continueDataAt = i;
      if (!go) break;
    }
    this.maybeContinueDecoding(continueDataAt);
    if (requestEnded) this.callbacks.disarmRequestTimeout();
  }

  private maybeContinueDecoding(at: number): void {
    if (at < 0 || this.decoderChainAborted) return;
    const entry = this.decoderFilters[at];
    entry.iterationState = IterationState.StopSingleIteration;
    entry.continueDecoding();
  }

  decodeDataFrom(from: number, data: SliceBuffer, endStream: boolean): void {
    this.callbacks.resetIdleTimer();
    if (this.decoderChainAborted || this.destroyed) return;
    const callbacks = this.callbacks;
    const trailersAtStart = callbacks.requestTrailers !== null;
    let trailersAddedAt = -1;
    const filters = this.decoderFilters;
    for (let i = from; i < filters.length; i++) {
      const entry = filters[i];
      if (entry.stoppedAll) {
        this.decoderFiltersStreaming = entry.iterationState === IterationState.StopAllWatermark;
        entry.bufferData(data);
        return;
      }
      // Data after the end of the stream is not for this filter (it was added by an earlier one's continue).
      if (entry.endStream) return;
      this.callState |= endStream ? CallState.DecodeData | CallState.LastDataFrame : CallState.DecodeData;
      entry.endStream = endStream && callbacks.requestTrailers === null;
      // All but the last, the router, may look at it.
      if (i + 1 < filters.length) data.makePrivate();
      const status = entry.filter.decodeData(data, entry.endStream);
      this.callState &= ~(CallState.DecodeData | CallState.LastDataFrame);
      if (this.destroyed) return;
      if (entry.endStream) entry.filter.decodeComplete?.();
      if (this.decoderChainAborted) {
        this.executeLocalReplyIfPrepared();
        return;
      }
      if (!trailersAtStart && trailersAddedAt < 0 && callbacks.requestTrailers !== null) {
        endStream = false;
        trailersAddedAt = i;
      }
      if (!entry.handleAfterData(status, data) && i + 1 < filters.length) break;
      if (this.destroyed) return;
    }
    if (trailersAddedAt >= 0) this.decodeTrailersFrom(trailersAddedAt, callbacks.requestTrailers as HeaderMap);
    if (endStream) callbacks.disarmRequestTimeout();
  }

  decodeTrailersFrom(from: number, trailers: HeaderMap): void {
    this.callbacks.resetIdleTimer();
    if (this.decoderChainAborted || this.destroyed) return;
    const filters = this.decoderFilters;
    for (let i = from; i < filters.length; i++) {
      const entry = filters[i];
      if (entry.stoppedAll) return;
      this.callState |= CallState.DecodeTrailers;
      const status = entry.filter.decodeTrailers(trailers);
      if (!this.destroyed) entry.filter.decodeComplete?.();
      entry.endStream = true;
      this.callState &= ~CallState.DecodeTrailers;
      if (this.destroyed) return;
      if (this.decoderChainAborted) {
        this.executeLocalReplyIfPrepared();
        return;
      }
      if (!entry.handleAfterTrailers(status) && i + 1 < filters.length) return;
      if (this.destroyed) return;
    }
    this.callbacks.disarmRequestTimeout();
  }

  // The response, from the terminal filter or a local reply.

  encode1xxFrom(from: number, headers: HeaderMap): void {
    this.callbacks.resetIdleTimer();
    const filters = this.encoderFilters;
    for (let i = from; i < filters.length; i++) {
      const status = filters[i].filter.encode1xxHeaders(headers);
      if (this.destroyed) return;
      if (status !== FilterHeadersStatus.Continue) {
        filters[i].pending1xx = headers;
        return;
      }
    }
    this.callbacks.encode1xxHeaders(headers);
  }

  encodeHeadersFrom(from: number, headers: HeaderMap, endStream: boolean): void {
    this.callbacks.resetIdleTimer();
    this.callbacks.disarmRequestTimeout();
    if (endStream) this.observedEncodeEnd = true;
    const filters = this.encoderFilters;
    const count = filters.length;
    let continueDataAt = -1;
    for (let i = from; i < count; i++) {
      const entry = filters[i];
      entry.endStream = endStream && continueDataAt < 0;
      this.callState |= CallState.EncodeHeaders;
      let status = entry.filter.encodeHeaders(headers, entry.endStream);
      this.callState &= ~CallState.EncodeHeaders;
      if (this.destroyed) return;
      if (this.encoderChainAborted) status = FilterHeadersStatus.StopIteration;
      entry.processedHeaders = true;
      const go = entry.handleAfterHeaders(status);
      if (entry.endStream) entry.filter.encodeComplete?.();
      if (status === FilterHeadersStatus.ContinueAndDontEndStream) endStream = false;
      if (!go) {
        if (!entry.endStream) this.maybeContinueEncoding(continueDataAt);
        return;
      }
      if (endStream && this.bufferedResponse !== null && continueDataAt < 0) continueDataAt = i;
    }
    const ended = endStream && continueDataAt < 0;
    this.non100ResponseHeadersEncoded = true;
    this.callbacks.encodeHeaders(headers, ended);
    if (this.destroyed) return;
    if (ended) this.callbacks.endStream();
    else this.maybeContinueEncoding(continueDataAt);
  }

  private maybeContinueEncoding(at: number): void {
    if (at < 0 || this.encoderChainAborted) return;
    const entry = this.encoderFilters[at];
    entry.iterationState = IterationState.StopSingleIteration;
    entry.continueEncoding();
  }

  encodeDataFrom(from: number, data: SliceBuffer, endStream: boolean): void {
    const callbacks = this.callbacks;
    callbacks.resetIdleTimer();
    if (this.destroyed || this.encoderChainAborted) return;
    if (endStream) this.observedEncodeEnd = true;
    const trailersAtStart = callbacks.responseTrailers !== null;
    let trailersAddedAt = -1;
    const filters = this.encoderFilters;
    for (let i = from; i < filters.length; i++) {
      const entry = filters[i];
      if (entry.stoppedAll) {
        this.encoderFiltersStreaming = entry.iterationState === IterationState.StopAllWatermark;
        entry.bufferData(data);
        return;
      }
      if (entry.endStream) return;
      this.callState |= endStream ? CallState.EncodeData | CallState.LastDataFrame : CallState.EncodeData;
      entry.endStream = endStream && callbacks.responseTrailers === null;
      data.makePrivate();
      const status = entry.filter.encodeData(data, entry.endStream);
      this.callState &= ~(CallState.EncodeData | CallState.LastDataFrame);
      if (this.destroyed || this.encoderChainAborted) return;
      if (entry.endStream) entry.filter.encodeComplete?.();
      if (!trailersAtStart && trailersAddedAt < 0 && callbacks.responseTrailers !== null) {
        endStream = false;
        trailersAddedAt = i;
      }
      if (!entry.handleAfterData(status, data)) return;
    }
    const ended = endStream && trailersAddedAt < 0;
    callbacks.encodeData(data, ended);
    if (this.destroyed) return;
    if (trailersAddedAt >= 0) this.encodeTrailersFrom(trailersAddedAt, callbacks.responseTrailers as HeaderMap);
    if (ended) callbacks.endStream();
  }

  encodeTrailersFrom(from: number, trailers: HeaderMap): void {
    this.callbacks.resetIdleTimer();
    if (this.destroyed || this.encoderChainAborted) return;
    this.observedEncodeEnd = true;
    const filters = this.encoderFilters;
    for (let i = from; i < filters.length; i++) {
      const entry = filters[i];
      if (entry.stoppedAll) return;
      this.callState |= CallState.EncodeTrailers;
      const status = entry.filter.encodeTrailers(trailers);
      if (!this.destroyed) entry.filter.encodeComplete?.();
      entry.endStream = true;
      this.callState &= ~CallState.EncodeTrailers;
      if (this.destroyed || this.encoderChainAborted) return;
      if (!entry.handleAfterTrailers(status)) return;
    }
    this.callbacks.encodeTrailers(trailers);
    if (!this.destroyed) this.callbacks.endStream();
  }

  // Local replies.

  sendLocalReply(
    status: number,
    body: ReplyBody,
    modify: ModifyHeaders | null,
    grpcStatus: number | null,
    details: string,
  ): void {
    if (this.destroyed || this.localComplete) return;
    const info = this.callbacks.streamInfo;
    info.responseCodeDetails = details;
    this.decoderChainAborted = true;
    if (this.callbacks.responseHeaders === null) {
      this.replyStatus = status;
      this.replyBody = body;
      this.replyModify = modify;
      this.replyGrpcStatus = grpcStatus;
      this.replyPending = true;
      // A filter that is being called must return first: its callbacks would otherwise come in the middle of it.
      if ((this.callState & IS_DECODING) === 0) this.executeLocalReplyIfPrepared();
    } else if (!this.non100ResponseHeadersEncoded) {
      // The response was in the middle of the encoder filters: what they hold is dropped, and the reply goes out past them.
      this.encoderChainAborted = true;
      this.callbacks.sendLocalReplyDirect(status, body, modify);
    } else {
      this.callbacks.resetStream(0);
    }
  }

  private executeLocalReplyIfPrepared(): void {
    if (!this.replyPending) return;
    this.replyPending = false;
    const modify = this.replyModify;
    this.replyModify = null;
    const data = this.emptyReplyBody();
    const headers = this.replyHeaders;
    headers.release();
    const callbacks = this.callbacks;
    callbacks.prepareLocalReply(headers, data, this.replyStatus, this.replyBody, modify, this.replyGrpcStatus);
    callbacks.responseHeaders = headers;
    const headersOnly = data.length === 0;
    this.encodeHeadersFrom(0, headers, headersOnly);
    if (!headersOnly && !this.destroyed) this.encodeDataFrom(0, data, true);
    data.clear();
  }

  /** A buffer for the body of a local reply; it has no watermarks. */
  emptyReplyBody(): SliceBuffer {
    this.replyData ??= new SliceBuffer(this.dispatcher.slab);
    this.replyData.clear();
    return this.replyData;
  }

  // Buffers and watermarks.

  requestBufferFor(): SliceBuffer {
    if (this.bufferedRequest !== null) return this.bufferedRequest;
    this.requestBuffer ??= new SliceBuffer(this.dispatcher.slab);
    this.applyDecoderLimit(this.requestBuffer);
    this.bufferedRequest = this.requestBuffer;
    return this.requestBuffer;
  }

  responseBufferFor(): SliceBuffer {
    if (this.bufferedResponse !== null) return this.bufferedResponse;
    this.responseBuffer ??= new SliceBuffer(this.dispatcher.slab);
    this.applyEncoderLimit(this.responseBuffer);
    this.bufferedResponse = this.responseBuffer;
    return this.responseBuffer;
  }

  setDecoderBufferLimit(limit: number): void {
    this.decoderBufferLimit = limit;
    if (this.bufferedRequest !== null) this.applyDecoderLimit(this.bufferedRequest);
  }

  setEncoderBufferLimit(limit: number): void {
    this.encoderBufferLimit = limit;
    if (this.bufferedResponse !== null) this.applyEncoderLimit(this.bufferedResponse);
  }

  private applyDecoderLimit(buffer: SliceBuffer): void {
    buffer.setWatermarks(this.decoderBufferLimit, this.onRequestBufferAbove, this.onRequestBufferBelow);
  }

  private applyEncoderLimit(buffer: SliceBuffer): void {
    buffer.setWatermarks(this.encoderBufferLimit, this.onResponseBufferAbove, this.onResponseBufferBelow);
  }

  private readonly onRequestBufferAbove = (): void => {
    if (this.decoderFiltersStreaming) {
      this.requestAbove = true;
      this.callbacks.onDecoderFilterAboveWriteBufferHighWatermark();
    } else if (!this.destroyed) {
      this.callbacks.onRequestDataTooLarge();
      this.sendLocalReply(413, 'Payload Too Large', null, null, 'request_payload_too_large');
    }
  };

  private readonly onRequestBufferBelow = (): void => {
    if (!this.requestAbove) return;
    this.requestAbove = false;
    this.callbacks.onDecoderFilterBelowWriteBufferLowWatermark();
  };

  private readonly onResponseBufferAbove = (): void => {
    if (this.encoderFiltersStreaming) {
      this.responseAbove = true;
      this.callHighWatermarkCallbacks();
      return;
    }
    if (this.destroyed) return;
    this.callbacks.onResponseDataTooLarge();
    this.sendLocalReply(500, 'Internal Server Error', null, null, 'response_payload_too_large');
  };

  private readonly onResponseBufferBelow = (): void => {
    if (!this.responseAbove) return;
    this.responseAbove = false;
    this.callLowWatermarkCallbacks();
  };

  /** The way to the client is full: whoever produces the response must stop. */
  callHighWatermarkCallbacks(): void {
    this.highWatermarkCount++;
    const list = this.watermarkCallbacks;
    for (let i = 0; i < list.length; i++) list[i].onAboveWriteBufferHighWatermark();
  }

  callLowWatermarkCallbacks(): void {
    this.highWatermarkCount--;
    const list = this.watermarkCallbacks;
    for (let i = 0; i < list.length; i++) list[i].onBelowWriteBufferLowWatermark();
  }

  addDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void {
    this.watermarkCallbacks.push(callbacks);
    for (let i = 0; i < this.highWatermarkCount; i++) callbacks.onAboveWriteBufferHighWatermark();
  }

  removeDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void {
    const list = this.watermarkCallbacks;
    const at = list.indexOf(callbacks);
    if (at < 0) return;
    list[at] = list[list.length - 1];
    list.pop();
  }

  // The end.

  onStreamComplete(): void {
    for (const entry of this.decoderFilters) entry.filter.onStreamComplete?.();
    for (const entry of this.encoderFilters) if (!entry.dual) entry.filter.onStreamComplete?.();
  }

  /** Tells all filters that the stream is over. Their memory is released here; objects stay until `resetChain`. */
  destroyFilters(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.replyPending = false;
    this.replyModify = null;
    const decoders = this.decoderFilters;
    for (let i = 0; i < decoders.length; i++) decoders[i].filter.onDestroy();
    const encoders = this.encoderFilters;
    for (let i = 0; i < encoders.length; i++) if (!encoders[i].dual) encoders[i].filter.onDestroy();
    if (this.bufferedRequest !== null) {
      this.requestAbove = false;
      this.bufferedRequest.clear();
      this.bufferedRequest = null;
    }
    if (this.bufferedResponse !== null) {
      this.responseAbove = false;
      this.bufferedResponse.clear();
      this.bufferedResponse = null;
    }
    if (this.watermarkCallbacks.length > 0) this.watermarkCallbacks.length = 0;
    this.highWatermarkCount = 0;
    if (this.replyData !== null && this.replyData.length > 0) this.replyData.clear();
  }

  /** After the call stack has unwound: makes the chain ready for another stream, or drops it. `keep`: it is the default chain. */
  resetChain(keep: boolean): void {
    if (keep && this.chainCreated && this.tryReset()) return;
    this.chainCreated = false;
    this.decoderFilters.length = 0;
    this.encoderFilters.length = 0;
  }

  private tryReset(): boolean {
    const decoders = this.decoderFilters;
    const encoders = this.encoderFilters;
    for (let i = 0; i < decoders.length; i++) if (decoders[i].filter.reset === undefined) return false;
    for (let i = 0; i < encoders.length; i++) if (encoders[i].filter.reset === undefined) return false;
    for (let i = 0; i < decoders.length; i++) {
      decoders[i].resetState();
      decoders[i].filter.reset?.();
    }
    for (let i = 0; i < encoders.length; i++) {
      encoders[i].resetState();
      if (!encoders[i].dual) encoders[i].filter.reset?.();
    }
    return true;
  }
}
