/**
 * Headers of one message, in order (Envoy's HeaderMap).
 *
 * Entries point at the bytes they were parsed from; a string appears only when somebody asks for one. Entries that nobody touched
 * are written out again as whole runs of raw lines. Names are lower case always. Pseudo headers (`:path` ...) are entries too.
 *
 * The map holds one reference on the slab block its bytes lie in (`holdBlock`) until `release()`. `release` and `clear` make it
 * ready for reuse.
 */
import type { LineBuffer } from '../../core/buffer/line_buffer.ts';
import { BLOCK_SIZE, type Slab } from '../../core/buffer/slab.ts';
import { H, HEADER_NAMES, headerId, headerIdOfBytes } from './header_names.ts';
import { copyBytes, copyText, equalsText, isFieldName, latin1, writeText } from './header_text.ts';
import { MASK_WORDS, nameStartsOf } from './known_headers.ts';

const STRIDE = 6;
const NAME_START = 1;
const NAME_LENGTH = 2;
const VALUE_START = 3;
const VALUE_LENGTH = 4;
const FLAGS = 5;

/** The entry's bytes from its name to CRLF are exactly `name: value\r\n` and may be copied as they are. */
const RAW_LINE = 1;
const DELETED = 2;
/** The value lives in `values[i]`, not in the slab. */
const TEXT_VALUE = 4;
/** The name (of an unknown header) lives in `names[i]`, not in the slab. */
const TEXT_NAME = 8;

const COMMA = 44;

/** Ids up to this one are no lines of their own: pseudo headers, and `host`, which codecs write from `:authority`. */
const LAST_PSEUDO = H.host;
const WORDS = MASK_WORDS;
const NAME_LENGTHS = Uint8Array.from(HEADER_NAMES, (name) => name.length);

/**
 * Where a map keeps its numbers: a part of an array that it shares with maps made just before and after it. What a message needs lies together
 * that way, and the array's own object, which every access goes through, stays in the cache; arrays of their own were a third of the
 * memory of a stream (4 KB of 13). A map with more entries than fit gets an array of its own for them.
 */
const FIRST_AT = WORDS * 4;
const META_AT = WORDS + ((HEADER_NAMES.length + 3) >> 2);
const ENTRIES = 24;
const PART = META_AT + ENTRIES * STRIDE;
const PARTS = 32;
let cells = new Int32Array(0);
let cellBytes = new Uint8Array(0);
let nextPart = 0;

export class HeaderMap {
  readonly slab: Slab;
  private count = 0;
  /** The entries, STRIDE numbers each, from `metaAt` on. */
  private meta: Int32Array;
  private metaAt: number;
  private metaEnd: number;
  /** For each known header, from `firstAt` on, the position of its first entry plus one, or 0. A byte: entries beyond 254 are searched for. */
  private readonly first: Uint8Array;
  private readonly firstAt: number;
  /** Bit per known header, from `presentAt` on: an entry with this id was added; stale after removals. */
  private readonly present: Int32Array;
  private readonly presentAt: number;
  /** Values as text: of text entries, and of byte entries once somebody asked. `undefined` at and beyond `count`. */
  private values: (string | undefined)[] = [];
  /** The same for names of unknown headers, which are rarely asked for; null until then. */
  private names: (string | undefined)[] | null = null;
  /** At least what all entries take as lines; removed ones are still counted. */
  private lineBytes = 0;
  private deleted = 0;
  /** A known header was added twice; stale after removals. */
  private repeated = false;
  private heldBlock = -1;
  /** The slice of `setIdBytes`. */
  private ownBytes = -1;
  /** The slices of `addCopied`; null until there is one. */
  private copied: number[] | null = null;
  /** How an encoder spells the names of this message when they were kept as received (`preserve_case`); null: lower case. */
  nameFormatter: ((name: string) => string) | null = null;

  /** Where each known name lies in the slab. */
  private readonly nameStarts: Int32Array;

