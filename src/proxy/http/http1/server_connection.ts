/**
 * The downstream side of HTTP/1.1 (Envoy: Http1::ServerConnectionImpl): requests in, one at a time; their responses out.
 *
 * Bytes that follow a complete request wait in the read buffer until its response is complete; reading stops only when such
 * bytes are there. Bytes after a request for an upgrade or CONNECT wait until it was accepted, so that nothing is tunnelled that the
 * upstream may read as another request. A refused request is answered through `RequestDecoder.sendLocalReply`, then `dispatch`
 * returns the error. After an error, a reset or a response that ends the connection, all further bytes are dropped.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Protocol } from '../../stream_info/stream_info.ts';
import {
  CodecError,
  type CodecTransport,
  type RequestDecoder,
  type ServerConnection,
  type ServerConnectionCallbacks,
} from '../codec.ts';
import { HeaderMap } from '../header_map.ts';
import { BodyDecoder, BodyKind, LONG_BODY_BYTES } from './body_decoder.ts';
import { CR, LF } from './bytes.ts';
import { CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, FAILED, HeadParser, INCOMPLETE, MessageKind } from './head_parser.ts';
import { HeadReader } from './head_reader.ts';
import { checkRequest } from './request_rules.ts';
import { Http1ResponseEncoder } from './response_encoder.ts';
import { Details, type Http1Settings, type Http1Stats, MAX_OUTBOUND_RESPONSES } from './settings.ts';
import { reasonPhrase } from './status_line.ts';

const Phase = {
  Head: 0,
  Body: 1,
  /** The request is complete, its response is not. */
  AwaitResponse: 2,
  /** An upgrade or CONNECT waits to be accepted. */
  AwaitUpgrade: 3,
  Raw: 4,
  Finished: 5,
  /** The connection speaks HTTP/2 now. */
  Switched: 6,
} as const;
type Phase = (typeof Phase)[keyof typeof Phase];

const SWITCHING = Buffer.from('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n', 'latin1');

export class Http1ServerConnection implements ServerConnection {
  readonly slab: Slab;
  readonly settings: Http1Settings;
  readonly transport: CodecTransport;
  private readonly callbacks: ServerConnectionCallbacks;
  private readonly stats: Http1Stats;
  private readonly parser: HeadParser;
  private readonly reader: HeadReader;
  private readonly bodyDecoder: BodyDecoder;
  private readonly encoder: Http1ResponseEncoder;
  private readonly body: SliceBuffer;
  private phase: Phase = Phase.Head;
  private decoder: RequestDecoder | null = null;
  private headers: HeaderMap;
  private trailers: HeaderMap | null = null;
  /** The head of the active request asks for an upgrade, or is CONNECT. */
  private tunnel = false;
  /** Reading was stopped because bytes wait. */
  private holding = false;
  private aboveWatermark = false;
  private outboundResponses = 0;

  /** Of the request that was read last. */
  protocol: Protocol = 'HTTP/1.1';

  constructor(
    transport: CodecTransport,
    slab: Slab,
    callbacks: ServerConnectionCallbacks,
    settings: Http1Settings,
    stats: Http1Stats,
  ) {
    this.transport = transport;
    this.slab = slab;
    this.callbacks = callbacks;
    this.settings = settings;
    this.stats = stats;
    this.headers = new HeaderMap(slab);
    this.parser = new HeadParser(settings, stats, this.headers);
    this.reader = new HeadReader(this.parser, slab, settings.maxHeadersKb * 1024);
    this.bodyDecoder = new BodyDecoder(this.reader);
    this.encoder = new Http1ResponseEncoder(this, transport, slab, settings, stats);
    this.body = new SliceBuffer(slab);
  }

  /**
   * Whether the request that was read last lets the connection live on (RFC 9112 9.3), read from its bytes: `connection: close`,
   * or HTTP/1.0 without `keep-alive`, does not.
   */
  get requestKeepsAlive(): boolean {
    const flags = this.parser.connectionFlags;
    return (flags & CONNECTION_CLOSE) === 0 && (this.protocol === 'HTTP/1.1' || (flags & CONNECTION_KEEP_ALIVE) !== 0);
  }

  /** The connection must be closed when the response is out: nothing further will be read from it. */
  get finished(): boolean {
    return this.phase === Phase.Finished;
  }

  /** Between two requests and without any state of its connection: another connection may use this codec. */
  get parkable(): boolean {
    return (
      this.phase === Phase.Head &&
      this.decoder === null &&
      !this.reader.partial &&
      !this.holding &&
      !this.aboveWatermark &&
      this.outboundResponses === 0 &&
      !this.headers.inUse
    );
  }

