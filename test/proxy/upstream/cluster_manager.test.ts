import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStatsMemory, Store } from '../../../src/core/stats/store.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { ipAddress } from '../../../src/proxy/network/address.ts';
import type { RuntimeSnapshot } from '../../../src/proxy/runtime/runtime.ts';
import { parseCluster } from '../../../src/proxy/upstream/cluster_config.ts';
import { ThreadLocalClusterManager } from '../../../src/proxy/upstream/cluster_manager.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { clusterStatus, withLocalHosts } from '../../../src/proxy/upstream/discovery/cluster_status.ts';
import { HOST_STATS, HostStats, HostStatsTable, resetHostCounters, sumHostStat } from '../../../src/proxy/upstream/host_stats.ts';
import { parseHostPort } from '../../../src/proxy/upstream/original_dst_cluster.ts';
import { createSharedResources, ResourceManagerImpl } from '../../../src/proxy/upstream/resource_manager.ts';
import type {
  HttpConnectionPool,
  HttpPoolCallbacks,
  LoadBalancerContext,
  ThreadLocalCluster,
} from '../../../src/proxy/upstream/upstream.ts';
import { FakeConnection, FakeWorker, hostAt, staticCluster } from './fakes.ts';

const NOBODY: HttpPoolCallbacks = { onPoolFailure() {}, onPoolReady() {} };
const DECODER = { decode1xxHeaders() {}, decodeHeaders() {}, decodeData() {}, decodeTrailers() {} };

function poolOf(cluster: ThreadLocalCluster): HttpConnectionPool {
  const pool = cluster.httpConnPool(0, null);
  assert.ok(pool);
  return pool;
}

test('clusters by name, in configuration order; without hosts there is no pool', () => {
  const worker = new FakeWorker();
  const manager = new ThreadLocalClusterManager(worker.context, {
    clusters: [staticCluster('b', []), staticCluster('a:1', [], { altStatName: '' })],
  });
  assert.deepEqual(manager.names(), ['b', 'a:1']);
  assert.equal(manager.get('c'), null);
  assert.equal(manager.get('b')?.httpConnPool(0, null), null);
  assert.equal(manager.get('b')?.tcpConnPool(0, null), null);
  assert.equal(worker.counter('cluster.b.upstream_cx_none_healthy'), 2);
  manager.get('a:1')?.info.stats.upstreamRqTotal.inc();
  assert.equal(worker.counter('cluster.a_1.upstream_rq_total'), 1);
});

test('hosts that stay keep their objects and pools; those that go are drained', () => {
  const worker = new FakeWorker();
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [staticCluster('a', [])] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80'), hostAt('10.0.0.2:80'), hostAt('10.0.0.2:80')] });
  assert.equal(cluster.hosts().length, 2, 'the same address counts once');
  const [stays, goes] = cluster.hosts();
  const pools = [poolOf(cluster), poolOf(cluster)];
  for (const pool of pools) pool.newStream(DECODER, NOBODY)?.cancel();
  for (const connection of worker.connections) connection.accept();
  manager.applyHosts({
    cluster: 'a',
    hosts: [hostAt('10.0.0.1:80', { weight: 7, healthStatus: 'DEGRADED' }), hostAt('10.0.0.3:80')],
  });
  assert.equal(cluster.hosts()[0], stays);
  assert.deepEqual([stays.weight, stays.healthy, stays.healthStatus], [7, true, 'DEGRADED']);
  assert.ok(!cluster.hosts().includes(goes));
  for (const connection of worker.connections) {
    const expected = connection.remoteAddress.asString === '10.0.0.1:80' ? 'open' : 'closed';
    assert.equal(connection.state, expected, connection.remoteAddress.asString);
  }
  assert.ok(stays.httpPools[0]);
  assert.equal(goes.httpPools[0], null);
  manager.applyHosts({ cluster: 'gone', hosts: [] });
});

