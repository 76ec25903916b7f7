/**
 * Offload in software, for devices that have none: cuts the large segments of TCP and UDP into packets of the link (as Linux's GSO does behind
 * the stack) and fills in checksums that the stack left to the device. The protocol work is so done once per 64 KB, not once per packet.
 *
 * Identification (IPv4), sequence number, lengths, flags and checksums change from segment to segment; everything else is the first's. FIN
 * and PSH are the last segment's, CWR the first's (RFC 3168 6.1.2).
 */
import { type Packet, PacketFlag } from '../graph/packet.ts';
import { get16, get32, put16, put32 } from '../wire/bytes.ts';
import { finishChecksum, fold, pseudoHeaderIpv4, pseudoHeaderIpv6, sumBytes } from '../wire/checksum.ts';
import { IPV4_HEADER, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { UDP_HEADER } from '../wire/udp.ts';

/** Computes the checksum of a packet whose field holds the pseudo-header's sum. */
export function completeChecksum(packet: Packet): void {
  const { u8 } = packet.pool;
  const sum = finishChecksum(sumBytes(u8, packet.l4, packet.end, 0));
  put16(u8, packet.l4 + packet.checksumOffset, sum === 0 && packet.protocol === IpProtocol.udp ? 0xffff : sum);
  packet.flags &= ~PacketFlag.checksumPartial;
}

/**
 * Cuts `packet` (ownership passes), a TCP segment or UDP datagrams, into packets of `gsoSize` payload bytes, each handed to `send`, which owns it. `partial`: checksums
 * are left to the device. Returns how many could not be sent for want of a buffer.
 */
export function segment(packet: Packet, partial: boolean, send: (segment: Packet) => void): number {
  const { pool, start, l3, l4, isV4, gsoSize, protocol } = packet;
  const { u8 } = pool;
  const isTcp = protocol !== IpProtocol.udp;
  const payload = l4 + (isTcp ? (u8[l4 + 12] >> 4) * 4 : UDP_HEADER);
  const header = payload - start;
  const lastFlags = u8[l4 + 13];
  const firstFlags = lastFlags & ~(TcpFlag.fin | TcpFlag.psh);
  const seq = get32(u8, l4 + 4);
  const id = get16(u8, l3 + 4);
  const ipSum = isV4 ? headerSum(u8, l3) : 0;
  const checksumOffset = isTcp ? 16 : 6;
  const upper = isTcp ? IpProtocol.tcp : IpProtocol.udp;
  const pseudo = isV4 ? pseudoHeaderIpv4(u8, l3, upper, 0) : pseudoHeaderIpv6(u8, l3, upper, 0);
  for (let at = payload, index = 0; at < packet.end; at += gsoSize, index++) {
    const bytes = Math.min(gsoSize, packet.end - at);
    const piece = pool.alloc(header + bytes);
    if (piece === null) {
      const lost = Math.ceil((packet.end - at) / gsoSize);
      packet.free();
      return lost;
    }
    const to = piece.start;
    u8.copyWithin(to, start, payload);
    u8.copyWithin(to + header, at, at + bytes);
    piece.end = to + header + bytes;
    piece.l3 = to + l3 - start;
    piece.l4 = to + l4 - start;
    piece.isV4 = isV4;
    piece.protocol = upper;
    piece.device = packet.device;
    piece.checksumOffset = checksumOffset;
    const length = piece.end - piece.l4;
    if (isV4) {
      const total = piece.end - piece.l3;
      const identification = (id + index) & 0xffff;
      put16(u8, piece.l3 + 2, total);
      put16(u8, piece.l3 + 4, identification);
      put16(u8, piece.l3 + 10, finishChecksum(ipSum + total + identification));
    } else put16(u8, piece.l3 + 4, piece.end - piece.l3 - IPV6_HEADER);
    if (isTcp) {
      put32(u8, piece.l4 + 4, seq + index * gsoSize);
      let flags = at + bytes < packet.end ? firstFlags : lastFlags;
      if (index > 0) flags &= ~TcpFlag.cwr;
      u8[piece.l4 + 13] = flags;
    } else put16(u8, piece.l4 + 4, length);
    put16(u8, piece.l4 + checksumOffset, fold(pseudo + length));
    if (partial) piece.flags = PacketFlag.checksumPartial;
    else completeChecksum(piece);
    send(piece);
  }
  packet.free();
  return 0;
}

/** What the IPv4 header sums to without length, identification and its own checksum (which adding the complement takes away). */
function headerSum(u8: Uint8Array, l3: number): number {
  return sumBytes(u8, l3, l3 + IPV4_HEADER, 3 * 0xffff - get16(u8, l3 + 2) - get16(u8, l3 + 4) - get16(u8, l3 + 10));
}
