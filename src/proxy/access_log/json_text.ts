/**
 * JSON as bytes, one character per byte, like all formatted text. Bytes above 0x7f stay when they are UTF-8 and become `\u00xx`
 * otherwise, so that whatever a client sent gives valid JSON.
 */
import { byteText } from '../common/byte_text.ts';

const SAFE = 0;
const ESCAPE = 1;
const HIGH = 2;

/** Kind of each byte. */
const KINDS = Uint8Array.from({ length: 256 }, (_, c) => {
  if (c >= 0x80) return HIGH;
  return c < 0x20 || c === 0x22 || c === 0x5c || c === 0x7f ? ESCAPE : SAFE;
});

const SHORT: Record<number, string> = { 8: '\\b', 9: '\\t', 10: '\\n', 12: '\\f', 13: '\\r', 34: '\\"', 92: '\\\\' };

/** The inside of a JSON string for byte text. */
export function escapeJson(text: string): string {
  let kinds = 0;
  for (let i = 0; i < text.length; i++) kinds |= KINDS[text.charCodeAt(i) & 0xff];
  if (kinds === SAFE) return text;
  const keepHigh = (kinds & HIGH) === 0 || isUtf8(text);
  let escaped = '';
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i) & 0xff;
    if (KINDS[c] === SAFE || (KINDS[c] === HIGH && keepHigh)) escaped += text[i];
    else escaped += SHORT[c] ?? `\\u00${c.toString(16).padStart(2, '0')}`;
  }
  return escaped;
}

/** A plain JSON value (Unicode strings, as configuration and metadata have them) as bytes, keys sorted. */
export function jsonBytes(value: unknown): string {
  return byteText(JSON.stringify(sortKeys(value)) ?? 'null');
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sortKeys(member)]));
}

function isUtf8(text: string): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'));
    return true;
  } catch {
    return false;
  }
}
