/** A table of hosts by hash: a ring or a Maglev table. */
import type { Hash64 } from '../../common/hash64.ts';
import type { HostImpl } from '../host.ts';

export interface HashTable {
  /** Never empty. `attempt` > 0: another host than before was asked for. */
  choose(hash: Hash64, attempt: number): HostImpl;
  /** `choose` gives every host within so many attempts, one after the other. */
  readonly size: number;
}

/** Work between two yields of a builder, in hashes or entries: well below a millisecond. */
export const BUILD_STEP = 2048;

/** Builds in steps, so that a worker's loop turns meanwhile. */
export type TableBuilder<T extends HashTable = HashTable> = Generator<void, T, void>;
