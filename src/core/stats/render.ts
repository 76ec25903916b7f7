/**
 * Stats as `/stats` prints them: text and JSON (Envoy: source/server/admin/stats_render.cc). Prometheus: `prometheus.ts`.
 *
 * Text readouts come first, then counters and gauges by name, then histograms. Left out: hidden stats, which do not exist here.
 */
import { type HistogramStatistics, QUANTILES } from './histogram.ts';
import { type RenderOptions, type SelectedStats, selectStats } from './select.ts';
import type { HistogramStat, NumericStat, Store } from './store.ts';

export { renderPrometheus } from './prometheus.ts';
export type { RenderOptions } from './select.ts';

export function renderText(store: Store, options: RenderOptions = {}): string {
  const selected = selectStats(store, options);
  let text = '';
  for (const { name, value } of selected.textReadouts) text += `${name}: "${value}"\n`;
  for (const { name, value } of numbers(selected)) text += `${name}: ${value}\n`;
  for (const histogram of selected.histograms)
    text += `${histogram.name}:${histogramText(histogram, options.histogramBuckets)}\n`;
  return text;
}

export function renderJson(store: Store, options: RenderOptions = {}): string {
  const selected = selectStats(store, options);
  const stats: unknown[] = [];
  for (const { name, value } of selected.textReadouts) stats.push({ name, value });
  for (const { name, value } of numbers(selected)) stats.push({ name, value });
  if (selected.histograms.length > 0) stats.push({ histograms: histogramsJson(selected.histograms, options.histogramBuckets) });
  return JSON.stringify({ stats }, null, options.pretty === true ? 1 : undefined);
}

function numbers(selected: SelectedStats): NumericStat[] {
  return [...selected.counters, ...selected.gauges].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function histogramText(histogram: HistogramStat, mode: RenderOptions['histogramBuckets']): string {
  if (!histogram.used) return ' No recorded values';
  const { interval, cumulative, buckets } = histogram;
  if (mode === 'cumulative')
    return ` ${bucketText(buckets, interval.cumulativeBuckets(buckets), cumulative.cumulativeBuckets(buckets))}`;
  if (mode === 'disjoint')
    return ` ${bucketText(buckets, interval.disjointBuckets(buckets), cumulative.disjointBuckets(buckets))}`;
  if (mode !== 'detailed') return ` ${quantileText(histogram)}`;
  return `\n  totals=${binText(cumulative)}\n  intervals=${binText(interval)}\n  summary=${quantileText(histogram)}`;
}

/** `P0(interval,cumulative) P25(...) ...` */
function quantileText({ interval, cumulative }: HistogramStat): string {
  const recent = interval.quantiles();
  const total = cumulative.quantiles();
  return QUANTILES.map((percent, i) => `P${percent}(${numberText(recent[i])},${numberText(total[i])})`).join(' ');
}

function bucketText(bounds: readonly number[], interval: readonly number[], cumulative: readonly number[]): string {
  return bounds.map((bound, i) => `B${generalText(bound)}(${interval[i]},${cumulative[i]})`).join(' ');
}

function binText(statistics: HistogramStatistics): string {
  return statistics.bins.map(({ lowerBound, width, count }) => `${lowerBound},${width}:${count}`).join(', ');
}

function numberText(value: number): string {
  return Number.isNaN(value) ? 'nan' : String(value);
}

/** C's `%g`: six significant digits, an exponent from 10^6 on. */
function generalText(value: number): string {
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) {
    const [mantissa, exponent] = value.toExponential(5).split('e');
    return `${Number(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  return String(Number(value.toPrecision(6)));
}

function histogramsJson(histograms: readonly HistogramStat[], mode: RenderOptions['histogramBuckets']): unknown {
  if (mode === 'cumulative' || mode === 'disjoint') {
    return histograms.map(({ name, interval, cumulative, buckets }) => {
      const count = (statistics: HistogramStatistics): number[] =>
        mode === 'cumulative' ? statistics.cumulativeBuckets(buckets) : statistics.disjointBuckets(buckets);
      const recent = count(interval);
      const total = count(cumulative);
      return { name, buckets: buckets.map((bound, i) => ({ upper_bound: bound, interval: recent[i], cumulative: total[i] })) };
    });
  }
  if (mode === 'detailed') {
    const details = histograms.map((histogram) => ({
      name: histogram.name,
      totals: binsJson(histogram.cumulative),
      intervals: binsJson(histogram.interval),
      percentiles: quantilesJson(histogram),
    }));
    return { supported_percentiles: QUANTILES, details };
  }
  const computed = histograms.map((histogram) => ({ name: histogram.name, values: quantilesJson(histogram) }));
  return { supported_quantiles: QUANTILES, computed_quantiles: computed };
}

function binsJson(statistics: HistogramStatistics): unknown[] {
  return statistics.bins.map(({ lowerBound, width, count }) => ({ lower_bound: lowerBound, width, count }));
}

/** NaN becomes null. */
function quantilesJson({ interval, cumulative }: HistogramStat): unknown[] {
  const recent = interval.quantiles();
  return cumulative.quantiles().map((value, i) => ({ cumulative: value, interval: recent[i] }));
}
