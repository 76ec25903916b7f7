/**
 * What an unquoted YAML scalar means, by yaml-cpp's rules as Envoy uses them: null, else a boolean, else an integer, else a string.
 * A number such as `0.25` stays a string here and becomes a number only when its field wants one; so does an integer outside
 * 32 bits.
 */
export function resolvePlainScalar(text: string): string | number | boolean | null {
  if (NULLS.has(text)) return null;
  const truth = BOOLEANS.get(text);
  if (truth !== undefined) return truth;
  return resolveInteger(text) ?? text;
}

const NULLS = new Set(['', '~', 'null', 'Null', 'NULL']);

const BOOLEANS = new Map<string, boolean>();
for (const [word, value] of [
  ['y', true],
  ['n', false],
  ['yes', true],
  ['no', false],
  ['true', true],
  ['false', false],
  ['on', true],
  ['off', false],
] as const) {
  BOOLEANS.set(word, value)
    .set(word.toUpperCase(), value)
    .set(word[0].toUpperCase() + word.slice(1), value);
}

const INTEGER = /^([+-]?)(?:0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))$/;

/** As C++ streams read an int64 with base detection: `0x1f`, `017` (octal), `-5`, `+5`; undefined for what is not one. */
function resolveInteger(text: string): number | string | undefined {
  const match = INTEGER.exec(text);
  if (match === null) return undefined;
  const digits = match[2] !== undefined ? `0x${match[2]}` : match[3] !== undefined ? `0o0${match[3]}` : match[4];
  const value = match[1] === '-' ? -BigInt(digits) : BigInt(digits);
  if (value < -(2n ** 63n) || value >= 2n ** 63n) return undefined;
  return value >= -(2n ** 31n) && value < 2n ** 31n ? Number(value) : value.toString();
}
