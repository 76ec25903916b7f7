/** Middleware that writes what passes a device as pcapng. Packets with offload are written as the large segments they are. */
import type { Packet, PacketPool } from '../graph/packet.ts';
import type { Device } from './device.ts';
import { PacketDirection, type PcapngOptions, PcapngWriter } from './pcapng.ts';

export interface CaptureOptions extends PcapngOptions {
  /** Stops after so many packets. */
  limit?: number;
}

export class CaptureDevice implements Device {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array | null;
  readonly checksumOffload: boolean;
  readonly maxGsoBytes: number;
  readonly maxUdpGsoBytes: number;
  captured = 0;
  private readonly device: Device;
  private readonly writer: PcapngWriter;
  private readonly limit: number;

  constructor(device: Device, options: CaptureOptions) {
    this.device = device;
    this.name = device.name;
    this.mtu = device.mtu;
    this.mac = device.mac;
    this.checksumOffload = device.checksumOffload;
    this.maxGsoBytes = device.maxGsoBytes;
    this.maxUdpGsoBytes = device.maxUdpGsoBytes;
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.writer = new PcapngWriter(options);
    this.writer.addInterface(device.name, device.mac !== null);
  }

  get counters(): Device['counters'] {
    return this.device.counters;
  }

  transmit(packet: Packet, nowUs: number): void {
    this.record(packet, nowUs, PacketDirection.outbound);
    this.device.transmit(packet, nowUs);
  }

  receive(pool: PacketPool, nowUs: number): Packet | null {
    const packet = this.device.receive(pool, nowUs);
    if (packet !== null) this.record(packet, nowUs, PacketDirection.inbound);
    return packet;
  }

  flush(nowUs: number): boolean {
    return this.device.flush?.(nowUs) ?? false;
  }

  nextDeadlineUs(): number {
    return this.device.nextDeadlineUs();
  }

  close(): void {
    this.device.close();
  }

  private record(packet: Packet, nowUs: number, direction: number): void {
    if (this.captured >= this.limit) return;
    this.captured++;
    this.writer.packet(0, packet.pool.u8, packet.start, packet.end, nowUs, direction);
  }
}
