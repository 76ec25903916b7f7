/**
 * What a connection manager changes in request and response headers (Envoy: conn_manager_utility.cc): hop-by-hop headers, the client's
 * address and x-forwarded-*, internal headers of untrusted peers, via, x-request-id. The order is Envoy's. A request that carries
 * none of these headers costs one mask test and the additions.
 *
 * Marks of tracing in the request id: `tracing/http_tracing.ts`.
 */
import { type Address, ipAddress } from '../../network/address.ts';
import type { Connection } from '../../network/connection.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { headerMask } from '../known_headers.ts';
import { type ClientCertDetails, clientCertElement, mutateClientCert } from './client_cert.ts';
import type { ConnectionManagerConfig } from './conn_manager_config.ts';
import { appendIdText, headerEquals, headerEqualsIgnoreCase } from './header_bytes.ts';
import { isLoopback } from './internal_address.ts';
import { isValidReferer } from './referer.ts';
import { UUID_LENGTH, writeUuid } from './uuid.ts';

const HOP_BY_HOP = [H['keep-alive'], H['proxy-connection'], H['transfer-encoding']];
/** Dropped from every request that is not internal. */
const INTERNAL = [
  H['x-envoy-retriable-status-codes'],
  H['x-envoy-retriable-header-names'],
  H['x-envoy-retry-on'],
  H['x-envoy-retry-grpc-on'],
  H['x-envoy-max-retries'],
  H['x-envoy-upstream-alt-stat-name'],
  H['x-envoy-upstream-rq-timeout-ms'],
  H['x-envoy-upstream-rq-per-try-timeout-ms'],
  H['x-envoy-upstream-rq-timeout-alt-response'],
  H['x-envoy-expected-rq-timeout-ms'],
  H['x-envoy-force-trace'],
  H['x-envoy-ip-tags'],
  H['x-envoy-original-url'],
  H['x-envoy-hedge-on-per-try-timeout'],
];
/** Dropped at the edge, too. */
const EDGE = [
  H['x-envoy-decorator-operation'],
  H['x-envoy-downstream-service-cluster'],
  H['x-envoy-downstream-service-node'],
  H['x-envoy-original-path'],
  H['x-envoy-original-host'],
];
const REMOVED_FIRST = headerMask([...HOP_BY_HOP, H.connection, H.upgrade, H.te, H['x-envoy-internal'], H.referer]);
const REMOVED_EXTERNAL = headerMask([...INTERNAL, ...EDGE]);
const RESPONSE_HOP_BY_HOP = headerMask([...HOP_BY_HOP, H.connection, H.upgrade]);

/** Facts of a downstream connection, worked out once: texts that every request of it gets. */
export class ConnectionFacts {
  readonly remoteAddress: Address;
  /** What goes into x-forwarded-for: the peer, or this host's address for loopback peers; '' for a peer without an IP. */
  readonly forwardedFor: string;
  readonly isInternal: boolean;
  readonly externalAddress: string;
  readonly proto: 'http' | 'https';
  readonly port: string;
  readonly connection: Connection;
  private readonly details: ClientCertDetails;
  private element: string | null = null;

  constructor(connection: Connection, config: ConnectionManagerConfig) {
    this.connection = connection;
    this.details = config.clientCertDetails;
    const remote = connection.streamInfo.downstreamRemoteAddress ?? connection.remoteAddress;
    this.remoteAddress = remote;
    this.forwardedFor =
      remote.kind !== 'ip' ? '' : isLoopback(remote) ? config.localAddress : config.forwardedAddressText(remote);
    this.isInternal = config.internalAddress !== null && config.internalAddress.contains(remote);
    this.externalAddress = remote.kind === 'ip' ? remote.ip : '';
    this.proto = connection.ssl !== null ? 'https' : 'http';
    this.port = connection.localAddress.kind === 'ip' ? String(connection.localAddress.port) : '';
  }

  /** The element of x-forwarded-client-cert; made for the first request that needs it. */
  clientCert(): string {
    const { ssl } = this.connection;
    this.element ??= ssl === null ? '' : clientCertElement(ssl, this.details);
    return this.element;
  }
}

/** What `mutateRequestHeaders` found out. One object per stream, reused. */
export interface ClientAddressResult {
  /** The address the client is believed to have. */
  downstreamRemoteAddress: Address | null;
}

