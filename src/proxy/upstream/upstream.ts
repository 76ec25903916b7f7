/**
 * What proxy code may ask of clusters (Envoy: envoy/upstream). All of it is thread-local: a worker has its own hosts, load
 * balancers and pools; only stats and circuit-breaker counts are shared.
 */
import type { Gauge, Scope } from '../../core/stats/stats.ts';
import type { Hash64 } from '../common/hash64.ts';
import type { RequestEncoder, ResponseDecoder } from '../http/codec.ts';
import type { HeaderMap } from '../http/header_map.ts';
import type { Address } from '../network/address.ts';
import type { Connection } from '../network/connection.ts';
import type { Protocol, StreamInfo, UpstreamHostInfo } from '../stream_info/stream_info.ts';
import type { PriorityAvailability, PriorityLoad } from './lb/priority_load.ts';

type OutlierHostMonitor = import('./outlier/host_monitor.ts').OutlierHostMonitor;

export const ResourcePriority = { Default: 0, High: 1 } as const;
export type ResourcePriority = (typeof ResourcePriority)[keyof typeof ResourcePriority];

/** What a load balancer may look at to choose. All methods may return null. */
export interface LoadBalancerContext {
  /** Stays as it is until the next call. */
  computeHashKey(): Hash64 | null;
  metadataMatch(): Record<string, unknown> | null;
  downstreamConnection(): Connection | null;
  downstreamHeaders(): HeaderMap | null;
  /** Asked after a host was chosen: true sends the balancer looking again (retry host predicates). */
  shouldSelectAnotherHost(host: Host): boolean;
  /** How often to look again. */
  hostSelectionRetryCount(): number;
  /** The load of the priorities for this request: `load`, or another of as many priorities. */
  determinePriorityLoad(
    load: PriorityLoad,
    availability: PriorityAvailability,
    priorityOf: (host: Host) => number | null,
  ): PriorityLoad;
}

/** One endpoint on this worker. */
export interface Host extends UpstreamHostInfo {
  readonly address: Address;
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly healthy: boolean;
  /** Null: the cluster has no outlier detection. */
  readonly outlier: OutlierHostMonitor | null;
  /** For a response that says `x-envoy-immediate-health-check-fail`. Null: the cluster has no active health checks. */
  readonly reportImmediateFailure: (() => void) | null;
  readonly canary: boolean;
  readonly locality: { region: string; zone: string; subZone: string };
  readonly metadata: Record<string, Record<string, unknown>>;
  /** Shared over workers: admin sums and shows them. */
  readonly stats: {
    cxActive: Gauge;
    cxTotal: { inc(): void };
    cxConnectFail: { inc(): void };
    rqActive: Gauge;
    rqTotal: { inc(): void };
    rqSuccess: { inc(): void };
    rqError: { inc(): void };
    rqTimeout: { inc(): void };
  };
}

/** Counted limits with `canCreate` / `inc` / `dec`; `max` from circuit_breakers.thresholds. */
export interface Resource {
  canCreate(): boolean;
  inc(): void;
  dec(): void;
  readonly max: number;
  readonly count: number;
}

export interface ResourceManager {
  readonly connections: Resource;
  readonly pendingRequests: Resource;
  readonly requests: Resource;
  readonly retries: Resource;
  readonly connectionPools: Resource;
}

export interface ClusterInfo {
  readonly name: string;
  /** `alt_stat_name` or the name. */
  readonly observabilityName: string;
  readonly connectTimeoutMs: number;
  readonly perConnectionBufferLimitBytes: number;
  /** `cluster.<observabilityName>.` */
  readonly statsScope: Scope;
  readonly stats: ClusterStats;
  readonly metadata: Record<string, Record<string, unknown>>;
  readonly upstreamHttpProtocol: Protocol;
  /** 0: unlimited. */
  readonly maxRequestsPerConnection: number;
  readonly maintenanceMode: boolean;
  /** The share of requests that `drop_overloads` drops, from 0 to 1. */
  readonly dropOverload: number;
  resourceManager(priority: ResourcePriority): ResourceManager;
}

/** Counters of `cluster.<name>.` that the data path touches, resolved once. Every name is Envoy's. */
export type ClusterStats = import('./cluster_stats.ts').ClusterStats;

export const PoolFailureReason = { Overflow: 0, LocalConnectionFailure: 1, RemoteConnectionFailure: 2, Timeout: 3 } as const;
export type PoolFailureReason = (typeof PoolFailureReason)[keyof typeof PoolFailureReason];

/** A request that waits for a connection. */
export interface Cancellable {
  cancel(): void;
}

export interface HttpPoolCallbacks {
  onPoolFailure(reason: PoolFailureReason, transportFailureReason: string, host: Host | null): void;
  /** The encoder is the caller's until its stream ends. `info` is the upstream connection's. */
  onPoolReady(encoder: RequestEncoder, host: Host, connection: Connection, protocol: Protocol): void;
}

/** Hands out streams to one host. */
export interface HttpConnectionPool {
  readonly host: Host;
  /** Calls back at once when a connection is free (then returns null); otherwise what can be cancelled. */
  newStream(decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): Cancellable | null;
  readonly protocol: Protocol;
}

export interface TcpPoolCallbacks {
  onPoolFailure(reason: PoolFailureReason, transportFailureReason: string, host: Host | null): void;
  onPoolReady(connection: TcpConnectionData, host: Host): void;
}

/** An upstream connection on loan. */
export interface TcpConnectionData {
  readonly connection: Connection;
  addUpstreamCallbacks(callbacks: TcpUpstreamCallbacks): void;
  /** Gives the loan back: the connection is reused when it is still open and clean. */
  release(): void;
}

export interface TcpUpstreamCallbacks {
  onUpstreamData(data: import('../../core/buffer/slice_buffer.ts').SliceBuffer, endStream: boolean): void;
  onEvent(event: import('../network/connection.ts').ConnectionEvent): void;
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

export interface TcpConnectionPool {
  readonly host: Host;
  newConnection(callbacks: TcpPoolCallbacks): Cancellable | null;
}

/** A cluster on this worker. */
export interface ThreadLocalCluster {
  readonly info: ClusterInfo;
  /** Hosts of all priorities. */
  hosts(): readonly Host[];
  /** Chooses a host and returns its pool; null when there is no host. */
  httpConnPool(priority: ResourcePriority, context: LoadBalancerContext | null): HttpConnectionPool | null;
  tcpConnPool(priority: ResourcePriority, context: LoadBalancerContext | null): TcpConnectionPool | null;
}

export interface ClusterManager {
  get(name: string): ThreadLocalCluster | null;
  /** Names, in configuration order. */
  names(): string[];
}

/** For connect stats and access logs: what a pool notes in the stream's info. */
export type UpstreamTiming = Pick<StreamInfo, 'upstreamConnectStartMs' | 'upstreamConnectCompleteMs' | 'upstreamPoolReadyMs'>;
