/**
 * Windows of a slab: memory that others write, such as the FIFOs of the host stack, seen under positions of the slab, so that slices of it
 * are like all slices: counted, chained, read, and sent from where they lie.
 *
 * A window is a private mapping of the file behind that memory. It shows what the file holds, until a page is written to here: `keep` does
 * that, on purpose and without changing a byte, for blocks that must outlive their file's use of the memory. From then on they are copies of
 * our own, and when they are released the window shows the file again. Nothing else may write into a window.
 *
 * Whoever may write to the file can change the bytes at any time: what is checked, parsed or compared is copied before
 * (`SliceBuffer.makePrivate`).
 */
import { BLOCK_SHIFT, BLOCK_SIZE, type Slab, type WindowKeeper } from './slab.ts';

/** Windows begin at multiples of 1 MB. */
const GRANULE_SHIFT = 6;
const GRANULE_BLOCKS = 1 << GRANULE_SHIFT;
/** The smallest page there is. */
const PAGE = 4096;

/** Who has taken blocks of a window. */
export interface BlockHolder {
  /** The last reference on one of them is gone. */
  onBlockFree(): void;
}

export class SlabWindow {
  /** Position in the slab. */
  readonly start: number;
  readonly length: number;
  private readonly windows: SlabWindows;
  private readonly slab: Slab;
  private readonly firstBlock: number;
  /** Per block: who took it; null when nobody did, or when it has been kept. */
  private readonly holders: (BlockHolder | null)[];
  private held = 0;
  private closed = false;

  constructor(windows: SlabWindows, slab: Slab, firstBlock: number, length: number) {
    this.windows = windows;
    this.slab = slab;
    this.firstBlock = firstBlock;
    this.start = firstBlock * BLOCK_SIZE;
    this.length = length;
    this.holders = new Array<BlockHolder | null>(length >> BLOCK_SHIFT).fill(null);
  }

  /** One reference on the block that lies `at` bytes after the start. False when someone else holds it. */
  take(at: number, holder: BlockHolder): boolean {
    const i = at >> BLOCK_SHIFT;
    const offset = this.start + at;
    if (this.slab.referenceCount(offset) === 0) {
      this.holders[i] = holder;
      this.held++;
      this.slab.windowBlocksInUse++;
    } else if (this.holders[i] !== holder) return false;
    this.slab.retain(offset);
    return true;
  }

  /** Nobody holds a reference on that block. */
  isFree(at: number): boolean {
    return this.slab.referenceCount(this.start + at) === 0;
  }

  /** Makes the block a copy of our own, if it is held: its memory may be used again by those to whom it belongs. */
  keep(at: number): void {
    const i = at >> BLOCK_SHIFT;
    if (this.holders[i] === null) return;
    this.holders[i] = null;
    const { u8 } = this.slab;
    const begin = this.start + i * BLOCK_SIZE;
    // A store, whatever it stores, makes the kernel copy the page.
    for (let p = begin; p < begin + BLOCK_SIZE; p += PAGE) Atomics.store(u8, p, Atomics.load(u8, p));
  }

  /** Goes when the last block is released; who holds some has kept them before. */
  close(): void {
    this.closed = true;
    if (this.held === 0) this.windows.remove(this, this.firstBlock);
  }

  /** For `SlabWindows`. */
  onBlockFree(block: number): void {
    const i = block - this.firstBlock;
    const holder = this.holders[i];
    this.holders[i] = null;
    this.held--;
    this.slab.windowBlocksInUse--;
    if (this.closed) {
      if (this.held === 0) this.windows.remove(this, this.firstBlock);
    } else if (holder === null) this.slab.memory.release(block * BLOCK_SIZE, BLOCK_SIZE);
    else holder.onBlockFree();
  }
}

export class SlabWindows implements WindowKeeper {
  private readonly slab: Slab;
  private readonly firstBlock: number;
  /** Per granule: the window that covers it. */
  private readonly granules: (SlabWindow | null)[];

  constructor(slab: Slab) {
    this.slab = slab;
    this.firstBlock = slab.blocks;
    this.granules = new Array<SlabWindow | null>(slab.windowBlocks >> GRANULE_SHIFT).fill(null);
    slab.windowKeeper = this;
  }

  /** Those of `slab`. */
  static of(slab: Slab): SlabWindows {
    return slab.windowKeeper instanceof SlabWindows ? slab.windowKeeper : new SlabWindows(slab);
  }

  /**
   * A window on [fileOffset, fileOffset + length) of `fd`, which may be closed then. Null when there is no room for one, when the length is no
   * multiple of a block, or when the kernel refuses.
   */
  open(fd: number, fileOffset: number, length: number): SlabWindow | null {
    if (length <= 0 || length % BLOCK_SIZE !== 0) return null;
    const wanted = Math.ceil(length / (BLOCK_SIZE * GRANULE_BLOCKS));
    const at = this.findRoom(wanted);
    if (at < 0) return null;
    const firstBlock = this.firstBlock + at * GRANULE_BLOCKS;
    if (!this.slab.memory.overlay(firstBlock * BLOCK_SIZE, length, fd, fileOffset)) return null;
    const window = new SlabWindow(this, this.slab, firstBlock, length);
    this.granules.fill(window, at, at + wanted);
    return window;
  }

  onBlockFree(block: number): void {
    this.granules[(block - this.firstBlock) >> GRANULE_SHIFT]!.onBlockFree(block);
  }

  /** For `SlabWindow`. */
  remove(window: SlabWindow, firstBlock: number): void {
    const at = (firstBlock - this.firstBlock) >> GRANULE_SHIFT;
    for (let i = at; this.granules[i] === window; i++) this.granules[i] = null;
    this.slab.memory.removeOverlay(window.start, window.length);
  }

  private findRoom(wanted: number): number {
    let free = 0;
    for (let i = 0; i < this.granules.length; i++) {
      free = this.granules[i] === null ? free + 1 : 0;
      if (free === wanted) return i + 1 - wanted;
    }
    return -1;
  }
}
