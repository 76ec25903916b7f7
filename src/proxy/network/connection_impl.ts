/**
 * Connection over an IoHandle (Envoy: source/common/network/connection_impl.cc).
 *
 * Reads arrive as slices in `readBuffer` and are offered to the read filters; `readDisable` is counted; with a buffer limit, bytes
 * that filters leave in the buffer stop further reading. Writes pass the write filters and go to the handle, which batches
 * them per turn; what is not yet with the kernel counts against the write watermark. Half-close, flush-then-close and
 * delayed close follow Envoy's states.
 *
 * Events are raised with the connection already closed; owners drop their references in `deferredDelete`.
 */
import { BLOCK_SIZE } from '../../core/buffer/slab.ts';
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher, SchedulableCallback, Timer } from '../../core/event/dispatcher.ts';
import { E, errnoName, strerror } from '../../core/sys/libc.ts';
import { type HelloFingerprints, StreamInfo } from '../stream_info/stream_info.ts';
import type { Address } from './address.ts';
import {
  type BytesSentListener,
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
  type SslConnectionInfo,
  type WriteFilter,
} from './connection.ts';
import type { ConnectOptions, IoHandle, IoHandleCallbacks, SocketInterface } from './io_handle.ts';
import type { TransportSocket, TransportSocketFactory, TransportSocketOptions } from './transport_socket.ts';

let nextConnectionId = 1;

export interface ServerConnectionOptions {
  localAddress: Address;
  remoteAddress: Address;
  requestedServerName?: string;
  helloFingerprints?: HelloFingerprints | null;
  nextProtocol?: string;
  /** Bytes that listener filters have read already; moved into the connection. */
  initialData?: SliceBuffer | null;
  /** The peer had already sent FIN after `initialData`. */
  initialEnd?: boolean;
  /** Null: plain text. */
  transportSocket?: TransportSocketFactory | null;
}

/** A connection on an accepted handle. Reading starts with `initializeReadFilters`. */
export function createServerConnection(dispatcher: Dispatcher, handle: IoHandle, options: ServerConnectionOptions): Connection {
  const transport = options.transportSocket?.create(dispatcher, handle, null, options) ?? null;
  return new ConnectionImpl(dispatcher, transport ?? handle, transport, options.localAddress, options.remoteAddress, options);
}

/** A connection to `address`; call `connect()` on it. Without a transport socket factory in plain text. Throws SysError when no socket can be had. */
export function createClientConnection(
  dispatcher: Dispatcher,
  socketInterface: SocketInterface,
  options: ConnectOptions,
  transportSocket: TransportSocketFactory | null = null,
  transportOptions: TransportSocketOptions | null = null,
): Connection {
  const handle = socketInterface.createSocket(dispatcher, options);
  const transport = transportSocket === null ? null : transportSocket.create(dispatcher, handle, transportOptions, null);
  return new ConnectionImpl(dispatcher, transport ?? handle, transport, null, options.address, null);
}

class ActiveReadFilter implements ReadFilterCallbacks {
  readonly filter: ReadFilter;
  initialized = false;
  private readonly owner: ConnectionImpl;
  private readonly index: number;

  constructor(owner: ConnectionImpl, filter: ReadFilter, index: number) {
    this.owner = owner;
    this.filter = filter;
    this.index = index;
  }

  get connection(): Connection {
    return this.owner;
  }

  get bufferedBytes(): number {
    return this.owner.bufferedBytes;
  }

  continueReading(): void {
    this.owner.continueReadingFrom(this.index + 1);
  }
}

class ConnectionImpl implements Connection, IoHandleCallbacks {
  readonly id = nextConnectionId++;
  readonly dispatcher: Dispatcher;
  readonly streamInfo = new StreamInfo();
  readonly remoteAddress: Address;
  private readonly detectedServerName: string;
  state: 'open' | 'closing' | 'closed' = 'open';
  connecting: boolean;
  transportFailureReason = '';
  bufferLimit = 0;

