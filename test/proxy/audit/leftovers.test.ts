/** Fields that no other test sets: each where it is read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Store } from '../../../src/core/stats/store.ts';
import { tcpProxySettings } from '../../../src/proxy/extensions/network_filters/tcp_proxy/settings.ts';
import { ipAddress } from '../../../src/proxy/network/address.ts';
import { socketOptions } from '../../../src/proxy/network/listener_address.ts';
import { listenerFilterPredicate } from '../../../src/proxy/network/listener_filter_predicate.ts';
import { applyClusterDefaults } from '../../../src/proxy/server/cluster_defaults.ts';
import { parseCluster } from '../../../src/proxy/upstream/cluster_config.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { ClusterDiscovery } from '../../../src/proxy/upstream/discovery/cluster_discovery.ts';
import { load } from '../config/helpers.ts';
import { clusterOf, tableOf } from '../http/route/support.ts';
import { TestProxy } from '../http/support/proxy.ts';
import { staticCluster } from '../upstream/fakes.ts';

test('listener filter predicates', () => {
  const socket = { localAddress: ipAddress('127.0.0.1', 80) } as Parameters<ReturnType<typeof listenerFilterPredicate>>[0];
  const is80 = { destinationPortRange: { start: 80, end: 81 } };
  const is81 = { destinationPortRange: { start: 81, end: 82 } };
  const holds = (config: Parameters<typeof listenerFilterPredicate>[0]) => listenerFilterPredicate(config)(socket);
  assert.deepEqual([holds(is80), holds(is81), holds({ anyMatch: true })], [true, false, true]);
  assert.deepEqual([holds({ notMatch: is80 }), holds({ notMatch: is81 })], [false, true]);
  assert.deepEqual([holds({ andMatch: { rules: [is80, is81] } }), holds({ andMatch: { rules: [is80, is80] } })], [false, true]);
  assert.deepEqual([holds({ orMatch: { rules: [is81, is80] } }), holds({ orMatch: { rules: [is81] } })], [true, false]);
});

test('socket options in bytes, and where they may be set', () => {
  const bytes = new Uint8Array([1, 2]);
  const option = { level: 1, name: 2, bufValue: bytes };
  assert.deepEqual(socketOptions([{ ...option, state: 'STATE_BOUND' }]), [{ level: 1, name: 2, value: bytes, state: 'bound' }]);
  const cluster = (state: string) =>
    parseCluster(staticCluster('a', [], { upstreamBindConfig: { socketOptions: [{ ...option, state }] } }));
  assert.deepEqual(cluster('STATE_BOUND').socketOptions, [{ level: 1, name: 2, value: bytes, state: 'bound' }]);
  assert.throws(() => cluster('STATE_LISTENING'), /STATE_LISTENING for a socket that connects is not supported/);
});

test('weighted clusters by the hash policy', () => {
  const route = (useHashPolicy: boolean) =>
    tableOf({
      match: { prefix: '/' },
      route: {
        hashPolicy: [{ header: { headerName: 'x-user' } }],
        weightedClusters: {
          useHashPolicy,
          clusters: [
            { name: 'a', weight: 50 },
            { name: 'b', weight: 50 },
          ],
        },
      },
    });
  const chosen = (useHashPolicy: boolean, user: string) =>
    new Set(Array.from({ length: 100 }, (_, random) => clusterOf(route(useHashPolicy), 'h', '/', { 'x-user': user }, random)));
  for (const user of ['ann', 'bob', 'carl']) assert.equal(chosen(true, user).size, 1, user);
  assert.equal(chosen(false, 'ann').size, 2);
  const users = Array.from({ length: 30 }, (_, i) => clusterOf(route(true), 'h', '/', { 'x-user': `user-${i}` }, 0));
  assert.equal(new Set(users).size, 2);
});

test('wait_for_warm_on_init: whether start waits for the first answer', async () => {
  let answer: () => void = () => {};
  const discovery = (waitForWarmOnInit: boolean) =>
    new ClusterDiscovery({
      clusters: [{ ...staticCluster('d', ['svc.test:80']), type: 'STRICT_DNS', dnsLookupFamily: 'V4_ONLY', waitForWarmOnInit }],
      workers: 1,
      scope: new Store(),
      createDnsResolver: () => ({
        resolve: () =>
          new Promise((resolve) => {
            answer = () => resolve([{ ip: '10.0.0.1' }]);
          }),
        close() {},
      }),
      schedule: () => () => {},
      random: () => 0,
      warn() {},
    });
  const patient = discovery(true);
  let started = false;
  const start = patient.start({ onHosts() {} }).then(() => {
    started = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(started, false);
  answer();
  await start;
  const hasty = discovery(false);
  await hasty.start({ onHosts() {} });
  for (const each of [patient, hasty]) each.close();
});

test('DNS servers: dns_resolution_config, or the older list', () => {
  const address = { socketAddress: { address: '10.0.0.53', portValue: 0 } };
  const dns = { type: 'STRICT_DNS' } as const;
  const of = (more: object) => parseCluster({ ...staticCluster('d', ['a.test:1']), ...dns, ...more }).dns.servers;
  assert.deepEqual(of({ dnsResolutionConfig: { resolvers: [address] } }), ['10.0.0.53:53']);
  assert.deepEqual(of({ dnsResolvers: [address] }), ['10.0.0.53:53']);
  assert.throws(
    () => of({ dnsResolutionConfig: { resolvers: [], dnsResolverOptions: { noDefaultSearchDomain: true } } }),
    /no_default_search_domain without resolvers/,
  );
});

test('DNS servers: of the bootstrap, for clusters that have none', () => {
  const resolver = (port: number) => `{ socket_address: { address: 10.0.0.1, port_value: ${port} } }`;
  const cares = (port: number) =>
    `typed_dns_resolver_config: { name: c, typed_config: { "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, resolvers: [${resolver(port)}] } }`;
  const clusters = `static_resources:
  clusters:
  - { name: none, type: STRICT_DNS }
  - { name: own, type: STRICT_DNS, ${cares(2)} }
  - { name: list, type: STRICT_DNS, dns_resolvers: [${resolver(3)}] }
  - { name: config, type: STRICT_DNS, dns_resolution_config: { resolvers: [${resolver(4)}] } }
  - { name: typed, cluster_type: { name: d, typed_config: { "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, ${cares(5)} } } }
  - { name: untyped, cluster_type: { name: d, typed_config: { "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster } } }
`;
  const ports = (yaml: string): number[] => {
    const { bootstrap } = load(yaml + clusters);
    applyClusterDefaults(bootstrap);
    return (bootstrap.staticResources?.clusters ?? []).map((cluster) =>
      Number(parseCluster(cluster as unknown as PlainCluster).dns.servers[0]?.split(':')[1] ?? 0),
    );
  };
  assert.deepEqual(ports(''), [0, 2, 3, 4, 5, 0]);
  assert.deepEqual(ports(`${cares(9)}\n`), [9, 2, 3, 4, 5, 9]);
  assert.deepEqual(ports(`dns_resolution_config: { resolvers: [${resolver(8)}] }\n`), [8, 2, 3, 4, 5, 8]);
  assert.deepEqual(ports(`${cares(9)}\ndns_resolution_config: { resolvers: [${resolver(8)}] }\n`), [9, 2, 3, 4, 5, 9]);
});

test('least request: enable_full_scan', () => {
  const type = 'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest';
  const of = (more: object) =>
    parseCluster(
      staticCluster('a', [], {
        loadBalancingPolicy: { policies: [{ typedExtensionConfig: { typedConfig: { '@type': type, ...more } } }] },
      }),
    ).lb.fullScan;
  assert.deepEqual([of({}), of({ enableFullScan: true }), of({ selectionMethod: 'FULL_SCAN' })], [false, true, true]);
});

test('http1_safe_max_connection_duration: the connection stays until the next response', () => {
  const proxy = new TestProxy({
    hcm: { commonHttpProtocolOptions: { maxConnectionDuration: 1000 }, http1SafeMaxConnectionDuration: true },
  });
  const client = proxy.connect();
  client.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.doesNotMatch(client.takeSent(), /connection: close/);
  proxy.advance(20_000);
  assert.equal(client.state, 'open');
  assert.equal(proxy.counter('http.in.downstream_cx_http1_soft_drain'), 1);
  client.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.match(client.takeSent(), /connection: close/);
  proxy.advance(20_000);
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('override_stream_error_on_invalid_http_message is stronger than the general field', () => {
  const closes = (hcm: Record<string, unknown>): boolean => {
    const proxy = new TestProxy({ hcm });
    const client = proxy.connect();
    client.receive('GET / HTTP/1.1\r\n\r\n');
    assert.match(client.takeSent(), /^HTTP\/1\.1 400 /);
    proxy.advance(20_000);
    const closed = client.state === 'closed';
    if (!closed) client.close(0);
    return closed;
  };
  assert.equal(closes({}), true);
  assert.equal(closes({ streamErrorOnInvalidHttpMessage: true }), false);
  assert.equal(closes({ httpProtocolOptions: { overrideStreamErrorOnInvalidHttpMessage: true } }), false);
  assert.equal(
    closes({
      streamErrorOnInvalidHttpMessage: true,
      httpProtocolOptions: { overrideStreamErrorOnInvalidHttpMessage: false },
    }),
    true,
  );
});

test('tcp_proxy: jitter of the longest duration, and one way to say what is logged when', () => {
  const context = new TestProxy().context;
  type Config = Parameters<typeof tcpProxySettings>[0];
  const of = (more: object) => tcpProxySettings({ statPrefix: 'p', cluster: 'c', ...more } as Config, [], context);
  const jitter = of({ maxDownstreamConnectionDuration: 1000, maxDownstreamConnectionDurationJitterPercentage: { value: 50 } });
  assert.equal(jitter.maxConnectionDurationJitterPercent, 50);
  assert.throws(
    () => of({ accessLogOptions: {}, flushAccessLogOnConnected: true }),
    /Only one of flush_access_log_on_connected or access_log_options can be specified\./,
  );
  assert.throws(
    () => of({ accessLogOptions: {}, accessLogFlushInterval: 1000 }),
    /Only one of access_log_flush_interval or access_log_options can be specified\./,
  );
  assert.throws(
    () => new TestProxy({ hcm: { accessLogOptions: {}, flushAccessLogOnNewRequest: true } }),
    /Only one of flush_access_log_on_new_request or access_log_options can be specified\./,
  );
});
