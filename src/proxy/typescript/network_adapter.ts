/**
 * Between a connection and an object of a user's network filter class. While a promise of the filter is pending nothing is read from the
 * client; what had come waits here. A filter that throws, rejects or takes too long closes its connection (or, failing open, is left out).
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Timer } from '../../core/event/dispatcher.ts';
import type { AsyncRequest } from '../http/async_client.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
  type WriteFilter,
} from '../network/connection.ts';
import { BodyView, toBytes } from './body_view.ts';
import { CallError, type CallRequest, type CallResponse } from './host_api.ts';
import type { NetworkAction, NetworkConnection, NetworkFilter, NetworkResult } from './network_filter.ts';
import type { NetworkFilterVersion } from './network_filter_version.ts';
import type { ScriptHost } from './script_host.ts';
import { PropertiesView } from './stream_properties.ts';

/** Key of tcp_proxy's per-connection cluster in the filter state. */
const UPSTREAM_CLUSTER = 'envoy.tcp_proxy.cluster';

type Pending = Extract<NetworkResult, Promise<unknown>>;

export class NetworkFilterAdapter implements ReadFilter, WriteFilter, ConnectionCallbacks, NetworkConnection {
  private readonly version: NetworkFilterVersion;
  private readonly scripts: ScriptHost;
  private readonly peer: Connection;
  private readonly properties: PropertiesView;
  private callbacks!: ReadFilterCallbacks;
  private filter: NetworkFilter<unknown, unknown> | null = null;
  private over = false;
  /** The filter failed open: everything passes. */
  private bypass = false;
  private busy = false;
  /** What the filter is busy with. */
  private phase = '';
  private stopped = false;
  private readonly body = new BodyView();
  private readonly outgoing = new BodyView();
  /** What the filter is busy with, and after it what it has let pass. */
  private held: SliceBuffer | null = null;
  private ready: SliceBuffer | null = null;
  /** The connection's read buffer, once it is known. */
  private input: SliceBuffer | null = null;
  private inputEnded = false;
  private deadline: Timer | null = null;
  private calls: Set<AsyncRequest> | null = null;

  constructor(version: NetworkFilterVersion, scripts: ScriptHost, connection: Connection) {
    this.version = version;
    this.scripts = scripts;
    this.peer = connection;
    this.properties = new PropertiesView(connection.dispatcher);
    this.properties.info = connection.streamInfo;
    version.acquire();
    connection.addConnectionCallbacks(this);
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.callbacks = callbacks;
  }

  // Phases.

  onNewConnection(): FilterStatus {
    try {
      const { config, shared, host } = this.version;
      this.filter = new this.version.extensionClass({ connection: this, config, shared, host });
      if (!this.version.has.onNewConnection) return FilterStatus.Continue;
      return this.after(this.filter.onNewConnection(), 'onNewConnection');
    } catch (error) {
      return this.fail(error, 'onNewConnection');
    }
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    this.input = data;
    if (this.busy || this.stopped) {
      if (endStream) this.inputEnded = true;
      return FilterStatus.StopIteration;
    }
    if (this.bypass || this.filter === null || !this.version.has.onData) return FilterStatus.Continue;
    this.body.buffer = data;
    let result: NetworkResult;
    try {
      result = this.filter.onData(this.body, endStream);
    } catch (error) {
      return this.fail(error, 'onData');
    }
    if (result instanceof Promise) {
      this.held ??= new SliceBuffer(data.slab);
      this.held.move(data);
      this.body.buffer = this.held;
      if (endStream) this.inputEnded = true;
    } else this.body.buffer = null;
    return this.after(result, 'onData');
  }

  onWrite(data: SliceBuffer, endStream: boolean): FilterStatus {
    if (this.bypass || this.filter === null || !this.version.has.onWrite) return FilterStatus.Continue;
    this.outgoing.buffer = data;
    try {
      this.filter.onWrite(this.outgoing, endStream);
      return FilterStatus.Continue;
    } catch (error) {
      const status = this.fail(error, 'onWrite');
      if (status === FilterStatus.StopIteration) data.clear();
      return status;
    } finally {
      this.outgoing.buffer = null;
    }
  }

  private after(result: NetworkResult, phase: string): FilterStatus {
    if (result instanceof Promise) {
      this.wait(result, phase);
      return FilterStatus.StopIteration;
    }
    if (result === 1) {
      this.stopped = true;
      return FilterStatus.StopIteration;
    }
    return this.over ? FilterStatus.StopIteration : FilterStatus.Continue;
  }

