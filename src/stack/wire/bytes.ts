/** Big-endian fields of network headers. Unchecked: the caller has made sure that the bytes are there. */

export function get16(u8: Uint8Array, at: number): number {
  return (u8[at] << 8) | u8[at + 1];
}

/** As a signed 32-bit integer: sequence numbers and address words stay small integers for the engine. */
export function get32(u8: Uint8Array, at: number): number {
  return (u8[at] << 24) | (u8[at + 1] << 16) | (u8[at + 2] << 8) | u8[at + 3];
}

export function put16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >>> 8;
  u8[at + 1] = value;
}

export function put32(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >>> 24;
  u8[at + 1] = value >>> 16;
  u8[at + 2] = value >>> 8;
  u8[at + 3] = value;
}

/** Why a header is not accepted; the counters of the input nodes carry these names. */
export const ParseResult = {
  ok: 0,
  truncated: 1,
  badVersion: 2,
  badHeaderLength: 3,
  badTotalLength: 4,
  badChecksum: 5,
  badOption: 6,
  badField: 7,
} as const;
export type ParseResult = (typeof ParseResult)[keyof typeof ParseResult];
