/**
 * Byte classes of HTTP/1.1 (RFC 9110 5.6.2, 5.5; RFC 9112 3, 7.1), as 256-entry tables, and small helpers over bytes.
 */

export const TAB = 9;
export const LF = 10;
export const CR = 13;
export const SP = 32;
export const COMMA = 44;
export const SLASH = 47;
export const COLON = 58;
export const SEMICOLON = 59;
export const UNDERSCORE = 95;

function tableOf(classOf: (c: number) => number): Uint8Array {
  const table = new Uint8Array(256);
  for (let c = 0; c < 256; c++) table[c] = classOf(c);
  return table;
}

const isDigit = (c: number): boolean => c >= 48 && c <= 57;
const isLower = (c: number): boolean => c >= 97 && c <= 122;
const isUpper = (c: number): boolean => c >= 65 && c <= 90;

/** token characters: the character in lower case; 0 for everything else. */
export const TOKEN: Uint8Array = tableOf((c) => {
  if (isUpper(c)) return c | 32;
  return isDigit(c) || isLower(c) || "!#$%&'*+-.^_`|~".includes(String.fromCharCode(c)) ? c : 0;
});

/** 1: allowed in a field value (HTAB, SP, VCHAR, obs-text). */
export const VALUE: Uint8Array = tableOf((c) => ((c >= 32 && c !== 127) || c === TAB ? 1 : 0));

/** 1: allowed in a request target: visible ASCII. */
export const TARGET: Uint8Array = tableOf((c) => (c > 32 && c < 127 ? 1 : 0));

/** 1: allowed in an authority (RFC 3986 3.2, as Envoy's authorityIsValid). */
export const AUTHORITY: Uint8Array = tableOf((c) =>
  isDigit(c) || isLower(c) || isUpper(c) || "-._~%!$&'()*+,;=:@[]".includes(String.fromCharCode(c)) ? 1 : 0,
);

/** Value of a hexadecimal digit; 255 for everything else. */
export const HEX: Uint8Array = tableOf((c) => {
  if (isDigit(c)) return c - 48;
  if ((c | 32) >= 97 && (c | 32) <= 102) return (c | 32) - 87;
  return 255;
});

/** True when the bytes are `lower` in any case. `lower` is lower-case ASCII letters, digits and `-`. */
export function equalsIgnoreCase(u8: Uint8Array, start: number, length: number, lower: string): boolean {
  if (length !== lower.length) return false;
  for (let i = 0; i < length; i++) {
    const c = u8[start + i];
    if ((isUpper(c) ? c | 32 : c) !== lower.charCodeAt(i)) return false;
  }
  return true;
}

/** True when every byte is 1 in `table`. */
export function allIn(table: Uint8Array, u8: Uint8Array, start: number, length: number): boolean {
  for (let i = start; i < start + length; i++) if (table[u8[i]] === 0) return false;
  return true;
}

/**
 * Strict `1*DIGIT` of at most 15 digits (exact as a number); -1 for anything else: signs, blanks, lists, an empty value.
 * Fifteen digits are 900 TB: a longer length is no honest one.
 */
export function parseLength(u8: Uint8Array, start: number, length: number): number {
  if (length === 0) return -1;
  let value = 0;
  let digits = 0;
  for (let i = start; i < start + length; i++) {
    const digit = u8[i] - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    if (value > 0) digits++;
    if (digits > 15) return -1;
  }
  return value;
}

/** ASCII bytes of a text. */
export function ascii(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

/** Copies a short constant into `u8`; returns the end. */
export function put(u8: Uint8Array, bytes: Uint8Array, at: number): number {
  for (let i = 0; i < bytes.length; i++) u8[at++] = bytes[i];
  return at;
}

const HEX_DIGITS = ascii('0123456789abcdef');

/** Writes `value` (below 2^53) in lower-case hexadecimal; returns the end. */
export function putHex(u8: Uint8Array, value: number, at: number): number {
  let digits = 1;
  for (let rest = value; rest >= 16; rest = Math.floor(rest / 16)) digits++;
  for (let i = digits - 1; i >= 0; i--) {
    u8[at + i] = HEX_DIGITS[value % 16];
    value = Math.floor(value / 16);
  }
  return at + digits;
}
