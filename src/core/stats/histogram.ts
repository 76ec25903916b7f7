/**
 * Log-linear histograms with two significant decimal digits (the bins of Circonus' histograms, which Envoy uses): 0 is a bin of
 * its own, then 1.0, 1.1 ... 9.9, 10, 11 ... 99, 100, 110 ... 990, 1000, ... Values are whole numbers, as in Envoy, so below 100
 * every value has its own bin. Quantiles interpolate within a bin.
 *
 * A histogram in shared memory is a header cell block (sum, then one cell index per decade) and a run of counters per decade that
 * exists only once a value fell into it. The owner adds, other threads read.
 */

import type { SharedBlock } from './shared_block.ts';
import type { HistogramUnit } from './stats.ts';

export const HISTOGRAM_UNITS: readonly HistogramUnit[] = ['unspecified', 'bytes', 'microseconds', 'milliseconds', 'percent'];

/** Percentages (0 to 1) are kept in millionths. */
export const PERCENT_SCALE = 1e6;

/** Envoy's supported quantiles, in percent. */
export const QUANTILES = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100] as const;
export const QUANTILE_FRACTIONS = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1] as const;

/** Upper bounds of the buckets of Prometheus and of `histogram_buckets`, unless configured. */
export const DEFAULT_BUCKETS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
];

/** Header cells: the sum, then the first cell of each decade's run. Run 0 holds 0 to 99, run k the values with k + 2 digits. */
const RUNS = 15;
export const HISTOGRAM_CELLS = 1 + RUNS;
const MAX_VALUE = Number.MAX_SAFE_INTEGER;
const FIRST_RUN = 100;
const RUN = 90;
const BINS = FIRST_RUN + (RUNS - 1) * RUN;

/** Adds one value to the histogram whose header is at `header` of `cells` (a segment of `block`). */
export function recordInto(block: SharedBlock, cells: Float64Array, header: number, value: number): void {
  const v = value > 0 ? Math.floor(Math.min(value, MAX_VALUE)) : 0;
  let run = 0;
  let bin = v;
  if (v >= 100) {
    let scale = 10;
    run = 1;
    while (v >= scale * 100) {
      scale *= 10;
      run++;
    }
    bin = Math.floor(v / scale) - 10;
  }
  cells[header] += v;
  let cell = cells[header + 1 + run];
  if (cell === 0) {
    cell = block.allocate(run === 0 ? FIRST_RUN : RUN);
    cells[header + 1 + run] = cell;
  }
  block.segmentOf(cell)[(cell & 8191) + bin]++;
}

/** Adds what a thread recorded to `into` (length `BINS`); returns its sum of values. */
export function mergeInto(into: Float64Array, block: SharedBlock, cells: Float64Array, header: number): number {
  for (let run = 0; run < RUNS; run++) {
    const cell = cells[header + 1 + run];
    if (cell === 0) continue;
    const segment = block.segmentOf(cell);
    const from = cell & 8191;
    const to = run === 0 ? 0 : FIRST_RUN + (run - 1) * RUN;
    const length = run === 0 ? FIRST_RUN : RUN;
    for (let i = 0; i < length; i++) into[to + i] += segment[from + i];
  }
  return cells[header];
}

export function hasRecorded(cells: Float64Array, header: number): boolean {
  for (let run = 0; run < RUNS; run++) if (cells[header + 1 + run] !== 0) return true;
  return false;
}

export interface HistogramBucket {
  readonly lowerBound: number;
  readonly width: number;
  readonly count: number;
}

/** A merged histogram at one moment. Immutable. */
export class HistogramStatistics {
  readonly sampleCount: number;
  readonly sampleSum: number;
  /** The bins that are not empty, ascending. */
  readonly bins: readonly HistogramBucket[];
  private readonly counts: Float64Array;
  private readonly scale: number;

  /** `counts` is kept. `scale` divides the values (percentages). */
  constructor(counts: Float64Array, sum: number, scale: number) {
    this.counts = counts;
    this.scale = scale;
    const bins: HistogramBucket[] = [];
    let total = 0;
    for (let i = 0; i < counts.length; i++) {
      const count = counts[i];
      if (count <= 0) continue;
      total += count;
      const [lowerBound, width] = binBounds(i);
      bins.push({ lowerBound: lowerBound / scale, width: width / scale, count });
    }
    this.bins = bins;
    this.sampleCount = total;
    this.sampleSum = sum / scale;
  }

  static empty(): HistogramStatistics {
    return new HistogramStatistics(emptyCounts(), 0, 1);
  }

  /** What was recorded after `earlier`. */
  since(earlier: HistogramStatistics): HistogramStatistics {
    const counts = this.counts.slice();
    for (let i = 0; i < counts.length; i++) counts[i] -= earlier.counts[i];
    return new HistogramStatistics(counts, (this.sampleSum - earlier.sampleSum) * this.scale, this.scale);
  }

  /** Values at `QUANTILES`; NaN each when nothing was recorded. */
  quantiles(): number[] {
    return QUANTILE_FRACTIONS.map((fraction) => this.quantile(fraction));
  }

  /** The value below which the fraction `q` of the samples lies. */
  quantile(q: number): number {
    if (this.bins.length === 0) return Number.NaN;
    const rank = this.sampleCount * q;
    let below = 0;
    for (const bin of this.bins) {
      if (rank <= below + bin.count) return bin.lowerBound + ((rank - below) / bin.count) * bin.width;
      below += bin.count;
    }
    const last = this.bins[this.bins.length - 1];
    return last.lowerBound + last.width;
  }

  /** Samples in bins that end at or below each bound. */
  cumulativeBuckets(bounds: readonly number[]): number[] {
    return bounds.map((bound) => {
      let count = 0;
      for (const bin of this.bins) {
        if (bin.lowerBound + bin.width > bound) break;
        count += bin.count;
      }
      return count;
    });
  }

  /** As `cumulativeBuckets`, each without the ones before. */
  disjointBuckets(bounds: readonly number[]): number[] {
    const cumulative = this.cumulativeBuckets(bounds);
    return cumulative.map((count, i) => (i === 0 ? count : count - cumulative[i - 1]));
  }
}

export function emptyCounts(): Float64Array {
  return new Float64Array(BINS);
}

/** Lower bound and width of bin `i`. */
function binBounds(i: number): [number, number] {
  if (i === 0) return [0, 0];
  if (i < 10) return [i, 0.1];
  if (i < FIRST_RUN) return [i, 1];
  const run = Math.floor((i - FIRST_RUN) / RUN) + 1;
  const scale = 10 ** run;
  return [(((i - FIRST_RUN) % RUN) + 10) * scale, scale];
}
