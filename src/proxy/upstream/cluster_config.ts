/**
 * Reads one Cluster message into `ClusterSettings`: defaults filled in, what cannot work refused with the field's path
 * (Envoy: ClusterInfoImpl, ClusterImplBase). Runs on the main thread for validation and on each worker.
 *
 * Left out, and therefore refused: EDS and custom cluster types, preconnecting, several addresses per
 * endpoint.
 */

import { ConfigError } from '../config/error.ts';
import type { ConfigSource } from '../config/xds/config_source.ts';
import type { Http1Settings } from '../http/http1/settings.ts';
import type { KeepaliveSettings } from '../http/http2/keepalive.ts';
import { http2SettingsOf, keepaliveOf, type PlainHttp2ProtocolOptions } from '../http/http2/protocol_options.ts';
import type { Http2Settings } from '../http/http2/settings.ts';
import { type Address, ipAddress } from '../network/address.ts';
import type { ConnectOptions } from '../network/io_handle.ts';
import { configuredSocketInterface } from '../network/socket_interfaces.ts';
import type { TransportSocketMessage } from '../network/transport_socket_config.ts';
import type { AutoSniSettings } from './auto_sni.ts';
import { type DnsSettings, parseDns } from './cluster_config_dns.ts';
import { type LbSettings, parseLbPolicy } from './cluster_config_lb.ts';
import {
  type PlainBindConfig,
  type PlainCluster,
  type PlainHttpProtocolOptions,
  type PlainThresholds,
  typeNameOf,
} from './cluster_types.ts';
import { type EndpointSettings, parseEndpoints } from './endpoint_config.ts';
import { type HealthCheckSettings, parseHealthCheck } from './health_check/health_check_settings.ts';
import { type PlainHttp1ProtocolOptions, upstreamHttp1Settings } from './http1_settings.ts';
import { type OutlierSettings, parseOutlierDetection } from './outlier/outlier_settings.ts';
import type { TransportSocketMatchConfig } from './transport_socket_matcher.ts';
import { unsupported } from './unsupported.ts';

export const CLUSTER_TYPES = ['STATIC', 'STRICT_DNS', 'LOGICAL_DNS', 'EDS', 'ORIGINAL_DST', 'AGGREGATE'] as const;
export type ClusterType = (typeof CLUSTER_TYPES)[number];

export interface EdsSettings {
  readonly source: ConfigSource;
  readonly serviceName: string;
}

export interface Thresholds {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  readonly maxConnectionPools: number;
  readonly trackRemaining: boolean;
  /** Null: `maxRetries` counts. */
  readonly retryBudget: { readonly percent: number; readonly minRetryConcurrency: number } | null;
  /** Of `per_host_thresholds`. */
  readonly maxConnectionsPerHost: number;
}

export interface HttpSettings {
  /** 0: never. */
  readonly idleTimeoutMs: number;
  /** 0: unlimited. */
  readonly maxConnectionDurationMs: number;
  /** 0: unlimited. */
  readonly maxRequestsPerConnection: number;
  /** `downstream`: that of the request's downstream connection. `auto`: by ALPN. */
  readonly protocol: 'http1' | 'http2' | 'downstream' | 'auto';
  readonly http1: Http1Settings;
  /** Null: the configured server name. */
  readonly autoSni: AutoSniSettings | null;
  readonly http2: Http2Settings;
  /** Null: no PINGs on HTTP/2 connections. */
  readonly keepalive: KeepaliveSettings | null;
}

