import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Http2Stream } from '../../../../src/proxy/http/http2/stream.ts';
import { StreamTable } from '../../../../src/proxy/http/http2/stream_table.ts';

const streamOf = (id: number): Http2Stream => ({ id }) as unknown as Http2Stream;
const operation = fc.record({
  add: fc.boolean(),
  id: fc.oneof(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 1, max: 2 ** 31 - 1 })),
});

test('holds what a Map holds', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 400 }), (operations) => {
      const table = new StreamTable();
      const model = new Map<number, Http2Stream>();
      for (const { add, id } of operations) {
        if (add && !model.has(id)) {
          const stream = streamOf(id);
          table.set(id, stream);
          model.set(id, stream);
        } else {
          table.delete(id);
          model.delete(id);
        }
        assert.equal(table.size, model.size);
      }
      for (const [id, stream] of model) assert.equal(table.get(id), stream);
      for (const { id } of operations) assert.equal(table.get(id), model.get(id));
      assert.deepEqual(
        table.toArray().map((stream) => stream.id),
        [...model.keys()].sort((a, b) => a - b),
      );
    }),
  );
});

test('numbers that rise for ever, a few at a time: nothing is left behind', () => {
  const table = new StreamTable();
  for (let id = 1; id < 200_000; id += 2) {
    table.set(id, streamOf(id));
    if (id > 40) table.delete(id - 40);
  }
  assert.equal(table.size, 20);
  assert.equal(table.get(199_999)?.id, 199_999);
  assert.equal(table.get(199_999 - 40), undefined);
});

test('number 0 is nobody', () => {
  const table = new StreamTable();
  table.delete(0);
  assert.equal(table.get(0), undefined);
  assert.equal(table.size, 0);
});
