/** Clusters from a control plane or file (Envoy: CdsApiHelper): those that can be used are, whatever is wrong with the others. */
import { addSharedState } from '../../config/shared_state.ts';
import type { ResourceUpdate, SubscriptionStats, Watcher } from '../../config/xds/subscription.ts';
import type { PlainCluster } from '../../upstream/cluster_types.ts';
import type { ClusterDiscovery } from '../../upstream/discovery/cluster_discovery.ts';
import { ResourceDump } from './resource_dump.ts';

export interface CdsOptions {
  readonly discovery: ClusterDiscovery;
  readonly stats: SubscriptionStats;
  /** Throws ConfigError. Completes it by defaults. */
  check(config: PlainCluster): void;
}

export class Cds implements Watcher {
  readonly stats: SubscriptionStats;
  readonly dump = new ResourceDump();
  /** The first clusters are there and warm, or there is nothing to wait for. */
  readonly ready: Promise<void>;
  private readonly options: CdsOptions;
  private readonly names = new Set<string>();
  private resolveReady: () => void = () => {};

  constructor(options: CdsOptions) {
    this.options = options;
    this.stats = options.stats;
    this.ready = new Promise((resolve) => {
      this.resolveReady = resolve;
    });
  }

  onFetchTimeout(): void {
    this.resolveReady();
  }

  onResources({ resources, removed, full, version }: ResourceUpdate): string | null {
    const { discovery } = this.options;
    const errors: string[] = [];
    const warming: Promise<void>[] = [];
    const present = new Set(resources.map(({ name }) => name));
    this.dump.version = version;
    for (const resource of resources) {
      const { name, error } = resource;
      const config = resource.plain as unknown as PlainCluster | null;
      // What the bootstrap has stays as it is.
      if (discovery.get(name)?.addedViaApi === false) continue;
      try {
        if (error !== null || config === null) throw new Error(error ?? 'it is empty');
        this.options.check(config);
        addSharedState(config);
      } catch (reason) {
        const details = reason instanceof Error ? reason.message : String(reason);
        errors.push(`${name}: ${details}`);
        this.dump.refused(name, details);
        continue;
      }
      this.names.add(name);
      this.dump.accepted(name, resource, version);
      const warm = discovery.set(config, true);
      if (warm !== null) warming.push(warm);
    }
    const gone = full ? [...this.names].filter((name) => !present.has(name)) : removed;
    for (const name of gone) {
      if (!this.names.delete(name)) continue;
      discovery.remove(name);
      this.dump.removed(name);
    }
    void Promise.all(warming).then(() => this.resolveReady());
    return errors.length === 0 ? null : `Error adding/updating cluster(s) ${errors.join(', ')}`;
  }
}
