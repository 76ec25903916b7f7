/** From a PluginConfig to a running plugin on this thread: for every extension that runs Wasm. */
import { WasmError } from '../../../../wasm/host/wasm.ts';
import { PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
import { ConfigError } from '../../../config/error.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { checkedV8Source, localCode } from './code_source.ts';
import { type PluginConfigMessage, pluginSettings, V8_RUNTIME } from './plugin_config.ts';
import { wasmHost } from './worker_environment.ts';

/** Starts and configures the plugin. Throws ConfigError when that fails: a configuration that cannot run is refused. */
export function createPlugin(config: PluginConfigMessage | undefined, context: FactoryContext): PluginHandle {
  if (config === undefined) throw new ConfigError('is required', { path: 'config' });
  try {
    return create(config, context);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? 'config' : `config.${error.path}` });
  }
}

function create(config: PluginConfigMessage, context: FactoryContext): PluginHandle {
  const settings = pluginSettings(config);
  if (settings.runtime !== V8_RUNTIME) {
    throw new ConfigError(`the Wasm runtime '${settings.runtime}' is not supported (supported: ${V8_RUNTIME})`, {
      path: 'vm_config.runtime',
    });
  }
  const code = config.vmConfig?.code;
  if (code?.local === undefined) throw new ConfigError('local code is required', { path: 'vm_config.code' });
  const handle = new PluginHandle(wasmHost(context), settings);
  const source = checkedV8Source(localCode(code.local));
  try {
    handle.load(source);
  } catch (error) {
    if (!(error instanceof WasmError)) throw error;
    throw new ConfigError(`Unable to create Wasm plugin ${settings.name}: ${error.failState}: ${error.message}`);
  }
  context.onDestroy(() => handle.close());
  return handle;
}