  constructor(slab: Slab) {
    this.slab = slab;
    if (nextPart === cells.length) {
      cells = new Int32Array(PART * PARTS);
      cellBytes = new Uint8Array(cells.buffer);
      nextPart = 0;
    }
    this.present = cells;
    this.presentAt = nextPart;
    this.first = cellBytes;
    this.firstAt = nextPart * 4 + FIRST_AT;
    this.meta = cells;
    this.metaAt = nextPart + META_AT;
    nextPart += PART;
    this.metaEnd = nextPart;
    this.nameStarts = nameStartsOf(slab);
  }

  /** A map with these entries. */
  static of(slab: Slab, entries: Iterable<readonly [string, string]>): HeaderMap {
    const map = new HeaderMap(slab);
    for (const [name, value] of entries) map.add(name, value);
    return map;
  }

  /** Number of entries. */
  get size(): number {
    return this.count - this.deleted;
  }

  /** Keeps the block of `offset` alive until `release` (one retain). */
  holdBlock(offset: number): void {
    if (this.heldBlock >= 0) this.slab.release(this.heldBlock);
    this.slab.retain(offset);
    this.heldBlock = offset;
  }

  /** Drops all entries and the held block. The map may be filled again. */
  release(): void {
    if (this.heldBlock >= 0) {
      this.slab.release(this.heldBlock);
      this.heldBlock = -1;
    }
    if (this.ownBytes >= 0) {
      this.slab.release(this.ownBytes);
      this.ownBytes = -1;
    }
    if (this.copied !== null && this.copied.length > 0) {
      for (let i = 0; i < this.copied.length; i++) this.slab.release(this.copied[i]);
      this.copied.length = 0;
    }
    const { meta, first, firstAt, values, count } = this;
    for (let i = 0, m = this.metaAt; i < count; i++, m += STRIDE) {
      values[i] = undefined;
      first[firstAt + meta[m]] = 0;
    }
    const { names } = this;
    if (names !== null) for (let i = 0; i < names.length; i++) names[i] = undefined;
    this.count = 0;
    this.deleted = 0;
    this.lineBytes = 0;
    this.repeated = false;
    for (let i = 0; i < WORDS; i++) this.present[this.presentAt + i] = 0;
    this.nameFormatter = null;
  }

  /** False after `release()`: nobody's entries are in it and it may be filled. */
  get inUse(): boolean {
    return this.count !== 0 || this.heldBlock >= 0 || this.ownBytes >= 0;
  }

  /**
   * For codecs: appends an entry whose bytes lie in the held block. The name must be lower case already. `rawLine` tells that the
   * bytes are `name: value\r\n` without anything else.
   */
  addBytes(nameStart: number, nameLength: number, valueStart: number, valueLength: number, rawLine: boolean): number {
    const id = headerIdOfBytes(this.slab.u8, nameStart, nameLength);
    this.push(id, nameStart, nameLength, valueStart, valueLength, rawLine ? RAW_LINE : 0);
    return id;
  }

  /** As `addBytes` when the codec has looked the name up already (`headerIdOfBytes`). */
  addLine(id: number, nameStart: number, nameLength: number, valueStart: number, valueLength: number, rawLine: boolean): void {
    this.push(id, nameStart, nameLength, valueStart, valueLength, rawLine ? RAW_LINE : 0);
  }

  /** For codecs: appends a known header whose value lies in the held block. `text`, when given, is that value as text. */
  addKnownBytes(id: number, valueStart: number, valueLength: number, text?: string): void {
    const i = this.push(id, 0, 0, valueStart, valueLength, 0);
    if (text !== undefined) this.values[i] = text;
  }

  /** Appends an entry. `name` must be lower case. */
  add(name: string, value: string): void {
    const id = headerId(name);
    const i = this.push(id, 0, id === 0 ? name.length : 0, 0, value.length, id === 0 ? TEXT_VALUE | TEXT_NAME : TEXT_VALUE);
    this.values[i] = value;
    if (id === 0) this.setName(i, name);
  }

