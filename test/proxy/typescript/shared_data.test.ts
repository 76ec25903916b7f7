/** The table in shared memory: as a Map would do, bounded, and whole under many threads. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SharedDataFull, SharedDataTable } from '../../../src/proxy/typescript/shared_data.ts';

const table = (bytes?: number): SharedDataTable => new SharedDataTable(SharedDataTable.allocate(bytes));

test('values, numbers, text, and what is not there', () => {
  const shared = table();
  assert.equal(shared.get('a'), undefined);
  shared.set('a', 'one');
  shared.set('ü€😀', new Uint8Array([1, 2, 3]));
  assert.equal(shared.getText('a'), 'one');
  assert.deepEqual([...shared.get('ü€😀')!], [1, 2, 3]);
  shared.set('a', 'a value that is much longer than the one before it');
  assert.equal(shared.getText('a'), 'a value that is much longer than the one before it');
  shared.set('a', '');
  assert.equal(shared.getText('a'), '');
  assert.equal(shared.add('n', 2.5), 2.5);
  assert.equal(shared.add('n', -1), 1.5);
  shared.setNumber('n', 7);
  assert.equal(shared.getNumber('n'), 7);
  assert.throws(() => shared.add('a', 1), /is not a number/);
  assert.equal(shared.size, 3);
  assert.equal(shared.delete('a'), true);
  assert.equal(shared.delete('a'), false);
  assert.equal(shared.size, 2);
});

test('compare and set', () => {
  const shared = table();
  assert.equal(shared.compareAndSet('a', 'x', 'y'), false);
  assert.equal(shared.compareAndSet('a', undefined, 'x'), true);
  assert.equal(shared.compareAndSet('a', undefined, 'y'), false);
  assert.equal(shared.compareAndSet('a', 'x', 'y'), true);
  assert.equal(shared.getText('a'), 'y');
});

test('a token bucket', () => {
  const shared = table();
  const taken = Array.from({ length: 5 }, () => shared.takeTokens('b', 3, 0));
  assert.deepEqual(taken, [true, true, true, false, false]);
  assert.equal(shared.takeTokens('c', 10, 0, 11), false);
  assert.equal(shared.takeTokens('c', 10, 0, 10), true);
});

test('as a Map does, over many random operations', () => {
  const shared = table(256 * 1024);
  const map = new Map<string, string>();
  let seed = 12345;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % n;
  };
  for (let i = 0; i < 50_000; i++) {
    const key = `key ${random(300)}`;
    switch (random(3)) {
      case 0: {
        const value = 'v'.repeat(random(200)) + i;
        shared.set(key, value);
        map.set(key, value);
        break;
      }
      case 1:
        assert.equal(shared.delete(key), map.delete(key));
        break;
      default:
        assert.equal(shared.getText(key), map.get(key));
    }
  }
  assert.equal(shared.size, map.size);
  for (const [key, value] of map) assert.equal(shared.getText(key), value);
});

test('bounded: a full table says so, keeps what it has, and has room again after removals', () => {
  const shared = table(64 * 1024);
  let n = 0;
  assert.throws(() => {
    for (; ; n++) shared.set(`k${n}`, 'x'.repeat(100));
  }, SharedDataFull);
  assert.ok(n > 20);
  assert.throws(() => shared.set('k0', 'y'.repeat(10_000)), SharedDataFull);
  assert.throws(() => shared.set('huge', new Uint8Array(1 << 28)), SharedDataFull);
  assert.equal(shared.getText('k0'), 'x'.repeat(100));
  assert.ok(shared.delete('k1'));
  shared.set('new', 'x'.repeat(100));
  assert.throws(() => shared.set('z'.repeat(5000), 'x'), /at most/);
});

test('token buckets that are full again make room for others', () => {
  const shared = table(64 * 1024);
  for (let i = 0; i < 5000; i++) assert.equal(shared.takeTokens(`client ${i}`, 1, 1e9), true);
  assert.throws(() => {
    for (let i = 0; i < 5000; i++) shared.takeTokens(`slow ${i}`, 1, 0);
  }, SharedDataFull);
});

test('many threads at once', async () => {
  const memory = SharedDataTable.allocate(1 << 20);
  const code = `
    import { workerData } from 'node:worker_threads';
    const { SharedDataTable } = await import(workerData.url);
    const shared = new SharedDataTable(workerData.memory);
    for (let i = 0; i < 20000; i++) {
      shared.add('sum', 1);
      shared.set('text' + (i % 50), 'thread ' + workerData.id + ' ' + 'x'.repeat(i % 100));
      if (i % 7 === 0) shared.delete('text' + (i % 50));
      if (shared.takeTokens('tokens', 1000, 0)) shared.add('taken', 1);
    }
  `;
  const url = new URL('../../../src/proxy/typescript/shared_data.ts', import.meta.url).href;
  const workers = Array.from(
    { length: 4 },
    (_, id) => new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: { url, memory, id } }),
  );
  const codes = await Promise.all(workers.map(async (worker) => (await once(worker, 'exit'))[0] as number));
  assert.deepEqual(codes, [0, 0, 0, 0]);
  const shared = new SharedDataTable(memory);
  assert.equal(shared.getNumber('sum'), 80_000);
  assert.equal(shared.getNumber('taken'), 1000);
  for (let i = 0; i < 50; i++) assert.match(shared.getText(`text${i}`) ?? 'thread 0 ', /^thread \d x*$/);
});
