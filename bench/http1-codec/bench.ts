/**
 * What does the HTTP/1 codec cost per message, without sockets? A proxied request is: parse the request, write it to the upstream,
 * parse the response, write it downstream. Each row is one of these, or all four, with real server and client connections and a
 * transport that drops what it gets.
 */

import { Slab } from '../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../src/core/buffer/slice_buffer.ts';
import type {
  CodecTransport,
  RequestDecoder,
  RequestEncoder,
  ResponseDecoder,
  ResponseEncoder,
} from '../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../src/proxy/http/header_map.ts';
import { Http1ClientConnection } from '../../src/proxy/http/http1/client_connection.ts';
import { Http1RequestEncoder } from '../../src/proxy/http/http1/request_encoder.ts';
import { Http1ServerConnection } from '../../src/proxy/http/http1/server_connection.ts';
import { http1Settings } from '../../src/proxy/http/http1/settings.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';

const REQUESTS = {
  wrk: 'GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:10000\r\n\r\n',
  curl: 'GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n',
  browser:
    'GET /app/static/main.js?v=183 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\nsec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"\r\n' +
    'sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n' +
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n' +
    'Referer: https://www.example.com/app/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n' +
    'Cookie: session=2f1d8c0a9b7e4d5f8a6b1c3e5d7f9a0b; theme=dark; consent=1\r\n\r\n',
} as const;
const RESPONSE =
  'HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Tue, 04 Nov 2025 10:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 15\r\n' +
  'Last-Modified: Tue, 04 Nov 2025 09:00:00 GMT\r\nConnection: keep-alive\r\nETag: "6909c0f0-f"\r\nAccept-Ranges: bytes\r\n\r\nhello, world!\r\n';

const slab = new Slab(256);
const counter = { name: '', value: 0, inc() {}, add() {} };
const stats = {
  metadataNotSupportedError: counter,
  droppedHeadersWithUnderscores: counter,
  requestsRejectedWithUnderscoresInHeaders: counter,
  responseFlood: counter,
  contentLengthMismatch: counter,
};

class Sink implements CodecTransport {
  bytes = 0;

  write(data: SliceBuffer): void {
    this.bytes += data.length;
    data.clear();
  }

  readDisable(): void {}
}

/** Request in, request out, response in, response out: what a proxy does, and nothing else. */
class Pipe implements RequestDecoder, ResponseDecoder {
  readonly client = new Http1ClientConnection(new Sink(), slab, http1Settings(), stats);
  readonly server = new Http1ServerConnection(
    new Sink(),
    slab,
    this as unknown as { newStream(e: ResponseEncoder): RequestDecoder },
    http1Settings(),
    stats,
  );
  forward = true;
  private response: ResponseEncoder | null = null;
  private request: RequestEncoder | null = null;
  private requestHeaders: HeaderMap | null = null;
  private responseHeaders: HeaderMap | null = null;
  private readonly ok = HeaderMap.of(slab, [[':status', '200']]);
  private isResponse = false;

  newStream(encoder: ResponseEncoder): RequestDecoder {
    this.response = encoder;
    this.isResponse = false;
    return this;
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.isResponse) {
      this.responseHeaders = headers;
      this.response?.encodeHeaders(headers, endStream);
      return;
    }
    this.requestHeaders = headers;
    this.isResponse = true;
    if (!this.forward) {
      headers.release();
      this.response?.encodeHeaders(this.ok, true);
      return;
    }
    this.request = this.client.newStream(this);
    this.request.encodeHeaders(headers, endStream);
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    this.response?.encodeData(data, endStream);
    if (!endStream) return;
    this.requestHeaders?.release();
    this.responseHeaders?.release();
  }

  decode1xxHeaders(): void {}
  decodeTrailers(): void {}
  sendLocalReply(): void {
    throw new Error('refused');
  }
}

