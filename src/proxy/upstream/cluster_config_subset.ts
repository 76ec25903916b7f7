/** Reads `lb_subset_config`, or the Subset policy, which has the same fields (Envoy: LoadBalancerSubsetInfoImpl). */
import { ConfigError } from '../config/error.ts';

export type SubsetFallback = 'NO_FALLBACK' | 'ANY_ENDPOINT' | 'DEFAULT_SUBSET';
export type SelectorFallback = 'NOT_DEFINED' | SubsetFallback | 'KEYS_SUBSET';

export interface SubsetSelector {
  /** Sorted, each once. */
  readonly keys: readonly string[];
  readonly fallback: SelectorFallback;
  /** Of KEYS_SUBSET: some of `keys`. */
  readonly fallbackKeys: readonly string[];
  readonly singleHost: boolean;
}

export interface SubsetSettings {
  readonly fallback: SubsetFallback;
  readonly defaultSubset: Readonly<Record<string, unknown>>;
  readonly selectors: readonly SubsetSelector[];
  readonly localityWeightAware: boolean;
  readonly scaleLocalityWeight: boolean;
  readonly panicModeAny: boolean;
  readonly listAsAny: boolean;
  readonly allowRedundantKeys: boolean;
  /** `metadata_fallback_policy: FALLBACK_LIST`. */
  readonly fallbackList: boolean;
}

export interface PlainSubset {
  fallbackPolicy?: string;
  defaultSubset?: Record<string, unknown>;
  subsetSelectors?: PlainSubsetSelector[];
  localityWeightAware?: boolean;
  scaleLocalityWeight?: boolean;
  panicModeAny?: boolean;
  listAsAny?: boolean;
  allowRedundantKeys?: boolean;
  metadataFallbackPolicy?: string;
}

interface PlainSubsetSelector {
  keys?: string[];
  fallbackPolicy?: string;
  fallbackKeysSubset?: string[];
  singleHostPerSubset?: boolean;
}

export function parseSubsets(config: PlainSubset, path: string): SubsetSettings {
  return {
    fallback: (config.fallbackPolicy ?? 'NO_FALLBACK') as SubsetFallback,
    defaultSubset: config.defaultSubset ?? {},
    selectors: (config.subsetSelectors ?? []).map((selector, i) => parseSelector(selector, `${path}.subset_selectors[${i}]`)),
    localityWeightAware: config.localityWeightAware ?? false,
    scaleLocalityWeight: config.scaleLocalityWeight ?? false,
    panicModeAny: config.panicModeAny ?? false,
    listAsAny: config.listAsAny ?? false,
    allowRedundantKeys: config.allowRedundantKeys ?? false,
    fallbackList: config.metadataFallbackPolicy === 'FALLBACK_LIST',
  };
}

function parseSelector(config: PlainSubsetSelector, path: string): SubsetSelector {
  const keys = [...new Set(config.keys ?? [])].sort();
  const fallback = (config.fallbackPolicy ?? 'NOT_DEFINED') as SelectorFallback;
  const fallbackKeys = [...new Set(config.fallbackKeysSubset ?? [])].sort();
  const refuse = (reason: string): never => {
    throw new ConfigError(reason, { path: `${path}.fallback_keys_subset` });
  };
  if (keys.length === 0) throw new ConfigError('a subset selector needs keys', { path: `${path}.keys` });
  if (fallback !== 'KEYS_SUBSET') {
    if (fallbackKeys.length > 0) refuse('fallback_keys_subset can be set only for KEYS_SUBSET fallback_policy');
  } else if (fallbackKeys.length === 0) refuse('fallback_keys_subset cannot be empty');
  else if (!fallbackKeys.every((key) => keys.includes(key))) {
    refuse('fallback_keys_subset must be a subset of selector keys');
  } else if (fallbackKeys.length === keys.length) {
    refuse('fallback_keys_subset cannot be equal to keys');
  }
  return { keys, fallback, fallbackKeys, singleHost: config.singleHostPerSubset ?? false };
}
