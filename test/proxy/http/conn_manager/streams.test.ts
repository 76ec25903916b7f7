/** Requests and responses of every shape through the whole proxy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flag } from '../../../../src/proxy/stream_info/stream_info.ts';
import { ConnectionCloseType } from '../support/fakes.ts';
import { parse, request, TestProxy } from '../support/proxy.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const DIRECT = [{ match: { prefix: '/' }, directResponse: { status: 200, body: { inlineString: 'hi' } } }];

test('pipelined requests are answered in order, one at a time', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request('/1') + request('/2') + request('/3'));
  for (const path of ['/1', '/2', '/3']) {
    const upstream = proxy.upstream();
    assert.equal(parse(upstream.takeSent()).start, `GET ${path} HTTP/1.1`);
    assert.equal(upstream.takeSent(), '');
    upstream.receive(OK);
    assert.equal(parse(client.takeSent()).body, 'ok');
  }
  assert.equal(proxy.upstreams.length, 1);
  proxy.finish();
});

test('pipelined direct responses come out of one read', () => {
  const proxy = new TestProxy({ routes: DIRECT });
  const client = proxy.connect();
  client.receive(request('/1').repeat(5));
  assert.equal(client.takeSent().split('HTTP/1.1 200 OK').length - 1, 5);
  assert.equal(proxy.logged.length, 5);
  proxy.finish();
});

test('HEAD keeps the length and has no body', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request('/', {}, 'HEAD'));
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n');
  const response = parse(client.takeSent());
  assert.equal(response.headers['content-length'], '500');
  assert.equal(response.body, '');
  client.receive(request('/none', {}, 'GET'));
  proxy.upstream().receive(OK);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('a local reply to HEAD has a length and no body', () => {
  const proxy = new TestProxy({ routes: DIRECT });
  const client = proxy.connect();
  client.receive(request('/', {}, 'HEAD'));
  const response = parse(client.takeSent());
  assert.equal(response.headers['content-length'], '2');
  assert.equal(response.body, '');
  proxy.finish();
});

test('expect: 100-continue is answered here, and not passed on', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n');
  assert.equal(client.takeSent(), 'HTTP/1.1 100 Continue\r\n\r\n');
  const upstream = proxy.upstream();
  client.receive('ab');
  const sent = parse(upstream.takeSent());
  assert.equal(sent.headers.expect, undefined);
  assert.equal(sent.body, 'ab');
  upstream.receive(OK);
  assert.equal(parse(client.takeSent()).body, 'ok');
  assert.equal(proxy.counter('http.in.downstream_rq_1xx'), 1);
  proxy.finish();
});

test("proxy_100_continue passes expect on, and the upstream's answer back", () => {
  const proxy = new TestProxy({ hcm: { proxy100Continue: true } });
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n');
  const upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers.expect, '100-continue');
  upstream.receive('HTTP/1.1 100 Continue\r\n\r\n');
  assert.match(client.takeSent(), /^HTTP\/1.1 100 Continue\r\n/);
  client.receive('ab');
  upstream.receive(OK);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('chunked bodies pass both ways', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
  const upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers['transfer-encoding'], 'chunked');
  client.receive('2\r\nde\r\n0\r\n\r\n');
  assert.equal(upstream.takeSent(), '2\r\nde\r\n0\r\n\r\n');
  upstream.receive('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwxyz\r\n');
  assert.equal(parse(client.takeSent()).body, '4\r\nwxyz\r\n');
  upstream.receive('0\r\n\r\n');
  assert.equal(client.takeSent(), '0\r\n\r\n');
  assert.equal(proxy.lastLog.bytesReceived, 5);
  assert.equal(proxy.lastLog.bytesSent, 4);
  proxy.finish();
});

test('trailers pass when they are enabled', () => {
  const proxy = new TestProxy({ hcm: { httpProtocolOptions: { enableTrailers: true } } });
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\n\r\n');
  const upstream = proxy.upstream();
  upstream.takeSent();
  upstream.receive(OK);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('connection: close of the client closes after the response', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request('/', { connection: 'close' }));
  const upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers.connection, undefined);
  upstream.receive(OK);
  assert.equal(parse(client.takeSent()).headers.connection, 'close');
  assert.equal(client.closeType, ConnectionCloseType.FlushWrite);
  assert.equal(upstream.state, 'open');
  proxy.finish();
});

test('a response before the request is complete ends the connection, with a delay', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc');
  const upstream = proxy.upstream();
  upstream.receive(OK);
  const response = parse(client.takeSent());
  assert.equal(response.headers.connection, 'close');
  assert.equal(response.body, 'ok');
  assert.equal(client.closeType, ConnectionCloseType.FlushWriteAndDelay);
  assert.equal(upstream.state, 'closed');
  assert.equal(proxy.counter('http.in.downstream_rq_response_before_rq_complete'), 1);
  proxy.finish();
});

test('a request that is no HTTP gets 400 and the connection ends', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive('GET / HTTP/1.1\r\nbad header\r\n\r\n');
  assert.match(client.takeSent(), /^HTTP\/1.1 400 Bad Request\r\n/);
  assert.equal(client.closeType, ConnectionCloseType.FlushWriteAndDelay);
  assert.equal(proxy.counter('http.in.downstream_cx_protocol_error'), 1);
  assert.equal(proxy.counter('http.in.downstream_rq_4xx'), 1);
  proxy.finish();
});

test('AUTO waits while the bytes may be the HTTP/2 preface, and takes HTTP/2 when they are', () => {
  const proxy = new TestProxy({ routes: DIRECT });
  const client = proxy.connect();
  client.receive('PR');
  assert.equal(proxy.counter('http.in.downstream_cx_http2_total'), 0);
  client.receive('I * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.equal(proxy.counter('http.in.downstream_cx_http2_total'), 1);
  client.close(0);
  const other = proxy.connect();
  other.receive('P');
  other.receive('OST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n');
  assert.match(other.takeSent(), /^HTTP\/1\.1 200 OK/);
  other.close(0);
  proxy.finish();
});

test('HTTP/1.0 when it is accepted: closed after the response, or kept on demand', () => {
  const proxy = new TestProxy({
    routes: DIRECT,
    hcm: { httpProtocolOptions: { acceptHttp10: true, defaultHostForHttp10: 'd' } },
  });
  const kept = proxy.connect();
  kept.receive('GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n');
  assert.equal(parse(kept.takeSent()).headers.connection, 'keep-alive');
  assert.equal(kept.state, 'open');
  const closed = proxy.connect();
  closed.receive('GET / HTTP/1.0\r\n\r\n');
  assert.equal(parse(closed.takeSent()).body, 'hi');
  assert.equal(closed.state, 'closed');
  proxy.finish();
});

test('redirects carry a location', () => {
  const proxy = new TestProxy({ routes: [{ match: { prefix: '/' }, redirect: { httpsRedirect: true } }] });
  const client = proxy.connect();
  client.receive(request('/x?y'));
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 301 Moved Permanently');
  assert.equal(response.headers.location, 'https://a.test/x?y');
  proxy.finish();
});

test('server header: passed through, or appended when absent', () => {
  for (const [transformation, theirs, expected] of [
    ['OVERWRITE', 'them', 'me'],
    ['APPEND_IF_ABSENT', 'them', 'them'],
    ['APPEND_IF_ABSENT', '', 'me'],
    ['PASS_THROUGH', '', undefined],
  ] as const) {
    const proxy = new TestProxy({ hcm: { serverName: 'me', serverHeaderTransformation: transformation } });
    const client = proxy.connect();
    client.receive(request());
    proxy.upstream().receive(`HTTP/1.1 200 OK\r\n${theirs === '' ? '' : `server: ${theirs}\r\n`}content-length: 0\r\n\r\n`);
    assert.equal(parse(client.takeSent()).headers.server, expected);
    proxy.finish();
  }
});

test('response headers: hop-by-hop dropped, request id and via on demand', () => {
  const proxy = new TestProxy({ hcm: { alwaysSetRequestIdInResponse: true, via: '1.1 me' } });
  const client = proxy.connect();
  client.receive(request('/', { 'x-request-id': 'abc' }));
  proxy
    .upstream()
    .receive('HTTP/1.1 200 OK\r\nkeep-alive: x\r\nconnection: keep-alive\r\nproxy-connection: a\r\ncontent-length: 0\r\n\r\n');
  const { headers } = parse(client.takeSent());
  assert.equal(headers['keep-alive'], undefined);
  assert.equal(headers['proxy-connection'], undefined);
  assert.equal(headers.connection, undefined);
  assert.equal(headers['x-request-id'], 'abc');
  assert.equal(headers.via, '1.1 me');
  proxy.finish();
});

test('suppress_envoy_headers', () => {
  const proxy = new TestProxy({ router: { suppressEnvoyHeaders: true } });
  const client = proxy.connect();
  client.receive(request());
  const upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers['x-envoy-expected-rq-timeout-ms'], undefined);
  upstream.receive(OK);
  assert.equal(parse(client.takeSent()).headers['x-envoy-upstream-service-time'], undefined);
  proxy.finish();
});

test('local_reply_config rewrites status, headers and body', () => {
  const proxy = new TestProxy({
    endpoints: [],
    hcm: {
      localReplyConfig: {
        mappers: [
          {
            filter: { statusCodeFilter: { comparison: { op: 'EQ', value: { defaultValue: 503, runtimeKey: '' } } } },
            statusCode: 429,
            body: { inlineString: 'later' },
            headersToAdd: [
              { header: { key: 'x-why', value: '%RESPONSE_FLAGS%', rawValue: new Uint8Array() }, keepEmptyValue: false },
            ],
          },
        ],
        bodyFormat: {
          jsonFormat: { message: '%LOCAL_REPLY_BODY%', code: '%RESPONSE_CODE%' },
          omitEmptyValues: false,
          contentType: '',
          formatters: [],
        },
      },
    },
  });
  const client = proxy.connect();
  client.receive(request());
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 429 Too Many Requests');
  assert.equal(response.headers['content-type'], 'application/json');
  assert.equal(response.headers['x-why'], 'UH');
  assert.deepEqual(JSON.parse(response.body), { code: 429, message: 'later' });
  assert.equal(Number(response.headers['content-length']), response.body.length);
  assert.equal(proxy.lastLog.code, 429);
  proxy.finish();
});

test('a gRPC client gets trailers-only replies', () => {
  const proxy = new TestProxy({ endpoints: [] });
  const client = proxy.connect();
  client.receive(request('/s/m', { 'content-type': 'application/grpc+proto', te: 'trailers' }, 'POST'));
  const { start, headers, body } = parse(client.takeSent());
  assert.equal(start, 'HTTP/1.1 200 OK');
  assert.equal(headers['content-type'], 'application/grpc');
  assert.equal(headers['grpc-status'], '14');
  assert.equal(headers['grpc-message'], 'no healthy upstream');
  assert.equal(body, '');
  proxy.finish();
});

const WEBSOCKET = { connection: 'Upgrade', upgrade: 'websocket' };

test('an upgrade without configuration: 403, and nothing more is read', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request('/', WEBSOCKET));
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 403 Forbidden');
  assert.equal(proxy.lastLog.details, 'upgrade_failed');
  assert.equal(client.state, 'closed');
  assert.equal(proxy.counter('http.in.downstream_rq_ws_on_non_ws_route'), 1);
  proxy.finish();
});

test('a websocket passes both ways, and ends with either side', () => {
  const proxy = new TestProxy({ hcm: { upgradeConfigs: [{ upgradeType: 'WebSocket' }] } });
  const client = proxy.connect();
  client.receive(request('/chat', WEBSOCKET));
  const upstream = proxy.upstream();
  const sent = parse(upstream.takeSent());
  assert.equal(sent.headers.upgrade, 'websocket');
  assert.equal(sent.headers.connection.toLowerCase(), 'upgrade');
  upstream.receive('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 101 Switching Protocols');
  assert.equal(response.headers.upgrade, 'websocket');
  assert.equal(response.headers.connection.toLowerCase(), 'upgrade');
  client.receive('ping');
  assert.equal(upstream.takeSent(), 'ping');
  upstream.receive('pong');
  assert.equal(client.takeSent(), 'pong');
  assert.equal(proxy.gauge('http.in.downstream_cx_upgrades_active'), 1);
  // Longer than the route's timeout of 15 s.
  proxy.advance(60_000);
  client.receive('more');
  assert.equal(upstream.takeSent(), 'more');
  upstream.remoteClose();
  assert.equal(client.state, 'closed');
  assert.equal(proxy.gauge('http.in.downstream_cx_upgrades_active'), 0);
  proxy.finish();
});

test('a refused upgrade is an ordinary response', () => {
  const proxy = new TestProxy({ hcm: { upgradeConfigs: [{ upgradeType: 'websocket' }] } });
  const client = proxy.connect();
  client.receive(request('/chat', WEBSOCKET));
  const upstream = proxy.upstream();
  upstream.receive('HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 400 Bad Request');
  assert.equal(response.body, 'no');
  proxy.finish();
});

test('a route may allow or forbid an upgrade', () => {
  for (const enabled of [true, false]) {
    const proxy = new TestProxy({
      hcm: { upgradeConfigs: enabled ? [] : [{ upgradeType: 'websocket' }] },
      routes: [{ match: { prefix: '/' }, route: { cluster: 'c', upgradeConfigs: [{ upgradeType: 'websocket', enabled }] } }],
    });
    const client = proxy.connect();
    client.receive(request('/', WEBSOCKET));
    assert.equal(proxy.upstreams.length, enabled ? 1 : 0);
    proxy.finish();
  }
});

test('CONNECT is terminated into raw TCP', () => {
  const proxy = new TestProxy({
    hcm: { upgradeConfigs: [{ upgradeType: 'CONNECT' }] },
    routes: [
      { match: { connectMatcher: {} }, route: { cluster: 'c', upgradeConfigs: [{ upgradeType: 'CONNECT', connectConfig: {} }] } },
    ],
  });
  const client = proxy.connect();
  client.receive('CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n');
  assert.equal(client.takeSent(), '');
  const upstream = proxy.upstream();
  assert.match(client.takeSent(), /^HTTP\/1.1 200 OK\r\n/);
  client.receive('hello');
  assert.equal(upstream.takeSent(), 'hello');
  upstream.receive('there');
  assert.equal(client.takeSent(), 'there');
  upstream.remoteClose();
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('a slow client stops the upstream, a slow upstream stops the client', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc');
  const upstream = proxy.upstream();
  upstream.fill(true);
  assert.equal(client.disabled, 1);
  assert.equal(proxy.counter('cluster.c.upstream_flow_control_backed_up_total'), 1);
  assert.equal(proxy.counter('http.in.downstream_flow_control_paused_reading_total'), 1);
  upstream.fill(false);
  assert.equal(client.disabled, 0);
  upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc');
  client.fill(true);
  assert.equal(upstream.disabled, 1);
  assert.equal(proxy.counter('cluster.c.upstream_flow_control_paused_reading_total'), 1);
  client.fill(false);
  assert.equal(upstream.disabled, 0);
  client.fill(true);
  client.remoteClose();
  proxy.finish();
});

test('a response that completes while the client is slow leaves the upstream connection readable', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  const upstream = proxy.upstream();
  client.fill(true);
  assert.equal(upstream.disabled, 1);
  // Already in the buffer when reading was stopped.
  client.fill(false);
  upstream.receive(OK);
  assert.equal(upstream.disabled, 0);
  proxy.finish();
});

test('what the client sends before there is a connection is held up to the limit', () => {
  const proxy = new TestProxy({ bufferLimit: 10 });
  const client = proxy.connect();
  client.receive(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n${'x'.repeat(15)}`);
  assert.equal(client.disabled, 1);
  const upstream = proxy.upstream();
  assert.equal(client.disabled, 0);
  client.receive('y'.repeat(5));
  assert.equal(parse(upstream.takeSent()).body, `${'x'.repeat(15)}yyyyy`);
  upstream.receive(OK);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('the client goes away in the middle of an upload', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc');
  const upstream = proxy.upstream();
  client.remoteClose();
  assert.equal(upstream.state, 'closed');
  assert.equal(proxy.lastLog.flags, Flag.DownstreamConnectionTermination);
  proxy.finish();
});

test('a response until close ends with the upstream connection', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  const upstream = proxy.upstream();
  upstream.receive('HTTP/1.1 200 OK\r\n\r\nabc');
  upstream.remoteClose();
  const response = parse(client.takeSent());
  assert.equal(response.headers['transfer-encoding'], 'chunked');
  assert.equal(response.body, '3\r\nabc\r\n0\r\n\r\n');
  assert.equal(client.state, 'open');
  proxy.finish();
});
