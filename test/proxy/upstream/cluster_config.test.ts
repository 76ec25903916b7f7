import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Store } from '../../../src/core/stats/store.ts';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import type { Cluster } from '../../../src/proxy/config/types.gen.ts';
import { parseCluster } from '../../../src/proxy/upstream/cluster_config.ts';
import { ClusterStats, ResponseCodeStats } from '../../../src/proxy/upstream/cluster_stats.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { parseClusters } from '../../../src/proxy/upstream/discovery/cluster_discovery.ts';
import { lbEndpoint, staticCluster } from './fakes.ts';

/** What the configuration layer delivers is what this layer reads. */
export const generated = (cluster: Cluster): PlainCluster => cluster;

const HTTP = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';

test('defaults', () => {
  const settings = parseCluster(staticCluster('a', ['10.0.0.1:80']));
  assert.equal(settings.connectTimeoutMs, 5000);
  assert.equal(settings.perConnectionBufferLimitBytes, 1048576);
  assert.equal(settings.lb.policy, 'ROUND_ROBIN');
  assert.deepEqual([settings.lb.healthyPanicThreshold, settings.lb.overprovisioningFactor], [50, 140]);
  assert.deepEqual(settings.thresholds[0], {
    maxConnections: 1024,
    maxPendingRequests: 1024,
    maxRequests: 1024,
    maxRetries: 3,
    maxConnectionPools: Number.MAX_SAFE_INTEGER,
    trackRemaining: false,
    retryBudget: null,
    maxConnectionsPerHost: Number.MAX_SAFE_INTEGER,
  });
  assert.deepEqual(
    [settings.http.idleTimeoutMs, settings.http.maxRequestsPerConnection, settings.tcpIdleTimeoutMs],
    [3_600_000, 0, 600_000],
  );
  assert.deepEqual([settings.dns.family, settings.dns.refreshRateMs], ['AUTO', 5000]);
});

test('HttpProtocolOptions instead of the deprecated fields, not beside them', () => {
  assert.throws(
    () =>
      parseCluster(
        staticCluster('a', [], {
          commonHttpProtocolOptions: { idleTimeout: 1 },
          typedExtensionProtocolOptions: { [HTTP]: { '@type': HTTP } },
        }),
      ),
    /common_http_protocol_options has no effect beside typed_extension_protocol_options/,
  );
  const settings = parseCluster(
    staticCluster('a', [], {
      maxRequestsPerConnection: 5,
      typedExtensionProtocolOptions: {
        [HTTP]: {
          '@type': HTTP,
          commonHttpProtocolOptions: { maxRequestsPerConnection: 9, maxHeadersCount: 50 },
          explicitHttpConfig: { httpProtocolOptions: { enableTrailers: true, headerKeyFormat: { properCaseWords: {} } } },
        },
      },
    }),
  );
  assert.deepEqual([settings.http.idleTimeoutMs, settings.http.maxRequestsPerConnection], [3_600_000, 9]);
  const { enableTrailers, headerKeyFormat, maxHeadersCount } = settings.http.http1;
  assert.deepEqual([enableTrailers, headerKeyFormat, maxHeadersCount], [true, 'proper_case_words', 50]);
});

test('DnsCluster as cluster_type', () => {
  const of = (more: object): ReturnType<typeof parseCluster> =>
    parseCluster({
      ...staticCluster('a', ['svc.test:80']),
      type: undefined,
      clusterType: {
        name: 'envoy.clusters.dns',
        typedConfig: {
          '@type': 'envoy.extensions.clusters.dns.v3.DnsCluster',
          dnsRefreshRate: 9000,
          dnsLookupFamily: 'V4_ONLY',
          ...more,
        },
      },
    });
  assert.deepEqual([of({}).type, of({}).dns.refreshRateMs, of({}).dns.family], ['STRICT_DNS', 9000, 'V4_ONLY']);
  assert.equal(of({ allAddressesInSingleEndpoint: true }).type, 'LOGICAL_DNS');
});

test('the first known load balancing policy wins', () => {
  const policy = (type: string, more: object = {}) => ({ typedExtensionConfig: { typedConfig: { '@type': type, ...more } } });
  const base = 'envoy.extensions.load_balancing_policies.';
  const settings = parseCluster(
    staticCluster('a', [], {
      lbPolicy: 'RANDOM',
      loadBalancingPolicy: {
        policies: [
          policy('x.Unknown'),
          policy(`${base}least_request.v3.LeastRequest`, { choiceCount: 4 }),
          policy(`${base}random.v3.Random`),
        ],
      },
    }),
  );
  assert.deepEqual([settings.lb.policy, settings.lb.choiceCount], ['LEAST_REQUEST', 4]);
});

