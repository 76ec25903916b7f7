/**
 * One worker's whole proxy: dispatcher, stats, clusters, listeners. Built the same way on every worker, and once on the main thread
 * (without sockets) to check a configuration.
 */
import type { BaseDispatcher } from '../../core/event/base_dispatcher.ts';
import { createDispatcher } from '../../core/event/create_dispatcher.ts';
import { LogSink } from '../../core/log/logger.ts';
import { statsMatcher } from '../../core/stats/matcher.ts';
import { Store } from '../../core/stats/store.ts';
import { AccessLogManagerImpl } from '../access_log/manager.ts';
import { ConfigError } from '../config/error.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import { startWasmServices } from '../extensions/bootstrap/wasm/config.ts';
import { LISTENER_EXTENSIONS, UPSTREAM_TRANSPORT_SOCKETS } from '../extensions/registry.ts';
import { AsyncClient } from '../http/async_client.ts';
import { RouteStore } from '../http/route/route_store.ts';
import type { Connection } from '../network/connection.ts';
import { ConnectionHandler } from '../network/connection_handler.ts';
import { createClientConnection, createServerConnection } from '../network/connection_impl.ts';
import { type ConnectionStatus, connectionStatus } from '../network/connection_status.ts';
import { DrainManager } from '../network/drain_manager.ts';
import type { BindOverride } from '../network/listener_active.ts';
import type { ListenerProto } from '../network/listener_config.ts';
import { SecretStore } from '../network/secrets.ts';
import type { SocketInterfaces } from '../network/socket_interfaces.ts';
import { type OverloadConfig, parseOverloadConfig } from '../overload/overload_config.ts';
import { OverloadAction } from '../overload/overload_memory.ts';
import { OverloadState } from '../overload/overload_state.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { snapshotFromPlain } from '../runtime/snapshot.ts';
import { ScriptHost } from '../typescript/script_host.ts';
import { Services } from '../typescript/services.ts';
import { ThreadLocalClusterManager } from '../upstream/cluster_manager.ts';
import type { PlainBindConfig } from '../upstream/cluster_types.ts';
import type { HostEvent } from '../upstream/host_update.ts';
import type { FactoryContext } from './factory_context.ts';
import { localLocality } from './local_info.ts';
import { randomSource } from './random.ts';
import { workerSocketInterfaces } from './socket_interfaces.ts';
import { spareMemory } from './thread_memory.ts';
import type { ListenerChange, WorkerInit, WorkerListener } from './worker_protocol.ts';

export class WorkerRuntime {
  readonly dispatcher: BaseDispatcher;
  readonly handler: ConnectionHandler;
  readonly clusters: ThreadLocalClusterManager;
  readonly accessLogs: AccessLogManagerImpl;
  readonly log: LogSink;
  readonly drain: DrainManager;
  readonly scripts: ScriptHost;
  /** Services in TypeScript that run on every worker; in a check, all of them. */
  readonly services: Services;
  readonly runtime: { snapshot: Runtime['snapshot'] };
  readonly sockets: SocketInterfaces;
  readonly secrets: SecretStore;
  readonly routes: RouteStore;
  /** What extensions are built from, beside listeners. */
  readonly context: FactoryContext;
  readonly index: number;
  /** Runs at each look of the watchdog: how many blocks of buffer memory this worker's connections and messages hold. */
  readonly recordBuffers: () => void;
  private readonly overload: OverloadState | undefined;