export interface ClusterSettings {
  readonly name: string;
  readonly observabilityName: string;
  readonly type: ClusterType;
  readonly connectTimeoutMs: number;
  readonly perConnectionBufferLimitBytes: number;
  readonly lb: LbSettings;
  /** By ResourcePriority. */
  readonly thresholds: readonly [Thresholds, Thresholds];
  readonly http: HttpSettings;
  /** 0: never. */
  readonly tcpIdleTimeoutMs: number;
  readonly sourceAddress: Address | undefined;
  /** Name of the socket interface; undefined: the default one. */
  readonly socketInterface: string | undefined;
  /** For TCP addresses; pipes get only those of `upstream_bind_config`. */
  readonly tcpSocketOptions: SocketOptions;
  readonly socketOptions: SocketOptions;
  readonly metadata: Record<string, Record<string, unknown>>;
  readonly endpoints: readonly EndpointSettings[];
  /** EDS: where endpoints come from. */
  readonly eds: EdsSettings | null;
  /** Built per worker; undefined: plain text. */
  readonly transportSocket: TransportSocketMessage | undefined;
  readonly transportSocketMatches: readonly TransportSocketMatchConfig[];
  readonly dns: DnsSettings;
  readonly originalDst: { readonly headerName: string; readonly portOverride: number; readonly cleanupIntervalMs: number } | null;
  /** Of `drop_overloads`: the share of requests that is answered without asking a host, from 0 to 1. */
  readonly dropOverload: number;
  /** AGGREGATE: names of its clusters. */
  readonly aggregate: readonly string[];
  readonly waitForWarmOnInit: boolean;
  readonly closeConnectionsOnHostSetChange: boolean;
  readonly closeConnectionsOnHostHealthFailure: boolean;
  readonly outlier: OutlierSettings | null;
  readonly healthCheck: HealthCheckSettings | null;
  readonly ignoreNewHostsUntilFirstHc: boolean;
  readonly ignoreHealthOnHostRemoval: boolean;
}

export type SocketOptions = NonNullable<ConnectOptions['socketOptions']>;

/** `path` is where the message stands, such as `static_resources.clusters[0]`. `defaultBind`: of the bootstrap's cluster manager. */
export function parseCluster(given: PlainCluster, path = '', defaultBind?: PlainBindConfig): ClusterSettings {
  const at = (field: string): string => (path === '' ? field : `${path}.${field}`);
  const config = withClusterType(given, at);
  refuseUnsupported(config as unknown as Record<string, unknown>, at);
  const type = clusterType(config, at);
  const lb = parseLbPolicy(config, at);
  const choosesHosts = type === 'ORIGINAL_DST' || type === 'AGGREGATE';
  if (choosesHosts && lb.policy !== 'CLUSTER_PROVIDED') {
    throw new ConfigError(`LB policy ${lb.policy} is not valid for cluster type ${type}: only CLUSTER_PROVIDED is`, {
      path: at('lb_policy'),
    });
  }
  if (!choosesHosts && lb.policy === 'CLUSTER_PROVIDED') {
    throw new ConfigError(`LB policy CLUSTER_PROVIDED is not valid for cluster type ${type}`, { path: at('lb_policy') });
  }
  const http = parseHttp(config, at);
  const bind = config.upstreamBindConfig ?? defaultBind;
  const socketOptions = bindOptions(bind, at('upstream_bind_config'));
  return {
    name: config.name,
    observabilityName: config.altStatName || config.name,
    type,
    connectTimeoutMs: config.connectTimeout ?? 5000,
    perConnectionBufferLimitBytes: config.perConnectionBufferLimitBytes ?? 1 << 20,
    lb,
    thresholds: parseThresholds(config, at),
    http,
    tcpIdleTimeoutMs: tcpIdleTimeout(config),
    sourceAddress: bind?.sourceAddress && sourceAddress(bind.sourceAddress, at('upstream_bind_config.source_address')),
    socketInterface: configuredSocketInterface(config.metadata, at),
    tcpSocketOptions: [
      { level: IPPROTO_TCP, name: TCP_NODELAY, value: 1, state: 'prebind' },
      ...keepalive(config),
      ...socketOptions,
    ],
    socketOptions: socketOptions.filter((option) => option.level === SOL_SOCKET),
    metadata: config.metadata?.filterMetadata ?? {},
    endpoints: parseEndpoints(config, type, at),
    eds: edsOf(config, type, at),
    transportSocket: config.transportSocket as TransportSocketMessage | undefined,
    transportSocketMatches: (config.transportSocketMatches ?? []) as readonly TransportSocketMatchConfig[],
    dns: parseDns(config, type, at),
    dropOverload: dropOverload(config, at),
    aggregate: type === 'AGGREGATE' ? aggregateMembers(given, config, at) : [],
    originalDst: type === 'ORIGINAL_DST' ? originalDst(config, at) : null,
    waitForWarmOnInit: config.waitForWarmOnInit ?? true,
    closeConnectionsOnHostSetChange: config.commonLbConfig?.closeConnectionsOnHostSetChange ?? false,
    outlier: outlierOf(config, type, at),
    healthCheck: healthCheckOf(config, type, http, at),
    ignoreNewHostsUntilFirstHc: config.commonLbConfig?.ignoreNewHostsUntilFirstHc ?? false,
    ignoreHealthOnHostRemoval: config.ignoreHealthOnHostRemoval ?? false,
    closeConnectionsOnHostHealthFailure: config.closeConnectionsOnHostHealthFailure ?? false,
  };
}

