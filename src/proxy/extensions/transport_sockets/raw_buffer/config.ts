/** `envoy.transport_sockets.raw_buffer`: plain text, which is what a connection without a transport socket is. */
import type { TransportSocketConfigFactory } from '../../../network/transport_socket_config.ts';

export const factory: TransportSocketConfigFactory = {
  typeName: 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer',
  name: 'envoy.transport_sockets.raw_buffer',
  create: () => null,
};
