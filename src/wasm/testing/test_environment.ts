/** A host's environment without a proxy: logs and call-outs are kept for the test, timers run when it says so. */
import type { Scope } from '../../core/stats/stats.ts';
import { Store } from '../../core/stats/store.ts';
import { WASM_LOG_LEVELS } from '../abi/enums.ts';
import type {
  Callouts,
  ForeignResult,
  GrpcCallbacks,
  GrpcRequest,
  GrpcStream,
  HostEnvironment,
  HostTimer,
  HttpCallCallbacks,
  HttpCallRequest,
} from '../host/environment.ts';
import { PairMap } from '../host/header_map.ts';
import type { PropertyValue } from '../host/property_value.ts';
import { LocalSharedState, type SharedState } from '../shared/shared_state.ts';

export interface LogLine {
  readonly level: (typeof WASM_LOG_LEVELS)[number];
  readonly message: string;
}

type Headers = Iterable<readonly [string, string]>;

/** An HTTP call-out of the module, to be answered by the test. */
export class TestHttpCall {
  readonly request: HttpCallRequest;
  cancelled = false;
  private readonly callbacks: HttpCallCallbacks;
  private readonly environment: TestEnvironment;

  constructor(environment: TestEnvironment, request: HttpCallRequest, callbacks: HttpCallCallbacks) {
    this.environment = environment;
    this.request = request;
    this.callbacks = callbacks;
  }

  /** Header `:status` comes first. */
  respond(status: number, headers: Headers = [], body: Uint8Array | string = '', trailers: Headers | null = null): void {
    this.environment.httpCalls.delete(this);
    if (this.cancelled) return;
    const bytes = typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
    const map = new PairMap([[':status', String(status)], ...headers]);
    this.callbacks.onResponse(map, bytes, trailers === null ? null : new PairMap(trailers));
  }

  fail(): void {
    this.environment.httpCalls.delete(this);
    if (!this.cancelled) this.callbacks.onFailure();
  }
}

/** A gRPC call or stream of the module. */
export class TestGrpcStream implements GrpcStream {
  readonly request: GrpcRequest;
  readonly callbacks: GrpcCallbacks;
  readonly sent: Uint8Array[] = [];
  localClosed = false;
  cancelled = false;

  constructor(request: GrpcRequest, callbacks: GrpcCallbacks) {
    this.request = request;
    this.callbacks = callbacks;
  }

  send(message: Uint8Array, endStream: boolean): void {
    this.sent.push(message);
    this.localClosed ||= endStream;
  }

  close(): void {
    this.localClosed = true;
  }

  reset(): void {
    this.cancelled = true;
  }
}

class TestTimer implements HostTimer {
  readonly callback: () => void;
  /** Infinity: not armed. */
  dueMs = Number.POSITIVE_INFINITY;
  private readonly environment: TestEnvironment;

  constructor(environment: TestEnvironment, callback: () => void) {
    this.environment = environment;
    this.callback = callback;
  }

  enableTimer(delayMs: number): void {
    this.dueMs = this.environment.nowMs + delayMs;
  }

  disableTimer(): void {
    this.dueMs = Number.POSITIVE_INFINITY;
  }
}

export interface TestEnvironmentOptions {
  /** Names that call-outs may be sent to; absent: all. */
  readonly clusters?: readonly string[];
  readonly properties?: Readonly<Record<string, PropertyValue>>;
  readonly logLevel?: (typeof WASM_LOG_LEVELS)[number];
  readonly foreignFunctions?: Readonly<Record<string, (args: Uint8Array) => ForeignResult>>;
}

export class TestEnvironment implements HostEnvironment {
  readonly store = new Store();
  readonly scope: Scope = this.store;
  readonly shared: SharedState;
  readonly callouts: Callouts;
  readonly logs: LogLine[] = [];
  /** Not yet answered. */
  readonly httpCalls = new Set<TestHttpCall>();
  readonly grpcStreams: TestGrpcStream[] = [];
  logLevel: number;
  nowMs = 0;
  readonly properties: Map<string, PropertyValue>;
  private readonly timers: TestTimer[] = [];
  private readonly posted: (() => void)[] = [];
  private readonly options: TestEnvironmentOptions;

  constructor(options: TestEnvironmentOptions = {}) {
    this.options = options;
    this.logLevel = WASM_LOG_LEVELS.indexOf(options.logLevel ?? 'trace');
    this.properties = new Map(Object.entries(options.properties ?? {}));
    this.shared = new LocalSharedState((callback) => this.post(callback));
    this.callouts = {
      hasCluster: (name) => options.clusters === undefined || options.clusters.includes(name),
      httpCall: (request, callbacks) => {
        const call = new TestHttpCall(this, request, callbacks);
        this.httpCalls.add(call);
        return {
          cancel: () => {
            call.cancelled = true;
            this.httpCalls.delete(call);
          },
        };
      },
      grpcStream: (request, callbacks) => {
        const stream = new TestGrpcStream(request, callbacks);
        this.grpcStreams.push(stream);
        return stream;
      },
    };
  }

  log(level: number, message: string): void {
    this.logs.push({ level: WASM_LOG_LEVELS[Math.min(level, 5)], message });
  }

  /** All messages, a line each. */
  get logText(): string {
    return this.logs.map(({ level, message }) => `[${level}] ${message}`).join('\n');
  }

  createTimer(callback: () => void): HostTimer {
    const timer = new TestTimer(this, callback);
    this.timers.push(timer);
    return timer;
  }

  /** Time passes: timers that are due run in order. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const next = this.timers.reduce<TestTimer | null>(
        (first, timer) => (first === null || timer.dueMs < first.dueMs ? timer : first),
        null,
      );
      if (next === null || next.dueMs > end) break;
      this.nowMs = next.dueMs;
      next.disableTimer();
      next.callback();
      this.runPosted();
    }
    this.nowMs = end;
  }

  post(callback: () => void): void {
    this.posted.push(callback);
  }

  /** What was to happen soon (queue notifications) happens. */
  runPosted(): void {
    for (let callback = this.posted.shift(); callback !== undefined; callback = this.posted.shift()) callback();
  }

  systemTimeNs(): bigint {
    return BigInt(Date.now()) * 1_000_000n;
  }

  monotonicNs(): bigint {
    return process.hrtime.bigint();
  }

  property(path: string): PropertyValue {
    return this.properties.get(path);
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return this.options.foreignFunctions?.[name]?.(args);
  }
}
