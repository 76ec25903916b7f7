/**
 * TUN and TAP with the virtio-net header: with segmentation offload up to 64 KB per packet both ways; with checksum offload only, or none,
 * segments are cut and merged here (`segmenter.ts`, `coalescer.ts`). System calls carry many packets (`tun_ring.ts`); where io_uring is
 * forbidden, one `readv` or `writev` per packet, whose io-vectors lie in mapped memory.
 *
 * UDP segments (USO) too, from Linux 6.2 on. Left out: mergeable buffers, several queues.
 */
import { E, errno, libc, SysError } from '../../core/sys/libc.ts';
import { addressHigh, addressLow, NativeMemory } from '../../core/sys/memory.ts';
import { openTunTap, VNET_HEADER_BYTES } from '../../core/sys/tuntap.ts';
import { type Packet, PacketFlag, PacketPool, type PacketPoolOptions } from '../graph/packet.ts';
import { ETHERNET_HEADER } from '../wire/ethernet.ts';
import { IpProtocol } from '../wire/ipv4.ts';
import { Coalescer } from './coalescer.ts';
import { type Device, newDeviceCounters } from './device.ts';
import { completeChecksum, segment } from './segmenter.ts';
import { TunRing, type TunRingOwner } from './tun_ring.ts';
import { readVnetHeader, writeVnetHeader } from './vnet_header.ts';

/** IP packets are at most 65,535 bytes; headers of 60 + 60 leave this. */
export const MAX_GSO = 65_535 - 120;
const MAX_READ = 65_535 + ETHERNET_HEADER + VNET_HEADER_BYTES;
const SMALL_READ = 1600;
const MAX_READS = 64;
/** As many packets as a window of some megabytes holds. */
const QUEUE_LENGTH = 4096;
/** 64 KB each: more would leave the cache before they are copied out. */
const MAX_LARGE_READS = 8;

export interface TunOptions {
  name: string;
  kind: 'tun' | 'tap';
  mtu?: number;
  /** True: checksums and segmentation; `checksum`: the kernel computes and vouches for checksums, packets are of the link's size. */
  offload: boolean | 'checksum';
  /** Of our end; a TAP needs one. */
  mac?: Uint8Array;
  /** Many packets per system call; by default where the kernel lets us. */
  ring?: boolean;
  /** Without segmentation offload: merge segments that arrive together (the default). */
  coalesce?: boolean;
  /** The kernel takes our packets in a thread of its own: by default without segmentation offload, where packets are many. */
  threaded?: boolean;
}

/** Memory for a pool whose packets a device can read and write in place. */
export function nativePool(options: PacketPoolOptions): NativeMemory {
  return NativeMemory.map(PacketPool.bytesFor(options), { noReserve: true });
}

export class TunDevice implements Device, TunRingOwner {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array | null;
  readonly checksumOffload = true;
  readonly maxGsoBytes = MAX_GSO;
  readonly maxUdpGsoBytes = MAX_GSO;
  readonly fd: number;
  readonly counters = newDeviceCounters();
  readonly ring: TunRing | null;
  private readonly memory: NativeMemory;
  private readonly iov = NativeMemory.map(4096);
  private readonly pointer = this.iov.pointer;
  /** What the kernel does for us. */
  private readonly checksums: boolean;
  private readonly segments: boolean;
  private readonly udpSegments: boolean;
  private readonly readBytes: number;
  private readonly coalescer: Coalescer | null;
  private arrivals: Packet[] = [];
  private next = 0;
  private pool: PacketPool | null = null;
  /** The turn in which there was nothing more to read. */
  private dryAtUs = -1;
  private closed = false;
  private readonly sendSegment = (packet: Packet): void => this.transmitOne(packet);

  /** `memory`: of the pool that packets come from and go to. Throws SysError. */
  constructor(options: TunOptions, memory: NativeMemory) {
    this.checksums = options.offload !== false;
    this.segments = options.offload === true;
    const { fd, name, udpSegmentation } = openTunTap({
      name: options.name,
      kind: options.kind,
      vnetHeader: true,
      checksumOffload: this.checksums,
      segmentationOffload: this.segments,
      threaded: options.threaded ?? !this.segments,
      queueLength: QUEUE_LENGTH,
    });
    this.fd = fd;
    this.udpSegments = udpSegmentation;
    this.name = name;
    this.mtu = options.mtu ?? 1500;
    this.mac = options.kind === 'tap' ? (options.mac ?? new Uint8Array([2, 0x53, 0x4c, 0, 0, 1])) : null;
    this.memory = memory;
    this.readBytes = this.segments ? MAX_READ : Math.max(SMALL_READ, this.mtu + ETHERNET_HEADER + VNET_HEADER_BYTES + 16);
    const merge = !this.segments && options.coalesce !== false;
    this.coalescer = !merge ? null : new Coalescer(options.kind === 'tap' ? ETHERNET_HEADER : 0);
    this.ring = options.ring === false ? null : this.openRing();
  }

