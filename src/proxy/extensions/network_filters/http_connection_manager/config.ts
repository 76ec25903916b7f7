/**
 * `envoy.filters.network.http_connection_manager`: from its message to a ConnectionManagerConfig and one ConnectionManagerImpl per
 * connection. A field that is set and not honoured is a ConfigError.
 *
 * Left out, refused: scoped_routes, HTTP/3, client certificate details, periodic access logs.
 */
import { type AccessLogConfig, createAccessLogs } from '../../../access_log/factory.ts';
import { parseHeaderFormat } from '../../../access_log/formatter.ts';
import { ConfigError } from '../../../config/error.ts';
import type { HttpConnectionManager } from '../../../config/types.gen.ts';
import { ConnectionManagerConfig } from '../../../http/conn_manager/conn_manager_config.ts';
import { ConnectionManagerImpl } from '../../../http/conn_manager/conn_manager_impl.ts';
import { ConnectionManagerStats } from '../../../http/conn_manager/conn_manager_stats.ts';
import { FilterChain, type UpgradeChain } from '../../../http/conn_manager/filter_chain.ts';
import { InternalAddressConfig } from '../../../http/conn_manager/internal_address.ts';
import type { RouteConfigurationConfig } from '../../../http/route/config_types.ts';
import type { RouteTable } from '../../../http/route/route.ts';
import { compileRouteTable } from '../../../http/route/route_config.ts';
import { type RdsConfig, routeKey } from '../../../http/route/route_store.ts';
import type { Connection } from '../../../network/connection.ts';
import type {
  FactoryContext,
  HttpFilterConfigFactory,
  NetworkFilterConfigFactory,
  TypedConfig,
} from '../../../server/factory_context.ts';
import { codecFactory } from './codec_config.ts';
import { compileHttpFilters, routeConfigCreator } from './http_filters.ts';
import { compileLocalReply } from './local_reply_config.ts';
import { compilePathNormalization } from './path_config.ts';
import { compileTracing } from './tracing_config.ts';
import { refuseUnsupported } from './unsupported.ts';

const TYPE_NAME = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';

/** The HTTP filters that configuration may name, by message type. */
export type HttpFilterFactories = ReadonlyMap<string, HttpFilterConfigFactory>;

export function createHttpConnectionManagerFactory(filters: HttpFilterFactories): NetworkFilterConfigFactory {
  return {
    typeName: TYPE_NAME,
    name: 'envoy.filters.network.http_connection_manager',
    isTerminal: () => true,
    create(config: TypedConfig, context: FactoryContext) {
      const manager = compileConnectionManager(config as unknown as HttpConnectionManager, context, filters);
      return (connection: Connection) => connection.addReadFilter(new ConnectionManagerImpl(manager));
    },
  };
}

/** Throws ConfigError; its path is relative to the message. */
export function compileConnectionManager(
  config: HttpConnectionManager,
  context: FactoryContext,
  filters: HttpFilterFactories,
): ConnectionManagerConfig {
  refuseUnsupported(config);
  const statPrefix = config.statPrefix.replaceAll(':', '_');
  const stats = new ConnectionManagerStats(context.scope, context.listenerScope, statPrefix);
  const chain = new FilterChain(
    compileHttpFilters(config.httpFilters ?? [], `http.${statPrefix}.`, context, filters),
    compileUpgrades(config),
  );
  const manager = new ConnectionManagerConfig({
    dispatcher: context.dispatcher,
    stats,
    codecFactory: codecFactory(config, context, stats.scope),
    drainDecision: context.drainDecision,
    routeTable: initialRoutes(config, context, filters),
    filterChain: chain,
  });
  applyOptions(manager, config, context);
  applyTimeouts(manager, config);
  manager.accessLogs = createAccessLogs(config.accessLog as unknown as AccessLogConfig[] | undefined, context, 'access_log');
  manager.tracing = compileTracing(config, context, stats.scope);
  manager.localReply = compileLocalReply(config.localReplyConfig, context);
  manager.normalizePath = compilePathNormalization(config, context);
  followRoutes(manager, config, context, filters);
  return manager;
}

