/** Headers in front of what upper layers send, lookup, fragmentation, and the nodes `ip4-output`, `ip6-output` and `interface-output`. */
import type { IpAddress } from '../ip/address.ts';
import { get16, put16, put32 } from '../wire/bytes.ts';
import { finishChecksum, fold, pseudoHeaderIpv4, pseudoHeaderIpv6, sumBytes } from '../wire/checksum.ts';
import { emitIpv4, IPV4_HEADER, IpProtocol, type Ipv4Repr, newIpv4Repr } from '../wire/ipv4.ts';
import { emitIpv6, IPV6_HEADER } from '../wire/ipv6.ts';
import type { Graph, GraphNode } from './graph.ts';
import type { NetStack } from './net_stack.ts';
import { type Packet, PacketFlag } from './packet.ts';

const OUTPUT_ERRORS = ['none', 'no route', 'too big', 'no buffer'] as const;
const NO_ROUTE = 1;
const TOO_BIG = 2;
const NO_BUFFER = 3;
const HOP_LIMIT = 64;
const FRAGMENT_HEADER = 8;

export class IpOutputNodes {
  readonly output4: GraphNode;
  readonly output6: GraphNode;
  readonly interfaceOutput: GraphNode;
  private readonly stack: NetStack;
  private readonly header: Ipv4Repr = newIpv4Repr();
  private identification: number;

  constructor(stack: NetStack) {
    this.stack = stack;
    this.identification = stack.random32() & 0xffff;
    this.output4 = stack.graph.add('ip4-output', OUTPUT_ERRORS, (frame, count, graph) => {
      for (let i = 0; i < count; i++) this.toDevice(frame[i], this.output4, graph);
    });
    this.output6 = stack.graph.add('ip6-output', OUTPUT_ERRORS, (frame, count, graph) => {
      for (let i = 0; i < count; i++) this.toDevice(frame[i], this.output6, graph);
    });
    const transmit = (frame: readonly Packet[], count: number, graph: Graph): void => {
      for (let i = 0; i < count; i++) {
        const packet = frame[i];
        if (stack.tap !== null) stack.tap.sending(packet, graph.nowUs);
        graph.endTrace(packet);
        stack.interfaces[packet.device].device.transmit(packet, graph.nowUs);
      }
    };
    this.interfaceOutput = stack.graph.add('interface-output', [], transmit, true);
  }

  /**
   * Puts an IP header in front of the upper-layer packet in [start, end) and hands it to the graph. The checksum field (at
   * `packet.checksumOffset`) is filled here or by the device. `hopLimit` 255 is for neighbour discovery.
   */
  send(
    packet: Packet,
    local: IpAddress,
    remote: IpAddress,
    protocol: number,
    trafficClass: number,
    dontFragment: boolean,
    hopLimit = HOP_LIMIT,
    device = -1,
  ): void {
    const { graph } = this.stack;
    const node = remote.isV4 ? this.output4 : this.output6;
    const { u8 } = packet.pool;
    packet.isV4 = remote.isV4;
    packet.protocol = protocol;
    packet.l4 = packet.start;
    const length = packet.length;
    if (remote.isV4) {
      const { header } = this;
      packet.push(IPV4_HEADER);
      header.totalLength = packet.length;
      header.tos = trafficClass;
      header.identification = this.identification;
      this.identification =
        (this.identification + Math.max(1, packet.gsoSize > 0 ? Math.ceil(length / packet.gsoSize) : 1)) & 0xffff;
      header.dontFragment = dontFragment;
      header.ttl = hopLimit;
      header.protocol = protocol;
      header.source = local.w0;
      header.destination = remote.w0;
      emitIpv4(u8, packet.start, header);
    } else {
      packet.push(IPV6_HEADER);
      emitIpv6(u8, packet.start, length, protocol, hopLimit, trafficClass << 20);
      local.write(u8, packet.start + 8);
      remote.write(u8, packet.start + 24);
    }
    packet.l3 = packet.start;
    if (device < 0) {
      const entry = this.stack.fibOf(remote, packet.fib)?.lookup(remote);
      if (entry === undefined || entry === null || entry.kind === 'drop') {
        graph.drop(node, packet, NO_ROUTE);
        return;
      }
      if (entry.kind === 'receive') {
        this.loopBack(packet, length);
        return;
      }
      packet.device = entry.device;
      packet.context = entry.gateway ?? remote;
    } else {
      packet.device = device;
      packet.context = remote;
    }
    this.checksum(packet, length);
    graph.enqueue(node, packet);
  }

  /** To ourselves: the segment is trusted and comes in again, in the same memory. */
  private loopBack(packet: Packet, length: number): void {
    this.fillChecksum(packet, length);
    packet.flags = PacketFlag.checksumTrusted;
    packet.gsoSize = 0;
    packet.context = null;
    this.stack.graph.enqueue(packet.isV4 ? this.stack.ipInput.input4 : this.stack.ipInput.input6, packet);
  }

