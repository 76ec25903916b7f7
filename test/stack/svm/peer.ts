/** The other end of the stress test, in a thread or a process: echoes FIFO 0 into FIFO 1 until `total` bytes have passed. */
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { ChunkArena } from '../../../src/stack/svm/chunk_arena.ts';
import { FifoConsumer } from '../../../src/stack/svm/fifo_consumer.ts';
import { FifoProducer } from '../../../src/stack/svm/fifo_producer.ts';
import { Segment } from '../../../src/stack/svm/segment.ts';
import { random } from './support.ts';

const { fd, total, seed } = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const segment = Segment.attach(fd);
if (typeof segment === 'string') throw new Error(segment);
const consumer = new FifoConsumer(segment, segment.fifoWord(0, 0), 0);
const producer = new FifoProducer(new ChunkArena(segment, 1), segment.fifoWord(0, 1));
const rnd = random(seed);
const buffer = new Uint8Array(100_000);
let passed = 0;
while (passed < total) {
  const n = consumer.read(buffer, 0, 1 + rnd(rnd(2) === 0 ? 200 : 100_000));
  for (let done = 0; done < n; ) done += producer.write(buffer, done, n - done);
  passed += n;
  if (consumer.corrupted || producer.corrupted) process.exit(3);
}
parentPort?.postMessage('done');
