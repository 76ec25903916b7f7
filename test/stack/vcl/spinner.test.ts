/** Looking again before sleeping: how often, and when it is given up. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { ADAPTIVE_SPIN, Spinner } from '../../../src/stack/vcl/spinner.ts';

const skip = availableParallelism() > 1 ? false : 'one core: nothing to look for';

/** How often `waits` waits look at all when looking is no use. */
function looked(spinner: Spinner, waits: number): number {
  let n = 0;
  for (let i = 0; i < waits; i++) {
    let seen = false;
    assert.equal(
      spinner.until(() => {
        seen = true;
        return false;
      }),
      false,
    );
    if (seen) n++;
  }
  return n;
}

test('no time, no look', () => {
  assert.equal(looked(new Spinner(0), 5), 0);
});

test('a fixed time is used at every wait', () => {
  assert.equal(looked(new Spinner(1), 50), 50);
});

test('stops looking when that never helps, and never for ever', { skip }, () => {
  const spinner = new Spinner(ADAPTIVE_SPIN);
  const early = looked(spinner, 130);
  assert.ok(early >= 6 && early <= 8, `${early}`);
  assert.equal(looked(spinner, 65 * 10), 10);
});

test('comes back to looking when it helps again', { skip }, () => {
  const spinner = new Spinner(ADAPTIVE_SPIN);
  looked(spinner, 1000);
  let found = 0;
  for (let i = 0; i < 1000; i++) if (spinner.until(() => true)) found++;
  assert.ok(found > 900, `${found}`);
});

test('says what it saw', () => {
  let n = 0;
  assert.equal(
    new Spinner(1e6).until(() => ++n === 100),
    true,
  );
  assert.equal(n, 100);
});
