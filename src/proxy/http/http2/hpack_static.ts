/**
 * The static table of HPACK (RFC 7541 appendix A): as text, by header number, and as bytes that lie in each slab for ever, so that a
 * decoded entry points at them.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import { H, HEADER_NAMES } from '../header_names.ts';
import { writeText } from '../header_text.ts';

/** Index 1 to 61; 0 is not used. */
export const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = [
  ['', ''],
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
];
export const STATIC_SIZE = 61;

/** Number (`H`) of each entry's name; 0 for names that the proxy has no number for. */
export const STATIC_IDS = Uint8Array.from(STATIC_TABLE, ([name]) => H[name as keyof typeof H] ?? 0);

/** For each header number the index of an entry with that name; 0: none. */
export const STATIC_NAME_INDEX = new Uint8Array(HEADER_NAMES.length);
for (let i = STATIC_SIZE; i > 0; i--) STATIC_NAME_INDEX[STATIC_IDS[i]] = i;
STATIC_NAME_INDEX[0] = 0;

/** Index of the entry for a `:status`; 0: none. */
export function staticStatusIndex(status: number): number {
  switch (status) {
    case 200:
      return 8;
    case 204:
      return 9;
    case 206:
      return 10;
    case 304:
      return 11;
    case 400:
      return 12;
    case 404:
      return 13;
    case 500:
      return 14;
    default:
      return 0;
  }
}

export interface StaticBytes {
  readonly nameStarts: Int32Array;
  readonly valueStarts: Int32Array;
}

const bySlab = new WeakMap<Slab, StaticBytes>();

/** Where names and values of the table lie in `slab`. */
export function staticBytesOf(slab: Slab): StaticBytes {
  let bytes = bySlab.get(slab);
  if (bytes !== undefined) return bytes;
  const nameStarts = new Int32Array(STATIC_SIZE + 1);
  const valueStarts = new Int32Array(STATIC_SIZE + 1);
  let at = slab.allocatePermanent();
  for (let i = 1; i <= STATIC_SIZE; i++) {
    nameStarts[i] = at;
    at = writeText(slab.u8, STATIC_TABLE[i][0], at);
    valueStarts[i] = at;
    at = writeText(slab.u8, STATIC_TABLE[i][1], at);
  }
  bytes = { nameStarts, valueStarts };
  bySlab.set(slab, bytes);
  return bytes;
}
