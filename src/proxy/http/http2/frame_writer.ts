/**
 * Frames out (RFC 9113 4.1 and 6): what streams and the connection say, as bytes that go to the transport together.
 *
 * While the connection reads (`corked`), everything waits for its end. Frames that wait with the transport are counted (Envoy:
 * ProtocolConstraints): a peer that asks and does not read is a flood.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { CodecError, type CodecTransport } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { type ErrorCode, Flag, FRAME_HEAD, FRAME_SIZE, FrameType, writeFrameHead, writeUint32 } from './frame.ts';
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

const EMPTY = new Uint8Array(0);
const FOUR = new Uint8Array(4);

export class FrameWriter {
  readonly hpack: HpackEncoder;
  /** Nothing goes to the transport now. */
  corked = false;
  /** Too much waits: the connection's end. */
  flood: CodecError | null = null;
  private readonly transport: Http2Transport;
  private readonly slab: Slab;
  private readonly settings: Http2Settings;
  private readonly stats: Http2Stats;
  private readonly out: SliceBuffer;
  private readonly queue = new OutboundQueue();

  constructor(transport: Http2Transport, slab: Slab, settings: Http2Settings, stats: Http2Stats) {
    this.transport = transport;
    this.slab = slab;
    this.settings = settings;
    this.stats = stats;
    this.out = new SliceBuffer(slab);
    this.hpack = new HpackEncoder(slab, settings.hpackTableSize);
  }

  /** Hands over what was written, unless corked. */
  flush(): void {
    if (this.corked || this.out.length === 0) return;
    this.queue.onWritten(this.out.length);
    this.transport.write(this.out);
    this.queue.onPending(this.transport.writeBufferBytes);
  }

  /** Looks how much of what was handed over is sent. */
  updateQueue(): void {
    this.queue.onPending(this.transport.writeBufferBytes);
  }

  clear(): void {
    this.out.clear();
  }

  /** The first `length` bytes of `data`. */
  data(stream: Http2Stream, data: SliceBuffer, length: number, endStream: boolean): void {
    const slab = this.slab;
    const at = slab.reserve(FRAME_HEAD);
    writeFrameHead(slab.u8, at, length, FrameType.Data, endStream ? Flag.EndStream : 0, stream.id);
    this.out.push(at, FRAME_HEAD);
    this.out.moveLength(data, length);
    stream.bytesSent += length + FRAME_HEAD;
    this.count(false);
    if (endStream) stream.localEnd = true;
  }

  responseHead(stream: Http2Stream, headers: HeaderMap, status: number, endStream: boolean): void {
    const bound = HpackEncoder.bound(headers);
    if (bound + FRAME_HEAD > FRAME_SIZE) {
      this.block(stream, headers, endStream, (u8, at) => this.hpack.encodeResponse(headers, status, u8, at));
      return;
    }
    const at = this.slab.reserve(bound + FRAME_HEAD);
    this.finishHead(stream, at, this.hpack.encodeResponse(headers, status, this.slab.u8, at + FRAME_HEAD), endStream);
  }

  requestHead(stream: Http2Stream, headers: HeaderMap, endStream: boolean): void {
    const bound = HpackEncoder.bound(headers);
    if (bound + FRAME_HEAD > FRAME_SIZE) {
      this.block(stream, headers, endStream, (u8, at) => this.hpack.encodeRequest(headers, u8, at));
      return;
    }
    const at = this.slab.reserve(bound + FRAME_HEAD);
    this.finishHead(stream, at, this.hpack.encodeRequest(headers, this.slab.u8, at + FRAME_HEAD), endStream);
  }

  trailers(stream: Http2Stream, trailers: HeaderMap): void {
    // RFC 9113 8.1: an empty block would be a frame without a payload; the end says the same.
    if (trailers.size === 0) {
      stream.localEnd = true;
      this.frame(FrameType.Data, Flag.EndStream, stream.id, EMPTY);
    } else this.block(stream, trailers, true, (u8, at) => this.hpack.encodeTrailers(trailers, u8, at));
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
    this.count(false);
  }

  /** A block of any size, in as many frames as it takes. */
  private block(
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
      this.frame(type, flags, stream.id, bytes.subarray(at, end), false);
      stream.bytesSent += end - at + FRAME_HEAD;
      stream.headerBytesSent += end - at + FRAME_HEAD;
      at = end;
      type = FrameType.Continuation;
    } while (at < length);
    if (endStream) stream.localEnd = true;
  }

  reset(streamId: number, code: ErrorCode): void {
    writeUint32(FOUR, 0, code);
    this.frame(FrameType.RstStream, 0, streamId, FOUR);
  }

  goAway(lastStreamId: number, code: ErrorCode): void {
    const payload = new Uint8Array(8);
    writeUint32(payload, 0, lastStreamId);
    writeUint32(payload, 4, code);
    this.stats.goawaySent.inc();
    this.frame(FrameType.GoAway, 0, 0, payload);
  }

  windowUpdate(streamId: number, increment: number): void {
    writeUint32(FOUR, 0, increment);
    this.frame(FrameType.WindowUpdate, 0, streamId, FOUR);
  }

  settingsList(list: readonly (readonly [id: number, value: number])[]): void {
    const payload = new Uint8Array(6 * list.length);
    list.forEach(([id, value], i) => {
      payload[6 * i] = id >> 8;
      payload[6 * i + 1] = id;
      writeUint32(payload, 6 * i + 2, value);
    });
    this.frame(FrameType.Settings, 0, 0, payload);
  }

  settingsAck(): void {
    this.frame(FrameType.Settings, Flag.Ack, 0, EMPTY);
  }

  ping(opaque: Uint8Array, ack: boolean): void {
    this.frame(FrameType.Ping, ack ? Flag.Ack : 0, 0, opaque);
  }

  raw(bytes: Uint8Array): void {
    this.out.append(bytes);
  }

  private frame(type: number, flags: number, streamId: number, payload: Uint8Array, control = true): void {
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
    this.count(control);
  }

  private count(control: boolean): void {
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
}
