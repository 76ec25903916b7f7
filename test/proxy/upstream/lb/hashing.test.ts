/** Ring hash and Maglev: the rings and tables that Envoy builds (vectors of its own tests), and what consistent hashing promises. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hash64 } from '../../../../src/proxy/common/hash64.ts';
import { Mt19937 } from '../../../../src/proxy/common/mt19937.ts';
import { xxHash64Bytes, xxHash64Text } from '../../../../src/proxy/common/xxhash64.ts';
import type { PlainCluster } from '../../../../src/proxy/upstream/cluster_types.ts';
import { HostImpl } from '../../../../src/proxy/upstream/host.ts';
import type { HostDescription } from '../../../../src/proxy/upstream/host_update.ts';
import { createLoadBalancer } from '../../../../src/proxy/upstream/lb/create_load_balancer.ts';
import type { LoadBalancer, LoadBalancerEnvironment } from '../../../../src/proxy/upstream/lb/load_balancer.ts';
import { prioritySetOf } from '../../../../src/proxy/upstream/priority_set.ts';
import type { LoadBalancerContext } from '../../../../src/proxy/upstream/upstream.ts';
import { FakeWorker, hostAt, lbEnvironment } from '../fakes.ts';

function hosts(ports: readonly number[], more: (port: number) => Partial<HostDescription> = () => ({})): HostImpl[] {
  return ports.map((port) => new HostImpl(hostAt(`127.0.0.1:${port}`, more(port)), 0));
}

function balancer(all: readonly HostImpl[], cluster: Partial<PlainCluster>, more: Partial<LoadBalancerEnvironment> = {}) {
  const worker = new FakeWorker();
  const lb = createLoadBalancer(lbEnvironment(worker, cluster, more));
  lb.update(prioritySetOf(all));
  return { lb, worker };
}

const hash = new Hash64();

function by(value: bigint, more: Partial<LoadBalancerContext> = {}): LoadBalancerContext {
  return {
    computeHashKey: () => hash.set(Number(value >> 32n), Number(value & 0xffffffffn)),
    metadataMatch: () => null,
    downstreamConnection: () => null,
    downstreamHeaders: () => null,
    shouldSelectAnotherHost: () => false,
    hostSelectionRetryCount: () => 0,
    determinePriorityLoad: (load) => load,
    ...more,
  };
}

const portOf = (host: HostImpl | null): number => (host?.address.kind === 'ip' ? host.address.port : -1);
const ring = (more: PlainCluster['ringHashLbConfig'] = {}): Partial<PlainCluster> => ({
  lbPolicy: 'RING_HASH',
  ringHashLbConfig: more,
});
const maglev = (tableSize?: number): Partial<PlainCluster> => ({ lbPolicy: 'MAGLEV', maglevLbConfig: { tableSize } });

/** Where each of these keys goes. */
function assignment(lb: LoadBalancer, keys: number): (HostImpl | null)[] {
  return Array.from({ length: keys }, (_, i) => lb.chooseHost(by(xxHash64Text(new Hash64(), `key ${i}`).toBigInt())));
}

/** `position` of each place, in order. */
function checkRing(lb: LoadBalancer, places: readonly (readonly [number, bigint])[]): void {
  places.forEach(([port, position], i) => {
    assert.equal(portOf(lb.chooseHost(by(position))), port, `at ${position}`);
    assert.equal(portOf(lb.chooseHost(by(position + 1n))), places[(i + 1) % places.length][0], `after ${position}`);
  });
  assert.equal(portOf(lb.chooseHost(by(0n))), places[0][0]);
  assert.equal(portOf(lb.chooseHost(by(2n ** 64n - 1n))), places[0][0]);
}

