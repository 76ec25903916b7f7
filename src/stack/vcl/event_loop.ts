/** The event loop in which a worker's events arrive: Node's, or that of whoever embeds VCL (the proxy's dispatcher). */
import { UvPoll } from '../../core/sys/uv_poll.ts';

export interface EventLoop {
  /**
   * Runs `callback` whenever `fd` becomes readable, until it is closed; edge-triggered will do. It does not keep the loop alive until
   * `ref`.
   */
  watch(fd: number, callback: () => void): LoopWatch;
  /** Runs `callback` once, soon, after other work of the loop has had its turn. */
  schedule(callback: () => void): void;
  /** The most events to handle before other work has its turn. */
  readonly eventsPerRun: number;
}

export interface LoopWatch {
  ref(): void;
  unref(): void;
  close(): void;
}

/** Node's loop of this thread. */
export const NODE_LOOP: EventLoop = {
  watch(fd, callback) {
    const poll = new UvPoll(fd, callback);
    poll.unref();
    return poll;
  },
  schedule: (callback) => {
    setImmediate(callback);
  },
  eventsPerRun: 1024,
};
