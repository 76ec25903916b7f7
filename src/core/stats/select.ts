/** Which stats an output shows (the parameters of `/stats`). */
import type { HistogramStat, NumericStat, Store } from './store.ts';

export interface RenderOptions {
  /** Only stats that were written at least once. */
  usedOnly?: boolean;
  /** Without it, all types. */
  type?: 'Counters' | 'Gauges' | 'Histograms' | 'TextReadouts';
  /** Part of the full name that has to match. */
  filter?: { test(name: string): boolean };
  /** How histograms are shown; without it, by quantiles. For Prometheus: `summary`, else buckets. */
  histogramBuckets?: 'cumulative' | 'disjoint' | 'detailed' | 'summary';
  /** Prometheus: text readouts too, as gauges. */
  textReadouts?: boolean;
  /** JSON: indented. */
  pretty?: boolean;
}

/** The stats that the options ask for, in order of name. */
export interface SelectedStats {
  readonly textReadouts: readonly { readonly name: string; readonly value: string }[];
  readonly counters: readonly NumericStat[];
  readonly gauges: readonly NumericStat[];
  readonly histograms: readonly HistogramStat[];
}

export function selectStats(store: Store, options: RenderOptions): SelectedStats {
  const wanted = (stat: { name: string; used: boolean }): boolean =>
    (options.usedOnly !== true || stat.used) && (options.filter === undefined || options.filter.test(stat.name));
  const has = (type: RenderOptions['type']): boolean => options.type === undefined || options.type === type;
  return {
    textReadouts: has('TextReadouts') ? store.allTextReadouts().filter(wanted) : [],
    counters: has('Counters') ? store.allCounters().filter(wanted) : [],
    gauges: has('Gauges') ? store.allGauges().filter(wanted) : [],
    histograms: has('Histograms') ? store.allHistograms().filter(wanted) : [],
  };
}
