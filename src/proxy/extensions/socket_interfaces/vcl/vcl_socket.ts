/**
 * A connection on the host stack (Envoy: contrib/vcl, VclIoHandle). Bytes are copied once between the thread's slab and the session's
 * FIFOs; no call into the kernel is made for them unless the peer sleeps and has to be woken. Long bodies, of which the reader has said that
 * they are opaque to it, are not copied out of the FIFO: they are passed on as slices of its memory (Envoy's `VCL_RX_ZC`).
 *
 * Reads happen when the queue says that there is something, in bounded portions; writes at the end of the turn. What the FIFO does not take
 * waits until the peer has read a quarter of it.
 */
import { BLOCK_SIZE } from '../../../../core/buffer/slab.ts';
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { SchedulableCallback, Timer } from '../../../../core/event/dispatcher.ts';
import { E } from '../../../../core/sys/libc.ts';
import { type LoanKeeper, Ready, type SessionObserver, type VclSession, VclState } from '../../../../stack/vcl/session.ts';
import type { Address } from '../../../network/address.ts';
import type { IoHandle, IoHandleCallbacks } from '../../../network/io_handle.ts';
import { fromEndpoint, toEndpoint } from './address.ts';
import { getSessionOption, setSessionOption } from './socket_options.ts';
import type { Flushable, Readable, Settleable, VclThread } from './vcl_thread.ts';

/** Blocks read from one session before others get their turn. */
const MAX_READS = 8;
/** Fewer bytes than this share a block with others. */
const SMALL_READ = 4096;
/** Several slices of together at most this are joined: one copy into the FIFO. */
const MAX_JOINED_BYTES = 2048;
const NO_MEMORY_RETRY_MS = 5;
/** Fewer bytes are copied: a block that is lent costs as much as this many bytes. */
const MIN_LOAN = 8192;
/** Lent at once, before they are passed on. */
const MAX_LOAN = 128 * 1024;

export class VclSocket implements IoHandle, SessionObserver, Flushable, Readable, Settleable, LoanKeeper {
  readonly fd = -1;
  readonly interfaceName = 'vcl';
  isOpen = true;
  pendingBytes = 0;
  private readonly thread: VclThread;
  private readonly session: VclSession;
  private callbacks: IoHandleCallbacks | null = null;
  private reading = false;
  private connecting = false;
  private ended = false;
  private failed = false;
  private finWanted = false;
  private flushQueued = false;
  /** It waits for its turn to read. */
  private readQueued = false;
  /** So many of the bytes to come are passed on unseen. */
  private opaque = 0;
  private counted: boolean;
  private unsent: SliceBuffer | null = null;
  private delivery: SchedulableCallback | null = null;
  private memoryRetry: Timer | null = null;

  /** `session` is connected, or is to be. */
  constructor(thread: VclThread, session: VclSession) {
    this.thread = thread;
    this.session = session;
    session.observer = this;
    this.counted = session.state === VclState.ready;
    if (this.counted) thread.stats.cx_active.inc();
  }

  setCallbacks(callbacks: IoHandleCallbacks): void {
    this.callbacks = callbacks;
  }

  connect(address: Address): void {
    this.connecting = true;
    const { session } = this;
    const result = toEndpoint(address, session.remote) ? session.worker.connect(session) : -E.OPNOTSUPP;
    if (result === 0) return;
    this.thread.dispatcher.post(() => {
      if (this.isOpen) this.connected(-result);
    });
  }

  setReading(enabled: boolean): void {
    if (!this.isOpen || this.reading === enabled || this.failed) return;
    this.reading = enabled;
    if (enabled && !this.connecting && (this.session.readable > 0 || this.session.readClosed || this.session.error !== 0)) {
      this.readSoon();
    }
  }

  opaqueAhead(bytes: number): void {
    this.opaque = bytes;
  }

  loanReturned(): void {
    this.thread.settleLater(this);
  }

  settleNow(): void {
    if (this.isOpen) this.session.settleLoans();
  }

  write(data: SliceBuffer): void {
    if (!this.isOpen || this.failed) {
      data.clear();
      return;
    }
    this.unsent ??= new SliceBuffer(this.thread.dispatcher.slab);
    this.pendingBytes += data.length;
    this.unsent.move(data);
    if (this.flushQueued || this.connecting) return;
    this.flushQueued = true;
    this.thread.flushLater(this);
  }

  flushNow(): void {
    this.flushQueued = false;
    if (this.isOpen && !this.connecting && this.pendingBytes > 0) this.flush();
  }

  shutdownWrite(): void {
    this.finWanted = true;
    if (this.pendingBytes === 0 && this.isOpen && !this.connecting) this.session.worker.shutdownWrite(this.session);
  }

