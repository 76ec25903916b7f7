/**
 * Everything dynamic on the main thread: the subscriptions that the bootstrap asks for, and those that clusters and listeners bring with them. What
 * nobody asks for is not there: no process that decodes, no dispatcher on main.
 *
 * Order at start, as Envoy's: static clusters, clusters of CDS with their endpoints, listeners with their routes.
 */

import { VERSION } from '../../../core/version.ts';
import {
  type ApiConfigSource,
  type ConfigSource,
  checkConfigSource,
  DEFAULT_FETCH_TIMEOUT_MS,
} from '../../config/xds/config_source.ts';
import { ResourceParser } from '../../config/xds/parser.ts';
import { subscriptionStats } from '../../config/xds/subscription.ts';
import { compileTable } from '../../extensions/network_filters/http_connection_manager/config.ts';
import { HTTP_FILTERS } from '../../extensions/registry.ts';
import type { ListenerProto } from '../../network/listener_config.ts';
import type { PlainCluster } from '../../upstream/cluster_types.ts';
import type { DynamicDump, NamedDump } from '../admin/context.ts';
import { bindPlans } from '../bind.ts';
import { createTrial } from '../build_configuration.ts';
import { completeCluster } from '../cluster_defaults.ts';
import type { CheckedListener } from '../listener_manager.ts';
import { localInfo } from '../local_info.ts';
import type { Server } from '../server.ts';
import { checkSocketInterfaces } from '../socket_interfaces.ts';
import type { WorkerRuntime } from '../worker_runtime.ts';
import { Cds } from './cds.ts';
import { Eds } from './eds.ts';
import { Lds } from './lds.ts';
import { Rds, rdsUses } from './rds.ts';
import { dumpOf, listenersOf } from './resource_dump.ts';
import { followRuntime } from './rtds.ts';
import { Sources } from './sources.ts';

const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
const ROUTES = 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration';
const ASSIGNMENT = 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment';

export class DynamicConfiguration {
  readonly eds: Eds;
  readonly rds: Rds;
  cds: Cds | null = null;
  lds: Lds | null = null;
  private readonly server: Server;
  private readonly parser = new ResourceParser();
  private readonly sources: Sources;
  private readonly hasAds: boolean;
  private trialWorker: WorkerRuntime | null = null;

  constructor(server: Server) {
    this.server = server;
    const { dynamicResources } = server.loaded.bootstrap;
    const ads = dynamicResources?.adsConfig as ApiConfigSource | undefined;
    this.hasAds = ads !== undefined;
    const log = server.sink.logger('config');
    this.sources = new Sources({
      ads,
      parser: this.parser,
      scope: server.store,
      node: () => this.parser.encodeNode(nodeOf(server)),
      transport: () => server.upstream(),
      warn: (message) => log.warn(message),
    });
    this.eds = new Eds(this.sources);
    this.rds = new Rds({
      sources: this.sources,
      scope: server.store,
      hasAds: this.hasAds,
      check: (config) => compileTable(config, { httpFilters: [] }, this.trial().context, HTTP_FILTERS, false),
      post: (routes) => {
        this.trialWorker?.routes.update(routes);
        server.pool.post({ type: 'routes', routes });
      },
    });
    server.discovery.endpoints = this.eds;
  }

  /** Resolves when the layers of the runtime are there, or did not come in time. */
  startRuntime(): Promise<void> {
    return followRuntime(this.server.runtime, this.sources, this.server.store);
  }

  /** Resolves when the first clusters are there, or did not come in time. */
  async startClusters(): Promise<void> {
    const source = this.server.loaded.bootstrap.dynamicResources?.cdsConfig as ConfigSource | undefined;
    if (source === undefined) return;
    this.cds = new Cds({
      discovery: this.server.discovery,
      stats: subscriptionStats(this.server.store.scope('cluster_manager.cds.')),
      check: (config) => this.checkCluster(config),
    });
    this.sources.get(source, 'cluster').subscribe('cluster', null, this.cds, timeoutOf(source));
    await this.cds.ready;
  }

  /** Resolves when the routes that static listeners name are there, or did not come in time. */
  async startRoutes(listeners: readonly CheckedListener[]): Promise<void> {
    await this.useRoutes(listeners);
  }

  /** Resolves when the first listeners are there, or did not come in time. Workers have started. */
  async startListeners(): Promise<void> {
    const source = this.server.loaded.bootstrap.dynamicResources?.ldsConfig as ConfigSource | undefined;
    if (source === undefined) return;
    this.lds = new Lds({
      listeners: this.server.listeners,
      rds: this.rds,
      stats: subscriptionStats(this.server.store.scope('listener_manager.lds.')),
      warn: (message) => this.server.sink.logger('config').error(message),
      check: (proto) => this.checkListener(proto),
    });
    this.sources.get(source, 'listener').subscribe('listener', null, this.lds, timeoutOf(source));
    await this.lds.ready;
  }

