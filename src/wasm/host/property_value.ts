/**
 * Values of properties and their serialisation: text and bytes raw, integers and floats 8 bytes little-endian, booleans one byte, maps
 * and lists as pairs with their values serialised by the same rules. A bigint is an integer, a number is a double.
 */
import { encodePairs } from '../abi/pairs.ts';

export type PropertyValue =
  | string
  | Uint8Array
  | bigint
  | number
  | boolean
  | null
  | undefined
  | readonly PropertyValue[]
  | { readonly [key: string]: PropertyValue }
  | typeof NOT_SERIALIZABLE;

/** There is such a thing, but it cannot be read as a whole. */
export const NOT_SERIALIZABLE = Symbol('not serializable');

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** Null: it cannot be serialised. Strings are text of one character per byte unless they hold more, then UTF-8. */
export function serializeProperty(value: PropertyValue): Uint8Array | null {
  switch (typeof value) {
    case 'string':
      return textBytes(value);
    case 'bigint': {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigInt64(0, BigInt.asIntN(64, value), true);
      return bytes;
    }
    case 'number': {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, value, true);
      return bytes;
    }
    case 'boolean':
      return Uint8Array.of(value ? 1 : 0);
    case 'object':
      break;
    default:
      return null;
  }
  if (value === null) return null;
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) {
    return encodePairs(value.map((item: PropertyValue) => [serializeProperty(item) ?? NOTHING, NOTHING]));
  }
  return encodePairs(
    Object.entries(value as Record<string, PropertyValue>).map(([key, item]) => [
      textBytes(key),
      serializeProperty(item) ?? NOTHING,
    ]),
  );
}

export function textBytes(text: string): Uint8Array {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) return encoder.encode(text);
  return Buffer.from(text, 'latin1');
}

/** Walks maps and lists by the rest of a path. Undefined: there is nothing. */
export function propertyAt(value: PropertyValue, segments: readonly string[], from: number): PropertyValue {
  for (let i = from; i < segments.length; i++) {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return undefined;
    if (Array.isArray(value)) value = value[Number(segments[i])] as PropertyValue;
    else value = Object.hasOwn(value, segments[i]) ? (value as Record<string, PropertyValue>)[segments[i]] : undefined;
  }
  return value;
}
