import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Store } from '../../../src/core/stats/store.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { ClusterDiscovery } from '../../../src/proxy/upstream/discovery/cluster_discovery.ts';
import { clustersJson, clustersText } from '../../../src/proxy/upstream/discovery/cluster_status.ts';
import {
  createDnsResolver,
  type DnsAddress,
  type DnsResolver,
  hostsEntries,
  resolveFamily,
} from '../../../src/proxy/upstream/discovery/dns_resolver.ts';
import { HostStats } from '../../../src/proxy/upstream/host_stats.ts';
import type { HostUpdate } from '../../../src/proxy/upstream/host_update.ts';
import { startDnsServer } from './dns_server.ts';
import { lbEndpoint, staticCluster } from './fakes.ts';

/** Discovery with a resolver and a clock that the test drives. */
class Fixture {
  readonly stats = new Store();
  readonly answers = new Map<string, string[] | Error>();
  readonly ttls = new Map<string, number>();
  readonly updates: HostUpdate[] = [];
  readonly warnings: string[] = [];
  readonly scheduled: { delayMs: number; callback: () => void }[] = [];
  random = 0;
  readonly discovery: ClusterDiscovery;

  constructor(...clusters: PlainCluster[]) {
    const resolver: DnsResolver = {
      resolve: async (name, family): Promise<DnsAddress[]> => {
        const key = `${name} ${family}`;
        const answer = this.answers.get(key) ?? [];
        if (answer instanceof Error) throw answer;
        return answer.map((ip) => ({ ip, ttlSeconds: this.ttls.get(key) }));
      },
      close() {},
    };
    this.discovery = new ClusterDiscovery({
      clusters,
      workers: 1,
      scope: this.stats,
      createDnsResolver: () => resolver,
      schedule: (delayMs, callback) => {
        const entry = { delayMs, callback };
        this.scheduled.push(entry);
        return () => void this.scheduled.splice(this.scheduled.indexOf(entry), 1);
      },
      random: () => this.random,
      warn: (message) => this.warnings.push(message),
    });
  }

  start(): Promise<void> {
    return this.discovery.start({ onHosts: (update) => this.updates.push(update) });
  }

  /** Lets the next refresh happen; its delay. */
  async refresh(): Promise<number> {
    const next = this.scheduled.shift();
    assert.ok(next);
    next.callback();
    await new Promise((resolve) => setImmediate(resolve));
    return next.delayMs;
  }

  get addresses(): string[] {
    return this.discovery.current()[0].hosts.map((host) => host.address.asString);
  }

  stat(name: string): number {
    return this.stats.counter(`cluster.d.${name}`).value;
  }
}

function dnsCluster(more: Partial<PlainCluster> = {}, endpoints = ['svc.test:80']): PlainCluster {
  return { ...staticCluster('d', endpoints), type: 'STRICT_DNS', dnsLookupFamily: 'V4_ONLY', ...more };
}

