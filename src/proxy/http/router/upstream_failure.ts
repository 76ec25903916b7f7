/** What an upstream failure becomes: status, response flag, body and details (Envoy: Router::Filter::onUpstreamReset). */
import type { ResponseFlag } from '../../stream_info/stream_info.ts';
import { PoolFailureReason } from '../../upstream/upstream.ts';
import { RESET_REASON_TEXT, StreamResetReason } from '../codec.ts';

export const RESET_FLAGS: Record<StreamResetReason, ResponseFlag> = {
  [StreamResetReason.LocalReset]: 'LocalReset',
  [StreamResetReason.LocalRefusedStreamReset]: 'LocalReset',
  [StreamResetReason.RemoteReset]: 'UpstreamRemoteReset',
  [StreamResetReason.RemoteRefusedStreamReset]: 'UpstreamRemoteReset',
  [StreamResetReason.LocalConnectionFailure]: 'UpstreamConnectionFailure',
  [StreamResetReason.RemoteConnectionFailure]: 'UpstreamConnectionFailure',
  [StreamResetReason.ConnectionTimeout]: 'UpstreamConnectionFailure',
  [StreamResetReason.ConnectionTermination]: 'UpstreamConnectionTermination',
  [StreamResetReason.Overflow]: 'UpstreamOverflow',
  [StreamResetReason.ConnectError]: 'UpstreamRemoteReset',
  [StreamResetReason.ProtocolError]: 'UpstreamProtocolError',
  [StreamResetReason.OverloadManager]: 'OverloadManagerTerminated',
  [StreamResetReason.Http1PrematureUpstreamHalfClose]: 'UpstreamConnectionTermination',
};

export const POOL_FAILURE_RESET: Record<PoolFailureReason, StreamResetReason> = {
  [PoolFailureReason.Overflow]: StreamResetReason.Overflow,
  [PoolFailureReason.LocalConnectionFailure]: StreamResetReason.LocalConnectionFailure,
  [PoolFailureReason.RemoteConnectionFailure]: StreamResetReason.RemoteConnectionFailure,
  [PoolFailureReason.Timeout]: StreamResetReason.ConnectionTimeout,
};

/** 502 when the upstream broke the protocol, else 503. */
export function resetStatus(reason: StreamResetReason): number {
  return reason === StreamResetReason.ProtocolError ? 502 : 503;
}

export function resetBody(reason: StreamResetReason, transportFailureReason: string, isRetry: boolean): string {
  const transport = transportFailureReason === '' ? '' : `, transport failure reason: ${transportFailureReason}`;
  const retried = isRetry ? 'retried and the latest ' : '';
  return `upstream connect error or disconnect/reset before headers. ${retried}reset reason: ${RESET_REASON_TEXT[reason]}${transport}`;
}

export function resetDetails(reason: StreamResetReason, transportFailureReason: string, responseStarted: boolean): string {
  const when = responseStarted ? 'upstream_reset_after_response_started' : 'upstream_reset_before_response_started';
  const transport = transportFailureReason === '' ? '' : `|${transportFailureReason}`;
  return `${when}{${RESET_REASON_TEXT[reason]}${transport}}`.replace(/\s/g, '_');
}
