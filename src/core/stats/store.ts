/**
 * The stats of this thread, and the sums over all threads (Envoy's Stats::Store).
 *
 *     main:   const memory = createStatsMemory(1 + workers);  const stats = new Store({ memory, thread: 0 });
 *     worker: const stats = new Store({ memory: workerData.stats, thread: index + 1 });
 *
 * Every thread adds to cells of its own block with plain stores; a name's value is the sum of its cells over all blocks. New
 * names are published in the block's directory and picked up by whoever asks for a value next, so nothing is sent between
 * threads. A counter that was never added to is "unused".
 *
 * `Gauge.set` is for gauges that one thread owns. When several threads set the same gauge, the last one counts.
 */
import {
  DEFAULT_BUCKETS,
  emptyCounts,
  HISTOGRAM_CELLS,
  HISTOGRAM_UNITS,
  HistogramStatistics,
  hasRecorded,
  mergeInto,
} from './histogram.ts';
import {
  createStatsMemory,
  type DirectoryRecord,
  nextSequence,
  SEGMENT_CELLS,
  SharedBlock,
  type StatsMemory,
} from './shared_block.ts';
import {
  CounterImpl,
  GAUGE_CELLS,
  GaugeImpl,
  HistogramImpl,
  type Part,
  type StatValues,
  scaleOf,
  TextReadoutImpl,
} from './stat_objects.ts';
import type { Counter, Gauge, Histogram, HistogramUnit, Scope, TextReadout } from './stats.ts';
import { TagProducer } from './tags.ts';

export { createStatsMemory, type StatsMemory } from './shared_block.ts';

export interface StoreOptions {
  /** Without it: memory for this thread alone. */
  memory?: StatsMemory;
  /** This thread's entry in `memory`; 0 is the main thread. */
  thread?: number;
  /** Names that are not to be kept (stats_matcher): they can be written, and stay invisible. */
  rejects?: (name: string) => boolean;
  tagProducer?: TagProducer;
  /** Upper bounds of the buckets of a histogram (histogram_bucket_settings). */
  bucketsFor?: (name: string) => readonly number[] | undefined;
}

/** What admin and sinks see of one counter or gauge. */
export interface NumericStat {
  readonly name: string;
  readonly value: number;
  readonly used: boolean;
}

export interface HistogramStat {
  readonly name: string;
  readonly unit: HistogramUnit;
  readonly used: boolean;
  readonly cumulative: HistogramStatistics;
  /** Between the last two calls of `mergeHistograms`. */
  readonly interval: HistogramStatistics;
  readonly buckets: readonly number[];
}

/** One name over all threads. */
class Family {
  readonly name: string;
  readonly unit: number;
  readonly parts: Part[] = [];
  /** Counters: was written before a reset. */
  wasUsed = false;
  /** Histograms: what `mergeHistograms` saw last, and what came between the last two calls. */
  merged: HistogramStatistics | null = null;
  interval: HistogramStatistics | null = null;
  /** Text readouts: the newest value and its order. */
  text = '';
  textOrder = 0;

  constructor(name: string, unit: number) {
    this.name = name;
    this.unit = unit;
  }
}

const MASK = SEGMENT_CELLS - 1;

class ScopeImpl implements Scope {
  readonly prefix: string;
  private readonly store: Store;

  constructor(store: Store, prefix: string) {
    this.store = store;
    this.prefix = prefix;
  }

  scope(prefix: string): Scope {
    return new ScopeImpl(this.store, joinPrefix(this.prefix, prefix));
  }

  counter(name: string): Counter {
    return this.store.counter(this.prefix + name);
  }

  gauge(name: string): Gauge {
    return this.store.gauge(this.prefix + name);
  }

  histogram(name: string, unit: HistogramUnit): Histogram {
    return this.store.histogram(this.prefix + name, unit);
  }

  textReadout(name: string): TextReadout {
    return this.store.textReadout(this.prefix + name);
  }
}

