/**
 * The Maglev table (Eisenbud et al., NSDI 2016, 3.4; Envoy: MaglevTable): every host in turn takes the next free place of its own
 * permutation until the table is full, a lighter host not in every round. Same hosts, same table as Envoy's.
 */
import { Hash64 } from '../../common/hash64.ts';
import { xxHash64Text } from '../../common/xxhash64.ts';
import type { HostImpl } from '../host.ts';
import { BUILD_STEP, type HashTable, type TableBuilder } from './hash_table.ts';
import type { HostWeights } from './host_weights.ts';

export class MaglevTable implements HashTable {
  readonly size: number;
  readonly minEntriesPerHost: number;
  readonly maxEntriesPerHost: number;
  private readonly hosts: readonly HostImpl[];
  private readonly owners: Int32Array;
  private readonly mixed = new Hash64();

  constructor(hosts: readonly HostImpl[], owners: Int32Array, min: number, max: number) {
    this.hosts = hosts;
    this.owners = owners;
    this.size = owners.length;
    this.minEntriesPerHost = min;
    this.maxEntriesPerHost = max;
  }

  choose(hash: Hash64, attempt: number): HostImpl {
    const { owners } = this;
    if (attempt === 0) return this.hosts[owners[hash.modulo(owners.length)]];
    // With the two's complement of the attempt: most bits change.
    this.mixed.set(hash.hi, hash.lo).xor(-1, -attempt);
    return this.hosts[owners[this.mixed.modulo(owners.length)]];
  }
}

interface Entry {
  readonly host: number;
  readonly skip: number;
  readonly weight: number;
  /** The next place of the permutation. */
  at: number;
  target: number;
  count: number;
}

/** `weights` has hosts; `size` is a prime. */
export function* buildMaglevTable(weights: HostWeights, size: number): TableBuilder<MaglevTable> {
  const hash = new Hash64();
  const entries = weights.keys.map((key, host): Entry => {
    const at = xxHash64Text(hash, key).modulo(size);
    const skip = xxHash64Text(hash, key, 0, 1).modulo(size - 1) + 1;
    return { host, skip, weight: weights.weights[host], at, target: 0, count: 0 };
  });
  entries.sort((a, b) => compare(weights.keys[a.host], weights.keys[b.host]));
  yield;
  const owners = new Int32Array(size).fill(-1);
  let work = 0;
  let taken = 0;
  for (let round = 1; taken < size; round++) {
    for (let i = 0; i < entries.length && taken < size; i++) {
      const entry = entries[i];
      work++;
      if (round * entry.weight >= entry.target) {
        entry.target += weights.max;
        let { at } = entry;
        for (; owners[at] >= 0; work++) at = next(at, entry.skip, size);
        owners[at] = entry.host;
        entry.at = next(at, entry.skip, size);
        entry.count++;
        taken++;
      }
      if (work >= 16 * BUILD_STEP) {
        work = 0;
        yield;
      }
    }
  }
  const least = entries.reduce((min, entry) => Math.min(min, entry.count), size);
  return new MaglevTable(
    weights.hosts,
    owners,
    least,
    entries.reduce((max, entry) => Math.max(max, entry.count), 0),
  );
}

function next(at: number, skip: number, size: number): number {
  const sum = at + skip;
  return sum >= size ? sum - size : sum;
}

/** By bytes, as Envoy orders them. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
