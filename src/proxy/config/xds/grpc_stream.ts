/**
 * One bidirectional gRPC stream to a cluster (Envoy: Config::GrpcStream), from the main thread. What it reads is told on Node's side of the event
 * loop; it may be written to from anywhere on the thread.
 */

import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { BaseDispatcher } from '../../../core/event/base_dispatcher.ts';
import type { AsyncClient, AsyncStream, AsyncStreamCallbacks } from '../../http/async_client.ts';
import { HeaderMap } from '../../http/header_map.ts';

export interface GrpcTarget {
  readonly cluster: string;
  /** Default: the cluster's name. */
  readonly authority: string;
  readonly metadata: readonly { readonly key: string; readonly value: string }[];
}

export interface GrpcTransport {
  readonly dispatcher: BaseDispatcher;
  readonly client: AsyncClient;
}

export interface GrpcStreamCallbacks {
  onMessage(message: Buffer): void;
  /** Nothing comes after it. */
  onClosed(reason: string): void;
}

/** A response larger than this ends the stream. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;
const FRAME_HEAD = 5;

export class GrpcStream implements AsyncStreamCallbacks {
  private readonly transport: GrpcTransport;
  private readonly callbacks: GrpcStreamCallbacks;
  private stream: AsyncStream | null = null;
  private parts: Buffer[] = [];
  private partBytes = 0;
  private status = '';
  private over = false;

  constructor(transport: GrpcTransport, target: GrpcTarget, path: string, callbacks: GrpcStreamCallbacks) {
    this.transport = transport;
    this.callbacks = callbacks;
    transport.dispatcher.post(() => this.start(target, path));
  }

  send(message: Uint8Array): void {
    const { dispatcher } = this.transport;
    dispatcher.post(() => {
      if (this.stream === null) return;
      const head = Buffer.alloc(FRAME_HEAD);
      head.writeUInt32BE(message.length, 1);
      const data = new SliceBuffer(dispatcher.slab);
      data.append(head);
      data.append(message);
      this.stream.sendData(data, false);
    });
  }

  /** Nothing is told after this. */
  close(): void {
    this.over = true;
    this.transport.dispatcher.post(() => {
      this.stream?.cancel();
      this.stream = null;
    });
  }

  onHeaders(headers: HeaderMap): void {
    const status = headers.get(':status');
    if (status !== '200') this.status = `HTTP status ${status}`;
    this.noteStatus(headers);
  }

  onData(data: SliceBuffer): void {
    this.parts.push(Buffer.from(data.toBytes()));
    this.partBytes += data.length;
    data.clear();
    this.takeMessages();
  }

  onTrailers(trailers: HeaderMap): void {
    this.noteStatus(trailers);
  }

  onComplete(): void {
    this.end(this.status || 'the stream was closed');
  }

  onReset(): void {
    this.end(this.status || 'the connection was closed');
  }

  private start(target: GrpcTarget, path: string): void {
    if (this.over) return;
    const { client, dispatcher } = this.transport;
    const headers = new HeaderMap(dispatcher.slab);
    const fields: [string, string][] = [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', target.authority],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
    ];
    for (const [key, value] of fields) headers.add(key, value);
    for (const { key, value } of target.metadata) headers.add(key, value);
    const stream = client.start(target.cluster, this);
    this.stream = stream;
    client.prepare(headers, { sendXff: false, sendInternal: false });
    stream.sendHeaders(headers, false);
  }

  private noteStatus(headers: HeaderMap): void {
    const code = headers.get('grpc-status');
    if (code === undefined || code === null) return;
    this.status = `gRPC status ${code}: ${headers.get('grpc-message') ?? ''}`;
  }

  private takeMessages(): void {
    while (this.partBytes >= FRAME_HEAD) {
      const head = this.parts[0].length >= FRAME_HEAD ? this.parts[0] : Buffer.concat(this.parts);
      const length = head.readUInt32BE(1);
      if (head[0] !== 0 || length > MAX_MESSAGE_BYTES) {
        const stream = this.stream;
        this.end(head[0] !== 0 ? 'a message is compressed, which was not asked for' : 'a message is too large');
        stream?.cancel();
        return;
      }
      if (this.partBytes < FRAME_HEAD + length) return;
      const all = this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts);
      const message = all.subarray(FRAME_HEAD, FRAME_HEAD + length);
      this.parts = [all.subarray(FRAME_HEAD + length)];
      this.partBytes = all.length - FRAME_HEAD - length;
      this.onNodeSide(() => this.callbacks.onMessage(message));
    }
  }

  private end(reason: string): void {
    this.stream = null;
    this.onNodeSide(() => {
      this.over = true;
      this.callbacks.onClosed(reason);
    });
  }

  private onNodeSide(run: () => void): void {
    this.transport.dispatcher.wakeNode();
    setImmediate(() => {
      if (!this.over) run();
    });
  }
}
