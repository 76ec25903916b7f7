/** An HTTP/2 codec between memory and memory: frames in, cut as asked; frames out; messages as text. */
import { Slab } from '../../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import { Store } from '../../../../src/core/stats/store.ts';
import type {
  CodecError,
  RequestDecoder,
  RequestEncoder,
  ResponseDecoder,
  ResponseEncoder,
  StreamCallbacks,
  StreamResetReason,
} from '../../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import { Http2ClientConnection } from '../../../../src/proxy/http/http2/client_connection.ts';
import { Flag, FrameType, PREFACE, readUint32, writeFrameHead, writeUint32 } from '../../../../src/proxy/http/http2/frame.ts';
import type { Http2Transport } from '../../../../src/proxy/http/http2/frame_writer.ts';
import { HpackDecoder } from '../../../../src/proxy/http/http2/hpack_decoder.ts';
import { Http2ServerConnection } from '../../../../src/proxy/http/http2/server_connection.ts';
import { type Http2Settings, http2Settings, http2Stats } from '../../../../src/proxy/http/http2/settings.ts';

/** One slab for all tests of a file; `blocksInUse` is compared with what it was. */
export const slab = new Slab(8192);
slab.release(slab.reserve(1));

export interface Frame {
  type: number;
  flags: number;
  id: number;
  payload: Uint8Array;
}

export function frame(type: number, flags: number, id: number, payload: Uint8Array | number[] | string = ''): Uint8Array {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : Uint8Array.from(payload);
  const out = new Uint8Array(9 + bytes.length);
  writeFrameHead(out, 0, bytes.length, type, flags, id);
  out.set(bytes, 9);
  return out;
}

export const uint32 = (value: number): number[] => {
  const bytes = new Uint8Array(4);
  writeUint32(bytes, 0, value);
  return [...bytes];
};

export const SETTINGS = frame(FrameType.Settings, 0, 0);
export const START = Buffer.concat([PREFACE, SETTINGS]);

/** A header block without Huffman and without the tables' use: literals. */
export function block(...fields: (readonly [name: string, value: string])[]): number[] {
  const bytes: number[] = [];
  const length = (n: number): void => {
    if (n < 127) bytes.push(n);
    else {
      bytes.push(127);
      let rest = n - 127;
      for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128);
      bytes.push(rest);
    }
  };
  for (const [name, value] of fields) {
    bytes.push(0);
    length(name.length);
    bytes.push(...Buffer.from(name, 'latin1'));
    length(value.length);
    bytes.push(...Buffer.from(value, 'latin1'));
  }
  return bytes;
}

export const GET = block([':method', 'GET'], [':scheme', 'http'], [':path', '/'], [':authority', 'a.test']);
export const POST = block([':method', 'POST'], [':scheme', 'http'], [':path', '/'], [':authority', 'a.test']);
export const END_BOTH = Flag.EndHeaders | Flag.EndStream;

/** What the codec wrote, as frames; header blocks can be decoded in order. */
export class TestTransport implements Http2Transport {
  readonly frames: Frame[] = [];
  /** A peer that does not read. */
  stuck = false;
  writeBufferBytes = 0;
  readDisabled = 0;
  flushWatched = 0;
  pingAcks = 0;
  private rest: Uint8Array = new Uint8Array(0);
  private prefaceLeft: number;
  private readonly hpack = new HpackDecoder(slab, 4096, { maxBytes: 1 << 20, maxCount: 1000 }, false);

  constructor(skip: number) {
    this.prefaceLeft = skip;
  }

  write(data: SliceBuffer): void {
    if (this.stuck) this.writeBufferBytes += data.length;
    let bytes = Buffer.concat([this.rest, data.toBytes()]);
    data.clear();
    const skipped = Math.min(this.prefaceLeft, bytes.length);
    this.prefaceLeft -= skipped;
    bytes = bytes.subarray(skipped);
    while (bytes.length >= 9) {
      const length = (bytes[0] << 16) | (bytes[1] << 8) | bytes[2];
      if (bytes.length < 9 + length) break;
      this.frames.push({
        type: bytes[3],
        flags: bytes[4],
        id: readUint32(bytes, 5),
        payload: Uint8Array.from(bytes.subarray(9, 9 + length)),
      });
      bytes = bytes.subarray(9 + length);
    }
    this.rest = bytes;
  }

