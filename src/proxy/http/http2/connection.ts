/**
 * An HTTP/2 connection (RFC 9113), what both sides have in common (Envoy: Http2::ConnectionImpl): its streams, their errors and ends, and
 * what they send. `Http2InboundConnection` adds the frames that come in, the two sides what they mean.
 *
 * Bytes in, bytes out; no I/O, no clock. What is written while bytes are dispatched goes to the transport once, at the end.
 *
 * Left out: server push (refused), priorities (read and ignored), METADATA frames (ignored).
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Protocol } from '../../stream_info/stream_info.ts';
import { CodecError, type HttpConnection, StreamResetReason } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { DataSender } from './data_sender.ts';
import { ErrorCode } from './frame.ts';
import { FrameWriter, type Http2Transport } from './frame_writer.ts';
import { InboundLimits } from './inbound_limits.ts';
import { PeerSettings } from './peer_settings.ts';
import { ReceiveWindow } from './receive_window.ts';
import type { Http2Settings, Http2Stats } from './settings.ts';
import type { Http2Stream } from './stream.ts';
import { StreamTable } from './stream_table.ts';

/** Streams we reset whose peer may still be sending. */
const RESET_MEMORY = 256;

export abstract class Http2Connection implements HttpConnection {
  readonly protocol: Protocol = 'HTTP/2';
  readonly slab: Slab;
  readonly settings: Http2Settings;
  readonly stats: Http2Stats;
  readonly transport: Http2Transport;
  protected readonly streams = new StreamTable();
  protected readonly writer: FrameWriter;
  protected readonly sender: DataSender;
  protected readonly receiveWindow: ReceiveWindow;
  protected readonly limits: InboundLimits;
  /** Nothing is read or sent any more. */
  protected finished = false;
  private started = false;
  aboveWatermark = false;
  readonly peer: PeerSettings;
  /** The highest stream that the peer began. */
  protected lastPeerStream = 0;
  private readonly resetIds = new Set<number>();
  /** Streams with `flushing` set. */
  private flushingCount = 0;

  constructor(transport: Http2Transport, slab: Slab, settings: Http2Settings, stats: Http2Stats) {
    this.transport = transport;
    this.slab = slab;
    this.settings = settings;
    this.stats = stats;
    this.writer = new FrameWriter(transport, slab, settings, stats);
    this.peer = new PeerSettings(this.writer.hpack);
    this.sender = new DataSender(this, this.writer);
    this.receiveWindow = new ReceiveWindow(this.writer, slab, settings.initialConnectionWindowSize);
    this.limits = new InboundLimits(settings, stats);
  }

  get activeStreams(): number {
    return this.streams.size;
  }

  abstract dispatch(data: SliceBuffer): CodecError | null;
  abstract shutdownNotice(): void;
  abstract goAway(): void;

  /** What we send first. */
  protected abstract writePreface(): void;
  /** The stream's object is free. */
  protected abstract recycle(stream: Http2Stream): void;
  protected onStreamClosed(_stream: Http2Stream): void {}
  /** Nothing is left that was sent without anybody behind it. */
  protected onFlushed(): void {}

  /** Sends the preface if that has not happened. */
  start(): void {
    if (this.started) return;
    this.started = true;
    this.writePreface();
  }

  // Streams.

  protected open(stream: Http2Stream, id: number): void {
    stream.begin(this, id);
    this.limits.openedStreams++;
    this.stats.streamsActive.inc();
  }

  closeIfDone(stream: Http2Stream): void {
    if (stream.remoteEnd && stream.localEnd && !stream.closed) this.closeStream(stream);
  }

  closeStream(stream: Http2Stream): void {
    if (stream.closed) return;
    const flushed = stream.flushing && --this.flushingCount === 0;
    const held = stream.unconsumed;
    stream.unconsumed = 0;
    stream.dispose();
    this.streams.delete(stream.id);
    this.stats.streamsActive.dec();
    if (held > 0 && !this.finished) this.receiveWindow.credit(held);
    this.onStreamClosed(stream);
    this.recycle(stream);
    if (flushed && !this.finished) this.onFlushed();
  }

  /** The stream's rest is sent without anybody behind it. */
  startFlushing(stream: Http2Stream): void {
    stream.flushing = true;
    stream.flushTicks = 0;
    this.flushingCount++;
    this.transport.watchFlush();
  }

