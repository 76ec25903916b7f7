/**
 * Kernel sockets on readiness events: the fallback where io_uring is not to be had. Works on any dispatcher.
 *
 * Reads until EAGAIN or a bound (then the event is injected again), writes at the end of the turn with writev.
 */
import { BLOCK_SIZE } from '../../core/buffer/slab.ts';
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import { type Dispatcher, type FileEvent, FileReadyType, FileTriggerType } from '../../core/event/dispatcher.ts';
import { E, errno, libc } from '../../core/sys/libc.ts';
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

/** Blocks read from one socket before others get their turn. */
const MAX_READS = 8;
const MAX_IOVECS = 64;
const MAX_ACCEPTS = 64;
const MSG_NOSIGNAL = 0x4000;

export class EpollSocketInterface implements SocketInterface {
  readonly name = 'epoll';

  listen(dispatcher: Dispatcher, options: ListenOptions, onAccept: (handle: IoHandle) => void): ListenSocket {
    return new EpollListenSocket(dispatcher, openListenSocket(options), onAccept);
  }

  createSocket(dispatcher: Dispatcher, options: ConnectOptions): IoHandle {
    return new EpollSocket(dispatcher, openClientSocket(options), null);
  }
}

let vectors: NativeMemory | null = null;

/** msghdr at 0, iovecs from 64. */
function iovecs(): NativeMemory {
  vectors ??= NativeMemory.map(4096);
  return vectors;
}

class EpollSocket extends KernelSocket implements IoHandle {
  readonly interfaceName = 'epoll';
  isOpen = true;
  pendingBytes = 0;
  private readonly dispatcher: Dispatcher;
  private callbacks: IoHandleCallbacks | null = null;
  private event: FileEvent | null = null;
  private interest = -1;
  private reading = false;
  private connecting = false;
  private ended = false;
  private finWanted = false;
  private flushQueued = false;
  private readonly unsent: SliceBuffer;

  constructor(dispatcher: Dispatcher, fd: number, local: Address | null) {
    super(fd, local);
    this.dispatcher = dispatcher;
    this.unsent = new SliceBuffer(dispatcher.slab);
  }

  setCallbacks(callbacks: IoHandleCallbacks): void {
    this.callbacks = callbacks;
  }

  connect(address: Address): void {
    const code = sys.connectSocket(this.fd, toSocketAddress(address));
    this.connecting = true;
    if (code === 0 || code === E.INPROGRESS) this.updateInterest();
    else
      this.dispatcher.post(() => {
        if (!this.isOpen) return;
        this.connecting = false;
        this.callbacks!.onConnect(code);
      });
  }

  setReading(enabled: boolean): void {
    if (!this.isOpen || this.reading === enabled) return;
    this.reading = enabled;
    if (!this.connecting) this.updateInterest();
  }

  write(data: SliceBuffer): void {
    if (!this.isOpen) {
      data.clear();
      return;
    }
    this.pendingBytes += data.length;
    this.unsent.move(data);
    if (this.flushQueued || this.connecting) return;
    this.flushQueued = true;
    this.dispatcher.atEndOfTurn(() => {
      this.flushQueued = false;
      if (this.isOpen) this.flush();
    });
  }

  shutdownWrite(): void {
    this.finWanted = true;
    if (this.pendingBytes === 0 && this.isOpen) sys.shutdownSocket(this.fd, sys.SHUT_WR);
  }