function edsOf(config: PlainCluster, type: ClusterType, at: (field: string) => string): EdsSettings | null {
  const { edsClusterConfig } = config;
  if (type !== 'EDS') {
    if (edsClusterConfig !== undefined)
      throw new ConfigError('eds_cluster_config set in a non-EDS cluster', { path: at('eds_cluster_config') });
    return null;
  }
  if (config.loadAssignment !== undefined)
    throw new ConfigError('an EDS cluster has no load_assignment', { path: at('load_assignment') });
  if (edsClusterConfig?.edsConfig === undefined) {
    throw new ConfigError(`an EDS cluster needs eds_cluster_config with eds_config`, { path: at('eds_cluster_config') });
  }
  return { source: edsClusterConfig.edsConfig, serviceName: edsClusterConfig.serviceName || config.name };
}

function outlierOf(config: PlainCluster, type: ClusterType, at: (field: string) => string): OutlierSettings | null {
  if (config.outlierDetection === undefined) return null;
  const path = at('outlier_detection');
  // Its hosts are each worker's own: nobody sees all that happens to one.
  if (type === 'ORIGINAL_DST') throw unsupported('outlier_detection for ORIGINAL_DST', path);
  if (type === 'AGGREGATE') throw new ConfigError('an aggregate cluster has no hosts of its own', { path });
  return parseOutlierDetection(config.outlierDetection, path);
}

function healthCheckOf(
  config: PlainCluster,
  type: ClusterType,
  http: HttpSettings,
  at: (field: string) => string,
): HealthCheckSettings | null {
  const checks = config.healthChecks ?? [];
  if (checks.length === 0) return null;
  if (checks.length > 1) throw new ConfigError('Multiple health checks not supported', { path: at('health_checks') });
  if (type === 'ORIGINAL_DST') throw unsupported('health_checks for ORIGINAL_DST', at('health_checks'));
  const settings = parseHealthCheck(checks[0], at('health_checks[0]'));
  if (settings.check.kind === 'GRPC' && http.protocol === 'http1') {
    throw new ConfigError(`${config.name} cluster must support HTTP/2 for gRPC healthchecking`, {
      path: at('health_checks[0].grpc_health_check'),
    });
  }
  return settings;
}

const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const IPPROTO_IP = 0;
const IP_FREEBIND = 15;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;

const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const TCP_OPTIONS = 'envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions';

/** Fields of Cluster that are valid and not implemented, by plain name; refused when they are set to something. */
const UNSUPPORTED = {
  filters: 'filters',
  lrsServer: 'lrs_server',
  lrsReportEndpointMetrics: 'lrs_report_endpoint_metrics',
  trackTimeoutBudgets: 'track_timeout_budgets',
  upstreamConfig: 'upstream_config',
  preconnectPolicy: 'preconnect_policy',
  connectionPoolPerDownstreamConnection: 'connection_pool_per_downstream_connection',
} as const;

