/**
 * What all connection pools have in common: a queue of streams that wait, connections made on demand (Envoy:
 * source/common/conn_pool/conn_pool_base.cc). A connection carries one stream; pools of multiplexed connections count for themselves.
 *
 * A pool serves one host, priority and protocol on one worker. A free connection is taken last-in first-out; the oldest waiting stream
 * gets the connection that becomes free. When an attempt to connect fails, every waiting stream fails with it.
 * A connection that closes always runs `closed` once, from its event, however it came to close.
 *
 * Left out: preconnecting.
 */
import { SysError } from '../../core/sys/libc.ts';
import { type Connection, ConnectionEvent } from '../network/connection.ts';
import type { TransportSocketFactory, TransportSocketOptions } from '../network/transport_socket.ts';
import { type ActiveClient, ClientState } from './active_client.ts';
import { NO_SERVER_NAME, type PoolServerName } from './auto_sni.ts';
import type { ClusterInfoImpl } from './cluster_info.ts';
import type { ClusterStats } from './cluster_stats.ts';
import type { HostImpl } from './host.ts';
import { LinkedList, type Links } from './linked_list.ts';
import type { ResourceManagerImpl } from './resource_manager.ts';
import { type Cancellable, PoolFailureReason, type ResourcePriority } from './upstream.ts';
import type { UpstreamContext } from './upstream_context.ts';

/** A stream that waits for a connection. */
export abstract class PendingStream implements Links<PendingStream>, Cancellable {
  prev: PendingStream | null = null;
  next: PendingStream | null = null;
  /** Served, failed or cancelled. */
  done = false;
  private readonly pool: ConnPoolBase;

  constructor(pool: ConnPoolBase) {
    this.pool = pool;
  }

  abstract fail(reason: PoolFailureReason, transportFailureReason: string, host: HostImpl): void;
  abstract serve(client: ActiveClient): void;

  cancel(): void {
    if (!this.done) this.pool.cancelPending(this);
  }
}

export abstract class ConnPoolBase {
  readonly host: HostImpl;
  readonly cluster: ClusterInfoImpl;
  readonly stats: ClusterStats;
  readonly dispatcher: UpstreamContext['dispatcher'];
  abstract readonly idleTimeoutMs: number;
  protected readonly context: UpstreamContext;
  protected readonly resources: ResourceManagerImpl;
  protected readonly priority: ResourcePriority;
  protected readonly ready = new LinkedList<ActiveClient>();
  /** Connections that take no further stream now. */
  protected readonly busy = new LinkedList<ActiveClient>();
  protected readonly connecting = new LinkedList<ActiveClient>();
  protected readonly pending = new LinkedList<PendingStream>();
  /** What TLS connections of this pool say and check in place of what is configured. */
  serverName: PoolServerName = NO_SERVER_NAME;
  protected draining = false;
  private gone = false;
  /** Null: plain text. */
  private readonly transportSocket: TransportSocketFactory | null;
  private readonly onGone: (pool: ConnPoolBase) => void;

  constructor(
    context: UpstreamContext,
    cluster: ClusterInfoImpl,
    host: HostImpl,
    priority: ResourcePriority,
    onGone: (pool: ConnPoolBase) => void,
  ) {
    this.context = context;
    this.dispatcher = context.dispatcher;
    this.cluster = cluster;
    this.stats = cluster.stats;
    this.host = host;
    this.priority = priority;
    this.transportSocket = cluster.transportSockets.resolve(host.metadata, host.localityMetadata);
    this.resources = cluster.resourceManager(priority);
    this.onGone = onGone;
    this.resources.connectionPools.inc();
  }

  get readyConnections(): number {
    return this.ready.size;
  }

  get busyConnections(): number {
    return this.busy.size;
  }

  get connectingConnections(): number {
    return this.connecting.size;
  }

  get pendingStreams(): number {
    return this.pending.size;
  }

  /** True when there is no connection and nobody waits. */
  get idle(): boolean {
    return this.ready.size + this.busy.size + this.connecting.size + this.pending.size === 0;
  }

  /**
   * The host is going away: free connections close now, used ones after their stream. What waits is still served. `onGone` is
   * called when nothing is left.
   */
  drain(): void {
    this.draining = true;
    this.closeUnusedWhenDraining();
  }

  /** Closes all connections at once. */
  closeAll(): void {
    this.draining = true;
    for (const list of [this.ready, this.busy, this.connecting]) for (const client of list.toArray()) client.close();
    this.closeUnusedWhenDraining();
  }

  /** Keeps the pool, but no connection that exists now is used again. */
  drainConnections(): void {
    for (const client of this.ready.toArray()) this.retire(client);
    for (const client of this.busy.toArray()) this.drainClient(client);
    if (this.pending.size === 0) for (const client of this.connecting.toArray()) client.close();
  }

  // --- for subclasses ---

  /** Streams that a connection is expected to carry at a time. */
  protected get streamsPerConnection(): number {
    return 1;
  }

