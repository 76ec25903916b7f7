/**
 * HTTP/2 connections to one host: many requests on each (Envoy: source/common/http/http2/conn_pool.cc and codec_client.cc).
 *
 * A connection takes streams up to the lower of `max_concurrent_streams` and what the peer's SETTINGS say; only then another one is
 * made. After GOAWAY, `max_requests_per_connection` or `max_connection_duration` it takes no more, and closes with its last stream.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import { type ResponseDecoder, StreamResetReason } from '../http/codec.ts';
import { type Http2ClientCallbacks, Http2ClientConnection } from '../http/http2/client_connection.ts';
import type { Http2Transport } from '../http/http2/frame_writer.ts';
import { Keepalive } from '../http/http2/keepalive.ts';
import { type Connection, FilterStatus, type ReadFilter } from '../network/connection.ts';
import type { Protocol } from '../stream_info/stream_info.ts';
import { ActiveClient, ClientState } from './active_client.ts';
import { HttpConnPool } from './http_conn_pool.ts';
import type { HttpPoolCallbacks } from './upstream.ts';

/** Stream numbers of a connection are odd and end at 2^31 (Envoy: MAX_STREAMS). */
const MAX_STREAMS = 1 << 29;

const HTTP2 = ['h2'];

export class Http2ConnPool extends HttpConnPool {
  readonly protocol: Protocol = 'HTTP/2';
  protected readonly applicationProtocols: readonly string[] = HTTP2;
  /** What connections of this host allowed last: how many streams to expect of one that is not up yet. */
  private knownLimit = Number.MAX_SAFE_INTEGER;

  protected override get streamsPerConnection(): number {
    return Math.max(1, Math.min(this.cluster.settings.http.http2.maxConcurrentStreams, this.knownLimit));
  }

  protected begin(client: Http2Client, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): void {
    client.activeStreams++;
    client.active = true;
    if (client.isLastStream()) {
      this.stats.upstreamCxMaxRequests.inc();
      this.drainClient(client);
    } else if (client.activeStreams >= this.limitOf(client)) {
      this.ready.remove(client);
      this.busy.pushFront(client);
      client.state = ClientState.Busy;
    }
    this.countStream();
    client.keepalive?.onStream();
    callbacks.onPoolReady(client.codec.newStream(decoder), this.host, client.connection, this.protocol);
  }

  /** A stream of `client` is over. */
  onStreamClosed(client: Http2Client): void {
    client.activeStreams--;
    client.active = client.activeStreams > 0;
    this.uncountOne();
    if (client.state === ClientState.Closed || client.closing) return;
    if (client.state === ClientState.Draining) {
      if (!client.active) client.close();
      return;
    }
    this.updateRoom(client);
  }

  /** The peer's SETTINGS arrived or changed. */
  onStreamLimit(client: Http2Client): void {
    if (client.codec.streamLimit > 0) this.knownLimit = client.codec.streamLimit;
    this.updateRoom(client);
    this.createConnections();
  }

  /** Until its SETTINGS arrive, a connection is taken for what the host's last one was. */
  private limitOf(client: Http2Client): number {
    const limit = client.codec.streamLimit;
    return client.codec.knowsPeer ? limit : Math.min(limit, this.knownLimit);
  }

  private updateRoom(client: Http2Client): void {
    const room = client.activeStreams < this.limitOf(client);
    if (client.state === ClientState.Ready && !room) {
      this.ready.remove(client);
      this.busy.pushFront(client);
      client.state = ClientState.Busy;
    } else if (client.state === ClientState.Busy && room) {
      this.busy.remove(client);
      this.ready.pushFront(client);
      client.state = ClientState.Ready;
    }
    if (client.state === ClientState.Ready) this.serveFirst(client);
  }

  onGoAway(client: Http2Client): void {
    this.stats.upstreamCxCloseNotify.inc();
    this.drainClient(client);
  }

  protected createClient(connection: Connection): ActiveClient {
    this.stats.upstreamCxHttp2Total.inc();
    return new Http2Client(this, connection);
  }
}

export class Http2Client extends ActiveClient implements ReadFilter, Http2Transport, Http2ClientCallbacks {
  readonly codec: Http2ClientConnection;
  readonly keepalive: Keepalive | null;
  activeStreams = 0;
  /** The connection is going down: its streams end with it. */
  closing = false;
  private readonly http: Http2ConnPool;
  private protocolError = false;
  private readDisables = 0;

  constructor(pool: Http2ConnPool, connection: Connection) {
    const max = pool.cluster.maxRequestsPerConnection;
    super(pool, connection, max > 0 ? Math.min(max, MAX_STREAMS) : MAX_STREAMS);
    this.http = pool;
    const settings = pool.cluster.settings.http;
    this.codec = new Http2ClientConnection(this, pool.dispatcher.slab, this, settings.http2, pool.cluster.http2Stats);
    this.keepalive = settings.keepalive === null ? null : new Keepalive(pool.dispatcher, settings.keepalive, () => this.close());
    connection.addReadFilter(this);
  }

  // --- Http2Transport ---

  get writeBufferBytes(): number {
    return this.connection.writeBufferBytes;
  }

  write(data: SliceBuffer): void {
    this.connection.write(data, false);
  }

  readDisable(disable: boolean): void {
    if (disable) this.readDisables++;
    else if (this.readDisables > 0) this.readDisables--;
    else return;
    this.connection.readDisable(disable);
  }

  /** A client never sends for nobody: what is left of a request whose response is complete is reset. */
  watchFlush(): void {}

  onPingAck(): void {
    this.keepalive?.onAck();
  }

  onEnd(): void {
    this.keepalive?.stop();
  }

  // --- Http2ClientCallbacks ---

  onStreamClosed(): void {
    this.http.onStreamClosed(this);
  }

  onStreamLimit(): void {
    if (!this.closing && this.state !== ClientState.Closed) this.http.onStreamLimit(this);
  }

  onGoAway(): void {
    if (!this.closing && this.state !== ClientState.Closed) this.http.onGoAway(this);
  }

  // --- ReadFilter ---

  initializeReadFilterCallbacks(): void {}

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer): FilterStatus {
    this.countReceived(data.length);
    const error = this.codec.dispatch(data);
    this.countBuffered(data.length);
    if (this.connection.state !== 'open') return FilterStatus.StopIteration;
    if (error !== null) {
      this.protocolError = true;
      this.pool.stats.upstreamCxProtocolError.inc();
      this.close();
    }
    return FilterStatus.StopIteration;
  }

  // --- connection events ---

  onConnected(): void {
    this.codec.start();
    this.codec.flush();
    this.keepalive?.start(this.codec);
  }

  onAboveWriteBufferHighWatermark(): void {
    this.codec.onUnderlyingConnectionAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.codec.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  }

  onClosed(): void {
    this.closing = true;
    this.incomplete = this.activeStreams > 0;
    const reason = this.protocolError ? StreamResetReason.ProtocolError : StreamResetReason.ConnectionTermination;
    this.codec.onConnectionClosed(reason, this.connection.transportFailureReason);
  }

  afterClosed(): void {}
}