  /** Appends a known header. */
  addId(id: number, value: string): void {
    this.values[this.push(id, 0, 0, 0, value.length, TEXT_VALUE)] = value;
  }

  /**
   * Replaces all entries of a known header by one of `length` bytes, which the caller writes into the slab from the returned offset:
   * for values that are made as bytes. One such value per map.
   */
  setIdBytes(id: number, length: number): number {
    if (this.ownBytes >= 0) throw new Error('a header map owns the bytes of one value only');
    if (this.hasId(id)) this.removeId(id);
    this.ownBytes = this.slab.reserve(length);
    this.push(id, 0, 0, this.ownBytes, length, 0);
    return this.ownBytes;
  }

  /** Replaces all entries of the name by one (in the place of the first). */
  set(name: string, value: string): void {
    const id = headerId(name);
    if (id !== 0) this.setId(id, value);
    else this.setAt(this.find(name), name, value);
  }

  setId(id: number, value: string): void {
    const i = this.findId(id);
    if (i < 0) this.addId(id, value);
    else {
      this.removeAfter(i, id, '');
      this.setValueAt(i, value);
    }
  }

  /** Appends `value` to the (first) entry of the name, after `delimiter`; adds the entry when there is none. */
  append(name: string, value: string, delimiter = ','): void {
    const i = this.find(name);
    if (i < 0) this.add(name, value);
    else {
      const old = this.valueAt(i);
      this.setValueAt(i, old === '' ? value : `${old}${delimiter}${value}`);
    }
  }

  /** The value; several entries of the name are joined with `,`. */
  get(name: string): string | undefined {
    const id = headerId(name);
    return id !== 0 ? this.getId(id) : this.joined(this.findText(name, 0), 0, name);
  }

  getId(id: number): string | undefined {
    const i = this.findId(id);
    return i < 0 ? undefined : this.joined(i, id, '');
  }

  /** Each entry's value, in order. */
  getAll(name: string): string[] {
    const id = headerId(name);
    const all: string[] = [];
    for (let i = this.find(name); i >= 0; i = this.next(i, id, name)) all.push(this.valueAt(i));
    return all;
  }

  has(name: string): boolean {
    return this.find(name) >= 0;
  }

  /**
   * False when none of the mask's headers is there (`headerMask`); true may be wrong after removals. One question before a list of
   * removals.
   */
  mayHaveAny(mask: Int32Array): boolean {
    const { present, presentAt } = this;
    for (let i = 0; i < WORDS; i++) if ((present[presentAt + i] & mask[i]) !== 0) return true;
    return false;
  }

  hasId(id: number): boolean {
    return this.findId(id) >= 0;
  }

  /** Whether a known header has more than one entry. */
  isRepeated(id: number): boolean {
    if (!this.repeated) return false;
    const i = this.findId(id);
    return i >= 0 && this.searchId(id, i + 1) >= 0;
  }

  /** Removes all entries of the name; how many there were. */
  remove(name: string): number {
    const id = headerId(name);
    if (id !== 0) return this.removeId(id);
    const i = this.findText(name, 0);
    return i < 0 ? 0 : this.removeAfter(i, 0, name) + this.removeAt(i);
  }

  removeId(id: number): number {
    const i = this.findId(id);
    if (i < 0) return 0;
    return this.removeAfter(i, id, '') + this.removeAt(i);
  }

  /** Removes all entries whose name starts with `prefix`. */
  removePrefix(prefix: string): number {
    let removed = 0;
    for (let i = 0; i < this.count; i++) if (this.isLive(i) && this.nameAt(i).startsWith(prefix)) removed += this.removeAt(i);
    return removed;
  }

  forEach(visit: (name: string, value: string) => void): void {
    for (let i = 0; i < this.count; i++) if (this.isLive(i)) visit(this.nameAt(i), this.valueAt(i));
  }

  *entries(): IterableIterator<[string, string]> {
    for (let i = 0; i < this.count; i++) if (this.isLive(i)) yield [this.nameAt(i), this.valueAt(i)];
  }

