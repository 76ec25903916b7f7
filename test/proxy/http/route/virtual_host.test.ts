/** Which virtual host a request gets, and require_tls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { VirtualHostConfig } from '../../../../src/proxy/http/route/config_types.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import { clusterOf, configError, headersInSlab, request, routeOf, table } from './support.ts';

function host(...domains: string[]): VirtualHostConfig {
  return { name: domains[0], domains, routes: [{ match: { prefix: '/' }, route: { cluster: domains[0] } }] };
}

const DOMAINS = ['*', 'www.foo.com', '*.foo.com', '*-bar.foo.com', 'foo.*', 'foo.baz.*', 'bat.com:8080', '[::1]:80'];
const hosts = DOMAINS.map((domain) => host(domain));

const PICKS: [authority: string, domain: string][] = [
  ['www.foo.com', 'www.foo.com'],
  ['WWW.Foo.COM', 'www.foo.com'],
  ['a.foo.com', '*.foo.com'],
  ['a.b.foo.com', '*.foo.com'],
  // A wildcard stands for at least one character.
  ['.foo.com', '*'],
  ['foo.com', 'foo.*'],
  ['foo-bar.foo.com', '*-bar.foo.com'],
  ['foo.baz.net', 'foo.baz.*'],
  ['foo.bar.net', 'foo.*'],
  ['foo.', '*'],
  // Suffixes before prefixes.
  ['foo.x.foo.com', '*.foo.com'],
  ['bat.com', '*'],
  ['bat.com:8080', 'bat.com:8080'],
  ['www.foo.com:80', '*'],
  ['[::1]:80', '[::1]:80'],
  ['', '*'],
];

for (const [authority, domain] of PICKS) {
  test(`host "${authority}" goes to ${domain}`, () => {
    assert.equal(clusterOf(table({ virtualHosts: hosts }), authority, '/'), domain);
  });
}

test('without a catch-all an unknown host has no route', () => {
  assert.equal(routeOf(table({ virtualHosts: [host('a.com')] }), 'b.com', '/'), null);
});

test('no other virtual host is tried when no route matches', () => {
  const routes = table({
    virtualHosts: [host('*'), { name: 'a', domains: ['a.com'], routes: [{ match: { path: '/x' }, route: { cluster: 'a' } }] }],
  });
  assert.equal(clusterOf(routes, 'a.com', '/x'), 'a');
  assert.equal(clusterOf(routes, 'a.com', '/y'), null);
});

test('a missing host has no route, except in a table of `*` only', () => {
  const headers = headersInSlab([
    [':method', 'GET'],
    [':path', '/'],
  ]);
  assert.equal(table({ virtualHosts: hosts }).route(headers, new StreamInfo(), 0), null);
  assert.equal(table({ virtualHosts: [host('*')] }).route(headers, new StreamInfo(), 0)?.routeEntry?.clusterName, '*');
  headers.release();
});

test('ignore_port_in_host_matching', () => {
  const routes = table({ ignorePortInHostMatching: true, virtualHosts: [host('a.com'), host('[::1]'), host('*')] });
  assert.equal(clusterOf(routes, 'a.com:8080', '/'), 'a.com');
  assert.equal(clusterOf(routes, '[::1]:8080', '/'), '[::1]');
  assert.equal(clusterOf(routes, '[::1]', '/'), '[::1]');
});

test('hosts that share a slot of the cache do not get mixed up', () => {
  const names = Array.from({ length: 40 }, (_, i) => `host${i}.example`);
  const routes = table({ virtualHosts: [...names.map((name) => host(name)), host('*')] });
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...names), fc.stringMatching(/^[a-z0-9.]{0,140}$/)), { maxLength: 60 }),
      (requested) => {
        for (const name of requested) assert.equal(clusterOf(routes, name, '/'), names.includes(name) ? name : '*');
      },
    ),
    { numRuns: 50 },
  );
});

test('require_tls redirects plain requests', () => {
  const routes = table({ virtualHosts: [{ ...host('*'), requireTls: 'ALL' }] });
  const route = routeOf(routes, 'a.com:8080', '/x?y=1');
  assert.equal(route?.directResponse?.status, 301);
  assert.equal(route.directResponse.newUri(request('a.com:8080', '/x?y=1')), 'https://a.com:8080/x?y=1');
  assert.equal(clusterOf(routes, 'a.com', '/', { 'x-forwarded-proto': 'https' }), '*');
  assert.equal(clusterOf(routes, 'a.com', '/', { 'x-envoy-internal': 'true' }), null);
});

test('require_tls EXTERNAL_ONLY spares internal requests', () => {
  const routes = table({ virtualHosts: [{ ...host('*'), requireTls: 'EXTERNAL_ONLY' }] });
  assert.equal(routeOf(routes, 'a.com', '/')?.directResponse?.status, 301);
  assert.equal(clusterOf(routes, 'a.com', '/', { 'x-envoy-internal': 'true' }), '*');
});

test('duplicate domains are errors in Envoy words', () => {
  const duplicate = configError(() => table({ name: 'r', virtualHosts: [host('a.com'), host('A.com')] }));
  assert.equal(duplicate.reason, 'Only unique values for domains are permitted. Duplicate entry of domain a.com in route r');
  assert.equal(duplicate.path, 'virtual_hosts[1].domains[0]');
  const suffix = configError(() => table({ name: 'r', virtualHosts: [host('*.a.com', '*.a.com')] }));
  assert.equal(suffix.reason, 'Only unique values for domains are permitted. Duplicate entry of domain *.a.com in route r');
  assert.equal(configError(() => table({ name: 'r', virtualHosts: [host('a.*', 'a.*')] })).path, 'virtual_hosts[0].domains[1]');
  const twice = configError(() => table({ name: 'r', virtualHosts: [host('*'), host('*')] }));
  assert.equal(twice.reason, 'Only a single wildcard domain is permitted in route r');
});

test('what is named literally is listed once', () => {
  const routes = table({ virtualHosts: [host('a'), host('b'), { ...host('c'), routes: host('a').routes }] });
  assert.deepEqual(routes.clusterNames(), ['a', 'b']);
});

const UNSUPPORTED: [string, () => unknown][] = [
  ['vhds', () => table({ vhds: {} })],
  ['cluster_specifier_plugins', () => table({ clusterSpecifierPlugins: [{}] })],
  ['virtual_hosts[0].matcher', () => table({ virtualHosts: [{ ...host('*'), matcher: {} }] })],
  ['virtual_hosts[0].virtual_clusters', () => table({ virtualHosts: [{ ...host('*'), virtualClusters: [{}] }] })],
  ['virtual_hosts[0].hedge_policy', () => table({ virtualHosts: [{ ...host('*'), hedgePolicy: {} }] })],
];
for (const [path, act] of UNSUPPORTED) {
  test(`${path} is refused`, () => {
    const error = configError(act);
    assert.equal(error.path, path);
    assert.match(error.reason, / is not supported$/);
  });
}