  /** Its connection is gone, or takes no more requests: ready for another one. False when something of its messages is still held. */
  reset(): boolean {
    if (this.decoder !== null || !this.encoder.ended || this.headers.inUse || this.trailers?.inUse === true) return false;
    this.reader.release();
    this.body.clear();
    this.holding = false;
    this.aboveWatermark = false;
    this.outboundResponses = 0;
    this.phase = Phase.Head;
    return true;
  }

  dispatch(data: SliceBuffer): CodecError | null {
    while (data.length > 0) {
      switch (this.phase) {
        case Phase.Head: {
          if (data.length === 1 && !this.reader.partial && data.byteAt(0) === CR) return null;
          const error = this.readHead(data);
          if (error !== null) return error;
          break;
        }
        case Phase.Body: {
          const error = this.readBody(data);
          if (error !== null) return error;
          break;
        }
        case Phase.Raw:
          this.encoder.bytesReceived += data.length;
          this.body.move(data);
          this.deliver(false);
          break;
        case Phase.Finished:
          data.clear();
          return null;
        case Phase.Switched:
          return null;
        default:
          this.hold();
          return null;
      }
    }
    if (this.phase === Phase.Body) this.announceBody();
    return null;
  }

  /** What follows is read by nobody on the way. */
  private announceBody(): void {
    const ahead = this.bodyDecoder.payloadAhead;
    if (ahead >= LONG_BODY_BYTES) this.transport.opaqueAhead?.(ahead);
  }

  onConnectionClosed(): boolean {
    const idle = this.decoder === null;
    this.holding = false;
    this.decoder = null;
    this.end();
    return idle;
  }

  onUnderlyingConnectionAboveWriteBufferHighWatermark(): void {
    this.aboveWatermark = true;
    if (this.decoder !== null) this.encoder.onAboveWatermark();
  }

  onUnderlyingConnectionBelowWriteBufferLowWatermark(): void {
    this.aboveWatermark = false;
    this.outboundResponses = 0;
    if (this.decoder !== null) this.encoder.onBelowWatermark();
  }

  shutdownNotice(): void {}

  goAway(): void {}

  /** For the encoder: the upgrade or CONNECT was accepted, bytes pass from now on. */
  onTunnelAccepted(): void {
    if (this.phase !== Phase.AwaitUpgrade && this.phase !== Phase.Body) return;
    this.phase = Phase.Raw;
    this.resume();
  }

  /** For the encoder: the response is complete; `close` when it ends the connection. */
  onResponseComplete(close: boolean): void {
    if (this.aboveWatermark) this.outboundResponses++;
    const requestComplete = this.phase === Phase.AwaitResponse;
    this.decoder = null;
    if (close || !requestComplete) {
      this.end();
      return;
    }
    this.phase = Phase.Head;
    this.resume();
  }

  /** For the encoder: the stream is gone, and with it the connection. */
  onStreamReset(): boolean {
    if (this.decoder === null) return false;
    this.decoder = null;
    this.end();
    return true;
  }

  private readHead(data: SliceBuffer): CodecError | null {
    if (!this.reader.partial) {
      if (data.byteAt(0) === CR && !this.skipEmptyLines(data)) return this.refuse(400, Details.CodecError);
      if (data.length === 0 || data.byteAt(0) === CR) return null;
      if (this.headers.inUse) this.headers = new HeaderMap(this.slab);
    }
    const result = this.reader.read(data, MessageKind.Request, this.headers);
    if (result === FAILED) return this.refuse(this.parser.errorStatus, this.parser.errorDetails);
    if (this.decoder === null && !this.begin()) return this.flood();
    return result === INCOMPLETE ? null : this.onHead();
  }

  /** CRLF before a request line is ignored (RFC 9112 2.2). False: something else than LF follows CR. */
  private skipEmptyLines(data: SliceBuffer): boolean {
    while (data.length > 1 && data.byteAt(0) === CR) {
      if (data.byteAt(1) !== LF) return false;
      data.drain(2);
    }
    return true;
  }

  /** Makes the stream of a request. False: too many responses wait already. */
  private begin(): boolean {
    if (this.outboundResponses > MAX_OUTBOUND_RESPONSES) return false;
    this.protocol = 'HTTP/1.1';
    this.tunnel = false;
    this.encoder.beginResponse(this.aboveWatermark);
    this.decoder = this.callbacks.newStream(this.encoder);
    return true;
  }

