/**
 * What a server needs of a configuration, built and thereby checked before anything is opened: stats, runtime, clusters, and once, on trial
 * and without sockets, what every worker will build.
 */
import type { LogSink } from '../../core/log/logger.ts';
import { createStatsMemory, type StatsMemory, Store } from '../../core/stats/store.ts';
import { ConfigError } from '../config/error.ts';
import { addSharedState } from '../config/shared_state.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import { RESOURCE_MONITORS } from '../extensions/resource_monitors/registry.ts';
import { createStatsdSink, type StatsSink } from '../extensions/stat_sinks/statsd.ts';
import type { ListenerProto } from '../network/listener_config.ts';
import type { NamedSecret } from '../network/secrets.ts';
import { parseOverloadConfig } from '../overload/overload_config.ts';
import { OverloadManager } from '../overload/overload_manager.ts';
import { createOverloadMemory } from '../overload/overload_memory.ts';
import { createRuntime, type RuntimeLoader } from '../runtime/runtime_impl.ts';
import type { ScriptHost } from '../typescript/script_host.ts';
import type { SharedUpstream } from '../upstream/cluster_manager.ts';
import type { PlainBindConfig, PlainCluster } from '../upstream/cluster_types.ts';
import { ClusterDiscovery } from '../upstream/discovery/cluster_discovery.ts';
import { compileAdmin } from './admin/admin_server.ts';
import { applicationLogFormat } from './application_log.ts';
import { bindPlans } from './bind.ts';
import { applyClusterDefaults } from './cluster_defaults.ts';
import { watchdogSettings } from './guard_dog.ts';
import type { CheckedListener } from './listener_manager.ts';
import type { LoadedConfiguration } from './load_configuration.ts';
import { localInfo } from './local_info.ts';
import { randomSource } from './random.ts';
import { SecretManager } from './secret_manager.ts';
import type { ServerOptions } from './server_options.ts';
import { scriptInit } from './server_scripts.ts';
import { checkSocketInterfaces } from './socket_interfaces.ts';
import { statsTags } from './stats_config.ts';
import { statsRejects, WorkerRuntime } from './worker_runtime.ts';
import { checkDynamicResources } from './xds/check.ts';

export interface BuiltConfiguration {
  bootstrap: Bootstrap;
  listeners: CheckedListener[];
  /** Of the application log. */
  logFormat: string;
  /** Of all threads; `store` is the main thread's. */
  statsMemory: StatsMemory;
  store: Store;
  runtime: RuntimeLoader;
  /** Not started. */
  discovery: ClusterDiscovery;
  /** Knows the modules of extensions in TypeScript. */
  scripts: ScriptHost;
  /** Not watched yet. */
  secrets: SecretManager;
  /** Not started. Null: there is none. */
  overload: OverloadManager | null;
  /** They have opened nothing yet. */
  sinks: readonly StatsSink[];
}

/** Completes `bootstrap` by defaults. Throws ConfigError with a path and no place in the file. */
export function buildConfiguration(
  { bootstrap, secrets: configured }: Pick<LoadedConfiguration, 'bootstrap' | 'secrets'>,
  options: ServerOptions,
  sink: LogSink,
): BuiltConfiguration {
  applyClusterDefaults(bootstrap);
  addSharedState(bootstrap);
  const logFormat = applicationLogFormat(bootstrap, options.log.format) ?? options.log.format;
  watchdogSettings(bootstrap);
  checkStatsFlush(bootstrap);
  const statsMemory = createStatsMemory(options.concurrency + 1);
  const store = new Store({ memory: statsMemory, thread: 0, rejects: statsRejects(bootstrap), ...statsTags(bootstrap) });
  const runtime = createRuntime(bootstrap.layeredRuntime?.layers, { serviceCluster: localInfo(bootstrap, options).clusterName });
  const discovery = new ClusterDiscovery({
    clusters: (bootstrap.staticResources?.clusters ?? []) as unknown as PlainCluster[],
    workers: options.concurrency,
    scope: store,
    upstreamBindConfig: bootstrap.clusterManager?.upstreamBindConfig as PlainBindConfig | undefined,
    warn: (message) => sink.logger('dns').warn(message),
    runtime,
  });
  const secrets = new SecretManager(configured);
  const overload = createOverloadManager(bootstrap, options, store, sink);
  const { listeners, scripts } = tryWorker(bootstrap, options, runtime, discovery.shared, secrets.current());
  const sinks = createSinks(bootstrap);
  return { bootstrap, listeners, logFormat, statsMemory, store, runtime, discovery, scripts, secrets, overload, sinks };
}

