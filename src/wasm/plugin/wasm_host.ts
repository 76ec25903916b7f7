/**
 * All VMs of one thread: plugins with the same vm_id, VM configuration and code share one (Envoy: getOrCreateThreadLocalPlugin). A VM that
 * failed is forgotten here, so that the next who asks gets a new one; those who still hold it see it failed.
 */

import type { FailState } from '../abi/enums.ts';
import type { HostEnvironment } from '../host/environment.ts';
import { RootContext } from '../host/root_context.ts';
import { Wasm } from '../host/wasm.ts';
import { sha256Hex } from '../vm/compiled_code.ts';
import type { WasmVm } from '../vm/vm.ts';
import type { PluginSettings } from './plugin_settings.ts';

/** Makes the VM of one plugin's code. Throws ModuleError. */
export interface VmSource {
  /** Distinguishes codes: a hash. */
  readonly codeKey: string;
  /** Of modules, for VMs in other threads. */
  readonly bytes?: Uint8Array;
  create(): WasmVm;
}

/** A plugin in a VM; shared by those that are configured alike. */
export class PluginInstance {
  readonly wasm: Wasm;
  readonly root: RootContext;
  private readonly onReleased: () => void;
  private references = 1;

  constructor(wasm: Wasm, root: RootContext, onReleased: () => void) {
    this.wasm = wasm;
    this.root = root;
    this.onReleased = onReleased;
  }

  get failState(): FailState {
    return this.wasm.failState;
  }

  get failMessage(): string {
    return this.wasm.failMessage;
  }

  get abiVersion(): string {
    return this.wasm.abiVersion;
  }

  addFailCallback(callback: () => void): void {
    this.wasm.addFailCallback(callback);
  }

  removeFailCallback(callback: () => void): void {
    this.wasm.removeFailCallback(callback);
  }

  retain(): void {
    this.references++;
  }

  /** The last one shuts the plugin down. */
  release(): void {
    if (--this.references > 0) return;
    this.onReleased();
    this.root.shutdown();
  }
}

interface SharedVm {
  readonly wasm: Wasm;
  readonly plugins: Map<string, PluginInstance>;
}

export class WasmHost {
  readonly environment: HostEnvironment;
  private readonly vms = new Map<string, SharedVm>();
  private readonly stats: (runtime: string) => VmStats;

  constructor(environment: HostEnvironment) {
    this.environment = environment;
    const known = new Map<string, VmStats>();
    this.stats = (runtime) => {
      let stats = known.get(runtime);
      if (stats === undefined) {
        const scope = environment.scope.scope(`wasm.envoy.wasm.runtime.${runtime}.`);
        stats = { created: scope.counter('created'), active: scope.gauge('active') };
        known.set(runtime, stats);
      }
      return stats;
    };
  }

  /** The plugin's instance, one reference for the caller; started when there is none. Throws WasmError, ModuleError. */
  acquire(settings: PluginSettings, source: VmSource): PluginInstance {
    const vmKey = hash(settings.vmId, settings.vmConfiguration, source.codeKey);
    const pluginKey = hash(settings.rootId, settings.configuration, settings.name);
    let shared = this.vms.get(vmKey);
    if (shared?.wasm.failed === true) {
      this.vms.delete(vmKey);
      shared = undefined;
    }
    const existing = shared?.plugins.get(pluginKey);
    if (existing !== undefined) {
      existing.retain();
      return existing;
    }
    if (shared === undefined) {
      shared = { wasm: this.createVm(settings, source), plugins: new Map() };
      this.vms.set(vmKey, shared);
    }
    return this.startPlugin(settings, vmKey, pluginKey, shared);
  }

  private createVm(settings: PluginSettings, source: VmSource): Wasm {
    const { vmId, vmConfiguration, environmentVariables, allowedCapabilities } = settings;
    const wasm = new Wasm(source.create(), this.environment, {
      vmId,
      vmConfiguration,
      environmentVariables,
      allowedCapabilities,
    });
    wasm.start();
    const stats = this.stats(wasm.vm.runtime);
    stats.created.inc();
    stats.active.inc();
    return wasm;
  }

  private startPlugin(settings: PluginSettings, vmKey: string, pluginKey: string, shared: SharedVm): PluginInstance {
    const { wasm, plugins } = shared;
    const root = new RootContext(wasm, settings);
    const onReleased = (): void => {
      plugins.delete(pluginKey);
      if (plugins.size === 0) this.forget(vmKey, shared);
    };
    try {
      root.start();
    } catch (error) {
      root.release();
      if (plugins.size === 0) this.forget(vmKey, shared);
      throw error;
    }
    const instance = new PluginInstance(wasm, root, onReleased);
    plugins.set(pluginKey, instance);
    return instance;
  }

  private forget(vmKey: string, shared: SharedVm): void {
    if (this.vms.get(vmKey) === shared) this.vms.delete(vmKey);
    this.stats(shared.wasm.vm.runtime).active.dec();
  }

  /** For admin and stats: each VM that somebody holds. */
  get running(): readonly Wasm[] {
    return Array.from(this.vms.values(), ({ wasm }) => wasm);
  }
}

interface VmStats {
  readonly created: { inc(): void };
  readonly active: { inc(): void; dec(): void };
}

function hash(first: string, second: Uint8Array, third: string): string {
  const a = Buffer.from(first, 'utf8');
  const c = Buffer.from(third, 'utf8');
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(a.length, 0);
  lengths.writeUInt32LE(second.length, 4);
  return sha256Hex(Buffer.concat([lengths, a, second, c]));
}