  /** Throws ConfigError. Opens log files, no sockets. */
  constructor(init: WorkerInit, onHostEvent?: (event: HostEvent) => void) {
    this.index = init.index;
    this.secrets = new SecretStore(init.secrets);
    this.routes = new RouteStore(init.routes);
    this.log = new LogSink(init.log);
    const mainLog = this.log.logger('main');
    this.dispatcher = createDispatcher(init.backend, {
      name: `worker_${init.index}`,
      watchdog: { cells: init.watchdogCells, index: init.index },
      onError: (error) =>
        mainLog.critical(`unexpected error on worker ${init.index}: ${error instanceof Error ? error.stack : String(error)}`),
    });
    const store = new Store({ memory: init.stats, thread: init.index + 1, rejects: statsRejects(init.bootstrap) });
    const blocksHeld = store.gauge('workers.buffer_blocks_held');
    this.recordBuffers = () => blocksHeld.set(this.dispatcher.blocksHeld);
    this.runtime = { snapshot: snapshotFromPlain(init.runtime) };
    this.drain = new DrainManager(() => this.dispatcher.nowMs);
    this.accessLogs = new AccessLogManagerImpl({
      createTimer: (callback) => this.dispatcher.createTimer(callback),
      flushIntervalMs: init.fileFlushIntervalMs,
      scope: store,
    });
    const socketInterface = workerSocketInterfaces(init, {
      dispatcher: this.dispatcher,
      scope: store,
      log: this.log.logger('io'),
      workerIndex: init.index,
    });
    this.sockets = socketInterface;
    const random = randomSource();
    this.clusters = new ThreadLocalClusterManager(
      {
        dispatcher: this.dispatcher,
        socketInterface,
        createClientConnection,
        scope: store,
        runtime: this.runtime,
        random,
        workerIndex: init.index,
        transportSockets: (typeName) => UPSTREAM_TRANSPORT_SOCKETS.get(typeName),
        logger: (name) => this.log.logger(name),
        secrets: this.secrets,
        ...(onHostEvent !== undefined && { onHostEvent }),
        localLocality: localLocality(init.localInfo),
      },
      {
        localClusterName: init.bootstrap.clusterManager?.localClusterName,
        clusters: init.clusters,
        shared: init.upstream,
        upstreamBindConfig: init.bootstrap.clusterManager?.upstreamBindConfig as PlainBindConfig | undefined,
      },
    );
    for (const update of init.hosts) this.clusters.applyHosts(update);
    this.scripts = ScriptHost.forWorker(init.scripts, {
      scope: store,
      logger: this.log.logger('filter'),
      workerIndex: init.index,
      dispatcher: this.dispatcher,
      accessLogs: this.accessLogs,
      calls: AsyncClient.of({
        dispatcher: this.dispatcher,
        clusterManager: this.clusters,
        runtime: this.runtime,
        scope: store,
        localInfo: init.localInfo,
        random,
      }),
    });
    this.services = new Services(
      this.scripts,
      init.bootstrap.bootstrapExtensions,
      init.scripts.validateOnly ? 'all' : 'per_worker',
    );
    const overloadConfig = parseOverloadConfig(init.bootstrap.overloadManager);
    if (overloadConfig !== null && init.overload !== null) {
      this.overload = new OverloadState(overloadConfig, init.overload, store, random);
      this.reportMemory(overloadConfig, init.overload.spareBytes);
    }
    const context: FactoryContext = {
      dispatcher: this.dispatcher,
      scope: store,
      listenerScope: store,
      clusterManager: this.clusters,
      runtime: this.runtime,
      accessLogManager: this.accessLogs,
      localInfo: init.localInfo,
      drainDecision: this.drain,
      socketInterface,
      random,
      logger: (name) => this.log.logger(name),
      workerIndex: init.index,
      scripts: this.scripts,
      routes: this.routes,
      secrets: this.secrets,
      overload: this.overload,
      onDestroy: () => {},
    };
    this.context = context;
    this.handler = new ConnectionHandler({ context, extensions: LISTENER_EXTENSIONS, createServerConnection });
    startWasmServices(init.bootstrap.bootstrapExtensions ?? [], context);
  }

  /** Builds all listeners, which accept where they are bound. Throws ConfigError. */
  addListeners(listeners: readonly WorkerListener[]): void {
    listeners.forEach((listener, i) => {
      atListener(i, () => this.handler.addListener(listener.proto, overrides(listener)));
    });
  }

