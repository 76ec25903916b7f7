/** `envoy.filters.network.sni_cluster`: the server name of the TLS hello names the cluster that tcp_proxy uses. */
import { type Connection, FilterStatus, type ReadFilter, type ReadFilterCallbacks } from '../../../network/connection.ts';
import type { NetworkFilterConfigFactory } from '../../../server/factory_context.ts';
import { PER_CONNECTION_CLUSTER } from '../tcp_proxy/per_connection_cluster.ts';

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.sni_cluster.v3.SniCluster',
  name: 'envoy.filters.network.sni_cluster',
  isTerminal: () => false,
  create: () => (connection: Connection) => connection.addReadFilter(new SniClusterFilter()),
};

class SniClusterFilter implements ReadFilter {
  private connection!: Connection;

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.connection = callbacks.connection;
  }

  onNewConnection(): FilterStatus {
    const { requestedServerName, streamInfo } = this.connection;
    if (requestedServerName !== '') {
      streamInfo.filterState ??= new Map();
      streamInfo.filterState.set(PER_CONNECTION_CLUSTER, requestedServerName);
    }
    return FilterStatus.Continue;
  }

  onData(): FilterStatus {
    return FilterStatus.Continue;
  }
}
