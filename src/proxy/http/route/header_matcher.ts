/**
 * HeaderMatcher (envoy.config.route.v3), with its deprecated forms. All values of a header are joined by `,` first. A missing header
 * matches nothing, inverted or not, except the presence forms; `treat_missing_header_as_empty` makes it an empty value.
 */
import { asciiLower, byteText, parseInteger } from '../../common/byte_text.ts';
import type { StringMatcher } from '../../common/matchers.ts';
import { compileRegexMatcher, compileStringMatcher, inRange } from '../../common/matchers.ts';
import { ConfigError } from '../../config/error.ts';
import type { HeaderMap } from '../header_map.ts';
import { headerId } from '../header_names.ts';
import type { HeaderMatcherConfig } from './config_types.ts';
import type { HeaderPredicate } from './route.ts';

/** Compiles one matcher. Throws ConfigError. */
export function compileHeaderMatcher(config: HeaderMatcherConfig, path = ''): HeaderPredicate {
  const name = headerMatchName(config.name ?? '');
  const invert = config.invertMatch === true;
  const missingIsEmpty = config.treatMissingHeaderAsEmpty === true;
  const matcher = valueMatcher(config, path);
  if (matcher === null) return new PresenceMatcher(name, config.presentMatch ?? true, invert, missingIsEmpty);
  return new HeaderValueMatcher(name, matcher, invert, missingIsEmpty);
}

export function compileHeaderMatchers(configs: readonly HeaderMatcherConfig[] | undefined, path: string): HeaderPredicate[] {
  return (configs ?? []).map((config, i) => compileHeaderMatcher(config, `${path}[${i}]`));
}

/** True when every matcher matches. */
export function matchesAllHeaders(matchers: readonly HeaderPredicate[], headers: HeaderMap): boolean {
  for (let i = 0; i < matchers.length; i++) if (!matchers[i].matches(headers)) return false;
  return true;
}

/** Lower case; `host` is another name of `:authority`. */
function headerMatchName(name: string): string {
  const lower = asciiLower(name);
  return lower === 'host' ? ':authority' : lower;
}

/** Null: a presence match. */
function valueMatcher(config: HeaderMatcherConfig, path: string): StringMatcher | null {
  if (config.stringMatch !== undefined) return compileStringMatcher(config.stringMatch, `${path}.string_match`);
  if (config.exactMatch !== undefined) {
    const exact = byteText(config.exactMatch);
    return { match: (value) => exact === '' || value === exact };
  }
  if (config.safeRegexMatch !== undefined) return compileRegexMatcher(config.safeRegexMatch, `${path}.safe_regex_match`);
  if (config.prefixMatch !== undefined) return compileStringMatcher({ prefix: config.prefixMatch }, path);
  if (config.suffixMatch !== undefined) return compileStringMatcher({ suffix: config.suffixMatch }, path);
  if (config.containsMatch !== undefined) return compileStringMatcher({ contains: config.containsMatch }, path);
  const range = config.rangeMatch;
  if (range !== undefined) {
    if ((range.start ?? 0) >= (range.end ?? 0)) throw new ConfigError('range_match: end must be greater than start', { path });
    return {
      match: (value) => {
        const number = parseInteger(value);
        return number !== undefined && inRange(range, number);
      },
    };
  }
  return null;
}

class PresenceMatcher implements HeaderPredicate {
  private readonly id: number;
  private readonly name: string;
  private readonly expected: boolean;
  private readonly missingIsEmpty: boolean;

  constructor(name: string, present: boolean, invert: boolean, missingIsEmpty: boolean) {
    this.id = headerId(name);
    this.name = name;
    this.expected = present !== invert;
    this.missingIsEmpty = missingIsEmpty;
  }

  matches(headers: HeaderMap): boolean {
    const present = this.missingIsEmpty || (this.id !== 0 ? headers.hasId(this.id) : headers.has(this.name));
    return present === this.expected;
  }
}

class HeaderValueMatcher implements HeaderPredicate {
  private readonly id: number;
  private readonly name: string;
  private readonly matcher: StringMatcher;
  private readonly invert: boolean;
  private readonly missingIsEmpty: boolean;

  constructor(name: string, matcher: StringMatcher, invert: boolean, missingIsEmpty: boolean) {
    this.id = headerId(name);
    this.name = name;
    this.matcher = matcher;
    this.invert = invert;
    this.missingIsEmpty = missingIsEmpty;
  }

  matches(headers: HeaderMap): boolean {
    const value = this.id !== 0 ? headers.getId(this.id) : headers.get(this.name);
    if (value === undefined && !this.missingIsEmpty) return false;
    return this.matcher.match(value ?? '') !== this.invert;
  }
}