  /** What listeners of the file name. Rejects with ConfigError. */
  async useRoutes(listeners: readonly CheckedListener[]): Promise<void> {
    const all = listeners.map(({ plan, proto }) => ({ user: `static ${plan.name}`, uses: rdsUses(proto) }));
    for (const { uses } of all) this.rds.check(uses);
    await Promise.all(all.map(({ user, uses }) => this.rds.use(user, uses)));
  }

  /** Listeners of the file that are, and those that were. */
  releaseRoutes(listeners: readonly CheckedListener[], gone: readonly string[]): void {
    for (const { plan, proto } of listeners) this.rds.release(`static ${plan.name}`, rdsUses(proto));
    for (const name of gone) this.rds.release(`static ${name}`, []);
  }

  /** Clusters have come or gone. */
  onClusters(set: readonly PlainCluster[], remove: readonly string[]): void {
    const { trialWorker } = this;
    if (trialWorker === null) return;
    for (const config of set)
      trialWorker.clusters.setCluster({ config, hosts: { cluster: config.name, hosts: [] }, resources: null });
    for (const name of remove) trialWorker.clusters.removeCluster(name);
  }

  /** For admin. */
  dump(): DynamicDump {
    const warming = new Set(this.server.discovery.warmingConfigs().map(({ name }) => name));
    const active = new Set(this.server.discovery.configs().map(({ name }) => name));
    const clusters = (names: ReadonlySet<string>): NamedDump[] =>
      dumpOf(this.cds?.dump, CLUSTER, 'cluster').filter(({ name }) => names.has(name));
    const listenersWarming = [...(this.lds?.warming.keys() ?? [])];
    return {
      clusters: {
        ...(this.cds !== null && { version_info: this.cds.dump.version }),
        ...(this.cds !== null && { dynamic_active_clusters: clusters(active), dynamic_warming_clusters: clusters(warming) }),
      },
      listeners: {
        ...(this.lds !== null && { version_info: this.lds.dump.version, dynamic_listeners: listenersOf(this.lds) }),
      },
      routes: { dynamic_route_configs: dumpOf(this.rds.dump, ROUTES, 'route_config') },
      endpoints: { dynamic_endpoint_configs: dumpOf(this.eds.dump, ASSIGNMENT, 'endpoint_config') },
      unready: [
        ...[...warming].map((name) => ({ name: `Cluster ${name}`, target_names: [`endpoints of ${name}`] })),
        ...listenersWarming.map((name) => ({ name: `init manager Listener ${name}`, target_names: this.lds!.targetsOf(name) })),
      ],
    };
  }

  close(): void {
    this.sources.close();
    this.parser.close();
    this.trialWorker?.stop();
  }

  /** Throws ConfigError. */
  private checkCluster(config: PlainCluster): void {
    completeCluster(config as Parameters<typeof completeCluster>[0], this.server.loaded.bootstrap);
    const trial = this.trial();
    const settings = trial.clusters.check(config);
    if (settings.eds !== null) checkConfigSource(settings.eds.source, 'eds_cluster_config.eds_config', this.hasAds);
  }

  /** Throws ConfigError. */
  private checkListener(given: ListenerProto): CheckedListener {
    const trial = this.trial();
    const proto = { ...given, bindToPort: given.bindToPort };
    const name = trial.tryListener(proto);
    try {
      const [plan] = bindPlans(trial.handler, [proto]);
      checkSocketInterfaces(this.server.loaded.bootstrap, [plan], { names: () => [], get: () => null });
      return { proto, plan };
    } finally {
      trial.handler.removeListener(name);
    }
  }

  /** A worker that serves nothing, on which configuration is tried. */
  private trial(): WorkerRuntime {
    const { server } = this;
    this.trialWorker ??= createTrial(server.loaded.bootstrap, server.options, {
      clusters: server.discovery.configs(),
      runtime: server.runtime,
      shared: { resources: {} },
      secrets: server.secrets.current(),
    });
    return this.trialWorker;
  }
}

function timeoutOf(source: ConfigSource): number {
  return source.initialFetchTimeout ?? DEFAULT_FETCH_TIMEOUT_MS;
}

/** As proto JSON. */
function nodeOf(server: Server): Record<string, unknown> {
  const configured = (server.loaded.json['node'] ?? {}) as Record<string, unknown>;
  const { nodeId, clusterName, zone } = localInfo(server.loaded.bootstrap, server.options);
  return {
    ...configured,
    ...(nodeId !== '' && { id: nodeId }),
    ...(clusterName !== '' && { cluster: clusterName }),
    ...(zone !== '' && { locality: { ...(configured['locality'] as object | undefined), zone } }),
    user_agent_name: 'sluice',
    user_agent_version: VERSION,
  };
}
