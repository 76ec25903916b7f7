/**
 * Attributes that modules read (Envoy: docs "Attributes"; proxy-wasm properties): by path, segments joined by NUL. Strings are text of one
 * character per byte, integers are bigints, times are nanoseconds.
 *
 * Left out: `upstream.locality`, `upstream.num_endpoints`, cluster and host metadata of the upstream beyond what stream info knows.
 */
import { NOT_SERIALIZABLE, type PropertyValue, propertyAt } from '../../../../wasm/host/property_value.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import type { Address } from '../../../network/address.ts';
import type { Connection } from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

/** What is known of the stream (or connection) that a property is asked of. */
export interface PropertySource {
  readonly info: StreamInfo | null;
  readonly connection: Connection | null;
  readonly requestHeaders: HeaderMap | null;
  readonly responseHeaders: HeaderMap | null;
  readonly responseTrailers: HeaderMap | null;
  /** The stream has ended: durations and sizes are final. */
  readonly completed: boolean;
  readonly context: FactoryContext;
}

type Getter = (source: PropertySource, info: StreamInfo) => PropertyValue;

const int = (value: number): bigint => BigInt(Math.trunc(value));
const some = (text: string): string | undefined => (text === '' ? undefined : text);
const ns = (ms: number): bigint => BigInt(Math.round(ms * 1e6));
const header = (map: HeaderMap | null, id: number): string | undefined => map?.getId(id);
const addressText = (address: Address | null): string | undefined => address?.asString;
const port = (address: Address | null): bigint | undefined => (address?.kind === 'ip' ? int(address.port) : undefined);

