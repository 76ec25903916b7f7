/**
 * Proxy to a local upstream over cut-through, against the same pair over kernel loopback. CPU per request of proxy, upstream and stack
 * together, and Gbit/s of 1 MB bodies. The client is wrk on the kernel in both cases; proxy on core 0, upstream and load on core 1.
 *
 * Two upstreams: a second Sluice (its 1 MB body is a direct response, so that only moving bytes counts), and a Node server, which is on the
 * host stack unchanged by `sluice exec`.
 */
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuOf, median, startPinned, waitForPort } from '../lib/processes.ts';
import { LOAD_CORE, PROXY_CORE, portAt } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import { wrk } from '../lib/wrk.ts';
import type { BenchOptions } from '../run.ts';

type Json = Record<string, unknown>;
type Way = 'cut-through' | 'kernel';

interface Setup {
  way: Way;
  port: number;
  pids: number[];
}

interface Sample {
  cpu: number;
  rate: number;
  gbits: number;
  p99: number;
}

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const NODE_UPSTREAM = fileURLToPath(new URL('./upstream.ts', import.meta.url));
const FLAGS = ['--disable-warning=ExperimentalWarning', MAIN];
const TYPES = 'type.googleapis.com/envoy.';
const VCL = 'envoy.extensions.vcl.vcl_socket_interface';
const CONNECTIONS = 64;
const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-vcl-'));
const runtimeDir = join(directory, 'stack');

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

async function startStack(): Promise<number> {
  const child = startPinned(LOAD_CORE, process.execPath, [...FLAGS, 'stack', '--runtime-dir', runtimeDir]);
  while (!existsSync(join(runtimeDir, 'app_ns_sockets', 'default'))) await new Promise((resolve) => setTimeout(resolve, 20));
  return child.pid!;
}

async function start(way: Way, upstream: 'sluice' | 'node', at: number, stack: number | null): Promise<Setup> {
  const upstreamPort = portAt(at);
  const port = portAt(at + 1);
  const vcl = way === 'cut-through';
  const server =
    upstream === 'sluice'
      ? startSluice(LOAD_CORE, `upstream-${at}`, upstreamConfig(upstreamPort, vcl))
      : startPinned(LOAD_CORE, process.execPath, [
          ...(vcl ? [...FLAGS, 'exec', '--runtime-dir', runtimeDir, '--', 'node'] : ['--disable-warning=ExperimentalWarning']),
          NODE_UPSTREAM,
          String(upstreamPort),
        ]);
  const proxy = startSluice(PROXY_CORE, `proxy-${at}`, proxyConfig(port, upstreamPort, vcl));
  await waitForPort(port);
  await untilAnswered(port);
  return { way, port, pids: [server.pid!, proxy.pid!, ...(stack === null ? [] : [stack])] };
}

function startSluice(core: number, name: string, config: Json): ReturnType<typeof startPinned> {
  const file = join(directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(config));
  return startPinned(core, process.execPath, [...FLAGS, 'proxy', '-c', file, '--concurrency', '1', '-l', 'error']);
}

async function untilAnswered(port: number): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const answer = await fetch(`http://127.0.0.1:${port}/small`).catch(() => null);
    await answer?.arrayBuffer();
    if (answer?.status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the proxy does not reach its upstream');
}

function onVcl(vcl: boolean): Json {
  return vcl ? { metadata: { filter_metadata: { 'sluice.socket_interface': { name: VCL } } } } : {};
}

function bootstrap(vcl: boolean, listener: Json, clusters: Json[]): Json {
  const typed = { '@type': 'type.googleapis.com/sluice.extensions.vcl.v1.HostStackSocketInterface', runtime_dir: runtimeDir };
  return {
    ...(vcl && { bootstrap_extensions: [{ name: VCL, typed_config: typed }] }),
    static_resources: { listeners: [listener], clusters },
  };
}

function listener(port: number, routes: Json[], more: Json, limit: Json = {}): Json {
  return {
    name: 'main',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [
      {
        filters: [
          {
            name: 'http',
            typed_config: {
              '@type': `${TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix: 'bench',
              http_filters: [{ name: 'router', typed_config: { '@type': `${TYPES}extensions.filters.http.router.v3.Router` } }],
              route_config: { ...limit, virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
            },
          },
        ],
      },
    ],
    ...more,
  };
}

function upstreamConfig(port: number, vcl: boolean): Json {
  const direct = (path: string, body: string): Json => ({
    match: { path },
    direct_response: { status: 200, body: { inline_string: body } },
  });
  const routes = [direct('/small', 'hello, world'), direct('/1m', 'x'.repeat(1024 * 1024))];
  return bootstrap(vcl, listener(port, routes, onVcl(vcl), { max_direct_response_body_size_bytes: 1024 * 1024 }), []);
}

function proxyConfig(port: number, upstreamPort: number, vcl: boolean): Json {
  const address = { socket_address: { address: '127.0.0.1', port_value: upstreamPort } };
  const cluster = {
    name: 'upstream',
    type: 'STATIC',
    connect_timeout: '5s',
    circuit_breakers: { thresholds: [{ max_connections: 100_000, max_pending_requests: 100_000, max_requests: 100_000 }] },
    load_assignment: { cluster_name: 'upstream', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...onVcl(vcl),
  };
  return bootstrap(vcl, listener(port, [{ match: { prefix: '/' }, route: { cluster: 'upstream' } }], {}), [cluster]);
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
      const { way, port, pids } = setups[(i + round) % setups.length];
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
