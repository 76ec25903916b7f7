/**
 * A connection manager as configured, on one worker (Envoy: ConnectionManagerConfig). Fields have Envoy's defaults; the factory in
 * `extensions/network_filters/http_connection_manager` overwrites what the configuration says. Times are ms, 0 is "off".
 */
import type { Dispatcher } from '../../../core/event/dispatcher.ts';
import type { AccessLog } from '../../access_log/access_log.ts';
import type { Address } from '../../network/address.ts';
import type { Connection } from '../../network/connection.ts';
import type { TimerType } from '../../overload/overload_config.ts';
import type { OverloadState } from '../../overload/overload_state.ts';
import type { ScaledTimer } from '../../overload/scaled_timer.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { DrainDecision } from '../../server/factory_context.ts';
import type { HttpTracing } from '../../tracing/http_tracing.ts';
import type { RequestDecoder, ResponseEncoder, ServerConnection, ServerConnectionCallbacks } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import type { RouteTable } from '../route/route.ts';
import type { ActiveStream } from './active_stream.ts';
import { type ClientCertDetails, type ForwardClientCert, NO_DETAILS } from './client_cert.ts';
import type { ConnectionManagerStats } from './conn_manager_stats.ts';
import type { FilterChain } from './filter_chain.ts';
import type { InternalAddressConfig } from './internal_address.ts';
import { LazyTimer } from './lazy_timer.ts';
import { LocalReply } from './local_reply.ts';

export type ServerHeaderTransformation = 'OVERWRITE' | 'APPEND_IF_ABSENT' | 'PASS_THROUGH';

/** What path normalisation decided: go on, refuse with 400, or redirect to the normalised path. */
export const NormalizePathAction = { Continue: 0, Reject: 1, Redirect: 2 } as const;
export type NormalizePathAction = (typeof NormalizePathAction)[keyof typeof NormalizePathAction];

export interface Http2Codec extends ServerConnection {
  /** Takes over a connection whose first request asked for h2c. Null: its settings are wrong. */
  upgrade(settings: Uint8Array, decoder: RequestDecoder): ResponseEncoder | null;
}

export interface CodecFactory {
  create(connection: Connection, callbacks: ServerConnectionCallbacks): ServerConnection;
  createHttp2(connection: Connection, callbacks: ServerConnectionCallbacks): Http2Codec;
  /** Takes back a codec that is between two requests, to be given out again; false when it is not, and stays with its connection. */
  park(codec: ServerConnection): boolean;
  /** Takes back the codec of a connection that reads nothing more, with nothing of the codec on the stack. */
  retire(codec: ServerConnection): void;
}

export class ConnectionManagerConfig {
  readonly dispatcher: Dispatcher;
  readonly stats: ConnectionManagerStats;
  readonly codecFactory: CodecFactory;
  readonly drainDecision: DrainDecision;
  /** Swapped as a whole when routes change. */
  routeTable: RouteTable;
  filterChain: FilterChain;
  accessLogs: readonly AccessLog[] = [];
  flushAccessLogOnNewRequest = false;
  localReply = new LocalReply([], null);

  codecType: 'AUTO' | 'HTTP1' | 'HTTP2' = 'AUTO';
  useRemoteAddress = false;
  xffNumTrustedHops = 0;
  skipXffAppend = false;
  appendXForwardedPort = false;
  representIpv4AsIpv4MappedIpv6 = false;
  internalAddress: InternalAddressConfig | null = null;
  /** This host's address, for x-forwarded-for of loopback peers. */
  localAddress = '127.0.0.1';
  nodeId = '';
  via = '';
  /** `add_user_agent`: the service cluster. */
  userAgent = '';
  generateRequestId = true;
  preserveExternalRequestId = false;
  alwaysSetRequestIdInResponse = false;
  schemeToOverwrite = '';
  schemeMatchUpstream = false;
  forwardClientCert: ForwardClientCert = 'SANITIZE';
  clientCertDetails: ClientCertDetails = NO_DETAILS;
  serverName = 'envoy';
  serverHeaderTransformation: ServerHeaderTransformation = 'OVERWRITE';
  proxy100Continue = false;
  acceptHttp10 = false;
  defaultHostForHttp10 = '';

  /** Null: paths stay as they are. May change `:path`; for Redirect it has. */
  normalizePath: ((headers: HeaderMap) => NormalizePathAction) | null = null;
  stripMatchingHostPort = false;
  stripAnyHostPort = false;
  stripTrailingHostDot = false;

  streamIdleTimeoutMs = 300_000;
  requestTimeoutMs = 0;
  requestHeadersTimeoutMs = 0;
  drainTimeoutMs = 5_000;
  delayedCloseTimeoutMs = 1_000;
  idleTimeoutMs = 3_600_000;
  maxConnectionDurationMs = 0;
  http1SafeMaxConnectionDuration = false;
  maxStreamDurationMs = 0;
  maxRequestsPerConnection = 0;
  /** Null: requests are not traced. */
  tracing: HttpTracing | null = null;
  /** Null: nothing is refused, and no timeout shrinks. */
  overload: OverloadState | null = null;
  /** Tells clients that refused requests were refused for overload. */
  appendLocalOverload = false;
  /** Null: runtime keys have their defaults. */
  runtime: Runtime | null = null;

  /** Streams that wait to be used again. */
  readonly freeStreams: ActiveStream[] = [];

  constructor(required: {
    dispatcher: Dispatcher;
    stats: ConnectionManagerStats;
    codecFactory: CodecFactory;
    drainDecision: DrainDecision;
    routeTable: RouteTable;
    filterChain: FilterChain;
  }) {
    this.dispatcher = required.dispatcher;
    this.stats = required.stats;
    this.codecFactory = required.codecFactory;
    this.drainDecision = required.drainDecision;
    this.routeTable = required.routeTable;
    this.filterChain = required.filterChain;
  }

  /** For a timeout that may shrink under overload. */
  createTimer(type: TimerType, callback: () => void): LazyTimer | ScaledTimer {
    return this.overload?.createTimer(type, this.dispatcher, callback) ?? new LazyTimer(this.dispatcher, callback);
  }

  get internalOnlyHeaders(): readonly string[] {
    return this.routeTable.internalOnlyHeaders;
  }

  /** An IP as it is written into x-forwarded-for. */
  forwardedAddressText(address: Address): string {
    if (address.kind !== 'ip') return '';
    return this.representIpv4AsIpv4MappedIpv6 && address.version === 4 ? `::ffff:${address.ip}` : address.ip;
  }
}
