/**
 * eventfd(2): the doorbell between threads and processes. Ringing costs one call without pointer arguments. `pollDescriptors` is the
 * blocking wait for programs that do not live in the event loop.
 */
import ffi from 'node:ffi';
import { check, libc } from './libc.ts';
import { NativeMemory } from './memory.ts';

const EFD_CLOEXEC = 0x80000;
const EFD_NONBLOCK = 0x800;
const POLLIN = 1;
const MAX_POLL = 16;

const extra = ffi.dlopen(null, {
  // The value is a uint64; it is only ever 1, and passing it as 32 bits keeps the call cheap.
  eventfd_write: { arguments: ['int32', 'uint32'], return: 'int32' },
  eventfd_read: { arguments: ['int32', 'pointer'], return: 'int32' },
  poll: { arguments: ['pointer', 'uint32', 'int32'], return: 'int32' },
});
const { eventfd_write, eventfd_read, poll } = extra.functions;

const scratch = NativeMemory.map(4096);
const counter = scratch.pointer;
const pollSet = scratch.pointer + 64n;
const pollWords = 16;

/** A non-blocking eventfd with counter 0. Throws SysError. */
export function createEventfd(): number {
  return check(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
}

/** Makes the descriptor readable. */
export function ringEventfd(fd: number): void {
  eventfd_write(fd, 1);
}

/** Resets the counter; returns false when it was 0. */
export function clearEventfd(fd: number): boolean {
  return eventfd_read(fd, counter) === 0;
}

/**
 * Blocks the thread until one of up to 16 descriptors is readable or closed, or `timeoutMs` passed (-1: no limit).
 * Returns a bit mask of the positions that are ready; 0 on timeout or signal.
 */
export function pollDescriptors(fds: readonly number[], timeoutMs: number): number {
  const n = Math.min(fds.length, MAX_POLL);
  for (let i = 0; i < n; i++) {
    scratch.i32[pollWords + i * 2] = fds[i];
    scratch.i32[pollWords + i * 2 + 1] = POLLIN;
  }
  if (poll(pollSet, n, timeoutMs) <= 0) return 0;
  let ready = 0;
  for (let i = 0; i < n; i++) if (scratch.i32[pollWords + i * 2 + 1] >>> 16 !== 0) ready |= 1 << i;
  return ready;
}
