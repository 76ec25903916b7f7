/** Makes isolated plugins: a thread for each plugin that is configured, on each worker; they share no VM, whatever their vm_id. */
import type { HostEnvironment } from '../host/environment.ts';
import type { InstanceSource } from '../plugin/plugin_handle.ts';
import type { PluginSettings } from '../plugin/plugin_settings.ts';
import type { VmSource } from '../plugin/wasm_host.ts';
import { IsolatedInstance, type IsolatedLimits } from './isolated_instance.ts';

export class IsolatedHost implements InstanceSource<IsolatedInstance> {
  readonly environment: HostEnvironment;
  private readonly limits: () => IsolatedLimits;

  constructor(environment: HostEnvironment, limits: () => IsolatedLimits) {
    this.environment = environment;
    this.limits = limits;
  }

  acquire(settings: PluginSettings, source: VmSource): IsolatedInstance {
    const { vmId, vmConfiguration, environmentVariables, allowedCapabilities } = settings;
    const scope = this.environment.scope.scope('wasm.sluice.wasm.runtime.isolated.');
    const active = scope.gauge('active');
    const instance = new IsolatedInstance(
      source.bytes as Uint8Array,
      { vmId, vmConfiguration, environmentVariables, allowedCapabilities },
      settings,
      this.environment,
      this.limits(),
      () => active.dec(),
    );
    scope.counter('created').inc();
    active.inc();
    return instance;
  }
}
