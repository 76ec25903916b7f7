/**
 * UUID version 4 texts for x-request-id. Random bytes are drawn from the system a pool at a time, so that a request costs no call
 * into the crypto library.
 */
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 32 * 1024;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

const HEX = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
const DASH = 45;
export const UUID_LENGTH = 36;

/** Writes a new random UUID, such as `2f1c6a0e-7a0d-4f6e-9d3b-0a5e6c1d2b3f`, as 36 bytes at `at`. */
export function writeUuid(u8: Uint8Array, at: number): void {
  if (used + 16 > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const from = used;
  used = from + 16;
  for (let i = 0; i < 16; i++) {
    let byte = pool[from + i];
    if (i === 6) byte = (byte & 0x0f) | 0x40;
    else if (i === 8) byte = (byte & 0x3f) | 0x80;
    if (i === 4 || i === 6 || i === 8 || i === 10) u8[at++] = DASH;
    u8[at++] = HEX[byte >> 4];
    u8[at++] = HEX[byte & 15];
  }
}

/** A new random UUID as text. */
export function randomUuid(): string {
  const bytes = new Uint8Array(UUID_LENGTH);
  writeUuid(bytes, 0);
  return String.fromCharCode(...bytes);
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