  toObject(): Record<string, string> {
    const object: Record<string, string> = {};
    this.forEach((name, value) => {
      object[name] = name in object ? `${object[name]},${value}` : value;
    });
    return object;
  }

  /** Sum of name and value lengths, as Envoy's byteSize. */
  byteSize(): number {
    let size = 0;
    for (let i = 0; i < this.count; i++) if (this.isLive(i)) size += this.nameLengthAt(i) + this.valueLengthAt(i);
    return size;
  }

  /** A copy that holds no block: all text. */
  clone(): HeaderMap {
    return HeaderMap.of(this.slab, this.entries());
  }

  /** Where a known header's value lies: offset in the slab, or -1 when it is text or absent. With `valueByteLength`. */
  valueByteStart(id: number): number {
    const i = this.findId(id);
    return i < 0 || (this.meta[this.metaAt + i * STRIDE + FLAGS] & TEXT_VALUE) !== 0
      ? -1
      : this.meta[this.metaAt + i * STRIDE + VALUE_START];
  }

  valueByteLength(id: number): number {
    const i = this.findId(id);
    return i < 0 ? 0 : this.valueLengthAt(i);
  }

  /** Appends the value of a known header to `out`, as `getId` gives it. False: it is absent. */
  appendValue(id: number, out: LineBuffer): boolean {
    const first = this.findId(id);
    if (first < 0) return false;
    this.appendValueAt(first, out);
    for (let i = this.searchId(id, first + 1); i >= 0; i = this.searchId(id, i + 1)) {
      out.byte(COMMA);
      this.appendValueAt(i, out);
    }
    return true;
  }

  /** At most this many bytes are written by `writeLines` (without a formatter that makes names longer). */
  linesByteSize(): number {
    return this.lineBytes;
  }

  /**
   * Writes `name: value\r\n` of every entry that is no pseudo header into the slab at `at`; returns the end.
   * `formatName` rewrites names (proper case ...); without it untouched entries are copied as runs.
   */
  writeLines(at: number, formatName?: (name: string) => string): number {
    const meta = this.meta;
    let m = this.metaAt - STRIDE;
    let i = 0;
    while (i < this.count) {
      m += STRIDE;
      const flags = meta[m + FLAGS];
      i++;
      if ((flags & DELETED) !== 0) continue;
      const id = meta[m];
      if (id !== 0 && id <= LAST_PSEUDO) continue;
      if ((flags & RAW_LINE) !== 0 && formatName === undefined) {
        const start = meta[m + NAME_START];
        let end = meta[m + VALUE_START] + meta[m + VALUE_LENGTH] + 2;
        for (let n = m + STRIDE; i < this.count && meta[n + FLAGS] === RAW_LINE && meta[n + NAME_START] === end; n += STRIDE) {
          end = meta[n + VALUE_START] + meta[n + VALUE_LENGTH] + 2;
          m = n;
          i++;
        }
        this.slab.copy(at, start, end - start);
        at += end - start;
        continue;
      }
      at = this.writeLine(i - 1, at, formatName);
    }
    return at;
  }

  /** Writes the value of a known header at `at`; returns the end (`at` when absent). */
  writeValue(id: number, at: number): number {
    const i = this.findId(id);
    return i < 0 ? at : this.writeValueAt(i, at);
  }

  // By position, for those who have their own memory (Wasm modules).

  /** The first entry at `from` or later, or -1. */
  entryFrom(from: number): number {
    for (let i = from; i < this.count; i++) if (this.isLive(i)) return i;
    return -1;
  }

  /** The first entry whose name is these (lower-case) bytes, or -1. `host` is `:authority`. */
  findBytes(u8: Uint8Array, start: number, length: number): number {
    const id = headerIdOfBytes(u8, start, length);
    if (id !== 0) return this.findId(id === H.host ? H[':authority'] : id);
    const meta = this.meta;
    for (let i = 0; i < this.count; i++) {
      const m = this.metaAt + i * STRIDE;
      if (meta[m] !== 0 || (meta[m + FLAGS] & DELETED) !== 0 || this.nameLengthAt(i) !== length) continue;
      if ((meta[m + FLAGS] & TEXT_NAME) !== 0 ? equalsText(u8, start, this.textName(i) as string) : this.equalsName(i, u8, start))
        return i;
    }
    return -1;
  }

