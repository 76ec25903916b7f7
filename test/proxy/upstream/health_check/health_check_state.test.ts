import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runtimeEntry, snapshotFromPlain } from '../../../../src/proxy/runtime/snapshot.ts';
import {
  HealthCheckState,
  type HealthTransition,
  nextCheckMs,
  withJitter,
} from '../../../../src/proxy/upstream/health_check/health_check_state.ts';
import { HealthFlag } from '../../../../src/proxy/upstream/health_flags.ts';

const FAILED = HealthFlag.FailedActiveHc;
const TIMEOUT = HealthFlag.ActiveHcTimeout;

/** Results as letters, and what each makes of the flags and the transition. */
function run(
  results: string,
  { healthy = 2, unhealthy = 3, flags = FAILED as number, log = false } = {},
): { flags: number[]; transitions: HealthTransition[]; happenings: string[] } {
  const settings = { healthyThreshold: healthy, unhealthyThreshold: unhealthy, alwaysLogFailures: log, alwaysLogSuccess: log };
  const state = new HealthCheckState(settings);
  const seen: number[] = [];
  const transitions: HealthTransition[] = [];
  const happenings: string[] = [];
  for (const result of results) {
    const outcome =
      result === 's' || result === 'd'
        ? state.onSuccess(flags, result === 'd')
        : result === 'a'
          ? state.onFailure(flags, 'ACTIVE', false)
          : result === 'r'
            ? state.onFailure(flags, 'ACTIVE', true)
            : result === 'n'
              ? state.onFailure(flags, 'NETWORK', false)
              : result === 't'
                ? state.onFailure(flags, 'NETWORK_TIMEOUT', false)
                : state.onFailure(flags, 'PASSIVE', false, true);
    flags = outcome.flags;
    seen.push(flags);
    transitions.push(outcome.transition);
    for (const happening of outcome.happenings) happenings.push(happening.what);
  }
  return { flags: seen, transitions, happenings };
}

describe('health of a host', () => {
  test('the first success is enough; later ones count', () => {
    assert.deepEqual(run('s'), { flags: [0], transitions: ['changed'], happenings: ['add_healthy'] });
    assert.deepEqual(run('nss').flags, [FAILED, FAILED, 0]);
    assert.deepEqual(run('nss').transitions, ['unchanged', 'pending', 'changed']);
    assert.deepEqual(run('nsnss', {}).flags, [FAILED, FAILED, FAILED, FAILED, 0], 'in a row');
  });

  test('a wrong answer fails at once; the network and retriable answers have the threshold', () => {
    assert.deepEqual(run('sa').flags, [0, FAILED]);
    assert.deepEqual(run('snnn').flags, [0, 0, 0, FAILED]);
    assert.deepEqual(run('snnn').transitions, ['changed', 'pending', 'pending', 'changed']);
    assert.deepEqual(run('srrr').flags, [0, 0, 0, FAILED]);
    assert.deepEqual(run('snnsnn').flags.at(-1), 0, 'in a row');
  });

  test('a timeout is flagged while the host is unhealthy', () => {
    assert.deepEqual(run('sttt').flags, [0, 0, 0, FAILED | TIMEOUT]);
    assert.deepEqual(run('tn').flags, [FAILED | TIMEOUT, FAILED]);
    assert.deepEqual(run('tss').flags, [FAILED | TIMEOUT, FAILED | TIMEOUT, 0]);
  });

  test('an immediate failure excludes until checks succeed again', () => {
    const excluded = FAILED | HealthFlag.ExcludedViaImmediateHcFail;
    assert.deepEqual(run('spss').flags, [0, excluded, excluded, 0]);
  });

  test('the first result, good or bad, ends being pending', () => {
    const flags = FAILED | HealthFlag.PendingActiveHc;
    assert.deepEqual(run('n', { flags }), { flags: [FAILED], transitions: ['changed'], happenings: ['failure'] });
    assert.deepEqual(run('s', { flags }).flags, [0]);
  });

  test('degraded comes and goes with each success', () => {
    const { flags, transitions, happenings } = run('sdds');
    assert.deepEqual(flags, [0, HealthFlag.DegradedActiveHc, HealthFlag.DegradedActiveHc, 0]);
    assert.deepEqual(transitions, ['changed', 'changed', 'unchanged', 'changed']);
    assert.deepEqual(happenings, ['add_healthy', 'degraded', 'no_longer_degraded']);
  });

  test('flags of others stay', () => {
    const flags = FAILED | HealthFlag.FailedOutlierCheck | HealthFlag.DegradedEdsHealth;
    assert.deepEqual(run('s', { flags }).flags, [HealthFlag.FailedOutlierCheck | HealthFlag.DegradedEdsHealth]);
  });

  test('what is logged', () => {
    assert.deepEqual(run('nnssnnn').happenings, ['failure', 'add_healthy', 'eject_unhealthy']);
    assert.deepEqual(run('sns', { log: true }).happenings, ['add_healthy', 'success', 'failure', 'success']);
  });
});

describe('the next check', () => {
  const settings = {
    intervalMs: 1,
    unhealthyMs: 2,
    unhealthyEdgeMs: 3,
    healthyEdgeMs: 4,
    noTrafficMs: 5,
    noTrafficHealthyMs: 6,
    jitterMs: 0,
    jitterPercent: 0,
  };
  const at = (healthy: boolean, transition: HealthTransition, traffic = true): number =>
    nextCheckMs(settings, { healthy, transition, traffic }, () => 0, null);

  test('depends on health, whether it is changing, and traffic', () => {
    assert.deepEqual([at(true, 'unchanged'), at(true, 'changed'), at(true, 'pending')], [1, 1, 4]);
    assert.deepEqual([at(false, 'unchanged'), at(false, 'changed'), at(false, 'pending')], [2, 2, 3]);
    assert.deepEqual([at(true, 'unchanged', false), at(true, 'pending', false), at(false, 'unchanged', false)], [6, 5, 5]);
  });

  test('has jitter, in percent and in time', () => {
    assert.equal(
      withJitter(1000, 0, 10, () => 199),
      1099,
    );
    assert.equal(
      withJitter(1000, 50, 0, () => 249),
      1049,
    );
    assert.equal(
      withJitter(1000, 50, 10, () => 0xffffffff),
      1000 + (0xffffffff % 100) + (0xffffffff % 50),
    );
  });

  test('is limited by runtime', () => {
    const runtime = (key: string, value: number) => ({ snapshot: snapshotFromPlain([[key, runtimeEntry(value)]]) });
    const next = { healthy: true, transition: 'unchanged', traffic: true } as const;
    assert.equal(
      nextCheckMs(settings, next, () => 0, runtime('health_check.min_interval', 500)),
      500,
    );
    assert.equal(
      nextCheckMs({ ...settings, intervalMs: 900 }, next, () => 0, runtime('health_check.max_interval', 100)),
      100,
    );
  });
});
