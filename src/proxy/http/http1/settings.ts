/**
 * What an HTTP/1 codec is told: limits and options (Envoy: Http1Settings, and the limits of `common_http_protocol_options`), the
 * counters it keeps, and the details strings of its refusals.
 */
import type { Counter, Scope } from '../../../core/stats/stats.ts';

export type HeadersWithUnderscoresAction = 'ALLOW' | 'REJECT_REQUEST' | 'DROP_HEADER';
export type HeaderKeyFormat = 'lower_case' | 'proper_case_words' | 'preserve_case';

export interface Http1Settings {
  /** `max_request_headers_kb` (server), `max_response_headers_kb` (client). */
  maxHeadersKb: number;
  maxHeadersCount: number;
  acceptHttp10: boolean;
  /** Host of HTTP/1.0 requests that name none; '' for none. */
  defaultHostForHttp10: string;
  allowAbsoluteUrl: boolean;
  allowChunkedLength: boolean;
  enableTrailers: boolean;
  headerKeyFormat: HeaderKeyFormat;
  headersWithUnderscoresAction: HeadersWithUnderscoresAction;
  streamErrorOnInvalidHttpMessage: boolean;
  allowCustomMethods: boolean;
  /** Requests are written with `scheme://authority/path`. */
  sendFullyQualifiedUrl: boolean;
  /** Upgrade tokens that are treated as if they were not there (`ignore_http_11_upgrade`); null: none. */
  /** `Upgrade: h2c` is taken; otherwise the request goes on without it (as in Envoy). */
  http2Upgrade: boolean;
  ignoreHttp11Upgrade: ((token: string) => boolean) | null;
  /** Refuses `https://` request targets with 403: an edge listener without TLS. */
  validateScheme: boolean;
}

export const DEFAULT_HTTP1_SETTINGS: Readonly<Http1Settings> = {
  maxHeadersKb: 60,
  maxHeadersCount: 100,
  acceptHttp10: false,
  defaultHostForHttp10: '',
  allowAbsoluteUrl: true,
  allowChunkedLength: false,
  enableTrailers: false,
  headerKeyFormat: 'lower_case',
  headersWithUnderscoresAction: 'ALLOW',
  streamErrorOnInvalidHttpMessage: false,
  allowCustomMethods: false,
  sendFullyQualifiedUrl: false,
  http2Upgrade: false,
  ignoreHttp11Upgrade: null,
  validateScheme: false,
};

/** All fields, those not given at their defaults. One shape for every codec. */
export function http1Settings(given: Partial<Http1Settings> = {}): Http1Settings {
  return { ...DEFAULT_HTTP1_SETTINGS, ...given };
}

export interface Http1Stats {
  readonly metadataNotSupportedError: Counter;
  readonly droppedHeadersWithUnderscores: Counter;
  readonly requestsRejectedWithUnderscoresInHeaders: Counter;
  readonly responseFlood: Counter;
  /** Messages whose body was not what their content-length announced (not in Envoy). */
  readonly contentLengthMismatch: Counter;
}

/** The counters `<scope>http1.*` (scope: `http.<stat_prefix>.` or `cluster.<name>.`). Make one per scope. */
export function http1Stats(scope: Scope): Http1Stats {
  const http1 = scope.scope('http1.');
  return {
    metadataNotSupportedError: http1.counter('metadata_not_supported_error'),
    droppedHeadersWithUnderscores: http1.counter('dropped_headers_with_underscores'),
    requestsRejectedWithUnderscoresInHeaders: http1.counter('requests_rejected_with_underscores_in_headers'),
    responseFlood: http1.counter('response_flood'),
    contentLengthMismatch: http1.counter('content_length_mismatch'),
  };
}

/** Response code details of refused messages (Envoy: Http1ResponseCodeDetails). */
export const Details = {
  TooManyHeaders: 'http1.too_many_headers',
  HeadersTooLarge: 'http1.headers_too_large',
  CodecError: 'http1.codec_error',
  InvalidCharacters: 'http1.invalid_characters',
  ConnectionHeaderRejected: 'http1.connection_header_rejected',
  InvalidUrl: 'http1.invalid_url',
  InvalidScheme: 'http1.invalid_scheme',
  InvalidTransferEncoding: 'http1.invalid_transfer_encoding',
  BodyDisallowed: 'http1.body_disallowed',
  TransferEncodingNotAllowed: 'http1.transfer_encoding_not_allowed',
  ContentLengthNotAllowed: 'http1.content_length_not_allowed',
  UnexpectedUnderscore: 'http1.unexpected_underscore',
  ChunkedContentLength: 'http1.content_length_and_chunked_not_allowed',
  HttpsInPlaintext: 'http1.https_url_on_plaintext_connection',
  ResponseFlood: 'http1.response_flood',
  ContentLengthMismatch: 'http1.content_length_mismatch',
  PrematureResponse: 'http1.premature_response',
  InvalidAuthority: 'http.invalid_authority',
  LowVersion: 'low_version',
} as const;
export type Details = (typeof Details)[keyof typeof Details];

/** Bytes of chunk extensions that one message may carry; the framing of chunks is no place for data. */
export const MAX_CHUNK_EXTENSION_BYTES = 16 * 1024;
/** Complete responses that may wait in a write buffer above its high watermark (Envoy: max_outbound_responses). */
export const MAX_OUTBOUND_RESPONSES = 2;
