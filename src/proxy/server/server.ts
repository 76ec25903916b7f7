/**
 * The main thread (Envoy: Server::InstanceImpl): loads and checks the configuration, binds, starts workers, serves admin, drains and ends.
 *
 * Order: configuration -> stats -> runtime -> admin -> clusters' first hosts -> sockets bound -> workers -> LIVE.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { chooseBackend, type IoBackend } from '../../core/event/create_dispatcher.ts';
import type { Timer } from '../../core/event/dispatcher.ts';
import { type Logger, LogSink } from '../../core/log/logger.ts';
import type { Counter } from '../../core/stats/stats.ts';
import type { Store } from '../../core/stats/store.ts';
import { shareTicketSecret } from '../../core/tls/ticket_keys.ts';
import { AccessLogManagerImpl } from '../access_log/manager.ts';
import { byteText } from '../common/byte_text.ts';
import { ConfigError } from '../config/error.ts';
import { ConfigErrors } from '../config/errors.ts';
import type { StatsSink } from '../extensions/stat_sinks/statsd.ts';
import { listenAddress } from '../network/listener_address.ts';
import { atPath } from '../network/listener_extensions.ts';
import type { OverloadManager } from '../overload/overload_manager.ts';
import type { RuntimeLoader } from '../runtime/runtime_impl.ts';
import type { ScriptHost } from '../typescript/script_host.ts';
import type { PlainBindConfig } from '../upstream/cluster_types.ts';
import type { ClusterDiscovery } from '../upstream/discovery/cluster_discovery.ts';
import { outlierEventLine } from '../upstream/outlier/outlier_events.ts';
import { AdminServer } from './admin/admin_server.ts';
import type { ServerState } from './admin/context.ts';
import { BaseIdLock } from './base_id.ts';
import { type BuiltConfiguration, buildConfiguration } from './build_configuration.ts';
import { GuardDog, watchdogSettings } from './guard_dog.ts';
import { startHealthChecks } from './health_checks.ts';
import { type CheckedListener, ListenerManager } from './listener_manager.ts';
import { type LoadedConfiguration, loadConfiguration, loadSecretFile, locate } from './load_configuration.ts';
import { localInfo } from './local_info.ts';
import { MainUpstream } from './main_upstream.ts';
import { randomSource } from './random.ts';
import { reloadConfiguration, reportText } from './reload.ts';
import { reportError } from './report_error.ts';
import type { SecretManager } from './secret_manager.ts';
import { adminContext } from './server_admin.ts';
import { loadOptions, type ServerOptions } from './server_options.ts';
import { ServerScripts } from './server_scripts.ts';
import { ServerStats } from './server_stats.ts';
import { MainSocketInterfaces } from './socket_interfaces.ts';
import { shrinkMemory, spareMemory } from './thread_memory.ts';
import { WorkerPool } from './worker_pool.ts';
import type { ToWorker, WorkerInit } from './worker_protocol.ts';
import { DynamicConfiguration } from './xds/dynamic_configuration.ts';

/**
 * V8 as a proxy wants it; before the workers start.
 *
 * A worker's heap is a few megabytes and collected in a fraction of a millisecond; waiting for V8's helper threads to be scheduled on a
 * busy core takes longer than doing it alone, and shows in the 99th percentile.
 *
 * The same few hundred functions run for every request. With V8's own counts (400, 3000 calls) compiling goes on for the first 20,000 requests,
 * beside them on the same core; with these it is over after 5,000 (CPU of a worker for requests 5,000 to 20,000: 15.5 us each instead of 19.5,
 * of its helpers 0.1 instead of 14.7), for as much compiling in all and the same code in the end.
 */
const ENGINE_FLAGS = [
  '--no-parallel-scavenge',
  '--single-threaded-gc',
  '--invocation-count-for-maglev=200',
  '--invocation-count-for-turbofan=1000',
];