  private wait(result: Pending, phase: string): void {
    this.busy = true;
    this.phase = phase;
    this.peer.readDisable(true);
    const { deadlineMs } = this.version.settings;
    if (deadlineMs > 0) {
      this.deadline ??= this.peer.dispatcher.createTimer(() => {
        if (this.busy && !this.over) this.fail(new Error(`took longer than ${deadlineMs} ms`), this.phase);
      });
      this.deadline.enableTimer(deadlineMs);
    }
    result.then(
      (action) => this.scripts.post(() => this.onSettled(action as NetworkAction | undefined)),
      (error: unknown) =>
        this.scripts.post(() => {
          if (this.busy && !this.over) this.fail(error, phase);
        }),
    );
    this.scripts.wakeNode();
  }

  private onSettled(action: NetworkAction | undefined): void {
    if (!this.busy || this.over) return;
    this.endWait();
    if (action === 1) this.stopped = true;
    else this.resume();
  }

  private endWait(): void {
    this.busy = false;
    this.deadline?.disableTimer();
    this.body.buffer = null;
    if (this.held !== null) this.take(this.held);
    if (this.peer.state === 'open') this.peer.readDisable(false);
  }

  private take(from: SliceBuffer): void {
    this.ready ??= new SliceBuffer(from.slab);
    this.ready.move(from);
  }

  /** What came in meanwhile is the filter's, too; then everything goes on to the next filter in order. */
  private resume(): void {
    const input = this.input;
    if (input !== null && input.length > 0 && !this.bypass) {
      const status = this.onData(input, this.inputEnded);
      if (this.busy || this.stopped || this.over || status === FilterStatus.StopIteration) return;
      this.take(input);
    }
    if (this.ready !== null && this.ready.length > 0 && input !== null) {
      const late = new SliceBuffer(input.slab);
      late.move(input);
      input.move(this.ready);
      input.move(late);
    }
    this.callbacks.continueReading();
  }

  private fail(error: unknown, phase: string): FilterStatus {
    const { host, settings } = this.version;
    host.reportError(error, phase);
    this.body.buffer = null;
    if (!settings.failOpen) {
      this.peer.close(ConnectionCloseType.NoFlush, `typescript_filter_failed{${settings.name}}`);
      return FilterStatus.StopIteration;
    }
    this.bypass = true;
    if (!this.busy) return FilterStatus.Continue;
    this.endWait();
    this.resume();
    return FilterStatus.StopIteration;
  }

  // ConnectionCallbacks.

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.over) return;
    this.over = true;
    this.deadline?.disableTimer();
    if (this.calls !== null) for (const call of this.calls) call.cancel();
    this.calls = null;
    this.held?.clear();
    this.ready?.clear();
    this.body.buffer = null;
    if (this.filter !== null && !this.bypass && this.version.has.onClose) {
      const { filter } = this;
      try {
        filter.onClose(event === ConnectionEvent.RemoteClose);
      } catch (error) {
        this.version.host.reportError(error, 'onClose');
      }
    }
    this.version.release();
  }

  // NetworkConnection.

  get id(): number {
    return this.peer.id;
  }

  get remoteAddress(): string {
    return this.properties.remoteAddress;
  }

  get remoteIp(): string {
    return this.properties.remoteIp;
  }

  get localAddress(): string {
    return this.properties.localAddress;
  }

  get requestedServerName(): string {
    return this.peer.requestedServerName;
  }

  get applicationProtocol(): string {
    return this.peer.nextProtocol;
  }

  get info(): PropertiesView {
    return this.properties;
  }

  get open(): boolean {
    return !this.over && this.peer.state === 'open';
  }

  write(content: string | Uint8Array, endStream = false): void {
    const data = new SliceBuffer(this.peer.dispatcher.slab);
    data.append(toBytes(content));
    this.peer.write(data, endStream);
  }

  close(details = ''): void {
    this.peer.close(ConnectionCloseType.FlushWrite, details);
  }

  abort(details = ''): void {
    this.peer.close(ConnectionCloseType.AbortReset, details);
  }

  continueReading(): void {
    if (this.over) return;
    if (this.busy) this.endWait();
    this.stopped = false;
    this.resume();
  }

  setUpstreamCluster(name: string): void {
    const info = this.peer.streamInfo;
    info.filterState ??= new Map();
    info.filterState.set(UPSTREAM_CLUSTER, name);
  }

  call(cluster: string, request: CallRequest = {}): Promise<CallResponse> {
    if (this.over) return Promise.reject(new CallError('stream_ended', 'the connection is closed'));
    let tracked: AsyncRequest | null = null;
    return this.version.host.startCall(cluster, request, (call) => {
      if (call !== null) {
        tracked = call;
        this.calls ??= new Set();
        this.calls.add(call);
      } else if (tracked !== null) this.calls?.delete(tracked);
    });
  }
}
