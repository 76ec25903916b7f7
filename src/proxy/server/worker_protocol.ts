/** What the main thread and its workers say to each other: plain data over a MessagePort. */
import type { IoBackend } from '../../core/event/create_dispatcher.ts';
import type { LogLevel, LogSettings } from '../../core/log/logger.ts';
import type { StatsMemory } from '../../core/stats/store.ts';
import type { PluginStatus } from '../../wasm/plugin/plugin_status.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import type { NamedRoutes } from '../http/route/route_store.ts';
import type { Address } from '../network/address.ts';
import type { ConnectionStatus } from '../network/connection_status.ts';
import type { DrainSettings } from '../network/drain_manager.ts';
import type { ListenerProto } from '../network/listener_config.ts';
import type { NamedSecret } from '../network/secrets.ts';
import type { OverloadMemory } from '../overload/overload_memory.ts';
import type { PlainRuntime } from '../runtime/snapshot.ts';
import type { ScriptInit } from '../typescript/script_host.ts';
import type { SharedUpstream } from '../upstream/cluster_manager.ts';
import type { PlainCluster } from '../upstream/cluster_types.ts';
import type { ClusterUpdate } from '../upstream/discovery/cluster_discovery.ts';
import type { HealthUpdate, HostEvent, HostUpdate } from '../upstream/host_update.ts';
import type { LocalInfo } from './factory_context.ts';

/** Everything a worker is built from. */
export interface WorkerInit {
  /** From 0. */
  readonly index: number;
  readonly bootstrap: Bootstrap;
  readonly backend: IoBackend;
  readonly stats: StatsMemory;
  /** Static ones, and those that control planes have sent by now. */
  readonly clusters: readonly PlainCluster[];
  readonly upstream: SharedUpstream;
  /** Route configurations that control planes have sent by now. */
  readonly routes: readonly NamedRoutes[];
  readonly runtime: PlainRuntime;
  readonly hosts: readonly HostUpdate[];
  readonly log: LogSettings;
  readonly localInfo: LocalInfo;
  readonly fileFlushIntervalMs: number;
  readonly watchdogCells: Int32Array<SharedArrayBuffer>;
  readonly listeners: readonly WorkerListener[];
  /** What the main thread's part of each socket interface says, by name. */
  readonly socketInterfaces: Readonly<Record<string, unknown>>;
  readonly scripts: ScriptInit;
  readonly secrets: readonly NamedSecret[];
  /** Null: there is no overload manager. */
  readonly overload: OverloadMemory | null;
}

export type ToWorker =
  | { type: 'hosts'; update: HostUpdate }
  | { type: 'health'; update: HealthUpdate }
  /** Clusters that are new or have changed, and those that are gone. */
  | { type: 'clusters'; update: ClusterUpdate }
  /** Answered with the same id, and again when what it replaced or removed has drained. */
  | { type: 'listener'; id: number; change: ListenerChange }
  /** Route configurations that are new or have changed. */
  | { type: 'routes'; routes: readonly NamedRoutes[] }
  | { type: 'runtime'; runtime: PlainRuntime }
  /** Secrets of a file that changed. */
  | { type: 'secrets'; secrets: readonly NamedSecret[] }
  | { type: 'logLevel'; level: LogLevel; component?: string }
  | { type: 'reopenLogs' }
  | { type: 'healthCheck'; failed: boolean }
  | { type: 'drain'; durationMs: number; strategy: 'gradual' | 'immediate' }
  | { type: 'stopListeners'; inboundOnly: boolean }
  /** A module of TypeScript extensions has changed, and loads. */
  | { type: 'moduleChanged'; path: string }
  | { type: 'ping' }
  /** Answered with the same id. */
  | { type: 'connections'; id: number; most: number }
  | { type: 'plugins'; id: number }
  /** The main thread's part of a socket interface has something new to say. */
  | { type: 'socketInterface'; name: string; state: unknown }
  /** Look at the states in the shared memory of the overload manager. */
  | { type: 'overload' }
  /** Give memory back. */
  | { type: 'shrinkHeap' }
  /** Close everything and end the thread. */
  | { type: 'exit' };

export type FromWorker =
  | { type: 'ready' }
  | { type: 'host'; event: HostEvent }
  /** The last connection of a draining worker is gone. */
  | { type: 'drained' }
  | { type: 'connections'; id: number; list: ConnectionStatus[]; total: number }
  | { type: 'plugins'; id: number; list: PluginStatus[] }
  /** `error`: null when it was done. `drainingChains`: of an in-place update. */
  | { type: 'listenerChanged'; id: number; error: string | null; drainingChains: number }
  | { type: 'listenerDrained'; id: number }
  | { type: 'failed'; message: string };

/** What a worker does to a listener. */
export type ListenerChange =
  | { kind: 'add'; listener: WorkerListener }
  /** Without sockets of its own it takes over those of its predecessor, which drains. */
  | { kind: 'replace'; listener: WorkerListener | { proto: ListenerProto; fds: null }; drain: DrainSettings }
  /** Only filter chains differ. */
  | { kind: 'filterChains'; proto: ListenerProto; drain: DrainSettings }
  | { kind: 'remove'; name: string; drain: DrainSettings };

export interface WorkerListener {
  readonly proto: ListenerProto;
  /** By address; -1: the worker listens at the address of `addresses` itself. */
  readonly fds: readonly number[];
  readonly addresses: readonly Address[];
}
