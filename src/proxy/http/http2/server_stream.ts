/** A stream as the server sees it (Envoy: ServerStreamImpl): a request in, its response out. */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { RequestDecoder, ResponseEncoder } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { statusOf } from '../http1/response_encoder.ts';
import { ErrorCode } from './frame.ts';
import type { Http2ServerConnection } from './server_connection.ts';
import { Http2Stream } from './stream.ts';

export class Http2ServerStream extends Http2Stream implements ResponseEncoder {
  decoder: RequestDecoder | null = null;
  /** The request was extended CONNECT: the response is one to an upgrade. */
  isUpgrade = false;

  get streamErrorOnInvalidHttpMessage(): boolean {
    return this.connection.settings.streamErrorOnInvalidHttpMessage;
  }

  encode1xxHeaders(headers: HeaderMap): void {
    if (this.closed || this.headersEncoded) return;
    (this.connection as Http2ServerConnection).sendHead(this, headers, statusOf(headers), false);
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (this.closed || this.endQueued) return;
    this.headersEncoded = true;
    let status = statusOf(headers);
    // RFC 9113 8.6: there is no 101; RFC 8441: acceptance is 200.
    if (this.isUpgrade && status === 101) {
      status = 200;
      if (headers.hasId(H['content-length'])) headers.removeId(H['content-length']);
      headers.remove('sec-websocket-accept');
    }
    if (endStream) this.endQueued = true;
    (this.connection as Http2ServerConnection).sendHead(this, headers, status, endStream);
    if (endStream) this.onEndQueued();
  }

  onData(data: SliceBuffer, endStream: boolean): void {
    this.decoder?.decodeData(data, endStream);
  }

  override dispose(): void {
    super.dispose();
    this.decoder = null;
  }

  /** The connection manager forgets a stream that is complete on both sides; otherwise it resets it right now. */
  protected onEndQueued(): void {
    if (this.closed || !this.remoteEnd) return;
    this.clearCallbacks();
    this.decoder = null;
    if (this.localEnd) this.connection.closeStream(this);
    else this.connection.startFlushing(this);
  }

  protected deferReset(): boolean {
    if (!this.endQueued || this.localEnd) return false;
    // The response is complete here; the peer gets all of it.
    this.decoder = null;
    this.clearCallbacks();
    if (!this.flushing) this.connection.startFlushing(this);
    return true;
  }

  protected localResetCode(): ErrorCode {
    return this.localEnd ? ErrorCode.NoError : ErrorCode.InternalError;
  }
}
