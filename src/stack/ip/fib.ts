/** Forwarding tables: longest-prefix match on a binary trie, one table per address family and table id, with the last answer kept. */
import type { IpAddress } from './address.ts';

export interface FibEntry {
  /** `receive`: for this host; `attached`: neighbours of the device; `via`: through a gateway; `drop`. */
  readonly kind: 'receive' | 'attached' | 'via' | 'drop';
  readonly device: number;
  readonly gateway: IpAddress | null;
  /** The address to send from. */
  readonly source: IpAddress | null;
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
