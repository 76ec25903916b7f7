/**
 * TLS between a connection and its IoHandle (Envoy: source/common/tls/ssl_socket.cc).
 *
 * Ciphertext is decrypted from the slices it was received in; plaintext of one turn is encrypted at its end, small slices of it gathered
 * into one record, big ones from where they lie. The handshake goes on whether or not the connection wants to read. The end of the
 * connection below counts as the end of the stream, with or without close_notify, as in Envoy. Closing says close_notify, with the last
 * bytes where they are known to be that, and the handle below lives until the kernel has it. Tickets of TLS 1.3 wait for the first write, as
 * BoringSSL's: a client has a use for them after this connection.
 */

import { BLOCK_SIZE, type Slab } from '../../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Dispatcher, SchedulableCallback, Timer } from '../../../../core/event/dispatcher.ts';
import { E } from '../../../../core/sys/libc.ts';
import { type ClientHello, ClientHelloStatus, parseClientHello } from '../../../../core/tls/client_hello.ts';
import { CLOSED, FAILED, HANDSHAKE_DONE, type TlsEngine, WANT_INPUT } from '../../../../core/tls/engine.ts';
import { TlsInfo } from '../../../../core/tls/info.ts';
import { HandleWrapper } from '../../../network/handle_wrapper.ts';
import type { IoHandle, IoHandleCallbacks } from '../../../network/io_handle.ts';
import type { TransportSocket } from '../../../network/transport_socket.ts';
import type { TlsStats } from './stats.ts';

/** Makes the engine: for an accepted connection when its hello is known, for a client's at once with null. */
export type CreateEngine = (hello: ClientHello | null, info: TlsInfo) => TlsEngine;

const MAX_CLIENT_HELLO = 17 * 1024;
/** What may wait to be sent when a connection closes without flushing: an alert, or a little more. */
const MAX_LINGER_BYTES = 16 * 1024;
const LINGER_MS = 1000;
/** Answers to key updates and alerts that the peer does not take: more than that is an attack. */
const MAX_CONTROL_BYTES = 16 * 1024;

/** Where small writes are put together, one block per slab; its address as ffi takes it. */
const gatherBlocks = new WeakMap<Slab, { offset: number; pointer: bigint }>();

function gatherBlock(slab: Slab): { offset: number; pointer: bigint } {
  let block = gatherBlocks.get(slab);
  if (block === undefined) {
    const offset = slab.allocatePermanent();
    block = { offset, pointer: BigInt(slab.address + offset) };
    gatherBlocks.set(slab, block);
  }
  return block;
}

export class TlsSocket extends HandleWrapper implements TransportSocket, IoHandleCallbacks {
  isOpen = true;
  connectedMs = -1;
  failureReason = '';
  private readonly createEngine: CreateEngine;
  private readonly stats: TlsStats;
  private readonly gather: { offset: number; pointer: bigint };
  private readonly flush = (): void => this.onEndOfTurn();
  private engine: TlsEngine | null = null;
  /** Kept when the engine is gone. */
  private readonly info = new TlsInfo();
  private callbacks: IoHandleCallbacks | null = null;
  private secure = false;
  /** Received and not given to the engine: the hello, or what listener filters read. */
  private waiting: SliceBuffer | null = null;
  private begin: SchedulableCallback | null = null;
  private endWaiting = false;
  private plain: SliceBuffer | null = null;
  private readonly out: SliceBuffer;
  private flushQueued = false;
  private readingWanted = false;
  private delivered = false;
  private readEnded = false;
  private readEndSaid = false;
  private finWanted = false;
  private finSent = false;
  /** Plaintext bytes in what the handle has not reported as sent. */
  private unreported = 0;
  private controlBytes = 0;
  private stapleCounted = false;
  /** Of `out`: tickets that wait for company. */
  private heldBytes = 0;
  /** The owner closes when everything is sent. */
  private closeAnnounced = false;
  private closeSaid = false;
  private lingering = false;
  private lingerTimer: Timer | null = null;

