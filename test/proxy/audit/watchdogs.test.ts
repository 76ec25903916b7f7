/** `watchdogs` and `watchdog`: whose timeouts they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Store } from '../../../src/core/stats/store.ts';
import { GuardDog, watchdogSettings } from '../../../src/proxy/server/guard_dog.ts';
import { load } from '../config/helpers.ts';

const settings = (yaml: string) => watchdogSettings(load(yaml).bootstrap);

test('defaults, both together, one by one', () => {
  const usual = { missTimeoutMs: 200, megaMissTimeoutMs: 1000 };
  assert.deepEqual(settings('node: {}'), { mainThread: usual, worker: usual });
  const both = { missTimeoutMs: 50, megaMissTimeoutMs: 1000 };
  assert.deepEqual(settings('watchdog: { miss_timeout: 0.05s }'), { mainThread: both, worker: both });
  const yaml = 'watchdogs: { main_thread_watchdog: { miss_timeout: 2s }, worker_watchdog: { megamiss_timeout: 3s } }';
  assert.deepEqual(settings(yaml), {
    mainThread: { missTimeoutMs: 2000, megaMissTimeoutMs: 1000 },
    worker: { missTimeoutMs: 200, megaMissTimeoutMs: 3000 },
  });
});

test('a worker that stands still is a miss and then a mega miss, by its own timeouts', () => {
  const store = new Store();
  const megaMisses: string[] = [];
  const dog = new GuardDog(
    1,
    store.scope('server.'),
    { mainThread: { missTimeoutMs: 10_000, megaMissTimeoutMs: 10_000 }, worker: { missTimeoutMs: 30, megaMissTimeoutMs: 70 } },
    (name, timeoutMs) => megaMisses.push(`${name} ${timeoutMs}`),
  );
  dog.watch(0, 'worker_0', () => {});
  const counts = () => [
    store.counterValue('server.workers.watchdog_miss'),
    store.counterValue('server.workers.watchdog_mega_miss'),
  ];
  const start = performance.now();
  for (const at of [0, 20]) dog.check(start + at, 20);
  assert.deepEqual(counts(), [0, 0]);
  for (const at of [40, 60]) dog.check(start + at, 20);
  assert.deepEqual(counts(), [1, 0]);
  for (const at of [80, 100]) dog.check(start + at, 20);
  assert.deepEqual(counts(), [1, 1]);
  assert.deepEqual(megaMisses, ['worker_0 70']);
  Atomics.add(dog.cells, 0, 1);
  dog.check(start + 120, 20);
  assert.deepEqual(counts(), [1, 1]);
  assert.equal(store.counterValue('server.main_thread.watchdog_miss'), 0);
});
