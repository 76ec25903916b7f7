/** A TCP connection of a plugin: as `http_context.ts`, for bytes in both directions. Envoy's order at its end: done, log, delete. */
import { BufferType, type PeerType, Status, StreamType } from '../abi/enums.ts';
import type { HostBuffer } from './buffer.ts';
import { Context, EMPTY } from './context.ts';
import type { ForeignResult } from './environment.ts';
import type { PropertyValue } from './property_value.ts';
import type { RootContext } from './root_context.ts';

export interface TcpStreamHost {
  continueDownstream(): void;
  /** Sends what is there, then closes. */
  close(): void;
  property(path: string): PropertyValue;
  setProperty(path: string, value: Uint8Array): Status;
  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined;
}

export class TcpContext extends Context {
  private readonly host: TcpStreamHost;
  private created = true;
  downstreamData: HostBuffer | null = null;
  upstreamData: HostBuffer | null = null;
  private inLog = false;

  constructor(root: RootContext, host: TcpStreamHost) {
    super(root.wasm, root.wasm.allocateContextId(), root);
    this.host = host;
    root.wasm.contexts.set(this.id, this);
    root.wasm.call2(this, 'proxy_on_context_create', this.id, root.id);
  }

  /** 0: continue. */
  onNewConnection(): number {
    return this.wasm.call1(this, 'proxy_on_new_connection', this.id);
  }

  onDownstreamData(data: HostBuffer, endStream: boolean): number {
    this.downstreamData = data;
    return this.wasm.call3(this, 'proxy_on_downstream_data', this.id, data.length, endStream ? 1 : 0);
  }

  onUpstreamData(data: HostBuffer, endStream: boolean): number {
    this.upstreamData = data;
    return this.wasm.call3(this, 'proxy_on_upstream_data', this.id, data.length, endStream ? 1 : 0);
  }

  onDownstreamClose(peer: (typeof PeerType)[keyof typeof PeerType]): void {
    this.wasm.call2(this, 'proxy_on_downstream_connection_close', this.id, peer);
  }

  onUpstreamClose(peer: (typeof PeerType)[keyof typeof PeerType]): void {
    this.wasm.call2(this, 'proxy_on_upstream_connection_close', this.id, peer);
  }

  end(): void {
    if (!this.created) return;
    this.created = false;
    this.wasm.call1(this, 'proxy_on_done', this.id);
    this.inLog = true;
    this.wasm.call1(this, 'proxy_on_log', this.id);
    this.inLog = false;
    this.wasm.call1(this, 'proxy_on_delete', this.id);
    this.wasm.contexts.delete(this.id);
    this.downstreamData = null;
    this.upstreamData = null;
  }

  override get logging(): boolean {
    return this.inLog;
  }

  override buffer(type: number): HostBuffer | null {
    if (type === BufferType.NetworkDownstreamData) return this.downstreamData ?? EMPTY;
    return type === BufferType.NetworkUpstreamData ? (this.upstreamData ?? EMPTY) : super.buffer(type);
  }

  override mutableBuffer(type: number): HostBuffer | null {
    if (type === BufferType.NetworkDownstreamData) return this.downstreamData;
    return type === BufferType.NetworkUpstreamData ? this.upstreamData : null;
  }

  override continueStream(type: number): Status {
    if (type === StreamType.Upstream) return Status.Unimplemented;
    if (type === StreamType.Downstream) {
      this.wasm.afterCall(() => {
        if (!this.created) return;
        this.downstreamData = null;
        this.host.continueDownstream();
      });
    }
    return Status.Ok;
  }

  override closeStream(type: number): Status {
    if (type === StreamType.Downstream || type === StreamType.Upstream) {
      this.wasm.afterCall(() => {
        if (this.created) this.host.close();
      });
    }
    return Status.Ok;
  }

  override property(path: string): PropertyValue {
    const own = (this.root as RootContext).ownProperty(path);
    return own !== undefined ? own : this.host.property(path);
  }

  override setProperty(path: string, value: Uint8Array): Status {
    return this.host.setProperty(path, value);
  }

  override foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return this.host.foreignFunction(name, args);
  }
}
