/**
 * An interface of the kernel (a veth, a physical port) as a device, over an AF_PACKET socket with mapped rings: received packets come in
 * TPACKET_V3 blocks and are taken without a system call, packets to send are frames of a ring that one `send` per turn hands over. The
 * virtio-net header carries checksum and segmentation offload both ways where the other end has them.
 *
 * The interface needs no address of the kernel; ours has its own link-layer address, so that the kernel ignores what is for us. The kernel
 * copies frames when it takes them (`hdr_len` covers the whole packet): a veth would have to copy the ring's pages later, at a higher price.
 * Segments larger than a frame go by `writev` on a second socket.
 *
 * A block that is not full is handed over after a millisecond: a round trip on an idle link takes that long. AF_XDP does not wait.
 */
import { E, errno, libc } from '../../core/sys/libc.ts';
import { addressHigh, addressLow, NativeMemory } from '../../core/sys/memory.ts';
import {
  BLOCK,
  FRAME,
  openPacketRings,
  packetDrops,
  sendFrames,
  TP_STATUS_AVAILABLE,
  TP_STATUS_KERNEL,
  TP_STATUS_LOSING,
  TP_STATUS_SEND_REQUEST,
  TP_STATUS_USER,
  TP_STATUS_VLAN_VALID,
  TP_STATUS_WRONG_FORMAT,
  TX_DATA,
} from '../../core/sys/packet_socket.ts';
import { VNET_HEADER_BYTES } from '../../core/sys/tuntap.ts';
import { type Packet, PacketFlag, type PacketPool } from '../graph/packet.ts';
import { ETHERNET_HEADER } from '../wire/ethernet.ts';
import { IpProtocol } from '../wire/ipv4.ts';
import { Coalescer } from './coalescer.ts';
import { type Device, newDeviceCounters } from './device.ts';
import { completeChecksum, segment } from './segmenter.ts';
import { MAX_GSO } from './tun.ts';
import { readVnetHeader, writeVnetHeader } from './vnet_header.ts';

/** A block holds at least three merged segments. */
const BLOCK_BYTES = 256 * 1024;
const BLOCKS = 32;
const RETIRE_MS = 1;
const FRAMES = 2048;
const FRAME_ROOM = 2048;
/** Packets taken from a block at a time: a frame of the graph. */
const TAKE = 64;
/** Frames that wait for `flush` at most. */
const MAX_GATHERED = 64;

export interface PacketSocketOptions {
  interface: string;
  /** By default the interface's. */
  mtu?: number;
  mac?: Uint8Array;
  /** Checksums and segmentation are left to the kernel. By default they are. */
  offload?: boolean | 'checksum';
  /** Merge received segments: by default. */
  coalesce?: boolean;
}

export class PacketSocketDevice implements Device {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array;
  readonly checksumOffload = true;
  readonly maxGsoBytes = MAX_GSO;
  readonly maxUdpGsoBytes = MAX_GSO;
  readonly fd: number;
  readonly counters = newDeviceCounters();
  /** Calls that had the kernel send. */
  sends = 0;
  private readonly largeFd: number;
  private readonly memory: NativeMemory;
  private readonly ring: NativeMemory;
  private readonly ringView: DataView;
  private readonly frameBytes: number;
  private readonly framesPerBlock: number;
  private readonly frames: number;
  private readonly checksums: boolean;
  private readonly segments: boolean;
  /** The kernel takes UDP segments (Linux 6.2), until it says otherwise. */
  private udpSegments = true;
  private readonly iov = NativeMemory.map(4096);
  private readonly coalescer: Coalescer | null;
  private readonly arrivals: Packet[] = [];
  private next = 0;
  private block = 0;
  /** Packets left in the current block, and where the next one is; 0 left: the block is not open. */
  private left = 0;
  private at = 0;
  private frame = 0;
  private gathered = 0;
  private closed = false;
  private readonly sendSegment = (packet: Packet): void => this.transmitOne(packet);

