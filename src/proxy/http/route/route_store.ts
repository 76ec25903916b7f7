/**
 * Route configurations that connection managers name instead of containing (Envoy: RouteConfigProviderManager, RDS): on each worker, what the main
 * thread got. A name that has a new one tells those who use it.
 */
import type { ConfigSource } from '../../config/xds/config_source.ts';
import { sourceKey } from '../../config/xds/config_source.ts';
import type { RouteConfigurationConfig } from './config_types.ts';

/** `Rds` of a connection manager. */
export interface RdsConfig {
  readonly configSource?: ConfigSource;
  readonly routeConfigName: string;
}

export interface NamedRoutes {
  readonly key: string;
  readonly config: RouteConfigurationConfig;
}

export class RouteStore {
  private readonly routes = new Map<string, RouteConfigurationConfig>();
  private readonly users = new Map<string, Set<(config: RouteConfigurationConfig) => void>>();

  constructor(routes: readonly NamedRoutes[] = []) {
    for (const { key, config } of routes) this.routes.set(key, config);
  }

  get(key: string): RouteConfigurationConfig | undefined {
    return this.routes.get(key);
  }

  update(routes: readonly NamedRoutes[]): void {
    for (const { key, config } of routes) {
      this.routes.set(key, config);
      for (const user of [...(this.users.get(key) ?? [])]) user(config);
    }
  }

  /** Calls `user` with each new one until the returned function is called. */
  subscribe(key: string, user: (config: RouteConfigurationConfig) => void): () => void {
    const users = this.users.get(key) ?? new Set();
    this.users.set(key, users.add(user));
    return () => {
      users.delete(user);
      if (users.size > 0 || this.users.get(key) !== users) return;
      this.users.delete(key);
      // Whoever wants it again waits until main has it again.
      this.routes.delete(key);
    };
  }
}

export function routeKey(rds: RdsConfig): string {
  return `${sourceKey(rds.configSource ?? {})}\n${rds.routeConfigName}`;
}