  transmit(packet: Packet): void {
    if (packet.gsoSize === 0 || (packet.protocol === IpProtocol.udp ? this.udpSegments : this.segments)) {
      this.transmitOne(packet);
      return;
    }
    this.counters.txDropped += segment(packet, this.checksums, this.sendSegment);
  }

  receive(pool: PacketPool, nowUs: number): Packet | null {
    if (this.next < this.arrivals.length) return this.take();
    if (this.closed) return null;
    this.pool = pool;
    if (this.ring === null) return this.coalescer === null ? this.readOne(pool) : this.readFrame(pool, nowUs);
    if (this.dryAtUs === nowUs) return null;
    this.exchange(pool, nowUs);
    return this.next < this.arrivals.length ? this.take() : null;
  }

  flush(nowUs: number): boolean {
    const { ring, pool } = this;
    if (ring === null || pool === null || ring.gathered === 0 || this.closed) return false;
    this.exchange(pool, nowUs);
    return this.next < this.arrivals.length || this.dryAtUs !== nowUs;
  }

  nextDeadlineUs(): number {
    return this.next < this.arrivals.length ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.ring?.submit();
    while (this.next < this.arrivals.length) this.take().free();
    this.ring?.close();
    libc.close(this.fd);
  }

  // --- through the ring

  arrived(packet: Packet, result: number): void {
    this.accept(packet, result);
    if (this.coalescer === null) this.arrivals.push(packet);
    else this.coalescer.add(packet, packet.pool, this.arrivals);
  }

  sent(packet: Packet, result: number): void {
    if (result < 0) this.counters.txDropped++;
    else {
      this.counters.txPackets++;
      this.counters.txBytes += result - VNET_HEADER_BYTES;
    }
    packet.free();
  }

  private exchange(pool: PacketPool, nowUs: number): void {
    this.dryAtUs = this.ring!.exchange(pool) ? -1 : nowUs;
    this.coalescer?.flush();
  }

  private take(): Packet {
    const packet = this.arrivals[this.next++];
    if (this.next === this.arrivals.length) {
      this.arrivals.length = 0;
      this.next = 0;
    }
    return packet;
  }

  private openRing(): TunRing | null {
    try {
      const maxReads = this.segments ? MAX_LARGE_READS : MAX_READS;
      const { fd, memory, readBytes } = this;
      return new TunRing({ fd, memory, readBytes, maxReads, headerBytes: VNET_HEADER_BYTES }, this);
    } catch (error) {
      if (error instanceof SysError) return null;
      throw error;
    }
  }

  // --- both ways of calling

  private transmitOne(packet: Packet): void {
    if (this.closed) {
      this.counters.txDropped++;
      packet.free();
      return;
    }
    if (!this.checksums && (packet.flags & PacketFlag.checksumPartial) !== 0) completeChecksum(packet);
    const at = writeVnetHeader(packet);
    if (this.ring !== null) {
      this.pool = packet.pool;
      this.ring.write(packet, at, packet.length);
      return;
    }
    this.vector(at, packet.length);
    this.sent(packet, libc.writev(this.fd, this.pointer, 1));
  }

  private accept(packet: Packet, result: number): void {
    packet.end = packet.start - VNET_HEADER_BYTES + result;
    readVnetHeader(packet);
    this.counters.rxPackets++;
    this.counters.rxBytes += packet.length;
  }

  // --- a system call per packet

  private readFrame(pool: PacketPool, nowUs: number): Packet | null {
    if (this.dryAtUs === nowUs) return null;
    for (let i = 0; i < MAX_READS; i++) {
      const packet = this.readOne(pool);
      if (packet === null) {
        this.dryAtUs = nowUs;
        break;
      }
      this.coalescer!.add(packet, pool, this.arrivals);
    }
    this.coalescer!.flush();
    return this.next < this.arrivals.length ? this.take() : null;
  }

  private readOne(pool: PacketPool): Packet | null {
    const packet = pool.alloc(this.readBytes);
    if (packet === null) return null;
    this.vector(packet.start - VNET_HEADER_BYTES, this.readBytes);
    const result = libc.readv(this.fd, this.pointer, 1);
    if (result <= VNET_HEADER_BYTES) {
      if (result < 0 && errno() !== E.AGAIN) this.counters.rxDropped++;
      packet.free();
      return null;
    }
    this.accept(packet, result);
    return packet;
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
