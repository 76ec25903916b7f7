/**
 * One io_uring: submission and completion queues as typed arrays, one system call per turn.
 *
 * Layout per io_uring_setup(2) and <linux/io_uring.h>. Needs Linux 6.1: SINGLE_ISSUER, DEFER_TASKRUN, provided-buffer rings,
 * multishot accept and recv. `probeIoUring` tells why a machine cannot (containers often forbid the system call).
 */
import ffi from 'node:ffi';
import { E, errno, libc, SysError, strerror } from './libc.ts';
import { addressHigh, addressLow, NativeMemory } from './memory.ts';

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;

const IORING_SETUP_CQSIZE = 1 << 3;
const IORING_SETUP_SUBMIT_ALL = 1 << 7;
const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
const IORING_SETUP_DEFER_TASKRUN = 1 << 13;
const IORING_FEAT_SINGLE_MMAP = 1;
const IORING_ENTER_GETEVENTS = 1;
const IORING_OFF_SQES = 0x1000_0000;
const IORING_REGISTER_BUFFERS = 0;
const IORING_REGISTER_FILES = 2;
const IORING_UNREGISTER_FILES = 3;
const IORING_REGISTER_PBUF_RING = 22;

/** Operations used here; numbers of <linux/io_uring.h>. */
export const IORING_OP = {
  NOP: 0,
  READ_FIXED: 4,
  WRITE_FIXED: 5,
  POLL_ADD: 6,
  SENDMSG: 9,
  TIMEOUT: 11,
  TIMEOUT_REMOVE: 12,
  ACCEPT: 13,
  ASYNC_CANCEL: 14,
  CONNECT: 16,
  CLOSE: 19,
  READ: 22,
  WRITE: 23,
  SEND: 26,
  RECV: 27,
  SHUTDOWN: 34,
  READ_MULTISHOT: 49,
} as const;

export const IOSQE_FIXED_FILE = 1 << 0;
export const IOSQE_BUFFER_SELECT = 1 << 5;
export const IORING_RECV_MULTISHOT = 1 << 1;
export const IORING_ACCEPT_MULTISHOT = 1 << 0;
export const IORING_CQE_F_BUFFER = 1;
export const IORING_CQE_F_MORE = 2;
export const IORING_ASYNC_CANCEL_ALL = 1;
export const IORING_TIMEOUT_UPDATE = 1 << 1;

/** Words (int32) of a submission entry. */
export const SQE = {
  /** opcode u8 | flags u8 << 8 | ioprio u16 << 16 */
  OPCODE: 0,
  FD: 1,
  OFF_LO: 2,
  OFF_HI: 3,
  ADDR_LO: 4,
  ADDR_HI: 5,
  LEN: 6,
  OP_FLAGS: 7,
  USER_DATA_LO: 8,
  USER_DATA_HI: 9,
  /** buf_index / buf_group u16 | personality << 16 */
  BUF_GROUP: 10,
  FILE_INDEX: 11,
  ADDR3_LO: 12,
  ADDR3_HI: 13,
} as const;

const SQE_WORDS = 16;

// A second handle on the C library: `syscall` with six int32 arguments stays on the fast call path.
const fast = ffi.dlopen(null, {
  syscall: { arguments: ['int32', 'int32', 'int32', 'int32', 'int32', 'int32'], return: 'int32' },
}).functions;

/** Why io_uring cannot be used here, or null when it can. */
export function probeIoUring(): string | null {
  try {
    new Ring(8).close();
    return null;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.errno === E.PERM || error.errno === E.ACCES)
      return `io_uring is forbidden here (${error.message}); a container profile may block it`;
    if (error.errno === E.NOSYS) return 'this kernel has no io_uring';
    if (error.errno === E.INVAL) return `this kernel's io_uring is too old: Linux 6.1 is needed (${error.message})`;
    return `io_uring cannot be set up: ${error.message}`;
  }
}

export class Ring {
  readonly fd: number;
  /** Submission entries as int32 words; `nextSqe` says where. */
  readonly sqes: Int32Array;
  private readonly sq: Int32Array;
  private readonly cq: Int32Array;
  private readonly sqEntries: number;
  private readonly sqMask: number;
  private readonly cqMask: number;
  private readonly sqHeadWord: number;
  private readonly sqTailWord: number;
  private readonly cqHeadWord: number;
  private readonly cqTailWord: number;
  private readonly cqesWord: number;
  private readonly memories: NativeMemory[] = [];
  private sqTail: number;
  private submitted: number;
  private cqHead: number;

