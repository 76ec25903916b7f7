/** The connection manager over real sockets: Node's http client in front, Node's http server behind. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { LineBuffer } from '../../../../src/core/buffer/line_buffer.ts';
import type { IoBackend } from '../../../../src/core/event/create_dispatcher.ts';
import { Store } from '../../../../src/core/stats/store.ts';
import type { HttpConnectionManager } from '../../../../src/proxy/config/types.gen.ts';
import { factory as routerFactory } from '../../../../src/proxy/extensions/http_filters/router/config.ts';
import { createHttpConnectionManagerFactory } from '../../../../src/proxy/extensions/network_filters/http_connection_manager/config.ts';
import { ipAddress } from '../../../../src/proxy/network/address.ts';
import { createClientConnection, createServerConnection } from '../../../../src/proxy/network/connection_impl.ts';
import { createRuntime } from '../../../../src/proxy/runtime/runtime_impl.ts';
import type { Logger, TypedConfig } from '../../../../src/proxy/server/factory_context.ts';
import { ThreadLocalClusterManager } from '../../../../src/proxy/upstream/cluster_manager.ts';
import { BACKENDS, type Loop, skipReason, startLoop, until } from '../../../support/dispatchers.ts';
import { ROUTER } from '../support/proxy.ts';

const QUIET: Logger = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, debugEnabled: false, traceEnabled: false };

function startProxy(t: TestContext, backend: IoBackend, upstreamPort: number): { port: number; store: Store; loop: Loop } {
  const loop = startLoop(t, backend);
  const store = new Store();
  const runtime = createRuntime([]);
  const { dispatcher, sockets } = loop;
  const clusterManager = new ThreadLocalClusterManager(
    { dispatcher, socketInterface: sockets, createClientConnection, scope: store, runtime, random: () => 1, workerIndex: 0 },
    { clusters: [{ name: 'c', type: 'STATIC', loadAssignment: { clusterName: 'c', endpoints: [] } }] },
  );
  clusterManager.applyHosts({
    cluster: 'c',
    hosts: [
      {
        address: ipAddress('127.0.0.1', upstreamPort),
        hostname: '',
        weight: 1,
        priority: 0,
        locality: { region: '', zone: '', subZone: '' },
        metadata: {},
        canary: false,
        healthStatus: 'UNKNOWN',
      },
    ],
  });
  const message = {
    '@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    codecType: 'AUTO',
    statPrefix: 'in',
    useRemoteAddress: true,
    httpFilters: [ROUTER],
    routeConfig: {
      name: 'l',
      virtualHosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'c' } }] }],
    },
  } as unknown as HttpConnectionManager & TypedConfig;
  const addFilter = createHttpConnectionManagerFactory(new Map([[routerFactory.typeName, routerFactory]])).create(message, {
    dispatcher,
    scope: store,
    listenerScope: store.scope('listener.test.'),
    clusterManager,
    runtime,
    accessLogManager: {
      createAccessLog: () => ({ line: new LineBuffer(), endLine() {}, flush() {}, reopen() {} }),
      reopen() {},
      flush() {},
    },
    localInfo: { nodeId: 'n', clusterName: 'f', zone: '', hostname: 'h', address: '192.0.2.1' },
    drainDecision: { drainClose: () => false },
    socketInterface: sockets,
    random: () => 1,
    logger: () => QUIET,
    workerIndex: 0,
    onDestroy() {},
  });
  const listener = sockets.listen(
    dispatcher,
    { address: ipAddress('127.0.0.1', 0), backlog: 128, reusePort: false },
    (handle) => {
      const connection = createServerConnection(dispatcher, handle, {
        localAddress: listener.localAddress,
        remoteAddress: handle.remoteAddress(),
      });
      connection.setBufferLimits(64 * 1024);
      addFilter(connection);
      connection.initializeReadFilters();
    },
  );
  listener.setAccepting(true);
  t.after(() => listener.close());
  const address = listener.localAddress;
  assert.equal(address.kind, 'ip');
  return { port: address.kind === 'ip' ? address.port : 0, store, loop };
}

function send(
  port: number,
  agent: Agent,
  method: string,
  path: string,
  body: Buffer,
): Promise<{ response: IncomingMessage; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', agent, method, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ response, body: Buffer.concat(chunks) }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

for (const backend of BACKENDS) {
  test(`${backend}: requests, uploads and downloads through real sockets`, { skip: skipReason(backend) }, async (t) => {
    const server = createServer((incoming, response) => {
      const hash = createHash('sha256');
      incoming.on('data', (chunk: Buffer) => hash.update(chunk));
      incoming.on('end', () => {
        response.setHeader('x-saw', hash.digest('hex'));
        response.setHeader('x-for', String(incoming.headers['x-forwarded-for']));
        if (incoming.url === '/large') response.end(large);
        else response.end(`you asked for ${incoming.url}`);
      });
    });
    const large = randomBytes(3 * 1024 * 1024);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const { port, store, loop } = startProxy(t, backend, (server.address() as AddressInfo).port);
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    t.after(() => agent.destroy());

    const small = await Promise.all(Array.from({ length: 40 }, (_, i) => send(port, agent, 'GET', `/${i}`, Buffer.alloc(0))));
    small.forEach(({ response, body }, i) => {
      assert.equal(response.statusCode, 200);
      assert.equal(body.toString(), `you asked for /${i}`);
      assert.equal(response.headers['x-for'], '192.0.2.1');
      assert.equal(response.headers.server, 'envoy');
    });

    const upload = randomBytes(2 * 1024 * 1024);
    const both = await send(port, agent, 'POST', '/large', upload);
    assert.equal(both.response.headers['x-saw'], createHash('sha256').update(upload).digest('hex'));
    assert.ok(both.body.equals(large));

    assert.equal(store.counter('http.in.downstream_rq_2xx').value, 41);
    agent.destroy();
    await until(loop.dispatcher, () => store.gauge('http.in.downstream_cx_active').value === 0, 'connections to end');
    assert.deepEqual(loop.errors, []);
  });
}
