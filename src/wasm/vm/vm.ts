/**
 * One virtual machine as the host sees it (cpp-host: WasmVm). Adding a VM means implementing this interface: load code, take host
 * functions, link and start, find functions, give access to memory. Implementations: `v8/` (WebAssembly), `null/` (a TypeScript
 * class in this process).
 */
import type { AbiVersion } from '../abi/enums.ts';

/** Numbers in and out: i32 come as signed numbers, i64 as bigint. */
export type WasmFunction = (...args: number[]) => number | undefined;
// biome-ignore lint/suspicious/noExplicitAny: host functions differ in their parameters (number, bigint), a VM passes what the module does.
export type HostFunction = (...args: any[]) => unknown;

export interface WasmVm {
  /** `v8`, `null`. */
  readonly runtime: string;
  /** Before `link` nothing is in it. */
  readonly memory: VmMemory;
  readonly abiVersion: AbiVersion;
  /** The functions that the module wants. */
  readonly importedFunctions: readonly { readonly module: string; readonly name: string; readonly signature: string }[];
  /** `signature` as in `abi/imports.ts`. Before `link`. */
  registerCallback(module: string, name: string, signature: string, callback: HostFunction): void;
  /** Resolves all imports and instantiates; code in the module's start section runs. Throws LinkError, or what the module threw. */
  link(): void;
  /** Null: the module does not export it. Throws LinkError when it exports it with another signature. */
  getFunction(name: string, signature: string): WasmFunction | null;
  /** What went wrong, with the functions that were running, for people. */
  describeError(error: unknown): string;
}

export class LinkError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LinkError';
  }
}

const NOTHING = new ArrayBuffer(0);

/** A VM's memory through views that are made again only after it has grown: growth detaches the old buffer, whose views get length 0. */
export class VmMemory {
  u8: Uint8Array = new Uint8Array(NOTHING);
  view: DataView = new DataView(NOTHING);
  private source: { readonly buffer: ArrayBufferLike } | null = null;

  attach(source: { readonly buffer: ArrayBufferLike }): void {
    this.source = source;
    this.refresh();
  }

  /** After any call into the module, when `u8.length` is 0. */
  refresh(): void {
    const buffer = this.source === null ? NOTHING : this.source.buffer;
    this.u8 = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  get sizeBytes(): number {
    if (this.u8.length === 0) this.refresh();
    return this.u8.length;
  }
}
