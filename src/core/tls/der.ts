/**
 * As much of DER (X.690) and X.509 (RFC 5280) as is asked of certificates: validity, serial number, public key, the subject
 * alternative names and whether a response must be stapled (RFC 7633). Bounds are checked everywhere; what cannot be read is left out. Certificates seen here were parsed by OpenSSL before.
 */

export interface SubjectAltNames {
  readonly uri: string[];
  readonly dns: string[];
  readonly ip: string[];
  readonly email: string[];
  /** Value only; `otherNameOids[i]` is its type. */
  readonly otherName: string[];
  readonly otherNameOids: string[];
}

export interface CertificateFields {
  /** Lower-case hex without leading zero bytes. */
  readonly serialNumber: string;
  readonly validFromMs: number;
  readonly expirationMs: number;
  /** The SubjectPublicKeyInfo with its header. */
  readonly publicKeyInfo: Uint8Array;
  readonly sans: SubjectAltNames;
  /** TLS feature `status_request`. */
  readonly mustStaple: boolean;
}

export interface Element {
  readonly tag: number;
  /** Of the content. */
  readonly start: number;
  readonly end: number;
  /** Of the header. */
  readonly at: number;
}

const SEQUENCE = 0x30;
const OID_SUBJECT_ALT_NAME = '2.5.29.17';
const OID_TLS_FEATURE = '1.3.6.1.5.5.7.1.24';
/** INTEGER 5, the number of the extension. */
const STATUS_REQUEST = '020105';

/** Null when it is not a certificate. */
export function parseCertificate(der: Uint8Array): CertificateFields | null {
  const certificate = element(der, 0, der.length);
  if (certificate === null || certificate.tag !== SEQUENCE) return null;
  const body = element(der, certificate.start, certificate.end);
  if (body === null || body.tag !== SEQUENCE) return null;
  const parts = children(der, body);
  // [0] version, serial, signature, issuer, validity, subject, public key, [1] [2] ids, [3] extensions.
  const first = parts[0]?.tag === 0xa0 ? 1 : 0;
  const [serial, , , validity, , publicKey] = parts.slice(first);
  if (serial === undefined || validity === undefined || publicKey === undefined) return null;
  const times = children(der, validity);
  const wrapper = parts.find((part) => part.tag === 0xa3);
  const extensions = wrapper === undefined ? null : element(der, wrapper.start, wrapper.end);
  return {
    serialNumber: serialHex(der, serial),
    validFromMs: time(der, times[0]),
    expirationMs: time(der, times[1]),
    publicKeyInfo: der.slice(publicKey.at, publicKey.end),
    sans: readSans(der, extensionValue(der, extensions, OID_SUBJECT_ALT_NAME)),
    mustStaple: hasFeature(der, extensionValue(der, extensions, OID_TLS_FEATURE)),
  };
}

/** Lower-case hex without leading zero bytes. */
export function serialHex(der: Uint8Array, serial: Element): string {
  return hex(der.subarray(serial.start, serial.end)).replace(/^(00)+(?=..)/, '');
}

function emptySans(): SubjectAltNames {
  return { uri: [], dns: [], ip: [], email: [], otherName: [], otherNameOids: [] };
}

/** The element at `at`, whole within `limit`; null otherwise. */
export function element(der: Uint8Array, at: number, limit: number): Element | null {
  if (at + 2 > limit) return null;
  const tag = der[at];
  if ((tag & 0x1f) === 0x1f) return null;
  let start = at + 2;
  let length = der[at + 1];
  if (length >= 0x80) {
    const bytes = length & 0x7f;
    if (bytes === 0 || bytes > 3 || start + bytes > limit) return null;
    length = 0;
    for (let i = 0; i < bytes; i++) length = (length << 8) | der[start++];
  }
  const end = start + length;
  return end > limit ? null : { tag, start, end, at };
}

export function children(der: Uint8Array, parent: Element): Element[] {
  const found: Element[] = [];
  for (let at = parent.start; at < parent.end; ) {
    const child = element(der, at, parent.end);
    if (child === null) break;
    found.push(child);
    at = child.end;
  }
  return found;
}

/** What an extension holds; null without it. */
function extensionValue(der: Uint8Array, extensions: Element | null, id: string): Element | null {
  for (const extension of extensions === null ? [] : children(der, extensions)) {
    const parts = children(der, extension);
    if (parts.length < 2 || oid(der, parts[0]) !== id) continue;
    const value = parts[parts.length - 1];
    return element(der, value.start, value.end);
  }
  return null;
}

function hasFeature(der: Uint8Array, features: Element | null): boolean {
  return features !== null && children(der, features).some((part) => hex(der.subarray(part.at, part.end)) === STATUS_REQUEST);
}

function readSans(der: Uint8Array, names: Element | null): SubjectAltNames {
  const sans = emptySans();
  if (names === null) return sans;
  for (const name of children(der, names)) {
    const bytes = der.subarray(name.start, name.end);
    switch (name.tag) {
      case 0x81:
        sans.email.push(latin1(bytes));
        break;
      case 0x82:
        sans.dns.push(latin1(bytes));
        break;
      case 0x86:
        sans.uri.push(latin1(bytes));
        break;
      case 0x87: {
        const ip = ipText(bytes);
        if (ip !== '') sans.ip.push(ip);
        break;
      }
      case 0xa0: {
        const [type, wrapped] = children(der, name);
        const value = wrapped === undefined ? null : element(der, wrapped.start, wrapped.end);
        if (type === undefined || value === null) break;
        sans.otherNameOids.push(oid(der, type));
        sans.otherName.push(Buffer.from(der.subarray(value.start, value.end)).toString('utf8'));
        break;
      }
    }
  }
  return sans;
}

export function oid(der: Uint8Array, part: Element): string {
  if (part.tag !== 6 || part.end === part.start) return '';
  const arcs: number[] = [];
  let value = 0;
  for (let i = part.start; i < part.end; i++) {
    value = value * 128 + (der[i] & 0x7f);
    if ((der[i] & 0x80) !== 0) continue;
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(value / 40));
      arcs.push(first, value - first * 40);
    } else arcs.push(value);
    value = 0;
  }
  return arcs.join('.');
}

/** UTCTime or GeneralizedTime; NaN when it is neither. */
export function time(der: Uint8Array, part: Element | undefined): number {
  if (part === undefined) return Number.NaN;
  let text = latin1(der.subarray(part.start, part.end));
  if (part.tag === 0x17) text = `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}`;
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (match === null) return Number.NaN;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return '';
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] << 8) | bytes[i + 1]).toString(16));
  // The canonical form (RFC 5952), as URLs write it.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