  private equalsName(i: number, u8: Uint8Array, start: number): boolean {
    const own = this.slab.u8;
    const from = this.meta[this.metaAt + i * STRIDE + NAME_START];
    const length = this.meta[this.metaAt + i * STRIDE + NAME_LENGTH];
    for (let k = 0; k < length; k++) if (own[from + k] !== u8[start + k]) return false;
    return true;
  }

  entryNameLength(i: number): number {
    return this.nameLengthAt(i);
  }

  entryValueLength(i: number): number {
    return this.valueLengthAt(i);
  }

  /** Writes the entry's name into other memory; returns the end. */
  writeEntryName(i: number, u8: Uint8Array, at: number): number {
    const m = this.metaAt + i * STRIDE;
    const id = this.meta[m];
    if (id !== 0) return copyBytes(u8, at, this.slab.u8, this.nameStarts[id], NAME_LENGTHS[id]);
    if ((this.meta[m + FLAGS] & TEXT_NAME) !== 0) return copyText(u8, this.textName(i) as string, at);
    return copyBytes(u8, at, this.slab.u8, this.meta[m + NAME_START], this.meta[m + NAME_LENGTH]);
  }

  writeEntryValue(i: number, u8: Uint8Array, at: number): number {
    const m = this.metaAt + i * STRIDE;
    if ((this.meta[m + FLAGS] & TEXT_VALUE) !== 0) return copyText(u8, this.values[i] as string, at);
    return copyBytes(u8, at, this.slab.u8, this.meta[m + VALUE_START], this.meta[m + VALUE_LENGTH]);
  }

  /**
   * Appends an entry from bytes of other memory, as a line of its own in the slab. The name must be lower case. What could end a line
   * becomes `?`. False: that is no header name.
   */
  addCopied(
    names: Uint8Array,
    nameStart: number,
    nameLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
  ): boolean {
    let id = headerIdOfBytes(names, nameStart, nameLength);
    if (id === 0 && !isFieldName(names, nameStart, nameLength)) return false;
    if (id === H.host) id = H[':authority'];
    const length = nameLength + valueLength + 4;
    if (length > BLOCK_SIZE) {
      this.add(latin1(names, nameStart, nameLength), latin1(values, valueStart, valueLength));
      return true;
    }
    const own = this.slab.u8;
    const start = this.slab.reserve(length);
    (this.copied ??= []).push(start);
    let at = copyBytes(own, start, names, nameStart, nameLength);
    own[at++] = 58;
    own[at++] = 32;
    const value = at;
    at = copyBytes(own, at, values, valueStart, valueLength);
    for (let i = value; i < at; i++) if (own[i] <= 13 && (own[i] === 10 || own[i] === 13 || own[i] === 0)) own[i] = 63;
    own[at++] = 13;
    own[at] = 10;
    this.push(id, start, nameLength, value, valueLength, RAW_LINE);
    return true;
  }

  // And for encoders (HPACK): positions run from 0 to `entryCount`, removed entries included.

  get entryCount(): number {
    return this.count;
  }

  /** Number of the entry's name, 0 for an unknown one, -1 for a removed entry. */
  entryId(i: number): number {
    return this.isLive(i) ? this.meta[this.metaAt + i * STRIDE] : -1;
  }

  /** Position of the first entry of a known header, or -1. */
  entryOf(id: number): number {
    return this.findId(id);
  }

  /** Offset of an unknown name in the slab; -1 when it is text (`entryName`). */
  entryNameStart(i: number): number {
    return (this.meta[this.metaAt + i * STRIDE + FLAGS] & TEXT_NAME) !== 0
      ? -1
      : this.meta[this.metaAt + i * STRIDE + NAME_START];
  }

