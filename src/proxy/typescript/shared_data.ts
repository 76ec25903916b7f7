/**
 * A key-value table in shared memory, for filters on all workers (and services on the main thread). One lock guards it: an operation
 * takes a fraction of a microsecond, so waiting is spinning for a moment and then sleeping on the lock's word.
 *
 * Layout, in 32-bit words: lock, first free word, number of entries, heads of the free lists (one per power of two), bucket heads, and
 * then entries: next, hash, bytes of the key, bytes of the value, size class, kind, key, value (both padded to 8 bytes).
 */
import type { SharedData } from './host_api.ts';

/** There is no room for another value. */
export class SharedDataFull extends Error {
  constructor(bytes: number) {
    super(`no room for ${bytes} more bytes of shared data`);
    this.name = 'SharedDataFull';
  }
}

export const DEFAULT_SHARED_DATA_BYTES: number = 8 * 1024 * 1024;

const LOCK = 0;
const TOP = 1;
const COUNT = 2;
const FREE = 4;
const CLASSES = 28;
const BUCKETS = FREE + CLASSES;
const BUCKET_COUNT = 8192;
const FIRST = BUCKETS + BUCKET_COUNT;

const NEXT = 0;
const HASH = 1;
const KEY_LENGTH = 2;
const VALUE_LENGTH = 3;
const CLASS = 4;
const KIND = 5;
const HEAD_WORDS = 6;

const Kind = { Bytes: 0, Number: 1, Tokens: 2 } as const;
const MAX_KEY_BYTES = 4096;
const SPINS = 200;

export class SharedDataTable implements SharedData {
  private readonly words: Int32Array<SharedArrayBuffer>;
  private readonly u8: Uint8Array<SharedArrayBuffer>;
  private readonly view: DataView<SharedArrayBuffer>;
  private readonly key = new Uint8Array(MAX_KEY_BYTES);
  private keyLength = 0;
  private hash = 0;

