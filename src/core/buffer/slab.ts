/**
 * The slab: all bytes of one worker live in one mapping, cut into blocks of 16 KB with a reference count each.
 *
 * A position in it is a plain number (`offset`), so that bytes are read as `slab.u8[offset]`, copied inside it with `copyWithin`, and
 * handed to the kernel as `slab.address + offset`, without a view object anywhere. Address space is reserved at once, pages
 * appear when touched, and blocks that were freed are reused last-in first-out, so the hot ones stay in cache.
 *
 * A *slice* is (offset, length) inside one block together with one reference on that block. Whoever holds a slice either passes
 * it on or calls `release(offset)`. What must outlive its slice is copied, on purpose.
 *
 * Behind the blocks there may be address space for windows: memory of others, seen under positions of the slab (`slab_windows.ts`).
 */
import { NativeMemory } from '../sys/memory.ts';

export const BLOCK_SHIFT = 14;
export const BLOCK_SIZE = 1 << BLOCK_SHIFT;
/** 65,536 blocks, the most that a 16-bit provided-buffer id can name: 1 GiB of address space. */
export const MAX_BLOCKS = 1 << 16;
/** Together with `MAX_BLOCKS`: positions stay below 2^31, small integers of the engine. */
export const MAX_WINDOW_BLOCKS = MAX_BLOCKS - 1;

/** Told when nobody holds a block of a window any more (see `slab_windows.ts`). */
export interface WindowKeeper {
  onBlockFree(block: number): void;
}

export class Slab {
  readonly memory: NativeMemory;
  readonly u8: Uint8Array<ArrayBuffer>;
  /** The same bytes, for access by several at a time. */
  readonly view: DataView<ArrayBuffer>;
  readonly address: number;
  readonly blocks: number;
  readonly windowBlocks: number;
  /** Bytes from here on lie in windows. */
  readonly windowStart: number;
  windowKeeper: WindowKeeper | null = null;
  /** Of the blocks of windows, those that somebody holds a reference on. */
  windowBlocksInUse = 0;
  private readonly references: Int32Array;
  private readonly free: Int32Array;
  private freeCount = 0;
  /** Of the free blocks, the lowest in the stack that `shrink` gave back and nobody took since. */
  private returned = 0;
  private permanent = 0;
  private fresh = 0;
  private tail = -1;
  private tailUsed = 0;

  /** Reserves `blocks` blocks of address space (at most 65,536), and as much for windows as `windowBlocks` says. */
  constructor(blocks: number = MAX_BLOCKS, windowBlocks = 0) {
    this.blocks = blocks;
    this.windowBlocks = windowBlocks;
    this.windowStart = blocks * BLOCK_SIZE;
    this.memory = NativeMemory.map((blocks + windowBlocks) * BLOCK_SIZE, { noReserve: true });
    this.u8 = this.memory.u8;
    this.view = new DataView(this.memory.buffer);
    this.address = this.memory.address;
    this.references = new Int32Array(blocks + windowBlocks);
    this.free = new Int32Array(blocks);
  }

  /** Blocks that somebody holds a reference on. Tests use it to show that nothing leaked. */
  get blocksInUse(): number {
    return this.fresh - this.freeCount - this.permanent;
  }

  /** Blocks that were in use and are not: resident memory that holds nothing. */
  get idleBlocks(): number {
    return this.freeCount - this.returned;
  }

  /** Gives the memory of idle blocks back to the kernel; they can be taken as before. Runs of neighbours take one call each. */
  shrink(): void {
    const free = this.free.subarray(0, this.freeCount).slice().sort();
    for (let i = 0; i < free.length; ) {
      let end = i + 1;
      while (end < free.length && free[end] === free[end - 1] + 1) end++;
      this.memory.release(free[i] * BLOCK_SIZE, (end - i) * BLOCK_SIZE);
      i = end;
    }
    this.returned = this.freeCount;
  }

