/**
 * The bells that wake a worker: the stack's and one per segment shared with a peer. Heard by blocking the thread (epoll, edge-triggered, so
 * that bells need not be emptied each time) or in an event loop, or both, or by somebody else who waits for the epoll descriptor (`expose`).
 * When the stack has gone its bell has no ringer any more.
 */

import { emptyDoorbell } from '../../core/sys/doorbell.ts';
import { EPOLLET, EPOLLHUP, EPOLLIN, Epoll } from '../../core/sys/epoll.ts';
import { createEventfd, ringEventfd } from '../../core/sys/eventfd.ts';
import { closeOwnDescriptor, ownDescriptor } from '../../core/sys/thread_descriptors.ts';
import type { EventLoop, LoopWatch } from './event_loop.ts';

/** Wake-ups after which bells are emptied: far fewer than what fits into one. */
const EMPTY_AFTER = 64;

export class WakeSet {
  /** Nobody can ring the stack's bell any more. */
  stackGone = false;
  private readonly stackBell: number;
  private readonly bells = new Map<number, LoopWatch | null>();
  private epoll: Epoll | null = null;
  private loop: EventLoop | null = null;
  private onWake: () => void = () => {};
  private keepAlive = 0;
  /** Rung by this side when `exposedFd` is to stay readable; -1: not exposed. */
  private ownBell = -1;
  private wakeUps = 0;

  constructor(stackBell: number) {
    this.stackBell = stackBell;
    this.bells.set(stackBell, null);
  }

  /** A peer's bell, which stays its owner's to close after `remove`. */
  add(fd: number): void {
    this.bells.set(fd, this.loop === null ? null : this.watch(fd));
    this.epoll?.add(fd, (EPOLLIN | EPOLLET) >>> 0, fd);
  }

  remove(fd: number): void {
    this.bells.get(fd)?.close();
    this.bells.delete(fd);
    this.epoll?.remove(fd);
  }

  /** A descriptor that is readable (epoll, poll, select; level or edge) after a bell has rung until `wait`. Stays the worker's to close. */
  expose(): number {
    this.epoll ??= this.openEpoll();
    if (this.ownBell < 0) {
      this.ownBell = ownDescriptor(createEventfd());
      this.epoll.add(this.ownBell, (EPOLLIN | EPOLLET) >>> 0, this.ownBell);
    }
    return this.epoll.fd;
  }

  get exposed(): boolean {
    return this.ownBell >= 0;
  }

  /** Makes the exposed descriptor readable: there is more to do. */
  ringOwn(): void {
    ringEventfd(this.ownBell);
  }

  get inEventLoop(): boolean {
    return this.loop !== null;
  }

  /** Calls `onWake` in the loop's turn after a bell has rung. */
  useEventLoop(loop: EventLoop, onWake: () => void): void {
    this.loop = loop;
    this.onWake = onWake;
    for (const fd of this.bells.keys()) this.bells.set(fd, this.watch(fd));
    if (this.keepAlive > 0) this.bells.get(this.stackBell)?.ref();
  }

  /** The loop stays alive while there are more `ref`s than `unref`s. */
  ref(): void {
    if (this.keepAlive++ === 0) this.bells.get(this.stackBell)?.ref();
  }

  unref(): void {
    if (--this.keepAlive === 0) this.bells.get(this.stackBell)?.unref();
  }

  /** Blocks the thread until a bell rings (true) or `timeoutMs` have passed. */
  wait(timeoutMs: number): boolean {
    this.epoll ??= this.openEpoll();
    const n = this.epoll.wait(timeoutMs);
    for (let i = 0; i < n; i++) {
      if ((this.epoll.eventsAt(i) & EPOLLHUP) !== 0 && this.epoll.dataAt(i) === this.stackBell) this.stackGone = true;
    }
    if (n > 0 && ++this.wakeUps % EMPTY_AFTER === 0) for (const fd of this.bells.keys()) emptyDoorbell(fd);
    return n > 0;
  }

  close(): void {
    for (const watch of this.bells.values()) watch?.close();
    this.bells.clear();
    this.epoll?.close();
    this.epoll = null;
    if (this.ownBell >= 0) closeOwnDescriptor(this.ownBell);
    this.ownBell = -1;
    this.loop = null;
  }

  private watch(fd: number): LoopWatch {
    return this.loop!.watch(fd, (emptied) => {
      if (emptied !== true && !emptyDoorbell(fd) && fd === this.stackBell) this.stackGone = true;
      this.onWake();
    });
  }

  private openEpoll(): Epoll {
    const epoll = new Epoll();
    for (const fd of this.bells.keys()) epoll.add(fd, (EPOLLIN | EPOLLET) >>> 0, fd);
    return epoll;
  }
}
