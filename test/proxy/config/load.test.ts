// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's own variables
/** Files, formats, merging, variables, and what is delivered. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import { api } from '../../../src/proxy/config/api/registry.ts';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import { ConfigErrors } from '../../../src/proxy/config/errors.ts';
import { loadBootstrap } from '../../../src/proxy/config/load.ts';
import { errorsOf, load, withCluster, withHcm } from './helpers.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-config-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

test('nothing to load', () => {
  assert.throws(
    () => loadBootstrap({}),
    /At least one of --config-path or --config-yaml or Options::configProto\(\) should be non-empty/,
  );
  assert.throws(() => loadBootstrap({ path: join(folder, 'absent.yaml') }), /Invalid path: .*absent\.yaml/);
});

test('the extension decides the format', () => {
  const yaml = 'node: { id: a, cluster: yes-it-is }';
  assert.equal(loadBootstrap({ path: file('a.yaml', yaml) }).bootstrap.node?.cluster, 'yes-it-is');
  assert.equal(loadBootstrap({ path: file('a.yml', `\uFEFF${yaml}`) }).bootstrap.node?.id, 'a');
  assert.throws(() => loadBootstrap({ path: file('a.json', yaml) }), /a\.json:1:\d+: Unable to read JSON/);
  assert.throws(() => loadBootstrap({ path: file('a.conf', yaml) }), /a\.conf:1:\d+: Unable to read JSON/);
  assert.equal(loadBootstrap({ path: file('b.json', '{\n\t"node": {"id": "b"}\n}') }).bootstrap.node?.id, 'b');
  const type = api().message('envoy.config.bootstrap.v3.Bootstrap');
  const binary = toBinary(type, fromJson(type, { node: { id: 'c' } }));
  assert.equal(loadBootstrap({ path: file('c.pb', binary) }).bootstrap.node?.id, 'c');
  assert.throws(
    () => loadBootstrap({ path: file('d.pb', new Uint8Array([0xff, 0xff])) }),
    /Unable to parse file ".*d\.pb" as a binary protobuf/,
  );
  assert.throws(() => loadBootstrap({ path: file('e.pb_text', 'node {}') }), /text-format protobuf is not supported/);
});

test('binary configuration is checked too, with paths but no lines', () => {
  const type = api().message('envoy.config.bootstrap.v3.Bootstrap');
  const binary = toBinary(type, fromJson(type, { staticResources: { clusters: [{ name: 'a', preconnectPolicy: {} }, {}] } }));
  const path = file('f.pb', binary);
  assert.throws(
    () => loadBootstrap({ path }),
    (error) =>
      error instanceof ConfigErrors &&
      error.errors[0].path === 'static_resources.clusters[1].name' &&
      error.errors[0].file === undefined &&
      error.errors[1].path === 'static_resources.clusters[0].preconnect_policy',
  );
});

test('--config-yaml is merged over the file: scalars replace, lists append, messages and maps merge', () => {
  const path = file(
    'base.yaml',
    'node: { id: base, cluster: one, metadata: { a: 1 } }\nstatic_resources: { clusters: [{ name: a }] }\nlayered_runtime: { layers: [{ name: l, admin_layer: {} }] }',
  );
  const { bootstrap } = loadBootstrap({
    path,
    yaml: 'node: { id: over, metadata: { b: 2 } }\nstatic_resources: { clusters: [{ name: b }], listeners: [] }',
  });
  assert.equal(bootstrap.node?.id, 'over');
  assert.equal(bootstrap.node?.cluster, 'one');
  assert.deepEqual(bootstrap.node?.metadata, { a: 1, b: 2 });
  assert.deepEqual(
    bootstrap.staticResources?.clusters.map(({ name }) => name),
    ['a', 'b'],
  );
});

test('after a merge every error still names its own text', () => {
  const path = file('merge.yaml', 'static_resources:\n  clusters:\n  - { name: a, connect_timeout: 0s }');
  assert.throws(
    () => loadBootstrap({ path, yaml: 'static_resources:\n  clusters:\n  - name: b\n  - { name: c, preconnect_policy: {} }' }),
    (error) => {
      assert.ok(error instanceof ConfigErrors);
      assert.deepEqual(
        error.errors.map((each) => [each.file, each.line, each.column, each.path]),
        [
          [path, 3, 33, 'static_resources.clusters[0].connect_timeout'],
          ['--config-yaml', 4, 16, 'static_resources.clusters[2].preconnect_policy'],
        ],
      );
      return true;
    },
  );
});

test('variables: only when asked for', () => {
  const yaml = 'node: { id: "${ID}", cluster: ${CLUSTER:-none} } # ${ABSENT}\n';
  assert.equal(load('node: { id: "${ID}" }').bootstrap.node?.id, '${ID}');
  const { bootstrap } = load(yaml, { substituteEnv: true, env: { ID: 'x1', CLUSTER: '' } });
  assert.equal(bootstrap.node?.id, 'x1');
  assert.equal(bootstrap.node?.cluster, 'none');
  assert.equal(load('node: { id: "$${ID}" }', { substituteEnv: true, env: {} }).bootstrap.node?.id, '${ID}');
  const port = 'admin: { address: { socket_address: { address: 127.0.0.1, port_value: ${PORT} } } }';
  assert.equal(load(port, { substituteEnv: true, env: { PORT: '80' } }).bootstrap.admin?.address?.socketAddress?.portValue, 80);
  assert.deepEqual(
    errorsOf(port, { substituteEnv: true, env: {} })[0],
    '1:71 : environment variable PORT is not set and has no default (${PORT:-default})',
  );
  assert.equal(errorsOf(port, { substituteEnv: true, env: {} }).length, 1);
  assert.match(errorsOf(port, { substituteEnv: true, env: { PORT: '1\n2' } })[0], /has line breaks/);
});

test('positions are those of the text before substitution', () => {
  const yaml = 'node: { id: ${A_LONG_NAME}, cluster: 5 }';
  assert.match(errorsOf(yaml, { substituteEnv: true, env: { A_LONG_NAME: 'x' } })[0], /^1:38 node\.cluster: 5 is a number/);
  assert.match(
    errorsOf(yaml, { substituteEnv: true, env: { A_LONG_NAME: 'x'.repeat(50) } })[0],
    /^1:38 node\.cluster: 5 is a number/,
  );
  assert.match(errorsOf('node: { id: ${A} }', { substituteEnv: true, env: { A: '7' } })[0], /^1:13 node\.id: 7 is a number/);
});

test('the plain form', () => {
  const { bootstrap } = load(
    withHcm(
      'stream_idle_timeout: 0.25s\n          xff_num_trusted_hops: 2\n          generate_request_id: false',
      '[{ match: { prefix: "" }, route: { cluster: up }, metadata: { filter_metadata: { a: { b: [1, x, 0.5, ~, true] } } } }]',
      'circuit_breakers: { thresholds: [{ max_requests: 0, retry_budget: {} }] }',
    ),
  );
  const listener = bootstrap.staticResources?.listeners[0];
  const hcm = listener?.filterChains[0].filters[0].typedConfig;
  assert.ok(hcm?.['@type'] === 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager');
  assert.equal(hcm.streamIdleTimeout, 250);
  assert.equal(hcm.requestTimeout, undefined);
  assert.equal(hcm.generateRequestId, false);
  assert.equal(hcm.useRemoteAddress, undefined);
  assert.equal(hcm.xffNumTrustedHops, 2);
  assert.equal(hcm.serverName, '');
  assert.equal(hcm.codecType, 'AUTO');
  assert.deepEqual(hcm.accessLog, []);
  const route = hcm.routeConfig?.virtualHosts[0].routes[0];
  // A chosen oneof member is there even when it is empty; the others are not.
  assert.equal(route?.match?.prefix, '');
  assert.equal(route?.match?.path, undefined);
  assert.deepEqual(route?.typedPerFilterConfig, {});
  // As in Envoy, a fraction in a Struct stays text.
  assert.deepEqual(route?.metadata?.filterMetadata, { a: { b: [1, 'x', '0.5', null, true] } });
  const [threshold] = bootstrap.staticResources?.clusters[0].circuitBreakers?.thresholds ?? [];
  assert.equal(threshold.maxRequests, 0);
  assert.equal(threshold.maxConnections, undefined);
  assert.deepEqual(threshold.retryBudget, {});
  assert.deepEqual(structuredClone(bootstrap), bootstrap);
});

test('bytes and 64-bit numbers', () => {
  const { bootstrap } = load(
    'stats_server_version_override: "9007199254740991"\ncluster_manager: { upstream_bind_config: { socket_options: [{ level: -1, name: 2, buf_value: AQID }] } }',
  );
  assert.equal(bootstrap.statsServerVersionOverride, 9007199254740991);
  const [option] = bootstrap.clusterManager?.upstreamBindConfig?.socketOptions ?? [];
  assert.deepEqual(option.bufValue, new Uint8Array([1, 2, 3]));
  assert.equal(option.level, -1);
});

test('the dump: proto names, as given, secrets redacted', () => {
  const secrets = `  secrets:
  - name: server
    tls_certificate:
      { certificate_chain: { inline_string: PUBLIC }, private_key: { inline_string: PRIVATE }, password: { inline_bytes: AAAA } }`;
  const { json } = load(`${withCluster('connect_timeout: 1.5s\nlb_policy: random')}${secrets}`, { allowUnsupported: true });
  const text = JSON.stringify(json);
  assert.match(text, /"connect_timeout":"1\.500s"/);
  assert.match(text, /"lb_policy":"RANDOM"/);
  assert.match(text, /"certificate_chain":\{"inline_string":"PUBLIC"\}/);
  assert.match(text, /"private_key":\{"inline_string":"\[redacted\]"\}/);
  assert.match(text, new RegExp(`"password":{"inline_bytes":"${Buffer.from('[redacted]').toString('base64')}"}`));
  assert.doesNotMatch(text, /PRIVATE|AAAA/);
});

test('locate adds the position to an error that names only its path', () => {
  const loaded = load(withCluster('metadata: { filter_metadata: { "a.b": {} } }\nload_assignment: { cluster_name: x }'));
  const located = loaded.locate(
    new ConfigError('is bad', { path: 'load_assignment.cluster_name' }),
    'static_resources.clusters[0]',
  );
  assert.equal(located.message, '--config-yaml:5:38: static_resources.clusters[0].load_assignment.cluster_name: is bad');
  const key = loaded.locate(
    new ConfigError('x', { path: 'static_resources.clusters[0].metadata.filter_metadata["a.b"].deeper' }),
  );
  assert.equal(key.column, 43);
  assert.equal(loaded.locate(new ConfigError('x', { path: 'nowhere.at.all' })).line, 1);
});

test('ConfigErrors tells all of them, and reads like its first', () => {
  assert.throws(
    () => load('a: 1\nb: 2'),
    (error) =>
      error instanceof ConfigErrors &&
      error instanceof ConfigError &&
      error.errors.length === 2 &&
      error.line === 1 &&
      error.message.split('\n').length === 2,
  );
});
