/** Subsets: which hosts a request's metadata_match leads to, fallbacks, lists, weights, stats. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlainSubset } from '../../../../src/proxy/upstream/cluster_config_subset.ts';
import type { PlainCluster } from '../../../../src/proxy/upstream/cluster_types.ts';
import { HostImpl } from '../../../../src/proxy/upstream/host.ts';
import type { HostDescription } from '../../../../src/proxy/upstream/host_update.ts';
import { createLoadBalancer } from '../../../../src/proxy/upstream/lb/create_load_balancer.ts';
import { prioritySetOf } from '../../../../src/proxy/upstream/priority_set.ts';
import type { LoadBalancerContext } from '../../../../src/proxy/upstream/upstream.ts';
import { FakeWorker, hostAt, lbEnvironment } from '../fakes.ts';

let port = 1;
function host(labels: Record<string, unknown> | null, more: Partial<HostDescription> = {}): HostImpl {
  const metadata: Record<string, Record<string, unknown>> = labels === null ? {} : { 'envoy.lb': labels };
  return new HostImpl(hostAt(`10.0.0.1:${port++}`, { metadata, ...more }), 0);
}

function matching(match: Record<string, unknown> | null): LoadBalancerContext {
  return {
    computeHashKey: () => null,
    metadataMatch: () => match,
    downstreamConnection: () => null,
    downstreamHeaders: () => null,
    shouldSelectAnotherHost: () => false,
    hostSelectionRetryCount: () => 0,
    determinePriorityLoad: (load) => load,
  };
}

function setup(hosts: readonly HostImpl[], subset: PlainSubset, cluster: Partial<PlainCluster> = {}) {
  const worker = new FakeWorker();
  const environment = lbEnvironment(worker, { lbSubsetConfig: subset, ...cluster });
  const lb = createLoadBalancer(environment);
  lb.update(prioritySetOf(hosts));
  /** All hosts that a request may reach. */
  const reach = (match: Record<string, unknown> | null): Set<HostImpl | null> => {
    const context = matching(match);
    return new Set(Array.from({ length: 60 }, () => lb.chooseHost(context)));
  };
  return { lb, worker, reach, stat: (name: string) => worker.counter(`lb_subsets_${name}`) };
}

const VERSION = [{ keys: ['version'] }];

test('a request reaches the hosts with its labels', () => {
  const [a1, a2, b] = [host({ version: '1', x: 1 }), host({ version: '1' }), host({ version: '2' })];
  const plain = host(null);
  const { reach, stat, worker, lb } = setup([a1, a2, b, plain], { subsetSelectors: VERSION });
  assert.deepEqual(reach({ version: '1' }), new Set([a1, a2]));
  assert.deepEqual(reach({ version: '2' }), new Set([b]));
  // No fallback: nothing for other values, other keys, or none.
  for (const match of [{ version: '3' }, { x: 1 }, { version: 1 }, null]) assert.deepEqual(reach(match), new Set([null]));
  assert.equal(stat('selected'), 120);
  assert.deepEqual([stat('created'), stat('removed'), worker.gauge('lb_subsets_active')], [2, 0, 2]);
  b.metadata = { 'envoy.lb': { version: '3' } };
  lb.update(prioritySetOf([a1, b]));
  assert.deepEqual(reach({ version: '3' }), new Set([b]));
  assert.deepEqual(reach({ version: '2' }), new Set([null]));
  assert.deepEqual([stat('created'), stat('removed'), worker.gauge('lb_subsets_active')], [3, 1, 2]);
});