function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return false;
  return !(Array.isArray(value) && value.length === 0);
}

function refuseUnsupported(config: Record<string, unknown>, at: (field: string) => string): void {
  for (const [key, field] of Object.entries(UNSUPPORTED)) {
    if (isSet(config[key])) throw unsupported(field, at(field));
  }
  const cluster = config as unknown as PlainCluster;
  if (cluster.protocolSelection === 'USE_DOWNSTREAM_PROTOCOL')
    throw unsupported('USE_DOWNSTREAM_PROTOCOL', at('protocol_selection'));
  const track = cluster.trackClusterStats;
  if (track?.timeoutBudgets) throw unsupported('timeout_budgets', at('track_cluster_stats.timeout_budgets'));
  if (track?.requestResponseSizes) throw unsupported('request_response_sizes', at('track_cluster_stats.request_response_sizes'));
  if (track?.perEndpointStats) throw unsupported('per_endpoint_stats', at('track_cluster_stats.per_endpoint_stats'));
  const connection = cluster.upstreamConnectionOptions;
  if (connection?.setLocalInterfaceNameOnUpstreamConnections) {
    const field = 'upstream_connection_options.set_local_interface_name_on_upstream_connections';
    throw unsupported('set_local_interface_name_on_upstream_connections', at(field));
  }
  if (connection?.happyEyeballsConfig) {
    throw unsupported('happy_eyeballs_config', at('upstream_connection_options.happy_eyeballs_config'));
  }
}

const DNS_CLUSTER = 'envoy.extensions.clusters.dns.v3.DnsCluster';
const AGGREGATE_CLUSTER = 'envoy.extensions.clusters.aggregate.v3.ClusterConfig';

/** `cluster_type` with a DnsCluster says what the older fields of Cluster say. */
function withClusterType(config: PlainCluster, at: (field: string) => string): PlainCluster {
  const typed = config.clusterType?.typedConfig;
  if (config.clusterType === undefined) return config;
  if (typeNameOf(typed) === AGGREGATE_CLUSTER) return { ...config, type: 'AGGREGATE' };
  if (typeNameOf(typed) !== DNS_CLUSTER) {
    throw unsupported(`cluster type ${config.clusterType.name ?? typeNameOf(typed)}`, at('cluster_type'));
  }
  const dns = config.clusterType.typedConfig as { allAddressesInSingleEndpoint?: boolean } & Partial<PlainCluster>;
  return {
    ...config,
    clusterType: undefined,
    type: dns.allAddressesInSingleEndpoint ? 'LOGICAL_DNS' : 'STRICT_DNS',
    dnsRefreshRate: dns.dnsRefreshRate,
    dnsFailureRefreshRate: dns.dnsFailureRefreshRate,
    respectDnsTtl: dns.respectDnsTtl,
    dnsJitter: dns.dnsJitter,
    // DnsCluster's default has its own name and means AUTO.
    dnsLookupFamily: dns.dnsLookupFamily === 'UNSPECIFIED' ? 'AUTO' : dns.dnsLookupFamily,
    typedDnsResolverConfig: dns.typedDnsResolverConfig ?? config.typedDnsResolverConfig,
  };
}

function aggregateMembers(given: PlainCluster, config: PlainCluster, at: (field: string) => string): string[] {
  if (config.loadAssignment !== undefined) {
    throw new ConfigError('aggregate clusters must have no load assignment configured', { path: at('load_assignment') });
  }
  const members = (given.clusterType?.typedConfig as { clusters?: string[] } | undefined)?.clusters ?? [];
  if (members.includes(config.name)) {
    throw new ConfigError('an aggregate cluster cannot be one of its own', { path: at('cluster_type.typed_config.clusters') });
  }
  return members;
}

const PER_PERCENT = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 } as const;

