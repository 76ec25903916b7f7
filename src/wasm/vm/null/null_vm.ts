/**
 * A VM without a machine: its functions are methods of TypeScript classes (`null_plugin.ts`), its memory an array that serves to pass values, as
 * with modules, and is used from the start again by each call.
 */

import { CALLBACKS, type CallbackName } from '../../abi/callbacks.ts';
import type { AbiVersion } from '../../abi/enums.ts';
import { type HostFunction, VmMemory, type WasmFunction, type WasmVm } from '../vm.ts';
import { NullHost, type NullPluginFactory, type NullRoot, type NullStream } from './null_plugin.ts';

const INITIAL_BYTES = 64 << 10;
const MAX_BYTES = 256 << 20;
/** 0 is no pointer. */
const FIRST = 8;

export class NullVm implements WasmVm {
  readonly runtime = 'null';
  readonly abiVersion: AbiVersion = '0.2.1';
  readonly memory = new VmMemory();
  readonly importedFunctions: readonly never[] = [];
  private readonly factory: NullPluginFactory;
  private readonly callbacks = new Map<string, HostFunction>();
  private readonly roots = new Map<number, NullRoot>();
  private readonly streams = new Map<number, NullStream>();
  private readonly api = new NullHost(this);
  private readonly source = { buffer: new ArrayBuffer(INITIAL_BYTES, { maxByteLength: MAX_BYTES }) };
  private at = FIRST;

  constructor(factory: NullPluginFactory) {
    this.factory = factory;
  }

  registerCallback(module: string, name: string, _signature: string, callback: HostFunction): void {
    if (module === 'env') this.callbacks.set(name, callback);
  }

  link(): void {
    this.memory.attach(this.source);
  }

  getFunction(name: string): WasmFunction | null {
    if (name === 'malloc') return (size) => this.scratch(size);
    if (!Object.hasOwn(CALLBACKS, name)) return null;
    const fn = this.functions[name as CallbackName];
    return fn === undefined ? null : (...args) => this.run(fn, args);
  }

  private run(fn: (...args: number[]) => number | boolean | void, args: number[]): number {
    this.at = FIRST;
    return Number(fn(...args) ?? 0);
  }

  describeError(error: unknown): string {
    return error instanceof Error ? `Uncaught ${error.stack ?? error.message}` : `Uncaught ${String(error)}`;
  }

  private root(id: number): NullRoot {
    const root = this.roots.get(id);
    if (root === undefined) throw new Error(`unknown root context ${id}`);
    return root;
  }

  private stream(id: number): NullStream {
    const stream = this.streams.get(id);
    if (stream === undefined) throw new Error(`unknown stream context ${id}`);
    return stream;
  }

  private readonly functions: Partial<Record<CallbackName, (...args: number[]) => number | boolean | void>> = {
    proxy_on_context_create: (id, parent) => {
      if (parent === 0) this.roots.set(id, this.factory(this.api, id, this.api.property('plugin_root_id') ?? ''));
      else this.streams.set(id, this.root(parent).createStream(id));
    },
    proxy_on_vm_start: (id, size) => this.root(id).onStart(size),
    proxy_on_configure: (id, size) => this.root(id).onConfigure(this.api.configuration(size)),
    proxy_on_tick: (id) => this.root(id).onTick(),
    proxy_on_queue_ready: (id, token) => this.root(id).onQueueReady(token),
    proxy_on_http_call_response: (id, token, headers, size, trailers) =>
      this.root(id).onHttpCallResponse(token, headers, size, trailers),
    proxy_on_request_headers: (id, count, end) => this.stream(id).onRequestHeaders(count, end !== 0),
    proxy_on_request_body: (id, size, end) => this.stream(id).onRequestBody(size, end !== 0),
    proxy_on_request_trailers: (id, count) => this.stream(id).onRequestTrailers(count),
    proxy_on_response_headers: (id, count, end) => this.stream(id).onResponseHeaders(count, end !== 0),
    proxy_on_response_body: (id, size, end) => this.stream(id).onResponseBody(size, end !== 0),
    proxy_on_response_trailers: (id, count) => this.stream(id).onResponseTrailers(count),
    proxy_on_new_connection: (id) => this.stream(id).onNewConnection(),
    proxy_on_downstream_data: (id, size, end) => this.stream(id).onDownstreamData(size, end !== 0),
    proxy_on_upstream_data: (id, size, end) => this.stream(id).onUpstreamData(size, end !== 0),
    proxy_on_log: (id) => (this.streams.get(id) ?? this.root(id)).onLog(),
    proxy_on_done: (id) => (this.streams.get(id) ?? this.root(id)).onDone(),
    proxy_on_delete: (id) => {
      (this.streams.get(id) ?? this.root(id)).onDelete();
      this.streams.delete(id);
      this.roots.delete(id);
    },
  };

  // For NullHost: values in memory.

  host(name: string): HostFunction {
    const callback = this.callbacks.get(name);
    if (callback === undefined) throw new Error(`there is no host function ${name}`);
    return callback;
  }

  /** Room for `size` bytes until the next call of the plugin. */
  scratch(size: number): number {
    const pointer = this.at;
    const end = (pointer + size + 7) & ~7;
    if (end > this.source.buffer.byteLength) {
      if (end > MAX_BYTES) return 0;
      this.source.buffer.resize(Math.min(MAX_BYTES, Math.max(end, this.source.buffer.byteLength * 2)));
    }
    this.at = end;
    return pointer;
  }

  /** Pointer and length of a text that is put into memory. */
  put(text: string): [number, number] {
    const bytes = Buffer.from(text, 'latin1');
    const pointer = this.scratch(bytes.length);
    this.memory.u8.set(bytes, pointer);
    return [pointer, bytes.length];
  }

  word(at: number): number {
    return this.memory.view.getUint32(at, true);
  }

  /** The text that a host function left. */
  take(pointerAt: number, sizeAt: number): string {
    const start = this.word(pointerAt);
    return Buffer.from(this.memory.u8.buffer as ArrayBuffer, start, this.word(sizeAt)).toString('latin1');
  }
}
