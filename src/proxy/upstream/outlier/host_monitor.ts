/**
 * What workers count of one host for outlier detection (Envoy: DetectorHostMonitorImpl). The memory is the host's own and goes with it:
 *
 *     line 0           failures in a row, over all workers: atomic
 *     line 1 + thread  requests and successes, of remote and of local origin: written by that thread alone
 *
 * A success costs two increments in the thread's own line and a look at line 0, which is written only when a row of failures ends.
 * Whichever worker's failure completes a row reports it, once; main decides about ejection.
 */
import type { Runtime } from '../../runtime/runtime.ts';
import { type OutlierNumber, type OutlierSettings, outlierNumber } from './outlier_settings.ts';

/** 128 bytes: two cache lines, because they are fetched in pairs. */
const LINE = 32;

/** Cells of line 0. */
export const Consecutive = { Errors5xx: 0, GatewayFailures: 1, LocalOriginFailures: 2 } as const;
export type Consecutive = (typeof Consecutive)[keyof typeof Consecutive];

const CONSECUTIVE_LIMITS: Record<Consecutive, OutlierNumber> = {
  [Consecutive.Errors5xx]: 'consecutive5xx',
  [Consecutive.GatewayFailures]: 'consecutiveGatewayFailure',
  [Consecutive.LocalOriginFailures]: 'consecutiveLocalOriginFailure',
};

/** Cells of a thread's line. */
const EXTERNAL_TOTAL = 0;
const EXTERNAL_SUCCESS = 1;
const LOCAL_TOTAL = 2;
const LOCAL_SUCCESS = 3;

/** How something that involved the host ended, when there is no response to tell (Envoy: Outlier::Result). */
export const OutlierResult = {
  /** Connected; what is said over the connection follows. */
  ConnectSuccess: 0,
  /** Connected, and nothing else will be reported (raw TCP). */
  ConnectSuccessFinal: 1,
  ConnectFailed: 2,
  Timeout: 3,
} as const;
export type OutlierResult = (typeof OutlierResult)[keyof typeof OutlierResult];

/** The response that stands for a result while origins are not split; 0: none. */
const STATUS_OF_RESULT: Record<OutlierResult, number> = {
  [OutlierResult.ConnectSuccess]: 0,
  [OutlierResult.ConnectSuccessFinal]: 200,
  [OutlierResult.ConnectFailed]: 503,
  [OutlierResult.Timeout]: 504,
};

/** `threads`: how many may count. */
export function createOutlierMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer((1 + threads) * LINE * 4);
}

/** One thread's side. */
export class OutlierHostMonitor {
  private readonly cells: Int32Array;
  private readonly own: number;
  private readonly settings: OutlierSettings;
  private readonly runtime: Runtime | null;
  private readonly report: (row: Consecutive) => void;

  constructor(
    memory: SharedArrayBuffer,
    thread: number,
    settings: OutlierSettings,
    runtime: Runtime | null,
    report: (row: Consecutive) => void,
  ) {
    this.cells = new Int32Array(memory);
    this.own = (1 + thread) * LINE;
    this.settings = settings;
    this.runtime = runtime;
    this.report = report;
  }

  /** A response, or what stands for one. */
  putResponse(status: number): void {
    const { cells, own } = this;
    cells[own + EXTERNAL_TOTAL]++;
    if (status < 500 || status > 599) {
      cells[own + EXTERNAL_SUCCESS]++;
      if (cells[Consecutive.Errors5xx] !== 0) Atomics.store(cells, Consecutive.Errors5xx, 0);
      if (cells[Consecutive.GatewayFailures] !== 0) Atomics.store(cells, Consecutive.GatewayFailures, 0);
      return;
    }
    if (status >= 502 && status <= 504) this.countFailure(Consecutive.GatewayFailures);
    else if (cells[Consecutive.GatewayFailures] !== 0) Atomics.store(cells, Consecutive.GatewayFailures, 0);
    this.countFailure(Consecutive.Errors5xx);
  }

  /** `status`: the response that goes downstream for it; 0: the usual one. */
  putResult(result: OutlierResult, status = 0): void {
    if (!this.settings.splitLocalOrigin) {
      const stands = status !== 0 ? status : STATUS_OF_RESULT[result];
      if (stands !== 0) this.putResponse(stands);
      return;
    }
    const { cells, own } = this;
    cells[own + LOCAL_TOTAL]++;
    if (result === OutlierResult.ConnectFailed || result === OutlierResult.Timeout) {
      this.countFailure(Consecutive.LocalOriginFailures);
      return;
    }
    cells[own + LOCAL_SUCCESS]++;
    if (cells[Consecutive.LocalOriginFailures] !== 0) Atomics.store(cells, Consecutive.LocalOriginFailures, 0);
  }

  private countFailure(row: Consecutive): void {
    const now = Atomics.add(this.cells, row, 1) + 1;
    if (now === outlierNumber(this.settings, this.runtime, CONSECUTIVE_LIMITS[row])) this.report(row);
  }
}

/** Requests of one origin during an interval. */
export interface RequestVolume {
  readonly total: number;
  readonly success: number;
}

/** Main's side: what all threads counted since it looked last. Counts wrap around. */
export class OutlierCounts {
  private readonly cells: Int32Array;
  private readonly before: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.cells = new Int32Array(memory);
    this.before = new Int32Array(this.cells.length);
  }

  take(): { external: RequestVolume; local: RequestVolume } {
    const external = { total: 0, success: 0 };
    const local = { total: 0, success: 0 };
    for (let line = LINE; line < this.cells.length; line += LINE) {
      external.total += this.since(line + EXTERNAL_TOTAL);
      external.success += this.since(line + EXTERNAL_SUCCESS);
      local.total += this.since(line + LOCAL_TOTAL);
      local.success += this.since(line + LOCAL_SUCCESS);
    }
    return { external, local };
  }

  resetConsecutive(row: Consecutive): void {
    Atomics.store(this.cells, row, 0);
  }

  private since(cell: number): number {
    const now = this.cells[cell];
    const more = (now - this.before[cell]) >>> 0;
    this.before[cell] = now;
    return more;
  }
}
