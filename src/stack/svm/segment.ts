/**
 * A shared segment: a sealed memfd with a header, mapped by the stack and by one or two application workers.
 *
 * The creator (always the stack) decides the layout; who attaches recomputes it from the shape in the header and refuses a segment
 * whose numbers do not agree with each other, with the size of the file, or with this build's LAYOUT_VERSION. After that the header
 * is never read again except for the heartbeat and the advisory usage words.
 */
import { createSealedMemfd, SharedMemory, sealedSize } from '../../core/sys/memfd.ts';
import { closeDescriptor } from '../../core/sys/unix_socket.ts';
import {
  HeaderWord,
  IO_ELEMENT_WORDS,
  LAYOUT_VERSION,
  layoutOf,
  PAGE,
  QueueWord,
  queueBytes,
  RING_HEADER_BYTES,
  roundUp,
  SEGMENT_MAGIC,
  type SegmentLayout,
  type SegmentShape,
  SLOT_BYTES,
} from './layout.ts';

const MAX_SEGMENT_BYTES = 2 ** 31;

export class Segment {
  readonly layout: SegmentLayout;
  readonly generation: number;
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly bytes: number;
  private readonly shared: SharedMemory;

  private constructor(shared: SharedMemory, layout: SegmentLayout, generation: number) {
    this.shared = shared;
    this.layout = layout;
    this.generation = generation;
    this.u8 = shared.memory.u8;
    this.i32 = shared.memory.i32;
    this.bytes = layout.pages * PAGE;
  }

