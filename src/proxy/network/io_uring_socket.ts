/**
 * Kernel sockets on io_uring: multishot accept, multishot receive into provided buffers, one send in flight per socket.
 *
 * Nothing here makes a system call per event except to close an idle descriptor early or to ask for addresses.
 */
import type { SliceBuffer as SliceBufferType } from '../../core/buffer/slice_buffer.ts';
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher, SchedulableCallback, Timer } from '../../core/event/dispatcher.ts';
import {
  OP_LATE,
  RECV_BUFFER_GROUP,
  RingDispatcher,
  type RingSender,
  type RingTarget,
} from '../../core/event/ring_dispatcher.ts';
import {
  IORING_ACCEPT_MULTISHOT,
  IORING_CQE_F_BUFFER,
  IORING_CQE_F_MORE,
  IORING_OP,
  IORING_RECV_MULTISHOT,
  IOSQE_BUFFER_SELECT,
} from '../../core/sys/io_uring.ts';
import { E } from '../../core/sys/libc.ts';
import { NativeMemory } from '../../core/sys/memory.ts';
import * as sys from '../../core/sys/socket.ts';
import type { Address } from './address.ts';
import type { ConnectOptions, IoHandle, IoHandleCallbacks, ListenOptions, ListenSocket, SocketInterface } from './io_handle.ts';
import {
  ACCEPT_RETRY_MS,
  commonLocalAddress,
  fromSocketAddress,
  isTransientAcceptError,
  KernelSocket,
  openClientSocket,
  openListenSocket,
  toSocketAddress,
} from './kernel_socket.ts';

const OP_RECV = 0;
const OP_SEND = 1;
const OP_CONNECT = 2;
const OP_ACCEPT = 3;

const RECV_WORD = IORING_OP.RECV | (IOSQE_BUFFER_SELECT << 8) | (IORING_RECV_MULTISHOT << 16);
const ACCEPT_WORD = IORING_OP.ACCEPT | (IORING_ACCEPT_MULTISHOT << 16);
const MSG_NOSIGNAL = 0x4000;
const MAX_IOVECS = 64;
/** Several slices of together at most this are copied into one: cheaper than a vector for the kernel to walk. */
const MAX_JOINED_BYTES = 2048;
const MSGHDR_SIZE = 64;
const SLOT_SIZE = MSGHDR_SIZE + MAX_IOVECS * 16;
/** Received bytes that may wait while reading is off, before the receive is cancelled. */
const MAX_WAITING_BYTES = 64 * 1024;

export class IoUringSocketInterface implements SocketInterface {
  readonly name = 'io_uring';

  listen(dispatcher: Dispatcher, options: ListenOptions, onAccept: (handle: IoHandle) => void): ListenSocket {
    return new IoUringListenSocket(asRing(dispatcher), openListenSocket(options), onAccept);
  }

  createSocket(dispatcher: Dispatcher, options: ConnectOptions): IoHandle {
    return new IoUringSocket(asRing(dispatcher), openClientSocket(options), false, null);
  }
}

function asRing(dispatcher: Dispatcher): RingDispatcher {
  if (dispatcher instanceof RingDispatcher) return dispatcher;
  throw new TypeError('the io_uring socket interface needs the io_uring dispatcher');
}

/** Native memory for msghdr + iovecs, or a sockaddr, of one operation under way. Per thread, reused. */
class ArgumentSlots {
  private memory: NativeMemory | null = null;
  private readonly free: { memory: NativeMemory; offset: number }[] = [];

  take(): { memory: NativeMemory; offset: number } {
    const slot = this.free.pop();
    if (slot !== undefined) return slot;
    this.memory = NativeMemory.map(SLOT_SIZE * 64);
    for (let i = 0; i < 64; i++) this.free.push({ memory: this.memory, offset: i * SLOT_SIZE });
    return this.free.pop()!;
  }

  give(slot: { memory: NativeMemory; offset: number }): void {
    this.free.push(slot);
  }
}

const argumentSlots = new ArgumentSlots();

