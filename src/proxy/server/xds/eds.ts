/** Endpoints of clusters of type EDS (Envoy: EdsClusterImpl). An assignment that is gone stays in use, as its cluster is what removes it. */
import type { ConfigSource } from '../../config/xds/config_source.ts';
import { DEFAULT_FETCH_TIMEOUT_MS } from '../../config/xds/config_source.ts';
import type { ResourceUpdate, Watcher } from '../../config/xds/subscription.ts';
import type { PlainLoadAssignment } from '../../upstream/cluster_types.ts';
import type { DiscoveredCluster, EndpointSource } from '../../upstream/discovery/discovered_cluster.ts';
import { ResourceDump } from './resource_dump.ts';
import type { Sources } from './sources.ts';

export class Eds implements EndpointSource {
  readonly dump = new ResourceDump();
  private readonly sources: Sources;

  constructor(sources: Sources) {
    this.sources = sources;
  }

  subscribe(cluster: DiscoveredCluster): { close(): void } {
    const { source, serviceName } = cluster.settings.eds as { source: ConfigSource; serviceName: string };
    const watcher: Watcher = {
      stats: cluster.subscriptionStats(),
      onFetchTimeout: () => cluster.noAssignment(),
      onResources: (update) => this.take(cluster, serviceName, update),
    };
    const timeoutMs = source.initialFetchTimeout ?? DEFAULT_FETCH_TIMEOUT_MS;
    const subscription = this.sources.get(source, 'endpoint').subscribe('endpoint', serviceName, watcher, timeoutMs);
    return {
      close: () => {
        subscription.close();
        this.dump.removed(serviceName);
      },
    };
  }

  private take(cluster: DiscoveredCluster, name: string, { resources, version }: ResourceUpdate): string | null {
    const [resource] = resources;
    if (resource === undefined) {
      cluster.stats.updateEmpty.inc();
      cluster.noAssignment();
      return null;
    }
    try {
      if (resource.error !== null) throw new Error(resource.error);
      cluster.setAssignment(resource.plain as unknown as PlainLoadAssignment);
    } catch (error) {
      const details = error instanceof Error ? error.message : String(error);
      this.dump.refused(name, details);
      return details;
    }
    this.dump.accepted(name, resource, version);
    return null;
  }
}
