import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { QUANTILE_FRACTIONS } from '../../../src/core/stats/histogram.ts';
import { createStatsMemory, Store } from '../../../src/core/stats/store.ts';

function recorded(values: readonly number[], unit: 'milliseconds' | 'percent' = 'milliseconds') {
  const store = new Store();
  const histogram = store.histogram('h', unit);
  for (const value of values) histogram.recordValue(value);
  return store.allHistograms()[0].cumulative;
}

test('quantiles as Envoy computes them', () => {
  assert.deepEqual(recorded([120, 450]).quantiles(), [120, 125, 130, 455, 458, 459, 459.8, 459.9, 459.98, 460]);
  assert.deepEqual(recorded([200, 300, 300]).quantiles().slice(0, 5), [200, 207.5, 302.5, 306.25, 308.5]);
  assert.deepEqual(recorded([1]).quantiles().slice(0, 4), [1, 1.025, 1.05, 1.075]);
  assert.deepEqual(recorded([0, 0]).quantiles(), Array(10).fill(0));
  assert.ok(recorded([]).quantiles().every(Number.isNaN));
});

test('buckets count the bins that end at or below the bound', () => {
  const statistics = recorded([10, 200, 300, 300]);
  assert.deepEqual(statistics.cumulativeBuckets([5, 10, 25, 250, 500]), [0, 0, 1, 2, 4]);
  assert.deepEqual(statistics.disjointBuckets([5, 10, 25, 250, 500]), [0, 0, 1, 1, 2]);
});

test('intervals hold what came between two merges', () => {
  const store = new Store();
  const histogram = store.histogram('h', 'bytes');
  histogram.recordValue(120);
  store.mergeHistograms();
  assert.equal(store.allHistograms()[0].interval.sampleCount, 1);
  histogram.recordValue(450);
  histogram.recordValue(450);
  store.mergeHistograms();
  const [stat] = store.allHistograms();
  assert.deepEqual([stat.interval.sampleCount, stat.interval.sampleSum, stat.interval.quantile(0)], [2, 900, 450]);
  assert.deepEqual([stat.cumulative.sampleCount, stat.cumulative.sampleSum], [3, 1020]);
  store.mergeHistograms();
  assert.equal(store.allHistograms()[0].interval.sampleCount, 0);
});

test('strange values do not break a histogram', () => {
  const statistics = recorded([-5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, 0.9, 1.9]);
  assert.equal(statistics.sampleCount, 6);
  assert.equal(statistics.quantile(0), 0);
  assert.ok(Number.isFinite(statistics.quantile(1)));
});

test('percentages keep their fraction', () => {
  const statistics = recorded([0.25, 0.25, 0.25], 'percent');
  assert.equal(statistics.quantile(0), 0.25);
  assert.ok(Math.abs(statistics.sampleSum - 0.75) < 1e-9);
});

test('property: every quantile is within one bin of the true one, in order, and merges add up', () => {
  const values = fc.array(fc.oneof(fc.nat(120), fc.nat(5000), fc.integer({ min: 0, max: 2 ** 45 })), {
    minLength: 1,
    maxLength: 300,
  });
  fc.assert(
    fc.property(values, (samples) => {
      const memory = createStatsMemory(2);
      const stores = [new Store({ memory, thread: 0 }), new Store({ memory, thread: 1 })];
      for (const [i, value] of samples.entries()) stores[i % 2].histogram('h', 'milliseconds').recordValue(value);
      const { cumulative } = stores[0].allHistograms()[0];
      assert.equal(cumulative.sampleCount, samples.length);
      assert.equal(
        cumulative.sampleSum,
        samples.reduce((a, b) => a + b, 0),
      );
      const sorted = [...samples].sort((a, b) => a - b);
      let previous = 0;
      for (const fraction of QUANTILE_FRACTIONS) {
        const estimate = cumulative.quantile(fraction);
        assert.ok(estimate >= previous);
        previous = estimate;
        // The sample whose bin the estimate lies in, and the bin's width: two significant digits.
        const exact = sorted[Math.max(0, Math.ceil(samples.length * fraction) - 1)];
        const width = exact === 0 ? 0 : Math.max(0.1, 10 ** (Math.floor(Math.log10(exact)) - 1)) * 1.0001;
        assert.ok(Math.abs(estimate - exact) <= width, `quantile ${fraction}: ${estimate} for ${exact}`);
      }
    }),
    { numRuns: 200, seed: 7 },
  );
});
