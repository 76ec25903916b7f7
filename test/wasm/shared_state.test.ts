/** Shared data and queues: one suite for one thread's and for the process's; threads that write the same key. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { SharedMemoryState } from '../../src/wasm/shared/shared_memory_state.ts';
import { LocalSharedState, type SharedState } from '../../src/wasm/shared/shared_state.ts';

const b = (text: string): Uint8Array => Buffer.from(text);
const posted: (() => void)[] = [];
const post = (callback: () => void): void => {
  posted.push(callback);
};
const runPosted = (): void => {
  for (const callback of posted.splice(0)) callback();
};
const buffer = (max = 8 << 20): SharedArrayBuffer => new SharedArrayBuffer(64 << 10, { maxByteLength: max });

const IMPLEMENTATIONS: Record<string, (limit: number) => SharedState> = {
  'one thread': (limit) => new LocalSharedState(post, limit),
  'shared memory': (limit) => new SharedMemoryState(buffer(limit), post),
};

for (const [name, create] of Object.entries(IMPLEMENTATIONS)) {
  describe(name, () => {
    test('data by vm and key, with compare-and-swap', () => {
      const state = create(8 << 20);
      assert.equal(state.getData('a', b('k')), null);
      assert.equal(state.setData('a', b('k'), b('one'), 77), 'ok');
      const first = state.getData('a', b('k'))!;
      assert.equal(Buffer.from(first.value).toString(), 'one');
      assert.equal(state.setData('a', b('k'), b('two, longer than before'), first.cas), 'ok');
      assert.equal(state.setData('a', b('k'), b('three'), first.cas), 'cas_mismatch');
      assert.equal(Buffer.from(state.getData('a', b('k'))!.value).toString(), 'two, longer than before');
      assert.equal(state.getData('b', b('k')), null);
      assert.equal(state.setData('a', b('k'), b(''), 0), 'ok');
      assert.equal(state.getData('a', b('k'))!.value.length, 0);
    });

    test('every write has its own number', () => {
      const state = create(8 << 20);
      const numbers = new Set<number>();
      for (let i = 0; i < 100; i++) {
        state.setData('a', b(`k${i % 7}`), b(String(i)), 0);
        numbers.add(state.getData('a', b(`k${i % 7}`))!.cas);
      }
      assert.equal(numbers.size, 100);
    });

    test('queues: first in, first out; the latest registrant is told', () => {
      const state = create(8 << 20);
      const told: string[] = [];
      const token = state.registerQueue('a', b('q'), () => told.push('first'));
      assert.equal(
        state.registerQueue('a', b('q'), () => told.push('second')),
        token,
      );
      assert.equal(state.resolveQueue('a', b('q')), token);
      assert.equal(state.resolveQueue('b', b('q')), 0);
      assert.equal(state.enqueue(token, b('1')), 'ok');
      assert.equal(state.enqueue(token, b('2')), 'ok');
      assert.deepEqual(told, []);
      runPosted();
      assert.deepEqual(told, ['second', 'second']);
      assert.equal(Buffer.from(state.dequeue(token) as Uint8Array).toString(), '1');
      assert.equal(Buffer.from(state.dequeue(token) as Uint8Array).toString(), '2');
      assert.equal(state.dequeue(token), 'empty');
      assert.equal(state.dequeue(99), 'unknown');
      assert.equal(state.enqueue(99, b('x')), 'unknown');
      assert.equal(state.enqueue(-1, b('x')), 'unknown');
    });

    test('memory is bounded, and what is taken out makes room', () => {
      const state = create(1 << 20);
      const token = state.registerQueue('a', b('q'), () => {});
      const item = new Uint8Array(60_000);
      let count = 0;
      while (state.enqueue(token, item) === 'ok') assert.ok(++count < 100);
      assert.ok(count >= 8, String(count));
      state.dequeue(token);
      assert.equal(state.enqueue(token, item), 'ok');
      assert.equal(state.setData('a', b('k'), new Uint8Array(500_000), 0), 'full');
    });

    test('what a vm_id has goes with its last user, and nothing else does', () => {
      const state = create(1 << 20);
      for (const vm of ['a', 'a', 'ab', '']) state.retain(vm);
      const tokens = new Map<string, number>();
      for (const vm of ['a', 'ab', '']) {
        for (let i = 0; i < 300; i++) assert.equal(state.setData(vm, b(`k${i}`), b(`${vm}${i}`), 0), 'ok');
        const token = state.registerQueue(vm, b('q'), () => {});
        tokens.set(vm, token);
        state.enqueue(token, b('item'));
      }
      state.release('a');
      assert.notEqual(state.getData('a', b('k7')), null);
      state.release('a');
      for (let i = 0; i < 300; i++) assert.equal(state.getData('a', b(`k${i}`)), null);
      assert.equal(state.resolveQueue('a', b('q')), 0);
      assert.equal(state.enqueue(tokens.get('a')!, b('x')), 'unknown');
      assert.equal(state.dequeue(tokens.get('a')!), 'unknown');
      for (const vm of ['ab', '']) {
        for (let i = 0; i < 300; i++) assert.equal(Buffer.from(state.getData(vm, b(`k${i}`))!.value).toString(), `${vm}${i}`);
        assert.equal(Buffer.from(state.dequeue(tokens.get(vm)!) as Uint8Array).toString(), 'item');
      }
      // Nobody's: nothing happens.
      state.release('never');
      assert.equal(
        state.registerQueue('ab', b('q'), () => {}),
        tokens.get('ab'),
      );
    });

    test('plugins that come and go with all they have written: for ever in the same memory', () => {
      const state = create(1 << 20);
      for (let round = 0; round < 3000; round++) {
        const vm = `vm${round}`;
        state.retain(vm);
        for (let i = 0; i < 4; i++) assert.equal(state.setData(vm, b(`k${i}`), new Uint8Array(10_000), 0), 'ok', String(round));
        const token = state.registerQueue(vm, b('q'), () => {});
        assert.ok(token > 0, String(round));
        assert.equal(state.enqueue(token, new Uint8Array(5000)), 'ok');
        state.release(vm);
      }
    });

    test('a value that is written over and over needs no more room', () => {
      const state = create(1 << 20);
      for (let i = 0; i < 10_000; i++) assert.equal(state.setData('a', b('k'), new Uint8Array(1000 + (i % 10)), 0), 'ok');
    });
  });
}

test('threads that count with compare-and-swap lose nothing; a queue is told across threads', async () => {
  const shared = buffer();
  const state = new SharedMemoryState(shared, post);
  let told = 0;
  const token = state.registerQueue('vm', b('done'), () => told++);
  const code = `
    import { workerData } from 'node:worker_threads';
    import { SharedMemoryState } from ${JSON.stringify(new URL('../../src/wasm/shared/shared_memory_state.ts', import.meta.url).href)};
    const state = new SharedMemoryState(workerData, () => {});
    const key = Buffer.from('n');
    for (let i = 0; i < 2000; ) {
      const now = state.getData('vm', key);
      const next = Buffer.from(String(now === null ? 1 : Number(Buffer.from(now.value).toString()) + 1));
      if (state.setData('vm', key, next, now === null ? 0 : now.cas) === 'ok') i++;
    }
    state.enqueue(state.resolveQueue('vm', Buffer.from('done')), Buffer.from('x'));`;
  // The first write has no number to compare with: it is made before there are others.
  state.setData('vm', b('n'), b('0'), 0);
  const workers = [0, 1, 2].map(
    () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: shared }),
  );
  await Promise.all(
    workers.map((worker) => new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))),
  );
  assert.equal(Buffer.from(state.getData('vm', b('n'))!.value).toString(), '6000');
  while (told < 3) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 3; i++) assert.equal(Buffer.from(state.dequeue(token) as Uint8Array).toString(), 'x');
});
