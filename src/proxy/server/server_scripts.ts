/**
 * The main thread's part of extensions in TypeScript: memory that all threads share, and the watch over module files: a change is tried
 * here first, and only a module that loads and takes its configuration goes to the workers.
 */
import { dirname, resolve } from 'node:path';
import type { Logger } from '../../core/log/logger.ts';
import type { Counter, Scope } from '../../core/stats/stats.ts';
import { ModuleWatcher } from '../typescript/module_watcher.ts';
import type { ScriptHost, ScriptInit } from '../typescript/script_host.ts';
import { SharedDataTable } from '../typescript/shared_data.ts';

/** What a host is made from when configuration is only checked. */
export function scriptInit(configPath: string | undefined, validateOnly: boolean): ScriptInit {
  const directory = configPath === undefined ? process.cwd() : dirname(resolve(configPath));
  return { directory, validateOnly, sharedData: SharedDataTable.allocate(validateOnly ? 0 : undefined) };
}

export class ServerScripts {
  readonly init: ScriptInit;
  private readonly checked: ScriptHost;
  private readonly log: Logger;
  private readonly reloads: Counter;
  private readonly failures: Counter;
  private watcher: ModuleWatcher | null = null;

  /** `checked`: the host on which configuration was checked; it knows all modules and their uses. */
  constructor(checked: ScriptHost, configPath: string | undefined, scope: Scope, log: Logger) {
    this.checked = checked;
    this.log = log;
    this.init = scriptInit(configPath, false);
    this.reloads = scope.counter('typescript.module_reload');
    this.failures = scope.counter('typescript.module_reload_failure');
  }

  /** `onChanged`: the module at this path was replaced by one that loads. */
  start(onChanged: (path: string) => void): void {
    const modules = [...this.checked.modules.all()];
    if (modules.length === 0) return;
    this.watcher = new ModuleWatcher(modules, {
      changed: (module) => {
        this.reloads.inc();
        this.log.info(`${module.path} has changed: new streams get version ${module.version}`);
        onChanged(module.path);
      },
      failed: (module, error) => {
        this.failures.inc();
        this.log.error(`${module.path} has changed, and is not used: ${error.message}`);
      },
      warn: (message) => this.log.warn(message),
    });
  }

  close(): void {
    this.watcher?.close();
  }
}
