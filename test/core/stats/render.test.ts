import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderJson, renderPrometheus, renderText } from '../../../src/core/stats/render.ts';
import { Store } from '../../../src/core/stats/store.ts';
import { TagProducer } from '../../../src/core/stats/tags.ts';

function sample(): Store {
  const store = new Store();
  store.scope('cluster.b.').counter('upstream_rq_200').add(2);
  store.scope('cluster.a.').counter('upstream_rq_503').inc();
  store.scope('cluster.a.').counter('never');
  store.gauge('server.live').set(1);
  store.textReadout('listener_manager.lds.version_text').set('v"1');
  const histogram = store.histogram('cluster.a.upstream_rq_time', 'milliseconds');
  for (const value of [200, 300, 300]) histogram.recordValue(value);
  store.histogram('cluster.a.unused', 'milliseconds');
  store.mergeHistograms();
  return store;
}

const QUANTILES =
  'P0(200,200) P25(207.5,207.5) P50(302.5,302.5) P75(306.25,306.25) P90(308.5,308.5) P95(309.25,309.25) P99(309.85,309.85) ' +
  'P99.5(309.925,309.925) P99.9(309.985,309.985) P100(310,310)';

test('text', () => {
  assert.equal(
    renderText(sample()),
    `listener_manager.lds.version_text: "v"1"
cluster.a.never: 0
cluster.a.upstream_rq_503: 1
cluster.b.upstream_rq_200: 2
server.live: 1
cluster.a.unused: No recorded values
cluster.a.upstream_rq_time: ${QUANTILES}
`,
  );
});

test('text: only used, one type, filter', () => {
  const store = sample();
  assert.equal(
    renderText(store, { usedOnly: true, type: 'Counters' }),
    'cluster.a.upstream_rq_503: 1\ncluster.b.upstream_rq_200: 2\n',
  );
  assert.equal(renderText(store, { type: 'Gauges' }), 'server.live: 1\n');
  assert.equal(renderText(store, { type: 'TextReadouts' }), 'listener_manager.lds.version_text: "v"1"\n');
  assert.equal(renderText(store, { filter: /upstream_rq_\d/ }), 'cluster.a.upstream_rq_503: 1\ncluster.b.upstream_rq_200: 2\n');
});

test('text: buckets', () => {
  const store = sample();
  const options = { type: 'Histograms', usedOnly: true } as const;
  assert.equal(
    renderText(store, { ...options, histogramBuckets: 'cumulative' }),
    'cluster.a.upstream_rq_time: B0.5(0,0) B1(0,0) B5(0,0) B10(0,0) B25(0,0) B50(0,0) B100(0,0) B250(1,1) B500(3,3) B1000(3,3) ' +
      'B2500(3,3) B5000(3,3) B10000(3,3) B30000(3,3) B60000(3,3) B300000(3,3) B600000(3,3) B1.8e+06(3,3) B3.6e+06(3,3)\n',
  );
  assert.match(renderText(store, { ...options, histogramBuckets: 'disjoint' }), / B250\(1,1\) B500\(2,2\) B1000\(0,0\) /);
  assert.equal(
    renderText(store, { ...options, histogramBuckets: 'detailed' }),
    `cluster.a.upstream_rq_time:\n  totals=200,10:1, 300,10:2\n  intervals=200,10:1, 300,10:2\n  summary=${QUANTILES}\n`,
  );
});

test('an interval without values is nan in text and null in JSON', () => {
  const store = sample();
  store.mergeHistograms();
  assert.match(renderText(store, { type: 'Histograms', usedOnly: true }), /: P0\(nan,200\) P25\(nan,207.5\)/);
  const json = JSON.parse(renderJson(store, { type: 'Histograms', usedOnly: true }));
  assert.deepEqual(json.stats[0].histograms.supported_quantiles, [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]);
  assert.deepEqual(json.stats[0].histograms.computed_quantiles[0].values[1], { cumulative: 207.5, interval: null });
});

test('JSON', () => {
  const store = sample();
  assert.equal(
    renderJson(store, { usedOnly: true, filter: /live|version|200/ }),
    '{"stats":[{"name":"listener_manager.lds.version_text","value":"v\\"1"},{"name":"cluster.b.upstream_rq_200","value":2},{"name":"server.live","value":1}]}',
  );
  const buckets = JSON.parse(renderJson(store, { usedOnly: true, type: 'Histograms', histogramBuckets: 'disjoint' }));
  assert.deepEqual(buckets.stats[0].histograms[0].buckets[8], { upper_bound: 500, interval: 2, cumulative: 2 });
  const detailed = JSON.parse(renderJson(store, { usedOnly: true, type: 'Histograms', histogramBuckets: 'detailed' }));
  assert.deepEqual(detailed.stats[0].histograms.details[0].totals[1], { lower_bound: 300, width: 10, count: 2 });
});

test('Prometheus', () => {
  const store = sample();
  store.counter('cluster.x.upstream_rq_200').inc();
  store.counter('odd-name.täg');
  store.counter('wasmcustom.my.metric').add(4);
  assert.equal(
    renderPrometheus(store, { filter: /^(?!.*(unused|never))/, textReadouts: true }),
    `# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="a"} 1
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="b"} 2
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="x"} 1
# TYPE envoy_odd_name_t_g counter
envoy_odd_name_t_g{} 0
# TYPE my_metric counter
my_metric{} 4
# TYPE envoy_server_live gauge
envoy_server_live{} 1
# TYPE envoy_listener_manager_lds_version_text gauge
envoy_listener_manager_lds_version_text{text_value="v\\"1"} 1
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="0.5"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="1"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="5"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="10"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="25"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="50"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="100"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="250"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="500"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="1000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="2500"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="5000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="10000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="30000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="60000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="300000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="600000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="1800000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="3600000"} 3
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="+Inf"} 3
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="a"} 800
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="a"} 3
`,
  );
  const summary = renderPrometheus(store, { type: 'Histograms', usedOnly: true, histogramBuckets: 'summary' });
  assert.match(summary, /^# TYPE envoy_cluster_upstream_rq_time summary\n/);
  assert.match(summary, /upstream_rq_time\{envoy_cluster_name="a",quantile="0.999"\} 309.985\n/);
});

test('Prometheus: own buckets, escaped labels', () => {
  const store = new Store({
    tagProducer: new TagProducer({ fixedTags: [{ name: 'my.tag', value: 'a"b\\c\nd' }] }),
    bucketsFor: (name) => (name === 'h' ? [1, 2] : undefined),
  });
  store.histogram('h', 'milliseconds').recordValue(1);
  assert.equal(
    renderPrometheus(store),
    '# TYPE envoy_h histogram\n' +
      ['h_bucket{T,le="1"} 0', 'h_bucket{T,le="2"} 1', 'h_bucket{T,le="+Inf"} 1', 'h_sum{T} 1', 'h_count{T} 1']
        .map((line) => `envoy_${line.replace('T', 'my_tag="a\\"b\\\\c\\nd"')}\n`)
        .join(''),
  );
});
