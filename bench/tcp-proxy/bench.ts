/** TCP proxying of 1 MB downloads beside HAProxy (mode tcp): CPU per GB and Gbit/s, one worker each on the same core. */
import { cpuOf, median } from '../lib/processes.ts';
import { type Proxy as Peer, portAt, startHaproxy, startSluice, startUpstream } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import { wrk } from '../lib/wrk.ts';
import type { BenchOptions } from '../run.ts';

export async function run(options: BenchOptions): Promise<Row[]> {
  await startUpstream();
  const kind = { mode: 'tcp', accessLog: false, basePort: portAt(17) } as const;
  const proxies = [await startSluice(kind), await startHaproxy(kind)].filter((p): p is Peer => p !== null);
  const rows: Row[] = [];
  for (const [name, path] of [
    ['1 MB bodies', '/1m'],
    ['small bodies', '/small'],
  ]) {
    const samples = new Map<string, { perGb: number; gbit: number; perRequest: number }[]>(proxies.map((p) => [p.name, []]));
    for (let round = 0; round < options.rounds; round++) {
      for (let i = 0; i < proxies.length; i++) {
        const proxy = proxies[(i + round) % proxies.length];
        const before = cpuOf(proxy.process.pid!);
        const result = await wrk(`http://127.0.0.1:${proxy.port}${path}`, 64, options.seconds);
        const after = cpuOf(proxy.process.pid!);
        const cpu = after.user + after.sys - before.user - before.sys;
        samples.get(proxy.name)!.push({
          perGb: cpu / 1000 / (result.bytes / 1e9),
          gbit: (result.bytes * 8) / 1e9 / result.seconds,
          perRequest: cpu / result.requests,
        });
      }
    }
    const of = (key: 'perGb' | 'gbit' | 'perRequest'): { ours: number; peers: Record<string, number | null> } => ({
      ours: median(samples.get('sluice')!.map((s) => s[key])),
      peers: { haproxy: samples.has('haproxy') ? median(samples.get('haproxy')!.map((s) => s[key])) : null },
    });
    if (path === '/1m') {
      rows.push(
        row({ case: `${name}: CPU per GB`, unit: 'ms', better: 'lower', ...of('perGb'), target: { peer: 'haproxy', ratio: 1 } }),
      );
      rows.push(
        row({
          case: `${name}: throughput`,
          unit: 'Gbit/s',
          better: 'higher',
          ...of('gbit'),
          target: { peer: 'haproxy', ratio: 1 },
        }),
      );
    } else
      rows.push(
        row({
          case: `${name}: CPU per request`,
          unit: 'us',
          better: 'lower',
          ...of('perRequest'),
          target: { peer: 'haproxy', ratio: 0.85 },
        }),
      );
  }
  return rows;
}
