import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeDescriptor } from '../../../src/core/sys/unix_socket.ts';
import { FifoConsumer } from '../../../src/stack/svm/fifo_consumer.ts';
import { FifoProducer } from '../../../src/stack/svm/fifo_producer.ts';
import { CHUNK_ENTRY_WORDS, DequeueNotify, FifoWord } from '../../../src/stack/svm/layout.ts';
import { fifoPair, random } from './support.ts';

test('exactly size bytes fit, and come out in order', () => {
  const { producer, consumer, fd } = fifoPair(5000);
  const source = Uint8Array.from({ length: 6000 }, (_, i) => i * 7);
  assert.equal(producer.write(source, 0, 6000), 5000);
  assert.equal(producer.free, 0);
  assert.equal(producer.write(source, 0, 1), 0);
  const target = new Uint8Array(6000);
  assert.equal(consumer.peek(4000, target, 10, 5000), 1000);
  assert.deepEqual(target.subarray(10, 1010), source.subarray(4000, 5000));
  assert.equal(consumer.read(target, 0, 4999), 4999);
  assert.deepEqual(target.subarray(0, 4999), source.subarray(0, 4999));
  assert.equal(consumer.used, 1);
  assert.equal(producer.free, 4999);
  assert.equal(consumer.dropAll(), 1);
  assert.equal(producer.used, 0);
  closeDescriptor(fd);
});

test('seeded mix of writes, zero-copy writes, reads, peeks, drops and views equals a model', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const rnd = random(seed);
    const { producer, consumer, segment, arena, fd } = fifoPair(4096 + rnd(200_000));
    let model = Buffer.alloc(0);
    let next = 0;
    const fresh = (n: number) => Buffer.from(Uint8Array.from({ length: n }, () => (next = (next * 31 + 17) & 0xff)));
    for (let step = 0; step < 400; step++) {
      const n = 1 + rnd(rnd(2) === 0 ? 100 : 50_000);
      switch (rnd(6)) {
        case 0:
        case 1: {
          const data = fresh(n);
          const wrote = producer.write(data, 0, n);
          model = Buffer.concat([model, data.subarray(0, wrote)]);
          break;
        }
        case 2: {
          const views: Uint8Array[] = [];
          const offered = producer.reserve(n, views);
          const data = fresh(offered);
          let at = 0;
          for (const view of views) {
            view.set(data.subarray(at, at + view.length));
            at += view.length;
          }
          const part = offered === 0 ? 0 : rnd(offered + 1);
          producer.commit(part);
          model = Buffer.concat([model, data.subarray(0, part)]);
          break;
        }
        case 3: {
          const target = Buffer.alloc(n);
          const read = consumer.read(target, 0, n);
          assert.ok(target.subarray(0, read).equals(model.subarray(0, n)), `seed ${seed} step ${step}`);
          model = model.subarray(read);
          break;
        }
        case 4: {
          const ahead = rnd(60_000);
          const target = Buffer.alloc(n);
          const peeked = consumer.peek(ahead, target, 0, n);
          assert.ok(target.subarray(0, peeked).equals(model.subarray(ahead, ahead + n)), `seed ${seed} step ${step}`);
          break;
        }
        default: {
          const views: Uint8Array[] = [];
          const seen = consumer.segments(n, views);
          assert.ok(Buffer.concat(views).equals(model.subarray(0, n)), `seed ${seed} step ${step}`);
          consumer.drop(seen);
          model = model.subarray(seen);
        }
      }
      assert.equal(consumer.used, model.length);
      assert.equal(producer.used, model.length);
    }
    consumer.dropAll();
    producer.reclaim();
    assert.ok(arena.usedPages <= 32, 'memory follows occupancy');
    producer.release();
    assert.equal(arena.usedPages, 0);
    assert.equal(segment.usedPages(0), 0);
    closeDescriptor(fd);
  }
});