  close(reset = false): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.callbacks = null;
    this.event?.close();
    this.unsent.clear();
    if (reset) sys.setResetOnClose(this.fd);
    sys.closeFd(this.fd);
  }

  /** Registers, or re-registers (which reports readiness that is already there). */
  private updateInterest(): void {
    let interest = 0;
    if (this.reading && !this.connecting) interest |= FileReadyType.Read;
    if (this.connecting || this.pendingBytes > 0) interest |= FileReadyType.Write;
    // A peer that resets is noticed while reading is off.
    if (!this.reading) interest |= FileReadyType.Closed;
    if (interest === this.interest && (interest & FileReadyType.Read) === 0) return;
    this.interest = interest;
    if (this.event === null)
      this.event = this.dispatcher.createFileEvent(this.fd, (events) => this.onReady(events), FileTriggerType.Edge, interest);
    else this.event.setEnabled(interest);
  }

  private onReady(events: number): void {
    if (this.connecting) {
      this.finishConnect();
      return;
    }
    if ((events & FileReadyType.Write) !== 0 && this.pendingBytes > 0) {
      this.flush();
      if (!this.isOpen) return;
    }
    if ((events & FileReadyType.Closed) !== 0 && !this.reading) {
      const code = sys.getOption(this.fd, sys.SOL_SOCKET, sys.SO_ERROR);
      if (code !== 0) {
        this.callbacks!.onError(Math.abs(code));
        return;
      }
    }
    if ((events & (FileReadyType.Read | FileReadyType.Closed)) !== 0 && this.reading) this.read();
  }

  private finishConnect(): void {
    const code = sys.getOption(this.fd, sys.SOL_SOCKET, sys.SO_ERROR);
    this.connecting = false;
    if (code === 0) this.updateInterest();
    this.callbacks!.onConnect(Math.abs(code));
    if (this.isOpen && code === 0 && this.pendingBytes > 0) this.flush();
  }

  private read(): void {
    const slab = this.dispatcher.slab;
    for (let i = 0; i < MAX_READS; i++) {
      if (this.ended || slab.mustStopReading) break;
      const offset = slab.allocate();
      const n = libc.recv(this.fd, slab.memory.pointer + BigInt(offset), BigInt(BLOCK_SIZE), 0);
      if (n > 0) {
        this.callbacks!.onRead(offset, n);
        if (!this.isOpen) return;
        this.callbacks!.onReadBatch();
        if (!this.isOpen || !this.reading) return;
        if (n < BLOCK_SIZE) continue;
        if (i < MAX_READS - 1) continue;
        this.event!.activate(FileReadyType.Read);
        return;
      }
      const code = n < 0 ? errno() : 0;
      slab.release(offset);
      if (n === 0) {
        this.ended = true;
        this.callbacks!.onReadEnd();
        return;
      }
      if (code === E.AGAIN) return;
      if (code === E.INTR) continue;
      this.callbacks!.onError(code);
      return;
    }
    if (!this.ended) this.event!.activate(FileReadyType.Read);
  }

  private flush(): void {
    const unsent = this.unsent;
    let written = 0;
    while (unsent.length > 0) {
      const memory = iovecs();
      const words = memory.i32;
      const count = Math.min(unsent.slices, MAX_IOVECS);
      let length = 0;
      for (let i = 0, w = 16; i < count; i++, w += 4) {
        const address = unsent.slab.address + unsent.offsetAt(i);
        words[w] = address | 0;
        words[w + 1] = (address / 0x1_0000_0000) | 0;
        words[w + 2] = unsent.lengthAt(i);
        words[w + 3] = 0;
        length += unsent.lengthAt(i);
      }
      words.fill(0, 0, 16);
      words[4] = (memory.address + 64) | 0;
      words[5] = ((memory.address + 64) / 0x1_0000_0000) | 0;
      words[6] = count;
      const n = libc.sendmsg(this.fd, memory.pointer, MSG_NOSIGNAL);
      if (n < 0) {
        const code = errno();
        if (code === E.INTR) continue;
        if (code === E.AGAIN) break;
        this.reading = false;
        this.callbacks!.onError(code);
        return;
      }
      unsent.drain(n);
      this.pendingBytes -= n;
      written += n;
      if (n < length) break;
    }
    if (this.pendingBytes > 0 || (this.interest & FileReadyType.Write) !== 0) this.updateInterest();
    if (this.pendingBytes === 0 && this.finWanted) sys.shutdownSocket(this.fd, sys.SHUT_WR);
    if (written > 0) this.callbacks!.onWritten(written, this.pendingBytes);
  }
}

class EpollListenSocket implements ListenSocket {
  readonly localAddress: Address;
  private readonly acceptedAddress: Address | null;
  private readonly dispatcher: Dispatcher;
  private readonly fd: number;
  private readonly onAccept: (handle: IoHandle) => void;
  private event: FileEvent | null = null;
  private accepting = false;
  private closed = false;
  private readonly retry;

  constructor(dispatcher: Dispatcher, fd: number, onAccept: (handle: IoHandle) => void) {
    this.dispatcher = dispatcher;
    this.fd = fd;
    this.onAccept = onAccept;
    this.localAddress = fromSocketAddress(sys.socketName(fd));
    this.acceptedAddress = commonLocalAddress(fd, this.localAddress);
    this.retry = dispatcher.createTimer(() => {
      if (this.accepting) this.event?.setEnabled(FileReadyType.Read);
    });
  }

  setAccepting(enabled: boolean): void {
    if (this.closed || this.accepting === enabled) return;
    this.accepting = enabled;
    if (this.event !== null) this.event.setEnabled(enabled ? FileReadyType.Read : 0);
    else if (enabled)
      this.event = this.dispatcher.createFileEvent(this.fd, () => this.accept(), FileTriggerType.Level, FileReadyType.Read);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.accepting = false;
    this.retry.disableTimer();
    this.event?.close();
    sys.closeFd(this.fd);
  }

  private accept(): void {
    for (let i = 0; i < MAX_ACCEPTS && this.accepting; i++) {
      const fd = sys.acceptSocket(this.fd);
      if (fd >= 0) this.onAccept(new EpollSocket(this.dispatcher, fd, this.acceptedAddress));
      else if (fd === -E.AGAIN) return;
      else if (!isTransientAcceptError(-fd)) {
        this.event!.setEnabled(0);
        this.retry.enableTimer(ACCEPT_RETRY_MS);
        return;
      }
    }
  }
}
