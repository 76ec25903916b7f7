/**
 * The thread of an isolated VM: the whole host with one plugin, whose streams are copies of what the dispatcher's thread sends. It has no
 * descriptors of its own and may be ended at any moment.
 */
import { workerData } from 'node:worker_threads';
import { RootContext } from '../host/root_context.ts';
import { Wasm } from '../host/wasm.ts';
import { compileCode } from '../vm/compiled_code.ts';
import { V8Vm } from '../vm/v8/v8_vm.ts';
import { init, say, words } from './channel.ts';
import { CONNECTION_CALLS, type ModuleInit, type ToVm } from './protocol.ts';
import { RemoteEnvironment } from './remote_environment.ts';
import { RemoteConnection, RemoteHttpStream, type RemoteStream } from './remote_stream.ts';

const environment = new RemoteEnvironment();
const streams = new Map<number, RemoteStream>();
const { port } = init;
const module = workerData as ModuleInit;

function start(): RootContext | null {
  try {
    const wasm = new Wasm(new V8Vm(compileCode(module.code, module.maxMemoryPages)), environment, module.options);
    wasm.watch = words;
    wasm.addFailCallback(() => say({ type: 'failed', state: wasm.failState, message: wasm.failMessage }));
    wasm.start();
    const root = new RootContext(wasm, module.plugin);
    root.start();
    const callbacks = Object.entries(wasm.on).flatMap(([name, fn]) => (fn === null ? [] : [name]));
    say({ type: 'ready', callbacks, abiVersion: wasm.abiVersion });
    return root;
  } catch (error) {
    const state = (error as { failState?: string }).failState ?? 'UnableToInitializeCode';
    say({ type: 'failed', state, message: error instanceof Error ? error.message : String(error) });
    return null;
  }
}

const root = start();
if (root !== null) port.on('message', (message: ToVm) => receive(root, message));

function receive(plugin: RootContext, message: ToVm): void {
  switch (message.type) {
    case 'call': {
      let stream = streams.get(message.stream);
      if (stream === undefined) {
        const kind = CONNECTION_CALLS.has(message.kind) ? RemoteConnection : RemoteHttpStream;
        stream = new kind(message.stream, plugin);
        streams.set(message.stream, stream);
      }
      const outcome = stream.call(message);
      if (!plugin.wasm.failed) say({ type: 'outcome', stream: message.stream, kind: message.kind, outcome });
      break;
    }
    case 'end': {
      const stream = streams.get(message.stream);
      streams.delete(message.stream);
      stream?.end(message);
      break;
    }
    case 'httpAnswer':
    case 'grpcEvent':
    case 'queue':
      environment.receive(message);
      break;
    case 'shutdown':
      plugin.shutdown();
      if (plugin.wasm.roots.size === 0) port.close();
      break;
  }
}
