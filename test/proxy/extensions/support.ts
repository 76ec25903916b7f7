/** A factory context for tests of listener and network filters. */
import { LineBuffer } from '../../../src/core/buffer/line_buffer.ts';
import type { Dispatcher } from '../../../src/core/event/dispatcher.ts';
import { Store } from '../../../src/core/stats/store.ts';
import type { AccessLogFile } from '../../../src/proxy/access_log/access_log.ts';
import type { SocketInterface } from '../../../src/proxy/network/io_handle.ts';
import type { RuntimeSnapshot } from '../../../src/proxy/runtime/runtime.ts';
import type { FactoryContext, Logger } from '../../../src/proxy/server/factory_context.ts';
import type { ClusterManager, ThreadLocalCluster } from '../../../src/proxy/upstream/upstream.ts';

export { FakeDispatcher } from '../../support/fake_dispatcher.ts';

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
