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

test('a sleep shorter than a look brings looking back at once', { skip }, () => {
  const spinner = new Spinner(ADAPTIVE_SPIN);
  looked(spinner, 130);
  for (let i = 0; i < 8; i++) spinner.slept(0.01);
  assert.equal(looked(spinner, 1), 1);
});

test('a long sleep does not', { skip }, () => {
  const spinner = new Spinner(ADAPTIVE_SPIN);
  looked(spinner, 130);
  for (let i = 0; i < 8; i++) spinner.slept(5);
  assert.equal(looked(spinner, 1), 0);
});

test('offers its core between looks, and looks once more after that', () => {
  let offered = 0;
  let after = false;
  const spinner = new Spinner(1e6, () => {
    offered++;
  });
  assert.equal(
    spinner.until(() => (after = offered > 0)),
    true,
  );
  assert.ok(after);
  assert.equal(offered, 1);
});

test('keeps its core where that goes to others for long: for ever more waits', () => {
  let offered = 0;
  const spinner = new Spinner(2000, () => {
    offered++;
    const until = performance.now() + 1.5;
    while (performance.now() < until);
  });
  for (let i = 0; i < 40; i++) spinner.until(() => false);
  // After the 1st, 3rd, 7th, 15th and 31st wait.
  assert.equal(offered, 5);
});

test('says what it saw', () => {
  let n = 0;
  assert.equal(
    new Spinner(1e6).until(() => ++n === 100),
    true,
  );
  assert.equal(n, 100);
});
