/**
 * How a response's body is delimited (RFC 9112 6.3; Envoy: Http1::ClientConnectionImpl::onHeadersCompleteBase), and which
 * combinations of framing fields make it unusable.
 */
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { BodyKind } from './body_decoder.ts';
import type { HeadParser } from './head_parser.ts';
import { Details, type Http1Settings } from './settings.ts';

/** The body's kind, or the details of an error. */
export function responseBody(
  parser: HeadParser,
  headers: HeaderMap,
  settings: Http1Settings,
  isHead: boolean,
  isConnect: boolean,
  isUpgrade: boolean,
): BodyKind | Details {
  const status = parser.status;
  if (parser.hasTransferEncoding && parser.contentLength >= 0) {
    if (!parser.chunked || !settings.allowChunkedLength) return Details.ChunkedContentLength;
    headers.removeId(H['content-length']);
    parser.contentLength = -1;
  }
  if (status < 200 || status === 204) {
    if (parser.hasTransferEncoding) return Details.TransferEncodingNotAllowed;
    if (parser.contentLength > 0) return Details.ContentLengthNotAllowed;
    if (parser.contentLength === 0) headers.removeId(H['content-length']);
    if (status !== 101) return BodyKind.None;
    // Nobody asked to switch: what follows cannot be understood.
    return isUpgrade ? BodyKind.UntilClose : Details.CodecError;
  }
  if (parser.hasTransferEncoding && !parser.chunked) return Details.InvalidTransferEncoding;
  if (isConnect && status < 300) {
    return parser.hasTransferEncoding ? Details.InvalidTransferEncoding : BodyKind.UntilClose;
  }
  if (isHead || status === 304) return BodyKind.None;
  if (parser.chunked) return BodyKind.Chunked;
  if (parser.contentLength >= 0) return parser.contentLength === 0 ? BodyKind.None : BodyKind.Length;
  return BodyKind.UntilClose;
}
