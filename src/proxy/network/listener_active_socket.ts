/**
 * An accepted socket while listener filters look at it (Envoy: ActiveTcpSocket). See `listener_filter.ts` for how its bytes are
 * kept. A socket of a listener without listener filters never gets here.
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher, Timer } from '../../core/event/dispatcher.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { IoHandleCallbacks } from './io_handle.ts';
import type { ActiveListener } from './listener_active.ts';
import { emitListenerLogs } from './listener_active_connection.ts';
import { type ListenerFilter, type ListenerFilterCallbacks, ListenerFilterStatus } from './listener_filter.ts';
import type { Member } from './member_list.ts';
import type { AcceptedSocket } from './server_connection.ts';

/** Shorter reads than this are joined with what is there. */
const SMALL_READ = 4096;

export class ActiveSocket implements IoHandleCallbacks, ListenerFilterCallbacks, Member {
  memberIndex = -1;
  readonly socket: AcceptedSocket;
  readonly dispatcher: Dispatcher;
  readonly streamInfo: StreamInfo;
  private readonly listener: ActiveListener;
  private readonly filters: readonly ListenerFilter[];
  private readonly handOff: boolean;
  private readonly buffer: SliceBuffer;
  private readonly timer: Timer | null;
  private index = -1;
  /** Bytes that the filter at `index` has been shown. */
  private shown = 0;
  private isReading = false;
  private ended: boolean;
  private done = false;

  /** `initial` and `ended` are what another listener read before it handed the socket over. */
  constructor(
    listener: ActiveListener,
    socket: AcceptedSocket,
    streamInfo: StreamInfo,
    filters: readonly ListenerFilter[],
    handOff: boolean,
    initial: SliceBuffer | null,
    ended: boolean,
  ) {
    this.listener = listener;
    this.dispatcher = listener.dispatcher;
    this.socket = socket;
    this.streamInfo = streamInfo;
    this.filters = filters;
    this.handOff = handOff;
    this.buffer = initial ?? new SliceBuffer(listener.dispatcher.slab);
    this.ended = ended;
    const timeoutMs = listener.config.listenerFiltersTimeoutMs;
    this.timer = timeoutMs > 0 ? listener.dispatcher.createTimer(() => this.onTimeout()) : null;
    listener.stats.downstream_pre_cx_active.inc();
  }

  /** Runs the filters as far as they go without waiting. */
  start(): void {
    this.listener.sockets.add(this);
    this.socket.handle.setCallbacks(this);
    this.run(false);
    if (!this.done) this.timer?.enableTimer(this.listener.config.listenerFiltersTimeoutMs);
  }

  continueFilterChain(success: boolean): void {
    if (this.done) return;
    if (success) this.run(false);
    else this.abandon();
  }

  setDynamicMetadata(namespace: string, fields: Record<string, unknown>): void {
    this.streamInfo.dynamicMetadata ??= {};
    const metadata = this.streamInfo.dynamicMetadata;
    metadata[namespace] = { ...metadata[namespace], ...fields };
  }

  onRead(offset: number, length: number): void {
    const { slab } = this.dispatcher;
    if (this.done) {
      slab.release(offset);
    } else if (length >= SMALL_READ || this.buffer.length === 0) {
      this.buffer.push(offset, length);
    } else {
      // A peer that sends byte by byte must not hold a block for each.
      const copy = slab.reserve(length);
      slab.u8.copyWithin(copy, offset, offset + length);
      slab.release(offset);
      this.buffer.push(copy, length);
    }
  }

  onReadEnd(): void {
    this.ended = true;
    if (!this.done) this.run(true);
  }

  onReadBatch(): void {
    if (!this.done) this.run(true);
  }

  onWritten(): void {}

  onConnect(): void {}

  onError(_error: number): void {
    if (this.done) return;
    this.listener.stats.downstream_listener_filter_error.inc();
    this.abandon();
  }

  /** Closes the socket; the listener's logs tell about it. */
  abandon(): void {
    this.finish();
    this.socket.giveSlotBack();
    this.socket.handle.close();
    this.buffer.clear();
    emitListenerLogs(this.listener.config.accessLogs, this.streamInfo, this.dispatcher.nowMs);
  }

  /** `waiting`: the filter at `index` has accepted the connection and waits for data. */
  private run(waiting: boolean): void {
    for (;;) {
      const status = waiting ? this.showData(this.filters[this.index]) : this.acceptNext();
      if (this.done || status === null) return;
      if (status === ListenerFilterStatus.Close) {
        this.abandon();
        return;
      }
      // A filter that asks for data is shown what there already is.
      waiting = status === ListenerFilterStatus.StopIteration;
    }
  }

  /** The next filter's `onAccept`; null when there is nothing more to do now. */
  private acceptNext(): ListenerFilterStatus | null {
    this.index++;
    this.shown = 0;
    if (this.index >= this.filters.length) {
      this.promote();
      return null;
    }
    const filter = this.filters[this.index];
    const status = filter.onAccept(this);
    return status === ListenerFilterStatus.StopIteration && filter.maxReadBytes === 0 ? null : status;
  }

  /** The waiting filter's `onData` when there is something new; null when it has to go on waiting. */
  private showData(filter: ListenerFilter): ListenerFilterStatus | null {
    if (filter.maxReadBytes === 0) return null;
    if (this.buffer.length > this.shown) {
      this.shown = this.buffer.length;
      const status = filter.onData(this.buffer);
      if (status !== ListenerFilterStatus.StopIteration) return status;
      if (this.buffer.length >= filter.maxReadBytes && !this.ended) {
        // It has all that it may ask for and still does not know.
        this.listener.stats.downstream_listener_filter_error.inc();
        return ListenerFilterStatus.Close;
      }
    }
    if (this.ended) {
      this.listener.stats.downstream_listener_filter_remote_close.inc();
      return ListenerFilterStatus.Close;
    }
    if (!this.isReading) {
      this.isReading = true;
      this.socket.handle.setReading(true);
    }
    return null;
  }

  private onTimeout(): void {
    if (this.done) return;
    this.listener.stats.downstream_pre_cx_timeout.inc();
    if (this.listener.config.continueOnListenerFiltersTimeout) this.promote();
    else this.abandon();
  }

  private promote(): void {
    this.finish();
    if (this.isReading) this.socket.handle.setReading(false);
    const data = this.buffer.length > 0 ? this.buffer : null;
    const target =
      this.handOff && this.socket.localAddressRestored ? this.listener.handOffTarget(this.socket.localAddress) : null;
    if (target !== null) target.onHandedOff(this.socket, data, this.ended);
    else this.listener.newConnection(this.socket, this.streamInfo, data, this.ended);
  }

  private finish(): void {
    this.done = true;
    this.timer?.disableTimer();
    this.listener.sockets.delete(this);
    this.listener.stats.downstream_pre_cx_active.dec();
  }
}
