/** A dispatcher whose time stands still until a test moves it, and whose turn ends when a test says so. */
import { Slab } from '../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../src/core/buffer/slice_buffer.ts';
import type { DeferredDeletable, Dispatcher, FileEvent, SchedulableCallback, Timer } from '../../src/core/event/dispatcher.ts';

class FakeTimer implements Timer {
  dueMs = -1;
  readonly callback: () => void;
  private readonly dispatcher: FakeDispatcher;

  constructor(dispatcher: FakeDispatcher, callback: () => void) {
    this.dispatcher = dispatcher;
    this.callback = callback;
  }

  get enabled(): boolean {
    return this.dueMs >= 0;
  }

  enableTimer(delayMs: number): void {
    this.dueMs = this.dispatcher.nowMs + delayMs;
  }

  disableTimer(): void {
    this.dueMs = -1;
  }
}

export class FakeDispatcher implements Dispatcher {
  readonly name = 'fake';
  readonly slab = new Slab(1024);
  nowMs = 1000;
  systemTimeMs = 1_700_000_000_000;
  private readonly timers: FakeTimer[] = [];
  private readonly queue: (() => void)[] = [];
  private readonly deleted: DeferredDeletable[] = [];

  monotonicTimeMs(): number {
    return this.nowMs;
  }

  createTimer(callback: () => void): Timer {
    const timer = new FakeTimer(this, callback);
    this.timers.push(timer);
    return timer;
  }

  createSchedulableCallback(callback: () => void): SchedulableCallback {
    const state = { enabled: false };
    const schedule = () => {
      if (state.enabled) return;
      state.enabled = true;
      this.queue.push(() => {
        if (!state.enabled) return;
        state.enabled = false;
        callback();
      });
    };
    return {
      scheduleCallbackCurrentIteration: schedule,
      scheduleCallbackNextIteration: schedule,
      cancel: () => {
        state.enabled = false;
      },
      get enabled() {
        return state.enabled;
      },
    };
  }

  createFileEvent(): FileEvent {
    throw new Error('the fake dispatcher has no files');
  }

  post(callback: () => void): void {
    this.queue.push(callback);
  }

  atEndOfTurn(callback: () => void): void {
    this.queue.push(callback);
  }

  deferredDelete(object: DeferredDeletable): void {
    this.deleted.push(object);
  }

  /** The end of a turn: everything posted and every deferred deletion, until nothing is left. */
  run(): void {
    while (this.queue.length > 0 || this.deleted.length > 0) {
      for (const callback of this.queue.splice(0)) callback();
      for (const object of this.deleted.splice(0)) object.deleteNow();
    }
  }

  /** Moves time, firing timers at their moments, each in a turn of its own. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const due = this.timers.filter((timer) => timer.enabled && timer.dueMs <= end).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (due === undefined) break;
      this.moveTo(Math.max(this.nowMs, due.dueMs));
      due.disableTimer();
      due.callback();
      this.run();
    }
    this.moveTo(end);
    this.run();
  }

  private moveTo(ms: number): void {
    this.systemTimeMs += ms - this.nowMs;
    this.nowMs = ms;
  }

  get armedTimers(): number {
    return this.timers.filter((timer) => timer.enabled).length;
  }

  buffer(content: string | Uint8Array = ''): SliceBuffer {
    const buffer = new SliceBuffer(this.slab);
    buffer.append(typeof content === 'string' ? Buffer.from(content, 'latin1') : content);
    return buffer;
  }
}

/** Does at once what others leave to the end of the turn: for tests of policy, where turns do not matter. */
export class ImmediateDispatcher extends FakeDispatcher {
  override post(callback: () => void): void {
    callback();
  }

  override atEndOfTurn(callback: () => void): void {
    callback();
  }

  override deferredDelete(object: DeferredDeletable): void {
    object.deleteNow();
  }
}
