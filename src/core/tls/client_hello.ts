/**
 * Reads a TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3, RFC 7301 3.1) out of the first bytes of a connection: server name,
 * application protocols, session tickets (RFC 5077 3.2, RFC 8446 4.2.11) and
 * whether an OCSP response is asked for (RFC 6066 8). The hello may be spread over records in any way. Nothing is trusted, nothing throws; as strict as
 * BoringSSL where that decides between TLS and not TLS. Leaves out SSLv2-framed hellos and encrypted client hello.
 */

import type { HelloOffer } from './fingerprint.ts';

export const ClientHelloStatus = { NeedMore: 0, Ok: 1, NotTls: 2 } as const;
export type ClientHelloStatus = (typeof ClientHelloStatus)[keyof typeof ClientHelloStatus];

export interface ClientHello {
  status: ClientHelloStatus;
  /** As sent; '' when there is none. */
  serverName: string;
  /** null: no (well-formed) extension. */
  applicationProtocols: string[] | null;
  /** The ticket of TLS 1.2 and the first of TLS 1.3, where they lie. */
  tickets: readonly Uint8Array[];
  /** The client takes an OCSP response with the certificate. */
  asksOcsp: boolean;
  /** It asks for short records (RFC 6066 4). */
  limitsFragments: boolean;
  /** Bytes of the connection that were looked at. */
  bytesProcessed: number;
  /** Why it is not TLS. */
  reason: string;
}

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const TLS_1_0 = 0x0301;
const RECORD_HEADER = 5;
const MAX_RECORD = 16_384;
const MAX_EMPTY_RECORDS = 32;
const MESSAGE_HEADER = 4;
const SERVER_NAME = 0;
const MAX_FRAGMENT_LENGTH = 1;
const STATUS_REQUEST = 5;
const STATUS_TYPE_OCSP = 1;
const SUPPORTED_GROUPS = 10;
const EC_POINT_FORMATS = 11;
const SIGNATURE_ALGORITHMS = 13;
const ALPN = 16;
const SESSION_TICKET = 35;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;

/** `bytes` is the start of the connection, all that has arrived. */
export function parseClientHello(bytes: Uint8Array): ClientHello {
  const message = joinRecords(bytes);
  if (typeof message === 'string') return notTls(message, bytes.length);
  if (message.body === null) return { ...EMPTY_HELLO, status: ClientHelloStatus.NeedMore, bytesProcessed: bytes.length };
  return parseBody(new Reader(message.body), message.consumed);
}

/** What a hello offers, for fingerprints; null when `bytes` do not begin with a whole one. */
export function parseOffer(bytes: Uint8Array): HelloOffer | null {
  const message = joinRecords(bytes);
  if (typeof message === 'string' || message.body === null) return null;
  const hello = new Reader(message.body);
  const version = hello.u16();
  hello.skip(32);
  hello.vector8();
  const offer: HelloOffer = {
    version,
    cipherSuites: hello.vector16().numbers(2),
    extensions: [],
    groups: [],
    pointFormats: [],
    signatureAlgorithms: [],
    supportedVersions: [],
    firstProtocol: '',
  };
  hello.vector8();
  const extensions = hello.vector16();
  while (extensions.left > 0 && offer.extensions.length < MAX_EXTENSIONS) {
    const type = extensions.u16();
    const body = extensions.vector16();
    if (extensions.failed) return null;
    offer.extensions.push(type);
    if (type === SUPPORTED_GROUPS) offer.groups = body.vector16().numbers(2);
    else if (type === EC_POINT_FORMATS) offer.pointFormats = body.vector8().numbers(1);
    else if (type === SIGNATURE_ALGORITHMS) offer.signatureAlgorithms = body.vector16().numbers(2);
    else if (type === SUPPORTED_VERSIONS) offer.supportedVersions = body.vector8().numbers(2);
    else if (type === ALPN) offer.firstProtocol = body.vector16().vector8().text();
  }
  return offer;
}

/** What no hello says. */
export const EMPTY_HELLO: ClientHello = {
  status: ClientHelloStatus.NeedMore,
  serverName: '',
  applicationProtocols: null,
  tickets: [],
  asksOcsp: false,
  limitsFragments: false,
  bytesProcessed: 0,
  reason: '',
};

function notTls(reason: string, bytesProcessed: number): ClientHello {
  return { ...EMPTY_HELLO, status: ClientHelloStatus.NotTls, bytesProcessed, reason };
}

/** The body of the first handshake message; null while it is not complete; text when this is not TLS. */
function joinRecords(bytes: Uint8Array): { body: Uint8Array | null; consumed: number } | string {
  const parts: Uint8Array[] = [];
  let have = 0;
  let need = -1;
  let empty = 0;
  let at = 0;
  while (need < 0 || have < need) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE_RECORD) return 'not a handshake record';
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return 'unknown record version';
    if (at + RECORD_HEADER > bytes.length) return { body: null, consumed: at };
    const length = (bytes[at + 3] << 8) | bytes[at + 4];
    if (length > MAX_RECORD) return 'record too long';
    if (length === 0 && ++empty > MAX_EMPTY_RECORDS) return 'too many empty records';
    at += RECORD_HEADER;
    const part = bytes.subarray(at, Math.min(at + length, bytes.length));
    parts.push(part);
    have += part.length;
    if (need < 0 && have > 0) {
      const header = parts.length === 1 ? part : Buffer.concat(parts);
      if (header[0] !== CLIENT_HELLO) return 'not a client hello';
      if (have >= MESSAGE_HEADER) {
        need = MESSAGE_HEADER + ((header[1] << 16) | (header[2] << 8) | header[3]);
        if (need > MAX_RECORD + MESSAGE_HEADER) return 'client hello too long';
      }
    }
    if (part.length < length && (need < 0 || have < need)) return { body: null, consumed: bytes.length };
    at += part.length;
  }
  const joined = parts.length === 1 ? parts[0] : Buffer.concat(parts);
  return { body: joined.subarray(MESSAGE_HEADER, need), consumed: at };
}

