import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, request, TestProxy } from '../support/proxy.ts';

test('a direct response is served', () => {
  const proxy = new TestProxy({
    routes: [{ match: { prefix: '/' }, directResponse: { status: 200, body: { inlineString: 'hello' } } }],
  });
  const client = proxy.connect();
  client.receive(request('/x'));
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 200 OK');
  assert.equal(response.body, 'hello');
  assert.equal(response.headers['content-length'], '5');
  assert.equal(response.headers['content-type'], 'text/plain');
  assert.equal(response.headers.server, 'envoy');
  assert.equal(response.headers.date, 'Tue, 14 Nov 2023 22:13:20 GMT');
  assert.deepEqual(proxy.lastLog.details, 'direct_response');
  proxy.finish();
});

test('a GET is proxied, and the connection serves the next one', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  for (let i = 0; i < 3; i++) {
    client.receive(request(`/path/${i}?q=1`, { accept: '*/*' }));
    const upstream = proxy.upstream();
    const sent = parse(upstream.takeSent());
    assert.equal(sent.start, `GET /path/${i}?q=1 HTTP/1.1`);
    assert.equal(sent.headers.host, 'a.test');
    assert.equal(sent.headers.accept, '*/*');
    assert.equal(sent.headers['x-forwarded-proto'], 'http');
    assert.equal(sent.headers['x-envoy-expected-rq-timeout-ms'], '15000');
    assert.match(sent.headers['x-request-id'], /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    proxy.advance(12);
    upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-a: b\r\n\r\nabc');
    const response = parse(client.takeSent());
    assert.equal(response.start, 'HTTP/1.1 200 OK');
    assert.equal(response.body, 'abc');
    assert.equal(response.headers['x-a'], 'b');
    assert.equal(response.headers['x-envoy-upstream-service-time'], '12');
  }
  assert.equal(proxy.upstreams.length, 1);
  assert.equal(proxy.counter('http.in.downstream_rq_total'), 3);
  assert.equal(proxy.counter('http.in.downstream_rq_2xx'), 3);
  assert.equal(proxy.counter('http.in.downstream_rq_completed'), 3);
  assert.equal(proxy.counter('listener.10.0.0.1_10000.http.in.downstream_rq_2xx'), 3);
  assert.equal(proxy.counter('cluster.c.upstream_rq_200'), 3);
  assert.equal(proxy.counter('cluster.c.external.upstream_rq_2xx'), 3);
  assert.equal(proxy.config.freeStreams.length, 1);
  proxy.finish();
});
