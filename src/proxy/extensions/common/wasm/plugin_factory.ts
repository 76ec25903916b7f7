/**
 * From a PluginConfig to a running plugin on this thread, for every extension that runs Wasm. Code in a file is loaded again when the file
 * changes: streams that begin then get the new code, others keep theirs, and code that does not start leaves the old running.
 */
import { isMainThread } from 'node:worker_threads';
import { ModuleError } from '../../../../wasm/binary/module_reader.ts';
import { WasmError } from '../../../../wasm/host/wasm.ts';
import type { IsolatedInstance } from '../../../../wasm/isolated/isolated_instance.ts';
import { type InstanceLike, PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
import type { PluginSettings } from '../../../../wasm/plugin/plugin_settings.ts';
import { sha256Hex } from '../../../../wasm/vm/compiled_code.ts';
import { ConfigError } from '../../../config/error.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { type DataSourceMessage, localCode, nullSource, v8Source } from './code_source.ts';
import { watchFile } from './file_watch.ts';
import { ISOLATED_RUNTIME, NULL_RUNTIME, type PluginConfigMessage, pluginSettings, V8_RUNTIME } from './plugin_config.ts';
import { cachedRemoteCode, fetchRemoteCode } from './remote_code.ts';
import { isolatedHost, maxMemoryPages, wasmHost } from './worker_environment.ts';

/** Starts and configures a plugin that runs on this thread. Throws ConfigError when that fails: a configuration that cannot run is refused. */
export function createPlugin(config: PluginConfigMessage | undefined, context: FactoryContext): PluginHandle {
  return create(config, context, [V8_RUNTIME, NULL_RUNTIME], (settings) => new PluginHandle(wasmHost(context), settings));
}

/** As `createPlugin`, in a thread of its own. */
export function createIsolatedPlugin(
  config: PluginConfigMessage | undefined,
  context: FactoryContext,
): PluginHandle<IsolatedInstance> {
  return create(config, context, [ISOLATED_RUNTIME], (settings) => new PluginHandle(isolatedHost(context), settings));
}

export function isIsolated(config: PluginConfigMessage | undefined): boolean {
  return config?.vmConfig?.runtime === ISOLATED_RUNTIME;
}

function create<I extends InstanceLike>(
  config: PluginConfigMessage | undefined,
  context: FactoryContext,
  runtimes: readonly string[],
  make: (settings: PluginSettings) => PluginHandle<I>,
): PluginHandle<I> {
  if (config === undefined) throw new ConfigError('is required', { path: 'config' });
  try {
    const settings = pluginSettings(config);
    if (!runtimes.includes(settings.runtime)) {
      throw new ConfigError(`the Wasm runtime '${settings.runtime}' is not supported here (supported: ${runtimes.join(', ')})`, {
        path: 'vm_config.runtime',
      });
    }
    const handle = make(settings);
    loadCode(handle, config, context);
    // On the main thread a configuration is only tried.
    if (isMainThread && settings.runtime === ISOLATED_RUNTIME) handle.close();
    else context.onDestroy(() => handle.close());
    return handle;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? 'config' : `config.${error.path}` });
  }
}

function loadCode<I extends InstanceLike>(handle: PluginHandle<I>, config: PluginConfigMessage, context: FactoryContext): void {
  const code = config.vmConfig?.code;
  if (code?.remote !== undefined && config.vmConfig?.nackOnCodeCacheMiss === true) {
    const take = cachedRemoteCode(code.remote, context);
    if (isMainThread) return;
    const load = (): void => {
      const bytes = take();
      if (bytes === null) return;
      // Code that does not start is not tried again with each stream.
      handle.loadMissing = null;
      replace(handle, bytes, context, 'remote code');
    };
    handle.loadMissing = load;
    load();
    return;
  }
  if (code?.remote !== undefined) {
    // On the main thread nothing can be fetched.
    const stop = fetchRemoteCode(code.remote, context, (bytes) => replace(handle, bytes, context, 'remote code'));
    if (isMainThread) stop();
    else context.onDestroy(stop);
    return;
  }
  if (code?.local === undefined) throw new ConfigError('local or remote code is required', { path: 'vm_config.code' });
  if (handle.settings.runtime === NULL_RUNTIME) {
    attempt(handle, () => handle.load(nullSource(code.local as DataSourceMessage)));
    return;
  }
  const bytes = localCode(code.local);
  attempt(handle, () => handle.load(v8Source(bytes, maxMemoryPages(context))));
  const { filename } = code.local;
  if (filename !== undefined && filename !== '' && !isMainThread) watch(handle, filename, sha256Hex(bytes), context);
}

function attempt<I extends InstanceLike>(handle: PluginHandle<I>, load: () => void): void {
  try {
    load();
  } catch (error) {
    throw new ConfigError(`Unable to create Wasm plugin ${handle.settings.name}: ${reasonOf(error)}`, { path: 'vm_config.code' });
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof WasmError) return `${error.failState}: ${error.message}`;
  if (error instanceof ModuleError) return error.message;
  throw error;
}

function watch<I extends InstanceLike>(handle: PluginHandle<I>, filename: string, sha256: string, context: FactoryContext): void {
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
function replace<I extends InstanceLike>(
  handle: PluginHandle<I>,
  bytes: Uint8Array,
  context: FactoryContext,
  what: string,
): void {
  const log = context.logger('wasm');
  const { name } = handle.settings;
  const done = (error: unknown): void => {
    if (error === null) {
      handle.loads.inc();
      log.info(`wasm plugin ${name}: loaded ${what} (sha256 ${sha256Hex(bytes)})`);
    } else {
      handle.loadsRejected.inc();
      log.error(`wasm plugin ${name}: ${what} is not used: ${reasonOf(error)}`);
    }
  };
  try {
    handle.replace(v8Source(bytes, maxMemoryPages(context)), done);
  } catch (error) {
    done(error);
  }
}
