/**
 * `sluice.bootstrap.typescript` in `bootstrap_extensions`: services, once on the main thread (`singleton`, the default) or on every worker.
 */
import { ConfigError } from '../config/error.ts';
import { ClassVersion, type ExtensionClass, type ModuleSettings } from './class_version.ts';
import { type ModuleMessage, moduleSettings, useModule } from './configured.ts';
import type { LoadedModule } from './module_loader.ts';
import { toScriptError } from './script_error.ts';
import type { ScriptHost } from './script_host.ts';
import type { ScriptUse } from './script_modules.ts';
import { Service, type ServiceClass } from './service.ts';

export const SERVICE_TYPE = 'sluice.extensions.bootstrap.typescript.v1.TypeScriptService';

interface BootstrapExtension {
  readonly typedConfig?: { readonly '@type': string };
}

type ServiceMessage = ModuleMessage & { singleton?: boolean };

/** True when the configuration has one of this kind. */
export function hasServices(extensions: readonly BootstrapExtension[] | undefined, kind: 'singleton' | 'per_worker'): boolean {
  return (extensions ?? []).some(({ typedConfig }) => isOfKind(typedConfig, kind));
}

function isOfKind(config: BootstrapExtension['typedConfig'], kind: 'singleton' | 'per_worker' | 'all'): boolean {
  if (config?.['@type'] !== SERVICE_TYPE) return false;
  return kind === 'all' || ((config as ServiceMessage).singleton ?? true) === (kind === 'singleton');
}

export class Services {
  private readonly uses: ScriptUse<ServiceVersion>[] = [];

  /** Throws ConfigError. */
  constructor(
    scripts: ScriptHost,
    extensions: readonly BootstrapExtension[] | undefined,
    kind: 'singleton' | 'per_worker' | 'all',
  ) {
    (extensions ?? []).forEach(({ typedConfig }, i) => {
      if (!isOfKind(typedConfig, kind)) return;
      const message = typedConfig as unknown as ServiceMessage;
      try {
        const module = scripts.module(message.module);
        const settings = moduleSettings(message, module.path);
        this.uses.push(useModule(module, (loaded) => new ServiceVersion(scripts, settings, loaded)));
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        throw new ConfigError(error.reason, { path: `bootstrap_extensions[${i}].typed_config.${error.path}` });
      }
    });
  }

  start(): void {
    for (const use of this.uses) use.current.begin();
  }
}

class ServiceVersion extends ClassVersion<ServiceClass & ExtensionClass> {
  private readonly service: Service | null;
  private begun = false;

  constructor(scripts: ScriptHost, settings: ModuleSettings, loaded: LoadedModule) {
    super(scripts, settings, loaded, Service);
    const { config, host } = this;
    try {
      this.service = scripts.validateOnly ? null : new this.extensionClass({ config, host });
    } catch (error) {
      host.dispose();
      throw toScriptError(error, settings.path);
    }
  }

  begin(): void {
    const { service } = this;
    if (service === null || this.begun) return;
    this.begun = true;
    this.host.run(() => service.start(), 'start');
  }

  override retire(): void {
    super.retire();
    const { service } = this;
    if (service !== null && this.begun) this.host.run(() => service.stop(), 'stop');
  }
}
