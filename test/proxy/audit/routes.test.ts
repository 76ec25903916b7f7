/** Fields of RouteConfiguration, VirtualHost, Route, RetryPolicy, the router and the small HTTP filters, end to end. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, fileLog, http, listener } from '../../interop/support/config.ts';
import { dial } from '../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../interop/support/upstreams.ts';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy, until } from '../../support/proxy_process.ts';

const FILTERS = 'type.googleapis.com/envoy.extensions.filters.http.';

const to = (target: string, action: Json = {}): Json => ({ cluster: target, ...action });
const say = (text: string, status = 200): Json => ({ status, body: { inline_string: text } });
const header = (key: string, value: string, more: Json = {}): Json => ({ header: { key, value }, ...more });

/** Each matches one way only; the answer is the name of what matched. */
const MATCHES: [name: string, match: Json][] = [
  ['path', { path: '/exact' }],
  ['regex', { safe_regex: { google_re2: {}, regex: '/r[0-9]+' } }],
  ['separated', { path_separated_prefix: '/sep' }],
  ['folded', { prefix: '/fold', case_sensitive: false }],
  ['string', { prefix: '/h', headers: [{ name: 'x-a', string_match: { exact: 'ONE', ignore_case: true } }] }],
  ['contains', { prefix: '/h', headers: [{ name: 'x-a', string_match: { contains: 'wo' } }] }],
  ['exact', { prefix: '/h', headers: [{ name: 'x-b', exact_match: 'b' }] }],
  ['safe', { prefix: '/h', headers: [{ name: 'x-b', safe_regex_match: { regex: 'c+' } }] }],
  ['range', { prefix: '/h', headers: [{ name: 'x-c', range_match: { start: '5', end: '7' } }] }],
  ['prefixed', { prefix: '/h', headers: [{ name: 'x-d', prefix_match: 'pre' }] }],
  ['suffixed', { prefix: '/h', headers: [{ name: 'x-d', suffix_match: 'suf' }] }],
  ['containing', { prefix: '/h', headers: [{ name: 'x-d', contains_match: 'mid' }] }],
  ['present', { prefix: '/h', headers: [{ name: 'x-e', present_match: true }] }],
  [
    'inverted',
    {
      prefix: '/h',
      headers: [{ name: 'x-f', string_match: { exact: 'f' }, invert_match: true, treat_missing_header_as_empty: true }],
    },
  ],
  ['query', { prefix: '/q', query_parameters: [{ name: 'k', string_match: { prefix: 'v' } }] }],
  ['query present', { prefix: '/q', query_parameters: [{ name: 'p', present_match: true }] }],
  ['runtime', { prefix: '/run', runtime_fraction: { default_value: { numerator: 0 }, runtime_key: 'audit.all' } }],
  ['grpc', { prefix: '/g', grpc: {} }],
];

