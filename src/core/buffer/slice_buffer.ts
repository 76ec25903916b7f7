/**
 * A chain of slices: the byte queue between any two layers (Envoy's Buffer::Instance).
 *
 * It owns one reference for each slice in it. `move` hands slices over without copying; `drain` releases; watermark callbacks
 * fire when the length passes above `high`, and again when it falls to `high / 2` (Envoy: source/common/buffer/watermark_buffer).
 */
import { BLOCK_SHIFT, BLOCK_SIZE, type Slab } from './slab.ts';

/**
 * A buffer of at least this many slices that hold less than a KB each on average is copied into full blocks: a peer that sends a byte
 * at a time would otherwise hold 16 KB with each. What is copied is at most a KB for each slice that came since the last time.
 */
const SPARSE_SLICES = 8;
const SPARSE_SHIFT = 10;

/** A text of at least this length is a configured body, most likely the same as last time. */
const LONG_TEXT = 4096;
let lastText = '';
let lastBytes: Uint8Array = new Uint8Array();

/**
 * Where buffers keep their slices: a few numbers each, in an array that they share with buffers made just before and after. There are
 * several buffers to a stream; arrays of their own would be two thirds of what a request touches of them. One with more slices gets its own.
 */
const CELLS = 2 * 4;
const BUFFERS = 128;
let shared = new Int32Array(CELLS * BUFFERS);
let nextCells = 0;

export class SliceBuffer {
  readonly slab: Slab;
  /** Bytes in the buffer. Read-only for everyone else. */
  length = 0;
  /** The first so many slices stay where they are whatever is added: the kernel is reading them. Set and reset by who sends. */
  pinned = 0;
  /** Offset and length of each slice, between `base` and `limit`. */
  private cells: Int32Array;
  private base: number;
  private limit: number;
  /** Where the first slice is. */
  private head: number;
  private count = 0;

  private high = 0;
  private isAbove = false;
  private onAbove: (() => void) | null = null;
  private onBelow: (() => void) | null = null;

  constructor(slab: Slab) {
    this.slab = slab;
    if (nextCells === shared.length) {
      shared = new Int32Array(CELLS * BUFFERS);
      nextCells = 0;
    }
    this.cells = shared;
    this.base = nextCells;
    this.head = nextCells;
    nextCells += CELLS;
    this.limit = nextCells;
  }

  /** Number of slices. */
  get slices(): number {
    return this.count;
  }

  /** Offset of slice `i` in the slab. */
  offsetAt(i: number): number {
    return this.cells[this.head + 2 * i];
  }

  lengthAt(i: number): number {
    return this.cells[this.head + 2 * i + 1];
  }

  /** `high` 0 turns watermarks off. */
  setWatermarks(high: number, onAbove: () => void, onBelow: () => void): void {
    this.high = high;
    this.onAbove = onAbove;
    this.onBelow = onBelow;
    this.checkAbove();
    this.checkBelow();
  }

  get highWatermark(): number {
    return this.high;
  }

  get aboveHighWatermark(): boolean {
    return this.isAbove;
  }

  /** Appends a slice; its reference becomes this buffer's. A zero-length slice is released at once. */
  push(offset: number, length: number): void {
    if (length === 0) {
      this.slab.release(offset);
      return;
    }
    const end = this.head + 2 * this.count;
    const cells = this.cells;
    if (this.count > 0 && cells[end - 2] + cells[end - 1] === offset && offset >> BLOCK_SHIFT === cells[end - 2] >> BLOCK_SHIFT) {
      cells[end - 1] += length;
      this.slab.release(offset);
    } else {
      if (end === this.limit) this.makeRoom(1);
      const at = this.head + 2 * this.count++;
      this.cells[at] = offset;
      this.cells[at + 1] = length;
    }
    this.length += length;
    if (this.count >= SPARSE_SLICES) this.checkSparse();
    if (this.high !== 0) this.checkAbove();
  }

  /** Puts a slice in front; its reference becomes this buffer's. */
  unshift(offset: number, length: number): void {
    if (length === 0) {
      this.slab.release(offset);
      return;
    }
    if (this.head === this.base) this.makeRoomInFront();
    this.head -= 2;
    this.cells[this.head] = offset;
    this.cells[this.head + 1] = length;
    this.count++;
    this.length += length;
    if (this.high !== 0) this.checkAbove();
  }

  /** Copies bytes in. */
  append(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    const slab = this.slab;
    while (start < end) {
      const n = Math.min(end - start, BLOCK_SIZE);
      const offset = slab.reserve(n);
      if (n < 48) for (let i = 0; i < n; i++) slab.u8[offset + i] = bytes[start + i];
      else slab.u8.set(start === 0 && n === bytes.length ? bytes : bytes.subarray(start, start + n), offset);
      this.push(offset, n);
      start += n;
    }
  }