  private onHead(): CodecError | null {
    const parser = this.parser;
    const headers = this.headers;
    this.protocol = parser.isHttp11 ? 'HTTP/1.1' : 'HTTP/1.0';
    const refusal = checkRequest(parser, headers, this.settings);
    if (refusal !== null) return this.refuse(refusal.status, refusal.details);
    const tunnel = (this.tunnel = parser.tunnel);
    const encoder = this.encoder;
    encoder.onRequest(parser.method, tunnel, !parser.isHttp11);
    encoder.headerBytesReceived = this.reader.size;
    encoder.bytesReceived = this.reader.size;
    if (parser.http2Settings !== null && this.switchToHttp2(parser.http2Settings, headers)) return null;

    if (parser.chunked) {
      this.bodyDecoder.begin(BodyKind.Chunked, 0);
      if (this.trailers === null || this.trailers.inUse) this.trailers = new HeaderMap(this.slab);
      this.bodyDecoder.trailers = this.trailers;
      this.phase = Phase.Body;
    } else if (parser.contentLength > 0) {
      this.bodyDecoder.begin(BodyKind.Length, parser.contentLength);
      this.phase = Phase.Body;
    } else this.phase = tunnel ? Phase.AwaitUpgrade : Phase.AwaitResponse;
    const decoder = this.decoder as RequestDecoder;
    decoder.decodeHeaders(headers, this.phase === Phase.AwaitResponse);
    return null;
  }

  /** False: the request stays ours. */
  private switchToHttp2(settings: Uint8Array, headers: HeaderMap): boolean {
    const decoder = this.decoder as RequestDecoder;
    const accept = (): void => {
      this.decoder = null;
      this.end();
      this.phase = Phase.Switched;
      const response = new SliceBuffer(this.slab);
      response.append(SWITCHING);
      this.transport.write(response);
    };
    if (this.callbacks.onHttp2Upgrade?.(decoder, settings, accept) !== true) return false;
    decoder.decodeHeaders(headers, true);
    return true;
  }

  private readBody(data: SliceBuffer): CodecError | null {
    const before = data.length;
    const result = this.bodyDecoder.decode(data, this.body);
    this.encoder.bytesReceived += before - data.length;
    if (result === INCOMPLETE) {
      if (this.body.length > 0) this.deliver(false);
      return null;
    }
    if (result === FAILED) {
      this.body.clear();
      this.trailers?.release();
      const inTrailers = this.bodyDecoder.failedInTrailers;
      return this.refuse(inTrailers ? this.parser.errorStatus : 400, inTrailers ? this.parser.errorDetails : Details.CodecError);
    }
    this.completeBody();
    return null;
  }

  private completeBody(): void {
    if (this.tunnel) {
      this.phase = Phase.AwaitUpgrade;
      this.deliver(false);
      return;
    }
    this.phase = Phase.AwaitResponse;
    const trailers = this.bodyDecoder.kind === BodyKind.Chunked ? this.trailers : null;
    if (trailers === null || !trailers.inUse) {
      this.deliver(true);
      return;
    }
    if (!this.settings.enableTrailers || trailers.size === 0) {
      trailers.release();
      this.deliver(true);
      return;
    }
    const decoder = this.decoder;
    if (this.body.length > 0) this.deliver(false);
    // The stream may have ended while it got the data.
    if (this.decoder === decoder && decoder !== null) decoder.decodeTrailers(trailers);
    else trailers.release();
  }

  private deliver(endStream: boolean): void {
    this.decoder?.decodeData(this.body, endStream);
    this.body.clear();
  }

  /** Answers (unless the response began) and gives the connection up. */
  private refuse(status: number, details: string): CodecError {
    if (this.decoder === null && !this.begin()) return this.flood();
    // Never handed over when this is a head; in a body it is the receiver's.
    if (this.phase === Phase.Head) this.headers.release();
    const decoder = this.decoder as RequestDecoder;
    if (!this.encoder.headersEncoded) decoder.sendLocalReply(status, reasonPhrase(status), details);
    this.end();
    return new CodecError('protocol', details);
  }

  private flood(): CodecError {
    this.stats.responseFlood.inc();
    this.headers.release();
    this.end();
    return new CodecError('flood', Details.ResponseFlood);
  }

  private hold(): void {
    if (this.holding) return;
    this.holding = true;
    this.transport.readDisable(true);
  }

  private resume(): void {
    if (!this.holding) return;
    this.holding = false;
    this.transport.readDisable(false);
  }

  private end(): void {
    if (this.phase === Phase.Head && this.reader.partial) this.headers.release();
    this.reader.release();
    this.body.clear();
    this.phase = Phase.Finished;
    this.resume();
  }
}
