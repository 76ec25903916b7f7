/**
 * The writing end of a FIFO: a byte stream in chunks that this side allocates from its own arena, grows on demand and takes back once
 * the other side has read past them. One producer, one consumer, no locks: the producer owns `tail`, the consumer owns `head`, both
 * free-running 32-bit counters, and exactly `size` bytes fit.
 *
 * Besides the plain write: reserve / commit (zero-copy write) and `writeAt` for bytes that come out of order, merged into ranges and
 * delivered once the gap before them fills (RFC 9293 3.10.7.4, as a TCP receiver needs).
 *
 * In an arena that is crowded, and only there, a FIFO takes less than its peer has asked for.
 *
 * The only words read from the other side are `head`, the wanted size and the notification flags. A head that is not between its
 * previous value and the tail marks the FIFO `corrupted`: it then accepts nothing any more.
 */
import type { ChunkArena } from './chunk_arena.ts';
import { CHUNK_ENTRY_WORDS, ChunkWord, DequeueNotify, FifoWord, MAX_CHUNK_ORDER, PAGE } from './layout.ts';

/** Largest chunk that growing asks for: the size whose reuse stays in the second-level cache. */
const MAX_GROW_BYTES = 64 * 1024;
/**
 * The same for a stream that fills its FIFO, which goes round through all of its memory anyway: each change of chunks costs the reader two
 * cache misses. (64 KB writes: 0.81 of a C ring's rate with chunks of 64 KB, 0.86 with these, 0.88 with one chunk for all.)
 */
const MAX_STREAM_GROW_BYTES = 256 * 1024;
const BYTE_LOOP_LIMIT = 32;
/**
 * What a FIFO makes do with in a crowded arena: enough for a reader's turn, and so little that many busy FIFOs together stay in the cache.
 * (64 connections with bodies of 1 MB: 1.15 to 1.4 times the CPU time with 1 MB each.)
 */
const CROWDED_BYTES = 256 * 1024;
export const MAX_FIFO_SIZE = 2 ** 30;
export const MIN_FIFO_SIZE = PAGE;

/** Bytes [start, end) beyond the tail, as free-running positions. */
export interface OutOfOrderRange {
  start: number;
  end: number;
}

export class FifoProducer {
  corrupted = false;
  /** Ranges received ahead of the tail, ascending, never touching each other. */
  readonly outOfOrder: OutOfOrderRange[] = [];
  /** The range that the last `writeAt` went into or was merged to; -1 when there is none (what a SACK reports first). */
  newestRange = -1;
  private readonly arena: ChunkArena;
  private readonly i32: Int32Array<ArrayBuffer>;
  private readonly u8: Uint8Array<ArrayBuffer>;
  private readonly tableWord: number;
  private readonly word: number;
  private readonly maxSize: number;
  private tail = 0;
  private head = 0;
  /** What may be in it now: what the peer asked for or, in a crowded arena, less. */
  private size: number;
  private squeezed = false;
  /** Since the last chunk was added the writer has found it full. */
  private filled = false;
  private promised: boolean;
  /** Chunks in stream order; `tailChunk` is the one that holds the tail. */
  private readonly chunkPage: number[] = [];
  private readonly chunkStart: number[] = [];
  private readonly chunkOrder: number[] = [];
  private tailChunk = 0;
  /** Of the chunk that holds the tail, for writes that stay in it: where it begins in the stream and in memory, and its size. */
  private tailStart = 0;
  private tailBase = 0;
  private tailBytes = 0;

  /** `word`: index of the FIFO header. The header is zero except for its size, which is clamped to `maxSize`. */
  constructor(arena: ChunkArena, word: number, maxSize = MAX_FIFO_SIZE) {
    this.arena = arena;
    this.i32 = arena.segment.i32;
    this.u8 = arena.segment.u8;
    const { layout } = arena.segment;
    this.tableWord = (layout.tableOffset >> 2) - layout.arenaFirstPage * CHUNK_ENTRY_WORDS;
    this.word = word;
    this.maxSize = Math.min(maxSize, MAX_FIFO_SIZE);
    this.size = 0;
    this.promised = arena.reserve();
    this.refreshSize();
  }

  /** Bytes written and not yet read by the peer. */
  get used(): number {
    this.loadHead();
    return (this.tail - this.head) >>> 0;
  }

