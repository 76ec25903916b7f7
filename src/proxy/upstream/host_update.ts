/** What main tells workers about the hosts of a cluster: plain data, the whole list each time. */
import type { Address } from '../network/address.ts';
import type { EndpointHealthCheck, HealthStatus, Locality } from './endpoint_config.ts';
import type { HostStatsRow } from './host_stats.ts';
import type { Consecutive } from './outlier/host_monitor.ts';

export interface HostDescription {
  readonly address: Address;
  /** The name it was resolved from, or the endpoint's hostname; may be ''. */
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly locality: Locality;
  /** `load_balancing_weight` of its locality; absent: none. */
  readonly localityWeight?: number;
  readonly metadata: Record<string, Record<string, unknown>>;
  /** Absent: none. */
  readonly localityMetadata?: Record<string, Record<string, unknown>>;
  readonly canary: boolean;
  /** How main checks it; absent: as the cluster says. */
  readonly healthCheck?: EndpointHealthCheck;
  /** As discovery says. */
  readonly healthStatus: HealthStatus;
  /** `HealthFlag` bits, those of `healthStatus` included. Absent: only those. */
  readonly healthFlags?: number;
  /** Where outlier detection counts; absent: it does not. */
  readonly outlier?: SharedArrayBuffer;
  /** Absent: this host is counted per worker only. */
  readonly stats?: HostStatsRow;
}

export interface HostUpdate {
  readonly cluster: string;
  readonly hosts: readonly HostDescription[];
  /** LOGICAL_DNS: one host whose address changes for new connections; those it has stay in use. */
  readonly logical?: boolean;
}

/** Hosts whose health changed: less than all hosts of the cluster, in order with `HostUpdate`s. */
export interface HealthUpdate {
  readonly cluster: string;
  readonly hosts: readonly HostHealthChange[];
}

export interface HostHealthChange {
  /** `HostImpl.key` */
  readonly key: string;
  readonly healthFlags: number;
  /** It just failed its checks or was ejected: its connections serve what is on them and nothing more. */
  readonly failed: boolean;
}

/** What a worker saw of a host that main decides about. */
export interface HostEvent {
  readonly cluster: string;
  /** `HostImpl.key` */
  readonly key: string;
  /** A row of failures is complete, or the host said `x-envoy-immediate-health-check-fail`. */
  readonly what: Consecutive | 'immediate_health_check_fail';
}

/** What makes a host the same host from one update to the next. */
export function hostKey(host: Pick<HostDescription, 'address' | 'priority'>): string {
  return `${host.priority}|${host.address.asString}`;
}
