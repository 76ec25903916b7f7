/** Makes isolated plugins: a thread for each plugin that is configured, on each worker; they share no VM, whatever their vm_id. */
import type { HostEnvironment } from '../host/environment.ts';
import type { InstanceSource } from '../plugin/plugin_handle.ts';
import type { PluginSettings } from '../plugin/plugin_settings.ts';
import type { VmSource } from '../plugin/wasm_host.ts';
import { IsolatedInstance, type IsolatedLimits } from './isolated_instance.ts';
import type { ModuleInit } from './protocol.ts';

const ENTRY = new URL('./isolated_thread.ts', import.meta.url);
const START_MS = 20_000;
/** The host's own objects: a module's memory is not of the heap. */
const HEAP_MB = 64;

export interface ModuleLimits extends IsolatedLimits {
  readonly maxMemoryPages: number;
}

export class IsolatedHost implements InstanceSource<IsolatedInstance> {
  readonly environment: HostEnvironment;
  private readonly limits: () => ModuleLimits;

  constructor(environment: HostEnvironment, limits: () => ModuleLimits) {
    this.environment = environment;
    this.limits = limits;
  }

  acquire(settings: PluginSettings, source: VmSource, instead?: IsolatedInstance): IsolatedInstance {
    const { vmId, vmConfiguration, environmentVariables, allowedCapabilities } = settings;
    const { name, rootId, configuration, allowOnHeadersStopIteration } = settings;
    const limits = this.limits();
    const data: ModuleInit = {
      code: source.bytes as Uint8Array,
      maxMemoryPages: limits.maxMemoryPages,
      options: { vmId, vmConfiguration, environmentVariables, allowedCapabilities },
      plugin: { name, rootId, configuration, allowOnHeadersStopIteration },
    };
    const scope = this.environment.scope.scope('wasm.sluice.wasm.runtime.isolated.');
    const active = scope.gauge('active');
    this.environment.shared.retain(vmId);
    const instance = new IsolatedInstance(
      { entry: ENTRY, name: `wasm_${name}`, data, env: {}, heapMb: HEAP_MB, startMs: START_MS, heartbeat: false },
      this.environment,
      limits,
      {
        released: () => active.dec(),
        exited: () => this.environment.shared.release(vmId),
      },
      instead ?? null,
    );
    scope.counter('created').inc();
    active.inc();
    return instance;
  }
}
