/** Congestion control over modelled paths: how much of the bottleneck a flow gets, and how flows share it. Deterministic. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runPath } from './throughput.ts';

const path = { rateMbps: 20, rttMs: 40, queueBdp: 1, seconds: 10 } as const;

for (const cc of ['newreno', 'cubic', 'bbr'] as const) {
  test(`${cc} fills a path without loss`, () => {
    const { total } = runPath({ ...path, cc, loss: 0 });
    assert.ok(total > 0.92 * 20, `${total}`);
  });

  // RFC8985-6.2.2
  test(`${cc} takes reordering for reordering`, () => {
    const { total, retransmitShare } = runPath({ ...path, cc, loss: 0, reorder: 0.02 });
    assert.ok(total > 0.85 * 20, `${total}`);
    assert.ok(retransmitShare < 0.03, `${retransmitShare}`);
  });
}

test('the receive buffer grows with the path', () => {
  // 1.25 MB on the way, ten times the first window.
  const { total } = runPath({ rateMbps: 100, rttMs: 100, queueBdp: 1, loss: 0, cc: 'cubic', seconds: 8 });
  assert.ok(total > 85, `${total}`);
});

// MUST-19 MAY-18
test('newreno follows the square-root law at 0.1 % loss', () => {
  const { total } = runPath({ ...path, rateMbps: 100, cc: 'newreno', loss: 0.001, seconds: 30 });
  const law = (1448 * 8 * 1.22) / (0.04 * Math.sqrt(0.001)) / 1e6;
  assert.ok(total > 0.7 * law && total < 1.4 * law, `${total} of ${law}`);
});

test('bbr does not take random loss for congestion', () => {
  const { total } = runPath({ ...path, cc: 'bbr', loss: 0.01 });
  assert.ok(total > 0.8 * 20, `${total}`);
});

for (const cc of ['newreno', 'cubic', 'bbr'] as const)
  test(`four ${cc} flows share a bottleneck`, () => {
    const { flows, total } = runPath({ ...path, rttMs: 20, cc, loss: 0, flows: 4, seconds: 20 });
    const jain = total ** 2 / (flows.length * flows.reduce((sum, f) => sum + f * f, 0));
    assert.ok(jain > 0.85, `${flows.map((f) => f.toFixed(1))}`);
    assert.ok(total > 0.9 * 20);
  });

test('four bbr flows share shallow and deep buffers', () => {
  for (const rttMs of [20, 40])
    for (const queueBdp of [0.5, 1, 2]) {
      const { flows, total } = runPath({ ...path, rttMs, queueBdp, cc: 'bbr', loss: 0, flows: 4, seconds: 16 });
      const jain = total ** 2 / (flows.length * flows.reduce((sum, f) => sum + f * f, 0));
      assert.ok(jain > 0.9, `rtt ${rttMs} buffer ${queueBdp}: ${flows.map((f) => f.toFixed(1))}`);
      assert.ok(total > 0.85 * 20, `${total}`);
    }
});
