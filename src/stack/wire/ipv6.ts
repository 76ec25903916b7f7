/**
 * IPv6 headers and the walk over extension headers (RFC 8200). Hop-by-hop and destination options are looked at only for what their
 * type says about unknown ones; routing headers with segments left are refused; a fragment header is reported.
 */
import { get16, ParseResult, put16, put32 } from './bytes.ts';

export const IPV6_HEADER = 40;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION = 60;
const NO_NEXT = 59;
/** More extension headers than anyone sends: a bound on the work per packet. */
const MAX_EXTENSION_HEADERS = 8;

export interface Ipv6Repr {
  trafficClass: number;
  flowLabel: number;
  payloadLength: number;
  hopLimit: number;
  /** Upper-layer protocol after all extension headers; 59 when there is none. */
  protocol: number;
  /** Where the upper layer starts. */
  upper: number;
  /** End of the packet. */
  end: number;
  /** Offset of the fragment header, or -1. */
  fragmentHeader: number;
  fragmentOffset: number;
  moreFragments: boolean;
  identification: number;
  /** Offset of the next-header byte that names what `upper` points to. */
  nextHeaderAt: number;
}

export function newIpv6Repr(): Ipv6Repr {
  return {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: 0,
    hopLimit: 64,
    protocol: 0,
    upper: 0,
    end: 0,
    fragmentHeader: -1,
    fragmentOffset: 0,
    moreFragments: false,
    identification: 0,
    nextHeaderAt: 0,
  };
}

export function parseIpv6(u8: Uint8Array, from: number, to: number, out: Ipv6Repr): ParseResult {
  const length = to - from;
  if (length < IPV6_HEADER) return ParseResult.truncated;
  if (u8[from] >> 4 !== 6) return ParseResult.badVersion;
  const payloadLength = get16(u8, from + 4);
  if (payloadLength > length - IPV6_HEADER) return ParseResult.badTotalLength;
  out.trafficClass = ((u8[from] & 15) << 4) | (u8[from + 1] >> 4);
  out.flowLabel = ((u8[from + 1] & 15) << 16) | get16(u8, from + 2);
  out.payloadLength = payloadLength;
  out.hopLimit = u8[from + 7];
  out.end = from + IPV6_HEADER + payloadLength;
  out.fragmentHeader = -1;
  out.fragmentOffset = 0;
  out.moreFragments = false;
  out.identification = 0;
  return walkExtensions(u8, from, out);
}

function walkExtensions(u8: Uint8Array, from: number, out: Ipv6Repr): ParseResult {
  let next = u8[from + 6];
  let nextAt = from + 6;
  let at = from + IPV6_HEADER;
  for (let i = 0; i <= MAX_EXTENSION_HEADERS; i++) {
    if (next !== HOP_BY_HOP && next !== ROUTING && next !== FRAGMENT && next !== DESTINATION) {
      out.protocol = next;
      out.nextHeaderAt = nextAt;
      out.upper = next === NO_NEXT ? out.end : at;
      return ParseResult.ok;
    }
    if (at + 8 > out.end) return ParseResult.truncated;
    const size = next === FRAGMENT ? 8 : (u8[at + 1] + 1) * 8;
    if (at + size > out.end) return ParseResult.truncated;
    if (next === HOP_BY_HOP && i !== 0) return ParseResult.badField;
    if (next === ROUTING && u8[at + 3] !== 0) return ParseResult.badField;
    if (next === FRAGMENT) {
      if (out.fragmentHeader >= 0) return ParseResult.badField;
      const word = get16(u8, at + 2);
      out.fragmentHeader = at;
      out.fragmentOffset = word & 0xfff8;
      out.moreFragments = (word & 1) !== 0;
      out.identification = (get16(u8, at + 4) << 16) | get16(u8, at + 6);
      if (out.fragmentOffset !== 0) {
        // What follows is the middle of something: nothing after this header can be read before reassembly.
        out.protocol = u8[at];
        out.nextHeaderAt = at;
        out.upper = at + 8;
        return ParseResult.ok;
      }
    } else if (next !== ROUTING && !optionsAcceptable(u8, at + 2, at + size)) return ParseResult.badOption;
    nextAt = at;
    next = u8[at];
    at += size;
  }
  return ParseResult.badField;
}

/** False when an unknown option says that the packet is to be discarded (RFC 8200 4.2). */
function optionsAcceptable(u8: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to) {
    const type = u8[at];
    if (type === 0) {
      at++;
      continue;
    }
    if (at + 1 >= to) return false;
    const size = u8[at + 1] + 2;
    if (at + size > to) return false;
    const known = type === 1 || type === 5;
    if (!known && type >> 6 !== 0) return false;
    at += size;
  }
  return true;
}

/** Writes the fixed header without its addresses, which the caller puts at `at + 8` and `at + 24`. */
export function emitIpv6(
  u8: Uint8Array,
  at: number,
  payloadLength: number,
  protocol: number,
  hopLimit: number,
  flow: number,
): void {
  put32(u8, at, 0x6000_0000 | (flow & 0x0fff_ffff));
  put16(u8, at + 4, payloadLength);
  u8[at + 6] = protocol;
  u8[at + 7] = hopLimit;
}
