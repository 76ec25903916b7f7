/** Forwarding tables: longest-prefix match on a binary trie, one table per address family and table id, with the last answer kept. */
import { IpAddress as Address, type IpAddress } from './address.ts';

export interface FibEntry {
  /** `receive`: for this host; `attached`: neighbours of the device; `via`: through a gateway; `drop`. */
  readonly kind: 'receive' | 'attached' | 'via' | 'drop';
  readonly device: number;
  readonly gateway: IpAddress | null;
  /** The address to send from. */
  readonly source: IpAddress | null;
}

/** The two tables of one number. */
export class FibTables {
  readonly index: number;
  readonly v4 = new Fib();
  readonly v6 = new Fib();

  constructor(index: number) {
    this.index = index;
  }

  of(address: IpAddress): Fib {
    return address.isV4 ? this.v4 : this.v6;
  }
}

export interface FibRow {
  prefix: IpAddress;
  length: number;
  entry: FibEntry;
}

interface TrieNode {
  zero: TrieNode | null;
  one: TrieNode | null;
  entry: FibEntry | null;
}

const newNode = (): TrieNode => ({ zero: null, one: null, entry: null });

export class Fib {
  private root = newNode();
  private last0 = 0;
  private last1 = 0;
  private last2 = 0;
  private last3 = 0;
  private lastEntry: FibEntry | null = null;
  private lastValid = false;

  add(prefix: IpAddress, length: number, entry: FibEntry): void {
    let node = this.root;
    for (let i = 0; i < length; i++) {
      if (bit(prefix.word(i >> 5), i & 31)) node = node.one ??= newNode();
      else node = node.zero ??= newNode();
    }
    node.entry = entry;
    this.lastValid = false;
  }

  remove(prefix: IpAddress, length: number): void {
    let node: TrieNode | null = this.root;
    for (let i = 0; i < length && node !== null; i++) node = bit(prefix.word(i >> 5), i & 31) ? node.one : node.zero;
    if (node !== null) node.entry = null;
    this.lastValid = false;
  }

  /** All entries, shorter prefixes first along each branch. */
  rows(isV4: boolean): FibRow[] {
    const rows: FibRow[] = [];
    const words = [0, 0, 0, 0];
    const walk = (node: TrieNode, depth: number): void => {
      if (node.entry !== null)
        rows.push({ prefix: new Address(isV4, words[0], words[1], words[2], words[3]), length: depth, entry: node.entry });
      if (node.zero !== null) walk(node.zero, depth + 1);
      if (node.one === null) return;
      const mask = 1 << (31 - (depth & 31));
      words[depth >> 5] |= mask;
      walk(node.one, depth + 1);
      words[depth >> 5] &= ~mask;
    };
    walk(this.root, 0);
    return rows;
  }

  lookup(address: IpAddress): FibEntry | null {
    return this.lookupWords(address.w0, address.w1, address.w2, address.w3, address.isV4 ? 32 : 128);
  }

  lookupWords(w0: number, w1: number, w2: number, w3: number, bits: number): FibEntry | null {
    if (this.lastValid && this.last0 === w0 && this.last3 === w3 && this.last1 === w1 && this.last2 === w2) return this.lastEntry;
    let node: TrieNode | null = this.root;
    let best: FibEntry | null = null;
    for (let i = 0; ; i++) {
      if (node.entry !== null) best = node.entry;
      if (i >= bits) break;
      const word: number = i < 32 ? w0 : i < 64 ? w1 : i < 96 ? w2 : w3;
      node = bit(word, i & 31) ? node.one : node.zero;
      if (node === null) break;
    }
    this.last0 = w0;
    this.last1 = w1;
    this.last2 = w2;
    this.last3 = w3;
    this.lastEntry = best;
    this.lastValid = true;
    return best;
  }
}

function bit(word: number, i: number): boolean {
  return ((word >>> (31 - i)) & 1) !== 0;
}
