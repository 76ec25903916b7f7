/**
 * `envoy.filters.http.grpc_web`: browsers' gRPC. A request of `application/grpc-web` goes on as `application/grpc`, base64 of
 * `-text` is undone; in the response, trailers become a last frame of the body (flag 0x80), and `-text` is encoded again.
 *
 * Left out: Envoy's rewriting of responses that are no gRPC (they pass as they are).
 */
import { Buffer } from 'node:buffer';
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HttpFilterConfigFactory } from '../../../server/factory_context.ts';

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.grpc_web.v3.GrpcWeb',
  name: 'envoy.filters.http.grpc_web',
  isTerminal: () => false,
  create: () => (callbacks) => callbacks.addStreamFilter(new GrpcWebFilter()),
};

const WEB = /^application\/grpc-web(-text)?(?:\+proto)?$/;
const TRAILERS = 0x80;

class GrpcWebFilter extends PassThroughFilter {
  private active = false;
  private requestIsText = false;
  private responseIsText = false;
  private transforming = false;
  /** Base64 characters that make no group of four yet. */
  private pending = '';
  /** Bytes of the response that make no group of three yet. */
  private rest = Buffer.alloc(0);

  override decodeHeaders(headers: HeaderMap, _endStream: boolean): FilterHeadersStatus {
    const type = WEB.exec(headers.getId(H['content-type']) ?? '');
    if (type === null) return FilterHeadersStatus.Continue;
    this.active = true;
    this.requestIsText = type[1] !== undefined;
    this.responseIsText = WEB.exec(headers.getId(H.accept) ?? '')?.[1] !== undefined || this.requestIsText;
    headers.removeId(H['content-length']);
    headers.setId(H['content-type'], 'application/grpc');
    headers.setId(H.te, 'trailers');
    headers.setId(H['grpc-accept-encoding'], 'identity,deflate,gzip');
    return FilterHeadersStatus.Continue;
  }

  override decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (!this.requestIsText) return FilterDataStatus.Continue;
    const text = this.pending + data.toText();
    const whole = text.length - (text.length % 4);
    this.pending = text.slice(whole);
    data.clear();
    if (!isBase64(text, whole) || (endStream && this.pending !== '')) {
      this.decoder.sendLocalReply(
        400,
        'Bad gRPC-web request, invalid base64 data.',
        null,
        null,
        'grpc_base_64_decode_failed_bad_size',
      );
      return FilterDataStatus.StopIterationNoBuffer;
    }
    data.append(decodeGroups(text.slice(0, whole)));
    return FilterDataStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    if (!this.active) return FilterHeadersStatus.Continue;
    const type = headers.getId(H['content-type']) ?? '';
    if (headers.getId(H[':status']) !== '200' || !type.startsWith('application/grpc')) return FilterHeadersStatus.Continue;
    headers.setId(H['content-type'], this.responseIsText ? 'application/grpc-web-text+proto' : 'application/grpc-web+proto');
    if (headers.hasId(H['content-length'])) headers.removeId(H['content-length']);
    this.transforming = !endStream;
    return FilterHeadersStatus.Continue;
  }

  override encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (!this.transforming || !this.responseIsText) return FilterDataStatus.Continue;
    const text = this.encodeText(data.toBytes(), endStream);
    data.clear();
    data.appendLatin1(text);
    return FilterDataStatus.Continue;
  }

  override encodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    if (!this.transforming) return FilterTrailersStatus.Continue;
    let text = '';
    const names: string[] = [];
    trailers.forEach((name, value) => {
      text += `${name}:${value}\r\n`;
      names.push(name);
    });
    const frame = Buffer.alloc(5 + text.length);
    frame[0] = TRAILERS;
    frame.writeUInt32BE(text.length, 1);
    frame.write(text, 5, 'latin1');
    const data = new SliceBuffer(this.encoder.dispatcher.slab);
    if (this.responseIsText) data.appendLatin1(this.encodeText(frame, true));
    else data.append(frame);
    for (const name of names) trailers.remove(name);
    this.encoder.addEncodedData(data, true);
    return FilterTrailersStatus.Continue;
  }

  override onDestroy(): void {
    this.pending = '';
    this.rest = Buffer.alloc(0);
  }

  reset(): void {
    this.active = false;
    this.requestIsText = false;
    this.responseIsText = false;
    this.transforming = false;
  }

  private encodeText(bytes: Uint8Array, last: boolean): string {
    const all = this.rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.rest, bytes]);
    const whole = last ? all.length : all.length - (all.length % 3);
    this.rest = Buffer.from(all.subarray(whole));
    return all.toString('base64', 0, whole);
  }
}

function isBase64(text: string, length: number): boolean {
  return /^[A-Za-z0-9+/=]*$/.test(length === text.length ? text : text.slice(0, length));
}

/** Groups of four; a padded one may stand anywhere, as senders encode each message by itself. */
function decodeGroups(text: string): Uint8Array {
  if (!text.includes('=')) return Uint8Array.from(Buffer.from(text, 'base64'));
  const parts = text.match(/[^=]*={0,2}/g) ?? [];
  return Uint8Array.from(Buffer.concat(parts.map((part) => Buffer.from(part, 'base64'))));
}
