/**
 * Circuit breakers (Envoy: source/common/upstream/resource_manager_impl.h).
 *
 * Counts are cluster-wide: they lie in a SharedArrayBuffer that all workers get (`createSharedResources`). They are checked without a
 * lock and may overshoot by the number of workers, as in Envoy. Since `Atomics.add` tells exactly one thread that a count
 * crossed its limit, that thread alone moves the `*_open` gauge, and the gauge's sum over threads stays 0 or 1.
 */
import type { Gauge, Scope } from '../../core/stats/stats.ts';
import type { Thresholds } from './cluster_config.ts';
import type { Resource, ResourceManager } from './upstream.ts';

/** Resources of one priority, in cell order: name in stats. */
const RESOURCES = ['cx', 'rq_pending', 'rq', 'rq_retry', 'cx_pool'] as const;
const REMAINING = ['cx', 'pending', 'rq', 'retries', 'cx_pools'] as const;
/** Cells per priority: a count for each resource, then a "gauges were initialised" mark; padded to a cache line. */
const CELLS = 16;
const INITIALIZED = RESOURCES.length;

/** The counts of one cluster, both priorities. Made on main, given to every worker. */
export function createSharedResources(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * CELLS * 4);
}

export class ResourceManagerImpl implements ResourceManager {
  readonly connections: CountedResource;
  readonly pendingRequests: CountedResource;
  readonly requests: CountedResource;
  readonly retries: CountedResource | RetryBudget;
  readonly connectionPools: CountedResource;
  readonly maxConnectionsPerHost: number;

  /** `scope` is `cluster.<name>.`; `shared` of `createSharedResources`, or null for counts of this thread alone. */
  constructor(scope: Scope, priority: 0 | 1, thresholds: Thresholds, shared: SharedArrayBuffer | null) {
    const cells = shared === null ? new Int32Array(CELLS) : new Int32Array(shared, priority * CELLS * 4, CELLS);
    const gauges = scope.scope(`circuit_breakers.${priority === 0 ? 'default' : 'high'}.`);
    const first = Atomics.compareExchange(cells, INITIALIZED, 0, 1) === 0;
    const resource = (i: number, max: number): CountedResource => {
      const remaining = thresholds.trackRemaining ? gauges.gauge(`remaining_${REMAINING[i]}`) : null;
      if (first && remaining !== null) remaining.add(max);
      return new CountedResource(cells, i, shared === null, max, gauges.gauge(`${RESOURCES[i]}_open`), remaining);
    };
    this.connections = resource(0, thresholds.maxConnections);
    this.pendingRequests = resource(1, thresholds.maxPendingRequests);
    this.requests = resource(2, thresholds.maxRequests);
    const budget = thresholds.retryBudget;
    this.retries =
      budget === null
        ? resource(3, thresholds.maxRetries)
        : new RetryBudget(cells, 3, budget, this.requests, this.pendingRequests, gauges.gauge('rq_retry_open'));
    this.connectionPools = resource(4, thresholds.maxConnectionPools);
    this.maxConnectionsPerHost = thresholds.maxConnectionsPerHost;
  }
}

class CountedResource implements Resource {
  readonly max: number;
  private readonly cells: Int32Array;
  private readonly cell: number;
  /** No other thread counts: plain additions do, which V8 compiles in place. */
  private readonly alone: boolean;
  private readonly open: Gauge;
  private readonly remaining: Gauge | null;

  constructor(cells: Int32Array, cell: number, alone: boolean, max: number, open: Gauge, remaining: Gauge | null) {
    this.cells = cells;
    this.alone = alone;
    this.cell = cell;
    this.max = max;
    this.open = open;
    this.remaining = remaining;
  }

  get count(): number {
    return Atomics.load(this.cells, this.cell);
  }

  canCreate(): boolean {
    return this.cells[this.cell] < this.max;
  }

  inc(): void {
    const before = this.alone ? this.cells[this.cell]++ : Atomics.add(this.cells, this.cell, 1);
    if (before + 1 === this.max) this.open.inc();
    if (this.remaining !== null && before < this.max) this.remaining.dec();
  }

  dec(): void {
    const before = this.alone ? this.cells[this.cell]-- : Atomics.sub(this.cells, this.cell, 1);
    if (before === this.max && this.max > 0) this.open.dec();
    if (this.remaining !== null && before <= this.max) this.remaining.inc();
  }
}

/** Retries may be a share of what is active and waiting, but at least `minRetryConcurrency`. */
class RetryBudget implements Resource {
  private readonly cells: Int32Array;
  private readonly cell: number;
  private readonly budget: { readonly percent: number; readonly minRetryConcurrency: number };
  private readonly requests: Resource;
  private readonly pending: Resource;
  private readonly open: Gauge;
  private opened = false;

  constructor(
    cells: Int32Array,
    cell: number,
    budget: { readonly percent: number; readonly minRetryConcurrency: number },
    requests: Resource,
    pending: Resource,
    open: Gauge,
  ) {
    this.cells = cells;
    this.cell = cell;
    this.budget = budget;
    this.requests = requests;
    this.pending = pending;
    this.open = open;
  }

  get max(): number {
    const active = this.requests.count + this.pending.count;
    return Math.max(this.budget.minRetryConcurrency, Math.floor((this.budget.percent / 100) * active));
  }

  get count(): number {
    return Atomics.load(this.cells, this.cell);
  }

  canCreate(): boolean {
    return this.count < this.max;
  }

  inc(): void {
    Atomics.add(this.cells, this.cell, 1);
    this.updateOpen();
  }

  dec(): void {
    Atomics.sub(this.cells, this.cell, 1);
    this.updateOpen();
  }

  /** The limit moves with the load, so every thread notes what it saw last. */
  private updateOpen(): void {
    const open = !this.canCreate();
    if (open === this.opened) return;
    this.opened = open;
    if (open) this.open.inc();
    else this.open.dec();
  }
}
