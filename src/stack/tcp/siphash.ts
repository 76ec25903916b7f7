/**
 * SipHash-2-4 (Aumasson and Bernstein) over whole 32-bit words, on pairs of 32-bit halves. For ISNs, SYN cookies and table seeds.
 *
 * The four 64-bit words of the state are eight variables (`l` low, `h` high): in an array they took nearly twice as long.
 */

let l0 = 0;
let h0 = 0;
let l1 = 0;
let h1 = 0;
let l2 = 0;
let h2 = 0;
let l3 = 0;
let h3 = 0;

/** `key`: four words. The low 32 bits of the hash of the first `count` words of `input` (an even number). */
export function sipHash(key: Int32Array, input: Int32Array, count: number): number {
  l0 = key[0] ^ 0x70736575;
  h0 = key[1] ^ 0x736f6d65;
  l1 = key[2] ^ 0x6e646f6d;
  h1 = key[3] ^ 0x646f7261;
  l2 = key[0] ^ 0x6e657261;
  h2 = key[1] ^ 0x6c796765;
  l3 = key[2] ^ 0x79746573;
  h3 = key[3] ^ 0x74656462;
  for (let i = 0; i < count; i += 2) compress(input[i], input[i + 1]);
  compress(0, (count * 4) << 24);
  l2 ^= 0xff;
  rounds(4);
  hashHigh = h0 ^ h1 ^ h2 ^ h3;
  return l0 ^ l1 ^ l2 ^ l3;
}

/** The high 32 bits of the last hash. */
export let hashHigh = 0;

function compress(low: number, high: number): void {
  l3 ^= low;
  h3 ^= high;
  rounds(2);
  l0 ^= low;
  h0 ^= high;
}

function rounds(count: number): void {
  let a = l0;
  let A = h0;
  let b = l1;
  let B = h1;
  let c = l2;
  let C = h2;
  let d = l3;
  let D = h3;
  let t = 0;
  for (let i = 0; i < count; i++) {
    // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
    t = (a + b) | 0;
    A = (A + B + (t >>> 0 < a >>> 0 ? 1 : 0)) | 0;
    a = t;
    t = ((b << 13) | (B >>> 19)) ^ a;
    B = ((B << 13) | (b >>> 19)) ^ A;
    b = t;
    t = a;
    a = A;
    A = t;
    // v2 += v3; v3 = rotl(v3, 16) ^ v2
    t = (c + d) | 0;
    C = (C + D + (t >>> 0 < c >>> 0 ? 1 : 0)) | 0;
    c = t;
    t = ((d << 16) | (D >>> 16)) ^ c;
    D = ((D << 16) | (d >>> 16)) ^ C;
    d = t;
    // v0 += v3; v3 = rotl(v3, 21) ^ v0
    t = (a + d) | 0;
    A = (A + D + (t >>> 0 < a >>> 0 ? 1 : 0)) | 0;
    a = t;
    t = ((d << 21) | (D >>> 11)) ^ a;
    D = ((D << 21) | (d >>> 11)) ^ A;
    d = t;
    // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
    t = (c + b) | 0;
    C = (C + B + (t >>> 0 < c >>> 0 ? 1 : 0)) | 0;
    c = t;
    t = ((b << 17) | (B >>> 15)) ^ c;
    B = ((B << 17) | (b >>> 15)) ^ C;
    b = t;
    t = c;
    c = C;
    C = t;
  }
  l0 = a;
  h0 = A;
  l1 = b;
  h1 = B;
  l2 = c;
  h2 = C;
  l3 = d;
  h3 = D;
}
