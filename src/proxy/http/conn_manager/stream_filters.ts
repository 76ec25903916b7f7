/**
 * One filter's place in a stream: its iteration state, and the callbacks through which it speaks to the filter manager (Envoy:
 * ActiveStreamFilterBase, ActiveStreamDecoderFilter, ActiveStreamEncoderFilter).
 */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../../core/event/dispatcher.ts';
import type { Connection } from '../../network/connection.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { StreamResetReason } from '../codec.ts';
import {
  type DownstreamWatermarkCallbacks,
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type ReplyBody,
  type StreamDecoderFilter,
  type StreamDecoderFilterCallbacks,
  type StreamEncoderFilter,
  type StreamEncoderFilterCallbacks,
} from '../filter.ts';
import { HeaderMap } from '../header_map.ts';
import type { Route } from '../route/route.ts';
import { CallState, type FilterManager } from './filter_manager.ts';

export const IterationState = { Continue: 0, StopSingleIteration: 1, StopAllBuffer: 2, StopAllWatermark: 3 } as const;
export type IterationState = (typeof IterationState)[keyof typeof IterationState];

export abstract class ActiveStreamFilterBase {
  protected readonly manager: FilterManager;
  readonly filterName: string;
  /** Also registered in the other direction. */
  readonly dual: boolean;
  index: number;
  iterationState: IterationState = IterationState.Continue;
  headersContinued = false;
  processedHeaders = false;
  endStream = false;
  /** After a stop-all status the filter itself has not seen what comes now. */
  protected iterateFromCurrent = false;

  constructor(manager: FilterManager, filterName: string, index: number, dual: boolean) {
    this.manager = manager;
    this.filterName = filterName;
    this.index = index;
    this.dual = dual;
  }

  resetState(): void {
    this.iterationState = IterationState.Continue;
    this.headersContinued = false;
    this.processedHeaders = false;
    this.endStream = false;
    this.iterateFromCurrent = false;
  }

  get dispatcher(): Dispatcher {
    return this.manager.dispatcher;
  }

  get connection(): Connection | null {
    return this.manager.callbacks.connection;
  }

  get streamInfo(): StreamInfo {
    return this.manager.callbacks.streamInfo;
  }

  get streamId(): number {
    return this.manager.callbacks.streamId;
  }

  get stableRandom(): number {
    return this.manager.callbacks.stableRandom;
  }

  route(): Route | null {
    return this.manager.callbacks.route();
  }

  clearRouteCache(): void {
    this.manager.callbacks.clearRouteCache();
  }

  perFilterConfig<T>(): T | undefined {
    const route = this.manager.callbacks.route();
    return route === null ? undefined : (route.perFilterConfigs(this.filterName)[0] as T | undefined);
  }

  perFilterConfigs<T>(): readonly T[] {
    const route = this.manager.callbacks.route();
    return route === null ? [] : (route.perFilterConfigs(this.filterName) as readonly T[]);
  }

  resetStream(reason: StreamResetReason): void {
    this.manager.callbacks.resetStream(reason);
  }

  sendLocalReply(
    status: number,
    body: ReplyBody,
    modifyHeaders: ((headers: HeaderMap) => void) | null,
    grpcStatus: number | null,
    details: string,
  ): void {
    this.manager.sendLocalReply(status, body, modifyHeaders, grpcStatus, details);
  }

  get stoppedAll(): boolean {
    return this.iterationState >= IterationState.StopAllBuffer;
  }

  /** True when the next filter's header callback may be called. */
  handleAfterHeaders(status: FilterHeadersStatus): boolean {
    switch (status) {
      case FilterHeadersStatus.Continue:
        this.headersContinued = true;
        return true;
      case FilterHeadersStatus.ContinueAndDontEndStream:
        // Headers pass; the body (or an empty last frame) follows when the filter says `continue`.
        this.headersContinued = true;
        this.iterationState = IterationState.StopSingleIteration;
        this.createBuffer();
        return true;
      case FilterHeadersStatus.StopIteration:
        this.iterationState = IterationState.StopSingleIteration;
        return false;
      case FilterHeadersStatus.StopAllIterationAndBuffer:
        this.iterationState = IterationState.StopAllBuffer;
        return false;
      default:
        this.iterationState = IterationState.StopAllWatermark;
        return false;
    }
  }

  handleAfterData(status: FilterDataStatus, data: SliceBuffer): boolean {
    if (status === FilterDataStatus.Continue) {
      if (this.iterationState !== IterationState.StopSingleIteration) return true;
      this.bufferData(data);
      this.commonContinue();
      return false;
    }
    this.iterationState = IterationState.StopSingleIteration;
    if (status !== FilterDataStatus.StopIterationNoBuffer) {
      this.setStreaming(status === FilterDataStatus.StopIterationAndWatermark);
      this.bufferData(data);
    } else if (this.endStream && !this.hasTrailers() && this.buffered() === null) {
      // The stream ends with this frame and nothing is kept: continue must still have an (empty) last frame to deliver.
      this.createBuffer();
    }
    return false;
  }

