/** The `server.` stats that main keeps. */
import type { Store } from '../../core/stats/store.ts';
import type { ServerState } from './admin/context.ts';
import type { LoadedConfiguration } from './load_configuration.ts';

const STATES: Record<ServerState, number> = { LIVE: 0, DRAINING: 1, PRE_INITIALIZING: 2, INITIALIZING: 3 };

export class ServerStats {
  private readonly store: Store;
  private readonly startMs = Date.now();

  constructor(store: Store, concurrency: number, loaded: LoadedConfiguration) {
    this.store = store;
    store.gauge('server.concurrency').set(concurrency);
    store.gauge('server.version').set(loaded.bootstrap.statsServerVersionOverride ?? 0);
    store.gauge('server.hot_restart_epoch').set(0);
    store.gauge('server.parent_connections').set(0);
    store.gauge('server.live').set(0);
    store.gauge('server.state').set(STATES.PRE_INITIALIZING);
    store.counter('server.static_unknown_fields').add(loaded.unknownFields);
    store.counter('server.dynamic_unknown_fields');
  }

  live(initializationMs: number): void {
    this.store.histogram('server.initialization_time_ms', 'milliseconds').recordValue(initializationMs);
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
