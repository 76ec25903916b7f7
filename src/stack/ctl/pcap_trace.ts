/** `pcap trace`: what all devices receive and send, and what the graph drops with its reason, as one pcapng file. */
import type { GraphNode } from '../graph/graph.ts';
import type { NetStack, PacketTap } from '../graph/net_stack.ts';
import type { Packet } from '../graph/packet.ts';
import { PacketDirection, PcapngWriter } from '../link/pcapng.ts';

const FLUSH_BYTES = 64 * 1024;

export interface PcapTraceOptions {
  rx: boolean;
  tx: boolean;
  drop: boolean;
  max: number;
  snapLength: number;
  file: string;
  epochUs: number;
  write: (bytes: Uint8Array) => void;
  close: () => void;
}

export class PcapTrace implements PacketTap {
  captured = 0;
  active = true;
  private readonly net: NetStack;
  private readonly options: PcapTraceOptions;
  private readonly writer: PcapngWriter;
  /** Interface 0 holds what was dropped: such a packet may have lost its link-layer header. */
  private readonly dropped: number;
  private readonly interfaces: number[];
  private blocks: Uint8Array[] = [];
  private bytes = 0;

  constructor(net: NetStack, options: PcapTraceOptions) {
    this.net = net;
    this.options = options;
    this.writer = new PcapngWriter({ ...options, write: (block) => this.collect(block) });
    this.dropped = this.writer.addInterface('drop', false);
    this.interfaces = net.interfaces.map(({ device }) => this.writer.addInterface(device.name, device.mac !== null));
    net.tap = this;
    if (options.drop) net.graph.onDrop = (packet, node, reason) => this.drops(packet, node, reason);
  }

  received(packet: Packet, nowUs: number): void {
    if (this.options.rx) this.record(this.interfaces[packet.device], packet, nowUs, PacketDirection.inbound, '');
  }

  sending(packet: Packet, nowUs: number): void {
    if (this.options.tx) this.record(this.interfaces[packet.device], packet, nowUs, PacketDirection.outbound, '');
  }

  /** Writes what is left and lets go of the file. */
  stop(): void {
    if (!this.active) return;
    this.active = false;
    this.net.graph.onDrop = null;
    this.flush();
    this.options.close();
  }

  get status(): Record<string, unknown> {
    const { file, max } = this.options;
    return { state: this.active ? 'on' : 'finished', captured: this.captured, max, file };
  }

  private drops(packet: Packet, node: GraphNode, reason: string): void {
    const comment = `${node.name}: ${reason}`;
    const ethernet = node.linkLayer && this.net.interfaces[packet.device]?.device.mac !== null;
    const of = ethernet ? this.interfaces[packet.device] : this.dropped;
    this.record(of, packet, this.net.nowUs, PacketDirection.unknown, comment);
  }

  private record(of: number | undefined, packet: Packet, nowUs: number, direction: number, comment: string): void {
    if (!this.active || of === undefined) return;
    this.writer.packet(of, packet.pool.u8, packet.start, packet.end, nowUs, direction, comment);
    if (++this.captured >= this.options.max) this.stop();
  }

  private collect(block: Uint8Array): void {
    this.blocks.push(block);
    this.bytes += block.length;
    if (this.bytes >= FLUSH_BYTES) this.flush();
  }

  private flush(): void {
    if (this.bytes === 0) return;
    const all = Buffer.concat(this.blocks);
    this.blocks = [];
    this.bytes = 0;
    try {
      this.options.write(all);
    } catch {
      // No space on the device: the capture ends, the stack does not.
      this.active = false;
      this.net.graph.onDrop = null;
    }
  }
}
