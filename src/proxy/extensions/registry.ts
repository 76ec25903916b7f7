/** Everything that configuration can name by type, found by the full name of its message. */
import type { ListenerExtensions } from '../network/listener_extensions.ts';
import type { ListenerFilterConfigFactory } from '../network/listener_filter.ts';
import type { SocketInterfaceFactory } from '../network/socket_interfaces.ts';
import type { TransportSocketConfigFactory } from '../network/transport_socket_config.ts';
import type { HttpFilterConfigFactory, NetworkFilterConfigFactory } from '../server/factory_context.ts';
import { factory as basicAuth } from './http_filters/basic_auth/config.ts';
import { factory as buffer } from './http_filters/buffer/config.ts';
import { factory as compressor } from './http_filters/compressor/config.ts';
import { factory as cors } from './http_filters/cors/config.ts';
import { factory as csrf } from './http_filters/csrf/config.ts';
import { factory as extAuthz } from './http_filters/ext_authz/config.ts';
import { factory as fault } from './http_filters/fault/config.ts';
import { factory as grpcHttp1Bridge } from './http_filters/grpc_http1_bridge/config.ts';
import { factory as grpcStats } from './http_filters/grpc_stats/config.ts';
import { factory as grpcWeb } from './http_filters/grpc_web/config.ts';
import { factory as headerMutation } from './http_filters/header_mutation/config.ts';
import { factory as headerToMetadata } from './http_filters/header_to_metadata/config.ts';
import { factory as healthCheck } from './http_filters/health_check/config.ts';
import { factory as jwtAuthn } from './http_filters/jwt_authn/config.ts';
import { factory as localRateLimit } from './http_filters/local_ratelimit/config.ts';
import { factory as rateLimit } from './http_filters/ratelimit/config.ts';
import { factory as rbac } from './http_filters/rbac/config.ts';
import { factory as router } from './http_filters/router/config.ts';
import { factory as setMetadata } from './http_filters/set_metadata/config.ts';
import { factory as typescript } from './http_filters/typescript/config.ts';
import { factory as wasm } from './http_filters/wasm/config.ts';
import { factory as httpInspector } from './listener_filters/http_inspector/config.ts';
import { factory as originalDst } from './listener_filters/original_dst/config.ts';
import { factory as proxyProtocol } from './listener_filters/proxy_protocol/config.ts';
import { factory as tlsInspector } from './listener_filters/tls_inspector/config.ts';
import { factory as connectionLimit } from './network_filters/connection_limit/config.ts';
import { factory as directResponse } from './network_filters/direct_response/config.ts';
import { factory as echo } from './network_filters/echo/config.ts';
import { factory as networkExtAuthz } from './network_filters/ext_authz/config.ts';
import { createHttpConnectionManagerFactory } from './network_filters/http_connection_manager/config.ts';
import { factory as networkLocalRateLimit } from './network_filters/local_ratelimit/config.ts';
import { factory as networkRbac } from './network_filters/rbac/config.ts';
import { factory as sniCluster } from './network_filters/sni_cluster/config.ts';
import { factory as tcpProxy } from './network_filters/tcp_proxy/config.ts';
import { factory as networkTypescript } from './network_filters/typescript/config.ts';
import { factory as networkWasm } from './network_filters/wasm/config.ts';
import { factory as vcl } from './socket_interfaces/vcl/config.ts';
import { factory as rawBuffer } from './transport_sockets/raw_buffer/config.ts';
import {
  downstreamFactory as downstreamStartTls,
  upstreamFactory as upstreamStartTls,
} from './transport_sockets/starttls/config.ts';
import { createTapFactory } from './transport_sockets/tap/config.ts';
import { downstreamFactory as downstreamTls, upstreamFactory as upstreamTls } from './transport_sockets/tls/config.ts';

function byType<F extends { readonly typeName: string }>(factories: readonly F[]): ReadonlyMap<string, F> {
  return new Map(factories.map((factory) => [factory.typeName, factory]));
}

export const HTTP_FILTERS = byType<HttpFilterConfigFactory>([
  buffer,
  compressor,
  cors,
  extAuthz,
  fault,
  grpcHttp1Bridge,
  grpcStats,
  grpcWeb,
  headerMutation,
  healthCheck,
  jwtAuthn,
  basicAuth,
  csrf,
  setMetadata,
  headerToMetadata,
  rateLimit,
  localRateLimit,
  rbac,
  router,
  typescript,
  wasm,
]);

export const NETWORK_FILTERS = byType<NetworkFilterConfigFactory>([
  connectionLimit,
  directResponse,
  echo,
  createHttpConnectionManagerFactory(HTTP_FILTERS),
  networkExtAuthz,
  networkLocalRateLimit,
  networkRbac,
  networkTypescript,
  sniCluster,
  tcpProxy,
  networkWasm,
]);

export const LISTENER_FILTERS = byType<ListenerFilterConfigFactory>([httpInspector, originalDst, proxyProtocol, tlsInspector]);

export const SOCKET_INTERFACES: readonly SocketInterfaceFactory[] = [vcl];
export const DOWNSTREAM_TRANSPORT_SOCKETS: ReadonlyMap<string, TransportSocketConfigFactory> =
  byType<TransportSocketConfigFactory>([
    rawBuffer,
    downstreamStartTls,
    downstreamTls,
    createTapFactory(true, (typeName) => DOWNSTREAM_TRANSPORT_SOCKETS.get(typeName)),
  ]);

export const UPSTREAM_TRANSPORT_SOCKETS: ReadonlyMap<string, TransportSocketConfigFactory> = byType<TransportSocketConfigFactory>(
  [rawBuffer, upstreamStartTls, upstreamTls, createTapFactory(false, (typeName) => UPSTREAM_TRANSPORT_SOCKETS.get(typeName))],
);

export const LISTENER_EXTENSIONS: ListenerExtensions = {
  networkFilter: (typeName) => NETWORK_FILTERS.get(typeName),
  listenerFilter: (typeName) => LISTENER_FILTERS.get(typeName),
  downstreamTransportSocket: (typeName) => DOWNSTREAM_TRANSPORT_SOCKETS.get(typeName),
};
