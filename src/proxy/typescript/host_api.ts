/** What a module's code may use of the proxy, whatever kind of extension it is. One host per worker and configured use of a module. */
import type { Headers } from './headers_view.ts';

export interface Counter {
  inc(): void;
  add(amount: number): void;
  /** Over all workers. */
  readonly value: number;
}

export interface Gauge {
  inc(): void;
  dec(): void;
  add(amount: number): void;
  sub(amount: number): void;
  set(value: number): void;
  readonly value: number;
}

export interface Histogram {
  recordValue(value: number): void;
}

export interface Log {
  trace(message: string): void;
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** False: do not make the message. */
  readonly debugEnabled: boolean;
}

/**
 * Values that all workers (and the main thread's services) see, by key. A call is atomic. The memory is bounded: `set`, `add` and
 * `compareAndSet` throw `SharedDataFull` when there is no room.
 */
export interface SharedData {
  /** A copy of the bytes, or undefined. */
  get(key: string): Uint8Array<ArrayBuffer> | undefined;
  getText(key: string): string | undefined;
  set(key: string, value: string | Uint8Array): void;
  /** True when there was one. */
  delete(key: string): boolean;
  /** Adds to a number (0 when absent) and returns the sum. */
  add(key: string, amount: number): number;
  /** The number that `add` and `setNumber` keep under the key; undefined when absent. */
  getNumber(key: string): number | undefined;
  setNumber(key: string, value: number): void;
  /** Sets when the value is still `expected` (undefined: absent). False when it is not. */
  compareAndSet(key: string, expected: string | Uint8Array | undefined, value: string | Uint8Array): boolean;
  /**
   * A token bucket under the key: `capacity` tokens, `perSecond` of them come back each second. Takes `tokens` (default 1) when they
   * are there; false when not.
   */
  takeTokens(key: string, capacity: number, perSecond: number, tokens?: number): boolean;
}

export interface CallRequest {
  /** Default GET, with a body POST. */
  readonly method?: string;
  /** Default `/`. */
  readonly path?: string;
  /** The `host` header; default: the cluster's name. */
  readonly authority?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Default 5,000; 0: none. The answer is a 504 then. */
  readonly timeoutMs?: number;
  /** A longer response body is an error. Default 1 MiB. */
  readonly maxResponseBytes?: number;
}

export interface CallResponse {
  readonly status: number;
  readonly headers: CallHeaders;
  bytes(): Uint8Array<ArrayBuffer>;
  text(): string;
  json(): unknown;
  /**
   * Why the proxy answered instead of the upstream (`no_healthy_upstream`, `response_timeout` ... as in `%RESPONSE_CODE_DETAILS%`).
   * Empty: the upstream answered.
   */
  readonly localDetails: string;
}

export type CallHeaders = Pick<Headers, 'get' | 'getAll' | 'has' | 'entries' | 'toObject'>;

/** A call-out that brought no response: the upstream cut it off, or its body was too long. */
export class CallError extends Error {
  readonly code: 'reset' | 'response_too_large' | 'no_cluster' | 'stream_ended';

  constructor(code: CallError['code'], message: string) {
    super(message);
    this.name = 'CallError';
    this.code = code;
  }
}

/** A file that lines are added to in batches; opened anew on SIGUSR1 and `/reopen_logs`, as access logs are. */
export interface LogFile {
  /** `text` includes its line breaks. */
  write(text: string): void;
}

export interface Host<Config = unknown> {
  /** The name in logs and metrics. */
  readonly name: string;
  readonly config: Config;
  readonly log: Log;
  /** -1 on the main thread. */
  readonly workerIndex: number;
  /** Monotonic time in ms. */
  readonly nowMs: number;
  /** `typescript.<name>.<metric>` in admin and Prometheus. The same name gives the same object. */
  counter(name: string): Counter;
  gauge(name: string): Gauge;
  histogram(name: string, unit?: 'unspecified' | 'bytes' | 'microseconds' | 'milliseconds' | 'percent'): Histogram;
  readonly shared: SharedData;
  /** An HTTP request to a cluster. Rejects with CallError. */
  call(cluster: string, request?: CallRequest): Promise<CallResponse>;
  hasCluster(name: string): boolean;
  /** On workers only. Throws when the file cannot be opened. */
  logFile(path: string): LogFile;
  /** Runs again and again, until the module is replaced or the proxy ends. Returns what stops it. */
  every(intervalMs: number, callback: () => void | Promise<void>): () => void;
  /** Runs once. Returns what stops it. */
  after(delayMs: number, callback: () => void | Promise<void>): () => void;
  /** For async code. */
  sleep(ms: number): Promise<void>;
  /** Runs when this host is let go of: the module was replaced and its last stream has ended, or the proxy ends. */
  onDispose(callback: () => void): void;
}
