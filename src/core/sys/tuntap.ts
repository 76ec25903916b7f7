/**
 * TUN and TAP devices (Linux Documentation/networking/tuntap.rst) with the virtio-net header, which carries checksum and segmentation
 * offload in both directions.
 */
import { setQueueLength, setThreaded } from './interface.ts';
import { check, errno, libc, SysError } from './libc.ts';
import { Scratch, withCString } from './memory.ts';

const O_RDWR_NONBLOCK_CLOEXEC = 0x2 | 0x800 | 0x8_0000;
const SYS_OPENAT = process.arch === 'arm64' ? 56 : 257;
const AT_FDCWD = -100;
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TUN = 1;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const IFF_NAPI = 0x10;
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;
const IFNAMSIZ = 16;

export const VNET_HEADER_BYTES = 10;

export interface TunTapOptions {
  /** `tun%d` style names let the kernel choose a number. */
  name: string;
  kind: 'tun' | 'tap';
  /** With the virtio-net header in front of each packet, which the offloads need. */
  vnetHeader: boolean;
  checksumOffload: boolean;
  segmentationOffload: boolean;
  /**
   * The kernel takes what is written in a thread of its own, many packets at a time and merged (IFF_NAPI with threaded polling), instead of
   * each within our write. Where /sys cannot be written it does as ever.
   */
  threaded?: boolean;
  /** Packets that wait for our reads at most; the kernel's default is 500. */
  queueLength?: number;
}

export interface TunTap {
  fd: number;
  /** The name that the kernel gave it. */
  name: string;
  /** Segmentation offload is for UDP too. */
  udpSegmentation: boolean;
}

let scratch: Scratch | null = null;

/** Opens a device, which lives as long as its descriptor. Non-blocking. Throws SysError (EPERM without CAP_NET_ADMIN). */
export function openTunTap(options: TunTapOptions): TunTap {
  if (options.threaded) {
    const device = open(options, true);
    if (setThreaded(device.name)) return device;
    libc.close(device.fd);
  }
  return open(options, false);
}

function open(options: TunTapOptions, threaded: boolean): TunTap {
  const { memory, pointer, view } = (scratch ??= new Scratch());
  const fd = withCString('/dev/net/tun', (path) =>
    libc.syscall(BigInt(SYS_OPENAT), BigInt(AT_FDCWD), path, BigInt(O_RDWR_NONBLOCK_CLOEXEC), 0n, 0n),
  );
  check(fd, 'open', '/dev/net/tun');
  memory.u8.fill(0, 0, 64);
  memory.u8.set(Buffer.from(options.name).subarray(0, IFNAMSIZ - 1), 0);
  const kind = options.kind === 'tun' ? IFF_TUN : IFF_TAP;
  view.setUint16(IFNAMSIZ, kind | IFF_NO_PI | (options.vnetHeader ? IFF_VNET_HDR : 0) | (threaded ? IFF_NAPI : 0), true);
  set(fd, TUNSETIFF, pointer, 'TUNSETIFF');
  const name = Buffer.from(memory.u8.subarray(0, memory.u8.indexOf(0))).toString();
  let udpSegmentation = false;
  if (options.vnetHeader) {
    view.setInt32(0, VNET_HEADER_BYTES, true);
    set(fd, TUNSETVNETHDRSZ, pointer, 'TUNSETVNETHDRSZ');
    const segmentation = options.segmentationOffload ? TUN_F_TSO4 | TUN_F_TSO6 : 0;
    const offloads = options.checksumOffload || segmentation !== 0 ? TUN_F_CSUM | segmentation : 0;
    // The argument of this one is the value itself. Kernels before 6.2 know nothing of UDP.
    const withUdp = BigInt(offloads | TUN_F_USO4 | TUN_F_USO6);
    udpSegmentation = segmentation !== 0 && libc.ioctl(fd, BigInt(TUNSETOFFLOAD), withUdp) >= 0;
    if (!udpSegmentation) set(fd, TUNSETOFFLOAD, BigInt(offloads), 'TUNSETOFFLOAD');
  }
  // Best effort: a short queue drops, which TCP survives.
  if (options.queueLength !== undefined) setQueueLength(name, options.queueLength);
  return { fd, name, udpSegmentation };
}

function set(fd: number, request: number, argument: bigint, name: string): void {
  if (libc.ioctl(fd, BigInt(request), argument) >= 0) return;
  const code = errno();
  libc.close(fd);
  throw new SysError(`ioctl ${name}`, code);
}
