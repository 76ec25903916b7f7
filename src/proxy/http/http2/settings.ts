/**
 * What an HTTP/2 codec is told (Envoy: Http2ProtocolOptions and the limits of `common_http_protocol_options`), the counters it keeps
 * (Envoy: ALL_HTTP2_CODEC_STATS) and its details strings.
 */
import type { Counter, Gauge, Scope } from '../../../core/stats/stats.ts';
import type { HeadersWithUnderscoresAction } from '../http1/settings.ts';

export interface Http2Settings {
  /** `max_request_headers_kb` (server), `max_response_headers_kb` (client). */
  maxHeadersKb: number;
  maxHeadersCount: number;
  headersWithUnderscoresAction: HeadersWithUnderscoresAction;
  streamErrorOnInvalidHttpMessage: boolean;
  hpackTableSize: number;
  maxConcurrentStreams: number;
  initialStreamWindowSize: number;
  initialConnectionWindowSize: number;
  allowConnect: boolean;
  maxOutboundFrames: number;
  maxOutboundControlFrames: number;
  maxConsecutiveInboundFramesWithEmptyPayload: number;
  maxInboundPriorityFramesPerStream: number;
  maxInboundWindowUpdateFramesPerDataFrameSent: number;
  /** `custom_settings_parameters`: sent beside the others. */
  customSettings: readonly (readonly [id: number, value: number])[];
  /** What a stream may hold that its peer does not take, before its producer is stopped. Bytes. */
  streamBufferLimit: number;
}

export const DEFAULT_HTTP2_SETTINGS: Readonly<Http2Settings> = {
  maxHeadersKb: 60,
  maxHeadersCount: 100,
  headersWithUnderscoresAction: 'ALLOW',
  streamErrorOnInvalidHttpMessage: false,
  hpackTableSize: 4096,
  maxConcurrentStreams: 1024,
  initialStreamWindowSize: 16 * 1024 * 1024,
  initialConnectionWindowSize: 24 * 1024 * 1024,
  allowConnect: false,
  maxOutboundFrames: 10_000,
  maxOutboundControlFrames: 1000,
  maxConsecutiveInboundFramesWithEmptyPayload: 1,
  maxInboundPriorityFramesPerStream: 100,
  maxInboundWindowUpdateFramesPerDataFrameSent: 10,
  customSettings: [],
  streamBufferLimit: 1 << 20,
};

/** All fields, those not given at their defaults. */
export function http2Settings(given: Partial<Http2Settings> = {}): Http2Settings {
  return { ...DEFAULT_HTTP2_SETTINGS, ...given };
}

export interface Http2Stats {
  readonly droppedHeadersWithUnderscores: Counter;
  readonly goawaySent: Counter;
  readonly headerOverflow: Counter;
  readonly headersCbNoStream: Counter;
  readonly inboundEmptyFramesFlood: Counter;
  readonly inboundPriorityFramesFlood: Counter;
  readonly inboundWindowUpdateFramesFlood: Counter;
  readonly keepaliveTimeout: Counter;
  readonly outboundControlFlood: Counter;
  readonly outboundFlood: Counter;
  readonly requestsRejectedWithUnderscoresInHeaders: Counter;
  readonly rxMessagingError: Counter;
  readonly rxReset: Counter;
  readonly streamRefusedErrors: Counter;
  readonly trailers: Counter;
  readonly txFlushTimeout: Counter;
  readonly txReset: Counter;
  readonly streamsActive: Gauge;
}

/** The stats `<scope>http2.*` (scope: `http.<stat_prefix>.` or `cluster.<name>.`). Make one per scope. */
export function http2Stats(scope: Scope): Http2Stats {
  const http2 = scope.scope('http2.');
  return {
    droppedHeadersWithUnderscores: http2.counter('dropped_headers_with_underscores'),
    goawaySent: http2.counter('goaway_sent'),
    headerOverflow: http2.counter('header_overflow'),
    headersCbNoStream: http2.counter('headers_cb_no_stream'),
    inboundEmptyFramesFlood: http2.counter('inbound_empty_frames_flood'),
    inboundPriorityFramesFlood: http2.counter('inbound_priority_frames_flood'),
    inboundWindowUpdateFramesFlood: http2.counter('inbound_window_update_frames_flood'),
    keepaliveTimeout: http2.counter('keepalive_timeout'),
    outboundControlFlood: http2.counter('outbound_control_flood'),
    outboundFlood: http2.counter('outbound_flood'),
    requestsRejectedWithUnderscoresInHeaders: http2.counter('requests_rejected_with_underscores_in_headers'),
    rxMessagingError: http2.counter('rx_messaging_error'),
    rxReset: http2.counter('rx_reset'),
    streamRefusedErrors: http2.counter('stream_refused_errors'),
    trailers: http2.counter('trailers'),
    txFlushTimeout: http2.counter('tx_flush_timeout'),
    txReset: http2.counter('tx_reset'),
    streamsActive: http2.gauge('streams_active'),
  };
}

/** Envoy: Http2ResponseCodeDetails and the messages of its protocol constraints. */
export const Details = {
  InvalidHeaderField: 'http2.invalid.header.field',
  MessagingRule: 'http2.violation.of.messaging.rule',
  TooManyHeaders: 'http2.too_many_headers',
  UnexpectedUnderscore: 'http2.unexpected_underscore',
  OutboundFlood: 'Too many frames in the outbound queue.',
  OutboundControlFlood: 'Too many control frames in the outbound queue.',
  EmptyFramesFlood: 'Too many consecutive frames with an empty payload',
  PriorityFlood: 'Too many PRIORITY frames',
  WindowUpdateFlood: 'Too many WINDOW_UPDATE frames',
  ContinuationFlood: 'Header block is too large or has too many CONTINUATION frames',
} as const;
