/** HTTP and gRPC calls of modules, through the worker's AsyncClient. Answers are copied: a module may be told of them later. */

import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type {
  Callouts,
  GrpcCallbacks,
  GrpcRequest,
  GrpcStream,
  HttpCallCallbacks,
  HttpCallRequest,
} from '../../../../wasm/host/environment.ts';
import { PairMap } from '../../../../wasm/host/header_map.ts';
import { AsyncClient, type AsyncStream, type AsyncStreamCallbacks } from '../../../http/async_client.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';

const GRPC_UNKNOWN = 2;
const GRPC_INTERNAL = 13;
const GRPC_UNAVAILABLE = 14;
const GRPC_RESOURCE_EXHAUSTED = 8;
const MAX_GRPC_MESSAGE = 4 << 20;
const FRAME_HEADER = 5;

export class WorkerCallouts implements Callouts {
  private readonly context: FactoryContext;

  constructor(context: FactoryContext) {
    this.context = context;
  }

  private get client(): AsyncClient {
    return AsyncClient.of(this.context);
  }

  hasCluster(name: string): boolean {
    return this.client.hasCluster(name);
  }

  httpCall(request: HttpCallRequest, callbacks: HttpCallCallbacks): { cancel(): void } | null {
    const { slab } = this.context.dispatcher;
    let body: SliceBuffer | null = null;
    if (request.body.length > 0) {
      body = new SliceBuffer(slab);
      body.append(request.body);
    }
    const trailers = request.trailers.length > 0 ? HeaderMap.of(slab, request.trailers) : null;
    const call = this.client.send(
      request.cluster,
      HeaderMap.of(slab, request.headers),
      body,
      {
        onSuccess: (response) =>
          callbacks.onResponse(
            new PairMap(response.headers.entries()),
            response.body.toBytes(),
            response.trailers === null ? null : new PairMap(response.trailers.entries()),
          ),
        onFailure: () => callbacks.onFailure(),
      },
      { timeoutMs: request.timeoutMs, sendXff: false },
      trailers,
    );
    return call ?? FINISHED;
  }

  grpcStream(request: GrpcRequest, callbacks: GrpcCallbacks): GrpcStream | null {
    return new GrpcCallout(this.client, this.context.dispatcher.slab, request, callbacks);
  }
}

/** Over before the call returned: the callbacks have been called. */
const FINISHED = { cancel(): void {} };

/** One gRPC stream over HTTP: frames out, frames in (gRPC over HTTP2, "Length-Prefixed-Message"). */
class GrpcCallout implements GrpcStream, AsyncStreamCallbacks {
  private stream: AsyncStream | null;
  private readonly slab: SliceBuffer['slab'];
  private readonly callbacks: GrpcCallbacks;
  private readonly received: SliceBuffer;
  private status = -1;
  private message = '';
  private localClosed = false;

  constructor(client: AsyncClient, slab: SliceBuffer['slab'], request: GrpcRequest, callbacks: GrpcCallbacks) {
    this.slab = slab;
    this.callbacks = callbacks;
    this.received = new SliceBuffer(slab);
    this.stream = client.start(request.cluster, this, { timeoutMs: request.timeoutMs, sendXff: false });
    const headers = HeaderMap.of(slab, [
      [':method', 'POST'],
      [':path', `/${request.service}/${request.method}`],
      [':authority', request.cluster],
      [':scheme', 'http'],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
      ...(request.timeoutMs > 0 ? ([['grpc-timeout', `${request.timeoutMs}m`]] as const) : []),
      ...request.initialMetadata,
    ]);
    this.stream.sendHeaders(headers, false);
  }

  send(message: Uint8Array, endStream: boolean): void {
    if (this.stream === null || this.localClosed) return;
    this.localClosed = endStream;
    const frame = new SliceBuffer(this.slab);
    const head = new Uint8Array(FRAME_HEADER);
    new DataView(head.buffer).setUint32(1, message.length);
    frame.append(head);
    frame.append(message);
    this.stream.sendData(frame, endStream);
  }

  close(): void {
    if (this.stream === null || this.localClosed) return;
    this.localClosed = true;
    this.stream.sendData(new SliceBuffer(this.slab), true);
  }

  reset(): void {
    this.stream?.cancel();
    this.stream = null;
    this.received.clear();
  }

  onHeaders(headers: HeaderMap, endStream: boolean): void {
    const status = Number(headers.get(':status') ?? 0);
    if (status !== 200) {
      this.status = HTTP_TO_GRPC[status] ?? GRPC_UNKNOWN;
      return;
    }
    if (endStream) this.readStatus(headers);
    else this.callbacks.onInitialMetadata(new PairMap(headers.entries()));
  }

  private readStatus(headers: HeaderMap): void {
    const status = headers.get('grpc-status');
    this.status = status !== undefined && /^\d{1,2}$/.test(status) ? Number(status) : GRPC_UNKNOWN;
    this.message = percentDecode(headers.get('grpc-message') ?? '');
  }

  onData(data: SliceBuffer): void {
    if (this.status >= 0) {
      data.clear();
      return;
    }
    const { received } = this;
    received.move(data);
    while (this.stream !== null && received.length >= FRAME_HEADER) {
      const head = new Uint8Array(FRAME_HEADER);
      received.copyOut(0, head);
      const length = new DataView(head.buffer).getUint32(1);
      if (head[0] !== 0 || length > MAX_GRPC_MESSAGE) {
        this.fail(head[0] !== 0 ? GRPC_INTERNAL : GRPC_RESOURCE_EXHAUSTED, 'message cannot be read');
        return;
      }
      if (received.length < FRAME_HEADER + length) return;
      received.drain(FRAME_HEADER);
      const message = new Uint8Array(length);
      received.copyOut(0, message);
      received.drain(length);
      this.callbacks.onMessage(message);
    }
  }

  onTrailers(trailers: HeaderMap): void {
    this.readStatus(trailers);
    this.callbacks.onTrailingMetadata(new PairMap(trailers.entries()));
  }

  onComplete(): void {
    this.finish(this.status < 0 ? GRPC_UNKNOWN : this.status, this.message);
  }

  onReset(): void {
    this.finish(this.status > 0 ? this.status : GRPC_UNAVAILABLE, this.message === '' ? 'reset' : this.message);
  }

  private fail(status: number, message: string): void {
    this.stream?.cancel();
    this.finish(status, message);
  }

  private finish(status: number, message: string): void {
    this.stream = null;
    this.received.clear();
    this.callbacks.onClose(status, message);
  }
}

/** For answers that are no gRPC (grpc: doc/http-grpc-status-mapping.md). */
const HTTP_TO_GRPC: Readonly<Record<number, number>> = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14 };

function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const hex = text[i] === '%' ? Number.parseInt(text.slice(i + 1, i + 3), 16) : Number.NaN;
    if (Number.isNaN(hex)) bytes.push(text.charCodeAt(i) & 255);
    else {
      bytes.push(hex);
      i += 2;
    }
  }
  return Buffer.from(bytes).toString('utf8');
}