/** Serves until told to end; the exit status. */
export async function runServer(options: ServerOptions): Promise<number> {
  for (const flag of ENGINE_FLAGS) setFlagsFromString(flag);
  const sink = new LogSink(options.log);
  const log = sink.logger('main');
  let server: Server | null = null;
  try {
    const loaded = await loadConfiguration(loadOptions(options));
    for (const warning of loaded.warnings) sink.logger('config').warn(warning);
    server = new Server(options, sink, loaded, buildConfiguration(loaded, options, sink));
    await server.start();
  } catch (error) {
    reportError(await locate(error, loadOptions(options)), options, sink.logger('config'));
    server?.abandon();
    return 1;
  }
  log.info(`starting main dispatch loop`);
  options.onReady?.();
  if (options.mode === 'init_only') server.quit();
  return server.ended;
}

export class Server {
  /** Resolves with the exit status when the server has ended. */
  readonly ended: Promise<number>;
  readonly options: ServerOptions;
  readonly sink: LogSink;
  readonly log: Logger;
  readonly store: Store;
  readonly runtime: RuntimeLoader;
  loaded: LoadedConfiguration;
  readonly startMs = Date.now();
  readonly pool: WorkerPool;
  readonly discovery: ClusterDiscovery;
  readonly socketInterfaces: MainSocketInterfaces;
  secrets: SecretManager;
  readonly listeners: ListenerManager;
  readonly dynamic: DynamicConfiguration;
  state: ServerState = 'PRE_INITIALIZING';
  healthCheckFailed = false;
  private readonly memory;
  private readonly overload: OverloadManager | null;
  private readonly sinks: readonly StatsSink[];
  private readonly configured: readonly CheckedListener[];
  private readonly guardDog: GuardDog;
  private readonly scripts: ServerScripts;
  private readonly stats: ServerStats;
  private readonly backend: IoBackend;
  private readonly baseId: BaseIdLock;
  private admin: AdminServer | null = null;
  private accessLogs: AccessLogManagerImpl | null = null;
  private flushTimer: NodeJS.Timeout | null = null;
  private mainUpstream: MainUpstream | null = null;
  private reloading: Promise<unknown> = Promise.resolve();
  private readonly reloadStats: Record<'attempt' | 'success' | 'rejected', Counter>;
  private resolveEnded: (status: number) => void = () => {};
  private quitting = false;
  private terminations = 0;
  private readonly onSignal = (signal: NodeJS.Signals): void => this.handleSignal(signal);

  /** Throws ConfigError. */
  constructor(options: ServerOptions, sink: LogSink, loaded: LoadedConfiguration, built: BuiltConfiguration) {
    this.options = options;
    this.sink = sink;
    this.log = sink.logger('main');
    this.ended = new Promise((resolve) => {
      this.resolveEnded = resolve;
    });
    this.baseId = new BaseIdLock(options.baseId);
    this.loaded = loaded;
    this.configured = built.listeners;
    this.secrets = built.secrets;
    this.memory = built.statsMemory;
    this.store = built.store;
    this.runtime = built.runtime;
    this.overload = built.overload;
    this.sinks = built.sinks;
    this.discovery = built.discovery;
    const { bootstrap } = loaded;
    options.log.format = built.logFormat;
    this.reloadStats = {
      attempt: built.store.counter('server.reload_attempt'),
      success: built.store.counter('server.reload_success'),
      rejected: built.store.counter('server.reload_rejected'),
    };
    this.stats = new ServerStats(this.store, options.concurrency, loaded);
    shareTicketSecret();
    this.pool = new WorkerPool((message) => {
      this.log.critical(message);
      this.end(1);
    });
    this.socketInterfaces = new MainSocketInterfaces(bootstrap, { scope: this.store, log: sink.logger('io') }, (name, state) =>
      this.tell({ type: 'socketInterface', name, state }),
    );
    this.scripts = new ServerScripts(built.scripts, options.configPath, this.store, sink.logger('filter'));
    this.listeners = new ListenerManager({
      workers: options.concurrency,
      scope: this.store,
      log: sink.logger('config'),
      drain: { durationMs: options.drainTimeMs, strategy: options.drainStrategy },
      reserve: (listen) => this.socketInterfaces.reserve(listen),
      postTo: (worker, id, change) => this.pool.postTo(worker, { type: 'listener', id, change }),
    });
    this.dynamic = new DynamicConfiguration(this);
    this.pool.onListener = (message) => this.listeners.onAnswer(message);
    this.guardDog = new GuardDog(options.concurrency, this.store.scope('server.'), watchdogSettings(bootstrap), (name, ms) =>
      this.log.warn(`${name} has not come back to its event loop for ${ms} ms`),
    );
    const chosen = chooseBackend(options.ioBackend);
    this.backend = chosen.backend;
    if (chosen.reason !== null) this.log.warn(`using epoll: ${chosen.reason}`);
  }

