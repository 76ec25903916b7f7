/**
 * The writing half of a stream, common to requests and responses (Envoy: StreamEncoderImpl): framing lines, body by length, chunked
 * or until close, trailers, watermark and reset callbacks.
 *
 * A body is held to the content-length that was sent: filters that change bodies and leave the length would otherwise make the peer read
 * the surplus as another message, or the next message as the rest of this one. What cannot be true is replaced by the codec's own framing
 * while the head is not out; later the stream is reset, and with it the connection (Envoy sends what it is given).
 *
 * One object per connection, used again for each stream on it. A head is written into one reserved piece of the slab; data is
 * moved, never copied.
 */
import { BLOCK_SIZE, type Slab } from '../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { type CodecStream, type CodecTransport, type StreamCallbacks, type StreamEncoder, StreamResetReason } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { StreamCallbackList } from '../stream_callback_list.ts';
import { ascii, put, putHex } from './bytes.ts';
import { formatterOf } from './header_key_format.ts';
import { Details, type Http1Settings, type Http1Stats } from './settings.ts';

/** Lines that the codec adds to a head by itself. */
export const FramingLine = { None: 0, ContentLengthZero: 1, Chunked: 2, ConnectionClose: 3 } as const;
export type FramingLine = (typeof FramingLine)[keyof typeof FramingLine];

const FRAMING: readonly (readonly [name: string, value: string])[] = [
  ['', ''],
  ['content-length', '0'],
  ['transfer-encoding', 'chunked'],
  ['connection', 'close'],
];
const FRAMING_BYTES = FRAMING.map(([name, value]) => ascii(name === '' ? '' : `${name}: ${value}\r\n`));
const CRLF = ascii('\r\n');
const LAST_CHUNK = ascii('0\r\n\r\n');
const CRLF_LAST_CHUNK = ascii('\r\n0\r\n\r\n');
/** Room for the start line without its variable parts, two framing lines and the end, in any spelling. */
const HEAD_ROOM = 192;

export abstract class EncoderStream implements StreamEncoder, CodecStream {
  protected readonly transport: CodecTransport;
  protected readonly slab: Slab;
  protected readonly settings: Http1Settings;
  private readonly stats: Http1Stats;
  private readonly formatter: ((name: string) => string) | undefined;
  private readonly out: SliceBuffer;
  private readonly callbacks = new StreamCallbackList();
  private aboveWatermark = false;

  /** Body data is written as chunks. */
  protected chunkEncoding = false;
  /** The message must not have a body: what comes is dropped. */
  protected discardBody = false;
  /** Bytes of the body that the content-length still announces; -1: it is not counted. */
  protected remaining = -1;
  headersEncoded = false;
  /** The message is complete, or the stream was reset. */
  ended = true;
  bytesSent = 0;
  bytesReceived = 0;
  headerBytesSent = 0;
  headerBytesReceived = 0;

  constructor(transport: CodecTransport, slab: Slab, settings: Http1Settings, stats: Http1Stats) {
    this.transport = transport;
    this.slab = slab;
    this.settings = settings;
    this.stats = stats;
    this.formatter = formatterOf(settings);
    this.out = new SliceBuffer(slab);
  }

  get stream(): CodecStream {
    return this;
  }

  /** The message is complete: told once per stream. */
  protected abstract onEncodeComplete(): void;
  /** `resetStream` was called. False: the stream is over already. */
  protected abstract onReset(): boolean;

  begin(aboveWatermark: boolean): void {
    this.callbacks.clear();
    this.aboveWatermark = aboveWatermark;
    this.chunkEncoding = false;
    this.discardBody = false;
    this.remaining = -1;
    this.headersEncoded = false;
    this.ended = false;
    this.bytesSent = 0;
    this.bytesReceived = 0;
    this.headerBytesSent = 0;
    this.headerBytesReceived = 0;
  }

