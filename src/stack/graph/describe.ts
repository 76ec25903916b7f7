/** A packet in one line, as packet traces show it: addresses, protocol, and what matters of its header. Reads at most what is there. */
import { IpAddress } from '../ip/address.ts';
import { get16, get32 } from '../wire/bytes.ts';
import { ETHERNET_HEADER } from '../wire/ethernet.ts';
import { IpProtocol } from '../wire/ipv4.ts';
import type { Packet } from './packet.ts';

const FLAG_LETTERS = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'] as const;
const PROTOCOL_NAMES = new Map(Object.entries(IpProtocol).map(([name, value]) => [value as number, name]));

/** `ethernet`: the packet starts with a link-layer header. */
export function describePacket(packet: Packet, ethernet: boolean): string {
  const { u8 } = packet.pool;
  let at = packet.start;
  let text = '';
  if (ethernet && packet.length >= ETHERNET_HEADER) {
    const type = get16(u8, at + 12);
    text = `${macText(u8, at + 6)} -> ${macText(u8, at)} `;
    at += ETHERNET_HEADER;
    if (type === 0x0806) return `${text}arp ${arpText(u8, at, packet.end)}`;
    if (type !== 0x0800 && type !== 0x86dd) return `${text}type 0x${type.toString(16)} ${packet.length} bytes`;
  }
  return text + ipText(packet, at);
}

function ipText(packet: Packet, at: number): string {
  const { u8 } = packet.pool;
  const { end } = packet;
  // ARP over Ethernet for IPv4, behind its link-layer header.
  if (end - at >= 28 && get32(u8, at) === 0x0001_0800) return `arp ${arpText(u8, at, end)}`;
  const version = at < end ? u8[at] >> 4 : 0;
  const isV4 = version === 4;
  if ((!isV4 && version !== 6) || end - at < (isV4 ? 20 : 40)) return `${end - at} bytes, not IP`;
  const source = IpAddress.read(u8, at + (isV4 ? 12 : 8), isV4);
  const destination = IpAddress.read(u8, at + (isV4 ? 16 : 24), isV4);
  const ttl = u8[at + (isV4 ? 8 : 7)];
  const protocol = u8[at + (isV4 ? 9 : 6)];
  const offset = isV4 ? (get16(u8, at + 6) & 0x1fff) * 8 : 0;
  const fragment = isV4 && (get16(u8, at + 6) & 0x3fff) !== 0 ? ` fragment at ${offset}` : '';
  const gso = packet.gsoSize > 0 ? ` gso ${packet.gsoSize}` : '';
  const fib = packet.fib === 0 ? '' : ` fib ${packet.fib}`;
  const upper = at + (isV4 ? (u8[at] & 15) * 4 : 40);
  const head = `${source} -> ${destination} ttl ${ttl} length ${end - at}${gso}${fib}${fragment}`;
  const what = offset > 0 ? '' : upperText(u8, protocol, upper, end);
  return `${head} ${PROTOCOL_NAMES.get(protocol) ?? `protocol ${protocol}`}${what}`;
}

function upperText(u8: Uint8Array, protocol: number, at: number, end: number): string {
  if (protocol === IpProtocol.tcp && end - at >= 20) {
    const flags = FLAG_LETTERS.filter((_, i) => (u8[at + 13] & (1 << i)) !== 0).join('');
    const payload = end - at - (u8[at + 12] >> 4) * 4;
    const ports = `${get16(u8, at)} -> ${get16(u8, at + 2)}`;
    return ` ${ports} [${flags}] seq ${get32(u8, at + 4) >>> 0} ack ${get32(u8, at + 8) >>> 0} window ${get16(u8, at + 14)} payload ${payload}`;
  }
  if (protocol === IpProtocol.udp && end - at >= 8)
    return ` ${get16(u8, at)} -> ${get16(u8, at + 2)} payload ${get16(u8, at + 4) - 8}`;
  const icmp = protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6;
  return icmp && end - at >= 4 ? ` type ${u8[at]} code ${u8[at + 1]}` : '';
}

function arpText(u8: Uint8Array, at: number, end: number): string {
  if (end - at < 28) return 'truncated';
  const operation = get16(u8, at + 6);
  const sender = IpAddress.read(u8, at + 14, true);
  const target = IpAddress.read(u8, at + 24, true);
  return operation === 1 ? `who has ${target}, tell ${sender}` : `${sender} is at ${macText(u8, at + 8)}`;
}

export function macText(u8: Uint8Array, at = 0): string {
  return Array.from(u8.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
