/** Modules in AssemblyScript with the SDK `@solo-io/proxy-runtime`, built as the project template builds them. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ASC_ARGUMENTS, ASSEMBLYSCRIPT_SHIMS } from '../../../src/cli/wasm_template.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export function buildAssemblyScript(source: string): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-as-'));
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
    for (const [path, text] of Object.entries(ASSEMBLYSCRIPT_SHIMS)) {
      const target = join(directory, 'shim', path);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, text);
    }
    writeFileSync(join(directory, 'index.ts'), source);
    const asc = join(ROOT, 'node_modules/assemblyscript/bin/asc.js');
    const built = spawnSync(process.execPath, [asc, 'index.ts', '-o', 'out.wasm', ...ASC_ARGUMENTS], {
      cwd: directory,
      encoding: 'utf8',
    });
    if (built.status !== 0) throw new Error(`asc failed:\n${built.stderr}`);
    return readFileSync(join(directory, 'out.wasm'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A module of the SDK: one stream class with these methods. */
export function assemblyScriptModule(rootId: string, methods: string, rootMethods = ''): string {
  return `
export * from "@solo-io/proxy-runtime/assembly/proxy";
import { RootContext, Context, BaseContext, registerRootContext, FilterHeadersStatusValues, FilterDataStatusValues, WasmResultValues, GrpcStatusValues, HeaderPair,
  Headers, stream_context, send_local_response, continue_request, log, LogLevelValues } from "@solo-io/proxy-runtime/assembly";
class Root extends RootContext {
  createContext(context_id: u32): Context { return new Stream(context_id, this); }
  ${rootMethods}
}
class Stream extends Context {
  constructor(context_id: u32, root_context: Root) { super(context_id, root_context); }
  ${methods}
}
registerRootContext((context_id: u32) => { return new Root(context_id); }, "${rootId}");`;
}
