/** What the network filters of plugins have in common, wherever the module runs: what it may ask of the connection. */
import type { Status } from '../../../../wasm/abi/enums.ts';
import type { ForeignResult } from '../../../../wasm/host/environment.ts';
import type { PropertyValue } from '../../../../wasm/host/property_value.ts';
import { type Connection, ConnectionCloseType } from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type PropertySource, streamProperty } from '../../common/wasm/properties.ts';
import { streamForeignFunction, writeStreamProperty } from '../../common/wasm/stream_state.ts';

/** Bytes for the client that a module may hold back. */
const MAX_HELD_BACK = 16 << 20;

export abstract class PluginConnection implements PropertySource {
  readonly context: FactoryContext;
  readonly connection: Connection;
  readonly requestHeaders = null;
  readonly responseHeaders = null;
  readonly responseTrailers = null;
  completed = false;
  protected ended = false;
  private readonly policy: { readonly failsOpen: boolean };

  constructor(policy: { readonly failsOpen: boolean }, connection: Connection, context: FactoryContext) {
    this.policy = policy;
    this.connection = connection;
    this.context = context;
  }

  get info(): StreamInfo {
    return this.connection.streamInfo;
  }

  property(path: string): PropertyValue {
    return streamProperty(path, this);
  }

  setProperty(path: string, value: Uint8Array): Status {
    return writeStreamProperty(this.info, path, value);
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return streamForeignFunction(name, args, this.info, null);
  }

  /** Its module is of no use any more: closes, but when the connection is to go on without it. */
  protected failConnection(): void {
    if (this.policy.failsOpen || this.ended) return;
    this.info.setFlag('ExtensionFailure');
    this.connection.close(ConnectionCloseType.NoFlush, 'wasm_fail_stream');
  }

  protected checkHeldBack(bytes: number): void {
    if (bytes > MAX_HELD_BACK) this.connection.close(ConnectionCloseType.NoFlush, 'wasm_upstream_data_too_large');
  }
}