  handleAfterTrailers(status: FilterTrailersStatus): boolean {
    if (status === FilterTrailersStatus.Continue) {
      if (this.iterationState !== IterationState.StopSingleIteration) return true;
      this.commonContinue();
      return false;
    }
    if (this.iterationState === IterationState.Continue) this.iterationState = IterationState.StopSingleIteration;
    return false;
  }

  bufferData(data: SliceBuffer): void {
    const buffer = this.createBuffer();
    if (buffer === data) return;
    data.makePrivate();
    buffer.move(data);
  }

  /** Resumes iteration: delivers what was held back, in order. */
  protected commonContinue(): void {
    const manager = this.manager;
    if (!this.canContinue() || this.iterationState === IterationState.Continue) return;
    if (this.stoppedAll) this.iterateFromCurrent = true;
    this.iterationState = IterationState.Continue;
    this.do1xx();
    if (!this.headersContinued) {
      this.headersContinued = true;
      this.doHeaders(this.complete() && this.buffered() === null && !this.hasTrailers());
    }
    if (manager.destroyed || !this.canContinue()) return;
    const ended = this.complete() && !this.hasTrailers();
    if (this.buffered() !== null) this.doData(ended);
    if (manager.destroyed || !this.canContinue()) return;
    if (this.hasTrailers()) this.doTrailers();
    this.iterateFromCurrent = false;
  }

  /** False when nothing can be injected (any more). */
  protected injectHeaders(): boolean {
    if (!this.canContinue()) return false;
    if (!this.headersContinued) {
      this.headersContinued = true;
      this.doHeaders(false);
    }
    return !this.manager.destroyed && this.canContinue();
  }

  /** The filter that iteration resumes with. Headers always go on after this one. */
  protected nextIndex(): number {
    return this.iterateFromCurrent ? this.index : this.index + 1;
  }

  protected abstract canContinue(): boolean;
  protected abstract createBuffer(): SliceBuffer;
  protected abstract buffered(): SliceBuffer | null;
  protected abstract complete(): boolean;
  protected abstract hasTrailers(): boolean;
  protected abstract setStreaming(streaming: boolean): void;
  protected abstract do1xx(): void;
  protected abstract doHeaders(endStream: boolean): void;
  protected abstract doData(endStream: boolean): void;
  protected abstract doTrailers(): void;
}

export class ActiveStreamDecoderFilter extends ActiveStreamFilterBase implements StreamDecoderFilterCallbacks {
  readonly filter: StreamDecoderFilter;

  constructor(manager: FilterManager, filter: StreamDecoderFilter, name: string, index: number, dual: boolean) {
    super(manager, name, index, dual);
    this.filter = filter;
  }

  continueDecoding(): void {
    this.commonContinue();
  }

  decodingBuffer(): SliceBuffer | null {
    return this.manager.bufferedRequest;
  }

  addDecodedData(data: SliceBuffer, streaming: boolean): void {
    const manager = this.manager;
    if ((manager.callState & CallState.DecodeTrailers) !== 0 && this.iterationState === IterationState.Continue) {
      manager.decodeDataFrom(this.index + 1, data, false);
      return;
    }
    manager.decoderFiltersStreaming = streaming;
    this.bufferData(data);
  }

  injectDecodedData(data: SliceBuffer, endStream: boolean): void {
    if (!this.injectHeaders()) return;
    this.manager.decodeDataFrom(this.index + 1, data, endStream);
  }

  addDecodedTrailers(): HeaderMap {
    const callbacks = this.manager.callbacks;
    callbacks.requestTrailers ??= new HeaderMap(this.manager.dispatcher.slab);
    return callbacks.requestTrailers;
  }

  encode1xxHeaders(headers: HeaderMap): void {
    this.manager.encode1xxFrom(0, headers);
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean, details: string): void {
    const callbacks = this.manager.callbacks;
    callbacks.streamInfo.responseCodeDetails = details;
    callbacks.responseHeaders = headers;
    this.manager.encodeHeadersFrom(0, headers, endStream);
  }