  entryName(i: number): string {
    return this.nameAt(i);
  }

  /** Offset of the value in the slab; -1 when it is text (`entryValue`). */
  entryValueStart(i: number): number {
    return (this.meta[this.metaAt + i * STRIDE + FLAGS] & TEXT_VALUE) !== 0
      ? -1
      : this.meta[this.metaAt + i * STRIDE + VALUE_START];
  }

  entryValue(i: number): string {
    return this.valueAt(i);
  }

  private writeLine(i: number, at: number, formatName?: (name: string) => string): number {
    const u8 = this.slab.u8;
    const m = this.metaAt + i * STRIDE;
    const id = this.meta[m];
    if (formatName !== undefined) at = writeText(u8, formatName(this.nameAt(i)), at);
    else if (id !== 0) {
      const length = NAME_LENGTHS[id];
      this.slab.copy(at, this.nameStarts[id], length);
      at += length;
    } else if ((this.meta[m + FLAGS] & TEXT_NAME) !== 0) at = writeText(u8, this.textName(i) as string, at);
    else {
      const start = this.meta[m + NAME_START];
      this.slab.copy(at, start, this.meta[m + NAME_LENGTH]);
      at += this.meta[m + NAME_LENGTH];
    }
    u8[at++] = 58;
    u8[at++] = 32;
    at = this.writeValueAt(i, at);
    u8[at++] = 13;
    u8[at++] = 10;
    return at;
  }

  private writeValueAt(i: number, at: number): number {
    const m = this.metaAt + i * STRIDE;
    if ((this.meta[m + FLAGS] & TEXT_VALUE) !== 0) return writeText(this.slab.u8, this.values[i] as string, at);
    const start = this.meta[m + VALUE_START];
    const length = this.meta[m + VALUE_LENGTH];
    this.slab.copy(at, start, length);
    return at + length;
  }

  private appendValueAt(i: number, out: LineBuffer): void {
    const m = this.metaAt + i * STRIDE;
    if ((this.meta[m + FLAGS] & TEXT_VALUE) !== 0) out.text(this.values[i] as string);
    else out.bytes(this.slab.view, this.meta[m + VALUE_START], this.meta[m + VALUE_LENGTH]);
  }

  private push(
    id: number,
    nameStart: number,
    nameLength: number,
    valueStart: number,
    valueLength: number,
    flags: number,
  ): number {
    const i = this.count++;
    let m = this.metaAt + i * STRIDE;
    if (m + STRIDE > this.metaEnd) m = this.growMeta(i);
    if (i === this.values.length) this.growValues();
    const meta = this.meta;
    meta[m] = id;
    meta[m + NAME_START] = nameStart;
    meta[m + NAME_LENGTH] = nameLength;
    meta[m + VALUE_START] = valueStart;
    meta[m + VALUE_LENGTH] = valueLength;
    meta[m + FLAGS] = flags;
    this.lineBytes += nameLength + NAME_LENGTHS[id] + valueLength + 4;
    if (id !== 0) {
      this.present[this.presentAt + (id >> 5)] |= 1 << (id & 31);
      const at = this.firstAt + id;
      if (this.first[at] === 0) this.first[at] = i < 255 ? i + 1 : 255;
      else this.repeated = true;
    }
    return i;
  }

  /** Room for more than the first `count` entries; where the next one goes. */
  private growMeta(count: number): number {
    const grown = new Int32Array(2 * (this.metaEnd - this.metaAt));
    grown.set(this.meta.subarray(this.metaAt, this.metaEnd));
    this.meta = grown;
    this.metaAt = 0;
    this.metaEnd = grown.length;
    return count * STRIDE;
  }

  private growValues(): void {
    for (let i = 0; i < 8; i++) this.values.push(undefined);
  }

  private setName(i: number, name: string): string {
    const names = (this.names ??= []);
    while (names.length <= i) names.push(undefined);
    names[i] = name;
    return name;
  }

