/** IPv4 headers (RFC 791). Options are skipped, never acted on. */
import { get16, get32, ParseResult, put16, put32 } from './bytes.ts';
import { checksumOk, finishChecksum, sumBytes } from './checksum.ts';

export const IPV4_HEADER = 20;
export const IpProtocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
export const IPV4_DF = 0x4000;
export const IPV4_MF = 0x2000;

export interface Ipv4Repr {
  headerLength: number;
  totalLength: number;
  tos: number;
  identification: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** In bytes. */
  fragmentOffset: number;
  ttl: number;
  protocol: number;
  source: number;
  destination: number;
}

export function newIpv4Repr(): Ipv4Repr {
  return {
    headerLength: IPV4_HEADER,
    totalLength: 0,
    tos: 0,
    identification: 0,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    ttl: 64,
    protocol: 0,
    source: 0,
    destination: 0,
  };
}

/** Views. */
export const ipv4Protocol = (u8: Uint8Array, at: number): number => u8[at + 9];
export const ipv4Source = (u8: Uint8Array, at: number): number => get32(u8, at + 12);
export const ipv4Destination = (u8: Uint8Array, at: number): number => get32(u8, at + 16);

/** Checks the packet in [from, to); bytes after the total length are link padding. `trusted`: the device vouches for the checksum. */
export function parseIpv4(u8: Uint8Array, from: number, to: number, trusted: boolean, out: Ipv4Repr): ParseResult {
  const length = to - from;
  if (length < IPV4_HEADER) return ParseResult.truncated;
  const first = u8[from];
  if (first >> 4 !== 4) return ParseResult.badVersion;
  const headerLength = (first & 15) * 4;
  if (headerLength < IPV4_HEADER || headerLength > length) return ParseResult.badHeaderLength;
  const totalLength = get16(u8, from + 2);
  if (totalLength < headerLength || totalLength > length) return ParseResult.badTotalLength;
  if (!trusted && !checksumOk(sumBytes(u8, from, from + headerLength, 0))) return ParseResult.badChecksum;
  const fragment = get16(u8, from + 6);
  out.headerLength = headerLength;
  out.totalLength = totalLength;
  out.tos = u8[from + 1];
  out.identification = get16(u8, from + 4);
  out.dontFragment = (fragment & IPV4_DF) !== 0;
  out.moreFragments = (fragment & IPV4_MF) !== 0;
  out.fragmentOffset = (fragment & 0x1fff) * 8;
  out.ttl = u8[from + 8];
  out.protocol = u8[from + 9];
  out.source = get32(u8, from + 12);
  out.destination = get32(u8, from + 16);
  return ParseResult.ok;
}

/** Writes a 20-byte header with its checksum. */
export function emitIpv4(u8: Uint8Array, at: number, repr: Ipv4Repr): void {
  u8[at] = 0x45;
  u8[at + 1] = repr.tos;
  put16(u8, at + 2, repr.totalLength);
  put16(u8, at + 4, repr.identification);
  put16(u8, at + 6, (repr.dontFragment ? IPV4_DF : 0) | (repr.moreFragments ? IPV4_MF : 0) | (repr.fragmentOffset >> 3));
  u8[at + 8] = repr.ttl;
  u8[at + 9] = repr.protocol;
  put16(u8, at + 10, 0);
  put32(u8, at + 12, repr.source);
  put32(u8, at + 16, repr.destination);
  put16(u8, at + 10, finishChecksum(sumBytes(u8, at, at + IPV4_HEADER, 0)));
}
