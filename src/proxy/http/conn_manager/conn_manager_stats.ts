/**
 * Statistics of one connection manager (Envoy: ALL_HTTP_CONN_MAN_STATS), resolved once: `http.<stat_prefix>.` and, for response
 * classes, `listener.<address>.http.<stat_prefix>.`. Response codes are counted through an array indexed by the status class.
 */
import type { Counter, Gauge, Histogram, Scope } from '../../../core/stats/stats.ts';

export class ConnectionManagerStats {
  readonly scope: Scope;

  readonly downstreamCxTotal: Counter;
  readonly downstreamCxHttp1Total: Counter;
  readonly downstreamCxHttp2Total: Counter;
  readonly downstreamCxHttp3Total: Counter;
  readonly downstreamCxSslTotal: Counter;
  readonly downstreamCxUpgradesTotal: Counter;
  readonly downstreamCxActive: Gauge;
  readonly downstreamCxHttp1Active: Gauge;
  readonly downstreamCxHttp2Active: Gauge;
  readonly downstreamCxHttp3Active: Gauge;
  readonly downstreamCxSslActive: Gauge;
  readonly downstreamCxUpgradesActive: Gauge;
  readonly downstreamCxHttp1SoftDrain: Counter;
  readonly downstreamCxDestroy: Counter;
  readonly downstreamCxDestroyLocal: Counter;
  readonly downstreamCxDestroyRemote: Counter;
  readonly downstreamCxDestroyActiveRq: Counter;
  readonly downstreamCxDestroyLocalActiveRq: Counter;
  readonly downstreamCxDestroyRemoteActiveRq: Counter;
  readonly downstreamCxDrainClose: Counter;
  readonly downstreamCxIdleTimeout: Counter;
  readonly downstreamCxMaxDurationReached: Counter;
  readonly downstreamCxMaxRequestsReached: Counter;
  readonly downstreamCxOverloadDisableKeepalive: Counter;
  readonly downstreamCxProtocolError: Counter;
  readonly downstreamCxDelayedCloseTimeout: Counter;
  readonly downstreamCxLengthMs: Histogram;
  readonly downstreamCxRxBytesTotal: Counter;
  readonly downstreamCxRxBytesBuffered: Gauge;
  readonly downstreamCxTxBytesTotal: Counter;
  readonly downstreamCxTxBytesBuffered: Gauge;
  readonly downstreamFlowControlPausedReadingTotal: Counter;
  readonly downstreamFlowControlResumedReadingTotal: Counter;

  readonly downstreamRqTotal: Counter;
  readonly downstreamRqHttp1Total: Counter;
  readonly downstreamRqHttp2Total: Counter;
  readonly downstreamRqHttp3Total: Counter;
  readonly downstreamRqActive: Gauge;
  readonly downstreamRqTime: Histogram;
  readonly downstreamRqTimeout: Counter;
  readonly downstreamRqHeaderTimeout: Counter;
  readonly downstreamRqIdleTimeout: Counter;
  readonly downstreamRqMaxDurationReached: Counter;
  readonly downstreamRqTooLarge: Counter;
  readonly downstreamRqRxReset: Counter;
  readonly downstreamRqTxReset: Counter;
  readonly downstreamRqOverloadClose: Counter;
  readonly downstreamRqNonRelativePath: Counter;
  readonly downstreamRqFailedPathNormalization: Counter;
  readonly downstreamRqRedirectedWithNormalizedPath: Counter;
  readonly downstreamRqRejectedViaIpDetection: Counter;
  readonly downstreamRqResponseBeforeRqComplete: Counter;
  readonly downstreamRqTooManyPrematureResets: Counter;
  readonly downstreamRqWsOnNonWsRoute: Counter;
  readonly rsTooLarge: Counter;

  private readonly responses: ResponseClassStats;
  private readonly listenerResponses: ResponseClassStats;