/** With `rds` the routes may come later: until then nothing matches. */
function initialRoutes(config: HttpConnectionManager, context: FactoryContext, filters: HttpFilterFactories): RouteTable {
  if (config.rds === undefined) return compileRoutes(config, context, filters);
  if (config.routeConfig !== undefined) throw new ConfigError('only one of route_config and rds can be set', { path: 'rds' });
  const known = context.routes?.get(routeKey(config.rds as RdsConfig));
  return compileTable(known ?? { name: config.rds.routeConfigName, virtualHosts: [] }, config, context, filters, false);
}

function followRoutes(
  manager: ConnectionManagerConfig,
  config: HttpConnectionManager,
  context: FactoryContext,
  filters: HttpFilterFactories,
): void {
  const { rds } = config;
  if (rds === undefined || context.routes === undefined) return;
  const stop = context.routes.subscribe(routeKey(rds as RdsConfig), (routes) => {
    manager.routeTable = compileTable(routes, config, context, filters, false);
  });
  context.onDestroy(stop);
}

function compileRoutes(config: HttpConnectionManager, context: FactoryContext, filters: HttpFilterFactories): RouteTable {
  if (config.routeConfig === undefined)
    throw new ConfigError('one of route_config, rds, scoped_routes must be set', { path: 'route_config' });
  try {
    return compileTable(config.routeConfig as unknown as RouteConfigurationConfig, config, context, filters, true);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? 'route_config' : `route_config.${error.path}` });
  }
}

/** Throws ConfigError; its path is relative to the RouteConfiguration. */
export function compileTable(
  routes: RouteConfigurationConfig,
  config: Pick<HttpConnectionManager, 'httpFilters'>,
  context: FactoryContext,
  filters: HttpFilterFactories,
  validateClusters: boolean,
): RouteTable {
  return compileRouteTable(routes, {
    runtime: context.runtime,
    createPerRouteConfig: routeConfigCreator(config.httpFilters ?? [], context, filters),
    clusterExists: (name) => context.clusterManager.get(name) !== null,
    clusterNames: () => context.clusterManager.names(),
    compileFormat: parseHeaderFormat,
    validateClusters,
  });
}

function compileUpgrades(config: HttpConnectionManager): Map<string, UpgradeChain> {
  const upgrades = new Map<string, UpgradeChain>();
  for (const [i, upgrade] of (config.upgradeConfigs ?? []).entries()) {
    const type = upgrade.upgradeType.toLowerCase();
    if (upgrades.has(type)) {
      throw new ConfigError(`Error: multiple upgrade configs with the same name: '${upgrade.upgradeType}'`, {
        path: `upgrade_configs[${i}]`,
      });
    }
    // Not for streams: the codec takes it.
    if (type === 'h2c') continue;
    upgrades.set(type, { enabled: upgrade.enabled ?? true, filters: null });
  }
  return upgrades;
}

