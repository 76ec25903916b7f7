/** What the graph asks of a network device, and what middleware (capture, fault injection) wraps. */
import type { Packet, PacketPool } from '../graph/packet.ts';

export interface Device {
  readonly name: string;
  /** Largest IP packet. */
  readonly mtu: number;
  /** Null for a device without link layer (TUN). */
  readonly mac: Uint8Array | null;
  /** The device computes transport checksums (PacketFlag.checksumPartial). */
  readonly checksumOffload: boolean;
  /** Largest TCP payload it segments; 0: none. */
  readonly maxGsoBytes: number;
  /** Largest payload of many UDP datagrams of one size that it cuts (UDP segmentation offload); 0: none. */
  readonly maxUdpGsoBytes: number;
  /** Takes ownership of `packet`, which starts at the link layer (or the IP header without one). */
  transmit(packet: Packet, nowUs: number): void;
  /** The next packet that arrived, from `pool`; null when there is none (or no buffer). */
  receive(pool: PacketPool, nowUs: number): Packet | null;
  /**
   * Sends what `transmit` has gathered: called after each frame of the graph, so that a device can move many packets per system call. True
   * when packets arrived meanwhile.
   */
  flush?(nowUs: number): boolean;
  /** When `receive` or `poll` has something to do though nothing arrives; Infinity: never. */
  nextDeadlineUs(): number;
  readonly counters: DeviceCounters;
  close(): void;
}

export interface DeviceCounters {
  rxPackets: number;
  rxBytes: number;
  txPackets: number;
  txBytes: number;
  rxDropped: number;
  txDropped: number;
}

export function newDeviceCounters(): DeviceCounters {
  return { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, rxDropped: 0, txDropped: 0 };
}
