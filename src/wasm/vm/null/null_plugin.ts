/**
 * Plugins written in TypeScript that run behind the same interface as modules (Envoy: the null sandbox): two classes with the ABI's callbacks,
 * and the ABI's host functions with strings in place of pointers. Nothing keeps them from the rest of the process: for code that is trusted.
 */
import { BufferType, LogLevel, MapType, Status } from '../../abi/enums.ts';
import { decodePairs } from '../../abi/pairs.ts';
import type { NullVm } from './null_vm.ts';

/** A plugin: made for each configuration in each VM. */
export class NullRoot {
  readonly host: NullHost;
  readonly id: number;

  constructor(host: NullHost, id: number) {
    this.host = host;
    this.id = id;
  }

  onStart(_vmConfigurationSize: number): boolean {
    return true;
  }

  onConfigure(_configuration: string): boolean {
    return true;
  }

  onTick(): void {}

  onQueueReady(_token: number): void {}

  onHttpCallResponse(_token: number, _headers: number, _bodySize: number, _trailers: number): void {}

  onLog(): void {}

  onDone(): boolean {
    return true;
  }

  onDelete(): void {}

  createStream(id: number): NullStream {
    return new NullStream(this, id);
  }
}

/** A stream of a plugin; callbacks return the ABI's numbers. */
export class NullStream {
  readonly root: NullRoot;
  readonly host: NullHost;
  readonly id: number;

  constructor(root: NullRoot, id: number) {
    this.root = root;
    this.host = root.host;
    this.id = id;
  }

  onRequestHeaders(_count: number, _endOfStream: boolean): number {
    return 0;
  }

  onRequestBody(_size: number, _endOfStream: boolean): number {
    return 0;
  }

  onRequestTrailers(_count: number): number {
    return 0;
  }

  onResponseHeaders(_count: number, _endOfStream: boolean): number {
    return 0;
  }

  onResponseBody(_size: number, _endOfStream: boolean): number {
    return 0;
  }

  onResponseTrailers(_count: number): number {
    return 0;
  }

  onNewConnection(): number {
    return 0;
  }

  onDownstreamData(_size: number, _endOfStream: boolean): number {
    return 0;
  }

  onUpstreamData(_size: number, _endOfStream: boolean): number {
    return 0;
  }

  onLog(): void {}

  onDone(): boolean {
    return true;
  }

  onDelete(): void {}
}

/** Makes the root for a plugin's `root_id`. */
export type NullPluginFactory = (host: NullHost, id: number, rootId: string) => NullRoot;

/** Host functions, with texts of one character per byte. Those that can fail give a status or null. */
export class NullHost {
  private readonly vm: NullVm;

  constructor(vm: NullVm) {
    this.vm = vm;
  }

  log(message: string, level: number = LogLevel.Info): void {
    this.call('proxy_log', level, ...this.vm.put(message));
  }

  header(type: number, name: string): string | null {
    return this.result('proxy_get_header_map_value', type, ...this.vm.put(name));
  }

  headers(type: number): [string, string][] {
    const text = this.result('proxy_get_header_map_pairs', type) ?? '';
    const bytes = Buffer.from(text, 'latin1');
    return decodePairs(bytes, 0, bytes.length);
  }

  addHeader(type: number, name: string, value: string): number {
    return this.call('proxy_add_header_map_value', type, ...this.vm.put(name), ...this.vm.put(value));
  }

  replaceHeader(type: number, name: string, value: string): number {
    return this.call('proxy_replace_header_map_value', type, ...this.vm.put(name), ...this.vm.put(value));
  }

  removeHeader(type: number, name: string): number {
    return this.call('proxy_remove_header_map_value', type, ...this.vm.put(name));
  }

  requestHeader(name: string): string | null {
    return this.header(MapType.HttpRequestHeaders, name);
  }

  responseHeader(name: string): string | null {
    return this.header(MapType.HttpResponseHeaders, name);
  }

  body(type: number, start = 0, size = 0xffffffff): string | null {
    return this.result('proxy_get_buffer_bytes', type, start, size);
  }

  setBody(type: number, text: string): number {
    return this.call('proxy_set_buffer_bytes', type, 0, 0xffffffff, ...this.vm.put(text));
  }

  configuration(size: number): string {
    return this.body(BufferType.PluginConfiguration, 0, size) ?? '';
  }

  property(...path: string[]): string | null {
    return this.result('proxy_get_property', ...this.vm.put(path.join('\0')));
  }

  setProperty(name: string, value: string): number {
    return this.call('proxy_set_property', ...this.vm.put(name), ...this.vm.put(value));
  }

  reply(status: number, details: string, body: string, grpcStatus = -1): number {
    return this.call('proxy_send_local_response', status, ...this.vm.put(details), ...this.vm.put(body), 0, 0, grpcStatus);
  }

  continueStream(type: number): number {
    return this.call('proxy_continue_stream', type);
  }

  setTickPeriod(ms: number): void {
    this.call('proxy_set_tick_period_milliseconds', ms);
  }

  setEffectiveContext(id: number): number {
    return this.call('proxy_set_effective_context', id);
  }

  /** Undefined: absent. */
  sharedData(key: string): { value: string; cas: number } | undefined {
    const out = this.vm.scratch(12);
    const status = this.call('proxy_get_shared_data', ...this.vm.put(key), out, out + 4, out + 8);
    return status === Status.Ok ? { value: this.vm.take(out, out + 4), cas: this.vm.word(out + 8) } : undefined;
  }

  setSharedData(key: string, value: string, cas = 0): number {
    return this.call('proxy_set_shared_data', ...this.vm.put(key), ...this.vm.put(value), cas);
  }

  /** The metric's number. */
  defineMetric(type: number, name: string): number {
    const out = this.vm.scratch(4);
    this.call('proxy_define_metric', type, ...this.vm.put(name), out);
    return this.vm.word(out);
  }

  incrementMetric(id: number, by: number): number {
    return this.vm.host('proxy_increment_metric')(id, BigInt(by)) as number;
  }

  /** Any host function by its name and plain arguments. */
  call(name: string, ...args: number[]): number {
    return this.vm.host(name)(...args) as number;
  }

  /** A host function whose last two parameters take a pointer and a size. */
  private result(name: string, ...args: number[]): string | null {
    const out = this.vm.scratch(8);
    return this.call(name, ...args, out, out + 4) === Status.Ok ? this.vm.take(out, out + 4) : null;
  }
}
