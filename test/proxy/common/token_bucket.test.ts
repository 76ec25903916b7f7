import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { TokenBucket } from '../../../src/proxy/common/token_bucket.ts';

function take(bucket: TokenBucket, nowMs: number): number {
  let taken = 0;
  while (bucket.consume(nowMs)) taken++;
  return taken;
}

for (const shared of [null, new BigInt64Array(new SharedArrayBuffer(16))]) {
  test(`${shared === null ? 'own' : 'shared'}: full at first, then as fast as it fills, never beyond its size`, () => {
    const bucket = new TokenBucket({ maxTokens: 7, tokensPerFill: 3, fillInterval: 1000 }, shared, shared === null ? 0 : 1);
    assert.equal(bucket.remaining(5000), 7);
    assert.equal(take(bucket, 5000), 7);
    assert.equal(bucket.remaining(5000), 0);
    assert.equal(bucket.nextTokenMs(5000), 334);
    assert.equal(take(bucket, 5331), 0);
    assert.equal(take(bucket, 5334), 1);
    assert.equal(take(bucket, 6000), 2);
    assert.equal(take(bucket, 9_000_000), 7);
    assert.equal(take(bucket, 8_999_990), 0, 'a clock that is a little behind gives nothing');
  });
}

test('nothing is lost or given twice over a long time', () => {
  const bucket = new TokenBucket({ maxTokens: 100, tokensPerFill: 7, fillInterval: 60 });
  let taken = take(bucket, 1_000_000_000.3);
  for (let ms = 0; ms <= 60_000; ms += 13) taken += take(bucket, 1_000_000_000.3 + ms);
  taken += take(bucket, 1_000_060_000);
  assert.equal(taken, 100 + 7000);
});

test('a clock that is behind misses no token, and an empty bucket gives none', () => {
  const bucket = new TokenBucket({ maxTokens: 3, fillInterval: 3_600_000 });
  assert.deepEqual(
    [bucket.consume(5001), bucket.consume(5000), bucket.consume(4999), bucket.consume(5001)],
    [true, true, true, false],
  );
});

test('a bucket without tokens gives none', () => {
  assert.equal(take(new TokenBucket({ maxTokens: 0, fillInterval: 50 }), 1e6), 0);
});

test('threads that take at the same time get each token once', async () => {
  const memory = new SharedArrayBuffer(8);
  const code = `
    const { workerData, parentPort } = require('node:worker_threads');
    import(${JSON.stringify(new URL('../../../src/proxy/common/token_bucket.ts', import.meta.url).href)}).then(({ TokenBucket }) => {
      const bucket = new TokenBucket({ maxTokens: 20000, fillInterval: 1e9 }, new BigInt64Array(workerData), 0);
      let taken = 0;
      while (bucket.consume(1e6)) taken++;
      parentPort.postMessage(taken);
    });`;
  const counts = await Promise.all(
    [0, 1, 2].map(
      () =>
        new Promise<number>((resolve, reject) => {
          new Worker(code, { eval: true, workerData: memory }).once('message', resolve).once('error', reject);
        }),
    ),
  );
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    20000,
  );
});
