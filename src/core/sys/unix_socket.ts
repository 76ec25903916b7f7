/**
 * Unix SOCK_SEQPACKET sockets with descriptor passing (unix(7), SCM_RIGHTS). Non-blocking; one packet is one message.
 *
 * Packets above MAX_PACKET are not sent; a longer one from the other side is cut by the kernel and reported as an error. Received
 * descriptors have close-on-exec set and belong to the caller.
 */
import { check, E, errno, libc, SysError } from './libc.ts';
import { NativeMemory } from './memory.ts';
import { closeOwnDescriptor } from './thread_descriptors.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET_FLAGS = 5 | 0x800 | 0x80000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SO_PEERCRED = 17;
const MSG_NOSIGNAL = 0x4000;
/** Whatever the other side does to a socket of which it has had both ends. */
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_CTRUNC = 8;
const MSG_TRUNC = 0x20;
const PATH_MAX = 107;
const ACCEPT_FLAGS = 0x800 | 0x80000;

export const MAX_PACKET = 32 * 1024;
export const MAX_DESCRIPTORS = 16;

const memory = NativeMemory.map(128 * 1024);
const view = new DataView(memory.buffer);
const HEADER = 0;
const IOVEC = 64;
const CONTROL = 128;
const CONTROL_SIZE = 256;
const ADDRESS = 512;
const RESULT = 1024;
const PACKET = 4096;

export type Received =
  | { kind: 'packet'; data: Buffer; fds: number[] }
  | { kind: 'again' }
  | { kind: 'closed' }
  | { kind: 'error'; error: SysError };

/** Listens on `path`, which must not exist. Throws SysError. */
export function listenSeqpacket(path: string, backlog = 128): number {
  const fd = newSocket();
  return closeOnThrow(fd, () => {
    check(libc.bind(fd, memory.pointer + BigInt(ADDRESS), writeAddress(path)), 'bind', path);
    check(libc.listen(fd, backlog), 'listen', path);
    return fd;
  });
}

/** Connects to `path`. Throws SysError: ENOENT and ECONNREFUSED when nobody listens. */
export function connectSeqpacket(path: string): number {
  const fd = newSocket();
  return closeOnThrow(fd, () => {
    check(libc.connect(fd, memory.pointer + BigInt(ADDRESS), writeAddress(path)), 'connect', path);
    return fd;
  });
}

/** The next connection, or -1 when there is none now. */
export function acceptSeqpacket(listener: number): number {
  return libc.accept4(listener, 0n, 0n, ACCEPT_FLAGS);
}

/** Process id of the peer at connect time. */
export function peerPid(fd: number): number {
  view.setUint32(RESULT + 16, 12, true);
  const ok = libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, memory.pointer + BigInt(RESULT), memory.pointer + BigInt(RESULT + 16));
  return ok < 0 ? 0 : view.getInt32(RESULT, true);
}

/** Sends one packet. Returns null, or why not (EAGAIN: the peer does not read). */
export function sendPacket(fd: number, data: Uint8Array, fds: readonly number[] = []): SysError | null {
  if (data.length > MAX_PACKET || fds.length > MAX_DESCRIPTORS) return new SysError('sendmsg', E.MSGSIZE);
  memory.u8.set(data, PACKET);
  writeHeader(data.length, fds.length === 0 ? 0 : controlSpace(fds.length));
  if (fds.length > 0) {
    view.setBigUint64(CONTROL, BigInt(16 + fds.length * 4), true);
    view.setInt32(CONTROL + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
    for (let i = 0; i < fds.length; i++) view.setInt32(CONTROL + 16 + i * 4, fds[i], true);
  }
  return libc.sendmsg(fd, memory.pointer + BigInt(HEADER), MSG_NOSIGNAL | MSG_DONTWAIT) < 0
    ? new SysError('sendmsg', errno())
    : null;
}

/** Receives one packet if there is one. */
export function receivePacket(fd: number): Received {
  writeHeader(MAX_PACKET, CONTROL_SIZE);
  const n = libc.recvmsg(fd, memory.pointer + BigInt(HEADER), MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0) {
    const code = errno();
    if (code === E.AGAIN || code === E.INTR) return { kind: 'again' };
    if (code === E.CONNRESET) return { kind: 'closed' };
    return { kind: 'error', error: new SysError('recvmsg', code) };
  }
  const fds = receivedDescriptors();
  if (n === 0) {
    for (const received of fds) libc.close(received);
    return { kind: 'closed' };
  }
  if ((view.getInt32(HEADER + 48, true) & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
    for (const received of fds) libc.close(received);
    return { kind: 'error', error: new SysError('recvmsg', E.MSGSIZE, 'packet too long') };
  }
  return { kind: 'packet', data: Buffer.from(memory.u8.slice(PACKET, PACKET + n).buffer), fds };
}

export function closeDescriptor(fd: number): void {
  closeOwnDescriptor(fd);
}

function newSocket(): number {
  return check(libc.socket(AF_UNIX, SOCK_SEQPACKET_FLAGS, 0), 'socket');
}

function closeOnThrow<T>(fd: number, action: () => T): T {
  try {
    return action();
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function writeAddress(path: string): number {
  const bytes = Buffer.from(path);
  if (bytes.length > PATH_MAX) throw new SysError('bind', E.INVAL, `socket path is longer than ${PATH_MAX} bytes: ${path}`);
  memory.u8.fill(0, ADDRESS, ADDRESS + 112);
  view.setUint16(ADDRESS, AF_UNIX, true);
  memory.u8.set(bytes, ADDRESS + 2);
  return 2 + bytes.length + 1;
}

function writeHeader(length: number, controlLength: number): void {
  view.setBigUint64(IOVEC, memory.pointer + BigInt(PACKET), true);
  view.setBigUint64(IOVEC + 8, BigInt(length), true);
  memory.u8.fill(0, HEADER, HEADER + 56);
  view.setBigUint64(HEADER + 16, memory.pointer + BigInt(IOVEC), true);
  view.setBigUint64(HEADER + 24, 1n, true);
  if (controlLength === 0) return;
  memory.u8.fill(0, CONTROL, CONTROL + CONTROL_SIZE);
  view.setBigUint64(HEADER + 32, memory.pointer + BigInt(CONTROL), true);
  view.setBigUint64(HEADER + 40, BigInt(controlLength), true);
}

function controlSpace(descriptors: number): number {
  return 16 + ((descriptors * 4 + 7) & ~7);
}

function receivedDescriptors(): number[] {
  const fds: number[] = [];
  const end = CONTROL + Math.min(Number(view.getBigUint64(HEADER + 40, true)), CONTROL_SIZE);
  let at = CONTROL;
  while (at + 16 <= end) {
    const length = Number(view.getBigUint64(at, true));
    if (length < 16 || at + length > end) break;
    const rights = view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS;
    for (let i = at + 16; rights && i + 4 <= at + length; i += 4) fds.push(view.getInt32(i, true));
    at += (length + 7) & ~7;
  }
  return fds;
}
