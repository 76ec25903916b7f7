import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_SIZE, Slab } from '../../../src/core/buffer/slab.ts';
import { SlabWindows } from '../../../src/core/buffer/slab_windows.ts';
import { FifoLoans } from '../../../src/stack/svm/fifo_loans.ts';
import { ChunkWord, DequeueNotify, PAGE } from '../../../src/stack/svm/layout.ts';
import { fifoPair, random, streamByte } from './support.ts';

const ARENA_PAGES = 1024;

function setUp(size: number) {
  const pair = fifoPair(size, ARENA_PAGES);
  const slab = new Slab(64, 1024);
  const { arenaFirstPage, arenaPages } = pair.segment.layout;
  const window = SlabWindows.of(slab).open(pair.fd, arenaFirstPage * PAGE, arenaPages * PAGE)!;
  assert.ok(window !== null);
  const state = { returned: 0 };
  const loans = new FifoLoans(pair.consumer, window, () => state.returned++);
  return { ...pair, slab, window, loans, state };
}

function bytes(seed: number, at: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => streamByte(seed, at + i));
}

test('room comes back in order, whatever the order of releases', () => {
  const { producer, consumer, loans, slab, state } = setUp(65_536);
  assert.equal(producer.write(bytes(1, 0, 65_536), 0, 65_536), 65_536);
  const held: number[] = [];
  while (consumer.used > 0) {
    assert.equal(loans.lend(65_536), BLOCK_SIZE);
    held.push(loans.offset);
  }
  assert.equal(held.length, 4);
  assert.equal(loans.lend(1), 0);
  producer.wantDequeueNotify(DequeueNotify.Room, 32_768);
  let before = 0;
  for (const [i, free] of [
    [1, 0],
    [0, 32_768],
    [3, 32_768],
    [2, 65_536],
  ] as const) {
    slab.release(held[i]);
    assert.equal(producer.free, before, 'not before it is settled');
    loans.settle();
    assert.equal(producer.free, free);
    if (i === 1) assert.equal(consumer.shouldNotify(), false);
    if (i === 0) assert.equal(consumer.shouldNotify(), true);
    before = free;
  }
  assert.equal(state.returned, 4);
  assert.equal(producer.write(bytes(1, 0, 100), 0, 100), 100);
  const target = new Uint8Array(100);
  assert.equal(consumer.read(target, 0, 100), 100);
  assert.deepEqual(target, bytes(1, 0, 100));
  assert.equal(producer.free, 65_536, 'without loans a read gives room back at once');
});

test('what is copied behind a loan counts as read when the loan is back', () => {
  const { producer, consumer, loans, slab } = setUp(65_536);
  producer.write(bytes(2, 0, 40_000), 0, 40_000);
  assert.equal(loans.lend(10_000), 10_000);
  const { offset } = loans;
  const target = new Uint8Array(30_000);
  assert.equal(consumer.read(target, 0, 30_000), 30_000);
  assert.deepEqual(target, bytes(2, 10_000, 30_000));
  assert.equal(producer.free, 25_536);
  slab.release(offset);
  loans.settle();
  assert.equal(producer.free, 65_536);
});

