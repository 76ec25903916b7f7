/**
 * `tcp_health_check` (Envoy: TcpHealthCheckerImpl): to connect is enough when nothing is expected; otherwise `send` is sent and what comes
 * back must contain `receive`.
 */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import { SysError } from '../../../core/sys/libc.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
} from '../../network/connection.ts';
import type { HostDescription } from '../host_update.ts';
import type { CheckConnector } from './check_connector.ts';
import type { TcpCheckSettings } from './health_check_settings.ts';
import { containsPayload } from './payload.ts';
import type { Probe, ProbeCallbacks } from './probe.ts';

/** Of an answer that does not match: what came last is looked at. */
const MAX_KEPT = 64 * 1024;

export class TcpProbe implements Probe, ReadFilter, ConnectionCallbacks {
  private readonly settings: TcpCheckSettings;
  private readonly connector: CheckConnector;
  private readonly reuse: boolean;
  private readonly callbacks: ProbeCallbacks;
  private connection: Connection | null = null;
  private connected = false;
  /** Closed by us: that is no failure. */
  private expectClose = false;
  private waiting = false;
  private received = Buffer.alloc(0);

  constructor(settings: TcpCheckSettings, connector: CheckConnector, reuse: boolean, callbacks: ProbeCallbacks) {
    this.settings = settings;
    this.connector = connector;
    this.reuse = reuse;
    this.callbacks = callbacks;
  }

  begin(host: HostDescription): void {
    this.received = Buffer.alloc(0);
    this.waiting = true;
    if (this.connection !== null) {
      if (this.connected) this.send();
      return;
    }
    let connection: Connection;
    try {
      ({ connection } = this.connector.create(host));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.waiting = false;
      this.callbacks.onFailure('NETWORK', false);
      return;
    }
    this.connection = connection;
    this.connected = false;
    this.expectClose = false;
    connection.setBufferLimits(this.connector.cluster.perConnectionBufferLimitBytes);
    connection.addConnectionCallbacks(this);
    connection.addReadFilter(this);
    connection.connect();
  }

  abandon(): void {
    this.waiting = false;
    this.close();
  }

  close(): void {
    this.expectClose = true;
    this.connection?.close(ConnectionCloseType.NoFlush);
  }

  onEvent(event: ConnectionEvent): void {
    if (event !== ConnectionEvent.Connected) {
      this.connection = null;
      if (this.expectClose) return;
      this.waiting = false;
      this.callbacks.onFailure('NETWORK', false);
      return;
    }
    this.connected = true;
    if (this.settings.receive.length === 0) {
      this.waiting = false;
      this.close();
      this.callbacks.onSuccess(false);
      return;
    }
    this.connection?.initializeReadFilters();
    this.send();
  }

  private send(): void {
    const { send } = this.settings;
    if (send === null || this.connection === null) return;
    const data = new SliceBuffer(this.connector.context.dispatcher.slab);
    data.append(send);
    this.connection.write(data, false);
  }

  initializeReadFilterCallbacks(): void {}

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer): FilterStatus {
    if (this.waiting) this.received = Buffer.concat([this.received, data.toBytes()]).subarray(-MAX_KEPT);
    data.clear();
    if (!this.waiting || !containsPayload(this.settings.receive, this.received)) return FilterStatus.StopIteration;
    this.waiting = false;
    this.received = Buffer.alloc(0);
    if (!this.reuse) this.close();
    this.callbacks.onSuccess(false);
    return FilterStatus.StopIteration;
  }
}
