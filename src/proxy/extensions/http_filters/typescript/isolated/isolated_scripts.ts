/**
 * Isolated TypeScript filters on the worker's side: a thread for each that is configured, replaced when one of its files changes, and when it
 * was ended (a loop without end, too much memory), with the next stream.
 */
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import type { Scope } from '../../../../../core/stats/stats.ts';
import { Status } from '../../../../../wasm/abi/enums.ts';
import type { Callouts, ForeignResult, HostEnvironment, HostTimer } from '../../../../../wasm/host/environment.ts';
import { WasmError } from '../../../../../wasm/host/wasm.ts';
import { IsolatedInstance } from '../../../../../wasm/isolated/isolated_instance.ts';
import { type InstanceSource, PluginHandle } from '../../../../../wasm/plugin/plugin_handle.ts';
import type { PluginSettings } from '../../../../../wasm/plugin/plugin_settings.ts';
import type { VmSource } from '../../../../../wasm/plugin/wasm_host.ts';
import { LocalSharedState, type SharedState } from '../../../../../wasm/shared/shared_state.ts';
import { sha256Hex } from '../../../../../wasm/vm/compiled_code.ts';
import { ConfigError } from '../../../../config/error.ts';
import type { FactoryContext, Logger } from '../../../../server/factory_context.ts';
import type { HttpFilterSettings } from '../../../../typescript/http_filter_version.ts';
import type { ScriptHost } from '../../../../typescript/script_host.ts';
import { WorkerCallouts } from '../../../common/wasm/callouts.ts';
import { watchFile } from '../../../common/wasm/file_watch.ts';
import {
  decodeJson,
  encodeJson,
  fromJsonBytes,
  type JsonBytes,
  ScriptQuestion,
  type ScriptThreadInit,
  toJsonBytes,
} from './script_init.ts';

export interface IsolationMessage {
  /** ms */
  callBudget?: number;
  maxHeapMb?: number;
}

const DEFAULT_BUDGET_MS = 100;
const DEFAULT_HEAP_MB = 64;
/** Loading a module and what it imports. */
const START_MS = 10_000;
const RELOAD_INTERVAL_MS = 1000;
const ENTRY = new URL('./script_thread.ts', import.meta.url);
const RUNTIME = 'sluice.typescript.isolated';

/** Throws ConfigError: with the module's or its configuration's own mistakes. */
export function createIsolatedFilter(
  settings: HttpFilterSettings,
  isolation: IsolationMessage,
  scripts: ScriptHost,
  context: FactoryContext,
): PluginHandle<IsolatedInstance> {
  const budgetMs = isolation.callBudget ?? DEFAULT_BUDGET_MS;
  if (budgetMs <= 0) throw new ConfigError('must be more than 0', { path: 'isolated.call_budget' });
  const heapMb = isolation.maxHeapMb ?? DEFAULT_HEAP_MB;
  if (heapMb < 8) throw new ConfigError('must be at least 8', { path: 'isolated.max_heap_mb' });
  const source = new ScriptThreads(settings, budgetMs, heapMb, scripts, context);
  const handle = new PluginHandle<IsolatedInstance>(source, pluginSettings(settings));
  try {
    handle.load(source.version());
  } catch (error) {
    if (!(error instanceof WasmError)) throw error;
    if (error.failState !== 'ConfigureFailed')
      throw new ConfigError(`cannot use the module: ${error.message}`, { path: 'module' });
    const space = error.message.indexOf(' ');
    const path = error.message.slice(0, space);
    throw new ConfigError(error.message.slice(space + 1), { path: path === '' ? 'config' : `config.${path}` });
  }
  // On the main thread a configuration is only tried.
  if (isMainThread) handle.close();
  else {
    watch(handle, source, context);
    context.onDestroy(() => handle.close());
  }
  return handle;
}

function pluginSettings({ name, failOpen }: HttpFilterSettings): PluginSettings {
  return {
    name,
    rootId: '',
    configuration: new Uint8Array(0),
    vmId: '',
    vmConfiguration: new Uint8Array(0),
    runtime: RUNTIME,
    environmentVariables: [],
    failurePolicy: failOpen ? 'FAIL_OPEN' : 'FAIL_CLOSED',
    reloads: true,
    reloadIntervalMs: RELOAD_INTERVAL_MS,
    allowedCapabilities: null,
    allowOnHeadersStopIteration: false,
  };
}

