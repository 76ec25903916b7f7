/** Metrics that a VM's modules defined: `wasmcustom.<name>`, with the ABI's numbers (low two bits: type). */
import type { Counter, Gauge, Histogram, Scope } from '../../core/stats/stats.ts';
import { MetricType, Status } from '../abi/enums.ts';

/** A module may not fill the stats memory of the process. */
const MAX_METRICS = 10_000;
const MAX_NAME = 512;

export class MetricTable {
  private readonly scope: Scope;
  private readonly counters: Counter[] = [];
  private readonly gauges: Gauge[] = [];
  private readonly histograms: Histogram[] = [];
  private readonly names = new Set<string>();

  constructor(scope: Scope) {
    this.scope = scope.scope('wasmcustom.');
  }

  /** The number, or 0 when there are too many. */
  define(type: number, name: string): number {
    if (name === '' || name.length > MAX_NAME || this.count >= 4 * MAX_METRICS) return 0;
    this.names.add(`${type} ${name}`);
    if (this.names.size > MAX_METRICS) return 0;
    switch (type) {
      case MetricType.Counter:
        return this.counters.push(this.scope.counter(name)) * 4;
      case MetricType.Gauge:
        return this.gauges.push(this.scope.gauge(name)) * 4 + 1;
      default:
        return this.histograms.push(this.scope.histogram(name, 'unspecified')) * 4 + 2;
    }
  }

  private get count(): number {
    return this.counters.length + this.gauges.length + this.histograms.length;
  }

  increment(id: number, delta: bigint): Status {
    const by = Number(BigInt.asIntN(64, delta));
    const index = (id >>> 2) - 1;
    switch (id & 3) {
      case MetricType.Counter: {
        const counter = this.counters[index];
        if (counter === undefined) return Status.NotFound;
        if (by <= 0) return Status.BadArgument;
        counter.add(by);
        return Status.Ok;
      }
      case MetricType.Gauge: {
        const gauge = this.gauges[index];
        if (gauge === undefined) return Status.NotFound;
        if (by > 0) gauge.add(by);
        else gauge.sub(-by);
        return Status.Ok;
      }
      case MetricType.Histogram:
        return this.histograms[index] === undefined ? Status.NotFound : Status.BadArgument;
      default:
        return Status.NotFound;
    }
  }

  record(id: number, value: bigint): Status {
    const to = Number(BigInt.asUintN(64, value));
    const index = (id >>> 2) - 1;
    const metric = [this.counters, this.gauges, this.histograms, NONE][id & 3][index];
    if (metric === undefined) return Status.NotFound;
    if ((id & 3) === MetricType.Counter) (metric as Counter).add(to);
    else if ((id & 3) === MetricType.Gauge) (metric as Gauge).set(to);
    else (metric as Histogram).recordValue(to);
    return Status.Ok;
  }

  /** The value, or a status. */
  get(id: number): { value: number } | Status {
    const index = (id >>> 2) - 1;
    const type = id & 3;
    if (type === MetricType.Counter && this.counters[index] !== undefined) return { value: this.counters[index].value };
    if (type === MetricType.Gauge && this.gauges[index] !== undefined) return { value: this.gauges[index].value };
    return type === MetricType.Histogram && this.histograms[index] !== undefined ? Status.BadArgument : Status.NotFound;
  }
}

const NONE: undefined[] = [];
