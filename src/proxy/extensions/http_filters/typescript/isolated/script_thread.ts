/**
 * The thread of an isolated TypeScript filter: loads the module as a worker does, and runs its class for the streams that the worker tells of. It
 * may be ended at any moment.
 */
import { workerData } from 'node:worker_threads';
import { init, say, words } from '../../../../../wasm/isolated/channel.ts';
import { type ToVm, Word } from '../../../../../wasm/isolated/protocol.ts';
import { RemoteEnvironment } from '../../../../../wasm/isolated/remote_environment.ts';
import { HttpFilterVersion } from '../../../../typescript/http_filter_version.ts';
import { loadModule } from '../../../../typescript/module_loader.ts';
import { SchemaError } from '../../../../typescript/schema.ts';
import { toScriptError } from '../../../../typescript/script_error.ts';
import { ScriptHost } from '../../../../typescript/script_host.ts';
import { SharedDataTable } from '../../../../typescript/shared_data.ts';
import { PHASE_CALLBACKS, type ScriptThreadInit } from './script_init.ts';
import { ThreadHost, threadLogger } from './thread_host.ts';
import { ThreadStream } from './thread_stream.ts';

const settings = workerData as ScriptThreadInit;
const environment = new RemoteEnvironment();
const streams = new Map<number, ThreadStream>();
const { port } = init;

function start(): HttpFilterVersion | null {
  const scripts = new ScriptHost(
    { directory: settings.directory, validateOnly: settings.validateOnly, sharedData: SharedDataTable.allocate(0) },
    {
      scope: environment.scope,
      logger: threadLogger(environment),
      workerIndex: settings.workerIndex,
      dispatcher: null,
      calls: null,
      accessLogs: null,
      makeHost: (host, name, path, config) => new ThreadHost(environment, host, name, path, config),
    },
  );
  try {
    const loaded = loadModule(settings.path);
    const version = new HttpFilterVersion(scripts, settings, loaded);
    scripts.installErrorHandlers();
    const callbacks = (Object.keys(PHASE_CALLBACKS) as (keyof typeof PHASE_CALLBACKS)[])
      .filter((phase) => version.has[phase])
      .map((phase) => PHASE_CALLBACKS[phase]);
    say({ type: 'ready', callbacks, files: [...loaded.files] });
    return version;
  } catch (error) {
    if (error instanceof SchemaError) say({ type: 'failed', state: 'ConfigureFailed', message: `${error.path} ${error.reason}` });
    else say({ type: 'failed', state: 'UnableToInitializeCode', message: toScriptError(error, settings.path).message });
    return null;
  }
}

const version = start();
if (version !== null) {
  port.on('message', (message: ToVm) => {
    Atomics.add(words, Word.Progress, 1);
    receive(version, message);
  });
}

function receive(current: HttpFilterVersion, message: ToVm): void {
  switch (message.type) {
    case 'call': {
      let stream = streams.get(message.stream);
      if (stream === undefined) {
        stream = new ThreadStream(message.stream, current, message.config);
        streams.set(message.stream, stream);
      }
      stream.take(message);
      break;
    }
    case 'end':
      streams.get(message.stream)?.end(message);
      streams.delete(message.stream);
      break;
    case 'httpAnswer':
    case 'grpcEvent':
    case 'queue':
      environment.receive(message);
      break;
    case 'ping':
      break;
    case 'shutdown':
      current.retire();
      port.close();
      break;
  }
}
