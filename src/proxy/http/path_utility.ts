/**
 * Path normalisation as Envoy does it before routing: fragments, escaped slashes, canonical form (RFC 3986 as the Chromium URL
 * library understands it), merged slashes. The query is never touched.
 *
 * Canonical form: dot segments are resolved (`%2e` is a dot), `\` becomes `/`, escaped unreserved characters are unescaped,
 * characters that may not stand in a path are escaped; hex digits keep their case. `%00` fails.
 *
 * `isNormalPath` tells from the bytes that nothing would change, so that ordinary paths never become strings here.
 */
export { withoutQuery as removeQueryAndFragment } from './route/path_matcher.ts';

export type PathWithEscapedSlashesAction =
  | 'IMPLEMENTATION_SPECIFIC_DEFAULT'
  | 'KEEP_UNCHANGED'
  | 'REJECT_REQUEST'
  | 'UNESCAPE_AND_REDIRECT'
  | 'UNESCAPE_AND_FORWARD';

export interface PathNormalization {
  readonly normalizePath: boolean;
  readonly mergeSlashes: boolean;
  readonly escapedSlashes: PathWithEscapedSlashesAction;
  /** False drops the fragment instead. */
  readonly rejectFragment: boolean;
}

/** `redirect`: answer 307 with `path` as location (reject when it is gRPC). `reject`: answer 400. */
export type NormalizedPath = { kind: 'continue' | 'redirect'; path: string } | { kind: 'reject' };

/** Applies every configured step in Envoy's order. */
export function normalizePath(path: string, options: PathNormalization): NormalizedPath {
  const fragment = path.indexOf('#');
  if (fragment >= 0 && options.rejectFragment) return { kind: 'reject' };
  let result = fragment < 0 ? path : path.slice(0, fragment);
  let redirect = false;
  const action = options.escapedSlashes;
  if (action !== 'KEEP_UNCHANGED' && action !== 'IMPLEMENTATION_SPECIFIC_DEFAULT') {
    const unescaped = unescapeSlashes(result);
    if (unescaped !== result) {
      if (action === 'REJECT_REQUEST') return { kind: 'reject' };
      redirect = action === 'UNESCAPE_AND_REDIRECT';
      result = unescaped;
    }
  }
  if (options.normalizePath) {
    const canonical = canonicalPath(result);
    if (canonical === null) return { kind: 'reject' };
    result = canonical;
  }
  if (options.mergeSlashes) result = mergeSlashes(result);
  return { kind: redirect ? 'redirect' : 'continue', path: result };
}

/**
 * True when `normalizePath` would give back what lies in `u8[start, start + length)`; false when it has to be asked. Never true for
 * a path that would change.
 */
export function isNormalPath(u8: Uint8Array, start: number, length: number, options: PathNormalization): boolean {
  const end = start + length;
  const slashes = options.escapedSlashes !== 'KEEP_UNCHANGED' && options.escapedSlashes !== 'IMPLEMENTATION_SPECIFIC_DEFAULT';
  const interesting = options.normalizePath ? CANONICAL : slashes ? ESCAPES : FRAGMENT_ONLY;
  if (options.normalizePath && (length === 0 || u8[start] !== SLASH)) return false;
  let previous = 0;
  for (let i = start; i < end; i++) {
    const c = u8[i];
    if (c === QUESTION) return !hasByteFrom(u8, i, end, HASH);
    if (interesting[c] !== 0) {
      // A dot matters only at the start of a segment.
      if (c !== DOT || previous === SLASH) return false;
    } else if (c === SLASH && previous === SLASH && options.mergeSlashes) return false;
    previous = c;
  }
  return true;
}

/** `%2F` to `/`, `%5C` to `\`, in the path only. */
export function unescapeSlashes(path: string): string {
  if (!path.includes('%')) return path;
  const end = queryStart(path);
  const unescaped = path.slice(0, end).replace(/%(2[fF]|5[cC])/g, (code) => (code[1] === '2' ? '/' : '\\'));
  return unescaped + path.slice(end);
}

/** Several slashes in a row become one, in the path only. */
export function mergeSlashes(path: string): string {
  const end = queryStart(path);
  return path.slice(0, end).replace(/\/{2,}/g, '/') + path.slice(end);
}

/** The canonical path with its query; null when it holds what no path may (a NUL). */
export function canonicalPath(path: string): string | null {
  const end = queryStart(path);
  const canonical = new Canonicalizer(path, end).run();
  return canonical === null ? null : canonical + path.slice(end);
}

const SLASH = 47;
const BACKSLASH = 92;
const PERCENT = 37;
const DOT = 46;
const QUESTION = 63;
const HASH = 35;

/** Unreserved characters: they stand unescaped. */
const UNESCAPED = table('-_~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz');
/** Characters that stay as they are, escaped or not. */
const PASSED = table("!$&'()*+,/:;=@[]");

