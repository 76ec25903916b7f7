/**
 * Between the bytes of a connection and HTTP messages (Envoy's Http::Connection, StreamDecoder, StreamEncoder).
 *
 * Codecs do no I/O and read no clock: `dispatch` gets bytes, messages go to decoders; encoders hand bytes to `write`.
 * Ownership: header maps given to a decoder are the receiver's, who calls `release()` when the stream ends; those given to an
 * encoder stay the caller's. Data buffers are borrowed: the callee moves out what it wants to keep (`other.move(data)`).
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Protocol } from '../stream_info/stream_info.ts';
import type { HeaderMap } from './header_map.ts';

export const StreamResetReason = {
  LocalReset: 0,
  LocalRefusedStreamReset: 1,
  RemoteReset: 2,
  RemoteRefusedStreamReset: 3,
  LocalConnectionFailure: 4,
  RemoteConnectionFailure: 5,
  ConnectionTimeout: 6,
  ConnectionTermination: 7,
  Overflow: 8,
  ConnectError: 9,
  ProtocolError: 10,
  OverloadManager: 11,
  Http1PrematureUpstreamHalfClose: 12,
} as const;
export type StreamResetReason = (typeof StreamResetReason)[keyof typeof StreamResetReason];

/** Envoy's words for a reset reason, as in `upstream connect error or disconnect/reset before headers. reset reason: ...`. */
export const RESET_REASON_TEXT: Record<StreamResetReason, string> = {
  [StreamResetReason.LocalReset]: 'local reset',
  [StreamResetReason.LocalRefusedStreamReset]: 'local refused stream reset',
  [StreamResetReason.RemoteReset]: 'remote reset',
  [StreamResetReason.RemoteRefusedStreamReset]: 'remote refused stream reset',
  [StreamResetReason.LocalConnectionFailure]: 'local connection failure',
  [StreamResetReason.RemoteConnectionFailure]: 'remote connection failure',
  [StreamResetReason.ConnectionTimeout]: 'connection timeout',
  [StreamResetReason.ConnectionTermination]: 'connection termination',
  [StreamResetReason.Overflow]: 'overflow',
  [StreamResetReason.ConnectError]: 'remote error with CONNECT request',
  [StreamResetReason.ProtocolError]: 'protocol error',
  [StreamResetReason.OverloadManager]: 'overload manager reset',
  [StreamResetReason.Http1PrematureUpstreamHalfClose]: 'HTTP/1 premature upstream half close',
};

export interface StreamCallbacks {
  /** The stream is gone: no further callbacks, encoders are unusable. */
  onResetStream(reason: StreamResetReason, transportFailureReason: string): void;
  /** What this stream has encoded waits to be sent: stop producing. */
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

export interface CodecStream {
  addCallbacks(callbacks: StreamCallbacks): void;
  removeCallbacks(callbacks: StreamCallbacks): void;
  resetStream(reason: StreamResetReason): void;
  /** Counted: stops (resumes) decoding this stream's body; for HTTP/1 the connection's reading. */
  readDisable(disable: boolean): void;
  /** Bytes on the wire of this stream so far. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Bytes of the head as sent, and as received. */
  readonly headerBytesSent: number;
  readonly headerBytesReceived: number;
}

export interface StreamEncoder {
  readonly stream: CodecStream;
  encodeData(data: SliceBuffer, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
}

/** Encodes one request, upstream. */
export interface RequestEncoder extends StreamEncoder {
  /**
   * Null when it went out; otherwise what is missing from the headers (a bug of a filter): nothing was sent.
   * HTTP/1 writes `:method`, `:path`, `:authority`; for an upgrade it keeps `connection` and `upgrade`.
   */
  encodeHeaders(headers: HeaderMap, endStream: boolean): string | null;
}

/** Encodes one response, downstream. */
export interface ResponseEncoder extends StreamEncoder {
  encode1xxHeaders(headers: HeaderMap): void;
  /** `:status` must be there. HTTP/1 adds `transfer-encoding: chunked` when there is a body and no content-length. */
  encodeHeaders(headers: HeaderMap, endStream: boolean): void;
  /** True when errors of this stream alone should be answered, and the connection kept. */
  readonly streamErrorOnInvalidHttpMessage: boolean;
}

/** Receives one request (the connection manager's stream). */
export interface RequestDecoder {
  /** `headers` is the receiver's from here. */
  decodeHeaders(headers: HeaderMap, endStream: boolean): void;
  decodeData(data: SliceBuffer, endStream: boolean): void;
  decodeTrailers(trailers: HeaderMap): void;
  /**
   * The request was refused by the codec: answer with this status and details, then the connection is closed (or kept when the
   * encoder's `streamErrorOnInvalidHttpMessage`). May come before any `decodeHeaders`.
   */
  sendLocalReply(status: number, body: string, details: string): void;
}

/** Receives one response (the router's upstream request). */
export interface ResponseDecoder {
  decode1xxHeaders(headers: HeaderMap): void;
  decodeHeaders(headers: HeaderMap, endStream: boolean): void;
  decodeData(data: SliceBuffer, endStream: boolean): void;
  decodeTrailers(trailers: HeaderMap): void;
}

/** Why bytes could not be understood. `details` is Envoy's string (`http1.invalid_characters` ...). */
export class CodecError {
  readonly kind: 'protocol' | 'flood' | 'premature_response';
  readonly details: string;

