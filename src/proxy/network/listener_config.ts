/**
 * A listener as one worker runs it, built from `envoy.config.listener.v3.Listener` (Envoy: ListenerImpl): addresses, filter
 * chains, listener filters, limits. Building opens no socket, so that validation on the main thread is the same code.
 *
 * Refused: UDP, internal and API listeners, exact connection balancing, MPTCP, `filter_chain_matcher`, TLS transport sockets.
 */
import type { Scope } from '../../core/stats/stats.ts';
import type { AccessLog } from '../access_log/access_log.ts';
import { type AccessLogConfig, createAccessLogs } from '../access_log/factory.ts';
import { ConfigError } from '../config/error.ts';
import type { FactoryContext } from '../server/factory_context.ts';
import type { Address } from './address.ts';
import { DrainManager } from './drain_manager.ts';
import { buildFilterChain, type FilterChain, type FilterChainConfig, filterChainKey } from './filter_chain.ts';
import { FilterChainMatcher } from './filter_chain_match.ts';
import {
  type AddressConfig,
  addressStatName,
  keepaliveOptions,
  listenAddress,
  type SocketOption,
  type SocketOptionConfig,
  socketOptions,
  type TcpKeepaliveConfig,
} from './listener_address.ts';
import {
  atPath,
  type ExtensionConfig,
  findExtension,
  type ListenerExtensions,
  ListenerFactoryContext,
  rejectUnsupported,
} from './listener_extensions.ts';
import type { ListenerFilter } from './listener_filter.ts';
import {
  type ListenerFilterPredicate,
  type ListenerFilterPredicateConfig,
  listenerFilterPredicate,
} from './listener_filter_predicate.ts';
import { configuredSocketInterface } from './socket_interfaces.ts';

/** `envoy.config.listener.v3.Listener`: the part that is read here. */
export interface ListenerProto {
  name: string;
  address?: AddressConfig;
  additionalAddresses?: { address?: AddressConfig; socketOptions?: { socketOptions: SocketOptionConfig[] } }[];
  statPrefix?: string;
  metadata?: { filterMetadata: Record<string, Record<string, unknown>> };
  filterChains?: FilterChainConfig[];
  defaultFilterChain?: FilterChainConfig;
  listenerFilters?: (ExtensionConfig & { filterDisabled?: ListenerFilterPredicateConfig })[];
  listenerFiltersTimeout?: number;
  continueOnListenerFiltersTimeout?: boolean;
  perConnectionBufferLimitBytes?: number;
  useOriginalDst?: boolean;
  transparent?: boolean;
  freebind?: boolean;
  socketOptions?: SocketOptionConfig[];
  tcpFastOpenQueueLength?: number;
  tcpBacklogSize?: number;
  tcpKeepalive?: TcpKeepaliveConfig;
  enableReusePort?: boolean;
  reusePort?: boolean;
  bindToPort?: boolean;
  deprecatedV1?: { bindToPort?: boolean };
  /** `envoy.config.accesslog.v3.AccessLog`. */
  accessLog?: readonly object[];
  maxConnectionsToAcceptPerSocketEvent?: number;
  ignoreGlobalConnLimit?: boolean;
  bypassOverloadManager?: boolean;
  drainType?: 'DEFAULT' | 'MODIFY_ONLY';
  trafficDirection?: 'UNSPECIFIED' | 'INBOUND' | 'OUTBOUND';
}

export interface ListenerAddress {
  readonly address: Address;
  readonly socketOptions: SocketOption[];
}

export interface ListenerFilterEntry {
  readonly create: () => ListenerFilter;
  readonly isDisabled: ListenerFilterPredicate | null;
}

const DEFAULT_LISTENER_FILTERS_TIMEOUT_MS = 15_000;
const DEFAULT_BUFFER_LIMIT_BYTES = 1024 * 1024;
/** The kernel cuts it to net.core.somaxconn, which is Envoy's default. */
const DEFAULT_BACKLOG = 65_535;

const PROXY_PROTOCOL = 'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol';
const IPPROTO_TCP = 6;
const TCP_FASTOPEN = 23;

const UNSUPPORTED = {
  udpListenerConfig: 'udp_listener_config',
  internalListener: 'internal_listener',
  apiListener: 'api_listener',
  connectionBalanceConfig: 'connection_balance_config',
  filterChainMatcher: 'filter_chain_matcher',
  enableMptcp: 'enable_mptcp',
  fcdsConfig: 'fcds_config',
};

