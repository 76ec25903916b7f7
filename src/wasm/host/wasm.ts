/**
 * One VM with its contexts (cpp-host: WasmBase): starts the module, calls its callbacks, keeps what was asked for until the call has
 * returned (a module is never re-entered), and ends all use of it when it fails.
 */
import { CALLBACKS, type CallbackName, callbackSignature } from '../abi/callbacks.ts';
import type { AbiVersion, FailState } from '../abi/enums.ts';
import { LogLevel } from '../abi/enums.ts';
import { LinkError, type VmMemory, type WasmFunction, type WasmVm } from '../vm/vm.ts';
import { Context } from './context.ts';
import type { HostEnvironment } from './environment.ts';
import { registerHostFunctions } from './host_functions.ts';
import { MetricTable } from './metric_table.ts';
import type { RootContext } from './root_context.ts';

export interface WasmOptions {
  readonly vmId: string;
  readonly vmConfiguration: Uint8Array;
  readonly environmentVariables: readonly (readonly [string, string])[];
  /** Names of host functions, WASI functions and callbacks; null: all. */
  readonly allowedCapabilities: ReadonlySet<string> | null;
}

/** Every how many calls one is timed: reading the clock costs as much as a small callback. */
const TIMED_EVERY = 16;

type Callbacks = Record<CallbackName, WasmFunction | null>;

/** A host function that is not allowed now was called; the module is at fault. */
class RestrictedCallError extends Error {}

export class WasmError extends Error {
  readonly failState: FailState;

  constructor(failState: FailState, message: string) {
    super(message);
    this.name = 'WasmError';
    this.failState = failState;
  }
}

export class Wasm {
  readonly vm: WasmVm;
  readonly memory: VmMemory;
  readonly environment: HostEnvironment;
  readonly options: WasmOptions;
  readonly abiVersion: AbiVersion;
  readonly metrics: MetricTable;
  /** In the VM while `depth` > 0: what host functions act on. */
  effective: Context | null = null;
  depth = 0;
  failState: FailState = 'Ok';
  failMessage = '';
  readonly vmContext: Context;
  readonly contexts = new Map<number, Context>();
  readonly roots = new Set<RootContext>();
  /** Answers of call-outs get their numbers here: unique over all plugins of the VM. */
  nextCallId = 1;
  /** Buffer 8. */
  callData: Uint8Array = new Uint8Array(0);
  on: Callbacks = NO_CALLBACKS;
  /** Shared with a watchdog: the number of the call that runs in word 1, 0 while none does. */
  watch: Int32Array | null = null;
  private calls = 0;
  private nextContextId = 1;
  /** Only a few host functions may be called: while the module starts, and while it allocates for the host. */
  private restricted = false;
  private allocator: WasmFunction | null = null;
  private readonly deferred: (() => void)[] = [];
  private running = false;
  private readonly failCallbacks = new Set<() => void>();

  constructor(vm: WasmVm, environment: HostEnvironment, options: WasmOptions) {
    this.vm = vm;
    this.memory = vm.memory;
    this.environment = environment;
    this.options = options;
    this.abiVersion = vm.abiVersion;
    this.metrics = new MetricTable(environment.scope);
    this.vmContext = new Context(this, 0, null);
    this.contexts.set(0, this.vmContext);
  }

  /** Links and starts the module. Throws WasmError. */
  start(): void {
    registerHostFunctions(this);
    this.restricted = true;
    this.effective = this.vmContext;
    this.depth++;
    if (this.watch !== null) Atomics.store(this.watch, 1, 1);
    try {
      this.vm.link();
      this.on = this.findCallbacks();
      this.allocator = this.vm.getFunction('malloc', 'i:i') ?? this.vm.getFunction('proxy_on_memory_allocate', 'i:i');
      if (this.allocator === null) throw new LinkError('Wasm module is missing malloc function.');
      this.runStart();
    } catch (error) {
      const linking = error instanceof LinkError || error instanceof WebAssembly.LinkError;
      const message = linking ? (error as Error).message : this.vm.describeError(error);
      this.fail(linking ? 'MissingFunction' : 'UnableToInitializeCode', message);
      throw new WasmError(this.failState, message);
    } finally {
      this.depth--;
      if (this.watch !== null) Atomics.store(this.watch, 1, 0);
      this.restricted = false;
      this.effective = null;
    }
    this.runDeferred();
  }

  private runStart(): void {
    const initialize = this.vm.getFunction('_initialize', ':');
    if (initialize === null) {
      this.vm.getFunction('_start', ':')?.();
      return;
    }
    initialize();
    const main = this.vm.getFunction('main', 'ii:i');
    if (main !== null) main(0, 0);
    else this.vm.getFunction('__main_void', ':i')?.();
  }

  private findCallbacks(): Callbacks {
    const allowed = this.options.allowedCapabilities;
    const found: Record<string, WasmFunction | null> = {};
    for (const name of Object.keys(CALLBACKS) as CallbackName[]) {
      const fn = this.vm.getFunction(name, callbackSignature(name, this.abiVersion));
      found[name] = allowed === null || allowed.has(name) ? fn : null;
    }
    return found as Callbacks;
  }

  // Calls into the module. One for each number of arguments, so that none is made into an array.

