/** The event log of active checks: one `envoy.data.core.v3.HealthCheckEvent` a line, as JSON (Envoy: HealthCheckEventFileSink). */
import type { HostDescription } from '../host_update.ts';
import type { HealthCheckHappening } from './health_check_state.ts';

export interface HealthCheckEvent {
  readonly checker: 'HTTP' | 'TCP' | 'GRPC';
  readonly cluster: string;
  readonly host: HostDescription;
  readonly happening: HealthCheckHappening;
  readonly timeMs: number;
}

/** With the line's end. Fields without a value have their default, as Envoy prints them. */
export function healthCheckEventLine({ checker, cluster, host, happening, timeMs }: HealthCheckEvent): string {
  const { region, zone, subZone } = host.locality;
  return `${JSON.stringify({
    health_checker_type: checker,
    host: addressJson(host),
    cluster_name: cluster,
    ...happeningJson(happening),
    timestamp: new Date(timeMs).toISOString(),
    metadata: { filter_metadata: host.metadata, typed_filter_metadata: {} },
    locality: { region, zone, sub_zone: subZone },
  })}\n`;
}

function addressJson({ address }: HostDescription): Record<string, unknown> {
  if (address.kind !== 'ip') return { pipe: { path: address.path, mode: 0 } };
  return {
    socket_address: {
      protocol: 'TCP',
      address: address.ip,
      port_value: address.port,
      resolver_name: '',
      ipv4_compat: false,
    },
  };
}

function happeningJson(happening: HealthCheckHappening): Record<string, unknown> {
  switch (happening.what) {
    case 'eject_unhealthy':
      return { eject_unhealthy_event: { failure_type: happening.failureType } };
    case 'add_healthy':
      return { add_healthy_event: { first_check: happening.firstCheck } };
    case 'failure':
      return { health_check_failure_event: { failure_type: happening.failureType, first_check: happening.firstCheck } };
    case 'success':
      return { successful_health_check_event: {} };
    case 'degraded':
      return { degraded_healthy_host: {} };
    case 'no_longer_degraded':
      return { no_longer_degraded_host: {} };
  }
}
