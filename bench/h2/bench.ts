/**
 * What HTTP/2 from clients costs, beside nginx and HAProxy: CPU per proxied request (HTTP/1.1 keep-alive upstreams), one worker each on
 * the same core, 16 connections with 16 streams each; and CPU per GB and Gbit/s of 1 MB bodies. In plain text and over TLS 1.3.
 */
import { makeCertificate } from '../lib/certificate.ts';
import { h2load } from '../lib/h2load.ts';
import { cpuOf, median, which } from '../lib/processes.ts';
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
import type { BenchOptions } from '../run.ts';

interface Sample {
  cpu: number;
  user: number;
  sys: number;
  rate: number;
  /** CPU microseconds per GB, and Gbit/s. */
  perGb: number;
  gbits: number;
}

const CASES = [
  { name: 'h2c small', path: '/small', connections: 16, streams: 16, tls: false },
  { name: 'h2c small, one stream at a time', path: '/small', connections: 64, streams: 1, tls: false },
  { name: 'h2c 1 MB', path: '/1m', connections: 4, streams: 4, tls: false },
  { name: 'h2 over TLS small', path: '/small', connections: 16, streams: 16, tls: true },
  { name: 'h2 over TLS 1 MB', path: '/1m', connections: 4, streams: 4, tls: true },
];

export async function run(options: BenchOptions): Promise<Row[]> {
  if (which('h2load') === null) throw new Error('needs h2load (scripts/install-peers.sh installs it)');
  await startUpstream();
  const kind = { mode: 'http', accessLog: false, http2: true, basePort: portAt(1) } as const;
  const plain = await startAll(kind);
  const tls = await startAll({ ...kind, basePort: portAt(5), tls: makeCertificate() });
  const rows: Row[] = [];
  for (const test of CASES) rows.push(...report(test, await measure(test.tls ? tls : plain, test, options)));
  return rows;
}

async function startAll(kind: ProxyKind): Promise<Peer[]> {
  return [await startSluice(kind), await startHaproxy(kind), await startNginx(kind)].filter((p) => p !== null);
}

async function measure(proxies: Peer[], test: (typeof CASES)[number], options: BenchOptions): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(proxies.map((p) => [p.name, []]));
  const load = (proxy: Peer, seconds: number) =>
    h2load(`${test.tls ? 'https' : 'http'}://127.0.0.1:${proxy.port}${test.path}`, test.connections, test.streams, seconds);
  // Long enough for the compiler: the first requests of a process cost several times as much.
  for (const proxy of proxies) await load(proxy, options.warmUpSeconds);
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < proxies.length; i++) {
      const proxy = proxies[(i + round) % proxies.length];
      const before = cpuOf(proxy.process.pid!);
      const result = await load(proxy, options.seconds);
      const after = cpuOf(proxy.process.pid!);
      if (result.errors > 0) throw new Error(`${proxy.name} ${test.path}: ${result.errors} errors`);
      const user = (after.user - before.user) / result.requests;
      const sys = (after.sys - before.sys) / result.requests;
      samples.get(proxy.name)!.push({
        cpu: user + sys,
        user,
        sys,
        rate: result.requests / result.seconds,
        perGb: ((user + sys) * result.requests) / (result.bytes / 1e9),
        gbits: (result.bytes * 8) / result.seconds / 1e9,
      });
    }
  }
  return samples;
}

function report(test: (typeof CASES)[number], samples: Map<string, Sample[]>): Row[] {
  const of = (key: keyof Sample): { ours: number; peers: Record<string, number | null> } => {
    const value = (peer: string): number | null => (samples.has(peer) ? median(samples.get(peer)!.map((s) => s[key])) : null);
    return { ours: value('sluice')!, peers: { haproxy: value('haproxy'), nginx: value('nginx') } };
  };
  const target = { peer: 'haproxy', ratio: 1 };
  if (test.path === '/1m') {
    return [
      row({ case: `${test.name}: CPU per GB`, unit: 'us', better: 'lower', ...of('perGb'), target }),
      row({ case: `${test.name}: rate`, unit: 'Gbit/s', better: 'higher', ...of('gbits'), target }),
    ];
  }
  return [
    row({ case: `${test.name}: CPU per request`, unit: 'us', better: 'lower', ...of('cpu'), target }),
    row({ case: `${test.name}: user`, unit: 'us', better: 'lower', ...of('user') }),
    row({ case: `${test.name}: sys`, unit: 'us', better: 'lower', ...of('sys') }),
    row({ case: `${test.name}: rate`, unit: 'requests/s', better: 'higher', ...of('rate') }),
  ];
}
