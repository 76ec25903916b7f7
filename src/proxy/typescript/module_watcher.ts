/**
 * Watches the files of modules and reloads a module when one of them has really changed. Directories are watched rather than files, as
 * editors put a new file in the place of the old one.
 */
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { type ScriptError, toScriptError } from './script_error.ts';
import type { ScriptModule } from './script_modules.ts';

export interface WatcherCallbacks {
  changed(module: ScriptModule): void;
  /** It stays what it was. */
  failed(module: ScriptModule, error: ScriptError): void;
  warn(message: string): void;
}

/** An editor's write is several events. */
const SETTLE_MS = 50;

export class ModuleWatcher {
  private readonly callbacks: WatcherCallbacks;
  private readonly watched: WatchedModule[];
  private readonly directories = new Map<string, FSWatcher>();
  private timer: NodeJS.Timeout | null = null;

  constructor(modules: readonly ScriptModule[], callbacks: WatcherCallbacks) {
    this.callbacks = callbacks;
    this.watched = modules.map((module) => new WatchedModule(module));
    this.watchDirectories();
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    for (const watcher of this.directories.values()) watcher.close();
    this.directories.clear();
  }

  private watchDirectories(): void {
    for (const { files } of this.watched) {
      for (const file of files.keys()) {
        const directory = dirname(file);
        if (!this.directories.has(directory)) this.watchDirectory(directory);
      }
    }
  }

  private watchDirectory(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, (_event, name) => {
        if (name === null || this.concerns(directory, name)) this.schedule();
      });
      watcher.on('error', (error) =>
        this.callbacks.warn(`changes of modules in ${directory} are not seen any more: ${error.message}`),
      );
      this.directories.set(directory, watcher);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.callbacks.warn(`changes of modules in ${directory} are not seen: ${reason}`);
    }
  }

  private concerns(directory: string, name: string): boolean {
    for (const { files } of this.watched) {
      for (const file of files.keys()) if (dirname(file) === directory && basename(file) === name) return true;
    }
    return false;
  }

  private schedule(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.look();
    }, SETTLE_MS);
    this.timer.unref();
  }

  private look(): void {
    for (const watched of this.watched) {
      if (!watched.hasChanged()) continue;
      const { module } = watched;
      try {
        module.reload();
        watched.remember(module.loaded.files);
        this.callbacks.changed(module);
      } catch (error) {
        const reason = toScriptError(error, module.path);
        // The file with the mistake may be one that was not imported before.
        watched.remember(new Set([...watched.files.keys(), reason.file]));
        this.callbacks.failed(module, reason);
      }
    }
    this.watchDirectories();
  }
}

class WatchedModule {
  readonly module: ScriptModule;
  /** Content by path; undefined: not readable. */
  files = new Map<string, string | undefined>();

  constructor(module: ScriptModule) {
    this.module = module;
    this.remember(module.loaded.files);
  }

  remember(paths: ReadonlySet<string>): void {
    this.files = new Map([...paths].map((path) => [path, contentOf(path)]));
  }

  hasChanged(): boolean {
    for (const [path, content] of this.files) {
      const now = contentOf(path);
      // Between the removal of the old file and the arrival of the new one there is nothing to load.
      if (now !== content && now !== undefined) return true;
    }
    return false;
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
