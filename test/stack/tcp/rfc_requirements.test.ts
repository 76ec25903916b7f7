/** Every MUST of RFC 9293 has a test that says so, or a reason why it is not met. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coverage, missing } from '../../../scripts/rfc-requirements.ts';

test('every MUST of RFC 9293 is tested, or left out for a reason', () => {
  const rows = coverage();
  assert.deepEqual(
    missing(rows).map(({ id, title }) => `${id} ${title}`),
    [],
  );
  assert.ok(rows.filter(({ id }) => id.startsWith('MUST')).length === 69);
  for (const { id, tests, leftOut } of rows)
    assert.ok(leftOut === undefined || tests.length === 0, `${id} is tested and said to be left out`);
});
