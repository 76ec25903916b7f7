/**
 * Route configurations that listeners name (Envoy: RdsRouteConfigProviderImpl): got once for all listeners that name the same, checked, and given to
 * workers. A listener waits for its routes before it takes connections.
 */
import type { Scope } from '../../../core/stats/stats.ts';
import { ConfigError } from '../../config/error.ts';
import { addSharedState } from '../../config/shared_state.ts';
import { checkConfigSource, DEFAULT_FETCH_TIMEOUT_MS } from '../../config/xds/config_source.ts';
import { type ResourceUpdate, type Subscription, subscriptionStats, type Watcher } from '../../config/xds/subscription.ts';
import type { RouteConfigurationConfig } from '../../http/route/config_types.ts';
import { type NamedRoutes, type RdsConfig, routeKey } from '../../http/route/route_store.ts';
import { ResourceDump } from './resource_dump.ts';
import type { Sources } from './sources.ts';

export interface RdsOptions {
  readonly sources: Sources;
  readonly scope: Scope;
  readonly hasAds: boolean;
  /** Throws ConfigError. */
  check(config: RouteConfigurationConfig): void;
  post(routes: readonly NamedRoutes[]): void;
}

/** An `rds` that a listener has, and the prefix of its connection manager's stats. */
export interface RdsUse {
  readonly rds: RdsConfig;
  readonly statPrefix: string;
}

interface Provider {
  readonly users: Set<string>;
  readonly ready: Promise<void>;
  readonly subscription: Subscription;
  config: RouteConfigurationConfig | null;
}

export class Rds {
  readonly dump = new ResourceDump();
  private readonly options: RdsOptions;
  private readonly providers = new Map<string, Provider>();

  constructor(options: RdsOptions) {
    this.options = options;
  }

  /** Throws ConfigError when one cannot be followed. */
  check(uses: readonly RdsUse[]): void {
    for (const { rds } of uses) {
      checkConfigSource(rds.configSource, 'rds.config_source', this.options.hasAds);
      if (rds.routeConfigName === '') throw new ConfigError('route_config_name is necessary', { path: 'rds.route_config_name' });
    }
  }

  /** `user` has these from now on, besides those it had: `release` what it has no more. Resolves when all are there, or did not come in time. */
  async use(user: string, uses: readonly RdsUse[]): Promise<void> {
    await Promise.all(uses.map((use) => this.provider(user, use).ready));
  }

  /** `user` has only these any more. */
  release(user: string, kept: readonly RdsUse[]): void {
    const keys = new Set(kept.map(({ rds }) => routeKey(rds)));
    for (const [key, provider] of this.providers) {
      if (keys.has(key) || !provider.users.delete(user) || provider.users.size > 0) continue;
      provider.subscription.close();
      this.providers.delete(key);
      this.dump.removed(key);
    }
  }

  /** For workers that start. */
  current(): NamedRoutes[] {
    return [...this.providers].flatMap(([key, { config }]) => (config === null ? [] : [{ key, config }]));
  }

  private provider(user: string, { rds, statPrefix }: RdsUse): Provider {
    const key = routeKey(rds);
    const known = this.providers.get(key);
    if (known !== undefined) {
      known.users.add(user);
      return known;
    }
    let resolve = (): void => {};
    const ready = new Promise<void>((done) => {
      resolve = done;
    });
    const name = rds.routeConfigName.replaceAll(':', '_');
    const watcher: Watcher = {
      stats: subscriptionStats(this.options.scope.scope(`http.${statPrefix}.rds.${name}.`)),
      onFetchTimeout: resolve,
      onResources: (update) => {
        const error = this.take(key, update);
        if (error === null) resolve();
        return error;
      },
    };
    const source = rds.configSource!;
    const timeoutMs = source.initialFetchTimeout ?? DEFAULT_FETCH_TIMEOUT_MS;
    const subscription = this.options.sources.get(source, 'route').subscribe('route', rds.routeConfigName, watcher, timeoutMs);
    const provider: Provider = { users: new Set([user]), ready, subscription, config: null };
    this.providers.set(key, provider);
    return provider;
  }

  private take(key: string, { resources, version }: ResourceUpdate): string | null {
    const [resource] = resources;
    const provider = this.providers.get(key);
    // What is gone stays in use until no listener names it.
    if (resource === undefined || provider === undefined) return null;
    const config = resource.plain as unknown as RouteConfigurationConfig;
    try {
      if (resource.error !== null) throw new Error(resource.error);
      this.options.check(config);
    } catch (error) {
      const details = error instanceof Error ? error.message : String(error);
      this.dump.refused(key, details);
      return details;
    }
    addSharedState(config);
    provider.config = config;
    this.dump.accepted(key, resource, version);
    this.options.post([{ key, config }]);
    return null;
  }
}

/** Every `rds` in a listener. */
export function rdsUses(listener: unknown): RdsUse[] {
  const uses: RdsUse[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
    const { rds, statPrefix } = value as { rds?: RdsConfig; statPrefix?: string };
    if (rds?.routeConfigName !== undefined) uses.push({ rds, statPrefix: (statPrefix ?? '').replaceAll(':', '_') });
    for (const child of Object.values(value)) visit(child);
  };
  visit(listener);
  return uses;
}