  private checksum(packet: Packet, length: number): void {
    if (packet.protocol === IpProtocol.icmp) {
      this.fillIcmp4(packet);
      return;
    }
    const { device } = this.stack.interfaces[packet.device];
    const offloadable = packet.protocol === IpProtocol.tcp || packet.protocol === IpProtocol.udp;
    const fits = packet.gsoSize > 0 || packet.end - packet.l3 <= device.mtu;
    if (!device.checksumOffload || !offloadable || !fits) {
      this.fillChecksum(packet, length);
      return;
    }
    const { u8 } = packet.pool;
    const pseudo = packet.isV4
      ? pseudoHeaderIpv4(u8, packet.l3, packet.protocol, length)
      : pseudoHeaderIpv6(u8, packet.l3, packet.protocol, length);
    put16(u8, packet.l4 + packet.checksumOffset, fold(pseudo));
    packet.flags |= PacketFlag.checksumPartial;
  }

  private fillChecksum(packet: Packet, length: number): void {
    if (packet.protocol === IpProtocol.icmp) {
      this.fillIcmp4(packet);
      return;
    }
    const { u8 } = packet.pool;
    const pseudo = packet.isV4
      ? pseudoHeaderIpv4(u8, packet.l3, packet.protocol, length)
      : pseudoHeaderIpv6(u8, packet.l3, packet.protocol, length);
    const sum = finishChecksum(sumBytes(u8, packet.l4, packet.end, pseudo));
    // A UDP checksum that comes out as zero is sent as all ones (RFC 768).
    put16(u8, packet.l4 + packet.checksumOffset, sum === 0 && packet.protocol === IpProtocol.udp ? 0xffff : sum);
  }

  private fillIcmp4(packet: Packet): void {
    const { u8 } = packet.pool;
    put16(u8, packet.l4 + 2, 0);
    put16(u8, packet.l4 + 2, finishChecksum(sumBytes(u8, packet.l4, packet.end, 0)));
  }

  private toDevice(packet: Packet, node: GraphNode, graph: Graph): void {
    const { device } = this.stack.interfaces[packet.device];
    if (packet.gsoSize === 0 && packet.length > device.mtu) {
      this.fragment(packet, node, graph, device.mtu);
      return;
    }
    this.forward(packet, graph);
  }

  private forward(packet: Packet, graph: Graph): void {
    if (this.stack.interfaces[packet.device].device.mac === null) graph.enqueue(this.interfaceOutput, packet);
    else graph.enqueue(this.stack.ethernet.output, packet);
  }

  /** Fragments of our own packets (RFC 791 3.2, RFC 8200 4.5). TCP does not come here: its segments fit. */
  private fragment(packet: Packet, node: GraphNode, graph: Graph, mtu: number): void {
    const { u8 } = packet.pool;
    const { isV4, l3, l4, end, context, device } = packet;
    if (isV4 && (get16(u8, l3 + 6) & 0x4000) !== 0) {
      graph.drop(node, packet, TOO_BIG);
      return;
    }
    const headerLength = isV4 ? IPV4_HEADER : IPV6_HEADER + FRAGMENT_HEADER;
    const room = (mtu - headerLength) & ~7;
    const id = this.stack.random32();
    for (let at = l4; at < end; at += room) {
      const bytes = Math.min(room, end - at);
      const piece = this.stack.pool.alloc(headerLength + bytes);
      if (piece === null) {
        graph.drop(node, packet, NO_BUFFER);
        return;
      }
      const more = at + bytes < end;
      piece.end = piece.start + headerLength + bytes;
      u8.copyWithin(piece.start, l3, l3 + (isV4 ? IPV4_HEADER : IPV6_HEADER));
      u8.copyWithin(piece.start + headerLength, at, at + bytes);
      piece.isV4 = isV4;
      piece.l3 = piece.start;
      piece.l4 = piece.start + headerLength;
      piece.protocol = packet.protocol;
      piece.device = device;
      piece.fib = packet.fib;
      piece.context = context;
      if (isV4) {
        put16(u8, piece.start + 2, piece.length);
        put16(u8, piece.start + 6, ((at - l4) >> 3) | (more ? 0x2000 : 0));
        put16(u8, piece.start + 10, 0);
        put16(u8, piece.start + 10, finishChecksum(sumBytes(u8, piece.start, piece.start + IPV4_HEADER, 0)));
      } else {
        const header = piece.start + IPV6_HEADER;
        put16(u8, piece.start + 4, piece.length - IPV6_HEADER);
        put16(u8, header, u8[piece.start + 6] << 8);
        u8[piece.start + 6] = 44;
        put16(u8, header + 2, (at - l4) | (more ? 1 : 0));
        put32(u8, header + 4, id);
      }
      this.forward(piece, graph);
    }
    graph.finish(packet);
  }
}