class IoUringSocket extends KernelSocket implements IoHandle, RingTarget, RingSender {
  readonly interfaceName = 'io_uring';
  isOpen = true;
  pendingBytes = 0;
  private readonly dispatcher: RingDispatcher;
  private readonly slot: number;
  private readonly recvOp: number;
  private callbacks: IoHandleCallbacks | null = null;
  private reading = false;
  private receiving = false;
  private cancelling = false;
  private ended = false;
  private failed = 0;
  private waiting: SliceBufferType | null = null;
  private delivery: SchedulableCallback | null = null;
  private unsent: SliceBufferType | null = null;
  private sending = false;
  private sendQueued = false;
  private finWanted = false;
  private argument: { memory: NativeMemory; offset: number } | null = null;

  /** `accepted`: what this side receives is delivered after what connections of our own receive. `local`: null when it is not known. */
  constructor(dispatcher: RingDispatcher, fd: number, accepted: boolean, local: Address | null) {
    super(fd, local);
    this.recvOp = accepted ? OP_RECV | OP_LATE : OP_RECV;
    this.dispatcher = dispatcher;
    this.slot = dispatcher.register(this);
  }

  setCallbacks(callbacks: IoHandleCallbacks): void {
    this.callbacks = callbacks;
  }

  connect(address: Address): void {
    const argument = argumentSlots.take();
    this.argument = argument;
    const length = sys.writeSockaddr(toSocketAddress(address), argument.memory.u8, argument.offset);
    const at = argument.memory.address + argument.offset;
    this.dispatcher.ring.prepare(
      IORING_OP.CONNECT,
      this.fd,
      at,
      0,
      length,
      0,
      this.dispatcher.userData(this.slot, OP_CONNECT),
      0,
    );
  }

  setReading(enabled: boolean): void {
    if (!this.isOpen || this.reading === enabled) return;
    this.reading = enabled;
    if (!enabled) return;
    if (this.waiting !== null || this.ended || this.failed !== 0) this.scheduleDelivery();
    else this.receive();
  }

  write(data: SliceBufferType): void {
    if (!this.isOpen) {
      data.clear();
      return;
    }
    this.unsent ??= new SliceBuffer(this.dispatcher.slab);
    this.pendingBytes += data.length;
    this.unsent.move(data);
    if (!this.sending && !this.sendQueued) {
      this.sendQueued = true;
      this.dispatcher.queueSend(this);
    }
  }

  shutdownWrite(): void {
    this.finWanted = true;
    if (!this.sending && this.pendingBytes === 0 && this.isOpen) sys.shutdownSocket(this.fd, sys.SHUT_WR);
  }

