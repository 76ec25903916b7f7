/**
 * Listeners on the main thread (Envoy: ListenerManagerImpl): which there are, what they are bound to, and how they change while workers serve.
 * A change has been checked before it comes here. What it needs is bound first, so that a change that cannot be is refused and nothing has
 * happened; then workers are told.
 *
 * The same name with other filter chains only is an in-place update: connections of chains that stay live on. With the same addresses and socket
 * options a new listener takes over the sockets of the old one, which drains. With others new sockets are bound beside the old ones.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Scope } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import { sameConfig } from '../config/shared_state.ts';
import type { DrainSettings } from '../network/drain_manager.ts';
import type { ListenerProto } from '../network/listener_config.ts';
import { type ListenerManagerStats, listenerManagerStats } from '../network/listener_stats.ts';
import { type BindPlan, type BoundListener, bindListeners, type Reserve } from './bind.ts';
import type { Logger } from './factory_context.ts';
import type { FromWorker, ListenerChange, WorkerListener } from './worker_protocol.ts';

/** A listener that has been checked. */
export interface CheckedListener {
  readonly proto: ListenerProto;
  readonly plan: BindPlan;
}

export interface ManagedListener extends CheckedListener {
  readonly bound: BoundListener;
  readonly addedViaApi: boolean;
}

export interface ListenerManagerOptions {
  readonly workers: number;
  readonly scope: Scope;
  readonly log: Logger;
  readonly drain: DrainSettings;
  readonly reserve: Reserve;
  postTo(worker: number, id: number, change: ListenerChange): void;
}

type Answer = FromWorker & { type: 'listenerChanged' | 'listenerDrained' };

/** What is asked of workers, until all have done it. */
interface Operation {
  waiting: number;
  undrained: number;
  /** Of an in-place update. */
  drainingChains: number;
  readonly kind: ListenerChange['kind'];
  readonly resolve: () => void;
}

export class ListenerManager {
  readonly stats: ListenerManagerStats;
  private readonly options: ListenerManagerOptions;
  private readonly listeners = new Map<string, ManagedListener>();
  private readonly operations = new Map<number, Operation>();
  private nextOperation = 1;

  constructor(options: ListenerManagerOptions) {
    this.options = options;
    this.stats = listenerManagerStats(options.scope);
  }

  /** Binds what workers start with. Rejects with ConfigError. */
  async start(listeners: readonly CheckedListener[]): Promise<void> {
    checkAddresses(listeners, []);
    const bound = await bindListeners(
      listeners.map(({ plan }) => plan),
      this.options.workers,
      this.options.reserve,
    );
    listeners.forEach((listener, i) => {
      this.listeners.set(listener.plan.name, { ...named(listener), bound: bound[i], addedViaApi: false });
    });
    this.stats.listener_added.add(listeners.length);
    this.stats.total_listeners_active.set(this.listeners.size);
  }

  /** Workers have started with `forWorker`. */
  workersStarted(): void {
    this.stats.workers_started.set(1);
    this.stats.listener_create_success.add(this.options.workers * this.listeners.size);
  }

  forWorker(index: number): WorkerListener[] {
    return [...this.listeners.values()].map(({ proto, bound }) => ({ proto, fds: bound.fds[index], addresses: bound.addresses }));
  }

  all(): ManagedListener[] {
    return [...this.listeners.values()];
  }

  get(name: string): ManagedListener | undefined {
    return this.listeners.get(name);
  }

  /** What `set` would do. */
  isChange({ plan, proto }: CheckedListener, addedViaApi: boolean): boolean {
    const known = this.listeners.get(plan.name);
    return known === undefined || known.addedViaApi !== addedViaApi || !sameConfig(known.proto, { ...proto, name: plan.name });
  }

  /**
   * Adds listeners, or changes those of the same names, all or none; resolves when workers have them. `removed`: names that are about to be
   * removed, whose addresses these may have. Rejects with ConfigError.
   */
  async set(listeners: readonly CheckedListener[], addedViaApi: boolean, removed: readonly string[] = []): Promise<void> {
    const changed = listeners.filter((listener) => this.isChange(listener, addedViaApi)).map(named);
    const names = new Set([...changed.map(({ plan }) => plan.name), ...removed]);
    checkAddresses(
      changed,
      this.all().filter(({ plan }) => !names.has(plan.name)),
    );
    const toBind = changed.filter((listener) => !this.keepsSockets(listener));
    // Where a listener that goes has the address without reuse_port, it lets go of it first.
    const bound = await bindListeners(
      toBind.map(({ plan }) => plan),
      this.options.workers,
      this.options.reserve,
    );
    await Promise.all(
      changed.map((listener) => {
        const at = toBind.indexOf(listener);
        return this.apply(listener, at < 0 ? null : bound[at], addedViaApi);
      }),
    );
  }

