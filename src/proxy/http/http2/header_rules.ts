/**
 * What a decoded header block must be to be a request, a response or trailers (RFC 9113 8.3, RFC 8441), and its translation to the
 * form that filters see: extended CONNECT as an HTTP/1.1 upgrade, cookie crumbs joined, `host` as `:authority` (Envoy:
 * source/common/http/utility.cc, transformUpgradeRequestFromH2toH1 and its siblings).
 */
import { createHash, randomBytes } from 'node:crypto';
import { headerEquals } from '../conn_manager/header_bytes.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { HpackDecoder } from './hpack_decoder.ts';
import { Details } from './settings.ts';

const METHOD = 1 << H[':method'];
const PATH = 1 << H[':path'];
const AUTHORITY = 1 << H[':authority'];
const SCHEME = 1 << H[':scheme'];
const STATUS = 1 << H[':status'];
const PROTOCOL = 1 << H[':protocol'];

/** Why the block is no request; null when it is one, and is in its final form. */
export function checkRequest(hpack: HpackDecoder, headers: HeaderMap, allowConnect: boolean): string | null {
  if (hpack.malformed) return Details.InvalidHeaderField;
  const pseudo = hpack.pseudo;
  const common = pseudo & ~AUTHORITY;
  if (common !== (METHOD | SCHEME | PATH) || headerEquals(headers, H[':method'], 'CONNECT')) {
    if ((pseudo & METHOD) === 0 || (pseudo & STATUS) !== 0 || !headerEquals(headers, H[':method'], 'CONNECT'))
      return Details.MessagingRule;
    if ((pseudo & AUTHORITY) === 0) return Details.MessagingRule;
    if ((pseudo & PROTOCOL) !== 0) {
      if (!allowConnect || common !== (METHOD | SCHEME | PATH | PROTOCOL)) return Details.MessagingRule;
      requestToUpgrade(headers);
    } else if (common !== METHOD) return Details.MessagingRule;
  }
  if (headers.hasId(H.host)) {
    if (!headers.hasId(H[':authority'])) headers.addId(H[':authority'], headers.getId(H.host) as string);
    headers.removeId(H.host);
  }
  if (hpack.cookies > 1) headers.setId(H.cookie, headers.getAll('cookie').join('; '));
  return null;
}

export function checkResponse(hpack: HpackDecoder, headers: HeaderMap): string | null {
  if (hpack.malformed) return Details.InvalidHeaderField;
  if (hpack.pseudo !== STATUS || headers.valueByteLength(H[':status']) !== 3) return Details.MessagingRule;
  const status = headers.getId(H[':status']) as string;
  return /^[1-9][0-9][0-9]$/.test(status) ? null : Details.InvalidHeaderField;
}

export function checkTrailers(hpack: HpackDecoder): string | null {
  return hpack.malformed || hpack.pseudo !== 0 ? Details.InvalidHeaderField : null;
}

function requestToUpgrade(headers: HeaderMap): void {
  headers.setId(H[':method'], 'GET');
  headers.setId(H.upgrade, headers.getId(H[':protocol']) as string);
  headers.setId(H.connection, 'upgrade');
  headers.removeId(H[':protocol']);
  // RFC 8441 has no key; an HTTP/1.1 server wants one.
  if (!headers.hasId(H['sec-websocket-key']) && headerEquals(headers, H.upgrade, 'websocket'))
    headers.addId(H['sec-websocket-key'], randomBytes(16).toString('base64'));
}

/** For requests that go out: an upgrade becomes extended CONNECT. True when it was one. */
export function upgradeToConnect(headers: HeaderMap): boolean {
  const upgrade = headers.getId(H.upgrade);
  if (upgrade === undefined || !/(^|,)\s*upgrade\s*(,|$)/i.test(headers.getId(H.connection) ?? '')) return false;
  headers.setId(H[':method'], 'CONNECT');
  headers.setId(H[':protocol'], upgrade);
  headers.removeId(H.upgrade);
  headers.removeId(H.connection);
  if (headers.getId(H['content-length']) === '0') headers.removeId(H['content-length']);
  return true;
}

/** RFC 6455 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/**
 * For responses to an upgrade that went out as extended CONNECT. `key` is the request's sec-websocket-key, '' when it had none: its client
 * waits for an answer that RFC 8441 does not have.
 */
export function responseToUpgrade(headers: HeaderMap, protocol: string, key: string): void {
  if (headers.getId(H[':status']) !== '200') return;
  if (key !== '' && !headers.has('sec-websocket-accept')) {
    headers.add(
      'sec-websocket-accept',
      createHash('sha1')
        .update(key + WEBSOCKET_GUID)
        .digest('base64'),
    );
  }
  headers.setId(H[':status'], '101');
  headers.setId(H.upgrade, protocol);
  headers.setId(H.connection, 'upgrade');
}
