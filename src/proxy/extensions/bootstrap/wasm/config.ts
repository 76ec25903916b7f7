/**
 * `envoy.bootstrap.wasm`: a plugin without streams (a service with timers, queues, call-outs), one for each worker or, with `singleton`, one in
 * the process: on the first worker.
 */
import { ConfigError } from '../../../config/error.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { PluginConfigMessage } from '../../common/wasm/plugin_config.ts';
import { createPlugin } from '../../common/wasm/plugin_factory.ts';

const TYPE = 'envoy.extensions.wasm.v3.WasmService';

interface BootstrapExtension {
  readonly typedConfig?: { readonly '@type': string };
}

/** Starts the services that this worker runs. Throws ConfigError. */
export function startWasmServices(extensions: readonly BootstrapExtension[], context: FactoryContext): void {
  extensions.forEach(({ typedConfig }, i) => {
    if (typedConfig?.['@type'] !== TYPE) return;
    const service = typedConfig as { config?: PluginConfigMessage; singleton?: boolean };
    if (service.singleton === true && context.workerIndex !== 0) return;
    try {
      createPlugin(service.config, context);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const path = `bootstrap_extensions[${i}].typed_config`;
      throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
    }
  });
}
