/**
 * Where things are in a shared segment. Numbers are bytes unless a name ends in `Word` (index of a 32-bit word). A change of meaning
 * here is a new LAYOUT_VERSION: both sides refuse a segment of another version.
 *
 *     header page | ring area | session slots (two FIFO headers each) | chunk table | pages of the arena of side 0, then of side 1
 */

export const SEGMENT_MAGIC = 0x534c4356;
export const LAYOUT_VERSION = 2;
export const PAGE = 4096;
export const CACHE_LINE = 64;

/** What a segment is for. */
export const SegmentKind = { MessageQueue: 1, Fifo: 2 } as const;

/** Words of the header page. Written once by the creator, except where noted. */
export const HeaderWord = {
  magic: 0,
  layoutVersion: 1,
  /** Changes with every start of the stack. */
  generation: 2,
  kind: 3,
  /** Segment size in pages. */
  pages: 4,
  slots: 5,
  /** Byte offsets of the areas. */
  ringOffset: 6,
  slotOffset: 7,
  tableOffset: 8,
  /** First page and number of pages of each side's arena. */
  arenaFirstPage: 9,
  arenaPages: 10,
  ioRingCapacity: 11,
  controlRingCapacity: 12,
  /** CLOCK_MONOTONIC in seconds when the creator last said that it lives: about once a second. */
  heartbeat: 16,
  /** Pages in use by side 0 and side 1: each written by its side, advisory. */
  usedPages0: 32,
  usedPages1: 48,
  /** What the arena of side 0 and side 1 knows, where the processes of a program share it (native/ldp): see ArenaWord. */
  arena0: 64,
  arena1: 80,
} as const;

/** An arena that several processes use: pages that are free are chained through the chunk table. */
export const ArenaWord = {
  /** Process that is in it; 0: none. */
  lock: 0,
  /** The first page that was never used; 0: all. */
  nextPage: 1,
  freeSmall: 2,
  freeLarge: 3,
} as const;

/** A ring: producer line, consumer line, then elements. */
export const RingWord = {
  tail: 0,
  head: 16,
  /** Set by a producer that found the ring full, cleared by the consumer when there is room. */
  wantRoom: 17,
  elements: 32,
} as const;
export const RING_HEADER_BYTES = RingWord.elements * 4;

/** In front of the two rings of one direction: set by a consumer that wants its doorbell rung at the next message. */
export const QueueWord = { armed: 0, rings: 16 } as const;

export const CONTROL_ELEMENT_WORDS = 16;
export const IO_ELEMENT_WORDS = 1;

/** A FIFO header: producer line, consumer line. */
export const FifoWord = {
  tail: 0,
  /** 1 from the producer's event until the consumer has taken it. */
  hasEvent: 1,
  /** Page of the first chunk, 0 before the first byte. */
  firstChunk: 2,
  /** For a producer that hands the FIFO on to another process: the first chunk that it has not taken back. */
  oldestChunk: 3,
  /** Which worker of this side may use the FIFOs of the slot (in the one that it produces): its index, and OWNER_BUSY while it does. */
  owner: 4,
  head: 16,
  /** Bits of DequeueNotify that the producer wants to be told of. */
  wantDequeueNotify: 17,
  /** Free bytes needed before `DequeueNotify.Room` fires. */
  dequeueThreshold: 18,
  /** Capacity in bytes; the consumer may change it, the producer honours it. */
  size: 19,
  /** For a consumer that hands the FIFO on: the chunk that holds the head. */
  headChunk: 20,
} as const;
export const OWNER_BUSY = 0x4000_0000;
export const FIFO_HEADER_BYTES = 128;
export const SLOT_BYTES = 2 * FIFO_HEADER_BYTES;

/** One entry per page of the segment; only the first page of a chunk has one that means something. */
export const ChunkWord = { next: 0, start: 1, order: 2 } as const;
export const CHUNK_ENTRY_WORDS = 4;

/** Chunks are 2^order pages: 4 KB to 4 MB. */
export const MAX_CHUNK_ORDER = 10;

/** Reasons for which a producer wants to hear of dequeues. */
export const DequeueNotify = { Room: 1, Empty: 2 } as const;

export interface SegmentShape {
  kind: number;
  slots: number;
  /** Pages of each of the two arenas. */
  arenaPages: number;
  ioRingCapacity: number;
  controlRingCapacity: number;
}

export interface SegmentLayout extends SegmentShape {
  ringOffset: number;
  slotOffset: number;
  tableOffset: number;
  arenaFirstPage: number;
  pages: number;
}

/** Bytes of one direction's rings. */
export function queueBytes(shape: SegmentShape): number {
  const io = shape.ioRingCapacity === 0 ? 0 : RING_HEADER_BYTES + shape.ioRingCapacity * IO_ELEMENT_WORDS * 4;
  const control = shape.controlRingCapacity === 0 ? 0 : RING_HEADER_BYTES + shape.controlRingCapacity * CONTROL_ELEMENT_WORDS * 4;
  return QueueWord.rings * 4 + roundUp(io, CACHE_LINE) + roundUp(control, CACHE_LINE);
}

/** Places the areas of a segment. */
export function layoutOf(shape: SegmentShape): SegmentLayout {
  const ringOffset = PAGE;
  const slotOffset = roundUp(ringOffset + 2 * queueBytes(shape), PAGE);
  const tableOffset = slotOffset + roundUp(shape.slots * SLOT_BYTES, PAGE);
  const arenas = 2 * shape.arenaPages;
  // The table covers the arenas only, so it is indexed by page - arenaFirstPage.
  const arenaFirstPage = (tableOffset + roundUp(arenas * CHUNK_ENTRY_WORDS * 4, PAGE)) / PAGE;
  return { ...shape, ringOffset, slotOffset, tableOffset, arenaFirstPage, pages: arenaFirstPage + arenas };
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