  protected abstract createClient(connection: Connection): ActiveClient;
  protected abstract readonly cancelClosesExcess: boolean;
  /** What is offered by ALPN when configuration says nothing. */
  protected abstract readonly applicationProtocols: readonly string[];
  protected abstract readonly maxConnectionDurationMs: number;

  /** Puts a stream into the queue and sees that a connection is under way. Null when it failed on the spot. */
  protected enqueue(stream: PendingStream): Cancellable | null {
    const pendingRequests = this.resources.pendingRequests;
    if (!pendingRequests.canCreate()) {
      this.stats.upstreamRqPendingOverflow.inc();
      stream.done = true;
      stream.fail(PoolFailureReason.Overflow, '', this.host);
      return null;
    }
    this.stats.upstreamRqPendingTotal.inc();
    this.stats.upstreamRqPendingActive.inc();
    pendingRequests.inc();
    this.pending.pushBack(stream);
    this.createConnections();
    return stream.done ? null : stream;
  }

  /** Takes a free connection for a stream and counts it. */
  protected take(client: ActiveClient): void {
    client.active = true;
    this.ready.remove(client);
    this.busy.pushFront(client);
    if (client.isLastStream()) {
      this.stats.upstreamCxMaxRequests.inc();
      client.state = ClientState.Draining;
    } else {
      client.state = ClientState.Busy;
    }
    this.countStream();
  }

  protected countStream(): void {
    this.stats.upstreamRqTotal.inc();
    this.stats.upstreamRqActive.inc();
    this.host.stats.rqTotal.inc();
    this.host.stats.rqActive.inc();
    this.resources.requests.inc();
  }

  /** The stream of `client` is over. With `reusable` the connection may serve another one. */
  protected finishStream(client: ActiveClient, reusable: boolean): void {
    this.uncountStream(client);
    if (client.state === ClientState.Closed) return;
    if (!reusable || client.state === ClientState.Draining) {
      client.close();
      return;
    }
    this.busy.remove(client);
    client.state = ClientState.Ready;
    this.ready.pushFront(client);
    this.serveFirst(client);
  }

  private uncountStream(client: ActiveClient): void {
    if (!client.active) return;
    client.active = false;
    this.uncountOne();
  }

  protected uncountOne(): void {
    this.stats.upstreamRqActive.dec();
    this.host.stats.rqActive.dec();
    this.resources.requests.dec();
  }

  // --- for clients and pending streams ---

  /** After its streams this connection closes. */
  drainClient(client: ActiveClient): void {
    if (client.state === ClientState.Busy) client.state = ClientState.Draining;
    else if (client.state === ClientState.Ready) this.retire(client);
  }

  /** A connection that could take a stream gets none any more: it closes now, or when the last on it is over. */
  private retire(client: ActiveClient): void {
    if (!client.active) {
      client.close();
      return;
    }
    this.ready.remove(client);
    this.busy.pushFront(client);
    client.state = ClientState.Draining;
  }

  onClientConnected(client: ActiveClient): void {
    this.stats.upstreamCxConnectMs.recordValue(Math.round(this.dispatcher.nowMs - client.createdMs));
    this.connecting.remove(client);
    this.ready.pushFront(client);
    client.state = ClientState.Ready;
    client.startMaxDuration(this.maxConnectionDurationMs);
    client.onConnected();
    client.connection.initializeReadFilters();
    if (client.state === ClientState.Ready) this.serveFirst(client);
  }

  /**
   * Takes a client over a connection that another pool of this host made, and counted, and that is up now. `before` runs when it is in the
   * books, so that streams that come meanwhile wait for it.
   */
  adopt(client: ActiveClient, createdMs: number, before: () => void = () => {}): void {
    client.createdMs = createdMs;
    this.connecting.pushBack(client);
    before();
    client.onEvent(ConnectionEvent.Connected);
  }

  onClientClosed(client: ActiveClient, event: ConnectionEvent): void {
    const wasConnecting = client.state === ClientState.Connecting;
    const list = wasConnecting ? this.connecting : client.state === ClientState.Ready ? this.ready : this.busy;
    list.remove(client);
    client.state = ClientState.Closed;
    const stats = this.stats;
    const remote = event === ConnectionEvent.RemoteClose;
    stats.upstreamCxDestroy.inc();
    (remote ? stats.upstreamCxDestroyRemote : stats.upstreamCxDestroyLocal).inc();
    if (client.incomplete) {
      stats.upstreamCxDestroyWithActiveRq.inc();
      (remote ? stats.upstreamCxDestroyRemoteWithActiveRq : stats.upstreamCxDestroyLocalWithActiveRq).inc();
    }
    this.uncountStream(client);
    this.releaseClient(client);
    if (wasConnecting) {
      stats.upstreamCxConnectFail.inc();
      this.host.stats.cxConnectFail.inc();
      let reason: PoolFailureReason = remote
        ? PoolFailureReason.RemoteConnectionFailure
        : PoolFailureReason.LocalConnectionFailure;
      if (client.timedOut) reason = PoolFailureReason.Timeout;
      this.failPending(reason, client.connection.transportFailureReason);
    }
    this.closeUnusedWhenDraining();
    if (this.pending.size > 0) this.createConnections();
  }

