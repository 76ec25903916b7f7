/**
 * Decodes HPACK header blocks (RFC 7541) into a HeaderMap, and checks on the way what RFC 9113 8.2 and 8.3 ask of each field.
 *
 * The dynamic table's bytes, and those of literals that are not indexed, lie one after the other in one slab block; entries of the
 * map point into it and the map holds it. When it is full the table moves to a fresh block, and the old one lives as long as the
 * last map that points into it. So an indexed field costs no copy. A block of many kilobytes becomes text instead.
 *
 * Whatever is wrong with a field's contents, the table stays in step with the peer's: only errors of the encoding itself end the
 * connection. Bytes, fields and blow-up are bounded: fields beyond the limits are counted and dropped.
 */
import { BLOCK_SIZE, type Slab } from '../../../core/buffer/slab.ts';
import type { HeaderMap } from '../header_map.ts';
import { H, HEADER_NAMES, headerIdAt } from '../header_names.ts';
import { latin1 } from '../header_text.ts';
import { AUTHORITY, allIn, equalsIgnoreCase, parseLength, TARGET, TOKEN, UNDERSCORE, VALUE } from '../http1/bytes.ts';
import { STATIC_IDS, STATIC_SIZE, STATIC_TABLE, type StaticBytes, staticBytesOf } from './hpack_static.ts';
import { huffmanDecode } from './huffman.ts';

/** The largest dynamic table that can be had: two of them and a header block fit into one slab block. */
export const MAX_TABLE_BYTES = 8192;
/** RFC 7541 4.1. */
const ENTRY_OVERHEAD = 32;

const STRIDE = 6;
const NAME_START = 1;
const NAME_LENGTH = 2;
const VALUE_START = 3;
const VALUE_LENGTH = 4;
const FLAGS = 5;

/** The bytes are `name: value\r\n`. */
const RAW = 1;
/** Name or value break RFC 9113 8.2: the message is malformed. */
const BAD = 2;
const HAS_UNDERSCORE = 4;

const LAST_PSEUDO = H[':protocol'];
const FIRST_PSEUDO = H[':method'];
/** 1 for names that `special` looks at. */
const SPECIAL = new Uint8Array(HEADER_NAMES.length);
for (const name of [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'content-length',
  'cookie',
  'host',
] as const)
  SPECIAL[H[name]] = 1;

export interface HpackLimits {
  /** Of names and values together. */
  readonly maxBytes: number;
  readonly maxCount: number;
}

export class HpackDecoder {
  private readonly slab: Slab;
  private readonly limits: HpackLimits;
  private readonly constants: StaticBytes;
  /** What we announced: the peer may choose less. */
  private readonly announcedSize: number;
  private maxSize: number;
  private tableSize = 0;
  private entries: Int32Array;
  private texts: (string | undefined)[];
  private readonly mask: number;
  /** Entries ever inserted; the newest is at `inserted - 1`. */
  private inserted = 0;
  private count = 0;
  private block = -1;
  private used = 0;

  // Where strings are decoded to.
  private out: Uint8Array;
  private outAt = 0;
  private asText = false;
  private scratch: Uint8Array | null = null;
  private p = 0;
  private stringStart = 0;
  private stringLength = 0;
  private map!: HeaderMap;
  private held = false;

  // What the last block was like.
  /** Bit per pseudo header (1 << id). */
  pseudo = 0;
  /** The message breaks RFC 9113 8.2 or 8.3. */
  malformed = false;
  fields = 0;
  /** Names and values. */
  bytes = 0;
  /** A limit was passed; the map has only what came before. */
  overLimit = false;
  /** Fields with `_` in their name. */
  underscores = 0;
  contentLength = -1;
  cookies = 0;
  private regular = false;

  /** `tableSize`: SETTINGS_HEADER_TABLE_SIZE as announced, at most MAX_TABLE_BYTES. `dropUnderscores`: such fields are left out. */
  private readonly dropUnderscores: boolean;

  constructor(slab: Slab, tableSize: number, limits: HpackLimits, dropUnderscores: boolean) {
    this.slab = slab;
    this.limits = limits;
    this.dropUnderscores = dropUnderscores;
    this.constants = staticBytesOf(slab);
    this.announcedSize = tableSize;
    this.maxSize = tableSize;
    let capacity = 8;
    while (capacity < tableSize / ENTRY_OVERHEAD) capacity *= 2;
    this.mask = capacity - 1;
    this.entries = new Int32Array(0);
    this.texts = [];
    this.out = slab.u8;
  }

