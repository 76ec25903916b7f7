/**
 * All listeners of one worker (Envoy: ConnectionHandlerImpl). Adding a listener builds its filter chains and opens its sockets;
 * stopping closes only the sockets, so that connections can drain; removing closes everything.
 *
 * Changes at run time: what is replaced or removed accepts nothing more and drains: its connections are told to end over the drain time, and
 * closed when that is over.
 */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { OverloadState } from '../overload/overload_state.ts';
import type { FactoryContext } from '../server/factory_context.ts';
import type { Address } from './address.ts';
import type { Connection } from './connection.ts';
import type { DrainSettings } from './drain_manager.ts';
import { Draining } from './draining.ts';
import { ActiveListener, type BindOverride } from './listener_active.ts';
import { isAnyAddress } from './listener_address.ts';
import { ListenerConfig, type ListenerProto } from './listener_config.ts';
import type { ListenerExtensions } from './listener_extensions.ts';
import type { CreateServerConnection } from './server_connection.ts';

export interface ConnectionHandlerOptions {
  readonly context: FactoryContext;
  readonly extensions: ListenerExtensions;
  readonly createServerConnection: CreateServerConnection;
  /** The most connections of the whole process; default: runtime key `overload.global_downstream_max_connections`. */
  readonly globalConnectionLimit?: () => number;
}

export class ConnectionHandler {
  readonly dispatcher: Dispatcher;
  readonly createServerConnection: CreateServerConnection;
  private readonly options: ConnectionHandlerOptions;
  private readonly listeners = new Map<string, ActiveListener>();
  private readonly draining = new Map<ActiveListener, Draining>();
  private readonly drainingChains = new Set<Draining>();
  private readonly globalConnectionLimit: () => number;
  private disabled = false;
  readonly overload: OverloadState | null;

  constructor(options: ConnectionHandlerOptions) {
    this.options = options;
    this.dispatcher = options.context.dispatcher;
    this.createServerConnection = options.createServerConnection;
    this.overload = options.context.overload ?? null;
    this.globalConnectionLimit = options.globalConnectionLimit ?? (() => runtimeGlobalLimit(options.context));
  }

  /** Throws ConfigError, or SysError when an address cannot be bound. Returns the bound addresses. */
  addListener(proto: ListenerProto, overrides: readonly BindOverride[] = []): Address[] {
    const listener = new ActiveListener(this, new ListenerConfig(proto, this.options.context, this.options.extensions));
    const { name } = listener.config;
    if (this.listeners.has(name)) throw new Error(`listener '${name}' exists already`);
    if (this.disabled && !listener.config.bypassOverloadManager) listener.setEnabled(false);
    listener.listen(overrides);
    this.listeners.set(name, listener);
    return listener.localAddresses;
  }

  /**
   * Another listener in the place of the one of this name, which drains; `done` runs when its last connection is gone. Without `overrides` the
   * new one takes over the listening sockets: they must be what it would open. Throws as `addListener`; then nothing has changed.
   */
  replaceListener(
    proto: ListenerProto,
    overrides: readonly BindOverride[] | null,
    settings: DrainSettings,
    done: () => void = () => {},
  ): void {
    const previous = this.require(proto.name);
    const listener = new ActiveListener(this, new ListenerConfig(proto, this.options.context, this.options.extensions));
    if (this.disabled && !listener.config.bypassOverloadManager) listener.setEnabled(false);
    if (overrides === null) listener.takeOver(previous);
    else {
      listener.listen(overrides);
      previous.stopListening();
    }
    this.listeners.set(proto.name, listener);
    this.drainAway(previous, settings, done);
  }

  /**
   * New configuration for a listener of which only filter chains differ (Envoy: in-place update): connections of chains that stay live on,
   * those of the others drain; `done` runs when they are gone. Returns how many chains drain. Throws ConfigError; then nothing has changed.
   */
  updateFilterChains(proto: ListenerProto, settings: DrainSettings, done: () => void = () => {}): number {
    const listener = this.require(proto.name);
    const previous = listener.config;
    listener.config = new ListenerConfig(proto, this.options.context, this.options.extensions, previous);
    const chains = previous.ownChains;
    for (const chain of chains) chain.drain.start(settings.durationMs, settings.strategy);
    const draining = new Draining(this.dispatcher, settings, {
      connections: () => chains.reduce((sum, chain) => sum + listener.connectionsOf(chain), 0),
      nudge: () => {
        for (const chain of chains) listener.drainConnections([chain], chain.drain);
      },
      end: () => {
        this.drainingChains.delete(draining);
        for (const chain of chains) listener.closeFilterChain(chain, 'filter_chain_is_being_removed');
        // After the connections, which are deleted at the end of the turn, too.
        this.dispatcher.deferredDelete({ deleteNow: () => previous.destroy() });
        done();
      },
    });
    this.drainingChains.add(draining);
    draining.start();
    return chains.length;
  }

