/**
 * A cluster on one worker: its hosts, its balancer, and the pools of each host (Envoy: ClusterManagerImpl::ThreadLocalClusterManagerImpl,
 * ClusterEntry). Hosts that stay in an update keep their objects and connections; pools of those that go are drained.
 */

import type { Connection } from '../network/connection.ts';
import { AutoConnPool } from './auto_conn_pool.ts';
import { type AutoSniSettings, type PoolServerName, serverNameOf } from './auto_sni.ts';
import type { ClusterInfoImpl } from './cluster_info.ts';
import type { ConnPoolBase } from './conn_pool_base.ts';
import { HealthFlag, HostHealth } from './health_flags.ts';
import { HostImpl } from './host.ts';
import { type HealthUpdate, type HostDescription, type HostEvent, type HostUpdate, hostKey } from './host_update.ts';
import { Http1ConnPool } from './http1_conn_pool.ts';
import { Http2ConnPool } from './http2_conn_pool.ts';
import type { LoadBalancer } from './lb/load_balancer.ts';
import { OutlierHostMonitor } from './outlier/host_monitor.ts';
import { type PrioritySet, prioritySetOf } from './priority_set.ts';
import { TcpConnPool } from './tcp_conn_pool.ts';
import type {
  HttpConnectionPool,
  LoadBalancerContext,
  ResourcePriority,
  TcpConnectionPool,
  ThreadLocalCluster,
} from './upstream.ts';
import type { UpstreamContext } from './upstream_context.ts';

/** Names come from clients: so many pools of one host at a time. */
const MAX_NAMES_PER_HOST = 256;

/** In `HostImpl.httpPools`. */
const FIRST_HTTP2 = 2;

export class ThreadLocalClusterImpl implements ThreadLocalCluster {
  readonly info: ClusterInfoImpl;
  private readonly context: UpstreamContext;
  private readonly autoSni: AutoSniSettings | null;
  private readonly balancer: LoadBalancer;
  private readonly http1Only: boolean;
  private byKey = new Map<string, HostImpl>();
  private all: readonly HostImpl[] = [];
  private onGone: (() => void) | null = null;
  /** Replaced whenever hosts change. */
  prioritySet: PrioritySet = prioritySetOf([]);
  /** Pools of hosts that are gone, until their last connection ends. */
  private readonly drainingPools = new Set<ConnPoolBase>();

  constructor(info: ClusterInfoImpl, context: UpstreamContext, balancer: LoadBalancer) {
    this.info = info;
    this.context = context;
    this.autoSni = info.mayBeSecure ? info.settings.http.autoSni : null;
    this.balancer = balancer;
    this.http1Only = info.settings.http.protocol === 'http1';
  }

  /** Place in `HostImpl.httpPools`. */
  private poolSlot(priority: ResourcePriority, context: LoadBalancerContext | null): number {
    if (this.info.settings.http.protocol !== 'downstream') return priority + FIRST_HTTP2;
    return context?.downstreamConnection()?.streamInfo.protocol === 'HTTP/2' ? priority + FIRST_HTTP2 : priority;
  }

  hosts(): readonly HostImpl[] {
    return this.all;
  }

  applyHosts(update: HostUpdate): void {
    const next = new Map<string, HostImpl>();
    for (const description of update.hosts) {
      const key = update.logical ? 'logical' : hostKey(description);
      if (next.has(key)) continue;
      const known = this.byKey.get(key);
      const wasHealthy = known?.health === HostHealth.Healthy;
      known?.update(description);
      const host = known ?? this.createHost(description, key);
      this.noteHealth(host, wasHealthy);
      next.set(key, host);
    }
    this.replaceHosts(next);
  }

  private createHost(description: HostDescription, key: string): HostImpl {
    const { workerIndex, runtime, onHostEvent } = this.context;
    const host = new HostImpl(description, workerIndex, key);
    const { name, settings } = this.info;
    if (onHostEvent === undefined) return host;
    if (settings.healthCheck !== null) {
      host.reportImmediateFailure = () => {
        // Main knows already, and the host may go on saying so.
        if ((host.healthFlags & HealthFlag.ExcludedViaImmediateHcFail) === 0)
          onHostEvent({ cluster: name, key, what: 'immediate_health_check_fail' });
      };
    }
    const memory = description.outlier;
    if (settings.outlier !== null && memory !== undefined) {
      const report = (what: HostEvent['what']): void => onHostEvent({ cluster: name, key, what });
      host.outlier = new OutlierHostMonitor(memory, workerIndex, settings.outlier, runtime, report);
    }
    return host;
  }

