/**
 * Kernel sockets: creation, options, addresses. Addresses are plain fields here; `proxy/network/address.ts` gives them a face.
 */
import { check, E, errno, libc } from './libc.ts';
import { Scratch } from './memory.ts';

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x80000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_KEEPALIVE = 9;
export const SO_LINGER = 13;
export const SO_REUSEPORT = 15;
export const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IPPROTO_IPV6 = 41;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_INFO = 11;
export const IP_FREEBIND = 15;
export const IP_TRANSPARENT = 19;
export const IPV6_V6ONLY = 26;
export const IPV6_TRANSPARENT = 75;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

/** Bytes of the largest sockaddr used here (sockaddr_un). */
export const SOCKADDR_MAX = 110;

/** IPv4 / IPv6 bytes with a port, or the path of a unix socket (`@` first: abstract). */
export type SocketAddress = { bytes: Uint8Array; port: number; path?: undefined } | { path: string; bytes?: undefined };

const scratch = new Scratch();
const view = scratch.view;
const u8 = scratch.memory.u8;
const ADDRESS = 0;
const LENGTH = 256;
const VALUE = 512;
const addressPointer = scratch.pointer;
const lengthPointer = scratch.pointer + BigInt(LENGTH);
const valuePointer = scratch.pointer + BigInt(VALUE);

/** Writes a sockaddr at `at` of `bytes`; its length. */
export function writeSockaddr(address: SocketAddress, bytes: Uint8Array, at: number): number {
  if (address.path !== undefined) {
    const path = Buffer.from(address.path);
    if (path.length > 107) throw new RangeError(`unix socket path is longer than 107 bytes: ${address.path}`);
    bytes[at] = AF_UNIX;
    bytes[at + 1] = 0;
    bytes.set(path, at + 2);
    const abstract = path[0] === 0x40;
    if (abstract) bytes[at + 2] = 0;
    else bytes[at + 2 + path.length] = 0;
    return 2 + path.length + (abstract ? 0 : 1);
  }
  bytes[at + 1] = 0;
  bytes[at + 2] = address.port >> 8;
  bytes[at + 3] = address.port & 0xff;
  if (address.bytes.length === 4) {
    bytes[at] = AF_INET;
    bytes.set(address.bytes, at + 4);
    bytes.fill(0, at + 8, at + 16);
    return 16;
  }
  bytes[at] = AF_INET6;
  bytes.fill(0, at + 4, at + 8);
  bytes.set(address.bytes, at + 8);
  bytes.fill(0, at + 24, at + 28);
  return 28;
}

/** Reads a sockaddr of `length` bytes; null for families other than IPv4, IPv6 and unix. */
export function readSockaddr(bytes: Uint8Array, at: number, length: number): SocketAddress | null {
  const family = bytes[at] | (bytes[at + 1] << 8);
  if (family === AF_INET) return { bytes: bytes.slice(at + 4, at + 8), port: (bytes[at + 2] << 8) | bytes[at + 3] };
  if (family === AF_INET6) return { bytes: bytes.slice(at + 8, at + 24), port: (bytes[at + 2] << 8) | bytes[at + 3] };
  if (family !== AF_UNIX) return null;
  if (length <= 2) return { path: '' };
  const abstract = bytes[at + 2] === 0;
  let end = at + length;
  if (!abstract) for (end = at + 2; end < at + length && bytes[end] !== 0; ) end++;
  const text = Buffer.from(bytes.slice(abstract ? at + 3 : at + 2, end)).toString();
  return { path: abstract ? `@${text}` : text };
}

export function familyOf(address: SocketAddress): number {
  return address.path !== undefined ? AF_UNIX : address.bytes.length === 4 ? AF_INET : AF_INET6;
}

/** A non-blocking, close-on-exec stream socket. Throws SysError. */
export function streamSocket(family: number): number {
  return check(libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
}

export function bindSocket(fd: number, address: SocketAddress, text: string): void {
  const length = writeSockaddr(address, u8, ADDRESS);
  check(libc.bind(fd, addressPointer, length), 'bind', text);
}

export function listenSocket(fd: number, backlog: number): void {
  check(libc.listen(fd, backlog), 'listen');
}

/** Starts connecting; 0, or an errno (EINPROGRESS when it is under way). */
export function connectSocket(fd: number, address: SocketAddress): number {
  const length = writeSockaddr(address, u8, ADDRESS);
  return libc.connect(fd, addressPointer, length) < 0 ? errno() : 0;
}

/** An accepted non-blocking socket, or a negative errno. */
export function acceptSocket(fd: number): number {
  const accepted = libc.accept4(fd, 0n, 0n, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return accepted < 0 ? -errno() : accepted;
}

export function socketName(fd: number): SocketAddress | null {
  return readName(fd, false) < 0 ? null : nameRead();
}

/**
 * Without an object for the way: asks for the name of a socket (`peer`: of its peer) and leaves it in `nameBytes`; its family, or -1. An IPv4
 * port is at 2, an IPv4 address at 4.
 */
export function readName(fd: number, peer: boolean): number {
  view.setUint32(LENGTH, 128, true);
  const result = peer ? libc.getpeername(fd, addressPointer, lengthPointer) : libc.getsockname(fd, addressPointer, lengthPointer);
  return result < 0 ? -1 : u8[ADDRESS] | (u8[ADDRESS + 1] << 8);
}

/** What `readName` found; the next call of anything here overwrites it. */
export const nameBytes: Uint8Array = u8;

/** What `readName` found, of any family that `readSockaddr` reads. */
export function nameRead(): SocketAddress | null {
  return readSockaddr(u8, ADDRESS, view.getUint32(LENGTH, true));
}

/** 0 or an errno. */
export function setOption(fd: number, level: number, name: number, value: number): number {
  view.setInt32(VALUE, value, true);
  return libc.setsockopt(fd, level, name, valuePointer, 4) < 0 ? errno() : 0;
}

export function setOptionBytes(fd: number, level: number, name: number, value: Uint8Array): number {
  if (value.length > 1024) return E.INVAL;
  u8.set(value, VALUE);
  return libc.setsockopt(fd, level, name, valuePointer, value.length) < 0 ? errno() : 0;
}

/** The value, or a negative errno. */
export function getOption(fd: number, level: number, name: number): number {
  view.setUint32(LENGTH, 4, true);
  return libc.getsockopt(fd, level, name, valuePointer, lengthPointer) < 0 ? -errno() : view.getInt32(VALUE, true);
}

/** At most `length` bytes of an option, or null when the kernel refused. */
export function getOptionBytes(fd: number, level: number, name: number, length: number): Uint8Array | null {
  view.setUint32(LENGTH, Math.min(length, 1024), true);
  if (libc.getsockopt(fd, level, name, valuePointer, lengthPointer) < 0) return null;
  return u8.slice(VALUE, VALUE + view.getUint32(LENGTH, true));
}

/** SO_LINGER on with 0 s: close sends RST. */
export function setResetOnClose(fd: number): void {
  view.setInt32(VALUE, 1, true);
  view.setInt32(VALUE + 4, 0, true);
  libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, valuePointer, 8);
}

/** Smoothed RTT of TCP_INFO in ms, or undefined. */
export function roundTripTimeMs(fd: number): number | undefined {
  const info = getOptionBytes(fd, IPPROTO_TCP, TCP_INFO, 104);
  return info === null || info.length < 72 ? undefined : new DataView(info.buffer).getUint32(68, true) / 1000;
}

export function closeFd(fd: number): void {
  libc.close(fd);
}

export function shutdownSocket(fd: number, how: number): void {
  libc.shutdown(fd, how);
}
