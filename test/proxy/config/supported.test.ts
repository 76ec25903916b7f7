import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { api } from '../../../src/proxy/config/api/registry.ts';
import { words } from '../../../src/proxy/config/plain.ts';
import {
  ACCEPTED_VALUES,
  EXTENSION_POINTS,
  SUPPORTED_ENUM_VALUES,
  SUPPORTED_FIELDS,
} from '../../../src/proxy/config/supported.ts';
import { configTypes } from '../../../src/proxy/config/type_writer.ts';
import { errorsOf, load, withCluster, withHcm } from './helpers.ts';

test('types.gen.ts is what the table says (else: node scripts/gen-config-types.ts)', () => {
  const written = readFileSync(new URL('../../../src/proxy/config/types.gen.ts', import.meta.url), 'utf8');
  assert.equal(written, configTypes());
});

test('the table names only what the API has, and every message it uses', () => {
  for (const [name, cell] of Object.entries(SUPPORTED_FIELDS)) {
    const fields = new Set(
      api()
        .message(name)
        .fields.map((field) => field.name),
    );
    for (const field of words(cell)) assert.ok(fields.has(field), `${name}.${field}`);
  }
  for (const [point, cell] of Object.entries(EXTENSION_POINTS)) {
    const at = point.lastIndexOf('.');
    assert.ok(words(SUPPORTED_FIELDS[point.slice(0, at)]).has(point.slice(at + 1)), point);
    for (const name of words(cell)) assert.ok(name in SUPPORTED_FIELDS || name.startsWith('google.protobuf.'), name);
  }
  for (const [name, cell] of Object.entries(SUPPORTED_ENUM_VALUES)) {
    const values = new Set(
      api()
        .enum(name)
        .values.map((value) => value.name),
    );
    for (const value of words(cell)) assert.ok(values.has(value), `${name}.${value}`);
  }
  for (const field of Object.keys(ACCEPTED_VALUES)) {
    const at = field.lastIndexOf('.');
    const name = field.slice(0, at);
    assert.ok(
      api()
        .message(name)
        .fields.some((each) => each.name === field.slice(at + 1)),
      field,
    );
    assert.ok(!words(SUPPORTED_FIELDS[name]).has(field.slice(at + 1)), `${field} is supported anyway`);
  }
});

test('a valid field that is not supported is an error at its key', () => {
  assert.deepEqual(errorsOf(withCluster('type: STATIC\npreconnect_policy: {}')), [
    '5:5 static_resources.clusters[0].preconnect_policy: envoy.config.cluster.v3.Cluster.preconnect_policy is not supported by Sluice yet',
  ]);
  assert.deepEqual(errorsOf('hds_config: {}'), [
    '1:1 hds_config: envoy.config.bootstrap.v3.Bootstrap.hds_config is not supported by Sluice yet',
  ]);
});

test('enum values, and defaults that are fine', () => {
  assert.deepEqual(errorsOf(withHcm('codec_type: AUTO')), []);
  assert.deepEqual(errorsOf(withHcm('forward_client_cert_details: SANITIZE')), []);
  assert.deepEqual(
    errorsOf(withCluster('ignore_health_on_host_removal: true\nclose_connections_on_host_health_failure: false')),
    [],
  );
  assert.deepEqual(errorsOf(withHcm('codec_type: http3')), [
    '14:23 static_resources.listeners[0].filter_chains[0].filters[0].typed_config.codec_type: codec_type: HTTP3 is not supported by Sluice yet; supported: AUTO, HTTP1, HTTP2',
  ]);
  assert.deepEqual(errorsOf(withCluster('protocol_selection: USE_DOWNSTREAM_PROTOCOL')).length, 1);
});

test('extensions that Sluice does not have, and ones in the wrong place', () => {
  const lua = withHcm('').replace('envoy.extensions.filters.http.router.v3.Router', 'envoy.extensions.filters.http.lua.v3.Lua');
  assert.match(
    errorsOf(lua)[0],
    /http_filters\[0\]\.typed_config: 'router' \(envoy\.extensions\.filters\.http\.lua\.v3\.Lua\) is not supported by Sluice yet$/,
  );
  const echo = withHcm('').replace(
    'envoy.extensions.filters.http.router.v3.Router',
    'envoy.extensions.filters.network.echo.v3.Echo',
  );
  assert.match(
    errorsOf(echo)[0],
    /Didn't find a registered implementation for 'router' with type URL: 'envoy\.extensions\.filters\.network\.echo\.v3\.Echo': it does not go here, these do: .*Router,/,
  );
});

