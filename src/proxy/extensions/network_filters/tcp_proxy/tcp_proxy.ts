/**
 * tcp_proxy for one connection (Envoy: source/common/tcp_proxy/tcp_proxy.cc).
 *
 * The downstream is not read until an upstream connection is there; then slices are moved from one to the other in both
 * directions, nothing is copied. A side that cannot send fast enough stops the reading of the other one (counted). Half-close goes
 * through both ways. Failed connects are repeated in a later turn. When the client goes first, what it sent is still flushed
 * upstream (`upstream_drainer.ts`).
 *
 * Leaves out: tunneling, on-demand clusters, delayed connect modes.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { DeferredDeletable, Timer } from '../../../../core/event/dispatcher.ts';
import type { AccessLogType } from '../../../access_log/access_log.ts';
import type { Hash64 } from '../../../common/hash64.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/connection.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { PriorityLoad } from '../../../upstream/lb/priority_load.ts';
import { OutlierResult } from '../../../upstream/outlier/host_monitor.ts';
import {
  type Cancellable,
  type ClusterInfo,
  type Host,
  type LoadBalancerContext,
  PoolFailureReason,
  ResourcePriority,
  type TcpConnectionData,
  type TcpPoolCallbacks,
  type TcpUpstreamCallbacks,
} from '../../../upstream/upstream.ts';
import { PER_CONNECTION_CLUSTER } from './per_connection_cluster.ts';
import { pickRoute, retryDelayMs, type TcpProxySettings, type TcpRoute } from './settings.ts';
import { UpstreamDrainer } from './upstream_drainer.ts';

/** After a read of this size more of the kind may follow: nothing of it is looked at here. */
const LONG_READ_BYTES = 8192;
const OPAQUE_BYTES = 2 ** 20;

export class TcpProxyFilter implements ReadFilter, ConnectionCallbacks, TcpPoolCallbacks, LoadBalancerContext, DeferredDeletable {
  private readonly settings: TcpProxySettings;
  private readonly upstreamSide: UpstreamSide;
  private connection!: Connection;
  private info!: StreamInfo;
  private route: TcpRoute | null = null;
  private clusterInfo: ClusterInfo | null = null;
  private upstream: TcpConnectionData | null = null;
  private pending: Cancellable | null = null;
  private connecting = false;
  private connectAttempts = 0;
  private downstreamClosed = false;
  private txBuffered = 0;

  private lastActivityMs = 0;
  private idleTimer: Timer | null = null;
  private retryTimer: Timer | null = null;
  private durationTimer: Timer | null = null;
  private flushTimer: Timer | null = null;

  constructor(settings: TcpProxySettings) {
    this.settings = settings;
    this.upstreamSide = new UpstreamSide(this);
  }

