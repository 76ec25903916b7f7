/**
 * A plugin in a VM (cpp-host: a root context): its life from start and configuration to `proxy_on_done`, its timer, its queues and its
 * call-outs. Streams of the plugin have it as their root.
 */
import type { Counter, Gauge, Scope } from '../../core/stats/stats.ts';
import { MapType, Status } from '../abi/enums.ts';
import { ByteBuffer, type HostBuffer } from './buffer.ts';
import { Callouts } from './callouts.ts';
import { Context } from './context.ts';
import type { HostTimer } from './environment.ts';
import type { HostHeaderMap } from './header_map.ts';
import type { PropertyValue } from './property_value.ts';
import { type Wasm, WasmError } from './wasm.ts';

/** What distinguishes one plugin from another in the same VM. */
export interface PluginInfo {
  readonly name: string;
  readonly rootId: string;
  readonly configuration: Uint8Array;
  /** A headers callback that returns 1 stops headers only. */
  readonly allowOnHeadersStopIteration: boolean;
}

/** A stream that has ended, for access loggers. */
export interface LogSource {
  readonly requestHeaders: HostHeaderMap | null;
  readonly responseHeaders: HostHeaderMap | null;
  readonly responseTrailers: HostHeaderMap | null;
  property(path: string): PropertyValue;
}

interface PluginStats {
  readonly calls: Counter;
  readonly cpuUs: Counter;
  readonly memoryBytes: Gauge;
}

/** `wasm.<name>.calls`, `.cpu_us` and `.memory_bytes`. */
function pluginStats(root: Scope, name: string): PluginStats {
  const scope = root.scope(pluginStatPrefix(name));
  return { calls: scope.counter('calls'), cpuUs: scope.counter('cpu_us'), memoryBytes: scope.gauge('memory_bytes') };
}

export function pluginStatPrefix(name: string): string {
  return `wasm.${name === '' ? 'plugin' : name}.`;
}

export class RootContext extends Context {
  readonly plugin: PluginInfo;
  readonly callouts: Callouts;
  /** While the plugin is created and while it is configured. */
  pluginConfiguration: HostBuffer | null = null;
  /** In `proxy_on_configure` or `proxy_validate_configuration`. */
  configuring = false;
  httpCallBody: HostBuffer | null = null;
  httpCallHeaders: HostHeaderMap | null = null;
  httpCallTrailers: HostHeaderMap | null = null;
  grpcMessage: HostBuffer | null = null;
  grpcInitialMetadata: HostHeaderMap | null = null;
  grpcTrailingMetadata: HostHeaderMap | null = null;
  /** Of the last call-out (`proxy_get_status`). */
  statusCode = 0;
  statusMessage = '';
  private readonly stats: PluginStats;
  private timer: HostTimer | null = null;
  private tickMs = 0;
  private donePending = false;
  private logSource: LogSource | null = null;
  private deleted = false;

  constructor(wasm: Wasm, plugin: PluginInfo) {
    super(wasm, wasm.allocateContextId(), null);
    this.root = this;
    this.plugin = plugin;
    this.callouts = new Callouts(this);
    this.stats = pluginStats(wasm.environment.scope, plugin.name);
    wasm.contexts.set(this.id, this);
    wasm.roots.add(this);
    wasm.environment.shared.retain(wasm.options.vmId);
  }

  /** Creates, starts and configures. Throws WasmError: the VM must not be used. */
  start(): void {
    const wasm = this.wasm;
    const { configuration } = this.plugin;
    this.pluginConfiguration = new ByteBuffer(configuration);
    try {
      wasm.call2(this, 'proxy_on_context_create', this.id, 0);
      this.check();
      this.pluginConfiguration = null;
      const started =
        wasm.on.proxy_on_vm_start === null ||
        wasm.call2(this, 'proxy_on_vm_start', this.id, wasm.options.vmConfiguration.length) !== 0;
      this.check();
      if (!started) throw this.failed('StartFailed', 'Failed to start base Wasm: proxy_on_vm_start returned false');
      this.pluginConfiguration = new ByteBuffer(configuration);
      this.configuring = true;
      const configured =
        wasm.on.proxy_on_configure === null || wasm.call2(this, 'proxy_on_configure', this.id, configuration.length) !== 0;
      this.check();
      if (!configured)
        throw this.failed('ConfigureFailed', 'Failed to configure base Wasm plugin: proxy_on_configure returned false');
    } finally {
      this.pluginConfiguration = null;
      this.configuring = false;
    }
  }

  private check(): void {
    if (this.wasm.failed) throw new WasmError(this.wasm.failState, this.wasm.failMessage);
  }

  private failed(state: 'StartFailed' | 'ConfigureFailed', message: string): WasmError {
    this.wasm.fail(state, message);
    return new WasmError(state, message);
  }

