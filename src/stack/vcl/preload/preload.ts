/**
 * What `sluice exec` loads into a Node program, its worker threads and its child processes (`--require`): from here on `net` asks the rules
 * who a socket belongs to. Everything above it (http, https, http2, tls, fetch, drivers of databases) follows.
 *
 * Module functions are replaced in place and the ESM view of the builtins is synchronised, so that both kinds of importers see it.
 */
import cluster from 'node:cluster';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import tls from 'node:tls';
import { mayBeStack, type NormalizeArgs, patchConnect } from './connect.ts';
import { ExecThread } from './exec_thread.ts';
import { patchListen } from './listen.ts';
import { readSettings, TICKET_VARIABLE } from './settings.ts';
import { patchTlsSocket } from './stack_socket.ts';

const INSTALLED = Symbol.for('sluice.exec');

const settings = readSettings(process.env);
const globals = globalThis as unknown as Record<symbol, boolean>;
if (settings !== null && !globals[INSTALLED]) {
  globals[INSTALLED] = true;
  install(new ExecThread(settings));
}

function install(thread: ExecThread): void {
  const normalizeArgs = (net as unknown as { _normalizeArgs: NormalizeArgs })._normalizeArgs;
  patchConnect(thread, normalizeArgs);
  patchListen(thread, normalizeArgs);
  patchTlsSocket();
  patchTlsConnect(thread);
  patchFork(thread);
  syncBuiltinESMExports();
}

/** `tls.connect` would make its own kernel handle: it gets a socket that may be either. */
function patchTlsConnect(thread: ExecThread): void {
  const original = tls.connect;
  const connect = (...args: unknown[]): tls.TLSSocket => {
    const { options, callback } = tlsArguments(args);
    const plain = !options.socket && !options.path && options.port !== undefined && mayBeStack(thread, options as never);
    if (!plain) return (original as (...args: unknown[]) => tls.TLSSocket)(...args);
    const socket = new net.Socket();
    const secure = original({ host: 'localhost', ...options, socket } as tls.ConnectionOptions, callback);
    socket.connect({ ...options, host: options.host ?? 'localhost' } as net.TcpNetConnectOpts);
    // Of the socket below, as if there were only one.
    for (const event of ['lookup', 'connectionAttempt', 'connectionAttemptFailed'] as const) {
      socket.on(event, (...values: unknown[]) => secure.emit(event, ...values));
    }
    if (options.timeout) secure.setTimeout(options.timeout);
    return secure;
  };
  (tls as { connect: unknown }).connect = connect;
}

/** As net's: (options, callback), (port, host?, options?, callback). */
function tlsArguments(args: unknown[]): { options: tls.ConnectionOptions; callback?: () => void } {
  const callback = args.findLast((value) => typeof value === 'function') as (() => void) | undefined;
  const objects = args.filter((value) => typeof value === 'object' && value !== null) as tls.ConnectionOptions[];
  const options = Object.assign({}, ...objects) as tls.ConnectionOptions;
  if (typeof args[0] === 'number' || typeof args[0] === 'string') options.port = Number(args[0]);
  if (typeof args[1] === 'string') options.host = args[1];
  return { options, ...(callback !== undefined && { callback }) };
}

/** Workers of a cluster are workers of one application of the stack, which shares listeners among them. */
function patchFork(thread: ExecThread): void {
  if (!cluster.isPrimary) return;
  const original = cluster.fork;
  cluster.fork = (env?: object) => {
    const worker = thread.worker();
    return original.call(cluster, worker === null ? env : { ...env, [TICKET_VARIABLE]: JSON.stringify(worker.ticket) });
  };
}