test('LOGICAL_DNS: a new address is for new connections, the old connections stay in use', () => {
  const worker = new FakeWorker();
  const manager = new ThreadLocalClusterManager(worker.context, {
    clusters: [{ ...staticCluster('a', ['name.test:80']), type: 'LOGICAL_DNS' }],
  });
  const cluster = manager.get('a');
  assert.ok(cluster);
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80')], logical: true });
  poolOf(cluster).newStream(DECODER, NOBODY)?.cancel();
  worker.last.accept();
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.2:80')], logical: true });
  assert.equal(worker.last.state, 'open');
  let served = '';
  const take: HttpPoolCallbacks = {
    onPoolFailure() {},
    onPoolReady: (_encoder, _host, connection) => {
      served = connection.remoteAddress.asString;
    },
  };
  poolOf(cluster).newStream(DECODER, take);
  assert.equal(served, '10.0.0.1:80');
  poolOf(cluster).newStream(DECODER, take);
  worker.last.accept();
  assert.equal(served, '10.0.0.2:80');
});

test('close_connections_on_host_set_change closes the connections of hosts that stay', () => {
  const worker = new FakeWorker();
  const commonLbConfig = { closeConnectionsOnHostSetChange: true };
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [staticCluster('a', [], { commonLbConfig })] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80')] });
  poolOf(cluster).newStream(DECODER, NOBODY)?.cancel();
  worker.last.accept();
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80')] });
  assert.equal(worker.last.state, 'open', 'nothing changed');
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80'), hostAt('10.0.0.2:80')] });
  assert.equal(worker.last.state, 'closed');
});

