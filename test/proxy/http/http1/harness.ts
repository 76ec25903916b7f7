/**
 * A codec between memory and memory: bytes in as slices cut as asked, messages out as text, and what was written.
 */

import { Slab } from '../../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import type { Counter } from '../../../../src/core/stats/stats.ts';
import type {
  CodecError,
  CodecTransport,
  RequestDecoder,
  RequestEncoder,
  ResponseDecoder,
  ResponseEncoder,
} from '../../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import { Http1ClientConnection } from '../../../../src/proxy/http/http1/client_connection.ts';
import { Http1ServerConnection } from '../../../../src/proxy/http/http1/server_connection.ts';
import { type Http1Settings, type Http1Stats, http1Settings } from '../../../../src/proxy/http/http1/settings.ts';

class TestCounter implements Counter {
  readonly name: string;
  value = 0;

  constructor(name: string) {
    this.name = name;
  }

  inc(): void {
    this.value++;
  }

  add(amount: number): void {
    this.value += amount;
  }
}

export function testStats(): Http1Stats {
  return {
    metadataNotSupportedError: new TestCounter('metadata_not_supported_error'),
    droppedHeadersWithUnderscores: new TestCounter('dropped_headers_with_underscores'),
    requestsRejectedWithUnderscoresInHeaders: new TestCounter('requests_rejected_with_underscores_in_headers'),
    responseFlood: new TestCounter('response_flood'),
    contentLengthMismatch: new TestCounter('content_length_mismatch'),
  };
}

/** One slab for all tests of a file; `blocksInUse` is compared with what it was. */
export const slab = new Slab(4096);
// The shared tail block of `reserve` is held for ever.
slab.release(slab.reserve(1));

export class TestTransport implements CodecTransport {
  written = '';
  writes = 0;
  readDisabled = 0;

  write(data: SliceBuffer): void {
    this.writes++;
    this.written += data.toText();
    data.clear();
  }

  readDisable(disable: boolean): void {
    this.readDisabled += disable ? 1 : -1;
  }

  take(): string {
    const text = this.written;
    this.written = '';
    return text;
  }
}

/** Puts `text` (latin1) into `buffer`, each piece in a block of its own, at an odd offset. */
export function feed(buffer: SliceBuffer, text: string): void {
  for (let at = 0; at < text.length; at += 16000) {
    const piece = text.slice(at, at + 16000);
    const offset = slab.allocate();
    slab.u8.set(Buffer.from(piece, 'latin1'), offset + 7);
    buffer.push(offset + 7, piece.length);
  }
}

export interface ReceivedMessage {
  /** Header entries in order, `name: value`. */
  headers: string[] | null;
  body: string;
  trailers: string[] | null;
  /** 1xx heads that came before. */
  interim: string[][];
  ended: boolean;
  localReply: string | null;
  reset: string | null;
}

function lines(headers: HeaderMap): string[] {
  return [...headers.entries()].map(([name, value]) => `${name}: ${value}`);
}

export class Recorder implements RequestDecoder, ResponseDecoder {
  readonly message: ReceivedMessage = {
    headers: null,
    body: '',
    trailers: null,
    interim: [],
    ended: false,
    localReply: null,
    reset: null,
  };
  readonly maps: HeaderMap[] = [];
  encoder: ResponseEncoder | null = null;
  /** Called when the request is complete (or refused). */
  onEnd: (() => void) | null = null;
  onHeaders: (() => void) | null = null;

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.maps.push(headers);
    this.message.headers = lines(headers);
    this.onHeaders?.();
    if (endStream) this.end();
  }

  decode1xxHeaders(headers: HeaderMap): void {
    this.maps.push(headers);
    this.message.interim.push(lines(headers));
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    if (this.message.ended) throw new Error('data after the end');
    this.message.body += data.toText();
    if (endStream) this.end();
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.maps.push(trailers);
    this.message.trailers = lines(trailers);
    this.end();
  }

  sendLocalReply(status: number, body: string, details: string): void {
    this.message.localReply = `${status} ${details}`;
    const headers = HeaderMap.of(slab, [
      [':status', String(status)],
      ['content-length', String(body.length)],
      ['connection', 'close'],
    ]);
    const encoder = this.encoder as ResponseEncoder;
    const data = new SliceBuffer(slab);
    data.appendLatin1(body);
    encoder.encodeHeaders(headers, false);
    encoder.encodeData(data, true);
  }

  release(): void {
    for (const map of this.maps) map.release();
    this.maps.length = 0;
  }

  private end(): void {
    if (this.message.ended) throw new Error('ended twice');
    this.message.ended = true;
    this.onEnd?.();
  }
}

