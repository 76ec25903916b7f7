/**
 * Hash table from fixed-width keys of 32-bit words to a 32-bit value: open addressing, linear probing, deletion by moving later
 * entries back, at most 3/4 full. What the session lookup tables are made of (VPP: bihash 16_8 and 48_8).
 */

export class TupleTable {
  size = 0;
  private readonly keyWords: number;
  private readonly seed: number;
  private mask: number;
  private keys: Int32Array;
  private values: Int32Array;
  private used: Uint8Array;

  /** `seed` makes collisions unpredictable for who chooses the keys. */
  constructor(keyWords: number, seed = (Math.random() * 0x7fffffff) | 0, capacity = 64) {
    this.keyWords = keyWords;
    this.seed = seed;
    this.mask = capacity - 1;
    this.keys = new Int32Array(capacity * keyWords);
    this.values = new Int32Array(capacity);
    this.used = new Uint8Array(capacity);
  }

  /** The value of `key`, or -1. */
  get(key: Int32Array): number {
    const at = this.find(key);
    return this.used[at] === 0 ? -1 : this.values[at];
  }

  set(key: Int32Array, value: number): void {
    let at = this.find(key);
    if (this.used[at] === 0) {
      if ((this.size + 1) * 4 > (this.mask + 1) * 3) {
        this.grow();
        at = this.find(key);
      }
      this.used[at] = 1;
      for (let i = 0; i < this.keyWords; i++) this.keys[at * this.keyWords + i] = key[i];
      this.size++;
    }
    this.values[at] = value;
  }

  delete(key: Int32Array): boolean {
    let hole = this.find(key);
    if (this.used[hole] === 0) return false;
    this.size--;
    let at = hole;
    for (;;) {
      at = (at + 1) & this.mask;
      if (this.used[at] === 0) break;
      const home = this.hash(this.keys, at * this.keyWords) & this.mask;
      // An entry may move back only to a place that is not before its home.
      if (((at - home) & this.mask) < ((at - hole) & this.mask)) continue;
      this.move(at, hole);
      hole = at;
    }
    this.used[hole] = 0;
    return true;
  }

  private find(key: Int32Array): number {
    let at = this.hash(key, 0) & this.mask;
    while (this.used[at] !== 0 && !this.equals(at, key)) at = (at + 1) & this.mask;
    return at;
  }

  private equals(at: number, key: Int32Array): boolean {
    const base = at * this.keyWords;
    for (let i = 0; i < this.keyWords; i++) if (this.keys[base + i] !== key[i]) return false;
    return true;
  }

  private hash(words: Int32Array, from: number): number {
    let h = this.seed;
    for (let i = 0; i < this.keyWords; i++) {
      h = Math.imul(h ^ words[from + i], 0xcc9e2d51);
      h = (h << 15) | (h >>> 17);
      h = Math.imul(h, 0x1b873593);
    }
    h ^= h >>> 16;
    h = Math.imul(h, 0x85ebca6b);
    return h ^ (h >>> 13);
  }

  private move(from: number, to: number): void {
    for (let i = 0; i < this.keyWords; i++) this.keys[to * this.keyWords + i] = this.keys[from * this.keyWords + i];
    this.values[to] = this.values[from];
  }

  private grow(): void {
    const { keys, values, used, keyWords } = this;
    const capacity = (this.mask + 1) * 2;
    this.mask = capacity - 1;
    this.keys = new Int32Array(capacity * keyWords);
    this.values = new Int32Array(capacity);
    this.used = new Uint8Array(capacity);
    for (let old = 0; old < used.length; old++) {
      if (used[old] === 0) continue;
      let at = this.hash(keys, old * keyWords) & this.mask;
      while (this.used[at] !== 0) at = (at + 1) & this.mask;
      this.used[at] = 1;
      for (let i = 0; i < keyWords; i++) this.keys[at * keyWords + i] = keys[old * keyWords + i];
      this.values[at] = values[old];
    }
  }
}
