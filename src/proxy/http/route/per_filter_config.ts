/**
 * typed_per_filter_config of one level: per filter name what its factory made of the message, and whether the filter is disabled.
 * `envoy.config.route.v3.FilterConfig` may wrap a message to disable the filter or to make it optional. A filter that is configured
 * explicitly counts as enabled.
 */
import { ConfigError } from '../../config/error.ts';
import type { TypedConfig } from '../../server/factory_context.ts';
import type { AnyConfig, PerFilterConfigs } from './config_types.ts';

const FILTER_CONFIG = 'envoy.config.route.v3.FilterConfig';

/**
 * Turns a message into what `perFilterConfigs` returns. Undefined: no filter has this message; null: the filter has no
 * per-route configuration. `filterName`: the configured filter that it is for. Throws ConfigError when that is of another type.
 */
export type CreatePerRouteConfig = (typeName: string, config: TypedConfig, filterName: string) => unknown;

export interface PerFilterConfig {
  /** Undefined when only `disabled` is said. */
  readonly config: unknown;
  readonly disabled: boolean;
}

export type PerFilterLevel = ReadonlyMap<string, PerFilterConfig>;

const NONE: PerFilterLevel = new Map();

/** Throws ConfigError. */
export function compilePerFilterConfigs(
  configs: PerFilterConfigs | undefined,
  path: string,
  create: CreatePerRouteConfig,
): PerFilterLevel {
  const names = Object.keys(configs ?? {});
  if (configs === undefined || names.length === 0) return NONE;
  return new Map(
    names.map((name) => [name, compileOne(name, configs[name], `${path}.typed_per_filter_config[${name}]`, create)]),
  );
}

/** The levels of a route, most specific first, looked up once per filter name. */
export class PerFilterLookup {
  private readonly configs = new Map<string, readonly unknown[]>();
  private readonly disabled = new Map<string, boolean>();

  constructor(levels: readonly PerFilterLevel[]) {
    for (const name of new Set(levels.flatMap((level) => [...level.keys()]))) {
      const entries = levels.flatMap((level) => level.get(name) ?? []);
      this.configs.set(
        name,
        entries.map((entry) => entry.config).filter((config) => config !== undefined),
      );
      this.disabled.set(name, entries[0].disabled);
    }
  }

  get(name: string): readonly unknown[] {
    return this.configs.get(name) ?? EMPTY;
  }

  isDisabled(name: string): boolean | undefined {
    return this.disabled.get(name);
  }
}

const EMPTY: readonly unknown[] = [];

function compileOne(name: string, given: AnyConfig, path: string, create: CreatePerRouteConfig): PerFilterConfig {
  const message = given as TypedConfig;
  if (message['@type'] !== FILTER_CONFIG) return { config: createConfig(name, message, false, path, create), disabled: false };
  if (message.disabled === true) return { config: undefined, disabled: true };
  const config = message.config as TypedConfig | undefined;
  if (config === undefined) {
    throw new ConfigError(`Empty route/virtual host per filter configuration for ${name} filter`, { path });
  }
  if ((config['@type'] ?? '') === '') return { config: undefined, disabled: false };
  return { config: createConfig(name, config, message.isOptional === true, path, create), disabled: false };
}

function createConfig(name: string, config: TypedConfig, optional: boolean, path: string, create: CreatePerRouteConfig): unknown {
  const type = config['@type'];
  let created: unknown;
  try {
    created = create(type, config, name);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
  }
  if (created !== undefined && created !== null) return created;
  if (optional) return undefined;
  const reason =
    created === undefined
      ? `Didn't find a registered implementation for '${name}' with type URL: '${type}'`
      : `The filter ${name} doesn't support virtual host or route specific configurations`;
  throw new ConfigError(reason, { path });
}