  close(reset = false): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.callbacks = null;
    this.delivery?.cancel();
    if (this.waiting !== null) this.waiting.clear();
    if (reset) sys.setResetOnClose(this.fd);
    if (this.dispatcher.outstanding(this.slot) > 0) {
      // The connection ends now; operations under way end with it, and their buffers come back with their completions.
      if (this.receiving) this.dispatcher.cancel(this.slot, this.recvOp);
      if (this.sending) this.dispatcher.cancel(this.slot, OP_SEND);
      else if (this.argument !== null) this.dispatcher.cancel(this.slot, OP_CONNECT);
    }
    if (!this.sending) this.unsent?.clear();
    this.dispatcher.closeFd(this.fd);
    this.dispatcher.unregister(this.slot);
  }

  onCompletion(op: number, result: number, flags: number): void {
    if (op === this.recvOp) this.onReceived(result, flags);
    else if (op === OP_SEND) this.onSent(result);
    else this.onConnected(result);
  }

  submitSend(): void {
    this.sendQueued = false;
    if (this.isOpen && !this.sending && this.pendingBytes > 0) this.send();
  }

  private receive(): void {
    if (this.receiving || !this.isOpen) return;
    this.receiving = true;
    this.dispatcher.ring.prepare(
      RECV_WORD,
      this.fd,
      0,
      0,
      0,
      0,
      this.dispatcher.userData(this.slot, this.recvOp),
      RECV_BUFFER_GROUP,
    );
  }

  private onReceived(result: number, flags: number): void {
    const more = (flags & IORING_CQE_F_MORE) !== 0;
    if (!more) {
      this.receiving = false;
      this.cancelling = false;
    }
    if (result > 0) {
      const offset = this.dispatcher.takeBlock(flags);
      if (!this.isOpen) {
        this.dispatcher.slab.release(offset);
        return;
      }
      if (this.reading && this.waiting === null) {
        const callbacks = this.callbacks!;
        callbacks.onRead(offset, result);
        if (this.isOpen) callbacks.onReadBatch();
      } else {
        this.waiting ??= new SliceBuffer(this.dispatcher.slab);
        this.waiting.push(offset, result);
        if (this.waiting.length > MAX_WAITING_BYTES && this.receiving && !this.cancelling) {
          this.cancelling = true;
          this.dispatcher.cancel(this.slot, this.recvOp);
        }
        if (this.reading) this.scheduleDelivery();
      }
      if (!more && this.isOpen && this.reading && this.waiting === null) this.receive();
      return;
    }
    if ((flags & IORING_CQE_F_BUFFER) !== 0) this.dispatcher.slab.release(this.dispatcher.takeBlock(flags));
    if (!this.isOpen) return;
    if (result === -E.NOBUFS) {
      this.dispatcher.whenBuffers(() => {
        if (this.isOpen && this.reading) this.receive();
      });
      return;
    }
    if (result === -E.CANCELED || result === -E.INTR || result === -E.AGAIN) {
      if (this.reading && this.waiting === null && !this.ended) this.receive();
      return;
    }
    if (result === 0) this.ended = true;
    else this.failed = -result;
    if (this.waiting !== null) {
      if (this.reading) this.scheduleDelivery();
      else if (this.failed !== 0) this.fail();
    } else if (this.failed !== 0) this.fail();
    else if (this.reading) this.callbacks!.onReadEnd();
  }

  private fail(): void {
    const code = this.failed;
    this.failed = 0;
    this.callbacks?.onError(code);
  }

  private scheduleDelivery(): void {
    this.delivery ??= this.dispatcher.createSchedulableCallback(() => this.deliver());
    this.delivery.scheduleCallbackCurrentIteration();
  }

  /** Hands over what waited while reading was off. */
  private deliver(): void {
    if (!this.isOpen || !this.reading) return;
    const waiting = this.waiting;
    if (waiting !== null) {
      this.waiting = null;
      const callbacks = this.callbacks!;
      const slab = this.dispatcher.slab;
      for (let i = 0; i < waiting.slices && this.isOpen; i++) {
        slab.retain(waiting.offsetAt(i));
        callbacks.onRead(waiting.offsetAt(i), waiting.lengthAt(i));
      }
      waiting.clear();
      if (!this.isOpen) return;
      callbacks.onReadBatch();
      if (!this.isOpen) return;
    }
    if (this.failed !== 0) this.fail();
    else if (this.ended) {
      if (this.reading) this.callbacks!.onReadEnd();
    } else if (this.reading) this.receive();
  }

  private send(): void {
    const unsent = this.unsent!;
    if (unsent.slices > 1 && unsent.length <= MAX_JOINED_BYTES) unsent.join();
    const slices = unsent.slices;
    this.sending = true;
    const ring = this.dispatcher.ring;
    const userData = this.dispatcher.userData(this.slot, OP_SEND);
    if (slices === 1) {
      unsent.pinned = 1;
      ring.prepare(
        IORING_OP.SEND,
        this.fd,
        unsent.slab.address + unsent.offsetAt(0),
        unsent.length,
        0,
        MSG_NOSIGNAL,
        userData,
        0,
      );
      return;
    }
    const argument = (this.argument ??= argumentSlots.take());
    const words = argument.memory.i32;
    const base = argument.memory.address + argument.offset;
    const count = Math.min(slices, MAX_IOVECS);
    unsent.pinned = count;
    let w = (argument.offset + MSGHDR_SIZE) >> 2;
    for (let i = 0; i < count; i++, w += 4) {
      const address = unsent.slab.address + unsent.offsetAt(i);
      words[w] = address | 0;
      words[w + 1] = (address / 0x1_0000_0000) | 0;
      words[w + 2] = unsent.lengthAt(i);
      words[w + 3] = 0;
    }
    const h = argument.offset >> 2;
    const iov = base + MSGHDR_SIZE;
    words.fill(0, h, h + 16);
    words[h + 4] = iov | 0;
    words[h + 5] = (iov / 0x1_0000_0000) | 0;
    words[h + 6] = count;
    ring.prepare(IORING_OP.SENDMSG, this.fd, base, 1, 0, MSG_NOSIGNAL, userData, 0);
  }

  private onSent(result: number): void {
    this.sending = false;
    if (this.argument !== null) {
      argumentSlots.give(this.argument);
      this.argument = null;
    }
    const unsent = this.unsent!;
    unsent.pinned = 0;
    if (!this.isOpen) {
      unsent.clear();
      return;
    }
    if (result < 0) {
      if (result === -E.AGAIN || result === -E.INTR || result === -E.NOBUFS) this.send();
      else {
        this.reading = false;
        this.callbacks!.onError(-result);
      }
      return;
    }
    unsent.drain(result);
    this.pendingBytes -= result;
    if (this.pendingBytes > 0) this.send();
    else if (this.finWanted) sys.shutdownSocket(this.fd, sys.SHUT_WR);
    this.callbacks!.onWritten(result, this.pendingBytes);
  }

  private onConnected(result: number): void {
    if (this.argument !== null) {
      argumentSlots.give(this.argument);
      this.argument = null;
    }
    if (this.isOpen) this.callbacks!.onConnect(-result);
  }
}