  /** States of the overload manager have changed. */
  onOverload(): void {
    const overload = this.overload as OverloadState;
    overload.onChange();
    const stop = overload.value(OverloadAction.StopAcceptingConnections) >= 1;
    if (stop === this.handler.isDisabled) return;
    if (stop) this.handler.disableListeners();
    else this.handler.enableListeners();
  }

  /** Tells what memory this thread has to spare, as often as main looks. */
  private reportMemory(config: OverloadConfig, spareBytes: Float64Array): void {
    if (!config.needsSpareBytes) return;
    const timer = this.dispatcher.createTimer(() => {
      spareBytes[this.index + 1] = spareMemory(this.dispatcher.slab);
      timer.enableTimer(config.refreshIntervalMs);
    });
    timer.enableTimer(0);
  }

  /** Builds listeners that accept nothing, to check them. Throws ConfigError. */
  tryListeners(listeners: readonly ListenerProto[]): void {
    listeners.forEach((proto, i) => {
      atListener(i, () => this.handler.addListener({ ...proto, bindToPort: false } as ListenerProto));
    });
  }

  /** Builds one listener that accepts nothing; its name. Throws ConfigError. */
  tryListener(proto: ListenerProto): string {
    this.handler.addListener({ ...proto, bindToPort: false } as ListenerProto);
    return this.handler.describe().at(-1)!.name;
  }

  /** One that was only for trying lets go of what it has. */
  stop(): void {
    this.accessLogs.close();
    this.clusters.close();
    this.sockets.close();
    this.dispatcher.stop();
  }

  /** Returns how many filter chains drain because of it. `drained` runs when what it replaced or removed is gone. */
  changeListener(change: ListenerChange, drained: () => void): number {
    switch (change.kind) {
      case 'add':
        this.handler.addListener(change.listener.proto, overrides(change.listener));
        return 0;
      case 'replace': {
        const { listener, drain } = change;
        this.handler.replaceListener(listener.proto, listener.fds === null ? null : overrides(listener), drain, drained);
        return 0;
      }
      case 'filterChains':
        return this.handler.updateFilterChains(change.proto, change.drain, drained);
      case 'remove':
        this.handler.drainListener(change.name, change.drain, drained);
        return 0;
    }
  }

  /** For admin: at most `most` connections, and how many there are. */
  connections(most: number): { list: ConnectionStatus[]; total: number } {
    const list: ConnectionStatus[] = [];
    let total = 0;
    const add = (connection: Connection, side: ConnectionStatus['side'], owner: string): void => {
      if (++total <= most) list.push(connectionStatus(connection, this.index, side, owner));
    };
    for (const { listener, connection } of this.handler.openConnections()) add(connection, 'downstream', listener);
    for (const { cluster, connection } of this.clusters.openConnections()) add(connection, 'upstream', cluster);
    return { list, total };
  }

  stopListeners(inboundOnly: boolean): void {
    for (const listener of this.handler.describe()) {
      if (!inboundOnly || listener.config.trafficDirection === 'INBOUND') this.handler.stopListeners(listener.name);
    }
  }
}

/** Names that `stats_config.stats_matcher` leaves out. Throws ConfigError: core knows none. */
export function statsRejects(bootstrap: Bootstrap): (name: string) => boolean {
  try {
    return statsMatcher(bootstrap.statsConfig?.statsMatcher as Parameters<typeof statsMatcher>[0]);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(error.message, { path: 'stats_config.stats_matcher' });
  }
}

function overrides({ fds, addresses }: WorkerListener): BindOverride[] {
  return fds.map((fd, at) => (fd < 0 ? { address: addresses[at] } : { fd }));
}

function atListener(i: number, build: () => void): void {
  try {
    build();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: joinPath(`static_resources.listeners[${i}]`, error.path) });
  }
}

function joinPath(base: string, path: string): string {
  if (path === '') return base;
  return path.startsWith('static_resources') ? path : `${base}.${path}`;
}
