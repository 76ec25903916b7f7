/**
 * `sluice.filters.http.typescript`: a filter that is a class in a TypeScript (or JavaScript) file beside the configuration. Sluice's own,
 * not Envoy's; the guide is docs/filters.md.
 */
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { defaultClass } from '../../../typescript/class_version.ts';
import { deadlineOf, type ModuleMessage, moduleSettings, scriptsOf, useModule } from '../../../typescript/configured.ts';
import { HttpFilterAdapter } from '../../../typescript/http_adapter.ts';
import { HttpFilter } from '../../../typescript/http_filter.ts';
import { HttpFilterVersion, mergeParts, type RoutePart } from '../../../typescript/http_filter_version.ts';
import { parseConfig, toConfigError } from '../../../typescript/parse_config.ts';
import type { ScriptHost } from '../../../typescript/script_host.ts';

export const factory: HttpFilterConfigFactory = {
  typeName: 'sluice.extensions.filters.http.typescript.v1.TypeScript',
  name: 'sluice.filters.http.typescript',
  routeTypeName: 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const message = config as ModuleMessage;
    const scripts = scriptsOf(context);
    const module = scripts.module(message.module);
    const settings = {
      ...moduleSettings(message, module.path),
      failOpen: message.failurePolicy === 'FAIL_OPEN',
      deadlineMs: deadlineOf(message),
    };
    const use = useModule(module, (loaded) => new HttpFilterVersion(scripts, settings, loaded));
    context.onDestroy(() => use.end());
    return (callbacks) => callbacks.addStreamFilter(new HttpFilterAdapter(use, scripts));
  },
  createRouteSpecificConfig(config: TypedConfig, context, filterConfig): RoutePart {
    const fields = (config as ModuleMessage).config ?? {};
    if (filterConfig !== undefined) checkPart(fields, scriptsOf(context), filterConfig as ModuleMessage);
    return { fields };
  },
};

/** Throws ConfigError when the filter's class would not take its configuration with these fields over it. */
function checkPart(fields: Record<string, unknown>, scripts: ScriptHost, filter: ModuleMessage): void {
  const module = scripts.module(filter.module);
  try {
    const filterClass = defaultClass(module.loaded, module.path, HttpFilter);
    parseConfig(filterClass.schema, mergeParts(filter.config ?? {}, [{ fields }]));
  } catch (error) {
    throw toConfigError(error);
  }
}
