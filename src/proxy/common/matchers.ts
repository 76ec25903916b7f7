/**
 * Matchers that many messages share (envoy.type.matcher.v3, envoy.type.v3): strings, lists of them, ranges, fractions.
 *
 * Text that is matched is byte text, one character per byte (byte_text.ts). `StringMatcher.custom` is refused.
 */
import { ConfigError } from '../config/error.ts';
import { asciiLower, byteText } from './byte_text.ts';
import type { CompiledRegex, Substitution } from './regex.ts';
import { compileRegex, parseSubstitution, RegexSyntaxError } from './regex.ts';

export type { CidrRangeConfig } from './cidr_range.ts';
export { CidrRange, IpList } from './cidr_range.ts';

export interface RegexMatcherConfig {
  regex?: string;
  googleRe2?: { maxProgramSize?: number };
}

export interface RegexMatchAndSubstituteConfig {
  pattern?: RegexMatcherConfig;
  substitution?: string;
}

export interface StringMatcherConfig {
  exact?: string;
  prefix?: string;
  suffix?: string;
  contains?: string;
  safeRegex?: RegexMatcherConfig;
  custom?: unknown;
  ignoreCase?: boolean;
}

export interface Int64RangeConfig {
  start?: number;
  end?: number;
}

export interface StringMatcher {
  match(text: string): boolean;
}

export type FractionDenominator = 'HUNDRED' | 'TEN_THOUSAND' | 'MILLION';

const DENOMINATORS: Record<FractionDenominator, number> = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 };

/** Compiles a regex of the configuration. Throws ConfigError with RE2's text. */
export function compileRegexMatcher(config: RegexMatcherConfig, path = ''): CompiledRegex {
  const regex = asConfigError(path, () => compileRegex(config.regex ?? ''));
  const limit = config.googleRe2?.maxProgramSize;
  if (limit !== undefined && regex.programSize > limit) {
    throw new ConfigError(
      `regex '${config.regex}' RE2 program size of ${regex.programSize} > max program size of ${limit}. Increase configured max program size if necessary.`,
      { path },
    );
  }
  return regex;
}

/** A pattern and what replaces its matches. */
export class RegexSubstitution {
  private readonly regex: CompiledRegex;
  private readonly substitution: Substitution;

  /** Throws ConfigError. */
  constructor(config: RegexMatchAndSubstituteConfig, path = '') {
    this.regex = compileRegexMatcher(config.pattern ?? {}, `${path}.pattern`);
    this.substitution = asConfigError(`${path}.substitution`, () =>
      parseSubstitution(config.substitution ?? '', this.regex.groups),
    );
  }

  apply(text: string): string {
    return this.regex.replaceAll(text, this.substitution);
  }
}

/** Compiles a StringMatcher. Throws ConfigError. */
export function compileStringMatcher(config: StringMatcherConfig, path = ''): StringMatcher {
  const fold = config.ignoreCase === true;
  if (config.exact !== undefined) return new ExactMatcher(config.exact, fold);
  if (config.prefix !== undefined) return new PrefixMatcher(config.prefix, fold);
  if (config.suffix !== undefined) return new SuffixMatcher(config.suffix, fold);
  if (config.contains !== undefined) return new ContainsMatcher(config.contains, fold);
  if (config.safeRegex !== undefined) {
    if (fold) throw new ConfigError('ignore_case has no effect for safe_regex.', { path });
    return compileRegexMatcher(config.safeRegex, `${path}.safe_regex`);
  }
  if (config.custom !== undefined) throw new ConfigError('custom is not supported', { path });
  throw new ConfigError('one of exact, prefix, suffix, safe_regex, contains is required', { path });
}

/** True when any pattern of a ListStringMatcher matches. */
export function compileListStringMatcher(config: { patterns?: readonly StringMatcherConfig[] }, path = ''): StringMatcher {
  const patterns = (config.patterns ?? []).map((pattern, i) => compileStringMatcher(pattern, `${path}.patterns[${i}]`));
  return { match: (text) => patterns.some((pattern) => pattern.match(text)) };
}

/** Start inclusive, end exclusive. */
export function inRange(range: Int64RangeConfig, value: number): boolean {
  return value >= (range.start ?? 0) && value < (range.end ?? 0);
}

/** Whether `random` (an integer) falls into numerator / denominator. */
export function fractionContains(numerator: number, denominator: FractionDenominator, random: number): boolean {
  return random % DENOMINATORS[denominator] < numerator;
}

class ExactMatcher implements StringMatcher {
  private readonly text: string;
  private readonly fold: boolean;

  constructor(text: string, fold: boolean) {
    this.text = prepared(text, fold);
    this.fold = fold;
  }

  match(text: string): boolean {
    return text.length === this.text.length && (this.fold ? asciiLower(text) : text) === this.text;
  }
}

class PrefixMatcher implements StringMatcher {
  private readonly text: string;
  private readonly fold: boolean;

  constructor(text: string, fold: boolean) {
    this.text = prepared(text, fold);
    this.fold = fold;
  }

  match(text: string): boolean {
    return this.fold ? asciiLower(text.slice(0, this.text.length)) === this.text : text.startsWith(this.text);
  }
}

class SuffixMatcher implements StringMatcher {
  private readonly text: string;
  private readonly fold: boolean;

  constructor(text: string, fold: boolean) {
    this.text = prepared(text, fold);
    this.fold = fold;
  }

  match(text: string): boolean {
    return (this.fold ? asciiLower(text) : text).endsWith(this.text);
  }
}

class ContainsMatcher implements StringMatcher {
  private readonly text: string;
  private readonly fold: boolean;

  constructor(text: string, fold: boolean) {
    this.text = prepared(text, fold);
    this.fold = fold;
  }

  match(text: string): boolean {
    return (this.fold ? asciiLower(text) : text).includes(this.text);
  }
}

function prepared(text: string, fold: boolean): string {
  return fold ? asciiLower(byteText(text)) : byteText(text);
}

function asConfigError<T>(path: string, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (error instanceof RegexSyntaxError) throw new ConfigError(error.message, { path });
    throw error;
  }
}
