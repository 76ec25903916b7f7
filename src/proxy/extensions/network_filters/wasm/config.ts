/**
 * `envoy.filters.network.wasm`: a Proxy-Wasm module between two others of a connection's filters. Bytes that the module holds back stay with
 * it (what comes from the client in the connection's read buffer) and are shown again together with those that follow.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { PeerType } from '../../../../wasm/abi/enums.ts';
import { TcpContext, type TcpStreamHost } from '../../../../wasm/host/tcp_context.ts';
import type { PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
import type { PluginInstance } from '../../../../wasm/plugin/wasm_host.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
  type WriteFilter,
} from '../../../network/connection.ts';
import type { FactoryContext, NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { PluginConfigMessage } from '../../common/wasm/plugin_config.ts';
import { createIsolatedPlugin, createPlugin, isIsolated } from '../../common/wasm/plugin_factory.ts';
import { IsolatedNetworkFilter } from './isolated_filter.ts';
import { PluginConnection } from './plugin_connection.ts';

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.wasm.v3.Wasm',
  name: 'envoy.filters.network.wasm',
  isTerminal: () => false,
  create(message: TypedConfig, context: FactoryContext) {
    const { config } = message as { config?: PluginConfigMessage };
    if (isIsolated(config)) {
      const handle = createIsolatedPlugin(config, context);
      return (connection: Connection) => {
        const filter = new IsolatedNetworkFilter(handle, connection, context);
        connection.addReadFilter(filter);
        connection.addWriteFilter(filter);
        connection.addConnectionCallbacks(filter);
      };
    }
    const handle = createPlugin(config, context);
    return (connection: Connection) => {
      const filter = new WasmNetworkFilter(handle, connection, context);
      connection.addReadFilter(filter);
      connection.addWriteFilter(filter);
      connection.addConnectionCallbacks(filter);
    };
  },
};

class WasmNetworkFilter extends PluginConnection implements ReadFilter, WriteFilter, ConnectionCallbacks, TcpStreamHost {
  private readonly handle: PluginHandle;
  private readonly instance: PluginInstance | null;
  private readonly stream: TcpContext | null;
  private callbacks!: ReadFilterCallbacks;
  /** Bytes for the client that the module holds back. */
  private heldBack: SliceBuffer | null = null;
  private downstreamClosed = false;
  private upstreamClosed = false;
  private readonly onVmFailed = (): void => this.failConnection();

  constructor(handle: PluginHandle, connection: Connection, context: FactoryContext) {
    super(handle, connection, context);
    this.handle = handle;
    this.instance = handle.acquire();
    this.stream = this.instance === null ? null : new TcpContext(this.instance.root, this);
    this.instance?.wasm.addFailCallback(this.onVmFailed);
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.callbacks = callbacks;
  }

  /** The context when the module is to be called; null: `failed` tells what to do. */
  private get active(): TcpContext | null {
    const { stream } = this;
    return stream === null || this.ended || stream.wasm.failed || stream.wasm.depth > 0 ? null : stream;
  }

  private get works(): boolean {
    return this.stream !== null && !this.stream.wasm.failed;
  }

  /** What a callback's answer means; the connection is closed when the module failed. */
  private statusOf(action: number): FilterStatus {
    if (this.works) return action === 0 ? FilterStatus.Continue : FilterStatus.StopIteration;
    if (this.handle.failsOpen) return FilterStatus.Continue;
    this.failConnection();
    return FilterStatus.StopIteration;
  }

  onNewConnection(): FilterStatus {
    const stream = this.active;
    return this.statusOf(stream === null ? 0 : stream.onNewConnection());
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    const stream = this.active;
    if (stream === null) return this.statusOf(0);
    const status = this.statusOf(stream.onDownstreamData(data, endStream));
    if (status === FilterStatus.Continue) stream.downstreamData = null;
    if (endStream) this.tellDownstreamClosed(stream, PeerType.Remote);
    return status;
  }

  onWrite(data: SliceBuffer, endStream: boolean): FilterStatus {
    const stream = this.active;
    if (stream === null) return this.statusOf(0);
    if (this.heldBack !== null && this.heldBack.length > 0) {
      this.heldBack.move(data);
      data.move(this.heldBack);
    }
    const status = this.statusOf(stream.onUpstreamData(data, endStream));
    if (endStream && !this.upstreamClosed) {
      this.upstreamClosed = true;
      stream.onUpstreamClose(PeerType.Unknown);
    }
    stream.upstreamData = null;
    if (status === FilterStatus.StopIteration) {
      this.heldBack ??= new SliceBuffer(this.connection.dispatcher.slab);
      this.heldBack.move(data);
      this.checkHeldBack(this.heldBack.length);
    }
    return status;
  }

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.ended) return;
    const { instance, stream } = this;
    this.heldBack?.clear();
    this.completed = true;
    if (instance === null || stream === null) {
      this.ended = true;
      return;
    }
    this.ended = true;
    const end = (): void => {
      instance.wasm.removeFailCallback(this.onVmFailed);
      this.tellDownstreamClosed(stream, event === ConnectionEvent.RemoteClose ? PeerType.Remote : PeerType.Local);
      stream.end();
      instance.release();
    };
    // A module that closed the connection itself is told when it has returned.
    instance.wasm.afterCall(end);
  }

  private tellDownstreamClosed(stream: TcpContext, peer: (typeof PeerType)[keyof typeof PeerType]): void {
    if (this.downstreamClosed) return;
    this.downstreamClosed = true;
    stream.onDownstreamClose(peer);
  }

  // TcpStreamHost.

  continueDownstream(): void {
    if (!this.ended) this.callbacks.continueReading();
  }

  close(): void {
    if (!this.ended) this.connection.close(ConnectionCloseType.FlushWrite, 'wasm_close_stream');
  }
}
