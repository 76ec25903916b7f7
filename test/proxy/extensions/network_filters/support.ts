/** A connection, a pool and a cluster that tests drive by hand. */
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import type { Scope } from '../../../../src/core/stats/stats.ts';
import { type Address, ipAddress } from '../../../../src/proxy/network/address.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  type ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type WriteFilter,
} from '../../../../src/proxy/network/connection.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import { ClusterStats } from '../../../../src/proxy/upstream/cluster_stats.ts';
import type {
  ClusterInfo,
  Host,
  LoadBalancerContext,
  PoolFailureReason,
  Resource,
  TcpConnectionData,
  TcpPoolCallbacks,
  TcpUpstreamCallbacks,
  ThreadLocalCluster,
} from '../../../../src/proxy/upstream/upstream.ts';
import type { FakeDispatcher } from '../support.ts';

let nextId = 1;

export class FakeConnection implements Connection {
  readonly interfaceName = 'fake';
  readonly id = nextId++;
  readonly dispatcher: FakeDispatcher;
  readonly streamInfo = new StreamInfo();
  readonly localAddress: Address = ipAddress('127.0.0.1', 10_000);
  readonly remoteAddress: Address = ipAddress('127.0.0.1', 50_000);
  readonly nextProtocol = '';
  readonly ssl = null;
  readonly transportFailureReason = '';
  requestedServerName = '';
  state: 'open' | 'closing' | 'closed' = 'open';
  connecting = false;
  bufferLimit = 0;
  writeBufferBytes = 0;
  disableCount = 0;
  halfClose = false;
  ended = false;
  closedWith: { type: ConnectionCloseType; details: string } | null = null;
  /** Keeps `close(FlushWrite)` open until `finishClose`. */
  holdFlush = false;
  readonly written: SliceBuffer;
  readonly readFilters: ReadFilter[] = [];
  private readonly callbacks: ConnectionCallbacks[] = [];
  private readonly sent: ((bytes: number) => void)[] = [];

  constructor(dispatcher: FakeDispatcher) {
    this.dispatcher = dispatcher;
    this.written = new SliceBuffer(dispatcher.slab);
  }

  get readEnabled(): boolean {
    return this.disableCount === 0;
  }

  addReadFilter(filter: ReadFilter): void {
    this.readFilters.push(filter);
    filter.initializeReadFilterCallbacks({ connection: this, bufferedBytes: 0, continueReading: () => {} });
  }

  addWriteFilter(_filter: WriteFilter): void {}

  addConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    this.callbacks.push(callbacks);
  }

  removeConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    this.callbacks.splice(this.callbacks.indexOf(callbacks), 1);
  }

  initializeReadFilters(): boolean {
    for (const filter of this.readFilters) {
      const status = filter.onNewConnection();
      if (this.state !== 'open') return false;
      if (status === FilterStatus.StopIteration) break;
    }
    return this.readFilters.length > 0;
  }

  connect(): void {}

  write(data: SliceBuffer, endStream: boolean): void {
    if (this.state !== 'open') throw new Error('write to a connection that is not open');
    if (this.ended) throw new Error('write after the end');
    this.written.move(data);
    this.ended = endStream;
  }

  readDisable(disable: boolean): void {
    this.disableCount += disable ? 1 : -1;
    if (this.disableCount < 0) throw new Error('unbalanced readDisable');
  }

  drain(): void {}

  opaqueAhead(): void {}

  enableHalfClose(enable: boolean): void {
    this.halfClose = enable;
  }

  close(type: ConnectionCloseType, details = ''): void {
    if (this.state !== 'open') return;
    this.closedWith = { type, details };
    if (this.holdFlush && type === 1) this.state = 'closing';
    else this.raise(ConnectionEvent.LocalClose);
  }

  finishClose(): void {
    this.raise(ConnectionEvent.LocalClose);
  }

  setBufferLimits(limit: number): void {
    this.bufferLimit = limit;
  }

  setDelayedCloseTimeout(): void {}

  addBytesSentListener(listener: { onBytesSent(bytes: number): void }): void {
    this.sent.push((bytes) => listener.onBytesSent(bytes));
  }

  setSocketOption(): number {
    return 0;
  }

  getSocketOptionBytes(): null {
    return null;
  }

  lastRoundTripTimeMs(): undefined {
    return undefined;
  }

  startSecureTransport(): boolean {
    return false;
  }

  setTransportSocketConnectTimeout(): void {}

  // --- the test's side

  /** Delivers bytes to the read filters; what they leave is lost. */
  feed(content: string, endStream = false): void {
    if (!this.readEnabled) throw new Error('fed while reading is disabled');
    const data = this.dispatcher.buffer(content);
    for (const filter of this.readFilters) {
      if (filter.onData(data, endStream) === FilterStatus.StopIteration) break;
    }
    if (data.length > 0) throw new Error(`the filters left ${data.length} bytes`);
  }

  raise(event: ConnectionEvent): void {
    if (event !== ConnectionEvent.Connected) this.state = 'closed';
    for (const callbacks of this.callbacks.slice()) callbacks.onEvent(event);
  }

  aboveHigh(): void {
    for (const callbacks of this.callbacks.slice()) callbacks.onAboveWriteBufferHighWatermark?.();
  }

  belowLow(): void {
    for (const callbacks of this.callbacks.slice()) callbacks.onBelowWriteBufferLowWatermark?.();
  }

  bytesSent(bytes: number): void {
    for (const callback of this.sent) callback(bytes);
  }

  takeWritten(): string {
    const text = this.written.toText();
    this.written.clear();
    return text;
  }
}

