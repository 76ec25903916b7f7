import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { test } from 'node:test';
import { createEventfd } from '../../../src/core/sys/eventfd.ts';
import { createSealedMemfd } from '../../../src/core/sys/memfd.ts';
import { closeDescriptor } from '../../../src/core/sys/unix_socket.ts';
import { ChunkArena } from '../../../src/stack/svm/chunk_arena.ts';
import { HeaderWord, LAYOUT_VERSION, PAGE, SegmentKind } from '../../../src/stack/svm/layout.ts';
import { MessageQueueConsumer, MessageQueueProducer } from '../../../src/stack/svm/message_queue.ts';
import { Segment } from '../../../src/stack/svm/segment.ts';
import { fifoSegment, random } from './support.ts';

test('attach accepts what create made, and refuses everything else with a reason', () => {
  const { segment, fd } = fifoSegment();
  const other = Segment.attach(fd);
  assert.ok(other instanceof Segment);
  assert.deepEqual(other.layout, segment.layout);
  assert.equal(other.generation, 1);
  segment.beat();
  assert.ok(other.silentSeconds >= 0 && other.silentSeconds <= 1);
  segment.i32[HeaderWord.heartbeat] -= 30;
  assert.ok(other.silentSeconds >= 30);

  segment.i32[HeaderWord.layoutVersion] = LAYOUT_VERSION + 1;
  assert.match(String(Segment.attach(fd)), /layout version 3, this build understands 2/);
  segment.i32[HeaderWord.layoutVersion] = LAYOUT_VERSION;
  segment.i32[HeaderWord.magic] = 5;
  assert.match(String(Segment.attach(fd)), /magic/);
  const raw = createSealedMemfd('x', 5000);
  assert.match(String(Segment.attach(raw)), /size/);
  const eventfd = createEventfd();
  assert.match(String(Segment.attach(eventfd)), /memfd/);
  for (const each of [fd, raw, eventfd]) closeDescriptor(each);
});

test('a damaged header never gives a segment that does not fit its file', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const rnd = random(seed);
    const { segment, fd } = fifoSegment(16, 4);
    for (let i = 0; i < 2; i++) segment.i32[3 + rnd(12)] = rnd(2) === 0 ? rnd(100_000) - 100 : (rnd(65536) << 16) | rnd(65536);
    const attached = Segment.attach(fd);
    if (attached instanceof Segment) assert.equal(attached.bytes, segment.bytes);
    closeDescriptor(fd);
    segment.close();
  }
});

test('the arena never hands out a page twice, merges what comes back, and keeps promises', () => {
  const { segment, fd } = fifoSegment(1000);
  const arena = new ChunkArena(segment, 1);
  const rnd = random(7);
  const owner = new Int8Array(segment.layout.pages);
  const held: { page: number; order: number }[] = [];
  for (let step = 0; step < 20_000; step++) {
    if (rnd(50) === 0) arena.trim();
    if (rnd(2) === 0) {
      const order = rnd(rnd(4) === 0 ? 9 : 4);
      const page = arena.alloc(order);
      if (page === 0) continue;
      for (let i = page; i < page + (1 << order); i++) {
        assert.ok(i >= arena.firstPage && i < arena.firstPage + arena.pages);
        assert.equal(owner[i], 0);
        owner[i] = 1;
      }
      held.push({ page, order });
    } else if (held.length > 0) {
      const [{ page, order }] = held.splice(rnd(held.length), 1);
      owner.fill(0, page, page + (1 << order));
      arena.release(page, order);
    }
  }
  for (const { page, order } of held) arena.release(page, order);
  assert.equal(arena.usedPages, 0);
  arena.trim();
  assert.notEqual(arena.alloc(9), 0, 'everything has merged again');
  let promises = 0;
  while (arena.reserve()) promises++;
  assert.equal(promises, 1000 - 512);
  assert.equal(arena.alloc(0), 0);
  arena.unreserve();
  assert.notEqual(arena.alloc(0), 0);
  closeDescriptor(fd);
});

