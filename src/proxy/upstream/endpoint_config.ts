/** Reads a ClusterLoadAssignment into a flat list of endpoints, priority and locality noted on each. */
import { isIP } from 'node:net';
import { ConfigError } from '../config/error.ts';
import { type Address, ipAddress, pipeAddress } from '../network/address.ts';
import type { ClusterType } from './cluster_config.ts';
import type { PlainCluster, PlainLbEndpoint, PlainLocalityLbEndpoints } from './cluster_types.ts';
import { unsupported } from './unsupported.ts';

export type HealthStatus = 'UNKNOWN' | 'HEALTHY' | 'UNHEALTHY' | 'DRAINING' | 'TIMEOUT' | 'DEGRADED';

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subZone: string;
}

/** `health_check_config` of an endpoint. */
export interface EndpointHealthCheck {
  /** Null: where its traffic goes. */
  readonly address: Address | null;
  /** 0: the address's. */
  readonly port: number;
  readonly hostname: string;
  readonly disabled: boolean;
}

export interface EndpointSettings {
  /** What to resolve; an IP for STATIC. '' for pipes. */
  readonly name: string;
  readonly port: number;
  /** The address when nothing has to be resolved. */
  readonly address: Address | null;
  readonly hostname: string;
  readonly weight: number;
  readonly priority: number;
  readonly locality: Locality;
  /** `load_balancing_weight` of the locality; 0: none. */
  readonly localityWeight: number;
  readonly metadata: Record<string, Record<string, unknown>>;
  readonly localityMetadata: Record<string, Record<string, unknown>>;
  readonly canary: boolean;
  readonly healthStatus: HealthStatus;
  readonly healthCheck?: EndpointHealthCheck;
}

export function parseEndpoints(config: PlainCluster, type: ClusterType, at: (field: string) => string): EndpointSettings[] {
  const assignment = config.loadAssignment;
  if (assignment === undefined) return [];
  if (Object.keys(assignment.namedEndpoints ?? {}).length > 0) {
    throw unsupported('named_endpoints', at('load_assignment.named_endpoints'));
  }
  if (assignment.policy?.endpointStaleAfter !== undefined) {
    throw unsupported('endpoint_stale_after', at('load_assignment.policy.endpoint_stale_after'));
  }
  const list: EndpointSettings[] = [];
  const groups = assignment.endpoints ?? [];
  groups.forEach((group, i) => {
    const path = `load_assignment.endpoints[${i}]`;
    if (group.loadBalancerEndpoints) throw unsupported('load_balancer_endpoints', at(`${path}.load_balancer_endpoints`));
    if (group.ledsClusterLocalityConfig)
      throw unsupported('leds_cluster_locality_config', at(`${path}.leds_cluster_locality_config`));
    (group.lbEndpoints ?? []).forEach((endpoint, j) => {
      list.push(parseEndpoint(endpoint, group, type, at(`${path}.lb_endpoints[${j}]`)));
    });
  });
  if (type === 'LOGICAL_DNS' && (groups.length !== 1 || list.length !== 1)) {
    throw new ConfigError('LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint', {
      path: at('load_assignment'),
    });
  }
  // Those of EDS may have gaps.
  if (type !== 'EDS') checkPriorities(groups, at);
  return list;
}

function checkPriorities(groups: readonly PlainLocalityLbEndpoints[], at: (field: string) => string): void {
  const priorities = [...new Set(groups.map((group) => group.priority ?? 0))].sort((a, b) => a - b);
  const gap = priorities.findIndex((priority, i) => priority !== i);
  if (gap >= 0) {
    throw new ConfigError(`priorities must be contiguous from 0: there is ${priorities[gap]} but no ${gap}`, {
      path: at('load_assignment.endpoints'),
    });
  }
}

