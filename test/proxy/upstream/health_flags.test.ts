import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  edsHealthFlags,
  HealthFlag,
  HostHealth,
  healthFlagsText,
  healthOf,
  healthStatusJson,
  isExcluded,
} from '../../../src/proxy/upstream/health_flags.ts';

test('what follows from each flag', () => {
  const table: [keyof typeof HealthFlag, HostHealth, boolean][] = [
    ['FailedActiveHc', HostHealth.Unhealthy, false],
    ['FailedOutlierCheck', HostHealth.Unhealthy, false],
    ['FailedEdsHealth', HostHealth.Unhealthy, false],
    ['DegradedActiveHc', HostHealth.Degraded, false],
    ['DegradedEdsHealth', HostHealth.Degraded, false],
    ['PendingDynamicRemoval', HostHealth.Healthy, false],
    ['PendingActiveHc', HostHealth.Healthy, true],
    ['ExcludedViaImmediateHcFail', HostHealth.Healthy, true],
    ['ActiveHcTimeout', HostHealth.Healthy, false],
    ['EdsStatusDraining', HostHealth.Unhealthy, true],
  ];
  assert.equal(table.length, Object.keys(HealthFlag).length);
  for (const [name, health, excluded] of table) {
    assert.equal(healthOf(HealthFlag[name]), health, name);
    assert.equal(isExcluded(HealthFlag[name]), excluded, name);
  }
  assert.equal(healthOf(0), HostHealth.Healthy);
  assert.equal(healthOf(HealthFlag.DegradedActiveHc | HealthFlag.FailedActiveHc), HostHealth.Unhealthy);
});

test('bits are those of Envoy', () => {
  assert.deepEqual(
    Object.values(HealthFlag),
    Array.from({ length: 10 }, (_, i) => 1 << i),
  );
});

test('as admin shows them', () => {
  assert.equal(healthFlagsText(0), 'healthy');
  assert.equal(
    healthFlagsText(HealthFlag.ActiveHcTimeout | HealthFlag.FailedActiveHc | HealthFlag.PendingActiveHc),
    '/failed_active_hc/pending_active_hc/active_hc_timeout',
  );
  assert.equal(healthFlagsText(edsHealthFlags('TIMEOUT')), '/failed_eds_health');
  assert.equal(healthFlagsText(edsHealthFlags('DRAINING')), '/eds_status_draining');
  assert.deepEqual(healthStatusJson(0), { eds_health_status: 'HEALTHY' });
  assert.deepEqual(healthStatusJson(HealthFlag.FailedOutlierCheck | HealthFlag.DegradedActiveHc | edsHealthFlags('DEGRADED')), {
    failed_outlier_check: true,
    failed_active_degraded_check: true,
    eds_health_status: 'DEGRADED',
  });
});
