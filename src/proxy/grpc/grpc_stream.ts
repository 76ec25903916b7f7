/**
 * gRPC calls from the proxy itself (Envoy: Grpc::AsyncClient): unary calls and streams of requests, over a cluster's pools. What peers answer
 * is only looked at for its status; messages that they send are dropped.
 *
 * Left out: reading messages, compression, retries.
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { AsyncClient, AsyncStream, AsyncStreamCallbacks } from '../http/async_client.ts';
import { HeaderMap } from '../http/header_map.ts';
import type { GrpcService } from './grpc_service.ts';

const PREFIX_BYTES = 5;
const UNAVAILABLE = 14;
/** What HTTP answers mean when there is no grpc-status (gRPC: http-grpc-status-mapping.md). */
const HTTP_STATUS: Readonly<Record<string, number>> = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14 };
const UNKNOWN = 2;

export class GrpcStream implements AsyncStreamCallbacks {
  private readonly client: AsyncClient;
  private readonly onEnd: (status: number, message: string) => void;
  private readonly data: SliceBuffer;
  private stream: AsyncStream | null = null;
  private status = '';
  private httpStatus = '';
  private message = '';
  private over = false;
  /** The peer takes messages more slowly than they are sent. */
  backedUp = false;

  /** `onEnd` runs once, unless the stream is cancelled: with 0 when all is well. It may run before this returns. */
  constructor(
    client: AsyncClient,
    service: GrpcService,
    path: string,
    onEnd: (status: number, message: string) => void,
    timeoutMs = service.timeoutMs,
  ) {
    this.client = client;
    this.onEnd = onEnd;
    this.data = new SliceBuffer(client.dispatcher.slab);
    const options = { timeoutMs, sendXff: false, sendInternal: false };
    const stream = client.start(service.cluster, this, options);
    this.stream = stream;
    const headers = HeaderMap.of(client.dispatcher.slab, [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':authority', service.authority],
      [':path', path],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
      ...(timeoutMs > 0 ? [['grpc-timeout', `${Math.ceil(timeoutMs)}m`] as const] : []),
      ...service.metadata,
    ]);
    stream.sendHeaders(headers, false);
  }

  get active(): boolean {
    return !this.over;
  }

  /** Bytes that wait to be sent are the stream's; check `backedUp` before. */
  send(message: Uint8Array, endStream: boolean): void {
    if (this.over) return;
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    this.data.append(prefix);
    this.data.append(message);
    this.stream?.sendData(this.data, endStream);
  }

  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.stream?.cancel();
    this.stream = null;
  }

  onHeaders(headers: HeaderMap): void {
    this.httpStatus = headers.get(':status') ?? '';
    this.readStatus(headers);
  }

  onData(data: SliceBuffer): void {
    data.clear();
  }

  onTrailers(trailers: HeaderMap): void {
    this.readStatus(trailers);
  }

  onComplete(): void {
    if (this.status !== '') this.finish(Number(this.status), this.message);
    else this.finish(HTTP_STATUS[this.httpStatus] ?? UNKNOWN, `HTTP status ${this.httpStatus}`);
  }

  onReset(): void {
    this.finish(UNAVAILABLE, 'the stream was reset');
  }

  onSendBackedUp(backedUp: boolean): void {
    this.backedUp = backedUp;
  }

  private readStatus(headers: HeaderMap): void {
    const status = headers.get('grpc-status');
    if (status === undefined) return;
    this.status = /^\d+$/.test(status) ? status : String(UNKNOWN);
    this.message = headers.get('grpc-message') ?? '';
  }

  private finish(status: number, message: string): void {
    if (this.over) return;
    this.over = true;
    this.stream = null;
    this.data.clear();
    this.onEnd(status, message);
  }
}
