import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Batch } from '../../../src/core/event/batch.ts';

test('runs in order; what is added meanwhile waits for the next run', () => {
  const batch = new Batch<number>();
  const ran: number[] = [];
  const each = (n: number): void => {
    ran.push(n);
    if (n < 10) batch.push(n + 10);
  };
  batch.push(1);
  batch.push(2);
  assert.equal(batch.size, 2);
  batch.run(each);
  assert.deepEqual(ran, [1, 2]);
  assert.equal(batch.size, 2);
  batch.run(each);
  assert.deepEqual(ran, [1, 2, 11, 12]);
  assert.equal(batch.size, 0);
  batch.run(each);
  assert.equal(ran.length, 4);
});

test('a later, shorter run sees nothing of an earlier one', () => {
  const batch = new Batch<string>();
  for (const text of ['a', 'b', 'c']) batch.push(text);
  const ran: string[] = [];
  const each = (text: string): void => void ran.push(text);
  batch.run(each);
  batch.run(each);
  batch.push('d');
  batch.run(each);
  batch.push('e');
  batch.run(each);
  assert.deepEqual(ran, ['a', 'b', 'c', 'd', 'e']);
});