function createSinks(bootstrap: Bootstrap): StatsSink[] {
  return (bootstrap.statsSinks ?? []).map(({ typedConfig }, i) => {
    try {
      return createStatsdSink(typedConfig as Parameters<typeof createStatsdSink>[0]);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const path = `stats_sinks[${i}].typed_config`;
      throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
    }
  });
}

function createOverloadManager(
  bootstrap: Bootstrap,
  options: ServerOptions,
  scope: Store,
  sink: LogSink,
): OverloadManager | null {
  const proto = bootstrap.overloadManager;
  const config = parseOverloadConfig(proto);
  if (proto === undefined || config === null) return null;
  return new OverloadManager({
    proto,
    config,
    memory: createOverloadMemory(options.concurrency + 1),
    factories: RESOURCE_MONITORS,
    scope,
    log: sink.logger('main'),
  });
}

/** Builds a worker and the admin's part as they will be, and lets go of them. Throws ConfigError. */
export function tryWorker(
  bootstrap: Bootstrap,
  options: ServerOptions,
  runtime: RuntimeLoader,
  shared: SharedUpstream,
  secrets: readonly NamedSecret[],
): Pick<BuiltConfiguration, 'listeners' | 'scripts'> {
  const protos = (bootstrap.staticResources?.listeners ?? []) as unknown as ListenerProto[];
  const clusters = (bootstrap.staticResources?.clusters ?? []) as unknown as PlainCluster[];
  checkDynamicResources(bootstrap);
  const trial = createTrial(bootstrap, options, { clusters, runtime, shared, secrets });
  trial.tryListeners(protos);
  const { admin } = bootstrap;
  if (admin !== undefined) compileAdmin(admin, { accessLogManager: trial.accessLogs, runtime, random: randomSource() });
  const plans = bindPlans(trial.handler, protos);
  checkSocketInterfaces(bootstrap, plans, trial.clusters);
  trial.stop();
  return { listeners: protos.map((proto, i) => ({ proto, plan: plans[i] })), scripts: trial.scripts };
}

export interface TrialParts {
  readonly clusters: readonly PlainCluster[];
  readonly runtime: RuntimeLoader;
  readonly shared: SharedUpstream;
  readonly secrets: readonly NamedSecret[];
}

/** A worker that is not started, on which configuration is tried. Throws ConfigError. */
export function createTrial(
  bootstrap: Bootstrap,
  options: ServerOptions,
  { clusters, runtime, shared, secrets }: TrialParts,
): WorkerRuntime {
  return new WorkerRuntime({
    index: 0,
    clusters,
    routes: [],
    bootstrap,
    backend: 'epoll',
    stats: createStatsMemory(2),
    upstream: shared,
    runtime: runtime.toPlain(),
    hosts: [],
    log: options.log,
    localInfo: localInfo(bootstrap, options),
    fileFlushIntervalMs: options.fileFlushIntervalMs,
    watchdogCells: new Int32Array(new SharedArrayBuffer(4)),
    listeners: [],
    socketInterfaces: {},
    scripts: scriptInit(options.configPath, true),
    secrets,
    overload: bootstrap.overloadManager === undefined ? null : createOverloadMemory(2),
  });
}

function checkStatsFlush(bootstrap: Bootstrap): void {
  if (bootstrap.statsFlushOnAdmin === true && bootstrap.statsFlushInterval !== undefined) {
    throw new ConfigError('Only one of stats_flush_interval or stats_flush_on_admin should be set!', {
      path: 'stats_flush_on_admin',
    });
  }
}
