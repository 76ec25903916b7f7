/** One version of an HTTP filter's class with its configuration, on one worker: what new streams get their filter objects from. */
import { ClassVersion, type ExtensionClass, type ModuleSettings } from './class_version.ts';
import { HttpFilter, type HttpFilterClass } from './http_filter.ts';
import type { LoadedModule } from './module_loader.ts';
import { parseConfig } from './parse_config.ts';
import type { ScriptHost } from './script_host.ts';

export interface HttpFilterSettings extends ModuleSettings {
  readonly failOpen: boolean;
  /** How long a promise of a phase may take; 0: for ever. */
  readonly deadlineMs: number;
}

/** Fields that a route (virtual host ...) gives of its own. */
export interface RoutePart {
  readonly fields: Readonly<Record<string, unknown>>;
}

const PHASES = [
  'onRequestHeaders',
  'onRequestData',
  'onRequestTrailers',
  'onResponseHeaders',
  'onResponseData',
  'onResponseTrailers',
  'onLog',
  'onDestroy',
] as const;
type Phase = (typeof PHASES)[number];

export class HttpFilterVersion extends ClassVersion<HttpFilterClass<unknown, unknown> & ExtensionClass> {
  readonly settings: HttpFilterSettings;
  /** Which phases the class has of its own. */
  readonly has: Readonly<Record<Phase, boolean>>;
  /** Objects have `reset()`: they serve one stream after the other. */
  readonly reusable: boolean;
  private readonly routeConfigs = new WeakMap<readonly RoutePart[], unknown>();

  /** Throws ScriptError, SchemaError. */
  constructor(scripts: ScriptHost, settings: HttpFilterSettings, loaded: LoadedModule) {
    super(scripts, settings, loaded, HttpFilter);
    this.settings = settings;
    const own = this.extensionClass.prototype as unknown as Record<string, unknown>;
    const base = HttpFilter.prototype as unknown as Record<string, unknown>;
    this.has = Object.fromEntries(PHASES.map((phase) => [phase, own[phase] !== base[phase]])) as Record<Phase, boolean>;
    this.reusable = typeof own['reset'] === 'function';
  }

  /** The configuration under a route's own. Throws what the schema throws. */
  configFor(parts: readonly RoutePart[]): unknown {
    let config = this.routeConfigs.get(parts);
    if (config === undefined) {
      config = parseConfig(this.extensionClass.schema, mergeParts(this.settings.config, parts));
      this.routeConfigs.set(parts, config);
    }
    return config;
  }
}

/** Fields of a more specific level replace those of the ones below; `parts` has the most specific first. */
export function mergeParts(base: Readonly<Record<string, unknown>>, parts: readonly RoutePart[]): Record<string, unknown> {
  const merged = { ...base };
  for (let i = parts.length - 1; i >= 0; i--) Object.assign(merged, parts[i].fields);
  return merged;
}
