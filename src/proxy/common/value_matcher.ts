/**
 * ValueMatcher and MetadataMatcher (envoy.type.matcher.v3): what a Struct holds at a path, against a pattern.
 *
 * Values are plain JSON. `present_match: false` never matches, as in Envoy.
 */
import { ConfigError } from '../config/error.ts';
import { byteText } from './byte_text.ts';
import type { StringMatcher, StringMatcherConfig } from './matchers.ts';
import { compileStringMatcher } from './matchers.ts';

export interface ValueMatcherConfig {
  nullMatch?: object;
  doubleMatch?: { range?: { start?: number; end?: number }; exact?: number };
  stringMatch?: StringMatcherConfig;
  boolMatch?: boolean;
  presentMatch?: boolean;
  listMatch?: { oneOf?: ValueMatcherConfig };
  orMatch?: { valueMatchers?: readonly ValueMatcherConfig[] };
}

export interface MetadataMatcherConfig {
  filter?: string;
  path?: readonly { key?: string }[];
  value?: ValueMatcherConfig;
  invert?: boolean;
}

/** `undefined` stands for a value that is not there. */
export type ValueMatcher = (value: unknown) => boolean;

/** Compiles a ValueMatcher. Throws ConfigError. */
export function compileValueMatcher(config: ValueMatcherConfig, path = ''): ValueMatcher {
  if (config.nullMatch !== undefined) return (value) => value === null;
  if (config.doubleMatch !== undefined) return doubleMatcher(config.doubleMatch);
  if (config.stringMatch !== undefined) return stringMatcher(compileStringMatcher(config.stringMatch, `${path}.string_match`));
  if (config.boolMatch !== undefined) return (value) => value === config.boolMatch;
  if (config.presentMatch !== undefined) return (value) => config.presentMatch === true && value !== undefined;
  if (config.listMatch !== undefined) {
    const one = compileValueMatcher(config.listMatch.oneOf ?? {}, `${path}.list_match.one_of`);
    return (value) => Array.isArray(value) && value.some(one);
  }
  if (config.orMatch !== undefined) {
    const all = (config.orMatch.valueMatchers ?? []).map((m, i) =>
      compileValueMatcher(m, `${path}.or_match.value_matchers[${i}]`),
    );
    return (value) => all.some((matcher) => matcher(value));
  }
  throw new ConfigError('a match pattern is required', { path });
}

/** Compiles a MetadataMatcher over `namespace -> struct`. Throws ConfigError. */
export function compileMetadataMatcher(
  config: MetadataMatcherConfig,
  path = '',
): (metadata: Record<string, Record<string, unknown>> | null) => boolean {
  const keys = (config.path ?? []).map((segment) => segment.key ?? '');
  const filter = config.filter ?? '';
  const invert = config.invert === true;
  const matcher = compileValueMatcher(config.value ?? {}, `${path}.value`);
  return (metadata) => matcher(valueAt(metadata?.[filter], keys)) !== invert;
}

/** What lies at a path of keys in a Struct; undefined when a step is missing. */
export function valueAt(struct: unknown, keys: readonly string[]): unknown {
  let value = struct;
  for (const key of keys) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function doubleMatcher(config: NonNullable<ValueMatcherConfig['doubleMatch']>): ValueMatcher {
  const { range, exact } = config;
  if (range !== undefined) {
    return (value) => typeof value === 'number' && value >= (range.start ?? 0) && value < (range.end ?? 0);
  }
  return (value) => value === (exact ?? 0);
}

function stringMatcher(matcher: StringMatcher): ValueMatcher {
  return (value) => typeof value === 'string' && matcher.match(byteText(value));
}