export class ListenerConfig {
  readonly name: string;
  readonly addresses: readonly ListenerAddress[];
  readonly statsScope: Scope;
  readonly filterChains: FilterChainMatcher<FilterChain>;
  readonly listenerFilters: readonly ListenerFilterEntry[];
  readonly accessLogs: readonly AccessLog[];
  /** 0: no timeout. */
  readonly listenerFiltersTimeoutMs: number;
  readonly continueOnListenerFiltersTimeout: boolean;
  readonly perConnectionBufferLimitBytes: number;
  readonly handOffRestoredDestinationConnections: boolean;
  readonly bindToPort: boolean;
  readonly reusePort: boolean;
  readonly backlog: number;
  readonly transparent: boolean;
  readonly freebind: boolean;
  /** Name of the socket interface; undefined: the default one. */
  readonly socketInterface: string | undefined;
  /** 0: no limit. */
  readonly maxConnectionsToAcceptPerSocketEvent: number;
  readonly ignoreGlobalConnectionLimit: boolean;
  readonly bypassOverloadManager: boolean;
  readonly drainType: 'DEFAULT' | 'MODIFY_ONLY';
  readonly metadata: Record<string, Record<string, unknown>> | null;
  readonly trafficDirection: 'UNSPECIFIED' | 'INBOUND' | 'OUTBOUND';
  readonly context: FactoryContext;
  /** Started when connections should end: filters see it in their context's drain decision. */
  readonly drain: DrainManager;
  /** In configuration order, the default one last. What an update takes over leaves the list. */
  private chains: FilterChain[] = [];
  private readonly ownContext: ListenerFactoryContext;
  private readonly workerContext: FactoryContext;

  /**
   * `previous`: the configuration that this one takes the place of, and whose chains it takes over where they are configured the same. Throws
   * ConfigError; then `previous` is as it was.
   */
  constructor(
    proto: ListenerProto,
    worker: FactoryContext,
    extensions: ListenerExtensions,
    previous: ListenerConfig | null = null,
  ) {
    const context = listenerContext(worker, proto);
    this.workerContext = context;
    this.drain = previous?.drain ?? newDrain(context);
    rejectUnsupported(proto, UNSUPPORTED);
    this.addresses = readAddresses(proto);
    const joined = this.addresses.map((a) => a.address.asString).join(',');
    // Envoy invents a UUID for a listener without a name; its address is as unique and says more.
    this.name = proto.name === '' ? joined : proto.name;
    this.statsScope = context.scope.scope(`listener.${proto.statPrefix || addressStatName(this.addresses[0].address)}.`);
    this.metadata = proto.metadata?.filterMetadata ?? null;
    this.drainType = proto.drainType ?? 'DEFAULT';
    this.ownContext = new ListenerFactoryContext(
      context,
      this.statsScope,
      () => this.drain.drainClose(),
      this.drainType === 'MODIFY_ONLY',
    );
    this.context = this.ownContext;

    this.listenerFiltersTimeoutMs = proto.listenerFiltersTimeout ?? DEFAULT_LISTENER_FILTERS_TIMEOUT_MS;
    this.continueOnListenerFiltersTimeout = proto.continueOnListenerFiltersTimeout ?? false;
    this.perConnectionBufferLimitBytes = proto.perConnectionBufferLimitBytes ?? DEFAULT_BUFFER_LIMIT_BYTES;
    this.handOffRestoredDestinationConnections = proto.useOriginalDst ?? false;
    this.bindToPort = (proto.bindToPort ?? true) && (proto.deprecatedV1?.bindToPort ?? true);
    this.reusePort = proto.enableReusePort ?? true;
    this.backlog = proto.tcpBacklogSize ?? DEFAULT_BACKLOG;
    this.transparent = proto.transparent ?? false;
    this.freebind = proto.freebind ?? false;
    this.socketInterface = configuredSocketInterface(proto.metadata);
    this.maxConnectionsToAcceptPerSocketEvent = proto.maxConnectionsToAcceptPerSocketEvent ?? 0;
    this.bypassOverloadManager = proto.bypassOverloadManager ?? false;
    this.ignoreGlobalConnectionLimit = proto.ignoreGlobalConnLimit ?? false;
    this.trafficDirection = proto.trafficDirection ?? 'UNSPECIFIED';

    this.accessLogs = createAccessLogs(proto.accessLog as AccessLogConfig[] | undefined, this.context);
    this.listenerFilters = this.buildListenerFilters(proto, extensions);
    this.filterChains = this.buildFilterChains(proto, joined, extensions, previous);
    previous?.giveUp(this.chains);
  }

  /** Runs what filters registered for the end of their configuration. */
  destroy(): void {
    this.ownContext.destroy();
    for (const chain of this.chains) chain.destroy();
  }

  /** Chains that are this configuration's alone. */
  get ownChains(): readonly FilterChain[] {
    return this.chains;
  }

  private giveUp(taken: readonly FilterChain[]): void {
    this.chains = this.chains.filter((chain) => !taken.includes(chain));
  }

