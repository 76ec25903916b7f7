/**
 * The ring of consistent hashing (Envoy: RingHashLoadBalancer::Ring; ketama): each host at as many places as its weight asks for, at the
 * hashes of `<key>_<i>`; a request goes to the first place at or after its hash. Same hosts, same order, same ring as Envoy's.
 *
 * Hashes are spread evenly, so they are sorted by putting them into as many buckets as there are and straightening out neighbours.
 */
import { Hash64 } from '../../common/hash64.ts';
import { murmurHash2 } from '../../common/murmur_hash2.ts';
import { xxHash64Bytes } from '../../common/xxhash64.ts';
import type { HostImpl } from '../host.ts';
import { BUILD_STEP, type HashTable, type TableBuilder } from './hash_table.ts';
import type { HostWeights } from './host_weights.ts';

export interface RingOptions {
  readonly minRingSize: number;
  readonly maxRingSize: number;
  readonly murmur: boolean;
}

export class Ring implements HashTable {
  /** As configured; the number of places, rounding aside. */
  readonly size: number;
  readonly minHashesPerHost: number;
  readonly maxHashesPerHost: number;
  private readonly hosts: readonly HostImpl[];
  /** Halves of the hashes, and whose they are, in order of hashes. */
  private readonly high: Uint32Array;
  private readonly low: Uint32Array;
  private readonly owners: Uint32Array;

  constructor(hosts: readonly HostImpl[], places: Places, size: number, min: number, max: number) {
    this.hosts = hosts;
    this.high = places.high;
    this.low = places.low;
    this.owners = places.owners;
    this.size = size;
    this.minHashesPerHost = min;
    this.maxHashesPerHost = max;
  }

  choose(hash: Hash64, attempt: number): HostImpl {
    const { high, low, owners } = this;
    const hi = hash.hi >>> 0;
    const lo = hash.lo >>> 0;
    let from = 0;
    let to = high.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (high[middle] < hi || (high[middle] === hi && low[middle] < lo)) from = middle + 1;
      else to = middle;
    }
    if (from === high.length) from = 0;
    return this.hosts[owners[(from + attempt) % high.length]];
  }
}

interface Places {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly owners: Uint32Array;
}

/** `weights` has hosts. */
export function* buildRing(weights: HostWeights, options: RingOptions): TableBuilder<Ring> {
  const { hosts, min } = weights;
  // The least host gets a whole number of places.
  const scale = Math.min(Math.ceil(min * options.minRingSize) / min, options.maxRingSize);
  const size = Math.ceil(scale);
  const counts = placesPerHost(weights.weights, scale);
  const places = newPlaces(counts.reduce((a, b) => a + b, 0));
  const hash = new Hash64();
  const hashOf = options.murmur ? murmurHash2 : xxHash64Bytes;
  let bytes = new Uint8Array(128);
  let at = 0;
  for (let host = 0; host < hosts.length; host++) {
    const key = `${weights.keys[host]}_`;
    if (key.length + 10 > bytes.length) bytes = new Uint8Array(2 * key.length + 10);
    for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
    for (let i = 0; i < counts[host]; i++) {
      hashOf(hash, bytes, writeDecimal(bytes, key.length, i));
      places.high[at] = hash.hi;
      places.low[at] = hash.lo;
      places.owners[at] = host;
      if (++at % BUILD_STEP === 0) yield;
    }
  }
  const sorted = yield* sort(places);
  const least = counts.reduce((a, b) => Math.min(a, b), size);
  return new Ring(
    hosts,
    sorted,
    size,
    least,
    counts.reduce((a, b) => Math.max(a, b), 0),
  );
}

/** Running sums, so that what rounding takes from one host goes to the next. */
function placesPerHost(weights: readonly number[], scale: number): number[] {
  let current = 0;
  let target = 0;
  return weights.map((weight) => {
    target += scale * weight;
    let count = 0;
    for (; current < target; current++) count++;
    return count;
  });
}

function newPlaces(length: number): Places {
  return { high: new Uint32Array(length), low: new Uint32Array(length), owners: new Uint32Array(length) };
}

function writeDecimal(bytes: Uint8Array, at: number, value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest = (rest / 10) | 0) digits++;
  for (let i = at + digits - 1, rest = value; i >= at; i--, rest = (rest / 10) | 0) bytes[i] = 48 + (rest % 10);
  return at + digits;
}

function* sort(places: Places): Generator<void, Places, void> {
  const { high, low, owners } = places;
  const length = high.length;
  const shift = Math.max(8, Math.clz32(length));
  const starts = new Uint32Array(2 ** (32 - shift) + 1);
  for (let i = 0; i < length; i++) starts[(high[i] >>> shift) + 1]++;
  yield;
  for (let bucket = 1; bucket < starts.length; bucket++) starts[bucket] += starts[bucket - 1];
  const sorted = newPlaces(length);
  for (let i = 0; i < length; i++) {
    put(sorted, starts[high[i] >>> shift]++, high[i], low[i], owners[i]);
    if (i % (8 * BUILD_STEP) === 0) yield;
  }
  for (let i = 1; i < length; i++) {
    const hi = sorted.high[i];
    const lo = sorted.low[i];
    const owner = sorted.owners[i];
    let to = i;
    for (; to > 0 && (sorted.high[to - 1] > hi || (sorted.high[to - 1] === hi && sorted.low[to - 1] > lo)); to--) {
      put(sorted, to, sorted.high[to - 1], sorted.low[to - 1], sorted.owners[to - 1]);
    }
    if (to !== i) put(sorted, to, hi, lo, owner);
    if (i % (8 * BUILD_STEP) === 0) yield;
  }
  return sorted;
}

function put(places: Places, at: number, high: number, low: number, owner: number): void {
  places.high[at] = high;
  places.low[at] = low;
  places.owners[at] = owner;
}
