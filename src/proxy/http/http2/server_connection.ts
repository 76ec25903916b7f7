/** The downstream side of HTTP/2 (RFC 9113; Envoy: Http2::ServerConnectionImpl): requests in, many at a time, responses out. */
import type { Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import {
  type CodecError,
  type RequestDecoder,
  type ServerConnection,
  type ServerConnectionCallbacks,
  StreamResetReason,
} from '../codec.ts';
import { HeaderMap } from '../header_map.ts';
import { ErrorCode, MAX_STREAM_ID, PREFACE, readUint32, Setting } from './frame.ts';
import type { Http2Transport } from './frame_writer.ts';
import { checkRequest, checkTrailers } from './header_rules.ts';
import { Http2InboundConnection } from './inbound_connection.ts';
import { Http2ServerStream } from './server_stream.ts';
import { Details, type Http2Settings, type Http2Stats } from './settings.ts';

/** Stream objects that wait to be used again: one stock for all connections of a listener's worker. */
export type ServerStreamStock = Http2ServerStream[];
const MAX_STOCK = 1024;

export class Http2ServerConnection extends Http2InboundConnection implements ServerConnection {
  private readonly callbacks: ServerConnectionCallbacks;
  private readonly stock: ServerStreamStock;
  /** Streams that ended in this dispatch: used again after it. */
  private readonly ended: Http2ServerStream[] = [];
  private prefaceLeft = PREFACE.length;
  /** Streams beyond this one are not taken: GOAWAY named it. */
  private lastAccepted = MAX_STREAM_ID;
  /** Decoded to when no stream will take it. */
  private readonly discarded: HeaderMap;
  private opening: Http2ServerStream | null = null;
  private readonly nothing: SliceBuffer;

  constructor(
    transport: Http2Transport,
    slab: Slab,
    callbacks: ServerConnectionCallbacks,
    settings: Http2Settings,
    stats: Http2Stats,
    stock: ServerStreamStock,
  ) {
    super(transport, slab, settings, stats);
    this.callbacks = callbacks;
    this.stock = stock;
    this.discarded = new HeaderMap(slab);
    this.nothing = new SliceBuffer(slab);
  }

  override dispatch(data: SliceBuffer): CodecError | null {
    const ended = this.ended;
    while (ended.length > 0) {
      const stream = ended.pop() as Http2ServerStream;
      if (this.stock.length < MAX_STOCK) this.stock.push(stream);
    }
    return super.dispatch(data);
  }

  /**
   * The request that asked for h2c, with the SETTINGS it carried, is stream 1 (RFC 7540 3.2): its encoder. Null when the settings are wrong.
   * The client's preface follows.
   */
  upgrade(settings: Uint8Array, decoder: RequestDecoder): Http2ServerStream | null {
    for (let at = 0; at < settings.length; at += 6) {
      if (this.peer.apply((settings[at] << 8) | settings[at + 1], readUint32(settings, at + 2)) !== null) return null;
    }
    const stream = this.stock.pop() ?? new Http2ServerStream(this);
    this.lastPeerStream = 1;
    this.open(stream, 1);
    this.streams.set(1, stream);
    stream.remoteEnd = true;
    stream.isUpgrade = false;
    stream.decoder = decoder;
    // SETTINGS come before the response; they leave with it, behind the 101.
    this.start();
    return stream;
  }

  /** For the stream. */
  sendHead(stream: Http2ServerStream, headers: HeaderMap, status: number, endStream: boolean): void {
    this.writer.responseHead(stream, headers, status, endStream);
    this.flush();
  }

  shutdownNotice(): void {
    if (this.finished) return;
    this.start();
    this.writer.goAway(MAX_STREAM_ID, ErrorCode.NoError);
    this.flush();
  }

  goAway(): void {
    if (this.finished) return;
    this.start();
    this.lastAccepted = this.lastPeerStream;
    this.writer.goAway(this.lastPeerStream, ErrorCode.NoError);
    this.flush();
  }

  onConnectionClosed(): void {
    this.end(StreamResetReason.ConnectionTermination, '');
    this.ended.length = 0;
  }

  protected get prefaceComplete(): boolean {
    return this.prefaceLeft === 0;
  }

  protected readPreface(data: SliceBuffer): boolean {
    const length = Math.min(this.prefaceLeft, data.length);
    const from = PREFACE.length - this.prefaceLeft;
    for (let i = 0; i < length; i++) if (data.byteAt(i) !== PREFACE[from + i]) return false;
    data.drain(length);
    this.prefaceLeft -= length;
    return true;
  }

  protected writePreface(): void {
    const settings = this.settings;
    const list: (readonly [number, number])[] = [
      [Setting.MaxConcurrentStreams, settings.maxConcurrentStreams],
      [Setting.InitialWindowSize, settings.initialStreamWindowSize],
    ];
    if (settings.hpackTableSize !== 4096) list.push([Setting.HeaderTableSize, settings.hpackTableSize]);
    if (settings.allowConnect) list.push([Setting.EnableConnectProtocol, 1]);
    this.writeSettings([...list, ...settings.customSettings]);
  }

  protected isIdle(streamId: number): boolean {
    return (streamId & 1) === 0 || streamId > this.lastPeerStream;
  }

  protected headersFor(streamId: number): HeaderMap {
    if (streamId <= this.lastPeerStream) {
      const stream = this.streams.get(streamId);
      if (stream === undefined) return this.discarded;
      if (stream.trailersReceived === null || stream.trailersReceived.inUse) stream.trailersReceived = new HeaderMap(this.slab);
      return stream.trailersReceived;
    }
    const stream = (this.opening = this.stock.pop() ?? new Http2ServerStream(this));
    stream.id = 0;
    if (stream.headers.inUse) stream.headers = new HeaderMap(this.slab);
    return stream.headers;
  }

  protected onHeaderBlock(streamId: number, endStream: boolean): CodecError | null {
    const opening = this.opening;
    if (opening === null) return this.onTrailers(streamId, endStream);
    this.opening = null;
    const error = this.onRequest(opening, streamId, endStream);
    if (opening.decoder === null && opening.closed && opening.id !== streamId) {
      // Never became a stream.
      opening.headers.release();
      this.stock.push(opening);
    }
    return error;
  }

  private onRequest(stream: Http2ServerStream, streamId: number, endStream: boolean): CodecError | null {
    if ((streamId & 1) === 0) return this.fail(ErrorCode.ProtocolError, 'a client stream has an odd number');
    // RFC 9113 6.8: what GOAWAY excluded is not processed, and safe to try again.
    this.lastPeerStream = streamId;
    if (streamId > this.lastAccepted) {
      this.writeReset(streamId, ErrorCode.RefusedStream);
      return null;
    }
    const hpack = this.hpackDecoder;
    const settings = this.settings;
    if (this.activeStreams >= settings.maxConcurrentStreams) {
      this.stats.streamRefusedErrors.inc();
      this.stats.txReset.inc();
      this.limits.openedStreams++;
      this.writeReset(streamId, ErrorCode.RefusedStream);
      return null;
    }
    let problem: string | null = hpack.overLimit ? null : checkRequest(hpack, stream.headers, settings.allowConnect);
    if (hpack.overLimit && hpack.malformed) problem = Details.InvalidHeaderField;
    if (problem === null && !hpack.overLimit && endStream && hpack.contentLength > 0) problem = Details.MessagingRule;
    if (problem !== null) {
      this.stats.rxMessagingError.inc();
      this.limits.openedStreams++;
      if (!settings.streamErrorOnInvalidHttpMessage) return this.fail(ErrorCode.ProtocolError, problem);
      this.stats.txReset.inc();
      this.writeReset(streamId, ErrorCode.ProtocolError);
      return null;
    }
    this.beginStream(stream, streamId, endStream);
    return null;
  }

  private beginStream(stream: Http2ServerStream, streamId: number, endStream: boolean): void {
    const hpack = this.hpackDecoder;
    const headers = stream.headers;
    const underscores = hpack.underscores;
    // `begin` would replace a map that is in use.
    stream.headers = this.discarded;
    this.open(stream, streamId);
    stream.headers = headers;
    this.streams.set(streamId, stream);
    stream.remoteEnd = endStream;
    stream.isUpgrade = (hpack.pseudo & PROTOCOL_BIT) !== 0;
    if (!endStream) stream.expectedBytes = hpack.contentLength;
    stream.headerBytesReceived = this.headerBlockBytes;
    stream.bytesReceived = this.headerBlockBytes;
    const decoder = this.callbacks.newStream(stream);
    if (stream.closed || stream.id !== streamId) {
      headers.release();
      return;
    }
    stream.decoder = decoder;
    if (hpack.overLimit) {
      this.stats.headerOverflow.inc();
      this.refuse(stream, decoder, 431, 'Request Header Fields Too Large', Details.TooManyHeaders);
      return;
    }
    if (underscores > 0) {
      if (this.settings.headersWithUnderscoresAction === 'REJECT_REQUEST') {
        this.stats.requestsRejectedWithUnderscoresInHeaders.inc();
        this.refuse(stream, decoder, 400, 'Bad Request', Details.UnexpectedUnderscore);
        return;
      }
      if (this.settings.headersWithUnderscoresAction === 'DROP_HEADER') this.stats.droppedHeadersWithUnderscores.add(underscores);
    }
    decoder.decodeHeaders(headers, endStream);
    if (stream.id === streamId) this.closeIfDone(stream);
  }

  private refuse(stream: Http2ServerStream, decoder: RequestDecoder, status: number, body: string, details: string): void {
    stream.headers.release();
    decoder.sendLocalReply(status, body, details);
  }

  private onTrailers(streamId: number, endStream: boolean): CodecError | null {
    const stream = this.streams.get(streamId) as Http2ServerStream | undefined;
    const hpack = this.hpackDecoder;
    if (stream === undefined) {
      this.discarded.release();
      if (this.wasReset(streamId)) return null;
      return this.fail(ErrorCode.StreamClosed, 'HEADERS on a closed stream');
    }
    const trailers = stream.trailersReceived as HeaderMap;
    if (stream.remoteEnd) {
      trailers.release();
      this.streamError(stream, ErrorCode.StreamClosed);
      return null;
    }
    stream.bytesReceived += this.headerBlockBytes;
    const short = stream.expectedBytes >= 0 && stream.receivedBytes !== stream.expectedBytes;
    if (!endStream || short || checkTrailers(hpack) !== null) {
      trailers.release();
      return this.messageError(stream, Details.MessagingRule);
    }
    stream.remoteEnd = true;
    if (hpack.overLimit) {
      trailers.release();
      this.stats.headerOverflow.inc();
      this.streamError(stream, ErrorCode.EnhanceYourCalm);
      return null;
    }
    const decoder = stream.decoder;
    if (decoder === null) trailers.release();
    else if (trailers.size === 0) {
      trailers.release();
      stream.onData(this.nothing, true);
    } else {
      this.stats.trailers.inc();
      decoder.decodeTrailers(trailers);
    }
    if (stream.id === streamId) this.closeIfDone(stream);
    return null;
  }

  protected override onFlushed(): void {
    this.callbacks.onStreamsFlushed?.();
  }

  /** A client's GOAWAY changes nothing: it may still wait for its responses. */
  protected onGoAwayFrame(): void {}

  protected onSettingsChanged(): void {}

  protected recycle(stream: Http2ServerStream): void {
    this.ended.push(stream);
  }
}

const PROTOCOL_BIT = 1 << 6;