  cancelPending(stream: PendingStream): void {
    this.removePending(stream);
    this.stats.upstreamRqCancelled.inc();
    if (this.cancelClosesExcess && this.connecting.last !== null && this.connecting.size > this.pending.size)
      this.connecting.last.close();
    this.closeUnusedWhenDraining();
  }

  // --- private ---

  protected removePending(stream: PendingStream): void {
    this.pending.remove(stream);
    stream.done = true;
    this.stats.upstreamRqPendingActive.dec();
    this.resources.pendingRequests.dec();
  }

  /** Fails all that wait now; what a callback adds meanwhile waits for the next attempt. */
  private failPending(reason: PoolFailureReason, transportFailureReason: string): void {
    const waiting = this.pending.toArray();
    // Taken out first, so that a callback that starts a new stream does not see it fail too.
    for (const stream of waiting) this.removePending(stream);
    for (const stream of waiting) {
      this.stats.upstreamRqPendingFailureEject.inc();
      stream.fail(reason, transportFailureReason, this.host);
    }
  }

  /** A connection is free: the oldest waiting stream gets it. */
  protected serveFirst(client: ActiveClient): void {
    // With one stream to a connection, more than one turn only when the circuit breaker refuses one and leaves the connection free.
    for (let stream = this.pending.first; stream !== null && client.state === ClientState.Ready; stream = this.pending.first) {
      this.removePending(stream);
      stream.serve(client);
    }
    if (client.state !== ClientState.Ready) return;
    if (!client.active) client.startIdle();
    this.closeUnusedWhenDraining();
  }

  protected createConnections(): void {
    while (this.pending.size > this.connecting.size * this.streamsPerConnection) {
      const allowed = this.canCreateConnection();
      if (!allowed) this.stats.upstreamCxOverflow.inc();
      // Without any connection nothing would ever serve those that wait: one is made against the limit.
      if (!allowed && this.ready.size + this.busy.size + this.connecting.size > 0) return;
      if (!this.createConnection() || !allowed) return;
    }
  }

  private transportOptions(): TransportSocketOptions {
    return {
      hostName: this.host.hostname,
      serverNameOverride: this.serverName.serverName,
      verifySubjectAltNames: this.serverName.verifyName === '' ? [] : [this.serverName.verifyName],
      applicationProtocolOverride: [],
      applicationProtocolFallback: this.applicationProtocols,
    };
  }

  private canCreateConnection(): boolean {
    const perHost = this.resources.maxConnectionsPerHost;
    if (perHost !== Number.MAX_SAFE_INTEGER && this.host.stats.cxActive.value >= perHost) return false;
    return this.resources.connections.canCreate();
  }

  private createConnection(): boolean {
    const { settings } = this.cluster;
    const address = this.host.address;
    let connection: Connection;
    try {
      const options = {
        address,
        socketInterface: settings.socketInterface,
        sourceAddress: settings.sourceAddress,
        socketOptions: address.kind === 'ip' ? settings.tcpSocketOptions : settings.socketOptions,
      };
      const transport = this.transportSocket;
      connection =
        transport === null
          ? this.context.createClientConnection(this.dispatcher, this.context.socketInterface, options)
          : this.context.createClientConnection(
              this.dispatcher,
              this.context.socketInterface,
              options,
              transport,
              this.transportOptions(),
            );
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.syscall === 'bind') this.stats.bindErrors.inc();
      this.stats.upstreamCxConnectFail.inc();
      this.host.stats.cxConnectFail.inc();
      this.failPending(PoolFailureReason.LocalConnectionFailure, error.message);
      return false;
    }
    const client = this.createClient(connection);
    this.connecting.pushBack(client);
    this.stats.upstreamCxTotal.inc();
    this.stats.upstreamCxActive.inc();
    this.host.stats.cxTotal.inc();
    this.host.stats.cxActive.inc();
    this.resources.connections.inc();
    connection.connect();
    return client.state !== ClientState.Closed;
  }

  /** For admin. */
  *openConnections(): Iterable<Connection> {
    for (const list of [this.ready, this.busy, this.connecting]) for (const client of list.toArray()) yield client.connection;
  }

  private releaseClient(client: ActiveClient): void {
    this.stats.upstreamCxLengthMs.recordValue(Math.round(this.dispatcher.nowMs - client.createdMs));
    this.stats.upstreamRqPerCx.recordValue(client.streams);
    client.releaseBufferedCounts();
    this.stats.upstreamCxActive.dec();
    this.host.stats.cxActive.dec();
    this.resources.connections.dec();
  }

  protected closeUnusedWhenDraining(): void {
    if (!this.draining || this.gone) return;
    for (const client of this.ready.toArray()) this.retire(client);
    for (const client of this.busy.toArray()) this.drainClient(client);
    if (this.pending.size === 0) for (const client of this.connecting.toArray()) client.close();
    if (!this.idle || this.gone) return;
    this.gone = true;
    this.resources.connectionPools.dec();
    this.onGone(this);
  }
}