  constructor(dispatcher: Dispatcher, handle: IoHandle, createEngine: CreateEngine, stats: TlsStats) {
    super(dispatcher, handle);
    this.createEngine = createEngine;
    this.stats = stats;
    this.gather = gatherBlock(dispatcher.slab);
    this.out = new SliceBuffer(dispatcher.slab);
    handle.setCallbacks(this);
  }

  // --- TransportSocket ---

  get protocol(): string {
    return this.info.alpn;
  }

  get ssl(): TlsInfo {
    return this.info;
  }

  start(data: SliceBuffer | null, ended: boolean): void {
    this.handle.setReading(true);
    if (data !== null && data.length > 0) {
      this.waiting = new SliceBuffer(this.dispatcher.slab);
      this.waiting.move(data);
    }
    this.endWaiting = ended;
    if (this.waiting === null && !ended) return;
    // The owner is still being put together.
    this.begin = this.dispatcher.createSchedulableCallback(() => this.onReadBatch());
    this.begin.scheduleCallbackCurrentIteration();
  }

  /** A connection that is up already becomes a TLS client. */
  startClient(): void {
    this.connectedMs = this.dispatcher.nowMs;
    this.beginClient();
  }

  startSecureTransport(): boolean {
    return false;
  }

  // --- IoHandle ---

  get pendingBytes(): number {
    return this.handle.pendingBytes + (this.plain === null ? 0 : this.plain.length);
  }

  setCallbacks(callbacks: IoHandleCallbacks): void {
    this.callbacks = callbacks;
  }

  setReading(enabled: boolean): void {
    this.readingWanted = enabled;
    if (!this.isOpen || !this.secure) return;
    this.handle.setReading(enabled);
    if (enabled && this.readEnded && !this.readEndSaid) this.sayReadEnd();
  }

  write(data: SliceBuffer): void {
    if (!this.isOpen) {
      data.clear();
      return;
    }
    this.plain ??= new SliceBuffer(this.dispatcher.slab);
    this.plain.move(data);
    if (this.secure) this.queueFlush();
  }

  shutdownWrite(): void {
    this.finWanted = true;
    if (this.secure) this.queueFlush();
  }

  closeWhenFlushed(): void {
    this.closeAnnounced = true;
    if (this.secure) this.queueFlush();
  }

