/**
 * The streams of a connection by number: open addressing, a stream per slot, no tombstones.
 *
 * Streams come and go with every request and their numbers only rise. A `Map` keeps the places of what was deleted, and makes a new table
 * each time they are used up: in old space once the first one lies there, so that requests alone bring on major collections. Here the hole that
 * a deletion leaves is closed by moving others up. Peers choose the numbers, and must not be able to choose where they collide.
 */
import { randomInt } from 'node:crypto';
import type { Http2Stream } from './stream.ts';

const MIN_BITS = 4;
/** Odd: products of different numbers differ. */
const MULTIPLIER = randomInt(2 ** 31) * 2 + 1;

export class StreamTable {
  size = 0;
  /** A power of two slots, at most half of them in use. Number 0: free. */
  private ids: number[] = new Array<number>(1 << MIN_BITS).fill(0);
  private items: (Http2Stream | null)[] = new Array<Http2Stream | null>(1 << MIN_BITS).fill(null);
  private mask = (1 << MIN_BITS) - 1;
  /** The slot of a number is the high bits of its product. */
  private shift = 32 - MIN_BITS;

  get(id: number): Http2Stream | undefined {
    const at = this.find(id);
    return this.ids[at] === id && id !== 0 ? (this.items[at] as Http2Stream) : undefined;
  }

  /** `id` is not 0, and not there yet. */
  set(id: number, stream: Http2Stream): void {
    if (this.size > this.mask >> 1) this.grow();
    const at = this.find(id);
    if (this.ids[at] !== id) this.size++;
    this.ids[at] = id;
    this.items[at] = stream;
  }

  delete(id: number): void {
    const { ids, items, mask } = this;
    let hole = this.find(id);
    if (ids[hole] !== id || id === 0) return;
    this.size--;
    for (let at = (hole + 1) & mask; ids[at] !== 0; at = (at + 1) & mask) {
      // It stays when its own slot lies behind the hole, up to where it is.
      const home = Math.imul(ids[at], MULTIPLIER) >>> this.shift;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      ids[hole] = ids[at];
      items[hole] = items[at];
      hole = at;
    }
    ids[hole] = 0;
    items[hole] = null;
  }

  /** A copy, in the order of their numbers: for walking while streams come and go. */
  toArray(): Http2Stream[] {
    const all: Http2Stream[] = [];
    for (const stream of this.items) if (stream !== null) all.push(stream);
    return all.sort((a, b) => a.id - b.id);
  }

  /** The slot of `id`, or the free one where it would go. */
  private find(id: number): number {
    const { ids, mask } = this;
    let at = Math.imul(id, MULTIPLIER) >>> this.shift;
    while (ids[at] !== id && ids[at] !== 0) at = (at + 1) & mask;
    return at;
  }

  private grow(): void {
    const { ids, items } = this;
    const slots = ids.length * 2;
    this.ids = new Array<number>(slots).fill(0);
    this.items = new Array<Http2Stream | null>(slots).fill(null);
    this.mask = slots - 1;
    this.shift--;
    for (let i = 0; i < ids.length; i++) {
      if (ids[i] === 0) continue;
      const at = this.find(ids[i]);
      this.ids[at] = ids[i];
      this.items[at] = items[i];
    }
  }
}
