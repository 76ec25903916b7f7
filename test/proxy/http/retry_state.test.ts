/** Retry decisions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StreamResetReason } from '../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import {
  createRetryState,
  RetryOn,
  type RetryState,
  type RetryStateDeps,
  RetryStatus,
} from '../../../src/proxy/http/retry_state.ts';
import type { RetryPolicyConfig } from '../../../src/proxy/http/route/config_types.ts';
import { compileRetryPolicy, parseRetryOn } from '../../../src/proxy/http/route/retry_policy.ts';
import { createRuntime } from '../../../src/proxy/runtime/runtime_impl.ts';
import type { Host, Resource } from '../../../src/proxy/upstream/upstream.ts';
import { request, slab } from './route/support.ts';

class Retries implements Resource {
  max = 3;
  count = 0;
  canCreate(): boolean {
    return this.count < this.max;
  }
  inc(): void {
    this.count++;
  }
  dec(): void {
    this.count--;
  }
}

function counters() {
  const counts: Record<string, number> = {};
  const counter = (name: string) => ({ inc: () => void (counts[name] = (counts[name] ?? 0) + 1) });
  const stats = {
    upstreamRqRetry: counter('retry'),
    upstreamRqRetrySuccess: counter('success'),
    upstreamRqRetryOverflow: counter('overflow'),
    upstreamRqRetryLimitExceeded: counter('limit'),
    upstreamRqRetryBackoffExponential: counter('exponential'),
    upstreamRqRetryBackoffRatelimited: counter('ratelimited'),
  };
  return { counts, stats };
}

interface Setup extends RetryStateDeps {
  retries: Retries;
  counts: Record<string, number>;
}

function setup(random = 0, runtime: Record<string, unknown> = {}): Setup {
  const { counts, stats } = counters();
  return {
    retries: new Retries(),
    stats,
    counts,
    random: () => random,
    runtime: createRuntime([{ name: 's', staticLayer: runtime }]).snapshot,
  };
}

function stateOf(config: RetryPolicyConfig, headers: HeaderMap = request('h', '/'), deps = setup()): RetryState {
  const state = createRetryState(compileRetryPolicy(config, ''), headers, deps);
  assert.ok(state);
  return state;
}

function response(status: number, headers: Record<string, string> = {}): HeaderMap {
  return HeaderMap.of(slab, Object.entries({ ':status': String(status), ...headers }));
}

test('the names of conditions', () => {
  assert.equal(parseRetryOn('5xx, gateway-error ,bogus,,reset'), RetryOn['5xx'] | RetryOn['gateway-error'] | RetryOn.reset);
  assert.equal(parseRetryOn('toString'), 0);
  assert.equal(Object.keys(RetryOn).length, 16);
  assert.equal(new Set(Object.values(RetryOn)).size, 16);
});

test('no condition, no state; headers are taken out of the request either way', () => {
  const headers = request('h', '/', {
    'x-envoy-max-retries': '3',
    'x-envoy-retriable-status-codes': '1',
    'x-envoy-upstream-rq-per-try-timeout-ms': '5',
  });
  assert.equal(createRetryState(null, headers, setup()), null);
  for (const name of ['x-envoy-max-retries', 'x-envoy-retriable-status-codes', 'x-envoy-upstream-rq-per-try-timeout-ms']) {
    assert.equal(headers.has(name), false);
  }
  const asked = request('h', '/', { 'x-envoy-retry-on': '5xx' });
  assert.equal(createRetryState(null, asked, setup())?.retryOn, RetryOn['5xx']);
  assert.equal(asked.has('x-envoy-retry-on'), false);
});

const BY_HEADERS: [retryOn: string, status: number, headers: Record<string, string>, expected: boolean][] = [
  ['5xx', 500, {}, true],
  ['5xx', 599, {}, true],
  ['5xx', 200, {}, false],
  ['5xx', 404, {}, false],
  ['gateway-error', 502, {}, true],
  ['gateway-error', 504, {}, true],
  ['gateway-error', 500, {}, false],
  ['retriable-4xx', 409, {}, true],
  ['retriable-4xx', 400, {}, false],
  ['retriable-status-codes', 418, {}, true],
  ['retriable-status-codes', 419, {}, false],
  ['retriable-headers', 200, { 'x-retry': 'yes' }, true],
  ['retriable-headers', 200, { 'x-retry': 'no' }, false],
  ['connect-failure,reset,refused-stream', 503, {}, false],
  // A rate limited answer is only retried by its own condition.
  ['5xx', 503, { 'x-envoy-ratelimited': 'true' }, false],
  ['envoy-ratelimited', 429, { 'x-envoy-ratelimited': 'true' }, true],
  ['envoy-ratelimited', 429, {}, false],
  ['cancelled', 200, { 'grpc-status': '1' }, true],
  ['deadline-exceeded', 200, { 'grpc-status': '4' }, true],
  ['resource-exhausted', 200, { 'grpc-status': '8' }, true],
  ['internal', 200, { 'grpc-status': '13' }, true],
  ['unavailable', 200, { 'grpc-status': '14' }, true],
  ['unavailable', 200, { 'grpc-status': '13' }, false],
  ['5xx', 200, { 'grpc-status': '14' }, false],
];
for (const [retryOn, status, headers, expected] of BY_HEADERS) {
  test(`${retryOn} and ${status} ${JSON.stringify(headers)}: ${expected ? 'retry' : 'no retry'}`, () => {
    const config = {
      retryOn,
      retriableStatusCodes: [418],
      retriableHeaders: [{ name: 'x-retry', stringMatch: { exact: 'yes' } }],
    };
    const status_ = stateOf(config).shouldRetryHeaders(response(status, headers), request('h', '/'), 0);
    assert.equal(status_, expected ? RetryStatus.Yes : RetryStatus.No);
  });
}

const R = StreamResetReason;
const BY_RESET: [retryOn: string, reason: StreamResetReason, started: boolean, expected: boolean][] = [
  ['5xx,reset', R.Overflow, false, false],
  ['connect-failure', R.LocalConnectionFailure, false, true],
  ['connect-failure', R.RemoteConnectionFailure, false, true],
  ['connect-failure', R.ConnectionTimeout, false, true],
  ['connect-failure', R.ConnectionTermination, false, false],
  ['connect-failure', R.RemoteReset, false, false],
  ['reset', R.RemoteReset, true, true],
  ['reset', R.ConnectionTermination, true, true],
  ['5xx', R.RemoteReset, true, true],
  ['gateway-error', R.LocalReset, true, true],
  ['reset-before-request', R.RemoteReset, false, true],
  ['reset-before-request', R.RemoteReset, true, false],
  ['refused-stream', R.RemoteRefusedStreamReset, true, true],
  ['refused-stream', R.RemoteReset, true, false],
  ['retriable-4xx', R.RemoteReset, true, false],
];
for (const [retryOn, reason, started, expected] of BY_RESET) {
  test(`${retryOn} and reset ${reason}${started ? ' of a started request' : ''}: ${expected ? 'retry' : 'no retry'}`, () => {
    assert.equal(stateOf({ retryOn }).shouldRetryReset(reason, started), expected ? RetryStatus.Yes : RetryStatus.No);
  });
}

test('request headers add conditions, codes, header names and set the number', () => {
  const extra = {
    'x-envoy-retry-on': 'retriable-status-codes,retriable-headers,unavailable',
    'x-envoy-retry-grpc-on': 'cancelled,5xx',
    'x-envoy-max-retries': '9',
    'x-envoy-retriable-status-codes': '301, 302,x',
    'x-envoy-retriable-header-names': 'X-One, x-two',
  };
  const state = stateOf({ retryOn: 'reset', numRetries: 2 }, request('h', '/', extra));
  // Each header knows its own kind of conditions only.
  assert.equal(
    state.retryOn,
    RetryOn.reset | RetryOn['retriable-status-codes'] | RetryOn['retriable-headers'] | RetryOn.cancelled,
  );
  assert.equal(state.retriesRemaining, 9);
  assert.equal(state.wouldRetryFromHeaders(response(302), request('h', '/')), true);
  assert.equal(state.wouldRetryFromHeaders(response(200, { 'x-one': '' }), request('h', '/')), true);
  assert.equal(state.wouldRetryFromHeaders(response(200, { 'x-three': '' }), request('h', '/')), false);
});

test('retriable_request_headers limit retries to matching requests', () => {
  const config = { retryOn: '5xx', retriableRequestHeaders: [{ name: 'x-idempotent', presentMatch: true }] };
  assert.equal(stateOf(config).enabled, false);
  assert.equal(stateOf(config, request('h', '/', { 'x-idempotent': '1' })).enabled, true);
});

test('425 is tried again at once, unless the request came as early data', () => {
  const config = { retryOn: 'retriable-status-codes', retriableStatusCodes: [425] };
  const state = stateOf(config, request('h', '/'), setup(7));
  assert.equal(state.shouldRetryHeaders(response(425), request('h', '/'), 0), RetryStatus.Yes);
  assert.equal(state.nextBackOffMs(), 0);
  assert.equal(stateOf(config).shouldRetryHeaders(response(425), request('h', '/', { 'early-data': '1' }), 0), RetryStatus.No);
});

test('the limit, and the resource from decision to decision', () => {
  const deps = setup();
  const state = stateOf({ retryOn: '5xx', numRetries: 2 }, request('h', '/'), deps);
  const ask = (status: number): RetryStatus => state.shouldRetryHeaders(response(status), request('h', '/'), 0);
  assert.equal(ask(503), RetryStatus.Yes);
  assert.equal(deps.retries.count, 1);
  assert.equal(ask(503), RetryStatus.Yes);
  assert.equal(deps.retries.count, 1);
  assert.equal(ask(503), RetryStatus.NoRetryLimitExceeded);
  assert.equal(deps.retries.count, 0);
  assert.deepEqual(deps.counts, { retry: 2, limit: 1 });
});

test('a retry that helped counts as success', () => {
  const deps = setup();
  const state = stateOf({ retryOn: '5xx' }, request('h', '/'), deps);
  state.shouldRetryReset(R.RemoteReset, true);
  assert.equal(state.shouldRetryHeaders(response(200), request('h', '/'), 0), RetryStatus.No);
  assert.deepEqual(deps.counts, { retry: 1, success: 1 });
  assert.equal(deps.retries.count, 0);
});

test('release gives the resource back, once', () => {
  const deps = setup();
  const state = stateOf({ retryOn: '5xx' }, request('h', '/'), deps);
  state.shouldRetryReset(R.RemoteReset, true);
  state.release();
  state.release();
  assert.equal(deps.retries.count, 0);
});

test('the circuit breaker and upstream.use_retry', () => {
  const full = setup();
  full.retries.count = 3;
  assert.equal(
    stateOf({ retryOn: '5xx' }, request('h', '/'), full).shouldRetryReset(R.RemoteReset, true),
    RetryStatus.NoOverflow,
  );
  assert.deepEqual(full.counts, { overflow: 1 });
  const off = setup(0, { upstream: { use_retry: 0 } });
  assert.equal(stateOf({ retryOn: '5xx' }, request('h', '/'), off).shouldRetryReset(R.RemoteReset, true), RetryStatus.No);
  assert.equal(off.retries.count, 0);
});

function backOffs(config: RetryPolicyConfig, random: number, count: number, runtime = {}): number[] {
  const state = stateOf({ retryOn: '5xx', ...config }, request('h', '/'), setup(random, runtime));
  return Array.from({ length: count }, () => state.nextBackOffMs());
}

test('back-off draws below 25, 50, 100, 200, 250 ms', () => {
  assert.deepEqual(backOffs({}, 999_999_999, 6), [24, 49, 99, 199, 249, 249]);
  assert.deepEqual(backOffs({}, 1000, 3), [0, 0, 0]);
  assert.deepEqual(backOffs({ retryBackOff: { baseInterval: 100, maxInterval: 150 } }, 149, 3), [49, 149, 149]);
  assert.deepEqual(backOffs({ retryBackOff: { baseInterval: 0.5 } }, 9, 2), [0, 1]);
  assert.deepEqual(backOffs({}, 9, 2, { upstream: { base_retry_backoff_ms: 10 } }), [9, 9]);
});

test('rate limited back-off: from v to 1.5 v, for one retry', () => {
  const config: RetryPolicyConfig = {
    retryOn: '5xx',
    numRetries: 9,
    rateLimitedRetryBackOff: {
      resetHeaders: [{ name: 'Retry-After' }, { name: 'x-reset', format: 'UNIX_TIMESTAMP' }],
      maxInterval: 10_000,
    },
  };
  const deps = setup(999);
  const state = stateOf(config, request('h', '/'), deps);
  const after = (headers: Record<string, string>, nowMs = 0): number => {
    state.shouldRetryHeaders(response(503, headers), request('h', '/'), nowMs);
    return state.nextBackOffMs();
  };
  assert.equal(after({ 'retry-after': '2' }), 2999);
  assert.equal(state.nextBackOffMs(), 999 % 25);
  assert.equal(after({ 'x-reset': '1005' }, 1_000_000), 5999);
  // Past, too far away, or no number: the ordinary back-off.
  assert.equal(after({ 'x-reset': '999' }, 1_000_000), 999 % 50);
  assert.equal(after({ 'retry-after': '11' }), 999 % 100);
  assert.equal(after({ 'retry-after': 'soon' }), 999 % 200);
  assert.equal(after({ 'retry-after': '11', 'x-reset': '4' }), 4999);
  assert.equal(deps.counts.ratelimited, 3);
  assert.equal(deps.counts.exponential, 4);
});

test('host predicates', () => {
  const host = (canary: boolean): Host => ({ canary }) as Partial<Host> as Host;
  const [a, b, canary] = [host(false), host(false), host(true)];
  const previous = stateOf({
    retryOn: '5xx',
    retryHostPredicate: [{ name: 'envoy.retry_host_predicates.previous_hosts' }],
    hostSelectionRetryMaxAttempts: 5,
  });
  previous.onHostAttempted(a);
  assert.equal(previous.shouldSelectAnotherHost(a), true);
  assert.equal(previous.shouldSelectAnotherHost(b), false);
  assert.equal(previous.hostSelectionMaxAttempts, 5);
  const type = 'envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate';
  const omit = stateOf({ retryOn: '5xx', retryHostPredicate: [{ name: 'x', typedConfig: { '@type': type } }] });
  assert.equal(omit.shouldSelectAnotherHost(canary), true);
  assert.equal(omit.shouldSelectAnotherHost(a), false);
  assert.equal(omit.hostSelectionMaxAttempts, 1);
});
