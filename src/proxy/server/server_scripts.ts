/**
 * The main thread's part of extensions in TypeScript: memory that all threads share, and the watch over module files: a change is tried
 * here first, and only a module that loads and takes its configuration goes to the workers.
 */
import { dirname, resolve } from 'node:path';
import type { Logger } from '../../core/log/logger.ts';
import type { Counter, Gauge, Scope } from '../../core/stats/stats.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import { retainedBytes } from '../typescript/module_loader.ts';
import { ModuleWatcher } from '../typescript/module_watcher.ts';
import { ScriptHost, type ScriptInit } from '../typescript/script_host.ts';
import { hasServices, Services } from '../typescript/services.ts';
import { SharedDataTable } from '../typescript/shared_data.ts';

/** What a host is made from when configuration is only checked. */
export function scriptInit(configPath: string | undefined, validateOnly: boolean): ScriptInit {
  const directory = configPath === undefined ? process.cwd() : dirname(resolve(configPath));
  return { directory, validateOnly, sharedData: SharedDataTable.allocate(validateOnly ? 0 : undefined) };
}

export class ServerScripts {
  readonly init: ScriptInit;
  private checked: ScriptHost;
  private readonly log: Logger;
  private readonly reloads: Counter;
  private readonly failures: Counter;
  /** Of this thread; workers have as much each. */
  private readonly retained: Gauge;
  private readonly scope: Scope;
  private watcher: ModuleWatcher | null = null;
  /** Where singleton services run. */
  private host: ScriptHost | null = null;

  /** `checked`: the host on which configuration was checked; it knows all modules and their uses. */
  constructor(checked: ScriptHost, configPath: string | undefined, scope: Scope, log: Logger) {
    this.checked = checked;
    this.log = log;
    this.scope = scope;
    this.init = scriptInit(configPath, false);
    this.reloads = scope.counter('typescript.module_reload');
    this.failures = scope.counter('typescript.module_reload_failure');
    this.retained = scope.gauge('typescript.module_retained_bytes');
  }

  /** Starts singleton services. `onChanged`: the module at this path was replaced by one that loads. Throws ConfigError. */
  start(bootstrap: Bootstrap, onChanged: (path: string) => void): void {
    if (hasServices(bootstrap.bootstrapExtensions, 'singleton')) this.startServices(bootstrap);
    this.watch(onChanged);
  }

  /** The configuration was checked anew, on this host. */
  recheck(checked: ScriptHost, onChanged: (path: string) => void): void {
    this.watcher?.close();
    this.watcher = null;
    this.checked = checked;
    this.watch(onChanged);
  }

  private watch(onChanged: (path: string) => void): void {
    const modules = [...this.checked.modules.all()];
    if (modules.length === 0) return;
    this.watcher = new ModuleWatcher(modules, {
      changed: (module) => {
        this.reloads.inc();
        this.retained.set(retainedBytes());
        this.log.info(`${module.path} has changed: new streams get version ${module.version}`);
        this.host?.reload(module.path);
        onChanged(module.path);
      },
      failed: (module, error) => {
        this.failures.inc();
        this.retained.set(retainedBytes());
        this.log.error(`${module.path} has changed, and is not used: ${error.message}`);
      },
      warn: (message) => this.log.warn(message),
    });
  }

  private startServices(bootstrap: Bootstrap): void {
    this.host = ScriptHost.forWorker(this.init, {
      scope: this.scope,
      logger: this.log,
      workerIndex: -1,
      dispatcher: null,
      calls: null,
      accessLogs: null,
    });
    new Services(this.host, bootstrap.bootstrapExtensions, 'singleton').start();
  }

  close(): void {
    this.watcher?.close();
    this.host?.close();
  }
}