  // --- ReadFilter ---

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    const { connection } = callbacks;
    this.connection = connection;
    this.info = connection.streamInfo;
    connection.addConnectionCallbacks(this);
    connection.enableHalfClose(true);
    // Nothing is read before there is somewhere to send it.
    connection.readDisable(true);
    this.settings.stats.downstreamCxTotal.inc();
  }

  onNewConnection(): FilterStatus {
    const { settings, connection } = this;
    const { dispatcher } = connection;
    if (settings.maxConnectionDurationMs > 0) {
      this.durationTimer = dispatcher.createTimer(() => this.onMaxDownstreamConnectionDuration());
      this.durationTimer.enableTimer(this.connectionDurationMs());
    }
    if (settings.accessLogFlushIntervalMs > 0) {
      this.flushTimer = dispatcher.createTimer(() => this.onAccessLogFlushInterval());
      this.flushTimer.enableTimer(settings.accessLogFlushIntervalMs);
    }
    if (settings.idleTimeoutMs > 0) {
      this.lastActivityMs = dispatcher.nowMs;
      this.idleTimer = dispatcher.createTimer(() => this.onIdleTimer());
      this.idleTimer.enableTimer(settings.idleTimeoutMs);
    }
    this.establishUpstreamConnection();
    return FilterStatus.StopIteration;
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    const length = data.length;
    const { info } = this;
    const now = this.connection.dispatcher.nowMs;
    this.settings.stats.downstreamCxRxBytesTotal.add(length);
    info.bytesReceived += length;
    info.downstreamWireBytesReceived += length;
    info.lastDownstreamRxByteMs = now;
    this.lastActivityMs = now;
    if (this.upstream === null) {
      data.clear();
      return FilterStatus.StopIteration;
    }
    if (info.firstUpstreamTxByteMs < 0) info.firstUpstreamTxByteMs = now;
    info.lastUpstreamTxByteMs = now;
    info.upstreamWireBytesSent += length;
    this.upstream.connection.write(data, endStream);
    if (length >= LONG_READ_BYTES) this.connection.opaqueAhead(OPAQUE_BYTES);
    return FilterStatus.StopIteration;
  }

  // --- downstream ConnectionCallbacks ---

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.downstreamClosed) return;
    this.downstreamClosed = true;
    this.retryTimer?.disableTimer();
    this.durationTimer?.disableTimer();
    this.flushTimer?.disableTimer();
    this.idleTimer?.disableTimer();
    if (this.pending !== null) {
      const pending = this.pending;
      this.pending = null;
      pending.cancel();
    }
    if (this.upstream !== null) this.leaveUpstream(this.upstream, event);
    this.settings.stats.downstreamCxTxBytesBuffered.sub(this.txBuffered);
    this.connection.dispatcher.deferredDelete(this);
  }

  onAboveWriteBufferHighWatermark(): void {
    if (this.upstream === null) return;
    this.upstream.connection.readDisable(true);
    this.clusterInfo?.stats.upstreamFlowControlPausedReadingTotal.inc();
  }

  onBelowWriteBufferLowWatermark(): void {
    if (this.upstream === null) return;
    this.upstream.connection.readDisable(false);
    this.clusterInfo?.stats.upstreamFlowControlResumedReadingTotal.inc();
  }

  /** After the connection: its log entry. */
  deleteNow(): void {
    this.info.endMonotonicMs = this.connection.dispatcher.nowMs;
    this.log('TcpConnectionEnd');
  }

  // --- TcpPoolCallbacks ---

  onPoolFailure(reason: PoolFailureReason, transportFailureReason: string, host: Host | null): void {
    this.pending = null;
    if (host !== null) this.info.upstreamHost = host;
    if (reason !== PoolFailureReason.Overflow)
      host?.outlier?.putResult(reason === PoolFailureReason.Timeout ? OutlierResult.Timeout : OutlierResult.ConnectFailed);
    this.info.upstreamTransportFailureReason = transportFailureReason;
    if (reason === PoolFailureReason.Timeout) this.info.setFlag('UpstreamConnectionFailure');
    this.onUpstreamEvent(
      reason === PoolFailureReason.RemoteConnectionFailure ? ConnectionEvent.RemoteClose : ConnectionEvent.LocalClose,
    );
  }

  onPoolReady(data: TcpConnectionData, host: Host): void {
    const { info, connection, settings } = this;
    this.pending = null;
    this.connecting = false;
    host.outlier?.putResult(OutlierResult.ConnectSuccessFinal);
    this.upstream = data;
    data.addUpstreamCallbacks(this.upstreamSide);
    const upstream = data.connection;
    upstream.enableHalfClose(true);
    info.upstreamHost = host;
    info.upstreamLocalAddress = upstream.localAddress;
    info.upstreamSsl = upstream.ssl;
    info.upstreamRemoteAddress = upstream.remoteAddress;
    info.upstreamConnectionId = upstream.id;
    info.upstreamConnectStartMs = upstream.streamInfo.upstreamConnectStartMs;
    info.upstreamConnectCompleteMs = upstream.streamInfo.upstreamConnectCompleteMs;
    info.upstreamHandshakeCompleteMs = upstream.streamInfo.upstreamHandshakeCompleteMs;
    info.upstreamPoolReadyMs = connection.dispatcher.nowMs;
    this.lastActivityMs = connection.dispatcher.nowMs;
    if (settings.idleTimeoutMs > 0 && this.idleTimer !== null && !this.idleTimer.enabled)
      this.idleTimer.enableTimer(settings.idleTimeoutMs);
    connection.addBytesSentListener({ onBytesSent: (bytes) => this.onDownstreamBytesSent(bytes) });
    upstream.addBytesSentListener(this.upstreamSide);
    connection.readDisable(false);
    if (settings.flushAccessLogOnConnected) this.log('TcpUpstreamConnected');
  }

  // --- LoadBalancerContext ---

  computeHashKey(): Hash64 | null {
    const { hashPolicy } = this.settings;
    return hashPolicy === null ? null : hashPolicy(this.info);
  }

  determinePriorityLoad(load: PriorityLoad): PriorityLoad {
    return load;
  }

  metadataMatch(): Record<string, unknown> | null {
    return this.route?.metadataMatch ?? null;
  }

  downstreamConnection(): Connection {
    return this.connection;
  }

  downstreamHeaders(): null {
    return null;
  }

  shouldSelectAnotherHost(): boolean {
    return false;
  }

  hostSelectionRetryCount(): number {
    return 1;
  }

  // --- the upstream's events, through UpstreamSide ---

  onUpstreamData(data: SliceBuffer, endStream: boolean): void {
    const length = data.length;
    const { info } = this;
    const now = this.connection.dispatcher.nowMs;
    info.bytesSent += length;
    info.downstreamWireBytesSent += length;
    info.upstreamWireBytesReceived += length;
    if (info.firstUpstreamRxByteMs < 0) info.firstUpstreamRxByteMs = now;
    info.lastUpstreamRxByteMs = now;
    this.lastActivityMs = now;
    if (this.connection.state === 'open') {
      this.txBuffered += length;
      this.settings.stats.downstreamCxTxBytesBuffered.add(length);
      this.connection.write(data, endStream);
      if (length >= LONG_READ_BYTES) this.upstream?.connection.opaqueAhead(OPAQUE_BYTES);
    } else {
      data.clear();
    }
  }

  onUpstreamEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected) return;
    const wasConnecting = this.connecting;
    this.connecting = false;
    const upstream = this.upstream;
    this.upstream = null;
    upstream?.release();
    this.idleTimer?.disableTimer();
    if (!wasConnecting) {
      if (this.connection.state === 'open') this.connection.close(ConnectionCloseType.FlushWrite);
      return;
    }
    if (event === ConnectionEvent.RemoteClose) this.info.setFlag('UpstreamConnectionFailure');
    if (this.downstreamClosed) return;
    if (this.connectAttempts >= this.settings.maxConnectAttempts) {
      this.info.setFlag('UpstreamRetryLimitExceeded');
      this.clusterInfo?.stats.upstreamCxConnectAttemptsExceeded.inc();
      this.onInitFailure();
      return;
    }
    this.retryTimer ??= this.connection.dispatcher.createTimer(() => this.establishUpstreamConnection());
    this.retryTimer.enableTimer(retryDelayMs(this.settings, this.connectAttempts));
  }

  onUpstreamAboveHighWatermark(): void {
    if (this.connection.state !== 'open') return;
    this.connection.readDisable(true);
    this.settings.stats.downstreamFlowControlPausedReadingTotal.inc();
  }

  onUpstreamBelowLowWatermark(): void {
    if (this.connection.state !== 'open') return;
    this.connection.readDisable(false);
    this.settings.stats.downstreamFlowControlResumedReadingTotal.inc();
  }

  onActivity(): void {
    this.lastActivityMs = this.connection.dispatcher.nowMs;
  }

  // --- private ---

  private establishUpstreamConnection(): void {
    const { info, settings } = this;
    this.route = this.chooseRoute();
    const cluster = settings.clusterManager.get(this.route.cluster);
    if (cluster === null) {
      settings.stats.downstreamCxNoRoute.inc();
      info.setFlag('NoClusterFound');
      this.onInitFailure();
      return;
    }
    this.clusterInfo = cluster.info;
    info.upstreamClusterName = cluster.info.name;
    info.upstreamClusterObservableName = cluster.info.observabilityName;
    info.clusterMetadata = cluster.info.metadata;
    // The pool would queue the request for a connection that nobody will give back.
    if (!cluster.info.resourceManager(ResourcePriority.Default).connections.canCreate()) {
      info.setFlag('UpstreamOverflow');
      cluster.info.stats.upstreamCxOverflow.inc();
      this.onInitFailure();
      return;
    }
    const pool = cluster.tcpConnPool(ResourcePriority.Default, this);
    if (pool === null) {
      info.setFlag('NoHealthyUpstream');
      this.onInitFailure();
      return;
    }
    this.connecting = true;
    this.connectAttempts++;
    info.attemptCount = this.connectAttempts;
    // It may call back before it returns; then there is nothing to cancel.
    const pending = pool.newConnection(this);
    if (pending !== null && this.connecting) this.pending = pending;
  }

  private chooseRoute(): TcpRoute {
    const named = this.info.filterState?.get(PER_CONNECTION_CLUSTER);
    if (typeof named === 'string') return { cluster: named, metadataMatch: this.settings.metadataMatch };
    return pickRoute(this.settings, this.settings.routes.length > 1 ? this.settings.random() : 0);
  }

  private onInitFailure(): void {
    this.connection.close(ConnectionCloseType.NoFlush, 'tcp_proxy_initialization_failure');
  }

  /** The downstream is gone: after its FIN or reset the upstream still gets what was sent, after our own close it does not. */
  private leaveUpstream(upstream: TcpConnectionData, event: ConnectionEvent): void {
    this.upstream = null;
    if (event === ConnectionEvent.LocalClose) {
      this.upstreamSide.leave();
      upstream.connection.close(ConnectionCloseType.NoFlush);
      upstream.release();
      return;
    }
    // Closing may raise its event at once: the drainer has to be in place before.
    const drainer = new UpstreamDrainer(upstream, this.settings);
    this.upstreamSide.drain(drainer);
    upstream.connection.close(ConnectionCloseType.FlushWrite);
    drainer.start();
  }

  private onDownstreamBytesSent(bytes: number): void {
    this.settings.stats.downstreamCxTxBytesTotal.add(bytes);
    this.settings.stats.downstreamCxTxBytesBuffered.sub(bytes);
    this.txBuffered -= bytes;
    this.info.lastDownstreamTxByteMs = this.connection.dispatcher.nowMs;
    if (this.info.firstDownstreamTxByteMs < 0) this.info.firstDownstreamTxByteMs = this.info.lastDownstreamTxByteMs;
    this.lastActivityMs = this.connection.dispatcher.nowMs;
  }

  /** The timer is not moved with every read: it looks when it fires. */
  private onIdleTimer(): void {
    const left = this.lastActivityMs + this.settings.idleTimeoutMs - this.connection.dispatcher.nowMs;
    if (left > 0) {
      this.idleTimer?.enableTimer(left);
      return;
    }
    this.settings.stats.idleTimeout.inc();
    this.connection.close(ConnectionCloseType.NoFlush, 'tcp_session_idle_timeout');
  }

  private connectionDurationMs(): number {
    const { maxConnectionDurationMs: base, maxConnectionDurationJitterPercent: percent } = this.settings;
    if (percent === 0) return base;
    return base + Math.floor((base * percent * (this.settings.random() / 0x1_0000_0000)) / 100);
  }

  private onMaxDownstreamConnectionDuration(): void {
    this.info.setFlag('DurationTimeout');
    this.settings.stats.maxDownstreamConnectionDuration.inc();
    this.connection.close(ConnectionCloseType.NoFlush, 'max_connection_duration_reached');
  }

  private onAccessLogFlushInterval(): void {
    this.log('TcpPeriodic');
    this.flushTimer?.enableTimer(this.settings.accessLogFlushIntervalMs);
  }

  private log(accessLogType: AccessLogType): void {
    const { accessLogs } = this.settings;
    if (accessLogs.length === 0) return;
    const context = { requestHeaders: null, responseHeaders: null, responseTrailers: null, localReplyBody: '', accessLogType };
    for (const log of accessLogs) log.log(context, this.info);
  }
}

/** Takes the upstream's events to the filter, and after the filter is gone to the drainer, or nowhere. */
class UpstreamSide implements TcpUpstreamCallbacks {
  private filter: TcpProxyFilter | null;
  private drainer: UpstreamDrainer | null = null;

  constructor(filter: TcpProxyFilter) {
    this.filter = filter;
  }

  drain(drainer: UpstreamDrainer): void {
    this.filter = null;
    this.drainer = drainer;
  }

  leave(): void {
    this.filter = null;
  }

  onUpstreamData(data: SliceBuffer, endStream: boolean): void {
    if (this.filter !== null) this.filter.onUpstreamData(data, endStream);
    else if (this.drainer !== null) this.drainer.onUpstreamData(data);
    else data.clear();
  }

  onEvent(event: ConnectionEvent): void {
    if (this.filter !== null) this.filter.onUpstreamEvent(event);
    else this.drainer?.onEvent(event);
  }

  onAboveWriteBufferHighWatermark(): void {
    this.filter?.onUpstreamAboveHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.filter?.onUpstreamBelowLowWatermark();
  }

  onBytesSent(_bytes: number): void {
    if (this.filter !== null) this.filter.onActivity();
    else this.drainer?.onActivity();
  }
}
