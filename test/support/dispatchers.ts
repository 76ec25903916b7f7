/** Dispatchers for tests: one per backend that this machine allows, with a clean end. */
import type { TestContext } from 'node:test';
import type { BaseDispatcher } from '../../src/core/event/base_dispatcher.ts';
import { createDispatcher, type IoBackend } from '../../src/core/event/create_dispatcher.ts';
import { probeIoUring } from '../../src/core/sys/io_uring.ts';
import { EpollSocketInterface } from '../../src/proxy/network/epoll_socket.ts';
import type { SocketInterface } from '../../src/proxy/network/io_handle.ts';
import { IoUringSocketInterface } from '../../src/proxy/network/io_uring_socket.ts';

export const BACKENDS: readonly IoBackend[] = ['io_uring', 'epoll'];

/** Why a backend cannot be tested here, or false: the value for node:test's `skip`. */
export function skipReason(backend: IoBackend): string | false {
  if (backend === 'epoll') return false;
  const reason = probeIoUring();
  return reason === null ? false : `needs io_uring: ${reason}`;
}

export interface Loop {
  dispatcher: BaseDispatcher;
  sockets: SocketInterface;
  errors: unknown[];
}

/** A running dispatcher on this thread, stopped after the test. Errors of callbacks are collected. */
export function startLoop(t: TestContext, backend: IoBackend): Loop {
  const errors: unknown[] = [];
  const dispatcher = createDispatcher(backend, { name: 'test', onError: (error) => errors.push(error) });
  dispatcher.start();
  t.after(() => dispatcher.stop());
  return { dispatcher, sockets: backend === 'io_uring' ? new IoUringSocketInterface() : new EpollSocketInterface(), errors };
}

/** Resolves when `condition` holds after a turn; rejects after 45 s. */
export async function until(dispatcher: BaseDispatcher, condition: () => boolean, what = 'condition'): Promise<void> {
  const end = performance.now() + 45_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timed out waiting for ${what}`);
    await new Promise<void>((resolve) => {
      dispatcher.post(() => setImmediate(resolve));
    });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
