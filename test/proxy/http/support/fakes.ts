/** Connections whose far side a test plays. */
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import { type Address, ipAddress } from '../../../../src/proxy/network/address.ts';
import {
  type BytesSentListener,
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  type ReadFilter,
} from '../../../../src/proxy/network/connection.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import type { FakeDispatcher } from '../../../support/fake_dispatcher.ts';

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
  private readonly bytesSentListeners: BytesSentListener[] = [];

  constructor(
    dispatcher: FakeDispatcher,
    remote: Address | string = '203.0.113.9:5555',
    local: Address | string = '10.0.0.1:10000',
  ) {
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

  refuse(reason = 'connection refused'): void {
    this.transportFailureReason = reason;
    this.end(ConnectionEvent.RemoteClose);
    this.dispatcher.run();
  }

  receive(text: string): void {
    this.readBuffer.appendLatin1(text);
    this.deliver(false);
    this.dispatcher.run();
  }

  receiveEnd(): void {
    this.deliver(true);
    this.dispatcher.run();
  }

  kernelTook(bytes: number): void {
    for (const listener of this.bytesSentListeners) listener.onBytesSent(bytes);
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

  opaqueAhead(): void {}

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

  addBytesSentListener(listener: BytesSentListener): void {
    this.bytesSentListeners.push(listener);
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

function addressOf(text: Address | string): Address {
  if (typeof text !== 'string') return text;
  const colon = text.lastIndexOf(':');
  return ipAddress(text.slice(0, colon).replace(/^\[|\]$/g, ''), Number(text.slice(colon + 1)));
}

export { ConnectionCloseType };