export class Store implements Scope, StatValues {
  readonly prefix = '';
  readonly tagProducer: TagProducer;
  private readonly memory: StatsMemory;
  private readonly rejects: (name: string) => boolean;
  private readonly bucketsFor: (name: string) => readonly number[] | undefined;
  private readonly blocks: SharedBlock[];
  private readonly own: SharedBlock;
  private readonly counters = new Map<string, CounterImpl>();
  private readonly gauges = new Map<string, GaugeImpl>();
  private readonly histograms = new Map<string, HistogramImpl>();
  private readonly textReadouts = new Map<string, TextReadoutImpl>();
  private readonly families = {
    counter: new Map<string, Family>(),
    gauge: new Map<string, Family>(),
    histogram: new Map<string, Family>(),
    textReadout: new Map<string, Family>(),
  };
  private readonly rejectedBlock = new SharedBlock(createStatsMemory(1), 0);

  constructor(options: StoreOptions = {}) {
    this.memory = options.memory ?? createStatsMemory(1);
    this.tagProducer = options.tagProducer ?? new TagProducer();
    this.rejects = options.rejects ?? (() => false);
    this.bucketsFor = options.bucketsFor ?? (() => undefined);
    this.blocks = this.memory.threads.map((_, thread) => new SharedBlock(this.memory, thread));
    this.own = this.blocks[options.thread ?? 0];
  }

  scope(prefix: string): Scope {
    return new ScopeImpl(this, joinPrefix('', prefix));
  }

  counter(name: string): Counter {
    let counter = this.counters.get(name);
    if (counter === undefined) {
      counter = new CounterImpl(this, name, this.create('counter', name, 0, 1));
      this.counters.set(name, counter);
    }
    return counter;
  }

  gauge(name: string): Gauge {
    let gauge = this.gauges.get(name);
    if (gauge === undefined) {
      gauge = new GaugeImpl(this, name, this.create('gauge', name, 0, GAUGE_CELLS));
      this.gauges.set(name, gauge);
    }
    return gauge;
  }

  histogram(name: string, unit: HistogramUnit): Histogram {
    let histogram = this.histograms.get(name);
    if (histogram === undefined) {
      histogram = new HistogramImpl(name, this.create('histogram', name, HISTOGRAM_UNITS.indexOf(unit), HISTOGRAM_CELLS), unit);
      this.histograms.set(name, histogram);
    }
    return histogram;
  }

  textReadout(name: string): TextReadout {
    let readout = this.textReadouts.get(name);
    if (readout === undefined) {
      readout = new TextReadoutImpl(this, name);
      this.textReadouts.set(name, readout);
    }
    return readout;
  }

  // ---- Sums over all threads, for admin, sinks and `value`.

  counterValue(name: string): number {
    this.sync();
    const family = this.families.counter.get(name);
    return family === undefined ? 0 : counterSum(family);
  }

  gaugeValue(name: string): number {
    this.sync();
    const family = this.families.gauge.get(name);
    return family === undefined ? 0 : gaugeSum(family);
  }

  textValue(name: string): string {
    this.sync();
    return this.families.textReadout.get(name)?.text ?? '';
  }

  allCounters(): NumericStat[] {
    this.sync();
    return sorted(this.families.counter).map((family) => ({
      name: family.name,
      value: counterSum(family),
      used: counterUsed(family),
    }));
  }

  allGauges(): NumericStat[] {
    this.sync();
    return sorted(this.families.gauge).map((family) => ({
      name: family.name,
      value: gaugeSum(family),
      used: family.parts.some(({ cells, offset }) => cells[offset] !== 0 || cells[offset + 1] !== 0 || cells[offset + 2] !== 0),
    }));
  }

  allHistograms(): HistogramStat[] {
    this.sync();
    return sorted(this.families.histogram).map((family) => ({
      name: family.name,
      unit: HISTOGRAM_UNITS[family.unit],
      used: family.parts.some((part) => hasRecorded(part.cells, part.offset)),
      cumulative: merged(family),
      interval: family.interval ?? HistogramStatistics.empty(),
      buckets: this.bucketsFor(family.name) ?? DEFAULT_BUCKETS,
    }));
  }