test('STATIC: hosts are there from the start, once each', async () => {
  const fixture = new Fixture(staticCluster('d', ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:80']));
  assert.deepEqual(fixture.addresses, ['10.0.0.1:80', '10.0.0.2:80']);
  await fixture.start();
  assert.deepEqual(fixture.updates, []);
  assert.equal(fixture.stats.gauge('cluster.d.membership_total').value, 2);
  assert.equal(fixture.stats.gauge('cluster_manager.active_clusters').value, 1);
  assert.deepEqual(structuredClone(fixture.discovery.current()).length, 1);
});

test('STRICT_DNS: every address is a host; changes are told, and nothing else', async () => {
  const fixture = new Fixture(dnsCluster());
  fixture.answers.set('svc.test 4', ['10.0.0.1', '10.0.0.2']);
  await fixture.start();
  assert.deepEqual(fixture.addresses, ['10.0.0.1:80', '10.0.0.2:80']);
  assert.equal(fixture.updates.length, 1);
  assert.equal(fixture.updates[0].hosts[0].hostname, 'svc.test');
  const row = fixture.updates[0].hosts[1].stats;
  assert.ok(row);

  fixture.answers.set('svc.test 4', ['10.0.0.2', '10.0.0.1']);
  assert.equal(await fixture.refresh(), 5000);
  assert.equal(fixture.updates.length, 1, 'another order is no change');
  assert.equal(fixture.stat('update_no_rebuild'), 1);

  fixture.answers.set('svc.test 4', ['10.0.0.2', '10.0.0.3']);
  await fixture.refresh();
  assert.deepEqual(fixture.addresses, ['10.0.0.2:80', '10.0.0.3:80']);
  assert.equal(fixture.updates[1].hosts[0].stats, row, 'a host that stays keeps its counters');

  fixture.answers.set('svc.test 4', []);
  await fixture.refresh();
  assert.deepEqual(fixture.addresses, []);
  assert.deepEqual(
    [fixture.stat('update_attempt'), fixture.stat('update_success'), fixture.stat('membership_change')],
    [4, 4, 3],
  );
  fixture.discovery.close();
  assert.equal(fixture.scheduled.length, 0);
});

test('STRICT_DNS: several names and priorities', async () => {
  const cluster = dnsCluster();
  cluster.loadAssignment = {
    endpoints: [
      { lbEndpoints: [lbEndpoint('a.test:1'), lbEndpoint('b.test:2', { loadBalancingWeight: 3 })] },
      { priority: 1, locality: { region: 'r', zone: 'z' }, lbEndpoints: [lbEndpoint('c.test:3', { healthStatus: 'DEGRADED' })] },
    ],
  };
  const fixture = new Fixture(cluster);
  for (const name of ['a', 'b', 'c']) fixture.answers.set(`${name}.test 4`, ['10.0.0.1']);
  await fixture.start();
  await new Promise((resolve) => setImmediate(resolve));
  const hosts = fixture.discovery.current()[0].hosts;
  assert.deepEqual(
    hosts.map((host) => [
      host.address.asString,
      host.hostname,
      host.weight,
      host.priority,
      host.locality.zone,
      host.healthStatus,
    ]),
    [
      ['10.0.0.1:1', 'a.test', 1, 0, '', 'UNKNOWN'],
      ['10.0.0.1:2', 'b.test', 3, 0, '', 'UNKNOWN'],
      ['10.0.0.1:3', 'c.test', 1, 1, 'z', 'DEGRADED'],
    ],
  );
  assert.deepEqual(
    ['total', 'healthy', 'degraded'].map((name) => fixture.stats.gauge(`cluster.d.membership_${name}`).value),
    [3, 2, 1],
  );
  assert.equal(fixture.stats.gauge('cluster.d.max_host_weight').value, 3);
});

test('a failure keeps the hosts and backs off; the first result is enough to go on', async () => {
  const fixture = new Fixture(dnsCluster({ dnsFailureRefreshRate: { baseInterval: 100, maxInterval: 350 } }));
  fixture.answers.set('svc.test 4', new Error('SERVFAIL'));
  fixture.random = 0.5;
  await fixture.start();
  assert.match(fixture.warnings[0], /cluster d: resolving svc\.test failed: SERVFAIL/);
  assert.deepEqual([await fixture.refresh(), await fixture.refresh(), await fixture.refresh()], [50, 100, 175]);
  fixture.answers.set('svc.test 4', ['10.0.0.1']);
  assert.equal(await fixture.refresh(), 175);
  assert.deepEqual(fixture.addresses, ['10.0.0.1:80']);
  fixture.answers.set('svc.test 4', new Error('SERVFAIL'));
  assert.equal(await fixture.refresh(), 5000);
  assert.deepEqual(fixture.addresses, ['10.0.0.1:80']);
  assert.equal(await fixture.refresh(), 50, 'success starts the back-off over');
  assert.equal(fixture.stat('update_failure'), 6);
});

test('the smallest TTL is the next refresh with respect_dns_ttl; jitter comes on top', async () => {
  const fixture = new Fixture(dnsCluster({ respectDnsTtl: true, dnsJitter: 100, dnsRefreshRate: 60_000 }));
  fixture.random = 0.5;
  fixture.answers.set('svc.test 4', ['10.0.0.1']);
  fixture.ttls.set('svc.test 4', 7);
  await fixture.start();
  fixture.ttls.set('svc.test 4', 0);
  assert.equal(await fixture.refresh(), 7050);
  fixture.ttls.delete('svc.test 4');
  assert.equal(await fixture.refresh(), 1050);
  assert.equal(await fixture.refresh(), 60_050);
});

test('LOGICAL_DNS: the first address, kept when the answer is empty', async () => {
  const fixture = new Fixture(dnsCluster({ type: 'LOGICAL_DNS' }));
  fixture.answers.set('svc.test 4', ['10.0.0.1', '10.0.0.2']);
  await fixture.start();
  assert.deepEqual(fixture.addresses, ['10.0.0.1:80']);
  assert.equal(fixture.updates[0].logical, true);
  const row = fixture.updates[0].hosts[0].stats;
  fixture.answers.set('svc.test 4', []);
  await fixture.refresh();
  assert.deepEqual(fixture.addresses, ['10.0.0.1:80']);
  fixture.answers.set('svc.test 4', ['10.0.0.2', '10.0.0.1']);
  await fixture.refresh();
  assert.deepEqual(fixture.addresses, ['10.0.0.2:80']);
  assert.equal(fixture.updates[1].hosts[0].stats, row);
});

test('dns_lookup_family', async () => {
  const table: Record<string, Record<number, string[] | Error>> = {
    both: { 4: ['10.0.0.1'], 6: ['::1'] },
    four: { 4: ['10.0.0.1'], 6: [] },
    broken6: { 4: ['10.0.0.1'], 6: new Error('SERVFAIL') },
    broken: { 4: new Error('SERVFAIL'), 6: new Error('SERVFAIL') },
  };
  const resolver: DnsResolver = {
    resolve: async (name, family) => {
      const answer = table[name][family];
      if (answer instanceof Error) throw answer;
      return answer.map((ip) => ({ ip }));
    },
    close() {},
  };
  const ips = async (name: string, family: Parameters<typeof resolveFamily>[2]): Promise<string> =>
    (await resolveFamily(resolver, name, family)).map((address) => address.ip).join(' ');
  assert.equal(await ips('both', 'AUTO'), '::1');
  assert.equal(await ips('both', 'V4_PREFERRED'), '10.0.0.1');
  assert.equal(await ips('both', 'V4_ONLY'), '10.0.0.1');
  assert.equal(await ips('both', 'V6_ONLY'), '::1');
  assert.equal(await ips('both', 'ALL'), '::1 10.0.0.1');
  assert.equal(await ips('four', 'AUTO'), '10.0.0.1');
  assert.equal(await ips('four', 'V6_ONLY'), '');
  assert.equal(await ips('broken6', 'AUTO'), '10.0.0.1');
  assert.equal(await ips('broken6', 'ALL'), '10.0.0.1');
  await assert.rejects(ips('broken', 'AUTO'), /SERVFAIL/);
  await assert.rejects(ips('broken', 'ALL'), /SERVFAIL/);
});

const SETTINGS = {
  family: 'V4_ONLY',
  refreshRateMs: 5000,
  failureRefresh: null,
  jitterMs: 0,
  respectTtl: false,
  servers: [],
} as const;

test('a name server of the cluster: addresses, TTLs, no such name, failure', async (t) => {
  const server = await startDnsServer();
  t.after(() => server.close());
  const resolver = createDnsResolver({ ...SETTINGS, servers: [server.address] }, '/nonexistent');
  server.answers.set('svc.test A', { ips: ['10.0.0.1', '10.0.0.2'], ttl: 9 });
  server.answers.set('svc.test AAAA', { ips: ['2001:db8::5'], ttl: 3 });
  server.answers.set('bad.test A', { ips: [], ttl: 0, rcode: 2 });
  const sorted = (await resolver.resolve('svc.test', 4)).sort((a, b) => (a.ip < b.ip ? -1 : 1));
  assert.deepEqual(sorted, [
    { ip: '10.0.0.1', ttlSeconds: 9 },
    { ip: '10.0.0.2', ttlSeconds: 9 },
  ]);
  assert.deepEqual(await resolver.resolve('svc.test', 6), [{ ip: '2001:db8::5', ttlSeconds: 3 }]);
  assert.deepEqual(await resolver.resolve('none.test', 4), []);
  await assert.rejects(resolver.resolve('bad.test', 4));
  server.answers.set('svc.test A', { ips: ['10.0.0.9'], ttl: 9 });
  assert.deepEqual(await resolver.resolve('svc.test', 4), [{ ip: '10.0.0.9', ttlSeconds: 9 }]);
  const asked = server.questions.length;
  assert.deepEqual(await resolver.resolve('127.0.0.1', 4), [{ ip: '127.0.0.1' }]);
  assert.deepEqual(await resolver.resolve('127.0.0.1', 6), []);
  assert.equal(server.questions.length, asked, 'addresses are not asked for');
});

test('DNS that changes reaches the host list, end to end', async (t) => {
  const server = await startDnsServer();
  t.after(() => server.close());
  server.answers.set('svc.test A', { ips: ['10.0.0.1'], ttl: 1 });
  const due: (() => void)[] = [];
  const [address, port] = server.address.split(':');
  const cluster = dnsCluster({ dnsResolvers: [{ socketAddress: { address, portValue: Number(port) } }] });
  const discovery = new ClusterDiscovery({
    clusters: [cluster],
    workers: 1,
    scope: new Store(),
    schedule: (_delayMs, callback) => {
      due.push(callback);
      return () => {};
    },
  });
  t.after(() => discovery.close());
  let onUpdate: (update: HostUpdate) => void = () => {};
  const next = (): Promise<string[]> =>
    new Promise((resolve) => {
      onUpdate = (update) => resolve(update.hosts.map((host) => host.address.asString));
    });
  const first = next();
  await discovery.start({ onHosts: (update) => onUpdate(update) });
  assert.deepEqual(await first, ['10.0.0.1:80']);
  server.answers.set('svc.test A', { ips: ['10.0.0.2', '10.0.0.3'], ttl: 1 });
  const second = next();
  due.shift()?.();
  assert.deepEqual((await second).sort(), ['10.0.0.2:80', '10.0.0.3:80']);
});

test('the hosts file is read anew each time', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-hosts-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'hosts');
  writeFileSync(file, '10.0.0.1 svc.test\n');
  const resolver = createDnsResolver({ ...SETTINGS, servers: ['127.0.0.1:1'] }, file);
  assert.deepEqual(await resolver.resolve('svc.test', 4), [{ ip: '10.0.0.1' }]);
  writeFileSync(file, '10.0.0.2 other.test svc.test # moved\n');
  assert.deepEqual(await resolver.resolve('SVC.test', 4), [{ ip: '10.0.0.2' }]);
  assert.deepEqual(hostsEntries('# 10.0.0.1 a\n::1 a b\n10.0.0.2 b\n', 'a', 4), []);
  assert.deepEqual(hostsEntries('::1 a b\n::2 b\n', 'b', 6), ['::1', '::2']);
});