  /** `memory`: of the pool that packets come from and go to. Throws SysError. */
  constructor(options: PacketSocketOptions, memory: NativeMemory) {
    const { offload = true } = options;
    this.coalescer = options.coalesce === false ? null : new Coalescer(ETHERNET_HEADER);
    const wanted = options.mtu ?? 1500;
    this.frameBytes =
      wanted + 100 <= FRAME_ROOM ? FRAME_ROOM : (TX_DATA + VNET_HEADER_BYTES + ETHERNET_HEADER + wanted + 63) & ~63;
    this.framesPerBlock = Math.floor(BLOCK_BYTES / this.frameBytes);
    const rings = openPacketRings({
      interface: options.interface,
      blockBytes: BLOCK_BYTES,
      blocks: BLOCKS,
      retireMs: RETIRE_MS,
      frameBytes: this.frameBytes,
      frames: FRAMES,
    });
    this.frames = Math.ceil(FRAMES / this.framesPerBlock) * this.framesPerBlock;
    this.fd = rings.fd;
    this.largeFd = rings.largeFd;
    this.ring = rings.memory;
    this.ringView = new DataView(rings.memory.buffer);
    this.name = options.interface;
    this.mtu = Math.min(wanted, rings.mtu);
    this.mac = options.mac ?? new Uint8Array([2, 0x53, 0x4c, 0, 1, 1]);
    this.memory = memory;
    this.checksums = offload !== false;
    this.segments = offload === true;
  }

  transmit(packet: Packet): void {
    if (packet.gsoSize === 0) this.transmitOne(packet);
    else if (this.segments && (packet.protocol !== IpProtocol.udp || this.udpSegments)) this.transmitLarge(packet);
    else this.counters.txDropped += segment(packet, this.checksums, this.sendSegment);
  }

  receive(pool: PacketPool): Packet | null {
    if (this.next === this.arrivals.length) {
      if (this.closed) return null;
      this.fill(pool);
      if (this.arrivals.length === 0) return null;
    }
    const packet = this.arrivals[this.next++];
    if (this.next === this.arrivals.length) {
      this.arrivals.length = 0;
      this.next = 0;
    }
    return packet;
  }

  flush(): boolean {
    if (this.gathered > 0 && !this.closed) this.send();
    return false;
  }

