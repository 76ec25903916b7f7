/**
 * Parses the head of a message (start line and field lines, RFC 9112 2-5) and trailer sections, in one pass over the bytes where
 * they lie: names are lowered in place, entries of the HeaderMap point at the bytes, framing fields are understood on the way.
 *
 * `run` may be called again with more bytes at the same place; it continues at the line it had not finished. Stricter than Envoy's
 * parser, on purpose: lines end in CRLF (no bare LF), no folding, single spaces in the start line, one Host line.
 * Leaves out: what the fields mean together (the connections decide), and anything beyond the head.
 */

import type { HeaderMap } from '../header_map.ts';
import { H, headerIdAt } from '../header_names.ts';
import { latin1 } from '../header_text.ts';
import {
  AUTHORITY,
  allIn,
  COLON,
  COMMA,
  CR,
  equalsIgnoreCase,
  LF,
  parseLength,
  SP,
  TAB,
  TOKEN,
  UNDERSCORE,
  VALUE,
} from './bytes.ts';
import { Details, type Http1Settings, type Http1Stats } from './settings.ts';
import { parseRequestLine, parseStatusLine } from './start_line.ts';

export const INCOMPLETE = 0;
export const COMPLETE = 1;
export const FAILED = 2;

export const MessageKind = { Request: 0, Response: 1, Trailers: 2 } as const;
export type MessageKind = (typeof MessageKind)[keyof typeof MessageKind];

/** Bits of `connectionFlags`: tokens seen in Connection. */
export const CONNECTION_CLOSE = 1;
export const CONNECTION_KEEP_ALIVE = 2;
export const CONNECTION_UPGRADE = 4;
/** A token that nominates a header, or ten tokens and more. */
export const CONNECTION_OTHER = 8;

const MAX_CONNECTION_TOKENS = 10;

/** 1 for names that `special` looks at. */
const SPECIAL = new Uint8Array(256);
for (const name of ['host', 'content-length', 'transfer-encoding', 'connection'] as const) SPECIAL[H[name]] = 1;

export class HeadParser {
  private readonly settings: Http1Settings;
  private readonly stats: Http1Stats;
  private readonly keepCase: boolean;
  private readonly checkUnderscores: boolean;
  private kind: MessageKind = MessageKind.Request;
  private startLineDone = false;
  private lines = 0;
  private original: Map<string, string> | null = null;

  // Where the bytes are.
  u8: Uint8Array;
  private view: DataView;
  end = 0;
  /** Start of the first line that is not understood yet; after COMPLETE the end of the head. */
  at = 0;
  map: HeaderMap;
  /** The bytes stay where they are and the map holds their block; otherwise entries are text. */
  inSlab = true;

  // What was found.
  /** Index in METHODS; 0 for a custom method. */
  method = 0;
  /** Where a request target that is not `/path` lies; length 0 when it was one. */
  targetStart = 0;
  targetLength = 0;
  status = 0;
  /** HTTP/1.1; everything else counts as 1.0. */
  isHttp11 = true;
  /** -1: none. */
  contentLength = -1;
  hasTransferEncoding = false;
  /** The only transfer coding is `chunked`. */
  chunked = false;
  connectionFlags = 0;
  hasHost = false;
  /** CONNECT or an upgrade that is let through; `checkRequest` sets it. */
  tunnel = false;
  /** The SETTINGS of an upgrade to h2c that may be taken; null: there is none. */
  http2Settings: Uint8Array | null = null;

  // Why it FAILED.
  errorStatus = 400;
  errorDetails: string = Details.CodecError;

  constructor(settings: Http1Settings, stats: Http1Stats, map: HeaderMap) {
    this.settings = settings;
    this.stats = stats;
    this.keepCase = settings.headerKeyFormat === 'preserve_case';
    this.checkUnderscores = settings.headersWithUnderscoresAction !== 'ALLOW';
    this.map = map;
    this.u8 = map.slab.u8;
    this.view = map.slab.view;
  }

  /** True when names must be recorded before they are lowered: then lines are only looked at when they are complete. */
  get needsWholeLines(): boolean {
    return this.keepCase;
  }