  close(reset = false): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.callbacks = null;
    this.begin?.cancel();
    this.waiting?.clear();
    this.plain?.clear();
    const { engine } = this;
    if (engine !== null) {
      if (!reset && !this.finSent && !this.closeSaid && this.handle.isOpen) {
        engine.closeNotify();
        engine.takeOutput(this.out);
        if (this.out.length > 0) this.handle.write(this.out);
      }
      engine.free();
      this.engine = null;
    }
    this.out.clear();
    const pending = this.handle.pendingBytes;
    if (reset || pending === 0 || pending > MAX_LINGER_BYTES || !this.handle.isOpen) {
      this.handle.close(reset);
      return;
    }
    this.lingering = true;
    this.handle.setReading(false);
    this.lingerTimer = this.dispatcher.createTimer(() => this.endLingering());
    this.lingerTimer.enableTimer(LINGER_MS);
  }

  // --- IoHandleCallbacks, of the handle below ---

  onRead(offset: number, length: number): void {
    const { slab } = this.dispatcher;
    if (!this.isOpen || this.readEnded) {
      slab.release(offset);
    } else if (this.engine === null || this.waiting !== null) {
      this.waiting ??= new SliceBuffer(slab);
      this.waiting.push(offset, length);
    } else {
      this.consume(offset, length);
      slab.release(offset);
    }
  }

  onReadBatch(): void {
    if (this.isOpen && this.waiting !== null) this.consumeWaiting();
    if (this.isOpen && this.endWaiting && this.waiting === null) {
      this.endWaiting = false;
      this.onReadEnd();
    }
    if (!this.isOpen) return;
    if (this.delivered) {
      this.delivered = false;
      this.callbacks!.onReadBatch();
    }
    if (this.isOpen && this.readEnded && !this.readEndSaid && this.readingWanted) this.sayReadEnd();
  }

  onReadEnd(): void {
    if (!this.isOpen) return;
    if (!this.secure) {
      // The peer left in the middle of the handshake: that is counted as its own kind of nothing.
      this.callbacks!.onError(E.CONNRESET);
      return;
    }
    this.readEnded = true;
    if (!this.readEndSaid) this.sayReadEnd();
  }

  onWritten(bytes: number, pending: number): void {
    if (this.lingering) {
      if (pending === 0) this.endLingering();
      return;
    }
    if (!this.isOpen) return;
    if (pending === 0) this.controlBytes = 0;
    const plain = pending === 0 || bytes > this.unreported ? this.unreported : bytes;
    this.unreported -= plain;
    if (this.secure) this.callbacks!.onWritten(plain, this.pendingBytes);
  }

  onConnect(error: number): void {
    if (!this.isOpen) return;
    if (error !== 0) {
      this.callbacks!.onConnect(error);
      return;
    }
    this.connectedMs = this.dispatcher.nowMs;
    this.beginClient();
  }

  onError(error: number): void {
    if (this.lingering) this.endLingering();
    else if (this.isOpen) this.callbacks!.onError(error);
  }

  // --- private ---

  private beginClient(): void {
    this.engine = this.createEngine(null, this.info);
    this.handle.setReading(true);
    this.engine.setInput(this.dispatcher.slab.address, 0);
    this.handshake(this.dispatcher.slab.address, 0);
  }

  /** Server side: makes the engine when the hello is there, then takes what waits. */
  private consumeWaiting(): void {
    const waiting = this.waiting!;
    if (this.engine === null) {
      const hello = readHello(waiting);
      if (hello.status === ClientHelloStatus.NeedMore && waiting.length < MAX_CLIENT_HELLO && !this.endWaiting) return;
      this.engine = this.createEngine(hello, this.info);
      if (hello.asksOcsp) this.stats.ocsp_staple_requests.inc();
    }
    this.waiting = null;
    for (let i = 0; i < waiting.slices && this.isOpen; i++) this.consume(waiting.offsetAt(i), waiting.lengthAt(i));
    waiting.clear();
  }

  /** One received slice. */
  private consume(offset: number, length: number): void {
    const { engine } = this;
    if (engine === null) return;
    const address = this.dispatcher.slab.address + offset;
    engine.setInput(address, length);
    if (this.secure) this.readRecords(engine);
    else this.handshake(address, length);
  }

  /** `length` bytes at `address` are the engine's input. */
  private handshake(address: number, length: number): void {
    const engine = this.engine!;
    const result = engine.handshake();
    const left = engine.inputLeft;
    if (engine.staple !== null && !this.stapleCounted) {
      this.stapleCounted = true;
      this.stats.countStaple(engine.staple);
    }
    if (result === HANDSHAKE_DONE && engine.finishedWithTickets) {
      engine.takeOutput(this.out);
      this.heldBytes = this.out.length;
    } else this.sendControl(engine);
    if (result === WANT_INPUT || !this.isOpen) return;
    if (result !== HANDSHAKE_DONE) {
      this.fail(engine);
      return;
    }
    this.secure = true;
    this.stats.countHandshake(engine);
    if (this.plain !== null || this.finWanted) this.queueFlush();
    this.callbacks!.onConnect(0);
    // The owner may have done anything, with other connections too.
    if (!this.isOpen) return;
    this.handle.setReading(this.readingWanted);
    if (left === 0) return;
    engine.setInput(address + length - left, left);
    this.readRecords(engine);
  }

  private readRecords(engine: TlsEngine): void {
    const { slab } = this.dispatcher;
    const callbacks = this.callbacks!;
    let result: number;
    do {
      result = engine.read(slab);
      // An answer to a key update: the next call would overwrite it.
      if (engine.outputPending > 0) engine.takeOutput(this.out);
      if (result <= 0) break;
      callbacks.onRead(engine.offset, result);
      this.delivered = true;
    } while (engine.inputLeft > 0);
    this.sendControl(engine);
    if (!this.isOpen) return;
    if (result === CLOSED) this.readEnded = true;
    else if (result === FAILED) this.fail(engine);
  }

  /** Handshake messages, alerts, answers to key updates. */
  private sendControl(engine: TlsEngine): void {
    const { out } = this;
    engine.takeOutput(out);
    if (out.length === this.heldBytes) return;
    this.heldBytes = 0;
    if (this.secure) this.controlBytes += out.length;
    this.handle.write(out);
    if (this.controlBytes > MAX_CONTROL_BYTES && this.isOpen) {
      this.failureReason = 'TLS_error:|too many control records:TLS_error_end';
      this.stats.connection_error.inc();
      this.callbacks!.onError(E.PROTO);
    }
  }

  private fail(engine: TlsEngine): void {
    this.failureReason = engine.failureReason;
    this.stats.countFailure(engine);
    this.callbacks!.onError(E.PROTO);
  }

  private sayReadEnd(): void {
    this.readEndSaid = true;
    this.callbacks!.onReadEnd();
  }

  private queueFlush(): void {
    if (this.flushQueued) return;
    this.flushQueued = true;
    this.dispatcher.atEndOfTurn(this.flush);
  }

  private onEndOfTurn(): void {
    this.flushQueued = false;
    const { engine } = this;
    if (engine === null || !this.isOpen || this.finSent) return;
    const { out, plain } = this;
    if (plain !== null && plain.length > 0 && !this.encrypt(engine, plain)) return;
    if ((this.finWanted || this.closeAnnounced) && !this.closeSaid) {
      this.closeSaid = true;
      engine.closeNotify();
      engine.takeOutput(out);
    }
    if (out.length > this.heldBytes) {
      this.heldBytes = 0;
      this.handle.write(out);
    }
    if (!this.finWanted) return;
    this.finSent = true;
    this.handle.shutdownWrite();
  }

  private encrypt(engine: TlsEngine, plain: SliceBuffer): boolean {
    const { out } = this;
    const { slab } = this.dispatcher;
    while (plain.length > 0) {
      const first = plain.lengthAt(0);
      let length: number;
      let record: number;
      const { maxWrite } = engine;
      if (plain.slices === 1 || first >= maxWrite) {
        length = Math.min(first, maxWrite);
        record = engine.write(slab, BigInt(slab.address + plain.offsetAt(0)), length);
      } else {
        length = this.gatherPlain(plain, maxWrite);
        record = engine.write(slab, this.gather.pointer, length);
      }
      if (record < 0) {
        plain.clear();
        this.fail(engine);
        return false;
      }
      plain.drain(length);
      this.unreported += length;
      out.push(engine.offset, record);
    }
    return true;
  }

  /** Copies the first slices, up to a record's worth, into the gather block. */
  private gatherPlain(plain: SliceBuffer, most: number): number {
    const { slab } = this.dispatcher;
    const to = this.gather.offset;
    let length = 0;
    for (let i = 0; i < plain.slices && length < most; i++) {
      const n = Math.min(plain.lengthAt(i), most - length);
      slab.copy(to + length, plain.offsetAt(i), n);
      length += n;
    }
    return length;
  }

  private endLingering(): void {
    if (!this.lingering) return;
    this.lingering = false;
    this.lingerTimer?.disableTimer();
    this.handle.close();
  }
}

function readHello(buffer: SliceBuffer): ClientHello {
  if (buffer.slices === 1) {
    const at = buffer.offsetAt(0);
    return parseClientHello(buffer.slab.u8.subarray(at, at + buffer.lengthAt(0)));
  }
  const bytes = new Uint8Array(Math.min(buffer.length, MAX_CLIENT_HELLO + BLOCK_SIZE));
  buffer.copyOut(0, bytes);
  return parseClientHello(bytes);
}
