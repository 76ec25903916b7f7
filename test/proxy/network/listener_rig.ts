/** A connection handler on a real dispatcher and real sockets, with real clusters, for end-to-end tests of listeners. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext as T } from 'node:test';
import type { IoBackend } from '../../../src/core/event/create_dispatcher.ts';
import { factory as httpInspector } from '../../../src/proxy/extensions/listener_filters/http_inspector/config.ts';
import { factory as originalDst } from '../../../src/proxy/extensions/listener_filters/original_dst/config.ts';
import { factory as proxyProtocol } from '../../../src/proxy/extensions/listener_filters/proxy_protocol/config.ts';
import { factory as tlsInspector } from '../../../src/proxy/extensions/listener_filters/tls_inspector/config.ts';
import { factory as connectionLimit } from '../../../src/proxy/extensions/network_filters/connection_limit/config.ts';
import { factory as directResponse } from '../../../src/proxy/extensions/network_filters/direct_response/config.ts';
import { factory as echo } from '../../../src/proxy/extensions/network_filters/echo/config.ts';
import { factory as sniCluster } from '../../../src/proxy/extensions/network_filters/sni_cluster/config.ts';
import { factory as tcpProxy } from '../../../src/proxy/extensions/network_filters/tcp_proxy/config.ts';
import { DOWNSTREAM_TRANSPORT_SOCKETS } from '../../../src/proxy/extensions/registry.ts';
import { ipAddress } from '../../../src/proxy/network/address.ts';
import { ConnectionHandler } from '../../../src/proxy/network/connection_handler.ts';
import { createClientConnection, createServerConnection } from '../../../src/proxy/network/connection_impl.ts';
import type { FilterChainConfig } from '../../../src/proxy/network/filter_chain.ts';
import type { ListenerProto } from '../../../src/proxy/network/listener_config.ts';
import type { ListenerExtensions, ExtensionConfig as Narrow } from '../../../src/proxy/network/listener_extensions.ts';
import { ThreadLocalClusterManager } from '../../../src/proxy/upstream/cluster_manager.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { type Loop, startLoop, until } from '../../support/dispatchers.ts';
import { fileLog, type TestContext, testContext } from '../extensions/support.ts';

/** With any fields, as tests write them. */
export type ExtensionConfig = Narrow & { typedConfig?: Record<string, unknown> };

export const NETWORK_FILTERS = [tcpProxy, echo, directResponse, connectionLimit, sniCluster];
export const LISTENER_FILTERS = [tlsInspector, httpInspector, proxyProtocol, originalDst];

export const EXTENSIONS: ListenerExtensions = {
  networkFilter: (type) => NETWORK_FILTERS.find(({ typeName }) => typeName === type),
  listenerFilter: (type) => LISTENER_FILTERS.find(({ typeName }) => typeName === type),
  downstreamTransportSocket: (type) => DOWNSTREAM_TRANSPORT_SOCKETS.get(type),
};

export const ECHO: ExtensionConfig = { name: 'echo', typedConfig: { '@type': echo.typeName } };
export const TLS_INSPECTOR: ExtensionConfig = { name: 'tls', typedConfig: { '@type': tlsInspector.typeName } };
export const HTTP_INSPECTOR: ExtensionConfig = { name: 'http', typedConfig: { '@type': httpInspector.typeName } };
export const SNI_CLUSTER: ExtensionConfig = { name: 'sni', typedConfig: { '@type': sniCluster.typeName } };

export function respond(text: string): ExtensionConfig {
  return { name: 'respond', typedConfig: { '@type': directResponse.typeName, response: { inlineString: text } } };
}

export function proxyTo(cluster: string, extra: Record<string, unknown> = {}): ExtensionConfig {
  return { name: 'tcp', typedConfig: { '@type': tcpProxy.typeName, statPrefix: 'p', cluster, ...extra } };
}

export function proxyProtocolFilter(extra: Record<string, unknown> = {}): ExtensionConfig {
  return { name: 'pp', typedConfig: { '@type': proxyProtocol.typeName, ...extra } };
}

export function limit(maxConnections: number): ExtensionConfig {
  return { name: 'limit', typedConfig: { '@type': connectionLimit.typeName, statPrefix: 'l', maxConnections } };
}

