/**
 * Stats in Prometheus' text format (Envoy: source/server/admin/prometheus_stats.cc): one group per tag-extracted name with its TYPE
 * line, groups and lines sorted, `envoy_` before every name, `{}` always there.
 */
import { QUANTILE_FRACTIONS } from './histogram.ts';
import { type RenderOptions, selectStats } from './select.ts';
import type { HistogramStat, Store } from './store.ts';
import type { Tag } from './tags.ts';

/** Namespaces whose names stand without `envoy_` and without the namespace. */
const CUSTOM_NAMESPACES = ['wasmcustom.'];

export function renderPrometheus(store: Store, options: RenderOptions = {}): string {
  const { counters, gauges, textReadouts, histograms } = selectStats(store, options);
  const summary = options.histogramBuckets === 'summary';
  return (
    group(store, counters, 'counter', (stat, name, labels) => `${name}{${labels}} ${stat.value}\n`) +
    group(store, gauges, 'gauge', (stat, name, labels) => `${name}{${labels}} ${stat.value}\n`) +
    (options.textReadouts === true ? group(store, textReadouts, 'gauge', textReadoutLine) : '') +
    group(store, histograms, summary ? 'summary' : 'histogram', summary ? summaryLines : histogramLines)
  );
}

/** The lines of one type. `line` gets the stat, its metric name and its labels. */
function group<Stat extends { readonly name: string }>(
  store: Store,
  stats: readonly Stat[],
  type: string,
  line: (stat: Stat, name: string, labels: string) => string,
): string {
  const groups = new Map<string, Stat[]>();
  for (const stat of stats) {
    const { tagExtractedName } = store.tagProducer.produce(stat.name);
    const members = groups.get(tagExtractedName);
    if (members === undefined) groups.set(tagExtractedName, [stat]);
    else members.push(stat);
  }
  let text = '';
  for (const extracted of [...groups.keys()].sort()) {
    const name = metricName(extracted);
    if (name === undefined) continue;
    text += `# TYPE ${name} ${type}\n`;
    for (const stat of groups.get(extracted) as Stat[])
      text += line(stat, name, labelText(store.tagProducer.produce(stat.name).tags));
  }
  return text;
}

function textReadoutLine(stat: { readonly value: string }, name: string, labels: string): string {
  return `${name}{${withComma(labels)}text_value="${escapeLabel(stat.value)}"} 1\n`;
}

function histogramLines(histogram: HistogramStat, name: string, labels: string): string {
  const { cumulative, buckets } = histogram;
  const counts = cumulative.cumulativeBuckets(buckets);
  let text = '';
  for (let i = 0; i < buckets.length; i++) text += `${name}_bucket{${withComma(labels)}le="${buckets[i]}"} ${counts[i]}\n`;
  return `${text}${name}_bucket{${withComma(labels)}le="+Inf"} ${cumulative.sampleCount}\n${totals(histogram, name, labels)}`;
}

function summaryLines(histogram: HistogramStat, name: string, labels: string): string {
  const values = histogram.interval.quantiles();
  let text = '';
  for (const [i, fraction] of QUANTILE_FRACTIONS.entries()) {
    const value = Number.isNaN(values[i]) ? 'NaN' : values[i];
    text += `${name}{${withComma(labels)}quantile="${fraction}"} ${value}\n`;
  }
  return text + totals(histogram, name, labels);
}

function totals({ cumulative }: HistogramStat, name: string, labels: string): string {
  return `${name}_sum{${labels}} ${cumulative.sampleSum}\n${name}_count{${labels}} ${cumulative.sampleCount}\n`;
}

function metricName(extracted: string): string | undefined {
  for (const namespace of CUSTOM_NAMESPACES) {
    if (!extracted.startsWith(namespace)) continue;
    const name = sanitizeName(extracted.slice(namespace.length));
    return name === '' || /^[0-9]/.test(name) ? undefined : name;
  }
  return `envoy_${sanitizeName(extracted)}`;
}

function labelText(tags: readonly Tag[]): string {
  return tags.map(({ name, value }) => `${sanitizeName(name)}="${escapeLabel(value)}"`).join(',');
}

function withComma(labels: string): string {
  return labels === '' ? '' : `${labels},`;
}

function sanitizeName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_]/g, '_');
}

function escapeLabel(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}
