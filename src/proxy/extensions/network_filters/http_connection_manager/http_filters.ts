/** `http_filters`: which filters a stream gets, and the rules about the last one (Envoy: FilterChainHelper, validateTerminalFilters). */
import { ConfigError } from '../../../config/error.ts';
import type { HttpFilter } from '../../../config/types.gen.ts';
import type { ConfiguredFilter } from '../../../http/conn_manager/filter_chain.ts';
import type { CreatePerRouteConfig } from '../../../http/route/per_filter_config.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

type Factories = ReadonlyMap<string, HttpFilterConfigFactory>;

/** `statPrefix`: `http.<stat_prefix>.`. Throws ConfigError. */
export function compileHttpFilters(
  filters: readonly HttpFilter[],
  statPrefix: string,
  context: FactoryContext,
  factories: Factories,
): ConfiguredFilter[] {
  const result: ConfiguredFilter[] = [];
  let terminalName: string | null = null;
  filters.forEach((filter, i) => {
    const path = `http_filters[${i}]`;
    const found = find(filter, factories, path);
    if (found === null) return;
    const { factory, config } = found;
    const isTerminal = factory.isTerminal(config);
    if (terminalName !== null) throw notLast(terminalName, path);
    if (isTerminal) {
      if (filter.disabled === true) {
        throw new ConfigError('Error: the terminal filter of http filter chain cannot be disabled by default.', { path });
      }
      terminalName = `${filter.name}|${factory.name}`;
    }
    result.push({
      name: filter.name,
      factory: build(factory, config, statPrefix, context, path),
      disabled: filter.disabled ?? false,
    });
  });
  if (terminalName === null) throw noTerminal(filters, factories);
  return result;
}

function build(
  factory: HttpFilterConfigFactory,
  config: TypedConfig,
  statPrefix: string,
  context: FactoryContext,
  path: string,
): ConfiguredFilter['factory'] {
  try {
    return factory.create(config, statPrefix, context);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: `${path}.typed_config${error.path === '' ? '' : `.${error.path}`}` });
  }
}

/** Null: unknown, and optional. */
function find(
  filter: HttpFilter,
  factories: Factories,
  path: string,
): { factory: HttpFilterConfigFactory; config: TypedConfig } | null {
  const typed = filter.typedConfig as TypedConfig | undefined;
  const factory = typed === undefined ? byName(filter.name, factories) : factories.get(typed['@type']);
  if (factory !== undefined) return { factory, config: typed ?? { '@type': factory.typeName } };
  if (filter.isOptional === true) return null;
  throw new ConfigError(
    `Didn't find a registered implementation for '${filter.name}' with type URL: '${typed?.['@type'] ?? ''}'`,
    { path },
  );
}

function byName(name: string, factories: Factories): HttpFilterConfigFactory | undefined {
  for (const factory of factories.values()) if (factory.name === name) return factory;
  return undefined;
}

function notLast(terminal: string, path: string): ConfigError {
  const [name, type] = terminal.split('|');
  return new ConfigError(`Error: terminal filter named ${name} of type ${type} must be the last filter in a http filter chain.`, {
    path,
  });
}

function noTerminal(filters: readonly HttpFilter[], factories: Factories): ConfigError {
  const last = filters[filters.length - 1];
  if (last === undefined)
    return new ConfigError('Error: http filter chain must have a terminal filter.', { path: 'http_filters' });
  const typed = last.typedConfig as TypedConfig | undefined;
  const type = typed === undefined ? last.name : (factories.get(typed['@type'])?.name ?? typed['@type']);
  return new ConfigError(
    `Error: non-terminal filter named ${last.name} of type ${type} is the last filter in a http filter chain.`,
    {
      path: `http_filters[${filters.length - 1}]`,
    },
  );
}

/** For routes: what `typed_per_filter_config` of one of these filters becomes. */
export function routeConfigCreator(
  filters: readonly HttpFilter[],
  context: FactoryContext,
  factories: Factories,
): CreatePerRouteConfig {
  const configOf = new Map(filters.map((filter) => [filter.name, filter.typedConfig as TypedConfig | undefined]));
  const byRouteType = new Map<string, HttpFilterConfigFactory>();
  for (const factory of factories.values()) byRouteType.set(factory.routeTypeName ?? factory.typeName, factory);
  return (typeName, config, filterName) => {
    const factory = byRouteType.get(typeName);
    const filterConfig = configOf.get(filterName);
    const own = filterConfig?.['@type'];
    if (factory !== undefined && own !== undefined && own !== factory.typeName) {
      throw new ConfigError(`'${typeName}' is not for the filter '${filterName}', which is a '${own}'`);
    }
    if (factory === undefined) return factories.has(typeName) ? null : undefined;
    return factory.createRouteSpecificConfig === undefined
      ? null
      : factory.createRouteSpecificConfig(config, context, filterConfig);
  };
}