function applyOptions(manager: ConnectionManagerConfig, config: HttpConnectionManager, context: FactoryContext): void {
  const http1 = config.httpProtocolOptions;
  manager.codecType = config.codecType === 'HTTP1' || config.codecType === 'HTTP2' ? config.codecType : 'AUTO';
  manager.runtime = context.runtime;
  manager.overload = context.overload ?? null;
  manager.appendLocalOverload = config.appendLocalOverload ?? false;
  manager.useRemoteAddress = config.useRemoteAddress ?? false;
  manager.xffNumTrustedHops = config.xffNumTrustedHops ?? 0;
  manager.skipXffAppend = config.skipXffAppend ?? false;
  manager.appendXForwardedPort = config.appendXForwardedPort ?? false;
  manager.representIpv4AsIpv4MappedIpv6 = config.representIpv4RemoteAddressAsIpv4MappedIpv6 ?? false;
  const internal = config.internalAddressConfig;
  if (internal !== undefined)
    manager.internalAddress = new InternalAddressConfig(internal.unixSockets ?? false, internal.cidrRanges ?? []);
  applyIpDetection(manager, config);
  manager.localAddress = context.localInfo.address;
  manager.nodeId = context.localInfo.nodeId;
  manager.via = config.via ?? '';
  manager.userAgent = config.addUserAgent === true ? context.localInfo.clusterName : '';
  manager.generateRequestId = config.generateRequestId ?? true;
  manager.preserveExternalRequestId = config.preserveExternalRequestId ?? false;
  manager.alwaysSetRequestIdInResponse = config.alwaysSetRequestIdInResponse ?? false;
  manager.schemeToOverwrite = config.schemeHeaderTransformation?.schemeToOverwrite ?? '';
  manager.forwardClientCert = config.forwardClientCertDetails ?? 'SANITIZE';
  const details = config.setCurrentClientCertDetails;
  if (details !== undefined) {
    manager.clientCertDetails = {
      subject: details.subject ?? false,
      cert: details.cert ?? false,
      chain: details.chain ?? false,
      dns: details.dns ?? false,
      uri: details.uri ?? false,
    };
  }
  manager.serverName = config.serverName === undefined || config.serverName === '' ? 'envoy' : config.serverName;
  manager.serverHeaderTransformation = config.serverHeaderTransformation ?? 'OVERWRITE';
  manager.proxy100Continue = config.proxy100Continue ?? false;
  manager.acceptHttp10 = http1?.acceptHttp10 ?? false;
  manager.defaultHostForHttp10 = http1?.defaultHostForHttp10 ?? '';
  manager.stripMatchingHostPort = config.stripMatchingHostPort ?? false;
  manager.stripAnyHostPort = config.stripAnyHostPort ?? false;
  if (manager.stripMatchingHostPort && manager.stripAnyHostPort) {
    throw new ConfigError('only one of `strip_matching_host_port` or `strip_any_host_port` can be set.', {
      path: 'strip_any_host_port',
    });
  }
  manager.stripTrailingHostDot = config.stripTrailingHostDot ?? false;
  if (config.accessLogOptions !== undefined && config.flushAccessLogOnNewRequest === true) {
    throw new ConfigError('Only one of flush_access_log_on_new_request or access_log_options can be specified.', {
      path: 'flush_access_log_on_new_request',
    });
  }
  manager.flushAccessLogOnNewRequest =
    config.accessLogOptions?.flushAccessLogOnNewRequest ?? config.flushAccessLogOnNewRequest ?? false;
}

/** Only the extension that does what `xff_num_trusted_hops` does. */
function applyIpDetection(manager: ConnectionManagerConfig, config: HttpConnectionManager): void {
  const extensions = config.originalIpDetectionExtensions ?? [];
  if (extensions.length === 0) return;
  const path = 'original_ip_detection_extensions';
  if (manager.useRemoteAddress) {
    throw new ConfigError('Original IP detection extensions and use_remote_address may not be mixed', { path });
  }
  if (manager.xffNumTrustedHops > 0) {
    throw new ConfigError('Original IP detection extensions and xff_num_trusted_hops may not be mixed', { path });
  }
  const typed = extensions[0].typedConfig;
  if (
    extensions.length > 1 ||
    typed === undefined ||
    typed['@type'] !== 'envoy.extensions.http.original_ip_detection.xff.v3.XffConfig'
  ) {
    throw new ConfigError('only one extension, envoy.http.original_ip_detection.xff, is supported by Sluice yet', { path });
  }
  const xff = typed as { xffNumTrustedHops?: number; skipXffAppend?: boolean };
  manager.xffNumTrustedHops = xff.xffNumTrustedHops ?? 0;
}

function applyTimeouts(manager: ConnectionManagerConfig, config: HttpConnectionManager): void {
  const common = config.commonHttpProtocolOptions;
  manager.streamIdleTimeoutMs = config.streamIdleTimeout ?? 300_000;
  manager.requestTimeoutMs = config.requestTimeout ?? 0;
  manager.requestHeadersTimeoutMs = config.requestHeadersTimeout ?? 0;
  manager.drainTimeoutMs = config.drainTimeout ?? 5_000;
  manager.delayedCloseTimeoutMs = config.delayedCloseTimeout ?? 1_000;
  manager.idleTimeoutMs = common?.idleTimeout ?? 3_600_000;
  manager.maxConnectionDurationMs = common?.maxConnectionDuration ?? 0;
  manager.http1SafeMaxConnectionDuration = config.http1SafeMaxConnectionDuration ?? false;
  manager.maxStreamDurationMs = common?.maxStreamDuration ?? 0;
  manager.maxRequestsPerConnection = common?.maxRequestsPerConnection ?? 0;
}