/** Writes each request again as an upstream request and answers it at once. */
class Forwarder implements RequestDecoder {
  private readonly request: Http1RequestEncoder;
  private response: ResponseEncoder | null = null;
  private readonly ok = HeaderMap.of(slab, [[':status', '200']]);

  constructor(transport: CodecTransport) {
    this.request = new Http1RequestEncoder(
      { onRequestComplete() {}, onStreamReset: () => true },
      transport,
      slab,
      http1Settings(),
      stats,
    );
  }

  newStream(encoder: ResponseEncoder): RequestDecoder {
    this.response = encoder;
    return this;
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.request.beginRequest(false);
    this.request.encodeHeaders(headers, endStream);
    headers.release();
    this.response?.encodeHeaders(this.ok, true);
  }

  decodeData(): void {}
  decodeTrailers(): void {}
  sendLocalReply(): void {
    throw new Error('refused');
  }
}

/** The bytes in a block, as a kernel would leave them: copied in for each message (its cost is measured apart). */
function source(text: string): { take(buffer: SliceBuffer): void } {
  const template = slab.allocate();
  slab.u8.set(Buffer.from(text, 'latin1'), template);
  return {
    take(buffer) {
      const offset = slab.allocate();
      slab.u8.copyWithin(offset, template, template + text.length);
      buffer.push(offset, text.length);
    },
  };
}

/** Nanoseconds of CPU time (not of wall clock: the machine may be busy), the best of five rounds. */
function nsPerCall(run: () => void, milliseconds: number): number {
  for (let i = 0; i < 30_000; i++) run();
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const start = process.cpuUsage();
    let count = 0;
    let micros = 0;
    do {
      for (let i = 0; i < 5000; i++) run();
      count += 5000;
      const { user, system } = process.cpuUsage(start);
      micros = user + system;
    } while (micros < milliseconds * 200);
    best = Math.min(best, (micros * 1000) / count);
  }
  return best;
}

export async function run(options: BenchOptions): Promise<Row[]> {
  const rows: Row[] = [];
  const milliseconds = options.quick ? 200 : 1000;
  const buffer = new SliceBuffer(slab);
  const response = source(RESPONSE);
  for (const [name, text] of Object.entries(REQUESTS)) {
    const pipe = new Pipe();
    const request = source(text);
    const feeding = nsPerCall(() => {
      request.take(buffer);
      buffer.clear();
    }, milliseconds);
    const feedingBoth = nsPerCall(() => {
      request.take(buffer);
      buffer.clear();
      response.take(buffer);
      buffer.clear();
    }, milliseconds);
    const sink = new Sink();
    const forwarder = new Http1ServerConnection(sink, slab, new Forwarder(sink), http1Settings(), stats);
    const forwarded = nsPerCall(() => {
      request.take(buffer);
      forwarder.dispatch(buffer);
    }, milliseconds);
    pipe.forward = false;
    const local = nsPerCall(() => {
      request.take(buffer);
      pipe.server.dispatch(buffer);
    }, milliseconds);
    pipe.forward = true;
    const proxied = nsPerCall(() => {
      request.take(buffer);
      pipe.server.dispatch(buffer);
      response.take(buffer);
      pipe.client.dispatch(buffer);
    }, milliseconds);
    rows.push(
      row({
        case: `${name} request (${text.length} bytes), parsed and written again, and an empty 200`,
        unit: 'ns',
        better: 'lower',
        ours: forwarded - feeding,
        peers: {},
      }),
      row({
        case: `${name} request (${text.length} bytes), parsed, and an empty 200`,
        unit: 'ns',
        better: 'lower',
        ours: local - feeding,
        peers: {},
      }),
      row({
        case: `${name} request and its response, through both codecs`,
        unit: 'ns',
        better: 'lower',
        ours: proxied - feedingBoth,
        peers: {},
        note: `copying the bytes in (${feedingBoth.toFixed(0)} ns) is not counted`,
      }),
    );
  }
  return rows;
}
