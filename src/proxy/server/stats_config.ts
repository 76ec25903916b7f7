/** `stats_config` of the bootstrap: tags and histogram buckets. */
import { type StatsStringMatcher, statsStringMatcher } from '../../core/stats/matcher.ts';
import type { StoreOptions } from '../../core/stats/store.ts';
import { TagProducer } from '../../core/stats/tags.ts';
import { ConfigError } from '../config/error.ts';
import type { Bootstrap, StatsConfig } from '../config/types.gen.ts';

export function statsTags(bootstrap: Bootstrap): Pick<StoreOptions, 'tagProducer' | 'bucketsFor'> {
  const config = bootstrap.statsConfig;
  if (config === undefined) return {};
  const settings = (
    (config as { histogramBucketSettings?: { match: StatsStringMatcher; buckets: number[] }[] }).histogramBucketSettings ?? []
  ).map(({ match, buckets }, i) => ({ matches: histogramMatcher(match, i), buckets }));
  return {
    tagProducer: tagProducer(config),
    bucketsFor: (name) => settings.find((setting) => setting.matches(name))?.buckets,
  };
}

function histogramMatcher(match: StatsStringMatcher, i: number): (name: string) => boolean {
  try {
    return statsStringMatcher(match);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(error.message, { path: `stats_config.histogram_bucket_settings[${i}].match` });
  }
}

/** Mistakes in patterns become ConfigErrors here: core knows none. */
function tagProducer(config: StatsConfig): TagProducer {
  try {
    return new TagProducer({ statsTags: config.statsTags as never, useAllDefaultTags: config.useAllDefaultTags ?? true });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(error.message, { path: 'stats_config.stats_tags' });
  }
}