test('allowUnsupported: a warning, and the field or the extension is gone', () => {
  const loaded = load(withCluster('type: STATIC\npreconnect_policy: {}'), { allowUnsupported: true });
  assert.equal(loaded.warnings.length, 1);
  assert.match(
    loaded.warnings[0],
    /^--config-yaml:5:\d+: .*Cluster\.preconnect_policy is not supported by Sluice yet: left out$/,
  );
  assert.equal('preconnectPolicy' in (loaded.bootstrap.staticResources?.clusters[0] ?? {}), false);

  const filters = withHcm('').replace(
    'http_filters:\n',
    `http_filters:
          - { name: lua, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua } }
`,
  );
  const listener = load(filters, { allowUnsupported: true }).bootstrap.staticResources?.listeners[0];
  const hcm = listener?.filterChains[0].filters[0].typedConfig;
  assert.ok(hcm?.['@type'] === 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager');
  assert.deepEqual(
    hcm.httpFilters.map(({ name }) => name),
    ['router'],
  );
});

test('allowUnsupported never turns TLS into plain text', () => {
  const options = { allowUnsupported: true };
  const alts =
    'transport_socket: { name: alts, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.alts.v3.Alts, handshaker_service: a } }';
  assert.match(errorsOf(withCluster(alts), options)[0], /Alts\) is not supported by Sluice yet$/);
  const chain = withHcm('').replace('- filters:', `- ${alts}\n      filters:`);
  assert.match(errorsOf(chain, options)[0], /Alts\) is not supported by Sluice yet$/);
  assert.match(
    errorsOf(withCluster(`transport_socket_matches: [{ name: any, ${alts} }]`), options)[0],
    /Alts\) is not supported by Sluice yet$/,
  );
  assert.match(
    errorsOf('admin: { address: { socket_address: { protocol: UDP, address: 1.2.3.4, port_value: 1 } } }', options)[0],
    /protocol: UDP is not supported by Sluice yet; supported: TCP$/,
  );
  // What stands behind it is left out again.
  const after = load(
    withCluster(
      'transport_socket: { name: raw, typed_config: { "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }\nlrs_report_endpoint_metrics: [x]',
    ),
    options,
  );
  assert.equal(after.warnings.length, 1);
});

test('load balancing policies: the first supported one is taken', () => {
  const policy = (type: string) =>
    `{ typed_extension_config: { name: p, typed_config: { "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.${type} } } }`;
  const both = `load_balancing_policy: { policies: [${policy('pick_first.v3.PickFirst')}, ${policy('random.v3.Random')}, ${policy('round_robin.v3.RoundRobin')}] }`;
  const policies = load(withCluster(both)).bootstrap.staticResources?.clusters[0].loadBalancingPolicy?.policies;
  assert.deepEqual(
    policies?.map((each) => each.typedExtensionConfig?.typedConfig?.['@type']),
    ['envoy.extensions.load_balancing_policies.random.v3.Random'],
  );
  assert.match(
    errorsOf(withCluster(`load_balancing_policy: { policies: [${policy('pick_first.v3.PickFirst')}] }`))[0],
    /PickFirst\) is not supported/,
  );
});

test('an extension without its type is not found', () => {
  const nameOnly = withHcm('').replace(/\n {12}typed_config: .*Router }/, '');
  assert.match(
    errorsOf(nameOnly)[0],
    /http_filters\[0\]: Didn't find a registered implementation for 'router' with type URL: ''$/,
  );
});

test('is_optional: an HTTP filter that Sluice does not have is left out with a warning', () => {
  const lua =
    '{ name: lua, is_optional: true, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua } }';
  const loaded = load(withHcm('').replace('http_filters:\n', `http_filters:\n          - ${lua}\n`));
  assert.equal(loaded.warnings.length, 1);
  assert.match(loaded.warnings[0], /Lua\) is not supported by Sluice yet and optional: left out$/);
  const required = withHcm('').replace('http_filters:\n', `http_filters:\n          - ${lua.replace('true', 'false')}\n`);
  assert.equal(errorsOf(required).length, 1);
});

test('per-route configuration, plain and inside FilterConfig', () => {
  const perRoute = (config: string) =>
    `[{ match: { prefix: / }, route: { cluster: up }, typed_per_filter_config: { b: ${config} } }]`;
  const buffer = '"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute, disabled: true';
  assert.deepEqual(errorsOf(withHcm('', perRoute(`{ ${buffer} }`))), []);
  const wrapped = `{ "@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: { ${buffer} } }`;
  assert.deepEqual(errorsOf(withHcm('', perRoute(wrapped))), []);
});
