/** envoy.filters.http.ext_authz and envoy.filters.network.ext_authz in the real proxy, against node:http and @grpc/grpc-js services. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
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
  upstreamHttp2,
  WHY,
  withoutFilter,
} from './support/config.ts';
import { envoyService, type ServiceCall } from './support/envoy_service.ts';
import { unusedPort } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const MESSAGE = 'ext_authz.v3.ExtAuthz';
const option = (key: string, value: string, more: Json = {}): Json => ({ header: { key, value }, ...more });
const exact = (...names: string[]): Json => ({ patterns: names.map((name) => ({ exact: name })) });

interface Attributes {
  source: Json;
  destination: Json;
  request: { time: string; http: { headers: Record<string, string>; header_map?: { headers: Json[] } } & Json };
  context_extensions?: Record<string, string>;
  metadata_context?: Json;
}

describe('ext_authz', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let service: HttpUpstream;
  let asked: Attributes[] = [];
  let seen: { url: string; method: string; headers: IncomingMessage['headers']; body: string }[] = [];

  /** Decides by the path, as a service of a user would by who is asking. */
  function check({ request, metadata }: ServiceCall): Json | null {
    const attributes = request['attributes'] as unknown as Attributes;
    asked.push(attributes);
    if (attributes.request === undefined) return { status: { code: 0 } };
    const path = String(attributes.request.http['path']);
    if (path.startsWith('/hang')) return null;
    if (path.startsWith('/broken')) return { code: 13, details: 'broken' };
    if (path.startsWith('/denied')) return { status: { code: 7 } };
    if (path.startsWith('/custom')) {
      const headers = [
        option('x-why', 'because'),
        option('set-cookie', 'a=1'),
        option('set-cookie', 'b=2'),
        option('x-bad', 'a\r\nx-evil: 1'),
      ];
      return { status: { code: 16 }, denied_response: { status: { code: 401 }, headers, body: 'who are you? ü' } };
    }
    if (path.startsWith('/change')) {
      return {
        status: { code: 0 },
        ok_response: {
          headers: [
            option('x-user', 'ann'),
            option('x-list', 'two', { append: true }),
            option('x-absent', 'not there', { append: true }),
            option('x-new', 'kept', { append_action: 'ADD_IF_ABSENT' }),
            option('x-evil', 'a\r\nb: c'),
          ],
          headers_to_remove: ['x-secret', ':path'],
          response_headers_to_add: [option('x-from-authz', 'yes')],
          query_parameters_to_set: [{ key: 'who', value: 'ann' }],
          query_parameters_to_remove: ['token'],
        },
        dynamic_metadata: { user: 'ann', level: 3, tags: ['a', true, null] },
      };
    }
    return { status: { code: metadata.get('x-service')[0] === 'meta' ? 0 : 7 } };
  }

  before(async () => {
    upstream = await httpUpstream((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => response.end(JSON.stringify({ url: request.url, headers: request.headers, body })));
    });
    service = await httpUpstream((request: IncomingMessage, response: ServerResponse) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        seen.push({ url: request.url ?? '', method: request.method ?? '', headers: request.headers, body });
        if (request.url === '/check/denied') response.writeHead(403, { 'x-why': 'no', location: '/login' }).end('go away');
        else if (request.url === '/check/broken') response.writeHead(500).end();
        else if (request.url !== '/check/hang') {
          const headers = {
            'x-user': 'bob',
            'x-list': 'two',
            'x-client': 'c',
            'x-envoy-auth-headers-to-remove': 'x-secret, x-other',
          };
          response.writeHead(200, headers).end();
        }
      });
    });
    const grpc = await envoyService(
      '/envoy.service.auth.v3.Authorization/Check',
      'envoy.service.auth.v3.CheckRequest',
      'envoy.service.auth.v3.CheckResponse',
      check,
    );
    const grpcService = {
      envoy_grpc: { cluster_name: 'authz_grpc' },
      timeout: '0.5s',
      initial_metadata: [{ key: 'x-service', value: 'meta' }],
    };
    const overGrpc = (config: Json = {}): Json =>
      httpFilters(['authz', MESSAGE, { grpc_service: grpcService, transport_api_version: 'V3', ...config }]);
    const httpService = (authorization_response: Json = {}, authorization_request: Json = {}): Json => ({
      http_service: {
        server_uri: { uri: 'http://authz', cluster: 'authz_http', timeout: '0.5s' },
        path_prefix: '/check',
        authorization_request,
        authorization_response,
      },
    });
    const settings = (config: Json): Json => perRoute('authz', 'ext_authz.v3.ExtAuthzPerRoute', config);
    const log = (name: string): Json => ({
      access_log: [fileLog(name, `${WHY} %DYNAMIC_METADATA(envoy.filters.http.ext_authz)%`)],
    });
    const dead = await unusedPort();
    proxy = await startProxy({
      concurrency: 1,
      config: bootstrap(
        [
          listener('grpc', [
            http(
              'grpc',
              [
                { ...route('/off', 'node'), ...settings({ disabled: true }) },
                { ...route('/disabled', 'node'), ...withoutFilter('authz') },
                {
                  ...route('/context', 'node'),
                  ...settings({ check_settings: { context_extensions: { of: 'route', place: 'here' } } }),
                  metadata: { filter_metadata: { team: { name: 'blue' } } },
                },
                route('/', 'node'),
              ],
              {
                ...overGrpc({ route_metadata_context_namespaces: ['team'], stat_prefix: 'one' }),
                ...log('grpc'),
                virtual_host: settings({ check_settings: { context_extensions: { of: 'host', host: 'all' } } }),
              },
            ),
          ]),
          listener('raw', [
            http('raw', [route('/', 'node')], overGrpc({ encode_raw_headers: true, disallowed_headers: exact('authorization') })),
          ]),
          listener('body', [
            http(
              'body',
              [
                { ...route('/nobody', 'node'), ...settings({ check_settings: { disable_request_body_buffering: true } }) },
                route('/', 'node'),
              ],
              overGrpc({ with_request_body: { max_request_bytes: 8, allow_partial_message: true } }),
            ),
          ]),
          listener('whole', [
            http('whole', [route('/', 'node')], overGrpc({ with_request_body: { max_request_bytes: 8, pack_as_bytes: true } })),
          ]),
          listener('http', [
            http('http', [route('/', 'node')], {
              ...httpFilters([
                'authz',
                MESSAGE,
                {
                  ...httpService(
                    {
                      allowed_upstream_headers: exact('x-user'),
                      allowed_upstream_headers_to_append: exact('x-list'),
                      allowed_client_headers_on_success: exact('x-client'),
                    },
                    { allowed_headers: exact('x-tenant'), headers_to_add: [{ key: 'x-proxy', value: 'sluice' }] },
                  ),
                  with_request_body: { max_request_bytes: 100 },
                  status_on_error: { code: 'ServiceUnavailable' },
                },
              ]),
              ...log('http'),
            }),
          ]),
          listener('open', [
            http(
              'open',
              [route('/', 'node')],
              httpFilters([
                'authz',
                MESSAGE,
                { ...httpService(), failure_mode_allow: true, failure_mode_allow_header_add: true },
              ]),
            ),
          ]),
          listener('dead', [
            http('dead', [route('/', 'node')], overGrpc({ grpc_service: { envoy_grpc: { cluster_name: 'dead' } } })),
          ]),
          listener('never', [
            http(
              'never',
              [route('/', 'node')],
              overGrpc({ filter_enabled: { default_value: { numerator: 0 }, runtime_key: 'a' } }),
            ),
          ]),
          listener('shut', [
            http(
              'shut',
              [route('/', 'node')],
              overGrpc({
                filter_enabled: { default_value: { numerator: 0 }, runtime_key: 'a' },
                deny_at_disable: { default_value: true, runtime_key: 'b' },
              }),
            ),
          ]),
          ...['tcp', 'tcp_dead'].map((name) =>
            listener(name, [
              {
                name: 'authz',
                typed_config: {
                  '@type': 'type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz',
                  stat_prefix: name,
                  grpc_service: name === 'tcp' ? grpcService : { envoy_grpc: { cluster_name: 'dead' } },
                  transport_api_version: 'V3',
                },
              },
              tcpProxy(name, 'node'),
            ]),
          ),
        ],
        [
          cluster('node', [upstream.port]),
          cluster('authz_http', [service.port]),
          cluster('authz_grpc', [grpc.port], upstreamHttp2()),
          cluster('dead', [dead], upstreamHttp2()),
        ],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
    await service.close();
  });

  const call = (
    name: string,
    path: string,
    options: { method?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<AdminAnswer> => {
    asked = [];
    seen = [];
    return httpRequest(proxy.port(name), path, options);
  };
  const received = (answer: AdminAnswer): { url: string; headers: Record<string, string>; body: string } => {
    assert.equal(answer.status, 200, answer.body);
    return JSON.parse(answer.body);
  };

  test('gRPC: what the service is told', async () => {
    await call('grpc', '/context?x=1', { headers: { 'x-id': '1', 'x-envoy-downstream-service-cluster': 'shop' } });
    const [attributes] = asked;
    const request = attributes.request.http;
    assert.equal(request['method'], 'GET');
    assert.equal(request['path'], '/context?x=1');
    assert.equal(request['protocol'], 'HTTP/1.1');
    assert.equal(request['scheme'], 'http');
    assert.match(String(request['host']), /^127\.0\.0\.1:\d+$/);
    assert.equal(request.headers['x-id'], '1');
    assert.equal(request.headers[':path'], '/context?x=1');
    assert.ok(Math.abs(Date.parse(attributes.request.time) - Date.now()) < 60_000);
    assert.equal((attributes.source['address'] as { socket_address: Json }).socket_address['address'], '127.0.0.1');
    assert.equal(
      (attributes.destination['address'] as { socket_address: Json }).socket_address['port_value'],
      proxy.port('grpc'),
    );
    assert.deepEqual(attributes.context_extensions, { of: 'route', host: 'all', place: 'here' });
    assert.deepEqual((attributes as unknown as { route_metadata_context: Json }).route_metadata_context, {
      filter_metadata: { team: { name: 'blue' } },
    });
  });

  test('gRPC: refused', async () => {
    const plain = await call('grpc', '/denied');
    assert.equal(plain.status, 403);
    assert.equal(plain.body, '');
    await proxy.untilLine('grpc', '/denied 403 UAEX ext_authz_denied -');
    const custom = await call('grpc', '/custom');
    assert.equal(custom.status, 401);
    assert.equal(custom.body, 'who are you? ü');
    assert.equal(custom.headers['x-why'], 'because');
    assert.deepEqual(custom.headers['set-cookie'], ['a=1', 'b=2']);
    assert.equal(custom.headers['x-evil'], undefined);
    assert.equal(custom.headers['x-bad'], undefined);
  });

  test('gRPC: allowed, with changes', async () => {
    const answer = await call('grpc', '/change?token=t&a=1', {
      headers: { 'x-list': 'one', 'x-secret': 's', 'x-user': 'forged' },
    });
    const { url, headers } = received(answer);
    assert.equal(url, '/change?a=1&who=ann');
    assert.equal(headers['x-user'], 'ann');
    assert.equal(headers['x-list'], 'one,two');
    assert.equal(headers['x-new'], 'kept');
    for (const name of ['x-absent', 'x-secret', 'x-evil', 'b']) assert.equal(headers[name], undefined, name);
    assert.equal(answer.headers['x-from-authz'], 'yes');
    await proxy.untilLine('grpc', /^\/change\S* 200 - via_upstream \{.*"level":3.*"tags":\["a",true,null\],"user":"ann"\}$/);
  });

  test('gRPC: errors, and services that do not answer', async () => {
    assert.equal((await call('grpc', '/broken')).status, 403);
    await proxy.untilLine('grpc', '/broken 403 UAEX ext_authz_error -');
    assert.equal((await call('grpc', '/hang')).status, 403);
    assert.equal((await call('dead', '/')).status, 403);
    const stats = await proxy.stats('^http\\.grpc\\.ext_authz\\.one\\.');
    assert.equal(stats.get('http.grpc.ext_authz.one.error'), 2);
    assert.equal(stats.get('http.grpc.ext_authz.one.denied'), 2);
    assert.ok((await proxy.stat('cluster.node.ext_authz.denied')) >= 2);
  });

  test('routes without it, and a filter that is off', async () => {
    for (const [name, path] of [
      ['grpc', '/off'],
      ['grpc', '/disabled'],
      ['never', '/denied'],
    ]) {
      assert.equal((await call(name, path)).status, 200, path);
      assert.equal(asked.length, 0);
    }
    assert.equal((await call('shut', '/')).status, 403);
    assert.equal(await proxy.stat('http.never.ext_authz.disabled'), 1);
  });

  test('which headers are sent', async () => {
    await call('raw', '/', { headers: { authorization: 'secret', 'x-id': '1' } });
    const headers = asked[0].request.http.header_map?.headers as { key: string; raw_value: string }[];
    const names = headers.map(({ key }) => key);
    assert.ok(names.includes('x-id') && !names.includes('authorization'), names.join());
    assert.equal(Buffer.from(headers.find(({ key }) => key === 'x-id')?.raw_value ?? '', 'base64').toString(), '1');
  });

  test('bodies', async () => {
    const post = (name: string, path: string, body: string) => call(name, path, { method: 'POST', body });
    assert.equal(received(await post('body', '/', '0123456789')).body, '0123456789');
    assert.equal(asked[0].request.http['body'], '01234567');
    assert.equal(asked[0].request.http.headers['x-envoy-auth-partial-body'], 'true');
    assert.equal(received(await post('body', '/', 'short')).body, 'short');
    assert.equal(asked[0].request.http['body'], 'short');
    assert.equal(asked[0].request.http.headers['x-envoy-auth-partial-body'], 'false');
    assert.equal(received(await post('body', '/nobody', 'unseen')).body, 'unseen');
    assert.equal(asked[0].request.http['body'], undefined);
    assert.equal((await post('body', '/denied', '0123456789')).status, 403);
    assert.equal(received(await post('whole', '/', 'whole')).body, 'whole');
    assert.equal(Buffer.from(String(asked[0].request.http['raw_body']), 'base64').toString(), 'whole');
    assert.equal((await post('whole', '/', 'too long for it')).status, 413);
  });

  test('HTTP: what the service is told, and what it may change', async () => {
    const answer = await call('http', '/p?q=1', {
      method: 'POST',
      headers: { authorization: 'Basic x', 'x-tenant': 't', 'x-private': 'p', 'x-list': 'one', 'x-secret': 's', 'x-other': 'o' },
      body: 'content',
    });
    const { headers, body } = received(answer);
    assert.equal(body, 'content');
    assert.equal(headers['x-user'], 'bob');
    assert.equal(headers['x-list'], 'one,two');
    assert.equal(headers['x-secret'], undefined);
    assert.equal(headers['x-other'], undefined);
    assert.equal(headers['x-private'], 'p');
    assert.equal(answer.headers['x-client'], 'c');
    const [check] = seen;
    assert.equal(check.url, '/check/p?q=1');
    assert.equal(check.method, 'POST');
    assert.equal(check.body, 'content');
    assert.equal(check.headers['authorization'], 'Basic x');
    assert.equal(check.headers['x-tenant'], 't');
    assert.equal(check.headers['x-proxy'], 'sluice');
    assert.equal(check.headers['x-private'], undefined);
  });

  test('HTTP: refused, failed, timed out', async () => {
    const denied = await call('http', '/denied');
    assert.equal(denied.status, 403);
    assert.equal(denied.body, 'go away');
    assert.equal(denied.headers['x-why'], 'no');
    assert.equal(denied.headers['location'], '/login');
    assert.equal((await call('http', '/broken')).status, 503);
    assert.equal((await call('http', '/hang')).status, 503);
    await proxy.untilLine('http', '/broken 503 UAEX ext_authz_error -');
  });

  test('failures that let requests through', async () => {
    const { headers } = received(await call('open', '/broken'));
    assert.equal(headers['x-envoy-auth-failure-mode-allowed'], 'true');
    assert.equal(await proxy.stat('http.open.ext_authz.failure_mode_allowed'), 1);
  });

  test('a client that goes away while its request is checked', async () => {
    const controller = new AbortController();
    const active = 'cluster.authz_grpc.upstream_rq_active';
    const request = fetch(`http://127.0.0.1:${proxy.port('grpc')}/hang`, { signal: controller.signal }).catch(() => 'aborted');
    await proxy.untilStat(active, (value) => value === 1);
    controller.abort();
    assert.equal(await request, 'aborted');
    await proxy.untilStat(active, (value) => value === 0);
  });

  test('connections', async () => {
    const exchange = async (name: string): Promise<string> => {
      const socket = connect(proxy.port(name), '127.0.0.1').on('error', () => {});
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      await once(socket, 'close');
      return text;
    };
    asked = [];
    assert.match(await exchange('tcp'), /^HTTP\/1.1 200/);
    assert.equal(asked.length, 1);
    assert.equal(await exchange('tcp_dead'), '');
    assert.equal(await proxy.stat('ext_authz.tcp.ok'), 1);
    assert.equal(await proxy.stat('ext_authz.tcp_dead.cx_closed'), 1);
    assert.equal(await proxy.stat('ext_authz.tcp.active'), 0);
  });
});
