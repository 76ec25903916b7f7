/** Path rules and conditions of routes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  HeaderMatcherConfig,
  QueryParameterMatcherConfig,
  RouteMatchConfig,
} from '../../../../src/proxy/http/route/config_types.ts';
import { compileHeaderMatcher } from '../../../../src/proxy/http/route/header_matcher.ts';
import { queryParameter } from '../../../../src/proxy/http/route/query_matcher.ts';
import { createRuntime } from '../../../../src/proxy/runtime/runtime_impl.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import { clusterOf, configError, type Extra, request, table, tableOf } from './support.ts';

function matches(match: RouteMatchConfig, path: string, extra: Extra = {}): boolean {
  return clusterOf(tableOf({ match, route: { cluster: 'c' } }), 'h', path, extra) === 'c';
}

const PATHS: [rule: RouteMatchConfig, path: string, expected: boolean][] = [
  [{ prefix: '/' }, '/', true],
  [{ prefix: '/' }, '/anything?q', true],
  [{ prefix: '/' }, '*', false],
  [{ prefix: '' }, '*', true],
  [{ prefix: '/foo' }, '/foo', true],
  [{ prefix: '/foo' }, '/foobar', true],
  [{ prefix: '/foo' }, '/fo', false],
  [{ prefix: '/foo' }, '/fo?o', false],
  [{ prefix: '/foo' }, '/FOO', false],
  [{ prefix: '/foo', caseSensitive: false }, '/FOObar', true],
  [{ prefix: '/FOO', caseSensitive: false }, '/foo', true],
  // The query is no part of the path.
  [{ prefix: '/foo?a' }, '/foo?a', false],
  [{ path: '/foo' }, '/foo', true],
  [{ path: '/foo' }, '/foo?a=b', true],
  [{ path: '/foo' }, '/foo#frag', true],
  [{ path: '/foo' }, '/foo/', false],
  [{ path: '/foo' }, '/foo;v=1', false],
  [{ path: '/Foo', caseSensitive: false }, '/fOO?x', true],
  [{ path: '/é' }, '/\xc3\xa9', true],
  [{ pathSeparatedPrefix: '/foo' }, '/foo', true],
  [{ pathSeparatedPrefix: '/foo' }, '/foo/bar', true],
  [{ pathSeparatedPrefix: '/foo' }, '/foo?x=/', true],
  [{ pathSeparatedPrefix: '/foo' }, '/foobar', false],
  [{ pathSeparatedPrefix: '/foo', caseSensitive: false }, '/FOO/x', true],
  [{ safeRegex: { regex: '/b[io]t' } }, '/bit', true],
  [{ safeRegex: { regex: '/b[io]t' } }, '/bot?x', true],
  [{ safeRegex: { regex: '/b[io]t' } }, '/bits', false],
  [{ safeRegex: { regex: '/b[io]t' } }, '/a/bit', false],
  // case_sensitive does not affect a regex.
  [{ safeRegex: { regex: '/bit' }, caseSensitive: false }, '/BIT', false],
];
for (const [rule, path, expected] of PATHS) {
  test(`${JSON.stringify(rule)} ${expected ? 'matches' : 'does not match'} ${path}`, () => {
    assert.equal(matches(rule, path), expected);
  });
}

test('connect_matcher takes CONNECT only, without a path too; other rules need a path', () => {
  const routes = tableOf(
    { match: { prefix: '/' }, route: { cluster: 'path' } },
    { match: { connectMatcher: {} }, route: { cluster: 'connect' } },
  );
  assert.equal(clusterOf(routes, 'h', '/'), 'path');
  const connect = request('h:443', '');
  connect.remove(':path');
  connect.set(':method', 'CONNECT');
  assert.equal(routes.route(connect, new StreamInfo(), 0)?.routeEntry?.clusterName, 'connect');
  assert.equal(matches({ connectMatcher: {} }, '/', { ':method': 'GET' }), false);
});

test('ignore_path_parameters_in_path_matching', () => {
  const match = (rule: RouteMatchConfig, path: string): boolean =>
    clusterOf(
      table({
        ignorePathParametersInPathMatching: true,
        virtualHosts: [{ name: 'v', domains: ['*'], routes: [{ match: rule, route: { cluster: 'c' } }] }],
      }),
      'h',
      path,
    ) === 'c';
  assert.equal(match({ path: '/foo' }, '/foo;v=1?x'), true);
  assert.equal(match({ path: '/foo;v=1' }, '/foo;v=1'), false);
  assert.equal(match({ safeRegex: { regex: '/foo' } }, '/foo;v=1'), true);
  assert.equal(match({ pathSeparatedPrefix: '/foo' }, '/foo;v'), true);
});

test('the first matching route wins', () => {
  const routes = tableOf(
    { match: { prefix: '/a' }, route: { cluster: 'a' } },
    { match: { prefix: '/a/b' }, route: { cluster: 'b' } },
    { match: { prefix: '/' }, route: { cluster: 'c' } },
  );
  assert.equal(clusterOf(routes, 'h', '/a/b'), 'a');
  assert.equal(clusterOf(routes, 'h', '/b'), 'c');
});

const HEADERS: [matcher: HeaderMatcherConfig, value: string | string[] | undefined, expected: boolean][] = [
  [{}, 'x', true],
  [{}, undefined, false],
  [{ presentMatch: true }, '', true],
  [{ presentMatch: true }, undefined, false],
  [{ presentMatch: false }, undefined, true],
  [{ presentMatch: false }, 'x', false],
  [{ presentMatch: true, invertMatch: true }, undefined, true],
  [{ presentMatch: true, invertMatch: true }, 'x', false],
  [{ presentMatch: false, invertMatch: true }, 'x', true],
  [{ presentMatch: true, treatMissingHeaderAsEmpty: true }, undefined, true],
  [{ exactMatch: 'v' }, 'v', true],
  [{ exactMatch: 'v' }, 'V', false],
  [{ exactMatch: 'v' }, undefined, false],
  // A missing header matches nothing, inverted or not.
  [{ exactMatch: 'v', invertMatch: true }, undefined, false],
  [{ exactMatch: 'v', invertMatch: true }, 'w', true],
  [{ exactMatch: 'v', invertMatch: true, treatMissingHeaderAsEmpty: true }, undefined, true],
  [{ stringMatch: { exact: '' }, treatMissingHeaderAsEmpty: true }, undefined, true],
  [{ stringMatch: { exact: 'v' } }, 'v', true],
  [{ stringMatch: { exact: 'V', ignoreCase: true } }, 'v', true],
  [{ stringMatch: { prefix: 'ab' } }, 'abc', true],
  [{ stringMatch: { prefix: 'AB', ignoreCase: true } }, 'abc', true],
  [{ stringMatch: { suffix: 'bc' } }, 'abc', true],
  [{ stringMatch: { contains: 'B', ignoreCase: true } }, 'abc', true],
  [{ stringMatch: { contains: 'x' } }, 'abc', false],
  [{ stringMatch: { safeRegex: { regex: 'a.c' } } }, 'abc', true],
  [{ stringMatch: { safeRegex: { regex: 'a.c' } } }, 'abcd', false],
  [{ stringMatch: { exact: 'é' } }, '\xc3\xa9', true],
  // All values are joined.
  [{ stringMatch: { exact: 'a,b' } }, ['a', 'b'], true],
  [{ prefixMatch: 'a' }, 'abc', true],
  [{ suffixMatch: 'c' }, 'abc', true],
  [{ containsMatch: 'b' }, 'abc', true],
  [{ safeRegexMatch: { regex: '\\d{3}' } }, '123', true],
  [{ safeRegexMatch: { regex: '\\d{3}' } }, '1234', false],
  [{ rangeMatch: { start: -10, end: 10 } }, '-10', true],
  [{ rangeMatch: { start: -10, end: 10 } }, '10', false],
  [{ rangeMatch: { start: -10, end: 10 } }, '9', true],
  [{ rangeMatch: { start: -10, end: 10 } }, '9.5', false],
  [{ rangeMatch: { start: -10, end: 10 } }, 'abc', false],
  [{ rangeMatch: { start: -10, end: 10 }, invertMatch: true }, 'abc', true],
];
for (const [config, value, expected] of HEADERS) {
  test(`header ${JSON.stringify(config)} and ${JSON.stringify(value) ?? 'nothing'}: ${expected}`, () => {
    for (const name of ['x-test', 'user-agent']) {
      const headers = request('h', '/');
      for (const one of value === undefined ? [] : [value].flat()) headers.add(name, one);
      assert.equal(compileHeaderMatcher({ name, ...config }).matches(headers), expected, name);
    }
  });
}

test('`host` in a header matcher is the authority; names are case-insensitive', () => {
  assert.equal(compileHeaderMatcher({ name: 'Host', stringMatch: { exact: 'h' } }).matches(request('h', '/')), true);
  assert.equal(compileHeaderMatcher({ name: 'X-Test' }).matches(request('h', '/', { 'x-test': '1' })), true);
});

test('headers are all needed', () => {
  const headers = [
    { name: 'a', presentMatch: true },
    { name: 'b', presentMatch: true },
  ];
  assert.equal(matches({ prefix: '/', headers }, '/', { a: '1' }), false);
  assert.equal(matches({ prefix: '/', headers }, '/', { a: '1', b: '2' }), true);
});

const QUERIES: [matcher: Omit<QueryParameterMatcherConfig, 'name'>, path: string, expected: boolean][] = [
  [{}, '/?q', true],
  [{}, '/?r', false],
  [{}, '/', false],
  [{ presentMatch: true }, '/?a=1&q=2', true],
  [{ presentMatch: false }, '/?a=1', true],
  [{ presentMatch: false }, '/?q', false],
  [{ stringMatch: { exact: '1' } }, '/?q=1', true],
  [{ stringMatch: { exact: '1' } }, '/?q=1&q=2', true],
  // Only the first occurrence counts.
  [{ stringMatch: { exact: '2' } }, '/?q=1&q=2', false],
  [{ stringMatch: { exact: '' } }, '/?q', true],
  [{ stringMatch: { safeRegex: { regex: '[0-9]+' } } }, '/?x=a&q=42', true],
  [{ stringMatch: { prefix: 'a=' } }, '/?q=a=b', true],
];
for (const [config, path, expected] of QUERIES) {
  test(`query parameter ${JSON.stringify(config)} and ${path}: ${expected}`, () => {
    assert.equal(matches({ prefix: '/', queryParameters: [{ name: 'q', ...config }] }, path), expected);
  });
}

test('query parameters are not decoded', () => {
  assert.equal(queryParameter('/?q=%20x', 'q'), '%20x');
  assert.equal(queryParameter('/?&&q=', 'q'), '');
  assert.equal(queryParameter('/?qq=1', 'q'), undefined);
});

test('grpc looks at the content type', () => {
  const match = { prefix: '/', grpc: {} };
  assert.equal(matches(match, '/', { 'content-type': 'application/grpc' }), true);
  assert.equal(matches(match, '/', { 'content-type': 'application/grpc+proto' }), true);
  assert.equal(matches(match, '/', { 'content-type': 'application/grpc-web' }), false);
  assert.equal(matches(match, '/'), false);
});

test('runtime_fraction goes by the random value of the stream', () => {
  const runtime = createRuntime([{ name: 'admin', adminLayer: {} }]);
  const runtimeFraction = { defaultValue: { numerator: 30, denominator: 'HUNDRED' as const }, runtimeKey: 'k' };
  const routes = table(
    {
      virtualHosts: [
        { name: 'v', domains: ['*'], routes: [{ match: { prefix: '/', runtimeFraction }, route: { cluster: 'c' } }] },
      ],
    },
    { runtime },
  );
  const count = (): number =>
    Array.from({ length: 100 }, (_, random) => clusterOf(routes, 'h', '/', {}, random + 700)).filter((c) => c === 'c').length;
  assert.equal(count(), 30);
  assert.equal(runtime.modify({ k: '55' }), null);
  assert.equal(count(), 55);
  runtime.modify({ k: '{numerator: 0}' });
  assert.equal(count(), 0);
});

test('dynamic_metadata', () => {
  const routes = tableOf({
    match: {
      prefix: '/',
      dynamicMetadata: [{ filter: 'f', path: [{ key: 'a' }, { key: 'b' }], value: { stringMatch: { exact: 'x' } } }],
    },
    route: { cluster: 'c' },
  });
  const info = new StreamInfo();
  assert.equal(routes.route(request('h', '/'), info, 0), null);
  info.dynamicMetadata = { f: { a: { b: 'x' } } };
  assert.notEqual(routes.route(request('h', '/'), info, 0), null);
});

const ERRORS: [match: RouteMatchConfig, reason: string | RegExp, path: string][] = [
  [{ safeRegex: { regex: '(' } }, 'missing ): (', 'match.safe_regex'],
  [{ prefix: '/', tlsContext: { presented: true } }, 'tls_context is not supported', 'match.tls_context'],
  [{ prefix: '/', filterState: [{}] }, 'filter_state is not supported', 'match.filter_state'],
  [{ pathMatchPolicy: {} }, 'path_match_policy is not supported', 'match'],
  [{}, 'Invalid route config', 'match'],
  [
    { prefix: '/', headers: [{ name: 'a', stringMatch: { safeRegex: { regex: 'a' }, ignoreCase: true } }] },
    'ignore_case has no effect for safe_regex.',
    'match.headers[0].string_match',
  ],
  [
    { prefix: '/', headers: [{ name: 'a', safeRegexMatch: { regex: '*' } }] },
    'no argument for repetition operator: *',
    'match.headers[0].safe_regex_match',
  ],
];
for (const [match, reason, path] of ERRORS) {
  test(`match error: ${reason}`, () => {
    const error = configError(() => tableOf({ match, route: { cluster: 'c' } }));
    assert.equal(error.reason, reason);
    assert.equal(error.path, `virtual_hosts[0].routes[0].${path}`);
  });
}