  encodeData(data: SliceBuffer, endStream: boolean): void {
    if (this.ended || this.discardBody) {
      data.clear();
      if (endStream) this.finish();
      return;
    }
    const length = data.length;
    const remaining = this.remaining;
    if (remaining >= 0) {
      if (length > remaining || (endStream && length < remaining)) {
        data.clear();
        this.onBodyMismatch();
        return;
      }
      this.remaining = remaining - length;
    }
    if (this.chunkEncoding) this.writeChunk(data, endStream);
    else if (length > 0) {
      this.bytesSent += length;
      this.transport.write(data);
    }
    if (endStream) this.finish();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.ended) return;
    if (this.remaining > 0) {
      this.onBodyMismatch();
      return;
    }
    if (this.chunkEncoding && !this.discardBody) {
      if (this.settings.enableTrailers && trailers.size > 0)
        this.writeHead(ConstantStart, ZERO_CHUNK_LINE, trailers, FramingLine.None, FramingLine.None);
      else this.writeConstant(LAST_CHUNK);
    }
    this.finish();
  }

  addCallbacks(callbacks: StreamCallbacks): void {
    if (this.callbacks.add(callbacks) && this.aboveWatermark) callbacks.onAboveWriteBufferHighWatermark();
  }

  removeCallbacks(callbacks: StreamCallbacks): void {
    this.callbacks.remove(callbacks);
  }

  resetStream(reason: StreamResetReason): void {
    if (this.onReset()) this.runResetCallbacks(reason, '');
  }

  readDisable(disable: boolean): void {
    this.transport.readDisable(disable);
  }

  runResetCallbacks(reason: StreamResetReason, transportFailureReason: string): void {
    this.ended = true;
    for (const callback of this.callbacks.take()) callback.onResetStream(reason, transportFailureReason);
  }

  onAboveWatermark(): void {
    this.aboveWatermark = true;
    this.callbacks.onAboveWriteBufferHighWatermark();
  }

  onBelowWatermark(): void {
    this.aboveWatermark = false;
    this.callbacks.onBelowWriteBufferLowWatermark();
  }

  /**
   * The length that `headers` announce for the body, -1: none. One that is no number, is said twice, or announces a body when there is
   * none, is taken out: the codec frames the message.
   */
  protected announcedLength(headers: HeaderMap, endStream: boolean): number {
    if (!headers.hasId(H['content-length'])) return -1;
    const length = contentLengthOf(headers);
    if (endStream ? length === 0 : length >= 0) return length;
    headers.removeId(H['content-length']);
    this.stats.contentLengthMismatch.inc();
    return -1;
  }

  /** The body is not the announced one: the message cannot be completed. */
  private onBodyMismatch(): void {
    this.stats.contentLengthMismatch.inc();
    if (this.onReset()) this.runResetCallbacks(StreamResetReason.LocalReset, Details.ContentLengthMismatch);
  }

  protected finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.onEncodeComplete();
  }

  /**
   * Writes start line (`writeStart` gets the room it asked for in `startLength`), the lines of `headers`, up to two framing lines and
   * the empty line.
   */
  protected writeHead(start: HeadStart, constant: Uint8Array, headers: HeaderMap, first: FramingLine, second: FramingLine): void {
    const slab = this.slab;
    const u8 = slab.u8;
    const formatter = headers.nameFormatter ?? this.formatter;
    const size = HEAD_ROOM + constant.length + start.byteLength(headers) + headers.linesByteSize();
    if (size > BLOCK_SIZE) this.writeLargeHead(start, constant, headers, first, second, formatter);
    else {
      const at = slab.reserve(size);
      let p = start.write(headers, constant, at, formatter);
      p = headers.writeLines(p, formatter);
      if (first !== FramingLine.None) p = framingLine(u8, p, first, formatter);
      if (second !== FramingLine.None) p = framingLine(u8, p, second, formatter);
      u8[p] = 13;
      u8[p + 1] = 10;
      p += 2;
      slab.trimReserved(p);
      this.out.push(at, p - at);
    }
    this.bytesSent += this.out.length;
    if (constant !== ZERO_CHUNK_LINE) this.headerBytesSent += this.out.length;
    this.transport.write(this.out);
  }

  /** Heads of more than a block: rare, as text. */
  private writeLargeHead(
    start: HeadStart,
    constant: Uint8Array,
    headers: HeaderMap,
    first: FramingLine,
    second: FramingLine,
    formatter?: (name: string) => string,
  ): void {
    let text = start.text(headers, constant, formatter);
    headers.forEach((name, value) => {
      if (name.charCodeAt(0) !== 58) text += `${formatter === undefined ? name : formatter(name)}: ${oneLine(value)}\r\n`;
    });
    for (const line of [first, second]) if (line !== FramingLine.None) text += framingText(line, formatter);
    this.out.appendLatin1(`${text}\r\n`);
  }

  private writeChunk(data: SliceBuffer, endStream: boolean): void {
    const length = data.length;
    if (length === 0) {
      if (endStream) this.writeConstant(LAST_CHUNK);
      return;
    }
    const slab = this.slab;
    const at = slab.reserve(32);
    let p = putHex(slab.u8, length, at);
    p = put(slab.u8, CRLF, p);
    slab.trimReserved(p);
    const out = this.out;
    out.push(at, p - at);
    out.move(data);
    out.append(endStream ? CRLF_LAST_CHUNK : CRLF);
    this.bytesSent += out.length;
    this.transport.write(out);
  }

  private writeConstant(bytes: Uint8Array): void {
    this.out.append(bytes);
    this.bytesSent += bytes.length;
    this.transport.write(this.out);
  }
}

/** Content-length as a number; -1 when it is none, or there are several. */
function contentLengthOf(headers: HeaderMap): number {
  if (headers.isRepeated(H['content-length'])) return -1;
  const start = headers.valueByteStart(H['content-length']);
  const length = headers.valueByteLength(H['content-length']);
  if (length === 0 || length > 15) return -1;
  const text = start < 0 ? (headers.getId(H['content-length']) as string) : '';
  const u8 = headers.slab.u8;
  let value = 0;
  for (let i = 0; i < length; i++) {
    const digit = (start < 0 ? text.charCodeAt(i) : u8[start + i]) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** Writes the start line of a head: one constant object per kind. */
export interface HeadStart {
  /** Bytes beyond `constant` that `write` may need. */
  byteLength(headers: HeaderMap): number;
  write(headers: HeaderMap, constant: Uint8Array, at: number, formatter?: (name: string) => string): number;
  text(headers: HeaderMap, constant: Uint8Array, formatter?: (name: string) => string): string;
}

/** A start that is the constant and nothing else. */
export const ConstantStart: HeadStart = {
  byteLength: () => 0,
  write: (headers, constant, at) => put(headers.slab.u8, constant, at),
  text: (_headers, constant) => String.fromCharCode(...constant),
};
const ZERO_CHUNK_LINE = ascii('0\r\n');

function framingLine(u8: Uint8Array, at: number, line: FramingLine, formatter?: (name: string) => string): number {
  return put(u8, formatter === undefined ? FRAMING_BYTES[line] : ascii(framingText(line, formatter)), at);
}

function framingText(line: FramingLine, formatter?: (name: string) => string): string {
  const [name, value] = FRAMING[line];
  return `${formatter === undefined ? name : formatter(name)}: ${value}\r\n`;
}

/** As `writeText`: what would end the line, or is no byte, becomes `?`. */
export function oneLine(text: string): string {
  return text.replace(/[\0\r\n]|[^\0-\xff]/g, '?');
}
