/** Runs one listener filter over a byte stream that arrives in given pieces, as the connection handler would. */
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import { type Address, ipAddress } from '../../../../src/proxy/network/address.ts';
import type { IoHandle } from '../../../../src/proxy/network/io_handle.ts';
import {
  type ListenerFilterCallbacks,
  type ListenerFilterConfigFactory,
  ListenerFilterStatus,
} from '../../../../src/proxy/network/listener_filter.ts';
import { AcceptedSocket } from '../../../../src/proxy/network/server_connection.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import { FakeDispatcher, type TestContext, testContext } from '../support.ts';

export interface FilterRun {
  status: ListenerFilterStatus;
  socket: AcceptedSocket;
  info: StreamInfo;
  /** What is left for the connection. */
  rest: Uint8Array;
  /** How many pieces the filter looked at. */
  pieces: number;
  counter(name: string): number;
  context: TestContext;
}

export class FilterHarness {
  readonly dispatcher = new FakeDispatcher();
  readonly context = testContext(this.dispatcher);
  private readonly create;

  constructor(factory: ListenerFilterConfigFactory, config: Record<string, unknown> = {}) {
    this.create = factory.create({ '@type': factory.typeName, ...config }, this.context);
  }

  run(pieces: Uint8Array[], prepare: (socket: AcceptedSocket) => void = () => {}): FilterRun {
    const { dispatcher, context } = this;
    const socket = new AcceptedSocket(fakeHandle());
    prepare(socket);
    const info = new StreamInfo();
    const callbacks: ListenerFilterCallbacks = {
      socket,
      dispatcher,
      streamInfo: info,
      setDynamicMetadata(namespace, fields) {
        info.dynamicMetadata ??= {};
        info.dynamicMetadata[namespace] = { ...info.dynamicMetadata[namespace], ...fields };
      },
      continueFilterChain: () => {},
    };
    const filter = this.create();
    const buffer = new SliceBuffer(dispatcher.slab);
    let status = filter.onAccept(callbacks);
    let used = 0;
    for (const piece of pieces) {
      if (status !== ListenerFilterStatus.StopIteration) {
        buffer.append(piece);
        continue;
      }
      // Each piece in a slice of its own.
      if (piece.length > 0) {
        const offset = dispatcher.slab.reserve(piece.length + 1);
        dispatcher.slab.u8.set(piece, offset);
        buffer.push(offset, piece.length);
      }
      used++;
      if (buffer.length > 0) status = filter.onData(buffer);
    }
    const rest = buffer.toBytes();
    buffer.clear();
    return { status, socket, info, rest, pieces: used, context, counter: (name) => context.scope.counter(name).value };
  }
}

export function fakeHandle(
  local: Address = ipAddress('127.0.0.1', 10_000),
  remote: Address = ipAddress('127.0.0.1', 55_555),
): IoHandle {
  return {
    fd: -1,
    interfaceName: 'fake',
    isOpen: true,
    setCallbacks: () => {},
    connect: () => {},
    setReading: () => {},
    write: (data) => data.clear(),
    pendingBytes: 0,
    shutdownWrite: () => {},
    close: () => {},
    localAddress: () => local,
    remoteAddress: () => remote,
    setOption: () => 0,
    getOption: () => 0,
    getOptionBytes: () => null,
    lastRoundTripTimeMs: () => undefined,
  };
}

/** `bytes` cut into pieces of at most `size`. */
export function cut(bytes: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}
