/**
 * Per-host counters in shared memory, so that main can sum over workers for admin and hosts can come and go without growing the
 * stats store (Envoy keeps HostStats outside of it too).
 *
 * Main hands out rows; a row is one cache line per thread, so threads never write the same line and a plain store is enough.
 * A row whose host is gone is given to a new host once nobody counts an open connection or request in it.
 */
import type { Gauge } from '../../core/stats/stats.ts';

const CELLS = 8;
const ROWS = 256;

/** Cells of a row, in order; gauges among them are `cx_active` and `rq_active`. Names as admin prints them. */
export const HOST_STATS = [
  'cx_active',
  'cx_connect_fail',
  'cx_total',
  'rq_active',
  'rq_error',
  'rq_success',
  'rq_timeout',
  'rq_total',
] as const;
export type HostStatName = (typeof HOST_STATS)[number];
const GAUGES: readonly HostStatName[] = ['cx_active', 'rq_active'];

/** Names one row; plain data that may be sent to a worker. */
export interface HostStatsRow {
  readonly chunk: SharedArrayBuffer;
  readonly row: number;
  readonly threads: number;
}

/** Main side. `threads` is the number of workers. */
export class HostStatsTable {
  private readonly threads: number;
  private chunk: SharedArrayBuffer | null = null;
  private used = ROWS;
  private readonly freed: HostStatsRow[] = [];

  constructor(threads: number) {
    this.threads = threads;
  }

  allocate(): HostStatsRow {
    const free = this.freed.findIndex((row) => sumHostStat(row, 'cx_active') === 0 && sumHostStat(row, 'rq_active') === 0);
    if (free >= 0) {
      const [row] = this.freed.splice(free, 1);
      clear(row);
      return row;
    }
    if (this.chunk === null || this.used === ROWS) {
      this.chunk = new SharedArrayBuffer(this.threads * ROWS * CELLS * 8);
      this.used = 0;
    }
    return { chunk: this.chunk, row: this.used++, threads: this.threads };
  }

  free(row: HostStatsRow): void {
    this.freed.push(row);
  }
}

/** The sum over all threads. */
export function sumHostStat(row: HostStatsRow, name: HostStatName): number {
  const cells = new Float64Array(row.chunk);
  const cell = HOST_STATS.indexOf(name);
  let sum = 0;
  for (let thread = 0; thread < row.threads; thread++) sum += cells[base(row, thread) + cell];
  return sum;
}

/** Zeroes the counters of a row (admin's /reset_counters); gauges stay. */
export function resetHostCounters(row: HostStatsRow): void {
  const cells = new Float64Array(row.chunk);
  HOST_STATS.forEach((name, cell) => {
    if (GAUGES.includes(name)) return;
    for (let thread = 0; thread < row.threads; thread++) cells[base(row, thread) + cell] = 0;
  });
}

function clear(row: HostStatsRow): void {
  const cells = new Float64Array(row.chunk);
  for (let thread = 0; thread < row.threads; thread++) cells.fill(0, base(row, thread), base(row, thread) + CELLS);
}

function base(row: HostStatsRow, thread: number): number {
  return (thread * ROWS + row.row) * CELLS;
}

const views = new WeakMap<SharedArrayBuffer, Float64Array>();

/** Worker side: the counters of one host as this thread (`thread` from 0) writes them. Without a row they are this thread's own. */
export class HostStats {
  readonly cxActive: HostStatCell;
  readonly cxConnectFail: HostStatCell;
  readonly cxTotal: HostStatCell;
  readonly rqActive: HostStatCell;
  readonly rqError: HostStatCell;
  readonly rqSuccess: HostStatCell;
  readonly rqTimeout: HostStatCell;
  readonly rqTotal: HostStatCell;

  constructor(row: HostStatsRow | undefined, thread: number) {
    let cells: Float64Array;
    if (row === undefined) cells = new Float64Array(CELLS);
    else {
      const known = views.get(row.chunk);
      cells = known ?? new Float64Array(row.chunk);
      if (known === undefined) views.set(row.chunk, cells);
    }
    const threads = row?.threads ?? 1;
    const first = row === undefined ? 0 : row.row * CELLS;
    const own = row === undefined ? 0 : base(row, thread);
    const cell = (name: HostStatName): HostStatCell => {
      const at = HOST_STATS.indexOf(name);
      return new HostStatCell(name, cells, own + at, first + at, threads);
    };
    this.cxActive = cell('cx_active');
    this.cxConnectFail = cell('cx_connect_fail');
    this.cxTotal = cell('cx_total');
    this.rqActive = cell('rq_active');
    this.rqError = cell('rq_error');
    this.rqSuccess = cell('rq_success');
    this.rqTimeout = cell('rq_timeout');
    this.rqTotal = cell('rq_total');
  }
}

/** The values that `stats` has now, by admin's names. */
export function readHostStats(stats: HostStats): Record<HostStatName, number> {
  return {
    cx_active: stats.cxActive.value,
    cx_connect_fail: stats.cxConnectFail.value,
    cx_total: stats.cxTotal.value,
    rq_active: stats.rqActive.value,
    rq_error: stats.rqError.value,
    rq_success: stats.rqSuccess.value,
    rq_timeout: stats.rqTimeout.value,
    rq_total: stats.rqTotal.value,
  };
}

export class HostStatCell implements Gauge {
  readonly name: string;
  private readonly cells: Float64Array;
  private readonly own: number;
  private readonly first: number;
  private readonly threads: number;

  constructor(name: string, cells: Float64Array, own: number, first: number, threads: number) {
    this.name = name;
    this.cells = cells;
    this.own = own;
    this.first = first;
    this.threads = threads;
  }

  inc(): void {
    this.cells[this.own]++;
  }

  dec(): void {
    this.cells[this.own]--;
  }

  add(amount: number): void {
    this.cells[this.own] += amount;
  }

  sub(amount: number): void {
    this.cells[this.own] -= amount;
  }

  set(value: number): void {
    this.cells[this.own] = value;
  }

  /** Sum over all threads. */
  get value(): number {
    if (this.threads === 1) return this.cells[this.own];
    let sum = 0;
    for (let thread = 0, at = this.first; thread < this.threads; thread++, at += ROWS * CELLS) sum += this.cells[at];
    return sum;
  }
}
