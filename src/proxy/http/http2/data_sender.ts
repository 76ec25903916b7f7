/**
 * DATA out under flow control (RFC 9113 5.2): what the windows of stream and connection allow goes out, the rest is held by its stream.
 * Streams that wait for the connection's window take turns, a frame each.
 */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Http2Connection } from './connection.ts';
import { DEFAULT_WINDOW, ErrorCode, FRAME_SIZE, MAX_WINDOW } from './frame.ts';
import type { FrameWriter } from './frame_writer.ts';
import type { Http2Stream } from './stream.ts';

export class DataSender {
  framesSent = 0;
  private window = DEFAULT_WINDOW;
  private readonly connection: Http2Connection;
  private readonly writer: FrameWriter;
  private readonly blocked: Http2Stream[] = [];

  constructor(connection: Http2Connection, writer: FrameWriter) {
    this.connection = connection;
    this.writer = writer;
  }

  /** Sends what the windows allow of `data`, holds the rest; END_STREAM when `stream.endQueued`. */
  send(stream: Http2Stream, data: SliceBuffer): void {
    if (stream.pending.length > 0) stream.pending.move(data);
    else {
      this.write(stream, data, stream.endQueued);
      if (data.length > 0) {
        stream.pending.move(data);
        this.noteBlocked(stream);
      }
    }
    stream.checkPending();
  }

  /** The stream's window opened. */
  sendPending(stream: Http2Stream): void {
    if (stream.closed || stream.pending.length === 0) return;
    this.write(stream, stream.pending, stream.endQueued && stream.pendingTrailers === null);
    stream.flushTicks = 0;
    if (stream.pending.length > 0) this.noteBlocked(stream);
    else this.onPendingSent(stream);
    stream.checkPending();
  }

  /** The connection's window opened. False: by more than it can. */
  openWindow(increment: number): boolean {
    this.window += increment;
    if (this.window > MAX_WINDOW) return false;
    this.sendBlocked();
    return true;
  }

  private sendBlocked(): void {
    const blocked = this.blocked;
    let turns = blocked.length;
    while (blocked.length > 0 && this.window > 0 && turns-- > 0) {
      const stream = blocked.shift() as Http2Stream;
      stream.blocked = false;
      if (stream.closed || stream.connection !== this.connection || stream.pending.length === 0) {
        turns = blocked.length;
        continue;
      }
      const before = this.window;
      this.sendPendingFrame(stream);
      // Goes to the end of the line while it has more to send and may.
      if (!stream.closed && stream.pending.length > 0 && stream.sendWindow > 0 && !stream.blocked) {
        stream.blocked = true;
        blocked.push(stream);
      }
      if (this.window < before) turns = blocked.length;
    }
  }

  private sendPendingFrame(stream: Http2Stream): void {
    this.write(stream, stream.pending, stream.endQueued && stream.pendingTrailers === null, 1);
    stream.flushTicks = 0;
    if (stream.pending.length === 0) this.onPendingSent(stream);
    stream.checkPending();
  }

  /** What was held is out: trailers follow, and the end. */
  private onPendingSent(stream: Http2Stream): void {
    const connection = this.connection;
    const trailers = stream.pendingTrailers;
    if (trailers !== null) {
      stream.pendingTrailers = null;
      connection.sendTrailers(stream, trailers);
    }
    if (stream.flushing && stream.localEnd && !stream.closed) {
      if (!stream.remoteEnd) connection.sendReset(stream, ErrorCode.NoError);
      connection.closeStream(stream);
    }
  }

  private noteBlocked(stream: Http2Stream): void {
    if (stream.blocked || this.window > 0) return;
    stream.blocked = true;
    this.blocked.push(stream);
  }

  /** As many frames as windows and `maxFrames` allow. */
  private write(stream: Http2Stream, data: SliceBuffer, end: boolean, maxFrames = Number.MAX_SAFE_INTEGER): void {
    do {
      const length = Math.min(data.length, stream.sendWindow, this.window, FRAME_SIZE);
      if (length <= 0 && data.length > 0) return;
      const last = end && length === data.length;
      if (length === 0 && !last) return;
      stream.sendWindow -= length;
      this.window -= length;
      this.framesSent++;
      this.writer.data(stream, data, length, last);
    } while (data.length > 0 && --maxFrames > 0);
  }
}
