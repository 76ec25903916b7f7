/**
 * Frames that come in (RFC 9113 4, 6, 7), for both sides of a connection: their order, sizes and streams are checked here, header blocks
 * decoded, settings and windows applied (Envoy: the callbacks of Http2::ConnectionImpl).
 *
 * DATA passes through as slices, as it arrives; all other frames are looked at when they are complete. Frames a peer may send without
 * end are bounded (`InboundLimits`, `HeaderBlock`, and by number and kind the answers that wait in `FrameWriter`).
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { type CodecError, StreamResetReason } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { Http2Connection } from './connection.ts';
import { ErrorCode, Flag, FRAME_HEAD, FRAME_SIZE, FrameType, MAX_STREAM_ID, MAX_WINDOW, readUint32 } from './frame.ts';
import type { Http2Transport } from './frame_writer.ts';
import { HeaderBlock } from './header_block.ts';
import { HpackDecoder } from './hpack_decoder.ts';
import { Details, type Http2Settings, type Http2Stats } from './settings.ts';
import type { Http2Stream } from './stream.ts';

export abstract class Http2InboundConnection extends Http2Connection {
  protected readonly hpackDecoder: HpackDecoder;

  // The frame being read.
  private inFrame = false;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  private length = 0;
  private readonly partial: SliceBuffer;
  private readonly body: SliceBuffer;
  private dataStream: Http2Stream | null = null;
  private contentLeft = 0;
  private padLeft = 0;
  private padUnknown = false;
  private readonly block: HeaderBlock;
  /** Of the header block being handled, on the wire. */
  protected headerBlockBytes = 0;

  constructor(transport: Http2Transport, slab: Slab, settings: Http2Settings, stats: Http2Stats) {
    super(transport, slab, settings, stats);
    this.body = new SliceBuffer(slab);
    this.partial = new SliceBuffer(slab);
    this.block = new HeaderBlock(settings.maxHeadersKb);
    this.hpackDecoder = new HpackDecoder(
      slab,
      settings.hpackTableSize,
      { maxBytes: settings.maxHeadersKb * 1024, maxCount: settings.maxHeadersCount },
      settings.headersWithUnderscoresAction === 'DROP_HEADER',
    );
  }

  /** Takes the connection preface out of `data`. False: it is wrong; true also while it is incomplete. */
  protected abstract readPreface(data: SliceBuffer): boolean;
  protected abstract readonly prefaceComplete: boolean;
  /** A block was decoded into what `headersFor` gave. Null, or the error that ends the connection. */
  protected abstract onHeaderBlock(streamId: number, endStream: boolean): CodecError | null;
  /** Where the block of a frame on `streamId` is decoded to. */
  protected abstract headersFor(streamId: number): HeaderMap;
  /** No frame was exchanged on it yet. */
  protected abstract isIdle(streamId: number): boolean;
  protected abstract onGoAwayFrame(lastStreamId: number, code: number): void;
  protected abstract onSettingsChanged(): void;

  dispatch(data: SliceBuffer): CodecError | null {
    const writer = this.writer;
    writer.corked = true;
    this.start();
    writer.updateQueue();
    let error = this.run(data);
    writer.corked = false;
    error = error ?? writer.flood;
    if (error !== null) data.clear();
    if (!this.finished || error !== null) this.flush();
    if (error !== null) this.finished = true;
    return error;
  }

  private run(data: SliceBuffer): CodecError | null {
    while (data.length > 0 || (this.inFrame && this.length === 0)) {
      if (this.finished) {
        data.clear();
        return null;
      }
      if (!this.prefaceComplete) {
        if (!this.readPreface(data)) return this.fail(ErrorCode.ProtocolError, 'bad connection preface');
        continue;
      }
      let error: CodecError | null;
      if (!this.inFrame) {
        if (data.length < FRAME_HEAD) return null;
        error = this.readFrameHead(data);
      } else if (this.type === FrameType.Data) error = this.readData(data);
      else error = this.readFrame(data);
      if (error !== null) return error;
      if (this.writer.flood !== null) return this.writer.flood;
    }
    return null;
  }

  // Frames in.

  private readFrameHead(data: SliceBuffer): CodecError | null {
    const u8 = this.slab.u8;
    const at = data.linearize(FRAME_HEAD);
    const length = (u8[at] << 16) | (u8[at + 1] << 8) | u8[at + 2];
    const type = u8[at + 3];
    const flags = u8[at + 4];
    const streamId = readUint32(u8, at + 5) & MAX_STREAM_ID;
    data.drain(FRAME_HEAD);
    this.length = length;
    this.type = type;
    this.flags = flags;
    this.streamId = streamId;
    if (length > FRAME_SIZE) return this.fail(ErrorCode.FrameSizeError, 'frame is too large');
    if (!this.peer.seen && (type !== FrameType.Settings || (flags & Flag.Ack) !== 0))
      return this.fail(ErrorCode.ProtocolError, 'first frame is not SETTINGS');
    if (this.block.streamId !== 0 && (type !== FrameType.Continuation || streamId !== this.block.streamId))
      return this.fail(ErrorCode.ProtocolError, 'frame inside a header block');
    this.inFrame = true;
    return type === FrameType.Data ? this.beginData() : null;
  }

  private readFrame(data: SliceBuffer): CodecError | null {
    const length = this.length;
    const slab = this.slab;
    let at = 0;
    const whole = this.partial.length === 0 && data.length >= length;
    if (!whole) {
      this.partial.moveLength(data, Math.min(length - this.partial.length, data.length));
      if (this.partial.length < length) return null;
    }
    const from = whole ? data : this.partial;
    this.inFrame = false;
    if (length === 0) return this.onFrame(slab.u8, 0, 0);
    at = from.linearize(length);
    slab.retain(at);
    from.drain(length);
    const error = this.onFrame(slab.u8, at, length);
    slab.release(at);
    return error;
  }

  private onFrame(u8: Uint8Array, at: number, length: number): CodecError | null {
    switch (this.type) {
      case FrameType.Headers:
        return this.onHeaders(u8, at, length);
      case FrameType.Continuation:
        return this.onContinuation(u8, at, length);
      case FrameType.WindowUpdate:
        return this.onWindowUpdate(u8, at, length);
      case FrameType.Settings:
        return this.onSettings(u8, at, length);
      case FrameType.Ping:
        return this.onPing(u8, at, length);
      case FrameType.RstStream:
        return this.onReset(u8, at, length);
      case FrameType.Priority:
        return this.onPriority(u8, at, length);
      case FrameType.GoAway:
        if (this.streamId !== 0) return this.fail(ErrorCode.ProtocolError, 'GOAWAY on a stream');
        if (length < 8) return this.fail(ErrorCode.FrameSizeError, 'GOAWAY of a wrong size');
        this.onGoAwayFrame(readUint32(u8, at) & MAX_STREAM_ID, readUint32(u8, at + 4));
        return null;
      case FrameType.PushPromise:
        return this.fail(ErrorCode.ProtocolError, 'PUSH_PROMISE is not allowed');
      default:
        // RFC 9113 4.1: unknown types are ignored.
        return null;
    }
  }

  private beginData(): CodecError | null {
    const length = this.length;
    const id = this.streamId;
    if (id === 0) return this.fail(ErrorCode.ProtocolError, 'DATA on stream 0');
    if (this.isIdle(id)) return this.fail(ErrorCode.ProtocolError, 'DATA on an idle stream');
    this.padUnknown = (this.flags & Flag.Padded) !== 0;
    if (this.padUnknown && length === 0) return this.fail(ErrorCode.FrameSizeError, 'padded DATA without a length');
    this.padLeft = 0;
    this.contentLeft = length;
    if (!this.receiveWindow.take(length)) return this.fail(ErrorCode.FlowControlError, 'connection window exceeded');
    let stream = this.streams.get(id) ?? null;
    if (stream?.remoteEnd) {
      this.streamError(stream, ErrorCode.StreamClosed);
      stream = null;
    } else if (stream === null && !this.wasReset(id)) this.writeReset(id, ErrorCode.StreamClosed);
    if (stream !== null) {
      stream.receiveWindow -= length;
      stream.bytesReceived += length + FRAME_HEAD;
      if (stream.receiveWindow < 0) {
        this.streamError(stream, ErrorCode.FlowControlError);
        stream = null;
      } else if (stream.flushing) stream = null;
    }
    this.dataStream = stream;
    if (!this.padUnknown) {
      const error = this.noteEmpty(length === 0);
      if (error !== null) return error;
    }
    return null;
  }

  /** DATA goes on as it comes. */
  private readData(data: SliceBuffer): CodecError | null {
    if (this.padUnknown) {
      const pad = data.byteAt(0);
      data.drain(1);
      this.padUnknown = false;
      this.length--;
      this.contentLeft = this.length - pad;
      this.padLeft = pad;
      if (this.contentLeft < 0) return this.fail(ErrorCode.ProtocolError, 'padding is longer than its frame');
      // RFC 9113 6.1: padding counts for both windows.
      if (this.dataStream !== null && !this.dataStream.closed) this.consume(this.dataStream, pad + 1);
      else this.receiveWindow.credit(pad + 1);
      const error = this.noteEmpty(this.contentLeft === 0);
      if (error !== null) return error;
    }
    const content = Math.min(this.contentLeft, data.length);
    if (content > 0) {
      this.body.moveLength(data, content);
      this.contentLeft -= content;
    }
    if (this.contentLeft === 0 && this.padLeft > 0) {
      const pad = Math.min(this.padLeft, data.length);
      data.drain(pad);
      this.padLeft -= pad;
    }
    const complete = this.contentLeft === 0 && this.padLeft === 0;
    if (complete) {
      this.inFrame = false;
      this.length = 0;
    }
    const endStream = complete && (this.flags & Flag.EndStream) !== 0;
    const stream = this.dataStream;
    if (stream === null || stream.closed || stream.id !== this.streamId) {
      this.body.clear();
      if (content > 0) this.receiveWindow.credit(content);
      return null;
    }
    if (content === 0 && !endStream) return null;
    stream.receivedBytes += content;
    if (
      stream.expectedBytes >= 0 &&
      (stream.receivedBytes > stream.expectedBytes || (endStream && stream.receivedBytes !== stream.expectedBytes))
    ) {
      this.body.clear();
      this.receiveWindow.credit(content);
      return this.messageError(stream, Details.MessagingRule);
    }
    if (endStream) stream.remoteEnd = true;
    if (content > 0) {
      // A stream that is paused gets what was on its way, but no window for more.
      if (stream.readDisabled) stream.unconsumed += content;
      else this.consume(stream, content);
    }
    const id = stream.id;
    stream.onData(this.body, endStream);
    if (this.body.length > 0) this.body.clear();
    if (endStream && stream.id === id) this.closeIfDone(stream);
    return null;
  }

  private noteEmpty(empty: boolean): CodecError | null {
    const flood = this.limits.onPayload(empty && (this.flags & Flag.EndStream) === 0);
    return flood === null ? null : this.failFlood(flood);
  }

  private onHeaders(u8: Uint8Array, at: number, length: number): CodecError | null {
    const flags = this.flags;
    if (this.streamId === 0) return this.fail(ErrorCode.ProtocolError, 'HEADERS on stream 0');
    let end = at + length;
    if ((flags & Flag.Padded) !== 0) {
      if (length < 1) return this.fail(ErrorCode.FrameSizeError, 'padded HEADERS without a length');
      end -= u8[at++];
    }
    let selfDependent = false;
    if ((flags & Flag.Priority) !== 0) {
      if (end - at >= 5) selfDependent = (readUint32(u8, at) & MAX_STREAM_ID) === this.streamId;
      at += 5;
    }
    if (at > end) return this.fail(ErrorCode.ProtocolError, 'HEADERS are shorter than their padding and priority');
    const error = this.noteEmpty(at === end);
    if (error !== null) return error;
    if (selfDependent) return this.fail(ErrorCode.ProtocolError, 'a stream depends on itself');
    if ((flags & Flag.EndHeaders) !== 0) return this.onBlock(u8, at, end, (flags & Flag.EndStream) !== 0, length);
    this.block.begin(this.streamId, flags);
    return this.appendBlock(u8, at, end);
  }

  private onContinuation(u8: Uint8Array, at: number, length: number): CodecError | null {
    const block = this.block;
    if (block.streamId === 0) return this.fail(ErrorCode.ProtocolError, 'CONTINUATION without HEADERS');
    const error = this.noteEmpty(length === 0) ?? this.appendBlock(u8, at, at + length);
    if (error !== null || (this.flags & Flag.EndHeaders) === 0) return error;
    return this.onBlock(block.take(), 0, block.length, (block.flags & Flag.EndStream) !== 0, block.length);
  }

  private appendBlock(u8: Uint8Array, at: number, end: number): CodecError | null {
    if (this.block.append(u8, at, end)) return null;
    this.stats.headerOverflow.inc();
    return this.failFlood(Details.ContinuationFlood);
  }

  private onBlock(u8: Uint8Array, at: number, end: number, endStream: boolean, size: number): CodecError | null {
    const map = this.headersFor(this.streamId);
    if (!this.hpackDecoder.decode(u8, at, end, map)) {
      map.release();
      return this.fail(ErrorCode.CompressionError, 'header block cannot be decoded');
    }
    this.headerBlockBytes = size + FRAME_HEAD;
    return this.onHeaderBlock(this.streamId, endStream);
  }

  private onWindowUpdate(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (length !== 4) return this.fail(ErrorCode.FrameSizeError, 'WINDOW_UPDATE of a wrong size');
    const id = this.streamId;
    const increment = readUint32(u8, at) & MAX_WINDOW;
    const flood = this.limits.onWindowUpdate(this.sender.framesSent);
    if (flood !== null) return this.failFlood(flood);
    if (id === 0) {
      if (increment === 0) return this.fail(ErrorCode.ProtocolError, 'WINDOW_UPDATE of 0');
      if (!this.sender.openWindow(increment)) return this.fail(ErrorCode.FlowControlError, 'connection window overflows');
      return null;
    }
    if (this.isIdle(id)) return this.fail(ErrorCode.ProtocolError, 'WINDOW_UPDATE on an idle stream');
    const stream = this.streams.get(id);
    if (stream === undefined) return null;
    if (increment === 0) {
      this.streamError(stream, ErrorCode.ProtocolError);
      return null;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_WINDOW) this.streamError(stream, ErrorCode.FlowControlError);
    else this.sender.sendPending(stream);
    return null;
  }

  private onSettings(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (this.streamId !== 0) return this.fail(ErrorCode.ProtocolError, 'SETTINGS on a stream');
    if ((this.flags & Flag.Ack) !== 0) {
      return length === 0 ? null : this.fail(ErrorCode.FrameSizeError, 'SETTINGS ACK with a payload');
    }
    if (length % 6 !== 0) return this.fail(ErrorCode.FrameSizeError, 'SETTINGS of a wrong size');
    const peer = this.peer;
    const before = peer.initialWindow;
    for (let p = at; p < at + length; p += 6) {
      const error = peer.apply((u8[p] << 8) | u8[p + 1], readUint32(u8, p + 2));
      if (error !== null) return this.fail(error.code, error.text);
    }
    const change = peer.initialWindow - before;
    if (change !== 0) {
      for (const stream of this.streams.toArray()) {
        stream.sendWindow += change;
        if (stream.sendWindow > MAX_WINDOW) return this.fail(ErrorCode.FlowControlError, 'stream window overflows');
      }
    }
    if (change > 0) for (const stream of this.streams.toArray()) this.sender.sendPending(stream);
    peer.seen = true;
    this.writer.settingsAck();
    this.onSettingsChanged();
    return null;
  }

  private onPing(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (this.streamId !== 0) return this.fail(ErrorCode.ProtocolError, 'PING on a stream');
    if (length !== 8) return this.fail(ErrorCode.FrameSizeError, 'PING of a wrong size');
    if ((this.flags & Flag.Ack) !== 0) this.transport.onPingAck?.();
    else this.writer.ping(u8.subarray(at, at + 8), true);
    return null;
  }

  private onReset(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (length !== 4) return this.fail(ErrorCode.FrameSizeError, 'RST_STREAM of a wrong size');
    if (this.streamId === 0 || this.isIdle(this.streamId))
      return this.fail(ErrorCode.ProtocolError, 'RST_STREAM on an idle stream');
    const stream = this.streams.get(this.streamId);
    if (stream === undefined) return null;
    const code = readUint32(u8, at);
    this.stats.rxReset.inc();
    stream.runResetCallbacks(remoteReason(code), '');
    this.closeStream(stream);
    return null;
  }

  private onPriority(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (this.streamId === 0) return this.fail(ErrorCode.ProtocolError, 'PRIORITY on stream 0');
    const flood = this.limits.onPriority();
    if (flood !== null) return this.failFlood(flood);
    if (length !== 5) return this.fail(ErrorCode.FrameSizeError, 'PRIORITY of a wrong size');
    if ((readUint32(u8, at) & MAX_STREAM_ID) === this.streamId)
      return this.fail(ErrorCode.ProtocolError, 'a stream depends on itself');
    return null;
  }

  protected override end(reason: StreamResetReason, transportFailureReason: string): void {
    super.end(reason, transportFailureReason);
    this.hpackDecoder.release();
    this.partial.clear();
    this.body.clear();
    this.block.release();
    this.inFrame = false;
  }
}

function remoteReason(code: number): StreamResetReason {
  if (code === ErrorCode.RefusedStream) return StreamResetReason.RemoteRefusedStreamReset;
  return code === ErrorCode.ConnectError ? StreamResetReason.ConnectError : StreamResetReason.RemoteReset;
}
