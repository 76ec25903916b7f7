/** envoy.filters.http.cors in the real proxy: preflights, responses, origins, and what route and virtual host say together. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.filters.http';

function policy(fields: Json): Json {
  return { typed_per_filter_config: { cors: { '@type': `${TYPES}.cors.v3.CorsPolicy`, ...fields } } };
}

describe('cors', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let asked = 0;

  before(async () => {
    upstream = await httpUpstream((_request, response) => {
      asked++;
      response.setHeader('access-control-allow-origin', 'https://upstream.test').end('body');
    });
    const filters = {
      http_filters: [
        { name: 'cors', typed_config: { '@type': `${TYPES}.cors.v3.Cors` } },
        { name: 'router', typed_config: { '@type': `${TYPES}.router.v3.Router` } },
      ],
    };
    const routes = [
      { ...route('/more', 'node'), ...policy({ allow_methods: 'PUT', max_age: '60', expose_headers: 'x-route' }) },
      {
        ...route('/strict', 'node'),
        ...policy({ allow_origin_string_match: [{ exact: 'https://only.test' }], forward_not_matching_preflights: false }),
      },
      {
        ...route('/any', 'node'),
        ...policy({ allow_origin_string_match: [{ exact: '*' }], allow_private_network_access: true }),
      },
      { ...route('/off', 'node'), ...policy({ filter_enabled: { default_value: { numerator: 0 } } }) },
      {
        ...route('/shadow', 'node'),
        ...policy({
          filter_enabled: { default_value: { numerator: 0 } },
          shadow_enabled: { default_value: { numerator: 100 }, runtime_key: 'cors.shadow' },
        }),
      },
      route('/', 'node'),
    ];
    const virtualHost = policy({
      allow_origin_string_match: [{ suffix: '.example.com' }],
      allow_methods: 'GET, POST',
      allow_headers: 'content-type',
      allow_credentials: true,
    });
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [http('main', routes, { ...filters, virtual_host: virtualHost })]),
          listener('none', [http('none', routes.slice(-1), filters)]),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const call = (
    path: string,
    origin: string | undefined,
    headers: Record<string, string> = {},
    method = 'GET',
    name = 'main',
  ): Promise<AdminAnswer> =>
    httpRequest(proxy.port(name), path, { method, headers: { ...(origin === undefined ? {} : { origin }), ...headers } });
  const preflight = (path: string, origin: string, headers: Record<string, string> = {}): Promise<AdminAnswer> =>
    call(path, origin, { 'access-control-request-method': 'PUT', ...headers }, 'OPTIONS');
  const access = ({ headers }: AdminAnswer): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(headers)
        .filter(([name]) => name.startsWith('access-control-'))
        .map(([name, value]) => [name.slice(15), value]),
    );

  test('a preflight is answered here', async () => {
    asked = 0;
    const answer = await preflight('/', 'https://a.example.com');
    assert.equal(answer.status, 200);
    assert.equal(answer.body, '');
    assert.deepEqual(access(answer), {
      'allow-origin': 'https://a.example.com',
      'allow-credentials': 'true',
      'allow-methods': 'GET, POST',
      'allow-headers': 'content-type',
    });
    assert.equal(asked, 0);
  });

  test('what the route says goes before what the virtual host says', async () => {
    assert.deepEqual(access(await preflight('/more', 'https://a.example.com')), {
      'allow-origin': 'https://a.example.com',
      'allow-credentials': 'true',
      'allow-methods': 'PUT',
      'allow-headers': 'content-type',
      'max-age': '60',
      'expose-headers': 'x-route',
    });
  });

  test("responses get the headers, in place of the upstream's", async () => {
    const answer = await call('/more', 'https://a.example.com');
    assert.equal(answer.body, 'body');
    assert.deepEqual(access(answer), {
      'allow-origin': 'https://a.example.com',
      'allow-credentials': 'true',
      'expose-headers': 'x-route',
    });
  });

  test('other origins, requests without one, and OPTIONS that is no preflight go through as they are', async () => {
    asked = 0;
    const untouched = { 'allow-origin': 'https://upstream.test' };
    assert.deepEqual(access(await call('/', 'https://evil.test')), untouched);
    assert.deepEqual(access(await preflight('/', 'https://evil.test')), untouched);
    assert.deepEqual(access(await call('/', undefined)), untouched);
    assert.deepEqual(access(await call('/', 'https://a.example.com', {}, 'GET', 'none')), untouched);
    assert.equal((await call('/', 'https://a.example.com', {}, 'OPTIONS')).body, 'body');
    assert.equal(asked, 5);
    assert.ok((await proxy.stat('http.main.cors.origin_invalid')) >= 2);
    assert.ok((await proxy.stat('http.main.cors.origin_valid')) >= 4);
  });

  test('preflights of other origins may be answered without headers', async () => {
    asked = 0;
    assert.deepEqual(access(await preflight('/strict', 'https://a.example.com')), {});
    assert.equal(asked, 0);
    assert.equal(access(await preflight('/strict', 'https://only.test'))['allow-origin'], 'https://only.test');
  });

  test('any origin, and private networks', async () => {
    const answer = access(await preflight('/any', 'null', { 'access-control-request-private-network': 'true' }));
    assert.equal(answer['allow-origin'], 'null');
    assert.equal(answer['allow-private-network'], 'true');
    assert.equal(access(await preflight('/any', 'http://x'))['allow-private-network'], undefined);
  });

  test('turned off, and only counted', async () => {
    const before = await proxy.stat('http.main.cors.origin_valid');
    assert.deepEqual(access(await preflight('/off', 'https://a.example.com')), { 'allow-origin': 'https://upstream.test' });
    assert.equal(await proxy.stat('http.main.cors.origin_valid'), before);
    assert.deepEqual(access(await preflight('/shadow', 'https://a.example.com')), { 'allow-origin': 'https://upstream.test' });
    assert.equal(await proxy.stat('http.main.cors.origin_valid'), before + 1);
  });
});
