/** Every call of the native API between two threads, two processes, and one of each. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createHostStack, type EmbeddedHostStack } from '../../../src/stack/index.ts';

let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack();
});

after(() => stack.close());

interface Party {
  listening: Promise<unknown>;
  /** What it has said when it ended. */
  ended: Promise<string[]>;
}

function start(kind: string, role: 'server' | 'client'): Party {
  const url = new URL('./every_call_peer.ts', import.meta.url);
  const args = { role, runtimeDir: stack.runtimeDir };
  const said: string[] = [];
  if (kind === 'thread') {
    const worker = new Worker(url, { workerData: args });
    worker.on('message', (text) => said.push(text));
    worker.on('error', (error) => said.push(String(error)));
    return { listening: once(worker, 'message'), ended: new Promise((resolve) => worker.once('exit', () => resolve(said))) };
  }
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', url.pathname, JSON.stringify(args)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout!);
  lines.on('line', (text) => said.push(text));
  return { listening: once(lines, 'line'), ended: new Promise((resolve) => child.once('close', () => resolve(said))) };
}

for (const [serverKind, clientKind] of [
  ['thread', 'thread'],
  ['process', 'process'],
  ['process', 'thread'],
]) {
  test(`server in a ${serverKind}, client in a ${clientKind}`, { timeout: 60_000 }, async () => {
    const server = start(serverKind, 'server');
    await server.listening;
    const client = start(clientKind, 'client');
    assert.deepEqual(await client.ended, ['done']);
    assert.deepEqual(await server.ended, ['listening', 'done']);
    assert.equal(JSON.parse((await stack.command('show session', { json: true })).text).sessions, 0);
  });
}
