/**
 * `auto_config`: HTTP/2 or HTTP/1.1 as ALPN decides (Envoy: HttpConnPoolImplMixed). The first connection offers both; a host that
 * takes `h2` is served as an HTTP/2 pool, for another one streams go to an HTTP/1.1 pool, until that has nothing left.
 *
 * Beyond Envoy's: the connection that found out that it is HTTP/1.1 is closed and made again by that pool, once per host and worker.
 */
import type { ResponseDecoder } from '../http/codec.ts';
import { type ActiveClient, ClientState } from './active_client.ts';
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
    if (http1 === null) return super.newStream(decoder, callbacks);
    if (!http1.idle) return http1.newStream(decoder, callbacks);
    // All connections are gone: the host may have learnt HTTP/2 meanwhile.
    this.http1 = null;
    http1.drain();
    return super.newStream(decoder, callbacks);
  }

  override onClientConnected(client: ActiveClient): void {
    if (client.connection.nextProtocol === 'h2') {
      super.onClientConnected(client);
      return;
    }
    this.connecting.remove(client);
    this.ready.pushFront(client);
    client.state = ClientState.Ready;
    const http1 = (this.http1 ??= new Http1ConnPool(this.context, this.cluster, this.host, this.priority, (gone) => {
      if (this.http1 === gone) this.http1 = null;
      this.closeUnusedWhenDraining();
    }));
    http1.serverName = this.serverName;
    for (const stream of this.pending.toArray()) {
      this.removePending(stream);
      if (stream instanceof HttpPendingStream) stream.moveTo(http1);
    }
    for (const other of this.connecting.toArray()) other.close();
    client.close();
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
