/**
 * What all threads know about overload, in shared memory: main writes the state of each action and load shed point, everybody reads it with
 * one load. Beside it the number of downstream connections, which workers count exactly, and what each thread's memory has to spare.
 */

/** Actions by their number: where their state is. */
export const OVERLOAD_ACTIONS = [
  'envoy.overload_actions.stop_accepting_requests',
  'envoy.overload_actions.disable_http_keepalive',
  'envoy.overload_actions.stop_accepting_connections',
  'envoy.overload_actions.reject_incoming_connections',
  'envoy.overload_actions.shrink_heap',
  'envoy.overload_actions.reduce_timeouts',
] as const;

export const LOAD_SHED_POINTS = [
  'envoy.load_shed_points.tcp_listener_accept',
  'envoy.load_shed_points.http_connection_manager_decode_headers',
  'envoy.load_shed_points.hcm_ondata_creating_codec',
  'envoy.load_shed_points.http1_server_abort_dispatch',
  'envoy.load_shed_points.http2_server_go_away_on_dispatch',
  'envoy.load_shed_points.http2_server_go_away_and_close_on_dispatch',
  'envoy.load_shed_points.http_downstream_filter_check',
] as const;

export const OverloadAction = {
  StopAcceptingRequests: 0,
  DisableHttpKeepAlive: 1,
  StopAcceptingConnections: 2,
  RejectIncomingConnections: 3,
  ShrinkHeap: 4,
  ReduceTimeouts: 5,
} as const;
export type OverloadAction = (typeof OverloadAction)[keyof typeof OverloadAction];

export const LoadShedPoint = {
  TcpListenerAccept: 0,
  DecodeHeaders: 1,
  CreatingCodec: 2,
  Http1AbortDispatch: 3,
  Http2GoAwayOnDispatch: 4,
  Http2GoAwayAndCloseOnDispatch: 5,
  DownstreamFilterCheck: 6,
} as const;
export type LoadShedPoint = (typeof LoadShedPoint)[keyof typeof LoadShedPoint];

export interface OverloadMemory {
  /** 0 (inactive) to 1 (saturated), by action. */
  readonly actions: Float64Array<SharedArrayBuffer>;
  /** The same by load shed point. */
  readonly points: Float64Array<SharedArrayBuffer>;
  /** Element 0: open downstream connections of all workers. */
  readonly connections: Int32Array<SharedArrayBuffer>;
  /** Bytes of resident memory that hold nothing, by thread; main is thread 0. */
  readonly spareBytes: Float64Array<SharedArrayBuffer>;
}

export function createOverloadMemory(threads: number): OverloadMemory {
  return {
    actions: new Float64Array(new SharedArrayBuffer(OVERLOAD_ACTIONS.length * 8)),
    points: new Float64Array(new SharedArrayBuffer(LOAD_SHED_POINTS.length * 8)),
    connections: new Int32Array(new SharedArrayBuffer(4)),
    spareBytes: new Float64Array(new SharedArrayBuffer(threads * 8)),
  };
}
