/** Nodes `ip4-input` and `ip6-input`: checks, local or not, reassembly, and the choice of the upper layer. Nothing is forwarded. */
import { DEFAULT_REASSEMBLY, FragmentResult, FragmentTable, type Reassembled } from '../ip/reassembly.ts';
import { get32, ParseResult, put16 } from '../wire/bytes.ts';
import { IPV4_HEADER, IpProtocol, newIpv4Repr, parseIpv4 } from '../wire/ipv4.ts';
import { IPV6_HEADER, newIpv6Repr, parseIpv6 } from '../wire/ipv6.ts';
import type { Graph, GraphNode } from './graph.ts';
import type { NetStack } from './net_stack.ts';
import { type Packet, PacketFlag } from './packet.ts';

const IP_ERRORS = [
  'none',
  'truncated',
  'bad version',
  'bad header length',
  'bad total length',
  'bad checksum',
  'bad option',
  'bad field',
  'not local',
  'bad source address',
  'unknown protocol',
  'fragment overlap',
  'reassembly limit',
  'no buffer',
] as const;
const NOT_LOCAL = 8;
const BAD_SOURCE = 9;
const UNKNOWN_PROTOCOL = 10;
const FRAGMENT_OVERLAP = 11;
const REASSEMBLY_LIMIT = 12;
const NO_BUFFER = 13;

const v4 = newIpv4Repr();
const v6 = newIpv6Repr();

export class IpInputNodes {
  readonly input4: GraphNode;
  readonly input6: GraphNode;
  readonly fragments = new FragmentTable(DEFAULT_REASSEMBLY);
  private readonly stack: NetStack;
  private readonly out: { packet: Reassembled | null } = { packet: null };

  constructor(stack: NetStack) {
    this.stack = stack;
    this.fragments.onExpired = (key, head, payload) => {
      const [family, fib] = key.split('/', 2);
      stack.icmp.reassemblyTimeExceeded(family === '4', Number(fib), head, payload);
    };
    this.input4 = stack.graph.add('ip4-input', IP_ERRORS, (frame, count, graph) => {
      for (let i = 0; i < count; i++) this.arrives4(frame[i], graph);
    });
    this.input6 = stack.graph.add('ip6-input', IP_ERRORS, (frame, count, graph) => {
      for (let i = 0; i < count; i++) this.arrives6(frame[i], graph);
    });
  }

  /** The node for a packet without link-layer header. */
  byVersion(packet: Packet): GraphNode {
    return packet.length > 0 && packet.pool.u8[packet.start] >> 4 === 6 ? this.input6 : this.input4;
  }

  private arrives4(packet: Packet, graph: Graph): void {
    const { u8 } = packet.pool;
    const trusted = (packet.flags & PacketFlag.checksumTrusted) !== 0;
    const result = parseIpv4(u8, packet.start, packet.end, trusted, v4);
    if (result !== ParseResult.ok) {
      graph.drop(this.input4, packet, result);
      return;
    }
    const multicast = v4.source >>> 28 >= 14;
    if (multicast || v4.source >>> 24 === 127) {
      graph.drop(this.input4, packet, BAD_SOURCE);
      return;
    }
    const entry = v4.destination === -1 ? null : this.stack.tables.get(packet.fib)?.v4.lookupWords(v4.destination, 0, 0, 0, 32);
    if (v4.destination !== -1 && entry?.kind !== 'receive') {
      graph.drop(this.input4, packet, NOT_LOCAL);
      return;
    }
    if (entry?.source?.w0 !== v4.destination) packet.flags |= PacketFlag.group;
    packet.isV4 = true;
    packet.l3 = packet.start;
    packet.l4 = packet.start + v4.headerLength;
    packet.end = packet.start + v4.totalLength;
    packet.protocol = v4.protocol;
    if (v4.moreFragments || v4.fragmentOffset !== 0) {
      this.reassemble4(packet, graph);
      return;
    }
    this.toUpper(packet, this.input4, graph);
  }

