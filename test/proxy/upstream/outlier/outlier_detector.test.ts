import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Store } from '../../../../src/core/stats/store.ts';
import { runtimeEntry, snapshotFromPlain } from '../../../../src/proxy/runtime/snapshot.ts';
import { HealthFlag } from '../../../../src/proxy/upstream/health_flags.ts';
import { Consecutive, createOutlierMemory, OutlierHostMonitor } from '../../../../src/proxy/upstream/outlier/host_monitor.ts';
import { OutlierDetector, successRateThreshold } from '../../../../src/proxy/upstream/outlier/outlier_detector.ts';
import { type OutlierEvent, outlierEventLine } from '../../../../src/proxy/upstream/outlier/outlier_events.ts';
import { type PlainOutlierDetection, parseOutlierDetection } from '../../../../src/proxy/upstream/outlier/outlier_settings.ts';

interface TestHost {
  key: string;
  addressText: string;
  healthFlags: number;
  outlierMemory: SharedArrayBuffer;
}

interface Rig {
  nowMs: number;
  random: number;
  readonly list: TestHost[];
  readonly events: OutlierEvent[];
  readonly monitors: OutlierHostMonitor[];
  readonly detector: OutlierDetector<TestHost>;
  out(): string[];
  fail(host: number, times?: number, status?: number): void;
  interval(laterMs?: number): void;
  stat(name: string): number;
  active(): number;
}

/** A cluster of hosts '0', '1' ...; time stands still but for `rig.nowMs`. */
function rig(hosts: number, config: PlainOutlierDetection, runtime: Record<string, number> = {}): Rig {
  const store = new Store();
  const settings = parseOutlierDetection(config, '');
  const snapshot = snapshotFromPlain(Object.entries(runtime).map(([key, value]) => [key, runtimeEntry(value)] as const));
  const list: TestHost[] = Array.from({ length: hosts }, (_, i) => ({
    key: String(i),
    addressText: `10.0.0.${i}:80`,
    healthFlags: 0,
    outlierMemory: createOutlierMemory(1),
  }));
  const self: Rig = {
    nowMs: 0,
    random: 0,
    list,
    events: [] as OutlierEvent[],
    monitors: list.map(
      (host) =>
        new OutlierHostMonitor(host.outlierMemory, 0, settings, { snapshot }, (row) =>
          self.detector.onConsecutive(host.key, row),
        ),
    ),
    detector: new OutlierDetector<TestHost>({
      cluster: 'c',
      settings,
      scope: store.scope('cluster.c.'),
      runtime: { snapshot },
      random: () => self.random,
      now: () => self.nowMs,
      wallClock: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6) + self.nowMs,
      setEjected: (host, ejected) => {
        host.healthFlags = ejected ? HealthFlag.FailedOutlierCheck : 0;
      },
      log: (event) => self.events.push(event),
    }),
    out: () => list.filter((host) => host.healthFlags !== 0).map((host) => host.key),
    fail: (host: number, times = 5, status = 500) => {
      for (let i = 0; i < times; i++) self.monitors[host].putResponse(status);
    },
    interval: (laterMs = 10_000) => {
      self.nowMs += laterMs;
      self.detector.onInterval();
    },
    stat: (name: string) => store.counter(`cluster.c.outlier_detection.${name}`).value,
    active: () => store.gauge('cluster.c.outlier_detection.ejections_active').value,
  };
  for (const host of list) self.detector.addHost(host);
  return self;
}

