/**
 * `sluice/filter/testing`: runs an HTTP filter for tests, in this process, behind real sockets: the proxy's own codec, connection manager,
 * router and event loop, with node:http servers as its upstreams.
 *
 *     const filter = await testFilter({ module: new URL('./hello.ts', import.meta.url), config: { greeting: 'hi' } });
 *     const response = await filter.request('/');
 *     assert.equal(response.headers['x-hello'], 'hi');
 *     await filter.close();
 */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chooseBackend } from '../../core/event/create_dispatcher.ts';
import type { LogLevel } from '../../core/log/logger.ts';
import { createStatsMemory, Store } from '../../core/stats/store.ts';
import { socketName } from '../../core/sys/socket.ts';
import { loadBootstrap } from '../config/load.ts';
import { ipAddress } from '../network/address.ts';
import { fromSocketAddress, openListenSocket } from '../network/kernel_socket.ts';
import type { ListenerProto } from '../network/listener_config.ts';
import { createRuntime } from '../runtime/runtime_impl.ts';
import { applyClusterDefaults } from '../server/cluster_defaults.ts';
import { localInfo } from '../server/local_info.ts';
import { WorkerRuntime } from '../server/worker_runtime.ts';
import type { PlainCluster } from '../upstream/cluster_types.ts';
import { ClusterDiscovery } from '../upstream/discovery/cluster_discovery.ts';
import { SharedDataTable } from './shared_data.ts';

export interface FilterTestOptions {
  /** The filter's file. */
  readonly module: string | URL;
  readonly config?: Readonly<Record<string, unknown>>;
  /** In logs and metrics; default: the file's name. */
  readonly name?: string;
  readonly failOpen?: boolean;
  readonly deadlineMs?: number;
  /** What answers requests that pass the filter; default: 200 with `ok`. */
  readonly upstream?: RequestListener;
  /** More clusters, for call-outs, by name. The upstream's is `upstream`. */
  readonly clusters?: Readonly<Record<string, RequestListener>>;
  /** Configuration of single routes, by path prefix. */
  readonly routes?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Of the proxy's log; default `info`. */
  readonly logLevel?: LogLevel;
}

export interface TestRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
  readonly trailers?: Readonly<Record<string, string>>;
}

export interface TestResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
  text(): string;
  json(): unknown;
}

/** A request as the upstream got it. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

export interface FilterTest {
  /** Of the proxy's listener, on 127.0.0.1. */
  readonly port: number;
  /** What passed the filter so far. */
  readonly received: readonly ReceivedRequest[];
  request(path: string, request?: TestRequest): Promise<TestResponse>;
  /** A counter or gauge of the filter (`seen`), or with its whole name (`cluster.upstream.upstream_rq_total`). */
  metric(name: string): number;
  /** The proxy's log so far. */
  log(): string;
  close(): Promise<void>;
}

const ENVOY = 'type.googleapis.com/envoy.';
const FILTER = 'type.googleapis.com/sluice.extensions.filters.http.typescript.v1.TypeScript';
const FILTER_NAME = 'filter';

/** Throws (rejects with) ConfigErrors when the filter does not load or does not take its configuration. */
export async function testFilter(options: FilterTestOptions): Promise<FilterTest> {
  const received: ReceivedRequest[] = [];
  const upstream = options.upstream ?? ((_request, response) => response.end('ok'));
  const listeners: Record<string, RequestListener> = {
    ...options.clusters,
    upstream: (request, response) => {
      received.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
      upstream(request, response);
    },
  };
  const servers = new Map<string, Server>();
  for (const [name, listener] of Object.entries(listeners)) servers.set(name, await listen(listener));
  try {
    return new RunningFilter(options, servers, received);
  } catch (error) {
    for (const server of servers.values()) server.close();
    throw error;
  }
}