test('the ring of Envoy with xxHash', () => {
  const all = hosts([90, 91, 92, 93, 94, 95]);
  const { lb, worker } = balancer(all, ring({ minimumRingSize: 12 }));
  checkRing(lb, [
    [94, 833437586790550860n],
    [92, 928266305478181108n],
    [90, 1033482794131418490n],
    [95, 3551244743356806947n],
    [93, 3851675632748031481n],
    [91, 5583722120771150861n],
    [91, 6311230543546372928n],
    [93, 7700377290971790572n],
    [95, 13144177310400110813n],
    [92, 13444792449719432967n],
    [94, 15516499411664133160n],
    [90, 16117243373044804889n],
  ]);
  assert.equal(worker.gauge('ring_hash_lb.size'), 12);
  assert.equal(worker.gauge('ring_hash_lb.min_hashes_per_host'), 2);
  assert.equal(worker.gauge('ring_hash_lb.max_hashes_per_host'), 2);
  // Without a hash: by a random one.
  worker.randoms.push(Number(16117243373044804880n >> 32n), Number(16117243373044804880n & 0xffffffffn));
  assert.equal(portOf(lb.chooseHost(null)), 90);
});

test('the ring of Envoy with MurmurHash2', () => {
  checkRing(balancer(hosts([80, 81, 82, 83, 84, 85]), ring({ minimumRingSize: 12, hashFunction: 'MURMUR_HASH_2' })).lb, [
    [85, 1358027074129602068n],
    [83, 4361834613929391114n],
    [84, 7224494972555149682n],
    [81, 7701421856454313576n],
    [82, 8649315368077433379n],
    [84, 8739448859063030639n],
    [81, 9887544217113020895n],
    [82, 10150910876324007731n],
    [83, 15168472011420622455n],
    [80, 15427156902705414897n],
    [85, 16375050414328759093n],
    [80, 17613279263364193813n],
  ]);
});

test('the ring of Envoy by hostnames, and by metadata', () => {
  const places = [
    [95, 1975508444536362413n],
    [95, 2376063919839173711n],
    [93, 2386806903309390596n],
    [94, 6749904478991551885n],
    [93, 6803900775736438537n],
    [92, 7225015537174310577n],
    [90, 8787465352164086522n],
    [92, 11282020843382717940n],
    [91, 13723418369486627818n],
    [90, 13776502110861797421n],
    [91, 14338313586354474791n],
    [94, 15364271037087512980n],
  ] as const;
  const named: Partial<PlainCluster> = {
    ...ring({ minimumRingSize: 12 }),
    commonLbConfig: { consistentHashingLbConfig: { useHostnameForHashing: true, hashBalanceFactor: 200 } },
  };
  const ports = [90, 91, 92, 93, 94, 95];
  checkRing(
    balancer(
      hosts(ports, (port) => ({ hostname: String(port) })),
      named,
    ).lb,
    places,
  );
  const keyed = hosts(ports, (port) => ({ hostname: 'x', metadata: { 'envoy.lb': { hash_key: String(port) } } }));
  checkRing(balancer(keyed, named).lb, places);
});

test('weights on a ring: the least host has a whole number of places', () => {
  const all = hosts([90, 91, 92], (port) => ({ weight: port - 89 }));
  const { lb, worker } = balancer(all, ring({ minimumRingSize: 1 << 16 }));
  assert.equal(worker.gauge('ring_hash_lb.min_hashes_per_host'), Math.ceil((1 << 16) / 6));
  const counts = new Map<HostImpl | null, number>();
  for (const host of assignment(lb, 6000)) counts.set(host, (counts.get(host) ?? 0) + 1);
  for (const [i, host] of all.entries())
    assert.ok(Math.abs((counts.get(host) ?? 0) - 1000 * (i + 1)) < 200, `${counts.get(host)}`);
  // No room for whole numbers: what rounding takes from one goes to the next.
  const tight = balancer(hosts([1, 2, 3, 4]), ring({ minimumRingSize: 6, maximumRingSize: 6 })).worker;
  assert.deepEqual(
    ['size', 'min_hashes_per_host', 'max_hashes_per_host'].map((name) => tight.gauge(`ring_hash_lb.${name}`)),
    [6, 1, 2],
  );
});