test('endpoint metadata, canary, pipes and IPv6', () => {
  const cluster = staticCluster('a', []);
  cluster.loadAssignment!.endpoints = [
    {
      lbEndpoints: [
        lbEndpoint('::1:80', { metadata: { filterMetadata: { 'envoy.lb': { canary: true } } } }),
        { endpoint: { address: { pipe: { path: '/run/a.sock' } }, hostname: 'a.test' } },
      ],
    },
  ];
  const [six, pipe] = parseCluster(cluster).endpoints;
  assert.deepEqual([six.address?.asString, six.canary], ['[::1]:80', true]);
  assert.deepEqual([pipe.address?.asString, pipe.hostname], ['/run/a.sock', 'a.test']);
});

const CHECK = { timeout: 1000, interval: 1000, healthyThreshold: 1, unhealthyThreshold: 1 };

test('what cannot work is refused with its path', () => {
  const one = staticCluster('a', ['10.0.0.1:80']);
  const dns = (more: Partial<PlainCluster>): PlainCluster => ({
    ...staticCluster('a', ['svc.test:80']),
    type: 'STRICT_DNS',
    ...more,
  });
  const typed = (value: object): PlainCluster => ({
    ...one,
    typedExtensionProtocolOptions: { [HTTP]: { '@type': HTTP, ...value } },
  });
  const gap = staticCluster('a', []);
  gap.loadAssignment!.endpoints = [{ priority: 0 }, { priority: 2 }];
  const table: [object, string, RegExp][] = [
    [{ name: 'a', type: 'EDS' }, 'eds_cluster_config', /needs eds_cluster_config/],
    [{ ...one, type: 'EDS' }, 'load_assignment', /has no load_assignment/],
    [{ ...one, edsClusterConfig: {} }, 'eds_cluster_config', /non-EDS cluster/],
    [{ ...one, lbPolicy: 'UNHEARD_OF' }, 'lb_policy', /UNHEARD_OF is not supported/],
    [{ ...one, lbPolicy: 'MAGLEV', maglevLbConfig: { tableSize: 8 } }, 'maglev_lb_config.table_size', /must be prime/],
    [
      { ...one, lbPolicy: 'RING_HASH', ringHashLbConfig: { minimumRingSize: 20, maximumRingSize: 10 } },
      'ring_hash_lb_config',
      /minimum_ring_size \(20\) > maximum_ring_size \(10\)/,
    ],
    [{ ...one, lbPolicy: 'CLUSTER_PROVIDED' }, 'lb_policy', /not valid for cluster type STATIC/],
    [{ name: 'a', type: 'ORIGINAL_DST' }, 'lb_policy', /only CLUSTER_PROVIDED/],
    [{ ...one, type: 'ORIGINAL_DST', lbPolicy: 'CLUSTER_PROVIDED' }, 'load_assignment', /no load assignment/],
    [{ ...one, healthChecks: [{}, {}] }, 'health_checks', /Multiple health checks/],
    [
      { ...one, healthChecks: [{ ...CHECK, customHealthCheck: { name: 'redis' } }] },
      'health_checks[0].custom_health_check',
      /redis/,
    ],
    [{ ...one, healthChecks: [{ ...CHECK }] }, 'health_checks[0]', /one of http_health_check/],
    [{ ...one, healthChecks: [{ ...CHECK, interval: undefined, tcpHealthCheck: {} }] }, 'health_checks[0].interval', /required/],
    [
      { ...one, healthChecks: [{ ...CHECK, tcpHealthCheck: { send: { text: '4g' } } }] },
      'health_checks[0].tcp_health_check.send.text',
      /invalid hex string '4g'/,
    ],
    [
      { ...one, healthChecks: [{ ...CHECK, httpHealthCheck: { path: '/', expectedStatuses: [{ start: 200, end: 200 }] } }] },
      'health_checks[0].http_health_check.expected_statuses[0]',
      /start < end/,
    ],
    [
      { ...one, healthChecks: [{ ...CHECK, httpHealthCheck: { path: '/', send: { text: '00' } } }] },
      'health_checks[0].http_health_check.send',
      /GET request has no body/,
    ],
    [{ ...one, healthChecks: [{ ...CHECK, grpcHealthCheck: {} }] }, 'health_checks[0].grpc_health_check', /must support HTTP\/2/],
    [
      { name: 'a', type: 'ORIGINAL_DST', lbPolicy: 'CLUSTER_PROVIDED', healthChecks: [{ ...CHECK, tcpHealthCheck: {} }] },
      'health_checks',
      /not supported/,
    ],
    [
      { name: 'a', type: 'ORIGINAL_DST', lbPolicy: 'CLUSTER_PROVIDED', outlierDetection: {} },
      'outlier_detection',
      /not supported/,
    ],
    [
      { ...one, outlierDetection: { baseEjectionTime: 5000, maxEjectionTime: 4000 } },
      'outlier_detection.max_ejection_time',
      /cannot be smaller/,
    ],
    [
      { ...one, roundRobinLbConfig: { slowStartConfig: { slowStartWindow: 1000, aggression: { defaultValue: 0 } } } },
      'round_robin_lb_config.slow_start_config.aggression.default_value',
      /greater than 0/,
    ],
    [
      typed({ explicitHttpConfig: { http2ProtocolOptions: { hpackTableSize: 65536 } } }),
      `typed_extension_protocol_options[${HTTP}].explicit_http_config.http2_protocol_options.hpack_table_size`,
      /not supported/,
    ],
    [typed({ autoConfig: {} }), `typed_extension_protocol_options[${HTTP}].auto_config`, /ALPN configured for cluster a/],
    [
      staticCluster('a', ['svc.test:80']),
      'load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address',
      /malformed IP address: svc\.test/,
    ],
    [
      { ...dns({}), ...{ loadAssignment: staticCluster('a', ['a.test:1', 'b.test:1']).loadAssignment }, type: 'LOGICAL_DNS' },
      'load_assignment',
      /single lb_endpoint/,
    ],
    [dns({ type: 'LOGICAL_DNS', dnsLookupFamily: 'ALL' }), 'dns_lookup_family', /not supported/],
    [dns({ dnsFailureRefreshRate: { baseInterval: 5, maxInterval: 2 } }), 'dns_failure_refresh_rate', /max_interval/],
    [dns({ useTcpForDnsLookups: true }), 'use_tcp_for_dns_lookups', /not supported/],
    [gap, 'load_assignment.endpoints', /there is 2 but no 1/],
    [
      { ...one, upstreamBindConfig: { sourceAddress: { address: 'eth0' } } },
      'upstream_bind_config.source_address',
      /malformed IP/,
    ],
    [
      { ...one, circuitBreakers: { perHostThresholds: [{ maxRequests: 1 }] } },
      'circuit_breakers.per_host_thresholds[0]',
      /only max_connections/,
    ],
  ];
  for (const [config, path, reason] of table) {
    assert.throws(
      () => parseCluster(config as PlainCluster, 'clusters[3]'),
      (error) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.equal(error.path, `clusters[3].${path}`);
        assert.match(error.reason, reason);
        return true;
      },
    );
  }
  assert.throws(() => parseClusters([one, one]), /static_resources\.clusters\[1\]\.name: .*duplicate cluster 'a'/);
});

test('every stat has the name of its property, and response codes come in all their variants', () => {
  const store = new Store();
  const stats = new ClusterStats(store.scope('cluster.a.'));
  let checked = 0;
  for (const [property, stat] of Object.entries(stats)) {
    if (stat instanceof ResponseCodeStats) continue;
    const name = (stat as { name: string }).name;
    assert.equal(
      name.replace('cluster.a.', '').replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase()),
      property,
    );
    checked++;
  }
  assert.ok(checked > 90, `${checked}`);
  const value = (name: string): number => store.counter(`cluster.a.${name}`).value;
  stats.chargeResponse(200, false, false);
  stats.chargeResponse(503, true, true);
  stats.chargeResponse(0, false, false);
  const names = ['upstream_rq_completed', 'upstream_rq_2xx', 'upstream_rq_200', 'upstream_rq_5xx', 'upstream_rq_503'];
  assert.deepEqual(names.map(value), [3, 1, 1, 1, 1]);
  assert.deepEqual(
    ['external.upstream_rq_200', 'internal.upstream_rq_503', 'canary.upstream_rq_5xx', 'external.upstream_rq_503'].map(value),
    [1, 1, 1, 0],
  );
});
