/** One side's end of a segment that two workers share: its arena, its queues towards the peer, and the sessions in its slots. */
import type { SlabWindow, SlabWindows } from '../../core/buffer/slab_windows.ts';
import { ringDoorbell } from '../../core/sys/doorbell.ts';
import { ownDescriptor } from '../../core/sys/thread_descriptors.ts';
import { closeDescriptor } from '../../core/sys/unix_socket.ts';
import { ChunkArena } from '../svm/chunk_arena.ts';
import { PAGE, SegmentKind } from '../svm/layout.ts';
import { MessageQueueConsumer, MessageQueueProducer } from '../svm/message_queue.ts';
import { Segment } from '../svm/segment.ts';
import type { VclSession } from './session.ts';

/** 2 MB: what is written and not yet read no longer fits into a core's cache. */
const CROWDED_PAGES = 512;

export class SegmentEnd {
  readonly id: number;
  readonly side: number;
  readonly segment: Segment;
  readonly arena: ChunkArena;
  readonly fromPeer: MessageQueueConsumer;
  readonly toPeer: MessageQueueProducer;
  readonly sessions: (VclSession | undefined)[] = [];
  inUse = 0;
  /** The stack has said that no new session comes here. */
  deleted = false;
  /** Rung by the peer; null when that is the stack, which rings the worker's own bell. */
  readonly bellFd: number | null;
  /** On the peer's arena, for reading by reference; null when that is not wanted or not possible. */
  readonly window: SlabWindow | null;
  private readonly ringFd: number;

  private constructor(
    id: number,
    side: number,
    segment: Segment,
    ringFd: number,
    bellFd: number | null,
    window: SlabWindow | null,
  ) {
    this.id = id;
    this.side = side;
    this.segment = segment;
    this.ringFd = ringFd;
    this.bellFd = bellFd;
    this.window = window;
    this.arena = new ChunkArena(segment, side);
    // Between applications only: a network needs as much on its way as was asked for.
    if (bellFd !== null) this.arena.crowdedFrom = CROWDED_PAGES;
    this.fromPeer = new MessageQueueConsumer(segment, 1 - side);
    this.toPeer = new MessageQueueProducer(segment, side, () => ringDoorbell(ringFd));
  }

  /** Maps a segment that came with `fds` (see `sapi.ts`), which it takes; a text says why it is not acceptable. */
  static attach(id: number, side: number, fds: readonly number[], windows: SlabWindows | null): SegmentEnd | string {
    const [memory, ringFd, bellFd] = fds;
    if (fds.length < 2 || fds.length > 3 || (side !== 0 && side !== 1)) {
      for (const fd of fds) closeDescriptor(fd);
      return 'segment message is malformed';
    }
    const segment = Segment.attach(memory);
    if (segment instanceof Segment && segment.layout.kind === SegmentKind.Fifo) {
      const window = windows === null ? null : openWindow(windows, memory, segment, 1 - side);
      closeDescriptor(memory);
      const bell = bellFd === undefined ? null : ownDescriptor(bellFd);
      return new SegmentEnd(id, side, segment, ownDescriptor(ringFd), bell, window);
    }
    closeDescriptor(memory);
    for (const fd of fds.slice(1)) closeDescriptor(fd);
    return segment instanceof Segment ? 'segment has the wrong kind' : segment;
  }

  /** Lets go of memory and descriptor. */
  close(): void {
    this.window?.close();
    this.segment.close();
    closeDescriptor(this.ringFd);
    if (this.bellFd !== null) closeDescriptor(this.bellFd);
  }
}

function openWindow(windows: SlabWindows, memory: number, segment: Segment, producer: number): SlabWindow | null {
  const { arenaFirstPage, arenaPages } = segment.layout;
  return windows.open(memory, (arenaFirstPage + producer * arenaPages) * PAGE, arenaPages * PAGE);
}

/** Key of an end among the ends of a worker (which may hold both ends of a segment). */
export function segmentKey(id: number, side: number): number {
  return id * 2 + side;
}
