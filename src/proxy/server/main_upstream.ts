/**
 * The main thread's own way to the clusters: a dispatcher on main's event loop, with a cluster manager and an HTTP client on it (in Envoy main has
 * them always). Made when the first one asks, because most configurations have nobody who does: active health checks and gRPC control planes.
 *
 * The dispatcher waits in its ring or epoll instead of libuv, and wakes for what libuv has: admin, signals, promises and timers of Node go
 * on as they do on workers. Main has its own connections to a host, as every worker has; it counts them in the rows of the hosts, and in the
 * circuit breakers, as one more worker.
 */
import type { BaseDispatcher } from '../../core/event/base_dispatcher.ts';
import { createDispatcher, type IoBackend } from '../../core/event/create_dispatcher.ts';
import type { LogSink } from '../../core/log/logger.ts';
import type { Store } from '../../core/stats/store.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import { UPSTREAM_TRANSPORT_SOCKETS } from '../extensions/registry.ts';
import { AsyncClient } from '../http/async_client.ts';
import { createClientConnection } from '../network/connection_impl.ts';
import { type NamedSecret, SecretStore } from '../network/secrets.ts';
import type { SocketInterfaces } from '../network/socket_interfaces.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type SharedUpstream, ThreadLocalClusterManager } from '../upstream/cluster_manager.ts';
import type { PlainBindConfig, PlainCluster } from '../upstream/cluster_types.ts';
import type { HostEvent, HostUpdate } from '../upstream/host_update.ts';
import type { UpstreamContext } from '../upstream/upstream_context.ts';
import type { LocalInfo } from './factory_context.ts';
import { randomSource } from './random.ts';
import { workerSocketInterfaces } from './socket_interfaces.ts';
import type { ToWorker } from './worker_protocol.ts';

export interface MainUpstreamOptions {
  readonly bootstrap: Bootstrap;
  readonly clusters: readonly PlainCluster[];
  readonly backend: IoBackend;
  /** The main thread's. */
  readonly store: Store;
  readonly runtime: Runtime;
  readonly sink: LogSink;
  readonly localInfo: LocalInfo;
  /** Number of workers: this thread's index among those who count in rows of hosts. */
  readonly concurrency: number;
  readonly shared: SharedUpstream;
  readonly hosts: readonly HostUpdate[];
  readonly onHostEvent?: (event: HostEvent) => void;
  readonly secrets: readonly NamedSecret[];
  /** `states()` of the main thread's socket interfaces. */
  readonly socketInterfaces: Readonly<Record<string, unknown>>;
}

export class MainUpstream {
  readonly dispatcher: BaseDispatcher;
  readonly clusters: ThreadLocalClusterManager;
  readonly client: AsyncClient;
  /** For connections beside the pools (health checks). */
  readonly context: UpstreamContext;
  private readonly sockets: SocketInterfaces;
  private readonly secrets: SecretStore;

  /** Starts the dispatcher. */
  constructor(options: MainUpstreamOptions) {
    const { store, sink, bootstrap } = options;
    const log = sink.logger('main');
    this.dispatcher = createDispatcher(options.backend, {
      name: 'main_thread',
      onError: (error) => log.critical(`unexpected error: ${error instanceof Error ? error.stack : String(error)}`),
    });
    this.secrets = new SecretStore(options.secrets);
    this.sockets = workerSocketInterfaces(
      { bootstrap, backend: options.backend, socketInterfaces: options.socketInterfaces },
      { dispatcher: this.dispatcher, scope: store, log: sink.logger('io'), workerIndex: options.concurrency },
    );
    const random = randomSource();
    this.context = {
      dispatcher: this.dispatcher,
      socketInterface: this.sockets,
      createClientConnection,
      scope: store,
      runtime: options.runtime,
      random,
      workerIndex: options.concurrency,
      transportSockets: (typeName) => UPSTREAM_TRANSPORT_SOCKETS.get(typeName),
      logger: (name) => sink.logger(name),
      secrets: this.secrets,
      ...(options.onHostEvent !== undefined && { onHostEvent: options.onHostEvent }),
    };
    this.clusters = new ThreadLocalClusterManager(this.context, {
      clusters: options.clusters,
      shared: options.shared,
      upstreamBindConfig: bootstrap.clusterManager?.upstreamBindConfig as PlainBindConfig | undefined,
    });
    for (const update of options.hosts) this.clusters.applyHosts(update);
    this.client = AsyncClient.of({
      dispatcher: this.dispatcher,
      clusterManager: this.clusters,
      runtime: options.runtime,
      scope: store,
      localInfo: options.localInfo,
      random,
    });
    this.dispatcher.start();
  }

  /** What workers are told, as far as it is about upstreams. */
  onMessage(message: ToWorker): void {
    if (message.type === 'hosts') this.dispatcher.post(() => this.clusters.applyHosts(message.update));
    else if (message.type === 'health') this.dispatcher.post(() => this.clusters.applyHealth(message.update));
    else if (message.type === 'clusters') {
      this.dispatcher.post(() => {
        for (const change of message.update.set) this.clusters.setCluster(change);
        for (const name of message.update.remove) this.clusters.removeCluster(name);
      });
    } else if (message.type === 'secrets') this.dispatcher.post(() => this.secrets.update(message.secrets));
    else if (message.type === 'socketInterface') this.dispatcher.post(() => this.sockets.onState(message.name, message.state));
  }

  /** Ends all connections; resolves when the loop is Node's again. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.dispatcher.post(() => {
        this.clusters.close();
        // One more turn lets the kernel take the last bytes and closes.
        this.dispatcher.post(() => {
          setImmediate(() => {
            this.sockets.close();
            this.dispatcher.stop();
            resolve();
          });
        });
      });
    });
  }
}
