/** QueryParameterMatcher (envoy.config.route.v3): looks at the first occurrence of a parameter, without decoding it. */
import { byteText } from '../../common/byte_text.ts';
import type { StringMatcher } from '../../common/matchers.ts';
import { compileStringMatcher } from '../../common/matchers.ts';
import type { QueryParameterMatcherConfig } from './config_types.ts';

export class QueryParameterMatcher {
  private readonly name: string;
  private readonly present: boolean | undefined;
  private readonly matcher: StringMatcher | null;

  /** Throws ConfigError. */
  constructor(config: QueryParameterMatcherConfig, path: string) {
    this.name = byteText(config.name ?? '');
    this.present = config.presentMatch;
    this.matcher = config.stringMatch === undefined ? null : compileStringMatcher(config.stringMatch, `${path}.string_match`);
  }

  /** `path` is the whole `:path`. */
  matches(path: string): boolean {
    const value = queryParameter(path, this.name);
    if (this.present !== undefined) return this.present === (value !== undefined);
    if (value === undefined) return false;
    return this.matcher === null || this.matcher.match(value);
  }
}

/** The first value of a parameter of `path?name=value&...`, not decoded; undefined when it is not there. */
export function queryParameter(path: string, name: string): string | undefined {
  const query = path.indexOf('?');
  if (query < 0) return undefined;
  for (let at = query + 1; at <= path.length; ) {
    let end = path.indexOf('&', at);
    if (end < 0) end = path.length;
    let equals = path.indexOf('=', at);
    if (equals < 0 || equals > end) equals = end;
    if (equals - at === name.length && path.startsWith(name, at)) return path.slice(Math.min(equals + 1, end), end);
    at = end + 1;
  }
  return undefined;
}
