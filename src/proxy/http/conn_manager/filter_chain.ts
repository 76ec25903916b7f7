/**
 * The configured HTTP filters and how a stream gets them: the default chain, chains per upgrade type, filters that a route turns on or
 * off (Envoy: FilterChainFactory of the connection manager, `upgrade_configs`, `disabled`, FilterConfig in typed_per_filter_config).
 */
import type { HttpFilterFactory } from '../filter.ts';
import type { Route } from '../route/route.ts';
import type { FilterManager } from './filter_manager.ts';

export interface ConfiguredFilter {
  readonly name: string;
  readonly factory: HttpFilterFactory;
  /** Off unless the route turns it on. */
  readonly disabled: boolean;
}

export interface UpgradeChain {
  readonly enabled: boolean;
  /** Null: the default chain's filters. */
  readonly filters: readonly ConfiguredFilter[] | null;
}

export class FilterChain {
  private readonly filters: readonly ConfiguredFilter[];
  /** By lower-case upgrade type. */
  private readonly upgrades: ReadonlyMap<string, UpgradeChain>;
  /** False for a chain of only the terminal filter: routes cannot change it. */
  private readonly mayVary: boolean;

  constructor(filters: readonly ConfiguredFilter[], upgrades: ReadonlyMap<string, UpgradeChain> = new Map()) {
    this.filters = filters;
    this.upgrades = upgrades;
    this.mayVary = filters.length > 1;
  }

  get names(): string[] {
    return this.filters.map((filter) => filter.name);
  }

  /** Fills the manager's chain. True when it is the one every plain request gets, so that it may be used again. */
  create(manager: FilterManager, route: Route | null): boolean {
    return this.fill(manager, this.filters, route);
  }

  /** True when a kept default chain is right for this route. */
  defaultFits(route: Route | null): boolean {
    if (!this.mayVary || route === null) return true;
    for (const filter of this.filters) {
      const disabled = route.filterDisabled(filter.name);
      if (disabled !== undefined && disabled !== filter.disabled) return false;
    }
    return true;
  }

  /** The chain for an upgrade; false when it is not allowed. `type` is lower case. */
  createUpgrade(manager: FilterManager, type: string, route: Route | null): boolean {
    const routeAllows = route?.routeEntry?.upgrades.get(type);
    if (routeAllows === false) return false;
    const configured = this.upgrades.get(type);
    if ((configured === undefined || !configured.enabled) && routeAllows !== true) return false;
    this.fill(manager, configured?.filters ?? this.filters, route);
    return true;
  }

  private fill(manager: FilterManager, filters: readonly ConfiguredFilter[], route: Route | null): boolean {
    let isDefault = true;
    for (const filter of filters) {
      const override = route?.filterDisabled(filter.name);
      if (override !== undefined && override !== filter.disabled) isDefault = false;
      if (override ?? filter.disabled) continue;
      manager.currentFilterName = filter.name;
      filter.factory(manager);
    }
    manager.chainCreated = true;
    return isDefault;
  }
}