  readDisable(disable: boolean): void {
    this.readDisabled += disable ? 1 : -1;
  }

  watchFlush(): void {
    this.flushWatched++;
  }

  onPingAck(): void {
    this.pingAcks++;
  }

  /** Frames since the last call. */
  take(): Frame[] {
    return this.frames.splice(0);
  }

  /** As `take`, short: `HEADERS 1 ES`, `DATA 1 5`, `RST 1 8`, `GOAWAY 1` (the code) ... without SETTINGS and connection WINDOW_UPDATE. */
  log(): string[] {
    return this.take()
      .filter((f) => f.type !== FrameType.Settings && !(f.type === FrameType.WindowUpdate && f.id === 0))
      .map((f) => describe(f));
  }

  /** The fields of a HEADERS frame. Call once per frame, in order. */
  fields(f: Frame): [string, string][] {
    const map = new HeaderMap(slab);
    if (!this.hpack.decode(f.payload, 0, f.payload.length, map)) throw new Error('cannot be decoded');
    const fields = [...map.entries()];
    map.release();
    return fields;
  }

  close(): void {
    this.hpack.release();
  }
}

const NAMES = ['DATA', 'HEADERS', 'PRIORITY', 'RST', 'SETTINGS', 'PUSH', 'PING', 'GOAWAY', 'WINDOW', 'CONTINUATION'];

export function describe(f: Frame): string {
  const end = (f.type === FrameType.Data || f.type === FrameType.Headers) && (f.flags & Flag.EndStream) !== 0 ? ' ES' : '';
  switch (f.type) {
    case FrameType.Data:
      return `DATA ${f.id} ${f.payload.length}${end}`;
    case FrameType.RstStream:
      return `RST ${f.id} ${readUint32(f.payload, 0)}`;
    case FrameType.GoAway:
      return `GOAWAY ${readUint32(f.payload, 0)} ${readUint32(f.payload, 4)}`;
    case FrameType.WindowUpdate:
      return `WINDOW ${f.id} ${readUint32(f.payload, 0)}`;
    case FrameType.Ping:
      return `PING${(f.flags & Flag.Ack) !== 0 ? ' ACK' : ''}`;
    default:
      return `${NAMES[f.type]} ${f.id}${end}`;
  }
}

function lines(headers: HeaderMap): string[] {
  return [...headers.entries()].map(([name, value]) => `${name}: ${value}`);
}

/** Notes everything of one message; a server's answers as `onEnd` says. */
export class Recorder implements RequestDecoder, ResponseDecoder, StreamCallbacks {
  headers: string[] | null = null;
  body = '';
  trailers: string[] | null = null;
  interim: string[][] = [];
  ended = false;
  localReply: string | null = null;
  reset: StreamResetReason | null = null;
  above = false;
  encoder: ResponseEncoder | RequestEncoder | null = null;
  onEnd: (() => void) | null = null;

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.headers = lines(headers);
    headers.release();
    if (endStream) this.end();
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    this.body += data.toText();
    data.clear();
    if (endStream) this.end();
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.trailers = lines(trailers);
    trailers.release();
    this.end();
  }

  decode1xxHeaders(headers: HeaderMap): void {
    this.interim.push(lines(headers));
    headers.release();
  }

  sendLocalReply(status: number, _body: string, details: string): void {
    this.localReply = `${status} ${details}`;
    this.respond(status, true);
  }

  onResetStream(reason: StreamResetReason): void {
    this.reset = reason;
  }

  onAboveWriteBufferHighWatermark(): void {
    this.above = true;
  }

  onBelowWriteBufferLowWatermark(): void {
    this.above = false;
  }

  respond(status: number, endStream: boolean, ...fields: [string, string][]): void {
    const headers = HeaderMap.of(slab, [[':status', String(status)], ...fields]);
    (this.encoder as ResponseEncoder).encodeHeaders(headers, endStream);
    headers.release();
  }

  send(text: string, endStream: boolean): void {
    const data = new SliceBuffer(slab);
    data.appendLatin1(text);
    this.encoder!.encodeData(data, endStream);
    data.clear();
  }

  private end(): void {
    this.ended = true;
    this.onEnd?.();
  }
}

