/**
 * TUN and TAP with offload. One `readv` / `writev` per packet, which with offload is up to 64 KB; the io-vectors lie in mapped memory so
 * that a call passes two small integers and one constant pointer. The virtio-net header sits in front of the packet in its headroom.
 *
 * Left out: several packets per system call (io_uring batches), mergeable buffers, USO.
 */
import { E, errno, libc } from '../../core/sys/libc.ts';
import { addressHigh, addressLow, NativeMemory } from '../../core/sys/memory.ts';
import { openTunTap, VNET_HEADER_BYTES } from '../../core/sys/tuntap.ts';
import { type Packet, PacketFlag, PacketPool, type PacketPoolOptions } from '../graph/packet.ts';
import { ETHERNET_HEADER } from '../wire/ethernet.ts';
import { type Device, newDeviceCounters } from './device.ts';

const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_ECN = 0x80;
/** IP packets are at most 65,535 bytes; headers of 60 + 60 leave this. */
const MAX_GSO = 65_535 - 120;
const MAX_READ = 65_535 + ETHERNET_HEADER + VNET_HEADER_BYTES;
const SMALL_READ = 1600;

export interface TunOptions {
  name: string;
  kind: 'tun' | 'tap';
  mtu?: number;
  offload: boolean;
  /** Of our end; a TAP needs one. */
  mac?: Uint8Array;
}

/** Memory for a pool whose packets a TUN device can read and write in place. */
export function nativePool(options: PacketPoolOptions): NativeMemory {
  return NativeMemory.map(PacketPool.bytesFor(options), { noReserve: true });
}

export class TunDevice implements Device {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array | null;
  readonly checksumOffload: boolean;
  readonly maxGsoBytes: number;
  readonly fd: number;
  readonly counters = newDeviceCounters();
  private readonly memory: NativeMemory;
  private readonly iov = NativeMemory.map(4096);
  private readonly pointer = this.iov.pointer;
  private readonly offload: boolean;
  private readonly readBytes: number;
  private closed = false;

  /** `memory`: of the pool that packets come from and go to. Throws SysError. */
  constructor(options: TunOptions, memory: NativeMemory) {
    const { fd, name } = openTunTap({ name: options.name, kind: options.kind, vnetHeader: true, offload: options.offload });
    this.fd = fd;
    this.name = name;
    this.mtu = options.mtu ?? 1500;
    this.mac = options.kind === 'tap' ? (options.mac ?? new Uint8Array([2, 0x53, 0x4c, 0, 0, 1])) : null;
    this.offload = options.offload;
    this.checksumOffload = options.offload;
    this.maxGsoBytes = options.offload ? MAX_GSO : 0;
    this.memory = memory;
    this.readBytes = options.offload ? MAX_READ : Math.max(SMALL_READ, this.mtu + ETHERNET_HEADER + VNET_HEADER_BYTES + 16);
  }

  transmit(packet: Packet): void {
    const { u8 } = packet.pool;
    const length = packet.length;
    const at = packet.push(VNET_HEADER_BYTES);
    u8.fill(0, at, at + VNET_HEADER_BYTES);
    if ((packet.flags & PacketFlag.checksumPartial) !== 0) {
      const start = packet.l4 - at - VNET_HEADER_BYTES;
      u8[at] = NEEDS_CSUM;
      put16le(u8, at + 6, start);
      put16le(u8, at + 8, packet.checksumOffset);
      if (packet.gsoSize > 0) {
        u8[at + 1] = packet.isV4 ? GSO_TCPV4 : GSO_TCPV6;
        put16le(u8, at + 2, start + (u8[packet.l4 + 12] >> 4) * 4);
        put16le(u8, at + 4, packet.gsoSize);
      }
    }
    this.vector(at, packet.length);
    const result = this.closed ? -1 : libc.writev(this.fd, this.pointer, 1);
    if (result < 0) this.counters.txDropped++;
    else {
      this.counters.txPackets++;
      this.counters.txBytes += length;
    }
    packet.free();
  }

  receive(pool: PacketPool): Packet | null {
    if (this.closed) return null;
    const packet = pool.alloc(this.readBytes);
    if (packet === null) return null;
    const at = packet.start - VNET_HEADER_BYTES;
    this.vector(at, this.readBytes);
    const result = libc.readv(this.fd, this.pointer, 1);
    if (result <= VNET_HEADER_BYTES) {
      if (result < 0 && errno() !== E.AGAIN) this.counters.rxDropped++;
      packet.free();
      return null;
    }
    const { u8 } = pool;
    packet.end = at + result;
    const flags = u8[at];
    packet.flags = (flags & (NEEDS_CSUM | DATA_VALID)) !== 0 ? PacketFlag.checksumTrusted : 0;
    const gso = u8[at + 1] & ~GSO_ECN;
    packet.gsoSize = gso === GSO_TCPV4 || gso === GSO_TCPV6 ? u8[at + 4] | (u8[at + 5] << 8) : 0;
    this.counters.rxPackets++;
    this.counters.rxBytes += packet.length;
    return packet;
  }

  nextDeadlineUs(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    libc.close(this.fd);
  }

  private vector(at: number, length: number): void {
    const { i32 } = this.iov;
    const address = this.memory.address + at;
    i32[0] = addressLow(address);
    i32[1] = addressHigh(address);
    i32[2] = length;
    i32[3] = 0;
  }
}

function put16le(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
}
