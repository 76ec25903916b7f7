/** `vcl.*`: what the host stack's socket interface counts. */
import type { Counter, Gauge, Scope } from '../../../../core/stats/stats.ts';

export const VCL_COUNTERS = [
  /** Threads that became VCL workers, and those that could not. */
  'attached',
  'attach_failed',
  /** Threads that lost the stack. */
  'detached',
  'cx_accepted',
  'cx_connected',
  'cx_connect_fail',
  /** Connections that ended with an error: a reset, or the stack's end. */
  'cx_error',
  'listen_failed',
  'rx_bytes',
  /** Of them, those that were read by reference. */
  'rx_bytes_by_reference',
  'tx_bytes',
  /** Writes that found the FIFO full. */
  'tx_blocked',
] as const;

export const VCL_GAUGES = ['workers_attached', 'cx_active', 'listeners_active', 'stack_stalled'] as const;

export type VclStats = Record<(typeof VCL_COUNTERS)[number], Counter> & Record<(typeof VCL_GAUGES)[number], Gauge>;

export function vclStats(scope: Scope): VclStats {
  const own = scope.scope('vcl.');
  return {
    ...Object.fromEntries(VCL_COUNTERS.map((name) => [name, own.counter(name)])),
    ...Object.fromEntries(VCL_GAUGES.map((name) => [name, own.gauge(name)])),
  } as VclStats;
}
