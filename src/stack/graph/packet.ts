/**
 * Packets: slots of one memory area in two sizes (a frame of the link; a whole 64 KB segment for TSO and GRO), each with headroom for
 * the headers that lower layers put in front. A packet has one owner; the last one gives it back with `free`.
 */
import { TcpRepr } from '../wire/tcp.ts';

/** Room in front of a fresh packet: virtio-net header, Ethernet, IPv6, and then some. Even, so that checksums read aligned words. */
export const HEADROOM = 192;
/** Also the chunk of an AF_XDP area. */
export const SMALL_BYTES = 2048;
/** A multiple of SMALL_BYTES, so that no frame crosses a chunk of an AF_XDP area that this memory is. */
export const LARGE_BYTES = 66 * 1024;

export const PacketFlag = {
  /** The device vouches for the upper-layer checksum. */
  checksumTrusted: 1,
  /** Outgoing: the device is to compute the checksum from `l4 + checksumOffset`; the field holds the pseudo-header's sum. */
  checksumPartial: 2,
  /** Arrived for a broadcast or multicast address. */
  group: 4,
} as const;

export class Packet {
  readonly pool: PacketPool;
  readonly index: number;
  readonly base: number;
  readonly limit: number;
  /** Bytes in [start, end) of `pool.u8`. */
  start = 0;
  end = 0;
  l3 = 0;
  l4 = 0;
  isV4 = true;
  protocol = 0;
  flags = 0;
  /** 0, or the payload bytes per segment that the device is to cut (TSO) or that were merged (GRO). */
  gsoSize = 0;
  /** Where the checksum field is, from `l4`. */
  checksumOffset = 0;
  /** Index of the device it came from, or goes to. */
  device = -1;
  /** Number of the forwarding table that it is looked up in. */
  fib = 0;
  /** Opaque to lower layers: what the next node needs (a connection, a neighbour). */
  context: unknown = null;
  readonly tcp = new TcpRepr();
  /** Lines of the packet's way through the graph; null when it is not traced. */
  trace: string[] | null = null;
  inUse = false;

  constructor(pool: PacketPool, index: number, base: number, limit: number) {
    this.pool = pool;
    this.index = index;
    this.base = base;
    this.limit = limit;
  }

  /** Moves the start `n` bytes towards the headroom. */
  push(n: number): number {
    this.start -= n;
    return this.start;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Bytes that can be appended. */
  get room(): number {
    return this.limit - this.end;
  }

  free(): void {
    this.pool.free(this);
  }
}

export interface PacketMemory {
  u8: Uint8Array<ArrayBuffer>;
}

export interface PacketPoolOptions {
  small?: number;
  large?: number;
}

export class PacketPool {
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly size: number;
  /** By `index`. */
  readonly packets: readonly Packet[];
  inUse = 0;
  private readonly small: Packet[] = [];
  private readonly large: Packet[] = [];

  static bytesFor(options: PacketPoolOptions): number {
    return (options.small ?? 0) * SMALL_BYTES + (options.large ?? 0) * LARGE_BYTES;
  }

  constructor(options: PacketPoolOptions, memory?: PacketMemory) {
    this.u8 = memory?.u8 ?? new Uint8Array(PacketPool.bytesFor(options));
    this.size = (options.small ?? 0) + (options.large ?? 0);
    let base = 0;
    for (let i = 0; i < (options.small ?? 0); i++, base += SMALL_BYTES)
      this.small.push(new Packet(this, i, base, base + SMALL_BYTES));
    for (let i = 0; i < (options.large ?? 0); i++, base += LARGE_BYTES)
      this.large.push(new Packet(this, (options.small ?? 0) + i, base, base + LARGE_BYTES));
    this.packets = [...this.small, ...this.large];
  }

  /** A packet with HEADROOM in front and room for `bytes` more; null when there is none left. */
  alloc(bytes: number): Packet | null {
    const packet = bytes <= SMALL_BYTES - HEADROOM ? (this.small.pop() ?? this.large.pop()) : this.large.pop();
    if (packet === undefined || packet.base + HEADROOM + bytes > packet.limit) {
      if (packet !== undefined) this.large.push(packet);
      return null;
    }
    this.landed(packet, packet.base + HEADROOM, packet.base + HEADROOM);
    return packet;
  }

  /** A small packet for a device to receive into: not in use until it has `landed`, or is handed back. */
  lend(): Packet | null {
    return this.small.pop() ?? null;
  }

  /** What was received lies in [start, end). */
  landed(packet: Packet, start: number, end: number): void {
    packet.inUse = true;
    packet.start = start;
    packet.end = end;
    packet.flags = 0;
    packet.gsoSize = 0;
    packet.device = -1;
    packet.fib = 0;
    packet.context = null;
    packet.trace = null;
    this.inUse++;
  }

  handBack(packet: Packet): void {
    this.small.push(packet);
  }

  free(packet: Packet): void {
    if (!packet.inUse) throw new Error(`packet ${packet.index} freed twice`);
    packet.inUse = false;
    packet.context = null;
    packet.trace = null;
    this.inUse--;
    if (packet.limit - packet.base === SMALL_BYTES) this.small.push(packet);
    else this.large.push(packet);
  }
}
