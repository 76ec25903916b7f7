/** Chooses the kernel interface of a thread's dispatcher. */
import { probeIoUring } from '../sys/io_uring.ts';
import type { BaseDispatcher, DispatcherOptions } from './base_dispatcher.ts';
import { EpollDispatcher } from './epoll_dispatcher.ts';
import { RingDispatcher } from './ring_dispatcher.ts';

export type IoBackend = 'io_uring' | 'epoll';

/** What this machine can do: `io_uring`, or `epoll` with the reason. */
export function chooseBackend(wanted: IoBackend | undefined = undefined): { backend: IoBackend; reason: string | null } {
  if (wanted === 'epoll') return { backend: 'epoll', reason: 'asked for' };
  const reason = probeIoUring();
  return reason === null ? { backend: 'io_uring', reason } : { backend: 'epoll', reason };
}

export function createDispatcher(backend: IoBackend, options: DispatcherOptions): BaseDispatcher {
  return backend === 'io_uring' ? new RingDispatcher(options) : new EpollDispatcher(options);
}
