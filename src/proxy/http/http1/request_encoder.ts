/**
 * Writes requests (Envoy: RequestEncoderImpl). Framing (RFC 9112 6): content-length when it is there; otherwise chunked, or
 * `content-length: 0` for a request without body whose method usually has one. CONNECT and upgrades are raw after their head.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import type { CodecTransport, RequestEncoder } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { writeText } from '../header_text.ts';
import { ascii, put } from './bytes.ts';
import { isUpgrade } from './connection_header.ts';
import { EncoderStream, FramingLine, type HeadStart, oneLine } from './encoder.ts';
import { METHOD_CONNECT, METHOD_HEAD, METHODS, methodOfBytes, usuallyBodiless } from './methods.ts';
import type { Http1Settings, Http1Stats } from './settings.ts';

export interface RequestEncoderOwner {
  onRequestComplete(): void;
  /** False: there is no such stream any more. */
  onStreamReset(): boolean;
}

const VERSION_AND_HOST = ascii(' HTTP/1.1\r\nhost: ');
const VERSION = ascii(' HTTP/1.1\r\n');
const EMPTY = new Uint8Array(0);

export class Http1RequestEncoder extends EncoderStream implements RequestEncoder {
  private readonly owner: RequestEncoderOwner;
  /** Of the last request, for the framing of its response. */
  isHead = false;
  isConnect = false;
  isUpgrade = false;

  constructor(owner: RequestEncoderOwner, transport: CodecTransport, slab: Slab, settings: Http1Settings, stats: Http1Stats) {
    super(transport, slab, settings, stats);
    this.owner = owner;
  }

  beginRequest(aboveWatermark: boolean): void {
    this.begin(aboveWatermark);
    this.isHead = false;
    this.isConnect = false;
    this.isUpgrade = false;
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): string | null {
    if (!headers.hasId(H[':method'])) return 'missing required header: :method';
    const method = methodOf(headers);
    this.isConnect = method === METHOD_CONNECT;
    if (this.isConnect) {
      if (!headers.hasId(H[':authority'])) return 'missing required header: :authority';
    } else if (!headers.hasId(H[':path'])) return 'missing required header: :path';
    if (this.ended) return null;
    this.headersEncoded = true;
    this.isHead = method === METHOD_HEAD;
    this.isUpgrade = headers.hasId(H.upgrade) && isUpgrade(headers);
    if (headers.hasId(H['transfer-encoding'])) headers.removeId(H['transfer-encoding']);

    let framing: FramingLine = FramingLine.None;
    if (this.isConnect || (this.isUpgrade && headers.hasId(H['content-length']))) {
      // No framing of ours: raw.
    } else if ((this.remaining = this.announcedLength(headers, endStream)) >= 0) {
      // Counted.
    } else if (endStream) {
      if (!usuallyBodiless(method)) framing = FramingLine.ContentLengthZero;
    } else if (!this.isUpgrade) {
      framing = FramingLine.Chunked;
      this.chunkEncoding = true;
    }
    const start = this.isConnect ? ConnectLine : this.settings.sendFullyQualifiedUrl ? AbsoluteLine : OriginLine;
    this.writeHead(start, EMPTY, headers, framing, FramingLine.None);
    if (endStream) this.finish();
    return null;
  }

  protected onEncodeComplete(): void {
    this.owner.onRequestComplete();
  }

  protected onReset(): boolean {
    return this.owner.onStreamReset();
  }
}

/** Index in METHODS, 0 for a custom method. */
function methodOf(headers: HeaderMap): number {
  const start = headers.valueByteStart(H[':method']);
  if (start >= 0) return methodOfBytes(headers.slab.u8, start, headers.valueByteLength(H[':method']));
  const text = headers.getId(H[':method']) as (typeof METHODS)[number];
  return Math.max(0, METHODS.indexOf(text));
}

type Formatter = ((name: string) => string) | undefined;

/** Method, a space, the target that `writeTarget` writes, version, and the Host line. */
function requestLine(
  headers: HeaderMap,
  at: number,
  formatter: Formatter,
  writeTarget: (headers: HeaderMap, at: number) => number,
): number {
  const u8 = headers.slab.u8;
  let p = headers.writeValue(H[':method'], at);
  u8[p++] = 32;
  p = writeTarget(headers, p);
  if (!headers.hasId(H[':authority'])) return put(u8, VERSION, p);
  if (formatter === undefined) p = put(u8, VERSION_AND_HOST, p);
  else p = writeText(u8, `${formatter('host')}: `, put(u8, VERSION, p));
  p = headers.writeValue(H[':authority'], p);
  u8[p++] = 13;
  u8[p++] = 10;
  return p;
}

function requestText(headers: HeaderMap, formatter: Formatter, target: string): string {
  const host = headers.getId(H[':authority']);
  const line = `${headers.getId(H[':method'])} ${oneLine(target)} HTTP/1.1\r\n`;
  return host === undefined ? line : `${line}${formatter === undefined ? 'host' : formatter('host')}: ${oneLine(host)}\r\n`;
}

const originTarget = (headers: HeaderMap, at: number): number => headers.writeValue(H[':path'], at);
const authorityTarget = (headers: HeaderMap, at: number): number => headers.writeValue(H[':authority'], at);
function absoluteTarget(headers: HeaderMap, at: number): number {
  const u8 = headers.slab.u8;
  let p = writeText(u8, headers.getId(H[':scheme']) ?? 'http', at);
  p = writeText(u8, '://', p);
  return originTarget(headers, authorityTarget(headers, p));
}

/** Start line and Host line take at most this much. */
function byteLength(headers: HeaderMap): number {
  return (
    headers.valueByteLength(H[':method']) +
    headers.valueByteLength(H[':path']) +
    2 * headers.valueByteLength(H[':authority']) +
    64
  );
}

const OriginLine: HeadStart = {
  byteLength,
  write: (headers, _constant, at, formatter) => requestLine(headers, at, formatter, originTarget),
  text: (headers, _constant, formatter) => requestText(headers, formatter, headers.getId(H[':path']) as string),
};
const ConnectLine: HeadStart = {
  byteLength,
  write: (headers, _constant, at, formatter) => requestLine(headers, at, formatter, authorityTarget),
  text: (headers, _constant, formatter) => requestText(headers, formatter, headers.getId(H[':authority']) as string),
};
const AbsoluteLine: HeadStart = {
  byteLength,
  write: (headers, _constant, at, formatter) => requestLine(headers, at, formatter, absoluteTarget),
  text: (headers, _constant, formatter) =>
    requestText(
      headers,
      formatter,
      `${headers.getId(H[':scheme']) ?? 'http'}://${headers.getId(H[':authority']) ?? ''}${headers.getId(H[':path'])}`,
    ),
};
