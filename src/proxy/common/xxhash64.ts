/** xxHash64 (XXH64), the hash Envoy uses for hash policies, rings and Maglev tables. */
import { Hash64 } from './hash64.ts';

/** High and low halves of the algorithm's primes. */
const P1H = 0x9e3779b1;
const P1L = 0x85ebca87;
const P2H = 0xc2b2ae3d;
const P2L = 0x27d4eb4f;
const P3H = 0x165667b1;
const P3L = 0x9e3779f9;
const P4H = 0x85ebca77;
const P4L = 0xc2b2ae63;
const P5H = 0x27d4eb2f;
const P5L = 0x165667c5;

const lanes = [new Hash64(), new Hash64(), new Hash64(), new Hash64()];
const word = new Hash64();
let scratch = new Uint8Array(256);

/** The 64-bit hash of text with one character per byte. */
export function xxHash64(text: string, seed = 0n): bigint {
  const out = new Hash64();
  xxHash64Text(out, text, Number(seed >> 32n), Number(seed & 0xffffffffn));
  return out.toBigInt();
}

/** As `xxHash64`, into `out`. */
export function xxHash64Text(out: Hash64, text: string, seedHi = 0, seedLo = 0): Hash64 {
  const length = text.length;
  const bytes = length <= scratch.length ? scratch : new Uint8Array(length);
  if (length > scratch.length && length <= MAX_SCRATCH) scratch = bytes;
  for (let i = 0; i < length; i++) bytes[i] = text.charCodeAt(i);
  return xxHash64Bytes(out, bytes, length, seedHi, seedLo);
}

const MAX_SCRATCH = 65536;

/** The hash of the first `length` bytes, into `out`. */
export function xxHash64Bytes(out: Hash64, bytes: Uint8Array, length: number, seedHi = 0, seedLo = 0): Hash64 {
  let at = 0;
  if (length >= 32) {
    lanes[0].set(seedHi, seedLo).add(P1H, P1L).add(P2H, P2L);
    lanes[1].set(seedHi, seedLo).add(P2H, P2L);
    lanes[2].set(seedHi, seedLo);
    // Minus the first prime.
    lanes[3].set(seedHi, seedLo).add(~P1H, ~P1L).add(0, 1);
    for (; at + 32 <= length; at += 32) {
      for (let lane = 0; lane < 4; lane++) {
        const from = at + lane * 8;
        round(lanes[lane], read32(bytes, from + 4), read32(bytes, from));
      }
    }
    out.set(0, 0);
    for (let lane = 0; lane < 4; lane++) {
      const { hi, lo } = lanes[lane];
      const by = LANE_ROTATIONS[lane];
      out.add((hi << by) | (lo >>> (32 - by)), (lo << by) | (hi >>> (32 - by)));
    }
    for (let lane = 0; lane < 4; lane++) {
      round(word.set(0, 0), lanes[lane].hi, lanes[lane].lo);
      out.xor(word.hi, word.lo).multiply(P1H, P1L).add(P4H, P4L);
    }
  } else out.set(seedHi, seedLo).add(P5H, P5L);
  out.add(0, length);
  for (; at + 8 <= length; at += 8) {
    round(word.set(0, 0), read32(bytes, at + 4), read32(bytes, at));
    rotate(out.xor(word.hi, word.lo), 27).multiply(P1H, P1L).add(P4H, P4L);
  }
  if (at + 4 <= length) {
    word.set(0, read32(bytes, at)).multiply(P1H, P1L);
    rotate(out.xor(word.hi, word.lo), 23).multiply(P2H, P2L).add(P3H, P3L);
    at += 4;
  }
  for (; at < length; at++) {
    word.set(0, bytes[at]).multiply(P5H, P5L);
    rotate(out.xor(word.hi, word.lo), 11).multiply(P1H, P1L);
  }
  shiftXor(out, 33).multiply(P2H, P2L);
  shiftXor(out, 29).multiply(P3H, P3L);
  return shiftXor(out, 32);
}

const LANE_ROTATIONS = [1, 7, 12, 18];

function round(lane: Hash64, inputHi: number, inputLo: number): void {
  const { hi, lo } = lane;
  lane.set(inputHi, inputLo).multiply(P2H, P2L).add(hi, lo);
  rotate(lane, 31).multiply(P1H, P1L);
}

/** By 1 to 31 bits to the left. */
function rotate(value: Hash64, by: number): Hash64 {
  const { hi, lo } = value;
  return value.set((hi << by) | (lo >>> (32 - by)), (lo << by) | (hi >>> (32 - by)));
}

/** Exclusive or with itself shifted right; by more than 31, or less. */
function shiftXor(value: Hash64, by: number): Hash64 {
  const { hi, lo } = value;
  if (by >= 32) return value.set(hi, lo ^ (hi >>> (by - 32)));
  return value.set(hi ^ (hi >>> by), lo ^ ((lo >>> by) | (hi << (32 - by))));
}

function read32(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}
