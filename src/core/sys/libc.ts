/**
 * libc and libuv as node:ffi sees them. One table, resolved once per thread; nothing outside `core/sys` imports node:ffi.
 *
 * Conventions: file descriptors, sizes and results are int32; addresses are bigint (`pointer`). A call with a pointer argument
 * costs about 250 ns more than one without, so hot paths batch through rings instead of calling per event.
 */
import ffi from 'node:ffi';

const lib = ffi.dlopen(null, {
  mmap: { arguments: ['pointer', 'uint64', 'int32', 'int32', 'int32', 'int64'], return: 'pointer' },
  munmap: { arguments: ['pointer', 'uint64'], return: 'int32' },
  madvise: { arguments: ['pointer', 'uint64', 'int32'], return: 'int32' },
  close: { arguments: ['int32'], return: 'int32' },
  read: { arguments: ['int32', 'pointer', 'uint64'], return: 'int32' },
  write: { arguments: ['int32', 'pointer', 'uint64'], return: 'int32' },
  readv: { arguments: ['int32', 'pointer', 'int32'], return: 'int32' },
  writev: { arguments: ['int32', 'pointer', 'int32'], return: 'int32' },
  recv: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int32' },
  send: { arguments: ['int32', 'pointer', 'uint64', 'int32'], return: 'int32' },
  sendmsg: { arguments: ['int32', 'pointer', 'int32'], return: 'int32' },
  recvmsg: { arguments: ['int32', 'pointer', 'int32'], return: 'int32' },
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  socketpair: { arguments: ['int32', 'int32', 'int32', 'pointer'], return: 'int32' },
  bind: { arguments: ['int32', 'pointer', 'int32'], return: 'int32' },
  listen: { arguments: ['int32', 'int32'], return: 'int32' },
  accept4: { arguments: ['int32', 'pointer', 'pointer', 'int32'], return: 'int32' },
  connect: { arguments: ['int32', 'pointer', 'int32'], return: 'int32' },
  shutdown: { arguments: ['int32', 'int32'], return: 'int32' },
  getsockname: { arguments: ['int32', 'pointer', 'pointer'], return: 'int32' },
  getpeername: { arguments: ['int32', 'pointer', 'pointer'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'int32'], return: 'int32' },
  getsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'pointer'], return: 'int32' },
  fcntl: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  dup: { arguments: ['int32'], return: 'int32' },
  ftruncate: { arguments: ['int32', 'int64'], return: 'int32' },
  memfd_create: { arguments: ['pointer', 'int32'], return: 'int32' },
  eventfd: { arguments: ['int32', 'int32'], return: 'int32' },
  epoll_create1: { arguments: ['int32'], return: 'int32' },
  epoll_ctl: { arguments: ['int32', 'int32', 'int32', 'pointer'], return: 'int32' },
  epoll_wait: { arguments: ['int32', 'pointer', 'int32', 'int32'], return: 'int32' },
  syscall: { arguments: ['int64', 'int64', 'int64', 'int64', 'int64', 'int64'], return: 'int32' },
  getpid: { arguments: [], return: 'int32' },
  getuid: { arguments: [], return: 'int32' },
  gettid: { arguments: [], return: 'int32' },
  sched_yield: { arguments: [], return: 'int32' },
  sched_setaffinity: { arguments: ['int32', 'uint64', 'pointer'], return: 'int32' },
  ioctl: { arguments: ['int32', 'uint64', 'pointer'], return: 'int32' },
  strerror: { arguments: ['int32'], return: 'pointer' },
  __errno_location: { arguments: [], return: 'pointer' },
});

/** The libc functions themselves, by their C names. */
export const libc = lib.functions;

const errnoView = new Int32Array(ffi.toArrayBuffer(libc.__errno_location(), 4, false));

/** errno of this thread's last failed call. */
export function errno(): number {
  return errnoView[0];
}

/** libc's text for an errno value. */
export function strerror(code: number): string {
  return ffi.toString(libc.strerror(code)) ?? `errno ${code}`;
}

/** A failed system call: `code` is the errno's name where it is known, `errno` its number. */
export class SysError extends Error {
  readonly syscall: string;
  readonly errno: number;
  readonly code: string;

  constructor(syscall: string, code: number, detail = '') {
    super(`${syscall}: ${strerror(code)}${detail === '' ? '' : ` (${detail})`}`);
    this.name = 'SysError';
    this.syscall = syscall;
    this.errno = code;
    this.code = ERRNO_NAMES[code] ?? `E${code}`;
  }
}

/** Returns `result` when it is not negative; throws a SysError naming the call otherwise. */
export function check(result: number, syscall: string, detail?: string): number {
  if (result < 0) throw new SysError(syscall, errno(), detail);
  return result;
}

/** errno values that the code compares with (Linux, the same on x86-64 and arm64). */
export const E = {
  PERM: 1,
  NOENT: 2,
  INTR: 4,
  BADF: 9,
  AGAIN: 11,
  NOMEM: 12,
  ACCES: 13,
  BUSY: 16,
  EXIST: 17,
  NODEV: 19,
  INVAL: 22,
  MFILE: 24,
  PIPE: 32,
  TIME: 62,
  NOSYS: 38,
  PROTO: 71,
  MSGSIZE: 90,
  OPNOTSUPP: 95,
  ADDRINUSE: 98,
  ADDRNOTAVAIL: 99,
  NETDOWN: 100,
  NETUNREACH: 101,
  CONNABORTED: 103,
  CONNRESET: 104,
  NOBUFS: 105,
  ISCONN: 106,
  NOTCONN: 107,
  TIMEDOUT: 110,
  CONNREFUSED: 111,
  HOSTUNREACH: 113,
  ALREADY: 114,
  INPROGRESS: 115,
  CANCELED: 125,
  KEYREJECTED: 129,
} as const;

const ERRNO_NAMES: Record<number, string> = Object.fromEntries(Object.entries(E).map(([name, code]) => [code, `E${name}`]));

/** The name of an errno value, such as `ECONNRESET`. */
export function errnoName(code: number): string {
  return ERRNO_NAMES[code] ?? `E${code}`;
}
