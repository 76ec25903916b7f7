/** Text to message: names, types, enums, lists, Any. Every error with its exact place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorsOf, load, withCluster, withHcm } from './helpers.ts';

const NO_FIELD = (top: string, path: string, type: string, name: string, more = '') =>
  `Protobuf message (type ${top} reason INVALID_ARGUMENT: invalid JSON in ${top}${path}: message ${type}: no such field: '${name}') has unknown fields${more}`;
const BOOTSTRAP = 'envoy.config.bootstrap.v3.Bootstrap';

test('unknown fields: Envoy words, the place of the key, the nearest name', () => {
  assert.deepEqual(errorsOf('static_resource: {}'), [
    `1:1 static_resource: ${NO_FIELD(BOOTSTRAP, '', BOOTSTRAP, 'static_resource', "; did you mean 'static_resources'?")}`,
  ]);
  assert.deepEqual(errorsOf(withCluster('type: STATIC\nconect_timeout: 5s\nqqqqq: 1')), [
    `5:5 static_resources.clusters[0].conect_timeout: ${NO_FIELD(
      BOOTSTRAP,
      ' @ static_resources.clusters[0]',
      'envoy.config.cluster.v3.Cluster',
      'conect_timeout',
      "; did you mean 'connect_timeout'?",
    )}`,
    `6:5 static_resources.clusters[0].qqqqq: ${NO_FIELD(BOOTSTRAP, ' @ static_resources.clusters[0]', 'envoy.config.cluster.v3.Cluster', 'qqqqq')}`,
  ]);
});

test('unknown fields inside an Any', () => {
  const [error] = errorsOf(withHcm('codec_typ: AUTO'));
  assert.match(
    error,
    /^14:11 static_resources\.listeners\[0\]\.filter_chains\[0\]\.filters\[0\]\.typed_config\.codec_typ: .*did you mean 'codec_type'/,
  );
});

test('allowUnknownStaticFields: warnings, counted, left out', () => {
  const loaded = load(withCluster('conect_timeout: 5s\nconnect_timeout: 2s'), { allowUnknownStaticFields: true });
  assert.equal(loaded.unknownFields, 1);
  assert.match(loaded.warnings[0], /^--config-yaml:4:5: .*no such field: 'conect_timeout'/);
  assert.equal(loaded.bootstrap.staticResources?.clusters[0].connectTimeout, 2000);
});

test('snake_case and camelCase, but not both', () => {
  const { bootstrap } = load(withCluster('connectTimeout: 1s\nalt_stat_name: x'));
  const cluster = bootstrap.staticResources?.clusters[0];
  assert.equal(cluster?.connectTimeout, 1000);
  assert.equal(cluster?.altStatName, 'x');
  assert.deepEqual(errorsOf(withCluster('connectTimeout: 1s\nconnect_timeout: 2s')), [
    "5:5 static_resources.clusters[0].connect_timeout: field 'connect_timeout' is there twice (as connect_timeout)",
  ]);
});

test('enum names in any case, dashes, numbers', () => {
  for (const text of ['STRICT_DNS', 'strict_dns', 'Strict-Dns', '1']) {
    assert.equal(load(withCluster(`type: ${text}`)).bootstrap.staticResources?.clusters[0].type, 'STRICT_DNS', text);
  }
  assert.deepEqual(errorsOf(withCluster('type: STRICT_DSN')), [
    '4:11 static_resources.clusters[0].type: "STRICT_DSN" is not a value of envoy.config.cluster.v3.Cluster.DiscoveryType; ' +
      "allowed: STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST; did you mean 'STRICT_DNS'?",
  ]);
});

test('a single object where a list is expected', () => {
  const { bootstrap } = load('static_resources: { clusters: { name: one } }');
  assert.deepEqual(
    bootstrap.staticResources?.clusters.map(({ name }) => name),
    ['one'],
  );
});

test('scalars by the type of the field', () => {
  const table: [string, string][] = [
    ['name: 5', '5 is a number where a string is expected: put it in quotes'],
    ['name: yes', 'yes is a boolean where a string is expected: put it in quotes'],
    ['connect_timeout: 5', '5 is not a duration: write seconds with an s, such as "0.25s"'],
    ['connect_timeout: 5ms', '"5ms" is not a duration: write seconds with an s, such as "0.25s"'],
    ['connect_timeout: [1s]', 'expected a single value, found a list'],
    ['respect_dns_ttl: "true"', '"true" is not true or false: leave out the quotes'],
    ['respect_dns_ttl: 1', '1 is not true or false'],
    ['per_connection_buffer_limit_bytes: -1', '-1 is out of range: uint32 is 0 to 4294967295'],
    ['per_connection_buffer_limit_bytes: 4294967296', '"4294967296" is out of range: uint32 is 0 to 4294967295'],
    ['per_connection_buffer_limit_bytes: 1.5', '"1.5" is not an integer (uint32)'],
    ['per_connection_buffer_limit_bytes: { value: 5 }', 'expected a single value, found an object'],
    ['circuit_breakers: 5', 'expected an object, found 5'],
    ['circuit_breakers: [1]', 'expected an object, found a list'],
    ['metadata: { filter_metadata: { a: 5 } }', 'expected an object, found 5'],
    ['common_lb_config: { healthy_panic_threshold: { value: abc } }', '"abc" is not a number'],
  ];
  for (const [field, expected] of table) {
    const errors = errorsOf(`static_resources: { clusters: [{ ${field} }] }`);
    assert.ok(
      errors.some((error) => error.endsWith(expected)),
      `${field}: ${errors.join('\n')}`,
    );
  }
});

test('numbers may be strings, and exact fractions integers', () => {
  for (const text of ['100', '"100"', '100.0', '1e2', '0x64']) {
    assert.equal(
      load(withCluster(`per_connection_buffer_limit_bytes: ${text}`)).bootstrap.staticResources?.clusters[0]
        .perConnectionBufferLimitBytes,
      100,
      text,
    );
  }
});

test('one error per mistake, all at once', () => {
  const errors = errorsOf('admin: { address: 5, adress: 1 }\nnode: { id: 5 }\nstatic_resources: []');
  assert.deepEqual(
    errors.map((error) => error.split(' ')[0]),
    ['1:19', '1:22', '2:13', '3:19'],
  );
});

test('two members of a oneof', () => {
  const routes = '[{ match: { prefix: /, path: /a }, route: { cluster: up } }]';
  const [error] = errorsOf(withHcm('', routes));
  assert.match(error, /routes\[0\]\.match\.path: only one of prefix, path, safe_regex.* may be set, and 'prefix' is already$/);
});

test('null leaves a field unset, but is no list element', () => {
  assert.equal(load(withCluster('connect_timeout: ~\ntype:')).bootstrap.staticResources?.clusters[0].connectTimeout, undefined);
  assert.deepEqual(errorsOf('static_resources: { clusters: [~] }'), [
    '1:32 static_resources.clusters[0]: null is not allowed here',
  ]);
});

test('the type of an extension: missing, unknown, of the old API', () => {
  const chain = (config: string) =>
    `static_resources: { listeners: [{ filter_chains: [{ filters: [{ name: echo, typed_config: ${config} }] }] }] }`;
  assert.match(errorsOf(chain('{ x: 1 }'))[0], /typed_config: "@type" is missing/);
  assert.match(
    errorsOf(chain('{ "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Ecco }'))[0],
    /Didn't find a registered implementation for 'echo' with type URL: 'envoy\.extensions\.filters\.network\.echo\.v3\.Ecco'; did you mean 'envoy\.extensions\.filters\.network\.echo\.v3\.Echo'\?$/,
  );
  assert.match(
    errorsOf(chain('{ "@type": type.googleapis.com/envoy.config.filter.network.echo.v2.Echo }'))[0],
    /the v2 API is gone/,
  );
});

test('TypedStruct of both packages is the message it carries', () => {
  for (const type of ['xds.type.v3.TypedStruct', 'udpa.type.v1.TypedStruct']) {
    const config = `{ "@type": type.googleapis.com/${type}, type_url: type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit, value: { stat_prefix: x, max_connections: 5 } }`;
    const { bootstrap } = load(`static_resources:
  listeners:
  - address: { pipe: { path: /tmp/x } }
    filter_chains: [{ filters: [{ name: a, typed_config: ${config} }] }]`);
    assert.deepEqual(bootstrap.staticResources?.listeners[0].filterChains[0].filters[0].typedConfig, {
      '@type': 'envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit',
      statPrefix: 'x',
      maxConnections: 5,
    });
    const [error] = errorsOf(
      `static_resources: { listeners: [{ filter_chains: [{ filters: [{ typed_config: ${config.replace('max_c', 'mx_c')} }] }] }] }`,
    );
    assert.match(error, /typed_config\.mx_connections: .*did you mean 'max_connections'/);
  }
});

test('well-known types inside an Any stand under value', () => {
  const any = '{ "@type": type.googleapis.com/google.protobuf.StringValue, value: hello, extra: 1 }';
  const errors = errorsOf(`static_resources: { clusters: [{ name: a, typed_extension_protocol_options: { x: ${any} } }] }`);
  assert.equal(errors.length, 1);
  assert.match(errors[0], /no such field: 'extra'/);
});
