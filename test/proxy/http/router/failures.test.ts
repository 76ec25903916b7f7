/** What the client gets when an upstream fails: status, body, details, flag, statistics. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flag } from '../../../../src/proxy/stream_info/stream_info.ts';
import { parse, request, TestProxy } from '../support/proxy.ts';

const RESET = 'upstream connect error or disconnect/reset before headers. reset reason: ';

test('no route: 404 NR', () => {
  const proxy = new TestProxy({ routes: [{ match: { prefix: '/only' }, route: { cluster: 'c' } }] });
  const client = proxy.connect();
  client.receive(request('/other'));
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 404 Not Found');
  assert.equal(response.body, '');
  assert.equal(proxy.lastLog.flags, Flag.NoRouteFound);
  assert.equal(proxy.lastLog.details, 'route_not_found');
  assert.equal(proxy.counter('http.in.no_route'), 1);
  proxy.finish();
});

test('cluster not found: 503 NC', () => {
  const proxy = new TestProxy({
    hcm: {
      routeConfig: {
        name: 'l',
        validateClusters: false,
        virtualHosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: 'gone', clusterNotFoundResponseCode: 'NOT_FOUND' } }],
          },
        ],
      },
    },
  });
  const client = proxy.connect();
  client.receive(request());
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 404 Not Found');
  assert.equal(proxy.lastLog.flags, Flag.NoClusterFound);
  assert.equal(proxy.lastLog.details, 'cluster_not_found');
  assert.equal(proxy.counter('http.in.no_cluster'), 1);
  proxy.finish();
});

test('no host: 503 UH', () => {
  const proxy = new TestProxy({ endpoints: [] });
  const client = proxy.connect();
  client.receive(request());
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 503 Service Unavailable');
  assert.equal(response.body, 'no healthy upstream');
  assert.equal(proxy.lastLog.flags, Flag.NoHealthyUpstream);
  assert.equal(proxy.lastLog.details, 'no_healthy_upstream');
  assert.equal(proxy.counter('cluster.c.upstream_rq_503'), 1);
  proxy.finish();
});

test('connect failure: 503 UF with the transport failure reason', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream(false).refuse('delayed connect error: Connection refused');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 503 Service Unavailable');
  assert.equal(
    response.body,
    `${RESET}remote connection failure, transport failure reason: delayed connect error: Connection refused`,
  );
  assert.equal(proxy.lastLog.flags, Flag.UpstreamConnectionFailure);
  assert.equal(
    proxy.lastLog.details,
    'upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}',
  );
  assert.equal(proxy.lastLog.upstream, '10.1.1.1:80');
  proxy.finish();
});

test('connect timeout: 503 UF', () => {
  const proxy = new TestProxy({ cluster: { connectTimeout: 250 } });
  const client = proxy.connect();
  client.receive(request());
  proxy.advance(251);
  assert.equal(parse(client.takeSent()).body, `${RESET}connection timeout`);
  assert.equal(proxy.lastLog.flags, Flag.UpstreamConnectionFailure);
  assert.equal(proxy.counter('cluster.c.upstream_cx_connect_timeout'), 1);
  proxy.finish();
});

test('connection closed before headers: 503 UC', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().remoteClose();
  const response = parse(client.takeSent());
  assert.equal(response.body, `${RESET}connection termination`);
  assert.equal(proxy.lastLog.flags, Flag.UpstreamConnectionTermination);
  assert.equal(proxy.lastLog.details, 'upstream_reset_before_response_started{connection_termination}');
  // The client's connection is fine.
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 204 No Content\r\n\r\n');
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 204 No Content');
  proxy.finish();
});

test('protocol error: 502 UPE', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('this is not HTTP\r\n\r\n');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 502 Bad Gateway');
  assert.equal(response.body, `${RESET}protocol error`);
  assert.equal(proxy.lastLog.flags, Flag.UpstreamProtocolError);
  proxy.finish();
});

test('circuit breaker: 503 UO and x-envoy-overloaded', () => {
  const proxy = new TestProxy({
    cluster: { circuitBreakers: { thresholds: [{ priority: 'DEFAULT', maxPendingRequests: 1, maxConnections: 1 }] } } as object,
  });
  const first = proxy.connect();
  const second = proxy.connect();
  first.receive(request('/1'));
  second.receive(request('/2'));
  const response = parse(second.takeSent());
  assert.equal(response.start, 'HTTP/1.1 503 Service Unavailable');
  assert.equal(response.body, `${RESET}overflow`);
  assert.equal(response.headers['x-envoy-overloaded'], 'true');
  assert.equal(proxy.lastLog.flags, Flag.UpstreamOverflow);
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(first.takeSent()).start, 'HTTP/1.1 200 OK');
  proxy.finish();
});

test('route timeout: 504 UT', () => {
  const proxy = new TestProxy({ routes: [{ match: { prefix: '/' }, route: { cluster: 'c', timeout: 300 } }] });
  const client = proxy.connect();
  client.receive(request());
  const upstream = proxy.upstream();
  assert.equal(parse(upstream.takeSent()).headers['x-envoy-expected-rq-timeout-ms'], '300');
  proxy.advance(299);
  assert.equal(client.takeSent(), '');
  proxy.advance(2);
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 504 Gateway Timeout');
  assert.equal(response.body, 'upstream request timeout');
  assert.equal(proxy.lastLog.flags, Flag.UpstreamRequestTimeout);
  assert.equal(proxy.lastLog.details, 'response_timeout');
  assert.equal(proxy.counter('cluster.c.upstream_rq_timeout'), 1);
  assert.equal(upstream.state, 'closed');
  proxy.finish();
});

test('x-envoy-upstream-rq-timeout-ms of an internal request overrides the route, and 204 can be asked for', () => {
  const proxy = new TestProxy({ hcm: { useRemoteAddress: true, internalAddressConfig: { unixSockets: false, cidrRanges: [] } } });
  const client = proxy.connect('10.9.9.9:1');
  client.receive(request('/', { 'x-envoy-upstream-rq-timeout-ms': '50', 'x-envoy-upstream-rq-timeout-alt-response': '1' }));
  const sent = parse(proxy.upstream().takeSent());
  assert.equal(sent.headers['x-envoy-upstream-rq-timeout-ms'], undefined);
  assert.equal(sent.headers['x-envoy-expected-rq-timeout-ms'], '50');
  assert.equal(sent.headers['x-envoy-internal'], 'true');
  proxy.advance(51);
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 204 No Content');
  proxy.finish();
});

test('a response that began is cut off', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  const upstream = proxy.upstream();
  upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
  assert.equal(parse(client.takeSent()).body, 'half');
  upstream.remoteClose();
  assert.equal(client.takeSent(), '');
  assert.equal(client.state, 'closed');
  assert.equal(proxy.lastLog.details, 'upstream_reset_after_response_started{connection_termination}');
  assert.equal(proxy.lastLog.flags, Flag.UpstreamConnectionTermination);
  assert.equal(proxy.counter('http.in.rq_reset_after_downstream_response_started'), 1);
  proxy.finish();
});

test('maintenance mode: 503 UO', () => {
  const proxy = new TestProxy({ runtime: { 'upstream.maintenance_mode.c': 100 } });
  const client = proxy.connect();
  client.receive(request());
  const response = parse(client.takeSent());
  assert.equal(response.body, 'maintenance mode');
  assert.equal(response.headers['x-envoy-overloaded'], 'true');
  assert.equal(proxy.lastLog.flags, Flag.UpstreamOverflow);
  assert.equal(proxy.counter('cluster.c.upstream_rq_maintenance_mode'), 1);
  proxy.finish();
});

test('the client leaves: the upstream request is reset, DC', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  const upstream = proxy.upstream();
  client.remoteClose();
  assert.equal(upstream.state, 'closed');
  assert.equal(proxy.lastLog.flags, Flag.DownstreamConnectionTermination);
  assert.equal(proxy.lastLog.details, 'downstream_remote_disconnect');
  assert.equal(proxy.lastLog.code, 0);
  assert.equal(proxy.counter('cluster.c.upstream_rq_tx_reset'), 1);
  assert.equal(proxy.counter('http.in.downstream_cx_destroy_remote_active_rq'), 1);
  proxy.finish();
});

test('the client leaves while a connection is being made: the pending request is cancelled', () => {
  const proxy = new TestProxy();
  const client = proxy.connect();
  client.receive(request());
  client.remoteClose();
  assert.equal(proxy.counter('cluster.c.upstream_rq_cancelled'), 1);
  proxy.finish();
});

test('strict_check_headers refuses malformed values', () => {
  const proxy = new TestProxy({
    router: { strictCheckHeaders: ['x-envoy-max-retries'] },
    hcm: { useRemoteAddress: true, internalAddressConfig: { unixSockets: false, cidrRanges: [] } },
  });
  const client = proxy.connect('10.9.9.9:1');
  client.receive(request('/', { 'x-envoy-max-retries': 'many' }));
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 400 Bad Request');
  assert.equal(response.body, "invalid header 'x-envoy-max-retries' with value 'many'");
  assert.equal(proxy.lastLog.flags, Flag.InvalidEnvoyRequestHeaders);
  proxy.finish();
});
