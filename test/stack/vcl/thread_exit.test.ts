import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { attach, createHostStack } from '../../../src/stack/index.ts';

for (const mode of ['exit', 'throw', 'leave']) {
  test(`a thread that ends by ${mode} is noticed, and its port is free again`, async () => {
    const stack = await createHostStack();
    const net = await attach({ name: 'here', runtimeDir: stack.runtimeDir });
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(new URL('./exiting_peer.ts', import.meta.url), {
        workerData: { runtimeDir: stack.runtimeDir, mode },
      });
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      worker.on('error', (error: Error) => assert.equal(error.message, 'thrown on purpose'));
      await once(worker, 'message');
      const socket = net.connect(70, '127.0.0.1');
      let code = '';
      socket.on('error', (error: NodeJS.ErrnoException) => {
        code = error.code!;
      });
      socket.resume();
      socket.write('go');
      await new Promise((resolve) => socket.once('close', resolve));
      assert.ok(code === 'ECONNRESET' || code === '', code);
      await ended;
    }
    const apps = JSON.parse((await stack.command('show app', { json: true })).text) as { name: string }[];
    assert.deepEqual(
      apps.map((app) => app.name),
      ['here'],
    );
    net.close();
    await stack.close();
  });
}
