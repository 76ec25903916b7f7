/**
 * TLS 1.3, AES-128-GCM and a P-256 certificate, beside nginx and HAProxy: CPU per request on kept connections, per connection with a
 * full handshake and with a resumed one, per GB of 1 MB bodies; and the engine itself beside plain OpenSSL in the same process.
 * The upstream is plain text.
 */
import { spawn } from 'node:child_process';
import { makeCertificate } from '../lib/certificate.ts';
import { cpuOf, median } from '../lib/processes.ts';
import { LOAD_CORE, type Proxy as Peer, portAt, startHaproxy, startNginx, startSluice, startUpstream } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import { wrk } from '../lib/wrk.ts';
import type { BenchOptions } from '../run.ts';
import { engineRows } from './engine.ts';

interface Sample {
  /** Microseconds per operation. */
  cpu: number;
  /** Operations per second. */
  rate: number;
}

interface Load {
  operations: number;
  seconds: number;
}

const CONNECTIONS = 64;
const GB = 1e9;

export async function run(options: BenchOptions): Promise<Row[]> {
  const tls = makeCertificate();
  const rows = engineRows(options, tls.certificateFile, tls.keyFile);
  await startUpstream();
  const kind = { mode: 'http', accessLog: false, basePort: portAt(1), tls } as const;
  const proxies = [await startSluice(kind), await startHaproxy(kind), await startNginx(kind)].filter((p) => p !== null);

  const requests =
    (path: string, close = false) =>
    async (port: number, seconds: number): Promise<Load> => {
      const result = await wrk(`https://127.0.0.1:${port}${path}`, CONNECTIONS, seconds, close);
      // With `connection: close` wrk counts the end of the connection as a read error.
      if (result.errors > 0 && !close) throw new Error(`${path}: ${result.errors} errors`);
      return { operations: result.requests, seconds: result.seconds };
    };
  const megabytes = async (port: number, seconds: number): Promise<Load> => {
    const load = await requests('/1m')(port, seconds);
    return { operations: (load.operations * 2 ** 20) / GB, seconds: load.seconds };
  };
  rows.push(...report('small, kept connections', 'request', await measure(proxies, options, requests('/small'))));
  rows.push(...report('10 KB, kept connections', 'request', await measure(proxies, options, requests('/10k'))));
  rows.push(...report('full handshake + request', 'connection', await measure(proxies, options, requests('/small', true))));
  rows.push(...report('resumed handshake + request', 'connection', await measure(proxies, options, resumed)));
  rows.push(...report('1 MB bodies', 'GB', await measure(proxies, options, megabytes)));
  return rows;
}

/** One connection after the other with the session of the one before, a request on each. */
async function resumed(port: number, seconds: number): Promise<Load> {
  const child = spawn(
    'taskset',
    [
      ...['-c', String(LOAD_CORE), 'openssl', 's_time', '-connect', `127.0.0.1:${port}`, '-reuse', '-tls1_2'],
      ...['-www', '/small', '-time', String(Math.max(1, Math.round(seconds)))],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await new Promise((resolve) => child.on('close', resolve));
  const match = /(\d+) connections in (\d+) real seconds/.exec(text);
  if (match === null || Number(match[1]) === 0) throw new Error(`s_time printed: ${text}`);
  return { operations: Number(match[1]), seconds: Number(match[2]) };
}

async function measure(
  proxies: Peer[],
  options: BenchOptions,
  load: (port: number, seconds: number) => Promise<Load>,
): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(proxies.map((p) => [p.name, []]));
  for (const proxy of proxies) await load(proxy.port, options.warmUpSeconds);
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < proxies.length; i++) {
      const proxy = proxies[(i + round) % proxies.length];
      const before = cpuOf(proxy.process.pid!);
      const { operations, seconds } = await load(proxy.port, options.seconds);
      const after = cpuOf(proxy.process.pid!);
      const cpu = (after.user - before.user + after.sys - before.sys) / operations;
      samples.get(proxy.name)!.push({ cpu, rate: operations / seconds });
    }
  }
  return samples;
}

function report(name: string, per: 'request' | 'connection' | 'GB', samples: Map<string, Sample[]>): Row[] {
  const of = (key: keyof Sample, scale: number): { ours: number; peers: Record<string, number | null> } => {
    const value = (peer: string): number | null =>
      samples.has(peer) ? median(samples.get(peer)!.map((s) => s[key])) * scale : null;
    return { ours: value('sluice')!, peers: { haproxy: value('haproxy'), nginx: value('nginx') } };
  };
  const isBulk = per === 'GB';
  return [
    row({
      case: `${name}: CPU per ${per}`,
      unit: isBulk ? 'ms' : 'us',
      better: 'lower',
      ...of('cpu', isBulk ? 1e-3 : 1),
      target: { peer: 'haproxy', ratio: 1 },
    }),
    row({
      case: `${name}: rate`,
      unit: isBulk ? 'Gbit/s' : `${per}s/s`,
      better: 'higher',
      ...of('rate', isBulk ? 8 : 1),
    }),
  ];
}
