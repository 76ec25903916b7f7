/**
 * Listeners from a control plane or file (Envoy: LdsApiImpl): those that can be used are, whatever is wrong with the others. A listener is warm, and
 * takes connections, when its routes are there; a newer one of its name overtakes it.
 */
import type { Gauge } from '../../../core/stats/stats.ts';
import { addSharedState } from '../../config/shared_state.ts';
import type { ParsedResource } from '../../config/xds/response.ts';
import type { ResourceUpdate, SubscriptionStats, Watcher } from '../../config/xds/subscription.ts';
import type { ListenerProto } from '../../network/listener_config.ts';
import type { CheckedListener, ListenerManager } from '../listener_manager.ts';
import type { Rds, RdsUse } from './rds.ts';
import { rdsUses } from './rds.ts';
import { ResourceDump } from './resource_dump.ts';

export interface LdsOptions {
  readonly listeners: ListenerManager;
  readonly rds: Rds;
  readonly stats: SubscriptionStats;
  readonly warn: (message: string) => void;
  /** Throws ConfigError. */
  check(proto: ListenerProto): CheckedListener;
}

interface Warming {
  readonly uses: readonly RdsUse[];
  readonly json: Record<string, unknown>;
}

export class Lds implements Watcher {
  readonly stats: SubscriptionStats;
  readonly dump = new ResourceDump();
  /** By name: what is waited for. */
  readonly warming = new Map<string, Warming>();
  /** The first listeners are there, or there is nothing to wait for. */
  readonly ready: Promise<void>;
  private readonly options: LdsOptions;
  private readonly names = new Set<string>();
  private readonly warmingGauge: Gauge;
  private resolveReady: () => void = () => {};

  constructor(options: LdsOptions) {
    this.options = options;
    this.stats = options.stats;
    this.warmingGauge = options.listeners.stats.total_listeners_warming;
    this.ready = new Promise((resolve) => {
      this.resolveReady = resolve;
    });
  }

  /** Names of route configurations that a listener waits for. */
  targetsOf(name: string): string[] {
    return (this.warming.get(name)?.uses ?? []).map(({ rds }) => `RdsRouteConfigSubscription ${rds.routeConfigName}`);
  }

  onFetchTimeout(): void {
    this.resolveReady();
  }

  onResources({ resources, removed, full, version }: ResourceUpdate): string | null {
    const errors: string[] = [];
    const applying: Promise<void>[] = [];
    const present = new Set(resources.map(({ name }) => name));
    this.dump.version = version;
    const gone = full ? [...this.names].filter((name) => !present.has(name)) : removed.filter((name) => this.names.has(name));
    for (const resource of resources) {
      const { name } = resource;
      // What the bootstrap has stays as it is.
      if (this.options.listeners.get(name)?.addedViaApi === false) continue;
      try {
        applying.push(this.set(resource, version, gone));
      } catch (reason) {
        const details = reason instanceof Error ? reason.message : String(reason);
        errors.push(`${name}: ${details}`);
        this.dump.refused(name, details);
      }
    }
    for (const name of gone) applying.push(this.remove(name));
    void Promise.all(applying).then(() => this.resolveReady());
    return errors.length === 0 ? null : `Error adding/updating listener(s) ${errors.join(', ')}`;
  }

  /** Throws ConfigError at once when it cannot be. */
  private set(resource: ParsedResource, version: string, gone: readonly string[]): Promise<void> {
    const { name, error } = resource;
    const proto = resource.plain as unknown as ListenerProto | null;
    if (error !== null || proto === null) throw new Error(error ?? 'it is empty');
    const checked = this.options.check(proto);
    addSharedState(proto);
    const uses = rdsUses(proto);
    this.options.rds.check(uses);
    this.names.add(name);
    if (!this.warming.has(name) && !this.options.listeners.isChange(checked, true)) return Promise.resolve();
    const warming = { uses, json: resource.json ?? {} };
    this.warming.set(name, warming);
    this.warmingGauge.set(this.warming.size);
    return this.warm(checked, resource, version, warming, gone);
  }

  private async warm(
    checked: CheckedListener,
    resource: ParsedResource,
    version: string,
    warming: Warming,
    gone: readonly string[],
  ): Promise<void> {
    const { name } = resource;
    const { rds, listeners } = this.options;
    await rds.use(name, warming.uses);
    if (this.warming.get(name) !== warming) return;
    this.warming.delete(name);
    this.warmingGauge.set(this.warming.size);
    try {
      await listeners.set([checked], true, gone);
      this.dump.accepted(name, resource, version);
    } catch (error) {
      const details = error instanceof Error ? error.message : String(error);
      listeners.stats.listener_create_failure.inc();
      this.dump.refused(name, details);
      this.options.warn(`error adding listener '${name}': ${details}`);
    }
    if (!this.warming.has(name)) rds.release(name, warming.uses);
  }

  private async remove(name: string): Promise<void> {
    this.names.delete(name);
    this.warming.delete(name);
    this.warmingGauge.set(this.warming.size);
    this.dump.removed(name);
    await this.options.listeners.remove(name);
    this.options.rds.release(name, []);
  }
}