  /** Gives the block back: the connection ended. */
  release(): void {
    if (this.block >= 0) this.slab.release(this.block);
    this.block = -1;
    this.count = 0;
    this.tableSize = 0;
  }

  /** Decodes `u8[start, end)`, a whole header block. False: the encoding is broken, and so is the connection. */
  decode(u8: Uint8Array, start: number, end: number, map: HeaderMap): boolean {
    this.pseudo = 0;
    this.malformed = false;
    this.fields = 0;
    this.bytes = 0;
    this.overLimit = false;
    this.underscores = 0;
    this.contentLength = -1;
    this.cookies = 0;
    this.regular = false;
    this.held = false;
    this.map = map;
    // A literal's name and value grow to 8/5 at most, and a new name gets four bytes to make a line of it.
    const need = (end - start) * 3 + 64;
    this.asText = need + 2 * this.announcedSize > BLOCK_SIZE;
    if (!this.asText) {
      if (this.block >= 0 && this.used + need > BLOCK_SIZE) this.moveTable();
      this.out = this.slab.u8;
      this.outAt = this.block + this.used;
    } else {
      this.scratch = new Uint8Array((end - start) * 2 + 16);
      this.out = this.scratch;
    }
    const ok = this.run(u8, start, end);
    if (!this.asText && this.block >= 0) this.used = this.outAt - this.block;
    this.scratch = null;
    return ok;
  }

  private run(u8: Uint8Array, start: number, end: number): boolean {
    this.p = start;
    while (this.p < end) {
      const first = u8[this.p];
      if ((first & 0x80) !== 0) {
        const index = this.integer(u8, end, 0x7f);
        if (index <= 0 || !this.indexed(index)) return false;
      } else if ((first & 0x40) !== 0) {
        if (!this.literal(u8, end, 0x3f, true)) return false;
      } else if ((first & 0x20) !== 0) {
        const size = this.integer(u8, end, 0x1f);
        // RFC 7541 4.2: only at the beginning of a block, never above what was announced.
        if (size < 0 || size > this.announcedSize || this.fields > 0) return false;
        this.maxSize = size;
        this.evictTo(size);
      } else if (!this.literal(u8, end, 0x0f, false)) return false;
    }
    return true;
  }

  private indexed(index: number): boolean {
    if (index <= STATIC_SIZE) {
      const entry = STATIC_TABLE[index];
      const value = entry[1];
      const { nameStarts, valueStarts } = this.constants;
      this.emit(STATIC_IDS[index], nameStarts[index], entry[0].length, valueStarts[index], value.length, 0, value, false);
      return true;
    }
    const back = index - STATIC_SIZE;
    if (back > this.count) return false;
    const at = (this.inserted - back) & this.mask;
    const entries = this.entries;
    const m = at * STRIDE;
    const id = entries[m];
    let text = this.texts[at];
    // These are asked for as text by nearly every request.
    if (text === undefined && (id === H[':authority'] || id === H[':path'])) {
      text = this.texts[at] = latin1(this.slab.u8, entries[m + VALUE_START], entries[m + VALUE_LENGTH]);
    }
    this.emit(
      id,
      entries[m + NAME_START],
      entries[m + NAME_LENGTH],
      entries[m + VALUE_START],
      entries[m + VALUE_LENGTH],
      entries[m + FLAGS],
      text,
      true,
    );
    return true;
  }

