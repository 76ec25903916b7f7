/**
 * Many packets per system call on a TUN or TAP: reads and writes are entries of an io_uring, and one `io_uring_enter` per turn submits the
 * gathered writes and as many reads as the last turns could use. With RWF_NOWAIT every entry completes at once: a read with nothing to
 * read fails with EAGAIN (O_NONBLOCK would make the ring wait for it), and reads run after the writes, when the kernel's answers are there.
 *
 * The descriptor is registered; the buffers are not: pinned pages are copied page by page, which gains nothing for small packets and made
 * sending 64 KB a fifth slower. Left out: multishot reads. Measured beside these, they cost the same when packets are many (800,000 per
 * second and core) and a tenth less when two or three come at a time, and the kernel would hold buffers of the pool for good.
 */

import { type CompletionSink, IORING_OP, IOSQE_FIXED_FILE, Ring, SQE } from '../../core/sys/io_uring.ts';
import { E, SysError } from '../../core/sys/libc.ts';
import { addressHigh, addressLow, type NativeMemory } from '../../core/sys/memory.ts';
import type { Packet, PacketPool } from '../graph/packet.ts';

const ENTRIES = 256;
/** Writes that wait at most: more than this leaves the cache before the kernel copies it. */
const MAX_WRITES = 64;
const MIN_READS = 2;
const RWF_NOWAIT = 8;
const WRITE_BIT = 0x4000_0000;
const PROBE = 0x2000_0000;
/** Completions of one reap. */
const ALL = 65_536;

export interface TunRingOptions {
  fd: number;
  memory: NativeMemory;
  /** Bytes of the largest read. */
  readBytes: number;
  /** Reads per turn at most. */
  maxReads: number;
  /** Bytes in front of `packet.start` that a read fills too. */
  headerBytes: number;
}

export interface TunRingOwner {
  /** `result`: bytes read, header included. Takes the packet. */
  arrived(packet: Packet, result: number): void;
  /** `result`: bytes written or a negative errno. */
  sent(packet: Packet, result: number): void;
}

export class TunRing implements CompletionSink {
  /** System calls, and entries that they carried. */
  enters = 0;
  entries = 0;
  emptyReads = 0;
  private readonly ring = new Ring(ENTRIES);
  private readonly options: TunRingOptions;
  private readonly owner: TunRingOwner;
  private readonly opWord: number;
  private readonly fdWord: number;
  private pool: PacketPool | null = null;
  private reads = 4;
  private writes = 0;
  private got = 0;
  private outstanding = 0;
  private probed = 0;

  /** Throws SysError without io_uring, or where reads from such a device cannot be told not to wait. */
  constructor(options: TunRingOptions, owner: TunRingOwner) {
    this.options = options;
    this.owner = owner;
    const registered = this.ring.registerFile(options.fd) === 0;
    this.opWord = registered ? IOSQE_FIXED_FILE << 8 : 0;
    this.fdWord = registered ? 0 : options.fd;
    // The device is new and down: there is nothing to read, and the ring has to say so at once.
    this.prepare(IORING_OP.READ, 0, 64, PROBE);
    this.enter();
    if (this.probed === -E.AGAIN) return;
    this.close();
    throw new SysError('io_uring read', -this.probed);
  }

  /** Gathers a write of [at, at + length); full, it sends. */
  write(packet: Packet, at: number, length: number): void {
    this.pool = packet.pool;
    this.prepare(IORING_OP.WRITE, at, length, packet.index | WRITE_BIT);
    if (++this.writes >= MAX_WRITES) this.enter();
  }

  get gathered(): number {
    return this.writes;
  }

  /** Sends what was gathered and reads. True when there may be more to read. */
  exchange(pool: PacketPool): boolean {
    this.pool = pool;
    const { readBytes, headerBytes, maxReads } = this.options;
    let asked = 0;
    while (asked < this.reads) {
      const packet = pool.alloc(readBytes);
      if (packet === null) break;
      this.prepare(IORING_OP.READ, packet.start - headerBytes, readBytes, packet.index);
      asked++;
    }
    this.got = 0;
    this.enter();
    const full = this.got === asked && asked > 0;
    if (full) this.reads = Math.min(this.reads * 2, maxReads);
    else this.reads = Math.min(Math.max(MIN_READS, this.got + 2), maxReads);
    return full;
  }

  onCompletion(userData: number, result: number): void {
    this.outstanding--;
    if (userData === PROBE) {
      this.probed = result;
      return;
    }
    const packet = this.pool!.packets[userData & ~WRITE_BIT];
    if ((userData & WRITE_BIT) !== 0) this.owner.sent(packet, result);
    else if (result > this.options.headerBytes) {
      this.got++;
      this.owner.arrived(packet, result);
    } else {
      if (result === -E.AGAIN) this.emptyReads++;
      packet.free();
    }
  }

  /** Sends what was gathered. */
  submit(): void {
    if (this.writes > 0) this.enter();
  }

  close(): void {
    this.ring.unregisterFile();
    this.ring.close();
  }

  private enter(): void {
    const { ring } = this;
    this.enters++;
    this.entries += ring.unsubmitted;
    this.writes = 0;
    ring.enter(0);
    // A submission that was interrupted is continued; everything completes at once.
    while (ring.unsubmitted > 0) ring.enter(0);
    while (this.outstanding > 0) {
      if (ring.reap(ALL, this) === 0) ring.enter(this.outstanding);
    }
  }

  private prepare(op: number, at: number, length: number, userData: number): void {
    const { ring } = this;
    const s = ring.sqes;
    const w = ring.nextSqe();
    const address = this.options.memory.address + at;
    s[w] = op | this.opWord;
    s[w + SQE.FD] = this.fdWord;
    s[w + SQE.OFF_LO] = 0;
    s[w + SQE.OFF_HI] = 0;
    s[w + SQE.ADDR_LO] = addressLow(address);
    s[w + SQE.ADDR_HI] = addressHigh(address);
    s[w + SQE.LEN] = length;
    s[w + SQE.OP_FLAGS] = RWF_NOWAIT;
    s[w + SQE.USER_DATA_LO] = userData;
    s[w + SQE.USER_DATA_HI] = 0;
    s[w + SQE.BUF_GROUP] = 0;
    s[w + SQE.FILE_INDEX] = 0;
    this.outstanding++;
  }
}
