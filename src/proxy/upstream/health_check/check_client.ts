/** A connection of a check with an HTTP codec on it (Envoy: CodecClient): one stream at a time, written when the connection is up. */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { type RequestEncoder, type ResponseDecoder, StreamResetReason } from '../../http/codec.ts';
import { Http1ClientConnection } from '../../http/http1/client_connection.ts';
import { type Http2ClientCallbacks, Http2ClientConnection } from '../../http/http2/client_connection.ts';
import type { Http2Transport } from '../../http/http2/frame_writer.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
} from '../../network/connection.ts';
import type { ClusterInfoImpl } from '../cluster_info.ts';

export interface CheckClientOwner {
  /** It is up: streams may begin. */
  onClientConnected(client: CheckClient): void;
  /** It takes no further streams. */
  onClientGoAway(client: CheckClient): void;
  /** It is down, and the stream on it was reset. */
  onClientClosed(client: CheckClient): void;
}

export class CheckClient implements ReadFilter, ConnectionCallbacks, Http2Transport, Http2ClientCallbacks {
  readonly secure: boolean;
  connected = false;
  private readonly connection: Connection;
  private readonly http1: Http1ClientConnection | null;
  private readonly http2: Http2ClientConnection | null;
  private readonly owner: CheckClientOwner;

  constructor(connection: Connection, secure: boolean, http2: boolean, cluster: ClusterInfoImpl, owner: CheckClientOwner) {
    this.connection = connection;
    this.secure = secure;
    this.owner = owner;
    const { slab } = connection.dispatcher;
    const { http } = cluster.settings;
    this.http1 = http2 ? null : new Http1ClientConnection(this, slab, http.http1, cluster.http1Stats);
    this.http2 = http2 ? new Http2ClientConnection(this, slab, this, http.http2, cluster.http2Stats) : null;
    connection.setBufferLimits(cluster.perConnectionBufferLimitBytes);
    connection.addConnectionCallbacks(this);
    connection.addReadFilter(this);
  }

  connect(): void {
    this.connection.connect();
  }

  newStream(decoder: ResponseDecoder): RequestEncoder {
    return (this.http1 ?? this.http2!).newStream(decoder);
  }

  /** Asked when the head of a response is there. */
  get keepsAlive(): boolean {
    return this.http1 === null || this.http1.responseKeepsAlive;
  }

  close(): void {
    this.connection.close(ConnectionCloseType.NoFlush);
  }

  // --- ConnectionCallbacks ---

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected) {
      this.connected = true;
      this.http2?.start();
      this.http2?.flush();
      this.connection.initializeReadFilters();
      if (this.connection.state === 'open') this.owner.onClientConnected(this);
      return;
    }
    (this.http1 ?? this.http2!).onConnectionClosed(
      StreamResetReason.ConnectionTermination,
      this.connection.transportFailureReason,
    );
    this.owner.onClientClosed(this);
  }

  // --- ReadFilter ---

  initializeReadFilterCallbacks(): void {}

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer): FilterStatus {
    const error = (this.http1 ?? this.http2!).dispatch(data);
    if (error !== null && this.connection.state === 'open') this.close();
    return FilterStatus.StopIteration;
  }

  // --- the codec's transport ---

  get writeBufferBytes(): number {
    return this.connection.writeBufferBytes;
  }

  write(data: SliceBuffer): void {
    this.connection.write(data, false);
  }

  /** What a check reads is bounded otherwise. */
  readDisable(): void {}

  watchFlush(): void {}

  // --- Http2ClientCallbacks ---

  onStreamClosed(): void {}

  onStreamLimit(): void {}

  onGoAway(): void {
    this.owner.onClientGoAway(this);
  }
}
