/**
 * The reading end of a FIFO (see `fifo_producer.ts`): read, peek at an offset, drop, and zero-copy views that stay valid until the
 * bytes are dropped.
 *
 * The producer may be hostile or dead: its tail must lie between the previous tail and one arena's worth of bytes ahead, and every
 * chunk that is entered must lie in its arena and continue the stream where the last one ended. Anything else marks the FIFO
 * `corrupted`, which reads as empty.
 */
import { CHUNK_ENTRY_WORDS, ChunkWord, DequeueNotify, FifoWord, MAX_CHUNK_ORDER, PAGE } from './layout.ts';
import type { Segment } from './segment.ts';

const BYTE_LOOP_LIMIT = 32;

export class FifoConsumer {
  corrupted = false;
  private readonly i32: Int32Array<ArrayBuffer>;
  private readonly u8: Uint8Array<ArrayBuffer>;
  private readonly tableWord: number;
  private readonly word: number;
  private readonly firstPage: number;
  private readonly endPage: number;
  private readonly maxUsed: number;
  /** Bytes before the head are still in use here: reading alone does not give their room back (see `fifo_loans.ts`). */
  lent = false;
  private head = 0;
  /** The head as the producer knows it. */
  private published = 0;
  private tail = 0;
  /** The chunk that holds the head: page 0 before the first. Checked when entered, never read again. */
  private page = 0;
  private start = 0;
  private bytes = 0;

  /** `word`: index of the FIFO header; `producerSide`: whose arena the chunks come from. */
  constructor(segment: Segment, word: number, producerSide: number) {
    this.i32 = segment.i32;
    this.u8 = segment.u8;
    const { layout } = segment;
    this.tableWord = (layout.tableOffset >> 2) - layout.arenaFirstPage * CHUNK_ENTRY_WORDS;
    this.word = word;
    this.firstPage = layout.arenaFirstPage + producerSide * layout.arenaPages;
    this.endPage = this.firstPage + layout.arenaPages;
    this.maxUsed = layout.arenaPages * PAGE;
  }

  /** Bytes that can be read now. */
  get used(): number {
    const tail = Atomics.load(this.i32, this.word + FifoWord.tail);
    if (tail !== this.tail) {
      const known = (this.tail - this.head) >>> 0;
      const used = (tail - this.head) >>> 0;
      if (used > this.maxUsed || used < known) this.corrupted = true;
      else this.tail = tail;
    }
    return this.corrupted ? 0 : (this.tail - this.head) >>> 0;
  }

  /** Reads up to `length` bytes into `target`; returns how many. */
  read(target: Uint8Array, offset: number, length: number): number {
    let available = (this.tail - this.head) >>> 0;
    if (available < length) available = this.used;
    if (this.corrupted || available === 0) return 0;
    if (length > available) length = available;
    let head = this.head;
    const inFirst = (head - this.start) >>> 0;
    if (inFirst + length <= this.bytes) {
      this.copyOut(target, offset, this.page * PAGE + inFirst, length);
      this.head = (head + length) | 0;
      if (!this.lent) this.publish(this.head);
      return length;
    }
    let done = 0;
    while (done < length) {
      let inChunk = (head - this.start) >>> 0;
      if (inChunk >= this.bytes) {
        if (!this.enterNext(head)) break;
        inChunk = 0;
      }
      const n = Math.min(this.bytes - inChunk, length - done);
      this.copyOut(target, offset + done, this.page * PAGE + inChunk, n);
      done += n;
      head = (head + n) | 0;
    }
    this.head = head;
    if (!this.lent) this.publish(head);
    return done;
  }

  /** Copies up to `length` bytes that start `ahead` bytes after the head, and leaves them there. */
  peek(ahead: number, target: Uint8Array, offset: number, length: number): number {
    const available = this.used - ahead;
    if (ahead < 0 || available <= 0) return 0;
    const wanted = Math.min(length, available);
    const { page, start, bytes } = this;
    let skip = ahead;
    let left = wanted;
    let at = this.head;
    while (left > 0) {
      let inChunk = (at - this.start) >>> 0;
      if (inChunk >= this.bytes) {
        if (!this.enterNext(at)) break;
        inChunk = 0;
      }
      const passed = Math.min(skip, this.bytes - inChunk);
      const n = Math.min(this.bytes - inChunk - passed, left);
      if (n > 0) this.copyOut(target, offset + wanted - left, this.page * PAGE + inChunk + passed, n);
      skip -= passed;
      left -= n;
      at = (at + passed + n) | 0;
    }
    this.leave(page, start, bytes);
    return wanted - left;
  }

  /** Views of up to `length` readable bytes pushed onto `views`, valid until they are dropped. Returns the bytes they cover. */
  segments(length: number, views: Uint8Array[]): number {
    const wanted = Math.min(length, this.used);
    const { page, start, bytes } = this;
    let left = wanted;
    let at = this.head;
    while (left > 0) {
      let inChunk = (at - this.start) >>> 0;
      if (inChunk >= this.bytes) {
        if (!this.enterNext(at)) break;
        inChunk = 0;
      }
      const n = Math.min(this.bytes - inChunk, left);
      const from = this.page * PAGE + inChunk;
      views.push(this.u8.subarray(from, from + n));
      left -= n;
      at = (at + n) | 0;
    }
    this.leave(page, start, bytes);
    return wanted - left;
  }

