/** Single values -> their proto3 JSON form, checked against the field's type. What cannot be is a ScalarMistake. */
import { type DescEnum, type DescMessage, type JsonValue, ScalarType } from '@bufbuild/protobuf';
import { didYouMean } from './suggest.ts';

/** The message continues a sentence that begins with the value. */
export class ScalarMistake extends Error {}

const WRAPPERS = new Set(
  ['Double', 'Float', 'Int64', 'UInt64', 'Int32', 'UInt32', 'Bool', 'String', 'Bytes'].map(
    (name) => `google.protobuf.${name}Value`,
  ),
);

export function isWrapper(type: DescMessage): boolean {
  return WRAPPERS.has(type.typeName);
}

export function parseScalar(type: ScalarType, value: string | number | boolean): JsonValue {
  switch (type) {
    case ScalarType.STRING:
      if (typeof value !== 'string') throw new ScalarMistake(`is a ${typeof value} where a string is expected: put it in quotes`);
      return value;
    case ScalarType.BYTES:
      if (typeof value !== 'string')
        throw new ScalarMistake(`is a ${typeof value} where base64 text is expected: put it in quotes`);
      return parseBase64(value);
    case ScalarType.BOOL:
      if (typeof value === 'boolean') return value;
      throw new ScalarMistake(`is not true or false${value === 'true' || value === 'false' ? ': leave out the quotes' : ''}`);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return parseFloating(type, value);
    default:
      return parseInteger(INTEGERS[type], value);
  }
}

/** The name as the API spells it, or a number. Names match in any case, `-` counts as `_`. */
export function parseEnum(desc: DescEnum, value: string | number | boolean): JsonValue {
  if (typeof value === 'number' && Number.isInteger(value)) return desc.value[value]?.name ?? value;
  const names = desc.values.map(({ name }) => name);
  if (typeof value === 'string') {
    const folded = value.toUpperCase().replaceAll('-', '_');
    const name = names.find((each) => each.toUpperCase() === folded);
    if (name !== undefined) return name;
  }
  const allowed = names.length <= 12 ? `; allowed: ${names.join(', ')}` : '';
  throw new ScalarMistake(`is not a value of ${desc.typeName}${allowed}${didYouMean(String(value), names)}`);
}

/** Duration, Timestamp, FieldMask: all strings in JSON. */
export function parseWellKnownString(type: DescMessage, value: string | number | boolean): JsonValue {
  const text = typeof value === 'string' ? value : '';
  switch (type.typeName) {
    case 'google.protobuf.Duration': {
      const match = /^-?([0-9]+)(?:\.[0-9]{1,9})?s$/.exec(text);
      if (match === null) throw new ScalarMistake('is not a duration: write seconds with an s, such as "0.25s"');
      if (Number(match[1]) > 315_576_000_000) throw new ScalarMistake('is too long a duration');
      return text;
    }
    case 'google.protobuf.Timestamp': {
      const valid = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text));
      if (!valid || text.startsWith('0000')) throw new ScalarMistake('is not a time such as "2026-01-31T12:00:00Z"');
      return text;
    }
    default:
      if (!/^([A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*(,|$))*$/.test(text)) throw new ScalarMistake('is not a field mask');
      return text;
  }
}

function parseBase64(text: string): JsonValue {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text) || text.replace(/=+$/, '').length % 4 === 1)
    throw new ScalarMistake('is not base64');
  return Buffer.from(text, 'base64').toString('base64');
}

function parseFloating(type: ScalarType, value: string | number | boolean): JsonValue {
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return value;
  const isNumber =
    typeof value === 'number' || (typeof value === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(value));
  const number = Number(value);
  if (!isNumber || !Number.isFinite(number)) throw new ScalarMistake('is not a number');
  if (type === ScalarType.FLOAT && Math.abs(number) > 3.4028234663852886e38)
    throw new ScalarMistake('is out of range for a float');
  return number;
}

interface IntegerRange {
  min: bigint;
  max: bigint;
  name: string;
}

const INT32: IntegerRange = { min: -(2n ** 31n), max: 2n ** 31n - 1n, name: 'int32' };
const UINT32: IntegerRange = { min: 0n, max: 2n ** 32n - 1n, name: 'uint32' };
const INT64: IntegerRange = { min: -(2n ** 63n), max: 2n ** 63n - 1n, name: 'int64' };
const UINT64: IntegerRange = { min: 0n, max: 2n ** 64n - 1n, name: 'uint64' };

type IntegerType = Exclude<ScalarType, 1 | 2 | 8 | 9 | 12>;

const INTEGERS: Record<IntegerType, IntegerRange> = {
  [ScalarType.INT32]: INT32,
  [ScalarType.SINT32]: INT32,
  [ScalarType.SFIXED32]: INT32,
  [ScalarType.UINT32]: UINT32,
  [ScalarType.FIXED32]: UINT32,
  [ScalarType.INT64]: INT64,
  [ScalarType.SINT64]: INT64,
  [ScalarType.SFIXED64]: INT64,
  [ScalarType.UINT64]: UINT64,
  [ScalarType.FIXED64]: UINT64,
};

/** Also accepts what is written as a string, and a fraction that is none (`1.0`, `1e3`). */
function parseInteger(range: IntegerRange, value: string | number | boolean): JsonValue {
  const text = typeof value === 'boolean' ? '' : String(value);
  if (!/^[+-]?\d{1,20}(\.0+)?([eE][+-]?\d{1,2})?$/.test(text)) throw new ScalarMistake(`is not an integer (${range.name})`);
  let number: bigint;
  if (/[.eE]/.test(text)) {
    const exact = Number(text);
    if (!Number.isSafeInteger(exact)) throw new ScalarMistake(`is not an integer (${range.name})`);
    number = BigInt(exact);
  } else {
    number = text.startsWith('+') ? BigInt(text.slice(1)) : BigInt(text);
  }
  if (number < range.min || number > range.max)
    throw new ScalarMistake(`is out of range: ${range.name} is ${range.min} to ${range.max}`);
  return range.max > 2n ** 32n ? number.toString() : Number(number);
}
