/**
 * Encodes header maps with HPACK (RFC 7541).
 *
 * A field enters the dynamic table when it is seen for the second time, so that values which never repeat (request ids, timings) evict
 * nothing; then it is Huffman coded, once, and costs a byte or two from there on. What is not indexed is written as it is: the
 * Huffman code would cost more time than the bytes are worth. Credentials and cookies are never indexed (RFC 7541 7.1.3).
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import type { HeaderMap } from '../header_map.ts';
import { H, HEADER_NAMES } from '../header_names.ts';
import { writeText } from '../header_text.ts';
import { STATIC_NAME_INDEX, STATIC_SIZE, staticStatusIndex } from './hpack_static.ts';
import { huffmanEncode, huffmanLength } from './huffman.ts';

const ENTRY_OVERHEAD = 32;
const STRIDE = 7;
const ID = 0;
const HASH = 1;
const NAME_AT = 2;
const NAME_LENGTH = 3;
const VALUE_AT = 4;
const VALUE_LENGTH = 5;
/** Insertion number of the next older entry in the same chain, plus one. */
const OLDER = 6;
/** A value longer than this is not worth its place in the table. */
const MAX_INDEXED = 512;
/** Entries of a chain that are compared. */
const MAX_CHAIN = 8;
const CHAINS = 128;
const SEEN = 64;