  /** Forgets up to `length` bytes; returns how many. */
  drop(length: number): number {
    const n = Math.min(length, this.used);
    let head = this.head;
    let left = n;
    while (left > 0) {
      let inChunk = (head - this.start) >>> 0;
      if (inChunk >= this.bytes) {
        if (!this.enterNext(head)) break;
        inChunk = 0;
      }
      const step = Math.min(this.bytes - inChunk, left);
      head = (head + step) | 0;
      left -= step;
    }
    this.head = head;
    if (!this.lent) this.publish(head);
    return n - left;
  }

  dropAll(): number {
    return this.drop(this.used);
  }

  /** The event that announced data was taken; data that comes from now on raises another. Call before looking for data. */
  clearEvent(): void {
    Atomics.store(this.i32, this.word + FifoWord.hasEvent, 0);
  }

  /** After a dequeue: true when the producer asked to hear of it and is to be sent an event. */
  shouldNotify(): boolean {
    const flags = this.word + FifoWord.wantDequeueNotify;
    const wanted = Atomics.load(this.i32, flags);
    if (wanted === 0) return false;
    const used = (this.used + ((this.head - this.published) >>> 0)) >>> 0;
    let due = 0;
    if ((wanted & DequeueNotify.Room) !== 0) {
      const size = this.i32[this.word + FifoWord.size];
      const threshold = Math.min(this.i32[this.word + FifoWord.dequeueThreshold], size);
      if (size - used >= threshold) due |= DequeueNotify.Room;
    }
    if ((wanted & DequeueNotify.Empty) !== 0 && used === 0) due |= DequeueNotify.Empty;
    return due !== 0 && (Atomics.and(this.i32, flags, ~due) & due) !== 0;
  }

  /** Bytes that lie in one piece at the head; 0: none are readable. Where: see the `run` properties. */
  nextRun(): number {
    const available = this.used;
    if (available === 0) return 0;
    if ((this.head - this.start) >>> 0 >= this.bytes && !this.enterNext(this.head)) return 0;
    return Math.min(this.bytes - ((this.head - this.start) >>> 0), available);
  }

  /** Of the head, after `nextRun`: its place in the producer's arena. */
  get runOffset(): number {
    return (this.page - this.firstPage) * PAGE + ((this.head - this.start) >>> 0);
  }

  /** Of the chunk that holds the head: its place in the producer's arena, and its size. */
  get runChunkOffset(): number {
    return (this.page - this.firstPage) * PAGE;
  }

  get runChunkBytes(): number {
    return this.bytes;
  }

  /** Where the head is in the stream, as a free-running number. */
  get position(): number {
    return this.head;
  }

  /** Passes over `length` bytes of the run. */
  take(length: number): void {
    this.head = (this.head + length) | 0;
    if (!this.lent) this.publish(this.head);
  }

  /** Gives the room before `position` back. */
  publish(position: number): void {
    this.published = position;
    Atomics.store(this.i32, this.word + FifoWord.head, position);
  }

  /** Asks the producer to keep at most `bytes` in the FIFO. */
  setSize(bytes: number): void {
    Atomics.store(this.i32, this.word + FifoWord.size, bytes);
  }

  get size(): number {
    return this.i32[this.word + FifoWord.size];
  }

  /** Goes back to the chunk of the head after looking ahead. Before the first byte was read there is none yet. */
  private leave(page: number, start: number, bytes: number): void {
    this.page = page;
    this.start = start;
    this.bytes = bytes;
  }

  /** Follows the link to the chunk that starts at `position`. False, and corrupted, when there is no such chunk. */
  private enterNext(position: number): boolean {
    const link =
      this.page === 0 ? this.word + FifoWord.firstChunk : this.tableWord + this.page * CHUNK_ENTRY_WORDS + ChunkWord.next;
    const page = Atomics.load(this.i32, link);
    if (page < this.firstPage || page >= this.endPage) return this.fail();
    const entry = this.tableWord + page * CHUNK_ENTRY_WORDS;
    const start = this.i32[entry + ChunkWord.start];
    const order = this.i32[entry + ChunkWord.order];
    if (start !== position || order < 0 || order > MAX_CHUNK_ORDER || page + (1 << order) > this.endPage) return this.fail();
    this.page = page;
    this.start = start;
    this.bytes = PAGE << order;
    return true;
  }

  private fail(): false {
    this.corrupted = true;
    return false;
  }

  private copyOut(target: Uint8Array, at: number, from: number, length: number): void {
    const source = this.u8;
    if (length <= BYTE_LOOP_LIMIT) for (let i = 0; i < length; i++) target[at + i] = source[from + i];
    else target.set(source.subarray(from, from + length), at);
  }
}