  /** Resolves when workers do not listen there any more; its connections drain. */
  async remove(name: string): Promise<boolean> {
    if (!this.listeners.delete(name)) return false;
    this.stats.listener_removed.inc();
    this.stats.total_listeners_active.set(this.listeners.size);
    this.stats.total_listeners_draining.inc();
    await this.tell({ kind: 'remove', name, drain: this.options.drain });
    return true;
  }

  /** What a worker says. */
  onAnswer(message: Answer): void {
    const operation = this.operations.get(message.id);
    if (operation === undefined) return;
    if (message.type === 'listenerChanged') {
      if (message.error === null) {
        if (operation.kind !== 'remove') this.stats.listener_create_success.inc();
      } else {
        this.stats.listener_create_failure.inc();
        this.options.log.error(`a worker could not change a listener: ${message.error}`);
        operation.undrained--;
      }
      if (operation.kind === 'filterChains' && operation.drainingChains === 0 && message.drainingChains > 0) {
        operation.drainingChains = message.drainingChains;
        this.stats.total_filter_chains_draining.add(message.drainingChains);
      }
      if (--operation.waiting === 0) operation.resolve();
    } else operation.undrained--;
    if (operation.waiting > 0 || operation.undrained > 0) return;
    this.operations.delete(message.id);
    if (operation.kind === 'filterChains') this.stats.total_filter_chains_draining.sub(operation.drainingChains);
    else if (operation.kind !== 'add') this.stats.total_listeners_draining.dec();
  }

  private keepsSockets({ plan }: CheckedListener): boolean {
    const known = this.listeners.get(plan.name);
    return known !== undefined && isDeepStrictEqual(known.plan, plan);
  }

  private async apply(listener: CheckedListener, bound: BoundListener | null, addedViaApi: boolean): Promise<void> {
    const { name } = listener.plan;
    const { proto } = listener;
    const { drain } = this.options;
    const known = this.listeners.get(name);
    this.listeners.set(name, { ...listener, bound: bound ?? known!.bound, addedViaApi });
    this.stats.total_listeners_active.set(this.listeners.size);
    if (known === undefined) {
      this.stats.listener_added.inc();
      await this.tell((worker) => ({ kind: 'add', listener: forWorker(proto, bound!, worker) }));
      return;
    }
    if (bound === null && onlyFilterChains(known.proto, proto)) {
      this.stats.listener_in_place_updated.inc();
      await this.tell({ kind: 'filterChains', proto, drain });
      return;
    }
    this.stats.listener_modified.inc();
    this.stats.total_listeners_draining.inc();
    await this.tell((worker) => ({
      kind: 'replace',
      listener: bound === null ? { proto, fds: null } : forWorker(proto, bound, worker),
      drain,
    }));
  }

  private tell(change: ListenerChange | ((worker: number) => ListenerChange)): Promise<void> {
    const { workers, postTo } = this.options;
    const id = this.nextOperation++;
    const changeOf = typeof change === 'function' ? change : () => change;
    const { kind } = changeOf(0);
    return new Promise((resolve) => {
      const undrained = kind === 'add' ? 0 : workers;
      this.operations.set(id, { waiting: workers, undrained, drainingChains: 0, kind, resolve });
      for (let worker = 0; worker < workers; worker++) postTo(worker, id, changeOf(worker));
    });
  }
}

function forWorker(proto: ListenerProto, bound: BoundListener, worker: number): WorkerListener {
  return { proto, fds: bound.fds[worker], addresses: bound.addresses };
}

/** With the name that it gets when it has none. */
function named<L extends CheckedListener>(listener: L): L {
  return { ...listener, proto: { ...listener.proto, name: listener.plan.name } };
}

function onlyFilterChains(a: ListenerProto, b: ListenerProto): boolean {
  const rest = ({ filterChains: _, defaultFilterChain: __, ...others }: ListenerProto): object => others;
  return sameConfig(rest(a), rest(b));
}

/** Throws ConfigError when two would be bound to the same address. */
function checkAddresses(listeners: readonly CheckedListener[], others: readonly CheckedListener[]): void {
  const taken = new Map<string, string>();
  const note = ({ plan }: CheckedListener, refuse: boolean): void => {
    for (const { address, socketInterface } of plan.sockets) {
      if (address.kind === 'ip' && address.port === 0) continue;
      const key = `${socketInterface ?? ''} ${address.asString}`;
      const other = taken.get(key);
      if (refuse && other !== undefined && other !== plan.name) {
        throw new ConfigError(
          `error adding listener: '${plan.name}' has duplicate address '${address.asString}' as existing listener '${other}'`,
        );
      }
      taken.set(key, plan.name);
    }
  };
  for (const listener of others) note(listener, false);
  for (const listener of listeners) note(listener, true);
}
