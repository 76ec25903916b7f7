/** What travels between services: traceparent and B3, well formed and not; samplers; batches of spans that cannot be sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slab } from '../../../src/core/buffer/slab.ts';
import { Store } from '../../../src/core/stats/store.ts';
import { resourceAttributes } from '../../../src/proxy/extensions/tracers/opentelemetry/resource.ts';
import { compileSampler } from '../../../src/proxy/extensions/tracers/opentelemetry/samplers.ts';
import { parseTraceParent } from '../../../src/proxy/extensions/tracers/opentelemetry/trace_parent.ts';
import { extractB3 } from '../../../src/proxy/extensions/tracers/zipkin/b3.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { Span, type TraceDriver } from '../../../src/proxy/tracing/span.ts';
import { SpanBatch } from '../../../src/proxy/tracing/span_batch.ts';
import { FakeDispatcher } from '../../support/fake_dispatcher.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

test('traceparent', () => {
  assert.deepEqual(parseTraceParent(`00-${TRACE}-${SPAN}-01`), { traceId: TRACE, spanId: SPAN, sampled: true });
  assert.equal(parseTraceParent(`00-${TRACE}-${SPAN}-02`)?.sampled, false);
  assert.equal(parseTraceParent(`cc-${TRACE}-${SPAN}-03-more`)?.sampled, true);
  for (const bad of [
    '',
    `00-${TRACE}-${SPAN}-0`,
    `00-${TRACE}-${SPAN}-01-more`,
    `cc-${TRACE}-${SPAN}-01more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}_${SPAN}-01`,
    `00-${TRACE}-${SPAN}-zz`,
  ]) {
    assert.equal(parseTraceParent(bad), null, bad);
  }
});

test('B3 in one header or several', () => {
  const slab = new Slab(16);
  const extract = (headers: [string, string][]) => {
    const map = HeaderMap.of(slab, headers);
    const found = extractB3(map);
    map.release();
    return found;
  };
  const context = (sampled: boolean | undefined, parentId = '') => ({ traceId: TRACE, spanId: SPAN, parentId, sampled });
  assert.equal(extract([]), null);
  assert.deepEqual(extract([['b3', `${TRACE}-${SPAN}`]]), context(undefined));
  assert.deepEqual(extract([['b3', `${TRACE}-${SPAN}-d-${SPAN}`]]), context(true, SPAN));
  assert.deepEqual(extract([['b3', '0']]), { traceId: '', spanId: '', parentId: '', sampled: false });
  for (const bad of [
    'x',
    `${TRACE}`,
    `${TRACE}-${SPAN}-2`,
    `${TRACE}-zz-1`,
    `${TRACE}-${SPAN}-1-${SPAN}-1`,
    `${'0'.repeat(16)}-${SPAN}`,
  ]) {
    assert.equal(extract([['b3', bad]]), 'invalid', bad);
  }
  const several: [string, string][] = [
    ['x-b3-traceid', TRACE],
    ['x-b3-spanid', SPAN],
  ];
  assert.deepEqual(extract(several), context(undefined));
  assert.deepEqual(extract([...several, ['x-b3-flags', '1']]), context(true));
  assert.deepEqual(extract([...several, ['x-b3-sampled', '0'], ['x-b3-parentspanid', SPAN]]), context(false, SPAN));
  assert.equal(extract([...several, ['x-b3-parentspanid', 'short']]), 'invalid');
});

const driver: TraceDriver = {
  startSpan: () => null,
  startChild: () => {
    throw new Error('not used');
  },
  newTraceId: () => TRACE,
  inject() {},
  report() {},
};
const span = () => new Span(driver, 'n', 'server', true, 0);

test('samplers', () => {
  const type = 'envoy.extensions.tracers.opentelemetry.samplers.v3.';
  const ratio = (numerator: number) =>
    compileSampler({ '@type': `${type}TraceIdRatioBasedSamplerConfig`, samplingPercentage: { numerator } }, 'sampler');
  assert.equal(compileSampler({ '@type': `${type}AlwaysOnSamplerConfig` }, '')(span(), false), true);
  assert.deepEqual([ratio(0)(span(), null), ratio(100)(span(), null)], [false, true]);
  let taken = 0;
  for (let i = 0; i < 1000; i++) {
    const one = span();
    one.traceId = (BigInt(i) * 0x4_1893_74bc_6a7fn).toString(16).padStart(32, '0');
    if (ratio(25)(one, null)) taken++;
  }
  assert.ok(taken > 200 && taken < 300, `${taken}`);
  const parent = compileSampler(
    { '@type': `${type}ParentBasedSamplerConfig`, wrappedSampler: { typedConfig: { '@type': `${type}AlwaysOnSamplerConfig` } } },
    '',
  );
  assert.deepEqual([parent(span(), null), parent(span(), false), parent(span(), true)], [true, false, true]);
  assert.throws(() => compileSampler({ '@type': 'other' }, 'sampler'), /sampler: 'other' is not supported/);
});

test('resource attributes from the environment', (t) => {
  const detector = {
    typedConfig: { '@type': 'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig' },
  };
  t.after(() => delete process.env['OTEL_RESOURCE_ATTRIBUTES']);
  assert.throws(() => resourceAttributes('s', [detector]), /environment variable is empty/);
  process.env['OTEL_RESOURCE_ATTRIBUTES'] = 'a=1,b=x%20y';
  const attributes = resourceAttributes('s', [detector]);
  assert.deepEqual([attributes.get('a'), attributes.get('b'), attributes.get('service.name')], ['1', 'x y', 's']);
  process.env['OTEL_RESOURCE_ATTRIBUTES'] = 'novalue';
  assert.throws(() => resourceAttributes('s', [detector]), /key=value/);
});

test('spans that cannot be sent are bounded and counted', () => {
  const dispatcher = new FakeDispatcher();
  const store = new Store();
  const pending: (() => void)[] = [];
  let exported = 0;
  const batch = new SpanBatch({
    dispatcher,
    max: 10,
    minFlush: () => 2,
    flushIntervalMs: () => 1000,
    timerFlushed: store.counter('timer'),
    dropped: store.counter('dropped'),
    export(spans, done) {
      exported += spans.length;
      pending.push(done);
    },
  });
  for (let i = 0; i < 30; i++) batch.add(span());
  assert.deepEqual([exported, pending.length, store.counterValue('dropped')], [8, 4, 12]);
  pending.shift()!();
  dispatcher.advance(1000);
  assert.deepEqual([exported, store.counterValue('timer')], [18, 1]);
  for (const done of pending.splice(0)) done();
  batch.add(span());
  dispatcher.advance(999);
  assert.equal(exported, 18);
  dispatcher.advance(1);
  assert.equal(exported, 19);
});
