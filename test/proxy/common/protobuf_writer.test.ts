/** The protobuf writer, read back by @bufbuild/protobuf and by the plain reader. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { ProtoWriter } from '../../../src/proxy/common/protobuf_writer.ts';
import { Fields } from '../../support/protobuf_reader.ts';

test('numbers are varints as a library reads them', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 1, max: 5000 }), (value, field) => {
      fc.pre(value !== 0);
      const out = new ProtoWriter();
      out.number(field, value);
      const reader = new BinaryReader(out.bytes);
      assert.deepEqual(reader.tag(), [field, 0]);
      assert.equal(String(reader.int64()), String(value));
    }),
  );
});

test('messages in messages, of any length', () => {
  for (const length of [0, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000]) {
    const out = new ProtoWriter();
    const outer = out.begin(1);
    out.text(2, 'x'.repeat(length));
    const inner = out.begin(3);
    out.text(1, 'é');
    out.double(2, 1.5);
    out.hex(4, '00ff');
    out.end(inner);
    out.end(outer);
    out.number(9, 7);
    const read = new Fields(out.bytes);
    assert.equal(read.message(1).text(2).length, length);
    assert.deepEqual([read.message(1).message(3).text(1), read.message(1).message(3).double(2)], ['é', 1.5]);
    assert.deepEqual([read.message(1).message(3).hex(4), read.number(9)], ['00ff', 7]);
  }
});

test('times: seconds and nanoseconds; defaults are left out', () => {
  const out = new ProtoWriter();
  out.timestamp(1, 1_700_000_000_123.5);
  out.number(2, 0);
  out.bool(3, false);
  out.text(4, '');
  const read = new Fields(out.bytes);
  assert.deepEqual([read.message(1).number(1), read.message(1).number(2)], [1_700_000_000, 123_500_000]);
  assert.deepEqual([read.has(2), read.has(3), read.has(4)], [false, false, false]);
});