/** A server connection; each complete request is answered with `respond`, 200 without body unless told otherwise. */
export class TestServer {
  readonly transport = new TestTransport();
  readonly stats = testStats();
  readonly buffer = new SliceBuffer(slab);
  readonly streams: Recorder[] = [];
  readonly codec: Http1ServerConnection;
  /** Null: nobody answers. */
  respond: ((stream: Recorder) => void) | null = (stream) => {
    stream.release();
    stream.encoder?.encodeHeaders(HeaderMap.of(slab, [[':status', '200']]), true);
  };

  constructor(settings: Partial<Http1Settings> = {}) {
    this.codec = new Http1ServerConnection(
      this.transport,
      slab,
      {
        newStream: (encoder) => {
          const stream = new Recorder();
          stream.encoder = encoder;
          stream.onEnd = () => this.respond?.(stream);
          this.streams.push(stream);
          return stream;
        },
      },
      http1Settings(settings),
      this.stats,
    );
  }

  receive(text: string): CodecError | null {
    feed(this.buffer, text);
    return this.codec.dispatch(this.buffer);
  }

  /** What the connection does when reading was enabled again: offers the bytes that are left. */
  redispatch(): CodecError | null {
    return this.codec.dispatch(this.buffer);
  }

  get last(): Recorder {
    return this.streams[this.streams.length - 1];
  }

  close(): void {
    this.codec.onConnectionClosed();
    for (const stream of this.streams) stream.release();
    this.buffer.clear();
  }
}

export class TestClient {
  readonly transport = new TestTransport();
  readonly stats = testStats();
  readonly buffer = new SliceBuffer(slab);
  readonly codec: Http1ClientConnection;

  constructor(settings: Partial<Http1Settings> = {}) {
    this.codec = new Http1ClientConnection(this.transport, slab, http1Settings(settings), this.stats);
  }

  /** Sends a request; the stream that receives its response. */
  request(entries: [string, string][] = [], endStream = true): { stream: Recorder; encoder: RequestEncoder } {
    const stream = new Recorder();
    const encoder = this.codec.newStream(stream);
    encoder.stream.addCallbacks({
      onResetStream: (reason, failure) => {
        stream.message.reset = `${reason} ${failure}`;
      },
      onAboveWriteBufferHighWatermark: () => {},
      onBelowWriteBufferLowWatermark: () => {},
    });
    const all = new Map<string, string>([[':method', 'GET'], [':path', '/'], [':authority', 'upstream'], ...entries]);
    encoder.encodeHeaders(HeaderMap.of(slab, all), endStream);
    return { stream, encoder };
  }

  receive(text: string): CodecError | null {
    feed(this.buffer, text);
    return this.codec.dispatch(this.buffer);
  }

  close(): void {
    this.codec.onConnectionClosed(7, '');
    this.buffer.clear();
  }
}

export function bufferOf(text: string): SliceBuffer {
  const buffer = new SliceBuffer(slab);
  buffer.appendLatin1(text);
  return buffer;
}

export function headersOf(entries: [string, string][]): HeaderMap {
  return HeaderMap.of(slab, entries);
}
