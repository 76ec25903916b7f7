/** Localities by weight, zone-aware routing, slow start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainCluster } from '../../../../src/proxy/upstream/cluster_types.ts';
import type { HealthStatus } from '../../../../src/proxy/upstream/endpoint_config.ts';
import { HostImpl } from '../../../../src/proxy/upstream/host.ts';
import type { HostDescription } from '../../../../src/proxy/upstream/host_update.ts';
import { createLoadBalancer } from '../../../../src/proxy/upstream/lb/create_load_balancer.ts';
import type { LoadBalancer, LoadBalancerEnvironment } from '../../../../src/proxy/upstream/lb/load_balancer.ts';
import { prioritySetOf } from '../../../../src/proxy/upstream/priority_set.ts';
import { FakeWorker, hostAt, lbEnvironment } from '../fakes.ts';

const zone = (name: string) => ({ region: 'r', zone: name, subZone: '' });

/** `counts` hosts in zones a, b, c ...; `health` by zone and number. */
function hostsIn(
  counts: readonly number[],
  more: (zone: number, i: number) => Partial<HostDescription> = () => ({}),
  network = 1,
): HostImpl[] {
  return counts.flatMap((count, z) =>
    Array.from(
      { length: count },
      (_, i) => new HostImpl(hostAt(`10.${network}.${z}.${i + 1}:80`, { locality: zone('abcdef'[z]), ...more(z, i) }), 0),
    ),
  );
}

function shares(lb: LoadBalancer, n: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < n; i++) {
    const name = lb.chooseHost(null)?.locality.zone ?? 'none';
    counts[name] = (counts[name] ?? 0) + 1;
  }
  for (const name of Object.keys(counts)) counts[name] /= n;
  return counts;
}

function near(actual: number | undefined, wanted: number, by = 0.03): void {
  assert.ok(Math.abs((actual ?? 0) - wanted) < by, `${actual}, not ${wanted}`);
}

function balancer(all: readonly HostImpl[], cluster: Partial<PlainCluster>, more: Partial<LoadBalancerEnvironment> = {}) {
  const worker = new FakeWorker();
  const lb = createLoadBalancer(lbEnvironment(worker, cluster, more));
  lb.update(prioritySetOf(all));
  return { lb, worker };
}

const WEIGHTED: Partial<PlainCluster> = { commonLbConfig: { localityWeightedLbConfig: {} } };

for (const lbPolicy of ['ROUND_ROBIN', 'LEAST_REQUEST', 'RANDOM']) {
  test(`${lbPolicy}: localities in proportion to weight, whatever the number of their hosts`, () => {
    const all = hostsIn([5, 1, 2], (z) => ({ localityWeight: [1, 3, 0][z] }));
    const { lb } = balancer(all, { ...WEIGHTED, lbPolicy });
    const found = shares(lb, 4000);
    near(found.a, 0.25);
    near(found.b, 0.75);
    assert.equal(found.c, undefined);
  });
}

test('a locality with few healthy hosts gets less, as far as overprovisioning goes', () => {
  const health = (down: number) => (z: number, i: number) => ({
    localityWeight: 1,
    healthStatus: (z === 0 && i < down ? 'UNHEALTHY' : 'HEALTHY') as HealthStatus,
  });
  near(shares(balancer(hostsIn([10, 10], health(2)), WEIGHTED).lb, 4000).a, 0.5);
  // 140 % of 50 %.
  near(shares(balancer(hostsIn([10, 10], health(5)), WEIGHTED).lb, 4000).a, 0.7 / 1.7);
});

test('without any weight localities do not matter', () => {
  near(shares(balancer(hostsIn([3, 1]), WEIGHTED).lb, 4000).a, 0.75);
});

/** Zone-aware, from zone a; `fleet` proxies by zone. */
function zoneAware(
  all: readonly HostImpl[],
  fleet: HostImpl[],
  cluster: Partial<PlainCluster> = {},
  more: Partial<LoadBalancerEnvironment> = {},
) {
  let set = prioritySetOf(fleet);
  const made = balancer(all, cluster, {
    hasLocalCluster: true,
    localCluster: () => set,
    localLocality: zone('a'),
    ...more,
  });
  return {
    ...made,
    moveFleet: (next: HostImpl[]) => {
      set = prioritySetOf(next);
    },
  };
}

test('zone-aware: all stays here while there is room', () => {
  const { lb, worker } = zoneAware(hostsIn([4, 2]), hostsIn([2, 2], undefined, 2));
  assert.deepEqual(shares(lb, 100), { a: 1 });
  assert.equal(worker.counter('lb_zone_routing_all_directly'), 100);
  assert.equal(worker.counter('lb_recalculate_zone_structures'), 1);
});

test('zone-aware: what there is no room for goes to others, by their room', () => {
  // Proxies 40/40/20, hosts 25/50/25: of ours, 25/40 stays; the rest 10 to 5.
  const { lb, worker } = zoneAware(hostsIn([5, 10, 5]), hostsIn([4, 4, 2], undefined, 2));
  const found = shares(lb, 20_000);
  near(found.a, 0.625);
  near(found.b, (0.375 * 2) / 3);
  near(found.c, 0.375 / 3);
  assert.ok(worker.counter('lb_zone_routing_sampled') > 0 && worker.counter('lb_zone_routing_cross_zone') > 0);
});