  close(reset = false): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.callbacks = null;
    this.delivery?.cancel();
    this.memoryRetry?.disableTimer();
    this.unsent?.clear();
    if (this.counted) this.thread.stats.cx_active.dec();
    this.session.worker.close(this.session, reset);
  }

  localAddress(): Address {
    return fromEndpoint(this.session.local);
  }

  remoteAddress(): Address {
    return fromEndpoint(this.session.remote);
  }

  setOption(level: number, name: number, value: number): number {
    return setSessionOption(this.session, level, name, value);
  }

  getOption(level: number, name: number): number {
    return getSessionOption(this.session, level, name);
  }

  getOptionBytes(): Uint8Array | null {
    return null;
  }

  lastRoundTripTimeMs(): number | undefined {
    return undefined;
  }

  onSessionEvent(session: VclSession, events: number): void {
    if (!this.isOpen || this.failed) return;
    if (this.connecting) {
      if (session.state !== VclState.connecting)
        this.connected(session.state === VclState.ready ? session.error : session.error || E.CONNREFUSED);
      return;
    }
    if ((events & Ready.out) !== 0 && this.pendingBytes > 0) {
      this.flush();
      if (!this.isOpen || this.failed) return;
    }
    if (this.reading) this.read();
    // Nobody reads, so nobody would find out otherwise.
    else if (session.error !== 0) this.fail(session.error);
  }

  private connected(error: number): void {
    this.connecting = false;
    const { stats } = this.thread;
    if (error !== 0) stats.cx_connect_fail.inc();
    else {
      stats.cx_connected.inc();
      stats.cx_active.inc();
      this.counted = true;
    }
    this.callbacks?.onConnect(error);
    if (!this.isOpen || error !== 0) return;
    if (this.pendingBytes > 0) this.flush();
    else if (this.finWanted) this.session.worker.shutdownWrite(this.session);
  }

  private readSoon(): void {
    this.delivery ??= this.thread.dispatcher.createSchedulableCallback(() => {
      if (this.isOpen && this.reading && !this.failed) this.read();
    });
    this.delivery.scheduleCallbackCurrentIteration();
  }

  readNow(): void {
    this.readQueued = false;
    if (this.isOpen && this.reading && !this.failed) this.read(true);
  }

  /** `served`: it has waited for this turn, and reads something whatever others have read. */
  private read(served = false): void {
    if (this.readQueued) return;
    const { session } = this;
    const { slab } = this.thread.dispatcher;
    for (let i = 0; i < MAX_READS && ((served && i === 0) || this.thread.mayRead); i++) {
      const readable = session.readable;
      if (readable === 0) {
        this.readEnd();
        return;
      }
      if (this.opaque >= MIN_LOAN && readable >= MIN_LOAN && this.borrow(readable)) {
        if (!this.isOpen || !this.reading) return;
        continue;
      }
      if (slab.mustStopReading) {
        this.retryWithMemory();
        return;
      }
      const want = readable < BLOCK_SIZE ? readable : BLOCK_SIZE;
      const offset = want <= SMALL_READ ? slab.reserve(want) : slab.allocate();
      const n = session.read(slab.u8, offset, want);
      if (n <= 0) {
        slab.release(offset);
        if (n < 0 && n !== -E.AGAIN) this.fail(-n);
        return;
      }
      this.opaque = n < this.opaque ? this.opaque - n : 0;
      this.thread.noteRead(n);
      const callbacks = this.callbacks!;
      callbacks.onRead(offset, n);
      if (!this.isOpen) return;
      callbacks.onReadBatch();
      if (!this.isOpen || !this.reading) return;
    }
    this.readQueued = true;
    this.thread.readLater(this);
  }

  /** Passes bytes on where they lie. False when there are none that can be. */
  private borrow(readable: number): boolean {
    const { session } = this;
    const wanted = Math.min(readable, this.opaque, MAX_LOAN);
    const callbacks = this.callbacks!;
    let lent = 0;
    while (lent < wanted) {
      const n = session.lend(wanted - lent, this);
      if (n === 0) break;
      lent += n;
      callbacks.onRead(session.loanOffset, n);
      if (!this.isOpen) return true;
    }
    if (lent === 0) return false;
    this.opaque -= lent;
    this.thread.noteRead(lent);
    this.thread.stats.rx_bytes_by_reference.add(lent);
    callbacks.onReadBatch();
    return true;
  }

  private readEnd(): void {
    const state = this.session.endState;
    if (state === -E.AGAIN || this.ended) return;
    if (state < 0) this.fail(-state);
    else {
      this.ended = true;
      this.callbacks!.onReadEnd();
    }
  }

  private retryWithMemory(): void {
    this.memoryRetry ??= this.thread.dispatcher.createTimer(() => {
      if (this.isOpen && this.reading && !this.failed) this.read();
    });
    this.memoryRetry.enableTimer(NO_MEMORY_RETRY_MS);
  }

  private flush(): void {
    const { session } = this;
    const unsent = this.unsent!;
    if (unsent.slices > 1 && unsent.length <= MAX_JOINED_BYTES) unsent.join();
    const { slab } = unsent;
    let written = 0;
    let error = 0;
    while (unsent.length > 0) {
      const length = unsent.lengthAt(0);
      const n = session.writeQuietly(slab.u8, unsent.offsetAt(0), length);
      if (n < 0 && n !== -E.AGAIN) {
        error = -n;
        break;
      }
      if (n > 0) {
        unsent.drain(n);
        written += n;
      }
      if (n < length) {
        this.thread.stats.tx_blocked.inc();
        break;
      }
    }
    if (written > 0) session.announceWritten();
    if (error !== 0) {
      this.fail(error);
      return;
    }
    if (written === 0) return;
    this.pendingBytes -= written;
    this.thread.stats.tx_bytes.add(written);
    if (this.pendingBytes === 0 && this.finWanted) session.worker.shutdownWrite(session);
    this.callbacks!.onWritten(written, this.pendingBytes);
  }

  private fail(error: number): void {
    this.failed = true;
    this.reading = false;
    this.thread.stats.cx_error.inc();
    this.callbacks?.onError(error);
  }
}
