/** What admin handlers may ask of the server. */

import type { Logger } from '../../../core/log/logger.ts';
import type { Store } from '../../../core/stats/store.ts';
import type { PluginStatus } from '../../../wasm/plugin/plugin_status.ts';
import type { ConnectionStatus } from '../../network/connection_status.ts';

export type ServerState = 'LIVE' | 'DRAINING' | 'PRE_INITIALIZING' | 'INITIALIZING';

/** Sections of `/config_dump`, and what is not there yet (`/init_dump`). */
export interface DynamicDump {
  clusters: { version_info?: string; dynamic_active_clusters?: NamedDump[]; dynamic_warming_clusters?: NamedDump[] };
  listeners: { version_info?: string; dynamic_listeners?: NamedDump[] };
  routes: { dynamic_route_configs?: NamedDump[] };
  endpoints: { dynamic_endpoint_configs?: NamedDump[] };
  unready: { name: string; target_names: string[] }[];
}

/** `name` is for filters, and not part of the answer. */
export interface NamedDump {
  name: string;
  json: Record<string, unknown>;
}

export interface ListenerStatus {
  name: string;
  addresses: string[];
}

export interface AdminContext {
  readonly log: Logger;
  readonly stats: Store;
  state(): ServerState;
  serverInfo(): Record<string, unknown>;
  /** The bootstrap as configured, in proto field names. */
  bootstrapJson(): Record<string, unknown>;
  /** What is dynamic, as messages of envoy.admin.v3 without the static parts. */
  dynamicJson(): DynamicDump;
  listeners(): ListenerStatus[];
  /** At most `most` of each worker, and how many there are. */
  connections(most: number): Promise<{ list: ConnectionStatus[]; total: number }>;
  /** Wasm plugins (and isolated filters) of all workers. */
  plugins(): Promise<PluginStatus[]>;
  clustersText(): Promise<string> | string;
  clustersJson(): Promise<Record<string, unknown>> | Record<string, unknown>;
  runtimeJson(): Record<string, unknown>;
  /** An error text, or null. An empty value removes the key. */
  modifyRuntime(values: Record<string, string>): string | null;
  logLevels(): Record<string, string>;
  /** An error text, or null. `component` undefined: all. */
  setLogLevel(component: string | undefined, level: string): string | null;
  failHealthCheck(failed: boolean): void;
  /** Counters of stats and of hosts. */
  resetCounters(): void;
  drainListeners(options: { graceful: boolean; skipExit: boolean; inboundOnly: boolean }): void;
  /** Reads the configuration again. */
  reload(): Promise<{ ok: boolean; text: string }>;
  reopenLogs(): void;
  quit(): void;
  uptimeMs(): number;
}
