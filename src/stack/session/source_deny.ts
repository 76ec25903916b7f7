/**
 * Source deny lists (VPP: `session sdl`): who may not come in from a network, by prefix of the source address, a list for each routing table
 * and address family. The longest prefix that matches decides, so that part of a denied range can be allowed again. What is denied
 * is not answered: a SYN or a datagram is dropped; connections that are established stay.
 *
 * Unlike VPP's it needs no choice of a back end: it is asked before the session rules. Left out: entries that a flood makes by itself
 * (`auto-sdl`), and connects between local applications, which have no source outside (session rules deny those).
 */
import { type Endpoint, formatPrefix, type Prefix, prefixMask } from './endpoint.ts';
import { TupleTable } from './tuple_table.ts';

export type SourceAction = 'allow' | 'deny';

export interface SourceEntry {
  readonly prefix: Prefix;
  readonly action: SourceAction;
  readonly tag: string;
}

const WORDS = 4;
export const MAX_TAG = 64;

/** Entries of one prefix length share a hash table: a lookup costs one probe for each length there is. */
class SourceList {
  private readonly entries = new Map<number, SourceEntry>();
  private lengths: { length: number; isV4: boolean; table: TupleTable }[] = [];
  private nextId = 0;
  private readonly key = new Int32Array(WORDS);

  get size(): number {
    return this.entries.size;
  }

  get list(): SourceEntry[] {
    return [...this.entries.values()];
  }

  add(entry: SourceEntry): boolean {
    const { prefix } = entry;
    let group = this.groupOf(prefix);
    if (group === undefined) {
      group = { length: prefix.length, isV4: prefix.isV4, table: new TupleTable(WORDS) };
      this.lengths.push(group);
      this.lengths.sort((a, b) => b.length - a.length);
    }
    if (group.table.get(prefix.words) >= 0) return false;
    const id = this.nextId++;
    group.table.set(prefix.words, id);
    this.entries.set(id, entry);
    return true;
  }

  delete(prefix: Prefix): boolean {
    const group = this.groupOf(prefix);
    const id = group === undefined ? -1 : group.table.get(prefix.words);
    if (group === undefined || id < 0) return false;
    group.table.delete(prefix.words);
    this.entries.delete(id);
    if (group.table.size === 0) this.lengths = this.lengths.filter((other) => other !== group);
    return true;
  }

  match(source: Endpoint): SourceEntry | null {
    const { key, lengths } = this;
    for (let k = 0; k < lengths.length; k++) {
      const { length, isV4, table } = lengths[k];
      if (isV4 !== source.isV4) continue;
      for (let i = 0; i < WORDS; i++) key[i] = source.words[i] & prefixMask(length, i);
      const id = table.get(key);
      if (id >= 0) return this.entries.get(id)!;
    }
    return null;
  }

  private groupOf({ length, isV4 }: Prefix) {
    return this.lengths.find((group) => group.length === length && group.isV4 === isV4);
  }
}

export class SourceDenyLists {
  /** Arrivals that were denied. */
  denials = 0;
  private readonly lists = new Map<number, SourceList>();

  /** False when the prefix is there already. */
  add(fib: number, entry: SourceEntry): boolean {
    let list = this.lists.get(fib);
    if (list === undefined) this.lists.set(fib, (list = new SourceList()));
    return list.add(entry);
  }

  delete(fib: number, prefix: Prefix): boolean {
    const list = this.lists.get(fib);
    if (list === undefined || !list.delete(prefix)) return false;
    if (list.size === 0) this.lists.delete(fib);
    return true;
  }

  /** Removes all that have this tag; how many. */
  deleteTag(fib: number, tag: string): number {
    const tagged = this.list(fib).filter((entry) => entry.tag === tag);
    for (const { prefix } of tagged) this.delete(fib, prefix);
    return tagged.length;
  }

  /** What arrives from `source` is to be dropped. */
  denies(fib: number, source: Endpoint): boolean {
    if (this.lists.size === 0 || this.match(fib, source)?.action !== 'deny') return false;
    this.denials++;
    return true;
  }

  match(fib: number, source: Endpoint): SourceEntry | null {
    return this.lists.get(fib)?.match(source) ?? null;
  }

  list(fib: number): SourceEntry[] {
    return this.lists.get(fib)?.list ?? [];
  }
}

export function describeSource({ prefix, action, tag }: SourceEntry): Record<string, unknown> {
  return { source: formatPrefix(prefix), action, tag };
}