  /** Bytes written since the start, modulo 2^32 (signed). */
  get position(): number {
    return this.tail;
  }

  /** Bytes that fit now. */
  get free(): number {
    const free = this.size - this.used;
    return this.corrupted || free < 0 ? 0 : free;
  }

  get capacity(): number {
    return this.size;
  }

  /** The peer may have asked for another capacity; done when a write finds no room. */
  refreshSize(): void {
    const wanted = Atomics.load(this.i32, this.word + FifoWord.size);
    const size = Math.min(Math.max(wanted, MIN_FIFO_SIZE), this.maxSize);
    this.squeezed = this.arena.crowded;
    this.size = this.squeezed && size > CROWDED_BYTES ? CROWDED_BYTES : size;
  }

  /**
   * Writes up to `length` bytes of `source` and publishes them. Returns how many; fewer (also 0) when the FIFO is full or the
   * segment has no memory left. What arrived out of order behind them is published too.
   */
  write(source: Uint8Array, offset: number, length: number): number {
    let room = this.size - ((this.tail - this.head) >>> 0);
    // The head is looked at only when room runs out: a busy FIFO then cycles through its whole size, so that the writer seldom
    // touches lines that the reader's cache still holds (27 against 18 Gbit/s where that is slow, 69 against 64 where it is fast).
    if (room < length) {
      this.loadHead();
      this.refreshSize();
      room = this.size - ((this.tail - this.head) >>> 0);
      if (room < length) {
        this.filled = true;
        if (this.corrupted || room <= 0) return 0;
        length = room;
      }
    }
    const inChunk = (this.tail - this.tailStart) >>> 0;
    if (inChunk + length <= this.tailBytes && this.outOfOrder.length === 0) {
      copy(this.u8, this.tailBase + inChunk, source, offset, length);
      this.tail = (this.tail + length) | 0;
      Atomics.store(this.i32, this.word + FifoWord.tail, this.tail);
      return length;
    }
    if (this.squeezed !== this.arena.crowded) {
      this.refreshSize();
      room = this.size - this.used;
      if (this.corrupted || room <= 0) return 0;
      if (length > room) length = room;
    }
    const written = this.copyIn(this.tail, source, offset, length);
    if (written > 0) this.publish(written);
    return written;
  }

  /** Writes all of `head` and `body` or nothing: a datagram and its header become visible together. */
  writePair(head: Uint8Array, body: Uint8Array, offset: number, length: number): boolean {
    if (this.free < head.length + length || !this.provision(head.length + length)) return false;
    this.copyIn(this.tail, head, 0, head.length);
    this.copyIn((this.tail + head.length) | 0, body, offset, length);
    this.publish(head.length + length);
    return true;
  }

  /**
   * Places `length` bytes `ahead` bytes after the tail without publishing them (ahead 0 is `write`). Returns the bytes taken: all or,
   * when they do not fit, none.
   */
  writeAt(ahead: number, source: Uint8Array, offset: number, length: number): number {
    if (ahead === 0) return this.write(source, offset, length);
    if (ahead < 0 || length <= 0 || this.free < ahead + length || !this.provision(ahead + length)) return 0;
    const start = (this.tail + ahead) | 0;
    this.copyIn(start, source, offset, length);
    this.insertRange(start, (start + length) | 0);
    return length;
  }

  /**
   * Places bytes `ahead` of the tail for a caller that keeps track of ranges itself and publishes with `commit`. False when they do not
   * fit or there is no memory.
   */
  place(ahead: number, source: Uint8Array, offset: number, length: number): boolean {
    if (this.size - ((this.tail - this.head) >>> 0) < ahead + length && this.free < ahead + length) return false;
    if (!this.provision(ahead + length)) return false;
    this.copyIn((this.tail + ahead) | 0, source, offset, length);
    return true;
  }