  /** Resolves when the server is LIVE. */
  async start(): Promise<void> {
    const { bootstrap } = this.loaded;
    await this.baseId.acquire();
    this.state = 'INITIALIZING';
    await this.startAdmin();
    await this.socketInterfaces.start();
    this.logOutliers();
    this.pool.onHostEvent = (event) => this.discovery.onHostEvent(event);
    await this.discovery.start({
      onHosts: (update) => this.tell({ type: 'hosts', update }),
      onHealth: (update) => this.tell({ type: 'health', update }),
      startHealthChecks: startHealthChecks(
        () => this.upstream(),
        () => this.logs(),
      ),
      onClusters: (update) => {
        this.tell({ type: 'clusters', update });
        this.dynamic.onClusters(
          update.set.map(({ config }) => config),
          update.remove,
        );
      },
    });
    await this.dynamic.startRuntime();
    await this.dynamic.startClusters();
    await this.dynamic.startRoutes(this.configured);
    await this.listeners.start(this.configured);
    const hosts = this.discovery.current();
    await Promise.all(
      Array.from({ length: this.options.concurrency }, (_, index) => this.pool.start(this.workerInit(index, hosts))),
    );
    this.listeners.workersStarted();
    this.watchSecrets();
    await this.dynamic.startListeners();
    this.runtime.onUpdate = (runtime) => this.pool.post({ type: 'runtime', runtime });
    this.runtime.watchDisk((reason) => this.log.warn(`runtime: ${reason}`));
    this.scripts.start(bootstrap, (path) => this.pool.post({ type: 'moduleChanged', path }));
    for (let i = 0; i < this.options.concurrency; i++)
      this.guardDog.watch(i, `worker_${i}`, () => this.pool.postTo(i, { type: 'ping' }));
    this.guardDog.start();
    this.startOverloadManager();
    const interval = bootstrap.statsFlushOnAdmin ? 0 : (bootstrap.statsFlushInterval ?? 5000);
    if (interval > 0) this.flushTimer = setInterval(() => this.flushStats(), interval);
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGHUP'] as const) process.on(signal, this.onSignal);
    this.state = 'LIVE';
    this.stats.live(Date.now() - this.startMs);
    this.log.info(`all dependencies initialized. starting workers`);
  }

  private startOverloadManager(): void {
    const overload = this.overload;
    if (overload === null) return;
    overload.start({
      onRefresh: () => {
        if (overload.config.needsSpareBytes) overload.memory.spareBytes[0] = spareMemory(null);
      },
      onChange: () => this.pool.post({ type: 'overload' }),
      onShrinkHeap: () => {
        this.pool.post({ type: 'shrinkHeap' });
        shrinkMemory(null);
      },
    });
  }

  /** Main's own connections to clusters; from now on main's event loop runs on a dispatcher. */
  upstream(): MainUpstream {
    this.mainUpstream ??= new MainUpstream({
      bootstrap: this.loaded.bootstrap,
      clusters: this.discovery.configs(),
      backend: this.backend,
      store: this.store,
      runtime: this.runtime,
      sink: this.sink,
      localInfo: localInfo(this.loaded.bootstrap, this.options),
      concurrency: this.options.concurrency,
      shared: this.discovery.shared,
      hosts: this.discovery.current(),
      onHostEvent: (event) => this.discovery.onHostEvent(event),
      secrets: this.secrets.current(),
      socketInterfaces: this.socketInterfaces.states(),
    });
    return this.mainUpstream;
  }

  /** Reads the configuration again and changes what differs. What happened, or why nothing did; it is logged too. */
  reload(): Promise<{ ok: boolean; text: string }> {
    const next = this.reloading.then(() => this.reloadNow());
    this.reloading = next;
    return next;
  }

