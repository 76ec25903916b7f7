/** ICMP for IPv4 (RFC 792, 1191) and for IPv6 (RFC 4443, 4861): echo, errors and neighbour discovery. */
import { get16, get32, ParseResult } from './bytes.ts';
import { checksumOk, pseudoHeaderIpv6, sumBytes } from './checksum.ts';
import { IpProtocol } from './ipv4.ts';

export const ICMP_HEADER = 8;

export const IcmpType = { echoReply: 0, unreachable: 3, echoRequest: 8, timeExceeded: 11, parameterProblem: 12 } as const;
export const IcmpUnreachable = { network: 0, host: 1, protocol: 2, port: 3, fragmentationNeeded: 4 } as const;

export const Icmpv6Type = {
  unreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echoRequest: 128,
  echoReply: 129,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighborSolicitation: 135,
  neighborAdvertisement: 136,
} as const;

export interface IcmpRepr {
  type: number;
  code: number;
  /** Identifier and sequence number of an echo; the next-hop MTU of RFC 1191 in the low half; the MTU of a packet-too-big. */
  rest: number;
  /** Where the body starts: echo data, or the packet that an error is about. */
  body: number;
  end: number;
}

export function newIcmpRepr(): IcmpRepr {
  return { type: 0, code: 0, rest: 0, body: 0, end: 0 };
}

export function parseIcmp(u8: Uint8Array, from: number, to: number, trusted: boolean, out: IcmpRepr): ParseResult {
  if (to - from < ICMP_HEADER) return ParseResult.truncated;
  if (!trusted && !checksumOk(sumBytes(u8, from, to, 0))) return ParseResult.badChecksum;
  return fill(u8, from, to, out);
}

/** `l3`: the IPv6 header, for the pseudo-header. */
export function parseIcmpv6(u8: Uint8Array, l3: number, from: number, to: number, trusted: boolean, out: IcmpRepr): ParseResult {
  if (to - from < ICMP_HEADER) return ParseResult.truncated;
  if (!trusted && !checksumOk(sumBytes(u8, from, to, pseudoHeaderIpv6(u8, l3, IpProtocol.icmpv6, to - from))))
    return ParseResult.badChecksum;
  return fill(u8, from, to, out);
}

function fill(u8: Uint8Array, from: number, to: number, out: IcmpRepr): ParseResult {
  out.type = u8[from];
  out.code = u8[from + 1];
  out.rest = get32(u8, from + 4);
  out.body = from + ICMP_HEADER;
  out.end = to;
  return ParseResult.ok;
}

export const NdOption = { sourceLinkLayer: 1, targetLinkLayer: 2 } as const;

/** Offset of the link-layer address in the option `type` of the neighbour discovery options in [from, to); -1: none, -2: malformed. */
export function findNdLinkLayer(u8: Uint8Array, from: number, to: number, type: number): number {
  let at = from;
  while (at < to) {
    if (at + 2 > to) return -2;
    const size = u8[at + 1] * 8;
    if (size === 0 || at + size > to) return -2;
    if (u8[at] === type && size === 8) return at + 2;
    at += size;
  }
  return -1;
}

/** Source and destination port of the transport header that an error quotes, packed; -1 when it is cut off. */
export function quotedPorts(u8: Uint8Array, l4: number, to: number): number {
  return l4 + 4 <= to ? get16(u8, l4) * 65536 + get16(u8, l4 + 2) : -1;
}