/** An upstream connection on loan: its events reach the borrower as a pool would pass them on. */
export class FakeUpstream implements TcpConnectionData {
  readonly connection: FakeConnection;
  released = 0;
  callbacks: TcpUpstreamCallbacks | null = null;

  constructor(dispatcher: FakeDispatcher) {
    this.connection = new FakeConnection(dispatcher);
    this.connection.addConnectionCallbacks({
      onEvent: (event) => this.callbacks?.onEvent(event),
      onAboveWriteBufferHighWatermark: () => this.callbacks?.onAboveWriteBufferHighWatermark(),
      onBelowWriteBufferLowWatermark: () => this.callbacks?.onBelowWriteBufferLowWatermark(),
    });
  }

  addUpstreamCallbacks(callbacks: TcpUpstreamCallbacks): void {
    this.callbacks = callbacks;
  }

  release(): void {
    this.released++;
  }

  feed(content: string, endStream = false): void {
    if (!this.connection.readEnabled) throw new Error('fed while reading is disabled');
    const data = this.connection.dispatcher.buffer(content);
    this.callbacks!.onUpstreamData(data, endStream);
    if (data.length > 0) throw new Error(`the borrower left ${data.length} bytes`);
  }
}

export class FakeCluster implements ThreadLocalCluster {
  readonly info: ClusterInfo;
  readonly stats: ClusterStats;
  readonly host: Host;
  readonly contexts: LoadBalancerContext[] = [];
  readonly requests: TcpPoolCallbacks[] = [];
  cancelled = 0;
  hasHosts = true;
  canConnect = true;
  /** Calls back inside `newConnection`. */
  immediate: ((callbacks: TcpPoolCallbacks) => void) | null = null;

  constructor(name: string, scope: Scope) {
    this.stats = new ClusterStats(scope.scope(`cluster.${name}.`));
    const resource: Resource = { canCreate: () => this.canConnect, inc: () => {}, dec: () => {}, max: 1, count: 0 };
    const resources = {
      connections: resource,
      pendingRequests: resource,
      requests: resource,
      retries: resource,
      connectionPools: resource,
    };
    this.info = {
      name,
      observabilityName: name,
      connectTimeoutMs: 5000,
      perConnectionBufferLimitBytes: 0,
      statsScope: scope,
      stats: this.stats,
      metadata: {},
      upstreamHttpProtocol: 'HTTP/1.1',
      maxRequestsPerConnection: 0,
      maintenanceMode: false,
      dropOverload: 0,
      resourceManager: () => resources,
    };
    this.host = { address: ipAddress('127.0.0.1', 9000), hostname: '', metadata: {} } as unknown as Host;
  }

  hosts(): readonly Host[] {
    return this.hasHosts ? [this.host] : [];
  }

  httpConnPool(): null {
    return null;
  }

  tcpConnPool(_priority: number, context: LoadBalancerContext | null) {
    if (context !== null) this.contexts.push(context);
    if (!this.hasHosts) return null;
    return {
      host: this.host,
      newConnection: (callbacks: TcpPoolCallbacks) => {
        if (this.immediate !== null) {
          this.immediate(callbacks);
          return null;
        }
        this.requests.push(callbacks);
        return {
          cancel: () => {
            this.cancelled++;
          },
        };
      },
    };
  }

  /** Answers the oldest request. */
  ready(upstream: FakeUpstream): void {
    this.requests.shift()!.onPoolReady(upstream, this.host);
  }

  fail(reason: PoolFailureReason, text = ''): void {
    this.requests.shift()!.onPoolFailure(reason, text, this.host);
  }
}