  private literal(u8: Uint8Array, end: number, prefix: number, index: boolean): boolean {
    const nameIndex = this.integer(u8, end, prefix);
    if (nameIndex < 0) return false;
    if (this.asText) this.outAt = 0;
    else if (this.block < 0) this.takeBlock();
    let id = 0;
    let nameStart = 0;
    let nameLength = 0;
    let flags = 0;
    /** Where the name's bytes are: in the table or the constants (slab), or just decoded (`out`). */
    let nameInOut = false;
    if (nameIndex === 0) {
      if (!this.string(u8, end)) return false;
      nameInOut = true;
      nameStart = this.stringStart;
      nameLength = this.stringLength;
      const out = this.out;
      flags = checkName(out, nameStart, nameLength);
      if (nameLength > 0 && !this.asText) id = headerIdAt(this.slab.view, out, nameStart, nameLength);
      out[this.outAt++] = 58;
      out[this.outAt++] = 32;
      flags |= RAW;
    } else if (nameIndex <= STATIC_SIZE) {
      id = STATIC_IDS[nameIndex];
      nameStart = this.constants.nameStarts[nameIndex];
      nameLength = STATIC_TABLE[nameIndex][0].length;
    } else {
      const back = nameIndex - STATIC_SIZE;
      if (back > this.count) return false;
      const m = ((this.inserted - back) & this.mask) * STRIDE;
      id = this.entries[m];
      nameStart = this.entries[m + NAME_START];
      nameLength = this.entries[m + NAME_LENGTH];
      flags = this.entries[m + FLAGS] & HAS_UNDERSCORE;
      if ((this.entries[m + FLAGS] & BAD) !== 0 && checkName(this.slab.u8, nameStart, nameLength) === BAD) flags |= BAD;
    }
    if (!this.string(u8, end)) return false;
    const valueStart = this.stringStart;
    const valueLength = this.stringLength;
    if (this.asText) return this.textLiteral(id, nameInOut, nameStart, nameLength, valueStart, valueLength, flags, index);
    if (nameInOut) {
      this.out[this.outAt++] = 13;
      this.out[this.outAt++] = 10;
    }
    flags |= checkValue(id, this.out, valueStart, valueLength);
    if (index) this.insert(id, nameStart, nameLength, valueStart, valueLength, flags);
    this.emit(id, nameStart, nameLength, valueStart, valueLength, flags, undefined, true);
    return true;
  }

  /** A literal of a large block: its bytes are in `scratch` and go on as text. */
  private textLiteral(
    id: number,
    nameInOut: boolean,
    nameStart: number,
    nameLength: number,
    valueStart: number,
    valueLength: number,
    flags: number,
    index: boolean,
  ): boolean {
    const scratch = this.out;
    const name = latin1(nameInOut ? scratch : this.slab.u8, nameStart, nameLength);
    if (nameInOut) id = idOfText(name);
    const value = latin1(scratch, valueStart, valueLength);
    flags = (flags & ~RAW) | checkValue(id, scratch, valueStart, valueLength);
    if (index) this.insertText(id, name, value, flags);
    this.emitText(id, name, value, flags);
    return true;
  }

  private insertText(id: number, name: string, value: string, flags: number): void {
    const size = name.length + value.length + ENTRY_OVERHEAD;
    if (size > this.maxSize) {
      this.evictTo(0);
      return;
    }
    this.evictTo(this.maxSize - size);
    if (this.block < 0) this.takeBlock();
    else if (this.used + name.length + value.length > BLOCK_SIZE) this.moveTable();
    const u8 = this.slab.u8;
    const nameStart = this.block + this.used;
    for (let i = 0; i < name.length; i++) u8[nameStart + i] = name.charCodeAt(i);
    const valueStart = nameStart + name.length;
    for (let i = 0; i < value.length; i++) u8[valueStart + i] = value.charCodeAt(i);
    this.used += name.length + value.length;
    this.insert(id, nameStart, name.length, valueStart, value.length, flags);
  }

  private emit(
    id: number,
    nameStart: number,
    nameLength: number,
    valueStart: number,
    valueLength: number,
    flags: number,
    text: string | undefined,
    inBlock: boolean,
  ): void {
    this.fields++;
    this.bytes += nameLength + valueLength;
    if (!this.accept(id, flags, this.slab.u8, valueStart, valueLength)) return;
    const map = this.map;
    if (this.asText) {
      // Later literals may move the table: nothing may point into it.
      const u8 = this.slab.u8;
      if (id !== 0) map.addId(id, text ?? latin1(u8, valueStart, valueLength));
      else map.add(latin1(u8, nameStart, nameLength), text ?? latin1(u8, valueStart, valueLength));
      return;
    }
    if (inBlock && !this.held) {
      this.held = true;
      map.holdBlock(this.block);
    }
    if (text !== undefined && id !== 0) map.addKnownBytes(id, valueStart, valueLength, text);
    else if ((flags & RAW) !== 0) map.addLine(id, nameStart, nameLength, valueStart, valueLength, true);
    else if (id !== 0) map.addKnownBytes(id, valueStart, valueLength);
    else map.addLine(0, nameStart, nameLength, valueStart, valueLength, false);
  }