  allTextReadouts(): { readonly name: string; readonly value: string; readonly used: boolean }[] {
    this.sync();
    return sorted(this.families.textReadout).map((family) => ({
      name: family.name,
      value: family.text,
      used: family.textOrder > 0,
    }));
  }

  /** Ends an interval of all histograms; the server calls it every `stats_flush_interval`. */
  mergeHistograms(): void {
    this.sync();
    for (const family of this.families.histogram.values()) {
      const now = merged(family);
      family.interval = family.merged === null ? now : now.since(family.merged);
      family.merged = now;
    }
  }

  /** `/reset_counters`: all counters read 0 on every thread. They stay used. */
  resetCounters(): void {
    this.sync();
    for (const family of this.families.counter.values()) {
      family.wasUsed = counterUsed(family);
      this.counter(family.name).add(-counterSum(family));
    }
  }

  // ---- For the stat objects.

  sequence(): number {
    return nextSequence(this.memory);
  }

  setText(name: string, value: string): void {
    if (this.rejects(name)) return;
    this.own.publish('textReadout', this.sequence(), 0, name, value);
  }

  /** Cells of this thread for `name`, published for the others. */
  private create(type: 'counter' | 'gauge' | 'histogram', name: string, unit: number, count: number): Part {
    if (this.rejects(name)) return partOf(this.rejectedBlock, this.rejectedBlock.allocate(count));
    const cell = this.own.allocate(count);
    this.own.publish(type, cell, unit, name);
    return partOf(this.own, cell);
  }

  /** Takes in what any thread published since the last time. */
  private sync(): void {
    for (const block of this.blocks) block.readNew((record) => this.learn(block, record));
  }

  private learn(block: SharedBlock, record: DirectoryRecord): void {
    const families = this.families[record.type];
    let family = families.get(record.name);
    if (family === undefined) families.set(record.name, (family = new Family(record.name, record.unit)));
    if (record.type !== 'textReadout') family.parts.push(partOf(block, record.cell));
    else if (record.cell > family.textOrder) {
      family.textOrder = record.cell;
      family.text = record.text;
    }
  }
}

/** Envoy's sanitizeStatsName for a scope's name: `:` and friends become `_`; one dot at the end. */
export function joinPrefix(parent: string, prefix: string): string {
  let name = prefix;
  if (name.endsWith('.')) name = name.slice(0, -1);
  if (name.startsWith('.')) name = name.slice(1);
  if (name === '') return parent;
  return `${parent}${name.replace(/:\/\/|:\/|:|\0/g, '_')}.`;
}

function partOf(block: SharedBlock, cell: number): Part {
  return { block, cells: block.segmentOf(cell), offset: cell & MASK };
}

function sorted(families: Map<string, Family>): Family[] {
  return [...families.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function counterSum(family: Family): number {
  let sum = 0;
  for (const part of family.parts) sum += part.cells[part.offset];
  return sum;
}

function counterUsed(family: Family): boolean {
  return family.wasUsed || family.parts.some((part) => part.cells[part.offset] !== 0);
}

function gaugeSum(family: Family): number {
  let sum = 0;
  let newest = 0;
  let lastSet = 0;
  for (const { cells, offset } of family.parts) {
    // What was taken away is read first: reading in between must not show less than there ever was.
    const down = cells[offset + 1];
    const value = cells[offset] - down;
    const setAt = cells[offset + 2];
    if (setAt === 0) sum += value;
    else if (setAt > newest) {
      newest = setAt;
      lastSet = value;
    }
  }
  return sum + lastSet;
}

function merged(family: Family): HistogramStatistics {
  const counts = emptyCounts();
  let sum = 0;
  for (const part of family.parts) sum += mergeInto(counts, part.block, part.cells, part.offset);
  return new HistogramStatistics(counts, sum, scaleOf(HISTOGRAM_UNITS[family.unit]));
}
