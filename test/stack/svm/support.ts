/** A segment with one FIFO pair, and seeded randomness. */
import { ChunkArena } from '../../../src/stack/svm/chunk_arena.ts';
import { FifoConsumer } from '../../../src/stack/svm/fifo_consumer.ts';
import { FifoProducer } from '../../../src/stack/svm/fifo_producer.ts';
import { FifoWord, SegmentKind } from '../../../src/stack/svm/layout.ts';
import { Segment } from '../../../src/stack/svm/segment.ts';

export function fifoSegment(arenaPages = 256, slots = 8): { segment: Segment; fd: number } {
  return Segment.create('test', { kind: SegmentKind.Fifo, slots, arenaPages, ioRingCapacity: 64, controlRingCapacity: 0 }, 1);
}

export function fifoPair(size: number, arenaPages = 256) {
  const { segment, fd } = fifoSegment(arenaPages);
  const word = segment.fifoWord(0, 0);
  segment.i32[word + FifoWord.size] = size;
  const arena = new ChunkArena(segment, 0);
  return { segment, fd, word, arena, producer: new FifoProducer(arena, word), consumer: new FifoConsumer(segment, word, 0) };
}

/** mulberry32: a small generator whose sequence is given by its seed. */
export function random(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** The byte at position `at` of the test stream of `seed`. */
export function streamByte(seed: number, at: number): number {
  return (Math.imul(at ^ seed, 0x9e3779b1) >>> 24) & 0xff;
}
