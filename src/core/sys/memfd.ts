/**
 * memfd_create(2) with seals: memory that is shared by descriptor and cannot shrink under whoever mapped it (a truncated mapping is
 * a SIGBUS for the whole process, so a descriptor from someone else is accepted only with `F_SEAL_SHRINK` set).
 *
 * Unmapping: a typed array over unmapped memory is a crash. `SharedMemory.retire` therefore replaces the pages by private anonymous
 * ones at the same address, and the address range itself is given back when the garbage collector has seen the last view go.
 */
import ffi from 'node:ffi';
import { check, errno, libc, SysError } from './libc.ts';
import { NativeMemory, withCString } from './memory.ts';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
const SEEK_END = 2;
const MADV_REMOVE = 9;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_FIXED_ANONYMOUS_NORESERVE = 0x02 | 0x10 | 0x20 | 0x4000;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

const extra = ffi.dlopen(null, {
  lseek: { arguments: ['int32', 'int64', 'int32'], return: 'int64' },
});

/** Creates a memfd of exactly `size` zero bytes, sealed against shrinking, growing and further seals. Throws SysError. */
export function createSealedMemfd(name: string, size: number): number {
  const fd = check(
    withCString(name, (pointer) => libc.memfd_create(pointer, MFD_CLOEXEC | MFD_ALLOW_SEALING)),
    'memfd_create',
  );
  try {
    check(libc.ftruncate(fd, BigInt(size)), 'ftruncate', `${size} bytes`);
    check(libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW), 'fcntl', 'F_ADD_SEALS');
  } catch (error) {
    libc.close(fd);
    throw error;
  }
  return fd;
}

/** Size of the file behind a memfd, or an error text when it is not a memfd that is sealed against shrinking. */
export function sealedSize(fd: number): number | string {
  const seals = libc.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0) return 'descriptor has no seals (not a memfd)';
  if ((seals & F_SEAL_SHRINK) === 0) return 'memory is not sealed against shrinking';
  const size = Number(extra.functions.lseek(fd, 0n, SEEK_END));
  return size < 0 ? 'size of the memory is unknown' : size;
}

const leftovers = new FinalizationRegistry<{ pointer: bigint; size: number }>((range) => {
  libc.munmap(range.pointer, BigInt(range.size));
});

/** A shared mapping of a memfd. The address range lives until `retire` was called and no view is left. */
export class SharedMemory {
  readonly memory: NativeMemory;
  private retired = false;

  private constructor(memory: NativeMemory) {
    this.memory = memory;
  }

  /** Maps `size` bytes of `fd`; the descriptor may be closed afterwards. Throws SysError. */
  static map(fd: number, size: number): SharedMemory {
    return new SharedMemory(NativeMemory.map(size, { fd, noReserve: true }));
  }

  /** Gives the pages of [offset, offset + length) back to the kernel for everyone; they read as zero afterwards. */
  punch(offset: number, length: number): void {
    libc.madvise(this.memory.pointer + BigInt(offset), BigInt(length), MADV_REMOVE);
  }

  /** Lets go of the shared pages. Views stay safe to touch but see private zeroes. Idempotent. */
  retire(): void {
    if (this.retired) return;
    this.retired = true;
    const { pointer, size, buffer } = this.memory;
    const result = libc.mmap(pointer, BigInt(size), PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS_NORESERVE, -1, 0n);
    if (result === MAP_FAILED) throw new SysError('mmap', errno(), 'retire');
    leftovers.register(buffer, { pointer, size });
  }
}
