/** What a module is and wants, and what will not work with it here: for people, before they configure it. */
import {
  CALLBACKS,
  type CallbackName,
  callbackSignature,
  RUNTIME_EXPORTS,
  type RuntimeExportName,
  signatureText,
} from '../abi/callbacks.ts';
import { ABI_VERSIONS } from '../abi/enums.ts';
import { ENV_FUNCTIONS, type EnvFunctionName, WASI_FUNCTIONS, WASI_MODULES, type WasiFunctionName } from '../abi/imports.ts';
import {
  type ModuleExport,
  type ModuleImport,
  type ModuleInfo,
  PAGE_BYTES,
  readFunctionNames,
  readModule,
} from './module_reader.ts';

export interface Inspection {
  readonly sizeBytes: number;
  /** '' when there is no marker. */
  readonly abiVersion: string;
  readonly functions: number;
  /** Functions that errors can name. */
  readonly namedFunctions: number;
  readonly memory: { readonly minimumBytes: number; readonly maximumBytes: number | null } | null;
  /** How the module starts: `_initialize`, `_start`, a start section, or nothing. */
  readonly starts: readonly string[];
  readonly allocator: string | null;
  readonly callbacks: readonly string[];
  readonly otherExports: readonly string[];
  readonly imports: readonly { readonly name: string; readonly signature: string }[];
  /** It will not load. */
  readonly problems: readonly string[];
  /** It loads, and something will not do what its author may expect. */
  readonly notes: readonly string[];
}

/** Throws ModuleError when the bytes are no module. */
export function inspectModule(bytes: Uint8Array): Inspection {
  const info = readModule(bytes);
  const functions = info.exports.filter(({ kind }) => kind === 'function');
  const has = (name: string): boolean => functions.some((entry) => entry.name === name);
  const memory = info.memories[0];
  const allocator = has('malloc') ? 'malloc' : has('proxy_on_memory_allocate') ? 'proxy_on_memory_allocate' : null;
  const callbacks = functions.filter(({ name }) => Object.hasOwn(CALLBACKS, name)).map(({ name }) => name);
  const known = (name: string): boolean =>
    Object.hasOwn(CALLBACKS, name) || Object.hasOwn(RUNTIME_EXPORTS, name) || name.startsWith('proxy_abi_version_');
  return {
    sizeBytes: info.sizeBytes,
    abiVersion: info.abiVersion,
    functions: info.functionCount,
    namedFunctions: readFunctionNames(bytes, info).size,
    memory:
      memory === undefined
        ? null
        : {
            minimumBytes: memory.minimum * PAGE_BYTES,
            maximumBytes: memory.maximum === undefined ? null : memory.maximum * PAGE_BYTES,
          },
    starts: ['_initialize', '_start'].filter(has).concat(info.hasStart ? ['start section'] : []),
    allocator,
    callbacks,
    otherExports: info.exports
      .filter(({ name }) => !known(name))
      .map(({ name, kind }) => (kind === 'function' ? name : `${name} (${kind})`)),
    imports: info.imports.map((entry) => ({
      name: `${entry.module}.${entry.name}`,
      signature: entry.kind === 'function' ? signatureText(entry.signature) : entry.kind,
    })),
    problems: problemsOf(info, functions, allocator),
    notes: notesOf(info, callbacks),
  };
}

function problemsOf(info: ModuleInfo, functions: readonly ModuleExport[], allocator: string | null): string[] {
  const problems: string[] = [];
  if (!ABI_VERSIONS.some((version) => version === info.abiVersion)) {
    problems.push(
      info.abiVersion === ''
        ? `it says no ABI version: one of ${ABI_VERSIONS.map((version) => `proxy_abi_version_${version.replaceAll('.', '_')}`).join(', ')} must be exported`
        : `ABI ${info.abiVersion} is not known (${ABI_VERSIONS.join(', ')} are)`,
    );
  }
  if (allocator === null) problems.push('it exports neither malloc nor proxy_on_memory_allocate');
  if (!info.exports.some(({ name, kind }) => name === 'memory' && kind === 'memory')) problems.push('it exports no memory');
  if (info.memories.some(({ shared }) => shared)) problems.push('its memory is shared (threads)');
  if (info.memories.some(({ is64 }) => is64)) problems.push('its memory is 64-bit');
  for (const { name, signature } of functions) {
    const wanted = Object.hasOwn(CALLBACKS, name)
      ? callbackSignature(name as CallbackName, info.abiVersion)
      : Object.hasOwn(RUNTIME_EXPORTS, name)
        ? RUNTIME_EXPORTS[name as RuntimeExportName]
        : signature;
    if (wanted !== signature) problems.push(`${name} is ${signatureText(signature)}, and must be ${signatureText(wanted)}`);
  }
  for (const entry of info.imports) {
    const problem = importProblem(entry);
    if (problem !== null) problems.push(problem);
  }
  return problems;
}

function importProblem({ module, name, kind, signature }: ModuleImport): string | null {
  const what = `${module}.${name}`;
  if (kind !== 'function') return `it imports the ${kind} ${what}: modules bring their own`;
  let wanted: string | undefined;
  if (module === 'env' && Object.hasOwn(ENV_FUNCTIONS, name)) wanted = ENV_FUNCTIONS[name as EnvFunctionName].signature;
  else if (WASI_MODULES.some((known) => known === module) && Object.hasOwn(WASI_FUNCTIONS, name))
    wanted = WASI_FUNCTIONS[name as WasiFunctionName];
  else if (module === 'env' && name.startsWith('proxy_') && /:i?$/.test(signature)) return null;
  if (wanted === undefined) return `there is no host function ${what}`;
  return wanted === signature ? null : `it imports ${what} as ${signatureText(signature)}, which is ${signatureText(wanted)}`;
}

function notesOf(info: ModuleInfo, callbacks: readonly string[]): string[] {
  const notes: string[] = [];
  for (const { module, name } of info.imports) {
    if (module === 'env' && name.startsWith('proxy_') && !Object.hasOwn(ENV_FUNCTIONS, name)) {
      notes.push(`${name} is of another host: it answers Unimplemented here`);
    } else if (module === 'env' && Object.hasOwn(ENV_FUNCTIONS, name)) {
      const { versions } = ENV_FUNCTIONS[name as EnvFunctionName];
      if (versions !== '' && !versions.split(' ').includes(info.abiVersion))
        notes.push(`${name} is of ABI ${versions}: Envoy refuses it in a module of ${info.abiVersion}`);
    }
  }
  if (callbacks.length === 0) notes.push('it has no callback: it does nothing');
  return notes;
}