  /** Starts a message whose bytes begin at `u8[start]`. Entries go to `map`. */
  begin(kind: MessageKind, map: HeaderMap, u8: Uint8Array, start: number, inSlab: boolean): void {
    this.kind = kind;
    this.map = map;
    if (u8 !== this.u8) this.moved(u8);
    this.at = start;
    this.inSlab = inSlab;
    this.startLineDone = kind === MessageKind.Trailers;
    this.lines = 0;
    this.original = null;
    if (kind === MessageKind.Trailers) return;
    this.method = 0;
    this.targetLength = 0;
    this.status = 0;
    this.isHttp11 = true;
    this.contentLength = -1;
    this.hasTransferEncoding = false;
    this.chunked = false;
    this.connectionFlags = 0;
    this.hasHost = false;
    this.tunnel = false;
    this.http2Settings = null;
    this.errorStatus = 400;
    this.errorDetails = Details.CodecError;
  }

  /** The bytes are in another array from now on, at the same positions. */
  moved(u8: Uint8Array): void {
    this.u8 = u8;
    this.view = u8 === this.map.slab.u8 ? this.map.slab.view : new DataView(u8.buffer, u8.byteOffset, u8.length);
  }

  /** Starts the same message again after its bytes moved to `u8[0]`, outside the slab. */
  restart(map: HeaderMap, u8: Uint8Array): void {
    const original = this.original;
    this.begin(this.kind, map, u8, 0, false);
    // The names were lowered in the first pass.
    this.original = original;
  }

  /** Parses up to `end`; INCOMPLETE, COMPLETE (`at` is the end of the head) or FAILED (`errorStatus`, `errorDetails`). */
  run(end: number): number {
    this.end = end;
    if (!this.startLineDone) {
      const result =
        this.kind === MessageKind.Request ? parseRequestLine(this, this.settings.allowCustomMethods) : parseStatusLine(this);
      if (result !== COMPLETE) return result;
      this.startLineDone = true;
      // HTTP/0.9 has no fields.
      if (this.at === -1) return this.completeSimpleRequest();
    }
    return this.fields();
  }

  fail(status: number, details: string): number {
    this.errorStatus = status;
    this.errorDetails = details;
    return FAILED;
  }

  /** Adds a known entry whose value lies at `start`. */
  addKnown(id: number, start: number, length: number, text?: string): void {
    if (this.inSlab) this.map.addKnownBytes(id, start, length, text);
    else this.map.addId(id, text ?? latin1(this.u8, start, length));
  }

  private completeSimpleRequest(): number {
    this.at = this.end;
    return COMPLETE;
  }

  private fields(): number {
    const u8 = this.u8;
    const view = this.view;
    const end = this.end;
    const map = this.map;
    let p = this.at;
    for (;;) {
      const nameStart = p;
      this.at = p;
      if (p >= end) return INCOMPLETE;
      let c = u8[p];
      if (c === CR) {
        if (p + 1 >= end) return INCOMPLETE;
        if (u8[p + 1] !== LF) return this.fail(400, Details.CodecError);
        this.at = p + 2;
        if (this.original !== null) map.nameFormatter = originalCase(this.original);
        return COMPLETE;
      }

      if (this.keepCase) this.recordCase(p, end);
      let lower = TOKEN[c];
      while (lower !== 0) {
        if (lower !== c) u8[p] = lower;
        if (++p >= end) return INCOMPLETE;
        c = u8[p];
        lower = TOKEN[c];
      }
      if (c !== COLON || p === nameStart) return this.fail(400, Details.CodecError);
      const nameLength = p - nameStart;

      if (++p >= end) return INCOMPLETE;
      c = u8[p];
      let raw = c === SP;
      if (raw) {
        if (++p >= end) return INCOMPLETE;
        c = u8[p];
      }
      while (c === SP || c === TAB) {
        raw = false;
        if (++p >= end) return INCOMPLETE;
        c = u8[p];
      }
      const valueStart = p;
      // Four bytes at a time while none of them is a control character: (x - 0x20) & ~x has the top bit of those below 0x20, and
      // y = x ^ 0x7f is zero for DEL. The lowest flag is exact (a borrow only reaches higher bytes).
      while (p + 4 <= end) {
        const x = view.getInt32(p, true);
        const y = x ^ 0x7f7f7f7f;
        const flags = (((x - 0x20202020) & ~x) | ((y - 0x01010101) & ~y)) & 0x80808080;
        if (flags !== 0) {
          p += (31 - Math.clz32(flags & -flags)) >> 3;
          break;
        }
        p += 4;
      }
      if (p >= end) return INCOMPLETE;
      c = u8[p];
      while (VALUE[c] !== 0) {
        if (++p >= end) return INCOMPLETE;
        c = u8[p];
      }
      if (c !== CR) return this.fail(400, c === LF ? Details.CodecError : Details.InvalidCharacters);
      if (p + 1 >= end) return INCOMPLETE;
      if (u8[p + 1] !== LF) return this.fail(400, Details.InvalidCharacters);
      let valueEnd = p;
      while (valueEnd > valueStart && (u8[valueEnd - 1] === SP || u8[valueEnd - 1] === TAB)) valueEnd--;
      if (valueEnd !== p) raw = false;
      p += 2;

      if (++this.lines > this.settings.maxHeadersCount) return this.fail(431, Details.TooManyHeaders);
      if (this.checkUnderscores && hasUnderscore(u8, nameStart, nameLength)) {
        if (this.settings.headersWithUnderscoresAction === 'DROP_HEADER') {
          this.stats.droppedHeadersWithUnderscores.inc();
          continue;
        }
        this.stats.requestsRejectedWithUnderscoresInHeaders.inc();
        return this.fail(400, Details.UnexpectedUnderscore);
      }

      let id = headerIdAt(view, u8, nameStart, nameLength);
      if (SPECIAL[id] !== 0) {
        if (this.kind === MessageKind.Trailers) continue;
        if (!this.special(id, valueStart, valueEnd - valueStart)) return FAILED;
        if (id === H.host) {
          if (this.kind === MessageKind.Request) continue;
          id = 0;
        }
      }
      if (this.inSlab) map.addLine(id, nameStart, nameLength, valueStart, valueEnd - valueStart, raw);
      else map.add(latin1(u8, nameStart, nameLength), latin1(u8, valueStart, valueEnd - valueStart));
    }
  }

