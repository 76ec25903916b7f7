/**
 * One endpoint on one worker (Envoy: source/common/upstream/upstream_impl.cc, HostImpl). Weight, metadata and health change in place
 * while the address stays; the pools hang on the host, so finding one is two property loads.
 */
import type { Address } from '../network/address.ts';
import type { HealthStatus, Locality } from './endpoint_config.ts';
import { edsHealthFlags, HostHealth, healthOf } from './health_flags.ts';
import { HostStats } from './host_stats.ts';
import { type HostDescription, hostKey } from './host_update.ts';
import type { Http1ConnPool } from './http1_conn_pool.ts';
import type { Http2ConnPool } from './http2_conn_pool.ts';
import type { OutlierHostMonitor } from './outlier/host_monitor.ts';
import type { TcpConnPool } from './tcp_conn_pool.ts';
import type { Host } from './upstream.ts';

export class HostImpl implements Host {
  /** Changes only for LOGICAL_DNS. */
  address: Address;
  readonly stats: HostStats;
  readonly priority: number;
  /** Among the hosts of its cluster: `hostKey`, or `logical`. */
  readonly key: string;
  hostname = '';
  weight = 1;
  canary = false;
  locality: Locality = NO_LOCALITY;
  localityWeight = 0;
  metadata: Record<string, Record<string, unknown>> = {};
  localityMetadata: Record<string, Record<string, unknown>> = {};
  healthStatus: HealthStatus = 'UNKNOWN';
  /** `HealthFlag` bits. */
  healthFlags = 0;
  health: HostHealth = HostHealth.Healthy;
  outlier: OutlierHostMonitor | null = null;
  reportImmediateFailure: (() => void) | null = null;
  /** By ResourcePriority: HTTP/1 first, then HTTP/2. */
  readonly httpPools: (Http1ConnPool | Http2ConnPool | null)[] = [null, null, null, null];
  /** By ResourcePriority. */
  /** `auto_sni`: HTTP pools by slot and server name. */
  readonly namedPools = new Map<string, Http1ConnPool | Http2ConnPool>();
  readonly tcpPools: [TcpConnPool | null, TcpConnPool | null] = [null, null];
  /** Monotonic time since which it is healthy, for slow start; -1: for as long as anyone knows. */
  healthySinceMs = -1;
  /** ORIGINAL_DST: chosen since the last clean-up. */
  used = true;

  constructor(description: HostDescription, thread: number, key: string = hostKey(description)) {
    this.key = key;
    this.address = description.address;
    this.priority = description.priority;
    this.stats = new HostStats(description.stats, thread);
    this.update(description);
  }

  update(description: HostDescription): void {
    this.address = description.address;
    this.hostname = description.hostname;
    this.weight = description.weight;
    this.canary = description.canary;
    this.locality = description.locality;
    this.localityWeight = description.localityWeight ?? 0;
    this.metadata = description.metadata;
    this.localityMetadata = description.localityMetadata ?? NO_METADATA;
    this.healthStatus = description.healthStatus;
    this.setHealthFlags(description.healthFlags ?? edsHealthFlags(description.healthStatus));
  }

  setHealthFlags(flags: number): void {
    this.healthFlags = flags;
    this.health = healthOf(flags);
  }

  /** Degraded hosts are healthy enough to be used. */
  get healthy(): boolean {
    return this.health !== HostHealth.Unhealthy;
  }
}

const NO_METADATA = {};
const NO_LOCALITY: Locality = { region: '', zone: '', subZone: '' };
