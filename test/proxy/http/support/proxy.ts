/**
 * A whole HTTP proxy on fakes: real codec, filter manager, routes, router, clusters and pools; connections and time are the test's.
 * `finish` checks that no buffer is left.
 */
import assert from 'node:assert/strict';
import { LineBuffer } from '../../../../src/core/buffer/line_buffer.ts';
import { Store } from '../../../../src/core/stats/store.ts';
import type { AccessLog } from '../../../../src/proxy/access_log/access_log.ts';
import type { HttpConnectionManager } from '../../../../src/proxy/config/types.gen.ts';
import { factory as bufferFactory } from '../../../../src/proxy/extensions/http_filters/buffer/config.ts';
import { factory as headerMutationFactory } from '../../../../src/proxy/extensions/http_filters/header_mutation/config.ts';
import { factory as routerFactory } from '../../../../src/proxy/extensions/http_filters/router/config.ts';
import { compileConnectionManager } from '../../../../src/proxy/extensions/network_filters/http_connection_manager/config.ts';
import type { ConnectionManagerConfig } from '../../../../src/proxy/http/conn_manager/conn_manager_config.ts';
import { ConnectionManagerImpl } from '../../../../src/proxy/http/conn_manager/conn_manager_impl.ts';
import type { HttpFilterFactory } from '../../../../src/proxy/http/filter.ts';
import { ipAddress } from '../../../../src/proxy/network/address.ts';
import type { IoHandle, ListenSocket, SocketInterface } from '../../../../src/proxy/network/io_handle.ts';
import { createRuntime } from '../../../../src/proxy/runtime/runtime_impl.ts';
import type { FactoryContext, HttpFilterConfigFactory, Logger } from '../../../../src/proxy/server/factory_context.ts';
import type { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import { ThreadLocalClusterManager } from '../../../../src/proxy/upstream/cluster_manager.ts';
import type { PlainCluster } from '../../../../src/proxy/upstream/cluster_types.ts';
import { FakeDispatcher } from '../../../support/fake_dispatcher.ts';
import { FakeConnection } from './fakes.ts';

export const ROUTER = { name: 'router', typedConfig: { '@type': 'envoy.extensions.filters.http.router.v3.Router' } };

export interface ProxyOptions {
  /** Fields of the HttpConnectionManager message. */
  hcm?: Record<string, unknown>;
  /** Routes of the only virtual host. */
  routes?: Record<string, unknown>[];
  virtualHost?: Record<string, unknown>;
  /** Fields of the Router message. */
  router?: Record<string, unknown>;
  cluster?: Partial<PlainCluster>;
  endpoints?: string[];
  /** Filters before the router, built for every stream. */
  filters?: HttpFilterFactory[];
  runtime?: Record<string, unknown>;
  bufferLimit?: number;
  random?: () => number;
}

class NoSockets implements SocketInterface {
  readonly name = 'none';

  listen(): ListenSocket {
    throw new Error('not used');
  }

  createSocket(): IoHandle {
    throw new Error('not used');
  }
}

const QUIET: Logger = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  debugEnabled: false,
  traceEnabled: false,
};

export class TestProxy {
  readonly dispatcher = new FakeDispatcher();
  readonly store = new Store();
  readonly upstreams: FakeConnection[] = [];
  readonly config: ConnectionManagerConfig;
  readonly context: FactoryContext;
  readonly clusters: ThreadLocalClusterManager;
  /** One entry per finished stream. */
  readonly logged: Record<string, unknown>[] = [];
  draining = false;
  private readonly bufferLimit: number;
  private readonly downstreams: FakeConnection[] = [];