  /** Fields that decide framing and connection. False: the message is refused. */
  private special(id: number, start: number, length: number): boolean {
    const u8 = this.u8;
    switch (id) {
      case H.host:
        if (this.kind !== MessageKind.Request) return true;
        if (this.hasHost || !allIn(AUTHORITY, u8, start, length)) {
          this.fail(400, Details.InvalidAuthority);
          return false;
        }
        this.hasHost = true;
        this.addKnown(H[':authority'], start, length);
        return true;
      case H['content-length']: {
        const value = parseLength(u8, start, length);
        if (value < 0 || this.contentLength >= 0) {
          this.fail(400, Details.CodecError);
          return false;
        }
        this.contentLength = value;
        return true;
      }
      case H['transfer-encoding']:
        this.chunked = !this.hasTransferEncoding && equalsIgnoreCase(u8, start, length, 'chunked');
        this.hasTransferEncoding = true;
        return true;
      default:
        this.connectionTokens(start, start + length);
        return true;
    }
  }

  private connectionTokens(at: number, end: number): void {
    const u8 = this.u8;
    let tokens = 0;
    while (at < end) {
      while (at < end && (u8[at] === SP || u8[at] === TAB || u8[at] === COMMA)) at++;
      const start = at;
      while (at < end && u8[at] !== COMMA) at++;
      let stop = at;
      while (stop > start && (u8[stop - 1] === SP || u8[stop - 1] === TAB)) stop--;
      const length = stop - start;
      if (length === 0) continue;
      if (++tokens >= MAX_CONNECTION_TOKENS) this.connectionFlags |= CONNECTION_OTHER;
      if (length === 10 && equalsIgnoreCase(u8, start, length, 'keep-alive')) this.connectionFlags |= CONNECTION_KEEP_ALIVE;
      else if (length === 5 && equalsIgnoreCase(u8, start, length, 'close')) this.connectionFlags |= CONNECTION_CLOSE;
      else if (length === 7 && equalsIgnoreCase(u8, start, length, 'upgrade')) this.connectionFlags |= CONNECTION_UPGRADE;
      else if (length !== 14 || !equalsIgnoreCase(u8, start, length, 'http2-settings')) this.connectionFlags |= CONNECTION_OTHER;
    }
  }

  private recordCase(at: number, end: number): void {
    const start = at;
    while (at < end && this.u8[at] !== COLON && this.u8[at] !== LF) at++;
    const name = latin1(this.u8, start, at - start);
    this.original ??= new Map();
    const lower = name.toLowerCase();
    if (!this.original.has(lower)) this.original.set(lower, name);
  }
}

function hasUnderscore(u8: Uint8Array, start: number, length: number): boolean {
  for (let i = start; i < start + length; i++) if (u8[i] === UNDERSCORE) return true;
  return false;
}

/** Envoy's preserve_case formatter: names that were not received stay as they are. */
function originalCase(original: Map<string, string>): (name: string) => string {
  return (name) => original.get(name) ?? name;
}
