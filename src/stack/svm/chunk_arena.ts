/**
 * Chunk allocator of one side of a segment: a buddy allocator over that side's pages, orders 0 (4 KB) to 10 (4 MB).
 *
 * All its state is private to the process that owns the side, so the peer cannot damage it. Freed chunks first go to a short
 * last-in-first-out list per order, which keeps a busy FIFO on memory that is still in the cache; what does not fit there merges with
 * its buddy. Every FIFO that has been promised memory can always have one page: `reserve` / `unreserve` keep that many pages back.
 *
 * Free memory goes back to the kernel in `trim`, called about once a second: all but what has lately been in use at one time. (Giving back
 * everything that happens to be free costs a busy application a page fault for every 4 KB that it writes in the next second.)
 */
import { MAX_CHUNK_ORDER } from './layout.ts';
import type { Segment } from './segment.ts';

const QUICK_LIMIT = 16;
const FREE = 0x40;
/** Of a free block: the kernel has no memory behind it, and clears what it gives when it is touched. */
const CLEAN = 0x80;

export class ChunkArena {
  readonly segment: Segment;
  readonly side: number;
  readonly firstPage: number;
  readonly pages: number;
  /** From so many pages in use on, FIFOs make do with less memory each (see `fifo_producer.ts`). */
  crowdedFrom = Number.POSITIVE_INFINITY;
  private freePages: number;
  /** Of them in blocks that are CLEAN. */
  private cleanPages = 0;
  /** The most pages in use at a time since the last `trim`. */
  private peakPages = 0;
  private reserved = 0;
  /** Per page: FREE | order, perhaps CLEAN, at the first page of a free block, else 0. */
  private readonly blocks: Uint8Array;
  private readonly free: number[][] = [];
  private readonly quick: number[][] = [];

  constructor(segment: Segment, side: number) {
    this.segment = segment;
    this.side = side;
    this.pages = segment.layout.arenaPages;
    this.firstPage = segment.layout.arenaFirstPage + side * this.pages;
    this.blocks = new Uint8Array(this.pages);
    this.freePages = this.pages;
    for (let order = 0; order <= MAX_CHUNK_ORDER; order++) {
      this.free.push([]);
      this.quick.push([]);
    }
    let at = this.pages;
    // Highest pages first, so that the lowest are handed out first.
    for (let order = 0; order <= MAX_CHUNK_ORDER; order++) {
      const size = 1 << order;
      while (at >= size && (at % (size * 2) !== 0 || order === MAX_CHUNK_ORDER)) {
        at -= size;
        this.pushFree(at, order, CLEAN);
      }
    }
  }

  get usedPages(): number {
    return this.pages - this.freePages;
  }

  get crowded(): boolean {
    return this.pages - this.freePages >= this.crowdedFrom;
  }

  /** Promises one page to a FIFO. False when every page is promised. */
  reserve(): boolean {
    if (this.freePages <= this.reserved) return false;
    this.reserved++;
    return true;
  }

  unreserve(): void {
    this.reserved--;
  }

  /**
   * A chunk of 2^order pages, as its page in the segment; 0 when there is none. `promised`: may use up the caller's own reservation,
   * which the caller has given back just before.
   */
  alloc(order: number): number {
    const size = 1 << order;
    if (this.freePages - size < this.reserved) return 0;
    const quick = this.quick[order];
    let at = quick.length > 0 ? quick.pop()! : this.take(order);
    if (at < 0) {
      this.mergeQuick();
      at = this.take(order);
      if (at < 0) return 0;
    }
    this.setFreePages(this.freePages - size);
    return this.firstPage + at;
  }

  /** Returns a chunk. */
  release(page: number, order: number): void {
    const at = page - this.firstPage;
    this.setFreePages(this.freePages + (1 << order));
    const quick = this.quick[order];
    if (quick.length < QUICK_LIMIT) quick.push(at);
    else this.merge(at, order);
  }

  /**
   * Gives free memory back to the kernel, but for as much as has been in use since the last call. True when there is some left that the
   * next call may give back.
   */
  trim(): boolean {
    const used = this.usedPages;
    const keep = this.peakPages - used;
    this.peakPages = used;
    if (this.freePages - this.cleanPages > keep) {
      this.mergeQuick();
      this.clean(this.freePages - this.cleanPages - keep);
    }
    return this.freePages > this.cleanPages;
  }

  /** Gives back `pages` pages, those first that have been free for longest. */
  private clean(pages: number): void {
    for (let order = MAX_CHUNK_ORDER; order >= 0; order--) {
      const size = 1 << order;
      for (const at of this.free[order]) {
        if (pages <= 0) return;
        if (this.blocks[at] !== (FREE | order)) continue;
        if (size > pages) {
          // What is taken from a block is taken from its beginning.
          this.segment.punchPages(this.firstPage + at + size - pages, pages);
          return;
        }
        this.segment.punchPages(this.firstPage + at, size);
        this.blocks[at] = FREE | order | CLEAN;
        this.cleanPages += size;
        pages -= size;
      }
    }
  }

  private setFreePages(pages: number): void {
    this.freePages = pages;
    const used = this.pages - pages;
    if (used > this.peakPages) this.peakPages = used;
    this.segment.setUsedPages(this.side, used);
  }

  private take(order: number): number {
    for (let from = order; from <= MAX_CHUNK_ORDER; from++) {
      const at = this.popFree(from);
      if (at < 0) continue;
      const clean = this.blocks[at] & CLEAN;
      this.unlist(at, from);
      for (let half = from - 1; half >= order; half--) this.pushFree(at + (1 << half), half, clean);
      return at;
    }
    return -1;
  }

  private merge(at: number, order: number): void {
    while (order < MAX_CHUNK_ORDER) {
      const buddy = at ^ (1 << order);
      if (buddy + (1 << order) > this.pages || !this.isFree(buddy, order)) break;
      // Its entry in the free list is now stale and is skipped when popped.
      this.unlist(buddy, order);
      if (buddy < at) at = buddy;
      order++;
    }
    this.pushFree(at, order, 0);
  }

  private mergeQuick(): void {
    for (let order = 0; order <= MAX_CHUNK_ORDER; order++) {
      const quick = this.quick[order];
      while (quick.length > 0) this.merge(quick.pop()!, order);
    }
  }

  private isFree(at: number, order: number): boolean {
    return (this.blocks[at] & ~CLEAN) === (FREE | order);
  }

  private unlist(at: number, order: number): void {
    if ((this.blocks[at] & CLEAN) !== 0) this.cleanPages -= 1 << order;
    this.blocks[at] = 0;
  }

  private pushFree(at: number, order: number, clean: number): void {
    this.blocks[at] = FREE | order | clean;
    if (clean !== 0) this.cleanPages += 1 << order;
    const list = this.free[order];
    list.push(at);
    if (list.length > 64 && list.length > 2 * (this.pages >> order)) this.compact(order);
  }

  private popFree(order: number): number {
    const list = this.free[order];
    while (list.length > 0) {
      const at = list.pop()!;
      if (this.isFree(at, order)) return at;
    }
    return -1;
  }

  private compact(order: number): void {
    const live = new Set(this.free[order].filter((at) => this.isFree(at, order)));
    this.free[order] = [...live];
  }
}
