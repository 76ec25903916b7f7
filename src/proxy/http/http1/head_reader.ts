/**
 * Gathers the bytes of a head (or trailer section) for the HeadParser.
 *
 * The usual case, a head that lies whole in the first slice, is parsed where it is. An incomplete one moves into a block of its own,
 * one larger than a block into a private array whose entries become text. Every byte is looked at a bounded number of times however
 * it is cut into reads: lines are parsed once they are complete, and the search for the end of a line goes on where it stopped.
 */
import { BLOCK_SIZE, type Slab } from '../../../core/buffer/slab.ts';
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { HeaderMap } from '../header_map.ts';
import { LF } from './bytes.ts';
import { COMPLETE, FAILED, type HeadParser, INCOMPLETE, type MessageKind } from './head_parser.ts';
import { Details } from './settings.ts';

/** A start that cannot be a message is refused within these bytes, without waiting for the end of its line. */
const EARLY_BYTES = 32;

export class HeadReader {
  private readonly parser: HeadParser;
  private readonly slab: Slab;
  private readonly limit: number;
  private kind: MessageKind = 0;
  /** Offset of the private block, -1 when there is none. */
  private block = -1;
  private large: Uint8Array | null = null;
  private used = 0;
  /** Bytes of the head that was read last. */
  size = 0;

  /** `limitBytes`: heads that are longer are refused with 431. */
  constructor(parser: HeadParser, slab: Slab, limitBytes: number) {
    this.parser = parser;
    this.slab = slab;
    this.limit = limitBytes;
  }

  /** True when the beginning of a head was taken out of the buffer already. */
  get partial(): boolean {
    return this.used > 0;
  }

  /**
   * Takes a head from `data` (which is not empty) and fills `map`. INCOMPLETE: everything was taken, call again with more and the same map;
   * COMPLETE: `data` begins with what follows; FAILED: see the parser.
   */
  read(data: SliceBuffer, kind: MessageKind, map: HeaderMap): number {
    if (this.used === 0 && !this.parser.needsWholeLines) {
      const start = data.offsetAt(0);
      const available = Math.min(data.lengthAt(0), this.limit + 1);
      this.parser.begin(kind, map, this.slab.u8, start, true);
      const result = this.parser.run(start + available);
      if (result === COMPLETE) {
        this.size = this.parser.at - start;
        if (this.size > this.limit) return this.tooLarge();
        map.holdBlock(start);
        data.drain(this.size);
        return COMPLETE;
      }
      if (result === FAILED) return FAILED;
      map.release();
    }
    return this.gather(data, kind, map);
  }

  /** Gives the private block back: after COMPLETE it lives on in the map, so this is for connections that end. */
  release(): void {
    if (this.block >= 0) this.slab.release(this.block);
    this.block = -1;
    this.large = null;
    this.used = 0;
  }

  private gather(data: SliceBuffer, kind: MessageKind, map: HeaderMap): number {
    this.kind = kind;
    while (data.length > 0) {
      const before = this.used;
      if (before > this.limit) return this.tooLarge();
      const count = this.take(data, map);
      const result = this.parseNew(before);
      if (result === COMPLETE) {
        this.size = this.parser.at - this.start();
        data.drain(this.size - before);
        if (this.block >= 0) map.holdBlock(this.block);
        this.release();
        return this.size > this.limit ? this.tooLarge() : COMPLETE;
      }
      if (result === FAILED) {
        this.release();
        return FAILED;
      }
      data.drain(count);
    }
    return this.used > this.limit ? this.tooLarge() : INCOMPLETE;
  }

  private start(): number {
    return Math.max(this.block, 0);
  }

  /** Copies bytes of the first slice (which stay in `data`) behind those that are here; how many. */
  private take(data: SliceBuffer, map: HeaderMap): number {
    const from = data.offsetAt(0);
    const count = Math.min(data.lengthAt(0), this.limit + 1 - this.used);
    if (this.used === 0) {
      this.block = this.slab.allocate();
      this.parser.begin(this.kind, map, this.slab.u8, this.block, true);
    } else if (this.block >= 0 && this.used + count > BLOCK_SIZE) this.enlarge(map);
    if (this.block >= 0) this.slab.copy(this.block + this.used, from, count);
    else this.largeWithRoom(this.used + count).set(this.slab.u8.subarray(from, from + count), this.used);
    this.used += count;
    return count;
  }

  /** Moves to an array outside the slab and parses again from the start: once per head. */
  private enlarge(map: HeaderMap): void {
    const large = new Uint8Array(4 * BLOCK_SIZE);
    large.set(this.slab.u8.subarray(this.block, this.block + this.used));
    this.slab.release(this.block);
    this.block = -1;
    this.large = large;
    map.release();
    this.parser.restart(map, large);
  }

  private largeWithRoom(length: number): Uint8Array {
    let large = this.large as Uint8Array;
    if (length > large.length) {
      const grown = new Uint8Array(Math.max(length, large.length * 2));
      grown.set(large);
      large = this.large = grown;
      this.parser.moved(grown);
    }
    return large;
  }

  /** Parses when a line became complete (or the message just began). `before`: bytes that were looked at already. */
  private parseNew(before: number): number {
    const u8 = this.parser.u8;
    const start = this.start();
    let end = start + this.used;
    let lastLf = end - 1;
    while (lastLf >= start + before && u8[lastLf] !== LF) lastLf--;
    if (lastLf < start + before && (before >= EARLY_BYTES || this.parser.needsWholeLines)) return INCOMPLETE;
    if (this.parser.needsWholeLines) end = lastLf + 1;
    return this.parser.run(end);
  }

  private tooLarge(): number {
    this.release();
    return this.parser.fail(431, Details.HeadersTooLarge);
  }
}