  /** `entries`: submission slots, a power of two. Completion slots are sixteen times as many. Throws SysError. */
  constructor(entries: number) {
    const params = NativeMemory.map(4096);
    const p = params.u32;
    p[1] = entries * 16;
    p[2] = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    const fd = libc.syscall(BigInt(SYS_IO_URING_SETUP), BigInt(entries), params.pointer, 0n, 0n, 0n);
    if (fd < 0) {
      const code = errno();
      params.unmap();
      throw new SysError('io_uring_setup', code);
    }
    this.fd = fd;
    if ((p[5] & IORING_FEAT_SINGLE_MMAP) === 0) {
      libc.close(fd);
      throw new SysError('io_uring_setup', E.INVAL, 'no single mmap');
    }
    const sqOff = 10;
    const cqOff = 20;
    const sqSize = p[sqOff + 6] + p[0] * 4;
    const cqSize = p[cqOff + 5] + p[1] * 16;
    const rings = NativeMemory.map(Math.max(sqSize, cqSize), { fd, populate: true });
    const sqes = NativeMemory.map(p[0] * 64, { fd, offset: IORING_OFF_SQES, populate: true });
    this.memories.push(rings, sqes);
    this.sq = rings.i32;
    this.cq = rings.i32;
    this.sqes = sqes.i32;
    this.sqEntries = p[0];
    this.sqHeadWord = p[sqOff] >> 2;
    this.sqTailWord = p[sqOff + 1] >> 2;
    this.sqMask = rings.i32[p[sqOff + 2] >> 2];
    const arrayWord = p[sqOff + 6] >> 2;
    for (let i = 0; i < this.sqEntries; i++) rings.i32[arrayWord + i] = i;
    this.cqHeadWord = p[cqOff] >> 2;
    this.cqTailWord = p[cqOff + 1] >> 2;
    this.cqMask = rings.i32[p[cqOff + 2] >> 2];
    this.cqesWord = p[cqOff + 5] >> 2;
    this.sqTail = rings.i32[this.sqTailWord];
    this.submitted = this.sqTail;
    this.cqHead = rings.i32[this.cqHeadWord];
    params.unmap();
  }

  /**
   * Word index of a fresh entry in `sqes`, all of whose fields the caller must set (`prepare` does). Submits when the queue is full.
   */
  nextSqe(): number {
    if (((this.sqTail - this.sq[this.sqHeadWord]) | 0) >= this.sqEntries) this.enter(0);
    const at = (this.sqTail & this.sqMask) * SQE_WORDS;
    this.sqTail = (this.sqTail + 1) | 0;
    return at;
  }

  /** Fills a whole entry. `opcodeWord` is opcode | flags << 8 | ioprio << 16. Addresses are numbers. */
  prepare(
    opcodeWord: number,
    fd: number,
    address: number,
    length: number,
    offset: number,
    opFlags: number,
    userData: number,
    bufGroup: number,
  ): void {
    const s = this.sqes;
    const at = this.nextSqe();
    s[at] = opcodeWord;
    s[at + SQE.FD] = fd;
    s[at + SQE.OFF_LO] = addressLow(offset);
    s[at + SQE.OFF_HI] = addressHigh(offset);
    s[at + SQE.ADDR_LO] = addressLow(address);
    s[at + SQE.ADDR_HI] = addressHigh(address);
    s[at + SQE.LEN] = length;
    s[at + SQE.OP_FLAGS] = opFlags;
    s[at + SQE.USER_DATA_LO] = userData;
    s[at + SQE.USER_DATA_HI] = 0;
    s[at + SQE.BUF_GROUP] = bufGroup;
    s[at + SQE.FILE_INDEX] = 0;
    s[at + SQE.ADDR3_LO] = 0;
    s[at + SQE.ADDR3_HI] = 0;
  }

  /** Entries that wait for the next `enter`. */
  get unsubmitted(): number {
    return (this.sqTail - this.submitted) | 0;
  }

