import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { closeDescriptor } from '../../../src/core/sys/unix_socket.ts';
import { ChunkArena } from '../../../src/stack/svm/chunk_arena.ts';
import { FifoConsumer } from '../../../src/stack/svm/fifo_consumer.ts';
import { FifoProducer } from '../../../src/stack/svm/fifo_producer.ts';
import { FifoWord } from '../../../src/stack/svm/layout.ts';
import type { Segment } from '../../../src/stack/svm/segment.ts';
import { fifoSegment, random, streamByte } from './support.ts';

const TOTAL = 24_000_000;

test('bytes cross two FIFOs and a second thread in order', async () => {
  const { segment, fd } = stressSegment();
  const worker = new Worker(new URL('./peer.ts', import.meta.url), { workerData: { fd, total: TOTAL, seed: 5 } });
  await once(worker, 'online');
  exchange(segment, 11);
  await once(worker, 'exit');
  closeDescriptor(fd);
});

test('bytes cross two FIFOs and a second process in order', async () => {
  const { segment, fd } = stressSegment();
  const peer = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      new URL('./peer.ts', import.meta.url).pathname,
      JSON.stringify({ fd: 3, total: TOTAL, seed: 6 }),
    ],
    { stdio: ['ignore', 'inherit', 'inherit', fd] },
  );
  await once(peer, 'spawn');
  exchange(segment, 12);
  const [code] = await once(peer, 'exit');
  assert.equal(code, 0);
  closeDescriptor(fd);
});

function stressSegment(): { segment: Segment; fd: number } {
  const made = fifoSegment(200);
  made.segment.i32[made.segment.fifoWord(0, 0) + FifoWord.size] = 150_000;
  made.segment.i32[made.segment.fifoWord(0, 1) + FifoWord.size] = 70_000;
  return made;
}

/** Writes the test stream and checks its echo byte by byte. */
function exchange(segment: Segment, seed: number): void {
  const producer = new FifoProducer(new ChunkArena(segment, 0), segment.fifoWord(0, 0));
  const consumer = new FifoConsumer(segment, segment.fifoWord(0, 1), 1);
  const rnd = random(seed);
  const out = new Uint8Array(1 << 20);
  for (let i = 0; i < out.length; i++) out[i] = streamByte(seed, i);
  const back = new Uint8Array(100_000);
  let sent = 0;
  let received = 0;
  while (received < TOTAL) {
    const at = sent % out.length;
    const want = Math.min(1 + rnd(rnd(2) === 0 ? 100 : 90_000), out.length - at, TOTAL - sent);
    if (want > 0) sent += producer.write(out, at, want);
    const n = consumer.read(back, 0, 1 + rnd(100_000));
    for (let i = 0; i < n; i++) {
      if (back[i] !== out[(received + i) % out.length]) assert.fail(`byte ${received + i} differs`);
    }
    received += n;
    assert.ok(!producer.corrupted && !consumer.corrupted);
  }
}
