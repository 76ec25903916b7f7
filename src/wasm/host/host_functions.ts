/**
 * Gives a VM all host functions: those of `env` and of WASI, stubs for those that the configuration does not allow, and for functions of
 * other hosts that modules import but may never call.
 */

import { LogLevel, Status, WasiErrno } from '../abi/enums.ts';
import { ENV_FUNCTIONS, type EnvFunctionName, WASI_FUNCTIONS, WASI_MODULES, type WasiFunctionName } from '../abi/imports.ts';
import type { HostFunction } from '../vm/vm.ts';
import { bufferFunctions } from './functions/buffers.ts';
import { calloutFunctions } from './functions/callouts.ts';
import { headerFunctions } from './functions/headers.ts';
import { pluginFunctions } from './functions/plugin.ts';
import { sharedFunctions } from './functions/shared.ts';
import { streamFunctions } from './functions/streams.ts';
import { wasiFunctions } from './functions/wasi.ts';
import type { Wasm } from './wasm.ts';

export type HostFunctions<Name extends string> = Partial<Record<Name, HostFunction>>;

/** Functions that hosts do not restrict (cpp-host). */
const UNRESTRICTED = new Set(['pthread_equal', 'emscripten_notify_memory_growth']);

export function registerHostFunctions(wasm: Wasm): void {
  const { vm } = wasm;
  const allowed = wasm.options.allowedCapabilities;
  const env: HostFunctions<EnvFunctionName> = {
    ...pluginFunctions(wasm),
    ...headerFunctions(wasm),
    ...bufferFunctions(wasm),
    ...streamFunctions(wasm),
    ...calloutFunctions(wasm),
    ...sharedFunctions(wasm),
  };
  for (const name of Object.keys(ENV_FUNCTIONS) as EnvFunctionName[]) {
    const callback =
      allowed === null || allowed.has(name) || UNRESTRICTED.has(name)
        ? (env[name] as HostFunction)
        : restricted(wasm, name, Status.InternalFailure);
    vm.registerCallback('env', name, ENV_FUNCTIONS[name].signature, callback);
  }
  const wasi = wasiFunctions(wasm);
  for (const name of Object.keys(WASI_FUNCTIONS) as WasiFunctionName[]) {
    const callback = allowed === null || allowed.has(name) ? wasi[name] : restricted(wasm, name, WasiErrno.NotCapable);
    for (const module of WASI_MODULES) vm.registerCallback(module, name, WASI_FUNCTIONS[name], callback);
  }
  for (const { module, name, signature } of vm.importedFunctions) {
    if (module !== 'env' || !name.startsWith('proxy_') || Object.hasOwn(ENV_FUNCTIONS, name) || !/:i?$/.test(signature)) continue;
    vm.registerCallback('env', name, signature, () => Status.Unimplemented);
  }
}

function restricted(wasm: Wasm, name: string, result: number): HostFunction {
  return () => {
    wasm.environment.log(LogLevel.Error, `Attempted call to restricted proxy-wasm capability: ${name}`);
    return result;
  };
}
