import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RequestEncoder, type ResponseDecoder, StreamResetReason } from '../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { ThreadLocalClusterManager } from '../../../src/proxy/upstream/cluster_manager.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { Http1ConnPool } from '../../../src/proxy/upstream/http1_conn_pool.ts';
import { type Cancellable, type Host, type HttpPoolCallbacks, PoolFailureReason } from '../../../src/proxy/upstream/upstream.ts';
import { FakeWorker, hostAt, staticCluster, sysError } from './fakes.ts';

class Request implements ResponseDecoder, HttpPoolCallbacks {
  encoder: RequestEncoder | null = null;
  failure: PoolFailureReason | null = null;
  failureText = '';
  failedHost: Host | null = null;
  status = '';
  body = '';
  complete = false;
  reset: StreamResetReason | null = null;
  waiting: Cancellable | null = null;
  connectionId = 0;
  onFailure: () => void = () => {};
  onComplete: () => void = () => {};
  private readonly worker: FakeWorker;

  constructor(worker: FakeWorker) {
    this.worker = worker;
  }

  start(pool: Http1ConnPool): this {
    this.waiting = pool.newStream(this, this);
    return this;
  }

  onPoolFailure(reason: PoolFailureReason, text: string, host: Host | null): void {
    this.failure = reason;
    this.failureText = text;
    this.failedHost = host;
    this.onFailure();
  }

  onPoolReady(encoder: RequestEncoder, _host: Host, connection: { id: number }): void {
    this.encoder = encoder;
    this.connectionId = connection.id;
    encoder.stream.addCallbacks({
      onResetStream: (reason) => {
        this.reset = reason;
      },
      onAboveWriteBufferHighWatermark() {},
      onBelowWriteBufferLowWatermark() {},
    });
  }

  /** Sends a GET, or the head of a POST. */
  send(endStream = true): this {
    const headers = HeaderMap.of(this.worker.dispatcher.slab, [
      [':method', endStream ? 'GET' : 'POST'],
      [':path', '/'],
      [':authority', 'a.test'],
      ...(endStream ? [] : ([['content-length', '5']] as [string, string][])),
    ]);
    assert.ok(this.encoder, 'no connection yet');
    assert.equal(this.encoder.encodeHeaders(headers, endStream), null);
    headers.release();
    return this;
  }

  decode1xxHeaders(headers: HeaderMap): void {
    headers.release();
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    this.status = headers.get(':status') ?? '';
    headers.release();
    if (endStream) this.end();
  }

  decodeData(data: { toText(): string }, endStream: boolean): void {
    this.body += data.toText();
    if (endStream) this.end();
  }

  decodeTrailers(trailers: HeaderMap): void {
    trailers.release();
    this.end();
  }

  private end(): void {
    this.complete = true;
    this.onComplete();
  }
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

function setup(more: Partial<PlainCluster> = {}) {
  const worker = new FakeWorker();
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [staticCluster('a', ['10.0.0.2:80'], more)] });
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.2:80')] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  const pool = cluster.httpConnPool(0, null);
  assert.ok(pool instanceof Http1ConnPool);
  const request = (): Request => new Request(worker).start(pool);
  return {
    worker,
    manager,
    cluster,
    pool,
    request,
    stat: (name: string) => worker.counter(`cluster.a.${name}`),
    gauge: (name: string) => worker.gauge(`cluster.a.${name}`),
  };
}

test('a request waits for its connection, and the next one reuses it', () => {
  const { worker, request, stat, gauge, pool } = setup();
  const first = request();
  assert.ok(first.waiting);
  assert.equal(gauge('upstream_rq_pending_active'), 1);
  assert.equal(worker.connections.length, 1);
  worker.dispatcher.advance(7);
  worker.last.accept();
  assert.equal(gauge('upstream_rq_pending_active'), 0);
  first.send();
  assert.match(worker.last.takeSent(), /^GET \/ HTTP\/1\.1\r\nhost: a\.test\r\n\r\n$/);
  assert.equal(gauge('upstream_rq_active'), 1);
  worker.last.receive(OK);
  assert.deepEqual([first.status, first.body, first.complete], ['200', 'ok', true]);
  assert.equal(gauge('upstream_rq_active'), 0);
  assert.equal(pool.readyConnections, 1);

  const second = request();
  assert.equal(second.waiting, null, 'a free connection serves at once');
  second.send();
  worker.last.receive(OK);
  assert.ok(second.complete);
  assert.equal(worker.connections.length, 1);
  assert.equal(stat('upstream_cx_total'), 1);
  assert.equal(stat('upstream_cx_http1_total'), 1);
  assert.equal(stat('upstream_rq_total'), 2);
  assert.equal(stat('upstream_rq_pending_total'), 1);
  assert.equal(stat('upstream_cx_rx_bytes_total'), 2 * OK.length);
  assert.equal(gauge('upstream_cx_active'), 1);
  assert.equal(pool.host.stats.cxActive.value, 1);
});