test('the system resolver knows localhost, and gives nothing for a name that cannot be', async () => {
  const resolver = createDnsResolver(SETTINGS);
  assert.deepEqual(await resolver.resolve('127.0.0.1', 4), [{ ip: '127.0.0.1' }]);
  assert.deepEqual(await resolver.resolve('localhost', 4), [{ ip: '127.0.0.1' }]);
});

test('/clusters: text and JSON', () => {
  const cluster = staticCluster('d', ['10.0.0.1:80'], { circuitBreakers: { thresholds: [{ maxConnections: 7 }] } });
  cluster.loadAssignment!.endpoints![0].locality = { region: 'r', zone: 'z' };
  cluster.loadAssignment!.endpoints![0].lbEndpoints![0].healthStatus = 'UNHEALTHY';
  const fixture = new Fixture(cluster);
  const row = fixture.discovery.current()[0].hosts[0].stats;
  const stats = new HostStats(row, 0);
  stats.cxActive.inc();
  stats.cxTotal.inc();
  stats.rqTotal.add(3);
  const h = 'd::10.0.0.1:80::';
  assert.equal(
    clustersText(fixture.discovery.status()),
    [
      'd::observability_name::d',
      'd::default_priority::max_connections::7',
      'd::default_priority::max_pending_requests::1024',
      'd::default_priority::max_requests::1024',
      'd::default_priority::max_retries::3',
      'd::high_priority::max_connections::1024',
      'd::high_priority::max_pending_requests::1024',
      'd::high_priority::max_requests::1024',
      'd::high_priority::max_retries::3',
      'd::added_via_api::false',
      `${h}cx_active::1`,
      `${h}cx_connect_fail::0`,
      `${h}cx_total::1`,
      `${h}rq_active::0`,
      `${h}rq_error::0`,
      `${h}rq_success::0`,
      `${h}rq_timeout::0`,
      `${h}rq_total::3`,
      `${h}hostname::`,
      `${h}health_flags::/failed_eds_health`,
      `${h}weight::1`,
      `${h}region::r`,
      `${h}zone::z`,
      `${h}sub_zone::`,
      `${h}canary::false`,
      `${h}priority::0`,
      `${h}success_rate::-1`,
      `${h}local_origin_success_rate::-1`,
      '',
    ].join('\n'),
  );
  const json = clustersJson(fixture.discovery.status()).cluster_statuses[0];
  assert.deepEqual((json.host_statuses as Record<string, unknown>[])[0], {
    address: { socket_address: { address: '10.0.0.1', port_value: 80 } },
    stats: [
      { name: 'cx_connect_fail' },
      { value: '1', name: 'cx_total' },
      { name: 'rq_error' },
      { name: 'rq_success' },
      { name: 'rq_timeout' },
      { value: '3', name: 'rq_total' },
      { type: 'GAUGE', value: '1', name: 'cx_active' },
      { type: 'GAUGE', name: 'rq_active' },
    ],
    health_status: { eds_health_status: 'UNHEALTHY' },
    weight: 1,
    locality: { region: 'r', zone: 'z' },
  });
  fixture.discovery.resetHostCounters();
  assert.deepEqual([stats.cxTotal.value, stats.cxActive.value], [0, 1]);
});
