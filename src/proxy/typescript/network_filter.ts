/**
 * The class that network filters in TypeScript extend. One object per connection; before the terminal filter (tcp_proxy, the HTTP
 * connection manager), or, with `terminal: true` in the configuration, in its place.
 */
import type { Body } from './body_view.ts';
import type { CallRequest, CallResponse, Host } from './host_api.ts';
import type { StreamProperties } from './http_filter.ts';
import type { ConfigSchema } from './schema.ts';

/** One downstream connection. */
export interface NetworkConnection {
  readonly id: number;
  readonly remoteAddress: string;
  /** Without the port. */
  readonly remoteIp: string;
  readonly localAddress: string;
  /** Of the TLS hello, lower case; '' when unknown. */
  readonly requestedServerName: string;
  /** The negotiated application protocol: `h2`, `http/1.1`, ''. */
  readonly applicationProtocol: string;
  readonly info: StreamProperties;
  readonly open: boolean;
  /** Sends to the client; `endStream` half-closes. */
  write(content: string | Uint8Array, endStream?: boolean): void;
  /** Sends what was written, then closes. */
  close(details?: string): void;
  /** Closes at once with a reset. */
  abort(details?: string): void;
  /** After `NetworkAction.Stop`: on with the next filter. */
  continueReading(): void;
  /** For tcp_proxy: the cluster of this connection. Before or in `onNewConnection`. */
  setUpstreamCluster(name: string): void;
  /** A call-out that is cancelled when the connection ends. */
  call(cluster: string, request?: CallRequest): Promise<CallResponse>;
}

/** What a phase may answer. Nothing means Continue. */
export const NetworkAction = {
  Continue: 0,
  /** The next filter sees nothing until `continueReading`. */
  Stop: 1,
} as const;
export type NetworkAction = (typeof NetworkAction)[keyof typeof NetworkAction];

// biome-ignore lint/suspicious/noConfusingVoidType: a phase without a return statement
export type NetworkResult = NetworkAction | void | Promise<NetworkAction | void>;

export interface NetworkFilterInit<Config, Shared> {
  readonly connection: NetworkConnection;
  readonly config: Config;
  readonly shared: Shared;
  readonly host: Host<Config>;
}

export abstract class NetworkFilter<Config = unknown, Shared = undefined> {
  readonly connection: NetworkConnection;
  readonly config: Config;
  /** What `static setup` returned. */
  readonly shared: Shared;
  readonly host: Host<Config>;

  constructor(init: NetworkFilterInit<Config, Shared>) {
    this.connection = init.connection;
    this.config = init.config;
    this.shared = init.shared;
    this.host = init.host;
  }

  onNewConnection(): NetworkResult {}

  /** Bytes of the client. What is left in `data` goes to the next filter; a terminal filter drains it. */
  onData(_data: Body, _endStream: boolean): NetworkResult {}

  /** Bytes to the client, on their way out. Sync. */
  onWrite(_data: Body, _endStream: boolean): void {}

  /** The connection is closed: `remote` by the client. */
  onClose(_remote: boolean): void {}
}

export interface NetworkFilterClass<Config = unknown, Shared = unknown> {
  new (init: NetworkFilterInit<Config, Shared>): NetworkFilter<Config, Shared>;
  readonly schema?: ConfigSchema<Config>;
  setup?(host: Host<Config>): Shared;
}
