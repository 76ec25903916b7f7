/**
 * The first line of a message (RFC 9112 3 and 4): method, target and version, or version and status.
 *
 * Strict: single spaces, CRLF. `GET /path` without a version is HTTP/0.9 and complete at its line end, as in Envoy.
 */
import { H } from '../header_names.ts';
import { CR, LF, SLASH, SP, TARGET, TOKEN, VALUE } from './bytes.ts';
import { COMPLETE, type HeadParser, INCOMPLETE } from './head_parser.ts';
import { METHOD_OPTIONS, METHODS, methodOfBytes } from './methods.ts';
import { Details } from './settings.ts';

/** No registered method is longer; a custom one may be. */
const MAX_METHOD_LENGTH = 64;
const ASTERISK = 42;

/** Parses the request line at `parser.at`. After COMPLETE `parser.at` is the start of the fields, or -1 for HTTP/0.9. */
export function parseRequestLine(parser: HeadParser, allowCustomMethods: boolean): number {
  const u8 = parser.u8;
  const end = parser.end;
  const methodStart = parser.at;
  let p = methodStart;
  let c = 0;
  for (;;) {
    if (p >= end) return INCOMPLETE;
    c = u8[p];
    if (TOKEN[c] === 0) break;
    p++;
  }
  const methodLength = p - methodStart;
  if (c !== SP || methodLength === 0 || methodLength > MAX_METHOD_LENGTH) return parser.fail(400, Details.CodecError);
  const method = methodOfBytes(u8, methodStart, methodLength);
  if (method === 0 && !allowCustomMethods) return parser.fail(400, Details.CodecError);

  const targetStart = ++p;
  for (;;) {
    if (p >= end) return INCOMPLETE;
    c = u8[p];
    if (TARGET[c] === 0) break;
    p++;
  }
  const targetLength = p - targetStart;
  if (targetLength === 0) return parser.fail(400, Details.CodecError);
  if (c === CR) {
    if (p + 1 >= end) return INCOMPLETE;
    if (u8[p + 1] !== LF) return parser.fail(400, Details.CodecError);
    parser.isHttp11 = false;
    parser.end = p + 2;
    p = -1;
  } else {
    if (c !== SP) return parser.fail(400, Details.InvalidUrl);
    p++;
    const version = versionAt(u8, p, end);
    if (version === -1) return INCOMPLETE;
    if (version === 0) return parser.fail(400, Details.CodecError);
    p += 8;
    if (p >= end || (u8[p] === CR && p + 1 >= end)) return INCOMPLETE;
    if (u8[p] !== CR || u8[p + 1] !== LF) return parser.fail(400, Details.CodecError);
    parser.isHttp11 = version === 11;
    p += 2;
  }

  parser.method = method;
  parser.addKnown(H[':method'], methodStart, methodLength, method === 0 ? undefined : METHODS[method]);
  const first = u8[targetStart];
  if (first === SLASH || (first === ASTERISK && targetLength === 1 && method === METHOD_OPTIONS)) {
    parser.addKnown(H[':path'], targetStart, targetLength);
    parser.targetLength = 0;
  } else {
    parser.targetStart = targetStart;
    parser.targetLength = targetLength;
  }
  parser.at = p;
  return COMPLETE;
}

/** Parses the status line at `parser.at`. The reason phrase is skipped. */
export function parseStatusLine(parser: HeadParser): number {
  const u8 = parser.u8;
  const end = parser.end;
  let p = parser.at;
  const version = versionAt(u8, p, end);
  if (version === -1) return INCOMPLETE;
  if (version === 0) return parser.fail(400, Details.CodecError);
  p += 8;
  if (p >= end) return INCOMPLETE;
  if (u8[p] !== SP) return parser.fail(400, Details.CodecError);
  p++;
  const statusStart = p;
  let status = 0;
  for (let i = 0; i < 3; i++, p++) {
    if (p >= end) return INCOMPLETE;
    const digit = u8[p] - 48;
    if (digit < 0 || digit > 9) return parser.fail(400, Details.CodecError);
    status = status * 10 + digit;
  }
  if (status < 100) return parser.fail(400, Details.CodecError);
  if (p >= end) return INCOMPLETE;
  // The space before an empty reason is often left out.
  if (u8[p] !== SP && u8[p] !== CR) return parser.fail(400, Details.CodecError);
  while (p < end && VALUE[u8[p]] !== 0) p++;
  if (p >= end) return INCOMPLETE;
  if (u8[p] !== CR) return parser.fail(400, Details.CodecError);
  if (p + 1 >= end) return INCOMPLETE;
  if (u8[p + 1] !== LF) return parser.fail(400, Details.CodecError);
  parser.isHttp11 = version === 11;
  parser.status = status;
  parser.addKnown(H[':status'], statusStart, 3, statusText(status));
  parser.at = p + 2;
  return COMPLETE;
}

const statusTexts: string[] = [];

/** The three digits, without making a string each time. */
function statusText(status: number): string {
  return (statusTexts[status] ??= String(status));
}

/** `HTTP/d.d`: 11, 10 for every other version, 0 when it is none, -1 when bytes are missing. */
function versionAt(u8: Uint8Array, at: number, end: number): number {
  const have = end - at;
  if (have >= 8) {
    if (u8[at] !== 72 || u8[at + 1] !== 84 || u8[at + 2] !== 84 || u8[at + 3] !== 80 || u8[at + 4] !== 47 || u8[at + 6] !== 46)
      return 0;
    const major = u8[at + 5] - 48;
    const minor = u8[at + 7] - 48;
    if (major < 0 || major > 9 || minor < 0 || minor > 9) return 0;
    return major === 1 && minor === 1 ? 11 : 10;
  }
  for (let i = 0; i < have; i++) if (i !== 5 && i !== 7 && u8[at + i] !== 'HTTP/1.1'.charCodeAt(i)) return 0;
  return -1;
}
