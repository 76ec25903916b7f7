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
import { IsolatedScriptFilter } from './isolated/isolated_filter.ts';
import { createIsolatedFilter, type IsolationMessage } from './isolated/isolated_scripts.ts';

interface HttpModuleMessage extends ModuleMessage {
  isolated?: IsolationMessage;
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'sluice.extensions.filters.http.typescript.v1.TypeScript',
  name: 'sluice.filters.http.typescript',
  routeTypeName: 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const message = config as HttpModuleMessage;
    const scripts = scriptsOf(context);
    const settings = {
      ...moduleSettings(message, scripts.pathOf(message.module)),
      failOpen: message.failurePolicy === 'FAIL_OPEN',
      deadlineMs: deadlineOf(message),
    };
    if (message.isolated !== undefined) {
      const handle = createIsolatedFilter(settings, message.isolated, scripts, context);
      return (callbacks) => callbacks.addStreamFilter(new IsolatedScriptFilter(handle, context));
    }
    const module = scripts.module(message.module);
    const use = useModule(module, (loaded) => new HttpFilterVersion(scripts, settings, loaded));
    context.onDestroy(() => use.end());
    return (callbacks) => callbacks.addStreamFilter(new HttpFilterAdapter(use, scripts));
  },
  createRouteSpecificConfig(config: TypedConfig, context, filterConfig): RoutePart {
    const fields = (config as ModuleMessage).config ?? {};
    // Of an isolated filter no code runs here: its thread sees with the first stream whether it likes them.
    if (filterConfig !== undefined && (filterConfig as HttpModuleMessage).isolated === undefined)
      checkPart(fields, scriptsOf(context), filterConfig as ModuleMessage);
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
