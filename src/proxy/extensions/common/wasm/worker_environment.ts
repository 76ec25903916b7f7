/** What a worker gives to its Wasm VMs: one host per dispatcher, made when the first plugin is. */
import { isMainThread } from 'node:worker_threads';
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import type { Scope } from '../../../../core/stats/stats.ts';
import type { Callouts, ForeignResult, HostEnvironment, HostTimer } from '../../../../wasm/host/environment.ts';
import type { PropertyValue } from '../../../../wasm/host/property_value.ts';
import { IsolatedHost } from '../../../../wasm/isolated/isolated_host.ts';
import { WasmHost } from '../../../../wasm/plugin/wasm_host.ts';
import { processSharedMemory } from '../../../../wasm/shared/shared_memory.ts';
import { SharedMemoryState } from '../../../../wasm/shared/shared_memory_state.ts';
import { LocalSharedState, type SharedState } from '../../../../wasm/shared/shared_state.ts';
import { DEFAULT_MAX_MEMORY_PAGES } from '../../../../wasm/vm/compiled_code.ts';
import type { FactoryContext, Logger } from '../../../server/factory_context.ts';
import { WorkerCallouts } from './callouts.ts';
import { foreignFunction } from './foreign_functions.ts';
import { nodeProperty } from './properties.ts';

const hosts = new WeakMap<Dispatcher, WasmHost>();

/** The worker's only one. */
export function wasmHost(context: FactoryContext): WasmHost {
  let host = hosts.get(context.dispatcher);
  if (host === undefined) {
    host = new WasmHost(new WorkerEnvironment(context));
    hosts.set(context.dispatcher, host);
  }
  return host;
}

/** Runtime keys: the limits of modules can be changed without touching their configurations. */
const MAX_MEMORY_PAGES = 'wasm.max_memory_pages';
const CALL_BUDGET_MS = 'wasm.isolated.call_budget_ms';
const DEFAULT_CALL_BUDGET_MS = 100;

/** Pages of 64 KiB that a module may have. */
export function maxMemoryPages(context: FactoryContext): number {
  return context.runtime.snapshot.getInteger(MAX_MEMORY_PAGES, DEFAULT_MAX_MEMORY_PAGES);
}

/** Makes plugins in threads of their own. */
export function isolatedHost(context: FactoryContext): IsolatedHost {
  return new IsolatedHost(wasmHost(context).environment, () => ({
    callBudgetMs: Math.max(1, context.runtime.snapshot.getInteger(CALL_BUDGET_MS, DEFAULT_CALL_BUDGET_MS)),
    maxMemoryPages: maxMemoryPages(context),
  }));
}

class WorkerEnvironment implements HostEnvironment {
  readonly scope: Scope;
  readonly shared: SharedState;
  readonly callouts: Callouts;
  private readonly context: FactoryContext;
  private readonly dispatcher: Dispatcher;
  private readonly logger: Logger;

  constructor(context: FactoryContext) {
    this.context = context;
    this.scope = context.scope;
    this.callouts = new WorkerCallouts(context);
    this.dispatcher = context.dispatcher;
    this.logger = context.logger('wasm');
    const post = (callback: () => void): void => this.post(callback);
    // On the main thread configurations are only tried.
    this.shared = isMainThread ? new LocalSharedState(post) : new SharedMemoryState(processSharedMemory(), post);
  }

  get logLevel(): number {
    return this.logger.traceEnabled ? 0 : this.logger.debugEnabled ? 1 : 2;
  }

  log(level: number, message: string): void {
    const { logger } = this;
    if (level === 0) logger.trace(message);
    else if (level === 1) logger.debug(message);
    else if (level === 2) logger.info(message);
    else if (level === 3) logger.warn(message);
    else logger.error(message);
  }

  createTimer(callback: () => void): HostTimer {
    return this.dispatcher.createTimer(callback);
  }

  post(callback: () => void): void {
    this.dispatcher.post(callback);
  }

  systemTimeNs(): bigint {
    return BigInt(Date.now()) * 1_000_000n;
  }

  monotonicNs(): bigint {
    return process.hrtime.bigint();
  }

  property(path: string): PropertyValue {
    return nodeProperty(path, this.context);
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return foreignFunction(name, args);
  }
}
