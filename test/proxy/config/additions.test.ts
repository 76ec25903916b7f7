/** Newer API elements in the descriptor set. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, createFileRegistry, fromJson, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { addNewerApi } from '../../../src/proxy/config/api/additions.ts';
import { NEWER_API } from '../../../src/proxy/config/api/additions_table.ts';
import { api } from '../../../src/proxy/config/api/registry.ts';

test('every table entry is a field, message or value of the API', () => {
  let lines = 0;
  for (const [file, text] of Object.entries(NEWER_API)) {
    const folder = file.split('/').slice(0, -1).join('.');
    let owner = '';
    let kind = '';
    for (const line of text.split('\n')) {
      const [first, second] = line.trim().split(/\s+/);
      if (first === '') continue;
      lines++;
      if (first === 'message' || first === 'enum') {
        kind = first;
        owner = `${folder}.${second}`;
        assert.ok(kind === 'message' ? api().message(owner) : api().enum(owner));
      } else if (kind === 'message') {
        assert.equal(
          api()
            .message(owner)
            .fields.find((field) => field.name === first)?.number,
          Number(second),
          `${owner}.${first}`,
        );
      } else {
        assert.equal(
          api()
            .enum(owner)
            .values.find((value) => value.name === first)?.number,
          Number(second),
          `${owner}.${first}`,
        );
      }
    }
  }
  assert.ok(lines > 200);
});

test('no field number is used twice', () => {
  for (const type of api().registry) {
    if (type.kind !== 'message') continue;
    assert.equal(new Set(type.fields.map((field) => field.number)).size, type.fields.length, type.typeName);
  }
});

test('lists, maps, oneofs, nested types, new files that need each other', () => {
  const set = create(FileDescriptorSetSchema);
  addNewerApi(set, {
    'a/v1/late.proto': `
  message Holder
    one 1 repeated b.v1.Thing
    by_name 2 map string b.v1.Thing
    left 3 string in side
    right 4 Holder.Kind in side
  enum Holder.Kind
    NONE 0
    SOME 1
`.replace('Holder.Kind in', 'a.v1.Holder.Kind in'),
    'b/v1/early.proto': '\n  message Thing\n    id 1 uint64\n',
  });
  const registry = createFileRegistry(set);
  const type = registry.getMessage('a.v1.Holder');
  assert.ok(type !== undefined);
  const json = { one: [{ id: '1' }], byName: { x: { id: '2' } }, right: 'SOME' };
  assert.deepEqual(toJson(type, fromJson(type, json)), json);
  assert.deepEqual(
    type.oneofs[0].fields.map((field) => field.name),
    ['left', 'right'],
  );
  assert.throws(
    () => addNewerApi(create(FileDescriptorSetSchema), { 'c/x.proto': '\n  message M\n    f 1 no.such.Type\n' }),
    /no\.such\.Type is not part of/,
  );
});

test('VclSocketInterface is known, and not supported yet', () => {
  assert.equal(api().message('envoy.extensions.vcl.v3alpha.VclSocketInterface').fields.length, 0);
});
