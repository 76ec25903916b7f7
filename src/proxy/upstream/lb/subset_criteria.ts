/**
 * What a route's `metadata_match` asks of subsets, worked out once per route: the texts that subsets are found by, for the criteria
 * themselves and for what is tried after them.
 */
import type { SubsetSelector, SubsetSettings } from '../cluster_config_subset.ts';

export type Labels = Readonly<Record<string, unknown>>;

/** One attempt at a subset. */
export interface Criteria {
  /** '' when there is nothing to match. */
  readonly key: string;
  /** Whose keys the criteria have; its fallback counts. */
  readonly selector: SubsetSelector | null;
  /** With KEYS_SUBSET: what is tried next. */
  readonly reduced: Criteria | null;
}

const FALLBACK_LIST = 'fallback_list';

/** Attempts in order: one, or those of the criteria's fallback list. */
export function compileCriteria(given: Labels | null, settings: SubsetSettings): readonly Criteria[] {
  if (given === null) return [compileOne({}, settings)];
  const list = given[FALLBACK_LIST];
  if (!settings.fallbackList || list === undefined) return [compileOne(given, settings)];
  const { [FALLBACK_LIST]: _list, ...rest } = given;
  const overrides = Array.isArray(list) ? list : [];
  if (overrides.length === 0) return [compileOne(rest, settings)];
  return overrides.map((override) => compileOne({ ...rest, ...(isLabels(override) ? override : {}) }, settings));
}

function compileOne(given: Labels, settings: SubsetSettings): Criteria {
  const labels = settings.allowRedundantKeys ? withoutRedundantKeys(given, settings.selectors) : given;
  const names = Object.keys(labels).sort();
  const selector = settings.selectors.find(({ keys }) => sameNames(keys, names)) ?? null;
  return {
    key: subsetKey(labels),
    selector,
    reduced: selector?.fallback === 'KEYS_SUBSET' ? compileOne(only(labels, selector.fallbackKeys), settings) : null,
  };
}

/** The labels of the first selector that has all of its keys there. */
function withoutRedundantKeys(labels: Labels, selectors: readonly SubsetSelector[]): Labels {
  const selector = selectors.find(({ keys }) => keys.every((key) => Object.hasOwn(labels, key)));
  return selector === undefined ? labels : only(labels, selector.keys);
}

function only(labels: Labels, keys: readonly string[]): Labels {
  return Object.fromEntries(keys.filter((key) => Object.hasOwn(labels, key)).map((key) => [key, labels[key]]));
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

function isLabels(value: unknown): value is Labels {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The same text for the same labels, whatever their order; '' for none. */
export function subsetKey(labels: Labels): string {
  const names = Object.keys(labels).sort();
  return names.length === 0 ? '' : JSON.stringify(names.map((name) => [name, ordered(labels[name])]));
}

/** A value whose JSON is the same for the same content. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (!isLabels(value)) return value ?? null;
  return Object.keys(value)
    .sort()
    .map((name) => [name, ordered(value[name])]);
}

/** Every combination of the values that a host has for these keys; none when it lacks one. */
export function hostSubsetKeys(labels: Labels | undefined, keys: readonly string[], listAsAny: boolean): string[] {
  if (labels === undefined) return [];
  let combinations: Record<string, unknown>[] = [{}];
  for (const key of keys) {
    if (!Object.hasOwn(labels, key)) return [];
    const value = labels[key];
    const values = listAsAny && Array.isArray(value) ? value : [value];
    combinations = combinations.flatMap((labelsSoFar) => values.map((each) => ({ ...labelsSoFar, [key]: each })));
    if (combinations.length > MAX_COMBINATIONS) return [];
  }
  return [...new Set(combinations.map(subsetKey))];
}

/** Lists multiply: a host with more is in no subset of the selector. */
const MAX_COMBINATIONS = 1024;

/** Whether a host has all of these labels. */
export function hasLabels(host: Labels | undefined, wanted: Labels, listAsAny: boolean): boolean {
  return Object.entries(wanted).every(([key, value]) => {
    const own = host?.[key];
    if (own === undefined) return false;
    const text = JSON.stringify(ordered(value));
    if (listAsAny && Array.isArray(own)) return own.some((each) => JSON.stringify(ordered(each)) === text);
    return JSON.stringify(ordered(own)) === text;
  });
}