  private emitText(id: number, name: string, value: string, flags: number): void {
    this.fields++;
    this.bytes += name.length + value.length;
    const scratch = this.out;
    if (!this.accept(id, flags, scratch, this.stringStart, this.stringLength)) return;
    if (id !== 0) this.map.addId(id, value);
    else this.map.add(name, value);
  }

  /** False when the field does not go into the map. */
  private accept(id: number, flags: number, u8: Uint8Array, valueStart: number, valueLength: number): boolean {
    if ((flags & BAD) !== 0) {
      this.malformed = true;
      return false;
    }
    if (id >= FIRST_PSEUDO && id <= LAST_PSEUDO) {
      // RFC 9113 8.3: once each, before all others.
      if (this.regular || (this.pseudo & (1 << id)) !== 0) this.malformed = true;
      this.pseudo |= 1 << id;
    } else this.regular = true;
    if (this.fields > this.limits.maxCount || this.bytes > this.limits.maxBytes) {
      this.overLimit = true;
      return false;
    }
    if ((flags & HAS_UNDERSCORE) !== 0) {
      this.underscores++;
      if (this.dropUnderscores) return false;
    }
    return SPECIAL[id] === 0 || this.special(id, u8, valueStart, valueLength);
  }

  private special(id: number, u8: Uint8Array, start: number, length: number): boolean {
    switch (id) {
      case H['content-length']: {
        const value = parseLength(u8, start, length);
        if (value < 0 || (this.contentLength >= 0 && this.contentLength !== value)) this.malformed = true;
        const repeated = this.contentLength >= 0;
        this.contentLength = value;
        return !repeated;
      }
      case H.cookie:
        this.cookies++;
        return true;
      case H.te:
        // RFC 9113 8.2.2.
        if (!equalsIgnoreCase(u8, start, length, 'trailers')) this.malformed = true;
        return true;
      case H.host:
        if (!allIn(AUTHORITY, u8, start, length)) this.malformed = true;
        return true;
      default:
        this.malformed = true;
        return false;
    }
  }

  // The table.

  private insert(
    id: number,
    nameStart: number,
    nameLength: number,
    valueStart: number,
    valueLength: number,
    flags: number,
  ): void {
    const size = nameLength + valueLength + ENTRY_OVERHEAD;
    if (size > this.maxSize) {
      this.evictTo(0);
      return;
    }
    this.evictTo(this.maxSize - size);
    if (this.entries.length === 0) {
      this.entries = new Int32Array((this.mask + 1) * STRIDE);
      this.texts = new Array<string | undefined>(this.mask + 1).fill(undefined);
    }
    const at = this.inserted++ & this.mask;
    const m = at * STRIDE;
    const entries = this.entries;
    entries[m] = id;
    entries[m + NAME_START] = nameStart;
    entries[m + NAME_LENGTH] = nameLength;
    entries[m + VALUE_START] = valueStart;
    entries[m + VALUE_LENGTH] = valueLength;
    entries[m + FLAGS] = flags;
    this.texts[at] = undefined;
    this.count++;
    this.tableSize += size;
  }

  private evictTo(size: number): void {
    while (this.tableSize > size) {
      const at = (this.inserted - this.count) & this.mask;
      const m = at * STRIDE;
      this.tableSize -= this.entries[m + NAME_LENGTH] + this.entries[m + VALUE_LENGTH] + ENTRY_OVERHEAD;
      this.texts[at] = undefined;
      this.count--;
    }
  }

  private takeBlock(): void {
    this.block = this.slab.allocate();
    this.used = 0;
    if (!this.asText) this.outAt = this.block;
  }