export class TestServer {
  readonly transport = new TestTransport(0);
  readonly store = new Store();
  readonly requests: Recorder[] = [];
  readonly codec: Http2ServerConnection;
  /** What happens when a request is complete. */
  answer: (request: Recorder) => void = (request) => request.respond(200, true);
  error: CodecError | null = null;
  private readonly data = new SliceBuffer(slab);

  constructor(settings: Partial<Http2Settings> = {}) {
    this.codec = new Http2ServerConnection(
      this.transport,
      slab,
      {
        newStream: (encoder) => {
          const request = new Recorder();
          request.encoder = encoder;
          encoder.stream.addCallbacks(request);
          request.onEnd = () => this.answer(request);
          this.requests.push(request);
          return request;
        },
      },
      http2Settings(settings),
      http2Stats(this.store),
      [],
    );
  }

  /** In pieces of `cut` bytes; 0: at once. */
  receive(bytes: Uint8Array, cut = 0): this {
    for (let at = 0; at < bytes.length && this.error === null; at += cut || bytes.length) {
      feed(this.data, bytes.subarray(at, cut === 0 ? bytes.length : at + cut));
      this.error = this.codec.dispatch(this.data);
    }
    return this;
  }

  /** After preface and SETTINGS. */
  started(): this {
    this.receive(START);
    this.transport.take();
    return this;
  }

  counter(name: string): number {
    return this.store.counter(`http2.${name}`).value;
  }

  close(): void {
    this.data.clear();
    this.codec.onConnectionClosed();
    this.transport.close();
  }
}

export class TestClient {
  readonly transport = new TestTransport(PREFACE.length);
  readonly store = new Store();
  readonly codec: Http2ClientConnection;
  goAways = 0;
  closedStreams = 0;
  error: CodecError | null = null;
  private readonly data = new SliceBuffer(slab);

  constructor(settings: Partial<Http2Settings> = {}) {
    this.codec = new Http2ClientConnection(
      this.transport,
      slab,
      {
        onGoAway: () => this.goAways++,
        onStreamClosed: () => this.closedStreams++,
        onStreamLimit() {},
      },
      http2Settings(settings),
      http2Stats(this.store),
    );
  }

  request(endStream: boolean, ...fields: [string, string][]): Recorder {
    const response = new Recorder();
    const encoder = this.codec.newStream(response);
    response.encoder = encoder;
    encoder.stream.addCallbacks(response);
    const headers = HeaderMap.of(slab, [
      [':method', endStream ? 'GET' : 'POST'],
      [':path', '/'],
      [':scheme', 'http'],
      [':authority', 'a.test'],
    ]);
    for (const [name, value] of fields) headers.set(name, value);
    encoder.encodeHeaders(headers, endStream);
    headers.release();
    return response;
  }

  receive(bytes: Uint8Array, cut = 0): this {
    for (let at = 0; at < bytes.length && this.error === null; at += cut || bytes.length) {
      feed(this.data, bytes.subarray(at, cut === 0 ? bytes.length : at + cut));
      this.error = this.codec.dispatch(this.data);
    }
    return this;
  }

  started(): this {
    this.codec.start();
    this.receive(SETTINGS);
    this.transport.take();
    return this;
  }

  close(reason: StreamResetReason): void {
    this.data.clear();
    this.codec.onConnectionClosed(reason, '');
    this.transport.close();
  }
}

/** Each piece in a block of its own, at an odd offset. */
function feed(buffer: SliceBuffer, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += 16000) {
    const piece = bytes.subarray(at, at + 16000);
    const offset = slab.allocate();
    slab.u8.set(piece, offset + 7);
    buffer.push(offset + 7, piece.length);
  }
}
