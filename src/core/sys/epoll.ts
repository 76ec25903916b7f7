/** epoll(7) with a reused event array. */
import { check, libc } from './libc.ts';
import { NativeMemory } from './memory.ts';
import { closeOwnDescriptor, ownDescriptor } from './thread_descriptors.ts';

export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 1 << 31;

const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;
const MAX_EVENTS = 256;
// struct epoll_event is packed on x86-64 only.
const EVENT_SIZE = process.arch === 'x64' ? 12 : 16;
const DATA_OFFSET = process.arch === 'x64' ? 4 : 8;

export class Epoll {
  readonly fd: number;
  private readonly memory = NativeMemory.map(MAX_EVENTS * 16 + 64);
  private readonly view = new DataView(this.memory.buffer);
  private readonly argument = MAX_EVENTS * 16;
  private readonly argumentPointer = this.memory.pointer + BigInt(MAX_EVENTS * 16);

  constructor() {
    this.fd = ownDescriptor(check(libc.epoll_create1(0x80000), 'epoll_create1'));
  }

  add(fd: number, events: number, data: number): void {
    this.control(CTL_ADD, fd, events, data);
  }

  modify(fd: number, events: number, data: number): void {
    this.control(CTL_MOD, fd, events, data);
  }

  remove(fd: number): void {
    this.control(CTL_DEL, fd, 0, 0);
  }

  /** Waits (-1: for ever) and returns the number of events, at most 256. EINTR counts as none. */
  wait(timeoutMs: number): number {
    const n = libc.epoll_wait(this.fd, this.memory.pointer, MAX_EVENTS, timeoutMs);
    return n < 0 ? 0 : n;
  }

  eventsAt(i: number): number {
    return this.view.getUint32(i * EVENT_SIZE, true);
  }

  dataAt(i: number): number {
    return this.view.getUint32(i * EVENT_SIZE + DATA_OFFSET, true);
  }

  close(): void {
    closeOwnDescriptor(this.fd);
  }

  private control(op: number, fd: number, events: number, data: number): void {
    this.view.setUint32(this.argument, events >>> 0, true);
    this.view.setUint32(this.argument + DATA_OFFSET, data, true);
    check(libc.epoll_ctl(this.fd, op, fd, this.argumentPointer), 'epoll_ctl');
  }
}
