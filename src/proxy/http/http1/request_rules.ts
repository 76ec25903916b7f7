/**
 * What a complete request head must fulfil, in Envoy's order (Http1::ConnectionImpl::onHeadersComplete, ServerConnectionImpl::
 * handlePath and checkProtocolVersion): upgrade, CONNECT, content-length against transfer-encoding, target, version, Connection.
 *
 * Beyond Envoy: an upgrade with a chunked body loses its upgrade (the body would have to be passed as it is on the wire), and
 * transfer-encoding in HTTP/1.0 is refused (RFC 9112 6.1).
 */
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { AUTHORITY, allIn, COLON, equalsIgnoreCase, SLASH } from './bytes.ts';
import { connectionHas, removeConnectionTokens, sanitizeConnectionHeader } from './connection_header.ts';
import { CONNECTION_OTHER, CONNECTION_UPGRADE, type HeadParser } from './head_parser.ts';
import { METHOD_CONNECT } from './methods.ts';
import { Details, type Http1Settings } from './settings.ts';

export interface Refusal {
  readonly status: number;
  readonly details: Details;
}

const refusal = (status: number, details: Details): Refusal => ({ status, details });

const BODY_DISALLOWED = refusal(400, Details.BodyDisallowed);
const CHUNKED_CONTENT_LENGTH = refusal(400, Details.ChunkedContentLength);
const INVALID_TRANSFER_ENCODING = refusal(501, Details.InvalidTransferEncoding);
const INVALID_URL = refusal(400, Details.InvalidUrl);
const INVALID_SCHEME = refusal(400, Details.InvalidScheme);
const HTTPS_IN_PLAINTEXT = refusal(403, Details.HttpsInPlaintext);
const LOW_VERSION = refusal(426, Details.LowVersion);
const CONNECTION_HEADER = refusal(400, Details.ConnectionHeaderRejected);

const UPGRADE_TOKENS: ReadonlySet<string> = new Set(['upgrade', 'http2-settings']);

/** Null when the request may go on: then the headers are in their final form and `parser.tunnel` is set. */
export function checkRequest(parser: HeadParser, headers: HeaderMap, settings: Http1Settings): Refusal | null {
  const isConnect = parser.method === METHOD_CONNECT;
  if ((parser.connectionFlags & CONNECTION_UPGRADE) !== 0) parser.tunnel = upgradeIsKept(parser, headers, settings);
  if (isConnect) {
    parser.tunnel = true;
    if (parser.contentLength > 0) return BODY_DISALLOWED;
    if (parser.contentLength === 0) headers.removeId(H['content-length']);
  }

  if (parser.hasTransferEncoding) {
    if (parser.contentLength >= 0) {
      if (!parser.chunked || !settings.allowChunkedLength) return CHUNKED_CONTENT_LENGTH;
      headers.removeId(H['content-length']);
      parser.contentLength = -1;
    }
    if (!parser.chunked || isConnect || (!parser.isHttp11 && settings.acceptHttp10)) return INVALID_TRANSFER_ENCODING;
  }

  if (parser.targetLength > 0) {
    const refused = applyTarget(parser, headers, settings, isConnect);
    if (refused !== null) return refused;
  } else if (isConnect) return INVALID_URL;

  if (!parser.isHttp11) {
    if (!settings.acceptHttp10) return LOW_VERSION;
    if (settings.defaultHostForHttp10 !== '' && !headers.hasId(H[':authority'])) {
      headers.addId(H[':authority'], settings.defaultHostForHttp10);
    }
  }

  if ((parser.connectionFlags & CONNECTION_OTHER) !== 0 && !sanitizeConnectionHeader(headers)) return CONNECTION_HEADER;
  return null;
}

/** Upgrades to h2c, those that configuration ignores and those with a chunked body are taken out of the headers. */
function upgradeIsKept(parser: HeadParser, headers: HeaderMap, settings: Http1Settings): boolean {
  const value = headers.getId(H.upgrade);
  if (value === undefined) return false;
  if (value.toLowerCase() === 'h2c' || parser.hasTransferEncoding) {
    if (settings.http2Upgrade) parser.http2Settings = http2Settings(parser, headers);
    headers.removeId(H.upgrade);
    headers.removeId(H['http2-settings']);
    removeConnectionTokens(headers, UPGRADE_TOKENS);
    return false;
  }
  const ignored = settings.ignoreHttp11Upgrade;
  if (ignored === null) return true;
  const tokens = value.split(',').map((token) => token.trim());
  const kept = tokens.filter((token) => token !== '' && !ignored(token));
  if (kept.length === tokens.length) return true;
  if (kept.length > 0) {
    headers.setId(H.upgrade, kept.join(','));
    return true;
  }
  headers.removeId(H.upgrade);
  removeConnectionTokens(headers, UPGRADE_TOKENS);
  return false;
}

