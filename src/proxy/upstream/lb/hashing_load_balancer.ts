/**
 * Ring hash and Maglev (Envoy: ThreadAwareLoadBalancerBase): the priority and the host both follow from the request's hash; without one,
 * from a random one. Each priority has a table of its healthy hosts, in panic of all.
 *
 * Tables are built in steps, one per turn of the loop; the first ones of each update at once, which is enough for most. Meanwhile the
 * previous table goes on, and hosts that are gone are passed over in it, which for a ring is what the new one will say. Without a
 * previous table hosts are taken by the hash modulo their number, the same on all workers.
 */
import { Hash64 } from '../../common/hash64.ts';
import type { HostImpl } from '../host.ts';
import type { PrioritySet } from '../priority_set.ts';
import type { LoadBalancerContext } from '../upstream.ts';
import { withinBounds } from './bounded_load.ts';
import type { HashTable, TableBuilder } from './hash_table.ts';
import { type HostWeights, hostWeights, sameWeights } from './host_weights.ts';
import { type LoadBalancer, type LoadBalancerEnvironment, PriorityLoads } from './load_balancer.ts';
import { buildMaglevTable, MaglevTable } from './maglev_table.ts';
import { priorityOfShare } from './priority_load.ts';
import { buildRing, Ring } from './ring.ts';

/** Steps of an update that are made at once, over all its tables: about two milliseconds; without old tables, sixteen. */
const STEPS_AT_ONCE = 8;
const FIRST_STEPS_AT_ONCE = 64;
/** Places of a stale table that are looked at for a host that is still there. */
const MAX_PASSED_OVER = 64;

interface PriorityTable {
  weights: HostWeights;
  /** Of `weights`, or of an earlier update while `builder` works. */
  table: HashTable | null;
  builder: TableBuilder | null;
}

export class HashingLoadBalancer implements LoadBalancer {
  private readonly environment: LoadBalancerEnvironment;
  private readonly loads: PriorityLoads;
  private readonly randomHash = new Hash64();
  private readonly gauges: (table: HashTable) => void;
  private tables: readonly PriorityTable[] = [];
  private cancel: (() => void) | null = null;

  constructor(environment: LoadBalancerEnvironment) {
    this.environment = environment;
    this.loads = new PriorityLoads(environment);
    this.gauges = gaugeSetter(environment);
  }

  update(set: PrioritySet): void {
    const { settings, localLocality } = this.environment;
    this.loads.update(set);
    const before = this.tables;
    this.tables = set.sets.map((hosts, priority): PriorityTable => {
      const weights = hostWeights(hosts, {
        panic: this.loads.load.panic[priority],
        localityWeighted: settings.locality.weighted,
        localLocality,
        useHostname: settings.hashing.useHostname,
      });
      const old = before[priority];
      if (old !== undefined && sameWeights(old.weights, weights)) return { weights, table: old.table, builder: old.builder };
      const builder = weights.hosts.length === 0 ? null : this.builder(weights);
      return { weights, table: weights.hosts.length === 0 ? null : (old?.table ?? null), builder };
    });
    this.cancel?.();
    this.cancel = null;
    const first = this.tables.some(({ table, builder }) => table === null && builder !== null);
    this.build(first ? FIRST_STEPS_AT_ONCE : STEPS_AT_ONCE);
  }

  chooseHost(context: LoadBalancerContext | null): HostImpl | null {
    const { environment, loads } = this;
    if (loads.stale) this.update(loads.set);
    const hash =
      (context === null ? null : context.computeHashKey()) ?? this.randomHash.set(environment.random(), environment.random());
    const load = loads.loadFor(context);
    const share = load.healthy[0] < 100 ? priorityOfShare(load, hash.modulo(100)) : 0;
    const priority = share % load.healthy.length;
    if (load.panic[priority]) environment.stats.lbHealthyPanic.inc();
    const table = this.tables[priority];
    if (table === undefined || table.weights.hosts.length === 0) return null;
    let host = this.choose(table, hash, 0);
    if (context === null) return host;
    for (let attempt = 1, most = context.hostSelectionRetryCount(); attempt <= most; attempt++) {
      if (!context.shouldSelectAnotherHost(host)) return host;
      host = this.choose(table, hash, attempt);
    }
    return host;
  }

  close(): void {
    this.cancel?.();
    this.cancel = null;
  }

  private choose(place: PriorityTable, hash: Hash64, attempt: number): HostImpl {
    const { weights, table } = place;
    const host = table === null || place.builder !== null ? choiceMeanwhile(place, hash, attempt) : table.choose(hash, attempt);
    const { balanceFactor } = this.environment.settings.hashing;
    if (balanceFactor === 0) return host;
    return withinBounds(host, hash, weights, balanceFactor, this.environment.activeRequests());
  }

  private builder(weights: HostWeights): TableBuilder {
    const { settings } = this.environment;
    return settings.policy === 'RING_HASH'
      ? buildRing(weights, settings.hashing)
      : buildMaglevTable(weights, settings.hashing.tableSize);
  }

  /** So many steps now, the rest in later turns. */
  private build(steps: number): void {
    let left = steps;
    for (const place of this.tables) {
      while (place.builder !== null) {
        if (left-- === 0) {
          this.cancel = this.environment.defer(() => this.build(1));
          return;
        }
        const { done, value } = place.builder.next();
        if (!done) continue;
        place.table = value;
        place.builder = null;
        this.gauges(value);
      }
    }
    this.cancel = null;
  }
}

/** While the table of `weights` is being built. */
function choiceMeanwhile({ weights, table }: PriorityTable, hash: Hash64, attempt: number): HostImpl {
  if (table !== null) {
    let passed = attempt;
    for (let i = 0; i < MAX_PASSED_OVER; i++) {
      const host = table.choose(hash, i);
      if (weights.byHost.has(host) && passed-- === 0) return host;
    }
  }
  return weights.hosts[(hash.modulo(weights.hosts.length) + attempt) % weights.hosts.length];
}

/** `ring_hash_lb.*` and `maglev_lb.*`. */
function gaugeSetter({ scope, setsGauges, settings }: LoadBalancerEnvironment): (table: HashTable) => void {
  if (!setsGauges) return () => {};
  if (settings.policy === 'RING_HASH') {
    const size = scope.gauge('ring_hash_lb.size');
    const min = scope.gauge('ring_hash_lb.min_hashes_per_host');
    const max = scope.gauge('ring_hash_lb.max_hashes_per_host');
    return (table) => {
      if (!(table instanceof Ring)) return;
      size.set(table.size);
      min.set(table.minHashesPerHost);
      max.set(table.maxHashesPerHost);
    };
  }
  const min = scope.gauge('maglev_lb.min_entries_per_host');
  const max = scope.gauge('maglev_lb.max_entries_per_host');
  return (table) => {
    if (!(table instanceof MaglevTable)) return;
    min.set(table.minEntriesPerHost);
    max.set(table.maxEntriesPerHost);
  };
}
