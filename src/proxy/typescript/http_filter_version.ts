/** One version of an HTTP filter's class with its configuration, on one worker: what new streams get their filter objects from. */
import type { HttpFilterClass } from './http_filter.ts';
import { HttpFilter as Base } from './http_filter.ts';
import { ModuleHost } from './module_host.ts';
import type { LoadedModule } from './module_loader.ts';
import { parseConfig } from './parse_config.ts';
import { ScriptError, toScriptError } from './script_error.ts';
import type { ScriptHost } from './script_host.ts';
import type { UseVersion } from './script_modules.ts';

export interface HttpFilterSettings {
  readonly name: string;
  readonly path: string;
  /** As the configuration says it, JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly failOpen: boolean;
  /** How long a promise of a phase may take; 0: for ever. */
  readonly deadlineMs: number;
}

/** Fields that a route (virtual host ...) gives of its own. */
export interface RoutePart {
  readonly fields: Readonly<Record<string, unknown>>;
}

type AnyFilterClass = HttpFilterClass<unknown, unknown>;

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

export class HttpFilterVersion implements UseVersion {
  readonly settings: HttpFilterSettings;
  readonly filterClass: AnyFilterClass;
  readonly config: unknown;
  readonly shared: unknown;
  readonly host: ModuleHost<unknown>;
  /** Which phases the class has of its own. */
  readonly has: Readonly<Record<Phase, boolean>>;
  /** Objects have `reset()`: they serve one stream after the other. */
  readonly reusable: boolean;
  private readonly routeConfigs = new WeakMap<readonly RoutePart[], unknown>();
  private streams = 0;
  private retired = false;

  /** Throws ScriptError, SchemaError. */
  constructor(scripts: ScriptHost, settings: HttpFilterSettings, loaded: LoadedModule) {
    this.settings = settings;
    const filterClass = httpFilterClass(loaded, settings.path);
    this.filterClass = filterClass;
    this.config = parseConfig(filterClass.schema, settings.config);
    const own = filterClass.prototype as Record<string, unknown>;
    const base = Base.prototype as unknown as Record<string, unknown>;
    this.has = Object.fromEntries(PHASES.map((phase) => [phase, own[phase] !== base[phase]])) as Record<Phase, boolean>;
    this.reusable = typeof own['reset'] === 'function';
    this.host = new ModuleHost<unknown>(scripts, settings.name, settings.path, this.config);
    this.shared = scripts.validateOnly ? undefined : runSetup(filterClass, this.host, settings.path);
  }

  /** The configuration under a route's own. Throws what the schema throws. */
  configFor(parts: readonly RoutePart[]): unknown {
    let config = this.routeConfigs.get(parts);
    if (config === undefined) {
      config = parseConfig(this.filterClass.schema, mergeParts(this.settings.config, parts));
      this.routeConfigs.set(parts, config);
    }
    return config;
  }

  acquire(): void {
    this.streams++;
  }

  release(): void {
    if (--this.streams === 0 && this.retired) this.host.dispose();
  }

  retire(): void {
    this.retired = true;
    if (this.streams === 0) this.host.dispose();
  }
}

/** Fields of a more specific level replace those of the ones below; `parts` has the most specific first. */
export function mergeParts(base: Readonly<Record<string, unknown>>, parts: readonly RoutePart[]): Record<string, unknown> {
  const merged = { ...base };
  for (let i = parts.length - 1; i >= 0; i--) Object.assign(merged, parts[i].fields);
  return merged;
}

/** The module's class. Throws ScriptError. */
export function httpFilterClass(loaded: LoadedModule, path: string): AnyFilterClass {
  const given = loaded.exports['default'];
  if (typeof given === 'function' && given.prototype instanceof Base) return given as unknown as AnyFilterClass;
  throw new ScriptError(`its default export is not a class that extends HttpFilter of 'sluice/filter'`, path);
}

function runSetup(filterClass: AnyFilterClass, host: ModuleHost<unknown>, path: string): unknown {
  if (filterClass.setup === undefined) return undefined;
  let shared: unknown;
  try {
    shared = filterClass.setup(host);
  } catch (error) {
    host.dispose();
    throw toScriptError(error, path);
  }
  if (!(shared instanceof Promise)) return shared;
  shared.catch(() => {});
  host.dispose();
  throw new ScriptError('setup() must not be async: begin async work in it and return', path);
}
