/**
 * The path rule of a route (RouteMatch.path_specifier). Paths are compared without query and fragment, byte by byte where they lie,
 * so that the common rules need no string. `;parameters` count as the path unless the table ignores them.
 *
 * Left out: path_match_policy (URI templates).
 */
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { compileRegexMatcher } from '../../common/matchers.ts';
import type { CompiledRegex } from '../../common/regex.ts';
import { ConfigError } from '../../config/error.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RouteMatchConfig } from './config_types.ts';

const PATH = H[':path'];
const METHOD = H[':method'];
const QUESTION = 63;
const HASH = 35;
const SEMICOLON = 59;
const SLASH = 47;

export interface PathMatcher {
  /** `start` and `length`: where `:path` lies in the slab; -1 when it is text or absent. They are found once for many rules. */
  matches(headers: HeaderMap, start: number, length: number): boolean;
  /** How much of a matching path a prefix rewrite replaces. */
  matchedLength(path: string): number;
}

/** Builds the rule of a match. Throws ConfigError. */
export function compilePathMatcher(config: RouteMatchConfig, ignoreParameters: boolean, path: string): PathMatcher {
  const fold = config.caseSensitive === false;
  if (config.prefix !== undefined) return new LiteralMatcher(config.prefix, 'prefix', fold, ignoreParameters);
  if (config.path !== undefined) return new LiteralMatcher(config.path, 'exact', fold, ignoreParameters);
  if (config.pathSeparatedPrefix !== undefined) {
    return new LiteralMatcher(config.pathSeparatedPrefix, 'separated', fold, ignoreParameters);
  }
  if (config.safeRegex !== undefined) {
    return new RegexPathMatcher(compileRegexMatcher(config.safeRegex, `${path}.safe_regex`), ignoreParameters);
  }
  if (config.connectMatcher !== undefined) return new ConnectMatcher();
  if (config.pathMatchPolicy !== undefined) throw new ConfigError('path_match_policy is not supported', { path });
  throw new ConfigError('Invalid route config', { path });
}

/** The path without query and fragment. */
export function withoutQuery(path: string): string {
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c === QUESTION || c === HASH) return path.slice(0, i);
  }
  return path;
}

function endsPath(c: number, ignoreParameters: boolean): boolean {
  return c === QUESTION || c === HASH || (c === SEMICOLON && ignoreParameters);
}

type LiteralKind = 'prefix' | 'exact' | 'separated';

class LiteralMatcher implements PathMatcher {
  private readonly bytes: Uint8Array;
  private readonly kind: LiteralKind;
  private readonly fold: boolean;
  private readonly ignoreParameters: boolean;
  /** The text holds a character that a path without query cannot have. */
  private readonly never: boolean;

  constructor(text: string, kind: LiteralKind, fold: boolean, ignoreParameters: boolean) {
    const literal = fold ? asciiLower(byteText(text)) : byteText(text);
    this.bytes = Uint8Array.from(Buffer.from(literal, 'latin1'));
    this.kind = kind;
    this.fold = fold;
    this.ignoreParameters = ignoreParameters;
    this.never = this.bytes.some((byte) => endsPath(byte, ignoreParameters));
  }

  matches(headers: HeaderMap, start: number, length: number): boolean {
    if (this.never) return false;
    if (start < 0) {
      const path = headers.getId(PATH);
      return path !== undefined && this.matchesText(path);
    }
    const bytes = this.bytes;
    if (length < bytes.length) return false;
    const u8 = headers.slab.u8;
    for (let i = 0; i < bytes.length; i++) {
      const c = u8[start + i];
      if (c !== bytes[i] && !(this.fold && c >= 65 && c <= 90 && c + 32 === bytes[i])) return false;
    }
    if (this.kind === 'prefix' || length === bytes.length) return true;
    return this.endsAt(u8[start + bytes.length]);
  }

  matchedLength(): number {
    return this.bytes.length;
  }

  private matchesText(path: string): boolean {
    const bytes = this.bytes;
    if (path.length < bytes.length) return false;
    for (let i = 0; i < bytes.length; i++) {
      const c = path.charCodeAt(i);
      if (c !== bytes[i] && !(this.fold && c >= 65 && c <= 90 && c + 32 === bytes[i])) return false;
    }
    if (this.kind === 'prefix' || path.length === bytes.length) return true;
    return this.endsAt(path.charCodeAt(bytes.length));
  }

  private endsAt(next: number): boolean {
    return endsPath(next, this.ignoreParameters) || (this.kind === 'separated' && next === SLASH);
  }
}

class RegexPathMatcher implements PathMatcher {
  private readonly regex: CompiledRegex;
  private readonly ignoreParameters: boolean;

  constructor(regex: CompiledRegex, ignoreParameters: boolean) {
    this.regex = regex;
    this.ignoreParameters = ignoreParameters;
  }

  matches(headers: HeaderMap): boolean {
    const path = headers.getId(PATH);
    if (path === undefined) return false;
    let text = withoutQuery(path);
    if (this.ignoreParameters) {
      const end = text.indexOf(';');
      if (end >= 0) text = text.slice(0, end);
    }
    return this.regex.match(text);
  }

  matchedLength(path: string): number {
    return withoutQuery(path).length;
  }
}

class ConnectMatcher implements PathMatcher {
  matches(headers: HeaderMap): boolean {
    return headers.valueByteLength(METHOD) === 7 && headers.getId(METHOD) === 'CONNECT';
  }

  matchedLength(path: string): number {
    return withoutQuery(path).length;
  }
}
