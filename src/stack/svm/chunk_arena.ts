/**
 * Chunk allocator of one side of a segment: a buddy allocator over that side's pages, orders 0 (4 KB) to 10 (4 MB).
 *
 * All its state is private to the process that owns the side, so the peer cannot damage it. Freed chunks first go to a short
 * last-in-first-out list per order, which keeps a busy FIFO on memory that is still in the cache; what does not fit there merges with
 * its buddy. Every FIFO that has been promised memory can always have one page: `reserve` / `unreserve` keep that many pages back.
 */
import { MAX_CHUNK_ORDER } from './layout.ts';
import type { Segment } from './segment.ts';

const QUICK_LIMIT = 16;
const FREE = 0x40;

export class ChunkArena {
  readonly segment: Segment;
  readonly side: number;
  readonly firstPage: number;
  readonly pages: number;
  private freePages: number;
  private reserved = 0;
  /** Per page: FREE | order at the first page of a free block, else 0. */
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
        this.pushFree(at, order);
      }
    }
  }

  get usedPages(): number {
    return this.pages - this.freePages;
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

  /** Gives the memory behind free blocks of at least 2^minOrder pages back to the kernel. */
  trim(minOrder = 0): void {
    this.mergeQuick();
    for (let order = minOrder; order <= MAX_CHUNK_ORDER; order++) {
      for (const at of this.free[order]) {
        if (this.blocks[at] === (FREE | order)) this.segment.punchPages(this.firstPage + at, 1 << order);
      }
    }
  }

  private setFreePages(pages: number): void {
    this.freePages = pages;
    this.segment.setUsedPages(this.side, this.pages - pages);
  }

  private take(order: number): number {
    for (let from = order; from <= MAX_CHUNK_ORDER; from++) {
      const at = this.popFree(from);
      if (at < 0) continue;
      for (let half = from - 1; half >= order; half--) this.pushFree(at + (1 << half), half);
      return at;
    }
    return -1;
  }

  private merge(at: number, order: number): void {
    while (order < MAX_CHUNK_ORDER) {
      const buddy = at ^ (1 << order);
      if (buddy + (1 << order) > this.pages || this.blocks[buddy] !== (FREE | order)) break;
      // Its entry in the free list is now stale and is skipped when popped.
      this.blocks[buddy] = 0;
      if (buddy < at) at = buddy;
      order++;
    }
    this.pushFree(at, order);
  }

  private mergeQuick(): void {
    for (let order = 0; order <= MAX_CHUNK_ORDER; order++) {
      const quick = this.quick[order];
      while (quick.length > 0) this.merge(quick.pop()!, order);
    }
  }

  private pushFree(at: number, order: number): void {
    this.blocks[at] = FREE | order;
    const list = this.free[order];
    list.push(at);
    if (list.length > 64 && list.length > 2 * (this.pages >> order)) this.compact(order);
  }

  private popFree(order: number): number {
    const list = this.free[order];
    while (list.length > 0) {
      const at = list.pop()!;
      if (this.blocks[at] !== (FREE | order)) continue;
      this.blocks[at] = 0;
      return at;
    }
    return -1;
  }

  private compact(order: number): void {
    const live = new Set(this.free[order].filter((at) => this.blocks[at] === (FREE | order)));
    this.free[order] = [...live];
  }
}
