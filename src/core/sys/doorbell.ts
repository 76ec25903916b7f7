/**
 * A doorbell from one party to another: a pipe. A pipe and not an eventfd, because its two ends are two open file descriptions: whoever
 * hears cannot make the ringer's end blocking and fill it up, and of several ringers none can take the sound away from another.
 *
 * Ringing a full bell does nothing (it sounds already); the hearing end must be emptied now and then.
 */
import ffi from 'node:ffi';
import { check, E, errno, libc } from './libc.ts';
import { NativeMemory } from './memory.ts';

export interface Doorbell {
  readonly ringFd: number;
  readonly hearFd: number;
}

const O_NONBLOCK_CLOEXEC = 0x800 | 0x80000;
const F_SETPIPE_SZ = 1031;
/** Room for 512 rings. */
const PIPE_BYTES = 4096;

const { pipe2, eventfd_write } = ffi.dlopen(null, {
  pipe2: { arguments: ['pointer', 'int32'], return: 'int32' },
  // Writes 8 bytes to any descriptor, and needs no pointer argument, which makes the call cheap.
  eventfd_write: { arguments: ['int32', 'uint32'], return: 'int32' },
}).functions;

const scratch = NativeMemory.map(PIPE_BYTES);

/** Throws SysError. */
export function createDoorbell(): Doorbell {
  check(pipe2(scratch.pointer, O_NONBLOCK_CLOEXEC), 'pipe2');
  const [hearFd, ringFd] = scratch.i32;
  libc.fcntl(ringFd, F_SETPIPE_SZ, PIPE_BYTES);
  return { hearFd, ringFd };
}

export function ringDoorbell(ringFd: number): void {
  eventfd_write(ringFd, 1);
}

/** Empties the bell. False when nobody is left who could ring it. */
export function emptyDoorbell(hearFd: number): boolean {
  const n = libc.read(hearFd, scratch.pointer, BigInt(PIPE_BYTES));
  return n > 0 || (n < 0 && errno() === E.AGAIN);
}
