/**
 * Raw connections to one host, lent out one at a time (Envoy: source/common/tcp/conn_pool.cc). A borrower that gives a connection
 * back open leaves it to the next; tcp_proxy closes its own.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import { type Connection, type ConnectionEvent, FilterStatus, type ReadFilter } from '../network/connection.ts';
import { ActiveClient, ClientState } from './active_client.ts';
import { ConnPoolBase, PendingStream } from './conn_pool_base.ts';
import type { HostImpl } from './host.ts';
import type {
  Cancellable,
  PoolFailureReason,
  TcpConnectionData,
  TcpConnectionPool,
  TcpPoolCallbacks,
  TcpUpstreamCallbacks,
} from './upstream.ts';

export class TcpConnPool extends ConnPoolBase implements TcpConnectionPool {
  protected readonly cancelClosesExcess = true;
  protected readonly applicationProtocols: readonly string[] = [];
  protected readonly maxConnectionDurationMs = 0;

  get idleTimeoutMs(): number {
    return this.cluster.settings.tcpIdleTimeoutMs;
  }

  newConnection(callbacks: TcpPoolCallbacks): Cancellable | null {
    const client = this.ready.first;
    if (client === null) return this.enqueue(new TcpPendingConnection(this, callbacks));
    this.attach(client as TcpClient, callbacks);
    return null;
  }

  attach(client: TcpClient, callbacks: TcpPoolCallbacks): void {
    this.take(client);
    client.lend(callbacks);
  }

  giveBack(client: TcpClient): void {
    this.finishStream(client, client.connection.state === 'open');
  }

  protected createClient(connection: Connection): ActiveClient {
    return new TcpClient(this, connection);
  }
}

class TcpPendingConnection extends PendingStream {
  private readonly callbacks: TcpPoolCallbacks;
  private readonly tcp: TcpConnPool;

  constructor(pool: TcpConnPool, callbacks: TcpPoolCallbacks) {
    super(pool);
    this.tcp = pool;
    this.callbacks = callbacks;
  }

  fail(reason: PoolFailureReason, transportFailureReason: string, host: HostImpl): void {
    this.callbacks.onPoolFailure(reason, transportFailureReason, host);
  }

  serve(client: ActiveClient): void {
    this.tcp.attach(client as TcpClient, this.callbacks);
  }
}

class TcpClient extends ActiveClient implements ReadFilter {
  private readonly tcp: TcpConnPool;
  private loan: Loan | null = null;
  /** Connected, and reading is held until the first borrower. */
  private held = false;

  constructor(pool: TcpConnPool, connection: Connection) {
    super(pool, connection, pool.cluster.maxRequestsPerConnection);
    this.tcp = pool;
    connection.addReadFilter(this);
  }

  lend(callbacks: TcpPoolCallbacks): void {
    const loan = new Loan(this);
    this.loan = loan;
    callbacks.onPoolReady(loan, this.pool.host);
    this.readWhatWasHeld();
  }

  release(loan: Loan): void {
    if (this.loan !== loan) return;
    this.loan = null;
    if (this.state !== ClientState.Closed) this.tcp.giveBack(this);
  }

  initializeReadFilterCallbacks(): void {}

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    this.countReceived(data.length);
    const callbacks = this.loan?.callbacks ?? null;
    if (callbacks !== null) callbacks.onUpstreamData(data, endStream);
    this.countBuffered(data.length);
    // Nobody asked for these bytes.
    if (callbacks === null && this.loan === null) this.close();
    return FilterStatus.StopIteration;
  }

  onConnected(): void {
    this.held = true;
    this.connection.readDisable(true);
  }

  onClosed(): void {
    this.incomplete = this.loan !== null;
  }

  afterClosed(event: ConnectionEvent): void {
    const callbacks = this.loan?.callbacks ?? null;
    this.loan = null;
    callbacks?.onEvent(event);
  }

  onAboveWriteBufferHighWatermark(): void {
    this.loan?.callbacks?.onAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.loan?.callbacks?.onBelowWriteBufferLowWatermark();
  }

  private readWhatWasHeld(): void {
    if (!this.held || this.connection.state === 'closed') return;
    this.held = false;
    this.connection.readDisable(false);
  }
}

class Loan implements TcpConnectionData {
  callbacks: TcpUpstreamCallbacks | null = null;
  private readonly client: TcpClient;

  constructor(client: TcpClient) {
    this.client = client;
  }

  get connection(): Connection {
    return this.client.connection;
  }

  addUpstreamCallbacks(callbacks: TcpUpstreamCallbacks): void {
    this.callbacks = callbacks;
  }

  release(): void {
    this.client.release(this);
  }
}
