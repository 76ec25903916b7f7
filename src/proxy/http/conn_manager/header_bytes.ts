/** Questions about known headers that are answered from the bytes, without making a string. */

import type { HeaderMap } from '../header_map.ts';
import { H, HEADER_NAMES } from '../header_names.ts';

/** True when the (first) value is exactly `text` (ASCII). */
export function headerEquals(headers: HeaderMap, id: number, text: string): boolean {
  if (headers.valueByteLength(id) !== text.length) return false;
  const start = headers.valueByteStart(id);
  if (start < 0) return headers.hasId(id) && headers.getId(id) === text;
  const u8 = headers.slab.u8;
  for (let i = 0; i < text.length; i++) if (u8[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** As `headerEquals`, whatever the value's case. `lower` is lower case. */
export function headerEqualsIgnoreCase(headers: HeaderMap, id: number, lower: string): boolean {
  const start = headers.valueByteStart(id);
  if (start < 0) return headers.hasId(id) && equalsIgnoreCase(headers.getId(id) as string, lower);
  if (headers.valueByteLength(id) !== lower.length) return false;
  const u8 = headers.slab.u8;
  for (let i = 0; i < lower.length; i++) {
    const c = u8[start + i];
    if ((c >= 65 && c <= 90 ? c | 32 : c) !== lower.charCodeAt(i)) return false;
  }
  return true;
}

function equalsIgnoreCase(text: string, lower: string): boolean {
  return text === lower || (text.length === lower.length && text.toLowerCase() === lower);
}

/** The first byte of the value, or -1 when the header is absent or empty. */
export function firstByte(headers: HeaderMap, id: number): number {
  const start = headers.valueByteStart(id);
  if (start >= 0) return headers.valueByteLength(id) === 0 ? -1 : headers.slab.u8[start];
  const text = headers.hasId(id) ? headers.getId(id) : undefined;
  return text === undefined || text === '' ? -1 : text.charCodeAt(0);
}

/** The response's status as a number; 0 when there is none. */
export function statusOf(headers: HeaderMap): number {
  const start = headers.valueByteStart(H[':status']);
  if (start >= 0 && headers.valueByteLength(H[':status']) === 3) {
    const u8 = headers.slab.u8;
    return (u8[start] - 48) * 100 + (u8[start + 1] - 48) * 10 + (u8[start + 2] - 48);
  }
  const text = headers.getId(H[':status']);
  return text === undefined ? 0 : Number(text) | 0;
}

/** Appends to a known header's value, or adds it. */
export function appendIdText(headers: HeaderMap, id: number, text: string, delimiter: string): void {
  if (headers.hasId(id)) headers.append(HEADER_NAMES[id], text, delimiter);
  else headers.addId(id, text);
}

const SMALL = Array.from({ length: 1024 }, (_, i) => String(i));

/** Decimal text of a whole number; cached when it is small. */
export function decimal(value: number): string {
  return value >= 0 && value < 1024 ? SMALL[value] : String(value);
}
