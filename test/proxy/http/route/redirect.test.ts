/** Redirects and direct responses. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type {
  DirectResponseActionConfig,
  RedirectActionConfig,
  RouteMatchConfig,
} from '../../../../src/proxy/http/route/config_types.ts';
import type { DirectResponseEntry } from '../../../../src/proxy/http/route/route.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';
import { configError, context, type Extra, request, routeOf, table, tableOf } from './support.ts';

function answer(routes: ReturnType<typeof table>, authority = 'a.com', path = '/'): DirectResponseEntry {
  const entry = routeOf(routes, authority, path)?.directResponse;
  assert.ok(entry);
  return entry;
}

const HTTPS: Extra = { ':scheme': 'https', 'x-forwarded-proto': 'https' };

const LOCATIONS: [redirect: RedirectActionConfig, match: RouteMatchConfig, from: [string, string, Extra?], expected: string][] = [
  [{ httpsRedirect: true }, { prefix: '/' }, ['a.com', '/x?y'], 'https://a.com/x?y'],
  [{ schemeRedirect: 'ftp' }, { prefix: '/' }, ['a.com', '/'], 'ftp://a.com/'],
  [{ hostRedirect: 'new.com' }, { prefix: '/' }, ['a.com:81', '/p'], 'http://new.com/p'],
  [{ portRedirect: 8080 }, { prefix: '/' }, ['a.com:81', '/p'], 'http://a.com:8080/p'],
  [{ portRedirect: 8080 }, { prefix: '/' }, ['[::1]:81', '/p'], 'http://[::1]:8080/p'],
  [{ portRedirect: 8080 }, { prefix: '/' }, ['[::1]', '/p'], 'http://[::1]:8080/p'],
  [{ hostRedirect: 'new.com', portRedirect: 1 }, { prefix: '/' }, ['a.com', '/p'], 'http://new.com:1/p'],
  // Default ports go when the scheme changes, others stay.
  [{ httpsRedirect: true }, { prefix: '/' }, ['a.com:80', '/'], 'https://a.com/'],
  [{ httpsRedirect: true }, { prefix: '/' }, ['a.com:81', '/'], 'https://a.com:81/'],
  [{ httpsRedirect: true }, { prefix: '/' }, ['a.com:443', '/', HTTPS], 'https://a.com:443/'],
  [{ schemeRedirect: 'http' }, { prefix: '/' }, ['a.com:443', '/', HTTPS], 'http://a.com/'],
  [{ httpsRedirect: true }, { prefix: '/' }, ['[fe80::1]:80', '/'], 'https://[fe80::1]/'],
  [{ pathRedirect: '/new' }, { prefix: '/' }, ['a.com', '/old?q=1'], 'http://a.com/new?q=1'],
  [{ pathRedirect: 'new' }, { prefix: '/' }, ['a.com', '/old'], 'http://a.com/new'],
  // Its own query takes the place of the request's, even with strip_query.
  [{ pathRedirect: '/new?foo=1' }, { prefix: '/' }, ['a.com', '/old?bar=1'], 'http://a.com/new?foo=1'],
  [{ pathRedirect: '/new?foo=1', stripQuery: true }, { prefix: '/' }, ['a.com', '/old?bar=1'], 'http://a.com/new?foo=1'],
  [{ pathRedirect: '/new', stripQuery: true }, { prefix: '/' }, ['a.com', '/old?bar=1'], 'http://a.com/new'],
  [{ httpsRedirect: true, stripQuery: true }, { prefix: '/' }, ['a.com', '/old?bar=1'], 'https://a.com/old'],
  [{ prefixRewrite: '/new' }, { prefix: '/old' }, ['a.com', '/old/x?bar=1'], 'http://a.com/new/x?bar=1'],
  [{ prefixRewrite: '/' }, { path: '/old' }, ['a.com', '/old?bar=1'], 'http://a.com/?bar=1'],
  [{ prefixRewrite: '/new', stripQuery: true }, { prefix: '/old' }, ['a.com', '/old/x?bar=1'], 'http://a.com/new/x'],
  [
    { regexRewrite: { pattern: { regex: '^/([a-z]+)/(.*)$' }, substitution: '/\\2/\\1' }, httpsRedirect: true },
    { prefix: '/' },
    ['a.com', '/x/y?q'],
    'https://a.com/y/x?q',
  ],
];
for (const [redirect, match, [authority, path, extra], expected] of LOCATIONS) {
  test(`redirect ${JSON.stringify(redirect)} of ${authority}${path} goes to ${expected}`, () => {
    const entry = answer(tableOf({ match, redirect }), authority, path);
    assert.equal(entry.newUri(request(authority, path, extra)), expected);
    assert.equal(entry.status, 301);
  });
}

test('redirect response codes', () => {
  const codes = { MOVED_PERMANENTLY: 301, FOUND: 302, SEE_OTHER: 303, TEMPORARY_REDIRECT: 307, PERMANENT_REDIRECT: 308 } as const;
  for (const [responseCode, status] of Object.entries(codes)) {
    const redirect = { responseCode: responseCode as keyof typeof codes };
    assert.equal(answer(tableOf({ match: { prefix: '/' }, redirect })).status, status);
  }
});

function direct(directResponse: DirectResponseActionConfig, limit?: number): DirectResponseEntry {
  const routes = [{ match: { prefix: '/' }, directResponse }];
  return answer(table({ maxDirectResponseBodySizeBytes: limit, virtualHosts: [{ name: 'v', domains: ['*'], routes }] }));
}

test('direct responses: status, body, location', () => {
  const plain = direct({ status: 200, body: { inlineString: 'hé' } });
  assert.equal(plain.status, 200);
  assert.equal(plain.body, 'hé');
  assert.equal(plain.newUri(request('a.com', '/x')), undefined);
  assert.equal(direct({ status: 204 }).body, '');
  assert.equal(direct({ status: 200, body: { inlineBytes: Uint8Array.of(104, 105) } }).body, 'hi');
  assert.equal(direct({ status: 201 }).newUri(request('a.com', '/x?y')), 'http://a.com/x?y');
  assert.equal(direct({ status: 302 }).newUri(request('a.com', '/x')), 'http://a.com/x');
});

test('direct response bodies from files and the environment', () => {
  const directory = mkdtempSync(join(tmpdir(), 'routing-'));
  try {
    const filename = join(directory, 'body');
    writeFileSync(filename, 'from a file');
    assert.equal(direct({ status: 200, body: { filename } }).body, 'from a file');
    assert.equal(
      configError(() => direct({ status: 200, body: { filename } }, 4)).reason,
      `response body file ${filename} size is 11 bytes; maximum is 4`,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
  assert.equal(
    configError(() => direct({ status: 200, body: { filename: '/nope' } })).reason,
    'response body file /nope does not exist',
  );
  process.env.SLUICE_TEST_BODY = 'from the environment';
  assert.equal(direct({ status: 200, body: { environmentVariable: 'SLUICE_TEST_BODY' } }).body, 'from the environment');
  delete process.env.SLUICE_TEST_BODY;
  assert.match(
    configError(() => direct({ status: 200, body: { environmentVariable: 'SLUICE_TEST_BODY' } })).reason,
    /doesn't exist/,
  );
});

test('direct response limits', () => {
  const big = { status: 200, body: { inlineString: 'x'.repeat(4097) } };
  assert.equal(configError(() => direct(big)).reason, 'response body size is 4097 bytes; maximum is 4096');
  assert.equal(direct(big, 4097).body.length, 4097);
  assert.equal(configError(() => direct({ status: 199 })).path, 'virtual_hosts[0].routes[0].direct_response.status');
  assert.match(configError(() => direct({ status: 200, body: { inlineBytes: Uint8Array.of(0xff) } })).reason, /UTF-8/);
  assert.match(configError(() => direct({ status: 200, bodyFormat: {} })).reason, /^body_format is not supported/);
});

test('response headers of all levels apply to answers', () => {
  const add = (key: string) => [{ header: { key, value: '1' } }];
  const routes = table({
    responseHeadersToAdd: add('x-table'),
    virtualHosts: [
      {
        name: 'v',
        domains: ['*'],
        responseHeadersToAdd: add('x-vhost'),
        routes: [{ match: { prefix: '/' }, directResponse: { status: 200 }, responseHeadersToAdd: add('x-route') }],
      },
    ],
  });
  const headers = request('a.com', '/');
  answer(routes).finalizeResponseHeaders(headers, context(headers), new StreamInfo());
  for (const name of ['x-table', 'x-vhost', 'x-route']) assert.equal(headers.get(name), '1', name);
});

test('a route needs an action that is supported', () => {
  assert.equal(
    configError(() => tableOf({ match: { prefix: '/' } })).reason,
    'one of route, redirect, direct_response is required',
  );
  assert.equal(
    configError(() => tableOf({ match: { prefix: '/' }, nonForwardingAction: {} })).reason,
    'non_forwarding_action is not supported',
  );
  assert.equal(configError(() => tableOf({ match: { prefix: '/' }, filterAction: {} })).reason, 'filter_action is not supported');
});
