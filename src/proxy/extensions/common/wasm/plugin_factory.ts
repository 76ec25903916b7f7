/**
 * From a PluginConfig to a running plugin on this thread, for every extension that runs Wasm. Code in a file is loaded again when the file
 * changes: streams that begin then get the new code, others keep theirs, and code that does not start leaves the old running.
 */
import { isMainThread } from 'node:worker_threads';
import { ModuleError } from '../../../../wasm/binary/module_reader.ts';
import { WasmError } from '../../../../wasm/host/wasm.ts';
import { PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
import type { VmSource } from '../../../../wasm/plugin/wasm_host.ts';
import { sha256Hex } from '../../../../wasm/vm/compiled_code.ts';
import { ConfigError } from '../../../config/error.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { localCode, v8Source } from './code_source.ts';
import { watchFile } from './file_watch.ts';
import { type PluginConfigMessage, pluginSettings, V8_RUNTIME } from './plugin_config.ts';
import { fetchRemoteCode } from './remote_code.ts';
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
  const handle = new PluginHandle(wasmHost(context), settings);
  context.onDestroy(() => handle.close());
  if (code?.remote !== undefined) {
    // On the main thread configurations are only tried, and nothing can be fetched.
    const stop = fetchRemoteCode(code.remote, context, (bytes) => replace(handle, bytes, context, 'remote code'));
    if (isMainThread) stop();
    else context.onDestroy(stop);
    return handle;
  }
  if (code?.local === undefined) throw new ConfigError('local or remote code is required', { path: 'vm_config.code' });
  const bytes = localCode(code.local);
  try {
    handle.load(sourceOf(bytes));
  } catch (error) {
    throw new ConfigError(`Unable to create Wasm plugin ${settings.name}: ${reasonOf(error)}`, { path: 'vm_config.code' });
  }
  const { filename } = code.local;
  if (filename !== undefined && filename !== '' && !isMainThread) watch(handle, filename, sha256Hex(bytes), context);
  return handle;
}

function sourceOf(bytes: Uint8Array): VmSource {
  return v8Source(bytes);
}

function reasonOf(error: unknown): string {
  if (error instanceof WasmError) return `${error.failState}: ${error.message}`;
  if (error instanceof ModuleError) return error.message;
  throw error;
}

function watch(handle: PluginHandle, filename: string, sha256: string, context: FactoryContext): void {
  let current = sha256;
  const stop = watchFile(filename, context.dispatcher, () => {
    let bytes: Uint8Array;
    try {
      bytes = localCode({ filename });
    } catch {
      // Between two names: the next event tells.
      return;
    }
    const found = sha256Hex(bytes);
    if (found === current) return;
    current = found;
    replace(handle, bytes, context, filename);
  });
  if (stop === null) context.logger('wasm').warn(`cannot watch ${filename}: changes of it will not be seen`);
  else context.onDestroy(stop);
}

/** New code for streams that begin from now on; when it does not start, things stay as they are. */
function replace(handle: PluginHandle, bytes: Uint8Array, context: FactoryContext, what: string): void {
  const log = context.logger('wasm');
  const { name } = handle.settings;
  try {
    handle.load(sourceOf(bytes));
    handle.loads.inc();
    log.info(`wasm plugin ${name}: loaded ${what} (sha256 ${sha256Hex(bytes)})`);
  } catch (error) {
    handle.loadsRejected.inc();
    log.error(`wasm plugin ${name}: ${what} is not used: ${reasonOf(error)}`);
  }
}
