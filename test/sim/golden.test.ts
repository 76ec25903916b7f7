/**
 * Throughput over (loss x delay x buffer x congestion control) on a modelled path of 10 Mbit/s, against the table in
 * `golden/throughput.txt`. Everything is deterministic; a cell may move a little when TCP changes. `UPDATE_GOLDEN=1 npm test -- test/sim/golden`
 * writes the table anew: look at the difference.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CC_NAMES } from '../../src/stack/tcp/cc/congestion_control.ts';
import { runPath } from './throughput.ts';

const file = new URL('./golden/throughput.txt', import.meta.url);
const RATE_MBPS = 10;
const LOSSES = [0, 0.001, 0.01, 0.05];
const RTTS_MS = [10, 40, 120];
const BUFFERS_BDP = [0.5, 2];
/** A cell is as it was when it is within this share, or this near. */
const SHARE = 0.12;
const NEAR_MBPS = 0.3;

interface Row {
  key: string;
  mbps: number[];
}

function measure(): Row[] {
  const rows: Row[] = [];
  for (const queueBdp of BUFFERS_BDP)
    for (const rttMs of RTTS_MS)
      for (const loss of LOSSES) {
        const path = { rateMbps: RATE_MBPS, rttMs, queueBdp, loss, seconds: 12 };
        const mbps = CC_NAMES.map((cc) => runPath({ ...path, cc }).total);
        rows.push({ key: `${queueBdp} ${rttMs} ${loss * 100}`, mbps });
      }
  return rows;
}

function format(rows: readonly Row[]): string {
  const head = ['buffer (BDP)', 'rtt (ms)', 'loss (%)', ...CC_NAMES.map((name) => `${name} (Mbit/s)`)];
  const cells = rows.map(({ key, mbps }) => [...key.split(' '), ...mbps.map((value) => value.toFixed(2))]);
  const widths = head.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i].length)));
  return [head, ...cells].map((row) => `${row.map((cell, i) => cell.padStart(widths[i])).join('  ')}\n`).join('');
}

function parse(text: string): Row[] {
  const lines = text.trim().split('\n').slice(1);
  return lines.map((line) => {
    const words = line.trim().split(/\s+/);
    return { key: words.slice(0, 3).join(' '), mbps: words.slice(3).map(Number) };
  });
}

test('throughput over loss, delay and buffer is as in the golden table', () => {
  const rows = measure();
  if (process.env['UPDATE_GOLDEN']) writeFileSync(file, format(rows));
  const golden = parse(readFileSync(file, 'utf8'));
  assert.deepEqual(
    rows.map(({ key }) => key),
    golden.map(({ key }) => key),
  );
  const moved: string[] = [];
  for (const [i, { key, mbps }] of rows.entries())
    for (const [k, value] of mbps.entries()) {
      const wanted = golden[i].mbps[k];
      if (Math.abs(value - wanted) <= Math.max(NEAR_MBPS, SHARE * wanted)) continue;
      moved.push(`${key} ${CC_NAMES[k]}: ${value.toFixed(2)} instead of ${wanted}`);
    }
  assert.deepEqual(moved, []);
});

test('the table makes sense: a clean path is filled, and only bbr does not mind loss', () => {
  const golden = parse(readFileSync(file, 'utf8'));
  const bbr = CC_NAMES.indexOf('bbr');
  for (const { key, mbps } of golden) {
    const [, , loss] = key.split(' ').map(Number);
    if (loss === 0) for (const value of mbps) assert.ok(value > 0.85 * RATE_MBPS, `${key}: ${value}`);
    assert.ok(mbps[bbr] > 0.6 * RATE_MBPS, `${key}: bbr ${mbps[bbr]}`);
    for (const value of mbps) assert.ok(value <= RATE_MBPS);
  }
});