/** Never leave this hop (RFC 9113 8.2.2), or are written by other means. */
const SKIPPED = new Uint8Array(HEADER_NAMES.length);
for (const name of ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings'] as const)
  SKIPPED[H[name]] = 1;
for (let id = 1; id <= H.host; id++) SKIPPED[id] = 1;

const NEVER_INDEXED = new Uint8Array(HEADER_NAMES.length);
for (const name of ['authorization', 'cookie', 'set-cookie'] as const) NEVER_INDEXED[H[name]] = 1;

/** Values that do not repeat: not even looked up. */
const UNIQUE = new Uint8Array(HEADER_NAMES.length);
for (const name of ['x-request-id', 'content-length', 'x-envoy-upstream-service-time', 'etag', 'x-client-trace-id'] as const)
  UNIQUE[H[name]] = 1;

export class HpackEncoder {
  private readonly slab: Slab;
  /** Of our own configuration: the peer may announce more. */
  private readonly ownLimit: number;
  private maxSize: number;
  /** Table size updates that the next block begins with; -1: none. */
  private smallestPending = -1;
  private pendingSize = -1;
  private tableSize = 0;
  private entries: Int32Array | null = null;
  private mask = 0;
  private store: Uint8Array | null = null;
  private stored = 0;
  private inserted = 0;
  private count = 0;
  private readonly newestOfChain = new Int32Array(CHAINS);
  private readonly seen = new Int32Array(SEEN);
  /** Of each known header the text that was found last, and its insertion number: constant values are not even looked at. */
  private readonly lastTexts: (string | undefined)[] = [];
  private readonly lastNumbers: number[] = [];
  private readonly scratch: number;

  private u8: Uint8Array;
  private at = 0;

  constructor(slab: Slab, ownLimit: number) {
    this.slab = slab;
    this.ownLimit = ownLimit;
    this.maxSize = Math.min(4096, ownLimit);
    if (ownLimit < 4096) this.pendingSize = this.smallestPending = ownLimit;
    this.scratch = scratchOf(slab);
    this.u8 = slab.u8;
    for (let id = 0; id < HEADER_NAMES.length; id++) {
      this.lastTexts.push(undefined);
      this.lastNumbers.push(-1);
    }
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setPeerTableSize(size: number): void {
    const next = Math.min(size, this.ownLimit);
    if (next === this.maxSize) return;
    this.maxSize = next;
    this.evictTo(next);
    this.pendingSize = next;
    this.smallestPending = this.smallestPending < 0 ? next : Math.min(this.smallestPending, next);
    // Capacity follows the limit; insertion numbers are kept by starting over.
    this.reset();
  }

  /** `encode` writes at most this much. */
  static bound(headers: HeaderMap): number {
    return headers.linesByteSize() + headers.entryCount * 8 + 64;
  }

  /** Writes `:status` and the other fields to `u8` at `at`; returns the end. */
  encodeResponse(headers: HeaderMap, status: number, u8: Uint8Array, at: number): number {
    this.begin(u8, at);
    const index = staticStatusIndex(status);
    if (index !== 0) u8[this.at++] = 0x80 | index;
    else {
      u8[this.at++] = 8;
      u8[this.at++] = 3;
      u8[this.at++] = 48 + ((status / 100) | 0);
      u8[this.at++] = 48 + (((status / 10) | 0) % 10);
      u8[this.at++] = 48 + (status % 10);
    }
    this.fields(headers);
    return this.at;
  }

  /** Pseudo headers first, in one order, then the others. */
  encodeRequest(headers: HeaderMap, u8: Uint8Array, at: number): number {
    this.begin(u8, at);
    for (let i = 0; i < REQUEST_PSEUDO.length; i++) {
      const entry = headers.entryOf(REQUEST_PSEUDO[i]);
      if (entry >= 0) this.pseudo(headers, entry, REQUEST_PSEUDO[i]);
    }
    this.fields(headers);
    return this.at;
  }

  encodeTrailers(headers: HeaderMap, u8: Uint8Array, at: number): number {
    this.begin(u8, at);
    this.fields(headers);
    return this.at;
  }

  private begin(u8: Uint8Array, at: number): void {
    this.u8 = u8;
    this.at = at;
    if (this.pendingSize < 0) return;
    if (this.smallestPending < this.pendingSize) this.integer(0x20, 0x1f, this.smallestPending);
    this.integer(0x20, 0x1f, this.pendingSize);
    this.pendingSize = -1;
    this.smallestPending = -1;
  }

  private pseudo(headers: HeaderMap, entry: number, id: number): void {
    if (id === H[':method']) {
      if (this.writeIfEqual(headers, entry, 'GET', 2) || this.writeIfEqual(headers, entry, 'POST', 3)) return;
    } else if (id === H[':scheme']) {
      if (this.writeIfEqual(headers, entry, 'http', 6) || this.writeIfEqual(headers, entry, 'https', 7)) return;
    } else if (id === H[':path'] && this.writeIfEqual(headers, entry, '/', 4)) return;
    this.field(headers, entry, id);
  }

  private writeIfEqual(headers: HeaderMap, entry: number, text: string, index: number): boolean {
    if (headers.entryValueLength(entry) !== text.length) return false;
    const start = headers.entryValueStart(entry);
    if (start < 0) {
      if (headers.entryValue(entry) !== text) return false;
    } else {
      const u8 = this.slab.u8;
      for (let i = 0; i < text.length; i++) if (u8[start + i] !== text.charCodeAt(i)) return false;
    }
    this.u8[this.at++] = 0x80 | index;
    return true;
  }

  private fields(headers: HeaderMap): void {
    const count = headers.entryCount;
    for (let i = 0; i < count; i++) {
      const id = headers.entryId(i);
      if (id >= 0 && SKIPPED[id] === 0) this.field(headers, i, id);
    }
  }

  private field(headers: HeaderMap, entry: number, id: number): void {
    let source = this.slab.u8;
    let start = headers.entryValueStart(entry);
    let length = headers.entryValueLength(entry);
    let nameStart = 0;
    let nameLength = 0;
    let scratch = this.scratch;
    if (id === 0) {
      nameStart = headers.entryNameStart(entry);
      nameLength = headers.entryNameLength(entry);
      if (nameStart < 0) {
        if (nameLength + length > SCRATCH_BYTES) {
          this.largeField(headers, entry);
          return;
        }
        nameStart = scratch;
        scratch = writeText(this.slab.u8, headers.entryName(entry), scratch);
      }
    }
    let text: string | undefined;
    if (start < 0) {
      text = headers.entryValue(entry);
      if (id !== 0 && text === this.lastTexts[id] && this.lastNumbers[id] >= this.inserted - this.count) {
        this.integer(0x80, 0x7f, STATIC_SIZE + this.inserted - this.lastNumbers[id]);
        return;
      }
      if (text.length + nameLength > SCRATCH_BYTES) {
        source = Uint8Array.from(Buffer.from(text.replace(/[\0\r\n]|[^\0-\xff]/g, '?'), 'latin1'));
        start = 0;
        length = source.length;
      } else {
        start = scratch;
        length = writeText(source, text, scratch) - scratch;
      }
    }
    if (UNIQUE[id] !== 0 || NEVER_INDEXED[id] !== 0 || length > MAX_INDEXED || this.maxSize < 256) {
      this.literal(NEVER_INDEXED[id] !== 0 ? 0x10 : 0, 0x0f, id, nameStart, nameLength, source, start, length, false);
      return;
    }

    let hash = hashOf(source, start, length, id);
    if (id === 0) hash = hashOf(source, nameStart, nameLength, hash);
    const found = this.find(id, hash, nameStart, nameLength, start, length);
    if (found > 0) {
      if (text !== undefined) {
        this.lastTexts[id] = text;
        this.lastNumbers[id] = STATIC_SIZE + this.inserted - found;
      }
      this.integer(0x80, 0x7f, found);
      return;
    }
    const slot = (hash >>> 26) & (SEEN - 1);
    if (this.seen[slot] !== hash) {
      this.seen[slot] = hash;
      this.literal(0, 0x0f, id, nameStart, nameLength, source, start, length, false);
      return;
    }
    this.literal(0x40, 0x3f, id, nameStart, nameLength, source, start, length, true);
    this.insert(id, hash, nameStart, nameLength, start, length);
  }

  /** A name that is longer than the scratch block: rare, and never indexed. */
  private largeField(headers: HeaderMap, entry: number): void {
    const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/[\0\r\n]|[^\0-\xff]/g, '?'), 'latin1'));
    const name = bytes(headers.entryName(entry));
    const value = bytes(headers.entryValue(entry));
    this.u8[this.at++] = 0;
    this.string(name, 0, name.length, false);
    this.string(value, 0, value.length, false);
  }

  private literal(
    pattern: number,
    prefix: number,
    id: number,
    nameStart: number,
    nameLength: number,
    source: Uint8Array,
    start: number,
    length: number,
    huffman: boolean,
  ): void {
    const index = STATIC_NAME_INDEX[id];
    if (index !== 0) this.integer(pattern, prefix, index);
    else {
      this.u8[this.at++] = pattern;
      if (id === 0) this.string(this.slab.u8, nameStart, nameLength, huffman);
      else this.name(id, huffman);
    }
    this.string(source, start, length, huffman);
  }

  private name(id: number, huffman: boolean): void {
    const name = HEADER_NAME_BYTES[id];
    this.string(name, 0, name.length, huffman);
  }

  private string(source: Uint8Array, start: number, length: number, huffman: boolean): void {
    const u8 = this.u8;
    if (huffman) {
      const coded = huffmanLength(source, start, start + length);
      if (coded < length) {
        this.integer(0x80, 0x7f, coded);
        this.at = huffmanEncode(source, start, start + length, u8, this.at);
        return;
      }
    }
    this.integer(0, 0x7f, length);
    const at = this.at;
    if (source === u8 && u8 === this.slab.u8) this.slab.copy(at, start, length);
    else if (length < 48) for (let i = 0; i < length; i++) u8[at + i] = source[start + i];
    else u8.set(source.subarray(start, start + length), at);
    this.at = at + length;
  }

  private integer(pattern: number, prefix: number, value: number): void {
    const u8 = this.u8;
    if (value < prefix) {
      u8[this.at++] = pattern | value;
      return;
    }
    u8[this.at++] = pattern | prefix;
    let rest = value - prefix;
    while (rest >= 128) {
      u8[this.at++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    u8[this.at++] = rest;
  }

  // The table.

  /** The index of an equal entry; 0: none. Names and values lie in the slab. */
  private find(id: number, hash: number, nameStart: number, nameLength: number, start: number, length: number): number {
    const entries = this.entries;
    if (entries === null) return 0;
    const oldest = this.inserted - this.count;
    let number = this.newestOfChain[hash & (CHAINS - 1)] - 1;
    for (let i = 0; number >= oldest && i < MAX_CHAIN; i++) {
      const m = (number & this.mask) * STRIDE;
      if (
        entries[m + HASH] === hash &&
        entries[m + ID] === id &&
        entries[m + VALUE_LENGTH] === length &&
        entries[m + NAME_LENGTH] === nameLength &&
        this.equal(entries[m + VALUE_AT], start, length) &&
        this.equal(entries[m + NAME_AT], nameStart, nameLength)
      ) {
        return STATIC_SIZE + this.inserted - number;
      }
      number = entries[m + OLDER] - 1;
    }
    return 0;
  }

  private equal(at: number, start: number, length: number): boolean {
    const store = this.store as Uint8Array;
    const u8 = this.slab.u8;
    for (let i = 0; i < length; i++) if (store[at + i] !== u8[start + i]) return false;
    return true;
  }

  private insert(id: number, hash: number, nameStart: number, nameLength: number, start: number, length: number): void {
    const size = (id === 0 ? nameLength : HEADER_NAMES[id].length) + length + ENTRY_OVERHEAD;
    if (size > this.maxSize) {
      this.evictTo(0);
      return;
    }
    this.evictTo(this.maxSize - size);
    if (this.entries === null) this.allocate();
    if (this.stored + nameLength + length > (this.store as Uint8Array).length) this.compact();
    const entries = this.entries as Int32Array;
    const store = this.store as Uint8Array;
    const u8 = this.slab.u8;
    const m = (this.inserted & this.mask) * STRIDE;
    const chain = hash & (CHAINS - 1);
    entries[m + ID] = id;
    entries[m + HASH] = hash;
    entries[m + NAME_AT] = this.stored;
    entries[m + NAME_LENGTH] = nameLength;
    for (let i = 0; i < nameLength; i++) store[this.stored++] = u8[nameStart + i];
    entries[m + VALUE_AT] = this.stored;
    entries[m + VALUE_LENGTH] = length;
    for (let i = 0; i < length; i++) store[this.stored++] = u8[start + i];
    entries[m + OLDER] = this.newestOfChain[chain];
    this.newestOfChain[chain] = ++this.inserted;
    this.count++;
    this.tableSize += size;
  }

  private evictTo(size: number): void {
    while (this.tableSize > size) {
      const entries = this.entries as Int32Array;
      const m = ((this.inserted - this.count) & this.mask) * STRIDE;
      const id = entries[m + ID];
      const name = id === 0 ? entries[m + NAME_LENGTH] : HEADER_NAMES[id].length;
      this.tableSize -= name + entries[m + VALUE_LENGTH] + ENTRY_OVERHEAD;
      this.count--;
    }
  }

  private allocate(): void {
    let capacity = 8;
    while (capacity < this.maxSize / ENTRY_OVERHEAD) capacity *= 2;
    this.entries = new Int32Array(capacity * STRIDE);
    this.mask = capacity - 1;
    this.store = new Uint8Array(this.maxSize * 2);
    this.stored = 0;
  }

  /** The peer's limit changed: our entries stay valid there, but we forget ours and begin with an empty table. */
  private reset(): void {
    if (this.entries === null) return;
    // Evict everything on both sides: a size update to 0, then to the limit.
    this.evictTo(0);
    this.smallestPending = 0;
    this.entries = null;
    this.store = null;
    this.newestOfChain.fill(0);
    this.lastTexts.fill(undefined);
    this.inserted = 0;
  }

  /** Moves what is live to the start of the store. */
  private compact(): void {
    const entries = this.entries as Int32Array;
    const store = this.store as Uint8Array;
    let to = 0;
    for (let n = this.inserted - this.count; n < this.inserted; n++) {
      const m = (n & this.mask) * STRIDE;
      const from = entries[m + NAME_AT];
      const length = entries[m + NAME_LENGTH] + entries[m + VALUE_LENGTH];
      store.copyWithin(to, from, from + length);
      entries[m + NAME_AT] = to;
      entries[m + VALUE_AT] = to + entries[m + NAME_LENGTH];
      to += length;
    }
    this.stored = to;
  }
}

const REQUEST_PSEUDO = [H[':method'], H[':scheme'], H[':authority'], H[':path'], H[':protocol']];
const HEADER_NAME_BYTES = HEADER_NAMES.map((name) => Uint8Array.from(Buffer.from(name)));

/** FNV-1a over the bytes, begun with `seed`. */
function hashOf(u8: Uint8Array, start: number, length: number, seed: number): number {
  let hash = Math.imul(seed ^ 0x811c9dc5, 0x01000193);
  for (let i = start; i < start + length; i++) hash = Math.imul(hash ^ u8[i], 0x01000193);
  return (hash ^ (hash >>> 15)) | 0;
}

const SCRATCH_BYTES = 16384;
const scratches = new WeakMap<Slab, number>();

/** One block of each slab, where text is written before it is encoded. */
function scratchOf(slab: Slab): number {
  let scratch = scratches.get(slab);
  if (scratch === undefined) {
    scratch = slab.allocatePermanent();
    scratches.set(slab, scratch);
  }
  return scratch;
}
