/**
 * Which stats exist at all (`stats_config.stats_matcher`, Envoy's StatsMatcher). Asked once per name and thread, when the stat is
 * created. Plain configuration in, one function out.
 */
import { statRegex } from './stat_regex.ts';

export interface StatsStringMatcher {
  exact?: string;
  prefix?: string;
  suffix?: string;
  contains?: string;
  safeRegex?: { regex: string };
  ignoreCase?: boolean;
}

export interface StatsMatcherConfig {
  rejectAll?: boolean;
  exclusionList?: { patterns: readonly StatsStringMatcher[] };
  inclusionList?: { patterns: readonly StatsStringMatcher[] };
}

/** Whether a name is rejected. Throws RangeError for a pattern that cannot work. */
export function statsMatcher(config: StatsMatcherConfig | undefined): (name: string) => boolean {
  if (config === undefined) return () => false;
  if (config.rejectAll !== undefined) {
    const all = config.rejectAll;
    return () => all;
  }
  if (config.exclusionList !== undefined) return anyOf(config.exclusionList.patterns);
  if (config.inclusionList !== undefined) {
    const included = anyOf(config.inclusionList.patterns);
    return (name) => !included(name);
  }
  return () => false;
}

/** Whether a histogram's or stat's name fits one pattern. */
export function statsStringMatcher(pattern: StatsStringMatcher): (name: string) => boolean {
  if (pattern.safeRegex !== undefined) {
    const expression = statRegex(pattern.safeRegex.regex, true);
    return (name) => expression.test(name);
  }
  const fold = pattern.ignoreCase === true ? (text: string) => text.toLowerCase() : (text: string) => text;
  const { exact, prefix, suffix, contains } = pattern;
  if (exact !== undefined) return (name) => fold(name) === fold(exact);
  if (prefix !== undefined) return (name) => fold(name).startsWith(fold(prefix));
  if (suffix !== undefined) return (name) => fold(name).endsWith(fold(suffix));
  if (contains !== undefined) return (name) => fold(name).includes(fold(contains));
  throw new RangeError('stats pattern has no rule: one of exact, prefix, suffix, contains, safe_regex is needed');
}

function anyOf(patterns: readonly StatsStringMatcher[]): (name: string) => boolean {
  const matchers = patterns.map(statsStringMatcher);
  return (name) => matchers.some((matches) => matches(name));
}
