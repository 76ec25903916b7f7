/**
 * The rows of "what works, beside other proxies". Sluice's column is looked up in the tables of supported configuration wherever a row
 * has a name there, so that a row turns when the code does. The peers' columns are kept by hand from their documentation, and so are
 * Sluice's of the last rows; nginx is the open source one.
 */
import { EXTENSION_POINTS, SUPPORTED_ENUM_VALUES, SUPPORTED_FIELDS } from '../../src/proxy/config/supported.ts';
import { ADMIN_HANDLERS } from '../../src/proxy/server/admin/handlers.ts';

export type Answer = 'yes' | 'partly' | 'no' | '';

export interface PeerRow {
  feature: string;
  sluice: Answer;
  envoy: Answer;
  nginx: Answer;
  haproxy: Answer;
  vpp: Answer;
}

const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';

/** A message is registered at some extension point. */
function extension(type: string): Answer {
  return Object.values(EXTENSION_POINTS).some((types) => types.split(/\s+/).includes(type)) ? 'yes' : 'no';
}

function field(message: string, name: string): Answer {
  return (SUPPORTED_FIELDS[message] ?? '').split(/\s+/).includes(name) ? 'yes' : 'no';
}

function enumValue(type: string, value: string): Answer {
  return SUPPORTED_ENUM_VALUES[type] === undefined || SUPPORTED_ENUM_VALUES[type].split(/\s+/).includes(value) ? 'yes' : 'no';
}

function row(feature: string, sluice: Answer, peers: string): PeerRow {
  const words: Record<string, Answer> = { y: 'yes', p: 'partly', n: 'no', '-': '' };
  const [envoy, nginx, haproxy, vpp] = [...peers].map((letter) => words[letter]);
  return { feature, sluice, envoy, nginx, haproxy, vpp };
}

const ROUTE = 'envoy.config.route.v3.RouteAction';
const CLUSTER = 'envoy.config.cluster.v3.Cluster';

/** Peers in the order Envoy, nginx, HAProxy, VPP: y(es), p(artly), n(o), - (not its job). */
export const PEER_ROWS: readonly PeerRow[] = [
  row('Runs Envoy v3 bootstrap files', field('envoy.config.bootstrap.v3.Bootstrap', 'static_resources'), 'ynn-'),
  row('HTTP/1.1 reverse proxy', extension(HCM), 'yyy-'),
  row('WebSocket and other upgrades', field(HCM, 'upgrade_configs'), 'yyy-'),
  row('HTTP/2', enumValue(`${HCM}.CodecType`, 'HTTP2'), 'yyy-'),
  row('gRPC: statuses, retries, deadlines, gRPC-Web', extension('envoy.extensions.filters.http.grpc_web.v3.GrpcWeb'), 'ypp-'),
  row('HTTP/3', enumValue(`${HCM}.CodecType`, 'HTTP3'), 'yyy-'),
  row('TLS, downstream', extension('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext'), 'yyyy'),
  row('TLS, upstream', extension('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext'), 'yyyy'),
  row('TCP proxy', extension('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy'), 'yyyp'),
  row('UDP proxy', extension('envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig'), 'yynn'),
  row(
    'Routing TLS by SNI without terminating it',
    extension('envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector'),
    'yyy-',
  ),
  row('PROXY protocol, received', extension('envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol'), 'yyy-'),
  row(
    'PROXY protocol, sent',
    extension('envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport'),
    'yyy-',
  ),
  row('Routes by host, path, regex, header, query', field('envoy.config.route.v3.RouteMatch', 'query_parameters'), 'yyy-'),
  row('Weighted clusters', field(ROUTE, 'weighted_clusters'), 'yyy-'),
  row('Retries with conditions, back-off and budget', field(ROUTE, 'retry_policy'), 'ypp-'),
  row('Circuit breakers', field(CLUSTER, 'circuit_breakers'), 'ypp-'),
  row('Round robin, least request, random', enumValue(`${CLUSTER}.LbPolicy`, 'LEAST_REQUEST'), 'yyy-'),
  row('Consistent hashing', enumValue(`${CLUSTER}.LbPolicy`, 'MAGLEV'), 'yyy-'),
  row('Subsets, priorities, localities, slow start', field(CLUSTER, 'lb_subset_config'), 'ynp-'),
  row('Request mirroring', field(ROUTE, 'request_mirror_policies'), 'yyp-'),
  row('Upstreams from DNS, followed', enumValue(`${CLUSTER}.DiscoveryType`, 'STRICT_DNS'), 'yyy-'),
  row('Original destination', enumValue(`${CLUSTER}.DiscoveryType`, 'ORIGINAL_DST'), 'yny-'),
  row('Active health checks', field(CLUSTER, 'health_checks'), 'yny-'),
  row('Outlier detection', field(CLUSTER, 'outlier_detection'), 'ypp-'),
  row('Access logs, text and JSON, filtered', extension('envoy.extensions.access_loggers.file.v3.FileAccessLog'), 'yyy-'),
  row('Prometheus metrics', ADMIN_HANDLERS.some((handler) => handler.path === '/stats/prometheus') ? 'yes' : 'no', 'ynyy'),
  row('Tracing', field(HCM, 'tracing'), 'ypp-'),
  row(
    'Shedding load by memory, processors, connections',
    field('envoy.config.bootstrap.v3.Bootstrap', 'overload_manager'),
    'ypp-',
  ),
  row('Compression', extension('envoy.extensions.filters.http.compressor.v3.Compressor'), 'yyy-'),
  row('Local rate limit', extension('envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit'), 'yyy-'),
  row('Global rate limit, by a service', extension('envoy.extensions.filters.http.ratelimit.v3.RateLimit'), 'ynn-'),
  row('External authorization', extension('envoy.extensions.filters.http.ext_authz.v3.ExtAuthz'), 'yyp-'),
  row('JSON Web Tokens', extension('envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication'), 'ynp-'),
  row('Role-based access control', extension('envoy.extensions.filters.http.rbac.v3.RBAC'), 'ypp-'),
  row('Fault injection', extension('envoy.extensions.filters.http.fault.v3.HTTPFault'), 'ynn-'),
  row('Metrics to statsd', extension('envoy.config.metrics.v3.StatsdSink'), 'ynn-'),
  row('The file read again while running', ADMIN_HANDLERS.some((handler) => handler.path === '/reload') ? 'yes' : 'no', 'nyy-'),
  // Without SDS, SRDS, ECDS.
  row('xDS', field('envoy.config.bootstrap.v3.Bootstrap', 'dynamic_resources') === 'yes' ? 'partly' : 'no', 'ynn-'),
  row('Restart without losing connections', 'no', 'yyy-'),
  row('Wasm filters', extension('envoy.extensions.filters.http.wasm.v3.Wasm'), 'ynn-'),
  row('Filters in TypeScript, replaced while they run', 'yes', 'nnn-'),
  row('io_uring data path', 'yes', 'pnn-'),
  row('Sockets over shared memory, past the kernel', 'yes', 'nnny'),
  row('TCP, UDP and TLS in user space, over TUN, TAP, packet sockets, AF_XDP', 'yes', 'nnny'),
  row('Unmodified programs on the user-space stack', 'yes', 'nnny'),
  row('Proxy on the user-space stack', extension('envoy.extensions.vcl.v3alpha.VclSocketInterface'), 'pnny'),
];
