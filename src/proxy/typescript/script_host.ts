/**
 * What modules stand on, on one thread: timers, statistics, log, shared data, call-outs. Workers have one over their dispatcher, the
 * main thread one over Node's loop (for services, and to check configuration, where nothing of a module runs but its top level).
 */
import { isAbsolute, resolve } from 'node:path';
import type { Dispatcher, Timer } from '../../core/event/dispatcher.ts';
import type { Scope } from '../../core/stats/stats.ts';
import type { AccessLogManager } from '../access_log/access_log.ts';
import { ConfigError } from '../config/error.ts';
import type { AsyncClient } from '../http/async_client.ts';
import type { Logger } from '../server/factory_context.ts';
import { ModuleHost } from './module_host.ts';
import { cleanStack, isFromScript, type ScriptError, toScriptError } from './script_error.ts';
import { type ScriptModule, ScriptModules } from './script_modules.ts';
import { SharedDataTable } from './shared_data.ts';

/** What a worker's host is made from: plain data for `workerData`. */
export interface ScriptInit {
  /** Relative module paths begin here: the directory of the configuration file. */
  readonly directory: string;
  /** Configuration is only checked: `setup` of no class runs. */
  readonly validateOnly: boolean;
  readonly sharedData: SharedArrayBuffer;
}

export interface ScriptEnvironment {
  readonly scope: Scope;
  readonly logger: Logger;
  /** -1: the main thread. */
  readonly workerIndex: number;
  /** Null on the main thread. */
  readonly dispatcher: Dispatcher | null;
  /** Null where there are no clusters. */
  readonly calls: AsyncClient | null;
  readonly accessLogs: AccessLogManager | null;
  /** In a thread that is not a worker: hosts that ask their worker. */
  readonly makeHost?: (scripts: ScriptHost, name: string, path: string, config: unknown) => ModuleHost<unknown>;
}

export class ScriptHost {
  readonly modules = new ScriptModules();
  readonly directory: string;
  readonly validateOnly: boolean;
  readonly shared: SharedDataTable;
  readonly scope: Scope;
  readonly logger: Logger;
  readonly workerIndex: number;
  readonly dispatcher: Dispatcher | null;
  readonly calls: AsyncClient | null;
  readonly accessLogs: AccessLogManager | null;

  private readonly environment: ScriptEnvironment;

  constructor(init: ScriptInit, options: ScriptEnvironment) {
    this.environment = options;
    this.directory = init.directory;
    this.validateOnly = init.validateOnly;
    this.shared = new SharedDataTable(init.sharedData);
    this.scope = options.scope;
    this.logger = options.logger;
    this.workerIndex = options.workerIndex;
    this.dispatcher = options.dispatcher;
    this.calls = options.calls;
    this.accessLogs = options.accessLogs;
  }

  /** Also takes the errors that modules' code leaves to nobody. */
  static forWorker(init: ScriptInit, environment: ScriptEnvironment): ScriptHost {
    const host = new ScriptHost(init, environment);
    if (!init.validateOnly) host.installErrorHandlers();
    return host;
  }

  /** The file has changed: new streams get what it is now, or, when that does not load, what they had. */
  reload(path: string): void {
    try {
      this.modules.find(path)?.reload();
    } catch (error) {
      this.logger.error(`worker ${this.workerIndex} keeps the module it has: ${toScriptError(error, path).message}`);
    }
  }

  makeHost(name: string, path: string, config: unknown): ModuleHost<unknown> {
    return this.environment.makeHost?.(this, name, path, config) ?? new ModuleHost<unknown>(this, name, path, config);
  }

  /** Of a configuration's `module` field. Throws ConfigError. */
  pathOf(given: string | undefined): string {
    if (given === undefined || given === '')
      throw new ConfigError('is missing: the path of a .ts or .js file', { path: 'module' });
    return isAbsolute(given) ? given : resolve(this.directory, given);
  }

  /** The module of a configuration's `module` field. Throws ConfigError. */
  module(given: string | undefined): ScriptModule {
    const path = this.pathOf(given);
    try {
      return this.modules.get(path);
    } catch (error) {
      throw new ConfigError(`cannot load '${given}': ${(error as ScriptError).message}`, { path: 'module' });
    }
  }

  get nowMs(): number {
    return this.dispatcher === null ? performance.now() : this.dispatcher.nowMs;
  }

  createTimer(callback: () => void): Timer {
    return this.dispatcher === null ? nodeTimer(callback) : this.dispatcher.createTimer(callback);
  }

  /** Promises were settled, or user code that may have made some has run: Node's queues run soon. */
  wakeNode(): void {
    this.dispatcher?.wakeNode?.();
  }

  /** Runs `callback` on the dispatcher: promises settle outside of its turns, where nothing may be sent. */
  post(callback: () => void): void {
    if (this.dispatcher === null) callback();
    else this.dispatcher.post(callback);
  }

  /**
   * An error that no promise or caller of a module took (an unawaited promise, a callback of Node) is logged; errors of the proxy itself
   * stay fatal.
   */
  installErrorHandlers(): void {
    const onError = (error: unknown): void => {
      if (!isFromScript(error)) throw error;
      this.logger.error(`${toScriptError(error, '').message} (nobody handled it)`);
      if (this.logger.debugEnabled) this.logger.debug(cleanStack(error));
    };
    process.on('unhandledRejection', onError);
    process.on('uncaughtException', onError);
    this.removeErrorHandlers = () => {
      process.removeListener('unhandledRejection', onError);
      process.removeListener('uncaughtException', onError);
    };
  }

  private removeErrorHandlers: () => void = () => {};

  close(): void {
    this.modules.close();
    this.removeErrorHandlers();
  }
}

function nodeTimer(callback: () => void): Timer {
  let handle: NodeJS.Timeout | null = null;
  return {
    enableTimer(delayMs) {
      if (handle !== null) clearTimeout(handle);
      handle = setTimeout(() => {
        handle = null;
        callback();
      }, delayMs);
      handle.unref();
    },
    disableTimer() {
      if (handle !== null) clearTimeout(handle);
      handle = null;
    },
    get enabled() {
      return handle !== null;
    },
  };
}
