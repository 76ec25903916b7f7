/** The event log of `cluster_manager.outlier_detection.event_log_path`: one `envoy.data.cluster.v3.OutlierDetectionEvent` a line, as JSON. */
import type { EjectionType } from './outlier_detector.ts';

export interface OutlierEvent {
  readonly action: 'EJECT' | 'UNEJECT';
  readonly cluster: string;
  readonly address: string;
  readonly numEjections: number;
  readonly timeMs: number;
  /** Null: there was none. */
  readonly sinceLastActionMs: number | null;
  /** Absent for UNEJECT. */
  readonly ejection?: {
    readonly type: EjectionType;
    readonly enforced: boolean;
    readonly hostSuccessRate: number;
    readonly averageSuccessRate: number;
    readonly successRateThreshold: number;
  };
}

/** With the line's end. Fields without a value have their default, as Envoy prints them. */
export function outlierEventLine(event: OutlierEvent): string {
  const { ejection } = event;
  return `${JSON.stringify({
    type: ejection?.type ?? 'CONSECUTIVE_5XX',
    timestamp: new Date(event.timeMs).toISOString(),
    ...(event.sinceLastActionMs !== null && { secs_since_last_action: String(Math.floor(event.sinceLastActionMs / 1000)) }),
    cluster_name: event.cluster,
    upstream_url: event.address,
    action: event.action,
    num_ejections: event.numEjections,
    enforced: ejection?.enforced ?? false,
    ...(ejection !== undefined && detail(ejection)),
  })}\n`;
}

function detail(ejection: NonNullable<OutlierEvent['ejection']>): Record<string, unknown> {
  if (ejection.type.startsWith('SUCCESS_RATE')) {
    return {
      eject_success_rate_event: {
        host_success_rate: percent(ejection.hostSuccessRate),
        cluster_average_success_rate: percent(ejection.averageSuccessRate),
        cluster_success_rate_ejection_threshold: percent(ejection.successRateThreshold),
      },
    };
  }
  if (ejection.type.startsWith('FAILURE_PERCENTAGE'))
    return { eject_failure_percentage_event: { host_success_rate: percent(ejection.hostSuccessRate) } };
  return { eject_consecutive_event: {} };
}

function percent(rate: number): number {
  return Math.max(0, Math.trunc(rate));
}