  /** Health changed, hosts did not. */
  applyHealth(update: HealthUpdate): void {
    for (const { key, healthFlags, failed } of update.hosts) {
      const host = this.byKey.get(key);
      if (host === undefined) continue;
      const wasHealthy = host.health === HostHealth.Healthy;
      host.setHealthFlags(healthFlags);
      this.noteHealth(host, wasHealthy);
      if (failed) this.onHealthFailure(host);
    }
    this.updateBalancer();
  }

  private updateBalancer(): void {
    this.prioritySet = prioritySetOf(this.all);
    this.balancer.update(this.prioritySet);
  }

  /** Slow start begins when a host becomes healthy. */
  private noteHealth(host: HostImpl, wasHealthy: boolean): void {
    if (!wasHealthy && host.health === HostHealth.Healthy) host.healthySinceMs = this.context.dispatcher.nowMs;
  }

  /** New streams, if any still come here, get new connections: the old ones may share a path that is broken (Envoy: onHostHealthFailure). */
  private onHealthFailure(host: HostImpl): void {
    for (const pool of [...host.httpPools, ...host.namedPools.values()]) pool?.drainConnections();
    for (const pool of host.tcpPools) {
      if (this.info.settings.closeConnectionsOnHostHealthFailure) pool?.closeAll();
      else pool?.drainConnections();
    }
  }

  /** For clusters that make their own hosts (ORIGINAL_DST). */
  addHost(key: string, host: HostImpl): void {
    this.replaceHosts(new Map(this.byKey).set(key, host));
  }

  removeHosts(keys: readonly string[]): void {
    const next = new Map(this.byKey);
    for (const key of keys) next.delete(key);
    this.replaceHosts(next);
  }

  host(key: string): HostImpl | undefined {
    return this.byKey.get(key);
  }

  hostEntries(): IterableIterator<[string, HostImpl]> {
    return this.byKey.entries();
  }

  httpConnPool(priority: ResourcePriority, context: LoadBalancerContext | null): HttpConnectionPool | null {
    const host = this.balancer.chooseHost(context);
    if (host === null) {
      this.info.stats.upstreamCxNoneHealthy.inc();
      return null;
    }
    const slot = this.http1Only ? priority : this.poolSlot(priority, context);
    if (this.autoSni !== null)
      return this.namedPool(host, priority, slot, serverNameOf(this.autoSni, context?.downstreamHeaders() ?? null));
    return host.httpPools[slot] ?? this.createHttpPool(host, priority, slot);
  }

  tcpConnPool(priority: ResourcePriority, context: LoadBalancerContext | null): TcpConnectionPool | null {
    const host = this.balancer.chooseHost(context);
    if (host === null) {
      this.info.stats.upstreamCxNoneHealthy.inc();
      return null;
    }
    return host.tcpPools[priority] ?? this.createTcpPool(host, priority);
  }

  /** The cluster is replaced or removed: connections end with their requests; `onGone` runs when none is left. */
  drain(onGone: () => void): void {
    this.balancer.close?.();
    this.replaceHosts(new Map());
    this.onGone = onGone;
    this.checkGone();
  }

  private checkGone(): void {
    if (this.onGone === null || this.drainingPools.size > 0) return;
    const onGone = this.onGone;
    this.onGone = null;
    this.info.close();
    onGone();
  }

  private poolGone(pool: ConnPoolBase): void {
    this.drainingPools.delete(pool);
    this.checkGone();
  }

  /** Ends all connections: the worker stops, or the cluster is gone. */
  close(): void {
    this.onGone = null;
    this.balancer.close?.();
    for (const host of this.all) for (const pool of poolsOf(host)) pool.closeAll();
    for (const pool of [...this.drainingPools]) pool.closeAll();
    this.info.close();
  }

  /** Connections of this worker, those of removed hosts included. */
  get connections(): number {
    let n = 0;
    const count = (pool: ConnPoolBase): void => {
      n += pool.readyConnections + pool.busyConnections + pool.connectingConnections;
    };
    for (const host of this.all) for (const pool of poolsOf(host)) count(pool);
    for (const pool of this.drainingPools) count(pool);
    return n;
  }

