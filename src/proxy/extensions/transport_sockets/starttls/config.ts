/** `envoy.transport_sockets.starttls`: plain text until a network filter calls `startSecureTransport`, then TLS. */
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import type { IoHandle } from '../../../network/io_handle.ts';
import type { ConnectionAddresses, TransportSocketFactory, TransportSocketOptions } from '../../../network/transport_socket.ts';
import type { TransportSocketConfigFactory, TransportSocketContext } from '../../../network/transport_socket_config.ts';
import type { TypedConfig } from '../../../server/factory_context.ts';
import { DownstreamTlsSocketFactory, UpstreamTlsSocketFactory } from '../tls/config.ts';
import type { DownstreamTlsContextConfig, UpstreamTlsContextConfig } from '../tls/context_config.ts';
import { StartTlsSocket } from './starttls_socket.ts';

export const downstreamFactory: TransportSocketConfigFactory = {
  typeName: 'envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig',
  name: 'envoy.transport_sockets.starttls',
  create(config: TypedConfig, context: TransportSocketContext) {
    const tls = (config as { tlsSocketConfig?: DownstreamTlsContextConfig }).tlsSocketConfig ?? {};
    return new StartTlsSocketFactory(new DownstreamTlsSocketFactory(tls, context), true);
  },
};

export const upstreamFactory: TransportSocketConfigFactory = {
  typeName: 'envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig',
  name: 'envoy.transport_sockets.starttls',
  create(config: TypedConfig, context: TransportSocketContext) {
    const tls = (config as { tlsSocketConfig?: UpstreamTlsContextConfig }).tlsSocketConfig ?? {};
    return new StartTlsSocketFactory(new UpstreamTlsSocketFactory(tls, context), false);
  },
};

class StartTlsSocketFactory implements TransportSocketFactory {
  readonly secure = false;
  readonly verifiesPeer = false;
  private readonly tls: DownstreamTlsSocketFactory | UpstreamTlsSocketFactory;
  private readonly isServer: boolean;

  constructor(tls: DownstreamTlsSocketFactory | UpstreamTlsSocketFactory, isServer: boolean) {
    this.tls = tls;
    this.isServer = isServer;
  }

  create(
    dispatcher: Dispatcher,
    handle: IoHandle,
    options: TransportSocketOptions | null,
    addresses: ConnectionAddresses | null,
  ): StartTlsSocket {
    return new StartTlsSocket(dispatcher, handle, this.isServer, () => this.tls.create(dispatcher, handle, options, addresses));
  }
}
