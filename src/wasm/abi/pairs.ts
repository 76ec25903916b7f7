/**
 * Serialised maps: u32 count, then for each pair u32 name length and u32 value length, then name NUL value NUL for each; little-endian.
 * An empty map is no bytes at all. Decoding follows cpp-host: at most 1 MiB and 1024 pairs, exact lengths, and anything else is an empty list.
 */
import { type HostHeaderMap, latin1Text, utf8Text } from '../host/header_map.ts';

const MAX_BYTES = 1 << 20;
const MAX_PAIRS = 1024;

export function pairsSize(map: HostHeaderMap): number {
  let size = 4;
  for (let i = map.entryFrom(0); i >= 0; i = map.entryFrom(i + 1)) size += 10 + map.entryNameLength(i) + map.entryValueLength(i);
  return size === 4 ? 0 : size;
}

/** Writes `pairsSize` bytes at `at`. */
export function writePairs(map: HostHeaderMap, u8: Uint8Array, view: DataView, at: number): void {
  view.setUint32(at, map.size, true);
  let lengths = at + 4;
  let to = lengths + 8 * map.size;
  for (let i = map.entryFrom(0); i >= 0; i = map.entryFrom(i + 1)) {
    const nameStart = to;
    to = map.writeEntryName(i, u8, to);
    view.setUint32(lengths, to - nameStart, true);
    u8[to++] = 0;
    const valueStart = to;
    to = map.writeEntryValue(i, u8, to);
    view.setUint32(lengths + 4, to - valueStart, true);
    u8[to++] = 0;
    lengths += 8;
  }
}

/** Encodes name and value bytes, for properties. */
export function encodePairs(pairs: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array {
  const size = pairs.reduce((sum, [name, value]) => sum + 10 + name.length + value.length, 4);
  const u8 = new Uint8Array(size);
  const view = new DataView(u8.buffer);
  view.setUint32(0, pairs.length, true);
  let to = 4 + 8 * pairs.length;
  pairs.forEach(([name, value], i) => {
    view.setUint32(4 + 8 * i, name.length, true);
    view.setUint32(8 + 8 * i, value.length, true);
    u8.set(name, to);
    u8.set(value, to + name.length + 1);
    to += name.length + value.length + 2;
  });
  return u8;
}

/** Texts have one character per byte, or are decoded as UTF-8. Broken input is an empty list. */
export function decodePairs(
  u8: Uint8Array,
  start: number,
  length: number,
  encoding: 'latin1' | 'utf8' = 'latin1',
): [string, string][] {
  const text = encoding === 'latin1' ? latin1Text : utf8Text;
  const pairs: [string, string][] = [];
  eachPair(u8, start, length, (nameAt, nameLength, valueAt, valueLength) => {
    pairs.push([text(u8, nameAt, nameLength), text(u8, valueAt, valueLength)]);
  });
  return pairs;
}

/** Where the names and values lie. Nothing is visited when anything is wrong. */
export function eachPair(
  u8: Uint8Array,
  start: number,
  length: number,
  visit: (nameAt: number, nameLength: number, valueAt: number, valueLength: number) => void,
): void {
  const end = start + length;
  if (length < 4 || length > MAX_BYTES) return;
  const count = u32(u8, start);
  if (count > MAX_PAIRS || start + 4 + 8 * count > end) return;
  let at = start + 4 + 8 * count;
  for (let i = 0; i < count; i++) {
    const nameEnd = at + u32(u8, start + 4 + 8 * i);
    const valueEnd = nameEnd + 1 + u32(u8, start + 8 + 8 * i);
    if (valueEnd + 1 > end || u8[nameEnd] !== 0 || u8[valueEnd] !== 0) return;
    at = valueEnd + 1;
  }
  if (at !== end) return;
  at = start + 4 + 8 * count;
  for (let i = 0; i < count; i++) {
    const nameLength = u32(u8, start + 4 + 8 * i);
    const valueLength = u32(u8, start + 8 + 8 * i);
    visit(at, nameLength, at + nameLength + 1, valueLength);
    at += nameLength + valueLength + 2;
  }
}

function u32(u8: Uint8Array, at: number): number {
  return (u8[at] | (u8[at + 1] << 8) | (u8[at + 2] << 16) | (u8[at + 3] << 24)) >>> 0;
}
