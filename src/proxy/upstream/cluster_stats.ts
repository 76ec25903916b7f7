/**
 * The stats of `cluster.<name>.` that code touches while requests flow, resolved once (Envoy: envoy/upstream/upstream.h,
 * ALL_CLUSTER_*_STATS). A property is its stat's name in camel case.
 *
 * Written out, not filled in a loop: properties that are stored by computed name turn the object into a hash table, and every access
 * on the hot path into a lookup.
 *
 * Response codes (`upstream_rq_200`, `upstream_rq_2xx`, `upstream_rq_completed`, and the same under `internal.`, `external.`,
 * `canary.`) appear with the first response that has them, as in Envoy (source/common/http/codes.cc).
 */
import type { Counter, Gauge, Histogram, Scope } from '../../core/stats/stats.ts';

export class ClusterStats {
  readonly bindErrors: Counter;
  readonly originalDstHostInvalid: Counter;
  readonly retryOrShadowAbandoned: Counter;
  readonly upstreamCxTotal: Counter;
  readonly upstreamCxHttp1Total: Counter;
  readonly upstreamCxHttp2Total: Counter;
  readonly upstreamCxHttp3Total: Counter;
  readonly upstreamCxConnectFail: Counter;
  readonly upstreamCxConnectTimeout: Counter;
  readonly upstreamCxConnectWith0Rtt: Counter;
  readonly upstreamCxConnectAttemptsExceeded: Counter;
  readonly upstreamCxOverflow: Counter;
  readonly upstreamCxPoolOverflow: Counter;
  readonly upstreamCxIdleTimeout: Counter;
  readonly upstreamCxMaxDurationReached: Counter;
  readonly upstreamCxMaxRequests: Counter;
  readonly upstreamCxNoneHealthy: Counter;
  readonly upstreamCxProtocolError: Counter;
  readonly upstreamCxCloseNotify: Counter;
  readonly upstreamCxDestroy: Counter;
  readonly upstreamCxDestroyLocal: Counter;
  readonly upstreamCxDestroyRemote: Counter;
  readonly upstreamCxDestroyWithActiveRq: Counter;
  readonly upstreamCxDestroyLocalWithActiveRq: Counter;
  readonly upstreamCxDestroyRemoteWithActiveRq: Counter;
  readonly upstreamCxRxBytesTotal: Counter;
  readonly upstreamCxTxBytesTotal: Counter;
  readonly upstreamRqTotal: Counter;
  readonly upstreamRq0rtt: Counter;
  readonly upstreamRqPendingTotal: Counter;
  readonly upstreamRqPendingOverflow: Counter;
  readonly upstreamRqPendingFailureEject: Counter;
  readonly upstreamRqCancelled: Counter;
  readonly upstreamRqTimeout: Counter;
  readonly upstreamRqPerTryTimeout: Counter;
  readonly upstreamRqPerTryIdleTimeout: Counter;
  readonly upstreamRqMaxDurationReached: Counter;
  readonly upstreamRqMaintenanceMode: Counter;
  readonly upstreamRqRxReset: Counter;
  readonly upstreamRqTxReset: Counter;
  readonly upstreamRqRetry: Counter;
  readonly upstreamRqRetrySuccess: Counter;
  readonly upstreamRqRetryOverflow: Counter;
  readonly upstreamRqRetryLimitExceeded: Counter;
  readonly upstreamRqRetryBackoffExponential: Counter;
  readonly upstreamRqRetryBackoffRatelimited: Counter;
  readonly upstreamFlowControlPausedReadingTotal: Counter;
  readonly upstreamFlowControlResumedReadingTotal: Counter;
  readonly upstreamFlowControlBackedUpTotal: Counter;
  readonly upstreamFlowControlDrainedTotal: Counter;
  readonly upstreamInternalRedirectFailedTotal: Counter;
  readonly upstreamInternalRedirectSucceededTotal: Counter;
  readonly upstreamHttp3Broken: Counter;
  readonly lbHealthyPanic: Counter;
  readonly lbLocalClusterNotOk: Counter;
  readonly lbRecalculateZoneStructures: Counter;
  readonly lbSubsetsCreated: Counter;
  readonly lbSubsetsFallback: Counter;
  readonly lbSubsetsFallbackPanic: Counter;
  readonly lbSubsetsRemoved: Counter;
  readonly lbSubsetsSelected: Counter;
  readonly lbZoneClusterTooSmall: Counter;
  readonly lbZoneNoCapacityLeft: Counter;
  readonly lbZoneNumberDiffers: Counter;
  readonly lbZoneRoutingAllDirectly: Counter;
  readonly lbZoneRoutingSampled: Counter;
  readonly lbZoneRoutingCrossZone: Counter;
  readonly membershipChange: Counter;
  readonly updateAttempt: Counter;
  readonly updateSuccess: Counter;
  readonly updateFailure: Counter;
  readonly updateEmpty: Counter;
  readonly updateNoRebuild: Counter;
  readonly assignmentStale: Counter;
  readonly assignmentTimeoutReceived: Counter;
  readonly assignmentUseCached: Counter;
  readonly upstreamCxActive: Gauge;
  readonly upstreamCxRxBytesBuffered: Gauge;
  readonly upstreamCxTxBytesBuffered: Gauge;
  readonly upstreamRqActive: Gauge;
  readonly upstreamRqPendingActive: Gauge;
  readonly lbSubsetsActive: Gauge;
  readonly maxHostWeight: Gauge;
  readonly membershipTotal: Gauge;
  readonly membershipHealthy: Gauge;
  readonly membershipDegraded: Gauge;
  readonly membershipExcluded: Gauge;
  readonly version: Gauge;
  readonly warmingState: Gauge;
  readonly upstreamCxConnectMs: Histogram;
  readonly upstreamCxLengthMs: Histogram;
  readonly upstreamRqPerCx: Histogram;
  private readonly codes: ResponseCodeStats;
  private readonly internal: ResponseCodeStats;
  private readonly external: ResponseCodeStats;
  private readonly canary: ResponseCodeStats;

