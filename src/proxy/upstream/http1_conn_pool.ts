/**
 * HTTP/1.1 connections to one host: one request at a time on each, kept for the next (Envoy: source/common/http/http1/conn_pool.cc and
 * source/common/http/codec_client.cc).
 *
 * The stream wrapper between router and codec is one object per connection, so that a request on a free connection allocates nothing
 * here. A connection goes back to the pool only after the codec has returned from `dispatch`. It closes instead when the response
 * says so, when the response came before the request was sent, when bytes come that nobody asked for, or when the stream is reset.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import {
  type CodecStream,
  type CodecTransport,
  type RequestEncoder,
  type ResponseDecoder,
  type StreamCallbacks,
  StreamResetReason,
} from '../http/codec.ts';
import type { HeaderMap } from '../http/header_map.ts';
import { H } from '../http/header_names.ts';
import { Http1ClientConnection } from '../http/http1/client_connection.ts';
import { type Connection, ConnectionEvent, FilterStatus, type ReadFilter } from '../network/connection.ts';
import type { Protocol } from '../stream_info/stream_info.ts';
import { ActiveClient, ClientState } from './active_client.ts';
import { HttpConnPool } from './http_conn_pool.ts';
import type { HttpPoolCallbacks } from './upstream.ts';

const HTTP1 = ['http/1.1'];

export class Http1ConnPool extends HttpConnPool {
  readonly protocol: Protocol = 'HTTP/1.1';
  protected readonly applicationProtocols = HTTP1;

  protected begin(client: Http1Client, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): void {
    this.take(client);
    callbacks.onPoolReady(client.stream.begin(decoder), this.host, client.connection, this.protocol);
  }

  finish(client: Http1Client, reusable: boolean): void {
    this.finishStream(client, reusable);
  }

  createClient(connection: Connection): ActiveClient {
    this.stats.upstreamCxHttp1Total.inc();
    return new Http1Client(this, connection);
  }
}

export class Http1Client extends ActiveClient implements ReadFilter, CodecTransport {
  readonly codec: Http1ClientConnection;
  readonly stream: Http1Stream;
  private readonly http: Http1ConnPool;
  private protocolError = false;
  private readDisables = 0;
  /** The codec's stream was reset already. */
  private streamReset = false;
  /** Inside `codec.dispatch`: what the stream decided waits until it returned. */
  private dispatching = false;

  constructor(pool: Http1ConnPool, connection: Connection) {
    super(pool, connection, pool.cluster.maxRequestsPerConnection);
    this.http = pool;
    this.codec = new Http1ClientConnection(this, pool.dispatcher.slab, pool.cluster.settings.http.http1, pool.cluster.http1Stats);
    this.stream = new Http1Stream(this);
    connection.addReadFilter(this);
  }

  // --- CodecTransport ---

  write(data: SliceBuffer): void {
    this.connection.write(data, false);
  }

  opaqueAhead(bytes: number): void {
    this.connection.opaqueAhead(bytes);
  }

  readDisable(disable: boolean): void {
    if (disable) this.readDisables++;
    else if (this.readDisables > 0) this.readDisables--;
    else return;
    this.connection.readDisable(disable);
  }

  /** What a stream has paused does not outlive it; its late `readDisable(false)` finds nothing to undo. */
  private resumeReading(): void {
    while (this.readDisables > 0 && this.connection.state === 'open') this.readDisable(false);
  }

  // --- ReadFilter ---

  initializeReadFilterCallbacks(): void {}

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer): FilterStatus {
    this.countReceived(data.length);
    // A server that gives up an idle connection may say 408 first; that is no fault.
    const timeoutNotice = !this.active && isRequestTimeout(data);
    this.dispatching = true;
    const error = this.codec.dispatch(data);
    this.dispatching = false;
    this.countBuffered(data.length);
    if (this.connection.state !== 'open') return FilterStatus.StopIteration;
    if (error !== null) {
      this.protocolError = true;
      if (!timeoutNotice) this.pool.stats.upstreamCxProtocolError.inc();
      this.close();
    } else if (this.stream.over) this.finishStream();
    return FilterStatus.StopIteration;
  }

  // --- connection events ---

  onConnected(): void {}

  onAboveWriteBufferHighWatermark(): void {
    this.codec.onUnderlyingConnectionAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.codec.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  }

  onClosed(event: ConnectionEvent): void {
    if (!this.active) return;
    this.incomplete = !this.stream.responseComplete;
    if (this.streamReset) {
      this.stream.end();
      return;
    }
    const reason = this.protocolError ? StreamResetReason.ProtocolError : StreamResetReason.ConnectionTermination;
    // A body that ends with the connection is complete now.
    const complete = this.codec.onConnectionClosed(reason, this.connection.transportFailureReason);
    if (complete && event === ConnectionEvent.RemoteClose) this.incomplete = false;
    this.stream.end();
  }

  afterClosed(): void {}

  /** The stream was reset, by either side. */
  onStreamReset(): void {
    if (this.state === ClientState.Closed || this.connection.state === 'closed') return;
    this.streamReset = true;
    this.close();
  }

  /** Response (and so the stream) done; outside of dispatch the pool is told at once. */
  onStreamOver(): void {
    if (!this.dispatching && this.connection.state === 'open') this.finishStream();
  }

  private finishStream(): void {
    const stream = this.stream;
    const reusable = stream.requestComplete && !stream.closeConnection;
    stream.end();
    if (this.readDisables > 0) this.resumeReading();
    this.http.finish(this, reusable);
  }
}

