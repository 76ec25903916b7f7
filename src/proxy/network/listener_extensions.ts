/** What a listener's configuration can name, and the factory context that the named things are built with. */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Scope } from '../../core/stats/stats.ts';
import type { AccessLogManager } from '../access_log/access_log.ts';
import { ConfigError } from '../config/error.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type {
  DrainDecision,
  FactoryContext,
  LocalInfo,
  Logger,
  NetworkFilterConfigFactory,
  TypedConfig,
} from '../server/factory_context.ts';
import type { ClusterManager } from '../upstream/upstream.ts';
import type { SocketInterface } from './io_handle.ts';
import type { ListenerFilterConfigFactory } from './listener_filter.ts';
import type { TransportSocketConfigFactory } from './transport_socket_config.ts';

/** Found by the full name of the configuration's message type. */
export interface ListenerExtensions {
  networkFilter(typeName: string): NetworkFilterConfigFactory | undefined;
  listenerFilter(typeName: string): ListenerFilterConfigFactory | undefined;
  downstreamTransportSocket(typeName: string): TransportSocketConfigFactory | undefined;
}

/** `name` plus one of the ways to configure an extension. */
export interface ExtensionConfig {
  name: string;
  typedConfig?: { '@type': string };
  configDiscovery?: unknown;
}

/** The configured message and its factory. Throws ConfigError with Envoy's text when nobody is registered for it. */
export function findExtension<F>(
  config: ExtensionConfig,
  find: (typeName: string) => F | undefined,
): { factory: F; typedConfig: TypedConfig } {
  if (config.configDiscovery !== undefined) {
    throw new ConfigError('extension configuration discovery is not supported', { path: 'config_discovery' });
  }
  const typedConfig = config.typedConfig;
  const factory = typedConfig === undefined ? undefined : find(typedConfig['@type']);
  if (typedConfig === undefined || factory === undefined) {
    const type = typedConfig?.['@type'] ?? '';
    throw new ConfigError(`Didn't find a registered implementation for '${config.name}' with type URL: '${type}'`);
  }
  return { factory, typedConfig: typedConfig as TypedConfig };
}

/** Runs `build`; a ConfigError in it gets `path` in front of its own. */
export function atPath<T>(path: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof ConfigError) || error.file !== undefined) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
  }
}

/** Throws when one of `fields` (plain name to proto name) is set to anything but its default. */
export function rejectUnsupported(config: object, fields: Record<string, string>): void {
  for (const [field, name] of Object.entries(fields)) {
    const value = (config as Record<string, unknown>)[field];
    const isDefault =
      value === undefined || value === false || value === '' || value === 0 || (Array.isArray(value) && value.length === 0);
    if (!isDefault) throw new ConfigError(`the field '${name}' is not supported`, { path: name });
  }
}

/** The worker's context seen from one listener: its own stats scope, drain decision and lifetime. */
export class ListenerFactoryContext implements FactoryContext {
  readonly dispatcher: Dispatcher;
  readonly scope: Scope;
  readonly listenerScope: Scope;
  readonly clusterManager: ClusterManager;
  readonly runtime: Runtime;
  readonly accessLogManager: AccessLogManager;
  readonly localInfo: LocalInfo;
  readonly drainDecision: DrainDecision;
  readonly workerIndex: number;
  readonly scripts: FactoryContext['scripts'];
  readonly secrets: FactoryContext['secrets'];
  readonly routes: FactoryContext['routes'];
  readonly overload: FactoryContext['overload'];
  readonly trafficDirection: FactoryContext['trafficDirection'];
  private readonly parent: FactoryContext;
  private readonly onDestroyCallbacks: (() => void)[] = [];

  constructor(parent: FactoryContext, listenerScope: Scope, isDraining: () => boolean, modifyOnly = false) {
    this.parent = parent;
    this.dispatcher = parent.dispatcher;
    this.scope = parent.scope;
    this.listenerScope = listenerScope;
    this.clusterManager = parent.clusterManager;
    this.runtime = parent.runtime;
    this.accessLogManager = parent.accessLogManager;
    this.localInfo = parent.localInfo;
    this.drainDecision = {
      drainClose: () => isDraining() || parent.drainDecision.drainClose(modifyOnly),
      healthCheckFailed: () => parent.drainDecision.healthCheckFailed?.() === true,
    };
    this.workerIndex = parent.workerIndex;
    this.scripts = parent.scripts;
    this.secrets = parent.secrets;
    this.routes = parent.routes;
    this.overload = parent.overload;
    this.trafficDirection = parent.trafficDirection;
  }

  get socketInterface(): SocketInterface {
    return this.parent.socketInterface;
  }

  random(): number {
    return this.parent.random();
  }

  logger(name: string): Logger {
    return this.parent.logger(name);
  }

  onDestroy(callback: () => void): void {
    this.onDestroyCallbacks.push(callback);
  }

  destroy(): void {
    for (const callback of this.onDestroyCallbacks.splice(0)) callback();
  }
}
