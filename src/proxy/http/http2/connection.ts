/**
 * An HTTP/2 connection (RFC 9113), what both sides have in common (Envoy: Http2::ConnectionImpl and its ProtocolConstraints): frames in
 * and out, header blocks, settings, flow control, floods.
 *
 * Bytes in, bytes out; no I/O, no clock. What is written while bytes are dispatched goes to the transport once, at the end. DATA passes
 * through as slices, as it arrives; all other frames are looked at when they are complete. Frames a peer may send without end are
 * bounded: PRIORITY and WINDOW_UPDATE by what we sent, empty frames by number, answers that wait in our queue by number and kind.
 *
 * Left out: server push (refused), priorities (read and ignored), METADATA frames (ignored).
 */
import { BLOCK_SIZE, type Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Protocol } from '../../stream_info/stream_info.ts';
import { CodecError, type CodecTransport, type HttpConnection, StreamResetReason } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import {
  DEFAULT_WINDOW,
  ErrorCode,
  Flag,
  FRAME_HEAD,
  FRAME_SIZE,
  FrameType,
  MAX_STREAM_ID,
  MAX_WINDOW,
  readUint32,
  Setting,
  writeFrameHead,
  writeUint32,
} from './frame.ts';
import { HpackDecoder } from './hpack_decoder.ts';
import { HpackEncoder } from './hpack_encoder.ts';
import { OutboundQueue } from './outbound_queue.ts';
import { Details, type Http2Settings, type Http2Stats } from './settings.ts';
import type { Http2Stream } from './stream.ts';

/** How an HTTP/2 codec reaches its connection. */
export interface Http2Transport extends CodecTransport {
  /** Bytes given to `write` that are not with the kernel. */
  readonly writeBufferBytes: number;
  /** A stream has data to send that nobody watches: call `onFlushTimeout` after a while, until it returns false. */
  watchFlush(): void;
  /** Called for the answer to `sendPing`. */
  onPingAck?(): void;
  /** The codec is not used any more: timers may go. */
  onEnd?(): void;
}

/** Streams we reset whose peer may still be sending. */
const RESET_MEMORY = 256;
/** CONTINUATION frames of one header block. */
const MAX_CONTINUATIONS = 128;

export abstract class Http2Connection implements HttpConnection {
  readonly protocol: Protocol = 'HTTP/2';
  readonly slab: Slab;
  readonly settings: Http2Settings;
  readonly stats: Http2Stats;
  readonly transport: Http2Transport;
  protected readonly streams = new Map<number, Http2Stream>();
  protected readonly hpackDecoder: HpackDecoder;
  protected readonly hpackEncoder: HpackEncoder;
  private readonly out: SliceBuffer;
  private readonly body: SliceBuffer;
  private readonly queue = new OutboundQueue();
  private dispatching = false;
  /** Nothing is read or sent any more. */
  protected finished = false;
  private started = false;
  private flood: CodecError | null = null;
  aboveWatermark = false;

  // The peer's settings.
  peerInitialWindow = DEFAULT_WINDOW;
  protected peerMaxStreams = MAX_STREAM_ID;
  protected peerAllowsConnect = false;
  protected peerSettingsSeen = false;

  private sendWindow = DEFAULT_WINDOW;
  /** What the peer may send on the whole connection without window given back. Less than configured while memory is short. */
  private windowSize = DEFAULT_WINDOW;
  private receiveWindow = DEFAULT_WINDOW;
  private toCredit = 0;
  private readonly blockedStreams: Http2Stream[] = [];
  /** Streams with `flushing` set. */
  private flushingCount = 0;

  // The frame being read.
  private inFrame = false;
  private type = 0;
  private flags = 0;
  private streamId = 0;
  private length = 0;
  private readonly partial: SliceBuffer;
  private dataStream: Http2Stream | null = null;
  private contentLeft = 0;
  private padLeft = 0;
  private padUnknown = false;
  /** A header block that goes on in CONTINUATION frames. */
  private blockStream = 0;
  private blockFlags = 0;
  private block: Uint8Array | null = null;
  private blockLength = 0;
  private continuations = 0;

