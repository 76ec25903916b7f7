/**
 * A proxy thread's place on the host stack: the VCL worker, its events in the thread's dispatcher, and what happens when the stack goes.
 *
 * The main thread attaches the application; this thread becomes a worker of it on first use (Envoy: vcl_interface.cc). The queue's eventfd
 * is an edge-triggered file event, and at most 128 events are handled before other work has its turn. When the stack has gone, every
 * connection ends with an error; this thread then registers again, as soon as the main thread has attached to the next stack, and its
 * listeners come back.
 */
import { SlabWindows } from '../../../../core/buffer/slab_windows.ts';
import {
  type Dispatcher,
  FileReadyType,
  FileTriggerType,
  type SchedulableCallback,
  type Timer,
} from '../../../../core/event/dispatcher.ts';
import { E, SysError } from '../../../../core/sys/libc.ts';
import { AttachError, type WorkerTicket } from '../../../../stack/vcl/attach.ts';
import type { EventLoop } from '../../../../stack/vcl/event_loop.ts';
import { VclWorker } from '../../../../stack/vcl/worker.ts';
import type { SocketInterfaceLog } from '../../../network/socket_interfaces.ts';
import type { VclStats } from './stats.ts';

/** As Envoy's MAX_EVENTS of one epoll wait. */
const EVENTS_PER_WAKE = 128;
/** Read by all sessions together before it is sent on: what has been copied in should still be in the cache when it is copied out. */
const READ_BYTES_PER_TURN = 256 * 1024;
const FIRST_REGISTER_TIMEOUT_MS = 1000;
const RETRY_MS = 20;
const MAX_RETRY_MS = 1000;

/** What the main thread tells its workers. */
export interface VclState {
  readonly ticket: WorkerTicket;
}

/** What comes back with the stack. */
export interface Restartable {
  restart(worker: VclWorker): void;
}

/** What has bytes to move at the end of the turn. */
export interface Flushable {
  flushNow(): void;
}

/** What has more to read than fits into one turn. */
export interface Readable {
  readNow(): void;
}

/** What has room to give back to its peer at the end of the turn. */
export interface Settleable {
  settleNow(): void;
}

export class VclThread implements EventLoop {
  readonly eventsPerRun = EVENTS_PER_WAKE;
  readonly dispatcher: Dispatcher;
  readonly stats: VclStats;
  readonly listeners = new Set<Restartable>();
  private readonly log: SocketInterfaceLog;
  private ticket: WorkerTicket | null = null;
  private current: VclWorker | null = null;
  /** It was attached once: from then on it comes back by itself. */
  private used = false;
  private registering = false;
  private closed = false;
  private retryMs = RETRY_MS;
  private readonly retry: Timer;
  private run: () => void = () => {};
  private readonly runSoon: SchedulableCallback;
  private readBytes = 0;
  private readonly resetRead = (): void => {
    this.readBytes = 0;
  };
  /** Who waits for a turn to read, in order. */
  private readonly readers: Readable[] = [];
  private readonly readersTurn: SchedulableCallback;
  private flushes: Flushable[] = [];
  private flushesSpare: Flushable[] = [];
  private readonly flushAll = (): void => this.flush();
  private settles: Settleable[] = [];
  private settlesSpare: Settleable[] = [];
  private flushing = false;
  private readonly settleAll = (): void => this.settle();

  constructor(dispatcher: Dispatcher, stats: VclStats, log: SocketInterfaceLog, state: VclState | null) {
    this.dispatcher = dispatcher;
    this.stats = stats;
    this.log = log;
    this.ticket = state?.ticket ?? null;
    this.retry = dispatcher.createTimer(() => this.register());
    this.runSoon = dispatcher.createSchedulableCallback(() => this.run());
    this.readersTurn = dispatcher.createSchedulableCallback(() => this.serveReaders());
  }

  /** This thread's worker, registered now if it is the first use. Throws SysError while there is no stack. */
  worker(): VclWorker {
    if (this.current !== null) return this.current;
    if (this.closed || this.used || this.ticket === null) throw new SysError('vcl', E.NETDOWN, 'the host stack has gone');
    this.used = true;
    try {
      this.adopt(VclWorker.registerBlocking(this.ticket, FIRST_REGISTER_TIMEOUT_MS));
    } catch (error) {
      this.failed(error);
      throw new SysError('vcl', E.NETDOWN, error instanceof Error ? error.message : String(error));
    }
    return this.current!;
  }

