/**
 * One stream of an HTTP/2 connection (RFC 9113 5): its state, its windows, and what waits to be sent on it (Envoy: StreamImpl).
 *
 * What flow control does not let out is held here and counts against a watermark, so that the producer stops; the connection's own
 * watermark stops it, too. Reading is stopped by not giving window back. Objects are used again by later streams of the worker.
 */
import { BLOCK_SIZE } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { type CodecStream, type StreamCallbacks, type StreamEncoder, StreamResetReason } from '../codec.ts';
import { HeaderMap } from '../header_map.ts';
import { StreamCallbackList } from '../stream_callback_list.ts';
import type { Http2Connection } from './connection.ts';
import { ErrorCode } from './frame.ts';

export abstract class Http2Stream implements CodecStream, StreamEncoder {
  connection: Http2Connection;
  id = 0;
  sendWindow = 0;
  receiveWindow = 0;
  /** Delivered and not yet given back to the peer as window, because the receiver does not want more. */
  unconsumed = 0;
  /** Consumed and not yet told to the peer. */
  toCredit = 0;
  /** END_STREAM was received. */
  remoteEnd = false;
  /** END_STREAM was sent. */
  localEnd = false;
  /** The application gave the last frame; some may still be held. */
  endQueued = false;
  /** Neither side may use the stream any more. */
  closed = true;
  /** Held data is being sent without anybody listening; when it is out, the stream is reset. */
  flushing = false;
  /** Counts how often the flush timer passed without progress. */
  flushTicks = 0;
  /** Waits for the connection's window. */
  blocked = false;
  /** `content-length`, -1: none (or it does not count). */
  expectedBytes = -1;
  receivedBytes = 0;
  headersEncoded = false;
  /** Of the message being received. */
  headers: HeaderMap;
  trailersReceived: HeaderMap | null = null;

  bytesSent = 0;
  bytesReceived = 0;
  headerBytesSent = 0;
  headerBytesReceived = 0;

  readonly pending: SliceBuffer;
  pendingTrailers: HeaderMap | null = null;
  private readonly callbacks = new StreamCallbackList();
  private readDisables = 0;
  private above = false;
  private pendingAbove = false;
  private connectionAbove = false;

  constructor(connection: Http2Connection) {
    this.connection = connection;
    this.headers = new HeaderMap(connection.slab);
    this.pending = new SliceBuffer(connection.slab);
  }

  get stream(): CodecStream {
    return this;
  }

  /** As new, on `connection`. */
  begin(connection: Http2Connection, id: number): void {
    this.connection = connection;
    this.id = id;
    this.sendWindow = connection.peer.initialWindow;
    this.receiveWindow = connection.settings.initialStreamWindowSize;
    this.unconsumed = 0;
    this.toCredit = 0;
    this.remoteEnd = false;
    this.localEnd = false;
    this.endQueued = false;
    this.closed = false;
    this.flushing = false;
    this.flushTicks = 0;
    this.blocked = false;
    this.expectedBytes = -1;
    this.receivedBytes = 0;
    this.headersEncoded = false;
    this.bytesSent = 0;
    this.bytesReceived = 0;
    this.headerBytesSent = 0;
    this.headerBytesReceived = 0;
    this.readDisables = 0;
    this.connectionAbove = connection.aboveWatermark;
    this.above = this.connectionAbove;
    this.pendingAbove = false;
    if (this.headers.inUse) this.headers = new HeaderMap(connection.slab);
  }

  /** Nobody is told anything any more; what is held is dropped. */
  dispose(): void {
    this.closed = true;
    this.callbacks.clear();
    if (this.pending.length > 0) this.pending.clear();
    this.pendingTrailers = null;
  }

  // StreamEncoder.

  encodeData(data: SliceBuffer, endStream: boolean): void {
    if (this.closed || this.endQueued) {
      data.clear();
      return;
    }
    if (endStream) this.endQueued = true;
    this.connection.sendData(this, data);
    if (endStream) this.onEndQueued();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.closed || this.endQueued) return;
    this.endQueued = true;
    if (this.pending.length > 0) this.pendingTrailers = trailers.clone();
    else this.connection.sendTrailers(this, trailers);
    this.onEndQueued();
  }

  /** The message was given to us whole. */
  protected abstract onEndQueued(): void;

  // CodecStream.

  addCallbacks(callbacks: StreamCallbacks): void {
    if (this.callbacks.add(callbacks) && this.above) callbacks.onAboveWriteBufferHighWatermark();
  }

  removeCallbacks(callbacks: StreamCallbacks): void {
    this.callbacks.remove(callbacks);
  }

  protected clearCallbacks(): void {
    this.callbacks.clear();
  }

  resetStream(reason: StreamResetReason): void {
    if (this.closed) return;
    if (this.deferReset()) return;
    const connection = this.connection;
    connection.sendReset(this, this.resetCode(reason));
    this.runResetCallbacks(reason, '');
    connection.closeStream(this);
  }

  /** True when the reset waits until what is held was sent. */
  protected abstract deferReset(): boolean;

  protected resetCode(reason: StreamResetReason): ErrorCode {
    switch (reason) {
      case StreamResetReason.LocalRefusedStreamReset:
        return ErrorCode.RefusedStream;
      case StreamResetReason.ConnectError:
        return ErrorCode.ConnectError;
      case StreamResetReason.ProtocolError:
        return ErrorCode.ProtocolError;
      case StreamResetReason.OverloadManager:
        return ErrorCode.EnhanceYourCalm;
      default:
        return this.localResetCode();
    }
  }

  protected abstract localResetCode(): ErrorCode;

  readDisable(disable: boolean): void {
    if (this.closed) return;
    if (disable) {
      this.readDisables++;
      return;
    }
    if (this.readDisables === 0 || --this.readDisables > 0 || this.unconsumed === 0) return;
    const bytes = this.unconsumed;
    this.unconsumed = 0;
    this.connection.consume(this, bytes);
    this.connection.flush();
  }

  get readDisabled(): boolean {
    return this.readDisables > 0;
  }

  runResetCallbacks(reason: StreamResetReason, transportFailureReason: string): void {
    for (const callbacks of this.callbacks.take()) callbacks.onResetStream(reason, transportFailureReason);
  }

  onConnectionWatermark(above: boolean): void {
    this.connectionAbove = above;
    this.updateWatermark();
  }

  /** After what is held changed, and all is in order: producers may write again from their callbacks. */
  checkPending(): void {
    const length = this.pending.length;
    let limit = this.connection.settings.streamBufferLimit;
    // As connections do: slow readers share what memory is left.
    if (length > BLOCK_SIZE) limit = Math.max(limit >> this.connection.slab.pressure, Math.min(limit, BLOCK_SIZE));
    const above = this.pendingAbove ? length > limit >> 1 : length > limit;
    if (above === this.pendingAbove) return;
    this.pendingAbove = above;
    if (!this.closed) this.updateWatermark();
  }

  private updateWatermark(): void {
    const above = this.connectionAbove || this.pendingAbove;
    if (above === this.above) return;
    this.above = above;
    if (above) this.callbacks.onAboveWriteBufferHighWatermark();
    else this.callbacks.onBelowWriteBufferLowWatermark();
  }

  // The message that is received. Called by the connection.

  abstract onData(data: SliceBuffer, endStream: boolean): void;
}