test('runtime: maintenance mode and panic threshold follow the snapshot', () => {
  const worker = new FakeWorker();
  const of = (values: Record<string, string>): RuntimeSnapshot => ({
    get: (key) => values[key],
    getInteger: (key, defaultValue) => (values[key] === undefined ? defaultValue : Number(values[key])),
    getDouble: (key, defaultValue) => (values[key] === undefined ? defaultValue : Number(values[key])),
    getBoolean: (_key, defaultValue) => defaultValue,
    featureEnabled: (key, _defaultValue, random) => random % 100 < Number(values[key]),
  });
  const runtime = { snapshot: of({}) };
  const context = { ...worker.context, runtime, random: () => 42 };
  const manager = new ThreadLocalClusterManager(context, { clusters: [staticCluster('a', [])] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80', { healthStatus: 'UNHEALTHY' })] });
  assert.equal(cluster.info.maintenanceMode, false);
  assert.ok(cluster.httpConnPool(0, null), 'panic: the unhealthy host is used');
  runtime.snapshot = of({ 'upstream.maintenance_mode.a': '43', 'upstream.healthy_panic_threshold': '0' });
  assert.equal(cluster.info.maintenanceMode, true);
  assert.equal(cluster.httpConnPool(0, null), null);
  runtime.snapshot = of({ 'upstream.maintenance_mode.a': '42' });
  assert.equal(cluster.info.maintenanceMode, false);
  assert.ok(cluster.httpConnPool(0, null));
});

test('max_connection_pools: a pool that does nothing makes room, otherwise there is none', () => {
  const worker = new FakeWorker();
  const circuitBreakers = { thresholds: [{ maxConnectionPools: 1 }] };
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [staticCluster('a', [], { circuitBreakers })] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80'), hostAt('10.0.0.2:80')] });
  poolOf(cluster);
  assert.equal(worker.gauge('cluster.a.circuit_breakers.default.cx_pool_open'), 1);
  poolOf(cluster).newStream(DECODER, NOBODY);
  assert.equal(cluster.httpConnPool(0, null), null);
  assert.equal(worker.counter('cluster.a.upstream_cx_pool_overflow'), 1);
  assert.equal(worker.gauge('cluster.a.circuit_breakers.default.cx_pool_open'), 1);
});

test('per_host_thresholds limit the connections of each host', () => {
  const worker = new FakeWorker();
  const circuitBreakers = { perHostThresholds: [{ maxConnections: 2 }] };
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [staticCluster('a', [], { circuitBreakers })] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  manager.applyHosts({ cluster: 'a', hosts: [hostAt('10.0.0.1:80')] });
  const pool = poolOf(cluster);
  for (let i = 0; i < 4; i++) pool.newStream(DECODER, NOBODY);
  assert.equal(worker.connections.length, 2);
  assert.equal(worker.counter('cluster.a.upstream_cx_overflow'), 2);
});

test('circuit breakers count all workers together, and a gauge says open exactly once', () => {
  const memory = createStatsMemory(3);
  const shared = createSharedResources();
  const thresholds = parseCluster(
    staticCluster('a', [], {
      circuitBreakers: {
        thresholds: [
          { maxRequests: 2, trackRemaining: true },
          { priority: 'HIGH', maxRequests: 9 },
        ],
      },
    }),
  ).thresholds;
  const stores = [1, 2].map((thread) => new Store({ memory, thread }));
  const [a, b] = stores.map((store) => new ResourceManagerImpl(store.scope('cluster.a.'), 0, thresholds[0], shared));
  const high = new ResourceManagerImpl(stores[0].scope('cluster.a.'), 1, thresholds[1], shared);
  const main = new Store({ memory, thread: 0 });
  const gauge = (name: string): number => main.gauge(`cluster.a.circuit_breakers.default.${name}`).value;
  assert.equal(gauge('remaining_rq'), 2);
  a.requests.inc();
  b.requests.inc();
  assert.deepEqual([a.requests.canCreate(), b.requests.canCreate(), high.requests.canCreate()], [false, false, true]);
  assert.deepEqual([gauge('rq_open'), gauge('remaining_rq'), a.requests.count], [1, 0, 2]);
  b.requests.inc();
  assert.deepEqual([gauge('rq_open'), gauge('remaining_rq')], [1, 0]);
  a.requests.dec();
  assert.deepEqual([gauge('rq_open'), gauge('remaining_rq')], [1, 0]);
  a.requests.dec();
  assert.deepEqual([gauge('rq_open'), gauge('remaining_rq'), b.requests.canCreate()], [0, 1, true]);
  b.requests.dec();
  assert.equal(gauge('remaining_rq'), 2);
});

test('a retry budget follows what is active', () => {
  const store = new Store();
  const retryBudget = { budgetPercent: { value: 20 }, minRetryConcurrency: 3 };
  const [thresholds] = parseCluster(staticCluster('a', [], { circuitBreakers: { thresholds: [{ retryBudget }] } })).thresholds;
  const manager = new ResourceManagerImpl(store.scope('c.'), 0, thresholds, null);
  assert.equal(manager.retries.max, 3);
  for (let i = 0; i < 20; i++) manager.requests.inc();
  for (let i = 0; i < 5; i++) manager.pendingRequests.inc();
  assert.equal(manager.retries.max, 5);
  for (let i = 0; i < 5; i++) manager.retries.inc();
  assert.equal(manager.retries.canCreate(), false);
  assert.equal(store.gauge('c.circuit_breakers.default.rq_retry_open').value, 1);
  manager.retries.dec();
  assert.equal(store.gauge('c.circuit_breakers.default.rq_retry_open').value, 0);
});

test('host counters add up over workers; a row is given away again only when nothing is open in it', () => {
  const table = new HostStatsTable(2);
  const row = table.allocate();
  const [a, b] = [new HostStats(row, 0), new HostStats(row, 1)];
  a.cxActive.inc();
  b.cxActive.inc();
  b.rqTotal.add(3);
  assert.deepEqual([a.cxActive.value, sumHostStat(row, 'cx_active'), sumHostStat(row, 'rq_total')], [2, 2, 3]);
  table.free(row);
  assert.notDeepEqual(table.allocate().row, row.row);
  a.cxActive.dec();
  b.cxActive.dec();
  const again = table.allocate();
  assert.deepEqual([again.row, again.chunk], [row.row, row.chunk]);
  assert.deepEqual(
    HOST_STATS.map((name) => sumHostStat(again, name)),
    HOST_STATS.map(() => 0),
  );
  a.rqTotal.inc();
  a.rqActive.inc();
  resetHostCounters(again);
  assert.deepEqual([a.rqTotal.value, a.rqActive.value], [0, 1]);
});

function originalDst(more: Partial<PlainCluster> = {}) {
  const worker = new FakeWorker();
  const config: PlainCluster = { name: 'o', type: 'ORIGINAL_DST', lbPolicy: 'CLUSTER_PROVIDED', ...more };
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [config] });
  const cluster = manager.get('o');
  assert.ok(cluster);
  const wanting = (local: string | null, header: [string, string] | null = null): LoadBalancerContext => {
    const downstream = new FakeConnection(worker.dispatcher, { address: ipAddress('192.0.2.1', 5000) });
    downstream.streamInfo.downstreamDirectLocalAddress = ipAddress('127.0.0.1', 15001);
    downstream.streamInfo.downstreamLocalAddress = local === null ? ipAddress('127.0.0.1', 15001) : parseHostPort(local);
    return {
      computeHashKey: () => null,
      determinePriorityLoad: (load) => load,
      metadataMatch: () => null,
      downstreamConnection: () => downstream,
      downstreamHeaders: () => HeaderMap.of(worker.dispatcher.slab, header === null ? [] : [header]),
      shouldSelectAnotherHost: () => false,
      hostSelectionRetryCount: () => 0,
    };
  };
  return { worker, manager, cluster, wanting };
}