  /** The highest stream that the peer began. */
  protected lastPeerStream = 0;
  private readonly resetIds = new Set<number>();

  // Floods.
  private emptyFrames = 0;
  private priorityFrames = 0;
  private windowUpdateFrames = 0;
  private dataFramesSent = 0;
  protected openedStreams = 0;

  constructor(transport: Http2Transport, slab: Slab, settings: Http2Settings, stats: Http2Stats) {
    this.transport = transport;
    this.slab = slab;
    this.settings = settings;
    this.stats = stats;
    this.out = new SliceBuffer(slab);
    this.body = new SliceBuffer(slab);
    this.partial = new SliceBuffer(slab);
    this.hpackEncoder = new HpackEncoder(slab, settings.hpackTableSize);
    this.hpackDecoder = new HpackDecoder(
      slab,
      settings.hpackTableSize,
      { maxBytes: settings.maxHeadersKb * 1024, maxCount: settings.maxHeadersCount },
      settings.headersWithUnderscoresAction === 'DROP_HEADER',
    );
  }

  get activeStreams(): number {
    return this.streams.size;
  }

  // For the sides.

  /** Takes the connection preface out of `data`. False: it is wrong; true also while it is incomplete. */
  protected abstract readPreface(data: SliceBuffer): boolean;
  protected abstract readonly prefaceComplete: boolean;
  /** What we send first. */
  protected abstract writePreface(): void;
  /** A block whose HPACK was decoded into `headers`, unless it is null. Null, or the error that ends the connection. */
  protected abstract onHeaderBlock(streamId: number, endStream: boolean): CodecError | null;
  /** Where the block of a frame on `streamId` is decoded to; null: nowhere. */
  protected abstract headersFor(streamId: number): HeaderMap;
  /** The stream's half that receives is not there any more. */
  protected abstract isIdle(streamId: number): boolean;
  protected abstract onGoAwayFrame(lastStreamId: number, code: number): void;
  protected abstract onSettingsChanged(): void;
  protected abstract recycle(stream: Http2Stream): void;

  /** Sends the preface if that has not happened. */
  start(): void {
    if (this.started) return;
    this.started = true;
    this.writePreface();
  }

  dispatch(data: SliceBuffer): CodecError | null {
    this.dispatching = true;
    this.start();
    this.queue.onPending(this.transport.writeBufferBytes);
    let error = this.run(data);
    this.dispatching = false;
    error = error ?? this.flood;
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
      if (this.flood !== null) return this.flood;
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
    if (!this.peerSettingsSeen && (type !== FrameType.Settings || (flags & Flag.Ack) !== 0))
      return this.fail(ErrorCode.ProtocolError, 'first frame is not SETTINGS');
    if (this.blockStream !== 0 && (type !== FrameType.Continuation || streamId !== this.blockStream))
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
    this.receiveWindow -= length;
    if (this.receiveWindow < 0) return this.fail(ErrorCode.FlowControlError, 'connection window exceeded');
    let stream = this.streams.get(id) ?? null;
    if (stream !== null && stream.remoteEnd) {
      this.streamError(stream, ErrorCode.StreamClosed);
      stream = null;
    } else if (stream === null && !this.resetIds.has(id)) this.writeReset(id, ErrorCode.StreamClosed);
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
      this.credit(pad + 1);
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
      if (content > 0) this.credit(content);
      return null;
    }
    if (content === 0 && !endStream) return null;
    stream.receivedBytes += content;
    if (
      stream.expectedBytes >= 0 &&
      (stream.receivedBytes > stream.expectedBytes || (endStream && stream.receivedBytes !== stream.expectedBytes))
    ) {
      this.body.clear();
      this.credit(content);
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
    if (!empty || (this.flags & Flag.EndStream) !== 0) {
      this.emptyFrames = 0;
      return null;
    }
    if (++this.emptyFrames <= this.settings.maxConsecutiveInboundFramesWithEmptyPayload) return null;
    this.stats.inboundEmptyFramesFlood.inc();
    return this.failFlood(Details.EmptyFramesFlood);
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
    this.blockStream = this.streamId;
    this.blockFlags = flags;
    this.blockLength = 0;
    this.continuations = 0;
    return this.appendBlock(u8, at, end);
  }

