import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { statsMatcher } from '../../../src/core/stats/matcher.ts';
import { createStatsMemory, Store } from '../../../src/core/stats/store.ts';

test('a name gives the same object, scopes join with dots', () => {
  const store = new Store();
  const cluster = store.scope('cluster.a.');
  assert.equal(cluster.prefix, 'cluster.a.');
  assert.equal(cluster.counter('upstream_rq_total'), store.counter('cluster.a.upstream_rq_total'));
  assert.equal(store.scope('cluster').scope('a').counter('upstream_rq_total'), cluster.counter('upstream_rq_total'));
  assert.equal(store.scope('listener.[::1]:80').counter('x').name, 'listener.[__1]_80.x');
  assert.equal(store.scope('').gauge('g').name, 'g');
});

test('counters, gauges and text readouts keep their values', () => {
  const store = new Store();
  const counter = store.counter('c');
  counter.inc();
  counter.add(41);
  assert.equal(counter.value, 42);
  const gauge = store.gauge('g');
  gauge.inc();
  gauge.add(9);
  gauge.dec();
  gauge.sub(4);
  assert.equal(gauge.value, 5);
  gauge.set(7);
  gauge.inc();
  assert.equal(gauge.value, 8);
  const text = store.textReadout('t');
  assert.equal(text.value, '');
  text.set('one');
  text.set('zwei ü');
  assert.equal(text.value, 'zwei ü');
});

test('a stat is used when it was written, even back to 0', () => {
  const store = new Store();
  store.counter('c');
  store.gauge('g');
  store.gauge('set').set(0);
  store.histogram('h', 'milliseconds');
  assert.deepEqual([store.allCounters()[0].used, store.allHistograms()[0].used], [false, false]);
  assert.deepEqual(
    store.allGauges().map(({ name, used }) => [name, used]),
    [
      ['g', false],
      ['set', true],
    ],
  );
  store.counter('c').inc();
  store.gauge('g').inc();
  store.gauge('g').dec();
  store.histogram('h', 'milliseconds').recordValue(0);
  assert.equal(store.gauge('g').value, 0);
  assert.deepEqual([store.allCounters()[0].used, store.allGauges()[0].used, store.allHistograms()[0].used], [true, true, true]);
  store.resetCounters();
  assert.deepEqual([store.counter('c').value, store.allCounters()[0].used], [0, true]);
  store.counter('c').add(3);
  assert.equal(store.counter('c').value, 3);
});

test('rejected names can be written and stay invisible', () => {
  const store = new Store({ rejects: statsMatcher({ exclusionList: { patterns: [{ prefix: 'secret.' }] } }) });
  store.counter('secret.c').inc();
  store.gauge('secret.g').set(3);
  store.histogram('secret.h', 'bytes').recordValue(3);
  store.textReadout('secret.t').set('x');
  store.counter('open').inc();
  assert.deepEqual(
    store.allCounters().map(({ name }) => name),
    ['open'],
  );
  assert.deepEqual([store.allGauges().length, store.allHistograms().length, store.allTextReadouts().length], [0, 0, 0]);
  assert.equal(store.counter('secret.c').value, 0);
});

test('matchers: reject all, inclusion, exclusion, every pattern', () => {
  assert.equal(statsMatcher(undefined)('x'), false);
  assert.equal(statsMatcher({ rejectAll: true })('x'), true);
  const included = statsMatcher({
    inclusionList: { patterns: [{ exact: 'a' }, { suffix: '.B', ignoreCase: true }, { safeRegex: { regex: 'c\\d+' } }] },
  });
  assert.deepEqual(['a', 'x.b', 'c12', 'c', 'xc1', 'aa'].map(included), [false, false, false, true, true, true]);
  assert.equal(statsMatcher({ exclusionList: { patterns: [{ contains: 'mid' }] } })('a.mid.b'), true);
  const posix = statsMatcher({ exclusionList: { patterns: [{ safeRegex: { regex: '(?i)\\Ax[[:digit:]_]+\\z' } }] } });
  assert.deepEqual(['X1_2', 'x1.2', 'yx1'].map(posix), [true, false, false]);
  assert.throws(() => statsMatcher({ exclusionList: { patterns: [{ safeRegex: { regex: '(' } }] } }), RangeError);
});

