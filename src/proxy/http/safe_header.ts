/** Headers that a service asks for: only those that can stand in a message, so that none ends a line or begins another message. */
import { isFieldName } from './header_text.ts';

export type HeaderPair = readonly [name: string, value: string];

const REQUEST_PSEUDO: ReadonlySet<string> = new Set([':method', ':path', ':authority', ':scheme']);

/** The name is lower case. Pseudo headers of requests are allowed as long as they have a value. */
export function isSafeHeader([name, value]: HeaderPair): boolean {
  if (/[\r\n\0]/.test(value)) return false;
  if (name.startsWith(':')) return REQUEST_PSEUDO.has(name) && value !== '';
  const bytes = Buffer.from(name, 'latin1');
  return bytes.length > 0 && isFieldName(bytes, 0, bytes.length);
}
