/**
 * The Huffman code of HPACK (RFC 7541 5.2, appendix B). The code is canonical, so its lengths are all there is to know.
 *
 * Decoding walks a table of 256 states by four bits: two steps a byte, at most one symbol a step. A string that ends in more than
 * seven bits of padding, in padding that is not all ones, or that has the end-of-string symbol in it is an error.
 */

/** Bits of the code of each symbol; 256 is end-of-string. */
// biome-ignore format: as in the RFC, sixteen to a line
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];
const EOS = 256;

const CODES = new Uint32Array(LENGTHS.length);
const BITS = Uint8Array.from(LENGTHS);
{
  let code = 0;
  let length = 0;
  const order = LENGTHS.map((_, symbol) => symbol).sort((a, b) => LENGTHS[a] - LENGTHS[b] || a - b);
  for (const symbol of order) {
    code *= 2 ** (LENGTHS[symbol] - length);
    length = LENGTHS[symbol];
    CODES[symbol] = code++;
  }
}

// A step: bits 0-7 the next state, 8-15 the symbol, 16 whether there is one, 17 whether the string may end here, 18 failure.
const EMITS = 1 << 16;
const MAY_END = 1 << 17;
const FAILS = 1 << 18;
const STEPS = new Int32Array(256 * 16);
buildSteps();

function buildSteps(): void {
  // The code as a tree: children[2n], children[2n + 1]; negative is the leaf of symbol -1 - x.
  const children: number[] = [0, 0];
  const depth: number[] = [0];
  /** Nodes reached by ones only: where padding may stop. */
  const ones: boolean[] = [true];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = BITS[symbol] - 1; bit >= 0; bit--) {
      const one = Math.floor(CODES[symbol] / 2 ** bit) % 2;
      const at = 2 * node + one;
      if (bit === 0) {
        children[at] = -1 - symbol;
        break;
      }
      if (children[at] === 0) {
        children[at] = depth.length;
        depth.push(depth[node] + 1);
        ones.push(ones[node] && one === 1);
        children.push(0, 0);
      }
      node = children[at];
    }
  }
  for (let state = 0; state < depth.length; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let step = 0;
      for (let bit = 3; bit >= 0 && (step & FAILS) === 0; bit--) {
        const next = children[2 * node + ((nibble >> bit) & 1)];
        if (next >= 0) node = next;
        else if (next === -1 - EOS) step = FAILS;
        else {
          step = EMITS | ((-1 - next) << 8);
          node = 0;
        }
      }
      if (ones[node] && depth[node] <= 7) step |= MAY_END;
      STEPS[state * 16 + nibble] = step | node;
    }
  }
}

/** Decodes `from[start, end)` to `to` at `at`, where 8 bytes for each 5 must have room; the end, or -1. */
export function huffmanDecode(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): number {
  let state = 0;
  let step = MAY_END;
  for (let i = start; i < end; i++) {
    const byte = from[i];
    step = STEPS[(state << 4) | (byte >> 4)];
    if ((step & EMITS) !== 0) to[at++] = (step >> 8) & 255;
    if ((step & FAILS) !== 0) return -1;
    step = STEPS[((step & 255) << 4) | (byte & 15)];
    if ((step & EMITS) !== 0) to[at++] = (step >> 8) & 255;
    if ((step & FAILS) !== 0) return -1;
    state = step & 255;
  }
  return (step & MAY_END) === 0 ? -1 : at;
}

/** Bytes that `from[start, end)` takes encoded. */
export function huffmanLength(from: Uint8Array, start: number, end: number): number {
  let bits = 0;
  for (let i = start; i < end; i++) bits += BITS[from[i]];
  return (bits + 7) >> 3;
}

/** Encodes `from[start, end)` to `to` at `at`; returns the end. */
export function huffmanEncode(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): number {
  let held = 0;
  let heldBits = 0;
  for (let i = start; i < end; i++) {
    const symbol = from[i];
    let bits = BITS[symbol];
    const code = CODES[symbol];
    // At most 7 bits are held: 24 more fit into the 31 that shifts keep positive.
    while (bits > 0) {
      const take = bits > 24 ? bits - 24 : bits;
      bits -= take;
      held = (held << take) | ((code >>> bits) & ((1 << take) - 1));
      heldBits += take;
      while (heldBits >= 8) {
        heldBits -= 8;
        to[at++] = (held >>> heldBits) & 255;
      }
      held &= (1 << heldBits) - 1;
    }
  }
  if (heldBits > 0) to[at++] = ((held << (8 - heldBits)) | ((1 << (8 - heldBits)) - 1)) & 255;
  return at;
}
