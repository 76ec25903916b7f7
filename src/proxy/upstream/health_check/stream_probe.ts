/** What HTTP and gRPC checks share: a request on a connection that is made when there is none, its response or the lack of it. */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { SysError } from '../../../core/sys/libc.ts';
import { type CodecStream, type ResponseDecoder, type StreamCallbacks, StreamResetReason } from '../../http/codec.ts';
import type { HeaderMap } from '../../http/header_map.ts';
import type { HostDescription } from '../host_update.ts';
import { CheckClient, type CheckClientOwner } from './check_client.ts';
import type { CheckConnector } from './check_connector.ts';
import type { Probe, ProbeCallbacks } from './probe.ts';

export abstract class StreamProbe implements Probe, ResponseDecoder, StreamCallbacks, CheckClientOwner {
  protected readonly connector: CheckConnector;
  protected readonly callbacks: ProbeCallbacks;
  private readonly http2: boolean;
  private readonly reuse: boolean;
  private client: CheckClient | null = null;
  private stream: CodecStream | null = null;
  private host: HostDescription | null = null;
  /** A check is under way. */
  private waiting = false;
  /** The connection serves no other check. */
  private closeAfter = false;

  constructor(connector: CheckConnector, http2: boolean, reuse: boolean, callbacks: ProbeCallbacks) {
    this.connector = connector;
    this.http2 = http2;
    this.reuse = reuse;
    this.callbacks = callbacks;
  }

  /** Ours, and released by the caller. */
  protected abstract requestHeaders(host: HostDescription, secure: boolean): HeaderMap;
  /** Null: none. */
  protected abstract requestBody(): Uint8Array | null;
  protected abstract onResponseHeaders(headers: HeaderMap, endStream: boolean): void;
  protected abstract onResponseData(data: Buffer): void;
  /** The response is complete. `trailers` are released by the caller. */
  protected abstract onResponseEnd(trailers: HeaderMap | null): void;

  begin(host: HostDescription): void {
    this.waiting = true;
    this.host = host;
    if (this.client !== null) {
      if (this.client.connected) this.send(this.client);
      return;
    }
    try {
      const { connection, secure } = this.connector.create(host);
      this.closeAfter = !this.reuse;
      this.client = new CheckClient(connection, secure, this.http2, this.connector.cluster, this);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.fail();
      return;
    }
    this.client.connect();
  }

  abandon(): void {
    this.waiting = false;
    this.close();
  }

  close(): void {
    this.waiting = false;
    this.client?.close();
  }

  onClientConnected(client: CheckClient): void {
    if (this.waiting) this.send(client);
  }

  onClientGoAway(client: CheckClient): void {
    this.closeAfter = true;
    if (this.stream === null) client.close();
  }

  onClientClosed(client: CheckClient): void {
    if (this.client === client) this.client = null;
    this.stream = null;
    if (this.waiting) this.fail();
  }

  private send(client: CheckClient): void {
    const encoder = client.newStream(this);
    this.stream = encoder.stream;
    encoder.stream.addCallbacks(this);
    const headers = this.requestHeaders(this.host as HostDescription, client.secure);
    const body = this.requestBody();
    encoder.encodeHeaders(headers, body === null);
    headers.release();
    // What is written may fail at once.
    if (body === null || this.stream === null) return;
    const data = new SliceBuffer(this.connector.context.dispatcher.slab);
    data.append(body);
    encoder.encodeData(data, true);
  }

  /** The response, complete or not, is enough: `report` tells what it means. */
  protected conclude(complete: boolean, report: () => void): void {
    if (!this.waiting) return;
    this.waiting = false;
    const stream = this.stream;
    this.stream = null;
    stream?.removeCallbacks(this);
    if (!complete) stream?.resetStream(StreamResetReason.LocalReset);
    if (this.closeAfter) this.client?.close();
    report();
  }

  private fail(): void {
    this.waiting = false;
    this.callbacks.onFailure('NETWORK', false);
  }

  // --- ResponseDecoder ---

  decode1xxHeaders(headers: HeaderMap): void {
    headers.release();
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.waiting) {
      if (!(this.client?.keepsAlive ?? false)) this.closeAfter = true;
      this.onResponseHeaders(headers, endStream);
      if (endStream) this.onResponseEnd(null);
    }
    headers.release();
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    if (this.waiting && data.length > 0) this.onResponseData(Buffer.from(data.toBytes()));
    data.clear();
    if (this.waiting && endStream) this.onResponseEnd(null);
  }

  decodeTrailers(trailers: HeaderMap): void {
    if (this.waiting) this.onResponseEnd(trailers);
    trailers.release();
  }

  // --- StreamCallbacks ---

  onResetStream(): void {
    this.stream = null;
    if (!this.waiting) return;
    this.waiting = false;
    if (this.closeAfter) this.client?.close();
    this.callbacks.onFailure('NETWORK', false);
  }

  onAboveWriteBufferHighWatermark(): void {}

  onBelowWriteBufferLowWatermark(): void {}
}