function dropOverload(config: PlainCluster, at: (field: string) => string): number {
  const drops = config.loadAssignment?.policy?.dropOverloads ?? [];
  if (drops.length === 0) return 0;
  const path = at('load_assignment.policy.drop_overloads');
  if (drops.length > 1) {
    throw new ConfigError(`Cluster drop_overloads config has ${drops.length} categories. Envoy only support one.`, { path });
  }
  const { numerator = 0, denominator = 'HUNDRED' } = drops[0].dropPercentage ?? {};
  const share = numerator / PER_PERCENT[denominator as keyof typeof PER_PERCENT];
  if (share > 1) throw new ConfigError('drop_percentage must not be more than the whole', { path: `${path}[0].drop_percentage` });
  return share;
}

function clusterType(config: PlainCluster, at: (field: string) => string): ClusterType {
  const type = config.type ?? 'STATIC';
  if (!(CLUSTER_TYPES as readonly string[]).includes(type)) throw unsupported(`cluster type ${type}`, at('type'));
  return type as ClusterType;
}

function parseThresholds(config: PlainCluster, at: (field: string) => string): readonly [Thresholds, Thresholds] {
  const of = (priority: string): Thresholds => {
    const own = config.circuitBreakers?.thresholds?.find((t) => (t.priority ?? 'DEFAULT') === priority);
    const perHost = config.circuitBreakers?.perHostThresholds?.find((t) => (t.priority ?? 'DEFAULT') === priority);
    return thresholds(own, perHost);
  };
  config.circuitBreakers?.perHostThresholds?.forEach((t, i) => {
    const others = [t.maxPendingRequests, t.maxRequests, t.maxRetries, t.maxConnectionPools, t.retryBudget];
    if (others.some((limit) => limit !== undefined) || t.trackRemaining) {
      throw new ConfigError('only max_connections can be set per host', {
        path: at(`circuit_breakers.per_host_thresholds[${i}]`),
      });
    }
  });
  return [of('DEFAULT'), of('HIGH')];
}

function thresholds(own: PlainThresholds | undefined, perHost: PlainThresholds | undefined): Thresholds {
  const budget = own?.retryBudget;
  return {
    maxConnections: own?.maxConnections ?? 1024,
    maxPendingRequests: own?.maxPendingRequests ?? 1024,
    maxRequests: own?.maxRequests ?? 1024,
    maxRetries: own?.maxRetries ?? 3,
    maxConnectionPools: own?.maxConnectionPools ?? Number.MAX_SAFE_INTEGER,
    trackRemaining: own?.trackRemaining ?? false,
    retryBudget: budget
      ? { percent: budget.budgetPercent?.value ?? 20, minRetryConcurrency: budget.minRetryConcurrency ?? 3 }
      : null,
    maxConnectionsPerHost: perHost?.maxConnections ?? Number.MAX_SAFE_INTEGER,
  };
}

interface PlainUpstreamHttpProtocolOptions {
  autoSni?: boolean;
  autoSanValidation?: boolean;
  overrideAutoSniHeader?: string;
}

interface PlainHttpUpstream {
  explicitHttpConfig?: {
    httpProtocolOptions?: PlainHttp1ProtocolOptions;
    http2ProtocolOptions?: PlainHttp2ProtocolOptions;
    http3ProtocolOptions?: unknown;
  };
  useDownstreamProtocolConfig?: {
    httpProtocolOptions?: PlainHttp1ProtocolOptions;
    http2ProtocolOptions?: PlainHttp2ProtocolOptions;
    http3ProtocolOptions?: unknown;
  };
  autoConfig?: {
    httpProtocolOptions?: PlainHttp1ProtocolOptions;
    http2ProtocolOptions?: PlainHttp2ProtocolOptions;
    http3ProtocolOptions?: unknown;
    alternateProtocolsCacheOptions?: unknown;
  };
  commonHttpProtocolOptions?: PlainHttpProtocolOptions;
  upstreamHttpProtocolOptions?: PlainUpstreamHttpProtocolOptions;
  httpFilters?: unknown[];
  headerValidationConfig?: unknown;
}

