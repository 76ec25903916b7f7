/** The router filter as configured, on one worker (Envoy: Router::FilterConfig), and its statistics under `http.<stat_prefix>.`. */
import type { Counter, Scope } from '../../../core/stats/stats.ts';
import type { AccessLog } from '../../access_log/access_log.ts';
import type { OverloadState } from '../../overload/overload_state.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClusterInfo, ClusterManager } from '../../upstream/upstream.ts';
import { ClusterCodeStats } from './cluster_code_stats.ts';
import type { MirrorClient } from './request_mirror.ts';

export class RouterStats {
  readonly noRoute: Counter;
  readonly noCluster: Counter;
  readonly rqTotal: Counter;
  readonly rqDirectResponse: Counter;
  readonly rqRedirect: Counter;
  readonly rqResetAfterDownstreamResponseStarted: Counter;
  readonly rqOverloadLocalReply: Counter;

  constructor(scope: Scope) {
    this.noRoute = scope.counter('no_route');
    this.noCluster = scope.counter('no_cluster');
    this.rqTotal = scope.counter('rq_total');
    this.rqDirectResponse = scope.counter('rq_direct_response');
    this.rqRedirect = scope.counter('rq_redirect');
    this.rqResetAfterDownstreamResponseStarted = scope.counter('rq_reset_after_downstream_response_started');
    this.rqOverloadLocalReply = scope.counter('rq_overload_local_reply');
  }
}

export interface RouterOptions {
  readonly clusterManager: ClusterManager;
  readonly runtime: Runtime;
  readonly random: () => number;
  readonly stats: RouterStats;
  readonly dynamicStats: boolean;
  readonly suppressEnvoyHeaders: boolean;
  readonly respectExpectedRqTimeout: boolean;
  /** Lower-case names whose values must be well formed. */
  readonly strictCheckHeaders: readonly string[];
  readonly upstreamLogs: readonly AccessLog[];
  readonly overload?: OverloadState;
  /** Each attempt of a traced request has a span of its own. Default false: the connection manager decides. */
  readonly startChildSpan?: boolean;
  /** Absent: requests are not mirrored. */
  readonly mirrorClient?: () => MirrorClient;
}

export class RouterConfig {
  readonly clusterManager: ClusterManager;
  readonly runtime: Runtime;
  readonly random: () => number;
  readonly stats: RouterStats;
  readonly dynamicStats: boolean;
  readonly suppressEnvoyHeaders: boolean;
  readonly respectExpectedRqTimeout: boolean;
  readonly strictCheckHeaders: readonly string[];
  readonly upstreamLogs: readonly AccessLog[];
  readonly overload: OverloadState | null;
  readonly startChildSpan: boolean;
  readonly mirrorClient: (() => MirrorClient) | null;
  private readonly codeStats = new WeakMap<ClusterInfo, ClusterCodeStats>();
  private lastInfo: ClusterInfo | null = null;
  private lastCodeStats: ClusterCodeStats | null = null;

  constructor(options: RouterOptions) {
    this.clusterManager = options.clusterManager;
    this.runtime = options.runtime;
    this.random = options.random;
    this.stats = options.stats;
    this.dynamicStats = options.dynamicStats;
    this.suppressEnvoyHeaders = options.suppressEnvoyHeaders;
    this.respectExpectedRqTimeout = options.respectExpectedRqTimeout;
    this.strictCheckHeaders = options.strictCheckHeaders;
    this.upstreamLogs = options.upstreamLogs;
    this.overload = options.overload ?? null;
    this.startChildSpan = options.startChildSpan ?? false;
    this.mirrorClient = options.mirrorClient ?? null;
  }

  codeStatsOf(info: ClusterInfo): ClusterCodeStats {
    if (info === this.lastInfo) return this.lastCodeStats as ClusterCodeStats;
    let stats = this.codeStats.get(info);
    if (stats === undefined) {
      stats = new ClusterCodeStats(info.statsScope);
      this.codeStats.set(info, stats);
    }
    this.lastInfo = info;
    this.lastCodeStats = stats;
    return stats;
  }

  /** Below `cluster.<name>.<alt>.`, for requests that carry x-envoy-upstream-alt-stat-name. */
  altCodeStatsOf(info: ClusterInfo, name: string): ClusterCodeStats {
    return new ClusterCodeStats(info.statsScope.scope(`${name}.`));
  }
}
