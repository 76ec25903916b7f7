/** Where a plugin's code comes from: in the configuration, a file, the environment. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type { VmSource } from '../../../../wasm/plugin/wasm_host.ts';
import { type CompiledCode, compileCode } from '../../../../wasm/vm/compiled_code.ts';
import type { NullPluginFactory } from '../../../../wasm/vm/null/null_plugin.ts';
import { NullVm } from '../../../../wasm/vm/null/null_vm.ts';
import { V8Vm } from '../../../../wasm/vm/v8/v8_vm.ts';
import { ConfigError } from '../../../config/error.ts';

export interface DataSourceMessage {
  filename?: string;
  inlineBytes?: Uint8Array;
  inlineString?: string;
  environmentVariable?: string;
}

export interface CodeConfig {
  local?: DataSourceMessage;
  remote?: RemoteCode;
}

export interface RemoteCode {
  httpUri?: { uri?: string; cluster?: string; timeout?: number };
  sha256?: string;
  retryPolicy?: unknown;
}

const PATH = 'vm_config.code';

/** The bytes of local code. Throws ConfigError. */
export function localCode(source: DataSourceMessage): Uint8Array {
  if (source.inlineBytes !== undefined) return source.inlineBytes;
  if (source.inlineString !== undefined) return Buffer.from(source.inlineString, 'latin1');
  if (source.environmentVariable !== undefined) {
    const value = process.env[source.environmentVariable];
    if (value === undefined)
      throw new ConfigError(`Environment variable doesn't exist: ${source.environmentVariable}`, { path: `${PATH}.local` });
    return Buffer.from(value, 'latin1');
  }
  if (source.filename === undefined || source.filename === '')
    throw new ConfigError('one of filename, inline_bytes, inline_string must be set', { path: `${PATH}.local` });
  try {
    return readFileSync(source.filename);
  } catch (error) {
    throw new ConfigError(`unable to read file: ${source.filename} (${error instanceof Error ? error.message : String(error)})`, {
      path: `${PATH}.local.filename`,
    });
  }
}

/** A VM source for module bytes. Throws ModuleError. */
export function v8Source(bytes: Uint8Array, maxMemoryPages: number): VmSource {
  const code: CompiledCode = compileCode(bytes, maxMemoryPages);
  return { codeKey: code.sha256, bytes, create: () => new V8Vm(code) };
}

const load = createRequire(import.meta.url);

/** Of the null sandbox: a file with TypeScript or JavaScript that exports a NullPluginFactory as `default`. Throws ConfigError. */
export function nullSource(source: DataSourceMessage): VmSource {
  const path = `${PATH}.local`;
  const { filename } = source;
  if (filename === undefined || filename === '') throw new ConfigError('the null sandbox takes its code from a file', { path });
  let factory: unknown;
  try {
    factory = (load(resolve(filename)) as { default?: unknown }).default;
  } catch (error) {
    throw new ConfigError(`cannot load ${filename}: ${error instanceof Error ? error.message : String(error)}`, {
      path: `${path}.filename`,
    });
  }
  if (typeof factory !== 'function')
    throw new ConfigError(`${filename} has no function as its default export`, { path: `${path}.filename` });
  return { codeKey: `null ${resolve(filename)}`, create: () => new NullVm(factory as NullPluginFactory) };
}
