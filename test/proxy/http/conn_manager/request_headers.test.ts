/** What a request's headers look like upstream, by who sent it and how the connection manager is configured. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, request, TestProxy } from '../support/proxy.ts';

const INTERNAL = { internalAddressConfig: { unixSockets: false, cidrRanges: [] } };
const EDGE = { useRemoteAddress: true, ...INTERNAL };

interface Case {
  name: string;
  hcm?: Record<string, unknown>;
  remote?: string;
  sent?: Record<string, string>;
  /** undefined: must not be there. */
  expect: Record<string, string | undefined>;
  client?: string;
}

const CASES: Case[] = [
  {
    name: 'not using the remote address, no xff: nothing is added, the client is the peer',
    expect: {
      'x-forwarded-for': undefined,
      'x-forwarded-proto': 'http',
      'x-envoy-internal': undefined,
      'x-envoy-external-address': undefined,
    },
    client: '203.0.113.9:5555',
  },
  {
    name: 'not using the remote address: the last xff entry is the client, the header stays',
    sent: { 'x-forwarded-for': '1.2.3.4, 5.6.7.8' },
    expect: { 'x-forwarded-for': '1.2.3.4, 5.6.7.8' },
    client: '5.6.7.8:0',
  },
  {
    name: 'one trusted hop: the second from the right',
    hcm: { xffNumTrustedHops: 1 },
    sent: { 'x-forwarded-for': '1.2.3.4, 5.6.7.8' },
    expect: {},
    client: '1.2.3.4:0',
  },
  {
    name: 'too few entries: the peer',
    hcm: { xffNumTrustedHops: 3 },
    sent: { 'x-forwarded-for': '1.2.3.4' },
    expect: {},
    client: '203.0.113.9:5555',
  },
  {
    name: 'a single internal xff entry makes the request internal',
    hcm: INTERNAL,
    sent: { 'x-forwarded-for': '10.1.2.3' },
    expect: { 'x-envoy-internal': 'true' },
  },
  {
    name: 'several xff entries never do',
    hcm: INTERNAL,
    sent: { 'x-forwarded-for': '10.1.2.3, 10.1.2.4' },
    expect: { 'x-envoy-internal': undefined },
  },
  {
    name: 'edge: the peer is appended to xff, and is the client',
    hcm: EDGE,
    sent: { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'https', 'x-request-id': 'mine' },
    expect: {
      'x-forwarded-for': '1.2.3.4,203.0.113.9',
      'x-forwarded-proto': 'http',
      'x-envoy-external-address': '203.0.113.9',
      'x-envoy-internal': undefined,
    },
    client: '203.0.113.9:5555',
  },
  {
    name: 'edge behind one trusted proxy: what it says about proto and client counts',
    hcm: { ...EDGE, xffNumTrustedHops: 1 },
    sent: { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'https' },
    expect: { 'x-forwarded-for': '1.2.3.4,203.0.113.9', 'x-forwarded-proto': 'https', 'x-envoy-external-address': '1.2.3.4' },
    client: '1.2.3.4:0',
  },
  {
    name: 'edge: skip_xff_append',
    hcm: { ...EDGE, skipXffAppend: true },
    sent: { 'x-forwarded-for': '1.2.3.4' },
    expect: { 'x-forwarded-for': '1.2.3.4' },
  },
  {
    name: 'edge: a loopback peer is named by this host',
    hcm: EDGE,
    remote: '127.0.0.1:9',
    expect: { 'x-forwarded-for': '192.0.2.1', 'x-envoy-internal': 'true' },
  },
  {
    name: 'edge: an internal peer without xff is internal and keeps its steering headers',
    hcm: EDGE,
    remote: '192.168.7.7:9',
    sent: { 'x-envoy-original-path': '/was', 'x-envoy-force-trace': '1' },
    expect: {
      'x-envoy-internal': 'true',
      'x-envoy-original-path': '/was',
      'x-envoy-force-trace': '1',
      'x-envoy-external-address': undefined,
      'x-forwarded-for': '192.168.7.7',
    },
  },
  {
    name: 'edge: an external peer loses every internal header',
    hcm: EDGE,
    sent: {
      'x-envoy-internal': 'true',
      'x-envoy-decorator-operation': 'a',
      'x-envoy-downstream-service-cluster': 'a',
      'x-envoy-downstream-service-node': 'a',
      'x-envoy-original-path': '/a',
      'x-envoy-original-host': 'a',
      'x-envoy-retriable-status-codes': '400',
      'x-envoy-retry-on': '5xx',
      'x-envoy-max-retries': '9',
      'x-envoy-upstream-rq-timeout-ms': '1',
      'x-envoy-expected-rq-timeout-ms': '1',
      'x-envoy-force-trace': 'a',
      'x-envoy-ip-tags': 'a',
      'x-envoy-original-url': 'a',
    },
    expect: {
      'x-envoy-internal': undefined,
      'x-envoy-decorator-operation': undefined,
      'x-envoy-downstream-service-cluster': undefined,
      'x-envoy-downstream-service-node': undefined,
      'x-envoy-original-path': undefined,
      'x-envoy-original-host': undefined,
      'x-envoy-retriable-status-codes': undefined,
      'x-envoy-retry-on': undefined,
      'x-envoy-max-retries': undefined,
      'x-envoy-upstream-rq-timeout-ms': undefined,
      'x-envoy-expected-rq-timeout-ms': '15000',
      'x-envoy-force-trace': undefined,
      'x-envoy-ip-tags': undefined,
      'x-envoy-original-url': undefined,
    },
  },
  {
    name: 'not edge: the edge-only headers of an external peer stay',
    hcm: INTERNAL,
    sent: { 'x-envoy-original-path': '/a', 'x-envoy-retry-on': '5xx' },
    expect: { 'x-envoy-original-path': '/a', 'x-envoy-retry-on': undefined },
  },
  {
    name: 'hop-by-hop headers are dropped, te is reduced',
    sent: { connection: 'keep-alive', 'keep-alive': 'timeout=5', 'proxy-connection': 'keep-alive', te: 'gzip, trailers' },
    expect: { 'keep-alive': undefined, 'proxy-connection': undefined, te: 'trailers' },
  },
  { name: 'a referer with a fragment is dropped', sent: { referer: 'http://a.test/x#y' }, expect: { referer: undefined } },
  { name: 'a referer with a user is dropped', sent: { referer: 'http://me@a.test/x' }, expect: { referer: undefined } },
  { name: 'a good referer stays', sent: { referer: 'https://a.test/x?y=1' }, expect: { referer: 'https://a.test/x?y=1' } },
  {
    name: 'a request id of the client stays where it is not the edge',
    sent: { 'x-request-id': 'mine' },
    expect: { 'x-request-id': 'mine' },
  },
  {
    name: 'preserve_external_request_id keeps it at the edge',
    hcm: { ...EDGE, preserveExternalRequestId: true },
    sent: { 'x-request-id': 'mine' },
    expect: { 'x-request-id': 'mine' },
  },
  { name: 'generate_request_id off', hcm: { generateRequestId: false }, expect: { 'x-request-id': undefined } },
  { name: 'via is appended', hcm: { via: '1.1 me' }, sent: { via: '1.0 them' }, expect: { via: '1.0 them, 1.1 me' } },
  {
    name: 'add_user_agent',
    hcm: { addUserAgent: true },
    expect: { 'user-agent': 'front', 'x-envoy-downstream-service-cluster': 'front', 'x-envoy-downstream-service-node': 'node-1' },
  },
  { name: 'append_x_forwarded_port', hcm: { ...EDGE, appendXForwardedPort: true }, expect: { 'x-forwarded-port': '10000' } },
  {
    name: 'represent_ipv4_remote_address_as_ipv4_mapped_ipv6',
    hcm: { ...EDGE, representIpv4RemoteAddressAsIpv4MappedIpv6: true },
    expect: { 'x-forwarded-for': '::ffff:203.0.113.9' },
  },
  { name: 'an ipv6 peer', hcm: EDGE, remote: '[2001:db8::1]:80', expect: { 'x-forwarded-for': '2001:db8::1' } },
  {
    name: 'scheme_to_overwrite sets x-forwarded-proto, too',
    hcm: { schemeHeaderTransformation: { schemeToOverwrite: 'https', matchUpstream: false } },
    expect: { 'x-forwarded-proto': 'https' },
  },
  { name: 'strip_any_host_port', hcm: { stripAnyHostPort: true }, sent: { host: 'a.test:8443' }, expect: { host: 'a.test' } },
  {
    name: 'strip_matching_host_port keeps others',
    hcm: { stripMatchingHostPort: true },
    sent: { host: 'a.test:8443' },
    expect: { host: 'a.test:8443' },
  },
  {
    name: 'strip_matching_host_port',
    hcm: { stripMatchingHostPort: true },
    sent: { host: 'a.test:10000' },
    expect: { host: 'a.test' },
  },
  {
    name: 'strip_trailing_host_dot',
    hcm: { stripTrailingHostDot: true },
    sent: { host: 'a.test.:81' },
    expect: { host: 'a.test:81' },
  },
  {
    name: 'x-forwarded-client-cert is never taken from a plain client',
    sent: { 'x-forwarded-client-cert': 'By=x' },
    expect: { 'x-forwarded-client-cert': undefined },
  },
];

