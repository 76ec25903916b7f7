/** What applications do while connects wait for a listener of theirs, with the stack in the same thread: it sees all of it in one turn. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { type VclSession, VclState } from '../../../src/stack/vcl/session.ts';
import { VclWorker } from '../../../src/stack/vcl/worker.ts';

const PORT = 1016;
const SLOTS = 16;

let directory: string;
let stack: HostStack;
let server: VclWorker;
let client: VclWorker;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-deferred-'));
  stack = new HostStack({ runtimeDir: directory, segments: { slots: SLOTS, arenaPages: 64, maxSegments: 1 } });
});

after(() => {
  stack.close();
  rmSync(directory, { recursive: true });
});

beforeEach(async () => {
  server = await VclWorker.attach('server', { runtimeDir: directory });
  client = await VclWorker.attach('client', { runtimeDir: directory });
});

afterEach(() => {
  server.destroy();
  client.destroy();
});

/** Lets the stack take its turns, and the workers what it says, until `done`. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) {
    await new Promise((resolve) => setImmediate(resolve));
    server.poll();
    client.poll();
  }
}

async function listen(worker: VclWorker, backlog: number): Promise<VclSession> {
  const listener = worker.createSession(0);
  listener.local.set('0.0.0.0', PORT);
  worker.listen(listener, backlog);
  await until(() => listener.state === VclState.listening);
  return listener;
}

function connect(worker: VclWorker): VclSession {
  const session = worker.createSession(0);
  session.remote.set('127.0.0.1', PORT);
  worker.connect(session);
  return session;
}

test('a connect that waits finds the memory of sessions whose ends are still to be heard of', { timeout: 30_000 }, async () => {
  const listener = await listen(server, SLOTS);
  const held = Array.from({ length: SLOTS }, () => connect(client));
  await until(() => listener.acceptQueue.length === SLOTS && held.every((session) => session.state === VclState.ready));
  const late = connect(client);
  // The backlog is full: the stack has said that it waits for an acceptance.
  await until(() => listener.ringOnAccept);
  for (let i = 0; i < SLOTS; i++) server.close(server.accept(listener)!);
  for (const session of held) client.close(session);
  await until(() => late.state !== VclState.connecting);
  assert.equal(late.error, 0);
  assert.equal(late.state, VclState.ready);
});

for (const [given, kept] of [
  [0, 1],
  [1, 0],
])
  test(`of two connects that wait, ${given} is given up while it is looked at`, { timeout: 30_000 }, async () => {
    const listener = await listen(server, 1);
    const first = connect(server);
    await until(() => first.state === VclState.ready && listener.acceptQueue.length === 1);
    const waiting = [connect(server), connect(server)];
    await until(() => listener.ringOnAccept);
    server.accept(listener);
    server.close(waiting[given]);
    await until(() => {
      // One that was given up may have come as far as the backlog.
      server.accept(listener);
      return waiting[kept].state !== VclState.connecting;
    });
    assert.equal(waiting[kept].error, 0);
  });

test('connections of an application to itself are accepted in their order', { timeout: 30_000 }, async () => {
  const listener = await listen(server, 10);
  const sessions = [0, 1, 2].map(() => connect(server));
  await until(() => sessions.every((session) => session.state === VclState.ready) && listener.acceptQueue.length === 3);
  const ports = sessions.map(() => server.accept(listener)!.remote.port);
  assert.deepEqual(
    ports,
    sessions.map((session) => session.local.port),
  );
});
