import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { HostImpl } from '../../../src/proxy/upstream/host.ts';
import type { HostDescription } from '../../../src/proxy/upstream/host_update.ts';
import { createLoadBalancer } from '../../../src/proxy/upstream/lb/create_load_balancer.ts';
import { EdfScheduler } from '../../../src/proxy/upstream/lb/edf_scheduler.ts';
import { computePriorityLoad } from '../../../src/proxy/upstream/lb/priority_load.ts';
import { type HostSet, prioritySetOf } from '../../../src/proxy/upstream/priority_set.ts';
import type { LoadBalancerContext } from '../../../src/proxy/upstream/upstream.ts';
import { FakeWorker, hostAt, lbEnvironment } from './fakes.ts';

function balancer(hosts: HostImpl[], more: Partial<PlainCluster> = {}) {
  const worker = new FakeWorker();
  const lb = createLoadBalancer(lbEnvironment(worker, more));
  lb.update(prioritySetOf(hosts));
  return { lb, worker, healthyPanic: worker.stats.counter('lb_healthy_panic') };
}

function hosts(n: number, more: (i: number) => Partial<HostDescription> = () => ({})): HostImpl[] {
  return Array.from({ length: n }, (_, i) => new HostImpl(hostAt(`10.0.0.${i + 1}:80`, more(i)), 0));
}

function picks(lb: { chooseHost(context: null): HostImpl | null }, n: number): Map<HostImpl | null, number> {
  const counts = new Map<HostImpl | null, number>();
  for (let i = 0; i < n; i++) {
    const host = lb.chooseHost(null);
    counts.set(host, (counts.get(host) ?? 0) + 1);
  }
  return counts;
}

const context = (more: Partial<LoadBalancerContext>): LoadBalancerContext => ({
  computeHashKey: () => null,
  metadataMatch: () => null,
  downstreamConnection: () => null,
  downstreamHeaders: () => null,
  shouldSelectAnotherHost: () => false,
  hostSelectionRetryCount: () => 0,
  determinePriorityLoad: (load) => load,
  ...more,
});

test('no hosts: null', () => {
  assert.equal(balancer([]).lb.chooseHost(null), null);
});

test('round robin takes each host in turn', () => {
  const all = hosts(3);
  const { lb } = balancer(all);
  const first = Array.from({ length: 3 }, () => lb.chooseHost(null));
  assert.deepEqual(new Set(first), new Set(all));
  for (let i = 0; i < 9; i++) assert.equal(lb.chooseHost(null), first[i % 3]);
});

test('round robin by weight is exact over a cycle and spread out', () => {
  const all = hosts(3, (i) => ({ weight: [5, 1, 1][i] }));
  const { lb } = balancer(all);
  const order = Array.from({ length: 7 }, () => lb.chooseHost(null));
  assert.deepEqual(
    all.map((host) => order.filter((h) => h === host).length),
    [5, 1, 1],
  );
  const long = picks(lb, 7000);
  assert.deepEqual(
    all.map((host) => long.get(host)),
    [5000, 1000, 1000],
  );
});

test('an EDF schedule follows weights that change, and breaks ties in order', () => {
  const edf = new EdfScheduler<string>();
  for (const name of ['a', 'b', 'c']) edf.add(1, name);
  assert.deepEqual(
    Array.from({ length: 6 }, () => edf.pickAndAdd(() => 1)),
    ['a', 'b', 'c', 'a', 'b', 'c'],
  );
  let a = 0;
  for (let i = 0; i < 600; i++) if (edf.pickAndAdd((name) => (name === 'a' ? 4 : 1)) === 'a') a++;
  assert.ok(Math.abs(a - 400) <= 3, `${a} of 600`);
  assert.equal(
    new EdfScheduler<string>().pickAndAdd(() => 1),
    null,
  );
});

test('random is uniform and blind to weights', () => {
  const all = hosts(4, (i) => ({ weight: i + 1 }));
  const counts = picks(balancer(all, { lbPolicy: 'RANDOM' }).lb, 8000);
  for (const host of all)
    assert.ok(Math.abs((counts.get(host) ?? 0) - 2000) < 200, `${host.address.asString}: ${counts.get(host)}`);
});

test('least request takes the less loaded of two random hosts', () => {
  const all = hosts(3);
  const { lb, worker } = balancer(all, { lbPolicy: 'LEAST_REQUEST' });
  all[0].stats.rqActive.add(5);
  all[1].stats.rqActive.add(2);
  worker.randoms.push(0, 1, 1, 2, 0, 0, 2, 0);
  assert.deepEqual(
    Array.from({ length: 4 }, () => lb.chooseHost(null)),
    [all[1], all[2], all[0], all[2]],
  );
});

test('least request: choice_count, and full scan', () => {
  const all = hosts(4);
  for (const [i, active] of [3, 1, 4, 1].entries()) all[i].stats.rqActive.add(active);
  const more = balancer(all, { lbPolicy: 'LEAST_REQUEST', leastRequestLbConfig: { choiceCount: 3 } });
  more.worker.randoms.push(0, 2, 1);
  assert.equal(more.lb.chooseHost(null), all[1]);
  const typedConfig = {
    '@type': 'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest',
    selectionMethod: 'FULL_SCAN',
  };
  const scan = balancer(all, { loadBalancingPolicy: { policies: [{ typedExtensionConfig: { typedConfig } }] } });
  const counts = picks(scan.lb, 1000);
  assert.deepEqual(new Set(counts.keys()), new Set([all[1], all[3]]));
  assert.ok((counts.get(all[1]) ?? 0) > 400 && (counts.get(all[3]) ?? 0) > 400);
});