  /** Copies a string in, one byte per character (latin1, the wire form of header text). */
  appendLatin1(text: string): void {
    const slab = this.slab;
    for (let at = 0; at < text.length; at += BLOCK_SIZE) {
      const n = Math.min(text.length - at, BLOCK_SIZE);
      const offset = slab.reserve(n);
      for (let i = 0; i < n; i++) slab.u8[offset + i] = text.charCodeAt(at + i);
      this.push(offset, n);
    }
  }

  appendUtf8(text: string): void {
    this.append(text.length < LONG_TEXT ? Buffer.from(text, 'utf8') : longUtf8(text));
  }

  /** Copies bytes in, in front. */
  prepend(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    const slab = this.slab;
    while (start < end) {
      const n = Math.min(end - start, BLOCK_SIZE);
      const offset = slab.reserve(n);
      slab.u8.set(bytes.subarray(end - n, end), offset);
      this.unshift(offset, n);
      end -= n;
    }
  }

  /** Moves everything of `other` to the end of this one; nothing is copied. */
  move(other: SliceBuffer): void {
    const moved = other.length;
    const added = other.count;
    if (this.head + 2 * (this.count + added) > this.limit) this.makeRoom(added);
    const from = other.cells;
    const to = this.cells;
    let at = this.head + 2 * this.count;
    for (let i = other.head, end = other.head + 2 * added; i < end; i += 2, at += 2) {
      to[at] = from[i];
      to[at + 1] = from[i + 1];
    }
    this.count += added;
    this.length += moved;
    if (this.count >= SPARSE_SLICES) this.checkSparse();
    other.head = other.base;
    other.count = 0;
    other.length = 0;
    if (this.high !== 0) this.checkAbove();
    if (other.isAbove) other.checkBelow();
  }

  /** Moves the first `length` bytes of `other` (at most all of it) to the end of this one. */
  moveLength(other: SliceBuffer, length: number): void {
    if (length >= other.length) {
      this.move(other);
      return;
    }
    while (length > 0) {
      const offset = other.cells[other.head];
      const n = Math.min(length, other.cells[other.head + 1]);
      this.slab.retain(offset);
      this.push(offset, n);
      other.drain(n);
      length -= n;
    }
  }

  /** Drops the first `length` bytes. */
  drain(length: number): void {
    if (length > this.length) throw new RangeError(`drain(${length}) of a buffer of ${this.length} bytes`);
    this.length -= length;
    const cells = this.cells;
    while (length > 0) {
      const at = this.head;
      const have = cells[at + 1];
      if (length < have) {
        cells[at] += length;
        cells[at + 1] = have - length;
        length = 0;
      } else {
        this.slab.release(cells[at]);
        length -= have;
        this.head = at + 2;
        this.count--;
      }
    }
    if (this.count === 0) this.head = this.base;
    if (this.isAbove) this.checkBelow();
  }

  /**
   * Copies what lies in windows of the slab, where others can change it: for whoever looks at the bytes, or keeps them for later (their
   * sender may need the room to go on).
   */
  makePrivate(): void {
    const { windowStart, windowBlocks } = this.slab;
    if (windowBlocks === 0) return;
    const { cells, head } = this;
    const end = head + 2 * this.count;
    for (let i = head; i < end; i += 2) if (cells[i] >= windowStart) cells[i] = this.copied(cells[i], cells[i + 1]);
  }

  private copied(from: number, length: number): number {
    const { slab } = this;
    const offset = slab.allocate();
    slab.copy(offset, from, length);
    slab.release(from);
    return offset;
  }

  clear(): void {
    if (this.length > 0) this.drain(this.length);
  }

  /** The byte at position `at` (0 <= at < length). Linear in slices: for small look-aheads. */
  byteAt(at: number): number {
    const cells = this.cells;
    let i = this.head;
    for (; at >= cells[i + 1]; i += 2) at -= cells[i + 1];
    return this.slab.u8[cells[i] + at];
  }

  /** Copies [start, start + target.length) out into `target`. */
  copyOut(start: number, target: Uint8Array): void {
    let written = 0;
    const cells = this.cells;
    const end = this.head + 2 * this.count;
    for (let i = this.head; i < end && written < target.length; i += 2) {
      const have = cells[i + 1];
      if (start >= have) {
        start -= have;
        continue;
      }
      const n = Math.min(have - start, target.length - written);
      const from = cells[i] + start;
      target.set(this.slab.u8.subarray(from, from + n), written);
      written += n;
      start = 0;
    }
    if (written < target.length) throw new RangeError('copyOut beyond the end of the buffer');
  }

  /** A copy of all bytes. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.length);
    this.copyOut(0, bytes);
    return bytes;
  }

  /** A copy of all bytes as text. */
  toText(encoding: BufferEncoding = 'latin1'): string {
    const bytes = this.toBytes();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString(encoding);
  }

