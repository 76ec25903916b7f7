import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FormatterContext } from '../../../src/proxy/access_log/access_log.ts';
import {
  type AccessLogFilterConfig,
  type AccessLogFilterContext,
  compileAccessLogFilter,
} from '../../../src/proxy/access_log/filters.ts';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import type { FractionalPercent } from '../../../src/proxy/runtime/runtime.ts';
import type { StreamInfo } from '../../../src/proxy/stream_info/stream_info.ts';
import { context, headers, streamInfo } from './support.ts';

const DENOMINATORS = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 };

function factoryContext(values: Record<string, number> = {}, random = 0): AccessLogFilterContext {
  return {
    random: () => random,
    runtime: {
      snapshot: {
        get: (key) => (key in values ? String(values[key]) : undefined),
        getInteger: (key, defaultValue) => values[key] ?? defaultValue,
        getDouble: (key, defaultValue) => values[key] ?? defaultValue,
        getBoolean: (_, defaultValue) => defaultValue,
        featureEnabled: (key, { numerator, denominator }: FractionalPercent, number) =>
          number % DENOMINATORS[denominator] < (values[key] ?? numerator),
      },
    },
  };
}

function passes(
  config: AccessLogFilterConfig,
  info: Partial<StreamInfo> = {},
  log: Partial<FormatterContext> = {},
  owner = factoryContext(),
): boolean {
  return compileAccessLogFilter(config, owner).evaluate(context(log), streamInfo(info));
}

test('status code and duration: every operation, runtime key', () => {
  const status = (op: string, defaultValue: number, runtimeKey = ''): AccessLogFilterConfig => ({
    statusCodeFilter: { comparison: { op, value: { defaultValue, runtimeKey } } },
  });
  assert.deepEqual(
    ['EQ', 'GE', 'LE', 'NE'].map((op) => [203, 204, 205].map((value) => passes(status(op, value)))),
    [
      [false, true, false],
      [true, true, false],
      [false, true, true],
      [true, false, true],
    ],
  );
  assert.equal(passes(status('GE', 400, 'log.status'), {}, {}, factoryContext({ 'log.status': 200 })), true);
  assert.equal(passes(status('GE', 400, 'log.status')), false);
  const duration: AccessLogFilterConfig = { durationFilter: { comparison: { op: 'GE', value: { defaultValue: 226 } } } };
  assert.equal(passes(duration), true);
  assert.equal(passes(duration, { endMonotonicMs: 1225.9 }), false);
  assert.equal(passes(duration, { endMonotonicMs: -1 }), false);
});

test('health checks and traces', () => {
  assert.deepEqual(
    [passes({ notHealthCheckFilter: {} }), passes({ notHealthCheckFilter: {} }, { healthCheck: true })],
    [true, false],
  );
  const traced = (nibble: string, healthCheck = false): boolean =>
    passes(
      { traceableFilter: {} },
      { healthCheck },
      { requestHeaders: headers({ 'x-request-id': `cc21d9b0-cf5c-${nibble}32b-8c7e-98aeb7988cd2` }) },
    );
  assert.deepEqual(
    ['4', '9', 'a', 'b'].map((nibble) => traced(nibble)),
    [false, true, true, true],
  );
  assert.equal(traced('9', true), false);
  assert.equal(passes({ traceableFilter: {} }, {}, { requestHeaders: null }), false);
});

test('runtime: by request id, by chance, overridden', () => {
  const filter = (useIndependentRandomness: boolean): AccessLogFilterConfig => ({
    runtimeFilter: { runtimeKey: 'k', percentSampled: { numerator: 30, denominator: 'HUNDRED' }, useIndependentRandomness },
  });
  const id = (start: string) => ({ requestHeaders: headers({ 'x-request-id': `${start}-cf5c-432b-8c7e-98aeb7988cd2` }) });
  // 0x0000001d = 29, 0x0000001e = 30.
  assert.equal(passes(filter(false), {}, id('0000001d'), factoryContext({}, 99)), true);
  assert.equal(passes(filter(false), {}, id('0000001e'), factoryContext({}, 0)), false);
  assert.equal(passes(filter(true), {}, id('0000001e'), factoryContext({}, 0)), true);
  assert.equal(passes(filter(false), {}, { requestHeaders: null }, factoryContext({}, 29)), true);
  assert.equal(passes(filter(false), {}, { requestHeaders: null }, factoryContext({}, 31)), false);
  assert.equal(passes(filter(false), {}, id('0000001d'), factoryContext({ k: 0 })), false);
});