function parseEndpoint(lb: PlainLbEndpoint, group: PlainLocalityLbEndpoints, type: ClusterType, path: string): EndpointSettings {
  if (lb.endpointName) throw unsupported('endpoint_name', `${path}.endpoint_name`);
  const endpoint = lb.endpoint;
  const where = `${path}.endpoint.address`;
  if (endpoint?.address === undefined) throw new ConfigError('an endpoint needs an address', { path: where });
  if ((endpoint.additionalAddresses ?? []).length > 0) {
    throw unsupported('additional_addresses', `${path}.endpoint.additional_addresses`);
  }
  const { socketAddress: socket, pipe } = endpoint.address;
  if (socket === undefined && pipe === undefined) throw unsupported('envoy_internal_address', where);
  const metadata = lb.metadata?.filterMetadata ?? {};
  const common = {
    weight: lb.loadBalancingWeight ?? 1,
    priority: group.priority ?? 0,
    locality: { region: group.locality?.region ?? '', zone: group.locality?.zone ?? '', subZone: group.locality?.subZone ?? '' },
    localityWeight: group.loadBalancingWeight ?? 0,
    metadata,
    localityMetadata: group.metadata?.filterMetadata ?? {},
    canary: metadata['envoy.lb']?.canary === true,
    healthStatus: (lb.healthStatus ?? 'UNKNOWN') as HealthStatus,
    ...healthCheckOf(endpoint, `${path}.endpoint.health_check_config`),
  };
  if (pipe !== undefined) {
    if (type !== 'STATIC' && type !== 'EDS')
      throw new ConfigError(`a pipe cannot be resolved by a ${type} cluster`, { path: where });
    return { ...common, name: '', port: 0, address: pipeAddress(pipe.path, pipe.mode), hostname: endpoint.hostname ?? '' };
  }
  if (socket === undefined) throw unsupported('this address', where);
  if (socket.namedPort) throw unsupported('named_port', `${where}.socket_address.named_port`);
  if (socket.resolverName) throw unsupported('resolver_name', `${where}.socket_address.resolver_name`);
  if (socket.protocol === 'UDP') throw unsupported('protocol UDP', `${where}.socket_address.protocol`);
  const port = socket.portValue ?? 0;
  if (type !== 'STATIC' && type !== 'EDS') {
    return { ...common, name: socket.address, port, address: null, hostname: endpoint.hostname || socket.address };
  }
  if (isIP(socket.address) === 0) {
    const reason = `malformed IP address: ${socket.address}. Consider setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'`;
    throw new ConfigError(reason, { path: `${where}.socket_address.address` });
  }
  return { ...common, name: socket.address, port, address: ipAddress(socket.address, port), hostname: endpoint.hostname ?? '' };
}

function healthCheckOf(
  { healthCheckConfig: config, address }: NonNullable<PlainLbEndpoint['endpoint']>,
  path: string,
): { healthCheck?: EndpointHealthCheck } {
  if (config === undefined) return {};
  const port = config.portValue ?? 0;
  if (port > 65535) throw new ConfigError(`${port} is no port`, { path: `${path}.port_value` });
  if (port !== 0 && (config.address ?? address)?.pipe !== undefined) {
    throw new ConfigError('a pipe has no port', { path: `${path}.port_value` });
  }
  const health = { port, hostname: config.hostname ?? '', disabled: config.disableActiveHealthCheck ?? false };
  if (config.address === undefined) return { healthCheck: { ...health, address: null } };
  const { socketAddress: socket, pipe } = config.address;
  const where = `${path}.address`;
  if (pipe !== undefined) return { healthCheck: { ...health, address: pipeAddress(pipe.path, pipe.mode) } };
  if (socket === undefined || socket.namedPort || socket.resolverName || socket.protocol === 'UDP')
    throw unsupported('this address', where);
  if (isIP(socket.address) === 0)
    throw new ConfigError(`malformed IP address: ${socket.address}`, { path: `${where}.socket_address.address` });
  return { healthCheck: { ...health, address: ipAddress(socket.address, socket.portValue ?? 0) } };
}
