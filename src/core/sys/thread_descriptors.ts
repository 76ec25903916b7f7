/**
 * Descriptors that end with their thread. A thread that is terminated runs no JavaScript any more, and what it has opened by ffi would
 * stay open for the rest of the process: whoever waits for the end of such a descriptor (the host stack, a peer) would never hear of it.
 * Node closes descriptors that a worker thread has opened through `fs` when the thread ends, however it ends; so a descriptor is put in
 * the place of one that `fs` has opened. (Not in threads made with `trackUnmanagedFds: false`.)
 */

import ffi from 'node:ffi';
import { closeSync, openSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { check, libc } from './libc.ts';

const O_CLOEXEC = 0x80000;
const F_DUPFD_CLOEXEC = 1030;

const { dup3 } = ffi.dlopen(null, { dup3: { arguments: ['int32', 'int32', 'int32'], return: 'int32' } }).functions;
const owned = new Set<number>();

/** Takes `fd` and gives the descriptor to use in its place, which must be closed by `closeOwnDescriptor`. */
export function ownDescriptor(fd: number): number {
  if (isMainThread) return fd;
  const place = openSync('/dev/null', 'r');
  dup3(fd, place, O_CLOEXEC);
  libc.close(fd);
  owned.add(place);
  return place;
}

/** Closes a descriptor, own or not. */
export function closeOwnDescriptor(fd: number): void {
  if (owned.delete(fd)) closeSync(fd);
  else libc.close(fd);
}

/** Another descriptor of the same open file, for someone else to close. Throws SysError. */
export function duplicateDescriptor(fd: number): number {
  return check(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl', 'F_DUPFD_CLOEXEC');
}
