/**
 * `auto_config`: HTTP/2 or HTTP/1.1 as ALPN decides (Envoy: HttpConnPoolImplMixed). Connections offer both, and settle for one when they
 * are up; without ALPN that is HTTP/1.1. Streams go to HTTP/2 while there is a connection that takes them, else to an HTTP/1.1 pool
 * for as long as that has connections: when the last one is gone the host may have learnt HTTP/2.
 */
import type { ResponseDecoder } from '../http/codec.ts';
import type { Connection } from '../network/connection.ts';
import { ActiveClient } from './active_client.ts';
import { HttpPendingStream } from './http_conn_pool.ts';
import { Http1ConnPool } from './http1_conn_pool.ts';
import { Http2ConnPool } from './http2_conn_pool.ts';
import type { Cancellable, HttpPoolCallbacks } from './upstream.ts';

const BOTH = ['h2', 'http/1.1'];

export class AutoConnPool extends Http2ConnPool {
  protected override readonly applicationProtocols = BOTH;
  private http1: Http1ConnPool | null = null;

  override newStream(decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): Cancellable | null {
    const http1 = this.http1;
    if (http1 === null || this.ready.first !== null) return super.newStream(decoder, callbacks);
    if (!http1.idle) return http1.newStream(decoder, callbacks);
    this.http1 = null;
    http1.drain();
    return super.newStream(decoder, callbacks);
  }

  protected override createClient(connection: Connection): ActiveClient {
    return new UnsettledClient(this, connection, 0);
  }

  override onClientConnected(client: ActiveClient): void {
    if (client instanceof UnsettledClient) this.settle(client);
    else super.onClientConnected(client);
  }

  /** Puts a client of the protocol that was agreed upon in the place of `unsettled`. */
  private settle(unsettled: UnsettledClient): void {
    const { connection, createdMs } = unsettled;
    this.connecting.remove(unsettled);
    unsettled.letGo();
    if (connection.nextProtocol === 'h2') {
      this.adopt(super.createClient(connection), createdMs);
      return;
    }
    const http1 = this.http1Pool();
    http1.adopt(http1.createClient(connection), createdMs, () => {
      for (const stream of this.pending.toArray()) {
        this.removePending(stream);
        if (stream instanceof HttpPendingStream) stream.moveTo(http1);
      }
    });
    if (this.draining) http1.drain();
  }

  private http1Pool(): Http1ConnPool {
    if (this.http1 !== null) return this.http1;
    const http1 = new Http1ConnPool(this.context, this.cluster, this.host, this.priority, (gone) => {
      if (this.http1 === gone) this.http1 = null;
      this.closeUnusedWhenDraining();
    });
    http1.serverName = this.serverName;
    this.http1 = http1;
    return http1;
  }

  override get idle(): boolean {
    return super.idle && (this.http1 === null || this.http1.idle);
  }

  override get readyConnections(): number {
    return super.readyConnections + (this.http1?.readyConnections ?? 0);
  }

  override get busyConnections(): number {
    return super.busyConnections + (this.http1?.busyConnections ?? 0);
  }

  override get connectingConnections(): number {
    return super.connectingConnections + (this.http1?.connectingConnections ?? 0);
  }

  override drain(): void {
    this.http1?.drain();
    super.drain();
  }

  override closeAll(): void {
    this.http1?.closeAll();
    super.closeAll();
  }

  override drainConnections(): void {
    this.http1?.drainConnections();
    super.drainConnections();
  }
}

/** A connection of which nobody knows yet what it will speak. */
class UnsettledClient extends ActiveClient {
  /** Another client has the connection now. */
  letGo(): void {
    this.connection.removeConnectionCallbacks(this);
  }

  onConnected(): void {}

  onClosed(): void {}

  afterClosed(): void {}

  /** Bytes are those of its successor, which counts them. */
  override onBytesSent(): void {}
}