  /** The transport socket when there is one. */
  private readonly handle: IoHandle;
  private readonly transport: TransportSocket | null;
  private readonly detectedProtocol: string;
  private localAddressValue: Address | null;
  private readonly readBuffer: SliceBuffer;
  // Replaced by a longer copy when something is added, which is rare: arrays of exactly the size needed.
  private filters: readonly ActiveReadFilter[] = [];
  private writeFilters: WriteFilter[] | null = null;
  private callbacks: readonly ConnectionCallbacks[] = [];
  private bytesSentListeners: readonly BytesSentListener[] | null = null;
  private disableCount = 0;
  private halfClose = false;
  private readEnd = false;
  private readEndDelivered = false;
  private writeEnd = false;
  private aboveWriteHigh = false;
  private readBlocked = false;
  private filtersReady = false;
  private readonly isClient: boolean;
  private redelivery: SchedulableCallback | null = null;
  private delayedCloseTimeoutMs = 0;
  private delayedClose: Timer | null = null;
  private closeAfterFlush: 0 | 1 | 2 = 0;
  /** Bytes that write filters hold and will pass on. */
  private writesHeld = 0;
  /** The type of a close that waits for them; -1: none. */
  private closeWhenReleased: ConnectionCloseType | -1 = -1;
  private secureTimer: Timer | null = null;

  constructor(
    dispatcher: Dispatcher,
    handle: IoHandle,
    transport: TransportSocket | null,
    local: Address | null,
    remote: Address,
    server: ServerConnectionOptions | null,
  ) {
    this.dispatcher = dispatcher;
    this.handle = handle;
    this.transport = transport;
    this.localAddressValue = local;
    this.remoteAddress = remote;
    this.isClient = server === null;
    this.connecting = this.isClient;
    this.detectedServerName = server?.requestedServerName ?? '';
    this.detectedProtocol = server?.nextProtocol ?? '';
    this.readBuffer = new SliceBuffer(dispatcher.slab);
    const info = this.streamInfo;
    info.connectionId = this.id;
    info.startTimeMs = dispatcher.systemTimeMs;
    info.startMonotonicMs = dispatcher.nowMs;
    if (server !== null) {
      info.downstreamRemoteAddress = remote;
      info.downstreamDirectRemoteAddress = remote;
      info.downstreamLocalAddress = local;
      info.downstreamDirectLocalAddress = local;
      info.requestedServerName = this.detectedServerName;
      info.helloFingerprints = server.helloFingerprints ?? null;
      if (transport === null) {
        if (server.initialData) this.readBuffer.move(server.initialData);
        this.readEnd = server.initialEnd === true;
      }
    }
    handle.setCallbacks(this);
    if (transport !== null && server !== null) transport.start(server.initialData ?? null, server.initialEnd === true);
  }

  get nextProtocol(): string {
    return this.transport !== null && this.transport.protocol !== '' ? this.transport.protocol : this.detectedProtocol;
  }

  get requestedServerName(): string {
    return this.detectedServerName !== '' || this.transport === null ? this.detectedServerName : (this.transport.ssl?.sni ?? '');
  }

  get ssl(): SslConnectionInfo | null {
    return this.transport === null ? null : this.transport.ssl;
  }

  get localAddress(): Address {
    this.localAddressValue ??= this.handle.localAddress();
    return this.localAddressValue;
  }

  get interfaceName(): string {
    return this.handle.interfaceName;
  }

  get readEnabled(): boolean {
    return this.disableCount === 0;
  }

  get bufferedBytes(): number {
    return this.readBuffer.length;
  }

  get writeBufferBytes(): number {
    return this.handle.pendingBytes;
  }

  addReadFilter(filter: ReadFilter): void {
    const active = new ActiveReadFilter(this, filter, this.filters.length);
    this.filters = this.filters.length === 0 ? [active] : [...this.filters, active];
    filter.initializeReadFilterCallbacks(active);
  }

