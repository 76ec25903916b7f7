/** protoc-gen-validate's rules and deprecation on real messages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorsOf, load, withCluster, withHcm } from './helpers.ts';

const CLUSTER = 'static_resources.clusters[0]';
const CHAIN = 'static_resources.listeners[0].filter_chains[0].filters[0].typed_config';
const failed = (rule: string) => `Proto constraint validation failed (${rule})`;

test('string length', () => {
  assert.deepEqual(errorsOf('static_resources:\n  clusters:\n  - alt_stat_name: x'), [
    `3:5 ${CLUSTER}.name: ${failed('ClusterValidationError.Name: value length must be at least 1 characters')}`,
  ]);
});

test('number and duration ranges, wrappers included', () => {
  assert.deepEqual(errorsOf(withCluster('connect_timeout: 0s')), [
    `4:22 ${CLUSTER}.connect_timeout: ${failed('ClusterValidationError.ConnectTimeout: value must be greater than 0s')}`,
  ]);
  assert.deepEqual(errorsOf(withCluster('dns_refresh_rate: 0.0005s')), [
    `4:23 ${CLUSTER}.dns_refresh_rate: ${failed('ClusterValidationError.DnsRefreshRate: value must be greater than 0.001s')}`,
  ]);
  assert.deepEqual(errorsOf('admin: { address: { socket_address: { address: a, port_value: 65536 } } }'), [
    `1:63 admin.address.socket_address.port_value: ${failed('SocketAddressValidationError.PortValue: value must be less than or equal to 65535')}`,
  ]);
  assert.deepEqual(errorsOf(withHcm('max_request_headers_kb: 8193')), [
    `14:35 ${CHAIN}.max_request_headers_kb: ${failed('HttpConnectionManagerValidationError.MaxRequestHeadersKb: value must be inside range (0, 8192]')}`,
  ]);
});

test('required messages and oneofs', () => {
  assert.deepEqual(
    errorsOf(
      'static_resources: { clusters: [{ name: a, load_assignment: { cluster_name: a, endpoints: { lb_endpoints: { endpoint: { address: {} } } } } }] }',
    ),
    [
      `1:129 ${CLUSTER}.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address: ${failed(
        'AddressValidationError.Address: value is required (one of socket_address, pipe, envoy_internal_address)',
      )}`,
    ],
  );
  const [error] = errorsOf(withHcm('', '[{ route: { cluster: up } }]'));
  assert.match(error, /routes\[0\]\.match: .*\(RouteValidationError\.Match: value is required\)$/);
  // A message that is one of several is only required when it is the chosen one.
  assert.deepEqual(errorsOf(withHcm('')), []);
});

test('list lengths and items', () => {
  const hosts = withHcm('').replace('["*"]', '[]');
  assert.match(errorsOf(hosts)[0], /virtual_hosts\[0\]\.domains: .*value must contain at least 1 item\(s\)/);
  const headers = withHcm('', '[{ match: { prefix: / }, route: { cluster: up }, request_headers_to_remove: [ok, ""] }]');
  assert.match(errorsOf(headers)[0], /request_headers_to_remove\[1\]: .*value length must be at least 1 characters/);
});

test('header names and values, enums, membership', () => {
  const add = (key: string) =>
    withHcm(
      '',
      `[{ match: { prefix: / }, route: { cluster: up }, request_headers_to_add: [{ header: { key: ${key}, value: v } }] }]`,
    );
  assert.deepEqual(errorsOf(add('x-ok')), []);
  assert.match(errorsOf(add('"a\\nb"'))[0], /key: .*HeaderValueValidationError\.Key: value does not match regex pattern/);
  assert.match(
    errorsOf(withCluster('type: 77'))[0],
    /ClusterValidationError\.Type: value must be one of the defined enum values/,
  );
  assert.match(
    errorsOf(withHcm('', '[{ match: { prefix: / }, direct_response: { status: 99 } }]'))[0],
    /direct_response\.status: .*value must be inside range \[200, 600\)/,
  );
});

test('rules of nested messages reach into Any', () => {
  const cluster = `typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    common_http_protocol_options: { max_headers_count: 0 }
    explicit_http_config: { http_protocol_options: {} }`;
  assert.deepEqual(errorsOf(withCluster(cluster)), [
    `7:60 ${CLUSTER}.typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].common_http_protocol_options.max_headers_count: ` +
      failed('HttpProtocolOptionsValidationError.MaxHeadersCount: value must be greater than or equal to 1'),
  ]);
});

test('deprecated fields and values warn, with their place', () => {
  const routes = '[{ match: { prefix: /, headers: [{ name: a, exact_match: b }] }, route: { cluster: up } }]';
  const { warnings, deprecatedFeatureUses } = load(withHcm('', routes));
  assert.equal(warnings.length, 1);
  assert.equal(deprecatedFeatureUses, 1);
  assert.match(
    warnings[0],
    /^--config-yaml:10:\d+: .*headers\[0\]\.exact_match: Using deprecated option 'envoy\.config\.route\.v3\.HeaderMatcher\.exact_match' from file route_components\.proto\. This configuration will be removed from Envoy soon\.$/,
  );
});