  private onContinuation(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (this.blockStream === 0) return this.fail(ErrorCode.ProtocolError, 'CONTINUATION without HEADERS');
    const error = this.noteEmpty(length === 0) ?? this.appendBlock(u8, at, at + length);
    if (error !== null || (this.flags & Flag.EndHeaders) === 0) return error;
    const block = this.block as Uint8Array;
    this.block = null;
    this.blockStream = 0;
    return this.onBlock(block, 0, this.blockLength, (this.blockFlags & Flag.EndStream) !== 0, this.blockLength);
  }

  private appendBlock(u8: Uint8Array, at: number, end: number): CodecError | null {
    const length = this.blockLength + end - at;
    // Nobody sends more than twice what is accepted, in so many pieces, for another reason than to waste our time.
    if (length > Math.max(2 * this.settings.maxHeadersKb * 1024, FRAME_SIZE) || ++this.continuations > MAX_CONTINUATIONS) {
      this.stats.headerOverflow.inc();
      return this.failFlood(Details.ContinuationFlood);
    }
    if (this.block === null || length > this.block.length) {
      const grown = new Uint8Array(Math.max(length, 2 * (this.block?.length ?? BLOCK_SIZE)));
      if (this.block !== null) grown.set(this.block);
      this.block = grown;
    }
    this.block.set(u8.subarray(at, end), this.blockLength);
    this.blockLength = length;
    return null;
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

  /** Of the header block being handled, on the wire. */
  protected headerBlockBytes = 0;

  private onWindowUpdate(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (length !== 4) return this.fail(ErrorCode.FrameSizeError, 'WINDOW_UPDATE of a wrong size');
    const id = this.streamId;
    const increment = readUint32(u8, at) & MAX_WINDOW;
    const limit = 5 + 2 * (this.openedStreams + this.settings.maxInboundWindowUpdateFramesPerDataFrameSent * this.dataFramesSent);
    if (++this.windowUpdateFrames > limit) {
      this.stats.inboundWindowUpdateFramesFlood.inc();
      return this.failFlood(Details.WindowUpdateFlood);
    }
    if (id === 0) {
      if (increment === 0) return this.fail(ErrorCode.ProtocolError, 'WINDOW_UPDATE of 0');
      this.sendWindow += increment;
      if (this.sendWindow > MAX_WINDOW) return this.fail(ErrorCode.FlowControlError, 'connection window overflows');
      this.sendBlocked();
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
    else this.sendPending(stream);
    return null;
  }

  private onSettings(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (this.streamId !== 0) return this.fail(ErrorCode.ProtocolError, 'SETTINGS on a stream');
    if ((this.flags & Flag.Ack) !== 0) {
      return length === 0 ? null : this.fail(ErrorCode.FrameSizeError, 'SETTINGS ACK with a payload');
    }
    if (length % 6 !== 0) return this.fail(ErrorCode.FrameSizeError, 'SETTINGS of a wrong size');
    for (let p = at; p < at + length; p += 6) {
      const error = this.applySetting((u8[p] << 8) | u8[p + 1], readUint32(u8, p + 2));
      if (error !== null) return error;
    }
    this.peerSettingsSeen = true;
    this.writeFrame(FrameType.Settings, Flag.Ack, 0, EMPTY);
    this.onSettingsChanged();
    return null;
  }

  protected applySetting(id: number, value: number): CodecError | null {
    switch (id) {
      case Setting.HeaderTableSize:
        this.hpackEncoder.setPeerTableSize(value);
        return null;
      case Setting.EnablePush:
        return value > 1 ? this.fail(ErrorCode.ProtocolError, 'ENABLE_PUSH is no boolean') : null;
      case Setting.MaxConcurrentStreams:
        this.peerMaxStreams = value;
        return null;
      case Setting.InitialWindowSize: {
        if (value > MAX_WINDOW) return this.fail(ErrorCode.FlowControlError, 'INITIAL_WINDOW_SIZE is too large');
        const change = value - this.peerInitialWindow;
        this.peerInitialWindow = value;
        for (const stream of this.streams.values()) {
          stream.sendWindow += change;
          if (stream.sendWindow > MAX_WINDOW) return this.fail(ErrorCode.FlowControlError, 'stream window overflows');
        }
        if (change > 0) for (const stream of this.streams.values()) this.sendPending(stream);
        return null;
      }
      case Setting.MaxFrameSize:
        if (value < FRAME_SIZE || value > 0xffffff) return this.fail(ErrorCode.ProtocolError, 'MAX_FRAME_SIZE is out of range');
        // Ours stay at 16 KB: larger ones would only make other streams wait longer.
        return null;
      case Setting.EnableConnectProtocol:
        if (value > 1) return this.fail(ErrorCode.ProtocolError, 'ENABLE_CONNECT_PROTOCOL is no boolean');
        this.peerAllowsConnect = value === 1;
        return null;
      default:
        return null;
    }
  }

  private onPing(u8: Uint8Array, at: number, length: number): CodecError | null {
    if (this.streamId !== 0) return this.fail(ErrorCode.ProtocolError, 'PING on a stream');
    if (length !== 8) return this.fail(ErrorCode.FrameSizeError, 'PING of a wrong size');
    if ((this.flags & Flag.Ack) !== 0) this.transport.onPingAck?.();
    else this.writeFrame(FrameType.Ping, Flag.Ack, 0, u8.subarray(at, at + 8));
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
    if (++this.priorityFrames > this.settings.maxInboundPriorityFramesPerStream * (1 + this.openedStreams)) {
      this.stats.inboundPriorityFramesFlood.inc();
      return this.failFlood(Details.PriorityFlood);
    }
    if (length !== 5) return this.fail(ErrorCode.FrameSizeError, 'PRIORITY of a wrong size');
    if ((readUint32(u8, at) & MAX_STREAM_ID) === this.streamId)
      return this.fail(ErrorCode.ProtocolError, 'a stream depends on itself');
    return null;
  }

  // Errors.

  /** The connection is over: GOAWAY, and the error for the caller. */
  protected fail(code: ErrorCode, details: string, kind: 'protocol' | 'flood' = 'protocol'): CodecError {
    this.writeGoAway(this.lastPeerStream, code);
    return new CodecError(kind, details);
  }

  protected failFlood(details: string): CodecError {
    return this.fail(ErrorCode.EnhanceYourCalm, details, 'flood');
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

  // Streams.

  protected open(stream: Http2Stream, id: number): void {
    stream.begin(this, id);
    this.openedStreams++;
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
    if (held > 0 && !this.finished) this.credit(held);
    this.onStreamClosed(stream);
    this.recycle(stream);
    if (flushed && !this.finished) this.onFlushed();
  }

  protected onStreamClosed(_stream: Http2Stream): void {}

  /** Nothing is left that was sent without anybody behind it. */
  protected onFlushed(): void {}

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
      for (const stream of this.streams.values()) {
        if (!stream.flushing || ++stream.flushTicks < 2) continue;
        this.stats.txFlushTimeout.inc();
        this.sendReset(stream, ErrorCode.Cancel);
        this.closeStream(stream);
      }
      this.flush();
    }
    return this.flushingCount > 0 && !this.finished;
  }

  // Flow control.

  /** `bytes` of the stream were taken: gives window back, in halves. */
  consume(stream: Http2Stream, bytes: number): void {
    if (!stream.remoteEnd) {
      stream.toCredit += bytes;
      if (stream.toCredit >= this.settings.initialStreamWindowSize >> 1) {
        this.writeWindowUpdate(stream.id, stream.toCredit);
        stream.receiveWindow += stream.toCredit;
        stream.toCredit = 0;
      }
    }
    this.credit(bytes);
  }

  private credit(bytes: number): void {
    this.toCredit += bytes;
    if (this.toCredit < this.windowSize >> 1) return;
    this.toCredit += this.growWindow();
    this.writeWindowUpdate(0, this.toCredit);
    this.receiveWindow += this.toCredit;
    this.toCredit = 0;
  }

  /** Raises the connection's window to what is configured, or to the share of it that memory allows now; by how much. */
  private growWindow(): number {
    const size = this.settings.initialConnectionWindowSize >> this.slab.pressure;
    const grown = Math.max(size - this.windowSize, 0);
    this.windowSize += grown;
    return grown;
  }

  // Frames out.

  /** Sends what the windows allow of `data`, holds the rest; END_STREAM when `stream.endQueued`. */
  sendData(stream: Http2Stream, data: SliceBuffer): void {
    if (stream.pending.length > 0) stream.pending.move(data);
    else {
      this.writeData(stream, data, stream.endQueued);
      if (data.length > 0) {
        stream.pending.move(data);
        this.noteBlocked(stream);
      }
    }
    stream.checkPending();
    this.flush();
  }

  private sendPending(stream: Http2Stream): void {
    if (stream.closed || stream.pending.length === 0) return;
    this.writeData(stream, stream.pending, stream.endQueued && stream.pendingTrailers === null);
    stream.flushTicks = 0;
    if (stream.pending.length > 0) this.noteBlocked(stream);
    else this.onPendingSent(stream);
    stream.checkPending();
  }

  /** What was held is out: trailers follow, and the end. */
  private onPendingSent(stream: Http2Stream): void {
    const trailers = stream.pendingTrailers;
    if (trailers !== null) {
      stream.pendingTrailers = null;
      this.sendTrailers(stream, trailers);
    }
    if (stream.flushing && stream.localEnd && !stream.closed) {
      if (!stream.remoteEnd) this.sendReset(stream, ErrorCode.NoError);
      this.closeStream(stream);
    }
  }

  private noteBlocked(stream: Http2Stream): void {
    if (stream.blocked || this.sendWindow > 0) return;
    stream.blocked = true;
    this.blockedStreams.push(stream);
  }

  /** The connection's window opened: one frame for each stream in turn. */
  private sendBlocked(): void {
    const blocked = this.blockedStreams;
    let turns = blocked.length;
    while (blocked.length > 0 && this.sendWindow > 0 && turns-- > 0) {
      const stream = blocked.shift() as Http2Stream;
      stream.blocked = false;
      if (stream.closed || stream.connection !== this || stream.pending.length === 0) {
        turns = blocked.length;
        continue;
      }
      const before = this.sendWindow;
      this.sendPendingFrame(stream);
      // Goes to the end of the line while it has more to send and may.
      if (!stream.closed && stream.pending.length > 0 && stream.sendWindow > 0 && !stream.blocked) {
        stream.blocked = true;
        blocked.push(stream);
      }
      if (this.sendWindow < before) turns = blocked.length;
    }
  }

  private sendPendingFrame(stream: Http2Stream): void {
    this.writeData(stream, stream.pending, stream.endQueued && stream.pendingTrailers === null, 1);
    stream.flushTicks = 0;
    if (stream.pending.length === 0) this.onPendingSent(stream);
    stream.checkPending();
  }

  /** As many frames as windows and `maxFrames` allow. Sets `localEnd` with the last. */
  private writeData(stream: Http2Stream, data: SliceBuffer, end: boolean, maxFrames = Number.MAX_SAFE_INTEGER): void {
    const slab = this.slab;
    const out = this.out;
    do {
      const length = Math.min(data.length, stream.sendWindow, this.sendWindow, FRAME_SIZE);
      if (length <= 0 && data.length > 0) return;
      const last = end && length === data.length;
      if (length === 0 && !last) return;
      const at = slab.reserve(FRAME_HEAD);
      writeFrameHead(slab.u8, at, length, FrameType.Data, last ? Flag.EndStream : 0, stream.id);
      out.push(at, FRAME_HEAD);
      out.moveLength(data, length);
      stream.sendWindow -= length;
      this.sendWindow -= length;
      stream.bytesSent += length + FRAME_HEAD;
      this.dataFramesSent++;
      this.countOut(false);
      if (last) stream.localEnd = true;
    } while (data.length > 0 && --maxFrames > 0);
  }

  sendTrailers(stream: Http2Stream, trailers: HeaderMap): void {
    const encoder = this.hpackEncoder;
    // RFC 9113 8.1: an empty block would be a frame without a payload; the end says the same.
    if (trailers.size === 0) this.writeEnd(stream);
    else this.writeBlock(stream, trailers, true, (u8, at) => encoder.encodeTrailers(trailers, u8, at));
    this.flush();
  }

  private writeEnd(stream: Http2Stream): void {
    stream.localEnd = true;
    this.writeFrame(FrameType.Data, Flag.EndStream, stream.id, EMPTY);
  }

  /** A response's (or a request's) head. */
  protected writeResponseHead(stream: Http2Stream, headers: HeaderMap, status: number, endStream: boolean): void {
    const bound = HpackEncoder.bound(headers);
    if (bound + FRAME_HEAD > FRAME_SIZE) {
      this.writeBlock(stream, headers, endStream, (u8, at) => this.hpackEncoder.encodeResponse(headers, status, u8, at));
      return;
    }
    const at = this.slab.reserve(bound + FRAME_HEAD);
    this.finishHead(stream, at, this.hpackEncoder.encodeResponse(headers, status, this.slab.u8, at + FRAME_HEAD), endStream);
  }

  protected writeRequestHead(stream: Http2Stream, headers: HeaderMap, endStream: boolean): void {
    const bound = HpackEncoder.bound(headers);
    if (bound + FRAME_HEAD > FRAME_SIZE) {
      this.writeBlock(stream, headers, endStream, (u8, at) => this.hpackEncoder.encodeRequest(headers, u8, at));
      return;
    }
    const at = this.slab.reserve(bound + FRAME_HEAD);
    this.finishHead(stream, at, this.hpackEncoder.encodeRequest(headers, this.slab.u8, at + FRAME_HEAD), endStream);
  }

  private finishHead(stream: Http2Stream, at: number, end: number, endStream: boolean): void {
    const slab = this.slab;
    const flags = endStream ? Flag.EndHeaders | Flag.EndStream : Flag.EndHeaders;
    writeFrameHead(slab.u8, at, end - at - FRAME_HEAD, FrameType.Headers, flags, stream.id);
    slab.trimReserved(end);
    this.out.push(at, end - at);
    stream.bytesSent += end - at;
    stream.headerBytesSent += end - at;
    if (endStream) stream.localEnd = true;
    this.countOut(false);
  }

  /** A block of any size, in as many frames as it takes. */
  private writeBlock(
    stream: Http2Stream,
    headers: HeaderMap,
    endStream: boolean,
    encode: (u8: Uint8Array, at: number) => number,
  ): void {
    const bytes = new Uint8Array(HpackEncoder.bound(headers));
    const length = encode(bytes, 0);
    let at = 0;
    let type: number = FrameType.Headers;
    do {
      const end = Math.min(at + FRAME_SIZE, length);
      let flags = end === length ? Flag.EndHeaders : 0;
      if (type === FrameType.Headers && endStream) flags |= Flag.EndStream;
      this.writeFrame(type, flags, stream.id, bytes.subarray(at, end), false);
      stream.bytesSent += end - at + FRAME_HEAD;
      stream.headerBytesSent += end - at + FRAME_HEAD;
      at = end;
      type = FrameType.Continuation;
    } while (at < length);
    if (endStream) stream.localEnd = true;
  }

  sendReset(stream: Http2Stream, code: ErrorCode): void {
    this.stats.txReset.inc();
    this.writeReset(stream.id, code);
    if (!this.dispatching) this.flush();
  }

  protected writeReset(streamId: number, code: ErrorCode): void {
    if (this.finished || streamId === 0) return;
    if (this.resetIds.size >= RESET_MEMORY)
      for (const oldest of this.resetIds) {
        this.resetIds.delete(oldest);
        break;
      }
    this.resetIds.add(streamId);
    writeUint32(FOUR, 0, code);
    this.writeFrame(FrameType.RstStream, 0, streamId, FOUR);
  }

  protected wasReset(streamId: number): boolean {
    return this.resetIds.has(streamId);
  }

  protected writeGoAway(lastStreamId: number, code: ErrorCode): void {
    const payload = new Uint8Array(8);
    writeUint32(payload, 0, lastStreamId);
    writeUint32(payload, 4, code);
    this.stats.goawaySent.inc();
    this.writeFrame(FrameType.GoAway, 0, 0, payload);
  }

  private writeWindowUpdate(streamId: number, increment: number): void {
    writeUint32(FOUR, 0, increment);
    this.writeFrame(FrameType.WindowUpdate, 0, streamId, FOUR);
  }

  protected writeSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    const payload = new Uint8Array(6 * settings.length);
    settings.forEach(([id, value], i) => {
      payload[6 * i] = id >> 8;
      payload[6 * i + 1] = id;
      writeUint32(payload, 6 * i + 2, value);
    });
    this.writeFrame(FrameType.Settings, 0, 0, payload);
    const extra = this.growWindow();
    this.receiveWindow += extra;
    if (extra > 0) this.writeWindowUpdate(0, extra);
  }

