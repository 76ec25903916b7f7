/**
 * What a filter, logger or service holds of its plugin (Envoy: PluginHandle with PluginConfig): the instance that new streams get, replaced
 * when the code changes or, by policy, after it has failed. Streams keep the instance that they began with.
 */
import type { Counter } from '../../core/stats/stats.ts';
import type { FailState } from '../abi/enums.ts';
import { LogLevel } from '../abi/enums.ts';
import type { HostEnvironment } from '../host/environment.ts';
import { pluginStatPrefix } from '../host/root_context.ts';
import type { PluginSettings } from './plugin_settings.ts';
import { enlist, strikeOff } from './plugin_status.ts';
import type { PluginInstance, VmSource } from './wasm_host.ts';

/** What a handle needs of an instance. */
export interface InstanceLike {
  readonly failState: FailState;
  readonly failMessage: string;
  /** '' for what has none. */
  readonly abiVersion: string;
  /** Of those that may still be starting when they are acquired. */
  onStarted?(callback: (error: Error | null) => void): void;
  addFailCallback(callback: () => void): void;
  removeFailCallback(callback: () => void): void;
  retain(): void;
  release(): void;
}

/** Who makes instances: one reference for the caller. Throws WasmError, ModuleError. */
export interface InstanceSource<I extends InstanceLike> {
  readonly environment: HostEnvironment;
  /** `instead`: the one that it takes the place of; then what starts slowly may still be starting. */
  acquire(settings: PluginSettings, source: VmSource, instead?: I): I;
}

export class PluginHandle<I extends InstanceLike = PluginInstance> {
  readonly settings: PluginSettings;
  private readonly host: InstanceSource<I>;
  private source: VmSource | null = null;
  private instance: I | null = null;
  private lastLoadMs = 0;
  private readonly reloadSuccess: Counter;
  private readonly reloadFailure: Counter;
  private readonly reloadBackoff: Counter;
  private readonly failures: Counter;
  /** Code that was loaded in place of other, and code that was not because it did not start. */
  readonly loads: Counter;
  readonly loadsRejected: Counter;
  /** Called when a stream wants an instance and no code has been loaded: it may load some. */
  loadMissing: (() => void) | null = null;
  private closed = false;
  private readonly onInstanceFailed = (): void => {
    this.failures.inc();
  };

  constructor(host: InstanceSource<I>, settings: PluginSettings) {
    this.host = host;
    this.settings = settings;
    const scope = host.environment.scope.scope(pluginStatPrefix(settings.name));
    this.reloadSuccess = scope.counter('vm_reload_success');
    this.reloadFailure = scope.counter('vm_reload_failure');
    this.reloadBackoff = scope.counter('vm_reload_backoff');
    this.failures = scope.counter('vm_failures');
    this.loads = scope.counter('code_loaded');
    this.loadsRejected = scope.counter('code_rejected');
    enlist(this);
  }

  /** Loads this code for streams that come from now on. Throws WasmError, ModuleError: what was there goes on. */
  load(source: VmSource): void {
    const instance = this.host.acquire(this.settings, source);
    this.lastLoadMs = performance.now();
    this.source = source;
    this.use(instance);
  }

  /**
   * As `load`, in place of what runs, without making this thread wait for what starts in another: `done` is told when the new code is used, or why
   * it is not.
   */
  replace(source: VmSource, done: (error: unknown) => void): void {
    const current = this.instance;
    let instance: I;
    try {
      if (current === null) {
        this.load(source);
        done(null);
        return;
      }
      instance = this.host.acquire(this.settings, source, current);
    } catch (error) {
      done(error);
      return;
    }
    const finish = (error: unknown): void => {
      if (error === null && !this.closed) {
        this.lastLoadMs = performance.now();
        this.source = source;
        this.use(instance);
      } else instance.release();
      done(error);
    };
    if (instance.onStarted === undefined) finish(null);
    else instance.onStarted(finish);
  }

  private use(instance: I): void {
    const old = this.instance;
    this.instance = instance;
    if (old === instance) {
      instance.release();
      return;
    }
    instance.addFailCallback(this.onInstanceFailed);
    if (old === null) return;
    old.removeFailCallback(this.onInstanceFailed);
    old.release();
  }

  /** The instance for a new stream, with a reference for it. Null: there is none that works; the policy says what becomes of the stream. */
  acquire(): I | null {
    if (this.source === null) this.loadMissing?.();
    const instance = this.instance;
    if (instance === null) return null;
    if (instance.failState !== 'Ok') return this.settings.reloads ? this.reload(instance) : null;
    instance.retain();
    return instance;
  }

  /** Of the code that new streams get; '' while there is none. */
  get codeKey(): string {
    return this.source?.codeKey ?? '';
  }

  get current(): I | null {
    return this.instance;
  }

  get failsOpen(): boolean {
    return this.settings.failurePolicy === 'FAIL_OPEN';
  }

  private reload(failed: I): I | null {
    if (failed.failState !== 'RuntimeError' || this.source === null || this.closed) return null;
    const interval = this.settings.reloadIntervalMs * (1 + Math.random() / 2);
    if (performance.now() - this.lastLoadMs < interval) {
      this.reloadBackoff.inc();
      return null;
    }
    this.lastLoadMs = performance.now();
    try {
      this.use(this.host.acquire(this.settings, this.source, failed));
    } catch (error) {
      this.reloadFailure.inc();
      const reason = error instanceof Error ? error.message : String(error);
      this.host.environment.log(LogLevel.Error, `wasm plugin ${this.settings.name}: reload failed: ${reason}`);
      return null;
    }
    this.reloadSuccess.inc();
    (this.instance as I | null)?.retain();
    return this.instance;
  }

  /** The configuration that holds it is gone. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    strikeOff(this);
    const instance = this.instance;
    this.instance = null;
    if (instance === null) return;
    instance.removeFailCallback(this.onInstanceFailed);
    instance.release();
  }
}