test('thousands of names grow the shared memory and keep their cells apart', () => {
  const memory = createStatsMemory(2);
  const main = new Store({ memory, thread: 0 });
  const worker = new Store({ memory, thread: 1 });
  assert.equal(main.allCounters().length, 0);
  for (let i = 0; i < 30_000; i++) worker.counter(`cluster.some_long_name_${i}.upstream_rq_total`).add(i);
  for (let i = 0; i < 200; i++) worker.histogram(`h${i}`, 'bytes').recordValue(10 ** (i % 16));
  worker.gauge('last').set(5);
  for (const i of [0, 1, 8191, 8192, 29_999]) assert.equal(main.counterValue(`cluster.some_long_name_${i}.upstream_rq_total`), i);
  assert.equal(main.allCounters().length, 30_000);
  assert.equal(main.gaugeValue('last'), 5);
  assert.ok(main.allHistograms().every(({ cumulative }) => cumulative.sampleCount === 1));
});

test('the last thread that sets a gauge decides, others add', () => {
  const memory = createStatsMemory(3);
  const [main, a, b] = [0, 1, 2].map((thread) => new Store({ memory, thread }));
  a.gauge('membership').set(4);
  b.gauge('membership').set(6);
  assert.equal(main.gauge('membership').value, 6);
  a.gauge('membership').set(5);
  assert.equal(main.gauge('membership').value, 5);
  a.gauge('active').add(3);
  b.gauge('active').add(4);
  b.gauge('active').dec();
  assert.equal(main.gauge('active').value, 6);
  assert.equal(a.gauge('active').value, 6);
  a.textReadout('version').set('1');
  b.textReadout('version').set('2');
  assert.equal(main.textReadout('version').value, '2');
});

test('real worker threads add up, also in names that only they know', async () => {
  const workers = 3;
  const rounds = 20_000;
  const memory = createStatsMemory(1 + workers);
  const main = new Store({ memory, thread: 0 });
  main.counter('shared').add(5);
  const source = `
    import { workerData } from 'node:worker_threads';
    import { Store } from ${JSON.stringify(new URL('../../../src/core/stats/store.ts', import.meta.url).href)};
    const store = new Store({ memory: workerData.memory, thread: workerData.thread });
    const shared = store.counter('shared');
    const own = store.counter('worker.' + workerData.thread);
    const active = store.gauge('active');
    const time = store.histogram('time', 'milliseconds');
    for (let i = 0; i < ${rounds}; i++) { shared.inc(); own.add(2); active.inc(); if (i % 2 === 0) active.dec(); time.recordValue(i % 100); }
  `;
  await Promise.all(
    Array.from({ length: workers }, (_, i) => {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: { memory, thread: i + 1 },
        execArgv: ['--disable-warning=ExperimentalWarning'],
      });
      return new Promise<void>((resolve, reject) => {
        worker.once('error', reject);
        worker.once('exit', () => resolve());
      });
    }),
  );
  assert.equal(main.counter('shared').value, 5 + workers * rounds);
  for (let i = 1; i <= workers; i++) assert.equal(main.counterValue(`worker.${i}`), 2 * rounds);
  assert.equal(main.gaugeValue('active'), (workers * rounds) / 2);
  const [time] = main.allHistograms();
  assert.equal(time.cumulative.sampleCount, workers * rounds);
  assert.equal(time.cumulative.sampleSum, (workers * rounds * 99) / 2);
  main.resetCounters();
  assert.equal(main.counter('shared').value, 0);
});
