/** What maps of headers share about the known names: their bytes in each slab, and sets of them as bits. */
import type { Slab } from '../../core/buffer/slab.ts';
import { HEADER_NAMES } from './header_names.ts';
import { writeText } from './header_text.ts';

/** Words of a set of known headers, a bit each. */
export const MASK_WORDS = (HEADER_NAMES.length + 31) >> 5;

const nameStarts = new WeakMap<Slab, Int32Array>();

/** The known names are written once into a block of each slab, which stays: from there they are copied words at a time. */
export function nameStartsOf(slab: Slab): Int32Array {
  let starts = nameStarts.get(slab);
  if (starts !== undefined) return starts;
  starts = new Int32Array(HEADER_NAMES.length);
  let at = slab.allocatePermanent();
  for (let id = 1; id < HEADER_NAMES.length; id++) {
    starts[id] = at;
    at = writeText(slab.u8, HEADER_NAMES[id], at);
  }
  nameStarts.set(slab, starts);
  return starts;
}

/** A mask of known headers for `mayHaveAny`. */
export function headerMask(ids: readonly number[]): Int32Array {
  const mask = new Int32Array(MASK_WORDS);
  for (const id of ids) mask[id >> 5] |= 1 << (id & 31);
  return mask;
}