  /** To a fresh block, with what is live. */
  private moveTable(): void {
    const slab = this.slab;
    const old = this.block;
    const block = slab.allocate();
    const entries = this.entries;
    const oldEnd = old + BLOCK_SIZE;
    let at = block;
    for (let n = this.inserted - this.count; n < this.inserted; n++) {
      const m = (n & this.mask) * STRIDE;
      const nameStart = entries[m + NAME_START];
      const nameLength = entries[m + NAME_LENGTH];
      const valueStart = entries[m + VALUE_START];
      const valueLength = entries[m + VALUE_LENGTH];
      const raw = (entries[m + FLAGS] & RAW) !== 0;
      const nameMoves = nameStart >= old && nameStart < oldEnd;
      if (raw) {
        const length = nameLength + valueLength + 4;
        slab.copy(at, nameStart, length);
        entries[m + NAME_START] = at;
        entries[m + VALUE_START] = at + nameLength + 2;
        at += length;
        continue;
      }
      if (nameMoves) {
        slab.copy(at, nameStart, nameLength);
        entries[m + NAME_START] = at;
        at += nameLength;
      }
      slab.copy(at, valueStart, valueLength);
      entries[m + VALUE_START] = at;
      at += valueLength;
    }
    slab.release(old);
    this.block = block;
    this.used = at - block;
    if (!this.asText) this.outAt = at;
  }

  // Primitives.

  /** An integer whose first byte has the bits of `prefix` (RFC 7541 5.1) at `p`, which it moves; -1 when it is cut off or too large. */
  private integer(u8: Uint8Array, end: number, prefix: number): number {
    let value = u8[this.p++] & prefix;
    if (value < prefix) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.p >= end) return -1;
      const byte = u8[this.p++];
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    return -1;
  }

  /** A string literal at `p`, decoded to `out` at `outAt`. */
  private string(u8: Uint8Array, end: number): boolean {
    if (this.p >= end) return false;
    const huffman = (u8[this.p] & 0x80) !== 0;
    const length = this.integer(u8, end, 0x7f);
    if (length < 0 || this.p + length > end) return false;
    const from = this.p;
    this.p += length;
    const to = this.outAt;
    this.stringStart = to;
    if (huffman) {
      const decoded = huffmanDecode(u8, from, from + length, this.out, to);
      if (decoded < 0) return false;
      this.outAt = decoded;
    } else {
      if (u8 === this.out && u8 === this.slab.u8) this.slab.copy(to, from, length);
      else if (length < 48) for (let i = 0; i < length; i++) this.out[to + i] = u8[from + i];
      else this.out.set(u8.subarray(from, from + length), to);
      this.outAt = to + length;
    }
    this.stringLength = this.outAt - to;
    return true;
  }
}

/** Names are lower-case tokens; a pseudo header that has no number is not known. */
function checkName(u8: Uint8Array, start: number, length: number): number {
  if (length === 0) return BAD;
  let flags = 0;
  let i = start;
  const end = start + length;
  if (u8[i] === 58) {
    for (let id = FIRST_PSEUDO; id <= LAST_PSEUDO; id++) if (isName(u8, start, length, HEADER_NAMES[id])) return 0;
    return BAD;
  }
  for (; i < end; i++) {
    const c = u8[i];
    if (TOKEN[c] !== c || c === 0) return BAD;
    if (c === UNDERSCORE) flags = HAS_UNDERSCORE;
  }
  return flags;
}

function isName(u8: Uint8Array, start: number, length: number, name: string): boolean {
  if (name.length !== length) return false;
  for (let i = 0; i < length; i++) if (u8[start + i] !== name.charCodeAt(i)) return false;
  return true;
}

/** RFC 9113 8.2.1, and the characters that pseudo headers may have. */
function checkValue(id: number, u8: Uint8Array, start: number, length: number): number {
  switch (id) {
    case H[':path']:
      return length > 0 && allIn(TARGET, u8, start, length) ? 0 : BAD;
    case H[':authority']:
      return allIn(AUTHORITY, u8, start, length) ? 0 : BAD;
    case H[':method']:
    case H[':scheme']:
    case H[':protocol']:
      return length > 0 && allIn(METHOD, u8, start, length) ? 0 : BAD;
    default: {
      if (length === 0) return 0;
      const first = u8[start];
      const last = u8[start + length - 1];
      if (first === 32 || first === 9 || last === 32 || last === 9) return BAD;
      return allIn(VALUE, u8, start, length) ? 0 : BAD;
    }
  }
}

/** Tokens; `:` and `/` beside for `:protocol` would be none. */
const METHOD = Uint8Array.from(TOKEN, (lower) => (lower === 0 ? 0 : 1));

const IDS = new Map<string, number>(HEADER_NAMES.map((name, id) => [name, id]));

function idOfText(name: string): number {
  return IDS.get(name) ?? 0;
}