  constructor(kind: 'protocol' | 'flood' | 'premature_response', details: string) {
    this.kind = kind;
    this.details = details;
  }
}

export interface HttpConnection {
  readonly protocol: Protocol;
  /** Parses and drains what it understood; the rest waits in `data`. The error, or null. On error the connection must be closed. */
  dispatch(data: SliceBuffer): CodecError | null;
  /** The connection's write buffer passed a watermark: told to all streams. */
  onUnderlyingConnectionAboveWriteBufferHighWatermark(): void;
  onUnderlyingConnectionBelowWriteBufferLowWatermark(): void;
  /** HTTP/2: GOAWAY with the maximum id; HTTP/1: nothing. */
  shutdownNotice(): void;
  /** HTTP/2: GOAWAY; HTTP/1: nothing (the next response carries `connection: close`). */
  goAway(): void;
}

export interface ServerConnectionCallbacks {
  /** A request begins. The encoder answers it, the returned decoder receives it. */
  newStream(encoder: ResponseEncoder): RequestDecoder;
  /**
   * HTTP/1.1: the request of `decoder`, which has no body, asks for h2c, with its SETTINGS (RFC 7540 3.2). True: `accept` was called, which
   * tells the client so, and the bytes that follow are another codec's; the request is stream 1 there.
   */
  onHttp2Upgrade?(decoder: RequestDecoder, settings: Uint8Array, accept: () => void): boolean;
  /** HTTP/2: streams that were complete for the receiver and not yet sent are sent. */
  onStreamsFlushed?(): void;
}

/** Downstream side of a connection. */
export interface ServerConnection extends HttpConnection {
  /** The transport ended: false when a request was cut short. */
  onConnectionClosed(): void;
}

export interface ClientConnectionCallbacks {
  /** HTTP/2 GOAWAY. */
  onGoAway?(): void;
}

/** Upstream side of a connection. */
export interface ClientConnection extends HttpConnection {
  /** Begins a request. HTTP/1: only when the one before is complete. */
  newStream(decoder: ResponseDecoder): RequestEncoder;
  /** The peer closed: completes a response that ends with the connection; true when nothing was cut short. */
  onConnectionClosed(reason: StreamResetReason, transportFailureReason: string): boolean;
}

/** How a codec reaches its connection. */
export interface CodecTransport {
  /** Takes all slices of `data`. */
  write(data: SliceBuffer): void;
  readDisable(disable: boolean): void;
  /** See `Connection`: so much body comes next. */
  opaqueAhead?(bytes: number): void;
}