const MAIN: Json = {
  name: 'main',
  internal_only_headers: ['x-internal-only'],
  request_headers_to_add: [header('x-level', 'table')],
  request_headers_to_remove: ['x-drop'],
  response_headers_to_add: [header('x-route', '%ROUTE_NAME%'), header('x-order', 'table')],
  response_headers_to_remove: ['x-secret'],
  ignore_path_parameters_in_path_matching: true,
  ignore_port_in_host_matching: true,
  max_direct_response_body_size_bytes: 5000,
  validate_clusters: false,
  virtual_hosts: [
    {
      name: 'all',
      metadata: { filter_metadata: { audit: { v: ['host'] } } },
      domains: ['a.test', '*.suffix.test', 'prefix.*'],
      request_headers_to_add: [header('x-level', 'host', { append_action: 'APPEND_IF_EXISTS_OR_ADD' })],
      include_request_attempt_count: true,
      include_attempt_count_in_response: true,
      include_is_timeout_retry_header: true,
      retry_policy: { retry_on: 'retriable-status-codes', retriable_status_codes: [599], num_retries: 2 },
      routes: [
        ...MATCHES.map(([name, match]) => ({ name, match, direct_response: say(name) })),
        { match: { path: '/metadata' }, direct_response: say(''), metadata: { filter_metadata: { audit: { r: { deep: 1 } } } } },
        { match: { path: '/big' }, direct_response: say('x'.repeat(4500)) },
        {
          name: 'rewrite',
          match: { prefix: '/rewrite' },
          route: to('up', { prefix_rewrite: '/new', host_rewrite_literal: 'lit.test', append_x_forwarded_host: true }),
          request_headers_to_add: [header('x-level', 'route'), header('x-empty', '', { keep_empty_value: true })],
          response_headers_to_add: [header('x-order', 'route', { append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' })],
        },
        {
          match: { prefix: '/regex' },
          route: to('up', {
            regex_rewrite: { pattern: { regex: '/regex/(.*)' }, substitution: '/out/\\1' },
            host_rewrite_path_regex: { pattern: { regex: '^/regex/([a-z]+).*' }, substitution: '\\1.test' },
          }),
        },
        { match: { prefix: '/by-header' }, route: to('up', { host_rewrite_header: 'x-host' }) },
        { match: { prefix: '/auto' }, route: to('named', { auto_host_rewrite: true }) },
        { match: { prefix: '/cluster-header' }, route: { cluster_header: 'x-cluster' } },
        { match: { prefix: '/missing' }, route: to('nowhere', { cluster_not_found_response_code: 'NOT_FOUND' }) },
        {
          match: { prefix: '/weighted' },
          route: {
            weighted_clusters: {
              header_name: 'x-random',
              clusters: [
                {
                  name: 'up',
                  weight: 1,
                  request_headers_to_add: [header('x-weighted', 'up')],
                  request_headers_to_remove: ['x-w'],
                },
                { name: 'named', weight: 99, host_rewrite_literal: 'w.test', response_headers_to_add: [header('x-w', 'named')] },
              ],
            },
          },
        },
        { match: { prefix: '/slow' }, route: to('up', { timeout: '0.05s' }) },
        { match: { prefix: '/stall-idle' }, route: to('up', { idle_timeout: '0.05s' }) },
        { match: { prefix: '/stall-max' }, route: to('up', { max_stream_duration: { max_stream_duration: '0.05s' } }) },
        {
          match: { prefix: '/stall-grpc' },
          route: to('up', {
            max_stream_duration: { grpc_timeout_header_max: '0.05s', grpc_timeout_header_offset: '0.001s' },
          }),
        },
        {
          match: { prefix: '/flaky' },
          route: to('up', {
            retry_policy: {
              retry_on: 'retriable-headers',
              num_retries: 3,
              retriable_headers: [{ name: 'x-again' }],
              retriable_request_headers: [{ name: 'x-may' }],
              retry_back_off: { base_interval: '0.001s', max_interval: '0.002s' },
            },
          }),
        },
        {
          match: { prefix: '/tries' },
          route: to('up', {
            retry_policy: {
              retry_on: '5xx',
              num_retries: 1,
              per_try_timeout: '0.05s',
              retry_back_off: { base_interval: '0.001s' },
            },
          }),
        },
        {
          match: { prefix: '/idle-try' },
          route: to('up', { retry_policy: { retry_on: '5xx', num_retries: 0, per_try_idle_timeout: '0.05s' } }),
        },
        {
          match: { prefix: '/limited' },
          route: to('up', {
            retry_policy: {
              retry_on: '5xx',
              rate_limited_retry_back_off: {
                reset_headers: [{ name: 'x-reset', format: 'UNIX_TIMESTAMP' }],
                max_interval: '60s',
              },
            },
          }),
        },
        { match: { prefix: '/redirect/prefix' }, redirect: { prefix_rewrite: '/to', strip_query: true, response_code: 'FOUND' } },
        {
          match: { prefix: '/redirect/path' },
          redirect: { path_redirect: '/there', host_redirect: 'h.test', port_redirect: 81 },
        },
        { match: { prefix: '/redirect/https' }, redirect: { https_redirect: true } },
        { match: { prefix: '/redirect/scheme' }, redirect: { scheme_redirect: 'ftp' } },
        {
          match: { prefix: '/redirect/regex' },
          redirect: { regex_rewrite: { pattern: { regex: '/redirect/regex/(.)' }, substitution: '/\\1' } },
        },
        { match: { prefix: '/' }, route: to('up') },
      ],
    },
    { name: 'tls', domains: ['tls.test'], require_tls: 'ALL', routes: [{ match: { prefix: '/' }, direct_response: say('tls') }] },
    {
      name: 'small',
      domains: ['small.test'],
      request_body_buffer_limit: 10,
      routes: [{ match: { prefix: '/' }, route: to('up', { retry_policy: { retry_on: '5xx', num_retries: 1 } }) }],
    },
  ],
};

const BUFFER_OFF = { '@type': `${FILTERS}buffer.v3.BufferPerRoute`, disabled: true };
const HTTP_FILTERS: Json = {
  request_headers_to_add: [],
  name: 'filters',
  typed_per_filter_config: {
    mutation: {
      '@type': `${FILTERS}header_mutation.v3.HeaderMutationPerRoute`,
      mutations: { response_mutations: [{ append: header('x-order', 'table') }] },
    },
  },
  virtual_hosts: [
    {
      name: 'all',
      domains: ['*'],
      typed_per_filter_config: {
        mutation: {
          '@type': `${FILTERS}header_mutation.v3.HeaderMutationPerRoute`,
          mutations: { response_mutations: [{ append: header('x-order', 'host') }] },
        },
      },
      routes: [
        { match: { prefix: '/unbuffered' }, route: to('quiet'), typed_per_filter_config: { buffer: BUFFER_OFF } },
        {
          match: { prefix: '/larger' },
          route: to('quiet'),
          typed_per_filter_config: {
            buffer: { '@type': `${FILTERS}buffer.v3.BufferPerRoute`, buffer: { max_request_bytes: 50 } },
          },
        },
        {
          match: { prefix: '/without' },
          route: to('quiet'),
          typed_per_filter_config: {
            mutation: { '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig', disabled: true },
            sleeping: { '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig', config: {} },
          },
        },
        { match: { prefix: '/' }, route: to('quiet') },
      ],
    },
  ],
};

let upstream: HttpUpstream;
let proxy: ProxyProcess;
const attempts = new Map<string, number>();

describe('routes and HTTP filters', () => {
  before(async () => {
    upstream = await httpUpstream((request, response) => {
      const path = request.url ?? '';
      const attempt = (attempts.get(path) ?? 0) + 1;
      attempts.set(path, attempt);
      if (/^\/(stall|slow|tries|idle-try)/.test(path)) return;
      if (path.startsWith('/flaky') && attempt === 1) response.setHeader('x-again', '1');
      if (path.startsWith('/status-599') && attempt < 3) response.statusCode = 599;
      if (path.startsWith('/fails')) response.statusCode = 503;
      response.setHeader('x-secret', '1');
      let length = 0;
      request.on('data', (chunk: Buffer) => {
        length += chunk.length;
      });
      request.on('end', () => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ path, attempt, length, headers: request.headers }));
      });
    });
    const config = bootstrap(
      [
        listener(
          'main',
          [
            http('main', [], {
              route_config: MAIN,
              access_log: [
                fileLog(
                  'main.log',
                  '%REQ(:PATH)% %METADATA(LISTENER:audit:l)% %METADATA(VIRTUAL_HOST:audit:v)% %METADATA(ROUTE:audit:r)%',
                ),
              ],
              http_filters: [
                {
                  name: 'router',
                  typed_config: {
                    '@type': `${FILTERS}router.v3.Router`,
                    suppress_envoy_headers: false,
                    upstream_log: [fileLog('upstream.log', '%REQ(:PATH)% %ACCESS_LOG_TYPE%')],
                  },
                },
              ],
            }),
          ],
          { metadata: { filter_metadata: { audit: { l: 'listener' } } } },
        ),
        listener('filters', [
          http('filters', [], {
            route_config: HTTP_FILTERS,
            http_filters: [
              { name: 'buffer', typed_config: { '@type': `${FILTERS}buffer.v3.Buffer`, max_request_bytes: 5 } },
              {
                name: 'mutation',
                typed_config: {
                  '@type': `${FILTERS}header_mutation.v3.HeaderMutation`,
                  most_specific_header_mutations_wins: false,
                  mutations: {
                    request_mutations: [{ remove: 'x-gone' }, { append: header('x-new', '%REQ(X-OLD)%') }],
                    response_mutations: [{ append: header('x-order', 'filter') }],
                  },
                },
              },
              {
                name: 'sleeping',
                disabled: true,
                typed_config: {
                  '@type': `${FILTERS}header_mutation.v3.HeaderMutation`,
                  mutations: { response_mutations: [{ append: header('x-awake', 'yes') }] },
                },
              },
              { name: 'maybe', is_optional: true, typed_config: { '@type': `${FILTERS}fault.v3.HTTPFault` } },
              {
                name: 'router',
                typed_config: {
                  '@type': `${FILTERS}router.v3.Router`,
                  suppress_envoy_headers: true,
                  dynamic_stats: false,
                },
              },
            ],
          }),
        ]),
        listener('specific', [
          http('specific', [], {
            route_config: {
              most_specific_header_mutations_wins: true,
              response_headers_to_add: [header('x-o', 'table', { append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' })],
              virtual_hosts: [
                {
                  name: 'v',
                  domains: ['*'],
                  routes: [
                    { match: { prefix: '/up' }, route: to('up', { timeout: '10s' }) },
                    {
                      match: { prefix: '/' },
                      direct_response: say(''),
                      response_headers_to_add: [header('x-o', 'route', { append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' })],
                    },
                  ],
                },
              ],
            },
            use_remote_address: true,
            internal_address_config: { cidr_ranges: [{ address_prefix: '127.0.0.0', prefix_len: 8 }] },
            http_filters: [
              {
                name: 'router',
                typed_config: {
                  '@type': `${FILTERS}router.v3.Router`,
                  respect_expected_rq_timeout: true,
                  strict_check_headers: ['x-envoy-upstream-rq-timeout-ms'],
                },
              },
            ],
          }),
        ]),
      ],
      [
        cluster('up', [upstream.port]),
        cluster('quiet', [upstream.port]),
        {
          name: 'named',
          type: 'STRICT_DNS',
          load_assignment: {
            cluster_name: 'named',
            endpoints: [
              {
                lb_endpoints: [
                  { endpoint: { address: { socket_address: { address: 'localhost', port_value: upstream.port } } } },
                ],
              },
            ],
          },
          dns_lookup_family: 'V4_ONLY',
        },
      ],
      { layered_runtime: { layers: [{ name: 'static', static_layer: { audit: { all: 100 } } }] } },
    );
    proxy = await startProxy({ config });
  });
  after(async () => {
    await upstream?.close();
    await proxy?.stop();
  });

  interface Seen extends AdminAnswer {
    seen: { path: string; attempt: number; length: number; headers: Record<string, string> };
  }

  async function ask(path: string, headers: Record<string, string> = {}, name = 'main', body?: string): Promise<Seen> {
    const answer = await httpRequest(proxy.port(name), path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { host: 'a.test', ...headers },
      body,
    });
    return { ...answer, seen: answer.headers['content-type'] === 'application/json' ? JSON.parse(answer.body) : undefined };
  }

  test('route matches', async () => {
    const cases: [path: string, headers: Record<string, string>, name: string][] = [
      ['/exact?q=1', {}, 'path'],
      ['/exact;p=1', {}, 'path'],
      ['/r12', {}, 'regex'],
      ['/sep/x', {}, 'separated'],
      ['/FOLD', {}, 'folded'],
      ['/h', { 'x-a': 'one', 'x-f': 'f' }, 'string'],
      ['/h', { 'x-a': 'two' }, 'contains'],
      ['/h', { 'x-b': 'b' }, 'exact'],
      ['/h', { 'x-b': 'ccc' }, 'safe'],
      ['/h', { 'x-c': '6' }, 'range'],
      ['/h', { 'x-d': 'pre1' }, 'prefixed'],
      ['/h', { 'x-d': '1suf' }, 'suffixed'],
      ['/h', { 'x-d': '1mid1' }, 'containing'],
      ['/h', { 'x-e': '' }, 'present'],
      ['/h', {}, 'inverted'],
      ['/q?k=v1', {}, 'query'],
      ['/q?p=', {}, 'query present'],
      ['/run', {}, 'runtime'],
      ['/g', { 'content-type': 'application/grpc' }, 'grpc'],
    ];
    for (const [path, headers, name] of cases) {
      const answer = await ask(path, headers);
      assert.equal(answer.headers['x-route'], name, `${path} ${JSON.stringify(headers)}`);
      if (name !== 'grpc') assert.equal(answer.body, name);
    }
    assert.equal((await ask('/EXACT')).seen.path, '/EXACT');
    assert.equal((await ask('/separate')).seen.path, '/separate');
    assert.equal((await ask('/h', { 'x-c': '7', 'x-f': 'f' })).seen.path, '/h');
    assert.equal((await ask('/big')).body.length, 4500);
  });

  test('virtual hosts', async () => {
    for (const host of ['a.test', 'a.test:99', 'x.suffix.test', 'prefix.org'])
      assert.equal((await ask('/exact', { host })).status, 200);
    assert.equal((await ask('/exact', { host: 'b.test' })).status, 404);
    const tls = await ask('/x?y', { host: 'tls.test' });
    assert.deepEqual([tls.status, tls.headers['location']], [301, 'https://tls.test/x?y']);
    // Beyond its limit a body is not kept, so there is nothing to retry.
    const large = await ask('/fails/large', { host: 'small.test' }, 'main', 'x'.repeat(100));
    assert.deepEqual([large.status, large.seen.attempt], [503, 1]);
    const little = await ask('/fails/little', { host: 'small.test' }, 'main', 'x');
    assert.equal(little.seen.attempt, 2);
  });

  test('metadata of listener, virtual host and route', async () => {
    await ask('/metadata');
    await until(
      async () => (await proxy.lines('main.log', 1)).includes('/metadata listener ["host"] {"deep":1}'),
      'the line with metadata',
    );
  });

  test('headers and rewrites', async () => {
    const rewritten = await ask('/rewrite/x?q', { 'x-drop': '1', 'x-internal-only': '1' });
    assert.equal(rewritten.seen.path, '/new/x?q');
    assert.equal(rewritten.seen.headers['host'], 'lit.test');
    assert.equal(rewritten.seen.headers['x-forwarded-host'], 'a.test');
    assert.equal(rewritten.seen.headers['x-level'], 'route, host, table');
    assert.equal(rewritten.seen.headers['x-empty'], '');
    assert.equal(rewritten.seen.headers['x-drop'], undefined);
    assert.equal(rewritten.seen.headers['x-internal-only'], undefined);
    assert.equal(rewritten.seen.headers['x-envoy-attempt-count'], '1');
    assert.equal(rewritten.headers['x-envoy-attempt-count'], '1');
    assert.equal(rewritten.headers['x-order'], 'route, table');
    assert.equal(rewritten.headers['x-secret'], undefined);
    const regex = await ask('/regex/host/x');
    assert.deepEqual([regex.seen.path, regex.seen.headers['host']], ['/out/host/x', 'host.test']);
    assert.equal((await ask('/by-header', { 'x-host': 'h.test' })).seen.headers['host'], 'h.test');
    assert.equal((await ask('/auto')).seen.headers['host'], 'localhost');
    assert.equal((await ask('/', {}, 'specific')).headers['x-o'], 'route');
  });

  test('clusters of routes', async () => {
    assert.equal((await ask('/cluster-header', { 'x-cluster': 'up' })).status, 200);
    assert.equal((await ask('/cluster-header', { 'x-cluster': 'none' })).status, 503);
    assert.equal((await ask('/missing')).status, 404);
    const first = await ask('/weighted', { 'x-random': '0', 'x-w': '1' });
    assert.deepEqual(
      [first.seen.headers['x-weighted'], first.seen.headers['x-w'], first.headers['x-w']],
      ['up', undefined, undefined],
    );
    const second = await ask('/weighted', { 'x-random': '50', 'x-w': '1' });
    assert.deepEqual([second.seen.headers['host'], second.seen.headers['x-w'], second.headers['x-w']], ['w.test', '1', 'named']);
  });

  test('timeouts of routes', async () => {
    assert.deepEqual([(await ask('/slow')).status, (await ask('/slow')).body], [504, 'upstream request timeout']);
    assert.equal((await ask('/stall-idle')).body, 'stream timeout');
    const longest = await ask('/stall-max');
    assert.deepEqual([longest.status, longest.body], [504, 'downstream duration timeout']);
    const grpc = await ask('/stall-grpc', { 'grpc-timeout': '10S' });
    assert.deepEqual([grpc.status, grpc.body], [504, 'downstream duration timeout']);
    const strict = await ask('/up', { 'x-envoy-upstream-rq-timeout-ms': 'soon' }, 'specific');
    assert.equal(strict.status, 400);
    const expected = await ask('/up', { 'x-envoy-expected-rq-timeout-ms': '77' }, 'specific');
    assert.equal(expected.seen.headers['x-envoy-expected-rq-timeout-ms'], '77');
  });

  test('retries', async () => {
    const codes = await ask('/status-599');
    assert.deepEqual([codes.status, codes.seen.attempt, codes.headers['x-envoy-attempt-count']], [200, 3, '3']);
    assert.equal((await ask('/flaky/1', { 'x-may': '1' })).seen.attempt, 2);
    assert.equal((await ask('/flaky/2')).seen.attempt, 1);
    assert.equal((await ask('/tries')).status, 504);
    assert.equal((await ask('/idle-try')).status, 504);
    // Counted by the proxy: a busy upstream may never have seen a try that was given up.
    const tries = async () => (await proxy.lines('upstream.log', 1)).filter((line) => line === '/tries UpstreamEnd').length;
    await until(async () => (await tries()) >= 2, 'both tries in the log');
    assert.equal(await tries(), 2);
  });

  test('redirects', async () => {
    const port = proxy.port('main');
    const location = async (path: string): Promise<[number, unknown]> => {
      const { status, headers } = await ask(path, { host: `a.test:${port}` });
      return [status, headers['location']];
    };
    assert.deepEqual(await location('/redirect/prefix/x?q=1'), [302, `http://a.test:${port}/to/x`]);
    assert.deepEqual(await location('/redirect/path?q=1'), [301, 'http://h.test:81/there?q=1']);
    assert.deepEqual(await location('/redirect/https'), [301, `https://a.test:${port}/redirect/https`]);
    assert.deepEqual(await location('/redirect/scheme'), [301, `ftp://a.test:${port}/redirect/scheme`]);
    assert.deepEqual(await location('/redirect/regex/y'), [301, `http://a.test:${port}/y`]);
  });

  test('buffer and header_mutation, with their configuration per route', async () => {
    const post = (path: string, length: number) =>
      ask(path, { 'x-gone': '1', 'x-old': 'old', 'transfer-encoding': 'chunked' }, 'filters', 'x'.repeat(length));
    // Only a body that goes on is held against the limit.
    const begin = async (path: string, length: number): Promise<string> => {
      const wire = await dial(proxy.port('filters'));
      wire.send(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n${'x'.repeat(length)}`);
      await wire.untilClosed();
      return wire.text;
    };
    const small = await post('/', 4);
    assert.deepEqual([small.seen.length, small.seen.headers['content-length']], [4, '4']);
    assert.deepEqual([small.seen.headers['x-gone'], small.seen.headers['x-new']], [undefined, 'old']);
    assert.equal(small.headers['x-order'], 'filter, host, table');
    assert.equal(small.headers['x-awake'], undefined);
    assert.equal(small.headers['x-envoy-upstream-service-time'], undefined);
    assert.match(await begin('/', 6), /^HTTP\/1\.1 413 /);
    assert.equal((await post('/unbuffered', 100)).seen.length, 100);
    assert.equal((await post('/larger', 40)).seen.length, 40);
    assert.match(await begin('/larger', 60), /^HTTP\/1\.1 413 /);
    const without = await post('/without', 1);
    assert.equal(without.headers['x-order'], undefined);
    assert.equal(without.headers['x-awake'], 'yes');
    const stats = await proxy.stats('^cluster.quiet.upstream_rq_');
    assert.ok((stats.get('cluster.quiet.upstream_rq_total') ?? 0) > 0);
    assert.equal(stats.get('cluster.quiet.upstream_rq_200') ?? 0, 0);
  });
});