  /**
   * Zero-copy write: up to `length` bytes of room as views pushed onto `views`; fill them and `commit`. Returns the bytes offered.
   * The views are void after the next call of any method.
   */
  reserve(length: number, views: Uint8Array[]): number {
    const room = Math.min(length, this.free);
    if (room <= 0) return 0;
    this.provision(room);
    let at = this.tail;
    let left = room;
    for (let i = this.tailChunk; i < this.chunkPage.length && left > 0; i++) {
      const inChunk = (at - this.chunkStart[i]) >>> 0;
      const n = Math.min((PAGE << this.chunkOrder[i]) - inChunk, left);
      if (n <= 0) continue;
      const from = this.chunkPage[i] * PAGE + inChunk;
      views.push(this.u8.subarray(from, from + n));
      at = (at + n) | 0;
      left -= n;
    }
    return room - left;
  }

  /** Publishes the first `length` bytes of what `reserve` offered or `place` has filled. */
  commit(length: number): void {
    if (length > 0) this.publish(length);
  }

  /** Marks that the peer has something to read; true when it must be sent an event because none is on its way. */
  raiseEvent(): boolean {
    const at = this.word + FifoWord.hasEvent;
    return Atomics.load(this.i32, at) === 0 && Atomics.exchange(this.i32, at, 1) === 0;
  }

  /**
   * Asks to be told when `threshold` bytes are free (`DequeueNotify.Room`) or all is read (`.Empty`). Returns true when that is
   * already so: then nothing was asked.
   */
  wantDequeueNotify(kind: number, threshold = 1): boolean {
    const flags = this.word + FifoWord.wantDequeueNotify;
    // The peer counts from what it asked for.
    const unused = Math.max(0, this.i32[this.word + FifoWord.size] - this.size);
    this.i32[this.word + FifoWord.dequeueThreshold] = threshold + unused;
    Atomics.or(this.i32, flags, kind);
    this.loadHead();
    const used = (this.tail - this.head) >>> 0;
    const satisfied = kind === DequeueNotify.Room ? this.size - used >= Math.min(threshold, this.size) : used === 0;
    if (!satisfied && !this.corrupted) return false;
    Atomics.and(this.i32, flags, ~kind);
    return true;
  }

  /** Takes back the chunks that the peer has read. Called by writes; call it when nothing will be written for a while. */
  reclaim(): void {
    this.loadHead();
  }

  /** Gives up all memory: the session is over on both sides. */
  release(): void {
    for (let i = 0; i < this.chunkPage.length; i++) this.arena.release(this.chunkPage[i], this.chunkOrder[i]);
    this.chunkPage.length = this.chunkStart.length = this.chunkOrder.length = 0;
    if (this.promised) this.arena.unreserve();
    this.promised = false;
    this.tailBytes = 0;
    this.corrupted = true;
  }

  private publish(length: number): void {
    let tail = (this.tail + length) | 0;
    if (this.outOfOrder.length > 0) tail = this.collect(tail);
    this.tail = tail;
    while (this.tailChunk + 1 < this.chunkPage.length && ((tail - this.chunkStart[this.tailChunk + 1]) | 0) >= 0)
      this.tailChunk++;
    this.tailStart = this.chunkStart[this.tailChunk];
    this.tailBase = this.chunkPage[this.tailChunk] * PAGE;
    this.tailBytes = PAGE << this.chunkOrder[this.tailChunk];
    Atomics.store(this.i32, this.word + FifoWord.tail, tail);
  }

  /** Copies to stream position `at`, growing as needed; returns the bytes for which there was memory. */
  private copyIn(at: number, source: Uint8Array, offset: number, length: number): number {
    let done = 0;
    let i = this.tailChunk;
    while (done < length) {
      while (i < this.chunkPage.length && (at - this.chunkStart[i]) >>> 0 >= PAGE << this.chunkOrder[i]) i++;
      if (i >= this.chunkPage.length && !this.grow(length - done)) break;
      const inChunk = (at - this.chunkStart[i]) >>> 0;
      const n = Math.min((PAGE << this.chunkOrder[i]) - inChunk, length - done);
      const to = this.chunkPage[i] * PAGE + inChunk;
      copy(this.u8, to, source, offset + done, n);
      done += n;
      at = (at + n) | 0;
    }
    return done;
  }

  /** Makes chunks for the `length` bytes after the tail. */
  private provision(length: number): boolean {
    const last = this.chunkPage.length - 1;
    let end = last < 0 ? this.tail : (this.chunkStart[last] + (PAGE << this.chunkOrder[last])) | 0;
    let missing = (this.tail + length - end) | 0;
    while (missing > 0) {
      if (!this.grow(missing)) return false;
      const i = this.chunkPage.length - 1;
      end = (this.chunkStart[i] + (PAGE << this.chunkOrder[i])) | 0;
      missing = (this.tail + length - end) | 0;
    }
    return true;
  }

