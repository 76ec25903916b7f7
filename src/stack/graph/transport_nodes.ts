/** Nodes of TCP by state of the connection (as VPP has them) and `udp-input`. */
import type { TcpConnection } from '../tcp/connection.ts';
import { TcpState } from '../tcp/state.ts';
import { get32, ParseResult } from '../wire/bytes.ts';
import { checksumOk, pseudoHeaderIpv4, pseudoHeaderIpv6, sumBytes } from '../wire/checksum.ts';
import { IpProtocol } from '../wire/ipv4.ts';
import { parseTcp } from '../wire/tcp.ts';
import { newUdpRepr, parseUdp } from '../wire/udp.ts';
import type { Graph, GraphNode } from './graph.ts';
import type { NetStack } from './net_stack.ts';
import { type Packet, PacketFlag } from './packet.ts';

const TCP_ERRORS = ['none', 'truncated', 'bad header length', 'bad checksum', 'not unicast'] as const;
const NOT_UNICAST = 4;
const TRUNCATED = 1;
const BAD_HEADER_LENGTH = 2;
const BAD_CHECKSUM = 3;
const UDP_ERRORS = ['none', 'truncated', 'bad length', 'bad checksum', 'no port'] as const;
const UDP_NO_PORT = 4;

export class TransportNodes {
  readonly tcpInput: GraphNode;
  readonly udpInput: GraphNode;
  private readonly tcpListen: GraphNode;
  private readonly tcpSynSent: GraphNode;
  private readonly tcpRcvProcess: GraphNode;
  private readonly tcpEstablished: GraphNode;
  private readonly stack: NetStack;
  private readonly udp = newUdpRepr();

  constructor(stack: NetStack) {
    this.stack = stack;
    const { graph } = stack;
    this.tcpInput = graph.add('tcp-input', TCP_ERRORS, (frame, count) => {
      for (let i = 0; i < count; i++) this.tcpArrives(frame[i], graph);
    });
    const process = (frame: readonly Packet[], count: number): void => {
      const { tcp } = stack;
      for (let i = 0; i < count; i++) {
        const packet = frame[i];
        tcp.input(packet, packet.context as TcpConnection | null, graph.nowUs);
        graph.finish(packet);
      }
    };
    this.tcpListen = graph.add('tcp-listen', [], process);
    this.tcpSynSent = graph.add('tcp-syn-sent', [], process);
    this.tcpRcvProcess = graph.add('tcp-rcv-process', [], process);
    this.tcpEstablished = graph.add('tcp-established', [], process);
    this.udpInput = graph.add('udp-input', UDP_ERRORS, (frame, count) => {
      for (let i = 0; i < count; i++) this.udpArrives(frame[i], graph);
    });
  }

  private tcpArrives(packet: Packet, graph: Graph): void {
    const { u8 } = packet.pool;
    const { tcp } = this.stack;
    const result = parseTcp(u8, packet.l4, packet.end, packet.tcp);
    if (result !== ParseResult.ok) {
      tcp.stats.inErrors++;
      graph.drop(this.tcpInput, packet, result === ParseResult.truncated ? TRUNCATED : BAD_HEADER_LENGTH);
      return;
    }
    if (!this.checksumGood(packet, IpProtocol.tcp, packet.end)) {
      tcp.stats.inChecksumErrors++;
      graph.drop(this.tcpInput, packet, BAD_CHECKSUM);
      return;
    }
    // RFC 9293 3.9.2.3: silently.
    if ((packet.flags & PacketFlag.group) !== 0) {
      graph.drop(this.tcpInput, packet, NOT_UNICAST);
      return;
    }
    const connection = tcp.lookup(packet, get32(u8, packet.l4));
    packet.context = connection;
    graph.enqueue(this.nodeFor(connection), packet);
  }

  private nodeFor(connection: TcpConnection | null): GraphNode {
    if (connection === null) return this.tcpListen;
    if (connection.state === TcpState.established) return this.tcpEstablished;
    return connection.state === TcpState.synSent ? this.tcpSynSent : this.tcpRcvProcess;
  }

  private checksumGood(packet: Packet, protocol: number, end: number): boolean {
    if ((packet.flags & PacketFlag.checksumTrusted) !== 0) return true;
    const { u8 } = packet.pool;
    const length = end - packet.l4;
    const pseudo = packet.isV4
      ? pseudoHeaderIpv4(u8, packet.l3, protocol, length)
      : pseudoHeaderIpv6(u8, packet.l3, protocol, length);
    return checksumOk(sumBytes(u8, packet.l4, end, pseudo));
  }

  private udpArrives(packet: Packet, graph: Graph): void {
    const { udp, stack } = this;
    const result = parseUdp(packet.pool.u8, packet.l4, packet.end, udp);
    if (result !== ParseResult.ok) {
      stack.udp.stats.inErrors++;
      graph.drop(this.udpInput, packet, result === ParseResult.truncated ? TRUNCATED : BAD_HEADER_LENGTH);
      return;
    }
    const good = udp.checksum === 0 ? packet.isV4 : this.checksumGood(packet, IpProtocol.udp, udp.end);
    if (!good) {
      stack.udp.stats.inErrors++;
      graph.drop(this.udpInput, packet, BAD_CHECKSUM);
      return;
    }
    if (stack.udp.input(packet, udp)) {
      graph.finish(packet);
      return;
    }
    stack.icmp.portUnreachable(packet);
    graph.drop(this.udpInput, packet, UDP_NO_PORT);
  }
}