  /** True when completions wait to be reaped. */
  get hasCompletions(): boolean {
    return Atomics.load(this.cq, this.cqTailWord) !== this.cqHead;
  }

  /** Submits everything and waits for `minComplete` completions (0: only collects what is there). */
  enter(minComplete: number): void {
    Atomics.store(this.sq, this.sqTailWord, this.sqTail);
    const count = (this.sqTail - this.submitted) | 0;
    const result = fast.syscall(SYS_IO_URING_ENTER, this.fd, count, minComplete, IORING_ENTER_GETEVENTS, 0);
    if (result >= 0) this.submitted = (this.submitted + result) | 0;
    else {
      const code = errno();
      if (code !== E.INTR && code !== E.AGAIN && code !== 16 /* EBUSY: completions must be reaped first */)
        throw new SysError('io_uring_enter', code);
      // What was taken before the interruption is told by the head.
      this.submitted = Atomics.load(this.sq, this.sqHeadWord);
    }
  }

  /**
   * Hands at most `limit` completions to `sink` as (user data, result, flags); how many. The sink may submit; the kernel learns which
   * entries are free at the end.
   */
  reap(limit: number, sink: CompletionSink): number {
    let reaped = 0;
    const cq = this.cq;
    let tail = Atomics.load(cq, this.cqTailWord);
    while (reaped < limit) {
      if (this.cqHead === tail) {
        tail = Atomics.load(cq, this.cqTailWord);
        if (this.cqHead === tail) break;
      }
      const at = this.cqesWord + (this.cqHead & this.cqMask) * 4;
      const userData = cq[at];
      const result = cq[at + 2];
      const flags = cq[at + 3];
      this.cqHead = (this.cqHead + 1) | 0;
      reaped++;
      sink.onCompletion(userData, result, flags);
    }
    Atomics.store(cq, this.cqHeadWord, this.cqHead);
    return reaped;
  }

  /** Registers a provided-buffer ring of `entries` (a power of two) as `group`; its memory. */
  registerBufferRing(group: number, entries: number): NativeMemory {
    const ring = NativeMemory.map(entries * 16);
    const argument = NativeMemory.map(4096);
    const view = new DataView(argument.buffer);
    view.setBigUint64(0, ring.pointer, true);
    view.setUint32(8, entries, true);
    view.setUint16(12, group, true);
    const result = libc.syscall(
      BigInt(SYS_IO_URING_REGISTER),
      BigInt(this.fd),
      BigInt(IORING_REGISTER_PBUF_RING),
      argument.pointer,
      1n,
      0n,
    );
    const code = result < 0 ? errno() : 0;
    argument.unmap();
    if (result < 0) throw new SysError('io_uring_register', code, strerror(code));
    return ring;
  }

  /** Registers one descriptor: entries with IOSQE_FIXED_FILE name it as 0. 0 or an errno. */
  registerFile(fd: number): number {
    const argument = NativeMemory.map(4096);
    argument.i32[0] = fd;
    const code = this.register(IORING_REGISTER_FILES, argument.pointer, 1);
    argument.unmap();
    return code;
  }

  /** Registers `memory` as fixed buffer 0, which pins its pages. 0 or an errno (ENOMEM: RLIMIT_MEMLOCK). */
  registerBuffer(memory: NativeMemory): number {
    const argument = NativeMemory.map(4096);
    const view = new DataView(argument.buffer);
    view.setBigUint64(0, memory.pointer, true);
    view.setBigUint64(8, BigInt(memory.size), true);
    const code = this.register(IORING_REGISTER_BUFFERS, argument.pointer, 1);
    argument.unmap();
    return code;
  }

  /** Lets go of the registered descriptor, which the ring's mappings would keep open beyond `close`. */
  unregisterFile(): void {
    this.register(IORING_UNREGISTER_FILES, 0n, 0);
  }

  private register(what: number, argument: bigint, count: number): number {
    const result = libc.syscall(BigInt(SYS_IO_URING_REGISTER), BigInt(this.fd), BigInt(what), argument, BigInt(count), 0n);
    return result < 0 ? errno() : 0;
  }

  /** Closes the descriptor. The mappings stay: views on them may be left. */
  close(): void {
    libc.close(this.fd);
  }
}

export interface CompletionSink {
  onCompletion(userData: number, result: number, flags: number): void;
}
