/** envoy.filters.http.rbac and envoy.filters.network.rbac in the real proxy, with mutual TLS. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { CertificateFactory } from '../support/certificates.ts';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, spawnProxy, startProxy } from '../support/proxy_process.ts';
import {
  bootstrap,
  cluster,
  fileLog,
  http,
  httpFilters,
  listener,
  perRoute,
  route,
  tcpProxy,
  WHY,
  withoutFilter,
} from './support/config.ts';
import { downstreamTls, files, tlsGet } from './support/tls.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const certificates = new CertificateFactory();
const ca = certificates.make('rbac ca', { isCa: true });
const server = certificates.make('localhost', { san: 'DNS:localhost', issuer: ca });
const friend = certificates.make('friend', { san: 'URI:spiffe://test/friend,DNS:friend.example', issuer: ca });
const stranger = certificates.make('stranger', { issuer: ca });

const ANY = [{ any: true }];
const rules = (action: string, policies: Record<string, Json>): Json => ({ rules: { action, policies } });
const policy = (permissions: Json[], principals: Json[] = ANY): Json => ({ permissions, principals });
const header = (name: string, value: string): Json => ({ header: { name, string_match: { exact: value } } });
const path = (prefix: string): Json => ({ url_path: { path: { prefix } } });
const range = (address_prefix: string, prefix_len: number): Json => ({ address_prefix, prefix_len });

describe('rbac', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    upstream = await httpUpstream((_request, response) => response.end('body'));
    const to = (prefix: string, rbac?: Json): Json => ({
      ...route(prefix, 'node'),
      ...perRoute('rbac', 'rbac.v3.RBACPerRoute', rbac === undefined ? {} : { rbac }),
    });
    const allow = (permission: Json): Json => rules('ALLOW', { p: policy([permission]) });
    const known = (principal: Json): Json => rules('ALLOW', { p: policy(ANY, [principal]) });
    const routes = [
      to('/header', allow(header('x-role', 'admin'))),
      to('/path', allow(path('/path/open'))),
      to('/not', allow({ not_rule: header('x-role', 'admin') })),
      to('/and', allow({ and_rules: { rules: [header('x-a', '1'), header('x-b', '1')] } })),
      to('/or', allow({ or_rules: { rules: [header('x-a', '1'), header('x-b', '1')] } })),
      to('/port', allow({ destination_port_range: { start: 1, end: 65536 } })),
      to('/low', allow({ destination_port: 1 })),
      to('/local', allow({ destination_ip: range('127.0.0.0', 8) })),
      to('/direct', known({ direct_remote_ip: range('127.0.0.1', 32) })),
      to('/remote', known({ remote_ip: range('203.0.113.0', 24) })),
      to('/ids', known({ and_ids: { ids: [{ not_id: header('x-role', 'guest') }, { or_ids: { ids: ANY } }] } })),
      to('/empty', rules('ALLOW', {})),
      to('/deny', rules('DENY', { 'bad path': policy([path('/deny/bad')]), other: policy([header('x-bad', '1')]) })),
      to('/log', { rules: { action: 'LOG', policies: { logged: policy([header('x-log', '1')]) } } }),
      to('/shadow', { shadow_rules: { action: 'DENY', policies: { all: policy(ANY) } }, shadow_rules_stat_prefix: 'trial_' }),
      { ...route('/route', 'node'), metadata: { filter_metadata: { team: { name: 'blue' } } } },
      to('/none'),
      { ...route('/off', 'node'), ...withoutFilter('rbac') },
      route('/', 'node'),
    ];
    const blue = {
      sourced_metadata: {
        metadata_matcher: { filter: 'team', path: [{ key: 'name' }], value: { string_match: { exact: 'blue' } } },
        metadata_source: 'ROUTE',
      },
    };
    const authenticated = (config: Json): Json => rules('ALLOW', { tls: policy(ANY, [{ authenticated: config }]) });
    const validation = { validation_context: { trusted_ca: { filename: ca.certificateFile } } };
    const tls = (name: string, filters: Json[]): Json =>
      listener(name, [], { filter_chains: [{ filters, transport_socket: downstreamTls([files(server)], validation) }] });
    const network = (stat_prefix: string, config: Json): Json => ({
      name: 'rbac',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC', stat_prefix, ...config },
    });
    const log =
      'rbac %REQ(:PATH)% %RESPONSE_CODE_DETAILS% %DYNAMIC_METADATA(envoy.filters.http.rbac)% %DYNAMIC_METADATA(envoy.common)%';
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http('main', routes, {
              ...httpFilters([
                'rbac',
                'rbac.v3.RBAC',
                { ...rules('ALLOW', { blue: policy([blue]) }), track_per_rule_stats: true },
              ]),
              use_remote_address: false,
              access_log: [fileLog('main', WHY), fileLog('metadata', log)],
            }),
          ]),
          tls('tls', [
            http('tls', [route('/', 'node')], {
              ...httpFilters(['rbac', 'rbac.v3.RBAC', authenticated({ principal_name: { exact: 'spiffe://test/friend' } })]),
            }),
          ]),
          tls('subject', [
            http('subject', [route('/', 'node')], {
              ...httpFilters(['rbac', 'rbac.v3.RBAC', authenticated({ principal_name: { contains: 'CN=stranger' } })]),
            }),
          ]),
          tls('tcp_tls', [
            network('tcp_tls', authenticated({ principal_name: { suffix: 'friend.example' } })),
            tcpProxy('tcp_tls', 'node'),
          ]),
          listener('tcp', [
            network('tcp', {
              ...rules('DENY', { local: policy([{ destination_ip: range('127.0.0.0', 8) }]) }),
              shadow_rules: { action: 'ALLOW', policies: { net: policy(ANY, [{ source_ip: range('127.0.0.0', 8) }]) } },
            }),
            tcpProxy('tcp', 'node', { access_log: [fileLog('tcp', '%CONNECTION_TERMINATION_DETAILS%')] }),
          ]),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const call = (target: string, headers: Record<string, string> = {}): Promise<AdminAnswer> =>
    httpRequest(proxy.port('main'), target, { headers });

  const CASES: [string, Record<string, string>, number][] = [
    ['/header', { 'x-role': 'admin' }, 200],
    ['/header', { 'x-role': 'guest' }, 403],
    ['/header', {}, 403],
    ['/path/open/door?q=1', {}, 200],
    ['/path/shut?/path/open', {}, 403],
    ['/not', { 'x-role': 'admin' }, 403],
    ['/not', { 'x-role': 'guest' }, 200],
    ['/and', { 'x-a': '1' }, 403],
    ['/and', { 'x-a': '1', 'x-b': '1' }, 200],
    ['/or', { 'x-b': '1' }, 200],
    ['/or', {}, 403],
    ['/port', {}, 200],
    ['/low', {}, 403],
    ['/local', {}, 200],
    ['/direct', {}, 200],
    ['/remote', {}, 403],
    ['/remote', { 'x-forwarded-for': '203.0.113.9' }, 200],
    ['/ids', {}, 403],
    ['/ids', { 'x-role': 'user' }, 200],
    ['/ids', { 'x-role': 'guest' }, 403],
    ['/empty', {}, 403],
    ['/deny/good', {}, 200],
    ['/deny/good', { 'x-bad': '1' }, 403],
    ['/log', {}, 200],
    ['/shadow', {}, 200],
    ['/none', {}, 200],
    ['/off', {}, 200],
    ['/', {}, 403],
    ['/route', {}, 200],
  ];
  for (const [target, headers, status] of CASES) {
    // `not_id` of a header that is missing: a matcher of a missing header matches nothing, so its negation does.
    const expected = target === '/ids' && Object.keys(headers).length === 0 ? 200 : status;
    test(`${target} with ${JSON.stringify(headers)}: ${expected}`, async () => {
      const answer = await call(target, headers);
      assert.equal(answer.status, expected);
      if (expected === 403) assert.equal(answer.body, 'RBAC: access denied');
    });
  }

  test('details, metadata and stats', async () => {
    await call('/deny/bad');
    await proxy.untilLine('main', '/deny/bad 403 - rbac_access_denied_matched_policy[bad_path]');
    await call('/empty');
    await proxy.untilLine('main', '/empty 403 - rbac_access_denied_matched_policy[none]');
    await call('/shadow');
    await proxy.untilLine(
      'metadata',
      /^rbac \/shadow via_upstream .*"trial_shadow_effective_policy_id":"all".*"trial_shadow_engine_result":"denied"/,
    );
    await call('/log', { 'x-log': '1' });
    await proxy.untilLine('metadata', /^rbac \/log via_upstream .*\{"access_log_hint":true\}$/);
    const stats = await proxy.stats('^http\\.main\\.rbac\\.');
    assert.ok(stats.get('http.main.rbac.allowed')! > 10);
    assert.ok(stats.get('http.main.rbac.denied')! > 10);
    assert.ok(stats.get('http.main.rbac.shadow_denied')! >= 1);
    assert.ok(stats.get('http.main.rbac.logged')! >= 1);
    assert.ok(stats.get('http.main.rbac.policy.blue.allowed')! >= 1);
  });

  const client = (certificate: { certificateFile: string; keyFile: string } | null) =>
    certificate === null ? {} : { cert: readFileSync(certificate.certificateFile), key: readFileSync(certificate.keyFile) };

  test('the name in the client certificate', async () => {
    const status = async (name: string, certificate: typeof friend | null): Promise<string> =>
      (await tlsGet(proxy.port(name), client(certificate))).text.slice(9, 12);
    assert.equal(await status('tls', friend), '200');
    assert.equal(await status('tls', stranger), '403');
    assert.equal(await status('tls', null), '403');
    assert.equal(await status('subject', stranger), '200');
    assert.equal(await status('subject', friend), '403');
  });

  test('connections', async () => {
    assert.match((await tlsGet(proxy.port('tcp_tls'), client(friend))).text, /^HTTP\/1.1 200/);
    assert.equal((await tlsGet(proxy.port('tcp_tls'), client(stranger)).catch(() => ({ text: '' }))).text, '');
    const socket = connect(proxy.port('tcp'), '127.0.0.1').on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await once(socket, 'close');
    assert.equal(socket.bytesRead, 0);
    await proxy.untilLine('tcp', 'rbac_access_denied_matched_policy[local]');
    assert.equal(await proxy.stat('tcp.rbac.denied'), 1);
    assert.equal(await proxy.stat('tcp.rbac.shadow_allowed'), 1);
    assert.equal(await proxy.stat('tcp_tls.rbac.allowed'), 1);
  });

  test('what cannot be honoured is refused', async () => {
    const refused = spawnProxy({
      config: bootstrap([
        listener('main', [
          http('main', [], httpFilters(['rbac', 'rbac.v3.RBAC', { matcher: { on_no_match: { action: { name: 'a' } } } }])),
        ]),
      ]),
    });
    const kept = spawnProxy({
      args: ['--allow-unsupported'],
      config: bootstrap([
        listener('main', [
          http(
            'main',
            [],
            httpFilters([
              'rbac',
              'rbac.v3.RBAC',
              rules('ALLOW', { p: { ...policy(ANY), condition: { const_expr: { bool_value: false } } } }),
            ]),
          ),
        ]),
      ]),
    });
    assert.equal(await kept.exited, 1, 'a condition is never left out');
    assert.match(kept.log, /Policy\.condition is not supported by Sluice yet/);
    assert.equal(await refused.exited, 1);
    assert.match(refused.log, /rbac\.v3\.RBAC\.matcher is not supported by Sluice yet/);
  });
});
