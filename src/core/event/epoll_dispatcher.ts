/**
 * The dispatcher on epoll(7): for kernels and containers without io_uring. Same turn, same interface; file events are kernel
 * registrations (level or edge), and Node's loop is one more descriptor in the set.
 */
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, Epoll } from '../sys/epoll.ts';
import { BaseDispatcher, type DispatcherOptions } from './base_dispatcher.ts';
import { type FileEvent, FileReadyType, FileTriggerType, type SchedulableCallback } from './dispatcher.ts';

const NODE = 0;

export class EpollDispatcher extends BaseDispatcher {
  readonly epoll = new Epoll();
  private readonly events: (EpollFileEvent | null)[] = [null];
  private readonly free: number[] = [];
  /** Entries whose event was closed in this pass: reused only afterwards, for the kernel may still have reported them. */
  private readonly retired: number[] = [];
  private nodeReady = false;
  private full = false;
  private closed = false;

  constructor(options: DispatcherOptions) {
    super(options);
    this.epoll.add(this.hook.backendFd, EPOLLIN, NODE);
  }

  createFileEvent(fd: number, callback: (events: number) => void, trigger: FileTriggerType, events: number): FileEvent {
    const index = this.free.pop() ?? this.events.length;
    const event = new EpollFileEvent(this, index, fd, callback, trigger, events);
    this.events[index] = event;
    return event;
  }

  retire(index: number, fd: number): void {
    this.events[index] = null;
    this.retired.push(index);
    if (!this.closed) this.epoll.remove(fd);
  }

  protected poll(timeoutMs: number): void {
    const n = this.epoll.wait(timeoutMs);
    this.refreshTime();
    this.full = n === 256;
    // Callbacks may wait again only through the next poll, so the array is stable.
    for (let i = 0; i < n; i++) {
      const index = this.epoll.dataAt(i);
      if (index === NODE) {
        this.nodeReady = true;
        continue;
      }
      const event = this.events[index];
      if (event === null) continue;
      try {
        event.onEpoll(this.epoll.eventsAt(i));
      } catch (error) {
        this.onError(error);
      }
    }
    while (this.retired.length > 0) this.free.push(this.retired.pop()!);
  }

  protected hasMoreIo(): boolean {
    return this.full;
  }

  protected takeNodeReady(): boolean {
    const ready = this.nodeReady;
    this.nodeReady = false;
    return ready;
  }

  protected closePoll(): void {
    this.closed = true;
    this.epoll.close();
  }
}

class EpollFileEvent implements FileEvent {
  private readonly dispatcher: EpollDispatcher;
  private readonly index: number;
  private readonly fd: number;
  private readonly callback: (events: number) => void;
  private readonly trigger: FileTriggerType;
  private closed = false;
  private injected = 0;
  private injection: SchedulableCallback | null = null;

  constructor(
    dispatcher: EpollDispatcher,
    index: number,
    fd: number,
    callback: (events: number) => void,
    trigger: FileTriggerType,
    events: number,
  ) {
    this.dispatcher = dispatcher;
    this.index = index;
    this.fd = fd;
    this.callback = callback;
    this.trigger = trigger;
    dispatcher.epoll.add(fd, this.mask(events), index);
  }

  activate(events: number): void {
    this.injected |= events;
    this.injection ??= this.dispatcher.createSchedulableCallback(() => this.onEpoll(0));
    this.injection.scheduleCallbackNextIteration();
  }

  setEnabled(events: number): void {
    if (this.closed) return;
    this.injected = 0;
    this.injection?.cancel();
    this.dispatcher.epoll.modify(this.fd, this.mask(events), this.index);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.injection?.cancel();
    this.dispatcher.retire(this.index, this.fd);
  }

  onEpoll(kernel: number): void {
    if (this.closed) return;
    let ready = this.injected;
    this.injected = 0;
    if ((kernel & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0) ready |= FileReadyType.Read;
    if ((kernel & (EPOLLOUT | EPOLLERR)) !== 0) ready |= FileReadyType.Write;
    if ((kernel & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) !== 0) ready |= FileReadyType.Closed;
    if (ready !== 0) this.callback(ready);
  }

  private mask(events: number): number {
    let mask = this.trigger === FileTriggerType.Edge ? EPOLLET : 0;
    if ((events & FileReadyType.Read) !== 0) mask |= EPOLLIN;
    if ((events & FileReadyType.Write) !== 0) mask |= EPOLLOUT;
    if ((events & FileReadyType.Closed) !== 0) mask |= EPOLLRDHUP;
    return mask;
  }
}
