/** The socket interfaces that the bootstrap loads: checked once, started on the main thread, built on each worker. */
import { ConfigError } from '../config/error.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import { SOCKET_INTERFACES } from '../extensions/registry.ts';
import type { Address } from '../network/address.ts';
import { EpollSocketInterface } from '../network/epoll_socket.ts';
import type { ListenOptions } from '../network/io_handle.ts';
import { IoUringSocketInterface } from '../network/io_uring_socket.ts';
import {
  checkSocketInterface,
  DEFAULT_SOCKET_INTERFACE,
  type MainContext,
  type MainSocketInterface,
  METADATA_PATH,
  type SocketInterfaceConfig,
  type SocketInterfaceFactory,
  SocketInterfaces,
  type WorkerContext,
} from '../network/socket_interfaces.ts';
import type { ThreadLocalClusterManager } from '../upstream/cluster_manager.ts';
import type { BindPlan } from './bind.ts';
import type { WorkerInit } from './worker_protocol.ts';

interface Loaded {
  readonly factory: SocketInterfaceFactory;
  readonly config: SocketInterfaceConfig;
  readonly path: string;
}

/** Throws ConfigError for an interface that is not loaded, or cannot do what a listener or cluster wants of it. */
export function checkSocketInterfaces(
  bootstrap: Bootstrap,
  plans: readonly BindPlan[],
  clusters: Pick<ThreadLocalClusterManager, 'names' | 'get'>,
): void {
  const loaded = loadedInterfaces(bootstrap);
  const names = [...loaded.keys()];
  const fallback = defaultName(bootstrap);
  checkSocketInterface(fallback, null, names, 'default_socket_interface');
  plans.forEach(({ sockets }, i) => {
    const path = `static_resources.listeners[${i}]`;
    for (const { socketInterface, address, socketOptions, transparent, freebind } of sockets) {
      checkSocketInterface(socketInterface, address, names, `${path}.${METADATA_PATH}`);
      const factory = loaded.get(socketInterface ?? (address.kind === 'pipe' ? '' : fallback))?.factory;
      if (factory === undefined) continue;
      if (transparent) throw new ConfigError(`${factory.name} cannot listen transparently`, { path: `${path}.transparent` });
      if (freebind) throw new ConfigError(`${factory.name} cannot bind freely`, { path: `${path}.freebind` });
      for (const option of socketOptions ?? []) factory.checkOption(option.level, option.name, path);
    }
  });
  clusters.names().forEach((name, i) => {
    const path = `static_resources.clusters[${i}]`;
    const { socketInterface, endpoints, tcpSocketOptions } = clusters.get(name)!.info.settings;
    checkSocketInterface(socketInterface, null, names, `${path}.${METADATA_PATH}`);
    for (const { address } of endpoints) checkSocketInterface(socketInterface, address, names, `${path}.${METADATA_PATH}`);
    const factory = loaded.get(socketInterface ?? fallback)?.factory;
    if (factory !== undefined) for (const option of tcpSocketOptions) factory.checkOption(option.level, option.name, path);
  });
}

export function workerSocketInterfaces(
  init: Pick<WorkerInit, 'backend' | 'bootstrap' | 'socketInterfaces'>,
  context: WorkerContext,
): SocketInterfaces {
  const kernel = init.backend === 'io_uring' ? new IoUringSocketInterface() : new EpollSocketInterface();
  const extensions = new Map(
    [...loadedInterfaces(init.bootstrap)].map(([name, { factory, config, path }]) => {
      const state = init.socketInterfaces[name] ?? null;
      return [name, atPath(path, () => factory.createWorker(config, context, state))];
    }),
  );
  return new SocketInterfaces(kernel, extensions, defaultName(init.bootstrap));
}

/** What all workers share of them. */
export class MainSocketInterfaces {
  private readonly interfaces = new Map<string, MainSocketInterface>();
  private readonly preferred: string;

  constructor(bootstrap: Bootstrap, context: Omit<MainContext, 'post'>, post: (name: string, state: unknown) => void) {
    this.preferred = defaultName(bootstrap);
    for (const [name, { factory, config, path }] of loadedInterfaces(bootstrap)) {
      const own = { ...context, post: (state: unknown) => post(name, state) };
      this.interfaces.set(
        name,
        atPath(path, () => factory.createMain(config, own)),
      );
    }
  }

  async start(): Promise<void> {
    for (const own of this.interfaces.values()) await own.start();
  }

  /** By name. */
  states(): Record<string, unknown> {
    return Object.fromEntries([...this.interfaces].map(([name, own]) => [name, own.state]));
  }

  /** Null: the kernel's, which is bound on this thread. */
  reserve(options: ListenOptions): Promise<Address> | null {
    const name = options.socketInterface ?? (options.address.kind === 'pipe' ? '' : this.preferred);
    return this.interfaces.get(name)?.reserve(options) ?? null;
  }

  async close(): Promise<void> {
    for (const own of this.interfaces.values()) await own.close();
  }
}

function defaultName(bootstrap: Bootstrap): string {
  return bootstrap.defaultSocketInterface || DEFAULT_SOCKET_INTERFACE;
}

/** By name. The kernel's own entry is not among them. */
function loadedInterfaces(bootstrap: Bootstrap): Map<string, Loaded> {
  const loaded = new Map<string, Loaded>();
  (bootstrap.bootstrapExtensions ?? []).forEach(({ typedConfig }, i) => {
    const path = `bootstrap_extensions[${i}]`;
    const config = typedConfig as SocketInterfaceConfig;
    const factory = SOCKET_INTERFACES.find(({ typeNames }) => typeNames.includes(config?.['@type']));
    if (factory === undefined) return;
    if (loaded.has(factory.name)) throw new ConfigError(`socket interface '${factory.name}' is loaded twice`, { path });
    loaded.set(factory.name, { factory, config, path });
  });
  return loaded;
}

function atPath<T>(path: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
  }
}
