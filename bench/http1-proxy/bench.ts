/**
 * CPU per proxied HTTP/1.1 request, beside nginx and HAProxy: one worker each on the same core, keep-alive on both sides,
 * x-forwarded-for, x-forwarded-proto and a request id, 64 connections.
 */
import { cpuOf, median } from '../lib/processes.ts';
import {
  type Proxy as Peer,
  type ProxyKind,
  portAt,
  startHaproxy,
  startNginx,
  startSluice,
  startUpstream,
} from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import { wrk } from '../lib/wrk.ts';
import type { BenchOptions } from '../run.ts';

interface Sample {
  cpu: number;
  user: number;
  sys: number;
  p50: number;
  p99: number;
  rate: number;
}

const CASES = [
  { name: 'small', path: '/small', accessLog: false },
  { name: '10 KB', path: '/10k', accessLog: false },
  { name: '1 MB', path: '/1m', accessLog: false },
  { name: 'small, access log', path: '/small', accessLog: true },
];
const CONNECTIONS = 64;
/** 99th percentile, in ms, of the first second of load. */
const firstSecond = new Map<Peer, number>();

export async function run(options: BenchOptions): Promise<Row[]> {
  await startUpstream();
  const plain = await startAll({ mode: 'http', accessLog: false, basePort: portAt(1) });
  const logging = await startAll({ mode: 'http', accessLog: true, basePort: portAt(5) });
  const rows: Row[] = [];
  for (const test of CASES) {
    const proxies = test.accessLog ? logging : plain;
    const samples = await measure(proxies, test.path, options);
    rows.push(...report(test.name, samples));
    if (test.name === 'small') rows.push(coldRow(proxies));
  }
  rows.push(await scaling(options));
  return rows;
}

async function startAll(kind: ProxyKind): Promise<Peer[]> {
  return [await startSluice(kind), await startHaproxy(kind), await startNginx(kind)].filter((p) => p !== null);
}

async function measure(proxies: Peer[], path: string, options: BenchOptions): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(proxies.map((p) => [p.name, []]));
  for (const proxy of proxies) {
    const url = `http://127.0.0.1:${proxy.port}${path}`;
    firstSecond.set(proxy, (await wrk(url, CONNECTIONS, 1)).p99);
    await wrk(url, CONNECTIONS, options.warmUpSeconds - 1 || 1);
  }
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < proxies.length; i++) {
      const proxy = proxies[(i + round) % proxies.length];
      const before = cpuOf(proxy.process.pid!);
      const result = await wrk(`http://127.0.0.1:${proxy.port}${path}`, CONNECTIONS, options.seconds);
      const after = cpuOf(proxy.process.pid!);
      if (result.errors > 0) throw new Error(`${proxy.name} ${path}: ${result.errors} errors`);
      const user = (after.user - before.user) / result.requests;
      const sys = (after.sys - before.sys) / result.requests;
      samples
        .get(proxy.name)!
        .push({ cpu: user + sys, user, sys, p50: result.p50, p99: result.p99, rate: result.requests / result.seconds });
    }
  }
  return samples;
}

function report(name: string, samples: Map<string, Sample[]>): Row[] {
  const of = (key: keyof Sample): { ours: number; peers: Record<string, number | null> } => {
    const value = (peer: string): number | null => (samples.has(peer) ? median(samples.get(peer)!.map((s) => s[key])) : null);
    return { ours: value('sluice')!, peers: { haproxy: value('haproxy'), nginx: value('nginx') } };
  };
  return [
    row({
      case: `${name}: CPU per request`,
      unit: 'us',
      better: 'lower',
      ...of('cpu'),
      target: { peer: 'haproxy', ratio: 0.85 },
    }),
    row({
      case: `${name}: CPU per request (nginx)`,
      unit: 'us',
      better: 'lower',
      ...of('cpu'),
      target: { peer: 'nginx', ratio: 0.75 },
    }),
    row({ case: `${name}: user`, unit: 'us', better: 'lower', ...of('user') }),
    row({ case: `${name}: sys`, unit: 'us', better: 'lower', ...of('sys') }),
    row({ case: `${name}: p50`, unit: 'ms', better: 'lower', ...of('p50') }),
    row({ case: `${name}: p99`, unit: 'ms', better: 'lower', ...of('p99'), target: { peer: 'haproxy', ratio: 1 } }),
    row({ case: `${name}: rate`, unit: 'requests/s', better: 'higher', ...of('rate') }),
  ];
}

function coldRow(proxies: Peer[]): Row {
  const of = (name: string): number | null => {
    const proxy = proxies.find((p) => p.name === name);
    return proxy === undefined ? null : firstSecond.get(proxy)!;
  };
  return row({
    case: 'small: p99 of the first second after start',
    unit: 'ms',
    better: 'lower',
    ours: of('sluice')!,
    peers: { haproxy: of('haproxy'), nginx: of('nginx') },
  });
}

/** Two workers against one, both sharing the machine's two cores with load and upstream: CPU per request must not grow. */
async function scaling(options: BenchOptions): Promise<Row> {
  const one = await startSluice({ mode: 'http', accessLog: false, basePort: portAt(9) });
  const two = await startSluice({ mode: 'http', accessLog: false, basePort: portAt(13), concurrency: 2 });
  const samples = await measure([one, { ...two, name: 'haproxy' }], '/small', options);
  const cpu = (name: string): number => median(samples.get(name)!.map((s) => s.cpu));
  return row({
    case: 'small: CPU per request with --concurrency 2',
    unit: 'us',
    better: 'lower',
    ours: cpu('haproxy'),
    peers: { 'one worker': cpu('sluice') },
    target: { peer: 'one worker', ratio: 1.15 },
    note: 'on a machine of two cores the load takes one, so throughput cannot double; equal CPU per request is what scaling needs',
  });
}
