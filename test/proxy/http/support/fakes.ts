/** A dispatcher whose time a test moves, and connections whose far side a test plays. */
import { Slab } from '../../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import type {
  DeferredDeletable,
  Dispatcher,
  FileEvent,
  SchedulableCallback,
  Timer,
} from '../../../../src/core/event/dispatcher.ts';
import { type Address, ipAddress } from '../../../../src/proxy/network/address.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  type ReadFilter,
} from '../../../../src/proxy/network/connection.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';

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
  readonly slab = new Slab(1024);
  nowMs = 1000;
  systemTimeMs = 1_700_000_000_000;
  private readonly timers: FakeTimer[] = [];
  private queue: (() => void)[] = [];
  private deleted: DeferredDeletable[] = [];

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
    this.queue.push(callback);
  }

  deferredDelete(object: DeferredDeletable): void {
    this.deleted.push(object);
  }

  atEndOfTurn(callback: () => void): void {
    this.queue.push(callback);
  }

  /** The end of a turn: everything posted and every deferred deletion. */
  run(): void {
    while (this.queue.length > 0 || this.deleted.length > 0) {
      for (const callback of this.queue.splice(0)) callback();
      for (const object of this.deleted.splice(0)) object.deleteNow();
    }
  }

  /** Moves time, firing timers at their moments. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const due = this.timers.filter((timer) => timer.enabled && timer.dueMs <= end).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (due === undefined) break;
      this.systemTimeMs += due.dueMs - this.nowMs;
      this.nowMs = due.dueMs;
      due.disableTimer();
      due.callback();
      this.run();
    }
    this.systemTimeMs += end - this.nowMs;
    this.nowMs = end;
  }
}

let nextId = 1;

export class FakeConnection implements Connection {
  readonly interfaceName = 'fake';
  readonly id = nextId++;
  readonly dispatcher: FakeDispatcher;
  state: 'open' | 'closing' | 'closed' = 'open';
  connecting = false;
  readonly streamInfo = new StreamInfo();
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  readonly requestedServerName = '';
  nextProtocol = '';
  ssl: Connection['ssl'] = null;
  transportFailureReason = '';
  bufferLimit = 0;
  writeBufferBytes = 0;
  sent = '';
  sentEnd = false;
  closeType: ConnectionCloseType | null = null;
  closeDetails = '';
  delayedCloseTimeoutMs = -1;
  disabled = 0;
  readonly readBuffer: SliceBuffer;
  private readonly filters: ReadFilter[] = [];
  private readonly callbacks: ConnectionCallbacks[] = [];

  constructor(dispatcher: FakeDispatcher, remote = '203.0.113.9:5555', local = '10.0.0.1:10000') {
    this.dispatcher = dispatcher;
    this.remoteAddress = addressOf(remote);
    this.localAddress = addressOf(local);
    this.readBuffer = new SliceBuffer(dispatcher.slab);
    this.streamInfo.downstreamRemoteAddress = this.remoteAddress;
    this.streamInfo.downstreamDirectRemoteAddress = this.remoteAddress;
    this.streamInfo.downstreamLocalAddress = this.localAddress;
    this.streamInfo.downstreamDirectLocalAddress = this.localAddress;
  }

  // The far side.

  accept(): void {
    this.connecting = false;
    this.raise(ConnectionEvent.Connected);
    this.dispatcher.run();
  }

  refuse(reason: string): void {
    this.transportFailureReason = reason;
    this.end(ConnectionEvent.RemoteClose);
    this.dispatcher.run();
  }

  receive(text: string): void {
    this.readBuffer.appendLatin1(text);
    this.deliver(false);
    this.dispatcher.run();
  }

  remoteClose(): void {
    this.end(ConnectionEvent.RemoteClose);
    this.dispatcher.run();
  }

  /** The write buffer fills, or is empty again. */
  fill(full: boolean): void {
    for (const callbacks of this.callbacks.slice()) {
      if (full) callbacks.onAboveWriteBufferHighWatermark?.();
      else callbacks.onBelowWriteBufferLowWatermark?.();
    }
    this.dispatcher.run();
  }

  takeSent(): string {
    const sent = this.sent;
    this.sent = '';
    return sent;
  }

  // Connection.

  addReadFilter(filter: ReadFilter): void {
    this.filters.push(filter);
    filter.initializeReadFilterCallbacks({ connection: this, bufferedBytes: 0, continueReading: () => this.deliver(false) });
  }

  addWriteFilter(): void {}

  addConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    this.callbacks.push(callbacks);
  }

  removeConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    const at = this.callbacks.indexOf(callbacks);
    if (at >= 0) this.callbacks.splice(at, 1);
  }

  initializeReadFilters(): boolean {
    for (const filter of this.filters) filter.onNewConnection();
    return true;
  }

  connect(): void {}

  write(data: SliceBuffer, endStream: boolean): void {
    if (this.state === 'open') this.sent += data.toText();
    data.clear();
    if (endStream) this.sentEnd = true;
  }

  readDisable(disable: boolean): void {
    if (this.state === 'closed') return;
    this.disabled += disable ? 1 : -1;
    if (this.disabled < 0) throw new Error('readDisable(false) once too often');
    if (this.disabled === 0 && this.readBuffer.length > 0) this.dispatcher.post(() => this.deliver(false));
  }

  get readEnabled(): boolean {
    return this.disabled === 0;
  }

  drain(): void {
    for (const filter of this.filters) filter.onDrain?.();
  }

  enableHalfClose(): void {}

  close(type: ConnectionCloseType, details = ''): void {
    if (this.state === 'closed') return;
    this.closeType = type;
    this.closeDetails = details;
    if (details !== '') this.streamInfo.connectionTerminationDetails = details;
    this.end(ConnectionEvent.LocalClose);
  }

  setBufferLimits(limitBytes: number): void {
    this.bufferLimit = limitBytes;
  }

  setDelayedCloseTimeout(timeoutMs: number): void {
    this.delayedCloseTimeoutMs = timeoutMs;
  }

  addBytesSentListener(): void {}

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
    if (this.state !== 'open' || this.disabled > 0) return;
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

function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return ipAddress(text.slice(0, colon).replace(/^\[|\]$/g, ''), Number(text.slice(colon + 1)));
}

export { ConnectionCloseType };