  /** `scope` is `cluster.<name>.`. */
  constructor(scope: Scope) {
    this.bindErrors = scope.counter('bind_errors');
    this.originalDstHostInvalid = scope.counter('original_dst_host_invalid');
    this.retryOrShadowAbandoned = scope.counter('retry_or_shadow_abandoned');
    this.upstreamCxTotal = scope.counter('upstream_cx_total');
    this.upstreamCxHttp1Total = scope.counter('upstream_cx_http1_total');
    this.upstreamCxHttp2Total = scope.counter('upstream_cx_http2_total');
    this.upstreamCxHttp3Total = scope.counter('upstream_cx_http3_total');
    this.upstreamCxConnectFail = scope.counter('upstream_cx_connect_fail');
    this.upstreamCxConnectTimeout = scope.counter('upstream_cx_connect_timeout');
    this.upstreamCxConnectWith0Rtt = scope.counter('upstream_cx_connect_with_0_rtt');
    this.upstreamCxConnectAttemptsExceeded = scope.counter('upstream_cx_connect_attempts_exceeded');
    this.upstreamCxOverflow = scope.counter('upstream_cx_overflow');
    this.upstreamCxPoolOverflow = scope.counter('upstream_cx_pool_overflow');
    this.upstreamCxIdleTimeout = scope.counter('upstream_cx_idle_timeout');
    this.upstreamCxMaxDurationReached = scope.counter('upstream_cx_max_duration_reached');
    this.upstreamCxMaxRequests = scope.counter('upstream_cx_max_requests');
    this.upstreamCxNoneHealthy = scope.counter('upstream_cx_none_healthy');
    this.upstreamCxProtocolError = scope.counter('upstream_cx_protocol_error');
    this.upstreamCxCloseNotify = scope.counter('upstream_cx_close_notify');
    this.upstreamCxDestroy = scope.counter('upstream_cx_destroy');
    this.upstreamCxDestroyLocal = scope.counter('upstream_cx_destroy_local');
    this.upstreamCxDestroyRemote = scope.counter('upstream_cx_destroy_remote');
    this.upstreamCxDestroyWithActiveRq = scope.counter('upstream_cx_destroy_with_active_rq');
    this.upstreamCxDestroyLocalWithActiveRq = scope.counter('upstream_cx_destroy_local_with_active_rq');
    this.upstreamCxDestroyRemoteWithActiveRq = scope.counter('upstream_cx_destroy_remote_with_active_rq');
    this.upstreamCxRxBytesTotal = scope.counter('upstream_cx_rx_bytes_total');
    this.upstreamCxTxBytesTotal = scope.counter('upstream_cx_tx_bytes_total');
    this.upstreamRqTotal = scope.counter('upstream_rq_total');
    this.upstreamRq0rtt = scope.counter('upstream_rq_0rtt');
    this.upstreamRqPendingTotal = scope.counter('upstream_rq_pending_total');
    this.upstreamRqPendingOverflow = scope.counter('upstream_rq_pending_overflow');
    this.upstreamRqPendingFailureEject = scope.counter('upstream_rq_pending_failure_eject');
    this.upstreamRqCancelled = scope.counter('upstream_rq_cancelled');
    this.upstreamRqTimeout = scope.counter('upstream_rq_timeout');
    this.upstreamRqPerTryTimeout = scope.counter('upstream_rq_per_try_timeout');
    this.upstreamRqPerTryIdleTimeout = scope.counter('upstream_rq_per_try_idle_timeout');
    this.upstreamRqMaxDurationReached = scope.counter('upstream_rq_max_duration_reached');
    this.upstreamRqMaintenanceMode = scope.counter('upstream_rq_maintenance_mode');
    this.upstreamRqRxReset = scope.counter('upstream_rq_rx_reset');
    this.upstreamRqTxReset = scope.counter('upstream_rq_tx_reset');
    this.upstreamRqRetry = scope.counter('upstream_rq_retry');
    this.upstreamRqRetrySuccess = scope.counter('upstream_rq_retry_success');
    this.upstreamRqRetryOverflow = scope.counter('upstream_rq_retry_overflow');
    this.upstreamRqRetryLimitExceeded = scope.counter('upstream_rq_retry_limit_exceeded');
    this.upstreamRqRetryBackoffExponential = scope.counter('upstream_rq_retry_backoff_exponential');
    this.upstreamRqRetryBackoffRatelimited = scope.counter('upstream_rq_retry_backoff_ratelimited');
    this.upstreamFlowControlPausedReadingTotal = scope.counter('upstream_flow_control_paused_reading_total');
    this.upstreamFlowControlResumedReadingTotal = scope.counter('upstream_flow_control_resumed_reading_total');
    this.upstreamFlowControlBackedUpTotal = scope.counter('upstream_flow_control_backed_up_total');
    this.upstreamFlowControlDrainedTotal = scope.counter('upstream_flow_control_drained_total');
    this.upstreamInternalRedirectFailedTotal = scope.counter('upstream_internal_redirect_failed_total');
    this.upstreamInternalRedirectSucceededTotal = scope.counter('upstream_internal_redirect_succeeded_total');
    this.upstreamHttp3Broken = scope.counter('upstream_http3_broken');
    this.lbHealthyPanic = scope.counter('lb_healthy_panic');
    this.lbLocalClusterNotOk = scope.counter('lb_local_cluster_not_ok');
    this.lbRecalculateZoneStructures = scope.counter('lb_recalculate_zone_structures');
    this.lbSubsetsCreated = scope.counter('lb_subsets_created');
    this.lbSubsetsFallback = scope.counter('lb_subsets_fallback');
    this.lbSubsetsFallbackPanic = scope.counter('lb_subsets_fallback_panic');
    this.lbSubsetsRemoved = scope.counter('lb_subsets_removed');
    this.lbSubsetsSelected = scope.counter('lb_subsets_selected');
    this.lbZoneClusterTooSmall = scope.counter('lb_zone_cluster_too_small');
    this.lbZoneNoCapacityLeft = scope.counter('lb_zone_no_capacity_left');
    this.lbZoneNumberDiffers = scope.counter('lb_zone_number_differs');
    this.lbZoneRoutingAllDirectly = scope.counter('lb_zone_routing_all_directly');
    this.lbZoneRoutingSampled = scope.counter('lb_zone_routing_sampled');
    this.lbZoneRoutingCrossZone = scope.counter('lb_zone_routing_cross_zone');
    this.membershipChange = scope.counter('membership_change');
    this.updateAttempt = scope.counter('update_attempt');
    this.updateSuccess = scope.counter('update_success');
    this.updateFailure = scope.counter('update_failure');
    this.updateEmpty = scope.counter('update_empty');
    this.updateNoRebuild = scope.counter('update_no_rebuild');
    this.assignmentStale = scope.counter('assignment_stale');
    this.assignmentTimeoutReceived = scope.counter('assignment_timeout_received');
    this.assignmentUseCached = scope.counter('assignment_use_cached');
    this.upstreamCxActive = scope.gauge('upstream_cx_active');
    this.upstreamCxRxBytesBuffered = scope.gauge('upstream_cx_rx_bytes_buffered');
    this.upstreamCxTxBytesBuffered = scope.gauge('upstream_cx_tx_bytes_buffered');
    this.upstreamRqActive = scope.gauge('upstream_rq_active');
    this.upstreamRqPendingActive = scope.gauge('upstream_rq_pending_active');
    this.lbSubsetsActive = scope.gauge('lb_subsets_active');
    this.maxHostWeight = scope.gauge('max_host_weight');
    this.membershipTotal = scope.gauge('membership_total');
    this.membershipHealthy = scope.gauge('membership_healthy');
    this.membershipDegraded = scope.gauge('membership_degraded');
    this.membershipExcluded = scope.gauge('membership_excluded');
    this.version = scope.gauge('version');
    this.warmingState = scope.gauge('warming_state');
    this.upstreamCxConnectMs = scope.histogram('upstream_cx_connect_ms', 'milliseconds');
    this.upstreamCxLengthMs = scope.histogram('upstream_cx_length_ms', 'milliseconds');
    this.upstreamRqPerCx = scope.histogram('upstream_rq_per_cx', 'unspecified');
    this.codes = new ResponseCodeStats(scope);
    this.internal = new ResponseCodeStats(scope.scope('internal.'));
    this.external = new ResponseCodeStats(scope.scope('external.'));
    this.canary = new ResponseCodeStats(scope.scope('canary.'));
  }