  protected writeRaw(bytes: Uint8Array): void {
    this.out.append(bytes);
  }

  sendPing(opaque: Uint8Array): void {
    this.writeFrame(FrameType.Ping, 0, 0, opaque);
    this.flush();
  }

  private writeFrame(type: number, flags: number, streamId: number, payload: Uint8Array, control = true): void {
    const slab = this.slab;
    const length = payload.length;
    const inOne = length + FRAME_HEAD <= FRAME_SIZE;
    const at = slab.reserve(inOne ? FRAME_HEAD + length : FRAME_HEAD);
    writeFrameHead(slab.u8, at, length, type, flags, streamId);
    if (!inOne) {
      this.out.push(at, FRAME_HEAD);
      this.out.append(payload);
    } else {
      for (let i = 0; i < length; i++) slab.u8[at + FRAME_HEAD + i] = payload[i];
      this.out.push(at, FRAME_HEAD + length);
    }
    this.countOut(control);
  }

  private countOut(control: boolean): void {
    const queue = this.queue;
    queue.add(control);
    if (this.flood !== null) return;
    if (queue.frames > this.settings.maxOutboundFrames) {
      this.stats.outboundFlood.inc();
      this.flood = new CodecError('flood', Details.OutboundFlood);
    } else if (queue.controlFrames > this.settings.maxOutboundControlFrames) {
      this.stats.outboundControlFlood.inc();
      this.flood = new CodecError('flood', Details.OutboundControlFlood);
    }
  }