  /** Takes a whole block with one reference; its offset. Throws when all are in use (the caller should have stopped reading before). */
  allocate(): number {
    let block: number;
    if (this.freeCount > 0) {
      block = this.free[--this.freeCount];
      if (this.freeCount < this.returned) this.returned = this.freeCount;
    } else if (this.fresh < this.blocks) block = this.fresh++;
    else throw new SlabExhaustedError(this.blocks);
    this.references[block] = 1;
    return block << BLOCK_SHIFT;
  }

  /** Takes a block that is never given back and does not count as in use: for constants. */
  allocatePermanent(): number {
    const offset = this.allocate();
    this.permanent++;
    return offset;
  }

  /** True when fewer than `count` blocks are left: the moment to stop reading. */
  isLow(count: number): boolean {
    return this.freeCount + (this.blocks - this.fresh) < count;
  }

  /** True when reading has to stop: what is left is for what must be written, such as the answers that end what holds the rest. */
  get mustStopReading(): boolean {
    return this.isLow(2 + (this.blocks >> 6));
  }

  /**
   * What share of its usual limit a buffer may fill now, as a number of halvings: 0 while less than half of the blocks are in use, then 2,
   * 4 and 6 at a half, five eighths and three quarters. So many slow readers share the memory that is left instead of a few taking it all.
   */
  get pressure(): number {
    const eighths = Math.floor((this.blocksInUse * 8) / this.blocks);
    return eighths < 4 ? 0 : Math.min(eighths - 3, 3) * 2;
  }

  /** One more reference on the block that `offset` lies in. */
  retain(offset: number): void {
    this.references[offset >> BLOCK_SHIFT]++;
  }

  /** Drops one reference; the block is free again at zero. */
  release(offset: number): void {
    const block = offset >> BLOCK_SHIFT;
    const left = --this.references[block];
    if (left === 0) {
      if (block < this.blocks) this.free[this.freeCount++] = block;
      else this.windowKeeper!.onBlockFree(block);
    } else if (left < 0) throw new Error(`slab: block ${block} released more often than retained`);
  }

  /** The number of references on the block of `offset`. */
  referenceCount(offset: number): number {
    return this.references[offset >> BLOCK_SHIFT];
  }

  /**
   * Copies inside the slab; the ranges do not overlap. Short runs go eight bytes at a time in JavaScript (60 bytes: 18 ns, where
   * the call of `copyWithin` takes 27), longer ones through `copyWithin`.
   */
  copy(to: number, from: number, length: number): void {
    if (length > 96) {
      this.u8.copyWithin(to, from, from + length);
      return;
    }
    const end = from + length;
    const view = this.view;
    for (; from + 8 <= end; from += 8, to += 8) view.setBigUint64(to, view.getBigUint64(from, true), true);
    const u8 = this.u8;
    while (from < end) u8[to++] = u8[from++];
  }

  /**
   * A writable slice of `length` <= 16 KB with one reference, cut from a shared tail block: for small pieces such as encoded headers.
   * The caller may give unused bytes at the end back with `trimReserved` before anything else is reserved.
   */
  reserve(length: number): number {
    if (length > BLOCK_SIZE) throw new RangeError(`slab: reserve(${length}) is more than a block`);
    if (this.tail < 0 || this.tailUsed + length > BLOCK_SIZE) {
      if (this.tail >= 0) this.release(this.tail);
      this.tail = this.allocate();
      this.tailUsed = 0;
    } else if (this.references[this.tail >> BLOCK_SHIFT] === 1) {
      // Only our own reference is left: all earlier slices are gone, start over in the cache-hot block.
      this.tailUsed = 0;
    }
    const offset = this.tail + this.tailUsed;
    this.tailUsed += length;
    this.references[this.tail >> BLOCK_SHIFT]++;
    return offset;
  }

  /** After `reserve`: only [.., end) was used. */
  trimReserved(end: number): void {
    this.tailUsed = end - this.tail;
  }
}

export class SlabExhaustedError extends Error {
  constructor(blocks: number) {
    super(`out of buffer memory: all ${blocks} blocks of ${BLOCK_SIZE} bytes are in use`);
    this.name = 'SlabExhaustedError';
  }
}
