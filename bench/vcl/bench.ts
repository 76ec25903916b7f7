/**
 * Proxy to a local upstream over cut-through, against the same pair over kernel loopback. CPU per request of proxy, upstream and stack
 * together, and Gbit/s of 1 MB bodies. The client is wrk on the kernel in both cases; proxy on core 0, upstream and load on core 1.
 *
 * Two upstreams: a second Sluice (its 1 MB body is a direct response, so that only moving bytes counts), and a Node server, which is on the
 * host stack unchanged by `sluice exec`.
 */
import { cpuOf, median } from '../lib/processes.ts';
import { type Row, row } from '../lib/report.ts';
import { wrk } from '../lib/wrk.ts';
import type { BenchOptions } from '../run.ts';
import { type Setup, start, startStack, type Way } from './setups.ts';

interface Sample {
  cpu: number;
  rate: number;
  gbits: number;
  p99: number;
}

const CONNECTIONS = 64;

export async function run(options: BenchOptions): Promise<Row[]> {
  const stack = await startStack();
  const rows: Row[] = [];
  let at = 24;
  for (const upstream of ['sluice', 'node'] as const) {
    const setups = [await start('cut-through', upstream, at, stack), await start('kernel', upstream, at + 2, null)];
    at += 4;
    for (const [name, path] of [
      ['small', '/small'],
      ['1 MB', '/1m'],
    ] as const) {
      rows.push(...report(`${upstream}, ${name}`, name === '1 MB', await measure(setups, path, options)));
    }
  }
  return rows;
}

async function measure(setups: Setup[], path: string, options: BenchOptions): Promise<Map<Way, Sample[]>> {
  const samples = new Map<Way, Sample[]>(setups.map(({ way }) => [way, []]));
  const cpu = (pids: number[]): number =>
    pids.reduce((sum, pid) => {
      const { user, sys } = cpuOf(pid);
      return sum + user + sys;
    }, 0);
  for (const { port } of setups) await wrk(`http://127.0.0.1:${port}${path}`, CONNECTIONS, 1);
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < setups.length; i++) {
      const { way, port, upstream, proxy, stack } = setups[(i + round) % setups.length];
      const pids = stack === null ? [upstream, proxy] : [upstream, proxy, stack];
      const before = cpu(pids);
      const result = await wrk(`http://127.0.0.1:${port}${path}`, CONNECTIONS, options.seconds);
      const used = cpu(pids) - before;
      if (result.errors > 0) throw new Error(`${way} ${path}: ${result.errors} errors`);
      samples.get(way)!.push({
        cpu: used / result.requests,
        rate: result.requests / result.seconds,
        gbits: (result.bytes * 8) / result.seconds / 1e9,
        p99: result.p99,
      });
    }
  }
  return samples;
}

function report(name: string, big: boolean, samples: Map<Way, Sample[]>): Row[] {
  const of = (key: keyof Sample): { ours: number; peers: Record<string, number> } => {
    const value = (way: Way): number => median(samples.get(way)!.map((sample) => sample[key]));
    return { ours: value('cut-through'), peers: { kernel: value('kernel') } };
  };
  const target = { peer: 'kernel', ratio: 0.67 };
  return [
    row({ case: `${name}: CPU per request, proxy + upstream + stack`, unit: 'us', better: 'lower', ...of('cpu'), target }),
    row({ case: `${name}: p99`, unit: 'ms', better: 'lower', ...of('p99') }),
    big
      ? row({ case: `${name}: rate`, unit: 'Gbit/s', better: 'higher', ...of('gbits'), target: { peer: 'kernel', ratio: 3 } })
      : row({ case: `${name}: rate`, unit: 'requests/s', better: 'higher', ...of('rate') }),
  ];
}