test('trimming keeps what was lately in use and gives the rest back to the kernel', () => {
  const { segment, fd } = fifoSegment(1024);
  const arena = new ChunkArena(segment, 0);
  const before = fstatSync(fd).blocks;
  const pagesBehind = (): number => ((fstatSync(fd).blocks - before) * 512) / PAGE;
  /** Takes so many pages, writes to each, and lets go of them. */
  const use = (pages: number): void => {
    const held: number[] = [];
    for (let i = 0; i < pages; i++) held.push(arena.alloc(0));
    for (const page of held) segment.u8[page * PAGE] = 1;
    for (const page of held) arena.release(page, 0);
  };
  use(600);
  assert.equal(arena.trim(), true);
  assert.equal(pagesBehind(), 600, 'it may be needed again at once');
  use(100);
  assert.equal(arena.trim(), true);
  assert.ok(pagesBehind() >= 100 && pagesBehind() < 356, `${pagesBehind()} pages are left where 100 were used`);
  assert.equal(arena.trim(), false);
  assert.equal(pagesBehind(), 0);
  assert.equal(arena.trim(), false);
  use(600);
  assert.equal(pagesBehind(), 600);
  closeDescriptor(fd);
});

test('the doorbell rings once per empty to non-empty, and not for an awake consumer', () => {
  const shape = { kind: SegmentKind.MessageQueue, slots: 0, arenaPages: 0, ioRingCapacity: 16, controlRingCapacity: 16 };
  const { segment, fd } = Segment.create('mq', shape, 1);
  let rings = 0;
  const producer = new MessageQueueProducer(segment, 1, () => rings++);
  const consumer = new MessageQueueConsumer(segment, 1);
  const message = new Int32Array(16);
  assert.equal(consumer.arm(), true);
  producer.sendIo(5);
  producer.sendIo(6);
  producer.sendControl(message.fill(9));
  assert.equal(rings, 1);
  assert.equal(consumer.arm(), false);
  assert.equal(consumer.takeIo(), 5);
  assert.equal(consumer.takeIo(), 6);
  assert.equal(consumer.takeIo(), -1);
  assert.equal(consumer.takeControl(message), true);
  assert.equal(message[15], 9);
  assert.equal(consumer.takeControl(message), false);
  producer.sendControl(message, true);
  assert.equal(rings, 1, 'a lazy message waits for the next one');
  producer.sendIo(1);
  assert.equal(rings, 2);
  closeDescriptor(fd);
});

test('a full ring says so, asks for room, and a corrupted one stops', () => {
  const shape = { kind: SegmentKind.MessageQueue, slots: 0, arenaPages: 0, ioRingCapacity: 16, controlRingCapacity: 16 };
  const { segment, fd } = Segment.create('mq', shape, 1);
  const producer = new MessageQueueProducer(segment, 0, () => {});
  const consumer = new MessageQueueConsumer(segment, 0);
  for (let i = 0; i < 16; i++) assert.equal(producer.sendIo(i), true);
  assert.equal(consumer.io.takeWantRoom(), false);
  assert.equal(producer.sendIo(16), false);
  assert.equal(consumer.takeIo(), 0);
  assert.equal(consumer.io.takeWantRoom(), true);
  assert.equal(consumer.io.takeWantRoom(), false);
  assert.equal(producer.sendIo(16), true);
  for (let i = 1; i <= 16; i++) assert.equal(consumer.takeIo(), i);
  segment.i32[segment.queueWord(0) + 16] += 1000;
  assert.equal(consumer.takeIo(), -1);
  assert.equal(consumer.corrupted, true);
  segment.i32[segment.queueWord(0) + 16 + 16] += 1000;
  for (let i = 0; i < 20; i++) producer.sendIo(i);
  assert.equal(producer.corrupted, true);
  closeDescriptor(fd);
});
