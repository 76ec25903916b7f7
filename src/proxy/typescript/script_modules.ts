/**
 * The modules that configuration names, on one thread, and who uses them. A module is loaded once; replacing it builds every use of it
 * anew before any of them changes, so that a module that does not load, or does not like its configuration, changes nothing.
 */
import { type LoadedModule, loadModule } from './module_loader.ts';

/** What one use makes of a version of its module. */
export interface UseVersion {
  /** It took the place of another one. */
  begin?(): void;
  /** Another one took its place (or the use ended): nothing new begins on it. */
  retire(): void;
}

/** One place in the configuration that names a module. */
export class ScriptUse<V extends UseVersion> {
  current: V;
  readonly module: ScriptModule;
  /** Throws ScriptError. */
  readonly build: (loaded: LoadedModule) => V;

  constructor(module: ScriptModule, build: (loaded: LoadedModule) => V) {
    this.module = module;
    this.build = build;
    this.current = build(module.loaded);
    module.uses.add(this as unknown as ScriptUse<UseVersion>);
  }

  /** The configuration that named it is gone. */
  end(): void {
    if (this.module.uses.delete(this as unknown as ScriptUse<UseVersion>)) this.current.retire();
  }
}

export class ScriptModule {
  readonly path: string;
  loaded: LoadedModule;
  /** Counts loads, from 1. */
  version = 1;
  readonly uses = new Set<ScriptUse<UseVersion>>();

  constructor(path: string) {
    this.path = path;
    this.loaded = loadModule(path);
  }

  /** Loads the file as it is now and moves all uses to it. Throws ScriptError: then everything is as before. */
  reload(): void {
    const loaded = loadModule(this.path);
    const built: [use: ScriptUse<UseVersion>, next: UseVersion][] = [];
    try {
      for (const use of this.uses) built.push([use, use.build(loaded)]);
    } catch (error) {
      for (const [, next] of built) next.retire();
      throw error;
    }
    this.loaded = loaded;
    this.version++;
    for (const [use, next] of built) {
      const old = use.current;
      use.current = next;
      old.retire();
      next.begin?.();
    }
  }
}

/** All modules of a thread. */
export class ScriptModules {
  private readonly modules = new Map<string, ScriptModule>();

  /** Throws ScriptError. */
  get(path: string): ScriptModule {
    let module = this.modules.get(path);
    if (module === undefined) {
      module = new ScriptModule(path);
      this.modules.set(path, module);
    }
    return module;
  }

  find(path: string): ScriptModule | undefined {
    return this.modules.get(path);
  }

  all(): IterableIterator<ScriptModule> {
    return this.modules.values();
  }

  /** Ends all uses. */
  close(): void {
    for (const module of this.modules.values()) for (const use of [...module.uses]) use.end();
    this.modules.clear();
  }
}
