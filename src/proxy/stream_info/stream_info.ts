/**
 * What is known about a stream or connection, for access logs, header formats and stats (Envoy's StreamInfo).
 *
 * A plain object that is reused: everything has a value from the start, so that its shape never changes. Times are monotonic ms
 * of `dispatcher.nowMs`; -1 means "not yet".
 */
import type { Address } from '../network/address.ts';
import type { SslConnectionInfo } from '../network/connection.ts';
import type { Span } from '../tracing/span.ts';

/** Bit numbers and texts of response flags: short, long. Envoy: envoy/stream_info/stream_info.h. */
export const RESPONSE_FLAGS = {
  FailedLocalHealthCheck: [0, 'LH'],
  NoHealthyUpstream: [1, 'UH'],
  UpstreamRequestTimeout: [2, 'UT'],
  LocalReset: [3, 'LR'],
  UpstreamRemoteReset: [4, 'UR'],
  UpstreamConnectionFailure: [5, 'UF'],
  UpstreamConnectionTermination: [6, 'UC'],
  UpstreamOverflow: [7, 'UO'],
  NoRouteFound: [8, 'NR'],
  DelayInjected: [9, 'DI'],
  FaultInjected: [10, 'FI'],
  RateLimited: [11, 'RL'],
  UnauthorizedExternalService: [12, 'UAEX'],
  RateLimitServiceError: [13, 'RLSE'],
  DownstreamConnectionTermination: [14, 'DC'],
  UpstreamRetryLimitExceeded: [15, 'URX'],
  StreamIdleTimeout: [16, 'SI'],
  InvalidEnvoyRequestHeaders: [17, 'IH'],
  DownstreamProtocolError: [18, 'DPE'],
  UpstreamMaxStreamDurationReached: [19, 'UMSDR'],
  ResponseFromCacheFilter: [20, 'RFCF'],
  NoFilterConfigFound: [21, 'NFCF'],
  DurationTimeout: [22, 'DT'],
  UpstreamProtocolError: [23, 'UPE'],
  NoClusterFound: [24, 'NC'],
  OverloadManagerTerminated: [25, 'OM'],
  DnsResolutionFailed: [26, 'DF'],
  DropOverload: [27, 'DO'],
  DownstreamRemoteReset: [28, 'DR'],
  UnconditionalDropOverload: [29, 'UDO'],
  /** Sluice's own: an extension (a Wasm module ...) failed, and the stream with it. */
  ExtensionFailure: [30, 'EXF'],
} as const;
export type ResponseFlag = keyof typeof RESPONSE_FLAGS;

/** Flag masks by name: `streamInfo.responseFlags |= Flag.NoRouteFound`. */
export const Flag = Object.fromEntries(Object.entries(RESPONSE_FLAGS).map(([name, [bit]]) => [name, 1 << bit])) as Record<
  ResponseFlag,
  number
>;

/** The upstream host as StreamInfo needs it; `upstream/host.ts` implements it. */
export interface UpstreamHostInfo {
  readonly address: Address;
  readonly hostname: string;
  readonly metadata: Record<string, Record<string, unknown>>;
}

export type Protocol = '' | 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2' | 'HTTP/3';

/** '' for one that was not asked for. */
export interface HelloFingerprints {
  readonly ja3: string;
  readonly ja4: string;
}

export class StreamInfo {
  // Times: wall clock at the start, the rest monotonic ms.
  startTimeMs = 0;
  startMonotonicMs = 0;
  lastDownstreamRxByteMs = -1;
  firstUpstreamTxByteMs = -1;
  lastUpstreamTxByteMs = -1;
  firstUpstreamRxByteMs = -1;
  lastUpstreamRxByteMs = -1;
  upstreamConnectStartMs = -1;
  upstreamConnectCompleteMs = -1;
  upstreamHandshakeCompleteMs = -1;
  downstreamHandshakeCompleteMs = -1;
  upstreamPoolReadyMs = -1;
  firstDownstreamTxByteMs = -1;
  lastDownstreamTxByteMs = -1;
  endMonotonicMs = -1;

  protocol: Protocol = '';
  upstreamProtocol: Protocol = '';
  /** 0: no response was sent. */
  responseCode = 0;
  responseCodeDetails = '';
  connectionTerminationDetails = '';
  responseFlags = 0;
  /** Body bytes. */
  bytesReceived = 0;
  bytesSent = 0;
  downstreamWireBytesReceived = 0;
  downstreamWireBytesSent = 0;
  downstreamHeaderBytesReceived = 0;
  downstreamHeaderBytesSent = 0;
  upstreamWireBytesReceived = 0;
  upstreamWireBytesSent = 0;
  upstreamHeaderBytesReceived = 0;
  upstreamHeaderBytesSent = 0;

  connectionId = 0;
  /** The address the client is believed to have (after x-forwarded-for / proxy_protocol). */
  downstreamRemoteAddress: Address | null = null;
  /** The peer of the socket. */
  downstreamDirectRemoteAddress: Address | null = null;
  downstreamLocalAddress: Address | null = null;
  downstreamDirectLocalAddress: Address | null = null;
  requestedServerName = '';
  /** Of the hello of the downstream connection, when a listener filter took them. */
  helloFingerprints: HelloFingerprints | null = null;
  downstreamTransportFailureReason = '';
  /** Null on plain text. */
  downstreamSsl: SslConnectionInfo | null = null;

  upstreamHost: UpstreamHostInfo | null = null;
  upstreamClusterName = '';
  /** Observability name (`alt_stat_name` or the name). */
  upstreamClusterObservableName = '';
  upstreamConnectionId = 0;
  upstreamLocalAddress: Address | null = null;
  upstreamRemoteAddress: Address | null = null;
  upstreamTransportFailureReason = '';
  upstreamSsl: SslConnectionInfo | null = null;
  attemptCount = 0;

  routeName = '';
  virtualHostName = '';
  virtualClusterName = '';
  filterChainName = '';
  healthCheck = false;
  /** Stable random value of the stream, for runtime fractions and sampling; 0 until asked for. */
  streamId = '';
  dynamicMetadata: Record<string, Record<string, unknown>> | null = null;
  routeMetadata: Record<string, Record<string, unknown>> | null = null;
  virtualHostMetadata: Record<string, Record<string, unknown>> | null = null;
  listenerMetadata: Record<string, Record<string, unknown>> | null = null;
  clusterMetadata: Record<string, Record<string, unknown>> | null = null;
  filterState: Map<string, unknown> | null = null;
  /** Null: the request is not traced. */
  activeSpan: Span | null = null;
  /** Operation of the route's decorator, for the response; '': none. */
  decoratedOperation = '';

  setFlag(flag: ResponseFlag): void {
    this.responseFlags |= 1 << RESPONSE_FLAGS[flag][0];
  }

  hasFlag(flag: ResponseFlag): boolean {
    return (this.responseFlags & (1 << RESPONSE_FLAGS[flag][0])) !== 0;
  }
}
