/** The resources of xDS: their messages, services and methods (Envoy: source/common/config/type_to_endpoint.cc, resource_name.h). */

const service = (name: string, method: string): string => `/envoy.service.${name}.v3.${method}`;

export const RESOURCE_TYPES = {
  cluster: {
    message: 'envoy.config.cluster.v3.Cluster',
    sotw: service('cluster', 'ClusterDiscoveryService/StreamClusters'),
    delta: service('cluster', 'ClusterDiscoveryService/DeltaClusters'),
    nameField: 'name',
  },
  listener: {
    message: 'envoy.config.listener.v3.Listener',
    sotw: service('listener', 'ListenerDiscoveryService/StreamListeners'),
    delta: service('listener', 'ListenerDiscoveryService/DeltaListeners'),
    nameField: 'name',
  },
  route: {
    message: 'envoy.config.route.v3.RouteConfiguration',
    sotw: service('route', 'RouteDiscoveryService/StreamRoutes'),
    delta: service('route', 'RouteDiscoveryService/DeltaRoutes'),
    nameField: 'name',
  },
  endpoint: {
    message: 'envoy.config.endpoint.v3.ClusterLoadAssignment',
    sotw: service('endpoint', 'EndpointDiscoveryService/StreamEndpoints'),
    delta: service('endpoint', 'EndpointDiscoveryService/DeltaEndpoints'),
    nameField: 'clusterName',
  },
  runtime: {
    message: 'envoy.service.runtime.v3.Runtime',
    sotw: service('runtime', 'RuntimeDiscoveryService/StreamRuntime'),
    delta: service('runtime', 'RuntimeDiscoveryService/DeltaRuntime'),
    nameField: 'name',
  },
} as const;

export type ResourceKind = keyof typeof RESOURCE_TYPES;

export const ADS_SOTW = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
export const ADS_DELTA = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

export function typeUrl(kind: ResourceKind): string {
  return `type.googleapis.com/${RESOURCE_TYPES[kind].message}`;
}

/** Null: a type that nobody here asks for. */
export function kindOf(url: string): ResourceKind | null {
  const message = url.slice(url.lastIndexOf('/') + 1);
  for (const [kind, type] of Object.entries(RESOURCE_TYPES)) if (type.message === message) return kind as ResourceKind;
  return null;
}