  /** Stops accepting, and closes the listener when its connections have drained; `done` runs when all are gone. */
  drainListener(name: string, settings: DrainSettings, done: () => void = () => {}): void {
    const listener = this.require(name);
    this.listeners.delete(name);
    listener.stopListening();
    this.drainAway(listener, settings, done);
  }

  private drainAway(listener: ActiveListener, settings: DrainSettings, done: () => void): void {
    const { config } = listener;
    config.drain.start(settings.durationMs, settings.strategy);
    const draining = new Draining(this.dispatcher, settings, {
      connections: () => listener.connectionCount + listener.sockets.size,
      nudge: () => listener.drainConnections(listener.usedChains, config.drain),
      end: () => {
        this.draining.delete(listener);
        listener.destroy(() => {
          config.destroy();
          done();
        });
      },
    });
    this.draining.set(listener, draining);
    draining.start();
  }

  /** Closes the listener and its connections; `done` runs when all are gone. */
  removeListener(name: string, done: () => void = () => {}): void {
    const listener = this.require(name);
    this.listeners.delete(name);
    listener.destroy(() => {
      listener.config.destroy();
      done();
    });
  }

  /** Closes listening sockets: of one listener, or of all. */
  stopListeners(name?: string): void {
    for (const listener of this.select(name)) listener.stopListening();
  }

  /** Closes what is left, listeners and connections; `done` runs when all are gone. */
  close(done: () => void = () => {}): void {
    for (const draining of [...this.draining.values(), ...this.drainingChains]) draining.endNow();
    const names = [...this.listeners.keys()];
    let left = names.length;
    if (left === 0) done();
    for (const name of names) {
      this.removeListener(name, () => {
        if (--left === 0) done();
      });
    }
  }

  /** Stops accepting without closing the sockets (overload action stop_accepting_connections). */
  disableListeners(): void {
    this.disabled = true;
    for (const listener of this.listeners.values()) if (!listener.config.bypassOverloadManager) listener.setEnabled(false);
  }

  enableListeners(): void {
    this.disabled = false;
    for (const listener of this.listeners.values()) listener.setEnabled(true);
  }

  get isDisabled(): boolean {
    return this.disabled;
  }

  /** Connections of this worker. */
  get connectionCount(): number {
    let count = 0;
    for (const listener of this.listeners.values()) count += listener.connectionCount;
    for (const listener of this.draining.keys()) count += listener.connectionCount;
    return count;
  }

  /** For admin: connections by listener. */
  *openConnections(): Iterable<{ listener: string; connection: Connection }> {
    for (const listener of [...this.listeners.values(), ...this.draining.keys()]) {
      for (const connection of listener.openConnections()) yield { listener: listener.config.name, connection };
    }
  }

  /** For admin: what is listening where. */
  describe(): { name: string; addresses: Address[]; connections: number; config: ListenerConfig }[] {
    return [...this.listeners.values()].map((listener) => ({
      name: listener.config.name,
      addresses: listener.localAddresses,
      connections: listener.connectionCount,
      config: listener.config,
    }));
  }

  /** The listener for an original destination: the exact address, else the wildcard address with the same port. */
  findByAddress(address: Address): ActiveListener | null {
    let wildcard: ActiveListener | null = null;
    for (const listener of this.listeners.values()) {
      for (const own of listener.localAddresses) {
        if (own.asString === address.asString) return listener;
        const covers = own.kind === 'ip' && address.kind === 'ip' && own.port === address.port && isAnyAddress(own);
        if (covers && (own.version === address.version || own.v6only === false)) wildcard ??= listener;
      }
    }
    return wildcard;
  }

  /** Sums over workers: every worker has the same listeners, and gauges are shared. */
  globalConnectionLimitReached(): boolean {
    const limit = this.globalConnectionLimit();
    if (limit === Number.MAX_SAFE_INTEGER) return false;
    let active = 0;
    for (const { config, stats } of this.listeners.values()) {
      if (!config.ignoreGlobalConnectionLimit) active += stats.downstream_cx_active.value + stats.downstream_pre_cx_active.value;
    }
    return active >= limit;
  }

  private require(name: string): ActiveListener {
    const listener = this.listeners.get(name);
    if (listener === undefined) throw new Error(`there is no listener '${name}'`);
    return listener;
  }

  private select(name: string | undefined): ActiveListener[] {
    return name === undefined ? [...this.listeners.values()] : [this.require(name)];
  }
}

function runtimeGlobalLimit(context: FactoryContext): number {
  return context.runtime.snapshot.getInteger('overload.global_downstream_max_connections', Number.MAX_SAFE_INTEGER);
}
