/**
 * The shared memory of one thread's stats: cells (numbers) and a directory of names.
 *
 * One thread writes a block, every thread may read it. Both parts are growable SharedArrayBuffers that reserve addresses, not
 * memory; a segment of cells is a typed array of fixed length, so that adding to a cell is one instruction sequence without a
 * length check against the growing buffer. A directory record is written completely before the directory's end is published, so
 * a reader never sees half a record. Records are never changed or removed.
 *
 * Cell 0 is never handed out: index 0 means "no cell".
 */

export const STAT_TYPES = ['counter', 'gauge', 'histogram', 'textReadout'] as const;
export type StatType = (typeof STAT_TYPES)[number];

/** What has to reach a thread for it to take part: plain data for `workerData`. One entry per thread, 0 is the main thread. */
export interface StatsMemory {
  readonly threads: readonly { readonly cells: SharedArrayBuffer; readonly names: SharedArrayBuffer }[];
}

export interface DirectoryRecord {
  readonly type: StatType;
  /** Index of the stat's first cell; for a text readout, the order of its writes. */
  readonly cell: number;
  /** Histograms: the unit's number. */
  readonly unit: number;
  readonly name: string;
  /** Text readouts: the value. */
  readonly text: string;
}

/** Cells per segment; a stat's cells lie in one segment. */
export const SEGMENT_CELLS = 8192;
const SEGMENT_BYTES = SEGMENT_CELLS * 8;
const SEGMENT_SHIFT = 13;
const MAX_CELL_BYTES = 256 << 20;
const NAMES_STEP = 64 << 10;
const MAX_NAMES_BYTES = 128 << 20;

/** Directory header, in 32-bit words: end of the published records; a sequence shared by all threads (block 0's is used). */
const END = 0;
const SEQUENCE = 1;
const HEADER_BYTES = 16;
/** Record, in 32-bit words: bytes of the record, type, first cell, unit, bytes of the name, bytes of the text. */
const RECORD_WORDS = 6;

export function createStatsMemory(threads: number): StatsMemory {
  return {
    threads: Array.from({ length: threads }, () => ({
      cells: new SharedArrayBuffer(SEGMENT_BYTES, { maxByteLength: MAX_CELL_BYTES }),
      names: new SharedArrayBuffer(NAMES_STEP, { maxByteLength: MAX_NAMES_BYTES }),
    })),
  };
}

/** Numbers shared by all threads, each greater than those before. */
export function nextSequence(memory: StatsMemory): number {
  return Atomics.add(new Int32Array(memory.threads[0].names, 0, HEADER_BYTES / 4), SEQUENCE, 1) + 1;
}

export class SharedBlock {
  private readonly cellBuffer: SharedArrayBuffer;
  private readonly nameBuffer: SharedArrayBuffer;
  /** Views of the cells, one per segment. */
  readonly segments: Float64Array[] = [];
  private words: Int32Array;
  private bytes: Buffer;
  private nextCell = 1;
  private readEnd = HEADER_BYTES;

  constructor(memory: StatsMemory, thread: number) {
    this.cellBuffer = memory.threads[thread].cells;
    this.nameBuffer = memory.threads[thread].names;
    this.words = new Int32Array(0);
    this.bytes = Buffer.alloc(0);
    this.mapNames();
    this.mapCells();
  }

  /** The segment that holds `cell`. */
  segmentOf(cell: number): Float64Array {
    const segment = cell >>> SEGMENT_SHIFT;
    if (segment >= this.segments.length) this.mapCells();
    return this.segments[segment];
  }

  /** Owner only: `count` adjacent cells, zero. */
  allocate(count: number): number {
    let cell = this.nextCell;
    if ((cell & (SEGMENT_CELLS - 1)) + count > SEGMENT_CELLS) cell = ((cell >>> SEGMENT_SHIFT) + 1) << SEGMENT_SHIFT;
    this.nextCell = cell + count;
    const needed = ((this.nextCell + SEGMENT_CELLS - 1) >>> SEGMENT_SHIFT) * SEGMENT_BYTES;
    if (needed > this.cellBuffer.byteLength) this.cellBuffer.grow(needed);
    return cell;
  }

  /** Owner only: publishes a record to all threads. */
  publish(type: StatType, cell: number, unit: number, name: string, text = ''): void {
    const nameBytes = Buffer.byteLength(name);
    const textBytes = Buffer.byteLength(text);
    const length = RECORD_WORDS * 4 + ((nameBytes + textBytes + 3) & ~3);
    const start = Math.max(this.words[END], HEADER_BYTES);
    if (start + length > this.bytes.length) {
      this.nameBuffer.grow(Math.ceil((start + length) / NAMES_STEP) * NAMES_STEP);
      this.mapNames();
    }
    const w = start >> 2;
    this.words[w] = length;
    this.words[w + 1] = STAT_TYPES.indexOf(type);
    this.words[w + 2] = cell;
    this.words[w + 3] = unit;
    this.words[w + 4] = nameBytes;
    this.words[w + 5] = textBytes;
    const at = start + RECORD_WORDS * 4;
    this.bytes.write(name, at, 'utf8');
    this.bytes.write(text, at + nameBytes, 'utf8');
    Atomics.store(this.words, END, start + length);
  }

  /** Visits the records that were published since the last call. */
  readNew(visit: (record: DirectoryRecord) => void): void {
    const end = Atomics.load(this.words, END);
    if (end <= this.readEnd) return;
    if (end > this.bytes.length) this.mapNames();
    while (this.readEnd < end) {
      const w = this.readEnd >> 2;
      const nameStart = this.readEnd + RECORD_WORDS * 4;
      const nameEnd = nameStart + this.words[w + 4];
      this.readEnd += this.words[w];
      visit({
        type: STAT_TYPES[this.words[w + 1]],
        cell: this.words[w + 2],
        unit: this.words[w + 3],
        name: this.bytes.toString('utf8', nameStart, nameEnd),
        text: this.bytes.toString('utf8', nameEnd, nameEnd + this.words[w + 5]),
      });
    }
  }

  private mapNames(): void {
    const length = this.nameBuffer.byteLength;
    this.words = new Int32Array(this.nameBuffer, 0, length >> 2);
    this.bytes = Buffer.from(this.nameBuffer, 0, length);
  }

  private mapCells(): void {
    const count = this.cellBuffer.byteLength / SEGMENT_BYTES;
    while (this.segments.length < count) {
      this.segments.push(new Float64Array(this.cellBuffer, this.segments.length * SEGMENT_BYTES, SEGMENT_CELLS));
    }
  }
}
