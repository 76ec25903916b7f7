/**
 * The slice of `envoy.config.cluster.v3.Cluster` that this layer reads, as plain configuration: camel case, durations in ms, enums by name,
 * unset messages and wrappers undefined. What else a Cluster may carry reaches `cluster_config.ts` too and is refused there.
 */

import type { ConfigSource } from '../config/xds/config_source.ts';
import type { PlainHttp2ProtocolOptions } from '../http/http2/protocol_options.ts';
import type { PlainSubset } from './cluster_config_subset.ts';
import type { PlainHealthCheck } from './health_check/health_check_settings.ts';
import type { PlainHttp1ProtocolOptions } from './http1_settings.ts';
import type { PlainOutlierDetection } from './outlier/outlier_settings.ts';

export interface PlainSocketAddress {
  protocol?: string;
  address: string;
  portValue?: number;
  namedPort?: string;
  resolverName?: string;
  ipv4Compat?: boolean;
}

export interface PlainAddress {
  socketAddress?: PlainSocketAddress;
  pipe?: { path: string; mode?: number };
  envoyInternalAddress?: unknown;
}

export interface PlainMetadata {
  filterMetadata?: Record<string, Record<string, unknown>>;
}

export interface PlainLbEndpoint {
  endpoint?: {
    address?: PlainAddress;
    hostname?: string;
    additionalAddresses?: unknown[];
    healthCheckConfig?: { portValue?: number; hostname?: string; address?: PlainAddress; disableActiveHealthCheck?: boolean };
  };
  endpointName?: string;
  healthStatus?: string;
  metadata?: PlainMetadata;
  loadBalancingWeight?: number;
}

export interface PlainLocalityLbEndpoints {
  locality?: { region?: string; zone?: string; subZone?: string };
  metadata?: PlainMetadata;
  lbEndpoints?: PlainLbEndpoint[];
  loadBalancerEndpoints?: unknown;
  ledsClusterLocalityConfig?: unknown;
  loadBalancingWeight?: number;
  priority?: number;
}

export interface PlainLoadAssignment {
  clusterName?: string;
  endpoints?: PlainLocalityLbEndpoints[];
  namedEndpoints?: Record<string, unknown>;
  policy?: {
    dropOverloads?: { category?: string; dropPercentage?: { numerator?: number; denominator?: string } }[];
    overprovisioningFactor?: number;
    endpointStaleAfter?: number;
    weightedPriorityHealth?: boolean;
  };
}

export interface PlainThresholds {
  priority?: string;
  maxConnections?: number;
  maxPendingRequests?: number;
  maxRequests?: number;
  maxRetries?: number;
  maxConnectionPools?: number;
  trackRemaining?: boolean;
  retryBudget?: { budgetPercent?: { value: number }; minRetryConcurrency?: number };
}

export interface PlainSocketOption {
  level: number;
  name: number;
  intValue?: number;
  bufValue?: Uint8Array;
  state?: string;
}

export interface PlainBindConfig {
  sourceAddress?: PlainSocketAddress;
  freebind?: boolean;
  socketOptions?: PlainSocketOption[];
  extraSourceAddresses?: unknown[];
  additionalSourceAddresses?: unknown[];
  localAddressSelector?: unknown;
}

export interface PlainHttpProtocolOptions {
  idleTimeout?: number;
  maxConnectionDuration?: number;
  maxHeadersCount?: number;
  maxResponseHeadersKb?: number;
  maxStreamDuration?: number;
  maxRequestsPerConnection?: number;
}

/** The full message name of an Any; '' when there is none. */
export function typeNameOf(any: object | undefined): string {
  return (any as { '@type'?: string } | undefined)?.['@type'] ?? '';
}

export interface PlainTypedConfig {
  name?: string;
  typedConfig?: object;
}

export interface PlainRuntimeDouble {
  defaultValue: number;
  runtimeKey?: string;
}

export interface PlainPercent {
  value: number;
}

export interface PlainSlowStart {
  slowStartWindow?: number;
  aggression?: PlainRuntimeDouble;
  minWeightPercent?: PlainPercent;
}

export interface PlainLocalityLb {
  zoneAwareLbConfig?: { routingEnabled?: PlainPercent; minClusterSize?: number; failTrafficOnPanic?: boolean };
  localityWeightedLbConfig?: object;
}

