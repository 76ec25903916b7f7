/**
 * A transport socket that passes everything through until it is told to start TLS (Envoy: source/extensions/transport_sockets/starttls).
 * What was written before goes out in plain text first; what the owner has not read yet stays plain text.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Dispatcher, SchedulableCallback } from '../../../../core/event/dispatcher.ts';
import type { TlsInfo } from '../../../../core/tls/info.ts';
import { HandleWrapper } from '../../../network/handle_wrapper.ts';
import type { IoHandle, IoHandleCallbacks } from '../../../network/io_handle.ts';
import type { TransportSocket } from '../../../network/transport_socket.ts';
import type { TlsSocket } from '../tls/tls_socket.ts';

export class StartTlsSocket extends HandleWrapper implements TransportSocket, IoHandleCallbacks {
  connectedMs = -1;
  private readonly isServer: boolean;
  private readonly createTls: (() => TlsSocket) | null;
  private tls: TlsSocket | null = null;
  private callbacks: IoHandleCallbacks | null = null;
  private reading = false;
  /** What came before the owner was complete. */
  private initial: SliceBuffer | null = null;
  private initialEnd = false;
  private begin: SchedulableCallback | null = null;

  /** `createTls`: null for plain text for ever. */
  constructor(dispatcher: Dispatcher, handle: IoHandle, isServer: boolean, createTls: (() => TlsSocket) | null) {
    super(dispatcher, handle);
    this.isServer = isServer;
    this.createTls = createTls;
    handle.setCallbacks(this);
  }

  // --- TransportSocket ---

  get protocol(): string {
    return this.tls === null ? '' : this.tls.protocol;
  }

  get ssl(): TlsInfo | null {
    return this.tls === null ? null : this.tls.ssl;
  }

  get failureReason(): string {
    return this.tls === null ? '' : this.tls.failureReason;
  }

  start(data: SliceBuffer | null, ended: boolean): void {
    if ((data === null || data.length === 0) && !ended) return;
    if (data !== null && data.length > 0) {
      this.initial = new SliceBuffer(this.dispatcher.slab);
      this.initial.move(data);
    }
    this.initialEnd = ended;
    this.begin = this.dispatcher.createSchedulableCallback(() => this.deliverInitial());
    this.begin.scheduleCallbackCurrentIteration();
  }

  startSecureTransport(): boolean {
    if (this.tls !== null || this.callbacks === null || this.createTls === null) return false;
    const tls = this.createTls();
    this.tls = tls;
    tls.setCallbacks(this.callbacks);
    tls.setReading(this.reading);
    if (this.isServer) tls.start(null, false);
    else tls.startClient();
    return true;
  }

  // --- IoHandle ---

  get isOpen(): boolean {
    return this.active.isOpen;
  }

  get pendingBytes(): number {
    return this.active.pendingBytes;
  }

  setCallbacks(callbacks: IoHandleCallbacks): void {
    this.callbacks = callbacks;
    this.tls?.setCallbacks(callbacks);
  }

  setReading(enabled: boolean): void {
    this.reading = enabled;
    this.active.setReading(enabled);
  }

  write(data: SliceBuffer): void {
    this.active.write(data);
  }

  shutdownWrite(): void {
    this.active.shutdownWrite();
  }

  close(reset?: boolean): void {
    this.begin?.cancel();
    this.initial?.clear();
    this.callbacks = null;
    this.active.close(reset);
  }

  // --- IoHandleCallbacks, while it is plain text ---

  onRead(offset: number, length: number): void {
    if (this.callbacks === null) this.dispatcher.slab.release(offset);
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
    this.connectedMs = this.dispatcher.nowMs;
    this.callbacks?.onConnect(error);
  }

  onError(error: number): void {
    this.callbacks?.onError(error);
  }

  // --- private ---

  private get active(): IoHandle {
    return this.tls ?? this.handle;
  }

  private deliverInitial(): void {
    const { initial, callbacks } = this;
    if (callbacks === null) return;
    if (initial !== null) {
      for (let i = 0; i < initial.slices; i++) {
        this.dispatcher.slab.retain(initial.offsetAt(i));
        callbacks.onRead(initial.offsetAt(i), initial.lengthAt(i));
      }
      initial.clear();
      callbacks.onReadBatch();
    }
    if (this.initialEnd) this.callbacks?.onReadEnd();
  }
}