test('zone-aware: when it does not apply', () => {
  const fleet = hostsIn([2, 2], undefined, 2);
  const small = zoneAware(hostsIn([2, 2]), fleet);
  near(shares(small.lb, 2000).a, 0.5);
  assert.equal(small.worker.counter('lb_zone_cluster_too_small'), 1);
  const allowed = zoneAware(hostsIn([2, 2]), fleet, { commonLbConfig: { zoneAwareLbConfig: { minClusterSize: 2 } } });
  assert.deepEqual(shares(allowed.lb, 100), { a: 1 });
  const absent = zoneAware(hostsIn([4, 4]), hostsIn([0, 2, 2], undefined, 2));
  near(shares(absent.lb, 2000).a, 0.5);
  assert.equal(absent.worker.counter('lb_local_cluster_not_ok'), 1);
  const half = zoneAware(hostsIn([4, 4]), fleet, { commonLbConfig: { zoneAwareLbConfig: { routingEnabled: { value: 50 } } } });
  near(shares(half.lb, 8000).a, 0.75);
  const getInteger = (key: string, value: number): number => (key === 'upstream.zone_routing.enabled' ? 0 : value);
  const off = zoneAware(hostsIn([4, 4]), fleet, {}, { runtime: { snapshot: { getInteger } } as never });
  near(shares(off.lb, 2000).a, 0.5);
});

test('zone-aware: the fleet in panic, and a fleet that changes', () => {
  const down = hostsIn([2, 2], (_z, i) => ({ healthStatus: i === 0 ? 'HEALTHY' : 'UNHEALTHY' }), 2);
  const worse = hostsIn([2, 2], (z, i) => ({ healthStatus: z + i === 0 ? 'HEALTHY' : 'UNHEALTHY' }), 2);
  const { lb, worker, moveFleet } = zoneAware(hostsIn([4, 4]), down);
  assert.deepEqual(shares(lb, 100), { a: 1 });
  moveFleet(worse);
  near(shares(lb, 1000).a, 0.5);
  assert.equal(worker.counter('lb_local_cluster_not_ok'), 1000);
  moveFleet(down);
  assert.deepEqual(shares(lb, 100), { a: 1 });
  const failing = { commonLbConfig: { zoneAwareLbConfig: { failTrafficOnPanic: true } } };
  assert.deepEqual(shares(zoneAware(hostsIn([4, 4]), worse, failing).lb, 10), { none: 1 });
  const dead = hostsIn([2, 2], () => ({ healthStatus: 'UNHEALTHY' }));
  assert.equal(balancer(dead, failing).lb.chooseHost(null), null);
});

for (const policy of ['ROUND_ROBIN', 'LEAST_REQUEST'] as const) {
  test(`slow start, ${policy}: a new host's share grows, then nothing is left of it`, () => {
    let now = 100_000;
    const slowStartConfig = { slowStartWindow: 10_000, minWeightPercent: { value: 10 } };
    const cluster: Partial<PlainCluster> =
      policy === 'ROUND_ROBIN'
        ? { roundRobinLbConfig: { slowStartConfig } }
        : { lbPolicy: policy, leastRequestLbConfig: { slowStartConfig } };
    const all = hostsIn([2]);
    const { lb } = balancer(all, cluster, { nowMs: () => now });
    const share = (): number => {
      let n = 0;
      for (let i = 0; i < 2000; i++) if (lb.chooseHost(null) === all[1]) n++;
      return n / 2000;
    };
    near(share(), 0.5);
    all[1].healthySinceMs = now;
    lb.update(prioritySetOf(all));
    near(share(), 0.1 / 1.1);
    now += 5000;
    near(share(), 0.5 / 1.5);
    now += 4999;
    near(share(), 0.5);
    now += 2;
    near(share(), 0.5);
  });
}

test('slow start: aggression, also from runtime', () => {
  const now = 5000;
  const share = (aggression: number, runtime: LoadBalancerEnvironment['runtime'] = null): number => {
    const all = hostsIn([2]);
    all[1].healthySinceMs = 2500;
    const slowStartConfig = {
      slowStartWindow: 10_000,
      aggression: { defaultValue: aggression, runtimeKey: 'slow' },
      minWeightPercent: { value: 0 },
    };
    const { lb } = balancer(all, { roundRobinLbConfig: { slowStartConfig } }, { nowMs: () => now, runtime });
    let n = 0;
    for (let i = 0; i < 5000; i++) if (lb.chooseHost(null) === all[1]) n++;
    return n / 5000;
  };
  near(share(1), 0.25 / 1.25, 0.01);
  near(share(2), 0.5 / 1.5, 0.01);
  near(share(0.5), 0.0625 / 1.0625, 0.01);
  const getDouble = (): number => 2;
  const runtime = { snapshot: { getDouble, getInteger: (_key: string, value: number) => value } } as never;
  near(share(1, runtime), 0.5 / 1.5, 0.01);
});
