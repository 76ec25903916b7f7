/**
 * What a layer may ask of the event loop it runs on (Envoy's Event::Dispatcher). One per thread; everything here is called on
 * that thread. Implementations: `ring_dispatcher.ts` (io_uring), `epoll_dispatcher.ts`.
 */
import type { Slab } from '../buffer/slab.ts';

export interface Timer {
  /** (Re)arms the timer: `callback` runs once, `delayMs` >= 0 from now. */
  enableTimer(delayMs: number): void;
  disableTimer(): void;
  readonly enabled: boolean;
}

export interface SchedulableCallback {
  /** Runs before the loop waits for I/O again. No-op when already scheduled. */
  scheduleCallbackCurrentIteration(): void;
  /** Runs after the loop has looked for I/O once more. No-op when already scheduled. */
  scheduleCallbackNextIteration(): void;
  cancel(): void;
  readonly enabled: boolean;
}

export const FileReadyType = { Read: 1, Write: 2, Closed: 4 } as const;
export const FileTriggerType = { Level: 0, Edge: 1 } as const;
export type FileTriggerType = (typeof FileTriggerType)[keyof typeof FileTriggerType];

export interface FileEvent {
  /** Injects readiness: the callback runs in the next iteration with these events merged in. */
  activate(events: number): void;
  /** Changes the interest. Cancels injected events; with Edge it re-arms, so readiness that is already there is reported again. */
  setEnabled(events: number): void;
  /** Unregisters; the callback will not run again. The descriptor stays open. */
  close(): void;
}

export interface DeferredDeletable {
  /** Runs after the current call stack has unwound; release what is left here. */
  deleteNow(): void;
}

export interface Dispatcher {
  readonly name: string;
  /** The buffer memory of this thread. */
  readonly slab: Slab;
  /** Monotonic time in ms, read once per turn: the time of everything that happens in the turn. */
  readonly nowMs: number;
  /** Wall-clock time in ms since the epoch, read once per turn. */
  readonly systemTimeMs: number;
  /** The clock itself, in ms with fractions. */
  monotonicTimeMs(): number;

  createTimer(callback: () => void): Timer;
  createSchedulableCallback(callback: () => void): SchedulableCallback;
  createFileEvent(fd: number, callback: (events: number) => void, trigger: FileTriggerType, events: number): FileEvent;

  /** Runs `callback` on this thread in a later batch of this loop. From other threads: see `proxy/server/worker_channel`. */
  post(callback: () => void): void;
  /** Destroys `object` when the call stack has unwound. Order is first in, first out. */
  deferredDelete(object: DeferredDeletable): void;
  /** Runs `callback` once, at the end of this turn, before rings are submitted. For batching writes. */
  atEndOfTurn(callback: () => void): void;
  /** Promises were made or settled, or Node's timers and sockets used, in a callback: Node's queues run right after this turn. */
  wakeNode?(): void;
}
