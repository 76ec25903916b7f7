import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { attach, createHostStack } from '../../../src/stack/index.ts';

const descriptors = (): number => readdirSync('/proc/self/fd').length;

for (const mode of ['exit', 'throw', 'leave', 'terminate', 'terminate blocked']) {
  test(`a thread that ends by ${mode} is noticed, its port is free again and its descriptors are closed`, async () => {
    const stack = await createHostStack();
    const net = await attach({ name: 'here', runtimeDir: stack.runtimeDir });
    const before: number[] = [];
    for (let round = 0; round < 4; round++) {
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
      const said = new Promise((resolve) => worker.once('message', resolve));
      socket.write('go');
      await said;
      if (mode.startsWith('terminate')) worker.terminate();
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
      assert.ok(code === 'ECONNRESET' || code === '', code);
      await ended;
      // The stack deletes the segment of the pair in its next turn.
      while (JSON.parse((await stack.command('show segment-manager', { json: true })).text).length > 0);
      await new Promise((resolve) => setImmediate(resolve));
      before.push(descriptors());
    }
    // Some are always being closed; a thread that left its own behind would leave five or more.
    assert.ok(before[3] < before[0] + 5, `${before}`);
    const apps = JSON.parse((await stack.command('show app', { json: true })).text) as { name: string }[];
    assert.deepEqual(
      apps.map((app) => app.name),
      ['here'],
    );
    net.close();
    await stack.close();
  });
}
