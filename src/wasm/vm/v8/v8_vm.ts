/**
 * Modules in the engine that runs this process, through the WebAssembly API. Calls in both directions are direct. A running module cannot
 * be interrupted here: an endless loop holds its thread (the isolated VM is for modules that are not trusted).
 */

import { signatureText } from '../../abi/callbacks.ts';
import type { AbiVersion } from '../../abi/enums.ts';
import type { ExternKind, ModuleImport } from '../../binary/module_reader.ts';
import type { CompiledCode } from '../compiled_code.ts';
import { type HostFunction, LinkError, VmMemory, type WasmFunction, type WasmVm } from '../vm.ts';

const MAX_FRAMES = 20;

export class V8Vm implements WasmVm {
  readonly runtime = 'v8';
  readonly memory = new VmMemory();
  readonly abiVersion: AbiVersion;
  private readonly code: CompiledCode;
  private readonly callbacks = new Map<string, { signature: string; callback: HostFunction }>();
  private exports: WebAssembly.Exports = {};

  constructor(code: CompiledCode) {
    this.code = code;
    this.abiVersion = code.abiVersion;
  }

  get importedFunctions(): readonly ModuleImport[] {
    return this.code.info.imports.filter(({ kind }) => kind === 'function');
  }

  registerCallback(module: string, name: string, signature: string, callback: HostFunction): void {
    this.callbacks.set(`${module}.${name}`, { signature, callback });
  }

  link(): void {
    const imports: WebAssembly.Imports = {};
    for (const { module, name, kind, signature } of this.code.info.imports) {
      const target = (imports[module] ??= Object.create(null) as WebAssembly.ModuleImports);
      target[name] = this.resolve(module, name, kind, signature);
    }
    const instance = new WebAssembly.Instance(this.code.module, imports);
    this.exports = instance.exports;
    const memory = this.exports['memory'];
    if (!(memory instanceof WebAssembly.Memory)) throw new LinkError('the module exports no memory');
    this.memory.attach(memory);
  }

  private resolve(module: string, name: string, kind: ExternKind, signature: string): HostFunction {
    const what = `${module}.${name}`;
    if (kind !== 'function') throw new LinkError(`Failed to load Wasm module due to a missing import: ${what} (a ${kind})`);
    const known = this.callbacks.get(what);
    if (known === undefined) throw new LinkError(`Failed to load Wasm module due to a missing import: ${what}`);
    if (known.signature !== signature && signature !== '?') {
      throw new LinkError(
        `Failed to load Wasm module due to an import type mismatch: ${what}, want: ${signatureText(signature)}, but host exports: ${signatureText(known.signature)}`,
      );
    }
    return known.callback;
  }

  getFunction(name: string, signature: string): WasmFunction | null {
    const found = this.code.info.exports.find((entry) => entry.name === name && entry.kind === 'function');
    if (found === undefined) return null;
    if (found.signature !== signature && found.signature !== '?') {
      throw new LinkError(
        `Bad function signature for: ${name}, want: ${signatureText(signature)}, but the module exports: ${signatureText(found.signature)}`,
      );
    }
    return this.exports[name] as WasmFunction;
  }

  describeError(error: unknown): string {
    if (!(error instanceof Error)) return `Uncaught ${String(error)}`;
    const frames: string[] = [];
    for (const line of (error.stack ?? '').split('\n')) {
      const match = /wasm-function\[(\d+)\]:(0x[0-9a-f]+)/.exec(line);
      if (match === null || frames.length === MAX_FRAMES) continue;
      const index = Number(match[1]);
      const exported = this.code.info.exports.find((entry) => entry.kind === 'function' && entry.index === index);
      const name = this.code.functionName(index) ?? exported?.name ?? `function[${index}]`;
      frames.push(`  ${frames.length}:  ${match[2]} - ${name}`);
    }
    const text = `Uncaught ${error.name}: ${error.message}`;
    return frames.length === 0 ? text : `${text}\nProxy-Wasm plugin in-VM backtrace:\n${frames.join('\n')}`;
  }
}
