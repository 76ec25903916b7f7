/** The `Host` of one configured use of a module: its metrics, timers and call-outs, all ended by `dispose`. */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Timer } from '../../core/event/dispatcher.ts';
import type { HistogramUnit, Scope } from '../../core/stats/stats.ts';
import { AsyncFailure, type AsyncResponse } from '../http/async_client.ts';
import { HeaderMap } from '../http/header_map.ts';
import { toBytes } from './body_view.ts';
import { headerName, headerValue } from './headers_view.ts';
import {
  CallError,
  type CallHeaders,
  type CallRequest,
  type CallResponse,
  type Counter,
  type Gauge,
  type Histogram,
  type Host,
  type Log,
  type LogFile,
  type SharedData,
} from './host_api.ts';
import { toScriptError } from './script_error.ts';
import type { ScriptHost } from './script_host.ts';

const DEFAULT_CALL_TIMEOUT_MS = 5000;
const STAT_NAME = /[^A-Za-z0-9_.-]+/g;
/** Lines about errors in a second, per use. */
const MAX_ERROR_LINES = 10;

export class ModuleHost<Config> implements Host<Config>, Log {
  readonly name: string;
  readonly config: Config;
  readonly path: string;
  private readonly scripts: ScriptHost;
  private readonly scope: Scope;
  private readonly timers = new Set<Timer>();
  private readonly disposers: (() => void)[] = [];
  private disposed = false;
  private readonly errors: Counter;
  private errorWindowMs = 0;
  private errorLines = 0;

  constructor(scripts: ScriptHost, name: string, path: string, config: Config) {
    this.scripts = scripts;
    this.name = name;
    this.path = path;
    this.config = config;
    this.scope = scripts.scope.scope(`typescript.${name.replace(STAT_NAME, '_')}.`);
    this.errors = this.scope.counter('errors');
  }

  get workerIndex(): number {
    return this.scripts.workerIndex;
  }

  get nowMs(): number {
    return this.scripts.nowMs;
  }

  get shared(): SharedData {
    return this.scripts.shared;
  }

  // Log.

  get log(): Log {
    return this;
  }

  get debugEnabled(): boolean {
    return this.scripts.logger.debugEnabled;
  }

  trace(message: string): void {
    this.scripts.logger.trace(`${this.name}: ${message}`);
  }

  debug(message: string): void {
    this.scripts.logger.debug(`${this.name}: ${message}`);
  }

  info(message: string): void {
    this.scripts.logger.info(`${this.name}: ${message}`);
  }

  warn(message: string): void {
    this.scripts.logger.warn(`${this.name}: ${message}`);
  }

  error(message: string): void {
    this.scripts.logger.error(`${this.name}: ${message}`);
  }

  /** An error of the module's code: counted, and logged with its place. A flood of them is logged in part. */
  reportError(error: unknown, doing: string): void {
    this.errors.inc();
    const now = this.scripts.nowMs;
    if (now - this.errorWindowMs >= 1000) {
      if (this.errorLines > MAX_ERROR_LINES) this.error(`${this.errorLines - MAX_ERROR_LINES} more errors were not logged`);
      this.errorWindowMs = now;
      this.errorLines = 0;
    }
    if (++this.errorLines <= MAX_ERROR_LINES) this.error(`${doing}: ${toScriptError(error, this.path).message}`);
  }

  // Metrics.

  counter(name: string): Counter {
    return this.scope.counter(name.replace(STAT_NAME, '_'));
  }

  gauge(name: string): Gauge {
    return this.scope.gauge(name.replace(STAT_NAME, '_'));
  }

  histogram(name: string, unit: HistogramUnit = 'unspecified'): Histogram {
    return this.scope.histogram(name.replace(STAT_NAME, '_'), unit);
  }

  // Timers.

  every(intervalMs: number, callback: () => void | Promise<void>): () => void {
    const period = Math.max(1, intervalMs);
    return this.startTimer(period, callback, period);
  }

