/** What host functions act on (cpp-host: ContextBase). This one is the VM's own (id 0); streams and plugins have theirs. */
import { BufferType, MapType, Status } from '../abi/enums.ts';
import { ByteBuffer, type HostBuffer } from './buffer.ts';
import type { ForeignResult } from './environment.ts';
import type { HostHeaderMap } from './header_map.ts';
import type { PropertyValue } from './property_value.ts';
import type { RootContext } from './root_context.ts';
import type { Wasm } from './wasm.ts';

/** A reply that the module makes itself. */
export interface LocalResponse {
  readonly status: number;
  readonly details: string;
  readonly body: Uint8Array;
  readonly headers: readonly (readonly [string, string])[];
  /** -1: none. */
  readonly grpcStatus: number;
}

export class Context {
  wasm: Wasm;
  id: number;
  /** The plugin's context; its own in a root context, null in the VM's. */
  root: RootContext | null;

  constructor(wasm: Wasm, id: number, root: RootContext | null) {
    this.wasm = wasm;
    this.id = id;
    this.root = root;
  }

  /** Null: not available now. */
  headerMap(type: number): HostHeaderMap | null {
    return type >= MapType.GrpcReceiveInitialMetadata && this.root !== null ? this.root.calloutMap(type) : null;
  }

  /** As `headerMap`, and may be changed; trailers are made when the message can still have them. */
  mutableHeaderMap(_type: number): HostHeaderMap | null {
    return null;
  }

  /** The request's headers were changed. */
  onRequestHeadersChanged(): void {}

  /** During `proxy_on_log`. */
  get logging(): boolean {
    return false;
  }

  /** Null: not available (NotFound). */
  buffer(type: number): HostBuffer | null {
    switch (type) {
      case BufferType.VmConfiguration:
        return new ByteBuffer(this.wasm.options.vmConfiguration);
      case BufferType.CallData:
        return new ByteBuffer(this.wasm.callData);
      case BufferType.PluginConfiguration:
        return this.root === null ? null : this.root.pluginConfiguration;
      case BufferType.HttpCallResponseBody:
        return this.root === null ? null : this.root.httpCallBody;
      case BufferType.GrpcReceiveBuffer:
        return this.root === null ? EMPTY : (this.root.grpcMessage ?? EMPTY);
      default:
        return EMPTY;
    }
  }

  /** A buffer that may be changed, or null. */
  mutableBuffer(_type: number): HostBuffer | null {
    return null;
  }

  continueStream(_type: number): Status {
    return Status.Ok;
  }

  closeStream(_type: number): Status {
    return Status.Ok;
  }

  sendLocalResponse(_response: LocalResponse): void {}

  clearRouteCache(): void {}

  /** `path`: segments joined by NUL. */
  property(path: string): PropertyValue {
    if (this.root !== null) {
      const own = this.root.ownProperty(path);
      if (own !== undefined) return own;
    }
    return this.wasm.environment.property(path);
  }

  setProperty(_path: string, _value: Uint8Array): Status {
    return Status.NotFound;
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return this.wasm.environment.foreignFunction(name, args);
  }
}

export const EMPTY: HostBuffer = new ByteBuffer();