test('the connection that was freed last is taken first', () => {
  const { worker, request } = setup();
  const a = request();
  const b = request();
  worker.connections[0].accept();
  worker.connections[1].accept();
  a.send();
  b.send();
  worker.connections[1].receive(OK);
  worker.connections[0].receive(OK);
  assert.equal(request().connectionId, worker.connections[0].id);
});

test('the oldest waiting request gets the connection that becomes free', () => {
  const { worker, request } = setup({ circuitBreakers: { thresholds: [{ maxConnections: 1 }] } });
  const first = request();
  worker.last.accept();
  const second = request();
  const third = request();
  assert.equal(worker.connections.length, 1);
  first.send();
  worker.last.receive(OK);
  assert.ok(second.encoder);
  assert.equal(third.encoder, null);
  second.send();
  worker.last.receive(OK);
  assert.ok(third.encoder);
});

test('a failed attempt to connect fails everything that waits', () => {
  const { worker, request, stat, gauge, pool } = setup();
  const requests = [request(), request()];
  assert.equal(worker.connections.length, 2);
  worker.connections[0].refuse('delayed connect error: Connection refused');
  for (const each of requests) {
    assert.equal(each.failure, PoolFailureReason.RemoteConnectionFailure);
    assert.equal(each.failureText, 'delayed connect error: Connection refused');
    assert.equal(each.failedHost, pool.host);
  }
  assert.equal(stat('upstream_rq_pending_failure_eject'), 2);
  assert.equal(stat('upstream_cx_connect_fail'), 1);
  assert.equal(stat('upstream_cx_destroy_remote'), 1);
  assert.equal(gauge('upstream_rq_pending_active'), 0);
  // The other attempt goes on and its connection is kept.
  worker.connections[1].accept();
  assert.equal(request().waiting, null);
});

test('a connection that takes too long fails with Timeout', () => {
  const { worker, request, stat } = setup({ connectTimeout: 250 });
  const waiting = request();
  worker.dispatcher.advance(249);
  assert.equal(waiting.failure, null);
  worker.dispatcher.advance(1);
  assert.equal(waiting.failure, PoolFailureReason.Timeout);
  assert.equal(stat('upstream_cx_connect_timeout'), 1);
  assert.equal(stat('upstream_cx_connect_fail'), 1);
  assert.equal(worker.last.state, 'closed');
  assert.equal(worker.dispatcher.armedTimers, 0);
});

test('a connection that is refused inside connect(), and a socket that cannot be made, fail on the spot', () => {
  const { worker, request, stat, gauge } = setup();
  worker.refuseNext = 1;
  const refused = request();
  assert.deepEqual([refused.failure, refused.waiting], [PoolFailureReason.RemoteConnectionFailure, null]);
  worker.socketErrors = [sysError('bind', 99)];
  const unbound = request();
  assert.deepEqual([unbound.failure, unbound.waiting], [PoolFailureReason.LocalConnectionFailure, null]);
  assert.equal(stat('bind_errors'), 1);
  assert.equal(gauge('upstream_cx_active'), 0);
  assert.equal(gauge('upstream_rq_pending_active'), 0);
});

test('a retry that is started while waiting requests fail gets an attempt of its own', () => {
  const { worker, pool, request } = setup();
  const first = request();
  let retry: Request | null = null;
  first.onFailure = () => {
    retry = new Request(worker).start(pool);
  };
  worker.last.refuse();
  assert.ok(retry);
  assert.equal((retry as Request).failure, null);
  assert.equal(worker.connections.length, 2);
  worker.last.accept();
  assert.ok((retry as Request).encoder);
});