  call1(context: Context, name: CallbackName, a: number): number {
    const fn = this.on[name];
    if (fn === null || this.failState !== 'Ok') return 0;
    const outer = this.effective;
    const started = this.enter(context);
    let result = 0;
    try {
      result = fn(a) as number;
    } catch (error) {
      this.onTrap(name, error);
    }
    this.leave(outer, started);
    return result;
  }

  call2(context: Context, name: CallbackName, a: number, b: number): number {
    const fn = this.on[name];
    if (fn === null || this.failState !== 'Ok') return 0;
    const outer = this.effective;
    const started = this.enter(context);
    let result = 0;
    try {
      result = fn(a, b) as number;
    } catch (error) {
      this.onTrap(name, error);
    }
    this.leave(outer, started);
    return result;
  }

  call3(context: Context, name: CallbackName, a: number, b: number, c: number): number {
    const fn = this.on[name];
    if (fn === null || this.failState !== 'Ok') return 0;
    const outer = this.effective;
    const started = this.enter(context);
    let result = 0;
    try {
      result = fn(a, b, c) as number;
    } catch (error) {
      this.onTrap(name, error);
    }
    this.leave(outer, started);
    return result;
  }

  call5(context: Context, name: CallbackName, a: number, b: number, c: number, d: number, e: number): void {
    const fn = this.on[name];
    if (fn === null || this.failState !== 'Ok') return;
    const outer = this.effective;
    const started = this.enter(context);
    try {
      fn(a, b, c, d, e);
    } catch (error) {
      this.onTrap(name, error);
    }
    this.leave(outer, started);
  }

  private enter(context: Context): number {
    this.effective = context;
    this.depth++;
    if (this.watch !== null) Atomics.store(this.watch, 1, (this.calls & 0x3fffffff) + 1);
    return this.calls++ % TIMED_EVERY === 0 ? performance.now() : 0;
  }

  private leave(outer: Context | null, started: number): void {
    if (started !== 0) this.effective?.root?.onTimedCall(performance.now() - started, TIMED_EVERY, this.memory.u8.length);
    this.effective = outer;
    if (this.watch !== null && this.depth === 1) Atomics.store(this.watch, 1, 0);
    if (--this.depth === 0 && this.deferred.length > 0) this.runDeferred();
  }

  get busy(): boolean {
    return this.depth > 0;
  }

  /** Runs `action` when the module has returned; at once when it is not running. */
  afterCall(action: () => void): void {
    this.deferred.push(action);
    if (this.depth === 0) this.runDeferred();
  }

  private runDeferred(): void {
    if (this.running) return;
    this.running = true;
    const deferred = this.deferred;
    try {
      for (let i = 0; i < deferred.length; i++) deferred[i]();
    } finally {
      deferred.length = 0;
      this.running = false;
    }
  }

  // Memory of the module.

  /** Makes room for `size` bytes in the module: the pointer, or 0. */
  allocate(size: number): number {
    const outer = this.restricted;
    this.restricted = true;
    let pointer: number;
    try {
      pointer = (this.allocator as WasmFunction)(size) as number;
    } finally {
      this.restricted = outer;
    }
    pointer >>>= 0;
    const memory = this.memory;
    if (memory.u8.length === 0) memory.refresh();
    return pointer + size <= memory.u8.length ? pointer : 0;
  }

  /** Throws (a trap of the module) when the function `name` must not be called now. */
  checkAllowed(name: string): void {
    if (this.restricted)
      throw new RestrictedCallError(`restricted_callback: ${name} must not be called while the module starts or allocates`);
  }

  get isRestricted(): boolean {
    return this.restricted;
  }

  // Contexts.

  allocateContextId(): number {
    let id = this.nextContextId;
    while (this.contexts.has(id)) id = nextId(id);
    this.nextContextId = nextId(id);
    return id;
  }

  // Failure.

  private onTrap(name: string, error: unknown): void {
    this.fail('RuntimeError', `Function: ${name} failed: ${this.vm.describeError(error)}`);
  }

  fail(state: FailState, message: string): void {
    if (this.failState !== 'Ok') return;
    this.failState = state;
    this.failMessage = message;
    this.environment.log(LogLevel.Error, `Wasm VM failed ${message}`);
    for (const root of this.roots) root.onVmFailed();
    for (const callback of [...this.failCallbacks]) this.afterCall(callback);
  }

  get failed(): boolean {
    return this.failState !== 'Ok';
  }

  /** Runs once when the VM fails: for those that wait for the module. */
  addFailCallback(callback: () => void): void {
    this.failCallbacks.add(callback);
  }

  removeFailCallback(callback: () => void): void {
    this.failCallbacks.delete(callback);
  }

  log(level: number, message: string): void {
    const root = this.effective?.root ?? null;
    this.environment.log(level, `wasm log${logPrefix(root, this.options.vmId)}: ${message}`);
  }
}

const NO_CALLBACKS = Object.fromEntries(Object.keys(CALLBACKS).map((name) => [name, null])) as Callbacks;

function nextId(id: number): number {
  return id >= 0x7fffffff ? 1 : id + 1;
}

function logPrefix(root: RootContext | null, vmId: string): string {
  let prefix = '';
  if (root !== null) {
    if (root.plugin.name !== '') prefix += ` ${root.plugin.name}`;
    if (root.plugin.rootId !== '') prefix += ` ${root.plugin.rootId}`;
  }
  return vmId === '' ? prefix : `${prefix} ${vmId}`;
}