  /** Hands over what was written; inside `dispatch` that waits for its end. */
  flush(): void {
    if (this.dispatching || this.out.length === 0) return;
    this.queue.onWritten(this.out.length);
    this.transport.write(this.out);
    this.queue.onPending(this.transport.writeBufferBytes);
  }

  // HttpConnection.

  onUnderlyingConnectionAboveWriteBufferHighWatermark(): void {
    this.aboveWatermark = true;
    for (const stream of this.streams.values()) stream.onConnectionWatermark(true);
  }

  onUnderlyingConnectionBelowWriteBufferLowWatermark(): void {
    this.aboveWatermark = false;
    for (const stream of this.streams.values()) stream.onConnectionWatermark(false);
  }

  abstract shutdownNotice(): void;
  abstract goAway(): void;

  /** The connection is gone: every stream with it. */
  protected end(reason: StreamResetReason, transportFailureReason: string): void {
    this.finished = true;
    for (const stream of [...this.streams.values()]) {
      if (stream.closed) continue;
      stream.runResetCallbacks(reason, transportFailureReason);
      this.closeStream(stream);
    }
    this.hpackDecoder.release();
    this.partial.clear();
    this.body.clear();
    this.out.clear();
    this.block = null;
    this.inFrame = false;
    this.transport.onEnd?.();
  }
}

const EMPTY = new Uint8Array(0);
const FOUR = new Uint8Array(4);

function remoteReason(code: number): StreamResetReason {
  if (code === ErrorCode.RefusedStream) return StreamResetReason.RemoteRefusedStreamReset;
  return code === ErrorCode.ConnectError ? StreamResetReason.ConnectError : StreamResetReason.RemoteReset;
}
