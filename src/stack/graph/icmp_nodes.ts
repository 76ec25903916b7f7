/**
 * Nodes `icmp4-input` and `icmp6-input`: echo, errors for TCP and path MTU, neighbour discovery; and the errors that the stack itself
 * sends, limited per second (RFC 1122 3.2.2, RFC 4443 2.4).
 */
import { IpAddress, solicitedNode } from '../ip/address.ts';
import { get16, get32, ParseResult, put16, put32 } from '../wire/bytes.ts';
import {
  findNdLinkLayer,
  ICMP_HEADER,
  IcmpType,
  IcmpUnreachable,
  Icmpv6Type,
  NdOption,
  newIcmpRepr,
  parseIcmp,
  parseIcmpv6,
  quotedPorts,
} from '../wire/icmp.ts';
import { IPV4_HEADER, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import type { Graph, GraphNode } from './graph.ts';
import type { Interface, NetStack } from './net_stack.ts';
import { type Packet, PacketFlag } from './packet.ts';

const ICMP_ERRORS = [
  'none',
  'truncated',
  'bad checksum',
  'bad quote',
  'unhandled type',
  'bad neighbor discovery',
  'no buffer',
  'duplicate address',
] as const;
const TRUNCATED = 1;
const BAD_CHECKSUM = 2;
const BAD_QUOTE = 3;
const UNHANDLED = 4;
const BAD_ND = 5;
const NO_BUFFER = 6;
const DUPLICATE = 7;
const ERRORS_PER_SECOND = 1000;
const TIME_EXCEEDED_V4 = 11;
const TIME_EXCEEDED_V6 = 3;
const REASSEMBLY = 1;
const QUOTE_V4 = 548;
const QUOTE_V6 = 1232;
/** Unreachable protocol and port, and what is forbidden; the others may pass (RFC 1122 4.2.3.9, RFC 5461). */
const HARD_CODES: ReadonlySet<number> = new Set([IcmpUnreachable.protocol, IcmpUnreachable.port, 9, 10, 13]);
const knownUpper = (protocol: number): boolean => protocol === IpProtocol.tcp || protocol === IpProtocol.udp;
/** Neighbour advertisement flags: solicited, override. */
const NA_FLAGS = 0x6000_0000;
const ALL_NODES = new IpAddress(false, 0xff02_0000, 0, 0, 1);
const UNSPECIFIED = new IpAddress(false, 0, 0, 0, 0);

export class IcmpNodes {
  readonly input4: GraphNode;
  readonly input6: GraphNode;
  private readonly stack: NetStack;
  private readonly repr = newIcmpRepr();
  private windowUs = -1e12;
  private errorsLeft = 0;

  constructor(stack: NetStack) {
    this.stack = stack;
    this.input4 = stack.graph.add('icmp4-input', ICMP_ERRORS, (frame, count, graph) => {
      for (let i = 0; i < count; i++) this.arrives4(frame[i], graph);
    });
    this.input6 = stack.graph.add('icmp6-input', ICMP_ERRORS, (frame, count, graph) => {
      for (let i = 0; i < count; i++) this.arrives6(frame[i], graph);
    });
  }

  private arrives4(packet: Packet, graph: Graph): void {
    const { repr } = this;
    const trusted = (packet.flags & PacketFlag.checksumTrusted) !== 0;
    const result = parseIcmp(packet.pool.u8, packet.l4, packet.end, trusted, repr);
    if (result !== ParseResult.ok) {
      graph.drop(this.input4, packet, result === ParseResult.badChecksum ? BAD_CHECKSUM : TRUNCATED);
      return;
    }
    if (repr.type === IcmpType.echoRequest) this.echo(packet, graph, IcmpType.echoReply);
    else if (repr.type === IcmpType.unreachable) {
      const tooBig = repr.code === IcmpUnreachable.fragmentationNeeded;
      this.error4(packet, graph, tooBig ? repr.rest & 0xffff : 0, tooBig, HARD_CODES.has(repr.code));
    } else graph.drop(this.input4, packet, UNHANDLED);
  }

  private arrives6(packet: Packet, graph: Graph): void {
    const { repr } = this;
    const trusted = (packet.flags & PacketFlag.checksumTrusted) !== 0;
    const result = parseIcmpv6(packet.pool.u8, packet.l3, packet.l4, packet.end, trusted, repr);
    if (result !== ParseResult.ok) {
      graph.drop(this.input6, packet, result === ParseResult.badChecksum ? BAD_CHECKSUM : TRUNCATED);
      return;
    }
    switch (repr.type) {
      case Icmpv6Type.echoRequest:
        this.echo(packet, graph, Icmpv6Type.echoReply);
        return;
      case Icmpv6Type.packetTooBig:
        this.error6(packet, graph, repr.rest >>> 0, true, false);
        return;
      case Icmpv6Type.unreachable:
        this.error6(packet, graph, 0, false, repr.code === 4);
        return;
      case Icmpv6Type.neighborSolicitation:
      case Icmpv6Type.neighborAdvertisement:
        this.neighborDiscovery(packet, graph);
        return;
      default:
        graph.drop(this.input6, packet, UNHANDLED);
    }
  }

  /** Answers in the request's own memory. */
  private echo(packet: Packet, graph: Graph, type: number): void {
    const { u8 } = packet.pool;
    const { isV4, l3, l4 } = packet;
    const remote = IpAddress.read(u8, l3 + (isV4 ? 12 : 8), isV4);
    const asked = IpAddress.read(u8, l3 + (isV4 ? 16 : 24), isV4);
    const node = isV4 ? this.input4 : this.input6;
    const own = this.stack.interfaces.some(
      ({ addresses, table }) => table.index === packet.fib && addresses.some(({ address }) => address.equals(asked)),
    );
    // Broadcast and multicast pings are not answered (RFC 1122 3.2.2.6 leaves it open; amplification decides).
    if (!own || remote.isUnspecified || remote.isMulticast) {
      graph.drop(node, packet, UNHANDLED);
      return;
    }
    u8[l4] = type;
    u8[l4 + 1] = 0;
    put16(u8, l4 + 2, 0);
    packet.start = l4;
    packet.flags = 0;
    packet.checksumOffset = 2;
    const answer = this.withHeadroom(packet);
    if (answer === null) {
      graph.drop(node, packet, NO_BUFFER);
      return;
    }
    this.stack.ipOutput.send(answer, asked, remote, isV4 ? IpProtocol.icmp : IpProtocol.icmpv6, 0, false);
  }

  private withHeadroom(packet: Packet): Packet | null {
    if (packet.start - packet.base >= 64) return packet;
    const copy = this.stack.pool.alloc(packet.length);
    if (copy === null) return null;
    copy.pool.u8.copyWithin(copy.start, packet.start, packet.end);
    copy.end = copy.start + packet.length;
    copy.fib = packet.fib;
    copy.checksumOffset = packet.checksumOffset;
    packet.free();
    return copy;
  }

  // --- errors about our packets

  private error4(packet: Packet, graph: Graph, mtu: number, tooBig: boolean, hard: boolean): void {
    const { u8 } = packet.pool;
    const quote = this.repr.body;
    const headerLength = (u8[quote] & 15) * 4;
    const ok = quote + IPV4_HEADER <= packet.end && u8[quote] >> 4 === 4 && headerLength >= IPV4_HEADER;
    if (!ok || quote + headerLength + 8 > packet.end || !knownUpper(u8[quote + 9])) {
      graph.drop(this.input4, packet, BAD_QUOTE);
      return;
    }
    this.deliverError(packet, quote, quote + headerLength, true, mtu, tooBig, hard);
    graph.finish(packet);
  }

  private error6(packet: Packet, graph: Graph, mtu: number, tooBig: boolean, hard: boolean): void {
    const { u8 } = packet.pool;
    const quote = this.repr.body;
    const ok = quote + IPV6_HEADER + 8 <= packet.end && u8[quote] >> 4 === 6 && knownUpper(u8[quote + 6]);
    if (!ok) {
      graph.drop(this.input6, packet, BAD_QUOTE);
      return;
    }
    this.deliverError(packet, quote, quote + IPV6_HEADER, false, mtu, tooBig, hard);
    graph.finish(packet);
  }

  /** The quoted packet is ours: its source is our end. */
  private deliverError(packet: Packet, l3: number, l4: number, isV4: boolean, mtu: number, tooBig: boolean, hard: boolean): void {
    const { u8 } = packet.pool;
    const { tcp, udp } = this.stack;
    if (quotedPorts(u8, l4, packet.end) < 0) return;
    const ports = (get16(u8, l4 + 2) << 16) | get16(u8, l4);
    const source = l3 + (isV4 ? 16 : 24);
    const destination = l3 + (isV4 ? 12 : 8);
    if (u8[l3 + (isV4 ? 9 : 6)] === IpProtocol.udp) {
      if (!tooBig) udp.onUnreachable(u8, isV4, destination, source, get32(u8, l4), packet.fib);
      return;
    }
    const connection = tcp.connections.lookupPacket(u8, isV4, source, destination, ports, packet.fib);
    if (connection === null) return;
    const seq = get32(u8, l4 + 4);
    const now = this.stack.nowUs;
    if (!tooBig) {
      tcp.onUnreachable(connection, seq, hard, now);
      return;
    }
    // Routers older than RFC 1191 say 0: half of what was sent is the next guess.
    const sentLength = isV4 ? get16(u8, l3 + 2) : get16(u8, l3 + 4) + IPV6_HEADER;
    const believed = tcp.onPathMtu(connection, mtu === 0 ? sentLength >> 1 : mtu, seq, now);
    if (believed > 0) this.stack.notePathMtu(connection.remote, believed, connection.fib);
  }

  // --- neighbour discovery

  private neighborDiscovery(packet: Packet, graph: Graph): void {
    const error = this.discovered(packet, graph.nowUs);
    if (error === 0) graph.finish(packet);
    else graph.drop(this.input6, packet, error);
  }

  /** 0, or why it is dropped. */
  private discovered(packet: Packet, nowUs: number): number {
    const { u8 } = packet.pool;
    const { l3, l4, end, device } = packet;
    if (u8[l3 + 7] !== 255 || this.repr.code !== 0 || end - l4 < 24) return BAD_ND;
    const own = this.stack.interfaces[device];
    const target = IpAddress.read(u8, l4 + 8, false);
    if (target.isMulticast || own.device.mac === null) return BAD_ND;
    const source = IpAddress.read(u8, l3 + 8, false);
    const isOurs = own.addresses.some(({ address }) => address.equals(target));
    if (this.repr.type === Icmpv6Type.neighborAdvertisement) {
      const at = findNdLinkLayer(u8, l4 + 24, end, NdOption.targetLinkLayer);
      if (at === -2) return BAD_ND;
      if (isOurs) return this.claimed(own, target);
      if (at >= 0) this.stack.ethernet.neighbors.learn(device, target, u8, at, false, nowUs);
      return 0;
    }
    const at = findNdLinkLayer(u8, l4 + 24, end, NdOption.sourceLinkLayer);
    if (at === -2) return BAD_ND;
    if (!isOurs) return 0;
    // Another host asks whether it may have it: both of us ask, and none gets it; or it is ours.
    if (source.isUnspecified && this.stack.duplicateAddresses.claimed(device, target)) return this.withdrawn(own, target);
    if (!source.isUnspecified && at >= 0) this.stack.ethernet.neighbors.learn(device, source, u8, at, true, nowUs);
    const to = source.isUnspecified ? ALL_NODES : source;
    const flags = source.isUnspecified ? 0x2000_0000 : NA_FLAGS;
    this.sendNd(Icmpv6Type.neighborAdvertisement, flags, target, NdOption.targetLinkLayer, own.device.mac, target, to, device);
    return 0;
  }

  /** Another host says that it has an address of ours. */
  private claimed(own: Interface, address: IpAddress): number {
    if (this.stack.duplicateAddresses.claimed(own.index, address)) return this.withdrawn(own, address);
    return DUPLICATE;
  }

  private withdrawn(own: Interface, address: IpAddress): number {
    this.stack.withdrawAddress(own, address);
    return DUPLICATE;
  }

  /** RFC 4862 5.4.2: from nobody, so without a link-layer address. */
  sendAddressProbe(target: IpAddress, device: number): void {
    this.sendNd(Icmpv6Type.neighborSolicitation, 0, target, 0, null, UNSPECIFIED, solicitedNode(target), device);
  }

  sendNeighborSolicitation(target: IpAddress, source: IpAddress, mac: Uint8Array, device: number): void {
    this.sendNd(Icmpv6Type.neighborSolicitation, 0, target, NdOption.sourceLinkLayer, mac, source, solicitedNode(target), device);
  }

  private sendNd(
    type: number,
    flags: number,
    target: IpAddress,
    option: number,
    mac: Uint8Array | null,
    local: IpAddress,
    remote: IpAddress,
    device: number,
  ): void {
    const packet = this.stack.pool.alloc(32);
    if (packet === null) return;
    const { u8 } = packet.pool;
    const at = packet.start;
    put32(u8, at, type << 24);
    put32(u8, at + 4, flags);
    target.write(u8, at + 8);
    packet.end = at + 24;
    if (mac !== null) {
      u8[at + 24] = option;
      u8[at + 25] = 1;
      u8.set(mac, at + 26);
      packet.end = at + 32;
    }
    packet.checksumOffset = 2;
    this.stack.ipOutput.send(packet, local, remote, IpProtocol.icmpv6, 0, false, 255, device);
  }

  // --- errors that we send

  portUnreachable(packet: Packet): void {
    this.sendError(
      packet,
      packet.isV4 ? IcmpType.unreachable : Icmpv6Type.unreachable,
      packet.isV4 ? IcmpUnreachable.port : 4,
      0,
    );
  }

  protocolUnreachable(packet: Packet): void {
    // For IPv6 it is a parameter problem that points at the next-header field (RFC 8200 4).
    if (packet.isV4) this.sendError(packet, IcmpType.unreachable, IcmpUnreachable.protocol, 0);
    else this.sendError(packet, Icmpv6Type.parameterProblem, 1, 6);
  }

  /** Fragments of a packet did not all come in time (RFC 792, RFC 4443 3.3); quotes the first. */
  reassemblyTimeExceeded(isV4: boolean, fib: number, head: Uint8Array, payload: Uint8Array): void {
    const remote = IpAddress.read(head, isV4 ? 12 : 8, isV4);
    const local = IpAddress.read(head, isV4 ? 16 : 24, isV4);
    if (!this.stack.isUnicast(remote, fib) || local.isMulticast || local.isLimitedBroadcast || !this.mayError()) return;
    const quoted = Math.min(payload.length, (isV4 ? QUOTE_V4 : QUOTE_V6) - head.length);
    const packet = this.stack.pool.alloc(ICMP_HEADER + head.length + quoted);
    if (packet === null) return;
    const { u8 } = packet.pool;
    put32(u8, packet.start, ((isV4 ? TIME_EXCEEDED_V4 : TIME_EXCEEDED_V6) << 24) | (REASSEMBLY << 16));
    put32(u8, packet.start + 4, 0);
    u8.set(head, packet.start + ICMP_HEADER);
    u8.set(payload.subarray(0, quoted), packet.start + ICMP_HEADER + head.length);
    packet.end = packet.start + ICMP_HEADER + head.length + quoted;
    packet.checksumOffset = 2;
    packet.fib = fib;
    this.stack.ipOutput.send(packet, local, remote, isV4 ? IpProtocol.icmp : IpProtocol.icmpv6, 0, false);
  }

  private sendError(about: Packet, type: number, code: number, rest: number): void {
    const { u8 } = about.pool;
    const { isV4, l3 } = about;
    const remote = IpAddress.read(u8, l3 + (isV4 ? 12 : 8), isV4);
    const local = IpAddress.read(u8, l3 + (isV4 ? 16 : 24), isV4);
    const unicast = !remote.isMulticast && !remote.isUnspecified && !local.isMulticast && !local.isLimitedBroadcast;
    if (!unicast || !this.mayError()) return;
    const quoted = Math.min(about.end - l3, isV4 ? QUOTE_V4 : QUOTE_V6);
    const packet = this.stack.pool.alloc(ICMP_HEADER + quoted);
    if (packet === null) return;
    put32(u8, packet.start, (type << 24) | (code << 16));
    put32(u8, packet.start + 4, rest);
    u8.copyWithin(packet.start + ICMP_HEADER, l3, l3 + quoted);
    packet.end = packet.start + ICMP_HEADER + quoted;
    packet.checksumOffset = 2;
    packet.fib = about.fib;
    this.stack.ipOutput.send(packet, local, remote, isV4 ? IpProtocol.icmp : IpProtocol.icmpv6, 0, false);
  }

  private mayError(): boolean {
    const { nowUs } = this.stack;
    if (nowUs - this.windowUs >= 1_000_000) {
      this.windowUs = nowUs;
      this.errorsLeft = ERRORS_PER_SECOND;
    }
    return this.errorsLeft-- > 0;
  }
}