  constructor(options: ProxyOptions = {}) {
    this.bufferLimit = options.bufferLimit ?? 1024 * 1024;
    const runtime = createRuntime([{ name: 'test', staticLayer: options.runtime ?? {} }]);
    const random = options.random ?? (() => 7);
    this.clusters = new ThreadLocalClusterManager(
      {
        dispatcher: this.dispatcher,
        socketInterface: new NoSockets(),
        createClientConnection: (_dispatcher, _sockets, how) => {
          const address = how.address;
          const connection = new FakeConnection(
            this.dispatcher,
            address.kind === 'ip' ? `${address.ip}:${address.port}` : '0.0.0.0:0',
          );
          connection.connecting = true;
          this.upstreams.push(connection);
          return connection;
        },
        scope: this.store,
        runtime,
        random,
        workerIndex: 0,
      },
      { clusters: [{ name: 'c', type: 'STATIC', loadAssignment: { clusterName: 'c', endpoints: [] }, ...options.cluster }] },
    );
    this.setHosts(options.endpoints ?? ['10.1.1.1:80']);
    this.context = {
      dispatcher: this.dispatcher,
      scope: this.store,
      listenerScope: this.store.scope('listener.10.0.0.1_10000.'),
      clusterManager: this.clusters,
      runtime,
      accessLogManager: {
        createAccessLog: () => ({ line: new LineBuffer(), endLine() {}, flush() {}, reopen() {} }),
        reopen() {},
        flush() {},
      },
      localInfo: { nodeId: 'node-1', clusterName: 'front', zone: '', hostname: 'here', address: '192.0.2.1' },
      drainDecision: { drainClose: () => this.draining },
      socketInterface: new NoSockets(),
      random,
      logger: () => QUIET,
      workerIndex: 0,
      onDestroy() {},
    };
    const factories = new Map<string, HttpFilterConfigFactory>();
    for (const factory of [routerFactory, bufferFactory, headerMutationFactory]) factories.set(factory.typeName, factory);
    const before = (options.filters ?? []).map((create, i) => {
      const typeName = `test.Filter${i}`;
      factories.set(typeName, { typeName, name: `test${i}`, isTerminal: () => false, create: () => create });
      return { name: `test${i}`, typedConfig: { '@type': typeName } };
    });
    const message = {
      codecType: 'AUTO',
      statPrefix: 'in',
      httpFilters: [...before, { ...ROUTER, typedConfig: { ...ROUTER.typedConfig, ...options.router } }],
      routeConfig: {
        name: 'local',
        virtualHosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: options.routes ?? [{ match: { prefix: '/' }, route: { cluster: 'c' } }],
            ...options.virtualHost,
          },
        ],
      },
      ...options.hcm,
    };
    this.config = compileConnectionManager(message as unknown as HttpConnectionManager, this.context, factories);
    this.config.accessLogs = [...this.config.accessLogs, this.recorder()];
  }

  setHosts(endpoints: string[]): void {
    this.clusters.applyHosts({
      cluster: 'c',
      hosts: endpoints.map((endpoint) => {
        const colon = endpoint.lastIndexOf(':');
        return {
          address: ipAddress(endpoint.slice(0, colon), Number(endpoint.slice(colon + 1))),
          hostname: '',
          weight: 1,
          priority: 0,
          locality: { region: '', zone: '', subZone: '' },
          metadata: {},
          canary: false,
          healthStatus: 'UNKNOWN',
        };
      }),
    });
  }

  private recorder(): AccessLog {
    return {
      log: (context, info: StreamInfo) => {
        this.logged.push({
          code: info.responseCode,
          details: info.responseCodeDetails,
          flags: info.responseFlags,
          protocol: info.protocol,
          bytesReceived: info.bytesReceived,
          bytesSent: info.bytesSent,
          attempts: info.attemptCount,
          remote: info.downstreamRemoteAddress?.asString,
          upstream: info.upstreamHost?.address.asString,
          cluster: info.upstreamClusterName,
          path: context.requestHeaders?.get(':path'),
          type: context.accessLogType,
        });
      },
    };
  }

  /** A new client connection. */
  connect(remote?: string, local?: string): FakeConnection {
    const connection = new FakeConnection(this.dispatcher, remote, local);
    connection.setBufferLimits(this.bufferLimit);
    connection.addReadFilter(new ConnectionManagerImpl(this.config));
    connection.initializeReadFilters();
    this.downstreams.push(connection);
    return connection;
  }

  /** The newest upstream connection; accepted when `accept`. */
  upstream(accept = true): FakeConnection {
    const connection = this.upstreams.at(-1);
    assert.ok(connection, 'no upstream connection was made');
    if (accept && connection.connecting) connection.accept();
    return connection;
  }

  counter(name: string): number {
    return this.store.counter(name).value;
  }

  gauge(name: string): number {
    return this.store.gauge(name).value;
  }

  advance(ms: number): void {
    this.dispatcher.advance(ms);
  }

  get lastLog(): Record<string, unknown> {
    const last = this.logged.at(-1);
    assert.ok(last, 'nothing was logged');
    return last;
  }

  /** Closes everything; no stream, no request and no buffer may be left. */
  finish(): void {
    for (const connection of this.downstreams) connection.remoteClose();
    for (const connection of this.upstreams) connection.remoteClose();
    this.dispatcher.run();
    assert.equal(this.gauge('http.in.downstream_rq_active'), 0, 'streams left');
    assert.equal(this.gauge('http.in.downstream_cx_active'), 0, 'connections left');
    assert.equal(this.gauge('cluster.c.upstream_rq_active'), 0, 'upstream requests left');
    assert.equal(this.gauge('cluster.c.upstream_rq_pending_active'), 0, 'pending requests left');
    // The slab keeps one block for small pieces.
    assert.ok(this.dispatcher.slab.blocksInUse <= 1, `${this.dispatcher.slab.blocksInUse} blocks in use`);
  }
}

/** A GET (or another request without body). */
export function request(path = '/', headers: Record<string, string> = {}, method = 'GET'): string {
  const lines = Object.entries({ host: 'a.test', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export interface Message {
  start: string;
  headers: Record<string, string>;
  body: string;
}

/** The first message of `text`; headers that repeat are joined with a comma. */
export function parse(text: string): Message {
  const end = text.indexOf('\r\n\r\n');
  assert.ok(end >= 0, `no head in ${JSON.stringify(text)}`);
  const [start, ...lines] = text.slice(0, end).split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]},${value}` : value;
  }
  return { start, headers, body: text.slice(end + 4) };
}