class IoUringListenSocket implements ListenSocket, RingTarget {
  readonly localAddress: Address;
  private readonly acceptedAddress: Address | null;
  private readonly dispatcher: RingDispatcher;
  private readonly fd: number;
  private readonly slot: number;
  private readonly onAccept: (handle: IoHandle) => void;
  private accepting = false;
  private armed = false;
  private closed = false;
  /** Accepted by the kernel before it heard that accepting is off: handed over when it is on again. */
  private waiting: number[] = [];
  private readonly retry: Timer;

  constructor(dispatcher: RingDispatcher, fd: number, onAccept: (handle: IoHandle) => void) {
    this.dispatcher = dispatcher;
    this.fd = fd;
    this.onAccept = onAccept;
    this.slot = dispatcher.register(this);
    this.localAddress = fromSocketAddress(sys.socketName(fd));
    this.acceptedAddress = commonLocalAddress(fd, this.localAddress);
    this.retry = dispatcher.createTimer(() => this.arm());
  }

  setAccepting(enabled: boolean): void {
    if (this.closed || this.accepting === enabled) return;
    this.accepting = enabled;
    if (!enabled) {
      if (this.armed) this.dispatcher.cancel(this.slot, OP_ACCEPT);
      return;
    }
    const waiting = this.waiting;
    this.waiting = [];
    for (const fd of waiting) this.onAccept(new IoUringSocket(this.dispatcher, fd, true, this.acceptedAddress));
    this.arm();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.retry.disableTimer();
    for (const fd of this.waiting) sys.closeFd(fd);
    if (this.armed) this.dispatcher.cancel(this.slot, OP_ACCEPT);
    this.dispatcher.closeFd(this.fd);
    this.dispatcher.unregister(this.slot);
  }

  onCompletion(_op: number, result: number, flags: number): void {
    if ((flags & IORING_CQE_F_MORE) === 0) this.armed = false;
    if (result >= 0) {
      if (this.closed) sys.closeFd(result);
      else if (!this.accepting) this.waiting.push(result);
      else this.onAccept(new IoUringSocket(this.dispatcher, result, true, this.acceptedAddress));
    }
    if (this.armed || this.closed || !this.accepting) return;
    if (result >= 0 || result === -E.CANCELED || isTransientAcceptError(-result)) this.arm();
    else this.retry.enableTimer(ACCEPT_RETRY_MS);
  }

  private arm(): void {
    if (this.armed || this.closed || !this.accepting) return;
    this.armed = true;
    const flags = sys.SOCK_NONBLOCK | sys.SOCK_CLOEXEC;
    this.dispatcher.ring.prepare(ACCEPT_WORD, this.fd, 0, 0, 0, flags, this.dispatcher.userData(this.slot, OP_ACCEPT), 0);
  }
}
