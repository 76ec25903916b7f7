import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BLOCK_SIZE, Slab, SlabExhaustedError } from '../../../src/core/buffer/slab.ts';

test('blocks are counted, reused last-in first-out, and run out with an error', () => {
  const slab = new Slab(3);
  const a = slab.allocate();
  const b = slab.allocate();
  assert.equal(slab.blocksInUse, 2);
  assert.equal(slab.isLow(2), true);
  assert.equal(slab.isLow(1), false);
  slab.retain(a + 5);
  slab.release(a);
  assert.equal(slab.blocksInUse, 2);
  slab.release(a + 100);
  assert.equal(slab.blocksInUse, 1);
  assert.equal(slab.allocate(), a);
  slab.allocate();
  assert.throws(() => slab.allocate(), SlabExhaustedError);
  slab.release(b);
  assert.throws(() => slab.release(b), /released more often/);
});

test('reserved pieces do not overlap, and start over when all are gone', () => {
  const slab = new Slab(8);
  const first = slab.reserve(100);
  slab.trimReserved(first + 10);
  const second = slab.reserve(100);
  assert.equal(second, first + 10);
  const large = slab.reserve(BLOCK_SIZE);
  assert.notEqual(large >> 14, first >> 14);
  slab.release(first);
  slab.release(second);
  slab.release(large);
  assert.equal(slab.blocksInUse, 1, 'the tail block itself');
  assert.equal(slab.reserve(1), large);
  assert.throws(() => slab.reserve(BLOCK_SIZE + 1), RangeError);
});

test('copy equals a plain copy for every length and alignment', () => {
  const slab = new Slab(4);
  const from = slab.allocate();
  const to = slab.allocate();
  for (let i = 0; i < 1000; i++) slab.u8[from + i] = (i * 131) ^ (i >> 3);
  fc.assert(
    fc.property(fc.nat(40), fc.nat(40), fc.nat(300), (source, target, length) => {
      slab.u8.fill(0xee, to, to + 400);
      slab.copy(to + target, from + source, length);
      assert.deepEqual(slab.u8.slice(to + target, to + target + length), slab.u8.slice(from + source, from + source + length));
      assert.equal(slab.u8[to + target + length], 0xee);
      assert.ok(target === 0 || slab.u8[to + target - 1] === 0xee);
    }),
  );
});

test('pressure grows with the share of blocks in use', () => {
  const slab = new Slab(16);
  const held: number[] = [];
  const seen: number[] = [];
  for (let i = 0; i < 16; i++) {
    held.push(slab.allocate());
    seen.push(slab.pressure);
  }
  assert.deepEqual(seen, [0, 0, 0, 0, 0, 0, 0, 2, 2, 4, 4, 6, 6, 6, 6, 6]);
  for (const block of held) slab.release(block);
  assert.equal(slab.pressure, 0);
});
