/** What routes do: clusters, rewrites, header mutations, policies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { xxHash64 } from '../../../../src/proxy/common/xxhash64.ts';
import type {
  HeaderValueOptionConfig,
  RetryPolicyConfig,
  RouteActionConfig,
  RouteConfig,
  RouteMatchConfig,
  WeightedClusterConfig,
} from '../../../../src/proxy/http/route/config_types.ts';
import { HashPolicy } from '../../../../src/proxy/http/route/hash_policy.ts';
import { RetryOn } from '../../../../src/proxy/http/route/retry_policy.ts';
import { ipAddress } from '../../../../src/proxy/network/address.ts';
import { createRuntime } from '../../../../src/proxy/runtime/runtime_impl.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import type { Host } from '../../../../src/proxy/upstream/upstream.ts';
import { clusterOf, configError, context, type Extra, entryOf, finalized, request, routeOf, table, tableOf } from './support.ts';

const ANY: RouteMatchConfig = { prefix: '/' };

function action(route: RouteActionConfig, match: RouteMatchConfig = ANY): RouteConfig {
  return { match, route: { cluster: 'c', ...route } };
}

function finalizedPath(route: RouteActionConfig, match: RouteMatchConfig, path: string): string {
  return finalized(tableOf(action(route, match)), request('h', path))[':path'];
}

const REWRITES: [route: RouteActionConfig, match: RouteMatchConfig, path: string, expected: string][] = [
  [{ prefixRewrite: '/' }, { prefix: '/api/' }, '/api/x?q=/api/', '/x?q=/api/'],
  [{ prefixRewrite: '/v1' }, { prefix: '/api' }, '/api', '/v1'],
  [{ prefixRewrite: '/v1' }, { prefix: '/api', caseSensitive: false }, '/API/x', '/v1/x'],
  [{ prefixRewrite: '/new' }, { path: '/old' }, '/old?a=b', '/new?a=b'],
  [{ prefixRewrite: '/new' }, { pathSeparatedPrefix: '/old' }, '/old/x', '/new/x'],
  // With a regex rule the whole path is replaced.
  [{ prefixRewrite: '/new' }, { safeRegex: { regex: '/o.*' } }, '/old/x?a=b', '/new?a=b'],
  [
    { regexRewrite: { pattern: { regex: '^/service/([^/]+)(/.*)$' }, substitution: '\\2/instance/\\1' } },
    { prefix: '/service/' },
    '/service/foo/v1/api?x=/service/a/b',
    '/v1/api/instance/foo?x=/service/a/b',
  ],
  [
    { regexRewrite: { pattern: { regex: 'one' }, substitution: 'two' } },
    ANY,
    '/xxx/one/yyy/one/zzz?one',
    '/xxx/two/yyy/two/zzz?one',
  ],
  [
    { regexRewrite: { pattern: { regex: '^(.*?)one(.*)$' }, substitution: '\\1two\\2' } },
    ANY,
    '/xxx/one/yyy/one/zzz',
    '/xxx/two/yyy/one/zzz',
  ],
  [{ regexRewrite: { pattern: { regex: '(?i)/xxx/' }, substitution: '/yyy/' } }, ANY, '/aaa/XxX/bbb', '/aaa/yyy/bbb'],
];
for (const [route, match, path, expected] of REWRITES) {
  test(`${path} with ${JSON.stringify(route)} becomes ${expected}`, () => {
    assert.equal(finalizedPath(route, match, path), expected);
  });
}

test('the original path is kept when asked for', () => {
  const routes = tableOf(action({ prefixRewrite: '/y' }, { prefix: '/x' }));
  assert.equal(finalized(routes, request('h', '/x?q'))['x-envoy-original-path'], '/x?q');
  assert.equal(finalized(routes, request('h', '/x?q'), false)['x-envoy-original-path'], undefined);
});

test('host rewrites', () => {
  const host = (route: RouteActionConfig, extra: Extra = {}): string =>
    finalized(tableOf(action(route)), request('h', '/a/b?q', extra))[':authority'];
  assert.equal(host({}), 'h');
  assert.equal(host({ hostRewriteLiteral: 'new' }), 'new');
  assert.equal(host({ hostRewriteHeader: 'X-Host' }, { 'x-host': 'by-header' }), 'by-header');
  assert.equal(host({ hostRewriteHeader: 'x-host' }), 'h');
  assert.equal(host({ hostRewritePathRegex: { pattern: { regex: '^/(.+)/.+$' }, substitution: '\\1' } }), 'a');
  assert.equal(host({ autoHostRewrite: true }), 'h');
});

test('the host rewrite sees the path before its rewrite', () => {
  const route = { prefixRewrite: '/new', hostRewritePathRegex: { pattern: { regex: '^/(.+)$' }, substitution: '\\1' } };
  const headers = finalized(tableOf(action(route, { prefix: '/old' })), request('h', '/old'));
  assert.equal(headers[':authority'], 'old');
  assert.equal(headers[':path'], '/new');
});

test('x-envoy-original-host and x-forwarded-host', () => {
  const routes = tableOf(action({ hostRewriteLiteral: 'new', appendXForwardedHost: true }));
  assert.equal(finalized(routes, request('h', '/'))['x-envoy-original-host'], 'h');
  assert.equal(finalized(routes, request('h', '/'))['x-forwarded-host'], 'h');
  assert.equal(finalized(routes, request('h', '/', { 'x-forwarded-host': 'a' }))['x-forwarded-host'], 'a,h');
  // Not when it is the last value already.
  assert.equal(finalized(routes, request('h', '/', { 'x-forwarded-host': 'a,h' }))['x-forwarded-host'], 'a,h');
  assert.equal(finalized(routes, request('h', '/'), false)['x-envoy-original-host'], undefined);
});

test('isIdentity tells that nothing changes', () => {
  const identity = (routes: Parameters<typeof tableOf>[0]): boolean => entryOf(routeOf(tableOf(routes), 'h', '/')).isIdentity;
  assert.equal(identity(action({})), true);
  assert.equal(identity(action({ prefixRewrite: '/x' })), false);
  assert.equal(identity(action({ hostRewriteLiteral: 'x' })), false);
  assert.equal(identity({ ...action({}), requestHeadersToRemove: ['x'] }), false);
  assert.equal(identity({ ...action({}), responseHeadersToRemove: ['x'] }), true);
  assert.equal(entryOf(routeOf(tableOf({ ...action({}), responseHeadersToRemove: ['x'] }), 'h', '/')).hasResponseMutations, true);
});

function add(key: string, value: string, more: Partial<HeaderValueOptionConfig> = {}): HeaderValueOptionConfig {
  return { header: { key, value }, ...more };
}

const MUTATIONS: [options: HeaderValueOptionConfig[], before: Extra, after: Record<string, string | undefined>][] = [
  [[add('X-New', 'v')], {}, { 'x-new': 'v' }],
  [[add('x', 'v')], { x: 'old' }, { x: 'old,v' }],
  [[add('x', 'v', { append: true })], { x: 'old' }, { x: 'old,v' }],
  [[add('x', 'v', { append: false })], { x: 'old' }, { x: 'v' }],
  [[add('x', 'v', { appendAction: 'ADD_IF_ABSENT' })], { x: 'old' }, { x: 'old' }],
  [[add('x', 'v', { appendAction: 'ADD_IF_ABSENT' })], {}, { x: 'v' }],
  [[add('x', 'v', { appendAction: 'OVERWRITE_IF_EXISTS_OR_ADD' })], { x: 'old' }, { x: 'v' }],
  [[add('x', 'v', { appendAction: 'OVERWRITE_IF_EXISTS_OR_ADD' })], {}, { x: 'v' }],
  [[add('x', 'v', { appendAction: 'OVERWRITE_IF_EXISTS' })], {}, { x: undefined }],
  [[add('x', 'v', { appendAction: 'OVERWRITE_IF_EXISTS' })], { x: 'old' }, { x: 'v' }],
  [[add('x', '%REQ(y)%')], { y: '1' }, { x: '1' }],
  [[add('x', 'a%REQ(y)%b')], { y: '1' }, { x: 'a1b' }],
  // Empty results are skipped unless they are to be kept.
  [[add('x', '%REQ(y)%')], {}, { x: undefined }],
  [[add('x', '')], {}, { x: undefined }],
  [[add('x', '%REQ(y)%', { keepEmptyValue: true })], {}, { x: '' }],
  [[add('x', '100%%')], {}, { x: '100%' }],
  [[{ header: { key: 'x', rawValue: Uint8Array.of(0x25, 0xe9) } }], {}, { x: '%\xe9' }],
  // All values are computed before anything changes.
  [[add('x', 'new', { append: false }), add('z', '%REQ(x)%')], { x: 'old' }, { x: 'new', z: 'old' }],
  // Overwrites happen before additions.
  [[add('x', 'added'), add('x', 'set', { append: false })], { x: 'old' }, { x: 'set,added' }],
  [[add('x', 'é')], {}, { x: '\xc3\xa9' }],
];
for (const [options, before, after] of MUTATIONS) {
  test(`request_headers_to_add ${JSON.stringify(options)} on ${JSON.stringify(before)}`, () => {
    const headers = finalized(tableOf({ ...action({}), requestHeadersToAdd: options }), request('h', '/', before));
    for (const [name, value] of Object.entries(after)) assert.equal(headers[name], value, name);
  });
}

test('values of headers that exist once are joined, others get a line each', () => {
  const headers = request('h', '/', { 'user-agent': 'a', x: 'a' });
  finalized(tableOf({ ...action({}), requestHeadersToAdd: [add('user-agent', 'b'), add('x', 'b')] }), headers);
  assert.deepEqual(headers.getAll('user-agent'), ['a,b']);
  assert.deepEqual(headers.getAll('x'), ['a', 'b']);
});

test('removals come before additions', () => {
  const routes = tableOf({ ...action({}), requestHeadersToRemove: ['X'], requestHeadersToAdd: [add('x', 'v')] });
  assert.equal(finalized(routes, request('h', '/', { x: 'old' })).x, 'v');
});

function levels(mostSpecificWins: boolean) {
  const set = (value: string): HeaderValueOptionConfig[] => [add('x', value, { append: false }), add('all', value)];
  return table({
    mostSpecificHeaderMutationsWins: mostSpecificWins,
    requestHeadersToAdd: set('table'),
    responseHeadersToAdd: set('table'),
    virtualHosts: [
      {
        name: 'v',
        domains: ['*'],
        requestHeadersToAdd: set('vhost'),
        responseHeadersToAdd: set('vhost'),
        routes: [
          {
            match: ANY,
            requestHeadersToAdd: set('route'),
            responseHeadersToAdd: set('route'),
            route: {
              weightedClusters: {
                clusters: [
                  {
                    name: 'w',
                    weight: 1,
                    requestHeadersToAdd: set('cluster'),
                    responseHeadersToAdd: set('cluster'),
                    hostRewriteLiteral: 'wh',
                  },
                ],
              },
            },
          },
        ],
      },
    ],
  });
}

test('the least specific level wins, or the most specific when told so', () => {
  for (const [wins, x, all] of [
    [false, 'table', 'cluster,route,vhost,table'],
    [true, 'route', 'cluster,table,vhost,route'],
  ] as const) {
    const headers = finalized(levels(wins), request('h', '/'));
    assert.equal(headers.x, x);
    assert.equal(headers.all, all);
    assert.equal(headers[':authority'], 'wh');
    const response = request('h', '/');
    entryOf(routeOf(levels(wins), 'h', '/')).finalizeResponseHeaders(response, context(response), new StreamInfo());
    assert.equal(response.get('all'), all);
  }
});

const MUTATION_ERRORS: [config: Partial<RouteConfig>, reason: string][] = [
  [{ requestHeadersToAdd: [add(':path', 'x')] }, ':-prefixed or host headers may not be modified'],
  [{ requestHeadersToAdd: [add('Host', 'x')] }, ':-prefixed or host headers may not be modified'],
  [{ responseHeadersToAdd: [add(':status', 'x')] }, ':-prefixed or host headers may not be modified'],
  [{ requestHeadersToRemove: [':method'] }, ':-prefixed or host headers may not be removed'],
  [{ requestHeadersToRemove: ['HOST'] }, ':-prefixed or host headers may not be removed'],
  [
    { requestHeadersToAdd: [add('x', 'v', { append: true, appendAction: 'ADD_IF_ABSENT' })] },
    "Both append and append_action are set and it's not allowed",
  ],
  [{ requestHeadersToAdd: [add('x', '%NOPE%')] }, 'Not supported field in StreamInfo: NOPE'],
];
for (const [config, reason] of MUTATION_ERRORS) {
  test(`mutation error ${JSON.stringify(config)}`, () => {
    const error = configError(() => tableOf({ ...action({}), ...config }));
    assert.equal(error.reason, reason);
    assert.match(error.path, /^virtual_hosts\[0\]\.routes\[0\]\.(request|response)_headers_to_(add|remove)\[0\]/);
  });
}

test('errors of the table level have a path without a leading dot', () => {
  assert.equal(configError(() => table({ requestHeadersToAdd: [add(':a', '')] })).path, 'request_headers_to_add[0]');
});

function weighted(config: WeightedClusterConfig, runtime = createRuntime([])) {
  return table(
    { virtualHosts: [{ name: 'v', domains: ['*'], routes: [{ name: 'r', match: ANY, route: { weightedClusters: config } }] }] },
    { runtime },
  );
}

function distribution(routes: ReturnType<typeof table>, total: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let random = 0; random < total; random++) {
    const cluster = clusterOf(routes, 'h', '/', {}, random) ?? 'none';
    counts[cluster] = (counts[cluster] ?? 0) + 1;
  }
  return counts;
}

test('weighted clusters: intervals of the random value in order', () => {
  const routes = weighted({
    clusters: [
      { name: 'a', weight: 30 },
      { name: 'b', weight: 0 },
      { name: 'c', weight: 70 },
    ],
  });
  assert.deepEqual(distribution(routes, 100), { a: 30, c: 70 });
  assert.equal(clusterOf(routes, 'h', '/', {}, 29), 'a');
  assert.equal(clusterOf(routes, 'h', '/', {}, 30), 'c');
  assert.equal(clusterOf(routes, 'h', '/', {}, 129), 'a');
  assert.deepEqual(routes.clusterNames(), ['a', 'b', 'c']);
});

test('weighted clusters: weights under a runtime prefix', () => {
  const runtime = createRuntime([{ name: 'admin', adminLayer: {} }]);
  const routes = weighted(
    {
      runtimeKeyPrefix: 'w',
      clusters: [
        { name: 'a', weight: 50 },
        { name: 'b', weight: 50 },
      ],
    },
    runtime,
  );
  assert.deepEqual(distribution(routes, 100), { a: 50, b: 50 });
  runtime.modify({ 'w.a': '0', 'w.b': '10' });
  assert.deepEqual(distribution(routes, 100), { b: 100 });
  runtime.modify({ 'w.b': '0' });
  assert.deepEqual(distribution(routes, 3), { none: 3 });
});

test('weighted clusters: the random value of a header', () => {
  const routes = weighted({
    headerName: 'X-Random',
    clusters: [
      { name: 'a', weight: 1 },
      { name: 'b', weight: 1 },
    ],
  });
  assert.equal(clusterOf(routes, 'h', '/', { 'x-random': '7' }, 0), 'b');
  assert.equal(clusterOf(routes, 'h', '/', { 'x-random': 'x' }, 0), 'a');
  const twice = request('h', '/', { 'x-random': '7' });
  twice.add('x-random', '7');
  assert.equal(routes.route(twice, new StreamInfo(), 0)?.routeEntry?.clusterName, 'a');
});

test('weighted clusters: metadata of the cluster is merged over the route', () => {
  const lb = (values: object) => ({ filterMetadata: { 'envoy.lb': { ...values } } });
  const routes = tableOf({
    match: ANY,
    route: {
      metadataMatch: lb({ a: 1, b: 1 }),
      weightedClusters: { clusters: [{ name: 'x', weight: 1, metadataMatch: lb({ b: 2 }) }] },
    },
  });
  assert.deepEqual(entryOf(routeOf(routes, 'h', '/')).metadataMatch, { a: 1, b: 2 });
});

test('cluster_header, alone and among weights', () => {
  const routes = tableOf({ match: ANY, route: { clusterHeader: 'X-Cluster' } });
  assert.equal(clusterOf(routes, 'h', '/', { 'x-cluster': 'dyn' }), 'dyn');
  assert.equal(clusterOf(routes, 'h', '/'), '');
  assert.equal(
    clusterOf(weighted({ clusters: [{ clusterHeader: 'x-cluster', weight: 1 }] }), 'h', '/', { 'x-cluster': 'dyn' }),
    'dyn',
  );
  const route = routes.route(request('h', '/', { 'x-cluster': 'dyn' }), new StreamInfo(), 0);
  assert.equal(route, routes.route(request('h', '/', { 'x-cluster': 'dyn' }), new StreamInfo(), 0));
});

const CLUSTER_ERRORS: [route: RouteActionConfig, reason: string][] = [
  [{ cluster: 'missing' }, "route: unknown cluster 'missing'"],
  [{ weightedClusters: { clusters: [{ name: 'missing', weight: 1 }] } }, "route: unknown cluster 'missing'"],
  [
    { weightedClusters: { clusters: [{ name: 'a', weight: 0 }] } },
    'Sum of weights in the weighted_cluster must be greater than 0.',
  ],
  [
    {
      weightedClusters: {
        clusters: [
          { name: 'a', weight: 4294967295 },
          { name: 'b', weight: 1 },
        ],
      },
    },
    'The sum of weights of all weighted clusters of route r exceeds 4294967295',
  ],
  [{ weightedClusters: { clusters: [{ name: 'a' }] } }, 'Field \'weight\' is missing in: name: "a"'],
  [
    { weightedClusters: { totalWeight: 100, clusters: [{ name: 'a', weight: 1 }] } },
    'Sum of weights in the weighted_cluster should be equal to 100',
  ],
  [{ weightedClusters: { clusters: [{ weight: 1 }] } }, 'At least one of name or cluster_header need to be specified'],
  [
    { weightedClusters: { clusters: [{ name: 'a', clusterHeader: 'b', weight: 1 }] } },
    'Only one of name or cluster_header can be specified',
  ],
  [
    { cluster: 'c', prefixRewrite: '/', regexRewrite: { pattern: { regex: 'a' } } },
    'Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy',
  ],
  [
    { cluster: 'c', regexRewrite: { pattern: { regex: '(a)' }, substitution: '\\2' } },
    'Rewrite schema requests 2 matches, but the regexp only has 1 parenthesized subexpressions.',
  ],
  [{ cluster: 'c', upgradeConfigs: [{ upgradeType: 'websocket' }, { upgradeType: 'WebSocket' }] }, 'Duplicate upgrade WebSocket'],
  [
    { cluster: 'c', upgradeConfigs: [{ upgradeType: 'websocket', connectConfig: {} }] },
    'Non-CONNECT upgrade type websocket has ConnectConfig',
  ],
  [
    { cluster: 'c', internalRedirectPolicy: { responseHeadersToCopy: ['Host'] } },
    ':-prefixed headers or Hosts may not be specified here.',
  ],
  [{ cluster: 'c', requestMirrorPolicies: [{}] }, 'exactly one of cluster and cluster_header is required'],
  [{ cluster: 'c', hedgePolicy: {} }, 'hedge_policy is not supported'],
  [{ cluster: 'c', maxGrpcTimeout: 0 }, 'max_grpc_timeout is not supported'],
  [{ cluster: 'c', hashPolicy: [{}] }, 'a hash policy is required'],
];
for (const [route, reason] of CLUSTER_ERRORS) {
  test(`action error: ${reason}`, () => {
    const error = configError(() => tableOf({ name: 'r', match: ANY, route }));
    assert.equal(error.reason, reason);
    assert.match(error.path, /^virtual_hosts\[0\]\.routes\[0\]\.route/);
  });
}

test('unknown clusters are only an error when they are validated', () => {
  const config = { virtualHosts: [{ name: 'v', domains: ['*'], routes: [{ match: ANY, route: { cluster: 'missing' } }] }] };
  assert.equal(clusterOf(table({ ...config, validateClusters: false }), 'h', '/'), 'missing');
  assert.equal(clusterOf(table(config, { validateClusters: false }), 'h', '/'), 'missing');
  assert.throws(
    () => table({ ...config, validateClusters: true }, { validateClusters: false }),
    /route: unknown cluster 'missing'/,
  );
});

test('numbers of a route entry and their defaults', () => {
  const plain = entryOf(routeOf(tableOf(action({})), 'h', '/'));
  assert.equal(plain.timeoutMs, 15_000);
  assert.equal(plain.idleTimeoutMs, undefined);
  assert.equal(plain.clusterNotFoundResponseCode, 503);
  assert.equal(plain.priority, 0);
  assert.equal(plain.retryPolicy, null);
  assert.equal(plain.internalRedirect, null);
  const set = entryOf(
    routeOf(
      tableOf({
        perRequestBufferLimitBytes: 10,
        ...action({
          timeout: 0,
          idleTimeout: 5,
          priority: 'HIGH',
          clusterNotFoundResponseCode: 'NOT_FOUND',
          maxStreamDuration: { maxStreamDuration: 7, grpcTimeoutHeaderMax: 8, grpcTimeoutHeaderOffset: 9 },
          internalRedirectPolicy: { redirectResponseCodes: [301, 200, 308], responseHeadersToCopy: ['X-A'] },
          upgradeConfigs: [
            { upgradeType: 'WebSocket', enabled: false },
            { upgradeType: 'CONNECT', connectConfig: { allowPost: true } },
          ],
        }),
      }),
      'h',
      '/',
    ),
  );
  assert.equal(set.timeoutMs, 0);
  assert.equal(set.idleTimeoutMs, 5);
  assert.equal(set.priority, 1);
  assert.equal(set.clusterNotFoundResponseCode, 404);
  assert.deepEqual([set.maxStreamDurationMs, set.grpcTimeoutHeaderMaxMs, set.grpcTimeoutHeaderOffsetMs], [7, 8, 9]);
  assert.equal(set.requestBodyBufferLimit, 10);
  assert.deepEqual(
    [...set.upgrades],
    [
      ['websocket', false],
      ['connect', true],
    ],
  );
  assert.deepEqual(set.connectConfig, { proxyProtocol: false, allowPost: true });
  assert.deepEqual(set.internalRedirect, {
    maxRedirects: 1,
    responseCodes: new Set([301, 308]),
    allowCrossScheme: false,
    headersToCopy: ['x-a'],
  });
});

test("a route's retry policy replaces its virtual host's", () => {
  const build = (own: RetryPolicyConfig | undefined) =>
    entryOf(
      routeOf(
        table({
          virtualHosts: [
            { name: 'v', domains: ['*'], retryPolicy: { retryOn: '5xx', numRetries: 7 }, routes: [action({ retryPolicy: own })] },
          ],
        }),
        'h',
        '/',
      ),
    ).retryPolicy;
  assert.equal(build(undefined)?.numRetries, 7);
  assert.equal(build(undefined)?.retryOn, RetryOn['5xx']);
  const own = build({
    retryOn: 'reset, bogus,unavailable',
    retryHostPredicate: [{ name: 'envoy.retry_host_predicates.previous_hosts' }],
  });
  assert.equal(own?.retryOn, RetryOn.reset | RetryOn.unavailable);
  assert.equal(own.numRetries, 1);
  assert.equal(own.hostPredicates.length, 1);
  assert.equal(own.previousPriorities, 0);
  const typed = (type: string, config: object = {}) => ({
    name: 'x',
    typedConfig: { '@type': `envoy.extensions.retry.${type}`, ...config },
  });
  const picky = build({
    retryHostPredicate: [
      typed('host.omit_canary_hosts.v3.OmitCanaryHostsPredicate'),
      typed('host.omit_host_metadata.v3.OmitHostMetadataConfig', {
        metadataMatch: { filterMetadata: { 'envoy.lb': { stage: 'x', list: [1] } } },
      }),
    ],
    retryPriority: typed('priority.previous_priorities.v3.PreviousPrioritiesConfig', { updateFrequency: 2 }),
  });
  const host = (canary: boolean, labels: object): Host => ({ canary, metadata: { 'envoy.lb': labels } }) as unknown as Host;
  const dislikes = (given: Host): boolean[] => picky!.hostPredicates.map((predicate) => predicate(given, []));
  assert.deepEqual(dislikes(host(true, { stage: 'x' })), [true, false]);
  assert.deepEqual(dislikes(host(false, { stage: 'x', list: [1], more: 2 })), [false, true]);
  assert.equal(picky?.previousPriorities, 2);
  assert.match(configError(() => build({ retryPriority: typed('priority.v3.Other') })).reason, /^Didn't find a registered/);
  const backOff = { retryOn: '5xx', retryBackOff: { baseInterval: 10, maxInterval: 5 } };
  assert.equal(
    configError(() => build(backOff)).reason,
    'retry_policy.max_interval must greater than or equal to the base_interval',
  );
  assert.match(
    configError(() => build({ retryHostPredicate: [{ name: 'x' }] })).reason,
    /^Didn't find a registered implementation for 'x'/,
  );
});

test('hash policies: combination, terminal, cookies', () => {
  const info = new StreamInfo();
  info.downstreamRemoteAddress = ipAddress('10.0.0.1', 1234);
  const hash = (policies: ConstructorParameters<typeof HashPolicy>[0], extra: Extra = {}, path = '/?q=1'): string | null =>
    new HashPolicy(policies, '').generateHash(request('h', path, extra), info)?.toHex() ?? null;
  assert.equal(hash([{ header: { headerName: 'x' } }]), null);
  assert.notEqual(hash([{ header: { headerName: 'x' } }], { x: 'a' }), hash([{ header: { headerName: 'x' } }], { x: 'b' }));
  assert.equal(
    hash([{ header: { headerName: 'x', regexRewrite: { pattern: { regex: '^/(\\w+)/.*$' }, substitution: '\\1' } } }], {
      x: '/u/1',
    }),
    hash([{ header: { headerName: 'x' } }], { x: 'u' }),
  );
  const source = hash([{ connectionProperties: { sourceIp: true } }]);
  info.downstreamRemoteAddress = ipAddress('10.0.0.1', 99);
  assert.equal(hash([{ connectionProperties: { sourceIp: true } }]), source);
  assert.equal(hash([{ connectionProperties: { sourceIp: false } }]), null);
  assert.equal(hash([{ queryParameter: { name: 'q' } }]), hash([{ header: { headerName: 'x' } }], { x: '1' }));
  const two = [{ header: { headerName: 'x' } }, { connectionProperties: { sourceIp: true } }];
  assert.notEqual(hash(two, { x: 'a' }), source);
  assert.equal(hash([{ ...two[0], terminal: true }, two[1]]), source);
  assert.equal(hash([{ ...two[0], terminal: true }, two[1]], { x: 'a' }), hash([two[0]], { x: 'a' }));
  assert.equal(hash([{ cookie: { name: 'c' } }], { cookie: 'a=b; c=v' }), hash([{ header: { headerName: 'x' } }], { x: 'v' }));
});

test('hash policies: filter state, and the hashes themselves', () => {
  const info = new StreamInfo();
  info.filterState = new Map<string, unknown>([
    ['user', 'ada'],
    ['other', { x: 1 }],
  ]);
  const hash = (policies: ConstructorParameters<typeof HashPolicy>[0], extra: Extra = {}): bigint | undefined =>
    new HashPolicy(policies, '').generateHash(request('h', '/', extra), info)?.toBigInt();
  assert.equal(hash([{ filterState: { key: 'user' } }]), xxHash64('ada'));
  assert.equal(hash([{ filterState: { key: 'other' } }]), undefined);
  assert.equal(hash([{ filterState: { key: 'none' } }]), undefined);
  const x = xxHash64('a');
  const rotated = BigInt.asUintN(64, (x << 1n) | (x >> 63n));
  assert.equal(hash([{ header: { headerName: 'x' } }, { filterState: { key: 'user' } }], { x: 'a' }), rotated ^ xxHash64('ada'));
});

test('a cookie with a ttl is generated, the same for one connection', () => {
  const info = new StreamInfo();
  info.downstreamRemoteAddress = ipAddress('10.0.0.1', 1234);
  info.downstreamLocalAddress = ipAddress('10.0.0.2', 80);
  const policy = new HashPolicy(
    [{ cookie: { name: 'c', ttl: 60_000, path: '/p', attributes: [{ name: 'SameSite', value: 'Lax' }] } }],
    '',
  );
  const cookies: string[] = [];
  const first = policy.generateHash(request('h', '/'), info, (cookie) => cookies.push(cookie))?.toHex();
  assert.match(cookies[0], /^c="[0-9a-f]{16}"; Max-Age=60; Path=\/p; SameSite=Lax; HttpOnly$/);
  assert.equal(policy.generateHash(request('h', '/', { cookie: cookies[0].split(';')[0] }), info)?.toHex(), first);
  assert.equal(policy.generateHash(request('h', '/'), info), null);
});

test('per-filter configuration: most specific first, disabling, wrappers', () => {
  const create = (type: string, config: Record<string, unknown>): unknown =>
    type === 'known' ? { made: config.v } : type === 'none' ? null : undefined;
  const wrap = (config: Record<string, unknown>) => ({ '@type': 'envoy.config.route.v3.FilterConfig', ...config });
  const known = (v: string) => ({ '@type': 'known', v });
  const build = (own: Record<string, { '@type': string }>) =>
    table(
      {
        typedPerFilterConfig: { f: known('table'), g: wrap({ disabled: true }) },
        virtualHosts: [
          {
            name: 'v',
            domains: ['*'],
            typedPerFilterConfig: { f: known('vhost') },
            routes: [
              {
                match: ANY,
                typedPerFilterConfig: own,
                route: {
                  weightedClusters: { clusters: [{ name: 'c', weight: 1, typedPerFilterConfig: { f: known('cluster') } }] },
                },
              },
            ],
          },
        ],
      },
      { createPerRouteConfig: create },
    );
  const route = routeOf(build({ f: wrap({ config: known('route') }) }), 'h', '/');
  assert.deepEqual(
    route?.perFilterConfigs('f'),
    ['cluster', 'route', 'vhost', 'table'].map((made) => ({ made })),
  );
  assert.equal(route.filterDisabled('f'), false);
  assert.equal(route.filterDisabled('g'), true);
  assert.equal(route.filterDisabled('h'), undefined);
  assert.deepEqual(route.perFilterConfigs('h'), []);
  const enabled = routeOf(build({ g: wrap({ config: { '@type': '' } }) }), 'h', '/');
  assert.equal(enabled?.filterDisabled('g'), false);
  assert.equal(
    routeOf(build({ g: wrap({ config: { '@type': 'unknown' }, isOptional: true }) }), 'h', '/')?.filterDisabled('g'),
    false,
  );
  assert.equal(
    configError(() => build({ h: wrap({}) })).reason,
    'Empty route/virtual host per filter configuration for h filter',
  );
  assert.equal(
    configError(() => build({ h: { '@type': 'unknown' } })).reason,
    "Didn't find a registered implementation for 'h' with type URL: 'unknown'",
  );
  assert.equal(
    configError(() => build({ h: { '@type': 'none' } })).reason,
    "The filter h doesn't support virtual host or route specific configurations",
  );
});

test('virtual host flags and metadata', () => {
  const metadata = { filterMetadata: { a: { b: 1 } } };
  const routes = table({
    internalOnlyHeaders: ['X-Internal'],
    virtualHosts: [
      {
        name: 'v',
        domains: ['*'],
        includeRequestAttemptCount: true,
        includeIsTimeoutRetryHeader: true,
        routes: [{ ...action({}), metadata }],
      },
    ],
  });
  const route = routeOf(routes, 'h', '/');
  assert.deepEqual(routes.internalOnlyHeaders, ['x-internal']);
  assert.equal(route?.virtualHost.includeAttemptCountInRequest, true);
  assert.equal(route.virtualHost.includeAttemptCountInResponse, false);
  assert.equal(route.virtualHost.includeIsTimeoutRetryHeader, true);
  assert.deepEqual(route.metadata, { a: { b: 1 } });
});

test('the error about an unknown cluster names the nearest one', () => {
  const config = { virtualHosts: [{ name: 'v', domains: ['*'], routes: [{ match: ANY, route: { cluster: 'missing' } }] }] };
  assert.throws(
    () => table(config, { clusterNames: () => ['other', 'missnig'] }),
    /route: unknown cluster 'missing'; did you mean 'missnig'\?/,
  );
});
