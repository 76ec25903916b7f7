/** A peer that writes garbage everywhere it can reach: its own sessions may die, nobody else's, and no process. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createHostStack, type EmbeddedHostStack } from '../../src/stack/index.ts';
import type { Segment } from '../../src/stack/svm/segment.ts';
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
  attachment: { segment: Segment };
  endList: { segment: Segment }[];
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
    const areas = [inside.endList[0].segment, inside.attachment.segment];
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
  const deadline = performance.now() + 5000;
  while ((await apps()) !== 'honest,server') assert.ok(performance.now() < deadline, await apps());
  honest.close(good);
  server.close(goodPeer);
  server.destroy();
  honest.destroy();
  while (JSON.parse((await stack.command('show session', { json: true })).text).sessions > 0)
    assert.ok(performance.now() < deadline);
});
