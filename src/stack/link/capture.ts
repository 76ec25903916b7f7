/**
 * Middleware that writes what passes a device as pcapng (draft-ietf-opsawg-pcapng): one section, one interface, an enhanced packet block
 * per packet with its direction. Packets with offload are written as the large segments they are.
 */
import type { Packet, PacketPool } from '../graph/packet.ts';
import type { Device } from './device.ts';

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const LINK_ETHERNET = 1;
const LINK_RAW = 101;
const OPTION_FLAGS = 2;
const OPTION_NAME = 2;
const INBOUND = 1;
const OUTBOUND = 2;

export interface CaptureOptions {
  /** Receives whole blocks, which it may keep. */
  write: (block: Uint8Array) => void;
  /** Bytes kept of each packet. */
  snapLength?: number;
  /** Stops after so many packets. */
  limit?: number;
  /** Microseconds since the epoch at `nowUs` 0, so that times in the file are wall-clock times. */
  epochUs?: number;
}

export class CaptureDevice implements Device {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array | null;
  readonly checksumOffload: boolean;
  readonly maxGsoBytes: number;
  captured = 0;
  private readonly device: Device;
  private readonly write: (block: Uint8Array) => void;
  private readonly snapLength: number;
  private readonly limit: number;
  private readonly epochUs: number;

  constructor(device: Device, options: CaptureOptions) {
    this.device = device;
    this.name = device.name;
    this.mtu = device.mtu;
    this.mac = device.mac;
    this.checksumOffload = device.checksumOffload;
    this.maxGsoBytes = device.maxGsoBytes;
    this.write = options.write;
    this.snapLength = options.snapLength ?? 262_144;
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.epochUs = options.epochUs ?? 0;
    this.writeHead();
  }

  get counters(): Device['counters'] {
    return this.device.counters;
  }

  transmit(packet: Packet, nowUs: number): void {
    this.record(packet, nowUs, OUTBOUND);
    this.device.transmit(packet, nowUs);
  }

  receive(pool: PacketPool, nowUs: number): Packet | null {
    const packet = this.device.receive(pool, nowUs);
    if (packet !== null) this.record(packet, nowUs, INBOUND);
    return packet;
  }

  nextDeadlineUs(): number {
    return this.device.nextDeadlineUs();
  }

  close(): void {
    this.device.close();
  }

  private writeHead(): void {
    const section = new DataView(new ArrayBuffer(28));
    section.setUint32(0, SECTION, true);
    section.setUint32(4, 28, true);
    section.setUint32(8, BYTE_ORDER, true);
    section.setUint16(12, 1, true);
    section.setBigInt64(16, -1n, true);
    section.setUint32(24, 28, true);
    this.write(new Uint8Array(section.buffer));
    const name = Buffer.from(this.name);
    const size = 20 + 4 + padded(name.length) + 4;
    const head = new DataView(new ArrayBuffer(size));
    head.setUint32(0, INTERFACE, true);
    head.setUint32(4, size, true);
    head.setUint16(8, this.mac === null ? LINK_RAW : LINK_ETHERNET, true);
    head.setUint32(12, this.snapLength, true);
    head.setUint16(16, OPTION_NAME, true);
    head.setUint16(18, name.length, true);
    new Uint8Array(head.buffer).set(name, 20);
    head.setUint32(size - 4, size, true);
    this.write(new Uint8Array(head.buffer));
  }

  private record(packet: Packet, nowUs: number, direction: number): void {
    if (this.captured >= this.limit) return;
    this.captured++;
    const kept = Math.min(packet.length, this.snapLength);
    const size = 28 + padded(kept) + 8 + 4 + 4;
    const block = new DataView(new ArrayBuffer(size));
    const time = Math.floor(this.epochUs + nowUs);
    block.setUint32(0, ENHANCED_PACKET, true);
    block.setUint32(4, size, true);
    block.setUint32(12, Math.floor(time / 4294967296), true);
    block.setUint32(16, time >>> 0, true);
    block.setUint32(20, kept, true);
    block.setUint32(24, packet.length, true);
    const bytes = new Uint8Array(block.buffer);
    bytes.set(packet.pool.u8.subarray(packet.start, packet.start + kept), 28);
    const options = 28 + padded(kept);
    block.setUint16(options, OPTION_FLAGS, true);
    block.setUint16(options + 2, 4, true);
    block.setUint32(options + 4, direction, true);
    block.setUint32(size - 4, size, true);
    this.write(bytes);
  }
}

const padded = (n: number): number => (n + 3) & ~3;
