import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolvePlainScalar } from '../../../src/proxy/config/scalar.ts';

const TABLE: readonly (readonly [string, string | number | boolean | null])[] = [
  ['', null],
  ['~', null],
  ['null', null],
  ['Null', null],
  ['NULL', null],
  ['nULL', 'nULL'],
  ['true', true],
  ['True', true],
  ['TRUE', true],
  ['tRUE', 'tRUE'],
  ['yes', true],
  ['No', false],
  ['ON', true],
  ['off', false],
  ['y', true],
  ['N', false],
  ['truey', 'truey'],
  ['0', 0],
  ['-0', 0],
  ['42', 42],
  ['+42', 42],
  ['-42', -42],
  ['0x1F', 31],
  ['-0x10', -16],
  ['017', 15],
  ['08', '08'],
  ['0o17', '0o17'],
  ['1_000', '1_000'],
  ['0.25', '0.25'],
  ['1e3', '1e3'],
  ['.inf', '.inf'],
  ['2147483647', 2147483647],
  ['2147483648', '2147483648'],
  ['-2147483648', -2147483648],
  ['-2147483649', '-2147483649'],
  ['9223372036854775807', '9223372036854775807'],
  ['9223372036854775808', '9223372036854775808'],
  ['0x7fffffffffffffff', '9223372036854775807'],
  ['5s', '5s'],
  ['10.0.0.1', '10.0.0.1'],
  ['2026-01-01', '2026-01-01'],
];

for (const [text, value] of TABLE) {
  test(`plain scalar ${JSON.stringify(text)} is ${JSON.stringify(value)}`, () => {
    const result = resolvePlainScalar(text);
    // -0 and 0 are the same configuration.
    assert.deepEqual(Object.is(result, -0) ? 0 : result, value);
  });
}