  /**
   * Makes the first `length` bytes contiguous (copying into one fresh block when they are not) and returns their offset.
   * `length` must be at most 16 KB. The slice stays in the buffer.
   */
  linearize(length: number): number {
    if (length > this.length) throw new RangeError(`linearize(${length}) of a buffer of ${this.length} bytes`);
    const cells = this.cells;
    if (cells[this.head + 1] >= length) return cells[this.head];
    if (length > BLOCK_SIZE) throw new RangeError(`linearize(${length}) is more than a block`);
    const slab = this.slab;
    const offset = slab.allocate();
    let written = 0;
    while (written < length) {
      const at = this.head;
      const from = cells[at];
      const n = Math.min(length - written, cells[at + 1]);
      slab.u8.copyWithin(offset + written, from, from + n);
      written += n;
      if (n === cells[at + 1]) {
        slab.release(from);
        this.head = at + 2;
        this.count--;
      } else {
        cells[at] += n;
        cells[at + 1] -= n;
      }
    }
    this.length -= length;
    const high = this.high;
    this.high = 0;
    this.unshift(offset, length);
    this.high = high;
    return offset;
  }

  /** Makes all bytes (at most 16 KB) one slice by copying them. */
  join(): void {
    const length = this.length;
    const slab = this.slab;
    const offset = slab.reserve(length);
    let at = offset;
    const cells = this.cells;
    for (let i = this.head, end = this.head + 2 * this.count; i < end; i += 2) {
      slab.copy(at, cells[i], cells[i + 1]);
      at += cells[i + 1];
      slab.release(cells[i]);
    }
    this.head = this.base;
    this.count = 1;
    cells[this.base] = offset;
    cells[this.base + 1] = length;
  }

  private checkSparse(): void {
    const movable = this.count - this.pinned;
    if (movable >= SPARSE_SLICES && this.length < movable << SPARSE_SHIFT) this.densify();
  }

  /** Copies all slices that may move into as few blocks as hold them. */
  private densify(): void {
    const slab = this.slab;
    const cells = this.cells;
    const end = this.head + 2 * this.count;
    const first = this.head + 2 * this.pinned;
    if (slab.isLow(2 + (this.length >> BLOCK_SHIFT))) return;
    let to = first;
    let block = -1;
    let used = 0;
    for (let i = first; i < end; i += 2) {
      const from = cells[i];
      const length = cells[i + 1];
      for (let done = 0; done < length; ) {
        if (block < 0) {
          block = slab.allocate();
          used = 0;
        }
        const n = Math.min(length - done, BLOCK_SIZE - used);
        slab.copy(block + used, from + done, n);
        used += n;
        done += n;
        if (used === BLOCK_SIZE) {
          cells[to] = block;
          cells[to + 1] = BLOCK_SIZE;
          to += 2;
          block = -1;
        }
      }
      slab.release(from);
    }
    if (block >= 0) {
      cells[to] = block;
      cells[to + 1] = used;
      to += 2;
    }
    this.count = (to - this.head) >> 1;
  }

  /** Room for `slices` more at the end: what was drained in front, when that is half of all; else a larger array. */
  private makeRoom(slices: number): void {
    const { cells, base, head, count } = this;
    const needed = 2 * (count + slices);
    if (needed <= (this.limit - base) >> 1) {
      cells.copyWithin(base, head, head + 2 * count);
      this.head = base;
      return;
    }
    this.grow(needed, 0);
  }

  private makeRoomInFront(): void {
    const { cells, base, count } = this;
    if (2 * (count + 1) > this.limit - base) this.grow(2 * (count + 1), 2);
    else {
      cells.copyWithin(base + 2, base, base + 2 * count);
      this.head = base + 2;
    }
  }

  /** An array of our own for at least `needed` numbers, with the slices from `to` on. */
  private grow(needed: number, to: number): void {
    const { cells, head, count } = this;
    const grown = new Int32Array(Math.max(2 * (this.limit - this.base), 2 * needed));
    grown.set(cells.subarray(head, head + 2 * count), to);
    this.cells = grown;
    this.base = 0;
    this.limit = grown.length;
    this.head = to;
  }

  private checkAbove(): void {
    if (!this.isAbove && this.high !== 0 && this.length > this.high) {
      this.isAbove = true;
      this.onAbove?.();
    }
  }

  private checkBelow(): void {
    if (this.isAbove && this.length <= this.high >> 1) {
      this.isAbove = false;
      this.onBelow?.();
    }
  }
}

/** Encoding a text of 1 MB takes longer than copying it does, and leaves as much for the garbage collector. */
function longUtf8(text: string): Uint8Array {
  if (text !== lastText) {
    lastText = text;
    lastBytes = Buffer.from(text, 'utf8');
  }
  return lastBytes;
}
