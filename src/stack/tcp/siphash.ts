/** SipHash-2-4 (Aumasson and Bernstein) over whole 32-bit words, on pairs of 32-bit halves. For ISNs, SYN cookies and table seeds. */

/** State words as [low, high] halves. */
const v = new Int32Array(8);

function add(a: number, b: number): void {
  const low = (v[a] >>> 0) + (v[b] >>> 0);
  v[a + 1] = v[a + 1] + v[b + 1] + (low > 0xffff_ffff ? 1 : 0);
  v[a] = low | 0;
}

function rotateXor(a: number, bits: number, b: number): void {
  const low = v[a];
  const high = v[a + 1];
  if (bits === 32) {
    v[a] = high ^ v[b];
    v[a + 1] = low ^ v[b + 1];
    return;
  }
  v[a] = ((low << bits) | (high >>> (32 - bits))) ^ v[b];
  v[a + 1] = ((high << bits) | (low >>> (32 - bits))) ^ v[b + 1];
}

function rotate32(a: number): void {
  const low = v[a];
  v[a] = v[a + 1];
  v[a + 1] = low;
}

function round(): void {
  add(0, 2);
  rotateXor(2, 13, 0);
  rotate32(0);
  add(4, 6);
  rotateXor(6, 16, 4);
  add(0, 6);
  rotateXor(6, 21, 0);
  add(4, 2);
  rotateXor(2, 17, 4);
  rotate32(4);
}

/** `key`: four words. The low 32 bits of the hash of the first `count` words of `input` (an even number). */
export function sipHash(key: Int32Array, input: Int32Array, count: number): number {
  v[0] = key[0] ^ 0x70736575;
  v[1] = key[1] ^ 0x736f6d65;
  v[2] = key[2] ^ 0x6e646f6d;
  v[3] = key[3] ^ 0x646f7261;
  v[4] = key[0] ^ 0x6e657261;
  v[5] = key[1] ^ 0x6c796765;
  v[6] = key[2] ^ 0x79746573;
  v[7] = key[3] ^ 0x74656462;
  for (let i = 0; i < count; i += 2) compress(input[i], input[i + 1]);
  compress(0, (count * 4) << 24);
  v[4] ^= 0xff;
  round();
  round();
  round();
  round();
  hashHigh = v[1] ^ v[3] ^ v[5] ^ v[7];
  return v[0] ^ v[2] ^ v[4] ^ v[6];
}

/** The high 32 bits of the last hash. */
export let hashHigh = 0;

function compress(low: number, high: number): void {
  v[6] ^= low;
  v[7] ^= high;
  round();
  round();
  v[0] ^= low;
  v[1] ^= high;
}
