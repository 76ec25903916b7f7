/**
 * `envoy.filters.listener.original_dst`: restores the address that iptables REDIRECT (SO_ORIGINAL_DST) or TPROXY replaced. A
 * connection that was not redirected keeps its address.
 */
import { type Address, ipFromBytes } from '../../../network/address.ts';
import { type ListenerFilter, type ListenerFilterConfigFactory, ListenerFilterStatus } from '../../../network/listener_filter.ts';
import type { AcceptedSocket } from '../../../network/server_connection.ts';

const SOL_IP = 0;
const SOL_IPV6 = 41;
const SO_ORIGINAL_DST = 80;
const IP_TRANSPARENT = 19;
const IPV6_TRANSPARENT = 75;

export const factory: ListenerFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.listener.original_dst.v3.OriginalDst',
  name: 'envoy.filters.listener.original_dst',
  create: () => () => FILTER,
};

/** Has no state: one for all connections. */
const FILTER: ListenerFilter = {
  maxReadBytes: 0,
  onAccept({ socket }) {
    const original = originalDestination(socket);
    if (original !== null) socket.restoreLocalAddress(original);
    return ListenerFilterStatus.Continue;
  },
  onData: () => ListenerFilterStatus.Continue,
};

export function originalDestination(socket: AcceptedSocket): Address | null {
  const local = socket.directLocalAddress;
  if (local.kind !== 'ip') return null;
  const isV4 = local.version === 4;
  // TPROXY: the socket is bound to the original address itself.
  if (socket.handle.getOption(isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_TRANSPARENT : IPV6_TRANSPARENT) === 1) return local;
  const raw = socket.handle.getOptionBytes(isV4 ? SOL_IP : SOL_IPV6, SO_ORIGINAL_DST, isV4 ? 16 : 28);
  if (raw === null || raw.length < (isV4 ? 8 : 24)) return null;
  // sockaddr_in: family, port, address; sockaddr_in6: family, port, flow, address.
  const port = (raw[2] << 8) | raw[3];
  return ipFromBytes(isV4 ? raw.subarray(4, 8) : raw.subarray(8, 24), port);
}
