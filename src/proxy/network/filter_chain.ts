/** One filter chain built from configuration (Envoy: FilterChainImpl): the network filter factories of its connections. */
import { serialize } from 'node:v8';
import { ConfigError } from '../config/error.ts';
import { withoutSharedState } from '../config/shared_state.ts';
import type { FactoryContext } from '../server/factory_context.ts';
import type { Connection } from './connection.ts';
import type { DrainManager } from './drain_manager.ts';
import type { FilterChainMatchConfig } from './filter_chain_match.ts';
import {
  atPath,
  type ExtensionConfig,
  findExtension,
  type ListenerExtensions,
  rejectUnsupported,
} from './listener_extensions.ts';
import type { TransportSocketFactory } from './transport_socket.ts';
import { createTransportSocketFactory } from './transport_socket_config.ts';

/** `envoy.config.listener.v3.FilterChain`. */
export interface FilterChainConfig {
  filterChainMatch?: FilterChainMatchConfig;
  filters: ExtensionConfig[];
  useProxyProto?: boolean;
  transportSocket?: ExtensionConfig;
  transportSocketConnectTimeout?: number;
  name: string;
  onDemandConfiguration?: unknown;
  /** Informative only. */
  metadata?: unknown;
}

export type NetworkFilterFactory = (connection: Connection) => void;

export interface FilterChain {
  /** Equal for equal configurations. */
  readonly key: string;
  /** Started when this chain, and not its listener, is to end. */
  readonly drain: DrainManager;
  readonly name: string;
  readonly networkFilterFactories: readonly NetworkFilterFactory[];
  /** Null: plain text. */
  readonly transportSocket: TransportSocketFactory | null;
  /** 0: none. */
  readonly transportSocketConnectTimeoutMs: number;
  /** Its last connection is gone: runs what its filters registered for that. */
  destroy(): void;
}

/** What makes two configurations of chains the same: an update keeps such a chain with its connections. */
export function filterChainKey(config: FilterChainConfig): string {
  return serialize(withoutSharedState(config)).toString('latin1');
}

/** Throws ConfigError: unknown extensions, terminal filters in the wrong place, what is not supported. */
export function buildFilterChain(
  config: FilterChainConfig,
  context: FactoryContext,
  extensions: ListenerExtensions,
): Omit<FilterChain, 'key' | 'drain' | 'destroy'> {
  rejectUnsupported(config, { onDemandConfiguration: 'on_demand_configuration' });
  const transportSocket = atPath('transport_socket', () =>
    createTransportSocketFactory(config.transportSocket, (type) => extensions.downstreamTransportSocket(type), {
      statsScope: context.listenerScope,
      workerIndex: context.workerIndex,
      logger: context.logger('connection'),
      onDestroy: (callback) => context.onDestroy(callback),
      ...(context.secrets !== undefined && { secrets: context.secrets }),
    }),
  );
  const last = config.filters.length - 1;
  const networkFilterFactories = config.filters.map((filter, i) =>
    atPath(`filters[${i}]`, () => {
      const { factory, typedConfig } = findExtension(filter, (type) => extensions.networkFilter(type));
      checkTerminal(filter.name, factory.name, 'network', factory.isTerminal(typedConfig), i === last);
      return atPath('typed_config', () => factory.create(typedConfig, context));
    }),
  );
  return {
    name: config.name,
    networkFilterFactories,
    transportSocket,
    transportSocketConnectTimeoutMs: config.transportSocketConnectTimeout ?? 0,
  };
}

/** The last filter must be terminal and no other may be. */
export function checkTerminal(name: string, type: string, kind: string, isTerminal: boolean, isLast: boolean): void {
  if (isTerminal && !isLast) {
    throw new ConfigError(
      `Error: terminal filter named ${name} of type ${type} must be the last filter in a ${kind} filter chain.`,
    );
  }
  if (!isTerminal && isLast) {
    throw new ConfigError(
      `Error: non-terminal filter named ${name} of type ${type} is the last filter in a ${kind} filter chain.`,
    );
  }
}