  /** Over fresh (zeroed) memory or over a table that another thread made. */
  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory);
    this.u8 = new Uint8Array(memory);
    this.view = new DataView(memory);
  }

  /** Memory for a table. */
  static allocate(bytes: number = DEFAULT_SHARED_DATA_BYTES): SharedArrayBuffer {
    const words = Math.max(bytes >> 2, FIRST + 1024) & ~1;
    const memory = new SharedArrayBuffer(words * 4);
    new Int32Array(memory)[TOP] = FIRST + (FIRST & 1);
    return memory;
  }

  /** Number of keys. */
  get size(): number {
    return Atomics.load(this.words, COUNT);
  }

  get(key: string): Uint8Array<ArrayBuffer> | undefined {
    this.lock(key);
    try {
      const entry = this.find();
      if (entry === 0) return undefined;
      const length = this.words[entry + VALUE_LENGTH];
      const from = this.valueAt(entry);
      const bytes = new Uint8Array(length);
      bytes.set(this.u8.subarray(from, from + length));
      return bytes;
    } finally {
      this.unlock();
    }
  }

  getText(key: string): string | undefined {
    const bytes = this.get(key);
    return bytes === undefined ? undefined : Buffer.from(bytes.buffer, 0, bytes.length).toString('utf8');
  }

  set(key: string, value: string | Uint8Array): void {
    const bytes = bytesOf(value);
    this.lock(key);
    try {
      this.store(bytes);
    } finally {
      this.unlock();
    }
  }

  delete(key: string): boolean {
    this.lock(key);
    try {
      const entry = this.find();
      if (entry === 0) return false;
      this.remove(entry);
      return true;
    } finally {
      this.unlock();
    }
  }

  add(key: string, amount: number): number {
    this.lock(key);
    try {
      let entry = this.find();
      if (entry !== 0 && this.words[entry + KIND] !== Kind.Number) throw new TypeError(`shared data '${key}' is not a number`);
      if (entry === 0) entry = this.insert(8, Kind.Number);
      const at = this.valueAt(entry);
      const sum = this.view.getFloat64(at, true) + amount;
      this.view.setFloat64(at, sum, true);
      return sum;
    } finally {
      this.unlock();
    }
  }

  getNumber(key: string): number | undefined {
    this.lock(key);
    try {
      const entry = this.find();
      if (entry === 0) return undefined;
      if (this.words[entry + KIND] !== Kind.Number) throw new TypeError(`shared data '${key}' is not a number`);
      return this.view.getFloat64(this.valueAt(entry), true);
    } finally {
      this.unlock();
    }
  }

  setNumber(key: string, value: number): void {
    this.lock(key);
    try {
      let entry = this.find();
      if (entry !== 0 && this.words[entry + KIND] !== Kind.Number) {
        this.remove(entry);
        entry = 0;
      }
      if (entry === 0) entry = this.insert(8, Kind.Number);
      this.view.setFloat64(this.valueAt(entry), value, true);
    } finally {
      this.unlock();
    }
  }

  compareAndSet(key: string, expected: string | Uint8Array | undefined, value: string | Uint8Array): boolean {
    const wanted = expected === undefined ? undefined : bytesOf(expected);
    const bytes = bytesOf(value);
    this.lock(key);
    try {
      const entry = this.find();
      if (wanted === undefined ? entry !== 0 : entry === 0 || !this.equals(entry, wanted)) return false;
      this.store(bytes);
      return true;
    } finally {
      this.unlock();
    }
  }

  takeTokens(key: string, capacity: number, perSecond: number, tokens = 1): boolean {
    const nowMs = performance.timeOrigin + performance.now();
    this.lock(key);
    try {
      let entry = this.find();
      const view = this.view;
      if (entry !== 0 && this.words[entry + KIND] !== Kind.Tokens) throw new TypeError(`shared data '${key}' is no token bucket`);
      if (entry === 0) {
        entry = this.insert(32, Kind.Tokens);
        view.setFloat64(this.valueAt(entry), capacity, true);
        view.setFloat64(this.valueAt(entry) + 8, nowMs, true);
      }
      const at = this.valueAt(entry);
      view.setFloat64(at + 16, capacity, true);
      view.setFloat64(at + 24, perSecond, true);
      const have = this.tokensAt(at, nowMs);
      const enough = have >= tokens;
      view.setFloat64(at, enough ? have - tokens : have, true);
      view.setFloat64(at + 8, nowMs, true);
      return enough;
    } finally {
      this.unlock();
    }
  }

  // Entries. All of this is under the lock; `key`, `keyLength` and `hash` are of the operation's key.

  private tokensAt(at: number, nowMs: number): number {
    const view = this.view;
    const elapsedMs = Math.max(0, nowMs - view.getFloat64(at + 8, true));
    const gained = (elapsedMs * view.getFloat64(at + 24, true)) / 1000;
    return Math.min(view.getFloat64(at + 16, true), view.getFloat64(at, true) + gained);
  }

  private store(bytes: Uint8Array): void {
    let entry = this.find();
    if (entry !== 0 && !this.fits(entry, bytes.length)) {
      // The new one first: when there is no room the old value stays.
      const old = entry;
      entry = this.insert(bytes.length, Kind.Bytes);
      this.remove(old);
    } else if (entry === 0) entry = this.insert(bytes.length, Kind.Bytes);
    this.words[entry + KIND] = Kind.Bytes;
    this.words[entry + VALUE_LENGTH] = bytes.length;
    this.u8.set(bytes, this.valueAt(entry));
  }

  private fits(entry: number, length: number): boolean {
    return entryWords(this.words[entry + KEY_LENGTH], length) <= 1 << this.words[entry + CLASS];
  }

  private equals(entry: number, bytes: Uint8Array): boolean {
    if (this.words[entry + VALUE_LENGTH] !== bytes.length) return false;
    const from = this.valueAt(entry);
    for (let i = 0; i < bytes.length; i++) if (this.u8[from + i] !== bytes[i]) return false;
    return true;
  }

  private bucket(): number {
    return BUCKETS + (this.hash & (BUCKET_COUNT - 1));
  }

  private find(): number {
    const words = this.words;
    for (let entry = words[this.bucket()]; entry !== 0; entry = words[entry + NEXT]) {
      if (words[entry + HASH] === this.hash && words[entry + KEY_LENGTH] === this.keyLength && this.isKey(entry)) return entry;
    }
    return 0;
  }

  private isKey(entry: number): boolean {
    const from = (entry + HEAD_WORDS) << 2;
    for (let i = 0; i < this.keyLength; i++) if (this.u8[from + i] !== this.key[i]) return false;
    return true;
  }

  /** Byte offset of the value. */
  private valueAt(entry: number): number {
    return ((entry + HEAD_WORDS) << 2) + padded(this.words[entry + KEY_LENGTH]);
  }

  /** A new entry of the key with a zeroed value. */
  private insert(length: number, kind: number): number {
    const words = this.words;
    const sizeClass = classOf(entryWords(this.keyLength, length));
    const entry = this.allocate(sizeClass);
    const bucket = this.bucket();
    words[entry + NEXT] = words[bucket];
    words[entry + HASH] = this.hash;
    words[entry + KEY_LENGTH] = this.keyLength;
    words[entry + VALUE_LENGTH] = length;
    words[entry + CLASS] = sizeClass;
    words[entry + KIND] = kind;
    words[bucket] = entry;
    this.u8.set(this.key.subarray(0, this.keyLength), (entry + HEAD_WORDS) << 2);
    const at = this.valueAt(entry);
    this.u8.fill(0, at, at + length);
    words[COUNT]++;
    return entry;
  }

  private allocate(sizeClass: number): number {
    const words = this.words;
    if (sizeClass >= CLASSES) throw new SharedDataFull(4 << sizeClass);
    for (let attempt = 0; ; attempt++) {
      const free = words[FREE + sizeClass];
      if (free !== 0) {
        words[FREE + sizeClass] = words[free + NEXT];
        return free;
      }
      const top = words[TOP];
      if (top + (1 << sizeClass) <= words.length) {
        words[TOP] = top + (1 << sizeClass);
        return top;
      }
      // Token buckets that are full again say no more than none at all.
      if (attempt > 0 || this.dropFullBuckets() === 0) throw new SharedDataFull(4 << sizeClass);
    }
  }

  private dropFullBuckets(): number {
    const words = this.words;
    const nowMs = performance.timeOrigin + performance.now();
    let dropped = 0;
    for (let bucket = BUCKETS; bucket < FIRST; bucket++) {
      let before = bucket;
      for (let entry = words[bucket]; entry !== 0; ) {
        const next = words[entry + NEXT];
        const at = this.valueAt(entry);
        if (words[entry + KIND] === Kind.Tokens && this.tokensAt(at, nowMs) >= this.view.getFloat64(at + 16, true)) {
          words[before === bucket ? bucket : before + NEXT] = next;
          this.free(entry);
          dropped++;
        } else before = entry;
        entry = next;
      }
    }
    return dropped;
  }

  private remove(entry: number): void {
    const words = this.words;
    let at = BUCKETS + (words[entry + HASH] & (BUCKET_COUNT - 1));
    while (words[at] !== entry) at = words[at] + NEXT;
    words[at] = words[entry + NEXT];
    this.free(entry);
  }

  private free(entry: number): void {
    const words = this.words;
    const list = FREE + words[entry + CLASS];
    words[entry + NEXT] = words[list];
    words[list] = entry;
    words[COUNT]--;
  }

  // The lock: 0 free, 1 held, 2 held and waited for.

  private lock(key: string): void {
    this.setKey(key);
    const words = this.words;
    for (let i = 0; i < SPINS; i++) if (Atomics.compareExchange(words, LOCK, 0, 1) === 0) return;
    while (Atomics.exchange(words, LOCK, 2) !== 0) Atomics.wait(words, LOCK, 2, 10);
  }

  private unlock(): void {
    if (Atomics.exchange(this.words, LOCK, 0) === 2) Atomics.notify(this.words, LOCK, 1);
  }

  private setKey(key: string): void {
    if (typeof key !== 'string') throw new TypeError('a key of shared data is text');
    const bytes = this.key;
    if (key.length > MAX_KEY_BYTES / 3) throw new RangeError(`a key of shared data has at most ${MAX_KEY_BYTES / 3} characters`);
    let length = 0;
    for (; length < key.length; length++) {
      const c = key.charCodeAt(length);
      if (c > 127) break;
      bytes[length] = c;
    }
    if (length < key.length) length = encoder.encodeInto(key, bytes).written;
    let hash = 0x811c9dc5;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
    this.keyLength = length;
    this.hash = hash ^ (hash >>> 15);
  }
}

const encoder = new TextEncoder();

function bytesOf(value: string | Uint8Array): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Uint8Array) return value;
  throw new TypeError('a value of shared data is text or a Uint8Array');
}

function padded(length: number): number {
  return (length + 7) & ~7;
}

/** The key begins at word 6 of an even word: values are aligned to 8 bytes. */
function entryWords(keyLength: number, valueLength: number): number {
  return HEAD_WORDS + ((padded(keyLength) + padded(valueLength)) >> 2);
}

function classOf(words: number): number {
  return Math.max(3, 32 - Math.clz32(words - 1));
}
