/**
 * Merges received TCP segments that follow each other into one packet before the graph sees them (as Linux's GRO does), and drops pure
 * acknowledgments that a later one of the same batch supersedes. The protocol work is so done once per run, not once per packet.
 *
 * Merged are segments of one connection whose headers differ in nothing but sequence number, length, PSH and IPv4 identification; their
 * checksums are verified first. What cannot be merged passes unchanged, and the order within a connection is kept.
 */
import { type Packet, PacketFlag, type PacketPool } from '../graph/packet.ts';
import { get16, get32, put16 } from '../wire/bytes.ts';
import { checksumOk, pseudoHeaderIpv4, pseudoHeaderIpv6, sumBytes } from '../wire/checksum.ts';
import { IPV4_HEADER, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import { TCP_HEADER, TcpFlag } from '../wire/tcp.ts';

/** Connections of one batch whose segments are merged at a time. */
const FLOWS = 8;
const MAX_IP_BYTES = 65_535;
/** NOP NOP TIMESTAMPS 10. */
const TIMESTAMPS_ALONE = 0x0101080a;
const TIMESTAMPS_HEADER = 32;

/** The last packet of a connection, to which the next may be appended. */
class Flow {
  packet: Packet | null = null;
  /** Where it is in `out`. */
  place = 0;
  l4 = 0;
  /** Sequence number that the next segment must have. */
  next = 0;
  /** A shorter segment, or one with PSH, was the last of its run. */
  ended = false;
}

export class Coalescer {
  /** Packets that were appended to another, and acknowledgments superseded. */
  merged = 0;
  superseded = 0;
  private readonly flows = Array.from({ length: FLOWS }, () => new Flow());
  private used = 0;
  private oldest = 0;
  private readonly linkHeader: number;

  /** `linkHeader`: bytes in front of the IP header. */
  constructor(linkHeader: number) {
    this.linkHeader = linkHeader;
  }

  /** Ends the batch: what comes now is merged with nothing that came before. */
  flush(): void {
    for (let i = 0; i < this.used; i++) this.flows[i].packet = null;
    this.used = 0;
    this.oldest = 0;
  }

  /** Appends `packet` to the last of its connection in `out`, or to `out`. */
  add(packet: Packet, pool: PacketPool, out: Packet[]): void {
    const l3 = packet.start + this.linkHeader;
    const l4 = this.transport(packet, l3);
    if (l4 < 0) {
      out.push(packet);
      return;
    }
    const { u8 } = pool;
    const flow = this.find(u8, l3, l4);
    if (flow !== null && this.join(flow, packet, pool, l3, l4, out)) return;
    out.push(packet);
    this.remember(flow, packet, l4, out.length - 1);
  }

  /** Where the TCP header is, or -1 when the packet is not a plain, verified TCP segment. */
  private transport(packet: Packet, l3: number): number {
    const { u8 } = packet.pool;
    const { end } = packet;
    if (packet.gsoSize !== 0 || end - l3 < IPV4_HEADER + TCP_HEADER) return -1;
    const trusted = (packet.flags & PacketFlag.checksumTrusted) !== 0;
    let l4: number;
    let pseudo: number;
    if (u8[l3] === 0x45) {
      if (u8[l3 + 9] !== IpProtocol.tcp || (get16(u8, l3 + 6) & 0x3fff) !== 0) return -1;
      // The link may have padded a small frame.
      const total = get16(u8, l3 + 2);
      if (total < IPV4_HEADER + TCP_HEADER || total > end - l3) return -1;
      packet.end = l3 + total;
      l4 = l3 + IPV4_HEADER;
      if (!checksumOk(sumBytes(u8, l3, l4, 0))) return -1;
      pseudo = trusted ? 0 : pseudoHeaderIpv4(u8, l3, IpProtocol.tcp, packet.end - l4);
    } else if (u8[l3] >> 4 === 6) {
      const length = get16(u8, l3 + 4);
      if (u8[l3 + 6] !== IpProtocol.tcp || length < TCP_HEADER || length > end - l3 - IPV6_HEADER) return -1;
      l4 = l3 + IPV6_HEADER;
      packet.end = l4 + length;
      pseudo = trusted ? 0 : pseudoHeaderIpv6(u8, l3, IpProtocol.tcp, length);
    } else return -1;
    const headerLength = (u8[l4 + 12] >> 4) * 4;
    if (headerLength < TCP_HEADER || l4 + headerLength > packet.end) return -1;
    if (!trusted) {
      if (!checksumOk(sumBytes(u8, l4, packet.end, pseudo))) return -1;
      packet.flags |= PacketFlag.checksumTrusted;
    }
    return l4;
  }

  private find(u8: Uint8Array, l3: number, l4: number): Flow | null {
    const ports = get32(u8, l4);
    const v4 = u8[l3] === 0x45;
    for (let i = 0; i < this.used; i++) {
      const flow = this.flows[i];
      if (get32(u8, flow.l4) !== ports) continue;
      if (sameAddresses(u8, flow.packet!.start + this.linkHeader, l3, v4)) return flow;
    }
    return null;
  }

  private remember(known: Flow | null, packet: Packet, l4: number, place: number): void {
    let flow = known;
    if (flow === null) {
      if (this.used < FLOWS) flow = this.flows[this.used++];
      else {
        flow = this.flows[this.oldest];
        this.oldest = (this.oldest + 1) % FLOWS;
      }
    }
    const { u8 } = packet.pool;
    const bytes = packet.end - l4 - (u8[l4 + 12] >> 4) * 4;
    flow.packet = packet;
    flow.place = place;
    flow.l4 = l4;
    flow.next = (get32(u8, l4 + 4) + bytes) | 0;
    flow.ended = bytes === 0 || u8[l4 + 13] !== TcpFlag.ack;
  }

  private join(flow: Flow, packet: Packet, pool: PacketPool, l3: number, l4: number, out: Packet[]): boolean {
    const { u8 } = pool;
    const target = flow.packet!;
    const before = flow.l4;
    const flags = u8[l4 + 13];
    const headerLength = (u8[l4 + 12] >> 4) * 4;
    const bytes = packet.end - l4 - headerLength;
    if (u8[before + 12] !== u8[l4 + 12] || get32(u8, l4 + 4) !== flow.next) return false;
    if (bytes === 0) return this.supersede(flow, packet, pool, l4, headerLength, out);
    if (flow.ended || (flags & ~TcpFlag.psh) !== TcpFlag.ack) return false;
    // Acknowledgment, window and options as before; the same IP header but for length, identification and checksum.
    if (get32(u8, before + 8) !== get32(u8, l4 + 8) || get16(u8, before + 14) !== get16(u8, l4 + 14)) return false;
    for (let i = TCP_HEADER; i < headerLength; i += 4) if (get32(u8, before + i) !== get32(u8, l4 + i)) return false;
    const to3 = target.start + this.linkHeader;
    if (u8[to3] === 0x45) {
      if (u8[to3 + 1] !== u8[l3 + 1] || get16(u8, to3 + 6) !== get16(u8, l3 + 6) || u8[to3 + 8] !== u8[l3 + 8]) return false;
    } else if (get32(u8, to3) !== get32(u8, l3) || u8[to3 + 7] !== u8[l3 + 7]) return false;
    const segmentBytes = target.gsoSize !== 0 ? target.gsoSize : target.end - before - headerLength;
    if (bytes > segmentBytes || target.end - to3 + bytes > MAX_IP_BYTES) return false;
    const into = target.gsoSize !== 0 ? target : this.enlarge(flow, target, pool, out);
    if (into === null) return false;
    u8.copyWithin(into.end, packet.end - bytes, packet.end);
    into.end += bytes;
    into.gsoSize = segmentBytes;
    const ip = into.start + this.linkHeader;
    if (u8[ip] === 0x45) put16(u8, ip + 2, into.end - ip);
    else put16(u8, ip + 4, into.end - ip - IPV6_HEADER);
    u8[flow.l4 + 13] = flags;
    flow.next = (flow.next + bytes) | 0;
    flow.ended = bytes < segmentBytes || flags !== TcpFlag.ack;
    packet.free();
    this.merged++;
    return true;
  }

  /** A later pure acknowledgment takes the place of an earlier one; a repeated one is a signal and stays (RFC 5681). */
  private supersede(flow: Flow, packet: Packet, pool: PacketPool, l4: number, headerLength: number, out: Packet[]): boolean {
    const { u8 } = pool;
    const target = flow.packet!;
    const before = flow.l4;
    if (target.end - before !== headerLength || u8[l4 + 13] !== TcpFlag.ack || u8[before + 13] !== TcpFlag.ack) return false;
    const plain = headerLength === TCP_HEADER || (headerLength === TIMESTAMPS_HEADER && timestampsOnly(u8, l4, before));
    if (!plain || ((get32(u8, l4 + 8) - get32(u8, before + 8)) | 0) <= 0) return false;
    out[flow.place] = packet;
    flow.packet = packet;
    flow.l4 = l4;
    target.free();
    this.superseded++;
    return true;
  }

  /** Moves the first packet of a run to where the others fit behind it. */
  private enlarge(flow: Flow, packet: Packet, pool: PacketPool, out: Packet[]): Packet | null {
    const large = pool.alloc(this.linkHeader + MAX_IP_BYTES);
    if (large === null) return null;
    pool.u8.copyWithin(large.start, packet.start, packet.end);
    large.end = large.start + packet.length;
    large.flags = packet.flags;
    flow.l4 = large.start + flow.l4 - packet.start;
    flow.packet = large;
    out[flow.place] = large;
    packet.free();
    return large;
  }
}

function timestampsOnly(u8: Uint8Array, a: number, b: number): boolean {
  return get32(u8, a + TCP_HEADER) === TIMESTAMPS_ALONE && get32(u8, b + TCP_HEADER) === TIMESTAMPS_ALONE;
}

function sameAddresses(u8: Uint8Array, a: number, b: number, v4: boolean): boolean {
  if (v4) return u8[a] === 0x45 && get32(u8, a + 12) === get32(u8, b + 12) && get32(u8, a + 16) === get32(u8, b + 16);
  if (u8[a] >> 4 !== 6) return false;
  for (let i = 8; i < 40; i += 4) if (get32(u8, a + i) !== get32(u8, b + i)) return false;
  return true;
}