test('ORIGINAL_DST connects to where the connection was going', () => {
  const { worker, cluster, wanting } = originalDst();
  assert.equal(cluster.tcpConnPool(0, null), null);
  assert.equal(cluster.tcpConnPool(0, wanting(null)), null, 'not redirected');
  const pool = cluster.tcpConnPool(0, wanting('10.9.8.7:443'));
  assert.equal(pool?.host.address.asString, '10.9.8.7:443');
  assert.equal(cluster.tcpConnPool(0, wanting('10.9.8.7:443')), pool);
  assert.equal(cluster.tcpConnPool(0, wanting('[2001:db8::1]:80'))?.host.address.asString, '[2001:db8::1]:80');
  assert.equal(worker.gauge('cluster.o.membership_total'), 2);
});

test('hosts that only workers know are summed for admin', () => {
  const { worker, wanting, cluster, manager } = originalDst();
  cluster.tcpConnPool(0, wanting('10.9.8.7:443'))?.newConnection({ onPoolFailure() {}, onPoolReady() {} });
  worker.last.accept();
  const report = structuredClone(manager.localHosts());
  const settings = parseCluster({ name: 'o', type: 'ORIGINAL_DST', lbPolicy: 'CLUSTER_PROVIDED' });
  const [merged] = withLocalHosts([clusterStatus(settings, [])], [...report, ...report]);
  assert.deepEqual(
    merged.hosts.map((host) => [host.address.asString, host.stats.cx_active, host.stats.rq_total]),
    [['10.9.8.7:443', 2, 2]],
  );
});

test('ORIGINAL_DST: header, port override, and what is no address', () => {
  const { worker, cluster, wanting } = originalDst({ originalDstLbConfig: { useHttpHeader: true, upstreamPortOverride: 8080 } });
  const header = (value: string): [string, string] => ['x-envoy-original-dst-host', value];
  assert.equal(cluster.httpConnPool(0, wanting('10.0.0.1:1', header('10.1.1.1:99')))?.host.address.asString, '10.1.1.1:8080');
  assert.equal(cluster.httpConnPool(0, wanting('10.0.0.1:1'))?.host.address.asString, '10.0.0.1:8080');
  for (const bad of ['name.test:80', '10.1.1.1', '10.1.1.1:99999', '10.1.1.1:80, 10.1.1.2:80', '[10.1.1.1]:80x', '']) {
    assert.equal(cluster.httpConnPool(0, wanting('10.0.0.1:1', header(bad))), null, bad);
  }
  assert.equal(worker.counter('cluster.o.original_dst_host_invalid'), 6);
});

test('ORIGINAL_DST drops hosts that nobody used for a whole interval', () => {
  const { worker, manager, cluster, wanting } = originalDst({ cleanupInterval: 1000 });
  cluster.tcpConnPool(0, wanting('10.0.0.1:1'));
  cluster.tcpConnPool(0, wanting('10.0.0.2:1'));
  worker.dispatcher.advance(1000);
  assert.equal(cluster.hosts().length, 2);
  cluster.tcpConnPool(0, wanting('10.0.0.1:1'));
  worker.dispatcher.advance(1000);
  assert.deepEqual(
    cluster.hosts().map((host) => host.address.asString),
    ['10.0.0.1:1'],
  );
  worker.dispatcher.advance(2000);
  assert.equal(cluster.hosts().length, 0);
  manager.close();
  assert.equal(worker.dispatcher.armedTimers, 0);
  assert.equal(worker.gauge('cluster.o.membership_total'), 0);
});