  /** For plugins whose code can judge a configuration without taking it (`proxy_validate_configuration`); true without such a callback. */
  validateConfiguration(configuration: Uint8Array): boolean {
    const wasm = this.wasm;
    if (wasm.on.proxy_validate_configuration === null) return true;
    this.pluginConfiguration = new ByteBuffer(configuration);
    this.configuring = true;
    const valid = wasm.call2(this, 'proxy_validate_configuration', this.id, configuration.length) !== 0;
    this.pluginConfiguration = null;
    this.configuring = false;
    return valid && !wasm.failed;
  }

  /** Of an access logger: a stream has ended. */
  log(source: LogSource): void {
    const { wasm } = this;
    // Something that the module did ended the stream: it cannot be told now, and later the stream is gone.
    if (wasm.depth > 0) return;
    this.logSource = source;
    wasm.call1(this, 'proxy_on_log', this.id);
    this.logSource = null;
  }

  override get logging(): boolean {
    return this.logSource !== null;
  }

  override headerMap(type: number): HostHeaderMap | null {
    const source = this.logSource;
    if (source === null) return super.headerMap(type);
    if (type === MapType.HttpRequestHeaders) return source.requestHeaders;
    if (type === MapType.HttpResponseHeaders) return source.responseHeaders;
    return type === MapType.HttpResponseTrailers ? source.responseTrailers : super.headerMap(type);
  }

  override property(path: string): PropertyValue {
    const own = this.ownProperty(path);
    if (own !== undefined) return own;
    return this.logSource === null ? this.wasm.environment.property(path) : this.logSource.property(path);
  }

  calloutMap(type: number): HostHeaderMap | null {
    switch (type) {
      case MapType.GrpcReceiveInitialMetadata:
        return this.grpcInitialMetadata;
      case MapType.GrpcReceiveTrailingMetadata:
        return this.grpcTrailingMetadata;
      case MapType.HttpCallResponseHeaders:
        return this.httpCallHeaders;
      case MapType.HttpCallResponseTrailers:
        return this.httpCallTrailers;
      default:
        return null;
    }
  }

  ownProperty(path: string): PropertyValue {
    switch (path) {
      case 'plugin_name':
        return this.plugin.name;
      case 'plugin_root_id':
        return this.plugin.rootId;
      case 'plugin_vm_id':
        return this.wasm.options.vmId;
      default:
        return undefined;
    }
  }

  /** One call of many was timed: it stands for `calls`. */
  onTimedCall(ms: number, calls: number, memoryBytes: number): void {
    this.stats.calls.add(calls);
    this.stats.cpuUs.add(Math.round(ms * 1000 * calls));
    this.stats.memoryBytes.set(memoryBytes);
  }

  // The timer. It is armed again after each tick, so ticks never overlap.

  setTickPeriod(periodMs: number): void {
    this.tickMs = periodMs;
    if (periodMs === 0) {
      this.timer?.disableTimer();
      return;
    }
    if (this.deleted || this.wasm.failed) return;
    this.timer ??= this.wasm.environment.createTimer(() => this.onTick());
    this.timer.enableTimer(periodMs);
  }

  private onTick(): void {
    if (this.deleted || this.wasm.failed) return;
    if (this.wasm.on.proxy_on_tick === null) return;
    const period = this.tickMs;
    this.wasm.call1(this, 'proxy_on_tick', this.id);
    if (this.tickMs !== 0 && this.tickMs === period && !this.wasm.failed) this.timer?.enableTimer(period);
  }

  // Queues.

  readonly onQueueFilled = (token: number): void => {
    this.wasm.afterCall(() => {
      if (!this.deleted) this.wasm.call2(this, 'proxy_on_queue_ready', this.id, token);
    });
  };

  // The end.

  /** The plugin is used no more: `proxy_on_done`, then, unless the module wants to hold on until `proxy_done`, `proxy_on_delete`. */
  shutdown(): void {
    if (this.deleted || this.donePending) return;
    const wasm = this.wasm;
    if (wasm.failed) {
      this.delete();
      return;
    }
    const done = wasm.on.proxy_on_done === null || wasm.call1(this, 'proxy_on_done', this.id) !== 0;
    if (done) this.delete();
    else this.donePending = true;
  }

  /** `proxy_done`. */
  done(): Status {
    if (!this.donePending) return Status.NotFound;
    this.donePending = false;
    this.wasm.afterCall(() => this.delete());
    return Status.Ok;
  }

  private delete(): void {
    if (this.deleted) return;
    this.callouts.cancelAll();
    this.wasm.call1(this, 'proxy_on_delete', this.id);
    this.release();
  }

  /** Without a word to the module. */
  release(): void {
    if (this.deleted) return;
    this.deleted = true;
    this.timer?.disableTimer();
    this.wasm.environment.shared.removeListener(this.onQueueFilled);
    this.wasm.contexts.delete(this.id);
    this.wasm.roots.delete(this);
    this.wasm.environment.shared.release(this.wasm.options.vmId);
  }

  /** The module is called no more. */
  onVmFailed(): void {
    this.timer?.disableTimer();
    this.callouts.cancelAll();
    this.wasm.environment.shared.removeListener(this.onQueueFilled);
  }
}
