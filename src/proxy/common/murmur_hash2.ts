/** MurmurHash2 in 64 bits as GNU's std::hash uses it (libstdc++ hash_bytes), for rings with `hash_function: MURMUR_HASH_2`. */
import { Hash64 } from './hash64.ts';

/** Envoy's MurmurHash::STD_HASH_SEED. */
const SEED = 0xc70f6907;
const MH = 0xc6a4a793;
const ML = 0x5bd1e995;

const word = new Hash64();

/** The hash of the first `length` bytes, into `out`. */
export function murmurHash2(out: Hash64, bytes: Uint8Array, length: number): Hash64 {
  out.set(0, length).multiply(MH, ML).xor(0, SEED);
  let at = 0;
  for (; at + 8 <= length; at += 8) {
    word.set(littleEndian(bytes, at + 4, 4), littleEndian(bytes, at, 4)).multiply(MH, ML);
    shiftMix(word).multiply(MH, ML);
    out.xor(word.hi, word.lo).multiply(MH, ML);
  }
  if (at < length) {
    const low = Math.min(4, length - at);
    out.xor(littleEndian(bytes, at + 4, length - at - low), littleEndian(bytes, at, low)).multiply(MH, ML);
  }
  return shiftMix(shiftMix(out).multiply(MH, ML));
}

/** Exclusive or with itself shifted right by 47. */
function shiftMix(value: Hash64): Hash64 {
  return value.xor(0, value.hi >>> 15);
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = (value << 8) | bytes[at + i];
  return value;
}
