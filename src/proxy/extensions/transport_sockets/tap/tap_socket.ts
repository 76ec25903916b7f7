/**
 * A transport socket around another that notes what passes, in plain text, and hands the trace over when the connection ends (Envoy:
 * source/extensions/transport_sockets/tap).
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import type { Address } from '../../../network/address.ts';
import type { SslConnectionInfo } from '../../../network/connection.ts';
import { HandleWrapper } from '../../../network/handle_wrapper.ts';
import type { IoHandleCallbacks } from '../../../network/io_handle.ts';
import type { TransportSocket } from '../../../network/transport_socket.ts';
import type { SocketTrace } from './socket_trace.ts';

/** Gets a trace that is complete. */
export type TraceSink = (trace: SocketTrace, local: Address | null, remote: Address | null) => void;

export class TapSocket extends HandleWrapper implements TransportSocket, IoHandleCallbacks {
  private readonly inner: TransportSocket;
  private readonly sink: TraceSink;
  private trace: SocketTrace | null;
  private callbacks: IoHandleCallbacks | null = null;
  /** Asked for with the first bytes: a socket whose peer is gone may know its addresses no more. */
  private local: Address | null = null;
  private remote: Address | null = null;

  constructor(dispatcher: Dispatcher, inner: TransportSocket, trace: SocketTrace, sink: TraceSink) {
    super(dispatcher, inner);
    this.inner = inner;
    this.trace = trace;
    this.sink = sink;
    inner.setCallbacks(this);
  }

  // --- TransportSocket ---

  get protocol(): string {
    return this.inner.protocol;
  }

  get ssl(): SslConnectionInfo | null {
    return this.inner.ssl;
  }

  get failureReason(): string {
    return this.inner.failureReason;
  }

  get connectedMs(): number {
    return this.inner.connectedMs;
  }

  start(data: SliceBuffer | null, ended: boolean): void {
    this.inner.start(data, ended);
  }

  startSecureTransport(): boolean {
    return this.inner.startSecureTransport();
  }

  // --- IoHandle ---

  get isOpen(): boolean {
    return this.inner.isOpen;
  }

  get pendingBytes(): number {
    return this.inner.pendingBytes;
  }

  setCallbacks(callbacks: IoHandleCallbacks): void {
    this.callbacks = callbacks;
  }

  setReading(enabled: boolean): void {
    this.inner.setReading(enabled);
  }

  write(data: SliceBuffer): void {
    const { trace } = this;
    if (trace !== null && data.length > 0) {
      const kept = new Uint8Array(Math.min(trace.writeRoom, data.length));
      data.copyOut(0, kept);
      trace.write(kept, data.length, false, this.dispatcher.systemTimeMs);
      this.noteAddresses();
    }
    this.inner.write(data);
  }

  shutdownWrite(): void {
    this.trace?.write(NOTHING, 0, true, this.dispatcher.systemTimeMs);
    this.inner.shutdownWrite();
  }

  close(reset?: boolean): void {
    this.callbacks = null;
    const { trace } = this;
    if (trace !== null) {
      this.trace = null;
      trace.closed(this.dispatcher.systemTimeMs);
      this.sink(trace, this.local, this.remote);
    }
    this.inner.close(reset);
  }

  // --- IoHandleCallbacks ---

  onRead(offset: number, length: number): void {
    const { trace } = this;
    const { slab } = this.dispatcher;
    if (trace !== null) {
      const kept = slab.u8.slice(offset, offset + Math.min(trace.readRoom, length));
      trace.read(kept, length, this.dispatcher.systemTimeMs);
      this.noteAddresses();
    }
    if (this.callbacks === null) slab.release(offset);
    else this.callbacks.onRead(offset, length);
  }

  onReadBatch(): void {
    this.callbacks?.onReadBatch();
  }

  onReadEnd(): void {
    this.callbacks?.onReadEnd();
  }

  onWritten(bytes: number, pending: number): void {
    this.callbacks?.onWritten(bytes, pending);
  }

  onConnect(error: number): void {
    this.callbacks?.onConnect(error);
  }

  onError(error: number): void {
    this.callbacks?.onError(error);
  }

  private noteAddresses(): void {
    if (this.local !== null) return;
    this.local = this.localAddress();
    this.remote = this.remoteAddress();
  }
}

const NOTHING = new Uint8Array(0);
