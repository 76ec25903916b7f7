/**
 * Request methods that HTTP/1 accepts without `allow_custom_methods` (the list of Envoy's parser), found by their bytes.
 */
import { ascii } from './bytes.ts';

export const METHODS = [
  '',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'ACL',
  'BIND',
  'CHECKOUT',
  'COPY',
  'LINK',
  'LOCK',
  'MERGE',
  'MKACTIVITY',
  'MKCALENDAR',
  'MKCOL',
  'MOVE',
  'MSEARCH',
  'NOTIFY',
  'PROPFIND',
  'PROPPATCH',
  'PURGE',
  'REBIND',
  'REPORT',
  'SEARCH',
  'SOURCE',
  'SUBSCRIBE',
  'UNBIND',
  'UNLINK',
  'UNLOCK',
  'UNSUBSCRIBE',
] as const;

export const METHOD_GET = METHODS.indexOf('GET');
export const METHOD_HEAD = METHODS.indexOf('HEAD');
export const METHOD_CONNECT = METHODS.indexOf('CONNECT');
export const METHOD_OPTIONS = METHODS.indexOf('OPTIONS');
export const METHOD_DELETE = METHODS.indexOf('DELETE');
export const METHOD_TRACE = METHODS.indexOf('TRACE');

const bytesOf = METHODS.map((name) => ascii(name));
const table = new Uint8Array(256);
const chained = new Uint8Array(METHODS.length);

function slotOf(length: number, first: number, second: number): number {
  return (length * 23 + first * 5 + second * 11) & 255;
}

for (let i = METHODS.length - 1; i > 0; i--) {
  const bytes = bytesOf[i];
  const slot = slotOf(bytes.length, bytes[0], bytes[1]);
  chained[i] = table[slot];
  table[slot] = i;
}

/** Index in METHODS of the bytes (case-sensitive), or 0 when they are none of them. */
export function methodOfBytes(u8: Uint8Array, start: number, length: number): number {
  if (length < 3) return 0;
  for (let i = table[slotOf(length, u8[start], u8[start + 1])]; i !== 0; i = chained[i]) {
    const bytes = bytesOf[i];
    if (bytes.length !== length) continue;
    let k = 0;
    while (k < length && bytes[k] === u8[start + k]) k++;
    if (k === length) return i;
  }
  return 0;
}

/** Requests whose missing body is not written as `content-length: 0` (Envoy: requestShouldHaveNoBody). */
export function usuallyBodiless(method: number): boolean {
  return (
    method === METHOD_GET ||
    method === METHOD_HEAD ||
    method === METHOD_DELETE ||
    method === METHOD_TRACE ||
    method === METHOD_CONNECT
  );
}
