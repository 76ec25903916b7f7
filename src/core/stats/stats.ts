/**
 * Counters, gauges, histograms and text readouts (Envoy's Stats). Values live in shared memory: a worker adds to its own cells
 * without locks, the main thread sums over workers. Implementation: `store.ts`.
 */

export interface Counter {
  readonly name: string;
  inc(): void;
  add(amount: number): void;
  /** Sum over all workers. */
  readonly value: number;
}

export interface Gauge {
  readonly name: string;
  inc(): void;
  dec(): void;
  add(amount: number): void;
  sub(amount: number): void;
  /** For gauges that one thread owns. */
  set(value: number): void;
  readonly value: number;
}

/** Units are only informative: they become the name's suffix in Prometheus and the text in admin. */
export type HistogramUnit = 'unspecified' | 'bytes' | 'microseconds' | 'milliseconds' | 'percent';

export interface Histogram {
  readonly name: string;
  recordValue(value: number): void;
}

export interface TextReadout {
  readonly name: string;
  set(value: string): void;
  readonly value: string;
}

/** A dot-joined prefix. `scope('cluster.a.').counter('upstream_rq_total')` is `cluster.a.upstream_rq_total`. */
export interface Scope {
  readonly prefix: string;
  scope(prefix: string): Scope;
  /** The same name gives the same object within a thread, and the same cell family across threads. */
  counter(name: string): Counter;
  gauge(name: string): Gauge;
  histogram(name: string, unit: HistogramUnit): Histogram;
  textReadout(name: string): TextReadout;
}
