/** Call-outs: through real clusters, pools and codecs, onto connections whose far side the test plays. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import {
  AsyncClient,
  AsyncFailure,
  type AsyncRequestOptions,
  type AsyncResponse,
  type AsyncStreamCallbacks,
} from '../../../src/proxy/http/async_client.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { RetryOn } from '../../../src/proxy/http/retry_state.ts';
import { TestProxy } from './support/proxy.ts';

interface Outcome {
  status?: string;
  headers?: Record<string, string>;
  body?: string;
  trailers?: Record<string, string> | null;
  details?: string;
  failure?: AsyncFailure;
  calls: number;
}

function setUp(options = {}): { proxy: TestProxy; client: AsyncClient } {
  const proxy = new TestProxy(options);
  return { proxy, client: AsyncClient.of(proxy.context) };
}

function head(proxy: TestProxy, method = 'GET', path = '/check'): HeaderMap {
  return HeaderMap.of(proxy.dispatcher.slab, [
    [':method', method],
    [':path', path],
    [':authority', 'auth.test'],
  ]);
}

function bytes(proxy: TestProxy, text: string): SliceBuffer {
  const buffer = new SliceBuffer(proxy.dispatcher.slab);
  buffer.appendUtf8(text);
  return buffer;
}

function call(
  { proxy, client }: { proxy: TestProxy; client: AsyncClient },
  options: AsyncRequestOptions = {},
  body: string | null = null,
  cluster = 'c',
): { outcome: Outcome; cancel: (() => void) | null } {
  const outcome: Outcome = { calls: 0 };
  const request = client.send(
    cluster,
    head(proxy, body === null ? 'GET' : 'POST'),
    body === null ? null : bytes(proxy, body),
    {
      onSuccess(response: AsyncResponse) {
        outcome.calls++;
        outcome.status = response.headers.get(':status');
        outcome.headers = response.headers.toObject();
        outcome.body = response.body.toText();
        outcome.trailers = response.trailers === null ? null : response.trailers.toObject();
        outcome.details = response.localReplyDetails;
      },
      onFailure(reason) {
        outcome.calls++;
        outcome.failure = reason;
      },
    },
    options,
  );
  return { outcome, cancel: request === null ? null : () => request.cancel() };
}

function finish({ proxy, client }: { proxy: TestProxy; client: AsyncClient }): void {
  proxy.finish();
  assert.equal(client.active, 0, 'call-outs left');
}

describe('a whole call-out', () => {
  test('goes to the cluster and brings headers and body back', () => {
    const rig = setUp();
    const { outcome } = call(rig);
    const upstream = rig.proxy.upstream();
    assert.equal(
      upstream.sent,
      'GET /check HTTP/1.1\r\nhost: auth.test\r\nx-envoy-internal: true\r\nx-forwarded-for: 192.0.2.1\r\n\r\n',
    );
    upstream.receive('HTTP/1.1 200 OK\r\nx-user: ann\r\ncontent-length: 5\r\n\r\nhello');
    assert.equal(outcome.status, '200');
    assert.equal(outcome.headers!['x-user'], 'ann');
    assert.equal(outcome.body, 'hello');
    assert.equal(outcome.details, '');
    assert.equal(outcome.calls, 1);
    assert.equal(rig.proxy.counter('cluster.c.upstream_rq_200'), 1);
    assert.equal(rig.proxy.counter('http.async-client.rq_total'), 1);
    finish(rig);
  });

  test('sends a body with its length, and leaves out what options say', () => {
    const rig = setUp();
    const { outcome } = call(rig, { sendXff: false, sendInternal: false }, 'user=ann');
    const upstream = rig.proxy.upstream();
    assert.equal(upstream.sent, 'POST /check HTTP/1.1\r\nhost: auth.test\r\ncontent-length: 8\r\n\r\nuser=ann');
    upstream.receive('HTTP/1.1 204 No Content\r\n\r\n');
    assert.equal(outcome.status, '204');
    finish(rig);
  });

  test('reuses connection and objects for the next', () => {
    const rig = setUp();
    for (let i = 0; i < 5; i++) {
      const { outcome } = call(rig);
      rig.proxy.upstream().receive(`HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${i}`);
      rig.proxy.dispatcher.run();
      assert.equal(outcome.body, String(i));
    }
    assert.equal(rig.proxy.upstreams.length, 1);
    finish(rig);
  });

  test('a cluster that is not there is answered 500 at once', () => {
    const rig = setUp();
    const { outcome, cancel } = call(rig, {}, null, 'nowhere');
    assert.equal(cancel, null);
    assert.equal(outcome.status, '500');
    assert.equal(outcome.details, 'cluster_not_found');
    assert.equal(rig.client.hasCluster('nowhere'), false);
    finish(rig);
  });

  test('without a host it is answered 503 at once', () => {
    const rig = setUp({ endpoints: [] });
    const { outcome } = call(rig);
    assert.equal(outcome.status, '503');
    assert.equal(outcome.body, 'no healthy upstream');
    assert.equal(outcome.details, 'no_healthy_upstream');
    finish(rig);
  });

  test('times out with 504 and resets the upstream', () => {
    const rig = setUp();
    const { outcome } = call(rig, { timeoutMs: 200 });
    const upstream = rig.proxy.upstream();
    assert.match(upstream.sent, /x-envoy-expected-rq-timeout-ms: 200/);
    rig.proxy.advance(199);
    assert.equal(outcome.calls, 0);
    rig.proxy.advance(2);
    assert.equal(outcome.status, '504');
    assert.equal(outcome.details, 'response_timeout');
    assert.equal(upstream.state, 'closed');
    assert.equal(rig.proxy.counter('cluster.c.upstream_rq_timeout'), 1);
    finish(rig);
  });

  test('a response beyond the limit fails, and the upstream is reset', () => {
    const rig = setUp();
    const { outcome } = call(rig, { maxResponseBytes: 4 });
    const upstream = rig.proxy.upstream();
    upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345');
    assert.equal(outcome.failure, AsyncFailure.ResponseTooLarge);
    rig.proxy.dispatcher.run();
    assert.equal(upstream.state, 'closed');
    assert.equal(outcome.calls, 1);
    finish(rig);
  });

  test('a response cut short is a reset; one that never began is answered 503', () => {
    const rig = setUp();
    const cut = call(rig);
    rig.proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345');
    rig.proxy.upstream().remoteClose();
    assert.equal(cut.outcome.failure, AsyncFailure.Reset);
    const none = call(rig);
    rig.proxy.upstream().remoteClose();
    assert.equal(none.outcome.status, '503');
    finish(rig);
  });

  test('cancelled: no callback, the upstream is reset; waiting for a connection too', () => {
    const rig = setUp();
    const sent = call(rig);
    const upstream = rig.proxy.upstream();
    sent.cancel!();
    rig.proxy.dispatcher.run();
    assert.equal(upstream.state, 'closed');
    const waiting = call(rig);
    waiting.cancel!();
    waiting.cancel!();
    rig.proxy.dispatcher.run();
    assert.equal(sent.outcome.calls + waiting.outcome.calls, 0);
    finish(rig);
  });

  test('retries as its policy says, with the body', () => {
    const rig = setUp();
    const retryPolicy = {
      retryOn: RetryOn['5xx'],
      numRetries: 1,
      perTryTimeoutMs: 0,
      perTryIdleTimeoutMs: 0,
      retriableStatusCodes: [],
      retriableHeaders: [],
      retriableRequestHeaders: [],
      baseIntervalMs: 25,
      maxIntervalMs: 250,
      rateLimitedResetHeaders: [],
      rateLimitedMaxIntervalMs: 0,
      hostPredicates: [],
      previousPriorities: 0,
      hostSelectionMaxAttempts: 1,
    };
    const { outcome } = call(rig, { retryPolicy }, 'again');
    rig.proxy.upstream().receive('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n');
    rig.proxy.advance(300);
    const upstream = rig.proxy.upstream();
    assert.equal(upstream.sent.split('again').length - 1, rig.proxy.upstreams.length === 1 ? 2 : 1);
    upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    assert.equal(outcome.status, '200');
    assert.equal(rig.proxy.counter('cluster.c.upstream_rq_retry_success'), 1);
    finish(rig);
  });

  test('a callback that throws leaves nothing behind', () => {
    const rig = setUp();
    rig.client.send('c', head(rig.proxy), null, {
      onSuccess() {
        throw new Error('mine');
      },
      onFailure() {},
    });
    assert.throws(() => rig.proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'), /mine/);
    rig.proxy.dispatcher.run();
    finish(rig);
  });
});

describe('a streaming call-out', () => {
  function recorder(events: string[]): AsyncStreamCallbacks {
    return {
      onHeaders: (headers, end) => events.push(`headers ${headers.get(':status')} ${end}`),
      onData: (data, end) => events.push(`data ${data.toText()} ${end}`),
      onTrailers: (trailers) => events.push(`trailers ${trailers.get('x-t')}`),
      onComplete: () => events.push('complete'),
      onReset: () => events.push('reset'),
      onSendBackedUp: (backedUp) => events.push(`backed up ${backedUp}`),
    };
  }

  test('hands over piece by piece, both ways', () => {
    const rig = setUp();
    const events: string[] = [];
    const stream = rig.client.start('c', recorder(events));
    stream.sendHeaders(head(rig.proxy, 'POST'), false);
    const upstream = rig.proxy.upstream();
    stream.sendData(bytes(rig.proxy, 'one'), false);
    stream.sendData(bytes(rig.proxy, 'two'), true);
    assert.match(upstream.sent, /\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/);
    upstream.receive('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    upstream.receive('1\r\na\r\n');
    upstream.receive('1\r\nb\r\n');
    upstream.receive('0\r\n\r\n');
    assert.deepEqual(events, ['headers 200 false', 'data a false', 'data b false', 'data  true', 'complete']);
    finish(rig);
  });

  test('an early response ends it: the rest of the request is dropped', () => {
    const rig = setUp();
    const events: string[] = [];
    const stream = rig.client.start('c', recorder(events));
    stream.sendHeaders(head(rig.proxy, 'POST'), false);
    rig.proxy.upstream().receive('HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n');
    assert.deepEqual(events, ['headers 413 true', 'complete']);
    assert.equal(stream.active, false);
    stream.sendData(bytes(rig.proxy, 'late'), true);
    rig.proxy.dispatcher.run();
    finish(rig);
  });

  test('a slow reader stops the upstream, and starts it again', () => {
    const rig = setUp();
    const events: string[] = [];
    const stream = rig.client.start('c', recorder(events));
    stream.sendHeaders(head(rig.proxy), true);
    const upstream = rig.proxy.upstream();
    upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab');
    stream.readDisable(true);
    assert.equal(upstream.readEnabled, false);
    stream.readDisable(false);
    assert.equal(upstream.readEnabled, true);
    upstream.receive('cd');
    assert.equal(events.at(-1), 'complete');
    finish(rig);
  });

  test('what waits for a connection is bounded by telling the sender', () => {
    const rig = setUp();
    const events: string[] = [];
    const stream = rig.client.start('c', recorder(events), { bufferLimitBytes: 8 });
    stream.sendHeaders(head(rig.proxy, 'POST'), false);
    stream.sendData(bytes(rig.proxy, '0123456789'), false);
    assert.deepEqual(events, ['backed up true']);
    assert.equal(stream.sendBackedUp, true);
    rig.proxy.upstream();
    assert.deepEqual(events, ['backed up true', 'backed up false']);
    stream.cancel();
    rig.proxy.dispatcher.run();
    finish(rig);
  });

  test('cancelled inside a callback', () => {
    const rig = setUp();
    const events: string[] = [];
    const stream = rig.client.start('c', {
      ...recorder(events),
      onHeaders: () => stream.cancel(),
    });
    stream.sendHeaders(head(rig.proxy), true);
    rig.proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    rig.proxy.dispatcher.run();
    assert.deepEqual(events, []);
    finish(rig);
  });
});
