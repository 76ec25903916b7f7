/**
 * An interface of the kernel (a veth, a physical port) as a device, over AF_XDP in copy mode: a program on the interface redirects every
 * packet of one receive queue into our rings before the kernel's stack sees it. The pool's memory is the shared area (UMEM), so a packet is
 * received into a slot of the pool and sent from it; nothing is copied on our side.
 *
 * The interface is ours alone while the device is open, with its link-layer address. Receiving takes no system call, sending one per 256
 * packets (32 before Linux 6.17). Segments are cut and merged here; checksums of what is sent are left to the kernel (Linux 6.8). A sender on
 * the same machine leaves its checksums to hardware that a veth does not have: such a packet has the pseudo-header's sum in the field.
 *
 * Left out: zero-copy mode, several queues (a veth has one), frames larger than a slot.
 */
import { addressHigh, addressLow, type NativeMemory } from '../../core/sys/memory.ts';
import {
  kickXdp,
  openXdpSocket,
  TX_METADATA_BYTES,
  XDP_HEADROOM,
  XDP_TX_METADATA,
  XDP_TXMD_FLAGS_CHECKSUM,
  type XdpSocket,
  xdpDrops,
} from '../../core/sys/xdp_socket.ts';
import { LARGE_BYTES, type Packet, PacketFlag, type PacketPool, SMALL_BYTES } from '../graph/packet.ts';
import { get16 } from '../wire/bytes.ts';
import { fold, pseudoHeaderIpv4, pseudoHeaderIpv6 } from '../wire/checksum.ts';
import { ETHERNET_HEADER } from '../wire/ethernet.ts';
import { IPV4_HEADER, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import { Coalescer } from './coalescer.ts';
import { type Device, newDeviceCounters } from './device.ts';
import { completeChecksum, segment } from './segmenter.ts';
import { MAX_GSO } from './tun.ts';

const ENTRIES = 2048;
/** Packets lent to the kernel for arrivals: at most this share of the pool's. */
const LEND_SHARE = 4;
/** Packets taken at a time: a frame of the graph. */
const TAKE = 64;
const MAX_GATHERED = 64;
const MAX_MTU = SMALL_BYTES - XDP_HEADROOM - ETHERNET_HEADER;

export interface XdpOptions {
  interface: string;
  /** By default the interface's. */
  mtu?: number;
  /** Receive queue, 0 by default. */
  queue?: number;
  /** False: the checksums of what is sent are computed here. */
  offload?: boolean | 'checksum';
  /** Merge received segments: by default. */
  coalesce?: boolean;
  /** The kernel copies what arrives in a thread of its own, not in the sender's time: by default on an interface that is no hardware. */
  threaded?: boolean;
}

export class XdpDevice implements Device {
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
  private readonly pool: PacketPool;
  private readonly socket: XdpSocket;
  private readonly checksums: boolean;
  private readonly smallBytes: number;
  private readonly smallCount: number;
  private readonly lendMost: number;
  /** Which packets the kernel has for arrivals, by index, and how many. */
  private readonly isLent: Uint8Array;
  private lent = 0;
  private readonly coalescer: Coalescer | null;
  private readonly arrivals: Packet[] = [];
  private next = 0;
  private rxIndex = 0;
  private txIndex = 0;
  private fillIndex = 0;
  private doneIndex = 0;
  private gathered = 0;
  private closed = false;
  private readonly sendSegment = (packet: Packet): void => this.transmitOne(packet);

  /** `memory`: of `pool`. Throws SysError. */
  constructor(options: XdpOptions, memory: NativeMemory, pool: PacketPool) {
    const socket = openXdpSocket({
      interface: options.interface,
      queue: options.queue ?? 0,
      umem: memory,
      chunkBytes: SMALL_BYTES,
      entries: ENTRIES,
      threaded: options.threaded,
    });
    this.socket = socket;
    this.coalescer = options.coalesce === false ? null : new Coalescer(ETHERNET_HEADER);
    this.pool = pool;
    this.fd = socket.fd;
    this.name = options.interface;
    this.mtu = Math.min(options.mtu ?? 1500, socket.mtu, MAX_MTU);
    this.mac = socket.mac;
    this.checksums = options.offload !== false && socket.checksums;
    this.smallCount = pool.packets.findIndex(({ base, limit }) => limit - base !== SMALL_BYTES);
    if (this.smallCount < 0) this.smallCount = pool.packets.length;
    this.smallBytes = this.smallCount * SMALL_BYTES;
    this.lendMost = Math.min(ENTRIES, Math.floor(this.smallCount / LEND_SHARE));
    this.isLent = new Uint8Array(this.smallCount);
    this.fill();
    try {
      socket.attach();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  transmit(packet: Packet): void {
    if (packet.gsoSize === 0) this.transmitOne(packet);
    else this.counters.txDropped += segment(packet, this.checksums, this.sendSegment);
  }

  receive(): Packet | null {
    if (this.next === this.arrivals.length) {
      if (this.closed) return null;
      this.take();
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
    if (this.closed) return false;
    if (this.txIndex !== this.socket.tx.loadConsumer()) this.send();
    this.reclaim();
    this.fill();
    return false;
  }

  nextDeadlineUs(): number {
    if (this.closed) return Number.POSITIVE_INFINITY;
    const busy = this.next < this.arrivals.length || this.txIndex !== this.socket.tx.loadConsumer();
    return busy ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.closed) return;
    this.flush();
    this.closed = true;
    this.counters.rxDropped += xdpDrops(this.fd);
    this.socket.close();
    for (const packet of this.arrivals.slice(this.next)) packet.free();
    this.arrivals.length = 0;
    this.next = 0;
    // The kernel is done with the area: what it had for arrivals is the pool's again.
    this.isLent.forEach((is, index) => {
      if (is !== 0) this.pool.handBack(this.pool.packets[index]);
    });
    this.isLent.fill(0);
  }

  // --- receiving

  private take(): void {
    const { rx } = this.socket;
    const { pool, coalescer, arrivals, counters } = this;
    const available = (rx.loadProducer() - this.rxIndex) | 0;
    const count = Math.min(available, TAKE);
    if (count <= 0) return;
    for (let i = 0; i < count; i++) {
      const word = rx.entries + ((this.rxIndex + i) & rx.mask) * 4;
      const at = rx.i32[word];
      const bytes = rx.i32[word + 2];
      const packet = pool.packets[at >>> 11];
      this.isLent[packet.index] = 0;
      pool.landed(packet, at, at + bytes);
      counters.rxPackets++;
      counters.rxBytes += bytes;
      if (checksumIsPartial(packet)) packet.flags = PacketFlag.checksumTrusted;
      if (coalescer === null) arrivals.push(packet);
      else coalescer.add(packet, pool, arrivals);
    }
    this.lent -= count;
    this.rxIndex = (this.rxIndex + count) | 0;
    rx.storeConsumer(this.rxIndex);
    coalescer?.flush();
    this.fill();
  }

  /** Lends the kernel packets for arrivals, as many as it should have. */
  private fill(): void {
    const { fill } = this.socket;
    const { pool } = this;
    const before = this.fillIndex;
    while (this.lent < this.lendMost) {
      const packet = pool.lend();
      if (packet === null) break;
      this.isLent[packet.index] = 1;
      this.lent++;
      const word = fill.entries + (this.fillIndex & fill.mask) * 2;
      fill.i32[word] = packet.base;
      fill.i32[word + 1] = 0;
      this.fillIndex = (this.fillIndex + 1) | 0;
    }
    if (this.fillIndex !== before) fill.storeProducer(this.fillIndex);
  }

  // --- sending

  private transmitOne(packet: Packet): void {
    const { tx } = this.socket;
    const { length } = packet;
    const offset = packet.start & (SMALL_BYTES - 1);
    if (!this.closed && ((this.txIndex - tx.loadConsumer()) | 0) >= ENTRIES) this.send();
    if (this.closed || offset + length > SMALL_BYTES || ((this.txIndex - tx.loadConsumer()) | 0) >= ENTRIES) {
      this.counters.txDropped++;
      packet.free();
      return;
    }
    let options = 0;
    if ((packet.flags & PacketFlag.checksumPartial) !== 0) {
      if (this.checksums) {
        options = XDP_TX_METADATA;
        this.writeMetadata(packet);
      } else completeChecksum(packet);
    }
    const word = tx.entries + (this.txIndex & tx.mask) * 4;
    tx.i32[word] = addressLow(packet.start);
    tx.i32[word + 1] = addressHigh(packet.start);
    tx.i32[word + 2] = length;
    tx.i32[word + 3] = options;
    this.txIndex = (this.txIndex + 1) | 0;
    this.counters.txPackets++;
    this.counters.txBytes += length;
    if (++this.gathered >= MAX_GATHERED) this.send();
  }

  /** struct xsk_tx_metadata in front of the packet. */
  private writeMetadata(packet: Packet): void {
    const { u8 } = packet.pool;
    const at = packet.start - TX_METADATA_BYTES;
    for (let i = at; i < packet.start; i++) u8[i] = 0;
    const start = packet.l4 - packet.start;
    u8[at] = XDP_TXMD_FLAGS_CHECKSUM;
    u8[at + 8] = start;
    u8[at + 9] = start >>> 8;
    u8[at + 10] = packet.checksumOffset;
  }

  private send(): void {
    const { tx } = this.socket;
    tx.storeProducer(this.txIndex);
    this.gathered = 0;
    this.reclaim();
    // Each call sends a bounded number; what the kernel cannot take now stays in the ring for the next turn.
    for (let tries = 0; tries < 8; tries++) {
      this.sends++;
      if (!kickXdp(this.fd) || tx.loadConsumer() === this.txIndex) break;
    }
    this.reclaim();
  }

  /** Frees what was sent. */
  private reclaim(): void {
    const { completion } = this.socket;
    const end = completion.loadProducer();
    if (end === this.doneIndex) return;
    for (; this.doneIndex !== end; this.doneIndex = (this.doneIndex + 1) | 0) {
      const at = completion.i32[completion.entries + (this.doneIndex & completion.mask) * 2];
      this.packetAt(at).free();
    }
    completion.storeConsumer(this.doneIndex);
  }

  private packetAt(at: number): Packet {
    const { packets } = this.pool;
    if (at < this.smallBytes) return packets[at >>> 11];
    return packets[this.smallCount + Math.floor((at - this.smallBytes) / LARGE_BYTES)];
  }
}

/** The checksum field of a TCP or UDP packet holds the pseudo-header's sum: its sender left the rest to hardware. */
function checksumIsPartial(packet: Packet): boolean {
  const { u8 } = packet.pool;
  const l3 = packet.start + ETHERNET_HEADER;
  const bytes = packet.end - l3;
  let protocol: number;
  let l4: number;
  if (bytes >= IPV4_HEADER + 8 && u8[l3] === 0x45 && get16(u8, packet.start + 12) === 0x0800) {
    if ((get16(u8, l3 + 6) & 0x3fff) !== 0) return false;
    protocol = u8[l3 + 9];
    l4 = l3 + IPV4_HEADER;
  } else if (bytes >= IPV6_HEADER + 8 && u8[l3] >> 4 === 6 && get16(u8, packet.start + 12) === 0x86dd) {
    protocol = u8[l3 + 6];
    l4 = l3 + IPV6_HEADER;
  } else return false;
  const v4 = u8[l3] === 0x45;
  const length = v4 ? get16(u8, l3 + 2) - IPV4_HEADER : get16(u8, l3 + 4);
  if (l4 + length > packet.end) return false;
  const field = protocol === IpProtocol.tcp ? 16 : protocol === IpProtocol.udp ? 6 : -1;
  if (field < 0 || length < field + 2) return false;
  const pseudo = v4 ? pseudoHeaderIpv4(u8, l3, protocol, length) : pseudoHeaderIpv6(u8, l3, protocol, length);
  return get16(u8, l4 + field) === fold(pseudo);
}