  private async reloadNow(): Promise<{ ok: boolean; text: string }> {
    const log = this.sink.logger('config');
    this.reloadStats.attempt.inc();
    try {
      if (this.state !== 'LIVE') throw new ConfigError('the server is not LIVE');
      const text = reportText(await reloadConfiguration(this));
      this.reloadStats.success.inc();
      log.info(`configuration reloaded: ${text}`);
      return { ok: true, text };
    } catch (error) {
      if (!(error instanceof ConfigError) && !(error instanceof Error)) throw error;
      this.reloadStats.rejected.inc();
      const placed = (await locate(error, loadOptions(this.options)).catch(() => error)) as Error;
      const text = placed instanceof ConfigErrors ? placed.errors.map(({ message }) => message).join('\n') : placed.message;
      log.error(`configuration not reloaded, the old one stays in use: ${text}`);
      return { ok: false, text };
    }
  }

  /** For reloads. */
  get bindConfig(): PlainBindConfig | undefined {
    return this.loaded.bootstrap.clusterManager?.upstreamBindConfig as PlainBindConfig | undefined;
  }

  staticClusters(): string[] {
    return (this.loaded.bootstrap.staticResources?.clusters ?? []).map(({ name }) => name);
  }

  replaceSecrets(secrets: SecretManager): void {
    this.secrets.close();
    this.secrets = secrets;
    this.watchSecrets();
    this.tell({ type: 'secrets', secrets: secrets.current() });
  }

  scriptsChanged(checked: ScriptHost): void {
    this.scripts.recheck(checked, (path) => this.pool.post({ type: 'moduleChanged', path }));
  }

  private watchSecrets(): void {
    this.secrets.watch({
      scope: this.store,
      logger: this.sink.logger('secret'),
      load: loadSecretFile,
      post: (secrets) => this.tell({ type: 'secrets', secrets }),
    });
  }

  /** Tells all workers, and main's own clusters. */
  private tell(message: ToWorker): void {
    this.pool.post(message);
    this.mainUpstream?.onMessage(message);
  }

  /** Before stats are looked at; with `stats_flush_on_admin` this is what flushes them. */
  updateStats(): void {
    this.stats.update(this.state);
    if (this.loaded.bootstrap.statsFlushOnAdmin === true) this.mergeAndSend();
  }

  private flushStats(): void {
    this.stats.update(this.state);
    this.mergeAndSend();
  }

  private mergeAndSend(): void {
    this.store.mergeHistograms();
    for (const sink of this.sinks) sink.flush(this.store);
  }

  /**
   * Ends connections over the drain time. With `exit` (SIGTERM) nothing new is accepted and the process ends when the last connection
   * is gone; without (admin) listeners go on for that time and then close, unless they are kept.
   */
  async drain(exit: boolean, listeners = { inboundOnly: false, keepListening: false }): Promise<void> {
    if (this.state === 'DRAINING' && !exit) return;
    this.state = 'DRAINING';
    const { drainTimeMs, drainStrategy } = this.options;
    this.log.info(`draining for at most ${drainTimeMs / 1000} s`);
    if (exit) this.pool.post({ type: 'stopListeners', inboundOnly: false });
    await this.pool.drain(drainTimeMs, drainStrategy, drainTimeMs, exit);
    if (exit) this.end(0);
    else if (!listeners.keepListening) this.pool.post({ type: 'stopListeners', inboundOnly: listeners.inboundOnly });
  }

  failHealthCheck(failed: boolean): void {
    this.healthCheckFailed = failed;
    this.pool.post({ type: 'healthCheck', failed });
  }

  reopenLogs(): void {
    this.pool.post({ type: 'reopenLogs' });
    this.accessLogs?.reopen();
    this.sink.reopen();
  }

  quit(): void {
    this.end(0);
  }

  /** After a failed start: lets go of what holds the process. */
  abandon(): void {
    this.end(1);
  }