test('the Maglev table of Envoy', () => {
  const ports = [90, 91, 92, 93, 94, 95];
  const table = (lb: LoadBalancer): number[] => Array.from({ length: 14 }, (_, i) => portOf(lb.chooseHost(by(BigInt(i)))));
  const { lb, worker } = balancer(hosts(ports), maglev(7));
  const byAddress = [92, 94, 90, 91, 95, 90, 93];
  assert.deepEqual(table(lb), [...byAddress, ...byAddress]);
  assert.equal(worker.gauge('maglev_lb.min_entries_per_host'), 1);
  assert.equal(worker.gauge('maglev_lb.max_entries_per_host'), 2);
  // The order in which hosts are known does not matter.
  assert.deepEqual(table(balancer(hosts([...ports].reverse()), maglev(7)).lb), [...byAddress, ...byAddress]);
  const named = hosts(ports, (port) => ({ hostname: String(port) }));
  const byName = [92, 95, 90, 93, 94, 91, 90];
  const useHostname = { consistentHashingLbConfig: { useHostnameForHashing: true } };
  assert.deepEqual(table(balancer(named, { ...maglev(7), commonLbConfig: useHostname }).lb), [...byName, ...byName]);
});

test('Maglev weighs hosts', () => {
  const all = hosts([90, 91], (port) => ({ weight: port === 90 ? 1 : 2 }));
  const { worker } = balancer(all, maglev(65537));
  assert.ok(Math.abs(worker.gauge('maglev_lb.min_entries_per_host') - 65537 / 3) < 2);
  assert.ok(Math.abs(worker.gauge('maglev_lb.max_entries_per_host') - (2 * 65537) / 3) < 2);
});

test('removing a host from a ring moves its keys alone; from a Maglev table few others', () => {
  const all = hosts(Array.from({ length: 50 }, (_, i) => 100 + i));
  const rest = all.filter((_, i) => i !== 17);
  const before = assignment(balancer(all, ring({ minimumRingSize: 5000 })).lb, 5000);
  const after = assignment(balancer(rest, ring({ minimumRingSize: 4900 })).lb, 5000);
  before.forEach((host, i) => {
    if (host === all[17]) assert.notEqual(after[i], host);
    else assert.equal(after[i], host);
  });
  const full = assignment(balancer(all, maglev()).lb, 5000);
  const less = assignment(balancer(rest, maglev()).lb, 5000);
  const moved = full.filter((host, i) => host !== all[17] && host !== less[i]).length;
  assert.ok(moved < 100, `${moved} of 5000`);
});

test('another host when the first one is not liked', () => {
  for (const cluster of [ring(), maglev()]) {
    const all = hosts([90, 91, 92, 93]);
    const { lb } = balancer(all, cluster);
    const first = lb.chooseHost(by(12345n));
    const avoided = by(12345n, { shouldSelectAnotherHost: (host) => host === first, hostSelectionRetryCount: () => 30 });
    assert.notEqual(lb.chooseHost(avoided), first);
    // Always the same other one.
    assert.equal(lb.chooseHost(avoided), lb.chooseHost(avoided));
    const never = by(12345n, { shouldSelectAnotherHost: () => true, hostSelectionRetryCount: () => 3 });
    assert.ok(lb.chooseHost(never));
  }
});

test('priorities follow from the hash; panic takes all hosts', () => {
  const two = [
    ...hosts([90, 91], (port) => ({ healthStatus: port === 90 ? 'HEALTHY' : 'UNHEALTHY' })),
    ...hosts([92], () => ({ priority: 1 })),
  ];
  const { lb } = balancer(two, ring());
  // 140 % of 50 %: 70 % stay.
  assert.equal(portOf(lb.chooseHost(by(69n))), 90);
  assert.equal(portOf(lb.chooseHost(by(70n))), 92);
  const down = hosts([90, 91, 92], () => ({ healthStatus: 'UNHEALTHY' }));
  const panic = balancer(down, ring());
  assert.equal(new Set(assignment(panic.lb, 300)).size, 3);
  assert.equal(panic.worker.counter('lb_healthy_panic'), 300);
  assert.equal(balancer([], maglev()).lb.chooseHost(by(1n)), null);
});

test('locality weights share a ring', () => {
  const zone = (name: string) => ({ region: 'r', zone: name, subZone: '' });
  const all = hosts([90, 91, 92, 93], (port) => ({
    locality: zone(port < 92 ? 'a' : port === 92 ? 'b' : 'c'),
    localityWeight: port < 92 ? 1 : port === 92 ? 3 : 0,
  }));
  const { lb } = balancer(all, { ...ring({ minimumRingSize: 8192 }), commonLbConfig: { localityWeightedLbConfig: {} } });
  const chosen = assignment(lb, 4000);
  const count = (port: number): number => chosen.filter((host) => portOf(host) === port).length;
  assert.ok(Math.abs(count(92) - 3000) < 200, `${count(92)}`);
  assert.ok(Math.abs(count(90) - 500) < 120, `${count(90)}`);
  assert.equal(count(93), 0);
});