export function chain(
  filters: ExtensionConfig[],
  match: Partial<FilterChainConfig['filterChainMatch']> = {},
  name = '',
): FilterChainConfig {
  const filterChainMatch = {
    prefixRanges: [],
    addressSuffix: '',
    directSourcePrefixRanges: [],
    sourceType: 'ANY' as const,
    sourcePrefixRanges: [],
    sourcePorts: [],
    serverNames: [],
    transportProtocol: '',
    applicationProtocols: [],
    ...match,
  };
  return { name, filters, filterChainMatch };
}

export function listener(filterChains: FilterChainConfig[], extra: Partial<ListenerProto> = {}): ListenerProto {
  return {
    name: 'l',
    statPrefix: 'l',
    address: { socketAddress: { protocol: 'TCP', address: '127.0.0.1', portValue: 0 } },
    filterChains,
    ...extra,
  };
}

export const LISTENER_LOG = [
  fileLog(
    '%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %FILTER_CHAIN_NAME% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQUESTED_SERVER_NAME%',
  ),
];

export interface Rig {
  loop: Loop;
  handler: ConnectionHandler;
  context: TestContext;
  port: number;
  counter(name: string): number;
  gauge(name: string): number;
  until(condition: () => boolean, what: string): Promise<void>;
  connect(): Promise<Socket>;
  /** Sends, half-closes, and reads to the end. */
  exchange(data: string | Buffer): Promise<Buffer>;
}

/** `clusters`: name to port on 127.0.0.1. */
export function startHandler(
  t: T,
  backend: IoBackend,
  protos: ListenerProto[],
  clusters: Record<string, number> = {},
  cluster: Partial<PlainCluster> = {},
): Rig {
  const loop = startLoop(t, backend);
  const context = testContext(loop.dispatcher, loop.sockets);
  const manager = new ThreadLocalClusterManager(
    {
      dispatcher: loop.dispatcher,
      socketInterface: loop.sockets,
      createClientConnection,
      scope: context.scope,
      runtime: null,
      random: () => 0,
      workerIndex: 0,
    },
    { clusters: Object.entries(clusters).map(([name, port]) => staticCluster(name, port, cluster)) },
  );
  for (const [name, port] of Object.entries(clusters)) {
    const locality = { region: '', zone: '', subZone: '' };
    const address = ipAddress('127.0.0.1', port);
    manager.applyHosts({
      cluster: name,
      hosts: [{ address, hostname: '', weight: 1, priority: 0, locality, metadata: {}, canary: false, healthStatus: 'HEALTHY' }],
    });
    context.clusters.set(name, manager.get(name)!);
  }
  const handler = new ConnectionHandler({ context, extensions: EXTENSIONS, createServerConnection });
  const bound = protos.map((proto) => handler.addListener(proto));
  const first = bound[0][0];
  const port = first.kind === 'ip' ? first.port : 0;
  const rig: Rig = {
    loop,
    handler,
    context,
    port,
    counter: (name) => context.scope.counter(name).value,
    gauge: (name) => context.scope.gauge(name).value,
    until: (condition, what) => until(loop.dispatcher, condition, what),
    connect: async () => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      socket.on('error', () => {});
      t.after(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    },
    exchange: async (data) => {
      const socket = await rig.connect();
      socket.end(data);
      return readAll(socket);
    },
  };
  t.after(() => {
    handler.close();
    assert.deepEqual(loop.errors, [], 'no callback threw');
  });
  return rig;
}

function staticCluster(name: string, port: number, extra: Partial<PlainCluster>): PlainCluster {
  const address = { socketAddress: { protocol: 'TCP', address: '127.0.0.1', portValue: port } };
  const loadAssignment = { clusterName: name, endpoints: [{ lbEndpoints: [{ endpoint: { address } }] }] };
  return { name, type: 'STATIC', loadAssignment, ...extra } as unknown as PlainCluster;
}

/** What arrives until the end; a reset ends it too. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    socket.once('end', resolve);
    socket.once('close', () => resolve());
  });
  return Buffer.concat(chunks);
}

/** An upstream on an ephemeral port. */
export async function startServer(t: T, onConnection: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

/** A port that nobody listens on. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Bytes that show when one is missing or out of place. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7) & 0xff;
  return bytes;
}
