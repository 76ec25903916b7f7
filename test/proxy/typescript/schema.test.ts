/** Configuration of filters: what schemas accept, complete and refuse. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Infer, SchemaError, schema } from '../../../src/proxy/typescript/schema.ts';

const config = schema.object({
  name: schema.string(),
  count: schema.integer({ min: 1, max: 10 }).default(3),
  ratio: schema.number({ max: 1 }).optional(),
  mode: schema.oneOf('fast', 'slow').default('fast'),
  timeout: schema.duration({ min: 1 }).default(1000),
  tags: schema.list(schema.string()).default([]),
  limits: schema.map(schema.object({ rate: schema.number() })).default({}),
  on: schema.boolean().default(false),
  extra: schema.any(),
});

function reasonOf(value: unknown): string {
  try {
    config.parse(value);
  } catch (error) {
    assert.ok(error instanceof SchemaError);
    return error.message;
  }
  return 'accepted';
}

test('defaults are filled in', () => {
  const parsed: Infer<typeof config> = config.parse({ name: 'a', timeout: '1.5s' });
  assert.deepEqual(parsed, {
    name: 'a',
    count: 3,
    ratio: undefined,
    mode: 'fast',
    timeout: 1500,
    tags: [],
    limits: {},
    on: false,
    extra: undefined,
  });
  assert.equal(config.parse({ name: 'a', timeout: '2m' }).timeout, 120_000);
  assert.deepEqual(config.parse({ name: 'a', limits: { x: { rate: 2 } } }).limits, { x: { rate: 2 } });
});

test('numbers with a point, which YAML leaves as text', () => {
  assert.equal(config.parse({ name: 'a', ratio: '0.25' }).ratio, 0.25);
  assert.equal(config.parse({ name: 'a', ratio: '-1e-2' }).ratio, -0.01);
  assert.equal(reasonOf({ name: 'a', ratio: '0.x' }), 'ratio: expected a number, got "0.x"');
  assert.equal(reasonOf({ name: 'a', ratio: '' }), 'ratio: expected a number, got ""');
});

test('mistakes say where and what', () => {
  assert.equal(reasonOf({}), 'name: is missing');
  assert.equal(reasonOf({ name: 5 }), 'name: expected a string, got 5');
  assert.equal(reasonOf({ name: 'a', count: 2.5 }), 'count: expected a whole number, got 2.5');
  assert.equal(reasonOf({ name: 'a', count: 11 }), 'count: must be at most 10, got 11');
  assert.equal(reasonOf({ name: 'a', mode: 'fsat' }), `mode: expected one of "fast", "slow", got "fsat"; did you mean "fast"?`);
  assert.equal(reasonOf({ name: 'a', timeout: 5 }), 'timeout: expected a duration such as "1.5s" or "200ms", got 5');
  assert.equal(reasonOf({ name: 'a', tags: ['x', 1] }), 'tags[1]: expected a string, got 1');
  assert.equal(reasonOf({ name: 'a', limits: { x: {} } }), 'limits["x"].rate: is missing');
  assert.equal(reasonOf({ name: 'a', conut: 1 }), `conut: there is no such field; did you mean 'count'?`);
  assert.equal(reasonOf('text'), 'expected an object, got "text"');
});
