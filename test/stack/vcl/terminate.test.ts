import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { attach, createHostStack } from '../../../src/stack/index.ts';

const ROUNDS = 8;

test('threads are terminated in the middle of everything', async () => {
  const stack = await createHostStack();
  const net = await attach({ name: 'app', runtimeDir: stack.runtimeDir });
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  for (let round = 0; round < ROUNDS; round++) {
    const busy = round % 4 === 3;
    const workerData = { ticket: net.ticket, port: server.address()!.port, busy };
    const thread = new Worker(new URL('./terminate_peer.ts', import.meta.url), { workerData });
    for (let i = 0; i < (busy ? 1 : 1 + (round % 5)); i++) await once(thread, 'message');
    await thread.terminate();
  }
  // The stack has seen all of them go, and so have their peers.
  for (;;) {
    const { text } = await stack.command('show app', { json: true });
    if (JSON.parse(text)[0].workers === 1) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => server.close(resolve as () => void));
  net.close();
  await stack.close();
});