  /** `statPrefix` as configured; `listenerScope` is `listener.<address>.`. */
  constructor(root: Scope, listenerScope: Scope, statPrefix: string) {
    const scope = root.scope(`http.${statPrefix}.`);
    this.scope = scope;
    this.downstreamCxTotal = scope.counter('downstream_cx_total');
    this.downstreamCxHttp1Total = scope.counter('downstream_cx_http1_total');
    this.downstreamCxHttp2Total = scope.counter('downstream_cx_http2_total');
    this.downstreamCxHttp3Total = scope.counter('downstream_cx_http3_total');
    this.downstreamCxSslTotal = scope.counter('downstream_cx_ssl_total');
    this.downstreamCxUpgradesTotal = scope.counter('downstream_cx_upgrades_total');
    this.downstreamCxActive = scope.gauge('downstream_cx_active');
    this.downstreamCxHttp1Active = scope.gauge('downstream_cx_http1_active');
    this.downstreamCxHttp2Active = scope.gauge('downstream_cx_http2_active');
    this.downstreamCxHttp3Active = scope.gauge('downstream_cx_http3_active');
    this.downstreamCxSslActive = scope.gauge('downstream_cx_ssl_active');
    this.downstreamCxUpgradesActive = scope.gauge('downstream_cx_upgrades_active');
    this.downstreamCxHttp1SoftDrain = scope.counter('downstream_cx_http1_soft_drain');
    this.downstreamCxDestroy = scope.counter('downstream_cx_destroy');
    this.downstreamCxDestroyLocal = scope.counter('downstream_cx_destroy_local');
    this.downstreamCxDestroyRemote = scope.counter('downstream_cx_destroy_remote');
    this.downstreamCxDestroyActiveRq = scope.counter('downstream_cx_destroy_active_rq');
    this.downstreamCxDestroyLocalActiveRq = scope.counter('downstream_cx_destroy_local_active_rq');
    this.downstreamCxDestroyRemoteActiveRq = scope.counter('downstream_cx_destroy_remote_active_rq');
    this.downstreamCxDrainClose = scope.counter('downstream_cx_drain_close');
    this.downstreamCxIdleTimeout = scope.counter('downstream_cx_idle_timeout');
    this.downstreamCxMaxDurationReached = scope.counter('downstream_cx_max_duration_reached');
    this.downstreamCxMaxRequestsReached = scope.counter('downstream_cx_max_requests_reached');
    this.downstreamCxOverloadDisableKeepalive = scope.counter('downstream_cx_overload_disable_keepalive');
    this.downstreamCxProtocolError = scope.counter('downstream_cx_protocol_error');
    this.downstreamCxDelayedCloseTimeout = scope.counter('downstream_cx_delayed_close_timeout');
    this.downstreamCxLengthMs = scope.histogram('downstream_cx_length_ms', 'milliseconds');
    this.downstreamCxRxBytesTotal = scope.counter('downstream_cx_rx_bytes_total');
    this.downstreamCxRxBytesBuffered = scope.gauge('downstream_cx_rx_bytes_buffered');
    this.downstreamCxTxBytesTotal = scope.counter('downstream_cx_tx_bytes_total');
    this.downstreamCxTxBytesBuffered = scope.gauge('downstream_cx_tx_bytes_buffered');
    this.downstreamFlowControlPausedReadingTotal = scope.counter('downstream_flow_control_paused_reading_total');
    this.downstreamFlowControlResumedReadingTotal = scope.counter('downstream_flow_control_resumed_reading_total');
    this.downstreamRqTotal = scope.counter('downstream_rq_total');
    this.downstreamRqHttp1Total = scope.counter('downstream_rq_http1_total');
    this.downstreamRqHttp2Total = scope.counter('downstream_rq_http2_total');
    this.downstreamRqHttp3Total = scope.counter('downstream_rq_http3_total');
    this.downstreamRqActive = scope.gauge('downstream_rq_active');
    this.downstreamRqTime = scope.histogram('downstream_rq_time', 'milliseconds');
    this.downstreamRqTimeout = scope.counter('downstream_rq_timeout');
    this.downstreamRqHeaderTimeout = scope.counter('downstream_rq_header_timeout');
    this.downstreamRqIdleTimeout = scope.counter('downstream_rq_idle_timeout');
    this.downstreamRqMaxDurationReached = scope.counter('downstream_rq_max_duration_reached');
    this.downstreamRqTooLarge = scope.counter('downstream_rq_too_large');
    this.downstreamRqRxReset = scope.counter('downstream_rq_rx_reset');
    this.downstreamRqTxReset = scope.counter('downstream_rq_tx_reset');
    this.downstreamRqOverloadClose = scope.counter('downstream_rq_overload_close');
    this.downstreamRqNonRelativePath = scope.counter('downstream_rq_non_relative_path');
    this.downstreamRqFailedPathNormalization = scope.counter('downstream_rq_failed_path_normalization');
    this.downstreamRqRedirectedWithNormalizedPath = scope.counter('downstream_rq_redirected_with_normalized_path');
    this.downstreamRqRejectedViaIpDetection = scope.counter('downstream_rq_rejected_via_ip_detection');
    this.downstreamRqResponseBeforeRqComplete = scope.counter('downstream_rq_response_before_rq_complete');
    this.downstreamRqTooManyPrematureResets = scope.counter('downstream_rq_too_many_premature_resets');
    this.downstreamRqWsOnNonWsRoute = scope.counter('downstream_rq_ws_on_non_ws_route');
    this.rsTooLarge = scope.counter('rs_too_large');
    this.responses = new ResponseClassStats(scope);
    this.listenerResponses = new ResponseClassStats(listenerScope.scope(`http.${statPrefix}.`));
  }

  /** Counts one response: `downstream_rq_completed` and its class, here and under the listener. */
  chargeResponse(status: number): void {
    const responseClass = (status / 100) | 0;
    this.responses.charge(responseClass);
    this.listenerResponses.charge(responseClass);
  }
}

class ResponseClassStats {
  private readonly completed: Counter;
  private readonly classes: readonly Counter[];
  private readonly other: Counter;

  constructor(scope: Scope) {
    this.completed = scope.counter('downstream_rq_completed');
    this.classes = [1, 2, 3, 4, 5].map((digit) => scope.counter(`downstream_rq_${digit}xx`));
    this.other = this.classes[4];
  }

  charge(responseClass: number): void {
    this.completed.inc();
    if (responseClass >= 1 && responseClass <= 5) this.classes[responseClass - 1].inc();
    else this.other.inc();
  }
}