/** Path of several segments, joined by a dot here. */
const GETTERS: Record<string, Getter> = {
  'request.path': ({ requestHeaders }) => header(requestHeaders, H[':path']),
  'request.url_path': ({ requestHeaders }) => header(requestHeaders, H[':path'])?.replace(/[?#].*$/s, ''),
  'request.query': ({ requestHeaders }) => {
    const path = header(requestHeaders, H[':path']);
    return path === undefined ? undefined : (/\?([^#]*)/.exec(path)?.[1] ?? '');
  },
  'request.host': ({ requestHeaders }) => header(requestHeaders, H[':authority']),
  'request.scheme': ({ requestHeaders }) => header(requestHeaders, H[':scheme']),
  'request.method': ({ requestHeaders }) => header(requestHeaders, H[':method']),
  'request.referer': ({ requestHeaders }) => header(requestHeaders, H.referer),
  'request.useragent': ({ requestHeaders }) => header(requestHeaders, H['user-agent']),
  'request.id': ({ requestHeaders }) => header(requestHeaders, H['x-request-id']),
  'request.headers': ({ requestHeaders }) => headerObject(requestHeaders),
  'request.headers_bytes': ({ requestHeaders }) => (requestHeaders === null ? undefined : int(requestHeaders.byteSize())),
  'request.time': (_, info) => ns(info.startTimeMs),
  'request.protocol': (_, info) => some(info.protocol),
  'request.size': ({ requestHeaders }, info) => {
    const length = header(requestHeaders, H['content-length']);
    return length !== undefined && /^\d+$/.test(length) ? BigInt(length) : int(info.bytesReceived);
  },
  'request.total_size': ({ requestHeaders }, info) => int(info.bytesReceived + (requestHeaders?.byteSize() ?? 0)),
  'request.duration': ({ completed }, info) =>
    completed && info.endMonotonicMs >= 0 ? ns(info.endMonotonicMs - info.startMonotonicMs) : undefined,

  'response.code': (_, info) => (info.responseCode === 0 ? undefined : int(info.responseCode)),
  'response.code_details': (_, info) => some(info.responseCodeDetails),
  'response.flags': (_, info) => int(info.responseFlags),
  'response.grpc_status': ({ responseHeaders, responseTrailers }) => {
    const status = header(responseTrailers, H['grpc-status']) ?? header(responseHeaders, H['grpc-status']);
    return status !== undefined && /^\d+$/.test(status) ? BigInt(status) : undefined;
  },
  'response.headers': ({ responseHeaders }) => headerObject(responseHeaders),
  'response.headers_bytes': ({ responseHeaders }) => (responseHeaders === null ? undefined : int(responseHeaders.byteSize())),
  'response.trailers': ({ responseTrailers }) => headerObject(responseTrailers),
  'response.size': (_, info) => int(info.bytesSent),
  'response.total_size': ({ responseHeaders, responseTrailers }, info) =>
    int(info.bytesSent + (responseHeaders?.byteSize() ?? 0) + (responseTrailers?.byteSize() ?? 0)),
  'response.backend_latency': (_, info) =>
    info.firstUpstreamTxByteMs >= 0 && info.lastUpstreamRxByteMs >= 0
      ? ns(info.lastUpstreamRxByteMs - info.firstUpstreamTxByteMs)
      : undefined,

  'source.address': (_, info) => addressText(info.downstreamRemoteAddress),
  'source.port': (_, info) => port(info.downstreamRemoteAddress),
  'destination.address': (_, info) => addressText(info.downstreamLocalAddress),
  'destination.port': (_, info) => port(info.downstreamLocalAddress),

  'connection.id': (_, info) => int(info.connectionId),
  'connection.mtls': ({ connection }) => connection?.ssl?.peerCertificatePresented === true,
  'connection.requested_server_name': (_, info) => some(info.requestedServerName),
  'connection.transport_failure_reason': (_, info) => some(info.downstreamTransportFailureReason),
  'connection.termination_details': (_, info) => some(info.connectionTerminationDetails),

  'upstream.address': (_, info) => addressText(info.upstreamRemoteAddress ?? info.upstreamHost?.address ?? null),
  'upstream.port': (_, info) => port(info.upstreamRemoteAddress ?? info.upstreamHost?.address ?? null),
  'upstream.local_address': (_, info) => addressText(info.upstreamLocalAddress),
  'upstream.transport_failure_reason': (_, info) => some(info.upstreamTransportFailureReason),
  'upstream.request_attempt_count': (_, info) => int(info.attemptCount),
  'upstream.cx_pool_ready_duration': (_, info) =>
    info.upstreamPoolReadyMs >= 0 ? ns(info.upstreamPoolReadyMs - info.startMonotonicMs) : undefined,

  'xds.cluster_name': (_, info) => some(info.upstreamClusterName),
  'xds.cluster_metadata': (_, info) => metadata(info.clusterMetadata),
  'xds.route_name': (_, info) => some(info.routeName),
  'xds.route_metadata': (_, info) => metadata(info.routeMetadata),
  'xds.virtual_host_name': (_, info) => some(info.virtualHostName),
  'xds.virtual_host_metadata': (_, info) => metadata(info.virtualHostMetadata),
  'xds.upstream_host_metadata': (_, info) => metadata(info.upstreamHost?.metadata ?? null),
  'xds.listener_metadata': (_, info) => metadata(info.listenerMetadata),
  'xds.filter_chain_name': (_, info) => some(info.filterChainName),
};

/** Names from before `xds` was one, and what can be read without a second segment. */
const ALIASES: Record<string, string> = {
  cluster_name: 'xds.cluster_name',
  cluster_metadata: 'xds.cluster_metadata',
  route_name: 'xds.route_name',
  route_metadata: 'xds.route_metadata',
  upstream_host_metadata: 'xds.upstream_host_metadata',
  listener_metadata: 'xds.listener_metadata',
  connection_id: 'connection.id',
};

/** Roots that are no values themselves. */
const ROOTS = new Set(['request', 'response', 'source', 'destination', 'connection', 'upstream', 'xds']);

/** How modules' own state (`set_property`) is called in the stream's filter state. */
export const STATE_PREFIX = 'wasm.';

/** Undefined: not found. */
export function streamProperty(path: string, source: PropertySource): PropertyValue {
  const { info } = source;
  if (info !== null) {
    const own = info.filterState?.get(STATE_PREFIX + path);
    if (own !== undefined) return own as PropertyValue;
  }
  const segments = path.split('\0');
  const [first, second] = segments;
  if (info === null || first === 'node' || (first === 'xds' && second === 'node')) return nodeProperty(path, source.context);
  if (first === 'metadata') return propertyAt(metadata(info.dynamicMetadata ?? {}), segments, 1);
  if (first === 'filter_state') return segments.length === 1 ? undefined : filterState(info, segments[1]);
  const alias = ALIASES[first];
  const key = alias ?? `${first}.${second ?? ''}`;
  const getter = Object.hasOwn(GETTERS, key) ? GETTERS[key] : undefined;
  if (getter === undefined)
    return segments.length === 1 && ROOTS.has(first) ? NOT_SERIALIZABLE : nodeProperty(path, source.context);
  const value = getter(source, info);
  const rest = alias === undefined ? 2 : 1;
  return segments.length > rest ? propertyAt(value, segments, rest) : value;
}

/** What needs no stream. */
export function nodeProperty(path: string, context: FactoryContext): PropertyValue {
  const segments = path.split('\0');
  const from = segments[0] === 'xds' ? 1 : 0;
  if (segments[from] !== 'node') return path === 'xds' ? NOT_SERIALIZABLE : undefined;
  return propertyAt(nodeOf(context), segments, from + 1);
}

const nodes = new WeakMap<FactoryContext['localInfo'], PropertyValue>();

function nodeOf(context: FactoryContext): PropertyValue {
  const { localInfo } = context;
  let node = nodes.get(localInfo);
  if (node === undefined) {
    const { userAgentName, userAgentVersion, metadata: own, locality } = (localInfo.node ?? {}) as Record<string, never>;
    node = {
      id: localInfo.nodeId,
      cluster: localInfo.clusterName,
      metadata: own ?? {},
      locality: localityOf(locality, localInfo.zone),
      user_agent_name: userAgentName ?? 'sluice',
      ...(userAgentVersion === undefined ? {} : { user_agent_version: userAgentVersion }),
    };
    nodes.set(localInfo, node);
  }
  return node;
}

function localityOf(locality: { region?: string; subZone?: string } | undefined, zone: string): PropertyValue {
  return { region: locality?.region ?? '', zone, sub_zone: locality?.subZone ?? '' };
}

/** As the message `Metadata`: its maps are under `filter_metadata`. */
function metadata(all: Record<string, Record<string, unknown>> | null): PropertyValue {
  return all === null ? undefined : { filter_metadata: all as PropertyValue };
}

function filterState(info: StreamInfo, name: string): PropertyValue {
  const value = info.filterState?.get(name);
  return typeof value === 'string' || value instanceof Uint8Array ? value : undefined;
}

function headerObject(map: HeaderMap | null): PropertyValue {
  return map === null ? undefined : map.toObject();
}
