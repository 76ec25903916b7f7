/**
 * TCP under a seeded network: `SIM_SEEDS=5000 SIM_FROM=1 npm test -- test/sim` runs more; a failing seed is named and reproduces alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFor, runExercise } from './exercise.ts';

const count = Number(process.env['SIM_SEEDS'] ?? 2500);
const from = Number(process.env['SIM_FROM'] ?? 1);

test(`${count} seeded exercises deliver every byte and leave nothing behind`, () => {
  const failures: string[] = [];
  for (let seed = from; seed < from + count; seed++) {
    try {
      runExercise(planFor(seed));
    } catch (error) {
      failures.push(`seed ${seed}: ${(error as Error).message}`);
    }
  }
  assert.deepEqual(failures, []);
});

test('a seed reproduces its run to the microsecond', () => {
  assert.equal(runExercise(planFor(17)), runExercise(planFor(17)));
});
