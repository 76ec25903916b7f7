import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runtimeEntry, snapshotFromPlain } from '../../../../src/proxy/runtime/snapshot.ts';
import {
  Consecutive,
  createOutlierMemory,
  OutlierCounts,
  OutlierHostMonitor,
  OutlierResult,
} from '../../../../src/proxy/upstream/outlier/host_monitor.ts';
import { type PlainOutlierDetection, parseOutlierDetection } from '../../../../src/proxy/upstream/outlier/outlier_settings.ts';

function monitors(threads: number, config: PlainOutlierDetection = {}, runtime: Record<string, number> = {}) {
  const memory = createOutlierMemory(threads);
  const reports: [thread: number, row: Consecutive][] = [];
  const snapshot = snapshotFromPlain(Object.entries(runtime).map(([key, value]) => [key, runtimeEntry(value)] as const));
  const list = Array.from(
    { length: threads },
    (_, thread) =>
      new OutlierHostMonitor(memory, thread, parseOutlierDetection(config, ''), { snapshot }, (row) =>
        reports.push([thread, row]),
      ),
  );
  return { list, reports, counts: new OutlierCounts(memory) };
}

describe('a row of failures', () => {
  test('goes over all workers; whose failure completes it reports it, once', () => {
    const { list, reports } = monitors(3);
    for (let i = 0; i < 4; i++) list[i % 3].putResponse(500);
    assert.deepEqual(reports, []);
    list[2].putResponse(500);
    list[0].putResponse(500);
    assert.deepEqual(reports, [[2, Consecutive.Errors5xx]]);
  });

  test('ends with any success', () => {
    const { list, reports } = monitors(2);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) list[0].putResponse(503);
      list[1].putResponse(404);
    }
    assert.deepEqual(reports, []);
  });

  test('of gateway failures ends with another 5xx, which goes on with the row of 5xx', () => {
    const { list, reports } = monitors(1, { consecutive5xx: 6 });
    for (const status of [502, 503, 504, 502, 500]) list[0].putResponse(status);
    assert.deepEqual(reports, []);
    list[0].putResponse(504);
    assert.deepEqual(reports, [[0, Consecutive.Errors5xx]]);
    for (let i = 0; i < 4; i++) list[0].putResponse(503);
    assert.deepEqual(reports.at(-1), [0, Consecutive.GatewayFailures]);
  });

  test('has the length that runtime says', () => {
    const { list, reports } = monitors(1, {}, { 'outlier_detection.consecutive_5xx': 2 });
    list[0].putResponse(500);
    list[0].putResponse(500);
    assert.deepEqual(reports, [[0, Consecutive.Errors5xx]]);
  });

  test('begins anew when main resets it', () => {
    const { list, reports, counts } = monitors(1, { consecutive5xx: 2 });
    list[0].putResponse(500);
    counts.resetConsecutive(Consecutive.Errors5xx);
    list[0].putResponse(500);
    assert.deepEqual(reports, []);
  });
});

describe('what is no response', () => {
  test('stands for one while origins are not split', () => {
    const { list, reports, counts } = monitors(1, { consecutive5xx: 3 });
    list[0].putResult(OutlierResult.ConnectSuccess);
    assert.deepEqual(counts.take().external, { total: 0, success: 0 });
    list[0].putResult(OutlierResult.ConnectFailed);
    list[0].putResult(OutlierResult.Timeout);
    list[0].putResult(OutlierResult.Timeout, 504);
    assert.deepEqual(reports, [[0, Consecutive.Errors5xx]]);
    list[0].putResult(OutlierResult.ConnectSuccessFinal);
    // The response that goes downstream counts.
    list[0].putResult(OutlierResult.Timeout, 204);
    assert.deepEqual(counts.take(), { external: { total: 5, success: 2 }, local: { total: 0, success: 0 } });
  });

  test('is counted apart when origins are split', () => {
    const { list, reports, counts } = monitors(1, { splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailure: 2 });
    list[0].putResult(OutlierResult.ConnectFailed);
    list[0].putResult(OutlierResult.ConnectSuccess);
    list[0].putResult(OutlierResult.Timeout, 504);
    list[0].putResponse(500);
    assert.deepEqual(reports, []);
    list[0].putResult(OutlierResult.ConnectFailed);
    assert.deepEqual(reports, [[0, Consecutive.LocalOriginFailures]]);
    assert.deepEqual(counts.take(), { external: { total: 1, success: 0 }, local: { total: 4, success: 1 } });
  });
});

test('main sums what all threads counted since it looked last', () => {
  const { list, counts } = monitors(2);
  list[0].putResponse(200);
  list[1].putResponse(200);
  list[1].putResponse(500);
  assert.deepEqual(counts.take().external, { total: 3, success: 2 });
  assert.deepEqual(counts.take().external, { total: 0, success: 0 });
  list[0].putResponse(302);
  assert.deepEqual(counts.take().external, { total: 1, success: 1 });
});
