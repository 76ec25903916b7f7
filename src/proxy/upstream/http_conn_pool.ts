/** What pools of HTTP connections have in common (Envoy: HttpConnPoolImplBase): streams that get a connection at once, or wait for one. */
import type { ResponseDecoder } from '../http/codec.ts';
import type { Protocol } from '../stream_info/stream_info.ts';
import type { ActiveClient } from './active_client.ts';
import { ConnPoolBase, PendingStream } from './conn_pool_base.ts';
import type { HostImpl } from './host.ts';
import { type Cancellable, type HttpConnectionPool, type HttpPoolCallbacks, PoolFailureReason } from './upstream.ts';

export abstract class HttpConnPool extends ConnPoolBase implements HttpConnectionPool {
  abstract readonly protocol: Protocol;
  protected readonly cancelClosesExcess = false;

  get idleTimeoutMs(): number {
    return this.cluster.settings.http.idleTimeoutMs;
  }

  protected get maxConnectionDurationMs(): number {
    return this.cluster.settings.http.maxConnectionDurationMs;
  }

  newStream(decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): Cancellable | null {
    const client = this.ready.first;
    if (client === null) return this.enqueue(new HttpPendingStream(this, decoder, callbacks));
    this.attach(client, decoder, callbacks);
    return null;
  }

  /** Gives a place on a connection to a stream. */
  attach(client: ActiveClient, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): void {
    if (this.resources.requests.canCreate()) {
      this.begin(client, decoder, callbacks);
      return;
    }
    this.stats.upstreamRqPendingOverflow.inc();
    callbacks.onPoolFailure(PoolFailureReason.Overflow, '', this.host);
  }

  /** Counts the stream, makes it on the connection and hands it over. */
  protected abstract begin(client: ActiveClient, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): void;
}

export class HttpPendingStream extends PendingStream {
  private readonly decoder: ResponseDecoder;
  private readonly callbacks: HttpPoolCallbacks;
  private readonly http: HttpConnPool;
  /** It waits in another pool. */
  private moved: Cancellable | null = null;

  constructor(pool: HttpConnPool, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) {
    super(pool);
    this.http = pool;
    this.decoder = decoder;
    this.callbacks = callbacks;
  }

  fail(reason: PoolFailureReason, transportFailureReason: string, host: HostImpl): void {
    this.callbacks.onPoolFailure(reason, transportFailureReason, host);
  }

  serve(client: ActiveClient): void {
    this.http.attach(client, this.decoder, this.callbacks);
  }

  moveTo(pool: HttpConnectionPool): void {
    this.moved = pool.newStream(this.decoder, this.callbacks);
  }

  override cancel(): void {
    if (this.moved !== null) this.moved.cancel();
    else super.cancel();
  }
}
