/**
 * Native memory: anonymous and shared mappings seen as typed arrays.
 *
 * A view over memory that was unmapped is a crash, so mappings made here are for the life of the thread unless the owner can prove
 * that no view is left (`unmap`).
 */
import ffi from 'node:ffi';
import { check, errno, libc, SysError } from './libc.ts';

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_POPULATE = 0x8000;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const MADV_DONTNEED = 4;
const MADV_HUGEPAGE = 14;

export interface MapOptions {
  /** Map this descriptor shared, from `offset`; without it the memory is anonymous and private. */
  fd?: number;
  offset?: number;
  /** Reserve address space only; pages appear when touched. */
  noReserve?: boolean;
  populate?: boolean;
  hugePages?: boolean;
}

/** A mapping of `size` bytes. `address` is exact as a number (user addresses are below 2^47). */
export class NativeMemory {
  readonly address: number;
  readonly pointer: bigint;
  readonly size: number;
  readonly buffer: ArrayBuffer;
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;

  private constructor(pointer: bigint, size: number) {
    this.pointer = pointer;
    this.address = Number(pointer);
    this.size = size;
    this.buffer = ffi.toArrayBuffer(pointer, size, false);
    this.u8 = new Uint8Array(this.buffer);
    this.i32 = new Int32Array(this.buffer, 0, size >> 2);
    this.u32 = new Uint32Array(this.buffer, 0, size >> 2);
  }

  /** Maps `size` bytes (rounded up to whole pages by the kernel). Throws SysError. */
  static map(size: number, options: MapOptions = {}): NativeMemory {
    const shared = options.fd !== undefined;
    let flags = shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    if (options.noReserve) flags |= MAP_NORESERVE;
    if (options.populate) flags |= MAP_POPULATE;
    const pointer = libc.mmap(0n, BigInt(size), PROT_READ | PROT_WRITE, flags, options.fd ?? -1, BigInt(options.offset ?? 0));
    if (pointer === MAP_FAILED) throw new SysError('mmap', errno(), `${size} bytes`);
    const memory = new NativeMemory(pointer, size);
    if (options.hugePages) libc.madvise(pointer, BigInt(size), MADV_HUGEPAGE);
    return memory;
  }

  /** Gives whole pages of [offset, offset + length) back to the kernel; they read as zero afterwards. */
  release(offset: number, length: number): void {
    libc.madvise(this.pointer + BigInt(offset), BigInt(length), MADV_DONTNEED);
  }

  /**
   * Shows [fileOffset, fileOffset + length) of a file at `offset` of this memory: as it is now and will be, but for pages that are written
   * to here, which become private copies until `release`. False when the kernel refuses.
   */
  overlay(offset: number, length: number, fd: number, fileOffset: number): boolean {
    const flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
    const at = this.pointer + BigInt(offset);
    return libc.mmap(at, BigInt(length), PROT_READ | PROT_WRITE, flags, fd, BigInt(fileOffset)) !== MAP_FAILED;
  }

  /** Ends an `overlay`: the pages are private zeroes. */
  removeOverlay(offset: number, length: number): void {
    const flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | MAP_ANONYMOUS;
    const at = this.pointer + BigInt(offset);
    const result = libc.mmap(at, BigInt(length), PROT_READ | PROT_WRITE, flags, -1, 0n);
    if (result === MAP_FAILED) throw new SysError('mmap', errno(), 'overlay');
  }

  /** Unmaps. The caller vouches that no view of `buffer` is used again. */
  unmap(): void {
    check(libc.munmap(this.pointer, BigInt(this.size)), 'munmap');
  }
}

/** A small scratch area of one page for system call arguments; one per thread and purpose, never nested. */
export class Scratch {
  readonly memory = NativeMemory.map(4096);
  readonly view = new DataView(this.memory.buffer);
  readonly pointer = this.memory.pointer;
}

/** The address as the two 32-bit halves that ring entries take. */
export function addressLow(address: number): number {
  return address | 0;
}

export function addressHigh(address: number): number {
  return (address / 0x1_0000_0000) | 0;
}

/** Runs `use` with the address of a NUL-terminated copy of `text`. */
export function withCString<T>(text: string, use: (pointer: bigint) => T): T {
  const bytes = Buffer.from(`${text}\0`);
  return use(ffi.getRawPointer(bytes));
}
