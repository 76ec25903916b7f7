import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, fromJson, type JsonObject, toBinary, toJson } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { ProtoReader, readStruct, WireError } from '../../../src/proxy/common/protobuf_reader.ts';
import { ProtoWriter, writeStruct } from '../../../src/proxy/common/protobuf_writer.ts';

const structs = fc.dictionary(fc.string(), fc.jsonValue()).filter((value) => !Object.hasOwn(value, '__proto__'));

test('structs are read as protobuf-es wrote them, and the other way round', () => {
  fc.assert(
    fc.property(structs, (given) => {
      const struct = JSON.parse(JSON.stringify(given)) as JsonObject;
      const message = fromJson(StructSchema, struct);
      assert.deepEqual({ ...readStruct(new ProtoReader(toBinary(StructSchema, message))) }, struct);
      const writer = new ProtoWriter();
      writeStruct(writer, struct);
      assert.deepEqual(toJson(StructSchema, fromBinary(StructSchema, writer.bytes)), struct);
    }),
  );
});

test('any bytes are read or refused, and never more than that', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readStruct(new ProtoReader(bytes));
      } catch (error) {
        assert.ok(error instanceof WireError);
      }
    }),
  );
});

test('nesting has an end', () => {
  let bytes = toBinary(StructSchema, create(StructSchema));
  for (let i = 0; i < 200; i++) {
    const inner = bytes;
    const writer = new ProtoWriter();
    writer.message(1, (entry) => entry.message(2, (value) => value.anyBlob(5, inner)));
    bytes = writer.bytes.slice() as typeof bytes;
  }
  assert.throws(() => readStruct(new ProtoReader(bytes)), WireError);
});

test('integers', () => {
  for (const value of [1, 127, 128, 300, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    const writer = new ProtoWriter();
    writer.number(3, value);
    const reader = new ProtoReader(writer.bytes);
    assert.equal(reader.next(), true);
    assert.equal(reader.int(), value);
    assert.equal(reader.next(), false);
  }
  const minusOne = new ProtoReader(Uint8Array.of(8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1));
  minusOne.next();
  assert.ok(minusOne.int() <= 0);
});
