import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Diagnostics } from '../../../src/proxy/config/errors.ts';
import { type ConfigNode, Source } from '../../../src/proxy/config/source.ts';
import { parseText, type TextFormat } from '../../../src/proxy/config/text.ts';

function read(text: string, format: TextFormat = 'yaml'): { value: unknown; errors: string[] } {
  const diagnostics = new Diagnostics();
  const node = parseText(new Source('f', text), format, diagnostics);
  return { value: node === undefined ? undefined : simple(node), errors: diagnostics.errors.map(({ message }) => message) };
}

function simple(node: ConfigNode): unknown {
  if (node.kind === 'map') return Object.fromEntries(node.entries.map(({ key, value }) => [key, simple(value)]));
  return node.kind === 'list' ? node.items.map(simple) : node.value;
}

test('quoted scalars are strings, unquoted ones follow yaml-cpp', () => {
  const { value } = read(`a: "5"\nb: 'true'\nc: |\n  7\nd: >-\n  yes\ne: 5\nf: yes\ng:\nh: ! 5`);
  assert.deepEqual(value, { a: '5', b: 'true', c: '7\n', d: 'yes', e: 5, f: true, g: null, h: '5' });
});

test('keys tagged !ignore are dropped and their anchors stay', () => {
  const { value, errors } = read('!ignore shared: &shared { x: 1 }\na: *shared\nb: [*shared]');
  assert.deepEqual(errors, []);
  assert.deepEqual(value, { a: { x: 1 }, b: [{ x: 1 }] });
});

test('merge keys: own keys win, then the first merged map', () => {
  const { value } = read('p: &p { x: 1, y: 2 }\nq: &q { y: 3, z: 4 }\na: { <<: *p, x: 9 }\nb: { <<: [*p, *q] }\nc: { "<<": 5 }');
  assert.deepEqual(value, { p: { x: 1, y: 2 }, q: { y: 3, z: 4 }, a: { x: 9, y: 2 }, b: { x: 1, y: 2, z: 4 }, c: { '<<': 5 } });
});

test('an empty second document is nothing, a filled one is refused', () => {
  assert.deepEqual(read('---\na: 1\n---\n').errors, []);
  assert.deepEqual(read('a: 1\n---\nb: 2\n').errors, ['f:2:1: Unable to read YAML: only one document is allowed']);
});

test('mistakes come with their position', () => {
  assert.deepEqual(read('a: 1\nb: *nowhere').errors, ["f:2:4: Unable to read YAML: unknown anchor 'nowhere'"]);
  assert.deepEqual(read('a: 1\nb: 2\na: 3').errors, ["f:3:1: Unable to read YAML: key 'a' is there twice"]);
  assert.deepEqual(read('? [x]\n: 1').errors, ['f:1:3: Unable to read YAML: a key must be a name']);
  assert.match(read('a: [1, 2').errors[0], /^f:1:\d+: Unable to read YAML: /);
});

test('of what a syntax error makes of the rest, only the error itself is told', () => {
  const rest = Array.from({ length: 20 }, (_, i) => `c${i}: { d: 1 }`).join('\n');
  assert.match(read(`a:\n  b: { port: x{y} }\n${rest}`).errors.join('\n'), /^f:2:\d+: Unable to read YAML: [^\n]*$/);
  assert.match(read(`a:\n- b: 1\n c: 2\n${rest}`).errors.join('\n'), /^f:[23]:\d+: Unable to read YAML: [^\n]*$/);
});

test('JSON has JSON values', () => {
  const { value } = read('{"a": 1.5, "b": [true, null, "yes"], "c": 10000000000, "d": -0.5e1}', 'json');
  assert.deepEqual(value, { a: 1.5, b: [true, null, 'yes'], c: 10000000000, d: -5 });
  assert.match(read('{"a": 010}', 'json').errors[0], /^f:1:\d+: Unable to read JSON: /);
  assert.deepEqual(read('a: 1', 'json').errors, ["f:1:1: Unable to read JSON: Unexpected token 'a'"]);
  assert.deepEqual(read('{"first": "some text",\n "second": trux, "third": "more text"}', 'json').errors, [
    "f:2:15: Unable to read JSON: Unexpected token 'x'",
  ]);
  assert.match(read('{"a":', 'json').errors[0], /^f:1:6: Unable to read JSON: /);
});

test('deep nesting and alias towers end in an error', () => {
  for (const text of ['['.repeat(20_000), '{a: '.repeat(20_000), `${'- '.repeat(1000)}x`]) {
    const { errors } = read(text);
    assert.match(errors[0], /nested too deeply/, text.slice(0, 10));
  }
});