/** Bytes that may change a path under canonicalisation: all but the unreserved and passed ones. */
const CANONICAL = UNESCAPED.map((unescaped, byte) => (unescaped !== 0 || PASSED[byte] !== 0 ? 0 : 1));
const ESCAPES = table('%#');
const FRAGMENT_ONLY = table('#');

class Canonicalizer {
  private readonly input: string;
  private readonly end: number;
  private readonly output: string[] = [];
  /** Where a `%` stands in the output that starts no escape; -1: nowhere that matters. */
  private strayPercent = -1;

  constructor(input: string, end: number) {
    this.input = input;
    this.end = end;
  }

  run(): string | null {
    const { input, end, output } = this;
    const first = input.charCodeAt(0);
    if (end === 0 || (first !== SLASH && first !== BACKSLASH)) output.push('/');
    let valid = true;
    for (let i = 0; i < end; ) {
      const dot = this.dotLength(i);
      if (dot > 0) i = this.dots(i, dot);
      else if (input.charCodeAt(i) === PERCENT) {
        const byte = this.escapedByte(i);
        if (byte === 0) valid = false;
        i = this.percent(i, byte);
      } else {
        if (input.charCodeAt(i) === 0) valid = false;
        this.plain(input.charCodeAt(i));
        i++;
      }
    }
    return valid ? output.join('') : null;
  }

  /** A dot at `i`: resolves `.` and `..` segments; gives the position behind what it consumed. */
  private dots(i: number, dotLength: number): number {
    const { output } = this;
    const after = i + dotLength;
    if (output[output.length - 1] === '/') {
      if (this.endsSegment(after)) return Math.min(after + 1, this.end);
      const second = this.dotLength(after);
      if (second > 0 && this.endsSegment(after + second)) {
        this.backUp();
        return Math.min(after + second + 1, this.end);
      }
    }
    output.push('.');
    return after;
  }

  private percent(i: number, byte: number): number {
    const { output, input } = this;
    if (byte < 0) {
      this.strayPercent = output.length;
      output.push('%');
      return i + 1;
    }
    if (UNESCAPED[byte] !== 0) {
      output.push(String.fromCharCode(byte));
      this.escapeStrayPercent(i + 3);
    } else output.push('%', input[i + 1], input[i + 2]);
    return i + 3;
  }

  private plain(c: number): void {
    if (c === BACKSLASH) this.output.push('/');
    else if (UNESCAPED[c] !== 0 || PASSED[c] !== 0) this.output.push(String.fromCharCode(c));
    else this.output.push('%', HEX[c >> 4], HEX[c & 15]);
  }

  /** Unescaping must not make an escape out of a stray `%` before it: `%2%65` is not `%2e`. */
  private escapeStrayPercent(next: number): void {
    const { output, strayPercent } = this;
    const behind = strayPercent < 0 ? 0 : output.length - strayPercent - 1;
    if (behind !== 1 && behind !== 2) return;
    const first = output[strayPercent + 1];
    const second = behind === 2 ? output[strayPercent + 2] : next < this.end ? this.input[next] : '';
    if (isHex(first) && isHex(second)) {
      output.splice(strayPercent, 1, '%', '2', '5');
      this.strayPercent = -1;
    }
  }

  /** Drops the last segment of the output, which ends with a slash. */
  private backUp(): void {
    const { output } = this;
    if (output.length === 1) return;
    output.pop();
    while (output[output.length - 1] !== '/') output.pop();
    if (this.strayPercent >= output.length) this.strayPercent = -1;
  }

  private endsSegment(i: number): boolean {
    return i >= this.end || this.input.charCodeAt(i) === SLASH || this.input.charCodeAt(i) === BACKSLASH;
  }

  /** 1 for `.`, 3 for `%2e`, else 0. */
  private dotLength(i: number): number {
    if (i >= this.end) return 0;
    if (this.input.charCodeAt(i) === DOT) return 1;
    return this.input.charCodeAt(i) === PERCENT && this.escapedByte(i) === DOT ? 3 : 0;
  }

  /** The byte of the escape at `i`, or -1. */
  private escapedByte(i: number): number {
    if (i + 2 >= this.end || !isHex(this.input[i + 1]) || !isHex(this.input[i + 2])) return -1;
    return Number.parseInt(this.input.slice(i + 1, i + 3), 16);
  }
}

const HEX = '0123456789ABCDEF';

function isHex(text: string): boolean {
  return text.length === 1 && /[0-9A-Fa-f]/.test(text);
}

function queryStart(path: string): number {
  const query = path.indexOf('?');
  return query < 0 ? path.length : query;
}

function hasByteFrom(u8: Uint8Array, start: number, end: number, byte: number): boolean {
  for (let i = start; i < end; i++) if (u8[i] === byte) return true;
  return false;
}

function table(characters: string): Uint8Array {
  const result = new Uint8Array(256);
  for (let i = 0; i < characters.length; i++) result[characters.charCodeAt(i)] = 1;
  return result;
}