  /** Counts a response that goes downstream; for a status that did not come from a host too. */
  chargeResponse(status: number, internalRequest: boolean, upstreamCanary: boolean): void {
    this.codes.charge(status);
    if (upstreamCanary) this.canary.charge(status);
    (internalRequest ? this.internal : this.external).charge(status);
  }

  /** Only `upstream_rq_completed`, `_<class>` and `_<code>` without the variants (Envoy: chargeBasicResponseStat). */
  chargeBasicResponse(status: number): void {
    this.codes.charge(status);
  }

  /** `upstream_rq_time` and its variants. */
  recordResponseTime(timeMs: number, internalRequest: boolean, upstreamCanary: boolean): void {
    this.codes.recordTime(timeMs);
    if (upstreamCanary) this.canary.recordTime(timeMs);
    (internalRequest ? this.internal : this.external).recordTime(timeMs);
  }
}

/** `upstream_rq_<code>` and friends of one scope; also used for `vhost.<v>.vcluster.<c>.`. No string is made after the first use. */
export class ResponseCodeStats {
  private readonly scope: Scope;
  private readonly byStatus: (Counter | null)[] = new Array(600).fill(null);
  private readonly byClass: (Counter | null)[] = new Array(6).fill(null);
  private completed: Counter | null = null;
  private time: Histogram | null = null;

  constructor(scope: Scope) {
    this.scope = scope;
  }

  /** A status outside 100-599 counts as completed only. */
  charge(status: number): void {
    this.completed ??= this.scope.counter('upstream_rq_completed');
    this.completed.inc();
    if (!(status >= 100 && status < 600)) return;
    const hundreds = (status / 100) | 0;
    (this.byClass[hundreds] ??= this.scope.counter(`upstream_rq_${hundreds}xx`)).inc();
    (this.byStatus[status] ??= this.scope.counter(`upstream_rq_${status}`)).inc();
  }

  recordTime(timeMs: number): void {
    this.time ??= this.scope.histogram('upstream_rq_time', 'milliseconds');
    this.time.recordValue(timeMs);
  }
}
