import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { attach, createHostStack } from '../../../src/stack/index.ts';
import { random, streamByte } from '../svm/support.ts';

test('net-shaped sockets of two threads lose and reorder nothing', async () => {
  const stack = await createHostStack();
  const peer = new Worker(new URL('./net_peer.ts', import.meta.url), { workerData: { runtimeDir: stack.runtimeDir, port: 7 } });
  await once(peer, 'message');
  const net = await attach({ name: 'here', runtimeDir: stack.runtimeDir });
  await Promise.all([1, 2, 3, 4].map((seed) => echo(net.connect(7, '127.0.0.1'), seed, 4_000_000)));
  peer.postMessage('stop');
  await once(peer, 'exit');
  net.close();
  await stack.close();
});

async function echo(
  socket: ReturnType<Awaited<ReturnType<typeof attach>>['connect']>,
  seed: number,
  total: number,
): Promise<void> {
  const rnd = random(seed);
  let sent = 0;
  let received = 0;
  const write = (): void => {
    while (sent < total) {
      const chunk = Buffer.allocUnsafe(Math.min(1 + rnd(rnd(3) === 0 ? 60_000 : 300), total - sent));
      for (let i = 0; i < chunk.length; i++) chunk[i] = streamByte(seed, sent + i);
      sent += chunk.length;
      if (!socket.write(chunk)) return void socket.once('drain', write);
    }
    socket.end();
  };
  socket.on('data', (data: Buffer) => {
    for (let i = 0; i < data.length; i++)
      if (data[i] !== streamByte(seed, received + i)) assert.fail(`byte ${received + i} differs`);
    received += data.length;
  });
  write();
  await once(socket, 'end');
  assert.equal(received, total);
}