const BASE64URL = /^[A-Za-z0-9_-]*={0,2}$/;

/**
 * RFC 7540 3.2.1: exactly one HTTP2-Settings, which is an option of the connection. A request with a body stays HTTP/1.1, as does one whose
 * SETTINGS cannot be read.
 */
function http2Settings(parser: HeadParser, headers: HeaderMap): Uint8Array | null {
  if (!parser.isHttp11 || parser.hasTransferEncoding || parser.contentLength > 0 || parser.method === METHOD_CONNECT) return null;
  if (!connectionHas(headers, 'http2-settings')) return null;
  const values = headers.getAll('http2-settings');
  if (values.length !== 1 || !BASE64URL.test(values[0])) return null;
  const bytes = Buffer.from(values[0], 'base64url');
  return bytes.length % SETTING_BYTES === 0 ? bytes : null;
}

const SETTING_BYTES = 6;

/** A target that is no `/path`: `http://authority/path` (RFC 9112 3.2.2), or `host:port` of CONNECT. */
function applyTarget(parser: HeadParser, headers: HeaderMap, settings: Http1Settings, isConnect: boolean): Refusal | null {
  const u8 = parser.u8;
  const start = parser.targetStart;
  const end = start + parser.targetLength;
  if (isConnect) {
    if (!isHostAndPort(u8, start, end)) return INVALID_URL;
    headers.removeId(H[':authority']);
    parser.addKnown(H[':authority'], start, end - start);
    return null;
  }
  if (!settings.allowAbsoluteUrl) {
    // As Envoy: the connection manager sees what was sent and answers 404.
    parser.addKnown(H[':path'], start, end - start);
    return null;
  }

  let schemeEnd = start;
  while (schemeEnd < end && isAlpha(u8[schemeEnd])) schemeEnd++;
  if (
    schemeEnd === start ||
    schemeEnd + 3 >= end ||
    u8[schemeEnd] !== COLON ||
    u8[schemeEnd + 1] !== SLASH ||
    u8[schemeEnd + 2] !== SLASH
  ) {
    return INVALID_URL;
  }
  const hostStart = schemeEnd + 3;
  let hostEnd = hostStart;
  while (hostEnd < end && u8[hostEnd] !== SLASH && u8[hostEnd] !== QUESTION && u8[hostEnd] !== HASH) hostEnd++;
  if (hostEnd === hostStart || !allIn(AUTHORITY, u8, hostStart, hostEnd - hostStart)) return INVALID_URL;
  const isHttps = equalsIgnoreCase(u8, start, schemeEnd - start, 'https');
  if (!isHttps && !equalsIgnoreCase(u8, start, schemeEnd - start, 'http')) return INVALID_SCHEME;
  if (isHttps && settings.validateScheme) return HTTPS_IN_PLAINTEXT;

  headers.removeId(H[':authority']);
  parser.addKnown(H[':authority'], hostStart, hostEnd - hostStart);
  headers.addId(H[':scheme'], isHttps ? 'https' : 'http');
  if (hostEnd === end) headers.addId(H[':path'], '/');
  else if (u8[hostEnd] === SLASH) parser.addKnown(H[':path'], hostEnd, end - hostEnd);
  else headers.addId(H[':path'], `/${Buffer.from(u8.subarray(hostEnd, end)).toString('latin1')}`);
  return null;
}

const QUESTION = 63;
const HASH = 35;
const BRACKET_OPEN = 91;
const BRACKET_CLOSE = 93;

const isAlpha = (c: number): boolean => (c | 32) >= 97 && (c | 32) <= 122;

function isHostAndPort(u8: Uint8Array, start: number, end: number): boolean {
  let digits = end;
  while (digits > start && u8[digits - 1] >= 48 && u8[digits - 1] <= 57) digits--;
  const colon = digits - 1;
  if (digits === end || end - digits > 5 || colon <= start || u8[colon] !== COLON) return false;
  if (!allIn(AUTHORITY, u8, start, end - start)) return false;
  // A colon in the host is only right inside brackets.
  const isLiteral = u8[start] === BRACKET_OPEN && u8[colon - 1] === BRACKET_CLOSE;
  for (let i = start; i < colon; i++) if (u8[i] === COLON && !isLiteral) return false;
  return true;
}