/** What ring hash and Maglev have between them. */
export interface PlainHashingLb {
  minimumRingSize?: number;
  maximumRingSize?: number;
  hashFunction?: string;
  tableSize?: number;
  useHostnameForHashing?: boolean;
  hashBalanceFactor?: number;
  consistentHashingLbConfig?: { useHostnameForHashing?: boolean; hashBalanceFactor?: number };
}

export interface PlainLoadBalancingPolicy {
  policies?: { typedExtensionConfig?: PlainTypedConfig }[];
}

export interface PlainCluster {
  name: string;
  altStatName?: string;
  type?: string;
  clusterType?: PlainTypedConfig;
  connectTimeout?: number;
  perConnectionBufferLimitBytes?: number;
  lbPolicy?: string;
  loadAssignment?: PlainLoadAssignment;
  maxRequestsPerConnection?: number;
  circuitBreakers?: { thresholds?: PlainThresholds[]; perHostThresholds?: PlainThresholds[] };
  commonHttpProtocolOptions?: PlainHttpProtocolOptions;
  httpProtocolOptions?: PlainHttp1ProtocolOptions;
  upstreamHttpProtocolOptions?: { autoSni?: boolean; autoSanValidation?: boolean; overrideAutoSniHeader?: string };
  http2ProtocolOptions?: PlainHttp2ProtocolOptions;
  typedExtensionProtocolOptions?: Record<string, object>;
  dnsRefreshRate?: number;
  dnsFailureRefreshRate?: { baseInterval?: number; maxInterval?: number };
  dnsJitter?: number;
  respectDnsTtl?: boolean;
  dnsLookupFamily?: string;
  dnsResolvers?: PlainAddress[];
  useTcpForDnsLookups?: boolean;
  dnsResolutionConfig?: {
    resolvers?: PlainAddress[];
    dnsResolverOptions?: { useTcpForDnsLookups?: boolean; noDefaultSearchDomain?: boolean };
  };
  typedDnsResolverConfig?: PlainTypedConfig;
  edsClusterConfig?: { edsConfig?: ConfigSource; serviceName?: string };
  waitForWarmOnInit?: boolean;
  cleanupInterval?: number;
  upstreamBindConfig?: PlainBindConfig;
  originalDstLbConfig?: {
    useHttpHeader?: boolean;
    httpHeaderName?: string;
    upstreamPortOverride?: number;
    metadataKey?: unknown;
  };
  leastRequestLbConfig?: { choiceCount?: number; activeRequestBias?: PlainRuntimeDouble; slowStartConfig?: PlainSlowStart };
  roundRobinLbConfig?: { slowStartConfig?: PlainSlowStart };
  ringHashLbConfig?: PlainHashingLb;
  maglevLbConfig?: PlainHashingLb;
  lbSubsetConfig?: PlainSubset;
  commonLbConfig?: PlainLocalityLb & {
    healthyPanicThreshold?: PlainPercent;
    closeConnectionsOnHostSetChange?: boolean;
    updateMergeWindow?: number;
    ignoreNewHostsUntilFirstHc?: boolean;
    consistentHashingLbConfig?: PlainHashingLb['consistentHashingLbConfig'];
    overrideHostStatus?: unknown;
  };
  transportSocket?: PlainTypedConfig;
  transportSocketMatches?: { name?: string; match?: Record<string, unknown>; transportSocket?: PlainTypedConfig }[];
  metadata?: PlainMetadata;
  protocolSelection?: string;
  upstreamConnectionOptions?: {
    tcpKeepalive?: { keepaliveProbes?: number; keepaliveTime?: number; keepaliveInterval?: number };
    setLocalInterfaceNameOnUpstreamConnections?: boolean;
    happyEyeballsConfig?: unknown;
  };
  healthChecks?: PlainHealthCheck[];
  outlierDetection?: PlainOutlierDetection;
  closeConnectionsOnHostHealthFailure?: boolean;
  ignoreHealthOnHostRemoval?: boolean;
  loadBalancingPolicy?: PlainLoadBalancingPolicy;
  trackClusterStats?: { timeoutBudgets?: boolean; requestResponseSizes?: boolean; perEndpointStats?: boolean };
}
