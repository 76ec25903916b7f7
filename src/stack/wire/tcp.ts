/**
 * TCP headers with their options (RFC 9293 3.1; MSS, window scale and timestamps of RFC 7323, SACK of RFC 2018). Other options are
 * skipped. Options behind a malformed one are not looked at; the segment itself stays usable, as in Linux.
 */
import { get16, get32, ParseResult, put16, put32 } from './bytes.ts';

export const TCP_HEADER = 20;
export const TCP_MAX_OPTIONS = 40;
export const MAX_SACK_BLOCKS = 4;

export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

export const TcpOption = { end: 0, nop: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5, timestamps: 8 } as const;

/** RFC 7323 2.3: a shift above 14 is used as 14. */
const MAX_WINDOW_SCALE = 14;

/** NOP NOP TIMESTAMPS 10: the option layout of nearly every segment. */
const TIMESTAMPS_ALONE = 0x0101080a;

export class TcpRepr {
  sourcePort = 0;
  destinationPort = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  window = 0;
  urgent = 0;
  headerLength = TCP_HEADER;
  /** 0: not there. */
  mss = 0;
  /** -1: not there. */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;
  sackCount = 0;
  /** Left and right edges in turn. */
  readonly sack = new Int32Array(2 * MAX_SACK_BLOCKS);
  optionsMalformed = false;
  /** Payload in [payload, end). */
  payload = 0;
  end = 0;
}

/** Ports are needed before anything else is looked at. */
export const tcpPorts = (u8: Uint8Array, at: number): number => get32(u8, at);

/** Checks and reads the segment in [from, to). The checksum is not verified here. */
export function parseTcp(u8: Uint8Array, from: number, to: number, out: TcpRepr): ParseResult {
  if (to - from < TCP_HEADER) return ParseResult.truncated;
  const headerLength = (u8[from + 12] >> 4) * 4;
  if (headerLength < TCP_HEADER || headerLength > to - from) return ParseResult.badHeaderLength;
  out.sourcePort = get16(u8, from);
  out.destinationPort = get16(u8, from + 2);
  out.seq = get32(u8, from + 4);
  out.ack = get32(u8, from + 8);
  out.flags = u8[from + 13];
  out.window = get16(u8, from + 14);
  out.urgent = get16(u8, from + 18);
  out.headerLength = headerLength;
  out.payload = from + headerLength;
  out.end = to;
  out.mss = 0;
  out.windowScale = -1;
  out.sackPermitted = false;
  out.sackCount = 0;
  out.optionsMalformed = false;
  if (headerLength === 32 && get32(u8, from + 20) === TIMESTAMPS_ALONE) {
    out.hasTimestamps = true;
    out.tsVal = get32(u8, from + 24);
    out.tsEcr = get32(u8, from + 28);
    return ParseResult.ok;
  }
  out.hasTimestamps = false;
  if (headerLength > TCP_HEADER) out.optionsMalformed = !parseOptions(u8, from + TCP_HEADER, out.payload, out);
  return ParseResult.ok;
}

function parseOptions(u8: Uint8Array, from: number, to: number, out: TcpRepr): boolean {
  let at = from;
  while (at < to) {
    const kind = u8[at];
    if (kind === TcpOption.end) return true;
    if (kind === TcpOption.nop) {
      at++;
      continue;
    }
    if (at + 1 >= to) return false;
    const size = u8[at + 1];
    if (size < 2 || at + size > to) return false;
    if (kind === TcpOption.mss && size === 4) out.mss = get16(u8, at + 2);
    else if (kind === TcpOption.windowScale && size === 3) out.windowScale = Math.min(u8[at + 2], MAX_WINDOW_SCALE);
    else if (kind === TcpOption.sackPermitted && size === 2) out.sackPermitted = true;
    else if (kind === TcpOption.timestamps && size === 10) {
      out.hasTimestamps = true;
      out.tsVal = get32(u8, at + 2);
      out.tsEcr = get32(u8, at + 6);
    } else if (kind === TcpOption.sack && size >= 10 && (size - 2) % 8 === 0) {
      out.sackCount = Math.min((size - 2) >> 3, MAX_SACK_BLOCKS);
      for (let i = 0; i < 2 * out.sackCount; i++) out.sack[i] = get32(u8, at + 2 + 4 * i);
    }
    at += size;
  }
  return true;
}

/** Bytes of header that `emitTcp` writes for this segment. */
export function tcpHeaderLength(repr: TcpRepr): number {
  let size = TCP_HEADER;
  if (repr.mss !== 0) size += 4;
  if (repr.windowScale >= 0) size += 4;
  if (repr.sackPermitted) size += repr.hasTimestamps ? 0 : 4;
  if (repr.hasTimestamps) size += 12;
  if (repr.sackCount > 0) size += 4 + 8 * repr.sackCount;
  return size;
}

/** Writes header and options at `at` with a zero checksum field; returns the header's length. */
export function emitTcp(u8: Uint8Array, at: number, repr: TcpRepr): number {
  put16(u8, at, repr.sourcePort);
  put16(u8, at + 2, repr.destinationPort);
  put32(u8, at + 4, repr.seq);
  put32(u8, at + 8, repr.ack);
  u8[at + 13] = repr.flags;
  put16(u8, at + 14, repr.window);
  put16(u8, at + 16, 0);
  put16(u8, at + 18, repr.urgent);
  let o = at + TCP_HEADER;
  if (repr.mss !== 0) {
    put16(u8, o, (TcpOption.mss << 8) | 4);
    put16(u8, o + 2, repr.mss);
    o += 4;
  }
  if (repr.windowScale >= 0) {
    put32(u8, o, (TcpOption.nop << 24) | (TcpOption.windowScale << 16) | (3 << 8) | repr.windowScale);
    o += 4;
  }
  if (repr.hasTimestamps) {
    // With SACK permitted, its two bytes take the place of the padding.
    const lead = repr.sackPermitted ? (TcpOption.sackPermitted << 8) | 2 : (TcpOption.nop << 8) | TcpOption.nop;
    put32(u8, o, (lead << 16) | (TcpOption.timestamps << 8) | 10);
    put32(u8, o + 4, repr.tsVal);
    put32(u8, o + 8, repr.tsEcr);
    o += 12;
  } else if (repr.sackPermitted) {
    put32(u8, o, (TcpOption.nop << 24) | (TcpOption.nop << 16) | (TcpOption.sackPermitted << 8) | 2);
    o += 4;
  }
  if (repr.sackCount > 0) {
    put32(u8, o, (TcpOption.nop << 24) | (TcpOption.nop << 16) | (TcpOption.sack << 8) | (2 + 8 * repr.sackCount));
    o += 4;
    for (let i = 0; i < 2 * repr.sackCount; i++, o += 4) put32(u8, o, repr.sack[i]);
  }
  u8[at + 12] = ((o - at) >> 2) << 4;
  return o - at;
}