  /** The main thread has attached to another stack. */
  onState(state: VclState): void {
    this.ticket = state.ticket;
    if (!this.used || this.closed) return;
    this.retryMs = RETRY_MS;
    this.retry.disableTimer();
    // This thread may not have noticed yet that the stack before has gone.
    if (this.current !== null) this.lose(this.current);
    this.register();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.retry.disableTimer();
    this.runSoon.cancel();
    if (this.current !== null) this.lose(this.current);
  }

  /** False when so much was read in this turn that it should be passed on first. */
  get mayRead(): boolean {
    return this.readBytes < READ_BYTES_PER_TURN;
  }

  noteRead(bytes: number): void {
    if (this.readBytes === 0) this.dispatcher.atEndOfTurn(this.resetRead);
    this.readBytes += bytes;
    this.stats.rx_bytes.add(bytes);
  }

  /** Calls `readNow` in the next turn, or in one of those that follow: who came first is served first. */
  readLater(socket: Readable): void {
    this.readers.push(socket);
    this.readersTurn.scheduleCallbackNextIteration();
  }

  private serveReaders(): void {
    const { readers } = this;
    // One of them reads in each turn, whatever others have read: nobody waits for ever.
    let served = 0;
    const waiting = readers.length;
    try {
      while (served < waiting && (served === 0 || this.mayRead)) readers[served++].readNow();
    } finally {
      readers.splice(0, served);
      if (readers.length > 0) this.readersTurn.scheduleCallbackNextIteration();
    }
  }

  /** Calls `flushNow` once at the end of this turn. */
  flushLater(socket: Flushable): void {
    if (this.flushes.length === 0) this.dispatcher.atEndOfTurn(this.flushAll);
    this.flushes.push(socket);
  }

  /** Calls `settleNow` once at the end of this turn. */
  settleLater(socket: Settleable): void {
    if (this.settles.length === 0 && !this.flushing) this.dispatcher.atEndOfTurn(this.settleAll);
    this.settles.push(socket);
  }

  // --- EventLoop ---

  watch(fd: number, callback: () => void): { ref(): void; unref(): void; close(): void } {
    const event = this.dispatcher.createFileEvent(fd, callback, FileTriggerType.Edge, FileReadyType.Read);
    return { ref: () => {}, unref: () => {}, close: () => event.close() };
  }

  schedule(callback: () => void): void {
    this.run = callback;
    this.runSoon.scheduleCallbackNextIteration();
  }

  private flush(): void {
    const batch = this.flushes;
    this.flushes = this.flushesSpare;
    const worker = this.current;
    worker?.holdBells();
    this.flushing = true;
    try {
      for (let i = 0; i < batch.length; i++) batch[i].flushNow();
    } finally {
      // What has been written was, perhaps, read by reference.
      this.settle();
      this.flushing = false;
      worker?.releaseBells();
      batch.length = 0;
      this.flushesSpare = batch;
    }
  }

  private settle(): void {
    const batch = this.settles;
    this.settles = this.settlesSpare;
    for (let i = 0; i < batch.length; i++) batch[i].settleNow();
    batch.length = 0;
    this.settlesSpare = batch;
  }

  private adopt(worker: VclWorker): void {
    this.current = worker;
    this.retryMs = RETRY_MS;
    worker.useWindows(SlabWindows.of(this.dispatcher.slab));
    this.stats.attached.inc();
    this.stats.workers_attached.inc();
    worker.onDetached = () => this.onDetached(worker);
    worker.useEventLoop(this);
    for (const listener of this.listeners) listener.restart(worker);
  }

  private onDetached(worker: VclWorker): void {
    if (this.current !== worker) return;
    this.log.warn(`${this.dispatcher.name}: the host stack has gone`);
    this.lose(worker);
    this.retry.enableTimer(this.retryMs);
  }

  private lose(worker: VclWorker): void {
    this.current = null;
    this.stats.detached.inc();
    this.stats.workers_attached.dec();
    worker.destroy();
  }

  /** Registers without blocking: the stack may be busy, or about to go again. */
  private register(): void {
    const { ticket } = this;
    if (this.registering || this.closed || this.current !== null || ticket === null) return;
    this.registering = true;
    VclWorker.register(ticket).then(
      (worker) => {
        this.registering = false;
        if (this.closed || this.ticket !== ticket) {
          worker.destroy();
          this.register();
        } else {
          this.adopt(worker);
          this.log.info(`${this.dispatcher.name}: attached to the host stack again`);
        }
      },
      (error) => {
        this.registering = false;
        this.failed(error);
      },
    );
  }

  private failed(error: unknown): void {
    if (!(error instanceof SysError || error instanceof AttachError)) throw error;
    this.stats.attach_failed.inc();
    if (this.closed) return;
    this.retry.enableTimer(this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, MAX_RETRY_MS);
  }
}
