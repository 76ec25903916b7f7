/**
 * The virtio-net header (virtio 1.2, 5.1.6.1; <linux/virtio_net.h>) in front of a packet: which checksum is still to be computed, and how a
 * large segment is to be cut or was merged. In machine order, which is little-endian on every machine this runs on.
 */
import { VNET_HEADER_BYTES } from '../../core/sys/tuntap.ts';
import { type Packet, PacketFlag } from '../graph/packet.ts';
import { IpProtocol } from '../wire/ipv4.ts';
import { UDP_HEADER } from '../wire/udp.ts';

const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_UDP_L4 = 5;
const GSO_ECN = 0x80;

/** Puts the header in front of the packet, which then starts with it; where. */
export function writeVnetHeader(packet: Packet): number {
  const { u8 } = packet.pool;
  const at = packet.push(VNET_HEADER_BYTES);
  for (let i = 0; i < VNET_HEADER_BYTES; i++) u8[at + i] = 0;
  if ((packet.flags & PacketFlag.checksumPartial) === 0) return at;
  const start = packet.l4 - at - VNET_HEADER_BYTES;
  u8[at] = NEEDS_CSUM;
  put16le(u8, at + 6, start);
  put16le(u8, at + 8, packet.checksumOffset);
  if (packet.gsoSize === 0) return at;
  const isUdp = packet.protocol === IpProtocol.udp;
  u8[at + 1] = isUdp ? GSO_UDP_L4 : packet.isV4 ? GSO_TCPV4 : GSO_TCPV6;
  put16le(u8, at + 2, start + (isUdp ? UDP_HEADER : (u8[packet.l4 + 12] >> 4) * 4));
  put16le(u8, at + 4, packet.gsoSize);
  return at;
}

/** Notes in the packet what the header in front of it says. */
export function readVnetHeader(packet: Packet): void {
  const { u8 } = packet.pool;
  const at = packet.start - VNET_HEADER_BYTES;
  packet.flags = (u8[at] & (NEEDS_CSUM | DATA_VALID)) !== 0 ? PacketFlag.checksumTrusted : 0;
  const gso = u8[at + 1] & ~GSO_ECN;
  packet.gsoSize = gso === GSO_TCPV4 || gso === GSO_TCPV6 || gso === GSO_UDP_L4 ? u8[at + 4] | (u8[at + 5] << 8) : 0;
}

function put16le(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
}
