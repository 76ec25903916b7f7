/**
 * The Connection header's nominated headers (RFC 9110 7.6.1; Envoy: Utility::sanitizeConnectionHeader), and whether a message lets its
 * connection live on.
 */
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { equalsIgnoreCase } from './bytes.ts';

const MAX_NOMINATED = 10;
const MAX_TE_LENGTH = 256;
/** Options of the connection, which nominate nothing. */
const OPTIONS = new Set(['close', 'keep-alive', 'upgrade', 'http2-settings']);
/** Removing these would hide where a request came from or how it is framed. */
const PROTECTED = new Set([
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'host',
  'content-length',
  'transfer-encoding',
]);

/**
 * Removes the headers that `connection` nominates, and their names from it. `te` stays as `trailers` when it says so.
 * False: it nominates what must not be removed, or too much, and the request is refused.
 */
export function sanitizeConnectionHeader(headers: HeaderMap): boolean {
  const value = headers.getId(H.connection);
  if (value === undefined) return true;
  const tokens = value.split(',').filter((token) => token.trim() !== '');
  if (tokens.length >= MAX_NOMINATED) return false;
  const kept: string[] = [];
  for (const text of tokens) {
    const token = text.trim();
    const name = token.toLowerCase();
    if (OPTIONS.has(name)) {
      kept.push(token);
      continue;
    }
    if (name.startsWith(':') || PROTECTED.has(name)) return false;
    if (name === 'connection') continue;
    if (name === 'te') {
      const te = headers.getId(H.te);
      if (te !== undefined && te.length > MAX_TE_LENGTH) return false;
      if (te?.split(',').some((coding) => coding.trim().toLowerCase() === 'trailers')) {
        headers.setId(H.te, 'trailers');
        kept.push(token);
        continue;
      }
    }
    headers.remove(name);
  }
  if (kept.length === 0) headers.removeId(H.connection);
  else headers.setId(H.connection, kept.join(','));
  return true;
}

/** Removes tokens (lower case) from `connection`, and the header when nothing is left. */
export function removeConnectionTokens(headers: HeaderMap, tokens: ReadonlySet<string>): void {
  const value = headers.getId(H.connection);
  if (value === undefined) return;
  const kept = value
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '' && !tokens.has(token.toLowerCase()));
  if (kept.length === 0) headers.removeId(H.connection);
  else headers.setId(H.connection, kept.join(','));
}

/** True when the header has the token (lower case) in any case. */
export function connectionHas(headers: HeaderMap, token: string): boolean {
  if (!headers.hasId(H.connection)) return false;
  const start = headers.valueByteStart(H.connection);
  // The usual header is one token.
  if (start >= 0 && equalsIgnoreCase(headers.slab.u8, start, headers.valueByteLength(H.connection), token)) return true;
  if (start >= 0 && equalsIgnoreCase(headers.slab.u8, start, headers.valueByteLength(H.connection), 'keep-alive')) return false;
  const value = headers.getId(H.connection) as string;
  return value.split(',').some((entry) => entry.trim().toLowerCase() === token);
}

/** `connection` has `upgrade`, and there is an `upgrade` header (Envoy: Utility::isUpgrade). */
export function isUpgrade(headers: HeaderMap): boolean {
  return headers.hasId(H.upgrade) && connectionHas(headers, 'upgrade');
}
