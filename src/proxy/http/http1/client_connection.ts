/**
 * The upstream side of HTTP/1.1 (Envoy: Http1::ClientConnectionImpl): one request out, its response in, then the next.
 *
 * Interim responses go to `decode1xxHeaders`. A response ends by its framing, or with the connection. Bytes that belong to no
 * response are an error (premature_response): the connection cannot be trusted any more.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Protocol } from '../../stream_info/stream_info.ts';
import {
  type ClientConnection,
  CodecError,
  type CodecTransport,
  type RequestEncoder,
  type ResponseDecoder,
  type StreamResetReason,
} from '../codec.ts';
import { HeaderMap } from '../header_map.ts';
import { BodyDecoder, BodyKind, LONG_BODY_BYTES } from './body_decoder.ts';
import { COMPLETE, CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, FAILED, HeadParser, INCOMPLETE, MessageKind } from './head_parser.ts';
import { HeadReader } from './head_reader.ts';
import { Http1RequestEncoder } from './request_encoder.ts';
import { responseBody } from './response_rules.ts';
import { Details, type Http1Settings, type Http1Stats } from './settings.ts';

const Phase = { Head: 0, Body: 1, Finished: 2 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class Http1ClientConnection implements ClientConnection {
  readonly slab: Slab;
  readonly settings: Http1Settings;
  private readonly transport: CodecTransport;
  private readonly parser: HeadParser;
  private readonly reader: HeadReader;
  private readonly bodyDecoder: BodyDecoder;
  private readonly encoder: Http1RequestEncoder;
  private readonly body: SliceBuffer;
  private phase: Phase = Phase.Head;
  private decoder: ResponseDecoder | null = null;
  private headers: HeaderMap;
  private trailers: HeaderMap | null = null;
  private aboveWatermark = false;
  private closeDelimited = false;

  /** Of the response that was read last. */
  protocol: Protocol = 'HTTP/1.1';

  constructor(transport: CodecTransport, slab: Slab, settings: Http1Settings, stats: Http1Stats) {
    this.slab = slab;
    this.settings = settings;
    this.transport = transport;
    this.headers = new HeaderMap(slab);
    this.parser = new HeadParser(settings, stats, this.headers);
    this.reader = new HeadReader(this.parser, slab, settings.maxHeadersKb * 1024);
    this.bodyDecoder = new BodyDecoder(this.reader);
    this.encoder = new Http1RequestEncoder(this, transport, slab, settings, stats);
    this.body = new SliceBuffer(slab);
  }

  /**
   * Whether the connection may carry another request after the response that was read last: not after `connection: close`, HTTP/1.0
   * without `keep-alive`, a response that ends with the connection, an upgrade, an error or a reset.
   */
  get responseKeepsAlive(): boolean {
    const flags = this.parser.connectionFlags;
    return (
      this.phase !== Phase.Finished &&
      !this.closeDelimited &&
      (flags & CONNECTION_CLOSE) === 0 &&
      (this.protocol === 'HTTP/1.1' || (flags & CONNECTION_KEEP_ALIVE) !== 0)
    );
  }

  /** Request and response of the last stream are complete: `newStream` may be called. */
  get idle(): boolean {
    return this.phase === Phase.Head && this.decoder === null && this.encoder.ended;
  }

  newStream(decoder: ResponseDecoder): RequestEncoder {
    if (!this.idle) throw new Error('http1: newStream while a request is under way, or after the connection ended');
    this.decoder = decoder;
    this.encoder.beginRequest(this.aboveWatermark);
    return this.encoder;
  }

  dispatch(data: SliceBuffer): CodecError | null {
    while (data.length > 0) {
      if (this.phase === Phase.Finished) {
        data.clear();
        return null;
      }
      // A response before the request's head went out answers something else.
      if (this.decoder === null || !this.encoder.headersEncoded) {
        data.clear();
        this.end();
        return new CodecError('premature_response', Details.PrematureResponse);
      }
      const error = this.phase === Phase.Head ? this.readHead(data) : this.readBody(data);
      if (error !== null) return error;
    }
    if (this.phase === Phase.Body) this.announceBody();
    return null;
  }

  /** What follows is read by nobody on the way. */
  private announceBody(): void {
    const ahead = this.bodyDecoder.payloadAhead;
    if (ahead >= LONG_BODY_BYTES) this.transport.opaqueAhead?.(ahead);
  }

  onConnectionClosed(reason: StreamResetReason, transportFailureReason: string): boolean {
    const decoder = this.decoder;
    const complete = decoder === null || (this.phase === Phase.Body && this.closeDelimited);
    this.decoder = null;
    this.end();
    if (decoder === null) return true;
    if (complete) decoder.decodeData(this.body, true);
    else this.encoder.runResetCallbacks(reason, transportFailureReason);
    return complete;
  }

  onUnderlyingConnectionAboveWriteBufferHighWatermark(): void {
    this.aboveWatermark = true;
    if (!this.encoder.ended) this.encoder.onAboveWatermark();
  }

  onUnderlyingConnectionBelowWriteBufferLowWatermark(): void {
    this.aboveWatermark = false;
    // Also when the request is complete: who was told to stop reading the client must go on, or its leaving would not be noticed.
    if (this.decoder !== null) this.encoder.onBelowWatermark();
  }

  shutdownNotice(): void {}

  goAway(): void {}

  /** For the encoder. */
  onRequestComplete(): void {}

  /** For the encoder: the stream is gone, and with it the connection. */
  onStreamReset(): boolean {
    if (this.decoder === null && this.encoder.ended) return false;
    this.decoder = null;
    this.end();
    return true;
  }

  private readHead(data: SliceBuffer): CodecError | null {
    if (!this.reader.partial && this.headers.inUse) this.headers = new HeaderMap(this.slab);
    const headers = this.headers;
    const result = this.reader.read(data, MessageKind.Response, headers);
    if (result === INCOMPLETE) return null;
    if (result === FAILED) return this.fail(this.parser.errorDetails);
    return this.onHead(headers);
  }

  private onHead(headers: HeaderMap): CodecError | null {
    const parser = this.parser;
    const encoder = this.encoder;
    const decoder = this.decoder as ResponseDecoder;
    const status = parser.status;
    this.protocol = parser.isHttp11 ? 'HTTP/1.1' : 'HTTP/1.0';
    encoder.headerBytesReceived += this.reader.size;
    encoder.bytesReceived += this.reader.size;
    const kind = responseBody(parser, headers, this.settings, encoder.isHead, encoder.isConnect, encoder.isUpgrade);
    if (typeof kind === 'string') return this.fail(kind);

    if (status < 200 && status !== 101) {
      if (status === 100 || (status >= 102 && status <= 104)) decoder.decode1xxHeaders(headers);
      else headers.release();
      return null;
    }
    this.closeDelimited = kind === BodyKind.UntilClose;
    if (kind === BodyKind.None) {
      this.decoder = null;
      decoder.decodeHeaders(headers, true);
      return null;
    }
    this.bodyDecoder.begin(kind, Math.max(parser.contentLength, 0));
    if (kind === BodyKind.Chunked) {
      if (this.trailers === null || this.trailers.inUse) this.trailers = new HeaderMap(this.slab);
      this.bodyDecoder.trailers = this.trailers;
    }
    this.phase = Phase.Body;
    decoder.decodeHeaders(headers, false);
    return null;
  }

  private readBody(data: SliceBuffer): CodecError | null {
    const before = data.length;
    const result = this.bodyDecoder.decode(data, this.body);
    this.encoder.bytesReceived += before - data.length;
    if (result === FAILED) {
      this.body.clear();
      this.trailers?.release();
      return this.fail(this.bodyDecoder.failedInTrailers ? this.parser.errorDetails : Details.CodecError);
    }
    if (result === COMPLETE) this.completeBody();
    else if (this.body.length > 0) this.deliver(this.decoder as ResponseDecoder, false);
    return null;
  }

  private completeBody(): void {
    const decoder = this.decoder as ResponseDecoder;
    const trailers = this.bodyDecoder.kind === BodyKind.Chunked ? this.trailers : null;
    const keepTrailers = trailers !== null && this.settings.enableTrailers && trailers.size > 0;
    if (!keepTrailers) trailers?.release();
    else if (this.body.length > 0) {
      this.deliver(decoder, false);
      // The stream may have been reset while it got the data.
      if (this.decoder !== decoder) {
        trailers.release();
        return;
      }
    }
    this.phase = Phase.Head;
    this.decoder = null;
    if (keepTrailers) decoder.decodeTrailers(trailers);
    else this.deliver(decoder, true);
  }

  private deliver(decoder: ResponseDecoder, endStream: boolean): void {
    decoder.decodeData(this.body, endStream);
    this.body.clear();
  }

  private fail(details: string): CodecError {
    if (this.phase === Phase.Head) this.headers.release();
    this.end();
    return new CodecError('protocol', details);
  }

  /** The stream that waits, if any, is reset by whoever closes the connection now. */
  private end(): void {
    if (this.phase === Phase.Head && this.reader.partial) this.headers.release();
    this.reader.release();
    this.body.clear();
    this.phase = Phase.Finished;
  }
}
