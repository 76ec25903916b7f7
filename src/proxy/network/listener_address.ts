/** Addresses of listeners as configuration has them (`envoy.config.core.v3.Address`). Names are not resolved here, as in Envoy. */
import { IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL } from '../../core/sys/socket.ts';
import { ConfigError } from '../config/error.ts';
import { type Address, type IpAddress, ipAddress, pipeAddress } from './address.ts';

export interface AddressConfig {
  socketAddress?: {
    protocol: 'TCP' | 'UDP';
    address: string;
    portValue?: number;
    namedPort?: string;
    resolverName?: string;
    ipv4Compat?: boolean;
    networkNamespaceFilepath?: string;
  };
  pipe?: { path: string; mode: number };
  envoyInternalAddress?: unknown;
}

/** `envoy.config.core.v3.SocketOption`. */
export interface SocketOptionConfig {
  level: number;
  name: number;
  intValue?: number;
  bufValue?: Uint8Array;
  state: 'STATE_PREBIND' | 'STATE_BOUND' | 'STATE_LISTENING';
}

export interface SocketOption {
  level: number;
  name: number;
  value: number | Uint8Array;
  state: 'prebind' | 'bound' | 'listening';
}

/** Throws ConfigError for what a listener cannot listen on. */
export function listenAddress(config: AddressConfig): Address {
  if (config.pipe !== undefined) return pipeAddress(config.pipe.path, config.pipe.mode);
  if (config.envoyInternalAddress !== undefined)
    throw new ConfigError('internal addresses are not supported', { path: 'envoy_internal_address' });
  const socket = config.socketAddress;
  if (socket === undefined) throw new ConfigError('an address must be a socket_address or a pipe');
  if (socket.protocol === 'UDP') throw new ConfigError('UDP listeners are not supported', { path: 'socket_address.protocol' });
  if (socket.namedPort)
    throw new ConfigError('named ports are not supported; use port_value', { path: 'socket_address.named_port' });
  if (socket.resolverName) throw new ConfigError('custom resolvers are not supported', { path: 'socket_address.resolver_name' });
  if (socket.networkNamespaceFilepath) {
    throw new ConfigError('network namespaces are not supported', { path: 'socket_address.network_namespace_filepath' });
  }
  let address: IpAddress;
  try {
    address = ipAddress(socket.address, socket.portValue ?? 0);
  } catch {
    throw new ConfigError(
      `malformed IP address: ${socket.address}. Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'`,
      { path: 'socket_address.address' },
    );
  }
  return address.version === 6 ? { ...address, v6only: socket.ipv4Compat !== true } : address;
}

export function socketOptions(configs: SocketOptionConfig[] | undefined): SocketOption[] {
  return (configs ?? []).map((option) => ({
    level: option.level,
    name: option.name,
    value: option.bufValue ?? option.intValue ?? 0,
    state: SOCKET_STATES[option.state] ?? 'prebind',
  }));
}

/** `envoy.config.core.v3.TcpKeepalive`; intervals in seconds. */
export interface TcpKeepaliveConfig {
  keepaliveProbes?: number;
  keepaliveTime?: number;
  keepaliveInterval?: number;
}

/** Set on the listening socket: accepted ones inherit them. */
export function keepaliveOptions(config: TcpKeepaliveConfig): SocketOption[] {
  const options: SocketOption[] = [{ level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1, state: 'prebind' }];
  const add = (name: number, value: number | undefined): void => {
    if (value !== undefined) options.push({ level: IPPROTO_TCP, name, value, state: 'prebind' });
  };
  add(TCP_KEEPCNT, config.keepaliveProbes);
  add(TCP_KEEPIDLE, config.keepaliveTime);
  add(TCP_KEEPINTVL, config.keepaliveInterval);
  return options;
}

const SOCKET_STATES = { STATE_PREBIND: 'prebind', STATE_BOUND: 'bound', STATE_LISTENING: 'listening' } as const;

/** The name under which a listener's stats are kept: its address with `_` for `:`. */
export function addressStatName(address: Address): string {
  return address.asString.replaceAll(':', '_');
}

/** True for `0.0.0.0` and `::`. */
export function isAnyAddress(address: IpAddress): boolean {
  return address.bytes.every((byte) => byte === 0);
}