test('pending overflow', () => {
  const { request, stat, gauge, worker } = setup({ circuitBreakers: { thresholds: [{ maxPendingRequests: 1 }] } });
  request();
  assert.equal(gauge('circuit_breakers.default.rq_pending_open'), 1);
  const refused = request();
  assert.deepEqual([refused.failure, refused.waiting], [PoolFailureReason.Overflow, null]);
  assert.equal(stat('upstream_rq_pending_overflow'), 1);
  worker.last.accept();
  assert.equal(gauge('circuit_breakers.default.rq_pending_open'), 0);
});

test('request overflow refuses and leaves the connection for others', () => {
  const { request, worker, stat, pool } = setup({ circuitBreakers: { thresholds: [{ maxRequests: 1 }] } });
  const a = request();
  const b = request();
  worker.connections[0].accept();
  assert.ok(a.encoder);
  worker.connections[1].accept();
  assert.equal(b.failure, PoolFailureReason.Overflow);
  assert.equal(stat('upstream_rq_pending_overflow'), 1);
  assert.equal(pool.readyConnections, 1);
});

test('connection overflow: a pool that has none still gets one', () => {
  const { request, worker, stat, gauge } = setup({ circuitBreakers: { thresholds: [{ maxConnections: 0 }] } });
  request();
  request();
  assert.equal(worker.connections.length, 1);
  assert.equal(stat('upstream_cx_overflow'), 2);
  assert.equal(gauge('upstream_rq_pending_active'), 2);
});

test('cancelling takes the request out of the queue; its connection serves somebody else', () => {
  const { request, worker, stat, gauge, pool } = setup();
  const waiting = request();
  waiting.waiting?.cancel();
  waiting.waiting?.cancel();
  assert.equal(stat('upstream_rq_cancelled'), 1);
  assert.equal(gauge('upstream_rq_pending_active'), 0);
  worker.last.accept();
  assert.equal(waiting.encoder, null);
  assert.equal(pool.readyConnections, 1);
});

test('max_requests_per_connection closes after the last response', () => {
  const { request, worker, stat } = setup({ maxRequestsPerConnection: 2 });
  const first = request();
  worker.last.accept();
  first.send();
  worker.last.receive(OK);
  request().send();
  assert.equal(stat('upstream_cx_max_requests'), 1);
  worker.last.receive(OK);
  assert.equal(worker.last.state, 'closed');
  assert.equal(stat('upstream_cx_destroy_local'), 1);
  assert.equal(stat('upstream_cx_destroy_with_active_rq'), 0);
});

test('connection: close ends the connection after the response', () => {
  const { request, worker, stat, pool } = setup();
  const only = request();
  worker.last.accept();
  only.send();
  worker.last.receive('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok');
  assert.ok(only.complete);
  assert.equal(stat('upstream_cx_close_notify'), 1);
  assert.equal(worker.last.state, 'closed');
  assert.ok(pool.idle);
});

test('a response before the request is complete closes the connection', () => {
  const { request, worker } = setup();
  const only = request();
  worker.last.accept();
  only.send(false);
  worker.last.receive(OK);
  assert.ok(only.complete);
  assert.equal(worker.last.state, 'closed');
});

