/** What a worker's upstream side is built from: its event loop, sockets, stats and randomness. */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Scope } from '../../core/stats/stats.ts';
import type { Connection } from '../network/connection.ts';
import type { ConnectOptions, SocketInterface } from '../network/io_handle.ts';
import type { SecretStore } from '../network/secrets.ts';
import type { TransportSocketFactory, TransportSocketOptions } from '../network/transport_socket.ts';
import type { TransportSocketConfigFactory } from '../network/transport_socket_config.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Logger } from '../server/factory_context.ts';
import type { Locality } from './endpoint_config.ts';
import type { HostEvent } from './host_update.ts';

/** `proxy/network/connection_impl.ts`: `createClientConnection`. Throws SysError when no socket can be had or bound. */
export type CreateClientConnection = (
  dispatcher: Dispatcher,
  socketInterface: SocketInterface,
  options: ConnectOptions,
  transportSocket?: TransportSocketFactory | null,
  transportOptions?: TransportSocketOptions | null,
) => Connection;

export interface UpstreamContext {
  readonly dispatcher: Dispatcher;
  readonly socketInterface: SocketInterface;
  readonly createClientConnection: CreateClientConnection;
  /** Root scope (no prefix). */
  readonly scope: Scope;
  /** Null: runtime keys have their defaults. */
  readonly runtime: Runtime | null;
  /** A random 32-bit number. */
  random(): number;
  /** From 0. */
  readonly workerIndex: number;
  /** Transport sockets that configuration can name; absent: plain text only. */
  readonly transportSockets?: (typeName: string) => TransportSocketConfigFactory | undefined;
  readonly logger?: (name: string) => Logger;
  /** Tells main; absent: nobody decides about hosts. */
  readonly onHostEvent?: (event: HostEvent) => void;
  /** Where this proxy is; absent: unknown. */
  readonly localLocality?: Locality;
  /** Absent: no transport socket can name secrets. */
  readonly secrets?: SecretStore;
}
