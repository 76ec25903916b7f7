/**
 * A module ready to be instantiated: checked, its memory limited, compiled. Instances of the same code share one; a thread keeps those
 * that somebody holds (V8 shares the machine code between threads by itself).
 */
import { createHash } from 'node:crypto';
import { ABI_VERSIONS, type AbiVersion } from '../abi/enums.ts';
import { limitMemory } from '../binary/limit_memory.ts';
import { ModuleError, type ModuleInfo, readFunctionNames, readModule } from '../binary/module_reader.ts';

/** 256 MiB: a module that needs more is misconfigured or misbehaves. */
export const DEFAULT_MAX_MEMORY_PAGES = 4096;

export class CompiledCode {
  readonly sha256: string;
  readonly info: ModuleInfo;
  readonly module: WebAssembly.Module;
  readonly abiVersion: AbiVersion;
  private readonly bytes: Uint8Array;
  private names: Map<number, string> | null = null;

  /** Throws ModuleError. */
  constructor(bytes: Uint8Array, sha256: string, maxMemoryPages: number) {
    this.bytes = bytes;
    this.sha256 = sha256;
    this.info = readModule(bytes);
    this.abiVersion = checkAbiVersion(this.info);
    if (this.info.memories.some(({ shared }) => shared)) throw new ModuleError('modules with shared memory are not supported');
    if (this.info.memories.some(({ is64 }) => is64)) throw new ModuleError('modules with 64-bit memory are not supported');
    try {
      this.module = new WebAssembly.Module(limitMemory(bytes, this.info, maxMemoryPages) as Uint8Array<ArrayBuffer>);
    } catch (error) {
      if (error instanceof ModuleError) throw error;
      throw new ModuleError(error instanceof Error ? error.message.replace('WebAssembly.Module(): ', '') : String(error));
    }
  }

  functionName(index: number): string | undefined {
    this.names ??= readFunctionNames(this.bytes, this.info);
    return this.names.get(index);
  }
}

function checkAbiVersion(info: ModuleInfo): AbiVersion {
  const version = ABI_VERSIONS.find((known) => known === info.abiVersion);
  if (version !== undefined) return version;
  throw new ModuleError(
    info.abiVersion === ''
      ? 'Missing or unknown Proxy-Wasm ABI version: the module exports no proxy_abi_version_* marker'
      : `Missing or unknown Proxy-Wasm ABI version: ${info.abiVersion} (known: ${ABI_VERSIONS.join(', ')})`,
  );
}

const cache = new Map<string, WeakRef<CompiledCode>>();

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Compiles, or finds the same code compiled. Throws ModuleError. */
export function compileCode(bytes: Uint8Array, maxMemoryPages: number = DEFAULT_MAX_MEMORY_PAGES): CompiledCode {
  const sha256 = sha256Hex(bytes);
  const key = `${sha256} ${maxMemoryPages}`;
  const known = cache.get(key)?.deref();
  if (known !== undefined) return known;
  const code = new CompiledCode(bytes, sha256, maxMemoryPages);
  for (const [old, reference] of cache) if (reference.deref() === undefined) cache.delete(old);
  cache.set(key, new WeakRef(code));
  return code;
}