/** `isUpgrade`: the request keeps `connection` and `upgrade`. */
export function mutateRequestHeaders(
  headers: HeaderMap,
  config: ConnectionManagerConfig,
  facts: ConnectionFacts,
  isUpgrade: boolean,
  result: ClientAddressResult,
): void {
  if (headers.mayHaveAny(REMOVED_FIRST)) removeHopByHop(headers, isUpgrade);

  let address = facts.remoteAddress;
  let internal: boolean;
  if (config.useRemoteAddress) {
    const hadForwardedFor = headers.hasId(H['x-forwarded-for']);
    const hops = config.xffNumTrustedHops;
    if (hops > 0) address = lastAddressFromXff(headers, hops - 1)?.address ?? address;
    if (!config.skipXffAppend && facts.forwardedFor !== '') {
      if (hadForwardedFor) appendIdText(headers, H['x-forwarded-for'], facts.forwardedFor, ',');
      else headers.addId(H['x-forwarded-for'], facts.forwardedFor);
    }
    if (hops === 0 || !headers.hasId(H['x-forwarded-proto'])) headers.setId(H['x-forwarded-proto'], facts.proto);
    if (config.appendXForwardedPort && (hops === 0 || !headers.hasId(H['x-forwarded-port']))) {
      headers.setId(H['x-forwarded-port'], facts.port);
    }
    internal =
      !hadForwardedFor &&
      (address === facts.remoteAddress ? facts.isInternal : (config.internalAddress?.contains(address) ?? false));
  } else {
    let trustedCheck = true;
    if (headers.hasId(H['x-forwarded-for'])) {
      const found = lastAddressFromXff(headers, config.xffNumTrustedHops);
      if (found !== null) {
        address = found.address;
        trustedCheck = found.single;
      } else trustedCheck = false;
    } else trustedCheck = false;
    if (!headers.hasId(H['x-forwarded-proto'])) headers.addId(H['x-forwarded-proto'], facts.proto);
    if (config.appendXForwardedPort && !headers.hasId(H['x-forwarded-port'])) headers.addId(H['x-forwarded-port'], facts.port);
    internal = trustedCheck && config.internalAddress !== null && config.internalAddress.contains(address);
  }
  result.downstreamRemoteAddress = address;

  setScheme(headers, config, facts);

  const edge = config.useRemoteAddress && !internal;
  if (internal) headers.setId(H['x-envoy-internal'], 'true');
  else cleanInternalHeaders(headers, edge, config);

  if (config.userAgent !== '') {
    headers.setId(H['x-envoy-downstream-service-cluster'], config.userAgent);
    if (headers.getId(H['user-agent']) === undefined || headers.getId(H['user-agent']) === '')
      headers.setId(H['user-agent'], config.userAgent);
    if (config.nodeId !== '') headers.setId(H['x-envoy-downstream-service-node'], config.nodeId);
  }
  if (config.via !== '') appendIdText(headers, H.via, config.via, ', ');
  if (edge && address.kind === 'ip') {
    const text = address === facts.remoteAddress ? facts.externalAddress : address.ip;
    headers.setId(H['x-envoy-external-address'], text);
  }
  if (config.generateRequestId) {
    if (edge && !config.preserveExternalRequestId) setRequestId(headers);
    else if (!headers.hasId(H['x-request-id'])) setRequestId(headers);
  }
  mutateClientCert(headers, config.forwardClientCert, facts);
}

function setRequestId(headers: HeaderMap): void {
  writeUuid(headers.slab.u8, headers.setIdBytes(H['x-request-id'], UUID_LENGTH));
}

function removeHopByHop(headers: HeaderMap, isUpgrade: boolean): void {
  if (!isUpgrade) {
    headers.removeId(H.connection);
    headers.removeId(H.upgrade);
    if (headers.hasId(H.te)) keepOnlyTrailers(headers);
  }
  headers.removeId(H['x-envoy-internal']);
  for (let i = 0; i < HOP_BY_HOP.length; i++) headers.removeId(HOP_BY_HOP[i]);
  if (headers.hasId(H.referer)) {
    const all = headers.getAll('referer');
    if (all.length > 1 || !isValidReferer(all[0])) headers.removeId(H.referer);
  }
}

/** `te` may only say `trailers` to the next hop (RFC 9110 10.1.4). */
function keepOnlyTrailers(headers: HeaderMap): void {
  const te = headers.getId(H.te) ?? '';
  const hasTrailers = te.split(',').some((part) => part.split(';')[0].trim().toLowerCase() === 'trailers');
  if (hasTrailers) headers.setId(H.te, 'trailers');
  else headers.removeId(H.te);
}