for (const { name, hcm, remote, sent, expect, client } of CASES) {
  test(name, () => {
    const proxy = new TestProxy({ hcm });
    const connection = proxy.connect(remote);
    connection.receive(request('/', sent));
    const upstream = proxy.upstream();
    const { headers } = parse(upstream.takeSent());
    for (const [header, value] of Object.entries(expect)) assert.equal(headers[header], value, header);
    upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    if (client !== undefined) assert.equal(proxy.lastLog.remote, client);
    proxy.finish();
  });
}

test('edge: the request id of an external client is replaced', () => {
  const proxy = new TestProxy({ hcm: EDGE });
  const ids = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const client = proxy.connect();
    client.receive(request('/', { 'x-request-id': 'mine' }));
    const upstream = proxy.upstream();
    ids.add(parse(upstream.takeSent()).headers['x-request-id']);
    upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  }
  assert.equal(ids.size, 50);
  assert.ok(!ids.has('mine'));
  proxy.finish();
});

const REFUSALS: {
  name: string;
  head: string;
  hcm?: Record<string, unknown>;
  status: number;
  details: string;
  location?: string;
}[] = [
  { name: 'no host', head: 'GET / HTTP/1.1\r\n\r\n', status: 400, details: 'missing_host_header' },
  { name: 'HTTP/1.0', head: 'GET / HTTP/1.0\r\nhost: a\r\n\r\n', status: 426, details: 'low_version' },
  { name: 'OPTIONS *', head: 'OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n', status: 404, details: 'absolute_path_rejected' },
  {
    name: 'a fragment',
    head: 'GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n',
    status: 400,
    details: 'path_normalization_failed',
  },
  {
    name: 'escaped slashes refused',
    head: 'GET /a%2Fb HTTP/1.1\r\nhost: a\r\n\r\n',
    hcm: { pathWithEscapedSlashesAction: 'REJECT_REQUEST' },
    status: 400,
    details: 'path_normalization_failed',
  },
  {
    name: 'escaped slashes redirected',
    head: 'GET /a%2Fb?x HTTP/1.1\r\nhost: a\r\n\r\n',
    hcm: { pathWithEscapedSlashesAction: 'UNESCAPE_AND_REDIRECT' },
    status: 307,
    details: 'path_normalization_failed',
    location: '/a/b?x',
  },
];

for (const { name, head, hcm, status, details, location } of REFUSALS) {
  test(`refused: ${name}`, () => {
    const proxy = new TestProxy({ hcm });
    const client = proxy.connect();
    client.receive(head);
    const response = parse(client.takeSent());
    assert.equal(response.start.split(' ')[1], String(status));
    assert.equal(response.headers.location, location);
    assert.equal(proxy.lastLog.details, details);
    assert.equal(proxy.upstreams.length, 0);
    proxy.finish();
  });
}

test('paths are normalised before routing', () => {
  const proxy = new TestProxy({ hcm: { normalizePath: true, mergeSlashes: true } });
  const client = proxy.connect();
  client.receive(request('/a/./b//../c?d=//'));
  assert.equal(parse(proxy.upstream().takeSent()).start, 'GET /a/b/c?d=// HTTP/1.1');
  proxy.finish();
});
