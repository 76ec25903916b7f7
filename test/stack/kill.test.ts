/**
 * SIGKILL at random moments: of the client, the server, the stack. Whoever is left must be told, nothing may hang or leak, and everyone
 * can attach again. A few rounds by default; a soak with SLUICE_KILL_ROUNDS=1000.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { sendCommand } from '../../src/stack/index.ts';
import type { AppArguments } from './app.ts';
import { random } from './svm/support.ts';

const ROUNDS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 6);
const SEED = Number(process.env['SLUICE_SEED'] ?? 1);
const FLAGS = ['--disable-warning=ExperimentalWarning'];
const TOLD = [
  'read -104',
  'write -104',
  'write -32',
  'read -100',
  'write -100',
  'connect -100',
  'connect -104',
  'connect -111',
  'attach ECONNREFUSED',
  'attach EATTACH',
  'done',
];

interface Started {
  child: ChildProcess;
  said: string[];
  line(start: string): Promise<void>;
  ended: Promise<unknown>;
}

function start(args: string[]): Started {
  const child = spawn(process.execPath, [...FLAGS, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: string[] = [];
  let heard = (): void => {};
  createInterface(child.stdout!).on('line', (text) => {
    said.push(text);
    heard();
  });
  return {
    child,
    said,
    ended: once(child, 'close'),
    line: (wanted) =>
      new Promise((resolve) => {
        heard = () => said.some((text) => text.startsWith(wanted)) && resolve();
        heard();
      }),
  };
}

test(`${ROUNDS} rounds of SIGKILL`, { timeout: 20_000 + ROUNDS * 5000 }, async () => {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'sluice-kill-'));
  const rnd = random(SEED);
  const main = new URL('../../src/stack/main.ts', import.meta.url).pathname;
  const app = new URL('./app.ts', import.meta.url).pathname;
  const startStack = async (): Promise<Started> => {
    const stack = start([main, '--runtime-dir', runtimeDir]);
    await stack.line('stack ');
    return stack;
  };
  const startApp = (args: Partial<AppArguments>): Started =>
    start([app, JSON.stringify({ runtimeDir, port: 7, connections: 0, total: 1e12, seed: 1, edge: rnd(2) === 0, ...args })]);
  let stack = await startStack();
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const server = startApp({ role: 'server' });
      await server.line('listening');
      const client = startApp({ role: 'client', connections: 1 });
      // Wait until bytes flow (most times), then a random while.
      if (rnd(4) > 0) while (!(await command(runtimeDir, 'show session verbose 1')).includes('"ready"')) await nextTurn();
      await new Promise((resolve) => setTimeout(resolve, rnd(40)));
      const victim = round % 3;
      [client, server, stack][victim].child.kill('SIGKILL');
      if (victim === 0) {
        await client.ended;
        // The server lives on and serves the next one.
        const next = startApp({ role: 'client', connections: 1, total: 100_000 });
        await next.ended;
        assert.deepEqual(next.said, ['done'], `round ${round}`);
        server.child.kill('SIGKILL');
      } else if (victim === 1) {
        await client.ended;
        for (const text of client.said) assert.ok(TOLD.includes(text), `round ${round}: client said ${client.said}`);
      } else {
        await client.ended;
        await server.ended;
        for (const text of client.said) assert.ok(TOLD.includes(text), `round ${round}: client said ${client.said}`);
        assert.deepEqual(server.said, ['listening', 'done'], `round ${round}`);
        stack = await startStack();
      }
      await Promise.all([client.ended, server.ended]);
      // The stack has seen them go: nothing is left of them.
      while ((await command(runtimeDir, 'show app')) !== '[]') await nextTurn();
      assert.equal(JSON.parse(await command(runtimeDir, 'show session')).sessions, 0, `round ${round}`);
      assert.equal(await command(runtimeDir, 'show segment-manager'), '[]', `round ${round}`);
    }
  } finally {
    stack.child.kill('SIGTERM');
    await stack.ended;
    rmSync(runtimeDir, { recursive: true, force: true });
  }
});

async function command(runtimeDir: string, line: string): Promise<string> {
  return (await sendCommand(runtimeDir, line, true)).text;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