function setScheme(headers: HeaderMap, config: ConnectionManagerConfig, facts: ConnectionFacts): void {
  if (config.schemeToOverwrite !== '') {
    headers.setId(H[':scheme'], config.schemeToOverwrite);
    headers.setId(H['x-forwarded-proto'], config.schemeToOverwrite);
    return;
  }
  if (headers.hasId(H[':scheme'])) {
    // What nearly all requests say, without making a text of it.
    if (headerEquals(headers, H[':scheme'], 'http') || headerEquals(headers, H[':scheme'], 'https')) return;
    const scheme = headers.getId(H[':scheme']) as string;
    const lower = scheme.toLowerCase();
    if (lower !== scheme) headers.setId(H[':scheme'], lower);
    return;
  }
  let scheme: string = facts.proto;
  if (headerEqualsIgnoreCase(headers, H['x-forwarded-proto'], 'https')) scheme = 'https';
  else if (headerEqualsIgnoreCase(headers, H['x-forwarded-proto'], 'http')) scheme = 'http';
  headers.addId(H[':scheme'], scheme);
}

function cleanInternalHeaders(headers: HeaderMap, edge: boolean, config: ConnectionManagerConfig): void {
  if (headers.mayHaveAny(REMOVED_EXTERNAL)) {
    if (edge) for (let i = 0; i < EDGE.length; i++) headers.removeId(EDGE[i]);
    for (let i = 0; i < INTERNAL.length; i++) headers.removeId(INTERNAL[i]);
  }
  const internalOnly = config.internalOnlyHeaders;
  for (let i = 0; i < internalOnly.length; i++) headers.remove(internalOnly[i]);
}

/** Response headers on their way to the client. `upgrade`: request and response both carry the upgrade. */
export function mutateResponseHeaders(
  headers: HeaderMap,
  requestHeaders: HeaderMap | null,
  config: ConnectionManagerConfig,
  upgrade: boolean,
): void {
  if (headers.mayHaveAny(RESPONSE_HOP_BY_HOP) || upgrade) {
    if (upgrade) {
      const noBody = !headers.hasId(H['transfer-encoding']) && !headers.hasId(H['content-length']);
      const status = headers.getId(H[':status']) ?? '';
      if (noBody && status.charCodeAt(0) !== 49) headers.setId(H['content-length'], '0');
    } else {
      headers.removeId(H.connection);
      headers.removeId(H.upgrade);
    }
    for (let i = 0; i < HOP_BY_HOP.length; i++) headers.removeId(HOP_BY_HOP[i]);
  }
  if (requestHeaders !== null && (config.alwaysSetRequestIdInResponse || requestHeaders.hasId(H['x-envoy-force-trace']))) {
    const id = requestHeaders.getId(H['x-request-id']);
    if (id !== undefined) headers.setId(H['x-request-id'], id);
  }
  if (config.via !== '') appendIdText(headers, H.via, config.via, ', ');
}

/** The `skip`-th address from the right of x-forwarded-for; null when there are too few or it is no address. */
export function lastAddressFromXff(headers: HeaderMap, skip: number): { address: Address; single: boolean } | null {
  const xff = headers.getId(H['x-forwarded-for']);
  if (xff === undefined) return null;
  let end = xff.length;
  for (let i = 0; i < skip; i++) {
    const comma = xff.lastIndexOf(',', end - 1);
    if (comma < 0) return null;
    end = comma;
  }
  const comma = end === 0 ? -1 : xff.lastIndexOf(',', end - 1);
  const text = xff.slice(comma + 1, end).trim();
  const address = parseIp(text);
  return address === null ? null : { address, single: comma < 0 && end === xff.length };
}

function parseIp(text: string): Address | null {
  try {
    return ipAddress(text, 0);
  } catch {
    return null;
  }
}

/** True when the request asks for another protocol (`connection: upgrade` and `upgrade`). */
export function isUpgradeRequest(headers: HeaderMap): boolean {
  if (!headers.hasId(H.upgrade) || !headers.hasId(H.connection)) return false;
  if (headerEqualsIgnoreCase(headers, H.connection, 'upgrade')) return true;
  return hasToken(headers.getId(H.connection) as string, 'upgrade');
}

export function isConnect(headers: HeaderMap): boolean {
  return headerEquals(headers, H[':method'], 'CONNECT');
}

/** True when the comma-separated list has the token, whatever its case. */
export function hasToken(list: string, token: string): boolean {
  for (const part of list.split(',')) if (part.trim().toLowerCase() === token) return true;
  return false;
}

const GRPC = 'application/grpc';

export function isGrpcRequest(headers: HeaderMap): boolean {
  if (!headers.hasId(H['content-type'])) return false;
  const type = headers.getId(H['content-type']) as string;
  return (
    type.startsWith(GRPC) &&
    (type.length === GRPC.length || type.charCodeAt(GRPC.length) === 43 || type.charCodeAt(GRPC.length) === 59)
  );
}
