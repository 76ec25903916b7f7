// ioredis against a real server (TEST_REDIS: host:port). Run under `sluice exec`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Redis from 'ioredis';

const [host, port] = process.env.TEST_REDIS.split(':');

test('ioredis: commands, pipelines, big values, publish and subscribe', async () => {
  const redis = new Redis({ host, port: Number(port) });
  assert.equal(await redis.set('key', 'value'), 'OK');
  assert.equal(await redis.get('key'), 'value');
  assert.equal(redis.stream._handle, null, 'not a kernel socket');
  const big = Buffer.alloc(2_000_000, 'r');
  await redis.set('big', big);
  assert.ok(big.equals(await redis.getBuffer('big')));
  const pipeline = redis.pipeline();
  for (let i = 0; i < 1000; i++) pipeline.incr('count');
  assert.equal((await pipeline.exec()).at(-1)[1], 1000);
  const listener = redis.duplicate();
  await listener.subscribe('channel');
  const heard = new Promise((resolve) => listener.once('message', (_, message) => resolve(message)));
  await redis.publish('channel', 'hello');
  assert.equal(await heard, 'hello');
  await Promise.all([redis.quit(), listener.quit()]);
});
