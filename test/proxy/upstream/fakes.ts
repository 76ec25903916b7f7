/** A dispatcher whose time stands still until a test moves it, and connections that a test plays the far side of. */
import { Slab } from '../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import type { DeferredDeletable, Dispatcher, FileEvent, SchedulableCallback, Timer } from '../../../src/core/event/dispatcher.ts';
import { Store } from '../../../src/core/stats/store.ts';
import { SysError } from '../../../src/core/sys/libc.ts';
import { type Address, ipAddress } from '../../../src/proxy/network/address.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionEvent,
  type ReadFilter,
} from '../../../src/proxy/network/connection.ts';
import type { ConnectOptions, IoHandle, ListenSocket, SocketInterface } from '../../../src/proxy/network/io_handle.ts';
import { StreamInfo } from '../../../src/proxy/stream_info/stream_info.ts';
import type { PlainCluster, PlainLbEndpoint } from '../../../src/proxy/upstream/cluster_types.ts';
import type { HostDescription } from '../../../src/proxy/upstream/host_update.ts';
import type { UpstreamContext } from '../../../src/proxy/upstream/upstream_context.ts';

class FakeTimer implements Timer {
  dueMs = -1;
  readonly callback: () => void;
  private readonly dispatcher: FakeDispatcher;

  constructor(dispatcher: FakeDispatcher, callback: () => void) {
    this.dispatcher = dispatcher;
    this.callback = callback;
  }

  get enabled(): boolean {
    return this.dueMs >= 0;
  }

  enableTimer(delayMs: number): void {
    this.dueMs = this.dispatcher.nowMs + delayMs;
  }

  disableTimer(): void {
    this.dueMs = -1;
  }
}

export class FakeDispatcher implements Dispatcher {
  readonly name = 'fake';
  readonly slab = new Slab(256);
  nowMs = 1000;
  systemTimeMs = 1_700_000_000_000;
  private readonly timers: FakeTimer[] = [];

  monotonicTimeMs(): number {
    return this.nowMs;
  }

  createTimer(callback: () => void): Timer {
    const timer = new FakeTimer(this, callback);
    this.timers.push(timer);
    return timer;
  }

  createSchedulableCallback(): SchedulableCallback {
    throw new Error('not used');
  }

  createFileEvent(): FileEvent {
    throw new Error('not used');
  }

  post(callback: () => void): void {
    callback();
  }

  deferredDelete(object: DeferredDeletable): void {
    object.deleteNow();
  }

  atEndOfTurn(callback: () => void): void {
    callback();
  }

  /** Moves time, firing timers at their moments. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const due = this.timers.filter((timer) => timer.enabled && timer.dueMs <= end).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (due === undefined) break;
      this.nowMs = due.dueMs;
      due.disableTimer();
      due.callback();
    }
    this.nowMs = end;
  }

  get timersEnabled(): number {
    return this.timers.filter((timer) => timer.enabled).length;
  }
}

export class FakeConnection implements Connection {
  readonly interfaceName = 'fake';
  static nextId = 1;
  readonly id = FakeConnection.nextId++;
  readonly dispatcher: FakeDispatcher;
  state: 'open' | 'closing' | 'closed' = 'open';
  connecting = true;
  readonly streamInfo = new StreamInfo();
  readonly localAddress: Address = ipAddress('10.0.0.1', 4000);
  readonly remoteAddress: Address;
  readonly options: ConnectOptions;
  readonly requestedServerName = '';
  readonly nextProtocol = '';
  readonly ssl = null;
  transportFailureReason = '';
  readonly bufferLimits: number[] = [];
  sent = '';
  sentEnd = false;
  disabled = 0;
  writeBufferBytes = 0;
  connectCalls = 0;
  filtersInitialized = false;
  /** Fails at once when told to connect. */
  refuses = false;
  private readonly readBuffer: SliceBuffer;
  private readonly filters: ReadFilter[] = [];
  private readonly callbacks: ConnectionCallbacks[] = [];
  private readonly bytesSent: ((bytes: number) => void)[] = [];

  constructor(dispatcher: FakeDispatcher, options: ConnectOptions) {
    this.dispatcher = dispatcher;
    this.options = options;
    this.remoteAddress = options.address;
    this.readBuffer = new SliceBuffer(dispatcher.slab);
  }

  // --- the far side ---

  accept(): void {
    this.connecting = false;
    this.raise(ConnectionEvent.Connected);
  }

  refuse(reason = 'connection refused'): void {
    this.transportFailureReason = reason;
    this.end(ConnectionEvent.RemoteClose);
  }

  receive(text: string): void {
    this.readBuffer.appendLatin1(text);
    if (this.disabled === 0) this.deliver(false);
  }

  receiveEnd(): void {
    this.deliver(true);
  }

  remoteClose(): void {
    this.end(ConnectionEvent.RemoteClose);
  }

  kernelTook(bytes: number): void {
    for (const callback of this.bytesSent) callback(bytes);
  }

  /** What was sent since the last call. */
  takeSent(): string {
    const sent = this.sent;
    this.sent = '';
    return sent;
  }

  // --- Connection ---

  addReadFilter(filter: ReadFilter): void {
    this.filters.push(filter);
    filter.initializeReadFilterCallbacks({ connection: this, bufferedBytes: 0, continueReading: () => this.deliver(false) });
  }

  addWriteFilter(): void {}

  addConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    this.callbacks.push(callbacks);
  }

  removeConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    const i = this.callbacks.indexOf(callbacks);
    if (i >= 0) this.callbacks.splice(i, 1);
  }

  initializeReadFilters(): boolean {
    this.filtersInitialized = true;
    for (const filter of this.filters) filter.onNewConnection();
    return true;
  }

  connect(): void {
    this.connectCalls++;
    if (this.refuses) this.refuse();
  }

  write(data: SliceBuffer, endStream: boolean): void {
    if (this.state === 'open') this.sent += data.toText();
    data.clear();
    if (endStream) this.sentEnd = true;
  }

  readDisable(disable: boolean): void {
    this.disabled += disable ? 1 : -1;
    if (this.disabled < 0) throw new Error('readDisable(false) once too often');
    if (this.disabled === 0 && this.readBuffer.length > 0) this.deliver(false);
  }

  get readEnabled(): boolean {
    return this.disabled === 0;
  }

  drain(): void {}

  enableHalfClose(): void {}

  close(): void {
    this.end(ConnectionEvent.LocalClose);
  }

  setBufferLimits(limitBytes: number): void {
    this.bufferLimits.push(limitBytes);
  }

  get bufferLimit(): number {
    return this.bufferLimits.at(-1) ?? 0;
  }

  setDelayedCloseTimeout(): void {}

  addBytesSentListener(listener: { onBytesSent(bytes: number): void }): void {
    this.bytesSent.push((bytes) => listener.onBytesSent(bytes));
  }

  setSocketOption(): number {
    return 0;
  }

  getSocketOptionBytes(): Uint8Array | null {
    return null;
  }

  lastRoundTripTimeMs(): number | undefined {
    return undefined;
  }

  startSecureTransport(): boolean {
    return false;
  }

  setTransportSocketConnectTimeout(): void {}

  private deliver(endStream: boolean): void {
    if (this.state !== 'open') return;
    for (const filter of this.filters) filter.onData(this.readBuffer, endStream);
  }

  private end(event: ConnectionEvent): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.readBuffer.clear();
    this.raise(event);
  }

  private raise(event: ConnectionEvent): void {
    for (const callbacks of this.callbacks.slice()) callbacks.onEvent(event);
  }
}

class NoSockets implements SocketInterface {
  readonly name = 'none';

  listen(): ListenSocket {
    throw new Error('not used');
  }

  createSocket(): IoHandle {
    throw new Error('not used');
  }
}

/** A worker's upstream side without sockets. `random` gives the numbers of `randoms`, then a seeded sequence. */
export class FakeWorker {
  readonly dispatcher = new FakeDispatcher();
  readonly stats = new Store();
  readonly connections: FakeConnection[] = [];
  readonly randoms: number[] = [];
  /** What the next attempts to make a socket throw. */
  socketErrors: SysError[] = [];
  refuseNext = 0;
  private seed = 0x9e3779b9;
  readonly context: UpstreamContext;

  constructor() {
    this.context = {
      dispatcher: this.dispatcher,
      socketInterface: new NoSockets(),
      createClientConnection: (_dispatcher, _sockets, options) => {
        const error = this.socketErrors.shift();
        if (error !== undefined) throw error;
        const connection = new FakeConnection(this.dispatcher, options);
        if (this.refuseNext > 0) {
          this.refuseNext--;
          connection.refuses = true;
        }
        this.connections.push(connection);
        return connection;
      },
      scope: this.stats,
      runtime: null,
      random: () => this.randoms.shift() ?? this.nextRandom(),
      workerIndex: 0,
    };
  }

  get last(): FakeConnection {
    const connection = this.connections.at(-1);
    if (connection === undefined) throw new Error('no connection was made');
    return connection;
  }

  counter(name: string): number {
    return this.stats.counter(name).value;
  }

  gauge(name: string): number {
    return this.stats.gauge(name).value;
  }

  /** xorshift32 */
  private nextRandom(): number {
    this.seed ^= this.seed << 13;
    this.seed ^= this.seed >>> 17;
    this.seed ^= this.seed << 5;
    return this.seed >>> 0;
  }
}

/** A STATIC cluster of these endpoints. */
export function staticCluster(name: string, endpoints: string[], more: Partial<PlainCluster> = {}): PlainCluster {
  return {
    name,
    type: 'STATIC',
    loadAssignment: { clusterName: name, endpoints: [{ lbEndpoints: endpoints.map((endpoint) => lbEndpoint(endpoint)) }] },
    ...more,
  };
}

/** `1.2.3.4:80` */
export function lbEndpoint(hostPort: string, more: Partial<PlainLbEndpoint> = {}): PlainLbEndpoint {
  const colon = hostPort.lastIndexOf(':');
  const socketAddress = { address: hostPort.slice(0, colon), portValue: Number(hostPort.slice(colon + 1)) };
  return { endpoint: { address: { socketAddress } }, ...more };
}

export function hostAt(hostPort: string, more: Partial<HostDescription> = {}): HostDescription {
  const colon = hostPort.lastIndexOf(':');
  return {
    address: ipAddress(hostPort.slice(0, colon), Number(hostPort.slice(colon + 1))),
    hostname: '',
    weight: 1,
    priority: 0,
    locality: { region: '', zone: '', subZone: '' },
    metadata: {},
    canary: false,
    healthStatus: 'UNKNOWN',
    ...more,
  };
}

export function sysError(syscall: string, code: number): SysError {
  return new SysError(syscall, code);
}
