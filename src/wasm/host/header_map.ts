/**
 * A header map as the host needs it: entries by position, names and values written as bytes straight into the module's memory. The proxy's
 * HeaderMap is one by its shape; `PairMap` is a small one for answers of call-outs and for tests.
 */

export interface HostHeaderMap {
  /** Number of entries. */
  readonly size: number;
  /** Sum of the lengths of all names and values. */
  byteSize(): number;
  /** The first entry at `from` or later, or -1: `for (let i = m.entryFrom(0); i >= 0; i = m.entryFrom(i + 1))`. */
  entryFrom(from: number): number;
  /** The first entry whose name is these bytes (lower case), or -1. */
  findBytes(u8: Uint8Array, start: number, length: number): number;
  entryNameLength(i: number): number;
  entryValueLength(i: number): number;
  /** Writes the entry's name at `at`; returns the end. */
  writeEntryName(i: number, u8: Uint8Array, at: number): number;
  writeEntryValue(i: number, u8: Uint8Array, at: number): number;
  /** Appends an entry from bytes of another memory, which are copied. The name is lower case. False: it is no header. */
  addCopied(
    names: Uint8Array,
    nameStart: number,
    nameLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
  ): boolean;
  /** The value of all entries of a name (lower case), joined with `,`. */
  get(name: string): string | undefined;
  /** Appends. Text has one character per byte. */
  add(name: string, value: string): void;
  /** One value for the name. */
  set(name: string, value: string): void;
  remove(name: string): number;
  forEach(visit: (name: string, value: string) => void): void;
}

const TOKEN = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") TOKEN[char.charCodeAt(0)] = 1;
const COLON = 58;

/** True for a field name (RFC 9110 section 5.1) or one of a pseudo header. */
export function isHeaderName(u8: Uint8Array, start: number, length: number): boolean {
  const end = start + length;
  const first = length > 1 && u8[start] === COLON ? start + 1 : start;
  for (let i = first; i < end; i++) if (TOKEN[u8[i]] === 0) return false;
  return length > 0;
}

/** Pairs in an array. */
export class PairMap implements HostHeaderMap {
  readonly pairs: [string, string][];

  constructor(pairs: Iterable<readonly [string, string]> = []) {
    this.pairs = Array.from(pairs, ([name, value]) => [name.toLowerCase(), value]);
  }

  get size(): number {
    return this.pairs.length;
  }

  byteSize(): number {
    return this.pairs.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  }

  entryFrom(from: number): number {
    return from < this.pairs.length ? from : -1;
  }

  findBytes(u8: Uint8Array, start: number, length: number): number {
    const name = latin1Text(u8, start, length);
    return this.pairs.findIndex((pair) => pair[0] === name);
  }

  entryNameLength(i: number): number {
    return this.pairs[i][0].length;
  }

  entryValueLength(i: number): number {
    return this.pairs[i][1].length;
  }

  writeEntryName(i: number, u8: Uint8Array, at: number): number {
    return writeLatin1(u8, this.pairs[i][0], at);
  }

  writeEntryValue(i: number, u8: Uint8Array, at: number): number {
    return writeLatin1(u8, this.pairs[i][1], at);
  }

  addCopied(
    names: Uint8Array,
    nameStart: number,
    nameLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
  ): boolean {
    if (!isHeaderName(names, nameStart, nameLength)) return false;
    this.pairs.push([latin1Text(names, nameStart, nameLength).toLowerCase(), latin1Text(values, valueStart, valueLength)]);
    return true;
  }

  get(name: string): string | undefined {
    const values = this.pairs.filter((pair) => pair[0] === name).map((pair) => pair[1]);
    return values.length === 0 ? undefined : values.join(',');
  }

  add(name: string, value: string): void {
    this.pairs.push([name, value]);
  }

  set(name: string, value: string): void {
    const at = this.pairs.findIndex((pair) => pair[0] === name);
    if (at < 0) {
      this.add(name, value);
      return;
    }
    this.pairs[at][1] = value;
    for (let i = this.pairs.length - 1; i > at; i--) if (this.pairs[i][0] === name) this.pairs.splice(i, 1);
  }

  remove(name: string): number {
    let removed = 0;
    for (let i = this.pairs.length - 1; i >= 0; i--) {
      if (this.pairs[i][0] !== name) continue;
      this.pairs.splice(i, 1);
      removed++;
    }
    return removed;
  }

  forEach(visit: (name: string, value: string) => void): void {
    for (const [name, value] of this.pairs) visit(name, value);
  }
}

export function latin1Text(u8: Uint8Array, start: number, length: number): string {
  if (length < 16) {
    let text = '';
    for (let i = start; i < start + length; i++) text += String.fromCharCode(u8[i]);
    return text;
  }
  return Buffer.from(u8.buffer as ArrayBuffer, u8.byteOffset + start, length).toString('latin1');
}

export function writeLatin1(u8: Uint8Array, text: string, at: number): number {
  for (let i = 0; i < text.length; i++) u8[at++] = text.charCodeAt(i);
  return at;
}

const utf8 = new TextDecoder();

export function utf8Text(u8: Uint8Array, start: number, length: number): string {
  return utf8.decode(u8.subarray(start, start + length));
}
