/** What main tells workers about the hosts of a cluster: plain data, the whole list each time. */
import type { Address } from '../network/address.ts';
import type { HealthStatus, Locality } from './endpoint_config.ts';
import type { HostStatsRow } from './host_stats.ts';

export interface HostDescription {
  readonly address: Address;
  /** The name it was resolved from, or the endpoint's hostname; may be ''. */
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly locality: Locality;
  readonly metadata: Record<string, Record<string, unknown>>;
  /** Absent: none. */
  readonly localityMetadata?: Record<string, Record<string, unknown>>;
  readonly canary: boolean;
  readonly healthStatus: HealthStatus;
  /** Absent: this host is counted per worker only. */
  readonly stats?: HostStatsRow;
}

export interface HostUpdate {
  readonly cluster: string;
  readonly hosts: readonly HostDescription[];
  /** LOGICAL_DNS: one host whose address changes for new connections; those it has stay in use. */
  readonly logical?: boolean;
}

/** What makes a host the same host from one update to the next. */
export function hostKey(host: Pick<HostDescription, 'address' | 'priority'>): string {
  return `${host.priority}|${host.address.asString}`;
}