  /** A chain has a context of its own: it may outlive this configuration. */
  private buildChain(config: FilterChainConfig, extensions: ListenerExtensions): FilterChain {
    const drain = newDrain(this.workerContext);
    const listener = this.drain;
    const isDraining = (): boolean => drain.drainClose() || listener.drainClose();
    const context = new ListenerFactoryContext(this.workerContext, this.statsScope, isDraining, this.drainType === 'MODIFY_ONLY');
    const built = buildFilterChain(config, context, extensions);
    return { ...built, key: filterChainKey(config), drain, destroy: () => context.destroy() };
  }

  private buildListenerFilters(proto: ListenerProto, extensions: ListenerExtensions): ListenerFilterEntry[] {
    const entries: ListenerFilterEntry[] = (proto.listenerFilters ?? []).map((filter, i) =>
      atPath(`listener_filters[${i}]`, () => {
        const { factory, typedConfig } = findExtension(filter, (type) => extensions.listenerFilter(type));
        const disabled = filter.filterDisabled;
        const isDisabled = disabled === undefined ? null : atPath('filter_disabled', () => listenerFilterPredicate(disabled));
        return { create: atPath('typed_config', () => factory.create(typedConfig, this.context)), isDisabled };
      }),
    );
    // The old way to ask for the proxy protocol: the first chain's flag is for the whole listener.
    const flags = (proto.filterChains ?? []).map((chain) => chain.useProxyProto === true);
    const odd = flags.findIndex((flag) => flag !== flags[0]);
    if (odd >= 0) {
      throw new ConfigError("'use_proxy_proto' must be the same in all filter chains", {
        path: `filter_chains[${odd}].use_proxy_proto`,
      });
    }
    if (flags[0] === true) {
      const filter = { name: 'envoy.filters.listener.proxy_protocol', typedConfig: { '@type': PROXY_PROTOCOL } };
      const { factory, typedConfig } = findExtension(filter, (type) => extensions.listenerFilter(type));
      entries.push({ create: factory.create(typedConfig, this.context), isDisabled: null });
    }
    return entries;
  }

  private buildFilterChains(
    proto: ListenerProto,
    addresses: string,
    extensions: ListenerExtensions,
    previous: ListenerConfig | null,
  ): FilterChainMatcher<FilterChain> {
    const known = new Map(previous?.chains.map((chain) => [chain.key, chain]));
    const build = (chain: FilterChainConfig): FilterChain => {
      const built = known.get(filterChainKey(chain)) ?? this.buildChain(chain, extensions);
      this.chains.push(built);
      return built;
    };
    const chains = proto.filterChains ?? [];
    if (chains.length === 0 && proto.defaultFilterChain === undefined) {
      throw new ConfigError(`error adding listener '${addresses}': no filter chains specified`);
    }
    const matcher = new FilterChainMatcher<FilterChain>(addresses);
    chains.forEach((chain, i) => {
      atPath(`filter_chains[${i}]`, () => matcher.add(chain.filterChainMatch, chain.name, build(chain)));
    });
    const fallback = proto.defaultFilterChain;
    if (fallback !== undefined) {
      atPath('default_filter_chain', () => matcher.setDefault(build(fallback)));
    }
    return matcher;
  }
}

/** The worker's context as this listener's extensions see it. */
function listenerContext(worker: FactoryContext, proto: ListenerProto): FactoryContext {
  return Object.create(worker, {
    trafficDirection: { value: proto.trafficDirection },
    overload: { value: proto.bypassOverloadManager === true ? undefined : worker.overload },
  }) as FactoryContext;
}

function newDrain(context: FactoryContext): DrainManager {
  return new DrainManager(() => context.dispatcher.nowMs);
}

function readAddresses(proto: ListenerProto): ListenerAddress[] {
  const main = proto.address;
  if (main === undefined) throw new ConfigError(`error adding listener named '${proto.name}': address is necessary`);
  const shared = socketOptions(proto.socketOptions);
  // Of TCP only: a pipe among the addresses does without them.
  const tcp: SocketOption[] = proto.tcpKeepalive === undefined ? [] : keepaliveOptions(proto.tcpKeepalive);
  if (proto.tcpFastOpenQueueLength !== undefined) {
    tcp.push({ level: IPPROTO_TCP, name: TCP_FASTOPEN, value: proto.tcpFastOpenQueueLength, state: 'listening' });
  }
  const withOptions = (config: AddressConfig, options: SocketOption[]): ListenerAddress => {
    const address = atPath('address', () => listenAddress(config));
    return { address, socketOptions: address.kind === 'ip' ? [...options, ...tcp] : options };
  };
  const addresses = [withOptions(main, shared)];
  (proto.additionalAddresses ?? []).forEach((extra, i) => {
    atPath(`additional_addresses[${i}]`, () => {
      const address = extra.address;
      if (address === undefined) throw new ConfigError('address is necessary', { path: 'address' });
      // An additional address's own options replace the listener's.
      const own = extra.socketOptions === undefined ? shared : socketOptions(extra.socketOptions.socketOptions);
      addresses.push(withOptions(address, own));
    });
  });
  return addresses;
}