  after(delayMs: number, callback: () => void | Promise<void>): () => void {
    return this.startTimer(Math.max(0, delayMs), callback, 0);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.startTimer(Math.max(0, ms), resolve, 0);
    });
  }

  private startTimer(delayMs: number, callback: () => void | Promise<void>, againMs: number): () => void {
    let stopped = this.disposed;
    const timer = this.scripts.createTimer(() => {
      if (stopped) return;
      if (againMs === 0) this.timers.delete(timer);
      else timer.enableTimer(againMs);
      this.run(callback, 'timer');
    });
    const stop = (): void => {
      stopped = true;
      timer.disableTimer();
      this.timers.delete(timer);
    };
    if (!stopped) {
      this.timers.add(timer);
      timer.enableTimer(delayMs);
    }
    return stop;
  }

  /** Runs code of the module; its errors, also later ones, are reported. */
  run(callback: () => void | Promise<void>, doing: string): void {
    try {
      const result = callback();
      if (result instanceof Promise) result.catch((error: unknown) => this.reportError(error, doing));
    } catch (error) {
      this.reportError(error, doing);
    }
    this.scripts.wakeNode();
  }

  // Call-outs.

  hasCluster(name: string): boolean {
    return this.scripts.calls?.hasCluster(name) ?? false;
  }

  call(cluster: string, request: CallRequest = {}): Promise<CallResponse> {
    return this.startCall(cluster, request, null);
  }

  logFile(path: string): LogFile {
    const { accessLogs } = this.scripts;
    if (accessLogs === null) throw new Error('logFile is there on workers only: use node:fs');
    const file = accessLogs.createAccessLog(path);
    return {
      write(text) {
        // A line takes one character per byte.
        file.line.text(Buffer.from(text, 'utf8').toString('latin1'));
        file.endLine();
      },
    };
  }

  /** `track` gets the call-out while it is under way, and null when it is over. */
  startCall(
    cluster: string,
    request: CallRequest,
    track: ((call: { cancel(): void } | null) => void) | null,
  ): Promise<CallResponse> {
    const { calls } = this.scripts;
    if (calls === null) {
      return Promise.reject(
        new CallError('no_cluster', 'there are no clusters on the main thread: fetch, or a service per worker'),
      );
    }
    if (!calls.hasCluster(cluster)) return Promise.reject(new CallError('no_cluster', `there is no cluster '${cluster}'`));
    const slab = calls.dispatcher.slab;
    const headers = requestHead(new HeaderMap(slab), cluster, request);
    let body: SliceBuffer | null = null;
    if (request.body !== undefined) {
      body = new SliceBuffer(slab);
      body.append(toBytes(request.body));
    }
    return new Promise((resolve, reject) => {
      // Whoever waits for the promise runs from Node's queue, outside of the dispatcher's turn.
      const call = calls.send(
        cluster,
        headers,
        body,
        {
          onSuccess: (response) => {
            track?.(null);
            resolve(new ReceivedResponse(response));
            this.scripts.wakeNode();
          },
          onFailure: (reason) => {
            track?.(null);
            reject(failureOf(reason, cluster));
            this.scripts.wakeNode();
          },
        },
        {
          timeoutMs: request.timeoutMs ?? DEFAULT_CALL_TIMEOUT_MS,
          maxResponseBytes: request.maxResponseBytes,
          sendXff: false,
        },
      );
      if (call !== null) track?.(call);
    });
  }

  // The end.

  onDispose(callback: () => void): void {
    this.disposers.push(callback);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const timer of this.timers) timer.disableTimer();
    this.timers.clear();
    for (const callback of this.disposers) this.run(callback, 'onDispose');
  }
}

function failureOf(reason: AsyncFailure, cluster: string): CallError {
  return reason === AsyncFailure.ResponseTooLarge
    ? new CallError('response_too_large', `the response of cluster '${cluster}' is longer than allowed`)
    : new CallError('reset', `cluster '${cluster}' cut the response off`);
}

function requestHead(headers: HeaderMap, cluster: string, request: CallRequest): HeaderMap {
  headers.add(':method', headerValue(request.method ?? (request.body === undefined ? 'GET' : 'POST')));
  headers.add(':path', headerValue(request.path ?? '/'));
  headers.add(':authority', headerValue(request.authority ?? cluster));
  for (const [name, value] of Object.entries(request.headers ?? {})) headers.set(headerName(name), headerValue(value));
  return headers;
}

/** A copy: the response's memory goes back when the call-out ends. */
class ReceivedResponse implements CallResponse {
  readonly status: number;
  readonly headers: CallHeaders;
  readonly localDetails: string;
  private readonly body: Uint8Array<ArrayBuffer>;

  constructor(response: AsyncResponse) {
    this.status = Number(response.headers.get(':status') ?? 0);
    this.headers = new CopiedHeaders([...response.headers.entries()]);
    this.localDetails = response.localReplyDetails;
    this.body = response.body.toBytes() as Uint8Array<ArrayBuffer>;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.body;
  }

  text(): string {
    return Buffer.from(this.body.buffer, 0, this.body.length).toString('utf8');
  }

  json(): unknown {
    return JSON.parse(this.text());
  }
}

class CopiedHeaders implements CallHeaders {
  private readonly list: readonly [string, string][];

  constructor(list: readonly [string, string][]) {
    this.list = list;
  }

  get(name: string): string | undefined {
    const all = this.getAll(name);
    return all.length === 0 ? undefined : all.join(',');
  }

  getAll(name: string): string[] {
    const lower = headerName(name);
    return this.list.filter(([key]) => key === lower).map(([, value]) => value);
  }

  has(name: string): boolean {
    return this.getAll(name).length > 0;
  }

  entries(): IterableIterator<[string, string]> {
    return this.list.map(([name, value]): [string, string] => [name, value]).values();
  }

  toObject(): Record<string, string> {
    const object: Record<string, string> = {};
    for (const [name, value] of this.list) object[name] = name in object ? `${object[name]},${value}` : value;
    return object;
  }
}