  private arrives6(packet: Packet, graph: Graph): void {
    const { u8 } = packet.pool;
    const result = parseIpv6(u8, packet.start, packet.end, v6);
    if (result !== ParseResult.ok) {
      graph.drop(this.input6, packet, result);
      return;
    }
    const at = packet.start;
    if (u8[at + 8] === 0xff) {
      graph.drop(this.input6, packet, BAD_SOURCE);
      return;
    }
    // ff02::1, all nodes, is local on every link.
    const allNodes =
      get32(u8, at + 24) === (0xff02_0000 | 0) &&
      get32(u8, at + 28) === 0 &&
      get32(u8, at + 32) === 0 &&
      get32(u8, at + 36) === 1;
    const entry = this.stack.tables
      .get(packet.fib)
      ?.v6.lookupWords(get32(u8, at + 24), get32(u8, at + 28), get32(u8, at + 32), get32(u8, at + 36), 128);
    if (!allNodes && entry?.kind !== 'receive') {
      graph.drop(this.input6, packet, NOT_LOCAL);
      return;
    }
    if (u8[at + 24] === 0xff) packet.flags |= PacketFlag.group;
    packet.isV4 = false;
    packet.l3 = at;
    packet.l4 = v6.upper;
    packet.end = v6.end;
    packet.protocol = v6.protocol;
    if (v6.fragmentHeader >= 0 && (v6.moreFragments || v6.fragmentOffset !== 0)) {
      this.reassemble6(packet, graph);
      return;
    }
    this.toUpper(packet, this.input6, graph);
  }

  private toUpper(packet: Packet, node: GraphNode, graph: Graph): void {
    const { icmp, transport } = this.stack;
    switch (packet.protocol) {
      case IpProtocol.tcp:
        graph.enqueue(transport.tcpInput, packet);
        return;
      case IpProtocol.udp:
        graph.enqueue(transport.udpInput, packet);
        return;
      case IpProtocol.icmp:
        if (packet.isV4) {
          graph.enqueue(icmp.input4, packet);
          return;
        }
        break;
      case IpProtocol.icmpv6:
        if (!packet.isV4) {
          graph.enqueue(icmp.input6, packet);
          return;
        }
    }
    icmp.protocolUnreachable(packet);
    graph.drop(node, packet, UNKNOWN_PROTOCOL);
  }

  private reassemble4(packet: Packet, graph: Graph): void {
    const { u8 } = packet.pool;
    const key = `4/${packet.fib}/${v4.source}/${v4.destination}/${v4.protocol}/${v4.identification}`;
    const payload = u8.subarray(packet.l4, packet.end);
    const head = u8.subarray(packet.l3, packet.l3 + IPV4_HEADER);
    this.take(packet, this.input4, graph, key, v4.fragmentOffset, v4.moreFragments, payload, head);
  }

  private reassemble6(packet: Packet, graph: Graph): void {
    const { u8 } = packet.pool;
    const addresses = Buffer.from(u8.subarray(packet.l3 + 8, packet.l3 + 40)).toString('latin1');
    const key = `6/${packet.fib}/${addresses}/${v6.identification}`;
    const payload = u8.subarray(v6.fragmentHeader + 8, packet.end);
    const head = u8.slice(packet.l3, packet.l3 + IPV6_HEADER);
    // Extension headers in front of the fragment header have been acted on; the packet goes on as if there had been none.
    head[6] = u8[v6.fragmentHeader];
    this.take(packet, this.input6, graph, key, v6.fragmentOffset, v6.moreFragments, payload, head);
  }

  private take(
    packet: Packet,
    node: GraphNode,
    graph: Graph,
    key: string,
    offset: number,
    more: boolean,
    payload: Uint8Array,
    head: Uint8Array,
  ): void {
    const result = this.fragments.add(key, offset, more, payload, head, graph.nowUs, this.out);
    if (result === FragmentResult.stored) {
      graph.finish(packet);
      return;
    }
    if (result !== FragmentResult.complete) {
      graph.drop(node, packet, result === FragmentResult.overlap ? FRAGMENT_OVERLAP : REASSEMBLY_LIMIT);
      return;
    }
    const whole = this.out.packet!;
    this.out.packet = null;
    const { device, fib, isV4 } = packet;
    const joined = this.stack.pool.alloc(whole.head.length + whole.payload.length);
    // The length field of IPv6 does not count its header.
    const counted = whole.payload.length + (isV4 ? whole.head.length : 0);
    if (joined === null || counted > 65_535) {
      if (joined !== null) joined.free();
      graph.drop(node, packet, NO_BUFFER);
      return;
    }
    const { u8 } = joined.pool;
    u8.set(whole.head, joined.start);
    u8.set(whole.payload, joined.start + whole.head.length);
    joined.end = joined.start + whole.head.length + whole.payload.length;
    joined.device = device;
    joined.fib = fib;
    if (isV4) {
      u8[joined.start] = 0x45;
      put16(u8, joined.start + 2, joined.length);
      put16(u8, joined.start + 6, 0);
      joined.isV4 = true;
      joined.l3 = joined.start;
      joined.l4 = joined.start + IPV4_HEADER;
      joined.protocol = u8[joined.start + 9];
      graph.finish(packet);
      this.toUpper(joined, node, graph);
      return;
    }
    put16(u8, joined.start + 4, whole.payload.length);
    graph.finish(packet);
    graph.enqueue(this.input6, joined);
  }
}
