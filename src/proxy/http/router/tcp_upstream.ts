/**
 * A raw TCP connection that stands in for an HTTP upstream when a route terminates CONNECT (Envoy: TcpUpstream): the answer is 200 as
 * soon as the connection is there, and bytes pass both ways.
 */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { ConnectionCloseType, ConnectionEvent } from '../../network/connection.ts';
import type { TcpConnectionData, TcpUpstreamCallbacks } from '../../upstream/upstream.ts';
import {
  type CodecStream,
  type RequestEncoder,
  type ResponseDecoder,
  type StreamCallbacks,
  StreamResetReason,
} from '../codec.ts';
import { HeaderMap } from '../header_map.ts';

export class TcpUpstream implements RequestEncoder, CodecStream, TcpUpstreamCallbacks {
  private readonly data: TcpConnectionData;
  private readonly decoder: ResponseDecoder;
  private callbacks: StreamCallbacks | null = null;
  private readonly nothing: SliceBuffer;
  private ended = false;
  bytesSent = 0;
  bytesReceived = 0;
  readonly headerBytesSent = 0;
  readonly headerBytesReceived = 0;

  constructor(data: TcpConnectionData, decoder: ResponseDecoder) {
    this.data = data;
    this.decoder = decoder;
    this.nothing = new SliceBuffer(data.connection.dispatcher.slab);
    data.connection.enableHalfClose(true);
    data.addUpstreamCallbacks(this);
  }

  get stream(): CodecStream {
    return this;
  }

  encodeHeaders(_headers: HeaderMap, endStream: boolean): string | null {
    const response = HeaderMap.of(this.data.connection.dispatcher.slab, [[':status', '200']]);
    if (endStream) this.data.connection.write(this.nothing, true);
    this.decoder.decodeHeaders(response, false);
    return null;
  }

  encodeData(data: SliceBuffer, endStream: boolean): void {
    this.bytesSent += data.length;
    this.data.connection.write(data, endStream);
  }

  encodeTrailers(_trailers: HeaderMap): void {
    this.data.connection.write(this.nothing, true);
  }

  addCallbacks(callbacks: StreamCallbacks): void {
    this.callbacks = callbacks;
  }

  removeCallbacks(_callbacks: StreamCallbacks): void {
    this.callbacks = null;
  }

  resetStream(_reason: StreamResetReason): void {
    this.callbacks = null;
    this.ended = true;
    if (this.data.connection.state === 'open') this.data.connection.close(ConnectionCloseType.NoFlush);
  }

  readDisable(disable: boolean): void {
    if (this.data.connection.state === 'open') this.data.connection.readDisable(disable);
  }

  onUpstreamData(data: SliceBuffer, endStream: boolean): void {
    if (this.ended) {
      data.clear();
      return;
    }
    this.bytesReceived += data.length;
    if (endStream) this.ended = true;
    this.decoder.decodeData(data, endStream);
  }

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected) return;
    const callbacks = this.callbacks;
    this.callbacks = null;
    if (!this.ended) callbacks?.onResetStream(StreamResetReason.ConnectionTermination, '');
  }

  onAboveWriteBufferHighWatermark(): void {
    this.callbacks?.onAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.callbacks?.onBelowWriteBufferLowWatermark();
  }
}