test('and, or, headers', () => {
  const yes: AccessLogFilterConfig = { headerFilter: { header: { name: 'X-Custom', stringMatch: { prefix: 'custom' } } } };
  const no: AccessLogFilterConfig = { headerFilter: { header: { name: 'x-custom', stringMatch: { exact: 'other' } } } };
  assert.deepEqual([passes(yes), passes(no), passes(yes, {}, { requestHeaders: null })], [true, false, false]);
  assert.equal(passes({ andFilter: { filters: [yes, yes] } }), true);
  assert.equal(passes({ andFilter: { filters: [yes, no] } }), false);
  assert.equal(passes({ orFilter: { filters: [no, yes] } }), true);
  assert.equal(passes({ orFilter: { filters: [no, { andFilter: { filters: [yes, no] } }] } }), false);
});

test('response flags: any, or one of these', () => {
  const noRoute = { responseFlags: 1 << 8 };
  const last = { responseFlags: 1 << 29 };
  assert.deepEqual(
    [passes({ responseFlagFilter: { flags: [] } }), passes({ responseFlagFilter: { flags: [] } }, last)],
    [false, true],
  );
  assert.deepEqual(
    [
      passes({ responseFlagFilter: { flags: ['UH', 'NR'] } }, noRoute),
      passes({ responseFlagFilter: { flags: ['UH'] } }, noRoute),
    ],
    [true, false],
  );
  assert.throws(() => passes({ responseFlagFilter: { flags: ['UH', 'XX'] } }), { path: 'response_flag_filter.flags[1]' });
});

test('gRPC status, excluded or not, unknown without any', () => {
  const filter = (statuses: string[], exclude = false): AccessLogFilterConfig => ({ grpcStatusFilter: { statuses, exclude } });
  assert.deepEqual(
    [passes(filter(['NOT_FOUND'])), passes(filter(['OK'])), passes(filter(['NOT_FOUND'], true))],
    [true, false, false],
  );
  const nothing = { responseTrailers: null, responseHeaders: null };
  assert.equal(passes(filter(['UNKNOWN']), { responseCode: 0 }, nothing), true);
  assert.equal(passes(filter(['CANCELED']), {}, { responseTrailers: headers({ 'grpc-status': '1' }) }), true);
  assert.throws(() => passes(filter(['NOPE'])), ConfigError);
});

test('metadata and log types', () => {
  const filter = (exact: string, key: string, matchIfKeyNotFound?: boolean): AccessLogFilterConfig => ({
    metadataFilter: { matcher: { filter: 'ns', path: [{ key }], value: { stringMatch: { exact } } }, matchIfKeyNotFound },
  });
  assert.deepEqual([passes(filter('value', 'key')), passes(filter('other', 'key'))], [true, false]);
  assert.deepEqual([passes(filter('value', 'none')), passes(filter('value', 'none', false))], [true, false]);
  assert.equal(passes(filter('value', 'key', false), { dynamicMetadata: null }), false);
  const types = (exclude: boolean): AccessLogFilterConfig => ({
    logTypeFilter: { types: ['DownstreamEnd', 'TcpPeriodic'], exclude },
  });
  assert.deepEqual(
    [passes(types(false)), passes(types(true)), passes(types(false), {}, { accessLogType: 'DownstreamStart' })],
    [true, false, false],
  );
});

test('what is not there is refused with its path', () => {
  assert.throws(
    () => compileAccessLogFilter({ andFilter: { filters: [{ extensionFilter: { name: 'cel' } }] } }, factoryContext(), 'filter'),
    {
      path: 'filter.and_filter.filters[0].extension_filter',
    },
  );
  assert.throws(() => compileAccessLogFilter({}, factoryContext()), ConfigError);
});