  addWriteFilter(filter: WriteFilter): void {
    this.writeFilters ??= [];
    this.writeFilters.unshift(filter);
    filter.initializeWriteFilterCallbacks?.({
      continueWriting: (data, endStream) => this.continueWritingAfter(filter, data, endStream),
      holdWrites: (bytes) => this.holdWrites(bytes),
    });
  }

  addConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    this.callbacks = this.callbacks.length === 0 ? [callbacks] : [...this.callbacks, callbacks];
  }

  removeConnectionCallbacks(callbacks: ConnectionCallbacks): void {
    this.callbacks = this.callbacks.filter((c) => c !== callbacks);
  }

  drain(): void {
    for (const active of this.filters) if (this.state === 'open' && active.initialized) active.filter.onDrain?.();
  }

  initializeReadFilters(): boolean {
    if (this.filters.length === 0) return false;
    this.filtersReady = true;
    for (const active of this.filters) {
      if (active.initialized) continue;
      active.initialized = true;
      const status = active.filter.onNewConnection();
      if (this.state !== 'open') return false;
      if (status === FilterStatus.StopIteration) break;
    }
    if (!this.connecting) {
      if (this.readBuffer.length > 0 || this.readEnd) this.scheduleRedelivery();
      this.updateReading();
    }
    return true;
  }

  connect(): void {
    this.streamInfo.upstreamConnectStartMs = this.dispatcher.nowMs;
    this.handle.connect(this.remoteAddress);
  }

  write(data: SliceBuffer, endStream: boolean): void {
    if (this.state !== 'open' || this.writeEnd) {
      data.clear();
      return;
    }
    if (this.writeFilters !== null) {
      data.makePrivate();
      if (!this.offerToWriteFilters(0, data, endStream)) return;
    }
    this.send(data, endStream);
  }

  /** True when all of them let it pass. */
  private offerToWriteFilters(from: number, data: SliceBuffer, endStream: boolean): boolean {
    const filters = this.writeFilters as WriteFilter[];
    const { state } = this;
    for (let i = from; i < filters.length; i++) {
      if (filters[i].onWrite(data, endStream) === FilterStatus.StopIteration || this.state !== state) return false;
    }
    return true;
  }

  continueWritingAfter(filter: WriteFilter, data: SliceBuffer, endStream: boolean): void {
    const after = (this.writeFilters as WriteFilter[]).indexOf(filter) + 1;
    // A close that waits for what is held still sends it.
    if ((this.state !== 'open' && this.closeWhenReleased < 0) || this.writeEnd) data.clear();
    else if (this.offerToWriteFilters(after, data, endStream)) this.send(data, endStream);
  }

  holdWrites(bytes: number): void {
    this.writesHeld += bytes;
    if (this.writesHeld > 0) {
      this.checkWriteHigh();
      return;
    }
    if (this.state === 'closing' && this.closeWhenReleased >= 0) {
      const type = this.closeWhenReleased as ConnectionCloseType;
      this.closeWhenReleased = -1;
      this.state = 'open';
      this.close(type);
    } else if (this.state === 'open') {
      this.checkWriteLow(this.handle.pendingBytes);
      if (this.writeEnd && this.halfClose && this.readEndDelivered) this.closeSocketWhenFlushed();
    }
  }

  private send(data: SliceBuffer, endStream: boolean): void {
    if (data.length > 0) this.handle.write(data);
    if (endStream) {
      this.writeEnd = true;
      this.handle.shutdownWrite();
      if (this.halfClose && this.readEndDelivered) this.closeSocketWhenFlushed();
    }
    this.checkWriteHigh();
  }

  readDisable(disable: boolean): void {
    if (this.state === 'closed') return;
    if (disable) {
      if (this.disableCount++ === 0) this.updateReading();
      return;
    }
    if (this.disableCount === 0) throw new Error(`connection ${this.id}: readDisable(false) without readDisable(true)`);
    if (--this.disableCount > 0) return;
    if (this.readBuffer.length > 0 || (this.readEnd && !this.readEndDelivered)) this.scheduleRedelivery();
    this.updateReading();
  }

  opaqueAhead(bytes: number): void {
    // Other filters look at everything.
    if (this.filters.length === 1 && this.readBuffer.length === 0) this.handle.opaqueAhead?.(bytes);
  }

  enableHalfClose(enable: boolean): void {
    this.halfClose = enable;
  }

  close(type: ConnectionCloseType, details = ''): void {
    if (this.state === 'closed') return;
    if (details !== '' && this.streamInfo.connectionTerminationDetails === '')
      this.streamInfo.connectionTerminationDetails = details;
    const flush = type === ConnectionCloseType.FlushWrite || type === ConnectionCloseType.FlushWriteAndDelay;
    if (!flush) {
      this.closeNow(ConnectionEvent.LocalClose, type === ConnectionCloseType.AbortReset);
      return;
    }
    if (this.state === 'closing') return;
    if (this.writesHeld > 0) {
      this.state = 'closing';
      this.closeWhenReleased = type;
      this.readBuffer.clear();
      this.updateReading();
      return;
    }
    const delay = type === ConnectionCloseType.FlushWriteAndDelay && this.delayedCloseTimeoutMs > 0;
    if (this.handle.pendingBytes === 0 && !delay) {
      this.closeNow(ConnectionEvent.LocalClose, false);
      return;
    }
    this.state = 'closing';
    this.closeAfterFlush = delay ? 2 : 1;
    if (!delay) this.transport?.closeWhenFlushed?.();
    this.readBuffer.clear();
    // Reading goes on (and is dropped), so that the peer's FIN or reset is noticed.
    this.updateReading();
    if (delay && !this.writeEnd) {
      this.writeEnd = true;
      this.handle.shutdownWrite();
    }
    this.armDelayedClose();
  }

  setBufferLimits(limitBytes: number): void {
    this.bufferLimit = limitBytes;
    this.checkWriteHigh();
  }

  setDelayedCloseTimeout(timeoutMs: number): void {
    this.delayedCloseTimeoutMs = timeoutMs;
  }

  addBytesSentListener(listener: BytesSentListener): void {
    this.bytesSentListeners = this.bytesSentListeners === null ? [listener] : [...this.bytesSentListeners, listener];
  }

  setSocketOption(level: number, name: number, value: number): number {
    return this.handle.setOption(level, name, value);
  }

  getSocketOptionBytes(level: number, name: number, length: number): Uint8Array | null {
    return this.handle.getOptionBytes(level, name, length);
  }

  lastRoundTripTimeMs(): number | undefined {
    return this.handle.lastRoundTripTimeMs();
  }

  startSecureTransport(): boolean {
    return this.state === 'open' && this.transport !== null && this.transport.startSecureTransport();
  }

  setTransportSocketConnectTimeout(timeoutMs: number, onTimeout: () => void): void {
    if (this.transport === null || this.state !== 'open' || this.ssl?.handshakeComplete !== false) return;
    this.secureTimer = this.dispatcher.createTimer(() => {
      onTimeout();
      this.close(ConnectionCloseType.NoFlush, 'transport socket timeout was reached');
    });
    this.secureTimer.enableTimer(timeoutMs);
  }

  continueReadingFrom(index: number): void {
    if (this.state !== 'open') return;
    for (let i = index; i < this.filters.length; i++) {
      const active = this.filters[i];
      if (active.initialized) continue;
      active.initialized = true;
      const status = active.filter.onNewConnection();
      if (this.state !== 'open' || status === FilterStatus.StopIteration) return;
    }
    if (this.readBuffer.length > 0 || this.readEnd) this.offerToFilters(index);
  }

  // --- IoHandleCallbacks ---

  onRead(offset: number, length: number): void {
    if (this.state !== 'open') {
      this.dispatcher.slab.release(offset);
      return;
    }
    this.readBuffer.push(offset, length);
  }

  onReadBatch(): void {
    if (this.state !== 'open') return;
    try {
      this.offerToFilters(0);
    } catch (error) {
      // A bug in a filter: what it left half done would wait for ever. The connection ends, and with it the streams on it.
      this.closeNow(ConnectionEvent.LocalClose, true);
      throw error;
    }
  }

  onReadEnd(): void {
    this.readEnd = true;
    if (this.state === 'closing') {
      // The peer is done too: nothing that is still flushing can race a reset any more.
      if (this.handle.pendingBytes === 0 && this.writesHeld === 0) this.closeNow(ConnectionEvent.RemoteClose, false);
      return;
    }
    if (!this.halfClose) {
      if (this.readBuffer.length > 0 && this.disableCount > 0) return;
      this.closeNow(ConnectionEvent.RemoteClose, false);
      return;
    }
    this.offerToFilters(0);
  }

  onWritten(bytes: number, pending: number): void {
    const listeners = this.bytesSentListeners;
    if (listeners !== null) for (let i = 0; i < listeners.length; i++) listeners[i].onBytesSent(bytes);
    if (this.state === 'closing') {
      if (this.closeWhenReleased >= 0) return;
      if (pending === 0) {
        if (this.closeAfterFlush === 1) this.closeNow(ConnectionEvent.LocalClose, false);
        else if (this.readEnd) this.closeNow(ConnectionEvent.RemoteClose, false);
        else this.armDelayedClose();
      } else this.armDelayedClose();
      return;
    }
    if (this.state !== 'open') return;
    if (pending === 0 && this.writeEnd && this.readEndDelivered) {
      this.closeNow(ConnectionEvent.RemoteClose, false);
      return;
    }
    if (this.aboveWriteHigh) this.checkWriteLow(pending);
  }

  private checkWriteLow(sending: number): void {
    const pending = sending + this.writesHeld;
    if (!this.aboveWriteHigh || pending > this.limitNow(pending) >> 1) return;
    this.aboveWriteHigh = false;
    for (const callbacks of this.callbacks) callbacks.onBelowWriteBufferLowWatermark?.();
  }

  onConnect(error: number): void {
    if (this.state === 'closed') return;
    if (error !== 0) {
      this.transportFailureReason = `delayed connect error: ${strerror(error)}`;
      this.closeNow(ConnectionEvent.RemoteClose, false);
      return;
    }
    this.connecting = false;
    if (this.transport !== null) this.onSecure(this.transport);
    else this.streamInfo.upstreamConnectCompleteMs = this.dispatcher.nowMs;
    this.raise(ConnectionEvent.Connected);
    if (this.state === 'open' && this.filtersReady) this.updateReading();
  }

  onError(error: number): void {
    const reason = this.transport?.failureReason ?? '';
    if (reason !== '') this.transportFailureReason = reason;
    else if (error !== E.CONNRESET && error !== E.PIPE) this.streamInfo.connectionTerminationDetails = errnoName(error);
    this.closeNow(ConnectionEvent.RemoteClose, false);
  }

  // --- private ---

  private onSecure(transport: TransportSocket): void {
    this.secureTimer?.disableTimer();
    const info = this.streamInfo;
    if (this.isClient) {
      info.upstreamConnectCompleteMs = transport.connectedMs;
      if (transport.ssl !== null) info.upstreamHandshakeCompleteMs = this.dispatcher.nowMs;
    } else if (transport.ssl !== null) {
      info.downstreamHandshakeCompleteMs = this.dispatcher.nowMs;
      info.downstreamSsl = transport.ssl;
      if (info.requestedServerName === '') info.requestedServerName = transport.ssl.sni;
    }
  }

  private offerToFilters(from: number): void {
    if (this.disableCount > 0 || !this.filtersReady) {
      this.checkReadLimit();
      return;
    }
    const endStream = this.readEnd && this.halfClose;
    if (this.readBuffer.length === 0 && !endStream) return;
    if (endStream) this.readEndDelivered = true;
    for (let i = from; i < this.filters.length; i++) {
      const active = this.filters[i];
      if (!active.initialized) {
        active.initialized = true;
        if (active.filter.onNewConnection() === FilterStatus.StopIteration) break;
        if (this.state !== 'open') return;
      }
      const status = active.filter.onData(this.readBuffer, endStream);
      if (this.state !== 'open') return;
      if (status === FilterStatus.StopIteration) break;
    }
    if (this.bufferLimit > 0) this.checkReadLimit();
    if (endStream && this.writeEnd) this.closeSocketWhenFlushed();
    else if (this.readEnd && !this.halfClose && this.disableCount === 0) this.closeNow(ConnectionEvent.RemoteClose, false);
  }

  private checkReadLimit(): void {
    const length = this.readBuffer.length;
    const blocked = this.bufferLimit > 0 && length > this.limitNow(length);
    if (blocked !== this.readBlocked) {
      this.readBlocked = blocked;
      this.updateReading();
    }
  }

  private updateReading(): void {
    const wanted =
      this.state === 'closing' || (this.state === 'open' && this.filtersReady && this.disableCount === 0 && !this.readBlocked);
    this.handle.setReading(wanted && !this.connecting);
  }

  private scheduleRedelivery(): void {
    this.redelivery ??= this.dispatcher.createSchedulableCallback(() => {
      if (this.state !== 'open' || this.disableCount > 0) return;
      this.checkReadLimit();
      if (this.readBuffer.length > 0 || this.halfClose) this.offerToFilters(0);
      if (this.state === 'open' && this.readEnd && !this.halfClose && this.disableCount === 0)
        this.closeNow(ConnectionEvent.RemoteClose, false);
    });
    this.redelivery.scheduleCallbackCurrentIteration();
  }

  /** The limit for a buffer of `length` bytes: smaller when the worker's memory runs short, but for a full block it is always enough. */
  private limitNow(length: number): number {
    if (length <= BLOCK_SIZE) return this.bufferLimit;
    return Math.max(this.bufferLimit >> this.dispatcher.slab.pressure, Math.min(this.bufferLimit, BLOCK_SIZE));
  }

  private checkWriteHigh(): void {
    if (this.aboveWriteHigh || this.bufferLimit === 0) return;
    const pending = this.handle.pendingBytes + this.writesHeld;
    if (pending <= this.limitNow(pending)) return;
    this.aboveWriteHigh = true;
    for (const callbacks of this.callbacks) callbacks.onAboveWriteBufferHighWatermark?.();
  }

  private closeSocketWhenFlushed(): void {
    if (this.handle.pendingBytes === 0) this.closeNow(ConnectionEvent.RemoteClose, false);
  }

  private armDelayedClose(): void {
    const timeout = this.delayedCloseTimeoutMs;
    if (timeout <= 0) return;
    this.delayedClose ??= this.dispatcher.createTimer(() => {
      this.closeNow(ConnectionEvent.LocalClose, false);
    });
    this.delayedClose.enableTimer(timeout);
  }

  private closeNow(event: ConnectionEvent, reset: boolean): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.delayedClose?.disableTimer();
    this.secureTimer?.disableTimer();
    this.redelivery?.cancel();
    this.localAddressValue ??= this.handle.isOpen && !this.connecting ? this.handle.localAddress() : null;
    this.handle.close(reset);
    this.readBuffer.clear();
    this.raise(event);
  }

  private raise(event: ConnectionEvent): void {
    if (this.callbacks.length === 1) this.callbacks[0].onEvent(event);
    else for (const callbacks of this.callbacks) callbacks.onEvent(event);
  }
}
