/**
 * Replies that the proxy itself gives (Envoy: local_reply.cc and Utility::sendLocalReply): `local_reply_config` rewrites status, headers
 * and body; gRPC clients get a trailers-only response instead.
 */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { FormatterContext } from '../../access_log/access_log.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { ReplyBody } from '../filter.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { ModifyHeaders } from './filter_manager.ts';
import { decimal } from './header_bytes.ts';

/** A `body_format`: the text for one reply and its content type. */
export interface BodyFormatter {
  readonly contentType: string;
  format(context: FormatterContext, info: StreamInfo): string;
}

/** A `mappers[]` entry. */
export interface LocalReplyMapper {
  matches(context: FormatterContext, info: StreamInfo): boolean;
  /** 0: unchanged. */
  readonly statusCode: number;
  readonly body: string | undefined;
  readonly bodyFormat: BodyFormatter | null;
  /** `headers_to_add`, or null. */
  readonly addHeaders: ((headers: HeaderMap, context: FormatterContext, info: StreamInfo) => void) | null;
}

/** The stream's view of its reply while it is made. */
export interface LocalReplyContext extends FormatterContext {
  localReplyBody: string;
  responseHeaders: HeaderMap | null;
}

export interface LocalReplyRequest {
  status: number;
  body: ReplyBody;
  modify: ModifyHeaders | null;
  grpcStatus: number | null;
  isGrpc: boolean;
  isHead: boolean;
}

const HTTP_TO_GRPC: Readonly<Record<number, string>> = {
  400: '13',
  401: '16',
  403: '7',
  404: '12',
  429: '14',
  502: '14',
  503: '14',
  504: '14',
};

export class LocalReply {
  private readonly mappers: readonly LocalReplyMapper[];
  private readonly bodyFormat: BodyFormatter | null;

  constructor(mappers: readonly LocalReplyMapper[], bodyFormat: BodyFormatter | null) {
    this.mappers = mappers;
    this.bodyFormat = bodyFormat;
  }

  /** Fills `headers` and `body`; the status that goes into stats and logs is in `info.responseCode`. */
  prepare(request: LocalReplyRequest, headers: HeaderMap, body: SliceBuffer, context: LocalReplyContext, info: StreamInfo): void {
    const given = typeof request.body === 'string' ? request.body : utf8(request.body);
    let text = given;
    headers.addId(H[':status'], decimal(request.status));
    request.modify?.(headers);
    let contentType = headers.getId(H['content-type']) ?? 'text/plain';
    if (this.mappers.length > 0 || this.bodyFormat !== null) {
      const outcome = this.rewrite(request.status, text, headers, context, info);
      text = outcome.text;
      contentType = outcome.contentType ?? contentType;
    } else {
      info.responseCode = request.status;
    }
    context.localReplyBody = text;
    if (request.isGrpc) {
      this.toGrpc(request, headers, text, info);
      return;
    }
    headers.setId(H[':status'], decimal(info.responseCode));
    headers.removeId(H['content-length']);
    if (text === '') {
      headers.removeId(H['content-type']);
      return;
    }
    // Bytes that no rewriting has made into another text go out as they came.
    if (typeof request.body === 'string' || text !== given) body.appendUtf8(text);
    else body.append(request.body);
    headers.setId(H['content-length'], decimal(body.length));
    headers.setId(H['content-type'], contentType);
    if (request.isHead) body.clear();
  }

  private rewrite(
    status: number,
    text: string,
    headers: HeaderMap,
    context: LocalReplyContext,
    info: StreamInfo,
  ): { text: string; contentType: string | undefined } {
    info.responseCode = status;
    const before = context.responseHeaders;
    context.responseHeaders = headers;
    context.localReplyBody = text;
    let format = this.bodyFormat;
    for (const mapper of this.mappers) {
      if (!mapper.matches(context, info)) continue;
      if (mapper.body !== undefined) text = mapper.body;
      mapper.addHeaders?.(headers, context, info);
      if (mapper.statusCode !== 0) {
        info.responseCode = mapper.statusCode;
        headers.setId(H[':status'], decimal(mapper.statusCode));
      }
      if (mapper.bodyFormat !== null) format = mapper.bodyFormat;
      break;
    }
    context.localReplyBody = text;
    let contentType: string | undefined;
    if (format !== null) {
      text = format.format(context, info);
      contentType = format.contentType;
    }
    context.responseHeaders = before;
    return { text, contentType };
  }

  private toGrpc(request: LocalReplyRequest, headers: HeaderMap, text: string, info: StreamInfo): void {
    const status = request.grpcStatus === null ? (HTTP_TO_GRPC[info.responseCode] ?? '2') : decimal(request.grpcStatus);
    headers.setId(H[':status'], '200');
    headers.setId(H['content-type'], 'application/grpc');
    if (!headers.hasId(H['grpc-status'])) headers.addId(H['grpc-status'], status);
    if (text !== '' && !request.isHead) headers.setId(H['grpc-message'], percentEncode(text));
    headers.removeId(H['content-length']);
    info.responseCode = 200;
  }
}

function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** As gRPC wants `grpc-message`: everything but printable ASCII, and `%`, as %XX of its UTF-8 bytes. */
export function percentEncode(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    if (byte < 0x20 || byte >= 0x7f || byte === 0x25) out += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    else out += String.fromCharCode(byte);
  }
  return out;
}
