/** What the bench measures: a proxy and its upstream (a second Sluice, or a Node server), on the host stack or on the kernel. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPinned } from '../lib/processes.ts';
import { LOAD_CORE, PROXY_CORE, portAt } from '../lib/proxies.ts';
import type { WrkResult } from '../lib/wrk.ts';

type Json = Record<string, unknown>;
export type Way = 'cut-through' | 'kernel' | 'client side alone';

export interface Setup {
  way: Way;
  /** Clients are on the host stack too, or (kernel) are the same program. */
  allLocal: boolean;
  port: number;
  /** Proxy, upstream, stack: those there are. */
  pids: number[];
}

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const NODE_UPSTREAM = fileURLToPath(new URL('./upstream.ts', import.meta.url));
const CLIENT = fileURLToPath(new URL('./client.ts', import.meta.url));
export const FLAGS = ['--disable-warning=ExperimentalWarning', MAIN];
const TYPES = 'type.googleapis.com/envoy.';
const VCL = 'envoy.extensions.vcl.vcl_socket_interface';
export const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-vcl-'));
export const runtimeDir = join(directory, 'stack');

export async function startStack(): Promise<number> {
  const child = startPinned(LOAD_CORE, process.execPath, [...FLAGS, 'stack', '--runtime-dir', runtimeDir]);
  while (!existsSync(join(runtimeDir, 'app_ns_sockets', 'default'))) await new Promise((resolve) => setTimeout(resolve, 20));
  return child.pid!;
}

/** `all`: what is said of the upstream holds for the clients of the proxy too. */
export async function start(
  way: Way,
  upstream: 'sluice' | 'node',
  at: number,
  stack: number | null,
  all = false,
): Promise<Setup> {
  const upstreamPort = portAt(at);
  const port = portAt(at + 1);
  const vcl = way === 'cut-through';
  const clientsOnStack = vcl && all;
  const server =
    upstream === 'sluice'
      ? startSluice(LOAD_CORE, `upstream-${at}`, upstreamConfig(upstreamPort, vcl))
      : startPinned(LOAD_CORE, process.execPath, [
          ...(vcl ? [...FLAGS, 'exec', '--runtime-dir', runtimeDir, '--', 'node'] : ['--disable-warning=ExperimentalWarning']),
          NODE_UPSTREAM,
          String(upstreamPort),
        ]);
  const proxy = startSluice(PROXY_CORE, `proxy-${at}`, proxyConfig(port, upstreamPort, vcl, clientsOnStack));
  await untilAnswered(port, clientsOnStack);
  const pids = [proxy.pid!, server.pid!, ...(stack === null ? [] : [stack])];
  return { way, allLocal: all, port, pids };
}

/** A proxy that answers by itself, on the kernel. */
export async function startAlone(at: number): Promise<Setup> {
  const port = portAt(at);
  const { pid } = startSluice(PROXY_CORE, `alone-${at}`, upstreamConfig(port, false));
  await untilAnswered(port, false);
  return { way: 'client side alone', allLocal: false, port, pids: [pid!] };
}

function startSluice(core: number, name: string, config: Json): ReturnType<typeof startPinned> {
  const file = join(directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(config));
  return startPinned(core, process.execPath, [...FLAGS, 'proxy', '-c', file, '--concurrency', '1', '-l', 'error']);
}

async function untilAnswered(port: number, onStack: boolean): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (onStack) {
      const result = await ownClient(port, '/small', 1, 0, true);
      if (result.requests > 0 && result.errors === 0) return;
    } else {
      const answer = await fetch(`http://127.0.0.1:${port}/small`).catch(() => null);
      await answer?.arrayBuffer();
      if (answer?.status === 200) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the proxy does not reach its upstream');
}

/** The load of `client.ts`, on the load's core. */
export async function ownClient(
  port: number,
  path: string,
  connections: number,
  seconds: number,
  onStack: boolean,
): Promise<WrkResult> {
  const where = onStack ? [runtimeDir] : [];
  const args = [port, path, connections, seconds, ...where].map(String);
  const child = startPinned(LOAD_CORE, process.execPath, ['--disable-warning=ExperimentalWarning', CLIENT, ...args]);
  let text = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the client ended with ${code}`);
  return JSON.parse(text) as WrkResult;
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

function proxyConfig(port: number, upstreamPort: number, vcl: boolean, clientsOnStack: boolean): Json {
  const address = { socket_address: { address: '127.0.0.1', port_value: upstreamPort } };
  const cluster = {
    name: 'upstream',
    type: 'STATIC',
    connect_timeout: '5s',
    circuit_breakers: { thresholds: [{ max_connections: 100_000, max_pending_requests: 100_000, max_requests: 100_000 }] },
    load_assignment: { cluster_name: 'upstream', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...onVcl(vcl),
  };
  return bootstrap(vcl, listener(port, [{ match: { prefix: '/' }, route: { cluster: 'upstream' } }], onVcl(clientsOnStack)), [
    cluster,
  ]);
}