/** Any of the module's files may have changed: a new thread, if it starts, for the streams that come. */
function watch(handle: PluginHandle<IsolatedInstance>, source: ScriptThreads, context: FactoryContext): void {
  const log = context.logger('filter');
  const watched = new Map<string, () => void>();
  let known = source.version().codeKey;
  const look = (): void => {
    const version = source.version();
    if (version.codeKey === known) return;
    known = version.codeKey;
    handle.replace(version, (error) => {
      if (error === null) {
        handle.loads.inc();
        log.info(`${source.settings.path} has changed: new streams get it as it is now`);
      } else {
        handle.loadsRejected.inc();
        log.error(
          `${source.settings.path} has changed, and is not used: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      watchAll();
    });
  };
  const watchAll = (): void => {
    for (const file of source.files()) {
      if (watched.has(file)) continue;
      const stop = watchFile(file, context.dispatcher, look);
      if (stop === null) log.warn(`cannot watch ${file}: changes of it will not be seen`);
      watched.set(file, stop ?? (() => {}));
    }
  };
  watchAll();
  known = source.version().codeKey;
  context.onDestroy(() => {
    for (const stop of watched.values()) stop();
  });
}

class ScriptThreads implements InstanceSource<IsolatedInstance> {
  readonly environment: HostEnvironment;
  readonly settings: HttpFilterSettings;
  private readonly scripts: ScriptHost;
  private readonly budgetMs: number;
  private readonly heapMb: number;
  private latest: IsolatedInstance | null = null;

  constructor(settings: HttpFilterSettings, budgetMs: number, heapMb: number, scripts: ScriptHost, context: FactoryContext) {
    this.settings = settings;
    this.budgetMs = budgetMs;
    this.heapMb = heapMb;
    this.scripts = scripts;
    this.environment = new ScriptEnvironment(settings.name, scripts, context);
  }

  files(): readonly string[] {
    const files = this.latest?.files ?? [];
    return files.length === 0 ? [this.settings.path] : files;
  }

  /** What the files are now. */
  version(): VmSource {
    const key = this.files().map((file) => `${file} ${hashOf(file)}`);
    return {
      codeKey: key.join('\n'),
      create: () => {
        throw new Error('scripts run in threads of their own only');
      },
    };
  }

  acquire(_settings: PluginSettings, _source: VmSource, instead?: IsolatedInstance): IsolatedInstance {
    const { name, path, config, failOpen, deadlineMs } = this.settings;
    const { directory, validateOnly, workerIndex } = this.scripts;
    const data: ScriptThreadInit = { path, name, directory, config, failOpen, deadlineMs, workerIndex, validateOnly };
    const scope = this.environment.scope.scope(`wasm.${RUNTIME}.`);
    const active = scope.gauge('active');
    const instance = new IsolatedInstance(
      { entry: ENTRY, name: `filter_${name}`, data, env: process.env, heapMb: this.heapMb, startMs: START_MS, heartbeat: true },
      this.environment,
      { callBudgetMs: this.budgetMs },
      { released: () => active.dec(), exited: () => {} },
      instead ?? null,
    );
    scope.counter('created').inc();
    active.inc();
    this.latest = instance;
    return instance;
  }
}

function hashOf(file: string): string {
  try {
    return sha256Hex(readFileSync(file));
  } catch {
    return '';
  }
}

/** What a thread gets of its worker. */
class ScriptEnvironment implements HostEnvironment {
  readonly scope: Scope;
  /** Not used: scripts have the shared data of TypeScript filters. */
  readonly shared: SharedState = new LocalSharedState(() => {});
  readonly callouts: Callouts;
  private readonly name: string;
  private readonly scripts: ScriptHost;
  private readonly context: FactoryContext;
  private readonly logger: Logger;

  constructor(name: string, scripts: ScriptHost, context: FactoryContext) {
    this.name = name;
    this.scripts = scripts;
    this.context = context;
    this.scope = context.scope;
    this.callouts = new WorkerCallouts(context);
    this.logger = context.logger('filter');
  }

  get logLevel(): number {
    return this.logger.traceEnabled ? 0 : this.logger.debugEnabled ? 1 : 2;
  }

  log(level: number, message: string): void {
    const { logger, name } = this;
    const text = message.startsWith(`${name}: `) ? message : `${name}: ${message}`;
    if (level === 0) logger.trace(text);
    else if (level === 1) logger.debug(text);
    else if (level === 2) logger.info(text);
    else if (level === 3) logger.warn(text);
    else logger.error(text);
  }

  createTimer(callback: () => void): HostTimer {
    return this.context.dispatcher.createTimer(callback);
  }

  post(callback: () => void): void {
    this.context.dispatcher.post(callback);
  }

  systemTimeNs(): bigint {
    return BigInt(Date.now()) * 1_000_000n;
  }

  monotonicNs(): bigint {
    return process.hrtime.bigint();
  }

  property(): undefined {
    return undefined;
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    if (name !== ScriptQuestion.Shared && name !== ScriptQuestion.LogFile) return undefined;
    let answer: { value?: unknown; error?: string };
    try {
      const given = decodeJson(args) as unknown[];
      answer = { value: name === ScriptQuestion.Shared ? this.sharedData(given) : this.logFile(given as string[]) };
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    return { status: Status.Ok, result: encodeJson(answer) };
  }

  private logFile([path, text]: string[]): void {
    const file = this.scripts.accessLogs?.createAccessLog(path);
    if (file === undefined) throw new Error('logFile is there on workers only');
    if (text === '') return;
    file.line.text(Buffer.from(text, 'utf8').toString('latin1'));
    file.endLine();
  }

  private sharedData([method, key, ...args]: unknown[]): unknown {
    const { shared } = this.scripts;
    const name = String(key);
    const bytes = (at: number): string | Uint8Array => fromJsonBytes(args[at] as string | JsonBytes);
    switch (method) {
      case 'get': {
        const found = shared.get(name);
        return found === undefined ? undefined : toJsonBytes(found);
      }
      case 'getText':
        return shared.getText(name);
      case 'set':
        return shared.set(name, bytes(0));
      case 'delete':
        return shared.delete(name);
      case 'add':
        return shared.add(name, Number(args[0]));
      case 'getNumber':
        return shared.getNumber(name);
      case 'setNumber':
        return shared.setNumber(name, Number(args[0]));
      case 'compareAndSet':
        return shared.compareAndSet(name, args[0] === null ? undefined : bytes(0), bytes(1));
      case 'takeTokens':
        return shared.takeTokens(name, Number(args[0]), Number(args[1]), Number(args[2]));
      default:
        throw new Error(`there is no shared.${String(method)}`);
    }
  }
}
