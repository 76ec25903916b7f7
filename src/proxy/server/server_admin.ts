/** The server as admin sees it. */
import { LOG_COMPONENTS, LOG_LEVELS, parseLogLevel } from '../../core/log/logger.ts';
import { VERSION } from '../../core/version.ts';
import { clustersJson, clustersText } from '../upstream/discovery/cluster_status.ts';
import type { AdminContext } from './admin/context.ts';
import type { Server } from './server.ts';

export function adminContext(server: Server): AdminContext {
  const uptimeMs = (): number => Date.now() - server.startMs;
  const state = (): ReturnType<AdminContext['state']> =>
    server.healthCheckFailed && server.state === 'LIVE' ? 'DRAINING' : server.state;
  return {
    log: server.sink.logger('admin'),
    get stats() {
      server.updateStats();
      return server.store;
    },
    state,
    uptimeMs,
    serverInfo: () => serverInfo(server, state(), uptimeMs()),
    bootstrapJson: () => server.loaded.json as Record<string, unknown>,
    dynamicJson: () => server.dynamic.dump(),
    listeners: () =>
      server.listeners.all().map(({ bound }) => ({ name: bound.name, addresses: bound.addresses.map((a) => a.asString) })),
    reload: () => server.reload(),
    connections: (most) => server.pool.connections(most),
    plugins: () => server.pool.plugins(),
    clustersText: () => clustersText(server.discovery.status()),
    clustersJson: () => clustersJson(server.discovery.status()),
    runtimeJson: () => server.runtime.contents() as unknown as Record<string, unknown>,
    modifyRuntime: (values) => server.runtime.modify(values),
    logLevels: () => Object.fromEntries(LOG_COMPONENTS.map((name) => [name, server.sink.levelOf(name)])),
    setLogLevel: (component, text) => {
      const level = parseLogLevel(text);
      if (level === undefined) return `unknown level '${text}': levels are ${LOG_LEVELS.join(', ')}`;
      if (component !== undefined && !(LOG_COMPONENTS as readonly string[]).includes(component))
        return `unknown logger name '${component}'`;
      server.sink.setLevel(level, component);
      server.pool.post({ type: 'logLevel', level, ...(component !== undefined && { component }) });
      return null;
    },
    failHealthCheck: (failed) => server.failHealthCheck(failed),
    resetCounters: () => {
      server.store.resetCounters();
      server.discovery.resetHostCounters();
    },
    drainListeners: ({ graceful, skipExit, inboundOnly }) => {
      if (!graceful) server.pool.post({ type: 'stopListeners', inboundOnly });
      else void server.drain(false, { inboundOnly, keepListening: skipExit });
    },
    reopenLogs: () => server.reopenLogs(),
    quit: () => server.quit(),
  };
}

function serverInfo(server: Server, state: string, uptimeMs: number): Record<string, unknown> {
  const { options } = server;
  const seconds = `${Math.floor(uptimeMs / 1000)}s`;
  return {
    version: `sluice/${VERSION}/node-${process.version}`,
    state,
    hot_restart_version: 'disabled',
    command_line_options: {
      base_id: String(options.baseId),
      concurrency: options.concurrency,
      config_path: options.configPath ?? '',
      config_yaml: options.configYaml ?? '',
      admin_address_path: options.adminAddressPath ?? '',
      log_level: options.log.level,
      component_log_level: Object.entries(options.log.components)
        .map(([name, level]) => `${name}:${level}`)
        .join(','),
      log_format: options.log.format,
      log_path: options.log.path ?? '',
      service_cluster: options.serviceCluster ?? '',
      service_node: options.serviceNode ?? '',
      service_zone: options.serviceZone ?? '',
      mode: options.mode === 'init_only' ? 'InitOnly' : options.mode === 'validate' ? 'Validate' : 'Serve',
      drain_time: `${options.drainTimeMs / 1000}s`,
      drain_strategy: options.drainStrategy === 'gradual' ? 'Gradual' : 'Immediate',
      parent_shutdown_time: `${options.parentShutdownTimeS}s`,
      file_flush_interval: `${options.fileFlushIntervalMs / 1000}s`,
      allow_unknown_static_fields: options.allowUnknownStaticFields,
    },
    uptime_current_epoch: seconds,
    uptime_all_epochs: seconds,
    node: server.loaded.json['node'] ?? {},
  };
}
