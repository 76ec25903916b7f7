/**
 * Proxy to a local upstream over cut-through, against the same pair over kernel loopback. CPU per request of proxy, upstream and stack
 * together, and Gbit/s of 1 MB bodies. The client is wrk on the kernel in both cases; proxy on core 0, upstream and load on core 1.
 *
 * The client side of the proxy costs the same in both, and for 1 MB it is most of the work: `client side alone` is a proxy that answers by
 * itself, so nothing that happens behind it can bring a figure below that. The rows `all local` leave the kernel out altogether: clients
 * reach the proxy over cut-through too, against clients on kernel loopback (the same client program in both, `client.ts`).
 *
 * Two upstreams: a second Sluice (its 1 MB body is a direct response, so that only moving bytes counts), and a Node server, which is on the
 * host stack unchanged by `sluice exec`. And iperf3 under the preload library beside iperf3 on the kernel (`iperf.ts`).
 */
import { cpuOf, median } from '../lib/processes.ts';
import { type Row, row } from '../lib/report.ts';
import { type WrkResult, wrk } from '../lib/wrk.ts';
import type { BenchOptions } from '../run.ts';
import { iperfRows } from './iperf.ts';
import { ownClient, type Setup, start, startAlone, startStack, type Way } from './setups.ts';

interface Sample {
  cpu: number;
  rate: number;
  gbits: number;
  p99: number;
}

const CONNECTIONS = 64;
/** As many bodies of 1 MB on their way fit the caches. */
const FEW_CONNECTIONS = 16;
const PATHS = [
  ['small', '/small'],
  ['1 MB', '/1m'],
] as const;

export async function run(options: BenchOptions): Promise<Row[]> {
  const stack = await startStack();
  const rows: Row[] = [];
  let at = 20;
  const next = (): number => {
    at += 2;
    return at;
  };
  const alone = await startAlone(next());
  for (const upstream of ['sluice', 'node'] as const) {
    const setups = [await start('cut-through', upstream, next(), stack), await start('kernel', upstream, next(), null)];
    for (const [name, path] of PATHS) {
      rows.push(...report(`${upstream}, ${name}`, name === '1 MB', await measure([...setups, alone], path, options)));
    }
  }
  const local = [await start('cut-through', 'node', next(), stack, true), await start('kernel', 'node', next(), null, true)];
  for (const [name, path] of PATHS) {
    rows.push(...report(`all local, ${name}`, name === '1 MB', await measure(local, path, options)));
  }
  const few = await measure(local, '/1m', options, FEW_CONNECTIONS);
  rows.push(...report(`all local, 1 MB, ${FEW_CONNECTIONS} connections`, true, few));
  rows.push(...(await iperfRows(options)));
  return rows;
}

async function measure(
  setups: Setup[],
  path: string,
  options: BenchOptions,
  connections = CONNECTIONS,
): Promise<Map<Way, Sample[]>> {
  const samples = new Map<Way, Sample[]>(setups.map(({ way }) => [way, []]));
  const cpu = (pids: number[]): number =>
    pids.reduce((sum, pid) => {
      const { user, sys } = cpuOf(pid);
      return sum + user + sys;
    }, 0);
  for (const setup of setups) await load(setup, path, connections, options.warmUpSeconds);
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < setups.length; i++) {
      const setup = setups[(i + round) % setups.length];
      const before = cpu(setup.pids);
      const result = await load(setup, path, connections, options.seconds);
      const used = cpu(setup.pids) - before;
      if (result.errors > 0) throw new Error(`${setup.way} ${path}: ${result.errors} errors`);
      samples.get(setup.way)!.push({
        cpu: used / result.requests,
        rate: result.requests / result.seconds,
        gbits: (result.bytes * 8) / result.seconds / 1e9,
        p99: result.p99,
      });
    }
  }
  return samples;
}

function load({ port, way, allLocal }: Setup, path: string, connections: number, seconds: number): Promise<WrkResult> {
  return allLocal
    ? ownClient(port, path, connections, seconds, way === 'cut-through')
    : wrk(`http://127.0.0.1:${port}${path}`, connections, seconds);
}

function report(name: string, big: boolean, samples: Map<Way, Sample[]>): Row[] {
  const of = (key: keyof Sample): { ours: number; peers: Record<string, number> } => {
    const value = (way: Way): number => median(samples.get(way)!.map((sample) => sample[key]));
    const peers = [...samples.keys()].filter((way) => way !== 'cut-through');
    return { ours: value('cut-through'), peers: Object.fromEntries(peers.map((way) => [way, value(way)])) };
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