  /** For admin. */
  *openConnections(): Iterable<Connection> {
    for (const host of this.all) for (const pool of poolsOf(host)) yield* pool.openConnections();
    for (const pool of this.drainingPools) yield* pool.openConnections();
  }

  private replaceHosts(next: Map<string, HostImpl>): void {
    const before = this.byKey;
    this.byKey = next;
    this.all = [...next.values()];
    this.updateBalancer();
    let changed = before.size !== next.size;
    for (const [key, host] of before) {
      if (next.get(key) === host) continue;
      changed = true;
      for (const pool of poolsOf(host)) {
        this.drainingPools.add(pool);
        pool.drain();
      }
    }
    if (changed && this.info.settings.closeConnectionsOnHostSetChange) {
      for (const host of this.all) for (const pool of poolsOf(host)) pool.drainConnections();
    }
  }

  private createHttpPool(host: HostImpl, priority: ResourcePriority, slot: number): Http1ConnPool | Http2ConnPool | null {
    if (!this.roomForPool(priority)) return null;
    const Pool = this.poolClass(slot);
    const pool = new Pool(this.context, this.info, host, priority, (gone) => {
      if (host.httpPools[slot] === gone) host.httpPools[slot] = null;
      this.poolGone(gone);
    });
    host.httpPools[slot] = pool;
    return pool;
  }

  private poolClass(slot: number): typeof Http1ConnPool | typeof Http2ConnPool {
    if (slot < FIRST_HTTP2) return Http1ConnPool;
    return this.info.settings.http.protocol === 'auto' ? AutoConnPool : Http2ConnPool;
  }

  /** A pool for one server name; null when there is no room for another. */
  private namedPool(
    host: HostImpl,
    priority: ResourcePriority,
    slot: number,
    name: PoolServerName,
  ): Http1ConnPool | Http2ConnPool | null {
    const key = `${slot} ${name.serverName} ${name.verifyName}`;
    const known = host.namedPools.get(key);
    if (known !== undefined) return known;
    if (!this.roomForName(host) || !this.roomForPool(priority)) return null;
    const Pool = this.poolClass(slot);
    const pool = new Pool(this.context, this.info, host, priority, (gone) => {
      if (host.namedPools.get(key) === gone) host.namedPools.delete(key);
      this.poolGone(gone);
    });
    pool.serverName = name;
    host.namedPools.set(key, pool);
    return pool;
  }

  /** Names come from requests: the oldest pool without a request makes room. */
  private roomForName(host: HostImpl): boolean {
    if (host.namedPools.size < MAX_NAMES_PER_HOST) return true;
    for (const [key, pool] of host.namedPools) {
      if (pool.busyConnections + pool.pendingStreams > 0) continue;
      host.namedPools.delete(key);
      this.drainingPools.add(pool);
      pool.drain();
      return true;
    }
    this.info.stats.upstreamCxPoolOverflow.inc();
    return false;
  }

  private createTcpPool(host: HostImpl, priority: ResourcePriority): TcpConnPool | null {
    if (!this.roomForPool(priority)) return null;
    const pool = new TcpConnPool(this.context, this.info, host, priority, (gone) => {
      if (host.tcpPools[priority] === gone) host.tcpPools[priority] = null;
      this.poolGone(gone);
    });
    host.tcpPools[priority] = pool;
    return pool;
  }

  /** `max_connection_pools`: when there is no room, a pool of this worker that does nothing makes some. */
  private roomForPool(priority: ResourcePriority): boolean {
    const limit = this.info.resourceManager(priority).connectionPools;
    if (limit.canCreate()) return true;
    for (const host of this.all) {
      const { httpPools, tcpPools, namedPools } = host;
      const unnamed = [httpPools[priority], httpPools[priority + FIRST_HTTP2], tcpPools[priority]];
      for (const pool of [...unnamed, ...namedPools.values()]) {
        if (pool?.idle) {
          pool.drain();
          if (limit.canCreate()) return true;
        }
      }
    }
    this.info.stats.upstreamCxPoolOverflow.inc();
    return false;
  }
}

function poolsOf(host: HostImpl): ConnPoolBase[] {
  return [...host.httpPools, ...host.namedPools.values(), ...host.tcpPools].filter((pool) => pool !== null);
}
