/** envoy.filters.http.ratelimit in the real proxy, against a @grpc/grpc-js service with Envoy's own descriptors. */
import assert from 'node:assert/strict';
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
  upstreamHttp2,
  WHY,
} from './support/config.ts';
import { envoyService } from './support/envoy_service.ts';
import { unusedPort } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const MESSAGE = 'ratelimit.v3.RateLimit';

describe('ratelimit', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let asked: Json[] = [];

  function answer(request: Json): Json | null {
    asked.push(request);
    const text = JSON.stringify(request);
    if (text.includes('"hang"')) return null;
    if (text.includes('"broken"')) return { code: 13, details: 'broken' };
    const over = text.includes('"over"');
    return {
      overall_code: over ? 'OVER_LIMIT' : 'OK',
      statuses: [
        {
          code: 'OK',
          current_limit: { requests_per_unit: 100, unit: 'HOUR', name: 'big' },
          limit_remaining: 90,
          duration_until_reset: '30s',
        },
        {
          code: over ? 'OVER_LIMIT' : 'OK',
          current_limit: { requests_per_unit: 5, unit: 'MINUTE' },
          limit_remaining: over ? 0 : 4,
          duration_until_reset: '7s',
        },
        { code: 'OK' },
      ],
      response_headers_to_add: [
        { key: 'x-from-service', value: 'yes' },
        { key: 'x-evil', value: 'a\r\nb: c' },
      ],
      request_headers_to_add: [{ key: 'x-quota', value: 'fine' }],
      dynamic_metadata: { plan: 'gold' },
      ...(over ? { raw_body: Buffer.from('slow down').toString('base64') } : {}),
    };
  }

  before(async () => {
    upstream = await httpUpstream((request, response) => response.end(JSON.stringify(request.headers)));
    const service = await envoyService(
      '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
      'envoy.service.ratelimit.v3.RateLimitRequest',
      'envoy.service.ratelimit.v3.RateLimitResponse',
      ({ request }) => answer(request),
    );
    const limit = (cluster_name: string, extra: Json = {}): Json =>
      httpFilters([
        'limit',
        MESSAGE,
        {
          domain: 'test',
          timeout: '0.5s',
          rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name } }, transport_api_version: 'V3' },
          ...extra,
        },
      ]);
    const header = { request_headers: { header_name: 'x-key', descriptor_key: 'key' } };
    const limits = (...actions: Json[]): Json => ({ rate_limits: actions.map((action) => ({ actions: [action] })) });
    const routes = [
      route('/two', 'node', limits(header, { generic_key: { descriptor_value: 'two' } })),
      route('/include', 'node', { ...limits(header), include_vh_rate_limits: true }),
      { ...route('/ignore', 'node'), ...perRoute('limit', 'ratelimit.v3.RateLimitPerRoute', { vh_rate_limits: 'IGNORE' }) },
      { ...route('/domain', 'node', limits(header)), ...perRoute('limit', 'ratelimit.v3.RateLimitPerRoute', { domain: 'own' }) },
      route('/stage', 'node', { rate_limits: [{ stage: 2, actions: [header] }] }),
      route('/disabled', 'node', { rate_limits: [{ disable_key: 'mine', actions: [header] }] }),
      route('/override', 'node', {
        rate_limits: [
          {
            actions: [header],
            limit: { dynamic_metadata: { metadata_key: { key: 'm', path: [{ key: 'limit' }] } } },
          },
        ],
      }),
      route('/', 'node'),
    ];
    const dead = await unusedPort();
    const manager = (name: string, filters: Json, extra: Json = {}): Json =>
      listener(name, [
        http(name, routes, {
          ...filters,
          ...extra,
          access_log: [fileLog(name, `${WHY} %DYNAMIC_METADATA(envoy.filters.http.ratelimit:plan)%`)],
          virtual_host: limits({ generic_key: { descriptor_value: 'host' } }),
        }),
      ]);
    const withMetadata = limit('limits', { enable_x_ratelimit_headers: 'DRAFT_VERSION_03' }) as { http_filters: Json[] };
    withMetadata.http_filters.unshift({
      name: 'set',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config',
        metadata: [{ metadata_namespace: 'm', value: { limit: { requests_per_unit: 9, unit: 'DAY' } } }],
      },
    });
    proxy = await startProxy({
      config: bootstrap(
        [
          manager('main', withMetadata),
          manager(
            'strict',
            limit('limits', {
              failure_mode_deny: true,
              status_on_error: { code: 'BadGateway' },
              rate_limited_status: { code: 'ServiceUnavailable' },
              disable_x_envoy_ratelimited_header: true,
              response_headers_to_add: [{ header: { key: 'x-path', value: '%REQ(:PATH)%' } }],
              stat_prefix: 'strict',
            }),
          ),
          manager('dead', limit('dead')),
          manager('external', limit('limits', { request_type: 'external' }), {
            internal_address_config: { cidr_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] },
          }),
        ],
        [
          cluster('node', [upstream.port]),
          cluster('limits', [service.port], upstreamHttp2()),
          cluster('dead', [dead], upstreamHttp2()),
        ],
        { layered_runtime: { layers: [{ name: 's', static_layer: { ratelimit: { mine: { http_filter_enabled: 0 } } } }] } },
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const call = (name: string, path: string, headers: Record<string, string> = {}): Promise<AdminAnswer> => {
    asked = [];
    return httpRequest(proxy.port(name), path, { headers });
  };
  const descriptors = (): string[] =>
    asked.flatMap((request) =>
      (request['descriptors'] as { entries: { key: string; value: string }[] }[]).map(({ entries }) =>
        entries.map(({ key, value }) => `${key}=${value}`).join(),
      ),
    );

  test('what the service is asked', async () => {
    await call('main', '/two', { 'x-key': 'a' });
    assert.equal(asked[0]['domain'], 'test');
    assert.deepEqual(descriptors(), ['key=a', 'generic_key=two']);
    await call('main', '/include', { 'x-key': 'a' });
    assert.deepEqual(descriptors(), ['key=a', 'generic_key=host']);
    await call('main', '/');
    assert.deepEqual(descriptors(), ['generic_key=host']);
    await call('main', '/domain', { 'x-key': 'a' });
    assert.equal(asked[0]['domain'], 'own');
    await call('main', '/override', { 'x-key': 'a' });
    assert.deepEqual((asked[0]['descriptors'] as Json[])[0]['limit'], { requests_per_unit: 9, unit: 'DAY' });
    for (const path of ['/ignore', '/stage', '/disabled']) {
      assert.equal((await call('main', path, { 'x-key': 'a' })).status, 200);
      assert.equal(asked.length, 0, path);
    }
  });

  test('within the limit', async () => {
    const { status, headers, body } = await call('main', '/two', { 'x-key': 'a' });
    assert.equal(status, 200);
    assert.equal(JSON.parse(body)['x-quota'], 'fine');
    assert.equal(headers['x-from-service'], 'yes');
    assert.equal(headers['x-evil'], undefined);
    assert.equal(headers['x-ratelimit-limit'], '5, 100;w=3600;name="big", 5;w=60');
    assert.equal(headers['x-ratelimit-remaining'], '4');
    assert.equal(headers['x-ratelimit-reset'], '7');
    await proxy.untilLine('main', '/two 200 - via_upstream gold');
  });

  test('over the limit', async () => {
    const { status, headers, body } = await call('main', '/two', { 'x-key': 'over' });
    assert.deepEqual([status, body], [429, 'slow down']);
    assert.equal(headers['x-envoy-ratelimited'], 'true');
    assert.equal(headers['x-ratelimit-remaining'], '0');
    await proxy.untilLine('main', '/two 429 RL request_rate_limited gold');
    const strict = await call('strict', '/two', { 'x-key': 'over' });
    assert.equal(strict.status, 503);
    assert.equal(strict.headers['x-envoy-ratelimited'], undefined);
    assert.equal(strict.headers['x-path'], '/two');
    assert.equal(await proxy.stat('cluster.node.ratelimit.over_limit'), 1);
    assert.equal(await proxy.stat('cluster.node.ratelimit.strict.over_limit'), 1);
  });

  test('services that fail', async () => {
    assert.equal((await call('main', '/two', { 'x-key': 'broken' })).status, 200);
    assert.equal((await call('dead', '/')).status, 200);
    assert.equal((await call('strict', '/two', { 'x-key': 'broken' })).status, 502);
    assert.equal((await call('strict', '/two', { 'x-key': 'hang' })).status, 502);
    await proxy.untilLine('strict', '/two 502 RLSE rate_limiter_error -');
    assert.equal(await proxy.stat('cluster.node.ratelimit.failure_mode_allowed'), 2);
    assert.equal(await proxy.stat('cluster.node.ratelimit.strict.error'), 2);
  });

  test('only external requests', async () => {
    await call('external', '/', { 'x-forwarded-for': '10.0.0.1' });
    const internal = asked.length;
    await call('external', '/', { 'x-forwarded-for': '8.8.8.8' });
    assert.deepEqual([internal, asked.length], [0, 1]);
  });
});