function parseHttp(config: PlainCluster, at: (field: string) => string): HttpSettings {
  for (const name of Object.keys(config.typedExtensionProtocolOptions ?? {})) {
    if (name !== HTTP_OPTIONS && name !== TCP_OPTIONS) throw unsupported(name, at(`typed_extension_protocol_options[${name}]`));
  }
  const typed = config.typedExtensionProtocolOptions?.[HTTP_OPTIONS] as PlainHttpUpstream | undefined;
  const older = config.commonHttpProtocolOptions
    ? 'common_http_protocol_options'
    : config.httpProtocolOptions
      ? 'http_protocol_options'
      : config.http2ProtocolOptions
        ? 'http2_protocol_options'
        : '';
  if (typed && older !== '') {
    throw new ConfigError(`${older} has no effect beside typed_extension_protocol_options[${HTTP_OPTIONS}]`, { path: at(older) });
  }
  const where = (field: string): string => at(`typed_extension_protocol_options[${HTTP_OPTIONS}].${field}`);
  const chosen = typed?.explicitHttpConfig ?? typed?.useDownstreamProtocolConfig ?? typed?.autoConfig;
  const chosenName = typed?.explicitHttpConfig
    ? 'explicit_http_config'
    : typed?.autoConfig
      ? 'auto_config'
      : 'use_downstream_protocol_config';
  if (chosen?.http3ProtocolOptions) throw unsupported('HTTP/3', where(`${chosenName}.http3_protocol_options`));
  if (typed?.autoConfig) {
    if (typed.autoConfig.alternateProtocolsCacheOptions) {
      const field = 'auto_config.alternate_protocols_cache_options';
      throw unsupported('alternate_protocols_cache_options', where(field));
    }
    const sockets = [config.transportSocket, ...(config.transportSocketMatches ?? []).map((match) => match.transportSocket)];
    if (sockets.some((socket) => !typeNameOf(socket?.typedConfig).endsWith('.UpstreamTlsContext'))) {
      throw new ConfigError(`ALPN configured for cluster ${config.name} which has a non-ALPN transport socket`, {
        path: where('auto_config'),
      });
    }
  }
  if (typed?.httpFilters && typed.httpFilters.length > 0) throw unsupported('upstream http_filters', where('http_filters'));
  if (typed?.headerValidationConfig) throw unsupported('header_validation_config', where('header_validation_config'));
  const common = typed ? typed.commonHttpProtocolOptions : config.commonHttpProtocolOptions;
  if (common?.maxStreamDuration !== undefined) {
    const field = 'common_http_protocol_options.max_stream_duration';
    throw unsupported('max_stream_duration', typed ? where(field) : at(field));
  }
  const http2 = typed ? chosen?.http2ProtocolOptions : config.http2ProtocolOptions;
  const http2Path = typed ? where(`${chosenName}.http2_protocol_options`) : at('http2_protocol_options');
  let protocol: HttpSettings['protocol'] = http2 === undefined ? 'http1' : 'http2';
  if (typed?.useDownstreamProtocolConfig) protocol = 'downstream';
  if (typed?.autoConfig) protocol = 'auto';
  return {
    protocol,
    autoSni: autoSni(typed?.upstreamHttpProtocolOptions ?? config.upstreamHttpProtocolOptions),
    http2: http2SettingsOf(http2, http2Path, {
      ...(common?.maxResponseHeadersKb === undefined ? {} : { maxHeadersKb: common.maxResponseHeadersKb }),
      ...(common?.maxHeadersCount === undefined ? {} : { maxHeadersCount: common.maxHeadersCount }),
      streamBufferLimit: config.perConnectionBufferLimitBytes || 1 << 20,
    }),
    keepalive: keepaliveOf(http2),
    idleTimeoutMs: common?.idleTimeout ?? 3_600_000,
    maxConnectionDurationMs: common?.maxConnectionDuration ?? 0,
    maxRequestsPerConnection: common?.maxRequestsPerConnection ?? config.maxRequestsPerConnection ?? 0,
    http1: typed
      ? upstreamHttp1Settings(chosen?.httpProtocolOptions, common ?? {}, where(`${chosenName}.http_protocol_options`))
      : upstreamHttp1Settings(config.httpProtocolOptions, common ?? {}, at('http_protocol_options')),
  };
}

