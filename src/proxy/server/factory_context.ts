/**
 * What an extension's factory gets to build from (Envoy: Server::Configuration::FactoryContext). One per worker (and one on the
 * main thread in validation).
 */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Scope } from '../../core/stats/stats.ts';
import type { AccessLogManager } from '../access_log/access_log.ts';
import type { HttpFilterFactory } from '../http/filter.ts';
import type { RouteStore } from '../http/route/route_store.ts';
import type { Connection } from '../network/connection.ts';
import type { SocketInterface } from '../network/io_handle.ts';
import type { SecretStore } from '../network/secrets.ts';
import type { OverloadState } from '../overload/overload_state.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ScriptHost } from '../typescript/script_host.ts';
import type { ClusterManager } from '../upstream/upstream.ts';

export interface LocalInfo {
  nodeId: string;
  clusterName: string;
  zone: string;
  /** The machine's host name. */
  hostname: string;
  /** Local address for x-forwarded-for of loopback peers. */
  address: string;
  /** `node` of the bootstrap as configured (metadata, locality ...). */
  node?: Record<string, unknown>;
}

/** Tells when connections should be drained (Envoy: DrainDecision). */
export interface DrainDecision {
  /**
   * True: end keep-alive with the next response. Probability grows with the drain time. `modifyOnly`: a failed health check is no
   * reason (a listener's `drain_type`).
   */
  drainClose(modifyOnly?: boolean): boolean;
  /** `/healthcheck/fail` was called. */
  healthCheckFailed?(): boolean;
}

export interface Logger {
  trace(message: string): void;
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** False: do not build the message. */
  readonly debugEnabled: boolean;
  readonly traceEnabled: boolean;
}

export interface FactoryContext {
  readonly dispatcher: Dispatcher;
  /** Root scope (no prefix). */
  readonly scope: Scope;
  /** `listener.<address>.` for filters of a listener, else the root. */
  readonly listenerScope: Scope;
  readonly clusterManager: ClusterManager;
  readonly runtime: Runtime;
  readonly accessLogManager: AccessLogManager;
  readonly localInfo: LocalInfo;
  readonly drainDecision: DrainDecision;
  readonly socketInterface: SocketInterface;
  /** A random 32-bit number. */
  random(): number;
  logger(name: string): Logger;
  /** Worker index, from 0. */
  readonly workerIndex: number;
  /** What extensions in TypeScript stand on. Absent: there are none here. */
  readonly scripts?: ScriptHost;
  /** Absent: no transport socket can name secrets here. */
  readonly secrets?: SecretStore;
  /** Of the listener. */
  readonly trafficDirection?: 'UNSPECIFIED' | 'INBOUND' | 'OUTBOUND';
  /** Absent: there is no overload manager, or the listener bypasses it. */
  readonly overload?: OverloadState;
  /** Absent: no connection manager can name route configurations here. */
  readonly routes?: RouteStore;
  /** Runs when this context's owner (listener, chain) is destroyed. */
  onDestroy(callback: () => void): void;
}

/** `typed_config` as it reaches a factory: the message as a plain object, with its type URL in `@type`. */
export type TypedConfig = { '@type': string } & Record<string, unknown>;

/** Builds a network filter: called once per configuration, the result once per connection. */
export interface NetworkFilterConfigFactory {
  /** The message's full name, such as `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`. */
  readonly typeName: string;
  /** `envoy.filters.network.tcp_proxy`. */
  readonly name: string;
  isTerminal(config: TypedConfig): boolean;
  /** Throws ConfigError when something cannot work. */
  create(config: TypedConfig, context: FactoryContext): (connection: Connection) => void;
}

/** Builds an HTTP filter: called once per configuration, the result once per stream. */
export interface HttpFilterConfigFactory {
  readonly typeName: string;
  readonly name: string;
  isTerminal(config: TypedConfig): boolean;
  create(config: TypedConfig, statPrefix: string, context: FactoryContext): HttpFilterFactory;
  /**
   * Turns a per-route message into what `perFilterConfig` returns. `filterConfig` is that of the filter it is for, when the connection
   * manager has such a one.
   */
  createRouteSpecificConfig?(config: TypedConfig, context: FactoryContext, filterConfig?: TypedConfig): unknown;
  readonly routeTypeName?: string;
}
