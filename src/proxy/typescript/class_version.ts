/** One version of a module's class with its configuration and host: what all kinds of extensions have in common. */
import type { Host } from './host_api.ts';
import type { ModuleHost } from './module_host.ts';
import type { LoadedModule } from './module_loader.ts';
import { parseConfig } from './parse_config.ts';
import type { ConfigSchema } from './schema.ts';
import { ScriptError, toScriptError } from './script_error.ts';
import type { ScriptHost } from './script_host.ts';
import type { UseVersion } from './script_modules.ts';

export interface ModuleSettings {
  readonly name: string;
  readonly path: string;
  /** As the configuration says it, JSON. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** The static side that classes of extensions share. */
export interface ExtensionClass {
  readonly name: string;
  readonly prototype: object;
  readonly schema?: ConfigSchema<unknown>;
  setup?(host: Host<unknown>): unknown;
}

export class ClassVersion<C extends ExtensionClass> implements UseVersion {
  readonly extensionClass: C;
  readonly config: unknown;
  readonly shared: unknown;
  readonly host: ModuleHost<unknown>;
  private users = 0;
  private retired = false;

  /** Throws ScriptError, SchemaError. `base`: what the class must extend. */
  constructor(scripts: ScriptHost, settings: ModuleSettings, loaded: LoadedModule, base: { name: string; prototype: object }) {
    this.extensionClass = defaultClass(loaded, settings.path, base) as C;
    this.config = parseConfig(this.extensionClass.schema, settings.config);
    this.host = scripts.makeHost(settings.name, settings.path, this.config);
    this.shared = scripts.validateOnly ? undefined : runSetup(this.extensionClass, this.host, settings.path);
  }

  /** A stream, a connection begins on this version. */
  acquire(): void {
    this.users++;
  }

  release(): void {
    if (--this.users === 0 && this.retired) this.host.dispose();
  }

  retire(): void {
    this.retired = true;
    if (this.users === 0) this.host.dispose();
  }
}

/** The module's default export. Throws ScriptError when it does not extend `base`. */
export function defaultClass(loaded: LoadedModule, path: string, base: { name: string; prototype: object }): ExtensionClass {
  const given = loaded.exports['default'];
  if (typeof given === 'function' && extendsFrom(base.prototype, given.prototype)) return given as unknown as ExtensionClass;
  throw new ScriptError(`its default export is not a class that extends ${base.name} of 'sluice/filter'`, path);
}

function extendsFrom(base: object, prototype: unknown): boolean {
  return typeof prototype === 'object' && prototype !== null && Object.prototype.isPrototypeOf.call(base, prototype);
}

function runSetup(extensionClass: ExtensionClass, host: ModuleHost<unknown>, path: string): unknown {
  if (extensionClass.setup === undefined) return undefined;
  let shared: unknown;
  try {
    shared = extensionClass.setup(host);
  } catch (error) {
    host.dispose();
    throw toScriptError(error, path);
  }
  if (!(shared instanceof Promise)) return shared;
  shared.catch(() => {});
  host.dispose();
  throw new ScriptError('setup() must not be async: begin async work in it and return', path);
}
