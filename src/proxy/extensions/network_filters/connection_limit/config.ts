/**
 * `envoy.filters.network.connection_limit`: closes connections above `max_connections`, at once or after `delay`.
 *
 * The count is the `active_connections` gauge, which sums over workers. Filters that share a stat_prefix therefore share
 * their count, where Envoy counts per configured filter.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Timer } from '../../../../core/event/dispatcher.ts';
import type { Counter, Gauge } from '../../../../core/stats/stats.ts';
import type { ConnectionLimit } from '../../../config/types.gen.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/connection.ts';
import type { FactoryContext, NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface Settings {
  readonly max: number;
  readonly delayMs: number;
  readonly enabled: () => boolean;
  readonly limited: Counter;
  readonly active: Gauge;
}

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit',
  name: 'envoy.filters.network.connection_limit',
  isTerminal: () => false,
  create(typed: TypedConfig, context: FactoryContext) {
    const config = typed as unknown as ConnectionLimit;
    const scope = context.scope.scope(`connection_limit.${config.statPrefix}.`);
    const flag = config.runtimeEnabled;
    const settings: Settings = {
      max: config.maxConnections ?? 0,
      delayMs: config.delay ?? 0,
      enabled:
        flag === undefined ? () => true : () => context.runtime.snapshot.getBoolean(flag.runtimeKey, flag.defaultValue ?? true),
      limited: scope.counter('limited_connections'),
      active: scope.gauge('active_connections'),
    };
    return (connection: Connection) => connection.addReadFilter(new ConnectionLimitFilter(settings));
  },
};

class ConnectionLimitFilter implements ReadFilter, ConnectionCallbacks {
  private readonly settings: Settings;
  private connection!: Connection;
  private rejected = false;
  private delay: Timer | null = null;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.connection = callbacks.connection;
  }

  onNewConnection(): FilterStatus {
    const { settings, connection } = this;
    if (!settings.enabled()) return FilterStatus.Continue;
    const isOver = settings.active.value >= settings.max;
    settings.active.inc();
    connection.addConnectionCallbacks(this);
    if (!isOver) return FilterStatus.Continue;

    settings.limited.inc();
    this.rejected = true;
    if (settings.delayMs > 0) {
      this.delay = connection.dispatcher.createTimer(() => this.reject());
      this.delay.enableTimer(settings.delayMs);
    } else {
      this.reject();
    }
    return FilterStatus.StopIteration;
  }

  onData(_data: SliceBuffer): FilterStatus {
    return this.rejected ? FilterStatus.StopIteration : FilterStatus.Continue;
  }

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected) return;
    this.delay?.disableTimer();
    this.settings.active.dec();
  }

  private reject(): void {
    this.connection.close(ConnectionCloseType.NoFlush, 'over_connection_limit');
  }
}