  private handleSignal(signal: NodeJS.Signals): void {
    if (signal === 'SIGUSR1') {
      this.reopenLogs();
      return;
    }
    if (signal === 'SIGHUP') {
      void this.reload();
      return;
    }
    this.terminations++;
    this.log.warn(`caught ${signal}`);
    if (this.terminations > 1 || signal === 'SIGINT') this.end(0);
    else void this.drain(true);
  }

  /** The main thread's log files. */
  private logs(): AccessLogManagerImpl {
    this.accessLogs ??= new AccessLogManagerImpl({
      createTimer: nodeTimer,
      flushIntervalMs: this.options.fileFlushIntervalMs,
      scope: this.store,
    });
    return this.accessLogs;
  }

  private logOutliers(): void {
    const path = this.loaded.bootstrap.clusterManager?.outlierDetection?.eventLogPath;
    if (path === undefined || path === '') return;
    const file = atPath('cluster_manager.outlier_detection.event_log_path', () => this.logs().createAccessLog(path));
    this.discovery.onOutlierEvent = (event) => {
      file.line.text(byteText(outlierEventLine(event)));
      file.endLine();
    };
  }

  private async startAdmin(): Promise<void> {
    const configured = this.loaded.bootstrap.admin;
    if (configured?.address === undefined) return;
    this.admin = new AdminServer(adminContext(this), configured, {
      accessLogManager: this.logs(),
      runtime: this.runtime,
      random: randomSource(),
    });
    const wanted = listenAddress(configured.address as Parameters<typeof listenAddress>[0]);
    await this.admin.listen(wanted).catch((error: Error) => {
      throw new ConfigError(`admin: cannot listen on '${wanted.asString}': ${error.message}`, { path: 'admin.address' });
    });
    const address = this.admin.address!.asString;
    this.log.info(`admin address: ${address}`);
    if (this.options.adminAddressPath !== undefined) {
      mkdirSync(dirname(this.options.adminAddressPath), { recursive: true });
      writeFileSync(this.options.adminAddressPath, address);
    }
  }

  private workerInit(index: number, hosts: WorkerInit['hosts']): WorkerInit {
    return {
      index,
      bootstrap: this.loaded.bootstrap,
      backend: this.backend,
      stats: this.memory,
      upstream: this.discovery.shared,
      runtime: this.runtime.toPlain(),
      hosts,
      log: this.options.log,
      localInfo: localInfo(this.loaded.bootstrap, this.options),
      fileFlushIntervalMs: this.options.fileFlushIntervalMs,
      watchdogCells: this.guardDog.cells,
      listeners: this.listeners.forWorker(index),
      clusters: this.discovery.configs(),
      routes: this.dynamic.rds.current(),
      socketInterfaces: this.socketInterfaces.states(),
      scripts: this.scripts.init,
      secrets: this.secrets.current(),
      overload: this.overload?.memory ?? null,
    };
  }

  private end(status: number): void {
    if (this.quitting) return;
    this.quitting = true;
    this.guardDog.stop();
    this.overload?.stop();
    for (const sink of this.sinks) sink.close();
    this.scripts.close();
    this.dynamic.close();
    this.secrets.close();
    if (this.flushTimer !== null) clearInterval(this.flushTimer);
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGHUP'] as const) process.removeListener(signal, this.onSignal);
    // A worker that hangs must not keep the process.
    const forced = setTimeout(() => process.exit(status), 5000);
    void this.pool.exit().then(async () => {
      this.discovery.close();
      await this.mainUpstream?.close();
      await this.socketInterfaces.close();
      clearTimeout(forced);
      this.admin?.close();
      this.accessLogs?.close();
      this.runtime.close();
      this.baseId.release();
      this.log.info('exiting');
      this.resolveEnded(status);
    });
  }
}

/** A dispatcher's timer on Node's loop. */
function nodeTimer(callback: () => void): Timer {
  let handle: NodeJS.Timeout | null = null;
  return {
    enableTimer: (delayMs) => {
      if (handle !== null) clearTimeout(handle);
      handle = setTimeout(() => {
        handle = null;
        callback();
      }, delayMs);
      handle.unref();
    },
    disableTimer: () => {
      if (handle !== null) clearTimeout(handle);
      handle = null;
    },
    get enabled() {
      return handle !== null;
    },
  };
}
