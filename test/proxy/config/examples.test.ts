/** Bootstraps as people write them, each within what Sluice supports: they load without a warning. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './helpers.ts';

const LISTENER = (port: number, filters: string, more = '') => `
  - name: listener_${port}
    address:
      socket_address: { address: 0.0.0.0, port_value: ${port} }
    ${more}
    filter_chains:
    - filters: ${filters}`;

const HTTP = (fields: string) => `
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          ${fields.trim().split('\n').join('\n          ')}`;

const CLUSTER = (name: string, fields: string, address = 'backend.test') => `
  - name: ${name}
    ${fields.split('\n').join('\n    ')}
    load_assignment:
      cluster_name: ${name}
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: { address: ${address}, port_value: 8080 }`;

const BOOTSTRAPS: Record<string, string> = {
  'front proxy': `
admin:
  access_log:
  - name: envoy.access_loggers.file
    typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/null }
  address: { socket_address: { address: 127.0.0.1, port_value: 9901 } }
static_resources:
  listeners: ${LISTENER(
    8080,
    HTTP(`
codec_type: auto
access_log:
- name: envoy.access_loggers.stdout
  filter: { and_filter: { filters: [{ status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: log.min } } } }, { not_health_check_filter: {} }] } }
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
    log_format: { json_format: { status: "%RESPONSE_CODE%", took: "%DURATION%" } }
use_remote_address: true
common_http_protocol_options: { idle_timeout: 3600s, headers_with_underscores_action: REJECT_REQUEST }
upgrade_configs: [{ upgrade_type: websocket }]
local_reply_config:
  mappers:
  - filter: { response_flag_filter: { flags: [UH, NR] } }
    status_code: 504
    body: { inline_string: "not now" }
    headers_to_add: [{ header: { key: x-a, value: "%RESPONSE_FLAGS%" }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }]
  body_format: { text_format_source: { inline_string: "%LOCAL_REPLY_BODY%\\n" } }
route_config:
  name: local_route
  virtual_hosts:
  - name: backend
    domains: ["*"]
    retry_policy: { retry_on: "5xx,connect-failure", num_retries: 2, per_try_timeout: 1s, retry_host_predicate: [{ name: p, typed_config: { "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }] }
    routes:
    - match: { path_separated_prefix: /service/1, headers: [{ name: x-v, string_match: { safe_regex: { regex: "v[0-9]+" } } }] }
      route: { cluster: service1, prefix_rewrite: /, timeout: 0s }
    - match: { safe_regex: { regex: "/service/.*" }, runtime_fraction: { default_value: { numerator: 50, denominator: HUNDRED }, runtime_key: k } }
      route:
        weighted_clusters: { clusters: [{ name: service1, weight: 10 }, { name: service2, weight: 90 }] }
        host_rewrite_literal: www.example.test`),
  )}
  clusters: ${CLUSTER('service1', 'type: STRICT_DNS\nlb_policy: ROUND_ROBIN\ncircuit_breakers: { thresholds: [{ priority: HIGH, max_connections: 10 }] }')} ${CLUSTER(
    'service2',
    'type: LOGICAL_DNS\ndns_lookup_family: V4_ONLY\nlb_policy: least_request\nleast_request_lb_config: { choice_count: 3 }\nconnect_timeout: 0.25s',
  )}
`,
  'tcp proxy behind a PROXY protocol balancer, routed by server name': `
static_resources:
  listeners:
  - name: passthrough
    address: { socket_address: { address: "::", port_value: 443, ipv4_compat: true } }
    listener_filters:
    - name: envoy.filters.listener.proxy_protocol
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol }
    - name: envoy.filters.listener.tls_inspector
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
    listener_filters_timeout: 5s
    filter_chains:
    - filter_chain_match: { server_names: ["*.example.test"], transport_protocol: tls }
      filters:
      - name: envoy.filters.network.connection_limit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit
          stat_prefix: limit
          max_connections: 1000
          delay: 1s
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          weighted_clusters: { clusters: [{ name: a, weight: 1 }, { name: b, weight: 3 }] }
          idle_timeout: 0s
          max_connect_attempts: 3
    default_filter_chain:
      filters:
      - name: envoy.filters.network.direct_response
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
          response: { inline_string: "no\\n" }
  clusters: ${CLUSTER('a', 'type: STATIC', '10.0.0.1')} ${CLUSTER('b', 'type: STATIC\nupstream_connection_options: { tcp_keepalive: { keepalive_time: 60 } }', '10.0.0.2')}
`,
  'redirects and direct responses': `
static_resources:
  listeners: ${LISTENER(
    80,
    HTTP(`
route_config:
  virtual_hosts:
  - name: plain
    domains: [example.test, "*.example.test"]
    require_tls: ALL
  - name: rest
    domains: ["*"]
    routes:
    - match: { path: /healthz }
      direct_response: { status: 200, body: { inline_string: ok } }
    - match: { prefix: /old }
      redirect: { prefix_rewrite: /new, response_code: SEE_OTHER, strip_query: true }
      response_headers_to_add: [{ header: { key: x-moved, value: "1" } }]
    - match: { prefix: / }
      redirect: { https_redirect: true, port_redirect: 8443 }`),
  )}
`,
  'runtime, stats and the socket interface': `
node: { id: node-1, cluster: c, locality: { region: eu, zone: eu-1 } }
layered_runtime:
  layers:
  - { name: static, static_layer: { a: { b: 5 }, upstream.use_retry: { numerator: 50, denominator: HUNDRED } } }
  - { name: disk, disk_layer: { symlink_root: /srv/runtime/current, subdirectory: envoy } }
  - { name: admin, admin_layer: {} }
stats_config:
  use_all_default_tags: true
  stats_tags: [{ tag_name: t, regex: "^x\\\\.((.+?)\\\\.)" }, { tag_name: f, fixed_value: v }]
  stats_matcher: { exclusion_list: { patterns: [{ prefix: cluster.x }] } }
stats_flush_interval: 10s
bootstrap_extensions:
- name: envoy.extensions.network.socket_interface.default_socket_interface
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.socket_interface.v3.DefaultSocketInterface
    io_uring_options: {}
default_socket_interface: envoy.extensions.network.socket_interface.default_socket_interface
`,
  'original destination, and what Envoy Gateway writes for DNS clusters': `
static_resources:
  listeners:
  - address: { socket_address: { address: 0.0.0.0, port_value: 15001 } }
    use_original_dst: true
    listener_filters:
    - { name: d, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst } }
    filter_chains:
    - filters:
      - { name: s, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.sni_cluster.v3.SniCluster } }
      - { name: t, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: original } }
  clusters:
  - { name: original, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 10s }
  - name: dns
    cluster_type:
      name: envoy.cluster.dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
        dns_refresh_rate: 30s
        dns_lookup_family: V4_PREFERRED
        respect_dns_ttl: true
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.least_request
          typed_config: { "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest }
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: { idle_timeout: 30s, max_requests_per_connection: 100 }
        explicit_http_config: { http_protocol_options: { header_key_format: { proper_case_words: {} } } }
    load_assignment: { cluster_name: dns, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: b.test, port_value: 80 } } }, load_balancing_weight: 2 }] }] }
`,
};

for (const [name, yaml] of Object.entries(BOOTSTRAPS)) {
  test(name, () => {
    const { bootstrap, warnings } = load(yaml);
    assert.deepEqual(warnings, []);
    assert.deepEqual(structuredClone(bootstrap), bootstrap);
  });
}

test('an anchored template under an ignored key', () => {
  const { bootstrap } = load(`
!ignore templates:
  address: &local { socket_address: { address: 127.0.0.1, port_value: 9901 } }
  timeouts: &timeouts { connect_timeout: 2s }
admin: { address: *local }
static_resources:
  clusters:
  - { name: a, <<: *timeouts }
`);
  assert.equal(bootstrap.admin?.address?.socketAddress?.portValue, 9901);
  assert.equal(bootstrap.staticResources?.clusters[0].connectTimeout, 2000);
});
