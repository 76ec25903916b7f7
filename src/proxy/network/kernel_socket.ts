/** What the kernel-backed socket interfaces (io_uring, epoll) share: addresses, options, binding. */
import { chmodSync, rmSync } from 'node:fs';
import { E, SysError } from '../../core/sys/libc.ts';
import * as sys from '../../core/sys/socket.ts';
import { type Address, ipFromBytes, ipv4FromBytes, pipeAddress } from './address.ts';
import type { ConnectOptions, ListenOptions } from './io_handle.ts';
import { isAnyAddress } from './listener_address.ts';

export function toSocketAddress(address: Address): sys.SocketAddress {
  return address.kind === 'ip' ? { bytes: address.bytes, port: address.port } : { path: address.path };
}

/** An IPv4 peer of a dual-stack listener (`ipv4_compat`) has an IPv4 address, as in Envoy. */
export function fromSocketAddress(address: sys.SocketAddress | null): Address {
  if (address === null) return pipeAddress('');
  if (address.path !== undefined) return pipeAddress(address.path);
  return ipFromBytes(isIpv4Mapped(address.bytes) ? address.bytes.subarray(12) : address.bytes, address.port);
}

function nameOf(fd: number, peer: boolean): Address {
  const family = sys.readName(fd, peer);
  if (family !== sys.AF_INET) return fromSocketAddress(family < 0 ? null : sys.nameRead());
  const bytes = sys.nameBytes;
  return ipv4FromBytes(bytes, 4, (bytes[2] << 8) | bytes[3]);
}

/**
 * The local address that all sockets accepted from `fd` have, without asking each of them; null when they differ: on a wildcard (as in
 * Envoy), and where connections to other addresses are let in.
 */
export function commonLocalAddress(fd: number, bound: Address): Address | null {
  if (bound.kind !== 'ip') return bound;
  const transparent =
    bound.version === 4
      ? sys.getOption(fd, sys.IPPROTO_IP, sys.IP_TRANSPARENT)
      : sys.getOption(fd, sys.IPPROTO_IPV6, sys.IPV6_TRANSPARENT);
  return isAnyAddress(bound) || transparent !== 0 ? null : bound;
}

function isIpv4Mapped(bytes: Uint8Array): boolean {
  if (bytes.length !== 16 || bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** What an IoHandle can tell of its descriptor without doing any I/O. */
export abstract class KernelSocket {
  readonly fd: number;
  private readonly knownLocalAddress: Address | null;

  /** `local`: its local address, when that is known. */
  protected constructor(fd: number, local: Address | null) {
    this.fd = fd;
    this.knownLocalAddress = local;
  }

  localAddress(): Address {
    return this.knownLocalAddress ?? nameOf(this.fd, false);
  }

  remoteAddress(): Address {
    return nameOf(this.fd, true);
  }

  setOption(level: number, name: number, value: number): number {
    return sys.setOption(this.fd, level, name, value);
  }

  getOption(level: number, name: number): number {
    return sys.getOption(this.fd, level, name);
  }

  getOptionBytes(level: number, name: number, length: number): Uint8Array | null {
    return sys.getOptionBytes(this.fd, level, name, length);
  }

  lastRoundTripTimeMs(): number | undefined {
    return sys.roundTripTimeMs(this.fd);
  }
}

/** A bound, listening, non-blocking descriptor. Throws SysError; nothing stays open then. */
export function openListenSocket(options: ListenOptions): number {
  if (options.fd !== undefined) return options.fd;
  const address = toSocketAddress(options.address);
  const family = sys.familyOf(address);
  const fd = sys.streamSocket(family);
  try {
    if (family !== sys.AF_UNIX) {
      sys.setOption(fd, sys.SOL_SOCKET, sys.SO_REUSEADDR, 1);
      if (options.reusePort) sys.setOption(fd, sys.SOL_SOCKET, sys.SO_REUSEPORT, 1);
      // Accepted sockets inherit it.
      sys.setOption(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1);
      if (family === sys.AF_INET6)
        sys.setOption(
          fd,
          sys.IPPROTO_IPV6,
          sys.IPV6_V6ONLY,
          options.address.kind === 'ip' && options.address.v6only === false ? 0 : 1,
        );
      if (options.freebind) sys.setOption(fd, sys.IPPROTO_IP, sys.IP_FREEBIND, 1);
      if (options.transparent) {
        if (family === sys.AF_INET) sys.setOption(fd, sys.IPPROTO_IP, sys.IP_TRANSPARENT, 1);
        else sys.setOption(fd, sys.IPPROTO_IPV6, sys.IPV6_TRANSPARENT, 1);
      }
    }
    applyOptions(fd, options.socketOptions, 'prebind');
    bindAddress(fd, options.address);
    applyOptions(fd, options.socketOptions, 'bound');
    sys.listenSocket(fd, options.backlog);
    applyOptions(fd, options.socketOptions, 'listening');
    return fd;
  } catch (error) {
    sys.closeFd(fd);
    throw error;
  }
}

/** A pipe that a process left behind is replaced, and gets its mode before anybody can connect. */
function bindAddress(fd: number, address: Address): void {
  const inFileSystem = address.kind === 'pipe' && !address.path.startsWith('@');
  if (inFileSystem) rmSync(address.path, { force: true });
  sys.bindSocket(fd, toSocketAddress(address), address.asString);
  if (inFileSystem && address.mode) chmodSync(address.path, address.mode);
}

/** An unconnected descriptor with the options applied. Throws SysError. */
export function openClientSocket(options: ConnectOptions): number {
  const family = sys.familyOf(toSocketAddress(options.address));
  const fd = sys.streamSocket(family);
  try {
    if (family !== sys.AF_UNIX) sys.setOption(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1);
    applyOptions(fd, options.socketOptions, 'prebind');
    if (options.sourceAddress !== undefined)
      sys.bindSocket(fd, toSocketAddress(options.sourceAddress), options.sourceAddress.asString);
    applyOptions(fd, options.socketOptions, 'bound');
    return fd;
  } catch (error) {
    sys.closeFd(fd);
    throw error;
  }
}

function applyOptions(fd: number, options: ListenOptions['socketOptions'], state: 'prebind' | 'bound' | 'listening'): void {
  for (const option of options ?? []) {
    if (option.state !== state) continue;
    const code =
      typeof option.value === 'number'
        ? sys.setOption(fd, option.level, option.name, option.value)
        : sys.setOptionBytes(fd, option.level, option.name, option.value);
    if (code !== 0) throw new SysError('setsockopt', code, `level ${option.level}, name ${option.name}`);
  }
}

/** Errors of accept after which accepting simply goes on. */
export function isTransientAcceptError(code: number): boolean {
  return code === E.CONNABORTED || code === E.INTR || code === E.AGAIN || code === E.PROTO || code === E.PERM;
}

/** Out of descriptors or memory: accept again after a pause. */
export const ACCEPT_RETRY_MS = 100;