for (const seed of [11, 12, 13, 14]) {
  test(`seeded mix of writes, loans, copies and late releases equals the stream (seed ${seed})`, () => {
    const size = [20_000, 65_536, 262_144, 1 << 20][seed - 11];
    const { producer, consumer, loans, slab, arena, window } = setUp(size);
    const next = random(seed);
    const held: { offset: number; length: number; at: number }[] = [];
    const target = new Uint8Array(1 << 20);
    let written = 0;
    let read = 0;
    let lent = 0;
    const check = (offset: number, length: number, at: number): void => {
      for (let i = 0; i < length; i += 1 + (i & 63)) {
        if (slab.u8[offset + i] !== streamByte(seed, at + i)) assert.fail(`byte ${at + i} of the stream`);
      }
    };
    for (let step = 0; step < 4000; step++) {
      const kind = next(10);
      if (kind < 4) {
        const length = 1 + next(step % 3 === 0 ? 300 : 50_000);
        written += producer.write(bytes(seed, written, length), 0, length);
      } else if (kind < 7) {
        const length = loans.lend(1 + next(40_000));
        if (length > 0) {
          held.push({ offset: loans.offset, length, at: read });
          read += length;
          lent += length;
        }
      } else if (kind < 8) {
        const length = consumer.read(target, 0, 1 + next(step % 2 === 0 ? 100 : 20_000));
        for (let i = 0; i < length; i += 7) assert.equal(target[i], streamByte(seed, read + i));
        read += length;
      } else {
        for (let i = next(6); i > 0 && held.length > 0; i--) {
          const [one] = held.splice(next(held.length), 1);
          check(one.offset, one.length, one.at);
          slab.release(one.offset);
        }
        if (next(2) === 0) loans.settle();
      }
      const unreleased = held.length === 0 ? read : Math.min(read, ...held.map((one) => one.at));
      assert.ok(written - unreleased <= size, 'the producer never has more room than what was given back');
    }
    assert.ok(lent > 0 || size < 32_768, 'something was lent');
    for (const one of held) {
      check(one.offset, one.length, one.at);
      slab.release(one.offset);
    }
    loans.settle();
    assert.equal(consumer.corrupted || producer.corrupted, false);
    assert.equal(consumer.dropAll(), written - read);
    assert.equal(producer.free, producer.capacity);
    producer.release();
    assert.equal(arena.usedPages, 0, 'no chunk is left');
    assert.equal(slab.windowBlocksInUse, 0);
    window.close();
    assert.ok(SlabWindows.of(slab).open(0, 0, 0) === null);
  });
}

test('what is on loan when the session ends stays as it is, whatever its memory is used for', () => {
  const { producer, consumer, loans, slab, window, segment } = setUp(65_536);
  producer.write(bytes(3, 0, 65_536), 0, 65_536);
  const held: number[] = [];
  while (consumer.used > 0) {
    loans.lend(65_536);
    held.push(loans.offset);
  }
  slab.release(held.shift()!);
  loans.end();
  segment.u8.fill(0xee, segment.layout.arenaFirstPage * PAGE);
  window.close();
  segment.punchAll();
  for (const [i, offset] of held.entries()) {
    assert.deepEqual(slab.u8.slice(offset, offset + BLOCK_SIZE), bytes(3, (i + 1) * BLOCK_SIZE, BLOCK_SIZE));
    slab.release(offset);
  }
  loans.settle();
  assert.equal(loans.lend(1), 0);
  assert.ok(
    slab.u8.subarray(window.start, window.start + window.length).every((byte) => byte === 0),
    'the window is gone',
  );
});

test('a hostile producer: a chunk that is linked again, or lies across blocks, is not lent', () => {
  const { producer, consumer, loans, slab, segment } = setUp(1 << 20);
  producer.write(bytes(4, 0, 65_536), 0, 65_536);
  const { i32, layout } = segment;
  const entry = (page: number): number => (layout.tableOffset >> 2) + (page - layout.arenaFirstPage) * 4;
  const held: number[] = [];
  while (consumer.used > 0) {
    assert.ok(loans.lend(65_536) > 0);
    held.push(loans.offset);
  }
  // The chunk follows itself.
  const page = layout.arenaFirstPage + (held[0] - slab.windowStart) / PAGE;
  i32[entry(page) + ChunkWord.next] = page;
  i32[entry(page) + ChunkWord.start] = 65_536;
  const tail = segment.fifoWord(0, 0);
  Atomics.store(i32, tail, 131_072);
  assert.equal(loans.lend(65_536), 0, 'it is on loan already');
  assert.equal(consumer.read(new Uint8Array(65_536), 0, 65_536), 65_536);
  // One that is not where a chunk of its size can be.
  const crooked = layout.arenaFirstPage + 101;
  i32[entry(page) + ChunkWord.next] = crooked;
  i32[entry(crooked) + ChunkWord.start] = 131_072;
  i32[entry(crooked) + ChunkWord.order] = 2;
  Atomics.store(i32, tail, 131_072 + 16_384);
  assert.equal(loans.lend(65_536), 0);
  // And one outside of the arena.
  i32[entry(crooked) + ChunkWord.start] = 131_072;
  i32[entry(page) + ChunkWord.next] = layout.arenaFirstPage + layout.arenaPages;
  consumer.read(new Uint8Array(16_384), 0, 16_384);
  Atomics.store(i32, tail, 131_072 + 32_768);
  assert.equal(loans.lend(65_536), 0);
  for (const offset of held) slab.release(offset);
  loans.settle();
  loans.end();
});