  /** A flush interval passed: streams that made no progress in two of them are reset. True while there are others. */
  onFlushTimeout(): boolean {
    if (this.flushingCount > 0 && !this.finished) {
      for (const stream of this.streams.toArray()) {
        if (stream.closed || !stream.flushing || ++stream.flushTicks < 2) continue;
        this.stats.txFlushTimeout.inc();
        this.sendReset(stream, ErrorCode.Cancel);
        this.closeStream(stream);
      }
      this.flush();
    }
    return this.flushingCount > 0 && !this.finished;
  }

  /** `bytes` of the stream were taken: gives window back, in halves. */
  consume(stream: Http2Stream, bytes: number): void {
    if (!stream.remoteEnd) {
      stream.toCredit += bytes;
      if (stream.toCredit >= this.settings.initialStreamWindowSize >> 1) {
        this.writer.windowUpdate(stream.id, stream.toCredit);
        stream.receiveWindow += stream.toCredit;
        stream.toCredit = 0;
      }
    }
    this.receiveWindow.credit(bytes);
  }

  // Errors.

  /** The connection is over: GOAWAY, and the error for the caller. */
  protected fail(code: ErrorCode, details: string): CodecError {
    this.writer.goAway(this.lastPeerStream, code);
    return new CodecError('protocol', details);
  }

  protected failFlood(details: string): CodecError {
    this.writer.goAway(this.lastPeerStream, ErrorCode.EnhanceYourCalm);
    return new CodecError('flood', details);
  }

  /** The peer broke a rule on this stream: it is reset, the connection lives on. */
  protected streamError(stream: Http2Stream, code: ErrorCode): void {
    this.sendReset(stream, code);
    stream.runResetCallbacks(StreamResetReason.ProtocolError, '');
    this.closeStream(stream);
  }

  /** A message that is malformed: the stream's end, or the connection's. */
  protected messageError(stream: Http2Stream, details: string): CodecError | null {
    this.stats.rxMessagingError.inc();
    if (!this.settings.streamErrorOnInvalidHttpMessage) return this.fail(ErrorCode.ProtocolError, details);
    this.streamError(stream, ErrorCode.ProtocolError);
    return null;
  }

  // Out.

  sendData(stream: Http2Stream, data: SliceBuffer): void {
    this.sender.send(stream, data);
    this.writer.flush();
  }

  sendTrailers(stream: Http2Stream, trailers: HeaderMap): void {
    this.writer.trailers(stream, trailers);
    this.writer.flush();
  }

  sendReset(stream: Http2Stream, code: ErrorCode): void {
    this.stats.txReset.inc();
    this.writeReset(stream.id, code);
    this.writer.flush();
  }

  protected writeReset(streamId: number, code: ErrorCode): void {
    if (this.finished || streamId === 0) return;
    if (this.resetIds.size >= RESET_MEMORY)
      for (const oldest of this.resetIds) {
        this.resetIds.delete(oldest);
        break;
      }
    this.resetIds.add(streamId);
    this.writer.reset(streamId, code);
  }

  /** We reset it not long ago. */
  protected wasReset(streamId: number): boolean {
    return this.resetIds.has(streamId);
  }

  protected writeSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.writer.settingsList(settings);
    this.receiveWindow.open();
  }

  sendPing(opaque: Uint8Array): void {
    this.writer.ping(opaque, false);
    this.writer.flush();
  }

  /** Hands over what was written; inside `dispatch` that waits for its end. */
  flush(): void {
    this.writer.flush();
  }

  // HttpConnection.

  onUnderlyingConnectionAboveWriteBufferHighWatermark(): void {
    this.aboveWatermark = true;
    for (const stream of this.streams.toArray()) stream.onConnectionWatermark(true);
  }

  onUnderlyingConnectionBelowWriteBufferLowWatermark(): void {
    this.aboveWatermark = false;
    for (const stream of this.streams.toArray()) stream.onConnectionWatermark(false);
  }

  /** The connection is gone: every stream with it. */
  protected end(reason: StreamResetReason, transportFailureReason: string): void {
    this.finished = true;
    for (const stream of this.streams.toArray()) {
      if (stream.closed) continue;
      stream.runResetCallbacks(reason, transportFailureReason);
      this.closeStream(stream);
    }
    this.writer.clear();
    this.transport.onEnd?.();
  }
}