  /** Creates and maps a segment. The caller owns the returned descriptor. Throws SysError when memory or descriptors run out. */
  static create(name: string, shape: SegmentShape, generation: number): { segment: Segment; fd: number } {
    const layout = layoutOf(shape);
    const bytes = layout.pages * PAGE;
    if (bytes > MAX_SEGMENT_BYTES) throw new RangeError(`segment of ${bytes} bytes is too large`);
    const fd = createSealedMemfd(name, bytes);
    try {
      const shared = SharedMemory.map(fd, bytes);
      writeHeader(shared.memory.i32, layout, generation);
      const segment = new Segment(shared, layout, generation);
      segment.beat();
      return { segment, fd };
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
  }

  /** Maps a segment received from someone else, or says why it is not acceptable. The descriptor stays the caller's. */
  static attach(fd: number): Segment | string {
    const size = sealedSize(fd);
    if (typeof size === 'string') return size;
    if (size < 2 * PAGE || size > MAX_SEGMENT_BYTES || size % PAGE !== 0)
      return `segment has an impossible size of ${size} bytes`;
    const shared = SharedMemory.map(fd, size);
    const header = shared.memory.i32.slice(0, 16);
    const layout = checkedLayout(header, size);
    if (typeof layout === 'string') {
      shared.retire();
      return layout;
    }
    return new Segment(shared, layout, header[HeaderWord.generation]);
  }

  /** Word index of the FIFO header of `direction` (0: side 0 produces) in `slot`. */
  fifoWord(slot: number, direction: number): number {
    return (this.layout.slotOffset + slot * SLOT_BYTES + direction * (SLOT_BYTES / 2)) >> 2;
  }

  /** Word index of the message queue that side `direction` produces. */
  queueWord(direction: number): number {
    return (this.layout.ringOffset + direction * queueBytes(this.layout)) >> 2;
  }

  /** The creator lives. */
  beat(): void {
    Atomics.store(this.i32, HeaderWord.heartbeat, monotonicSeconds());
  }

  get heartbeat(): number {
    return Atomics.load(this.i32, HeaderWord.heartbeat);
  }

  /** Seconds since the creator's last heartbeat. */
  get silentSeconds(): number {
    return monotonicSeconds() - this.heartbeat;
  }

  /** Pages side `side` says it uses, at most what it can have. */
  usedPages(side: number): number {
    const word = side === 0 ? HeaderWord.usedPages0 : HeaderWord.usedPages1;
    return Math.min(Math.max(this.i32[word], 0), this.layout.arenaPages);
  }

  setUsedPages(side: number, pages: number): void {
    this.i32[side === 0 ? HeaderWord.usedPages0 : HeaderWord.usedPages1] = pages;
  }

  /** Gives whole pages back to the kernel. */
  punchPages(firstPage: number, pages: number): void {
    this.shared.punch(firstPage * PAGE, pages * PAGE);
  }

  /** Gives the pages of the whole segment back to the kernel, also for whoever still has it mapped. */
  punchAll(): void {
    this.shared.punch(0, this.bytes);
  }

  /** Lets go of the memory; views that are left see private zeroes. */
  close(): void {
    this.shared.retire();
  }
}

/** Word indices of the parts of one direction's message queue. */
export function queueParts(segment: Segment, direction: number): { armed: number; io: number; control: number } {
  const base = segment.queueWord(direction);
  const { ioRingCapacity } = segment.layout;
  const ioBytes = ioRingCapacity === 0 ? 0 : roundUp(RING_HEADER_BYTES + ioRingCapacity * IO_ELEMENT_WORDS * 4, 64);
  const io = base + QueueWord.rings;
  return { armed: base + QueueWord.armed, io, control: io + (ioBytes >> 2) };
}

function writeHeader(words: Int32Array, layout: SegmentLayout, generation: number): void {
  words[HeaderWord.layoutVersion] = LAYOUT_VERSION;
  words[HeaderWord.generation] = generation;
  words[HeaderWord.kind] = layout.kind;
  words[HeaderWord.pages] = layout.pages;
  words[HeaderWord.slots] = layout.slots;
  words[HeaderWord.ringOffset] = layout.ringOffset;
  words[HeaderWord.slotOffset] = layout.slotOffset;
  words[HeaderWord.tableOffset] = layout.tableOffset;
  words[HeaderWord.arenaFirstPage] = layout.arenaFirstPage;
  words[HeaderWord.arenaPages] = layout.arenaPages;
  words[HeaderWord.ioRingCapacity] = layout.ioRingCapacity;
  words[HeaderWord.controlRingCapacity] = layout.controlRingCapacity;
  Atomics.store(words, HeaderWord.magic, SEGMENT_MAGIC);
}

function checkedLayout(header: Int32Array, size: number): SegmentLayout | string {
  if (header[HeaderWord.magic] !== SEGMENT_MAGIC) return 'memory is not a segment (wrong magic)';
  const version = header[HeaderWord.layoutVersion];
  if (version !== LAYOUT_VERSION) return `segment has layout version ${version}, this build understands ${LAYOUT_VERSION}`;
  const shape: SegmentShape = {
    kind: header[HeaderWord.kind],
    slots: header[HeaderWord.slots],
    arenaPages: header[HeaderWord.arenaPages],
    ioRingCapacity: header[HeaderWord.ioRingCapacity],
    controlRingCapacity: header[HeaderWord.controlRingCapacity],
  };
  const plausible =
    inRange(shape.slots, 0, 1 << 20) &&
    inRange(shape.arenaPages, 0, 1 << 18) &&
    powerOfTwoOrZero(shape.ioRingCapacity) &&
    powerOfTwoOrZero(shape.controlRingCapacity);
  if (!plausible) return 'segment header is damaged';
  const layout = layoutOf(shape);
  const agrees =
    layout.pages === header[HeaderWord.pages] &&
    layout.pages * PAGE === size &&
    layout.ringOffset === header[HeaderWord.ringOffset] &&
    layout.slotOffset === header[HeaderWord.slotOffset] &&
    layout.tableOffset === header[HeaderWord.tableOffset] &&
    layout.arenaFirstPage === header[HeaderWord.arenaFirstPage];
  return agrees ? layout : 'segment header does not agree with its size';
}

/** CLOCK_MONOTONIC, which all processes of a machine share. */
function monotonicSeconds(): number {
  return process.hrtime()[0];
}

function inRange(value: number, low: number, high: number): boolean {
  return value >= low && value <= high;
}

function powerOfTwoOrZero(value: number): boolean {
  return value === 0 || (value >= 16 && value <= 1 << 20 && (value & (value - 1)) === 0);
}
