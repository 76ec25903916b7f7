/**
 * The HTTP filter contract (Envoy: envoy/http/filter.h). Decoder filters see the request in configured order, encoder filters
 * the response in reverse order. The filter manager in `conn_manager/` drives them.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Connection } from '../network/connection.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { StreamResetReason } from './codec.ts';
import type { HeaderMap } from './header_map.ts';
import type { Route } from './route/route.ts';

export const FilterHeadersStatus = {
  Continue: 0,
  /** Do not call further filters' header callbacks; body still comes to this filter. Resume with `continueDecoding`. */
  StopIteration: 1,
  /** Continue with headers although the stream ended: this filter will add a body. */
  ContinueAndDontEndStream: 2,
  /** Stop, and buffer the body; beyond the buffer limit 413 / 500. */
  StopAllIterationAndBuffer: 3,
  /** Stop, and buffer the body up to the high watermark, then stop reading. */
  StopAllIterationAndWatermark: 4,
} as const;
export type FilterHeadersStatus = (typeof FilterHeadersStatus)[keyof typeof FilterHeadersStatus];

export const FilterDataStatus = {
  Continue: 0,
  /** Keep the data buffered in the manager; beyond the limit 413 / 500. */
  StopIterationAndBuffer: 1,
  /** Keep it buffered up to the high watermark, then stop reading. */
  StopIterationAndWatermark: 2,
  /** The filter keeps the data itself. */
  StopIterationNoBuffer: 3,
} as const;
export type FilterDataStatus = (typeof FilterDataStatus)[keyof typeof FilterDataStatus];

export const FilterTrailersStatus = { Continue: 0, StopIteration: 1 } as const;
export type FilterTrailersStatus = (typeof FilterTrailersStatus)[keyof typeof FilterTrailersStatus];

/** What both directions of a filter may ask of the manager. */
export interface StreamFilterCallbacks {
  readonly connection: Connection | null;
  readonly dispatcher: Dispatcher;
  readonly streamInfo: StreamInfo;
  /** Stable id of the stream in this process. */
  readonly streamId: number;
  /** A random number that is the same for the whole stream, below 2^32. */
  readonly stableRandom: number;
  /** The selected route, or null. Computed once; `clearRouteCache` forgets it. */
  route(): Route | null;
  clearRouteCache(): void;
  /** The most specific per-route configuration of the calling filter, or undefined. */
  perFilterConfig<T>(): T | undefined;
  /** All of them, most specific first. */
  perFilterConfigs<T>(): readonly T[];
  resetStream(reason: StreamResetReason): void;
}

export interface StreamDecoderFilterCallbacks extends StreamFilterCallbacks {
  continueDecoding(): void;
  /** What is buffered so far, or null. */
  decodingBuffer(): SliceBuffer | null;
  addDecodedData(data: SliceBuffer, streaming: boolean): void;
  /** Hands data (and headers that were held back before it) to the next filters at once, while this filter goes on holding what comes. */
  injectDecodedData(data: SliceBuffer, endStream: boolean): void;
  /** Trailers to add in the last decodeData. */
  addDecodedTrailers(): HeaderMap;
  /** Answers the stream; nothing further of the request reaches filters. `modifyHeaders` may change the response's headers. */
  sendLocalReply(
    status: number,
    body: ReplyBody,
    modifyHeaders: ((headers: HeaderMap) => void) | null,
    grpcStatus: number | null,
    details: string,
  ): void;
  encode1xxHeaders(headers: HeaderMap): void;
  /** The response, from the terminal filter. `headers` becomes the manager's. */
  encodeHeaders(headers: HeaderMap, endStream: boolean, details: string): void;
  encodeData(data: SliceBuffer, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  /** The consumer of the request body is full (drained): stops reading downstream. Counted. */
  onDecoderFilterAboveWriteBufferHighWatermark(): void;
  onDecoderFilterBelowWriteBufferLowWatermark(): void;
  addDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void;
  removeDownstreamWatermarkCallbacks(callbacks: DownstreamWatermarkCallbacks): void;
  readonly decoderBufferLimit: number;
  setDecoderBufferLimit(limit: number): void;
  /** Starts over with a new stream from the same headers (internal redirect). False when it cannot. */
  recreateStream(): boolean;
}

export interface StreamEncoderFilterCallbacks extends StreamFilterCallbacks {
  continueEncoding(): void;
  encodingBuffer(): SliceBuffer | null;
  addEncodedData(data: SliceBuffer, streaming: boolean): void;
  injectEncodedData(data: SliceBuffer, endStream: boolean): void;
  addEncodedTrailers(): HeaderMap;
  onEncoderFilterAboveWriteBufferHighWatermark(): void;
  onEncoderFilterBelowWriteBufferLowWatermark(): void;
  readonly encoderBufferLimit: number;
  setEncoderBufferLimit(limit: number): void;
  sendLocalReply(
    status: number,
    body: ReplyBody,
    modifyHeaders: ((headers: HeaderMap) => void) | null,
    grpcStatus: number | null,
    details: string,
  ): void;
}

/** Of a reply that the proxy gives itself: text is sent as UTF-8, bytes as they are. */
export type ReplyBody = string | Uint8Array;

export interface DownstreamWatermarkCallbacks {
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

interface StreamFilterBase {
  /** The stream is over, whatever way: release timers, requests, buffers. No callback after it. */
  onDestroy(): void;
  /** After the response's last byte was encoded or the stream was reset, before `onDestroy`. */
  onStreamComplete?(): void;
  /**
   * A filter that has this is kept with its stream object after `onDestroy` and the unwinding of the call stack, and used again for
   * another stream with the same callbacks object: forget everything of the stream before.
   */
  reset?(): void;
}

export interface StreamDecoderFilter extends StreamFilterBase {
  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void;
  decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus;
  decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus;
  decodeTrailers(trailers: HeaderMap): FilterTrailersStatus;
  decodeComplete?(): void;
}

export interface StreamEncoderFilter extends StreamFilterBase {
  setEncoderFilterCallbacks(callbacks: StreamEncoderFilterCallbacks): void;
  encode1xxHeaders(headers: HeaderMap): FilterHeadersStatus;
  encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus;
  encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus;
  encodeTrailers(trailers: HeaderMap): FilterTrailersStatus;
  encodeComplete?(): void;
}

/** How a factory adds its filters to one stream. */
export interface FilterChainFactoryCallbacks {
  readonly dispatcher: Dispatcher;
  addStreamDecoderFilter(filter: StreamDecoderFilter): void;
  addStreamEncoderFilter(filter: StreamEncoderFilter): void;
  addStreamFilter(filter: StreamDecoderFilter & StreamEncoderFilter): void;
}

/** One configured filter: called once per stream. */
export type HttpFilterFactory = (callbacks: FilterChainFactoryCallbacks) => void;
