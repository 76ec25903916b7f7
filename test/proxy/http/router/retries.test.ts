import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flag } from '../../../../src/proxy/stream_info/stream_info.ts';
import { parse, request, TestProxy } from '../support/proxy.ts';

function retryRoute(policy: Record<string, unknown>, route: Record<string, unknown> = {}): Record<string, unknown>[] {
  return [{ match: { prefix: '/' }, route: { cluster: 'c', retryPolicy: policy, ...route } }];
}

test('5xx is retried after the back-off, with the attempt counted', () => {
  const proxy = new TestProxy({
    routes: retryRoute({ retryOn: '5xx', numRetries: 2 }),
    virtualHost: { includeRequestAttemptCount: true, includeAttemptCountInResponse: true },
  });
  const client = proxy.connect();
  client.receive(request());
  let upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers['x-envoy-attempt-count'], '1');
  upstream.receive('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nnope');
  assert.equal(client.takeSent(), '');
  proxy.advance(25);
  upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers['x-envoy-attempt-count'], '2');
  upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 200 OK');
  assert.equal(response.body, 'ok');
  assert.equal(response.headers['x-envoy-attempt-count'], '2');
  assert.equal(proxy.lastLog.attempts, 2);
  assert.equal(proxy.counter('cluster.c.upstream_rq_retry'), 1);
  assert.equal(proxy.counter('cluster.c.upstream_rq_retry_success'), 1);
  assert.equal(proxy.counter('cluster.c.retry.upstream_rq_503'), 1);
  proxy.finish();
});

test('the last answer is given when retries are used up: URX', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: '5xx', numRetries: 1 }) });
  const client = proxy.connect();
  client.receive(request());
  for (let i = 0; i < 2; i++) {
    const upstream = proxy.upstream();
    upstream.takeSent();
    upstream.receive('HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n');
    proxy.advance(250);
  }
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 500 Internal Server Error');
  assert.equal(proxy.lastLog.flags, Flag.UpstreamRetryLimitExceeded);
  assert.equal(proxy.counter('cluster.c.upstream_rq_retry_limit_exceeded'), 1);
  proxy.finish();
});

test('connect failures are retried; the text says so in the end', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: 'connect-failure', numRetries: 1 }) });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream(false).refuse('refused');
  proxy.advance(25);
  proxy.upstream(false).refuse('refused');
  const response = parse(client.takeSent());
  assert.equal(
    response.body,
    'upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure, transport failure reason: refused',
  );
  assert.equal(proxy.lastLog.flags, Flag.UpstreamConnectionFailure | Flag.UpstreamRetryLimitExceeded);
  assert.equal(proxy.upstreams.length, 2);
  proxy.finish();
});

test('a body is kept and sent again', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: '5xx' }) });
  const client = proxy.connect();
  client.receive('POST /p HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello');
  const first = proxy.upstream();
  client.receive('world');
  assert.equal(parse(first.takeSent()).body, 'helloworld');
  first.receive('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
  proxy.advance(25);
  const second = proxy.upstream();
  assert.equal(parse(second.takeSent()).body, 'helloworld');
  second.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 200 OK');
  proxy.finish();
});

test('a body that goes on after the retry was decided reaches the new attempt', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: '5xx' }) });
  const client = proxy.connect();
  client.receive('POST /p HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello');
  proxy.upstream().receive('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
  client.receive('wo');
  proxy.advance(25);
  const second = proxy.upstream();
  client.receive('rld');
  assert.equal(parse(second.takeSent()).body, 'helloworld');
  second.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 200 OK');
  proxy.finish();
});

test('a body beyond the limit gives the retry up', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: '5xx' }), bufferLimit: 8 });
  const client = proxy.connect();
  client.receive('POST /p HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello');
  const upstream = proxy.upstream();
  client.receive('world');
  assert.equal(parse(upstream.takeSent()).body, 'helloworld');
  upstream.receive('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 502 Bad Gateway');
  assert.equal(proxy.counter('cluster.c.retry_or_shadow_abandoned'), 1);
  proxy.finish();
});

test('a body beyond the limit while a retry waits: 507', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: '5xx' }), bufferLimit: 8 });
  const client = proxy.connect();
  client.receive('POST /p HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello');
  proxy.upstream().receive('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
  client.receive('world');
  const response = parse(client.takeSent());
  assert.match(response.start, /^HTTP\/1.1 507/);
  assert.equal(response.body, 'exceeded request buffer limit while retrying upstream');
  assert.equal(proxy.lastLog.details, 'request_payload_exceeded_retry_buffer_limit');
  proxy.finish();
});

test('per-try timeout retries, then 504', () => {
  const proxy = new TestProxy({ routes: retryRoute({ retryOn: '5xx', perTryTimeout: 100, numRetries: 1 }, { timeout: 1000 }) });
  const client = proxy.connect();
  client.receive(request());
  assert.equal(parse(proxy.upstream().takeSent()).headers['x-envoy-expected-rq-timeout-ms'], '100');
  proxy.advance(101);
  proxy.advance(25);
  assert.equal(proxy.upstreams.length, 2);
  proxy.upstream();
  proxy.advance(101);
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 504 Gateway Timeout');
  assert.equal(response.body, 'upstream request timeout');
  assert.equal(proxy.lastLog.details, 'upstream_per_try_timeout');
  assert.equal(proxy.counter('cluster.c.upstream_rq_per_try_timeout'), 2);
  proxy.finish();
});

test('the route timeout ends a wait for the back-off', () => {
  const proxy = new TestProxy({
    routes: retryRoute({ retryOn: '5xx', retryBackOff: { baseInterval: 1000, maxInterval: 1000 } }, { timeout: 100 }),
    random: () => 999,
  });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n');
  proxy.advance(101);
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 504 Gateway Timeout');
  assert.equal(proxy.lastLog.details, 'response_timeout');
  proxy.finish();
});

test('previous_hosts picks another host', () => {
  const proxy = new TestProxy({
    endpoints: ['10.1.1.1:80', '10.1.1.2:80'],
    routes: retryRoute({
      retryOn: '5xx',
      retryHostPredicate: [{ name: 'envoy.retry_host_predicates.previous_hosts' }],
      hostSelectionRetryMaxAttempts: 5,
    }),
  });
  for (let i = 0; i < 4; i++) {
    const client = proxy.connect();
    client.receive(request());
    const first = proxy.upstreams.find((upstream) => upstream.connecting || upstream.sent !== '');
    assert.ok(first);
    if (first.connecting) first.accept();
    first.takeSent();
    first.receive('HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n');
    proxy.advance(25);
    const second = proxy.upstreams.find((upstream) => upstream.connecting || upstream.sent !== '');
    assert.ok(second);
    if (second.connecting) second.accept();
    assert.notEqual(second.remoteAddress.asString, first.remoteAddress.asString);
    second.takeSent();
    second.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 200 OK');
  }
  proxy.finish();
});
