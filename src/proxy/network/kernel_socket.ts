/** What the kernel-backed socket interfaces (io_uring, epoll) share: addresses, options, binding. */
import { chmodSync, rmSync } from 'node:fs';
import { E, SysError } from '../../core/sys/libc.ts';
import * as sys from '../../core/sys/socket.ts';
import { type Address, ipFromBytes, pipeAddress } from './address.ts';
import type { ConnectOptions, ListenOptions } from './io_handle.ts';

export function toSocketAddress(address: Address): sys.SocketAddress {
  return address.kind === 'ip' ? { bytes: address.bytes, port: address.port } : { path: address.path };
}

/** An IPv4 peer of a dual-stack listener (`ipv4_compat`) has an IPv4 address, as in Envoy. */
export function fromSocketAddress(address: sys.SocketAddress | null): Address {
  if (address === null) return pipeAddress('');
  if (address.path !== undefined) return pipeAddress(address.path);
  return ipFromBytes(isIpv4Mapped(address.bytes) ? address.bytes.subarray(12) : address.bytes, address.port);
}

function isIpv4Mapped(bytes: Uint8Array): boolean {
  if (bytes.length !== 16 || bytes[10] !== 0xff || bytes[11] !== 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** What an IoHandle can tell of its descriptor without doing any I/O. */
export abstract class KernelSocket {
  readonly fd: number;

  protected constructor(fd: number) {
    this.fd = fd;
  }

  localAddress(): Address {
    return fromSocketAddress(sys.socketName(this.fd));
  }

  remoteAddress(): Address {
    return fromSocketAddress(sys.peerName(this.fd));
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