describe('ejection', () => {
  test('by 5xx in a row, and back after base_ejection_time at an interval', () => {
    const r = rig(10, {});
    r.fail(3);
    assert.deepEqual([r.out(), r.active()], [['3'], 1]);
    for (const name of ['detected_consecutive_5xx', 'enforced_consecutive_5xx', 'enforced_total', 'consecutive_5xx', 'total'])
      assert.equal(r.stat(`ejections_${name}`), 1, name);
    r.interval();
    r.interval();
    assert.deepEqual(r.out(), ['3']);
    r.interval();
    assert.deepEqual([r.out(), r.active()], [[], 0]);
  });

  test('lasts longer each time, up to max_ejection_time; intervals in service shorten it', () => {
    const r = rig(10, { maxEjectionTime: 60_000 });
    const outFor = (): number => {
      r.fail(0);
      const from = r.nowMs;
      while (r.out().length > 0) r.interval();
      return r.nowMs - from;
    };
    // Each way back is an interval in service, which takes one from the multiplier.
    assert.equal(outFor(), 30_000);
    assert.equal(outFor(), 30_000);
    r.fail(0);
    for (let i = 0; i < 3; i++) r.interval();
    assert.deepEqual(r.out(), []);
    r.fail(0);
    r.detector.onActiveCheckSuccess(r.list[0]);
    r.fail(0);
    r.detector.onActiveCheckSuccess(r.list[0]);
    assert.equal(outFor(), 60_000);
    for (let i = 0; i < 10; i++) r.interval();
    assert.equal(outFor(), 30_000);
  });

  test('waits for its jitter too', () => {
    const r = rig(10, { maxEjectionTimeJitter: 20_000 });
    r.random = 15_000;
    r.fail(0);
    for (let i = 0; i < 4; i++) r.interval();
    assert.deepEqual(r.out(), ['0']);
    r.interval();
    assert.deepEqual(r.out(), []);
  });

  test('stops at max_ejection_percent, always_eject_one_host allows one', () => {
    const two = rig(10, { maxEjectionPercent: 20 });
    for (const host of [1, 2, 3]) two.fail(host);
    assert.deepEqual([two.out(), two.stat('ejections_overflow')], [['1', '2'], 1]);
    const none = rig(5, {});
    none.fail(0);
    assert.deepEqual([none.out(), none.stat('ejections_overflow'), none.stat('ejections_detected_consecutive_5xx')], [[], 1, 1]);
    const one = rig(5, { alwaysEjectOneHost: true });
    one.fail(0);
    one.fail(1);
    assert.deepEqual(one.out(), ['0']);
  });

  test('is enforced as often as configured, and logged anyway', () => {
    const r = rig(10, { enforcingConsecutive5xx: 30, maxEjectionPercent: 100 });
    r.random = 30;
    r.fail(0);
    r.random = 29;
    r.fail(1);
    assert.deepEqual(r.out(), ['1']);
    assert.deepEqual(
      r.events.map((event) => event.ejection?.enforced),
      [false, true],
    );
    assert.deepEqual([r.stat('ejections_detected_consecutive_5xx'), r.stat('ejections_enforced_consecutive_5xx')], [2, 1]);
  });

  test('by gateway failures is off unless it is enforced', () => {
    const off = rig(10, { consecutive5xx: 100 });
    off.fail(0, 5, 503);
    assert.deepEqual([off.out(), off.stat('ejections_detected_consecutive_gateway_failure')], [[], 1]);
    const on = rig(10, { consecutive5xx: 100 }, { 'outlier_detection.enforcing_consecutive_gateway_failure': 100 });
    on.fail(0, 5, 503);
    assert.deepEqual([on.out(), on.stat('ejections_enforced_consecutive_gateway_failure')], [['0'], 1]);
  });

  test('ends at once when an active check succeeds, unless that is turned off', () => {
    const r = rig(10, {});
    r.fail(0);
    r.detector.onActiveCheckSuccess(r.list[0]);
    assert.deepEqual(r.out(), []);
    r.fail(0, 4);
    assert.deepEqual(r.out(), [], 'the row began anew');
    const off = rig(10, { successfulActiveHealthCheckUnejectHost: false });
    off.fail(0);
    off.detector.onActiveCheckSuccess(off.list[0]);
    assert.deepEqual(off.out(), ['0']);
  });

  test('of a host that is removed is no longer counted; news of it are ignored', () => {
    const r = rig(10, {});
    r.fail(0);
    r.detector.removeHost(r.list[0]);
    assert.equal(r.active(), 0);
    r.detector.onConsecutive('0', Consecutive.Errors5xx);
    assert.equal(r.stat('ejections_detected_consecutive_5xx'), 1);
  });
});

