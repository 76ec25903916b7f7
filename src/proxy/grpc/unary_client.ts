/**
 * Unary gRPC calls to a configured service (`envoy.config.core.v3.GrpcService` with `envoy_grpc`), over the worker's AsyncClient (gRPC over
 * HTTP/2, "Length-Prefixed-Message"). The cluster has to speak HTTP/2.
 *
 * Left out, refused: `google_grpc`, retry policies.
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import { parseHeaderFormat } from '../access_log/formatter.ts';
import { byteText } from '../common/byte_text.ts';
import { AsyncClient, type AsyncRequest, type AsyncResponse } from '../http/async_client.ts';
import { HeaderMap } from '../http/header_map.ts';
import { HeadersContext } from '../http/pass_through_filter.ts';
import type { HeaderFormatter } from '../http/route/header_parser.ts';
import type { FactoryContext } from '../server/factory_context.ts';
import { StreamInfo } from '../stream_info/stream_info.ts';
import type { GrpcServiceConfig } from './grpc_service.ts';

export const GrpcStatus = { Ok: 0, Unknown: 2, Internal: 13, Unavailable: 14 } as const;

export interface GrpcUnaryCallbacks {
  /** Valid during the call only. */
  onMessage(message: Uint8Array): void;
  /** `status` is not OK. */
  onFailure(status: number, message: string): void;
}

const FRAME_HEADER = 5;
const MAX_RESPONSE = 4 << 20;

export class GrpcUnaryClient {
  private readonly context: FactoryContext;
  private readonly cluster: string;
  private readonly authority: string;
  private readonly path: string;
  private readonly timeoutMs: number;
  private readonly metadata: readonly { readonly key: string; readonly value: string; readonly format: HeaderFormatter | null }[];

  /** `path`: `/package.Service/Method`. */
  constructor(config: GrpcServiceConfig, path: string, defaultTimeoutMs: number, context: FactoryContext) {
    this.context = context;
    this.cluster = config.envoyGrpc?.clusterName ?? '';
    this.authority = config.envoyGrpc?.authority || this.cluster;
    this.path = path;
    this.timeoutMs = config.timeout ?? defaultTimeoutMs;
    this.metadata = (config.initialMetadata ?? []).map(({ key = '', value = '' }) => ({
      key: key.toLowerCase(),
      value: byteText(value),
      format: value.includes('%') ? parseHeaderFormat(value) : null,
    }));
  }

  /** Null: it is over already, and the callbacks have been called. */
  call(
    message: Uint8Array,
    info: StreamInfo | null,
    requestHeaders: HeaderMap | null,
    callbacks: GrpcUnaryCallbacks,
  ): AsyncRequest | null {
    const { slab } = this.context.dispatcher;
    const body = new SliceBuffer(slab);
    const head = new Uint8Array(FRAME_HEADER);
    new DataView(head.buffer).setUint32(1, message.length);
    body.append(head);
    body.append(message);
    const headers = HeaderMap.of(slab, [
      [':method', 'POST'],
      [':path', this.path],
      [':authority', this.authority],
      [':scheme', 'http'],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
      ...(this.timeoutMs > 0 ? ([['grpc-timeout', `${Math.ceil(this.timeoutMs)}m`]] as const) : []),
    ]);
    for (const { key, value, format } of this.metadata) {
      headers.add(key, format === null ? value : format.format(contextOf(requestHeaders), info ?? new StreamInfo()));
    }
    return AsyncClient.of(this.context).send(
      this.cluster,
      headers,
      body,
      {
        onSuccess: (response) => onResponse(response, callbacks),
        onFailure: () => callbacks.onFailure(GrpcStatus.Unavailable, 'reset'),
      },
      { timeoutMs: this.timeoutMs, maxResponseBytes: MAX_RESPONSE },
    );
  }
}

function contextOf(requestHeaders: HeaderMap | null): HeadersContext {
  const context = new HeadersContext();
  context.requestHeaders = requestHeaders;
  return context;
}

function onResponse(response: AsyncResponse, callbacks: GrpcUnaryCallbacks): void {
  const http = response.headers.get(':status');
  if (http !== '200') {
    callbacks.onFailure(GrpcStatus.Unavailable, `HTTP status ${http}`);
    return;
  }
  const from = response.trailers ?? response.headers;
  const text = from.get('grpc-status');
  const status = text !== undefined && /^\d{1,2}$/.test(text) ? Number(text) : GrpcStatus.Unknown;
  if (status !== GrpcStatus.Ok) {
    callbacks.onFailure(status, from.get('grpc-message') ?? '');
    return;
  }
  const { body } = response;
  const head = new Uint8Array(FRAME_HEADER);
  if (body.length >= FRAME_HEADER) body.copyOut(0, head);
  const length = new DataView(head.buffer).getUint32(1);
  if (head[0] !== 0 || body.length !== FRAME_HEADER + length) {
    callbacks.onFailure(GrpcStatus.Internal, 'the message cannot be read');
    return;
  }
  body.drain(FRAME_HEADER);
  callbacks.onMessage(body.toBytes());
}
