/** `envoy.filters.network.tcp_proxy`: connects a downstream connection with one of a cluster. */
import { type AccessLogConfig, createAccessLogs } from '../../../access_log/factory.ts';
import type { TcpProxy } from '../../../config/types.gen.ts';
import type { Connection } from '../../../network/connection.ts';
import type { FactoryContext, NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { tcpProxySettings } from './settings.ts';
import { TcpProxyFilter } from './tcp_proxy.ts';

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
  name: 'envoy.filters.network.tcp_proxy',
  isTerminal: () => true,
  create(typed: TypedConfig, context: FactoryContext) {
    const config = typed as unknown as TcpProxy;
    const settings = tcpProxySettings(
      config,
      createAccessLogs(typed.accessLog as AccessLogConfig[] | undefined, context),
      context,
    );
    return (connection: Connection) => connection.addReadFilter(new TcpProxyFilter(settings));
  },
};
