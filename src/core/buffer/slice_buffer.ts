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

const unset = 0;

export class SliceBuffer {
  readonly slab: Slab;
  /** Bytes in the buffer. Read-only for everyone else. */
  length = 0;
  /** The first so many slices stay where they are whatever is added: the kernel is reading them. Set and reset by who sends. */
  pinned = 0;
  // Small from the start: most buffers never hold more, and growing from nothing makes room for seventeen.
  // Not constants: V8 would share their elements until the first store, and a store that may copy and may grow is a slow one.
  private offsets: number[] = [unset, unset, unset, unset];
  private lengths: number[] = [unset, unset, unset, unset];
  private head = 0;
  private count = 0;

  private high = 0;
  private isAbove = false;
  private onAbove: (() => void) | null = null;
  private onBelow: (() => void) | null = null;

  constructor(slab: Slab) {
    this.slab = slab;
  }

  /** Number of slices. */
  get slices(): number {
    return this.count;
  }

  /** Offset of slice `i` in the slab. */
  offsetAt(i: number): number {
    return this.offsets[this.head + i];
  }

  lengthAt(i: number): number {
    return this.lengths[this.head + i];
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
    const tail = this.head + this.count - 1;
    if (
      this.count > 0 &&
      this.offsets[tail] + this.lengths[tail] === offset &&
      offset >> BLOCK_SHIFT === this.offsets[tail] >> BLOCK_SHIFT
    ) {
      this.lengths[tail] += length;
      this.slab.release(offset);
    } else {
      this.offsets[tail + 1] = offset;
      this.lengths[tail + 1] = length;
      this.count++;
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
    if (this.head > 0) {
      this.head--;
      this.offsets[this.head] = offset;
      this.lengths[this.head] = length;
    } else {
      this.offsets.unshift(offset);
      this.lengths.unshift(length);
    }
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
    const end = other.head + other.count;
    const moved = other.length;
    for (let i = other.head; i < end; i++) {
      const at = this.head + this.count++;
      this.offsets[at] = other.offsets[i];
      this.lengths[at] = other.lengths[i];
    }
    this.length += moved;
    if (this.count >= SPARSE_SLICES) this.checkSparse();
    other.head = 0;
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
      const offset = other.offsets[other.head];
      const n = Math.min(length, other.lengths[other.head]);
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
    while (length > 0) {
      const have = this.lengths[this.head];
      if (length < have) {
        this.offsets[this.head] += length;
        this.lengths[this.head] = have - length;
        length = 0;
      } else {
        this.slab.release(this.offsets[this.head]);
        length -= have;
        this.head++;
        this.count--;
      }
    }
    if (this.count === 0) this.head = 0;
    else if (this.head > 64) this.compact();
    if (this.isAbove) this.checkBelow();
  }

  clear(): void {
    if (this.length > 0) this.drain(this.length);
  }

  /** The byte at position `at` (0 <= at < length). Linear in slices: for small look-aheads. */
  byteAt(at: number): number {
    let i = this.head;
    while (at >= this.lengths[i]) at -= this.lengths[i++];
    return this.slab.u8[this.offsets[i] + at];
  }

  /** Copies [start, start + target.length) out into `target`. */
  copyOut(start: number, target: Uint8Array): void {
    let written = 0;
    const end = this.head + this.count;
    for (let i = this.head; i < end && written < target.length; i++) {
      const have = this.lengths[i];
      if (start >= have) {
        start -= have;
        continue;
      }
      const n = Math.min(have - start, target.length - written);
      const from = this.offsets[i] + start;
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
    if (this.lengths[this.head] >= length) return this.offsets[this.head];
    if (length > BLOCK_SIZE) throw new RangeError(`linearize(${length}) is more than a block`);
    const slab = this.slab;
    const offset = slab.allocate();
    let written = 0;
    while (written < length) {
      const from = this.offsets[this.head];
      const n = Math.min(length - written, this.lengths[this.head]);
      slab.u8.copyWithin(offset + written, from, from + n);
      written += n;
      if (n === this.lengths[this.head]) {
        slab.release(from);
        this.head++;
        this.count--;
      } else {
        this.offsets[this.head] += n;
        this.lengths[this.head] -= n;
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
    for (let i = this.head; i < this.head + this.count; i++) {
      slab.copy(at, this.offsets[i], this.lengths[i]);
      at += this.lengths[i];
      slab.release(this.offsets[i]);
    }
    this.head = 0;
    this.count = 1;
    this.offsets[0] = offset;
    this.lengths[0] = length;
  }

  private checkSparse(): void {
    const movable = this.count - this.pinned;
    if (movable >= SPARSE_SLICES && this.length < movable << SPARSE_SHIFT) this.densify();
  }

  /** Copies all slices that may move into as few blocks as hold them. */
  private densify(): void {
    const slab = this.slab;
    const end = this.head + this.count;
    const first = this.head + this.pinned;
    if (slab.isLow(2 + (this.length >> BLOCK_SHIFT))) return;
    let to = first;
    let block = -1;
    let used = 0;
    for (let i = first; i < end; i++) {
      const from = this.offsets[i];
      const length = this.lengths[i];
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
          this.offsets[to] = block;
          this.lengths[to++] = BLOCK_SIZE;
          block = -1;
        }
      }
      slab.release(from);
    }
    if (block >= 0) {
      this.offsets[to] = block;
      this.lengths[to++] = used;
    }
    this.count = to - this.head;
  }

  private compact(): void {
    this.offsets.splice(0, this.head);
    this.lengths.splice(0, this.head);
    this.head = 0;
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
