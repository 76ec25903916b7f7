/**
 * UUID version 4 texts for x-request-id. Random bytes are drawn from the system a pool at a time, so that a request costs no call
 * into the crypto library.
 */
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 32 * 1024;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));
/** Version nibble in front: 4x. */
const VERSION = Array.from({ length: 256 }, (_, i) => `-4${(i & 15).toString(16)}`);
/** Variant bits in front: 8x, 9x, ax, bx. */
const VARIANT = Array.from({ length: 256 }, (_, i) => `-${((i & 0x3f) | 0x80).toString(16)}`);

/** A new random UUID, such as `2f1c6a0e-7a0d-4f6e-9d3b-0a5e6c1d2b3f`. */
export function randomUuid(): string {
  if (used + 16 > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const p = pool;
  const at = used;
  used = at + 16;
  const head = HEX[p[at]] + HEX[p[at + 1]] + HEX[p[at + 2]] + HEX[p[at + 3]];
  const middle = HEX[p[at + 4]] + HEX[p[at + 5]] + VERSION[p[at + 6]] + HEX[p[at + 7]];
  const variant = VARIANT[p[at + 8]] + HEX[p[at + 9]];
  const tail = HEX[p[at + 10]] + HEX[p[at + 11]] + HEX[p[at + 12]];
  return `${head}-${middle}${variant}-${tail}${HEX[p[at + 13]]}${HEX[p[at + 14]]}${HEX[p[at + 15]]}`;
}

/** A random 32-bit number from the same pool. */
export function random32(): number {
  if (used + 16 > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const p = pool;
  const at = used;
  used = at + 4;
  return ((p[at] << 24) | (p[at + 1] << 16) | (p[at + 2] << 8) | p[at + 3]) >>> 0;
}
