/** How a cluster resolves names: family, refresh, and which resolver. */
import { ConfigError } from '../config/error.ts';
import type { ClusterType } from './cluster_config.ts';
import { type PlainAddress, type PlainCluster, typeNameOf } from './cluster_types.ts';
import { unsupported } from './unsupported.ts';

export type DnsLookupFamily = 'AUTO' | 'V4_ONLY' | 'V6_ONLY' | 'V4_PREFERRED' | 'ALL';

export interface DnsSettings {
  readonly family: DnsLookupFamily;
  readonly refreshRateMs: number;
  /** Null: failures are retried after `refreshRateMs`. */
  readonly failureRefresh: { readonly baseMs: number; readonly maxMs: number } | null;
  /** Up to this much is added to each refresh interval. */
  readonly jitterMs: number;
  readonly respectTtl: boolean;
  /** `ip:port` of name servers; empty: the system's resolver. */
  readonly servers: readonly string[];
}

export function parseDns(config: PlainCluster, type: ClusterType, at: (field: string) => string): DnsSettings {
  const family = (config.dnsLookupFamily ?? 'AUTO') as DnsLookupFamily;
  if (type === 'LOGICAL_DNS' && family === 'ALL') {
    throw unsupported('dns_lookup_family ALL for LOGICAL_DNS', at('dns_lookup_family'));
  }
  if (config.useTcpForDnsLookups) throw unsupported('use_tcp_for_dns_lookups', at('use_tcp_for_dns_lookups'));
  const failure = config.dnsFailureRefreshRate;
  const baseMs = failure?.baseInterval ?? 0;
  const maxMs = failure?.maxInterval ?? baseMs * 10;
  if (failure && maxMs < baseMs) {
    throw new ConfigError('dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval', {
      path: at('dns_failure_refresh_rate'),
    });
  }
  return {
    family,
    refreshRateMs: config.dnsRefreshRate ?? 5000,
    failureRefresh: failure ? { baseMs, maxMs } : null,
    jitterMs: config.dnsJitter ?? 0,
    respectTtl: config.respectDnsTtl ?? false,
    servers: servers(config, at),
  };
}

interface Cares {
  resolvers?: PlainAddress[];
  useResolversAsFallback?: boolean;
  filterUnroutableFamilies?: boolean;
  dnsResolverOptions?: { useTcpForDnsLookups?: boolean; noDefaultSearchDomain?: boolean };
  udpMaxQueries?: number;
}

const CARES = 'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig';
const GETADDRINFO = 'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig';

function servers(config: PlainCluster, at: (field: string) => string): string[] {
  const typed = config.typedDnsResolverConfig?.typedConfig;
  if (typed !== undefined) {
    const path = 'typed_dns_resolver_config.typed_config';
    if (typeNameOf(typed) === GETADDRINFO) return [];
    if (typeNameOf(typed) !== CARES) throw unsupported(`DNS resolver ${typeNameOf(typed)}`, at('typed_dns_resolver_config'));
    const cares = typed as Cares;
    if (cares.useResolversAsFallback) throw unsupported('use_resolvers_as_fallback', at(`${path}.use_resolvers_as_fallback`));
    if (cares.filterUnroutableFamilies) throw unsupported('filter_unroutable_families', at(`${path}.filter_unroutable_families`));
    if (cares.udpMaxQueries) throw unsupported('udp_max_queries', at(`${path}.udp_max_queries`));
    return named(cares, path, at);
  }
  if (config.dnsResolutionConfig) return named(config.dnsResolutionConfig, 'dns_resolution_config', at);
  return addresses(config.dnsResolvers ?? [], 'dns_resolvers', at);
}

function named(from: Pick<Cares, 'resolvers' | 'dnsResolverOptions'>, path: string, at: (field: string) => string): string[] {
  const options = from.dnsResolverOptions;
  if (options?.useTcpForDnsLookups) {
    throw unsupported('use_tcp_for_dns_lookups', at(`${path}.dns_resolver_options.use_tcp_for_dns_lookups`));
  }
  const list = addresses(from.resolvers ?? [], `${path}.resolvers`, at);
  // Name servers that are named here are asked for the name as it stands; the system's resolver goes through its search list.
  if (options?.noDefaultSearchDomain && list.length === 0) {
    throw unsupported('no_default_search_domain without resolvers', at(`${path}.dns_resolver_options.no_default_search_domain`));
  }
  return list;
}

function addresses(list: readonly PlainAddress[], path: string, at: (field: string) => string): string[] {
  return list.map((address, i) => {
    const socket = address.socketAddress;
    if (socket === undefined) throw new ConfigError('a resolver must be a socket_address', { path: at(`${path}[${i}]`) });
    const port = socket.portValue || 53;
    return socket.address.includes(':') ? `[${socket.address}]:${port}` : `${socket.address}:${port}`;
  });
}
