/** Doubles for tests of listener and network filters: a dispatcher with a clock that tests move, and a factory context over it. */
import { LineBuffer } from '../../../src/core/buffer/line_buffer.ts';
import { Slab } from '../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import type { DeferredDeletable, Dispatcher, FileEvent, SchedulableCallback, Timer } from '../../../src/core/event/dispatcher.ts';
import { Store } from '../../../src/core/stats/store.ts';
import type { AccessLogFile } from '../../../src/proxy/access_log/access_log.ts';
import type { SocketInterface } from '../../../src/proxy/network/io_handle.ts';
import type { RuntimeSnapshot } from '../../../src/proxy/runtime/runtime.ts';
import type { FactoryContext, Logger } from '../../../src/proxy/server/factory_context.ts';
import type { ClusterManager, ThreadLocalCluster } from '../../../src/proxy/upstream/upstream.ts';

export class FakeDispatcher implements Dispatcher {
  readonly name = 'fake';
  readonly slab = new Slab(1024);
  nowMs = 1000;
  systemTimeMs = 1_700_000_000_000;
  private timers: FakeTimer[] = [];
  private queue: (() => void)[] = [];
  private deleted: DeferredDeletable[] = [];

  monotonicTimeMs(): number {
    return this.nowMs;
  }

  createTimer(callback: () => void): Timer {
    const timer = new FakeTimer(this, callback);
    this.timers.push(timer);
    return timer;
  }

  createSchedulableCallback(callback: () => void): SchedulableCallback {
    const state = { enabled: false };
    const schedule = () => {
      if (state.enabled) return;
      state.enabled = true;
      this.queue.push(() => {
        if (!state.enabled) return;
        state.enabled = false;
        callback();
      });
    };
    return {
      scheduleCallbackCurrentIteration: schedule,
      scheduleCallbackNextIteration: schedule,
      cancel: () => {
        state.enabled = false;
      },
      get enabled() {
        return state.enabled;
      },
    };
  }

  createFileEvent(): FileEvent {
    throw new Error('the fake dispatcher has no files');
  }

  post(callback: () => void): void {
    this.queue.push(callback);
  }

  atEndOfTurn(callback: () => void): void {
    this.queue.push(callback);
  }

  deferredDelete(object: DeferredDeletable): void {
    this.deleted.push(object);
  }

  /** Runs everything that is due now, until nothing is. */
  run(): void {
    while (this.queue.length > 0 || this.deleted.length > 0) {
      for (const callback of this.queue.splice(0)) callback();
      for (const object of this.deleted.splice(0)) object.deleteNow();
    }
  }

  /** Moves the clock, firing timers in order. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const due = this.timers.filter((t) => t.enabled && t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.nowMs = Math.max(this.nowMs, due.at);
      due.fire();
      this.run();
    }
    this.nowMs = end;
    this.run();
  }

  get armedTimers(): number {
    return this.timers.filter((timer) => timer.enabled).length;
  }

  buffer(content: string | Uint8Array = ''): SliceBuffer {
    const buffer = new SliceBuffer(this.slab);
    buffer.append(typeof content === 'string' ? Buffer.from(content, 'latin1') : content);
    return buffer;
  }
}

class FakeTimer implements Timer {
  at = 0;
  enabled = false;
  private readonly dispatcher: FakeDispatcher;
  private readonly callback: () => void;

  constructor(dispatcher: FakeDispatcher, callback: () => void) {
    this.dispatcher = dispatcher;
    this.callback = callback;
  }

  enableTimer(delayMs: number): void {
    this.at = this.dispatcher.nowMs + delayMs;
    this.enabled = true;
  }

  disableTimer(): void {
    this.enabled = false;
  }

  fire(): void {
    this.enabled = false;
    this.callback();
  }
}

export interface TestContext extends FactoryContext {
  readonly scope: Store;
  /** Keys that tests set. */
  readonly runtimeValues: Map<string, string>;
  readonly clusters: Map<string, ThreadLocalCluster>;
  randomValue: number;
  /** Lines of all access log files. */
  readonly logged: string[];
}

/** An access log of `format`, whose lines end up in `logged`. */
export function fileLog(format: string): Record<string, unknown> {
  return {
    name: 'envoy.access_loggers.file',
    typedConfig: {
      '@type': 'envoy.extensions.access_loggers.file.v3.FileAccessLog',
      path: '/test.log',
      logFormat: { textFormatSource: { inlineString: `${format}\n` } },
    },
  };
}

export function testContext(dispatcher: Dispatcher, socketInterface?: SocketInterface): TestContext {
  const runtimeValues = new Map<string, string>();
  const clusters = new Map<string, ThreadLocalCluster>();
  const scope = new Store({});
  const logged: string[] = [];
  const clusterManager: ClusterManager = { get: (name) => clusters.get(name) ?? null, names: () => [...clusters.keys()] };
  return {
    dispatcher,
    scope,
    listenerScope: scope,
    clusterManager,
    runtime: { snapshot: snapshotOf(runtimeValues) },
    accessLogManager: {
      createAccessLog: () => collectLines(logged),
      reopen: () => {},
      flush: () => {},
    },
    localInfo: { nodeId: '', clusterName: '', zone: '', hostname: 'test', address: '127.0.0.1' },
    drainDecision: { drainClose: () => false },
    get socketInterface(): SocketInterface {
      if (socketInterface === undefined) throw new Error('no sockets in this test');
      return socketInterface;
    },
    random(): number {
      return this.randomValue;
    },
    logger: () => SILENT,
    workerIndex: 0,
    onDestroy: () => {},
    runtimeValues,
    clusters,
    logged,
    randomValue: 0,
  };
}

function snapshotOf(values: Map<string, string>): RuntimeSnapshot {
  return {
    get: (key) => values.get(key),
    getInteger: (key, fallback) => (values.has(key) ? Number(values.get(key)) : fallback),
    getDouble: (key, fallback) => (values.has(key) ? Number(values.get(key)) : fallback),
    getBoolean: (key, fallback) => (values.has(key) ? values.get(key) === 'true' : fallback),
    featureEnabled: () => false,
  };
}

const SILENT: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  debugEnabled: false,
  traceEnabled: false,
};

/** A log file whose lines go to `logged`. */
function collectLines(logged: string[]): AccessLogFile {
  const line = new LineBuffer();
  const endLine = (): void => {
    logged.push(line.u8.toString('latin1', 0, line.length));
    line.drain(line.length);
  };
  return { line, endLine, flush: () => {}, reopen: () => {} };
}