test('least request with weights: weight / (active + 1) ^ bias', () => {
  const share = (bias: number): number => {
    const all = hosts(2, (i) => ({ weight: i + 1 }));
    all[1].stats.rqActive.add(3);
    const leastRequestLbConfig = { activeRequestBias: { defaultValue: bias } };
    return (picks(balancer(all, { lbPolicy: 'LEAST_REQUEST', leastRequestLbConfig }).lb, 3000).get(all[1]) ?? 0) / 3000;
  };
  assert.ok(Math.abs(share(0) - 2 / 3) < 0.01);
  assert.ok(Math.abs(share(1) - 0.5 / 1.5) < 0.01);
  assert.ok(Math.abs(share(2) - 0.125 / 1.125) < 0.01);
});

test('unhealthy hosts are left out, unless too many are', () => {
  const some = hosts(4, (i) => ({ healthStatus: i === 0 ? 'UNHEALTHY' : i === 1 ? 'DRAINING' : 'HEALTHY' }));
  const calm = balancer(some);
  assert.deepEqual(new Set(picks(calm.lb, 100).keys()), new Set(some.slice(2)));
  assert.equal(calm.healthyPanic.value, 0);

  const most = hosts(4, (i) => ({ healthStatus: i < 3 ? 'UNHEALTHY' : 'HEALTHY' }));
  const panic = balancer(most);
  assert.equal(picks(panic.lb, 100).size, 4);
  assert.equal(panic.healthyPanic.value, 100);

  const off = balancer(most, { commonLbConfig: { healthyPanicThreshold: { value: 0 } } });
  assert.deepEqual(new Set(picks(off.lb, 100).keys()), new Set([most[3]]));
  const none = hosts(2, () => ({ healthStatus: 'UNHEALTHY' }));
  assert.equal(balancer(none, { commonLbConfig: { healthyPanicThreshold: { value: 0 } } }).lb.chooseHost(null), null);
});

test('degraded hosts get what healthy ones cannot take', () => {
  const all = hosts(4, (i) => ({ healthStatus: i < 2 ? 'DEGRADED' : 'HEALTHY' }));
  const counts = picks(balancer(all).lb, 10_000);
  const degraded = (counts.get(all[0]) ?? 0) + (counts.get(all[1]) ?? 0);
  // Healthy: 140 % of 50 % = 70 %.
  assert.ok(Math.abs(degraded - 3000) < 250, `${degraded}`);
});

test('traffic spills to the next priority', () => {
  const all = hosts(4, (i) => ({ priority: i < 2 ? 0 : 1, healthStatus: i === 0 ? 'UNHEALTHY' : 'HEALTHY' }));
  const counts = picks(balancer(all).lb, 10_000);
  assert.equal(counts.get(all[0]), undefined);
  assert.ok(Math.abs((counts.get(all[1]) ?? 0) - 7000) < 250);
  assert.ok(Math.abs((counts.get(all[2]) ?? 0) - 1500) < 200);
});

test('priority loads, as in the Envoy documentation', () => {
  const set = (healthy: number, degraded: number, total: number): HostSet => {
    const all = hosts(total, (i) => ({
      healthStatus: i < healthy ? 'HEALTHY' : i < healthy + degraded ? 'DEGRADED' : 'UNHEALTHY',
    }));
    return prioritySetOf(all).sets[0];
  };
  const options = { overprovisioningFactor: 140, weightedPriorityHealth: false, panicThreshold: 50 };
  const load = (...sets: HostSet[]) => computePriorityLoad(sets, options);
  assert.deepEqual(load(set(100, 0, 100), set(100, 0, 100)).healthy, [100, 0]);
  assert.deepEqual(load(set(72, 0, 100), set(72, 0, 100)).healthy, [100, 0]);
  assert.deepEqual(load(set(71, 0, 100), set(71, 0, 100)).healthy, [99, 1]);
  assert.deepEqual(load(set(50, 0, 100), set(50, 0, 100)).healthy, [70, 30]);
  // Together less than 100 %: scaled up, the rest to the first.
  assert.deepEqual(load(set(25, 0, 100), set(25, 0, 100)).healthy, [50, 50]);
  assert.deepEqual(load(set(25, 0, 100), set(25, 0, 100)).panic, [true, true]);
  // Enough elsewhere: nobody panics.
  assert.deepEqual(load(set(0, 0, 100), set(100, 0, 100)), { healthy: [0, 100], degraded: [0, 0], panic: [false, false] });
  // Everything down: by number of hosts.
  assert.deepEqual(load(set(0, 0, 25), set(0, 0, 75)), { healthy: [25, 75], degraded: [0, 0], panic: [true, true] });
  assert.deepEqual(load(set(20, 80, 100)), { healthy: [28], degraded: [72], panic: [false] });
});

test('a choice that the context does not like is made again, but not forever', () => {
  const all = hosts(3);
  const { lb } = balancer(all);
  const avoid = context({ shouldSelectAnotherHost: (host) => host !== all[2], hostSelectionRetryCount: () => 2 });
  for (let i = 0; i < 10; i++) assert.equal(lb.chooseHost(avoid), all[2]);
  let asked = 0;
  const picky = context({
    shouldSelectAnotherHost: () => {
      asked++;
      return true;
    },
    hostSelectionRetryCount: () => 4,
  });
  assert.ok(lb.chooseHost(picky));
  assert.equal(asked, 5);
});