describe('success rate', () => {
  const load = (r: Rig, rates: number[], requests = 100): void => {
    // Failures apart, so that no row is completed.
    rates.forEach((rate, host) => {
      for (let i = 0; i < requests; i++) r.monitors[host].putResponse(i % 100 < rate ? 200 : 500);
    });
  };

  test('far below the mean ejects', () => {
    const r = rig(5, { consecutive5xx: 1000, maxEjectionPercent: 100 });
    load(r, [100, 99, 100, 100, 50]);
    r.interval();
    assert.deepEqual(r.out(), ['4']);
    assert.deepEqual([r.stat('ejections_success_rate'), r.stat('ejections_enforced_success_rate')], [1, 1]);
    const { average, ejectionThreshold } = r.detector.clusterRates('external');
    assert.ok(
      Math.abs(average - 89.8) < 1e-9 && ejectionThreshold > 50 && ejectionThreshold < 99,
      `${average} ${ejectionThreshold}`,
    );
    assert.deepEqual([r.detector.successRate(r.list[4], 'external'), r.detector.successRate(r.list[4], 'local')], [50, -1]);
    r.interval();
    assert.equal(r.detector.successRate(r.list[4], 'external'), -1);
  });

  test('needs hosts and requests enough', () => {
    const few = rig(4, { consecutive5xx: 1000, maxEjectionPercent: 100 });
    load(few, [100, 100, 100, 0]);
    few.interval();
    assert.deepEqual(few.out(), []);
    const idle = rig(5, { consecutive5xx: 1000, maxEjectionPercent: 100 });
    load(idle, [100, 100, 100, 100, 0], 99);
    idle.interval();
    assert.deepEqual(idle.out(), []);
  });

  test('threshold is the mean less stdev_factor deviations', () => {
    assert.deepEqual(successRateThreshold([50, 100, 100, 100, 100], 1.9), { average: 90, ejectionThreshold: 52 });
  });

  test('as failure percentage', () => {
    const off = rig(5, { consecutive5xx: 1000, maxEjectionPercent: 100, enforcingSuccessRate: 0 });
    load(off, [100, 100, 100, 100, 5], 60);
    off.interval();
    assert.deepEqual([off.out(), off.stat('ejections_detected_failure_percentage')], [[], 1]);
    const on = rig(5, { consecutive5xx: 1000, maxEjectionPercent: 100, enforcingFailurePercentage: 100 });
    // Below by rate and by failures: one ejection.
    load(on, [100, 100, 100, 100, 10]);
    on.interval();
    assert.deepEqual([on.out(), on.stat('ejections_enforced_total'), on.active()], [['4'], 1, 1]);
  });
});

test('the event log is what Envoy writes', () => {
  const r = rig(10, { consecutive5xx: 1000 });
  const consecutive = rig(10, {});
  consecutive.fail(7);
  for (let i = 0; i < 3; i++) consecutive.interval();
  assert.deepEqual(consecutive.events.map(outlierEventLine), [
    '{"type":"CONSECUTIVE_5XX","timestamp":"2026-01-02T03:04:05.006Z","cluster_name":"c","upstream_url":"10.0.0.7:80","action":"EJECT","num_ejections":1,"enforced":true,"eject_consecutive_event":{}}\n',
    '{"type":"CONSECUTIVE_5XX","timestamp":"2026-01-02T03:04:35.006Z","secs_since_last_action":"30","cluster_name":"c","upstream_url":"10.0.0.7:80","action":"UNEJECT","num_ejections":1,"enforced":false}\n',
  ]);
  for (let host = 0; host < 10; host++)
    for (let i = 0; i < 100; i++) r.monitors[host].putResponse(host === 0 && i % 2 === 0 ? 500 : 200);
  r.interval();
  assert.equal(
    outlierEventLine(r.events[0]),
    '{"type":"SUCCESS_RATE","timestamp":"2026-01-02T03:04:15.006Z","cluster_name":"c","upstream_url":"10.0.0.0:80","action":"EJECT","num_ejections":1,"enforced":true,"eject_success_rate_event":{"host_success_rate":50,"cluster_average_success_rate":95,"cluster_success_rate_ejection_threshold":66}}\n',
  );
});
