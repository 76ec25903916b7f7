/** Loading from text, and reading what went wrong. */
import { ConfigErrors } from '../../../src/proxy/config/errors.ts';
import { type LoadedBootstrap, type LoadOptions, loadBootstrap } from '../../../src/proxy/config/load.ts';

export function load(yaml: string, options: LoadOptions = {}): LoadedBootstrap {
  return loadBootstrap({ ...options, yaml });
}

/** `line:column path: reason` of every mistake; none is an empty list. */
export function errorsOf(yaml: string, options: LoadOptions = {}): string[] {
  try {
    load(yaml, options);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigErrors)) throw error;
    return error.errors.map(({ line, column, path, reason }) => `${line}:${column} ${path}: ${reason}`);
  }
}

/** A bootstrap around one HTTP listener; the parts are YAML in flow style. */
export function withHcm(fields: string, routes = '[{ match: { prefix: / }, route: { cluster: up } }]', cluster = ''): string {
  return `static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: ${routes} }] }
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          ${fields}
  clusters:
  - { name: up, ${cluster} }
`;
}

/** The same with a cluster only. */
export function withCluster(fields: string): string {
  return `static_resources:
  clusters:
  - name: up
    ${fields.split('\n').join('\n    ')}
`;
}