/** Between router and codec: forwards both ways and sees when a stream is over. Reused for every request of its connection. */
class Http1Stream implements ResponseDecoder, RequestEncoder, StreamCallbacks {
  requestComplete = false;
  responseComplete = false;
  closeConnection = false;
  private readonly client: Http1Client;
  private decoder: ResponseDecoder = NO_DECODER;
  private encoder: RequestEncoder | null = null;

  constructor(client: Http1Client) {
    this.client = client;
  }

  begin(decoder: ResponseDecoder): RequestEncoder {
    this.requestComplete = false;
    this.responseComplete = false;
    this.closeConnection = false;
    this.decoder = decoder;
    const encoder = this.client.codec.newStream(this);
    this.encoder = encoder;
    encoder.stream.addCallbacks(this);
    return this;
  }

  /** Lets go of the router's and the codec's objects. */
  end(): void {
    this.decoder = NO_DECODER;
    this.encoder?.stream.removeCallbacks(this);
  }

  get over(): boolean {
    return this.responseComplete && this.client.active;
  }

  // --- RequestEncoder ---

  get stream(): CodecStream {
    return this.codecEncoder().stream;
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): string | null {
    if (endStream) this.requestComplete = true;
    return this.codecEncoder().encodeHeaders(headers, endStream);
  }

  encodeData(data: SliceBuffer, endStream: boolean): void {
    if (endStream) this.requestComplete = true;
    this.codecEncoder().encodeData(data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): void {
    this.requestComplete = true;
    this.codecEncoder().encodeTrailers(trailers);
  }

  private codecEncoder(): RequestEncoder {
    if (this.encoder === null) throw new Error('an upstream stream was used before it began');
    return this.encoder;
  }

  // --- ResponseDecoder ---

  decode1xxHeaders(headers: HeaderMap): void {
    this.decoder.decode1xxHeaders(headers);
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    const codec = this.client.codec;
    if (!codec.responseKeepsAlive) {
      this.closeConnection = true;
      if (saysClose(headers, codec.protocol)) this.client.pool.stats.upstreamCxCloseNotify.inc();
    }
    this.responseComplete = endStream;
    this.decoder.decodeHeaders(headers, endStream);
    if (endStream) this.client.onStreamOver();
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    this.responseComplete = endStream;
    this.decoder.decodeData(data, endStream);
    if (endStream) this.client.onStreamOver();
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.responseComplete = true;
    this.decoder.decodeTrailers(trailers);
    this.client.onStreamOver();
  }

  // --- StreamCallbacks ---

  onResetStream(): void {
    this.client.onStreamReset();
  }

  onAboveWriteBufferHighWatermark(): void {}

  onBelowWriteBufferLowWatermark(): void {}
}

const NO_DECODER: ResponseDecoder = {
  decode1xxHeaders: (headers) => headers.release(),
  decodeHeaders: (headers) => headers.release(),
  decodeData: (data) => data.clear(),
  decodeTrailers: (trailers) => trailers.release(),
};

/** Whether a response says that the connection ends (Envoy: HeaderUtility::shouldCloseConnection). */
function saysClose(headers: HeaderMap, protocol: Protocol): boolean {
  const connection = headers.getId(H['connection']);
  if (protocol === 'HTTP/1.0') return !hasToken(connection, 'keep-alive');
  return hasToken(connection, 'close') || hasToken(headers.getId(H['proxy-connection']), 'close');
}

function hasToken(value: string | undefined, token: string): boolean {
  return (value ?? '')
    .toLowerCase()
    .split(',')
    .some((part) => part.trim() === token);
}

const REQUEST_TIMEOUT = ' 408';

function isRequestTimeout(data: SliceBuffer): boolean {
  if (data.length < 12) return false;
  for (let i = 0; i < 4; i++) if (data.byteAt(8 + i) !== REQUEST_TIMEOUT.charCodeAt(i)) return false;
  return true;
}