test('remote close: idle, before a response, and in the middle of one', () => {
  const { request, worker, stat, gauge, pool } = setup();
  const idle = request();
  worker.last.accept();
  idle.send();
  worker.last.receive(OK);
  worker.last.remoteClose();
  assert.equal(idle.reset, null);
  assert.equal(stat('upstream_cx_destroy_remote_with_active_rq'), 0);

  const early = request();
  worker.last.accept();
  early.send();
  worker.last.remoteClose();
  assert.equal(early.reset, StreamResetReason.ConnectionTermination);
  assert.equal(stat('upstream_cx_destroy_remote_with_active_rq'), 1);

  const cut = request();
  worker.last.accept();
  cut.send();
  worker.last.receive('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
  worker.last.remoteClose();
  assert.deepEqual([cut.body, cut.complete, cut.reset], ['half', false, StreamResetReason.ConnectionTermination]);
  assert.equal(stat('upstream_cx_destroy_remote_with_active_rq'), 2);
  assert.equal(gauge('upstream_rq_active'), 0);
  assert.equal(gauge('upstream_cx_active'), 0);
  assert.equal(pool.host.stats.rqActive.value, 0);
  assert.ok(pool.idle);
});

test('a body that ends with the connection is complete, and no fault', () => {
  const { request, worker, stat } = setup();
  const only = request();
  worker.last.accept();
  only.send();
  worker.last.receive('HTTP/1.1 200 OK\r\n\r\nall there is');
  assert.equal(only.complete, false);
  worker.last.remoteClose();
  assert.deepEqual([only.body, only.complete, only.reset], ['all there is', true, null]);
  assert.equal(stat('upstream_cx_destroy_with_active_rq'), 0);
});

test('bytes nobody asked for close the connection; a 408 is not counted as a protocol error', () => {
  const { request, worker, stat } = setup();
  for (const [bytes, errors] of [
    ['HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n', 0],
    ['HTTP/1.1 200 OK\r\n\r\n', 1],
  ] as const) {
    const only = request();
    worker.last.accept();
    only.send();
    worker.last.receive(OK);
    worker.last.receive(bytes);
    assert.equal(worker.last.state, 'closed');
    assert.equal(stat('upstream_cx_protocol_error'), errors);
  }
});

test('surplus bytes behind a response close the connection, not the response', () => {
  const { request, worker, stat } = setup();
  const only = request();
  worker.last.accept();
  only.send();
  worker.last.receive(`${OK}HTTP/1.1 200 OK\r\n\r\n`);
  assert.ok(only.complete);
  assert.equal(only.reset, null);
  assert.equal(worker.last.state, 'closed');
  assert.equal(stat('upstream_cx_protocol_error'), 1);
});

test('nonsense resets the stream with ProtocolError', () => {
  const { request, worker, stat } = setup();
  const only = request();
  worker.last.accept();
  only.send();
  worker.last.receive('SSH-2.0-OpenSSH\r\n\r\n');
  assert.equal(only.reset, StreamResetReason.ProtocolError);
  assert.equal(stat('upstream_cx_protocol_error'), 1);
  assert.equal(worker.last.state, 'closed');
});

test('resetting the stream closes the connection, also from within a callback', () => {
  const { request, worker, stat, pool } = setup();
  const first = request();
  worker.last.accept();
  first.send();
  first.encoder?.stream.resetStream(StreamResetReason.LocalReset);
  assert.equal(worker.last.state, 'closed');
  assert.equal(stat('upstream_cx_destroy_local_with_active_rq'), 1);

  const second = request();
  worker.last.accept();
  second.send(false);
  second.onComplete = () => second.encoder?.stream.resetStream(StreamResetReason.LocalReset);
  worker.last.receive(OK);
  assert.equal(worker.last.state, 'closed');
  assert.ok(pool.idle);
});

test('an idle connection closes after the idle timeout, measured from its last use', () => {
  const { request, worker, stat } = setup({ commonHttpProtocolOptions: { idleTimeout: 1000 } });
  const first = request();
  worker.last.accept();
  first.send();
  worker.last.receive(OK);
  worker.dispatcher.advance(600);
  const second = request();
  second.send();
  worker.dispatcher.advance(600);
  worker.last.receive(OK);
  // Used shortly before the timer looks.
  worker.dispatcher.advance(900);
  request().send();
  worker.last.receive(OK);
  worker.dispatcher.advance(999);
  assert.equal(worker.last.state, 'open');
  worker.dispatcher.advance(1);
  assert.equal(worker.last.state, 'closed');
  assert.equal(stat('upstream_cx_idle_timeout'), 1);
});

test('max_connection_duration closes an idle connection, and a used one after its response', () => {
  const { request, worker, stat } = setup({ commonHttpProtocolOptions: { maxConnectionDuration: 1000 } });
  const first = request();
  worker.last.accept();
  first.send();
  worker.dispatcher.advance(1000);
  assert.equal(worker.last.state, 'open');
  worker.last.receive(OK);
  assert.ok(first.complete);
  assert.equal(worker.last.state, 'closed');
  const second = request();
  worker.last.accept();
  second.send();
  worker.last.receive(OK);
  worker.dispatcher.advance(1000);
  assert.equal(worker.last.state, 'closed');
  assert.equal(stat('upstream_cx_max_duration_reached'), 2);
});

test('draining: free connections close, used ones after their response, and the pool is gone', () => {
  const { request, worker, manager, pool, cluster } = setup();
  const free = request();
  const used = request();
  worker.connections[0].accept();
  worker.connections[1].accept();
  free.send();
  used.send();
  worker.connections[0].receive(OK);
  manager.applyHosts({ cluster: 'a', hosts: [] });
  assert.equal(worker.connections[0].state, 'closed');
  assert.equal(worker.connections[1].state, 'open');
  assert.equal(cluster.connections, 1);
  worker.connections[1].receive(OK);
  assert.ok(used.complete);
  assert.equal(worker.connections[1].state, 'closed');
  assert.ok(pool.idle);
  assert.equal(cluster.connections, 0);
  assert.equal(worker.gauge('cluster.a.upstream_cx_active'), 0);
});

test('what waits on a pool that drains is still served', () => {
  const { request, worker, manager, cluster } = setup();
  const waiting = request();
  manager.applyHosts({ cluster: 'a', hosts: [] });
  worker.last.accept();
  waiting.send();
  worker.last.receive(OK);
  assert.ok(waiting.complete);
  assert.equal(cluster.connections, 0);
});

test('connect options: TCP_NODELAY, keepalive, source address, buffer limit', () => {
  const { request, worker } = setup({
    perConnectionBufferLimitBytes: 4096,
    upstreamConnectionOptions: { tcpKeepalive: { keepaliveTime: 30 } },
    upstreamBindConfig: { sourceAddress: { address: '127.0.0.9', portValue: 0 } },
  });
  request();
  const { options } = worker.last;
  assert.equal(options.sourceAddress?.asString, '127.0.0.9:0');
  assert.deepEqual(
    options.socketOptions?.map(({ level, name, value }) => [level, name, value]),
    [
      [6, 1, 1],
      [1, 9, 1],
      [6, 4, 30],
    ],
  );
  assert.deepEqual(worker.last.bufferLimits, [4096]);
});

test('a stream that ends while it pauses reading does not stall the next', () => {
  const { request, worker } = setup();
  const first = request();
  worker.last.accept();
  first.send();
  worker.last.receive(OK.slice(0, -1));
  first.encoder?.stream.readDisable(true);
  first.encoder?.stream.readDisable(true);
  first.encoder?.stream.readDisable(false);
  assert.equal(worker.last.readEnabled, false);
  worker.last.receive('k');
  assert.equal(first.complete, false);
  first.encoder?.stream.readDisable(false);
  assert.ok(first.complete);

  const second = request().send();
  // The rest of the response lies in the codec already when reading is paused.
  second.onComplete = () => second.encoder?.stream.readDisable(true);
  worker.last.receive(OK);
  assert.ok(second.complete);
  assert.ok(worker.last.readEnabled);
  second.encoder?.stream.readDisable(false);
  const third = request().send();
  worker.last.receive(OK);
  assert.ok(third.complete);
  assert.equal(worker.connections.length, 1);
});

test('no buffer memory is left behind', () => {
  const { request, worker, manager } = setup();
  for (let i = 0; i < 50; i++) {
    const each = request();
    if (each.waiting) worker.last.accept();
    each.send(i % 3 !== 0);
    if (i % 5 === 0) worker.last.remoteClose();
    else if (i % 7 === 0) each.encoder?.stream.resetStream(StreamResetReason.LocalReset);
    else worker.last.receive(OK);
  }
  manager.close();
  // The shared tail block of `reserve` stays.
  assert.ok(worker.dispatcher.slab.blocksInUse <= 1, `${worker.dispatcher.slab.blocksInUse} blocks in use`);
  assert.equal(worker.gauge('cluster.a.upstream_cx_active'), 0);
  assert.equal(worker.gauge('cluster.a.upstream_rq_active'), 0);
  assert.equal(worker.gauge('cluster.a.upstream_cx_rx_bytes_buffered'), 0);
});
