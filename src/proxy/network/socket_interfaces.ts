/**
 * Which socket interface moves the bytes of a socket (Envoy: `default_socket_interface` of the bootstrap, and Address::socketInterface).
 *
 * The kernel's interface is always there; others are bootstrap extensions (`bootstrap_extensions`), known by their extension's name. The
 * bootstrap's `default_socket_interface` chooses for everything; a listener or a cluster chooses for itself with
 *
 *     metadata: { filter_metadata: { sluice.socket_interface: { name: envoy.extensions.vcl.vcl_socket_interface } } }
 *
 * which Envoy reads over, so that one file serves both. Pipes are always the kernel's unless that was asked otherwise, which is refused.
 */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Scope } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import type { Address } from './address.ts';
import type { ConnectOptions, IoHandle, ListenOptions, ListenSocket, SocketInterface } from './io_handle.ts';

export const DEFAULT_SOCKET_INTERFACE = 'envoy.extensions.network.socket_interface.default_socket_interface';

const METADATA_KEY = 'sluice.socket_interface';
export const METADATA_PATH = `metadata.filter_metadata[${METADATA_KEY}]`;

/** Messages that a log gets; a subset of the server's loggers. */
export interface SocketInterfaceLog {
  info(message: string): void;
  warn(message: string): void;
}

/** A socket interface that configuration loads. */
export interface SocketInterfaceFactory {
  /** What `default_socket_interface` and metadata call it. */
  readonly name: string;
  /** Full names of the messages that configure it. */
  readonly typeNames: readonly string[];
  /** Throws ConfigError when sockets cannot have this option. */
  checkOption(level: number, name: number, path: string): void;
  /** On the main thread. Throws ConfigError. */
  createMain(config: SocketInterfaceConfig, context: MainContext): MainSocketInterface;
  /** On a worker; `state` is what the main thread's `state` was, null when only configuration is checked. Throws ConfigError. */
  createWorker(config: SocketInterfaceConfig, context: WorkerContext, state: unknown): WorkerSocketInterface;
}

export type SocketInterfaceConfig = { '@type': string } & Record<string, unknown>;

export interface MainContext {
  readonly scope: Scope;
  readonly log: SocketInterfaceLog;
  /** Gives workers a new `state`. */
  post(state: unknown): void;
}

export interface WorkerContext {
  readonly dispatcher: Dispatcher;
  readonly scope: Scope;
  readonly log: SocketInterfaceLog;
  readonly workerIndex: number;
}

/** The main thread's part: what all workers share. */
export interface MainSocketInterface {
  /** Before workers start. Rejects with an Error that says what is missing. */
  start(): Promise<void>;
  /** What workers need to know; survives `postMessage`. */
  readonly state: unknown;
  /** Finds out whether workers will be able to listen there; the address with its port. Rejects with SysError. */
  reserve(options: ListenOptions): Promise<Address>;
  /** After workers have ended. */
  close(): Promise<void>;
}

/** A worker's part. */
export interface WorkerSocketInterface extends SocketInterface {
  onState(state: unknown): void;
  /** The worker ends: lets go of the event loop. */
  close(): void;
}

/** All socket interfaces of a worker as one, which asks the one that a socket is to have. */
export class SocketInterfaces implements SocketInterface {
  /** Of the kernel's. */
  readonly name: string;
  private readonly kernel: SocketInterface;
  private readonly extensions: ReadonlyMap<string, WorkerSocketInterface>;
  private readonly preferred: SocketInterface;

  constructor(kernel: SocketInterface, extensions: ReadonlyMap<string, WorkerSocketInterface>, defaultName: string) {
    this.name = kernel.name;
    this.kernel = kernel;
    this.extensions = extensions;
    this.preferred = extensions.get(defaultName) ?? kernel;
  }

  listen(dispatcher: Dispatcher, options: ListenOptions, onAccept: (handle: IoHandle) => void): ListenSocket {
    return this.select(options.socketInterface, options.address).listen(dispatcher, options, onAccept);
  }

  createSocket(dispatcher: Dispatcher, options: ConnectOptions): IoHandle {
    return this.select(options.socketInterface, options.address).createSocket(dispatcher, options);
  }

  onState(name: string, state: unknown): void {
    this.extensions.get(name)?.onState(state);
  }

  close(): void {
    for (const extension of this.extensions.values()) extension.close();
  }

  private select(name: string | undefined, address: Address): SocketInterface {
    if (name !== undefined) return this.extensions.get(name) ?? this.kernel;
    return address.kind === 'pipe' ? this.kernel : this.preferred;
  }
}

/** The interface that metadata of a listener or cluster asks for; undefined: the default. Throws ConfigError. */
export function configuredSocketInterface(
  metadata: { filterMetadata?: Record<string, Record<string, unknown>> } | undefined,
  at: (field: string) => string = (field) => field,
): string | undefined {
  const wanted = metadata?.filterMetadata?.[METADATA_KEY];
  if (wanted === undefined) return undefined;
  for (const field of Object.keys(wanted)) {
    if (field !== 'name') throw new ConfigError(`unknown field '${field}': there is only 'name'`, { path: at(METADATA_PATH) });
  }
  if (typeof wanted['name'] !== 'string') {
    throw new ConfigError(`'name' must be the name of a socket interface`, { path: at(METADATA_PATH) });
  }
  return wanted['name'];
}

/** Throws ConfigError when sockets of `address` cannot have interface `name` (undefined: the default), or it is not loaded. */
export function checkSocketInterface(
  name: string | undefined,
  address: Address | null,
  loaded: readonly string[],
  path = METADATA_PATH,
): void {
  if (name === undefined || name === DEFAULT_SOCKET_INTERFACE) return;
  if (!loaded.includes(name)) {
    const known = [DEFAULT_SOCKET_INTERFACE, ...loaded].join(', ');
    throw new ConfigError(`there is no socket interface '${name}' among bootstrap_extensions; there are ${known}`, { path });
  }
  if (address?.kind === 'pipe') {
    throw new ConfigError(`socket interface '${name}' has no pipes: '${address.path}' needs the default one`, { path });
  }
}
