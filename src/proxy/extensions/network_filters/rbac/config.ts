/**
 * `envoy.filters.network.rbac`: connections that policies do not allow are closed when their first byte comes, or, with CONTINUOUS,
 * whenever one does (Envoy: source/extensions/filters/network/rbac). Headers and paths match nothing here.
 *
 * Left out, refused: `matcher`, `shadow_matcher`, conditions (CEL).
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import { ConnectionCloseType, FilterStatus, type ReadFilter, type ReadFilterCallbacks } from '../../../network/connection.ts';
import type { NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { type RbacConfig, RbacRules, RbacStats } from '../../common/rbac/engine.ts';

const NAMESPACE = 'envoy.filters.network.rbac';

interface Settings {
  readonly rules: RbacRules;
  readonly stats: RbacStats;
  readonly continuous: boolean;
  readonly noHeaders: HeaderMap;
}

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.rbac.v3.RBAC',
  name: NAMESPACE,
  isTerminal: () => false,
  create(config: TypedConfig, context) {
    const message = config as RbacConfig & { statPrefix?: string; enforcementType?: string };
    const prefix = message.statPrefix ?? '';
    const settings: Settings = {
      rules: new RbacRules(message),
      stats: new RbacStats(context.scope.scope(`${prefix}${prefix.endsWith('.') ? '' : '.'}rbac.`), message),
      continuous: message.enforcementType === 'CONTINUOUS',
      noHeaders: new HeaderMap(context.dispatcher.slab),
    };
    return (connection) => connection.addReadFilter(new RbacFilter(settings));
  },
};

class RbacFilter implements ReadFilter {
  private readonly settings: Settings;
  private callbacks!: ReadFilterCallbacks;
  private checked = false;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.callbacks = callbacks;
  }

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(_data: SliceBuffer): FilterStatus {
    if (this.checked && !this.settings.continuous) return FilterStatus.Continue;
    this.checked = true;
    const { connection } = this.callbacks;
    const { rules, stats, noHeaders } = this.settings;
    const denied = rules.check({ connection, headers: noHeaders, info: connection.streamInfo }, stats, NAMESPACE);
    if (denied === null) return FilterStatus.Continue;
    connection.streamInfo.connectionTerminationDetails = denied;
    connection.close(ConnectionCloseType.NoFlush, 'rbac_deny_close');
    return FilterStatus.StopIteration;
  }
}
