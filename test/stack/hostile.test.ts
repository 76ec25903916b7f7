/** A peer that writes garbage everywhere it can reach: its own sessions may die, nobody else's, and no process. */
import assert from 'node:assert/strict';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { libc } from '../../src/core/sys/libc.ts';
import { createHostStack, type EmbeddedHostStack } from '../../src/stack/index.ts';
import type { MessageQueueProducer } from '../../src/stack/svm/message_queue.ts';
import { queueParts, type Segment } from '../../src/stack/svm/segment.ts';
import { VclWorker } from '../../src/stack/vcl/worker.ts';
import { acceptOn, connectTo, listenOn, until } from './support.ts';
import { random } from './svm/support.ts';

const FIRST_SEED = Number(process.env['SLUICE_SEED'] ?? 1);
const ROUNDS = Number(process.env['SLUICE_FUZZ_ROUNDS'] ?? 60);

let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack({ segments: { slots: 16, arenaPages: 64 } });
});

after(() => stack.close());

interface Internals {
  attachment: { segment: Segment; bellFd: number; stackFd: number };
  ends: { list: { segment: Segment; ringFd: number; bellFd: number; toPeer: MessageQueueProducer }[] };
}

test(`${ROUNDS} seeded rounds of scribbling over every shared word`, async () => {
  const server = VclWorker.attachBlocking('server', { runtimeDir: stack.runtimeDir, rxFifoSize: 50_000, txFifoSize: 50_000 });
  const honest = VclWorker.attachBlocking('honest', { runtimeDir: stack.runtimeDir });
  const listener = listenOn(server, '0.0.0.0', 80);
  const good = connectTo(honest, '127.0.0.1', 80);
  const goodPeer = acceptOn(server, listener);
  const data = Buffer.alloc(20_000, 7);
  const buffer = Buffer.alloc(60_000);
  for (let seed = FIRST_SEED; seed < FIRST_SEED + ROUNDS; seed++) {
    const rnd = random(seed);
    const rogue = VclWorker.attachBlocking('rogue', { runtimeDir: stack.runtimeDir });
    const bad = connectTo(rogue, '127.0.0.1', 80);
    const badPeer = acceptOn(server, listener);
    bad.write(data);
    badPeer.write(data);
    const inside = rogue as unknown as Internals;
    const areas = [inside.ends.list[0].segment, inside.attachment.segment];
    for (let i = 0; i < 200; i++) {
      const segment = areas[rnd(4) === 0 ? 1 : 0];
      // Mostly where headers, rings, slots and the chunk table are.
      const limit = rnd(3) === 0 ? segment.i32.length : segment.layout.arenaFirstPage * 1024;
      segment.i32[rnd(limit)] = rnd(2) === 0 ? rnd(1000) - 100 : (rnd(65536) << 16) | rnd(65536);
      if (i % 20 === 0) {
        server.poll();
        badPeer.read(buffer, 0, rnd(30_000));
        badPeer.write(data, 0, rnd(20_000));
        assert.ok(badPeer.readiness >= 0);
      }
    }
    assert.equal(good.write(data), data.length);
    until(() => goodPeer.readable === data.length, server);
    assert.equal(goodPeer.read(buffer), data.length);
    assert.ok(buffer.subarray(0, data.length).equals(data), `seed ${seed}`);
    server.close(badPeer);
    rogue.destroy();
    await stack.command('show session verbose 2');
  }
  const apps = async (): Promise<string> => {
    const rows = JSON.parse((await stack.command('show app', { json: true })).text) as { name: string }[];
    return rows
      .map((app) => app.name)
      .sort()
      .join();
  };
  // The stack hears of those who have left when it next looks at its sockets.
  const deadline = performance.now() + 30_000;
  while ((await apps()) !== 'honest,server') assert.ok(performance.now() < deadline, await apps());
  honest.close(good);
  server.close(goodPeer);
  server.destroy();
  honest.destroy();
  while (JSON.parse((await stack.command('show session', { json: true })).text).sessions > 0)
    assert.ok(performance.now() < deadline);
});

test('a peer that fills its bells and makes them block stops nobody who rings them', async () => {
  const F_SETFL = 4;
  const server = VclWorker.attachBlocking('server', { runtimeDir: stack.runtimeDir });
  const listener = listenOn(server, '0.0.0.0', 81);
  const rogue = VclWorker.attachBlocking('rogue', { runtimeDir: stack.runtimeDir });
  const bad = connectTo(rogue, '127.0.0.1', 81);
  const badPeer = acceptOn(server, listener);
  const { attachment, ends } = rogue as unknown as Internals;
  const [end] = ends.list;
  const bells = [attachment.bellFd, end.bellFd];
  for (const fd of [...bells, attachment.stackFd, end.ringFd]) libc.fcntl(fd, F_SETFL, 0);
  for (const fd of bells) {
    const back = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
    assert.throws(() => {
      for (;;) writeSync(back, Buffer.alloc(512));
    }, /EAGAIN/);
    closeSync(back);
  }
  const armed = [end.segment, attachment.segment].map((segment, i) => ({
    segment,
    word: queueParts(segment, i === 0 ? 1 : 0).armed,
  }));
  const byte = Buffer.alloc(1);
  for (let i = 0; i < 1000; i++) {
    for (const { segment, word } of armed) segment.i32[word] = 1;
    // The server rings for each, and the stack for each answer.
    assert.equal(badPeer.write(byte), 1);
    assert.equal(bad.read(byte), 1);
    rogue.connect(Object.assign(rogue.createSession(0), { remote: bad.remote.clone() }));
    if (i % 50 === 0) await stack.command('show app');
    for (let next = server.accept(listener); next !== null; next = server.accept(listener)) server.close(next, true);
    server.poll();
    rogue.poll();
  }
  assert.match((await stack.command('show app')).text, /server/);
  rogue.destroy();
  server.destroy();
});
