/** Connection blocks that are used again: as good as new, only where the application allows it, and never while somebody refers to them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import { PipeDevice } from '../../../src/stack/link/pipe.ts';
import { type TcpApp, TcpConnection } from '../../../src/stack/tcp/connection.ts';
import { recycle } from '../../../src/stack/tcp/recycle.ts';
import { TcpState } from '../../../src/stack/tcp/state.ts';

const a = IpAddress.parse('10.0.0.1')!;
const b = IpAddress.parse('10.0.0.2')!;
const any = IpAddress.parse('0.0.0.0')!;

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state ^ (state >>> 15);
  };
}

function pair(): [NetStack, NetStack] {
  const devices = PipeDevice.pair({});
  return devices.map((device, i) => {
    const pool = { small: 1024, large: 16 };
    const stack = new NetStack({ random32: randomOf(i + 1), pool, nowUs: 0, tcp: { timeWaitMs: 5, delayedAckMs: 0 } });
    stack.addInterface(device, [`10.0.0.${i + 1}/24`]);
    return stack;
  }) as [NetStack, NetStack];
}

type Fields = Record<string, unknown>;
/** Given by the constructor for good, or not state. */
const CONSTANT = new Set(['tcp', 'connection', 'run', 'initialRtoUs', 'minRtoUs', 'maxRtoUs', 'slot', 'name', 'ownsWindow']);

/** Makes every number, flag and reference something else. */
function scribble(object: Fields, depth = 0): void {
  for (const [key, value] of Object.entries(object)) {
    if (CONSTANT.has(key)) continue;
    if (typeof value === 'number') object[key] = 77_777.5;
    else if (typeof value === 'boolean') object[key] = !value;
    else if (typeof value === 'string') object[key] = 'scribbled';
    else if (value === null) object[key] = { scribbled: true };
    else if (
      depth < 3 &&
      !ArrayBuffer.isView(value) &&
      !Array.isArray(value) &&
      !key.endsWith('Timer') &&
      !(value instanceof IpAddress)
    )
      scribble(value as Fields, depth + 1);
  }
}

function compare(actual: Fields, expected: Fields, path: string): void {
  assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), path);
  for (const [key, value] of Object.entries(expected)) {
    if (CONSTANT.has(key)) continue;
    const found = actual[key];
    const at = `${path}.${key}`;
    const plain = typeof value !== 'object' || value === null || value instanceof IpAddress || ArrayBuffer.isView(value);
    if (plain || Array.isArray(value)) assert.deepEqual(found, value, at);
    else {
      assert.ok(typeof found === 'object' && found !== null, at);
      compare(found as Fields, value as Fields, at);
    }
  }
}

test('a recycled connection equals a new one in every field', () => {
  const [stack] = pair();
  const used = new TcpConnection(stack.tcp, b, 1, a, 2, 3);
  scribble(used as unknown as Fields);
  recycle(used, a, 10, b, 20, 0);
  compare(used as unknown as Fields, new TcpConnection(stack.tcp, a, 10, b, 20, 0) as unknown as Fields, 'connection');
});

/** Runs both stacks until `done`, a millisecond per turn. */
function run(stacks: readonly NetStack[], done: () => boolean, turns = 20_000): void {
  for (let us = 1000; turns > 0; turns--, us += 1000) {
    for (const stack of stacks) for (let i = 0; i < 4; i++) stack.poll(us + stackTime);
    if (done()) {
      stackTime += us;
      return;
    }
  }
  assert.fail('not done');
}
let stackTime = 0;

for (const recycles of [true, false])
  test(`${recycles ? 'few' : 'no'} objects are used again for connections one after the other`, () => {
    const stacks = pair();
    const seen = { client: new Set<TcpConnection>(), server: new Set<TcpConnection>() };
    const last: TcpConnection[] = [];
    const serverApp: TcpApp = { onEnd: (c) => c.close(), recycles };
    stacks[1].tcp.listen({
      address: any,
      port: 80,
      onAccept: (c) => {
        seen.server.add(c);
        return serverApp;
      },
    });
    for (let i = 0; i < 100; i++) {
      let closed = 0;
      const app: TcpApp = { onConnected: (c) => c.close(), onClosed: () => closed++, recycles };
      const c = stacks[0].tcp.connect({ remote: b, remotePort: 80, app }, stackTime);
      assert.ok(typeof c !== 'string');
      assert.equal(c.bytesReceived, 0);
      seen.client.add(c);
      last.push(c);
      run(stacks, () => closed === 1);
    }
    if (recycles)
      assert.ok(seen.client.size < 30 && seen.server.size < 10, `${seen.client.size} and ${seen.server.size} objects`);
    else {
      assert.equal(seen.client.size, 100);
      assert.equal(seen.server.size, 100);
      run(stacks, () => stacks[0].tcp.connections.size === 0);
      assert.ok(last.every((c) => c.state === TcpState.closed && c.write(new Uint8Array(1)) === 0));
    }
  });

test('connections of all kinds at once over recycled objects: every byte is the right one, every end is told once', () => {
  const stacks = pair();
  const random = randomOf(99);
  const chance = (n: number): boolean => (random() >>> 0) % n === 0;
  let open = 0;
  let finished = 0;
  let echoed = 0;
  const objects = new Set<TcpConnection>();
  const scratch = new Uint8Array(20_000);
  const server: TcpApp = {
    onData: (c) => {
      const n = c.read(scratch);
      c.write(scratch, 0, n);
    },
    onEnd: (c) => c.close(),
    onClosed: () => {},
    recycles: true,
  };
  stacks[1].tcp.listen({ address: any, port: 80, onAccept: (c) => (chance(20) ? (c.abort(), null) : server) });
  const start = (id: number): void => {
    const message = Uint8Array.from({ length: 1 + ((random() >>> 0) % 9000) }, (_, i) => id + i * 7);
    let got = 0;
    let ends = 0;
    const abort = chance(10);
    const app: TcpApp = {
      onConnected: (c) => {
        assert.equal(c.write(message), message.length);
      },
      onData: (c) => {
        const buffer = new Uint8Array(20_000);
        const n = c.read(buffer);
        for (let i = 0; i < n; i++) assert.equal(buffer[i], message[got + i]);
        got += n;
        if (abort) c.abort();
        else if (got === message.length) c.shutdown();
      },
      onEnd: (c) => c.close(),
      onClosed: (c, error) => {
        objects.add(c);
        assert.equal(++ends, 1);
        open--;
        finished++;
        if (error === 'none' && got === message.length) echoed++;
      },
      recycles: true,
    };
    const c = stacks[0].tcp.connect({ remote: b, remotePort: chance(30) ? 81 : 80, app }, stackTime);
    assert.ok(typeof c !== 'string');
    open++;
  };
  for (let id = 0; id < 1500; id++) {
    start(id);
    if (open >= 20) run(stacks, () => open < 15);
  }
  run(stacks, () => open === 0);
  run(stacks, () => stacks.every((stack) => stack.tcp.connections.size === 0));
  assert.equal(finished, 1500);
  assert.ok(echoed > 1000, `${echoed} echoed`);
  assert.ok(objects.size < 700, `${objects.size} objects`);
  for (const stack of stacks) assert.equal(stack.pool.inUse, 0);
});
