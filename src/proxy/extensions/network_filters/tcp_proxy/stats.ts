/** Stats of tcp_proxy, `tcp.<stat_prefix>.`; a property is its stat's name in camel case. */
import type { Counter, Gauge, Scope } from '../../../../core/stats/stats.ts';

export class TcpProxyStats {
  readonly downstreamCxTotal: Counter;
  readonly downstreamCxNoRoute: Counter;
  readonly downstreamCxRxBytesTotal: Counter;
  readonly downstreamCxTxBytesTotal: Counter;
  readonly downstreamCxRxBytesBuffered: Gauge;
  readonly downstreamCxTxBytesBuffered: Gauge;
  readonly downstreamFlowControlPausedReadingTotal: Counter;
  readonly downstreamFlowControlResumedReadingTotal: Counter;
  readonly earlyDataReceivedCountTotal: Counter;
  readonly idleTimeout: Counter;
  readonly maxDownstreamConnectionDuration: Counter;
  readonly upstreamFlushTotal: Counter;
  readonly upstreamFlushActive: Gauge;

  constructor(scope: Scope) {
    this.downstreamCxTotal = scope.counter('downstream_cx_total');
    this.downstreamCxNoRoute = scope.counter('downstream_cx_no_route');
    this.downstreamCxRxBytesTotal = scope.counter('downstream_cx_rx_bytes_total');
    this.downstreamCxTxBytesTotal = scope.counter('downstream_cx_tx_bytes_total');
    this.downstreamCxRxBytesBuffered = scope.gauge('downstream_cx_rx_bytes_buffered');
    this.downstreamCxTxBytesBuffered = scope.gauge('downstream_cx_tx_bytes_buffered');
    this.downstreamFlowControlPausedReadingTotal = scope.counter('downstream_flow_control_paused_reading_total');
    this.downstreamFlowControlResumedReadingTotal = scope.counter('downstream_flow_control_resumed_reading_total');
    this.earlyDataReceivedCountTotal = scope.counter('early_data_received_count_total');
    this.idleTimeout = scope.counter('idle_timeout');
    this.maxDownstreamConnectionDuration = scope.counter('max_downstream_connection_duration');
    this.upstreamFlushTotal = scope.counter('upstream_flush_total');
    this.upstreamFlushActive = scope.gauge('upstream_flush_active');
  }
}