  /** The name of an unknown header as text, when it is known as such. */
  private textName(i: number): string | undefined {
    return this.names === null || i >= this.names.length ? undefined : this.names[i];
  }

  private find(name: string): number {
    const id = headerId(name);
    return id !== 0 ? this.findId(id) : this.findText(name, 0);
  }

  private findId(id: number): number {
    const first = this.first[this.firstAt + id];
    return first === 0 ? -1 : first < 255 ? first - 1 : this.searchId(id, 254);
  }

  private searchId(id: number, from: number): number {
    for (let i = from; i < this.count; i++) if (this.meta[this.metaAt + i * STRIDE] === id && this.isLive(i)) return i;
    return -1;
  }

  private findText(name: string, from: number): number {
    for (let i = from; i < this.count; i++) {
      const m = this.metaAt + i * STRIDE;
      if (this.meta[m] !== 0 || (this.meta[m + FLAGS] & DELETED) !== 0) continue;
      if (this.nameLengthAt(i) === name.length && this.nameAt(i) === name) return i;
    }
    return -1;
  }

  private next(i: number, id: number, name: string): number {
    return id === 0 ? this.findText(name, i + 1) : this.searchId(id, i + 1);
  }

  private joined(i: number, id: number, name: string): string | undefined {
    if (i < 0) return undefined;
    let value = this.valueAt(i);
    for (let k = this.next(i, id, name); k >= 0; k = this.next(k, id, name)) value += `,${this.valueAt(k)}`;
    return value;
  }

  private setAt(i: number, name: string, value: string): void {
    if (i < 0) {
      this.add(name, value);
      return;
    }
    this.removeAfter(i, 0, name);
    this.setValueAt(i, value);
  }

  private setValueAt(i: number, value: string): void {
    const m = this.metaAt + i * STRIDE;
    this.values[i] = value;
    this.lineBytes += value.length;
    this.meta[m + FLAGS] = (this.meta[m + FLAGS] & ~RAW_LINE) | TEXT_VALUE;
  }

  private removeAfter(i: number, id: number, name: string): number {
    let removed = 0;
    for (let k = this.next(i, id, name); k >= 0; k = this.next(k, id, name)) removed += this.removeAt(k);
    return removed;
  }

  private removeAt(i: number): number {
    this.meta[this.metaAt + i * STRIDE + FLAGS] |= DELETED;
    this.deleted++;
    const id = this.meta[this.metaAt + i * STRIDE];
    if (id !== 0 && this.findId(id) === i) {
      const next = this.searchId(id, i + 1);
      this.first[this.firstAt + id] = next < 0 ? 0 : Math.min(next + 1, 255);
    }
    return 1;
  }

  private isLive(i: number): boolean {
    return (this.meta[this.metaAt + i * STRIDE + FLAGS] & DELETED) === 0;
  }

  private nameLengthAt(i: number): number {
    const m = this.metaAt + i * STRIDE;
    if (this.meta[m] !== 0) return HEADER_NAMES[this.meta[m]].length;
    return (this.meta[m + FLAGS] & TEXT_NAME) !== 0 ? (this.textName(i) as string).length : this.meta[m + NAME_LENGTH];
  }

  private valueLengthAt(i: number): number {
    const m = this.metaAt + i * STRIDE;
    return (this.meta[m + FLAGS] & TEXT_VALUE) !== 0 ? (this.values[i] as string).length : this.meta[m + VALUE_LENGTH];
  }

  private nameAt(i: number): string {
    const m = this.metaAt + i * STRIDE;
    const id = this.meta[m];
    if (id !== 0) return HEADER_NAMES[id];
    return this.textName(i) ?? this.setName(i, latin1(this.slab.u8, this.meta[m + NAME_START], this.meta[m + NAME_LENGTH]));
  }

  private valueAt(i: number): string {
    const known = this.values[i];
    if (known !== undefined) return known;
    const m = this.metaAt + i * STRIDE;
    return (this.values[i] = latin1(this.slab.u8, this.meta[m + VALUE_START], this.meta[m + VALUE_LENGTH]));
  }
}
