/**
 * Path and host rewrites of a RouteAction. The path rewrite keeps the query; the original path and host go to x-envoy-original-path
 * and x-envoy-original-host when asked for.
 *
 * Left out: path_rewrite_policy (URI templates), path_rewrite and host_rewrite (format strings of 1.37).
 */
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { RegexSubstitution } from '../../common/matchers.ts';
import { ConfigError } from '../../config/error.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RouteActionConfig } from './config_types.ts';
import type { PathMatcher } from './path_matcher.ts';
import { withoutQuery } from './path_matcher.ts';

const PATH = H[':path'];
const AUTHORITY = H[':authority'];
const ORIGINAL_PATH = H['x-envoy-original-path'];
const ORIGINAL_HOST = H['x-envoy-original-host'];
const FORWARDED_HOST = H['x-forwarded-host'];

/** The new `:path` of one whose matched part `matchedLength` counts. */
export type PathRewrite = (path: string, matchedLength: number) => string;

export interface PathRewriteConfig {
  prefixRewrite?: string;
  regexRewrite?: RouteActionConfig['regexRewrite'];
}

/** Null when the path stays. Throws ConfigError. */
export function compilePathRewrite(config: PathRewriteConfig, path: string): PathRewrite | null {
  const prefix = byteText(config.prefixRewrite ?? '');
  if (prefix !== '' && config.regexRewrite !== undefined) {
    throw new ConfigError('Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy', { path });
  }
  if (prefix !== '') return (text, matchedLength) => prefix + text.slice(matchedLength);
  if (config.regexRewrite === undefined) return null;
  const substitution = new RegexSubstitution(config.regexRewrite, `${path}.regex_rewrite`);
  return (text) => {
    const pathOnly = withoutQuery(text);
    return substitution.apply(pathOnly) + text.slice(pathOnly.length);
  };
}

export function rewritePath(headers: HeaderMap, rewrite: PathRewrite, matcher: PathMatcher, insertOriginal: boolean): void {
  const path = headers.getId(PATH);
  if (path === undefined) return;
  if (insertOriginal) headers.setId(ORIGINAL_PATH, path);
  headers.setId(PATH, rewrite(path, matcher.matchedLength(path)));
}

/** The new host for a request; empty: leave it. */
export type HostRewrite = (headers: HeaderMap) => string;

/** Null when the host stays. Throws ConfigError. */
export function compileHostRewrite(config: RouteActionConfig, path: string): HostRewrite | null {
  if (config.hostRewriteLiteral !== undefined && config.hostRewriteLiteral !== '') {
    const literal = byteText(config.hostRewriteLiteral);
    return () => literal;
  }
  if (config.hostRewriteHeader !== undefined && config.hostRewriteHeader !== '') {
    const name = asciiLower(config.hostRewriteHeader);
    return (headers) => headers.getAll(name)[0] ?? '';
  }
  if (config.hostRewritePathRegex !== undefined) {
    const substitution = new RegexSubstitution(config.hostRewritePathRegex, `${path}.host_rewrite_path_regex`);
    return (headers) => substitution.apply(withoutQuery(headers.getId(PATH) ?? ''));
  }
  return null;
}

/**
 * Sets the host; keeps the old one in x-forwarded-host (appended unless it is the last value) and x-envoy-original-host when told
 * so. The router calls it too, for auto_host_rewrite.
 */
export function updateAuthority(headers: HeaderMap, host: string, appendForwardedHost: boolean, keepOld: boolean): void {
  const old = headers.getId(AUTHORITY) ?? '';
  if (appendForwardedHost && old !== '') {
    const forwarded = headers.getId(FORWARDED_HOST) ?? '';
    const last = forwarded.split(',').findLast((value) => value !== '');
    if (last === undefined || last.trim() !== old) headers.append('x-forwarded-host', old);
  }
  if (keepOld && old !== '') headers.setId(ORIGINAL_HOST, old);
  headers.setId(AUTHORITY, host);
}