test('bounded loads: a host with more than its share is passed over, always for the same ones', () => {
  const all = hosts([90, 91, 92, 93]);
  let active = 0;
  const cluster: Partial<PlainCluster> = { ...ring(), commonLbConfig: { consistentHashingLbConfig: { hashBalanceFactor: 150 } } };
  const { lb } = balancer(all, cluster, { activeRequests: () => active });
  const first = lb.chooseHost(by(777n)) as HostImpl;
  first.stats.rqActive.add(10);
  active = 10;
  const second = lb.chooseHost(by(777n)) as HostImpl;
  assert.notEqual(second, first);
  assert.equal(lb.chooseHost(by(777n)), second);
  // Everybody is over: the least loaded.
  for (const host of all) if (host !== first) host.stats.rqActive.add(host === second ? 30 : 25);
  active = 10;
  assert.equal(lb.chooseHost(by(777n)), first);
  // One key alone keeps within 150 % of the average.
  for (const host of all) host.stats.rqActive.set(0);
  active = 0;
  for (let i = 0; i < 400; i++) {
    const host = lb.chooseHost(by(777n)) as HostImpl;
    host.stats.rqActive.inc();
    active++;
  }
  for (const host of all) assert.ok(host.stats.rqActive.value <= 152, `${host.stats.rqActive.value}`);
});

test('a large table is built in turns; meanwhile the old one goes on without hosts that are gone', () => {
  const ports = Array.from({ length: 1000 }, (_, i) => 1000 + i);
  const all = hosts(ports);
  const big = ring({ minimumRingSize: 200_000 });
  const { lb, worker } = balancer(all, big);
  // Before there is any table.
  const early = assignment(lb, 2000);
  assert.ok(new Set(early).size > 500);
  worker.dispatcher.run();
  assert.equal(worker.gauge('ring_hash_lb.size'), 200_000);
  const whole = assignment(lb, 2000);
  const other = balancer(all, big);
  other.worker.dispatcher.run();
  assert.deepEqual(assignment(other.lb, 2000), whole);
  const rest = all.filter((_, i) => i % 10 !== 0);
  lb.update(prioritySetOf(rest));
  const meanwhile = assignment(lb, 2000);
  meanwhile.forEach((host, i) => {
    if (rest.includes(whole[i] as HostImpl)) assert.equal(host, whole[i]);
    else assert.ok(rest.includes(host as HostImpl));
  });
  worker.dispatcher.run();
  assert.ok(assignment(lb, 2000).every((host) => rest.includes(host as HostImpl)));
  // An update that comes before the end starts anew, one that changes nothing does not.
  lb.update(prioritySetOf(all));
  lb.update(prioritySetOf(rest));
  lb.update(prioritySetOf(rest));
  worker.dispatcher.run();
  assert.ok(assignment(lb, 100).every((host) => rest.includes(host as HostImpl)));
  lb.close?.();
});

test('numbers of std::mt19937, and hashes of more than a block', () => {
  const random = new Mt19937();
  random.seed(5489);
  let last = 0;
  for (let i = 0; i < 10_000; i++) last = random.next();
  assert.equal(last, 4123659995);
  random.seed(1);
  const drawn = Array.from({ length: 3000 }, () => random.below(3));
  for (const value of [0, 1, 2]) assert.ok(Math.abs(drawn.filter((n) => n === value).length - 1000) < 120);
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
  assert.equal(xxHash64Bytes(new Hash64(), bytes, 100).toHex(), '6ac1e58032166597');
});

test('64-bit remainders', () => {
  const value = 0xfedcba9876543210n;
  hash.set(Number(value >> 32n), Number(value & 0xffffffffn));
  for (const divisor of [1, 2, 7, 100, 65537, 5000011, 0x3ffffff, 0x4000000, 0xffffffff]) {
    assert.equal(hash.modulo(divisor), Number(value % BigInt(divisor)), `${divisor}`);
  }
});
