/** What the kernel says about a network interface (netdevice(7)). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { check, libc, SysError } from './libc.ts';
import { Scratch } from './memory.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from './socket.ts';

const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const SIOCSIFTXQLEN = 0x8943;
const IFNAMSIZ = 16;
const EINVAL = 22;
const SYS_NET = '/sys/class/net';

let scratch: Scratch | null = null;

export interface InterfaceInfo {
  index: number;
  mtu: number;
  /** Its link-layer address. */
  mac: Uint8Array;
}

/** Throws SysError (ENODEV) when there is none of that name in this network namespace. */
export function interfaceInfo(name: string): InterfaceInfo {
  return withSocket((fd) => {
    const index = ask(fd, name, SIOCGIFINDEX, 'SIOCGIFINDEX');
    const mtu = ask(fd, name, SIOCGIFMTU, 'SIOCGIFMTU');
    ask(fd, name, SIOCGIFHWADDR, 'SIOCGIFHWADDR');
    return { index, mtu, mac: scratch!.memory.u8.slice(IFNAMSIZ + 2, IFNAMSIZ + 8) };
  });
}

/** Packets that wait in the interface's queue at most. False when the kernel refused. */
export function setQueueLength(name: string, packets: number): boolean {
  return withSocket((fd) => {
    request(name, packets);
    return libc.ioctl(fd, BigInt(SIOCSIFTXQLEN), scratch!.pointer) >= 0;
  });
}

/**
 * Has the kernel take what arrives on the interface in a thread of its own, which any core can run, instead of in the sender's time (NAPI,
 * Linux Documentation/networking/napi.rst). False where that cannot be: without NAPI, or when /sys cannot be written.
 */
export function setThreaded(name: string, on = true): boolean {
  try {
    writeFileSync(`${SYS_NET}/${name}/threaded`, on ? '1' : '0');
    return true;
  } catch {
    return false;
  }
}

/** It is no hardware, is not in threads yet, and /sys shows it and not one of the same name in another network namespace. */
export function isVirtualUnthreaded(name: string, { index, mac }: Pick<InterfaceInfo, 'index' | 'mac'>): boolean {
  const read = (file: string): string => readFileSync(`${SYS_NET}/${name}/${file}`, 'latin1').trim();
  try {
    if (read('ifindex') !== String(index) || read('address') !== Buffer.from(mac).toString('hex').replace(/..\B/g, '$&:'))
      return false;
    return read('threaded') === '0' && !existsSync(`${SYS_NET}/${name}/device`);
  } catch {
    return false;
  }
}

function withSocket<T>(use: (fd: number) => T): T {
  const fd = check(libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket');
  try {
    return use(fd);
  } finally {
    libc.close(fd);
  }
}

function ask(fd: number, name: string, what: number, call: string): number {
  request(name, 0);
  check(libc.ioctl(fd, BigInt(what), scratch!.pointer), `ioctl ${call}`, name);
  return scratch!.view.getInt32(IFNAMSIZ, true);
}

function request(name: string, value: number): void {
  const { memory, view } = (scratch ??= new Scratch());
  const bytes = Buffer.from(name);
  if (bytes.length >= IFNAMSIZ) throw new SysError('ioctl', EINVAL, `interface name ${name}`);
  memory.u8.fill(0, 0, 64);
  memory.u8.set(bytes, 0);
  view.setInt32(IFNAMSIZ, value, true);
}
