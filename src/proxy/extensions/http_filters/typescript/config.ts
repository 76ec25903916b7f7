/**
 * `sluice.filters.http.typescript`: a filter that is a class in a TypeScript (or JavaScript) file beside the configuration. Sluice's own,
 * not Envoy's; the guide is docs/filters.md.
 */
import { basename, extname } from 'node:path';
import { ConfigError } from '../../../config/error.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { HttpFilterAdapter } from '../../../typescript/http_adapter.ts';
import {
  type HttpFilterSettings,
  HttpFilterVersion,
  httpFilterClass,
  mergeParts,
  type RoutePart,
} from '../../../typescript/http_filter_version.ts';
import { parseConfig, toConfigError } from '../../../typescript/parse_config.ts';
import type { ScriptHost } from '../../../typescript/script_host.ts';
import { ScriptUse } from '../../../typescript/script_modules.ts';

interface Message {
  module?: string;
  name?: string;
  config?: Record<string, unknown>;
  failurePolicy?: 'FAIL_CLOSED' | 'FAIL_OPEN';
  /** ms */
  deadline?: number;
}

const DEFAULT_DEADLINE_MS = 15_000;

export const factory: HttpFilterConfigFactory = {
  typeName: 'sluice.extensions.filters.http.typescript.v1.TypeScript',
  name: 'sluice.filters.http.typescript',
  routeTypeName: 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const message = config as Message;
    const scripts = scriptsOf(context);
    const module = scripts.module(message.module);
    const settings = settingsOf(message, module.path);
    let use: ScriptUse<HttpFilterVersion>;
    try {
      use = new ScriptUse(module, (loaded) => new HttpFilterVersion(scripts, settings, loaded));
    } catch (error) {
      throw toConfigError(error);
    }
    context.onDestroy(() => use.end());
    return (callbacks) => callbacks.addStreamFilter(new HttpFilterAdapter(use, scripts));
  },
  createRouteSpecificConfig(config: TypedConfig, context, filterConfig): RoutePart {
    const fields = (config as Message).config ?? {};
    if (filterConfig !== undefined) checkPart(fields, scriptsOf(context), filterConfig as Message);
    return { fields };
  },
};

/** Throws ConfigError when the filter's class would not take its configuration with these fields over it. */
function checkPart(fields: Record<string, unknown>, scripts: ScriptHost, filter: Message): void {
  const module = scripts.module(filter.module);
  try {
    parseConfig(httpFilterClass(module.loaded, module.path).schema, mergeParts(filter.config ?? {}, [{ fields }]));
  } catch (error) {
    throw toConfigError(error);
  }
}

function settingsOf(message: Message, path: string): HttpFilterSettings {
  const deadlineMs = message.deadline ?? DEFAULT_DEADLINE_MS;
  if (deadlineMs < 0) throw new ConfigError('must not be negative', { path: 'deadline' });
  return {
    name: message.name === undefined || message.name === '' ? basename(path, extname(path)) : message.name,
    path,
    config: message.config ?? {},
    failOpen: message.failurePolicy === 'FAIL_OPEN',
    deadlineMs,
  };
}

function scriptsOf(context: FactoryContext): ScriptHost {
  if (context.scripts === undefined) throw new ConfigError('modules cannot be loaded here', { path: 'module' });
  return context.scripts;
}