  nextDeadlineUs(): number {
    return this.next < this.arrivals.length ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.closed) return;
    this.flush();
    this.closed = true;
    for (const packet of this.arrivals.slice(this.next)) packet.free();
    this.arrivals.length = 0;
    this.next = 0;
    libc.close(this.fd);
    libc.close(this.largeFd);
    // The socket lives, and receives, as long as it is mapped.
    this.ring.unmap();
  }

  // --- receiving

  /** Copies packets out of the blocks that are ours, at most a frame of the graph. */
  private fill(pool: PacketPool): void {
    const { coalescer, arrivals } = this;
    for (let taken = 0; taken < TAKE; taken++) {
      if (this.left === 0 && !this.openBlock()) break;
      const packet = this.take(pool);
      if (packet === null) break;
      if (packet.length === 0) packet.free();
      else if (coalescer === null) arrivals.push(packet);
      else coalescer.add(packet, pool, arrivals);
    }
    coalescer?.flush();
  }

  private openBlock(): boolean {
    const { i32 } = this.ring;
    const word = (this.block * BLOCK_BYTES) >> 2;
    if ((Atomics.load(i32, word + (BLOCK.STATUS >> 2)) & TP_STATUS_USER) === 0) return false;
    this.left = i32[word + (BLOCK.PACKETS >> 2)];
    this.at = this.block * BLOCK_BYTES + i32[word + (BLOCK.FIRST >> 2)];
    if (this.left === 0) {
      this.closeBlock();
      return this.openBlock();
    }
    return true;
  }

  private closeBlock(): void {
    Atomics.store(this.ring.i32, (this.block * BLOCK_BYTES + BLOCK.STATUS) >> 2, TP_STATUS_KERNEL);
    this.block = (this.block + 1) % BLOCKS;
  }

  /** The next packet of the block in memory of the pool, empty when it is not for us; null without a buffer. */
  private take(pool: PacketPool): Packet | null {
    const view = this.ringView;
    const header = this.at;
    const bytes = view.getUint32(header + FRAME.SNAPLEN, true);
    const packet = pool.alloc(bytes);
    if (packet === null) return null;
    const status = view.getUint32(header + FRAME.STATUS, true);
    const mac = header + view.getUint16(header + FRAME.MAC, true);
    if ((status & TP_STATUS_LOSING) !== 0) this.counters.rxDropped += packetDrops(this.fd);
    const tagged = (status & TP_STATUS_VLAN_VALID) !== 0 && (view.getUint32(header + FRAME.VLAN_TCI, true) & 0xfff) !== 0;
    const whole = bytes === view.getUint32(header + FRAME.LENGTH, true);
    if (tagged || !whole) this.counters.rxDropped++;
    else {
      const from = mac - VNET_HEADER_BYTES;
      pool.u8.set(this.ring.u8.subarray(from, mac + bytes), packet.start - VNET_HEADER_BYTES);
      packet.end = packet.start + bytes;
      readVnetHeader(packet);
      this.counters.rxPackets++;
      this.counters.rxBytes += bytes;
    }
    this.at = header + view.getUint32(header + FRAME.NEXT, true);
    if (--this.left === 0) this.closeBlock();
    return packet;
  }

  // --- sending

  private transmitOne(packet: Packet): void {
    const { length } = packet;
    if (this.closed || length + TX_DATA + VNET_HEADER_BYTES > this.frameBytes || !this.frameFree()) {
      this.counters.txDropped++;
      packet.free();
      return;
    }
    if (!this.checksums && (packet.flags & PacketFlag.checksumPartial) !== 0) completeChecksum(packet);
    const { u8 } = packet.pool;
    const from = writeVnetHeader(packet);
    // hdr_len: the kernel copies as much, and refers to the rest where it lies.
    u8[from + 2] = length;
    u8[from + 3] = length >>> 8;
    const at = this.frameAt();
    this.ring.u8.set(u8.subarray(from, packet.end), at + TX_DATA);
    const word = at >> 2;
    const { i32 } = this.ring;
    i32[word + (FRAME.NEXT >> 2)] = 0;
    i32[word + (FRAME.SNAPLEN >> 2)] = packet.length;
    i32[word + (FRAME.LENGTH >> 2)] = packet.length;
    // The kernel looks at it within `send`, so no fence is needed.
    i32[word + (FRAME.STATUS >> 2)] = TP_STATUS_SEND_REQUEST;
    this.frame = (this.frame + 1) % this.frames;
    this.counters.txPackets++;
    this.counters.txBytes += length;
    packet.free();
    if (++this.gathered >= MAX_GATHERED) this.send();
  }

  private frameAt(): number {
    const block = Math.floor(this.frame / this.framesPerBlock);
    return (BLOCKS + block) * BLOCK_BYTES + (this.frame % this.framesPerBlock) * this.frameBytes;
  }

  private frameFree(): boolean {
    const status = (this.frameAt() + FRAME.STATUS) >> 2;
    const is = Atomics.load(this.ring.i32, status);
    if (is === TP_STATUS_AVAILABLE || is === TP_STATUS_WRONG_FORMAT) return true;
    this.send();
    return Atomics.load(this.ring.i32, status) === TP_STATUS_AVAILABLE;
  }

  private send(): void {
    this.sends++;
    if (sendFrames(this.fd)) this.gathered = 0;
  }

  private transmitLarge(packet: Packet): void {
    const { length, start } = packet;
    if (this.gathered > 0 && !this.closed) this.send();
    const at = writeVnetHeader(packet);
    const { i32, pointer } = this.iov;
    const address = this.memory.address + at;
    i32[0] = addressLow(address);
    i32[1] = addressHigh(address);
    i32[2] = packet.length;
    i32[3] = 0;
    this.sends++;
    if (this.closed) this.counters.txDropped++;
    else if (libc.writev(this.largeFd, pointer, 1) < 0) {
      if (errno() === E.INVAL && packet.protocol === IpProtocol.udp) {
        this.udpSegments = false;
        packet.start = start;
        this.transmit(packet);
        return;
      }
      this.counters.txDropped++;
    } else {
      this.counters.txPackets++;
      this.counters.txBytes += length;
    }
    packet.free();
  }
}