test('fallback to any host, or to the default subset', () => {
  const [one, two] = [host({ version: '1' }), host({ version: '2', stage: 'prod' })];
  const any = setup([one, two], { fallbackPolicy: 'ANY_ENDPOINT', subsetSelectors: VERSION });
  assert.deepEqual(any.reach({ version: '9' }), new Set([one, two]));
  assert.deepEqual(any.reach(null), new Set([one, two]));
  assert.equal(any.stat('fallback'), 120);
  const defaults = setup([one, two], {
    fallbackPolicy: 'DEFAULT_SUBSET',
    defaultSubset: { stage: 'prod' },
    subsetSelectors: VERSION,
  });
  assert.deepEqual(defaults.reach({ version: '9' }), new Set([two]));
  const empty = { fallbackPolicy: 'DEFAULT_SUBSET', defaultSubset: { stage: 'none' }, subsetSelectors: VERSION };
  assert.deepEqual(setup([one, two], empty).reach(null), new Set([null]));
  const panic = setup([one, two], { ...empty, panicModeAny: true });
  assert.deepEqual(panic.reach(null), new Set([one, two]));
  assert.equal(panic.stat('fallback_panic'), 60);
});

test("a selector's own fallback", () => {
  const [one, two, prod] = [
    host({ stage: 'dev', version: '1' }),
    host({ stage: 'dev', version: '2' }),
    host({ stage: 'prod', version: '1' }),
  ];
  const of = (fallbackPolicy: string, more: object = {}) =>
    setup([one, two, prod], {
      fallbackPolicy: 'ANY_ENDPOINT',
      defaultSubset: { stage: 'prod' },
      subsetSelectors: [
        { keys: ['version', 'stage'], fallbackPolicy, ...more },
        { keys: ['stage'], fallbackPolicy: 'NO_FALLBACK' },
      ],
    });
  const match = { version: '9', stage: 'dev' };
  assert.deepEqual(of('NO_FALLBACK').reach(match), new Set([null]));
  assert.deepEqual(of('ANY_ENDPOINT').reach(match), new Set([one, two, prod]));
  assert.deepEqual(of('DEFAULT_SUBSET').reach(match), new Set([prod]));
  assert.deepEqual(of('NOT_DEFINED').reach(match), new Set([one, two, prod]));
  const keys = of('KEYS_SUBSET', { fallbackKeysSubset: ['stage'] });
  assert.deepEqual(keys.reach(match), new Set([one, two]));
  // Then by the smaller selector's own.
  assert.deepEqual(keys.reach({ version: '9', stage: 'none' }), new Set([null]));
});

test('lists of values, of the host and of the route', () => {
  const [both, one] = [host({ version: ['1', '2'], stage: 'x' }), host({ version: '1', stage: 'x' })];
  const subsetSelectors = [{ keys: ['version', 'stage'] }];
  const any = setup([both, one], { listAsAny: true, subsetSelectors });
  assert.deepEqual(any.reach({ version: '1', stage: 'x' }), new Set([both, one]));
  assert.deepEqual(any.reach({ stage: 'x', version: '2' }), new Set([both]));
  const whole = setup([both, one], { subsetSelectors });
  assert.deepEqual(whole.reach({ version: ['1', '2'], stage: 'x' }), new Set([both]));
  assert.deepEqual(whole.reach({ version: '2', stage: 'x' }), new Set([null]));
  const list = setup([both, one], { listAsAny: true, subsetSelectors, metadataFallbackPolicy: 'FALLBACK_LIST' });
  assert.deepEqual(
    list.reach({ stage: 'x', fallback_list: [{ version: '7' }, { version: '2' }, { version: '1' }] }),
    new Set([both]),
  );
  assert.deepEqual(list.reach({ stage: 'x', version: '1', fallback_list: [{ version: '7' }] }), new Set([null]));
});

