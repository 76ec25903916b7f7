/** Nodes `ethernet-input`, `arp-input` and `ethernet-output`, with the neighbour table between IP and the link. */
import type { IpAddress } from '../ip/address.ts';
import { IpAddress as Address } from '../ip/address.ts';
import { type Neighbor, NeighborTable } from '../ip/neighbors.ts';
import { ARP_LENGTH, ArpOperation, emitArp, newArpRepr, parseArp } from '../wire/arp.ts';
import { ParseResult } from '../wire/bytes.ts';
import { checkEthernet, ETHERNET_HEADER, EtherType, emitEthernet, etherType, isGroupAddress, sameMac } from '../wire/ethernet.ts';
import type { Graph, GraphNode } from './graph.ts';
import type { NetStack } from './net_stack.ts';
import type { Packet } from './packet.ts';

const BROADCAST = new Uint8Array(6).fill(0xff);
const ETHERNET_ERRORS = ['none', 'truncated', 'not for us', 'unknown type'] as const;
const ARP_ERRORS = ['none', 'malformed', 'not for us', 'unspecified sender'] as const;
const OUTPUT_ERRORS = ['none', 'neighbor unreachable'] as const;

export class EthernetNodes {
  readonly input: GraphNode;
  readonly arp: GraphNode;
  readonly output: GraphNode;
  readonly neighbors: NeighborTable;
  private readonly stack: NetStack;
  private readonly repr = newArpRepr();
  private readonly reply = newArpRepr();
  private readonly group = new Uint8Array(6);

  constructor(stack: NetStack) {
    this.stack = stack;
    const { graph } = stack;
    this.neighbors = new NeighborTable({
      solicit: (neighbor) => this.solicit(neighbor),
      resolved: (packet, neighbor) => this.frame(packet, neighbor.mac),
      failed: (packet) => graph.drop(this.output, packet, 1),
    });
    const arrives = (frame: readonly Packet[], count: number): void => {
      for (let i = 0; i < count; i++) this.arrives(frame[i], graph);
    };
    this.input = graph.add('ethernet-input', ETHERNET_ERRORS, arrives, true);
    this.arp = graph.add('arp-input', ARP_ERRORS, (frame, count) => {
      for (let i = 0; i < count; i++) this.arpArrives(frame[i], graph);
    });
    this.output = graph.add('ethernet-output', OUTPUT_ERRORS, (frame, count) => {
      for (let i = 0; i < count; i++) this.resolve(frame[i], graph.nowUs);
    });
  }

  private arrives(packet: Packet, graph: Graph): void {
    const { u8 } = packet.pool;
    if (checkEthernet(packet.start, packet.end) !== ParseResult.ok) {
      graph.drop(this.input, packet, 1);
      return;
    }
    const { mac } = this.stack.interfaces[packet.device].device;
    if (!isGroupAddress(u8, packet.start) && (mac === null || !sameMac(u8, packet.start, mac))) {
      graph.drop(this.input, packet, 2);
      return;
    }
    const type = etherType(u8, packet.start);
    packet.start += ETHERNET_HEADER;
    if (type === EtherType.ipv4) graph.enqueue(this.stack.ipInput.input4, packet);
    else if (type === EtherType.ipv6) graph.enqueue(this.stack.ipInput.input6, packet);
    else if (type === EtherType.arp) graph.enqueue(this.arp, packet);
    else graph.drop(this.input, packet, 3);
  }

  private arpArrives(packet: Packet, graph: Graph): void {
    const { repr } = this;
    const { u8 } = packet.pool;
    const device = packet.device;
    if (parseArp(u8, packet.start, packet.end, repr) !== ParseResult.ok) {
      graph.drop(this.arp, packet, 1);
      return;
    }
    const own = this.stack.interfaces[device].addresses.some(({ address }) => address.isV4 && address.w0 === repr.targetIp);
    if (!own) {
      graph.drop(this.arp, packet, 2);
      return;
    }
    if (repr.senderIp !== 0) this.neighbors.learn(device, new Address(true, repr.senderIp), repr.senderMac, 0, own, graph.nowUs);
    if (repr.operation === ArpOperation.request) {
      const { mac } = this.stack.interfaces[device].device;
      const { reply } = this;
      reply.operation = ArpOperation.reply;
      reply.senderMac.set(mac!);
      reply.senderIp = repr.targetIp;
      reply.targetMac.set(repr.senderMac);
      reply.targetIp = repr.senderIp;
      this.sendArp(device, repr.senderMac);
    }
    graph.finish(packet);
  }

  private sendArp(device: number, destination: Uint8Array): void {
    const packet = this.stack.pool.alloc(ARP_LENGTH);
    if (packet === null) return;
    emitArp(packet.pool.u8, packet.start, this.reply);
    packet.end = packet.start + ARP_LENGTH;
    packet.device = device;
    this.header(packet, destination, EtherType.arp);
    this.stack.graph.enqueue(this.stack.ipOutput.interfaceOutput, packet);
  }

  private solicit(neighbor: Neighbor): void {
    const { address, device } = neighbor;
    const { mac } = this.stack.interfaces[device].device;
    const source = this.stack.addressOn(device, address.isV4);
    if (mac === null || source === null) return;
    if (!address.isV4) {
      this.stack.icmp.sendNeighborSolicitation(address, source, mac, device);
      return;
    }
    const { reply } = this;
    reply.operation = ArpOperation.request;
    reply.senderMac.set(mac);
    reply.senderIp = source.w0;
    reply.targetMac.fill(0);
    reply.targetIp = address.w0;
    this.sendArp(device, BROADCAST);
  }

  private resolve(packet: Packet, nowUs: number): void {
    const next = packet.context as IpAddress;
    if (next.isLimitedBroadcast) {
      this.frame(packet, BROADCAST);
      return;
    }
    if (next.isMulticast) {
      this.groupMac(next);
      this.frame(packet, this.group);
      return;
    }
    this.neighbors.send(packet, packet.device, next, nowUs);
  }

  /** RFC 1112 6.4 and RFC 2464 7. */
  private groupMac(address: IpAddress): void {
    const { group } = this;
    if (address.isV4) group.set([1, 0, 0x5e, (address.w0 >>> 16) & 0x7f, (address.w0 >>> 8) & 255, address.w0 & 255]);
    else group.set([0x33, 0x33, address.w3 >>> 24, (address.w3 >>> 16) & 255, (address.w3 >>> 8) & 255, address.w3 & 255]);
  }

  private frame(packet: Packet, destination: Uint8Array): void {
    this.header(packet, destination, packet.isV4 ? EtherType.ipv4 : EtherType.ipv6);
    this.stack.graph.enqueue(this.stack.ipOutput.interfaceOutput, packet);
  }

  private header(packet: Packet, destination: Uint8Array, type: number): void {
    packet.push(ETHERNET_HEADER);
    emitEthernet(packet.pool.u8, packet.start, destination, this.stack.interfaces[packet.device].device.mac!, type);
  }
}