function parseBody(hello: Reader, bytesProcessed: number): ClientHello {
  const version = hello.u16();
  hello.skip(32);
  const sessionId = hello.vector8();
  const cipherSuites = hello.vector16();
  const compression = hello.vector8();
  if (
    hello.failed ||
    version < TLS_1_0 ||
    sessionId.left > 32 ||
    cipherSuites.left < 2 ||
    cipherSuites.left % 2 !== 0 ||
    compression.left < 1
  ) {
    return notTls('malformed client hello', bytesProcessed);
  }
  const result: ClientHello = { ...EMPTY_HELLO, status: ClientHelloStatus.Ok, bytesProcessed };
  if (hello.left === 0) return result;
  const extensions = hello.vector16();
  if (hello.failed || hello.left !== 0) return notTls('malformed extensions', bytesProcessed);
  seen.length = 0;
  while (extensions.left > 0) {
    const type = extensions.u16();
    if (!WANTED.has(type)) {
      extensions.skip(extensions.u16());
      if (extensions.failed || isRepeated(type)) return notTls('malformed extensions', bytesProcessed);
      continue;
    }
    const body = extensions.vector16();
    if (extensions.failed || isRepeated(type)) return notTls('malformed extensions', bytesProcessed);
    if (type === SERVER_NAME) {
      const name = parseServerName(body);
      if (name === null) return notTls('malformed server name', bytesProcessed);
      result.serverName = name;
    } else if (type === ALPN) {
      result.applicationProtocols = parseAlpn(body);
    } else if (type === STATUS_REQUEST) {
      result.asksOcsp = body.u8() === STATUS_TYPE_OCSP;
    } else if (type === MAX_FRAGMENT_LENGTH) {
      result.limitsFragments = true;
    } else if (type === SESSION_TICKET) {
      if (body.left > 0) result.tickets = [...result.tickets, body.rest];
    } else if (type === PRE_SHARED_KEY) {
      const identity = body.vector16().vector16();
      if (identity.left > 0) result.tickets = [...result.tickets, identity.rest];
    }
  }
  return result;
}

/** Extensions of the hello that is read. */
const seen: number[] = [];
const WANTED: ReadonlySet<number> = new Set([
  SERVER_NAME,
  MAX_FRAGMENT_LENGTH,
  STATUS_REQUEST,
  ALPN,
  SESSION_TICKET,
  PRE_SHARED_KEY,
]);
/** No client sends as many. */
const MAX_EXTENSIONS = 256;

/** Also for one too many. */
function isRepeated(type: number): boolean {
  if (seen.length === MAX_EXTENSIONS || seen.includes(type)) return true;
  seen.push(type);
  return false;
}

/** One host_name entry of 1 to 255 bytes without NUL; null otherwise. */
function parseServerName(body: Reader): string | null {
  const list = body.vector16();
  const type = list.u8();
  const name = list.vector16();
  if (body.failed || list.failed || body.left !== 0 || list.left !== 0 || type !== 0 || name.left < 1 || name.left > 255)
    return null;
  const text = name.text();
  return text.includes('\0') ? null : text;
}

/** A malformed list counts as none: the real TLS stack will refuse it. */
function parseAlpn(body: Reader): string[] | null {
  const list = body.vector16();
  if (body.failed || body.left !== 0 || list.left < 2) return null;
  const protocols: string[] = [];
  while (list.left > 0) {
    const name = list.vector8();
    if (list.failed || name.left === 0) return null;
    protocols.push(name.text());
  }
  return protocols;
}

/** Bounds-checked reading: past the end everything is 0 or empty and `failed` is set. */
class Reader {
  failed = false;
  private readonly bytes: Uint8Array;
  private at: number;
  private readonly end: number;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    if (this.left < 1) return this.fail();
    return this.bytes[this.at++];
  }

  u16(): number {
    if (this.left < 2) return this.fail();
    const value = (this.bytes[this.at] << 8) | this.bytes[this.at + 1];
    this.at += 2;
    return value;
  }

  skip(length: number): void {
    if (this.left < length) this.fail();
    else this.at += length;
  }

  vector8(): Reader {
    return this.take(this.u8());
  }

  vector16(): Reader {
    return this.take(this.u16());
  }

  /** What is left, as numbers of one or two bytes. */
  numbers(size: 1 | 2): number[] {
    const numbers: number[] = [];
    while (this.left >= size) numbers.push(size === 1 ? this.u8() : this.u16());
    return numbers;
  }

  /** What is left, where it lies. */
  get rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }

  /** What is left, a character per byte. */
  text(): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + this.at, this.left).toString('latin1');
  }

  private take(length: number): Reader {
    if (this.left < length) {
      this.fail();
      length = 0;
    }
    const part = new Reader(this.bytes, this.at, this.at + length);
    this.at += length;
    return part;
  }

  private fail(): number {
    this.failed = true;
    this.at = this.end;
    return 0;
  }
}
