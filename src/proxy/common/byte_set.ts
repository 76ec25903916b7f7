/** Sets of bytes, and those that RE2 has names for. */

/** Eight words of 32 bits. */
export type ByteSet = Uint32Array<ArrayBuffer>;

export function hasByte(set: ByteSet, byte: number): boolean {
  return (set[byte >> 5] & (1 << (byte & 31))) !== 0;
}

/** Ranges as pairs of characters: `az` is a to z; a single `x` is written `xx`. */
export const POSIX_CLASSES: Record<string, string | undefined> = {
  alnum: '09AZaz',
  alpha: 'AZaz',
  ascii: '\x00\x7f',
  blank: '\t\t  ',
  cntrl: '\x00\x1f\x7f\x7f',
  digit: '09',
  graph: '!~',
  lower: 'az',
  print: ' ~',
  punct: '!/:@[`{~',
  space: '\t\r  ',
  upper: 'AZ',
  word: '09AZaz__',
  xdigit: '09AFaf',
};

const DIGIT = setOf('09');
const SPACE = setOf('\t\n\f\r  ');
const WORD = setOf('09AZaz__');

export const PERL_CLASSES: Record<string, ByteSet | undefined> = {
  d: DIGIT,
  D: complement(DIGIT),
  s: SPACE,
  S: complement(SPACE),
  w: WORD,
  W: complement(WORD),
};

/** A set from pairs of first and last character; an odd last character stands for itself. */
export function setOf(pairs: string): ByteSet {
  const set = new Uint32Array(8);
  for (let i = 0; i < pairs.length; i += 2) {
    const last = pairs.charCodeAt(i + 1 < pairs.length ? i + 1 : i);
    for (let byte = pairs.charCodeAt(i); byte <= last; byte++) add(set, byte);
  }
  return set;
}

export function fullSet(): ByteSet {
  return new Uint32Array(8).fill(0xffffffff);
}

export function add(set: ByteSet, byte: number): void {
  set[byte >> 5] |= 1 << (byte & 31);
}

export function union(into: ByteSet, other: ByteSet): void {
  for (let i = 0; i < 8; i++) into[i] |= other[i];
}

export function complement(set: ByteSet): ByteSet {
  return set.map((word) => ~word);
}

export function folded(set: ByteSet): ByteSet {
  const result = set.slice();
  for (let upper = 65; upper <= 90; upper++) {
    if (hasByte(set, upper) || hasByte(set, upper + 32)) {
      add(result, upper);
      add(result, upper + 32);
    }
  }
  return result;
}
