/** UDP headers (RFC 768). A zero checksum is accepted over IPv4 only (RFC 8200 8.1). */
import { get16, ParseResult, put16 } from './bytes.ts';

export const UDP_HEADER = 8;

export interface UdpRepr {
  sourcePort: number;
  destinationPort: number;
  payload: number;
  end: number;
  checksum: number;
}

export function newUdpRepr(): UdpRepr {
  return { sourcePort: 0, destinationPort: 0, payload: 0, end: 0, checksum: 0 };
}

export function parseUdp(u8: Uint8Array, from: number, to: number, out: UdpRepr): ParseResult {
  if (to - from < UDP_HEADER) return ParseResult.truncated;
  const length = get16(u8, from + 4);
  if (length < UDP_HEADER || length > to - from) return ParseResult.badTotalLength;
  out.sourcePort = get16(u8, from);
  out.destinationPort = get16(u8, from + 2);
  out.checksum = get16(u8, from + 6);
  out.payload = from + UDP_HEADER;
  out.end = from + length;
  return ParseResult.ok;
}

/** Writes the header with a zero checksum field. `length` includes the header. */
export function emitUdp(u8: Uint8Array, at: number, sourcePort: number, destinationPort: number, length: number): void {
  put16(u8, at, sourcePort);
  put16(u8, at + 2, destinationPort);
  put16(u8, at + 4, length);
  put16(u8, at + 6, 0);
}
