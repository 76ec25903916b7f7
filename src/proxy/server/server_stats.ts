/** The `server.`, `listener_manager.` and `runtime.` stats that main keeps. */
import type { Store } from '../../core/stats/store.ts';
import type { ServerState } from './admin/context.ts';
import type { LoadedConfiguration } from './load_configuration.ts';

const STATES: Record<ServerState, number> = { LIVE: 0, DRAINING: 1, PRE_INITIALIZING: 2, INITIALIZING: 3 };

export class ServerStats {
  private readonly store: Store;
  private readonly startMs = Date.now();

  constructor(store: Store, concurrency: number, loaded: LoadedConfiguration) {
    this.store = store;
    const listeners = loaded.bootstrap.staticResources?.listeners.length ?? 0;
    store.gauge('server.concurrency').set(concurrency);
    store.gauge('server.version').set(loaded.bootstrap.statsServerVersionOverride ?? 0);
    store.gauge('server.hot_restart_epoch').set(0);
    store.gauge('server.parent_connections').set(0);
    store.gauge('server.live').set(0);
    store.gauge('server.state').set(STATES.PRE_INITIALIZING);
    store.counter('server.static_unknown_fields').add(loaded.unknownFields);
    store.counter('server.dynamic_unknown_fields');
    store.counter('listener_manager.listener_added').add(listeners);
    for (const name of [
      'listener_create_failure',
      'listener_in_place_updated',
      'listener_modified',
      'listener_removed',
      'listener_stopped',
    ]) {
      store.counter(`listener_manager.${name}`);
    }
    store.gauge('listener_manager.total_listeners_active').set(listeners);
    for (const name of [
      'total_listeners_draining',
      'total_listeners_warming',
      'total_filter_chains_draining',
      'workers_started',
    ]) {
      store.gauge(`listener_manager.${name}`).set(0);
    }
  }

  live(initializationMs: number): void {
    this.store.histogram('server.initialization_time_ms', 'milliseconds').recordValue(initializationMs);
    this.store.gauge('listener_manager.workers_started').set(1);
    const concurrency = this.store.gaugeValue('server.concurrency');
    this.store
      .counter('listener_manager.listener_create_success')
      .add(concurrency * this.store.gaugeValue('listener_manager.total_listeners_active'));
    this.update('LIVE');
  }

  /** Before every flush and every look at the stats. */
  update(state: ServerState): void {
    const memory = process.memoryUsage();
    this.store.gauge('server.state').set(STATES[state]);
    this.store.gauge('server.live').set(state === 'LIVE' ? 1 : 0);
    this.store.gauge('server.uptime').set(Math.floor((Date.now() - this.startMs) / 1000));
    this.store.gauge('server.memory_allocated').set(memory.heapUsed);
    this.store.gauge('server.memory_heap_size').set(memory.heapTotal);
    this.store.gauge('server.memory_physical_size').set(memory.rss);
    const connections = this.store
      .allGauges()
      .filter(
        ({ name }) =>
          name.startsWith('listener.') &&
          /^listener\.[^.]+(\.[^.]+)*\.downstream_cx_active$/.test(name) &&
          !name.includes('.worker_'),
      )
      .reduce((sum, { value }) => sum + value, 0);
    this.store.gauge('server.total_connections').set(connections);
  }
}
