/**
 * The Internet checksum (RFC 1071) and the pseudo-headers of IPv4 (RFC 9293 3.1) and IPv6 (RFC 8200 8.1).
 *
 * A running sum is a plain number that is folded only at the end. Sums of whole ranges read 16 bits at a time in machine order and are
 * swapped once, which the ones-complement sum allows.
 */
import { get16 } from './bytes.ts';

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

let wordsOf: ArrayBufferLike | null = null;
let words: Uint16Array<ArrayBufferLike> = new Uint16Array(0);

/** Adds the bytes [from, to) to `sum`. An odd last byte is padded with zero, so only the last range of a checksum may be odd. */
export function sumBytes(u8: Uint8Array, from: number, to: number, sum: number): number {
  const start = u8.byteOffset + from;
  const length = to - from;
  if (length < 16 || (start & 1) !== 0) return sumBytewise(u8, from, to, sum);
  if (wordsOf !== u8.buffer) {
    wordsOf = u8.buffer;
    words = new Uint16Array(u8.buffer, 0, u8.buffer.byteLength >> 1);
  }
  let at = start >> 1;
  const end = at + (length >> 1);
  let total = 0;
  const view = words;
  while (at < end) {
    // At most 16,384 words at a time keeps the partial sum in 30 bits.
    const stop = end - at > 16_000 ? at + 16_000 : end;
    let part = 0;
    for (; at + 4 <= stop; at += 4) part += view[at] + view[at + 1] + view[at + 2] + view[at + 3];
    for (; at < stop; at++) part += view[at];
    total += part;
  }
  total = fold(total);
  if (LITTLE) total = ((total & 0xff) << 8) | (total >> 8);
  if ((length & 1) !== 0) total += u8[to - 1] << 8;
  return sum + total;
}

function sumBytewise(u8: Uint8Array, from: number, to: number, sum: number): number {
  let i = from;
  for (; i + 1 < to; i += 2) sum += (u8[i] << 8) | u8[i + 1];
  if (i < to) sum += u8[i] << 8;
  return sum;
}

/** The sum in 16 bits, not complemented. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

/** What goes into the checksum field. */
export function finishChecksum(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** True when bytes that include their checksum add up. */
export function checksumOk(sum: number): boolean {
  return fold(sum) === 0xffff;
}

/** Pseudo-header of the IPv4 packet at `l3`. `length`: of the upper-layer packet. */
export function pseudoHeaderIpv4(u8: Uint8Array, l3: number, protocol: number, length: number): number {
  return (
    get16(u8, l3 + 12) +
    get16(u8, l3 + 14) +
    get16(u8, l3 + 16) +
    get16(u8, l3 + 18) +
    protocol +
    (length >>> 16) +
    (length & 0xffff)
  );
}

/** Pseudo-header of the IPv6 packet at `l3` (with its final destination; routing headers are not followed). */
export function pseudoHeaderIpv6(u8: Uint8Array, l3: number, protocol: number, length: number): number {
  let sum = protocol + (length >>> 16) + (length & 0xffff);
  for (let i = 8; i < 40; i += 2) sum += get16(u8, l3 + i);
  return sum;
}
