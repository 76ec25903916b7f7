/** One side's end of a segment that two workers share: its arena, its queues towards the peer, and the sessions in its slots. */
import { ringEventfd } from '../../core/sys/eventfd.ts';
import { closeDescriptor } from '../../core/sys/unix_socket.ts';
import { ChunkArena } from '../svm/chunk_arena.ts';
import { SegmentKind } from '../svm/layout.ts';
import { MessageQueueConsumer, MessageQueueProducer } from '../svm/message_queue.ts';
import { Segment } from '../svm/segment.ts';
import type { VclSession } from './session.ts';

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
  private readonly peerFd: number;

  private constructor(id: number, side: number, segment: Segment, peerFd: number) {
    this.id = id;
    this.side = side;
    this.segment = segment;
    this.peerFd = peerFd;
    this.arena = new ChunkArena(segment, side);
    this.fromPeer = new MessageQueueConsumer(segment, 1 - side);
    this.toPeer = new MessageQueueProducer(segment, side, () => ringEventfd(peerFd));
  }

  /** Maps a segment received with [segment, the peer's eventfd]; a text says why it is not acceptable. Takes both descriptors. */
  static attach(id: number, side: number, fds: readonly number[]): SegmentEnd | string {
    const [memory, bell] = fds;
    if (fds.length !== 2 || (side !== 0 && side !== 1)) {
      for (const fd of fds) closeDescriptor(fd);
      return 'segment message is malformed';
    }
    const segment = Segment.attach(memory);
    closeDescriptor(memory);
    if (segment instanceof Segment && segment.layout.kind === SegmentKind.Fifo) return new SegmentEnd(id, side, segment, bell);
    closeDescriptor(bell);
    return segment instanceof Segment ? 'segment has the wrong kind' : segment;
  }

  /** Lets go of memory and descriptor. */
  close(): void {
    this.segment.close();
    closeDescriptor(this.peerFd);
  }
}

/** Key of an end among the ends of a worker (which may hold both ends of a segment). */
export function segmentKey(id: number, side: number): number {
  return id * 2 + side;
}
