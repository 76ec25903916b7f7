/**
 * Writes responses (Envoy: ResponseEncoderImpl). Framing (RFC 9112 6): content-length when it is there, otherwise chunked for 1.1 and
 * until close for 1.0; nothing for HEAD, 1xx, 204, 304; raw after 101 and after a 2xx to CONNECT.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import type { CodecTransport, ResponseEncoder } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { connectionHas } from './connection_header.ts';
import { ConstantStart, EncoderStream, FramingLine } from './encoder.ts';
import { METHOD_CONNECT, METHOD_HEAD } from './methods.ts';
import type { Http1Settings, Http1Stats } from './settings.ts';
import { statusLine } from './status_line.ts';

/** What the encoder tells its connection. */
export interface ResponseEncoderOwner {
  onTunnelAccepted(): void;
  onResponseComplete(close: boolean): void;
  /** False: there is no such stream any more. */
  onStreamReset(): boolean;
}

export class Http1ResponseEncoder extends EncoderStream implements ResponseEncoder {
  private readonly owner: ResponseEncoderOwner;
  private isHead = false;
  private isConnect = false;
  private isTunnel = false;
  private isHttp10 = false;
  /** This response ends the connection. */
  private close = false;

  constructor(owner: ResponseEncoderOwner, transport: CodecTransport, slab: Slab, settings: Http1Settings, stats: Http1Stats) {
    super(transport, slab, settings, stats);
    this.owner = owner;
  }

  get streamErrorOnInvalidHttpMessage(): boolean {
    return this.settings.streamErrorOnInvalidHttpMessage;
  }

  /** A stream begins; nothing is known of its request yet. */
  beginResponse(aboveWatermark: boolean): void {
    this.begin(aboveWatermark);
    this.isHead = false;
    this.isConnect = false;
    this.isTunnel = false;
    this.isHttp10 = false;
    this.close = false;
  }

  /** What the framing of the response depends on. */
  onRequest(method: number, tunnel: boolean, http10: boolean): void {
    this.isHead = method === METHOD_HEAD;
    this.isConnect = method === METHOD_CONNECT;
    this.isTunnel = tunnel;
    this.isHttp10 = http10;
  }

  encode1xxHeaders(headers: HeaderMap): void {
    // RFC 9110 15.2: a 1.0 client does not know interim responses.
    if (this.ended || this.headersEncoded || this.isHttp10) return;
    const status = statusOf(headers);
    this.writeHead(ConstantStart, statusLine(status, false), headers, FramingLine.None, FramingLine.None);
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.ended) return;
    const status = statusOf(headers);
    this.headersEncoded = true;
    if (headers.hasId(H['transfer-encoding'])) headers.removeId(H['transfer-encoding']);
    const hasConnection = headers.hasId(H.connection);
    if (hasConnection && connectionHas(headers, 'close')) this.close = true;

    let framing: FramingLine = FramingLine.None;
    let closing: FramingLine = FramingLine.None;
    const accepted = this.isTunnel && !endStream && (this.isConnect ? status >= 200 && status < 300 : status === 101);
    if (accepted) {
      // Raw from here on.
    } else if (status < 200 || status === 204 || status === 304) {
      this.discardBody = true;
    } else if (this.isHead) {
      this.discardBody = true;
      if (!this.isHttp10 && !headers.hasId(H['content-length'])) framing = FramingLine.Chunked;
    } else if ((this.remaining = this.announcedLength(headers, endStream)) >= 0) {
      // Counted.
    } else if (endStream) {
      framing = FramingLine.ContentLengthZero;
    } else if (this.isHttp10) {
      this.close = true;
      if (!hasConnection) closing = FramingLine.ConnectionClose;
    } else {
      framing = FramingLine.Chunked;
      this.chunkEncoding = true;
    }
    this.writeHead(ConstantStart, statusLine(status, this.isHttp10 && this.settings.acceptHttp10), headers, framing, closing);
    if (accepted) this.owner.onTunnelAccepted();
    if (endStream) this.finish();
  }

  protected onEncodeComplete(): void {
    this.owner.onResponseComplete(this.close);
  }

  protected onReset(): boolean {
    return this.owner.onStreamReset();
  }
}

/** `:status` as a number, without a string when it is bytes. 503 when it is missing or no status: a bug of a filter. */
export function statusOf(headers: HeaderMap): number {
  const start = headers.valueByteStart(H[':status']);
  let status = 0;
  if (start >= 0) {
    const u8 = headers.slab.u8;
    if (headers.valueByteLength(H[':status']) === 3)
      status = (u8[start] - 48) * 100 + (u8[start + 1] - 48) * 10 + (u8[start + 2] - 48);
  } else status = Number(headers.getId(H[':status']) ?? 0);
  return Number.isInteger(status) && status >= 100 && status <= 999 ? status : 503;
}