test('out of order pieces merge and are delivered when the gap fills', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const rnd = random(seed);
    const { producer, consumer, fd } = fifoPair(100_000);
    const total = 60_000;
    const stream = Buffer.from(Uint8Array.from({ length: total }, (_, i) => (i * 131) >> 3));
    const pieces: { at: number; length: number }[] = [];
    for (let at = 0; at < total; ) {
      const length = Math.min(1 + rnd(3000), total - at);
      // Some pieces overlap the one before, as retransmissions do.
      const back = Math.min(rnd(3) === 0 ? rnd(500) : 0, at);
      pieces.push({ at: at - back, length: length + back });
      at += length;
    }
    for (let i = pieces.length - 1; i > 0; i--) {
      const j = rnd(i + 1);
      [pieces[i], pieces[j]] = [pieces[j], pieces[i]];
    }
    let published = 0;
    for (const piece of pieces) {
      const start = Math.max(piece.at, published);
      const length = piece.at + piece.length - start;
      if (length <= 0) continue;
      assert.equal(producer.writeAt(start - published, stream, start, length), length);
      published = consumer.used;
      let last = published;
      for (const range of producer.outOfOrder) {
        assert.ok(range.start > last && range.end > range.start, 'ranges ascend and do not touch');
        last = range.end;
      }
      if (producer.outOfOrder.length > 0) {
        assert.ok(producer.newestRange >= 0 && producer.newestRange < producer.outOfOrder.length);
      }
    }
    assert.equal(published, total);
    assert.equal(producer.outOfOrder.length, 0);
    const target = Buffer.alloc(total);
    assert.equal(consumer.read(target, 0, total), total);
    assert.ok(target.equals(stream), `seed ${seed}`);
    closeDescriptor(fd);
  }
});

test('positions wrap around 2^32', () => {
  const { segment, arena, word, fd } = fifoPair(65536);
  const producer = new FifoProducer(arena, word);
  const consumer = new FifoConsumer(segment, word, 0);
  const source = Buffer.from(Uint8Array.from({ length: 40_000 }, (_, i) => i));
  const target = Buffer.alloc(40_000);
  // Start both ends just below the wrap, as after 4 GB of traffic.
  for (const end of [producer, consumer] as unknown as Record<string, number>[]) {
    end['tail'] = -20_000;
    end['head'] = -20_000;
  }
  segment.i32[word + FifoWord.tail] = -20_000;
  segment.i32[word + FifoWord.head] = -20_000;
  for (let i = 0; i < 20; i++) {
    assert.equal(producer.write(source, 0, 40_000), 40_000);
    assert.equal(consumer.read(target, 0, 40_000), 40_000);
    assert.ok(target.equals(source));
  }
  closeDescriptor(fd);
});

test('events are raised once, notifications fire once and at their threshold', () => {
  const { producer, consumer, fd } = fifoPair(8192);
  const data = new Uint8Array(8192);
  producer.write(data, 0, 8192);
  assert.equal(producer.raiseEvent(), true);
  assert.equal(producer.raiseEvent(), false);
  consumer.clearEvent();
  assert.equal(producer.raiseEvent(), true);
  assert.equal(producer.wantDequeueNotify(DequeueNotify.Room, 4096), false);
  consumer.drop(1000);
  assert.equal(consumer.shouldNotify(), false);
  consumer.drop(4000);
  assert.equal(consumer.shouldNotify(), true);
  assert.equal(consumer.shouldNotify(), false);
  assert.equal(producer.wantDequeueNotify(DequeueNotify.Room, 4096), true);
  assert.equal(producer.wantDequeueNotify(DequeueNotify.Empty), false);
  consumer.dropAll();
  assert.equal(consumer.shouldNotify(), true);
  closeDescriptor(fd);
});

test('the consumer can change the size', () => {
  const { producer, consumer, fd } = fifoPair(8192);
  consumer.setSize(20_000);
  producer.refreshSize();
  assert.equal(producer.capacity, 20_000);
  assert.equal(producer.write(new Uint8Array(30_000), 0, 30_000), 20_000);
  consumer.setSize(4096);
  producer.refreshSize();
  assert.equal(producer.free, 0);
  consumer.drop(18_000);
  assert.equal(producer.free, 2096);
  closeDescriptor(fd);
});

test('in a crowded arena a FIFO takes less, asks for room accordingly, and takes more again later', () => {
  const { segment, arena, producer, consumer, fd } = fifoPair(1 << 20, 1024);
  segment.i32[segment.fifoWord(1, 0) + FifoWord.size] = 1 << 20;
  const second = new FifoProducer(arena, segment.fifoWord(1, 0));
  const secondConsumer = new FifoConsumer(segment, segment.fifoWord(1, 0), 0);
  arena.crowdedFrom = 100;
  const data = new Uint8Array(1 << 20);
  assert.equal(producer.write(data, 0, 600_000), 600_000);
  assert.equal(second.write(data, 0, 1 << 20), 1 << 18);
  assert.equal(second.write(data, 0, 1), 0);
  assert.equal(producer.write(data, 0, 1 << 20), 0, 'it has more than its share already');
  assert.equal(second.wantDequeueNotify(DequeueNotify.Room, 1 << 16), false);
  secondConsumer.drop((1 << 16) - 1);
  assert.equal(secondConsumer.shouldNotify(), false);
  secondConsumer.drop(1);
  assert.equal(secondConsumer.shouldNotify(), true);
  consumer.dropAll();
  producer.reclaim();
  assert.equal(arena.crowded, false);
  assert.equal(second.write(data, 0, 1 << 20), (1 << 20) - (1 << 18) + (1 << 16));
  closeDescriptor(fd);
});