function autoSni(options: PlainUpstreamHttpProtocolOptions | undefined): AutoSniSettings | null {
  if (options === undefined || !(options.autoSni || options.autoSanValidation)) return null;
  return {
    setServerName: options.autoSni ?? false,
    verifyName: options.autoSanValidation ?? false,
    header: (options.overrideAutoSniHeader ?? '').toLowerCase(),
  };
}

function tcpIdleTimeout(config: PlainCluster): number {
  const typed = config.typedExtensionProtocolOptions?.[TCP_OPTIONS] as { idleTimeout?: number } | undefined;
  return typed?.idleTimeout ?? 600_000;
}

function bindOptions(bind: PlainBindConfig | undefined, path: string): SocketOptions {
  if (bind === undefined) return [];
  if (isSet(bind.extraSourceAddresses)) throw unsupported('extra_source_addresses', `${path}.extra_source_addresses`);
  if (isSet(bind.additionalSourceAddresses))
    throw unsupported('additional_source_addresses', `${path}.additional_source_addresses`);
  if (bind.localAddressSelector) throw unsupported('local_address_selector', `${path}.local_address_selector`);
  const options: SocketOptions = [];
  if (bind.freebind) options.push({ level: IPPROTO_IP, name: IP_FREEBIND, value: 1, state: 'prebind' });
  for (const option of bind.socketOptions ?? []) {
    if (option.state === 'STATE_LISTENING')
      throw unsupported('STATE_LISTENING for a socket that connects', `${path}.socket_options`);
    const state = option.state === 'STATE_BOUND' ? 'bound' : 'prebind';
    options.push({ level: option.level, name: option.name, value: option.bufValue ?? option.intValue ?? 0, state });
  }
  return options;
}

function sourceAddress(source: { address: string; portValue?: number }, path: string): Address {
  try {
    return ipAddress(source.address, source.portValue ?? 0);
  } catch (error) {
    throw new ConfigError((error as Error).message, { path });
  }
}

function keepalive(config: PlainCluster): SocketOptions {
  const wanted = config.upstreamConnectionOptions?.tcpKeepalive;
  if (wanted === undefined) return [];
  const options: SocketOptions = [{ level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1, state: 'prebind' }];
  const add = (name: number, value: number | undefined): void => {
    if (value !== undefined) options.push({ level: IPPROTO_TCP, name, value, state: 'prebind' });
  };
  add(TCP_KEEPCNT, wanted.keepaliveProbes);
  add(TCP_KEEPIDLE, wanted.keepaliveTime);
  add(TCP_KEEPINTVL, wanted.keepaliveInterval);
  return options;
}

function originalDst(config: PlainCluster, at: (field: string) => string): ClusterSettings['originalDst'] {
  if (config.loadAssignment !== undefined) {
    throw new ConfigError('ORIGINAL_DST clusters must have no load assignment configured', { path: at('load_assignment') });
  }
  const lb = config.originalDstLbConfig;
  if (lb?.metadataKey) throw unsupported('metadata_key', at('original_dst_lb_config.metadata_key'));
  if (lb?.httpHeaderName && !lb.useHttpHeader) {
    throw new ConfigError(`http_header_name is set but use_http_header is false`, {
      path: at('original_dst_lb_config.http_header_name'),
    });
  }
  return {
    headerName: lb?.useHttpHeader ? (lb.httpHeaderName || 'x-envoy-original-dst-host').toLowerCase() : '',
    portOverride: lb?.upstreamPortOverride ?? 0,
    cleanupIntervalMs: config.cleanupInterval ?? 5000,
  };
}
