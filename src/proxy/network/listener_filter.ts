/**
 * Listener filters look at a connection before a filter chain is chosen for it (Envoy: Network::ListenerFilter).
 *
 * Envoy's filters peek at the socket. Here bytes are delivered, not peeked: what arrives while listener filters run is kept in
 * one replay buffer, every filter sees it from its start, and the connection begins with what is left of it. A filter
 * that consumes (proxy_protocol) drains the buffer.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { FactoryContext, TypedConfig } from '../server/factory_context.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { AcceptedSocket } from './server_connection.ts';

export const ListenerFilterStatus = {
  /** Done: on to the next filter. */
  Continue: 0,
  /** More bytes are needed (or `continueFilterChain` will be called). */
  StopIteration: 1,
  /** The connection must not go on. */
  Close: 2,
} as const;
export type ListenerFilterStatus = (typeof ListenerFilterStatus)[keyof typeof ListenerFilterStatus];

export interface ListenerFilterCallbacks {
  readonly socket: AcceptedSocket;
  readonly dispatcher: Dispatcher;
  readonly streamInfo: StreamInfo;
  /** Adds to the fields under `namespace` in the dynamic metadata. */
  setDynamicMetadata(namespace: string, fields: Record<string, unknown>): void;
  /** Goes on after an `onAccept` that returned StopIteration with `maxReadBytes` 0. */
  continueFilterChain(success: boolean): void;
}

export interface ListenerFilter {
  /** The most bytes it can want; may grow while it runs. 0: it does not look at data. */
  readonly maxReadBytes: number;
  onAccept(callbacks: ListenerFilterCallbacks): ListenerFilterStatus;
  /** `buffer` holds everything received so far and is not empty. Called again when there is more. */
  onData(buffer: SliceBuffer): ListenerFilterStatus;
}

/** Builds a listener filter: called once per configuration, the result once per connection. */
export interface ListenerFilterConfigFactory {
  /** The message's full name, such as `envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector`. */
  readonly typeName: string;
  /** `envoy.filters.listener.tls_inspector`. */
  readonly name: string;
  /** Throws ConfigError. */
  create(config: TypedConfig, context: FactoryContext): () => ListenerFilter;
}