test('only a stream that fills its FIFO gets large chunks, and a bounded number of them', () => {
  const size = 1 << 20;
  const { arena, producer, consumer, fd } = fifoPair(size, 1024);
  const data = new Uint8Array(size);
  const piece = 1 << 16;
  // A reader that keeps up: small chunks, and when all is read one is left.
  for (let i = 0; i < 40; i++) {
    assert.equal(producer.write(data, 0, piece), piece);
    assert.equal(consumer.read(data, 0, piece), piece);
  }
  producer.reclaim();
  assert.ok(arena.usedPages * 4096 <= piece, `${arena.usedPages} pages`);
  // One that is always behind.
  let most = 0;
  for (let i = 0; i < 200; i++) {
    while (producer.write(data, 0, piece) === piece);
    most = Math.max(most, arena.usedPages);
    assert.equal(consumer.read(data, 0, piece), piece);
  }
  assert.ok(most * 4096 <= size + (1 << 18) + piece, `${most} pages`);
  consumer.dropAll();
  producer.reclaim();
  assert.equal(arena.usedPages * 4096, 1 << 18);
  // What follows goes back to small ones.
  for (let i = 0; i < 40; i++) {
    assert.equal(producer.write(data, 0, piece), piece);
    assert.equal(consumer.read(data, 0, piece), piece);
  }
  producer.reclaim();
  assert.ok(arena.usedPages * 4096 <= piece, `${arena.usedPages} pages`);
  closeDescriptor(fd);
});

test('every FIFO can write even when others have taken the rest of the memory', () => {
  const { segment, arena, producer, consumer, fd } = fifoPair(1 << 20, 16);
  segment.i32[segment.fifoWord(1, 0) + FifoWord.size] = 1 << 20;
  const late = new FifoProducer(arena, segment.fifoWord(1, 0));
  const data = new Uint8Array(100_000);
  assert.equal(producer.write(data, 0, 100_000), 15 * 4096);
  assert.equal(late.write(data, 0, 100_000), 4096);
  consumer.dropAll();
  producer.reclaim();
  assert.ok(late.write(data, 0, 100_000) > 0);
  closeDescriptor(fd);
});

test('a hostile producer cannot make the consumer leave its arena, loop or throw', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const rnd = random(seed);
    const { segment, word, producer, consumer, fd } = fifoPair(100_000, 64);
    producer.write(new Uint8Array(60_000), 0, 60_000);
    const { layout } = segment;
    const table = layout.tableOffset >> 2;
    for (let i = 0; i < 6; i++) {
      const value = rnd(3) === 0 ? (rnd(65536) << 16) | rnd(65536) : rnd(300) - 20;
      const where = rnd(3) === 0 ? word + rnd(32) : table + rnd(2 * layout.arenaPages * CHUNK_ENTRY_WORDS);
      segment.i32[where] = value;
    }
    const target = new Uint8Array(200_000);
    for (let i = 0; i < 20; i++) {
      assert.ok(consumer.read(target, 0, rnd(20_000)) <= 20_000);
      assert.ok(consumer.peek(rnd(50_000), target, 0, 20_000) <= 20_000);
      const views: Uint8Array[] = [];
      consumer.segments(50_000, views);
      for (const view of views)
        assert.ok(view.byteOffset >= layout.arenaFirstPage * 4096 && view.byteOffset + view.length <= segment.bytes);
      consumer.drop(rnd(5000));
      consumer.shouldNotify();
      producer.write(target, 0, rnd(30_000));
      producer.refreshSize();
      producer.wantDequeueNotify(DequeueNotify.Room, rnd(5000));
    }
    closeDescriptor(fd);
    segment.close();
  }
});

test('a head outside of what was written is corruption', () => {
  const { segment, word, producer, fd } = fifoPair(100_000, 64);
  producer.write(new Uint8Array(5000), 0, 5000);
  segment.i32[word + FifoWord.head] = 5001;
  assert.equal(producer.free, 0);
  assert.equal(producer.corrupted, true);
  assert.equal(producer.write(new Uint8Array(100_000), 0, 100_000), 0);
  closeDescriptor(fd);
});