test('keys that no selector knows, when that is allowed', () => {
  const one = host({ version: '1' });
  const policy = (more: object) => ({
    loadBalancingPolicy: {
      policies: [
        {
          typedExtensionConfig: {
            typedConfig: {
              '@type': 'envoy.extensions.load_balancing_policies.subset.v3.Subset',
              subsetSelectors: VERSION,
              subsetLbPolicy: {
                policies: [
                  {
                    typedExtensionConfig: {
                      typedConfig: { '@type': 'envoy.extensions.load_balancing_policies.random.v3.Random' },
                    },
                  },
                ],
              },
              ...more,
            },
          },
        },
      ],
    },
  });
  const reach = (more: object) =>
    setup([one], {}, { lbSubsetConfig: undefined, ...policy(more) }).reach({ version: '1', more: 'x' });
  assert.deepEqual(reach({ allowRedundantKeys: true }), new Set([one]));
  assert.deepEqual(reach({}), new Set([null]));
});

test('one host per subset, and the ones too many', () => {
  const [first, second, other] = [host({ id: 'a' }), host({ id: 'a' }), host({ id: 'b' })];
  const { reach, worker } = setup([first, second, other], { subsetSelectors: [{ keys: ['id'], singleHostPerSubset: true }] });
  assert.deepEqual(reach({ id: 'a' }), new Set([first]));
  assert.deepEqual(reach({ id: 'b' }), new Set([other]));
  assert.equal(worker.gauge('lb_subsets_single_host_per_subset_duplicate'), 1);
});

test('priorities and panic within a subset', () => {
  const down = host({ version: '1' }, { healthStatus: 'UNHEALTHY' });
  const up = host({ version: '1' }, { priority: 1 });
  const elsewhere = host({ version: '2' });
  const { reach } = setup([down, up, elsewhere], { subsetSelectors: VERSION });
  assert.deepEqual(reach({ version: '1' }), new Set([up]));
  const all = setup([down, elsewhere], { subsetSelectors: VERSION });
  assert.deepEqual(all.reach({ version: '1' }), new Set([down]));
});

test('locality weights within subsets: kept, scaled, or not at all', () => {
  const zone = (name: string, weight: number) => ({ locality: { region: '', zone: name, subZone: '' }, localityWeight: weight });
  const hosts = [
    ...Array.from({ length: 3 }, () => host({ version: '1' }, zone('a', 10))),
    host({ version: '2' }, zone('a', 10)),
    host({ version: '1' }, zone('b', 10)),
  ];
  const share = (more: PlainSubset): number => {
    const { lb } = setup(hosts, { subsetSelectors: VERSION, ...more }, { commonLbConfig: { localityWeightedLbConfig: {} } });
    const context = matching({ version: '1' });
    let a = 0;
    for (let i = 0; i < 3500; i++) if (lb.chooseHost(context)?.locality.zone === 'a') a++;
    return a / 3500;
  };
  const near = (actual: number, wanted: number): void => assert.ok(Math.abs(actual - wanted) < 0.02, `${actual}, not ${wanted}`);
  near(share({}), 3 / 4);
  near(share({ localityWeightAware: true }), 1 / 2);
  // 3 of 4 hosts of a: 10 becomes 8.
  near(share({ localityWeightAware: true, scaleLocalityWeight: true }), 8 / 18);
});

test('selectors that make no sense', () => {
  const refused = (selector: object, reason: RegExp): void => {
    assert.throws(() => setup([], { subsetSelectors: [selector] }), reason);
  };
  refused({ keys: [] }, /needs keys/);
  refused({ keys: ['a'], fallbackPolicy: 'KEYS_SUBSET' }, /cannot be empty/);
  refused({ keys: ['a'], fallbackPolicy: 'KEYS_SUBSET', fallbackKeysSubset: ['b'] }, /must be a subset/);
  refused({ keys: ['a'], fallbackPolicy: 'KEYS_SUBSET', fallbackKeysSubset: ['a'] }, /cannot be equal/);
  refused({ keys: ['a', 'b'], fallbackKeysSubset: ['a'] }, /only for KEYS_SUBSET/);
  assert.throws(() => setup([], { subsetSelectors: VERSION }, { lbPolicy: 'CLUSTER_PROVIDED' }), /cannot be combined/);
});
