/** The part of the WebAssembly JavaScript API that is used here; TypeScript has its types only for browsers. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer> | ArrayBuffer);
  }
  class Instance {
    readonly exports: Exports;
    constructor(module: Module, imports?: Imports);
  }
  class Memory {
    readonly buffer: ArrayBuffer;
    constructor(descriptor: { initial: number; maximum?: number });
    grow(pages: number): number;
  }
  class LinkError extends Error {}
  class CompileError extends Error {}
  class RuntimeError extends Error {}
  type ModuleImports = Record<string, unknown>;
  type Imports = Record<string, ModuleImports>;
  type Exports = Record<string, unknown>;
}
