/** Every timeout of the connection manager, in virtual time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flag } from '../../../../src/proxy/stream_info/stream_info.ts';
import { ConnectionCloseType } from '../support/fakes.ts';
import { parse, request, TestProxy } from '../support/proxy.ts';

const NO_ROUTE_TIMEOUT = [{ match: { prefix: '/' }, route: { cluster: 'c', timeout: 0 } }];

test('stream_idle_timeout: 408 while the request is incomplete', () => {
  const proxy = new TestProxy({ hcm: { streamIdleTimeout: 1000 }, routes: NO_ROUTE_TIMEOUT });
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc');
  proxy.upstream();
  proxy.advance(900);
  client.receive('d');
  proxy.advance(999);
  assert.equal(client.takeSent(), '');
  proxy.advance(2);
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 408 Request Timeout');
  assert.equal(response.body, 'stream timeout');
  assert.equal(response.headers.connection, 'close');
  assert.equal(proxy.lastLog.flags, Flag.StreamIdleTimeout);
  assert.equal(proxy.lastLog.details, 'stream_idle_timeout');
  assert.equal(proxy.counter('http.in.downstream_rq_idle_timeout'), 1);
  assert.equal(client.closeType, ConnectionCloseType.FlushWriteAndDelay);
  assert.equal(proxy.upstream(false).state, 'closed');
  proxy.finish();
});

test('stream_idle_timeout: 504 once it was received', () => {
  const proxy = new TestProxy({ hcm: { streamIdleTimeout: 1000 }, routes: NO_ROUTE_TIMEOUT });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream();
  proxy.advance(1001);
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 504 Gateway Timeout');
  assert.equal(client.state, 'open');
  proxy.finish();
});

test('stream_idle_timeout: a response that began is cut off', () => {
  const proxy = new TestProxy({ hcm: { streamIdleTimeout: 1000 } });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab');
  client.takeSent();
  proxy.advance(1001);
  assert.equal(client.takeSent(), '');
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test("a route's idle_timeout overrides, 0 turns it off", () => {
  for (const [idleTimeout, answered] of [
    [200, true],
    [0, false],
  ] as const) {
    const proxy = new TestProxy({
      hcm: { streamIdleTimeout: 1000 },
      routes: [{ match: { prefix: '/' }, route: { cluster: 'c', timeout: 0, idleTimeout } }],
    });
    const client = proxy.connect();
    client.receive(request());
    proxy.upstream();
    proxy.advance(250);
    if (!answered) proxy.advance(100_000);
    assert.equal(client.takeSent() !== '', answered);
    proxy.finish();
  }
});

test('request_timeout: 408', () => {
  const proxy = new TestProxy({ hcm: { requestTimeout: 500 } });
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc');
  proxy.advance(400);
  client.receive('de');
  proxy.advance(101);
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 408 Request Timeout');
  assert.equal(response.body, 'request timeout');
  assert.equal(proxy.lastLog.details, 'request_overall_timeout');
  assert.equal(proxy.counter('http.in.downstream_rq_timeout'), 1);
  proxy.finish();
});

test('request_timeout does not count once the request is complete', () => {
  const proxy = new TestProxy({ hcm: { requestTimeout: 500 } });
  const client = proxy.connect();
  client.receive(request());
  proxy.advance(600);
  assert.equal(client.takeSent(), '');
  proxy.finish();
});

test('request_headers_timeout: 408 from the first byte of the head', () => {
  const proxy = new TestProxy({ hcm: { requestHeadersTimeout: 300 } });
  const client = proxy.connect();
  proxy.advance(1000);
  client.receive('GET / HTTP/1.1\r\nhost: a\r\n');
  proxy.advance(301);
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 408 Request Timeout');
  assert.equal(response.body, 'request header timeout');
  assert.equal(proxy.counter('http.in.downstream_rq_header_timeout'), 1);
  proxy.finish();
});

test('max_stream_duration: 504 after the request, of the connection manager or the route', () => {
  for (const options of [
    { hcm: { commonHttpProtocolOptions: { maxStreamDuration: 700 } }, routes: NO_ROUTE_TIMEOUT },
    {
      routes: [{ match: { prefix: '/' }, route: { cluster: 'c', timeout: 0, maxStreamDuration: { maxStreamDuration: 700 } } }],
    },
  ]) {
    const proxy = new TestProxy(options);
    const client = proxy.connect();
    client.receive(request());
    proxy.upstream();
    proxy.advance(701);
    const response = parse(client.takeSent());
    assert.equal(response.start, 'HTTP/1.1 504 Gateway Timeout');
    assert.equal(response.body, 'downstream duration timeout');
    assert.equal(proxy.lastLog.details, 'max_duration_timeout');
    proxy.finish();
  }
});

test('idle_timeout drains an idle connection', () => {
  const proxy = new TestProxy({ hcm: { commonHttpProtocolOptions: { idleTimeout: 1000 }, drainTimeout: 200 } });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  proxy.advance(999);
  client.receive(request());
  proxy.advance(5000);
  assert.equal(client.state, 'open');
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  proxy.advance(1001);
  assert.equal(proxy.counter('http.in.downstream_cx_idle_timeout'), 1);
  assert.equal(client.state, 'open');
  proxy.advance(201);
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('idle_timeout closes a connection that never sent anything', () => {
  const proxy = new TestProxy({ hcm: { commonHttpProtocolOptions: { idleTimeout: 1000 } } });
  const client = proxy.connect();
  proxy.advance(1001);
  assert.equal(client.closeType, ConnectionCloseType.FlushWrite);
  proxy.finish();
});

test('max_connection_duration: the next response says close', () => {
  const proxy = new TestProxy({ hcm: { commonHttpProtocolOptions: { maxConnectionDuration: 1000 } } });
  const client = proxy.connect();
  client.receive(request());
  proxy.advance(1001);
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).headers.connection, 'close');
  assert.equal(proxy.counter('http.in.downstream_cx_max_duration_reached'), 1);
  proxy.advance(5001);
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('max_requests_per_connection: the last response says close, and the connection ends', () => {
  const proxy = new TestProxy({ hcm: { commonHttpProtocolOptions: { maxRequestsPerConnection: 2 } } });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).headers.connection, undefined);
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).headers.connection, 'close');
  assert.equal(client.closeType, ConnectionCloseType.FlushWrite);
  assert.equal(proxy.counter('http.in.downstream_cx_max_requests_reached'), 1);
  proxy.finish();
});

test('draining: responses say close', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  proxy.draining = true;
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).headers.connection, 'close');
  assert.equal(proxy.counter('http.in.downstream_cx_drain_close'), 1);
  proxy.advance(5001);
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('the server drains: an idle connection closes after drain_timeout, one with a request after its response', () => {
  const proxy = new TestProxy({ hcm: { drainTimeout: 200 } });
  const idle = proxy.connect();
  idle.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  const silent = proxy.connect();
  const busy = proxy.connect();
  busy.receive(request());
  for (const client of [idle, silent, busy, idle]) client.drain();
  assert.equal(proxy.counter('http.in.downstream_cx_drain_close'), 2, 'once each, and not the busy one');
  proxy.advance(199);
  assert.deepEqual([idle.state, silent.state, busy.state], ['open', 'open', 'open']);
  proxy.advance(2);
  assert.deepEqual([idle.state, silent.state, busy.state], ['closed', 'closed', 'open']);
  proxy.draining = true;
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(busy.takeSent()).headers.connection, 'close');
  proxy.finish();
});

test('the server drains: a request in the last moment is answered and told to close', () => {
  const proxy = new TestProxy({ hcm: { drainTimeout: 200 } });
  const client = proxy.connect();
  client.drain();
  proxy.advance(100);
  client.receive(request());
  proxy.advance(150);
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 200 OK');
  assert.equal(response.headers.connection, 'close');
  assert.equal(client.state, 'closed');
  proxy.finish();
});
