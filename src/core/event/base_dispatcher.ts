/**
 * The dispatcher's turn, without the kernel interface (that is `poll` of the subclass).
 *
 * One turn: wait (at most until the next timer of ours or of Node's) -> refresh the clock -> completions / file events -> due timers ->
 * next-iteration callbacks -> posted callbacks -> current-iteration callbacks until there are none -> end-of-turn work -> deferred
 * deletion. While the kernel has more without waiting, or Node has nothing to do, further passes follow, up to a bound; then Node's loop
 * gets its turn.
 * Follows Envoy's source/common/event/dispatcher_impl.cc.
 *
 * A callback that throws does not end the thread: the error goes to `onError`, and the turn goes on.
 */
import { MAX_WINDOW_BLOCKS, Slab } from '../buffer/slab.ts';
import { UvLoopHook } from '../sys/uv.ts';
import { Batch } from './batch.ts';
import type { DeferredDeletable, Dispatcher, FileEvent, FileTriggerType, SchedulableCallback, Timer } from './dispatcher.ts';
import { TimerWheel, WheelTimer } from './timer_wheel.ts';

/** Passes of one turn before Node's loop runs. */
const MAX_PASSES = 32;
/** Timers that may run in one pass. */
const MAX_TIMERS = 1024;

export interface DispatcherOptions {
  name: string;
  /** Blocks of buffer memory (16 KB each, reserved address space). */
  slabBlocks?: number;
  /** Where errors of callbacks go; default: console.error. */
  onError?: (error: unknown) => void;
  /** A cell that counts turns, for the watchdog: [index] is incremented at every pass. */
  watchdog?: { cells: Int32Array; index: number };
}

class TimerImpl extends WheelTimer implements Timer {
  private readonly dispatcher: BaseDispatcher;
  private readonly callback: () => void;

  constructor(dispatcher: BaseDispatcher, callback: () => void) {
    super();
    this.dispatcher = dispatcher;
    this.callback = callback;
  }

  enableTimer(delayMs: number): void {
    this.dispatcher.wheel.arm(this, this.dispatcher.nowMs + delayMs);
  }

  disableTimer(): void {
    if (this.deadline >= 0) this.dispatcher.wheel.disarm(this);
  }

  get enabled(): boolean {
    return this.deadline >= 0;
  }

  onTimer(): void {
    this.dispatcher.guard(this.callback);
  }
}

class SchedulableCallbackImpl implements SchedulableCallback {
  /** 0 idle, 1 current iteration, 2 next iteration. */
  state = 0;
  private readonly dispatcher: BaseDispatcher;
  private readonly callback: () => void;

  constructor(dispatcher: BaseDispatcher, callback: () => void) {
    this.dispatcher = dispatcher;
    this.callback = callback;
  }

  scheduleCallbackCurrentIteration(): void {
    if (this.state !== 0) return;
    this.state = 1;
    this.dispatcher.current.push(this);
  }

  scheduleCallbackNextIteration(): void {
    if (this.state !== 0) return;
    this.state = 2;
    this.dispatcher.upcoming.push(this);
  }

  cancel(): void {
    // Stays listed; `run` skips it. A later schedule lists it again.
    this.state = 0;
  }

  get enabled(): boolean {
    return this.state !== 0;
  }

  run(expected: number): void {
    if (this.state !== expected) return;
    this.state = 0;
    this.dispatcher.guard(this.callback);
  }
}

export abstract class BaseDispatcher implements Dispatcher {
  readonly name: string;
  readonly slab: Slab;
  nowMs: number;
  systemTimeMs: number;
  readonly wheel: TimerWheel;
  /** Scheduled callbacks of this and of the next iteration (internal). */
  current: SchedulableCallbackImpl[] = [];
  upcoming: SchedulableCallbackImpl[] = [];
  protected readonly hook = new UvLoopHook();
  protected readonly onError: (error: unknown) => void;
  private posted: (() => void)[] = [];
  private readonly endOfTurn = new Batch<() => void>();
  private readonly toDelete = new Batch<DeferredDeletable>();
  private readonly watchdog: { cells: Int32Array; index: number } | undefined;
  private stopped = false;
  private nodeWanted = false;

  protected constructor(options: DispatcherOptions) {
    this.name = options.name;
    this.slab = new Slab(options.slabBlocks, MAX_WINDOW_BLOCKS);
    this.onError = options.onError ?? ((error) => console.error(error));
    this.watchdog = options.watchdog;
    this.nowMs = performance.now();
    this.systemTimeMs = Date.now();
    this.wheel = new TimerWheel(this.nowMs);
  }

  /** Starts running turns from this thread's event loop. */
  start(): void {
    this.hook.start(() => this.turn());
  }

