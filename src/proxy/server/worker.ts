/** A worker thread: builds its WorkerRuntime, serves, and does what main says. */
import { parentPort, workerData } from 'node:worker_threads';
import { pluginStatuses } from '../../wasm/plugin/plugin_status.ts';
import { snapshotFromPlain } from '../runtime/snapshot.ts';
import { shrinkMemory } from './thread_memory.ts';
import type { FromWorker, ListenerChange, ToWorker, WorkerInit } from './worker_protocol.ts';
import { WorkerRuntime } from './worker_runtime.ts';

const init = workerData as WorkerInit;
const port = parentPort!;
const say = (message: FromWorker): void => port.postMessage(message);

/** How often a draining worker looks whether its connections are gone, and which idle ones are to go. */
const DRAIN_CHECK_MS = 50;

try {
  const worker = new WorkerRuntime(init, (event) => say({ type: 'host', event }));
  worker.addListeners(init.listeners);
  worker.dispatcher.start();
  worker.services.start();
  port.on('message', (message: ToWorker) => onMessage(worker, message));
  say({ type: 'ready' });
} catch (error) {
  say({ type: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}

function onMessage(worker: WorkerRuntime, message: ToWorker): void {
  switch (message.type) {
    case 'hosts':
      worker.dispatcher.post(() => worker.clusters.applyHosts(message.update));
      break;
    case 'health':
      worker.dispatcher.post(() => worker.clusters.applyHealth(message.update));
      break;
    case 'clusters':
      worker.dispatcher.post(() => {
        for (const change of message.update.set) worker.clusters.setCluster(change);
        for (const name of message.update.remove) worker.clusters.removeCluster(name);
      });
      break;
    case 'routes':
      worker.dispatcher.post(() => worker.routes.update(message.routes));
      break;
    case 'listener':
      worker.dispatcher.post(() => changeListener(worker, message.id, message.change));
      break;
    case 'runtime':
      worker.runtime.snapshot = snapshotFromPlain(message.runtime);
      break;
    case 'secrets':
      worker.dispatcher.post(() => worker.secrets.update(message.secrets));
      break;
    case 'logLevel':
      worker.log.setLevel(message.level, message.component);
      break;
    case 'reopenLogs':
      worker.accessLogs.reopen();
      worker.log.reopen();
      break;
    case 'healthCheck':
      worker.drain.failHealthCheck(message.failed);
      break;
    case 'drain':
      worker.drain.start(message.durationMs, message.strategy);
      watchDrain(worker);
      break;
    case 'stopListeners':
      worker.dispatcher.post(() => worker.stopListeners(message.inboundOnly));
      break;
    case 'moduleChanged':
      worker.dispatcher.post(() => worker.scripts.reload(message.path));
      break;
    case 'ping':
      worker.dispatcher.post(worker.recordBuffers);
      break;
    case 'plugins':
      say({ type: 'plugins', id: message.id, list: pluginStatuses() });
      break;
    case 'connections':
      worker.dispatcher.post(() => say({ type: 'connections', id: message.id, ...worker.connections(message.most) }));
      break;
    case 'socketInterface':
      worker.dispatcher.post(() => worker.sockets.onState(message.name, message.state));
      break;
    case 'overload':
      worker.dispatcher.post(() => worker.onOverload());
      break;
    case 'shrinkHeap':
      worker.dispatcher.post(() => shrinkMemory(worker.dispatcher.slab));
      break;
    case 'exit':
      exit(worker);
      break;
  }
}

/** Main has checked it: what goes wrong here is the machine's fault, and main is told. */
function changeListener(worker: WorkerRuntime, id: number, change: ListenerChange): void {
  let error: string | null = null;
  let drainingChains = 0;
  try {
    drainingChains = worker.changeListener(change, () => say({ type: 'listenerDrained', id }));
  } catch (reason) {
    error = reason instanceof Error ? reason.message : String(reason);
  }
  say({ type: 'listenerChanged', id, error, drainingChains });
}

function watchDrain(worker: WorkerRuntime): void {
  const timer = worker.dispatcher.createTimer(() => {
    for (const { connection } of [...worker.handler.openConnections()]) if (worker.drain.drainClose()) connection.drain();
    if (worker.handler.connectionCount > 0) timer.enableTimer(DRAIN_CHECK_MS);
    else say({ type: 'drained' });
  });
  timer.enableTimer(DRAIN_CHECK_MS);
}

/** Connections close on the dispatcher, then the thread's handles, then the thread ends by itself. */
function exit(worker: WorkerRuntime): void {
  worker.dispatcher.post(() => {
    worker.handler.close();
    worker.scripts.close();
    worker.clusters.close();
    // One more turn lets the kernel take the last bytes and closes.
    worker.dispatcher.post(() => {
      setImmediate(() => {
        worker.accessLogs.close();
        worker.sockets.close();
        worker.dispatcher.stop();
        port.close();
      });
    });
  });
}