  encodeData(data: SliceBuffer, endStream: boolean): void {
    this.manager.encodeDataFrom(0, data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.manager.callbacks.responseTrailers = trailers;
    this.manager.encodeTrailersFrom(0, trailers);
  }

  onDecoderFilterAboveWriteBufferHighWatermark(): void {
    this.manager.callbacks.onDecoderFilterAboveWriteBufferHighWatermark();
  }

  onDecoderFilterBelowWriteBufferLowWatermark(): void {
    this.manager.callbacks.onDecoderFilterBelowWriteBufferLowWatermark();
  }

  addDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void {
    this.manager.addDownstreamWatermarkCallbacks(callbacks);
  }

  removeDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void {
    this.manager.removeDownstreamWatermarkCallbacks(callbacks);
  }

  get decoderBufferLimit(): number {
    return this.manager.decoderBufferLimit;
  }

  setDecoderBufferLimit(limit: number): void {
    this.manager.setDecoderBufferLimit(limit);
  }

  recreateStream(): boolean {
    return this.manager.callbacks.recreateStream();
  }

  protected canContinue(): boolean {
    return !this.manager.destroyed && !this.manager.localComplete && !this.manager.decoderChainAborted;
  }

  protected createBuffer(): SliceBuffer {
    return this.manager.requestBufferFor();
  }

  protected buffered(): SliceBuffer | null {
    return this.manager.bufferedRequest;
  }

  protected complete(): boolean {
    return this.manager.remoteComplete;
  }

  protected hasTrailers(): boolean {
    return this.manager.callbacks.requestTrailers !== null;
  }

  protected setStreaming(streaming: boolean): void {
    this.manager.decoderFiltersStreaming = streaming;
  }

  protected do1xx(): void {}

  protected doHeaders(endStream: boolean): void {
    this.manager.decodeHeadersFrom(this.index + 1, this.manager.callbacks.requestHeaders as HeaderMap, endStream);
  }

  protected doData(endStream: boolean): void {
    this.manager.decodeDataFrom(this.nextIndex(), this.manager.bufferedRequest as SliceBuffer, endStream);
  }

  protected doTrailers(): void {
    this.manager.decodeTrailersFrom(this.nextIndex(), this.manager.callbacks.requestTrailers as HeaderMap);
  }
}

export class ActiveStreamEncoderFilter extends ActiveStreamFilterBase implements StreamEncoderFilterCallbacks {
  readonly filter: StreamEncoderFilter;
  /** 1xx headers this filter stopped. */
  pending1xx: HeaderMap | null = null;

  constructor(manager: FilterManager, filter: StreamEncoderFilter, name: string, dual: boolean) {
    super(manager, name, 0, dual);
    this.filter = filter;
  }

  override resetState(): void {
    super.resetState();
    this.pending1xx = null;
  }

  continueEncoding(): void {
    if (this.pending1xx !== null && this.iterationState === IterationState.Continue) this.do1xx();
    else this.commonContinue();
  }

  encodingBuffer(): SliceBuffer | null {
    return this.manager.bufferedResponse;
  }

  addEncodedData(data: SliceBuffer, streaming: boolean): void {
    const manager = this.manager;
    if ((manager.callState & CallState.EncodeTrailers) !== 0 && this.iterationState === IterationState.Continue) {
      manager.encodeDataFrom(this.index + 1, data, false);
      return;
    }
    manager.encoderFiltersStreaming = streaming;
    this.bufferData(data);
  }

  injectEncodedData(data: SliceBuffer, endStream: boolean): void {
    if (!this.injectHeaders()) return;
    this.manager.encodeDataFrom(this.index + 1, data, endStream);
  }

  addEncodedTrailers(): HeaderMap {
    const callbacks = this.manager.callbacks;
    callbacks.responseTrailers ??= new HeaderMap(this.manager.dispatcher.slab);
    return callbacks.responseTrailers;
  }

  onEncoderFilterAboveWriteBufferHighWatermark(): void {
    this.manager.callHighWatermarkCallbacks();
  }

  onEncoderFilterBelowWriteBufferLowWatermark(): void {
    this.manager.callLowWatermarkCallbacks();
  }

  get encoderBufferLimit(): number {
    return this.manager.encoderBufferLimit;
  }

  setEncoderBufferLimit(limit: number): void {
    this.manager.setEncoderBufferLimit(limit);
  }

  protected canContinue(): boolean {
    return !this.manager.destroyed && !this.manager.encoderChainAborted;
  }

  protected createBuffer(): SliceBuffer {
    return this.manager.responseBufferFor();
  }

  protected buffered(): SliceBuffer | null {
    return this.manager.bufferedResponse;
  }

  protected complete(): boolean {
    return this.manager.observedEncodeEnd;
  }

  protected hasTrailers(): boolean {
    return this.manager.callbacks.responseTrailers !== null;
  }

  protected setStreaming(streaming: boolean): void {
    this.manager.encoderFiltersStreaming = streaming;
  }

  protected do1xx(): void {
    const headers = this.pending1xx;
    if (headers === null) return;
    this.pending1xx = null;
    this.manager.encode1xxFrom(this.index + 1, headers);
  }

  protected doHeaders(endStream: boolean): void {
    this.manager.encodeHeadersFrom(this.index + 1, this.manager.callbacks.responseHeaders as HeaderMap, endStream);
  }

  protected doData(endStream: boolean): void {
    this.manager.encodeDataFrom(this.nextIndex(), this.manager.bufferedResponse as SliceBuffer, endStream);
  }

  protected doTrailers(): void {
    this.manager.encodeTrailersFrom(this.nextIndex(), this.manager.callbacks.responseTrailers as HeaderMap);
  }
}