  /** Appends a chunk for `need` more bytes: at least 1/8 of the size once there is a first one, at most 64 KB; more for a stream. */
  private grow(need: number): boolean {
    const count = this.chunkPage.length;
    const wanted = count === 0 ? need : Math.max(need, this.size >> 3);
    const stream = this.filled ? Math.min(this.size >> 2, MAX_STREAM_GROW_BYTES) : 0;
    const bytes = Math.max(Math.min(wanted, MAX_GROW_BYTES), stream);
    this.filled = false;
    let order = bytes <= PAGE ? 0 : 32 - Math.clz32((bytes - 1) >> 12);
    if (order > MAX_CHUNK_ORDER) order = MAX_CHUNK_ORDER;
    if (this.promised) {
      this.arena.unreserve();
      this.promised = false;
    }
    let page = 0;
    while (order >= 0 && (page = this.arena.alloc(order)) === 0) order--;
    if (page === 0) return false;
    const start = count === 0 ? this.tail : (this.chunkStart[count - 1] + (PAGE << this.chunkOrder[count - 1])) | 0;
    const entry = this.tableWord + page * CHUNK_ENTRY_WORDS;
    this.i32[entry + ChunkWord.next] = 0;
    this.i32[entry + ChunkWord.start] = start;
    this.i32[entry + ChunkWord.order] = order;
    if (count === 0) this.i32[this.word + FifoWord.firstChunk] = page;
    else this.i32[this.tableWord + this.chunkPage[count - 1] * CHUNK_ENTRY_WORDS + ChunkWord.next] = page;
    this.chunkPage.push(page);
    this.chunkStart.push(start);
    this.chunkOrder.push(order);
    return true;
  }

  private loadHead(): void {
    const head = Atomics.load(this.i32, this.word + FifoWord.head);
    if (head === this.head) return;
    if ((head - this.head) >>> 0 > (this.tail - this.head) >>> 0) {
      this.corrupted = true;
      return;
    }
    this.head = head;
    // A chunk is free only when the consumer is inside the next one: until then it may still follow this one's link.
    let gone = 0;
    while (gone < this.tailChunk && ((head - this.chunkStart[gone + 1]) | 0) > 0) {
      this.arena.release(this.chunkPage[gone], this.chunkOrder[gone]);
      gone++;
    }
    if (gone === 0) return;
    this.tailChunk -= gone;
    if (gone === 1) {
      this.chunkPage.shift();
      this.chunkStart.shift();
      this.chunkOrder.shift();
    } else {
      this.chunkPage.splice(0, gone);
      this.chunkStart.splice(0, gone);
      this.chunkOrder.splice(0, gone);
    }
  }

  /** Adds a range, merging it with the ones it touches. */
  private insertRange(start: number, end: number): void {
    const list = this.outOfOrder;
    let i = 0;
    while (i < list.length && ((list[i].end - start) | 0) < 0) i++;
    let j = i;
    while (j < list.length && ((list[j].start - end) | 0) <= 0) {
      if (((list[j].start - start) | 0) < 0) start = list[j].start;
      if (((list[j].end - end) | 0) > 0) end = list[j].end;
      j++;
    }
    list.splice(i, j - i, { start, end });
    this.newestRange = i;
  }

  /** The tail after the ranges that `tail` reaches are added to it. */
  private collect(tail: number): number {
    const list = this.outOfOrder;
    while (list.length > 0 && ((list[0].start - tail) | 0) <= 0) {
      if (((list[0].end - tail) | 0) > 0) tail = list[0].end;
      list.shift();
      this.newestRange--;
    }
    if (this.newestRange < 0) this.newestRange = list.length > 0 ? 0 : -1;
    return tail;
  }
}

function copy(target: Uint8Array, at: number, source: Uint8Array, offset: number, length: number): void {
  if (length <= BYTE_LOOP_LIMIT) for (let i = 0; i < length; i++) target[at + i] = source[offset + i];
  else if (offset === 0 && length === source.length) target.set(source, at);
  else target.set(source.subarray(offset, offset + length), at);
}
