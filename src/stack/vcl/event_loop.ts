/** The event loop in which a worker's events arrive: Node's, or that of whoever embeds VCL (the proxy's dispatcher). */
import { Socket } from 'node:net';
import { duplicateDescriptor } from '../../core/sys/thread_descriptors.ts';

export interface EventLoop {
  /**
   * Runs `callback` whenever the hearing end `fd` of a doorbell becomes readable, or has no ringer any more, until it is closed;
   * edge-triggered will do. With exactly `true`: the loop has emptied the bell. It does not keep the loop alive until `ref`.
   */
  watch(fd: number, callback: (emptied?: unknown) => void): LoopWatch;
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

const BELL_BYTES = 512;

/**
 * Node's loop of this thread. A bell is a pipe, so Node can watch it by itself, and lets go of it by itself when the thread is terminated
 * (a libuv handle made by ffi would then abort the process).
 */
export const NODE_LOOP: EventLoop = {
  watch(fd, callback) {
    let closed = false;
    const socket = new Socket({
      fd: duplicateDescriptor(fd),
      readable: true,
      writable: false,
      onread: {
        buffer: new Uint8Array(BELL_BYTES),
        callback: () => {
          if (!closed) callback(true);
          return true;
        },
      },
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      if (!closed) callback();
    });
    socket.unref();
    return {
      ref: () => void socket.ref(),
      unref: () => void socket.unref(),
      close() {
        closed = true;
        socket.destroy();
      },
    };
  },
  schedule: (callback) => {
    setImmediate(callback);
  },
  eventsPerRun: 1024,
};