  /** Ends the loop's hold on the thread: no further turns. Call outside of callbacks (from `setImmediate` at the latest). */
  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.hook.close();
    this.closePoll();
  }

  monotonicTimeMs(): number {
    return performance.now();
  }

  createTimer(callback: () => void): Timer {
    return new TimerImpl(this, callback);
  }

  createSchedulableCallback(callback: () => void): SchedulableCallback {
    return new SchedulableCallbackImpl(this, callback);
  }

  abstract createFileEvent(fd: number, callback: (events: number) => void, trigger: FileTriggerType, events: number): FileEvent;

  post(callback: () => void): void {
    this.posted.push(callback);
  }

  deferredDelete(object: DeferredDeletable): void {
    this.toDelete.push(object);
  }

  atEndOfTurn(callback: () => void): void {
    this.endOfTurn.push(callback);
  }

  /**
   * Code that starts promises, Node timers or Node sockets inside a dispatcher callback calls this: Node's loop (and the microtask
   * queue) then runs right after this turn.
   */
  wakeNode(): void {
    if (this.nodeWanted) return;
    this.nodeWanted = true;
    setImmediate(() => {
      this.nodeWanted = false;
    });
  }

  /** Runs `callback`; an error goes to `onError`. */
  guard(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.onError(error);
    }
  }

  /** Slab blocks that connections and messages hold, without those that only wait to be received into. 0 when all is quiet. */
  get blocksHeld(): number {
    return this.slab.blocksInUse + this.slab.windowBlocksInUse - this.blocksProvided;
  }

  /** Blocks that the kernel holds to receive into. */
  protected get blocksProvided(): number {
    return 0;
  }

  /** True when something wants to run without waiting for I/O. */
  protected get hasPendingWork(): boolean {
    return (
      this.posted.length > 0 ||
      this.upcoming.length > 0 ||
      this.current.length > 0 ||
      this.endOfTurn.size > 0 ||
      this.toDelete.size > 0
    );
  }

  /**
   * Hands everything that is queued for the kernel to it, waits up to `timeoutMs` (0: not at all; -1: for ever) and delivers a bounded
   * number of events. Must call `refreshTime` after waiting and before delivering.
   */
  protected abstract poll(timeoutMs: number): void;
  /** True when `poll(0)` would find or submit something. */
  protected abstract hasMoreIo(): boolean;
  /** True when Node's own descriptor fired in the last poll. */
  protected abstract takeNodeReady(): boolean;
  protected abstract closePoll(): void;

  protected refreshTime(): void {
    this.nowMs = performance.now();
    this.systemTimeMs = Date.now();
  }

  private turn(): void {
    if (this.stopped) return;
    try {
      let timeout = this.waitTimeout();
      for (let pass = 0; pass < MAX_PASSES; pass++) {
        this.poll(timeout);
        timeout = 0;
        this.runCallbacks();
        if (this.stopped || this.takeNodeReady() || this.nodeWanted) break;
        if (this.hasPendingWork || this.hasMoreIo()) continue;
        // Waiting here saves the way through libuv and its own look at its descriptors (some 2 us), once for each wait.
        if (!this.hook.nothingToRegister) break;
        timeout = this.waitTimeout();
        if (timeout === 0) break;
      }
    } catch (error) {
      this.onError(error);
    }
  }

  private waitTimeout(): number {
    if (this.hasPendingWork || this.nodeWanted || this.hasMoreIo()) return 0;
    let timeout = this.hook.nodeTimeoutMs();
    if (timeout === 0) return 0;
    const next = this.wheel.nextTick();
    if (next >= 0) {
      const own = Math.max(0, Math.ceil(next - performance.now()));
      if (timeout < 0 || own < timeout) timeout = own;
    }
    return timeout;
  }

  private runCallbacks(): void {
    if (this.watchdog !== undefined) Atomics.add(this.watchdog.cells, this.watchdog.index, 1);
    this.wheel.advance(this.nowMs, MAX_TIMERS);
    if (this.upcoming.length > 0) {
      const due = this.upcoming;
      this.upcoming = [];
      for (const callback of due) callback.run(2);
    }
    if (this.posted.length > 0) {
      const batch = this.posted;
      this.posted = [];
      for (const callback of batch) this.guard(callback);
    }
    this.runCurrent();
    if (this.endOfTurn.size > 0) this.endOfTurn.run(this.guardOne);
    if (this.toDelete.size > 0) this.toDelete.run(this.deleteOne);
  }

  private readonly guardOne = (callback: () => void): void => this.guard(callback);

  private readonly deleteOne = (object: DeferredDeletable): void => {
    try {
      object.deleteNow();
    } catch (error) {
      this.onError(error);
    }
  };

  private runCurrent(): void {
    // Callbacks may schedule more of this iteration; a bound keeps a callback that always reschedules itself from starving I/O.
    for (let round = 0; this.current.length > 0 && round < 64; round++) {
      const batch = this.current;
      this.current = [];
      for (const callback of batch) callback.run(1);
    }
  }
}
