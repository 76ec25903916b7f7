/** The upstream side of HTTP/2 (RFC 9113; Envoy: Http2::ClientConnectionImpl): many requests out, their responses in. */
import type { Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import {
  type ClientConnection,
  type ClientConnectionCallbacks,
  type CodecError,
  type RequestEncoder,
  type ResponseDecoder,
  StreamResetReason,
} from '../codec.ts';
import { headerEquals, statusOf } from '../conn_manager/header_bytes.ts';
import { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { ErrorCode, PREFACE, Setting } from './frame.ts';
import type { Http2Transport } from './frame_writer.ts';
import { checkResponse, checkTrailers, responseToUpgrade, upgradeToConnect } from './header_rules.ts';
import { Http2InboundConnection } from './inbound_connection.ts';
import { Details, type Http2Settings, type Http2Stats } from './settings.ts';
import { Http2Stream } from './stream.ts';

export interface Http2ClientCallbacks extends ClientConnectionCallbacks {
  /** The stream is over, whoever ended it; its object must not be used any more. */
  onStreamClosed(): void;
  /** `streamLimit` may have changed. */
  onStreamLimit(): void;
}

const MAX_STOCK = 128;

export class Http2ClientStream extends Http2Stream implements RequestEncoder {
  decoder: ResponseDecoder | null = null;
  isHead = false;
  isConnect = false;
  /** The protocol of an upgrade that goes out as extended CONNECT. */
  upgrade = '';
  websocketKey = '';
  responseStarted = false;
  /** Extended CONNECT that waits for the peer's SETTINGS: its head; what follows is held. */
  waiting: HeaderMap | null = null;

  encodeHeaders(headers: HeaderMap, endStream: boolean): string | null {
    if (this.closed || this.headersEncoded) return null;
    return (this.connection as Http2ClientConnection).sendRequest(this, headers, endStream);
  }

  override encodeData(data: SliceBuffer, endStream: boolean): void {
    if (this.waiting === null || this.closed || this.endQueued) {
      super.encodeData(data, endStream);
      return;
    }
    this.pending.move(data);
    if (endStream) this.endQueued = true;
    this.checkPending();
  }

  override encodeTrailers(trailers: HeaderMap): void {
    if (this.waiting === null || this.closed || this.endQueued) {
      super.encodeTrailers(trailers);
      return;
    }
    this.endQueued = true;
    this.pendingTrailers = trailers.clone();
  }

  onData(data: SliceBuffer, endStream: boolean): void {
    const decoder = this.decoder;
    if (decoder === null) return;
    decoder.decodeData(data, endStream);
    if (endStream) this.onResponseEnd(decoder);
  }

  /** A response that is complete before its request: the rest is not wanted (RFC 9113 8.1). */
  onResponseEnd(decoder: ResponseDecoder): void {
    if (this.closed || this.decoder !== decoder || this.localEnd) return;
    this.connection.sendReset(this, ErrorCode.Cancel);
    this.connection.closeStream(this);
  }

  override dispose(): void {
    super.dispose();
    this.waiting = null;
    this.decoder = null;
  }

  protected onEndQueued(): void {
    this.connection.closeIfDone(this);
  }

  protected deferReset(): boolean {
    return false;
  }

  protected localResetCode(): ErrorCode {
    return ErrorCode.Cancel;
  }
}

export class Http2ClientConnection extends Http2InboundConnection implements ClientConnection {
  private readonly callbacks: Http2ClientCallbacks;
  private readonly stock: Http2ClientStream[] = [];
  private readonly ended: Http2ClientStream[] = [];
  /** Streams that are told what the peer allows, in the order of their requests. */
  private readonly waiting: Http2ClientStream[] = [];
  private nextStreamId = 1;
  private going = false;
  private readonly discarded: HeaderMap;
  private readonly nothing: SliceBuffer;

  constructor(
    transport: Http2Transport,
    slab: Slab,
    callbacks: Http2ClientCallbacks,
    settings: Http2Settings,
    stats: Http2Stats,
  ) {
    super(transport, slab, settings, stats);
    this.callbacks = callbacks;
    this.discarded = new HeaderMap(slab);
    this.nothing = new SliceBuffer(slab);
  }

  /** How many streams may be open at a time. */
  get streamLimit(): number {
    return this.going ? 0 : Math.min(this.settings.maxConcurrentStreams, this.peer.maxStreams);
  }

  /** The peer's SETTINGS arrived. */
  get knowsPeer(): boolean {
    return this.peer.seen;
  }

  /** The peer will not take further streams. */
  get goingAway(): boolean {
    return this.going;
  }

  newStream(decoder: ResponseDecoder): RequestEncoder {
    const stream = this.stock.pop() ?? new Http2ClientStream(this);
    this.open(stream, 0);
    stream.decoder = decoder;
    stream.isHead = false;
    stream.isConnect = false;
    stream.upgrade = '';
    stream.responseStarted = false;
    stream.waiting = null;
    return stream;
  }

  override dispatch(data: SliceBuffer): CodecError | null {
    const ended = this.ended;
    while (ended.length > 0) {
      const stream = ended.pop() as Http2ClientStream;
      if (this.stock.length < MAX_STOCK) this.stock.push(stream);
    }
    const error = super.dispatch(data);
    if (error !== null) this.going = true;
    return error;
  }

  /** For the stream. Numbers are given in the order in which requests go out. */
  sendRequest(stream: Http2ClientStream, headers: HeaderMap, endStream: boolean): string | null {
    if (!headers.hasId(H[':method'])) return 'missing required header: :method';
    stream.isHead = headerEquals(headers, H[':method'], 'HEAD');
    stream.isConnect = headerEquals(headers, H[':method'], 'CONNECT');
    if (stream.isConnect) {
      if (!headers.hasId(H[':authority'])) return 'missing required header: :authority';
    } else if (!headers.hasId(H[':path'])) return 'missing required header: :path';
    this.start();
    let out = headers;
    if (headers.hasId(H.upgrade) && headers.hasId(H.connection)) {
      // The caller's map stays as it is: a retry may go over HTTP/1.
      out = headers.clone();
      const protocol = headers.getId(H.upgrade) as string;
      stream.websocketKey = headers.getId(H['sec-websocket-key']) ?? '';
      if (upgradeToConnect(out)) stream.upgrade = protocol;
      if (stream.upgrade !== '' && !this.peer.allowsConnect) {
        // RFC 8441 3: must not be sent to a peer that did not announce it, so its SETTINGS are waited for.
        if (this.peer.seen) stream.resetStream(StreamResetReason.ConnectError);
        else this.wait(stream, out);
        return null;
      }
    }
    if (!stream.isConnect && !out.hasId(H[':scheme'])) {
      if (out === headers) out = headers.clone();
      out.addId(H[':scheme'], 'http');
    }
    if (stream.isConnect && stream.upgrade === '' && (headers.hasId(H[':scheme']) || headers.hasId(H[':path']))) {
      if (out === headers) out = headers.clone();
      out.removeId(H[':scheme']);
      out.removeId(H[':path']);
    }
    stream.headersEncoded = true;
    if (endStream) stream.endQueued = true;
    this.beginRequest(stream, out, endStream);
    this.flush();
    return null;
  }

  private beginRequest(stream: Http2ClientStream, headers: HeaderMap, endStream: boolean): void {
    stream.id = this.nextStreamId;
    this.nextStreamId += 2;
    this.streams.set(stream.id, stream);
    this.writer.requestHead(stream, headers, endStream);
  }

  private wait(stream: Http2ClientStream, headers: HeaderMap): void {
    if (!headers.hasId(H[':scheme'])) headers.addId(H[':scheme'], 'http');
    stream.headersEncoded = true;
    stream.waiting = headers;
    this.waiting.push(stream);
  }

  /** The peer's SETTINGS are here. */
  private sendWaiting(): void {
    for (const stream of this.waiting.splice(0)) {
      const headers = stream.waiting;
      // It may have ended, and its object may wait a second time.
      if (headers === null || stream.closed) continue;
      stream.waiting = null;
      if (!this.peer.allowsConnect) {
        stream.resetStream(StreamResetReason.ConnectError);
        continue;
      }
      // The window was that of a peer who had not spoken.
      stream.sendWindow = this.peer.initialWindow;
      this.beginRequest(stream, headers, false);
      if (stream.pending.length > 0) this.sender.sendPending(stream);
      else if (stream.pendingTrailers !== null) {
        const trailers = stream.pendingTrailers;
        stream.pendingTrailers = null;
        this.sendTrailers(stream, trailers);
      } else if (stream.endQueued) this.sender.send(stream, this.nothing);
    }
  }

  private endWaiting(reason: StreamResetReason, transportFailureReason: string): void {
    for (const stream of this.waiting.splice(0)) {
      if (stream.waiting === null || stream.closed) continue;
      stream.runResetCallbacks(reason, transportFailureReason);
      this.closeStream(stream);
    }
  }

  shutdownNotice(): void {}

  goAway(): void {
    if (this.finished) return;
    this.start();
    this.writer.goAway(0, ErrorCode.NoError);
    this.flush();
  }

  onConnectionClosed(reason: StreamResetReason, transportFailureReason: string): boolean {
    const complete = this.activeStreams === 0 && this.waiting.length === 0;
    this.going = true;
    this.endWaiting(reason, transportFailureReason);
    this.end(reason, transportFailureReason);
    this.ended.length = 0;
    this.stock.length = 0;
    return complete;
  }

  protected readonly prefaceComplete = true;

  protected readPreface(): boolean {
    return true;
  }

  protected writePreface(): void {
    const settings = this.settings;
    const list: (readonly [number, number])[] = [
      [Setting.EnablePush, 0],
      [Setting.MaxConcurrentStreams, settings.maxConcurrentStreams],
      [Setting.InitialWindowSize, settings.initialStreamWindowSize],
    ];
    if (settings.hpackTableSize !== 4096) list.push([Setting.HeaderTableSize, settings.hpackTableSize]);
    this.writer.raw(PREFACE);
    this.writeSettings([...list, ...settings.customSettings]);
  }

  protected isIdle(streamId: number): boolean {
    return (streamId & 1) === 0 || streamId >= this.nextStreamId;
  }

  protected headersFor(streamId: number): HeaderMap {
    const stream = this.streams.get(streamId) as Http2ClientStream | undefined;
    if (stream === undefined) return this.discarded;
    if (!stream.responseStarted) {
      if (stream.headers.inUse) stream.headers = new HeaderMap(this.slab);
      return stream.headers;
    }
    if (stream.trailersReceived === null || stream.trailersReceived.inUse) stream.trailersReceived = new HeaderMap(this.slab);
    return stream.trailersReceived;
  }

  protected onHeaderBlock(streamId: number, endStream: boolean): CodecError | null {
    const stream = this.streams.get(streamId) as Http2ClientStream | undefined;
    if (stream === undefined) {
      this.discarded.release();
      if (this.isIdle(streamId)) return this.fail(ErrorCode.ProtocolError, 'HEADERS on an idle stream');
      if (!this.wasReset(streamId)) this.stats.headersCbNoStream.inc();
      return null;
    }
    stream.bytesReceived += this.headerBlockBytes;
    if (stream.responseStarted) return this.onTrailers(stream, streamId, endStream);
    stream.headerBytesReceived += this.headerBlockBytes;
    const headers = stream.headers;
    const hpack = this.hpackDecoder;
    const decoder = stream.decoder;
    if (hpack.overLimit) {
      headers.release();
      this.stats.headerOverflow.inc();
      this.streamError(stream, ErrorCode.EnhanceYourCalm);
      return null;
    }
    let problem = checkResponse(hpack, headers);
    const status = problem === null ? statusOf(headers) : 0;
    // RFC 9113 8.6: 101 does not exist here, an interim response does not end anything.
    if (status === 101 || (status > 0 && status < 200 && endStream)) problem = Details.MessagingRule;
    if (problem === null && endStream && hpack.contentLength > 0 && !stream.isHead && status !== 304)
      problem = Details.MessagingRule;
    if (problem !== null || decoder === null) {
      headers.release();
      return decoder === null ? null : this.messageError(stream, problem as string);
    }
    if (status < 200) {
      decoder.decode1xxHeaders(headers);
      return null;
    }
    stream.responseStarted = true;
    if (!endStream && !stream.isHead && status !== 304) stream.expectedBytes = hpack.contentLength;
    if (stream.upgrade !== '') responseToUpgrade(headers, stream.upgrade, stream.websocketKey);
    if (endStream) stream.remoteEnd = true;
    decoder.decodeHeaders(headers, endStream);
    if (endStream && stream.id === streamId) this.afterEnd(stream, decoder);
    return null;
  }

  private onTrailers(stream: Http2ClientStream, streamId: number, endStream: boolean): CodecError | null {
    const trailers = stream.trailersReceived as HeaderMap;
    const decoder = stream.decoder;
    if (stream.remoteEnd || decoder === null) {
      trailers.release();
      this.streamError(stream, ErrorCode.StreamClosed);
      return null;
    }
    const short = stream.expectedBytes >= 0 && stream.receivedBytes !== stream.expectedBytes;
    if (!endStream || short || checkTrailers(this.hpackDecoder) !== null) {
      trailers.release();
      return this.messageError(stream, Details.MessagingRule);
    }
    if (this.hpackDecoder.overLimit) {
      trailers.release();
      this.stats.headerOverflow.inc();
      this.streamError(stream, ErrorCode.EnhanceYourCalm);
      return null;
    }
    stream.remoteEnd = true;
    if (trailers.size === 0) {
      trailers.release();
      decoder.decodeData(this.nothing, true);
    } else {
      this.stats.trailers.inc();
      decoder.decodeTrailers(trailers);
    }
    if (stream.id === streamId) this.afterEnd(stream, decoder);
    return null;
  }

  private afterEnd(stream: Http2ClientStream, decoder: ResponseDecoder): void {
    stream.onResponseEnd(decoder);
    this.closeIfDone(stream);
  }

  protected onGoAwayFrame(lastStreamId: number, _code: number): void {
    this.going = true;
    // What the peer did not process may be tried elsewhere.
    for (const stream of this.streams.toArray()) {
      if (stream.id <= lastStreamId || stream.closed) continue;
      stream.runResetCallbacks(StreamResetReason.RemoteRefusedStreamReset, '');
      this.closeStream(stream);
    }
    this.endWaiting(StreamResetReason.RemoteRefusedStreamReset, '');
    this.callbacks.onGoAway?.();
  }

  protected onSettingsChanged(): void {
    this.sendWaiting();
    this.callbacks.onStreamLimit();
  }

  protected override onStreamClosed(): void {
    this.callbacks.onStreamClosed();
  }

  protected recycle(stream: Http2ClientStream): void {
    this.ended.push(stream);
  }
}