async function listen(listener: RequestListener): Promise<Server> {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

class RunningFilter implements FilterTest {
  readonly port: number;
  readonly received: readonly ReceivedRequest[];
  private readonly servers: ReadonlyMap<string, Server>;
  private readonly directory = mkdtempSync(join(tmpdir(), 'sluice-filter-'));
  private readonly name: string;
  private readonly store: Store;
  private readonly worker: WorkerRuntime;
  private readonly discovery: ClusterDiscovery;
  private readonly runtime: ReturnType<typeof createRuntime>;

  constructor(options: FilterTestOptions, servers: ReadonlyMap<string, Server>, received: readonly ReceivedRequest[]) {
    this.servers = servers;
    this.received = received;
    const path = options.module instanceof URL ? fileURLToPath(options.module) : options.module;
    this.name = options.name ?? (path.split('/').pop() ?? '').replace(/\.[^.]*$/, '');
    const loaded = loadBootstrap({ yaml: JSON.stringify(bootstrapOf(options, path, servers)) });
    const { bootstrap } = loaded;
    applyClusterDefaults(bootstrap);
    this.runtime = createRuntime(undefined, {});
    const memory = createStatsMemory(2);
    this.store = new Store({ memory, thread: 0 });
    this.discovery = new ClusterDiscovery({
      clusters: (bootstrap.staticResources?.clusters ?? []) as unknown as PlainCluster[],
      workers: 1,
      scope: this.store,
    });
    const fd = openListenSocket({ address: ipAddress('127.0.0.1', 0), backlog: 128, reusePort: false });
    const address = fromSocketAddress(socketName(fd));
    this.port = address.kind === 'ip' ? address.port : 0;
    try {
      this.worker = new WorkerRuntime({
        index: 0,
        bootstrap,
        backend: chooseBackend(undefined).backend,
        stats: memory,
        upstream: this.discovery.shared,
        runtime: this.runtime.toPlain(),
        hosts: [],
        log: {
          level: options.logLevel ?? 'info',
          components: {},
          format: '[%l][%n] %v',
          path: join(this.directory, 'log'),
        },
        localInfo: localInfo(bootstrap, {}),
        fileFlushIntervalMs: 10,
        watchdogCells: new Int32Array(new SharedArrayBuffer(4)),
        listeners: [],
        clusters: (bootstrap.staticResources?.clusters ?? []) as unknown as PlainCluster[],
        routes: [],
        socketInterfaces: {},
        scripts: { directory: process.cwd(), validateOnly: false, sharedData: SharedDataTable.allocate() },
        secrets: [],
        overload: null,
      });
      void this.discovery.start({ onHosts: (update) => this.worker.clusters.applyHosts(update) });
      for (const update of this.discovery.current()) this.worker.clusters.applyHosts(update);
      const [proto] = (bootstrap.staticResources?.listeners ?? []) as unknown as ListenerProto[];
      this.worker.addListeners([{ proto, fds: [fd], addresses: [address] }]);
    } catch (error) {
      throw error instanceof Error && 'path' in error ? loaded.locate(error as Parameters<typeof loaded.locate>[0]) : error;
    }
    this.worker.dispatcher.start();
  }

  request(path: string, { method, headers = {}, body, trailers }: TestRequest = {}): Promise<TestResponse> {
    return new Promise((resolve, reject) => {
      const call = httpRequest(
        {
          host: '127.0.0.1',
          port: this.port,
          path,
          method: method ?? (body === undefined ? 'GET' : 'POST'),
          headers: headers as Record<string, string>,
          agent: false,
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve(new ReceivedResponse(response.statusCode ?? 0, response.headers, response.trailers, chunks)),
          );
        },
      );
      call.on('error', reject);
      if (trailers !== undefined) call.addTrailers({ ...trailers });
      call.end(body);
    });
  }

  metric(name: string): number {
    const own = `typescript.${this.name}.${name}`;
    const found = [own, name].map((full) => this.store.counter(full).value || this.store.gauge(full).value);
    return found.find((value) => value !== 0) ?? 0;
  }

  log(): string {
    return readFileSync(join(this.directory, 'log'), 'utf8');
  }

  async close(): Promise<void> {
    const { worker } = this;
    await new Promise<void>((resolve) => {
      worker.dispatcher.post(() => {
        worker.handler.close();
        worker.scripts.close();
        worker.clusters.close();
        // One more turn lets the kernel take the last bytes and closes.
        worker.dispatcher.post(() => setImmediate(resolve));
        worker.dispatcher.wakeNode();
      });
      setImmediate(() => {});
    });
    worker.accessLogs.close();
    worker.sockets.close();
    worker.dispatcher.stop();
    this.discovery.close();
    this.runtime.close();
    for (const server of this.servers.values()) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

class ReceivedResponse implements TestResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;

  constructor(status: number, headers: IncomingHttpHeaders, trailers: NodeJS.Dict<string>, chunks: Buffer[]) {
    this.status = status;
    this.headers = headers;
    this.trailers = trailers;
    this.body = Buffer.concat(chunks);
  }

  text(): string {
    return this.body.toString('utf8');
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

function bootstrapOf(options: FilterTestOptions, path: string, servers: ReadonlyMap<string, Server>): object {
  const typedConfig = {
    '@type': FILTER,
    module: path,
    ...(options.name === undefined ? {} : { name: options.name }),
    config: options.config ?? {},
    ...(options.failOpen === true ? { failure_policy: 'FAIL_OPEN' } : {}),
    ...(options.deadlineMs === undefined ? {} : { deadline: `${options.deadlineMs / 1000}s` }),
  };
  const routes = Object.entries(options.routes ?? {}).map(([prefix, config]) => ({
    match: { prefix },
    route: { cluster: 'upstream' },
    typed_per_filter_config: { [FILTER_NAME]: { '@type': `${FILTER}PerRoute`, config } },
  }));
  const manager = {
    '@type': `${ENVOY}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'test',
    http_protocol_options: { enable_trailers: true },
    http_filters: [
      { name: FILTER_NAME, typed_config: typedConfig },
      { name: 'router', typed_config: { '@type': `${ENVOY}extensions.filters.http.router.v3.Router` } },
    ],
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [...routes, { match: { prefix: '/' }, route: { cluster: 'upstream' } }] },
      ],
    },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: 'test',
          address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
          filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
        },
      ],
      clusters: [...servers].map(([name, server]) => clusterOf(name, (server.address() as AddressInfo).port)),
    },
  };
}

function clusterOf(name: string, port: number): object {
  const address = { socket_address: { address: '127.0.0.1', port_value: port } };
  return {
    name,
    type: 'STATIC',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${ENVOY}extensions.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http_protocol_options: { enable_trailers: true } },
      },
    },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  };
}
