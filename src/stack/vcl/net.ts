/**
 * The `net`-shaped side of VCL: `const net = await attach({ name: 'app', runtimeDir })`, then `net.createServer`, `net.connect` as usual,
 * and what http, undici and their kind need to use them.
 */
import { Agent, type AgentOptions } from 'node:http';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import type { AppOptions, WorkerTicket } from './attach.ts';
import { Server, type ServerOptions } from './server.ts';
import { type ConnectOptions, Socket, type SocketOptions } from './socket.ts';
import { VclWorker } from './worker.ts';

export type UndiciConnector = (
  options: { hostname: string; port: string; protocol?: string; servername?: string | null },
  callback: (error: Error | null, socket: Duplex | null) => void,
) => void;

export interface VclNet {
  readonly worker: VclWorker;
  /** For `registerWorker` in another thread. */
  readonly ticket: WorkerTicket;
  createServer(options?: ServerOptions | ((socket: Socket) => void), listener?: (socket: Socket) => void): Server;
  connect(options: ConnectOptions | number, host?: string | (() => void), listener?: () => void): Socket;
  createConnection(options: ConnectOptions | number, host?: string | (() => void), listener?: () => void): Socket;
  createSocket(options?: SocketOptions): Socket;
  /** For `http.request({ agent })`. */
  createAgent(options?: AgentOptions): Agent;
  /** For undici: `new Agent({ connect: net.undiciConnector() })`. `tls`: for https origins. */
  undiciConnector(tls?: ConnectionOptions): UndiciConnector;
  /** Makes any server that takes 'connection' events (http, http2, tls) listen on the stack. */
  serve(server: NodeJS.EventEmitter, options?: ServerOptions): Server;
  /** Leaves the stack. */
  close(): void;
}

/** Attaches this thread as an application, in the event loop. */
export async function attach(options: AppOptions & { name: string }): Promise<VclNet> {
  return netOf(await VclWorker.attach(options.name, options));
}

/** Makes this thread a worker of an application of another thread. */
export async function registerWorker(ticket: WorkerTicket): Promise<VclNet> {
  return netOf(await VclWorker.register(ticket));
}

/** The `net`-shaped functions of a worker. */
export function netOf(worker: VclWorker): VclNet {
  worker.useEventLoop();
  const connect: VclNet['connect'] = (options, host, listener) =>
    new Socket(worker, typeof options === 'object' ? options : {}).connect(options, host, listener);
  return {
    worker,
    ticket: worker.ticket,
    createServer: (options, listener) =>
      typeof options === 'function' ? new Server(worker, {}, options) : new Server(worker, options, listener),
    connect,
    createConnection: connect,
    createSocket: (options) => new Socket(worker, options),
    createAgent: (options) => new VclAgent(connect, options),
    undiciConnector: (tls) => undiciConnector(connect, tls),
    serve(server, options) {
      return new Server(worker, { ...options, allowHalfOpen: true }, (socket) => server.emit('connection', socket));
    },
    close: () => worker.destroy(),
  };
}

function undiciConnector(connect: VclNet['connect'], tls: ConnectionOptions = {}): UndiciConnector {
  return ({ hostname, port, protocol, servername }, callback) => {
    const secure = protocol === 'https:';
    const host = hostname.replace(/^\[|\]$/g, '');
    const plain = connect({ host, port: port || (secure ? 443 : 80) });
    const name = servername ?? (isIP(host) === 0 ? host : undefined);
    const socket = secure ? tlsConnect({ ALPNProtocols: ['http/1.1'], servername: name, ...tls, socket: plain }) : plain;
    const failed = (error: Error): void => callback(error, null);
    socket.once('error', failed);
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      socket.removeListener('error', failed);
      callback(null, socket);
    });
  };
}

class VclAgent extends Agent {
  private readonly connect: VclNet['connect'];

  constructor(connect: VclNet['connect'], options?: AgentOptions) {
    super(options);
    this.connect = connect;
  }

  override createConnection(options: object): Duplex {
    return this.connect(options as ConnectOptions);
  }
}

export { Server, type ServerOptions } from './server.ts';
export { type ConnectOptions, Socket, type SocketOptions } from './socket.ts';
