/** Where the connection suite runs: a socket interface on this thread's dispatcher, and peers that reach it. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { chooseBackend, createDispatcher, type IoBackend } from '../../src/core/event/create_dispatcher.ts';
import { createStatsMemory, Store } from '../../src/core/stats/store.ts';
import { VclSocketInterface } from '../../src/proxy/extensions/socket_interfaces/vcl/vcl_socket_interface.ts';
import { attach, createHostStack, type EmbeddedHostStack, type VclNet } from '../../src/stack/index.ts';
import { VclWorker } from '../../src/stack/vcl/worker.ts';
import { type Loop, skipReason, startLoop } from './dispatchers.ts';

export interface SocketSetup {
  readonly name: string;
  /** Why it cannot be tested here. */
  readonly skip: string | false;
  readonly noPipes: string | false;
  /** Where the interface under test listens, and how a peer gets there. */
  readonly listenHost: string;
  connect(port: number, allowHalfOpen?: boolean): Socket;
  /** Where servers of peers are. */
  readonly serverHost: string;
  serve(onConnection: (socket: Socket) => void): Promise<{ port: number; close(): Promise<void> }>;
  before(): Promise<void>;
  after(): Promise<void>;
  /** A running dispatcher, stopped after the test. */
  start(t: TestContext): Loop;
}

export function kernelSetup(backend: IoBackend): SocketSetup {
  return {
    name: backend,
    skip: skipReason(backend),
    noPipes: false,
    ...kernelPeer('127.0.0.1', '127.0.0.1'),
    before: async () => {},
    after: async () => {},
    start: (t) => startLoop(t, backend),
  };
}

/** Both ends are applications of one stack. */
export function cutThroughSetup(): SocketSetup {
  let host: VclHost;
  let net: VclNet;
  return {
    name: 'vcl, cut-through',
    skip: false,
    noPipes: 'VCL has no pipes',
    listenHost: '127.0.0.1',
    connect: (port, allowHalfOpen = false) =>
      net.connect({ port, host: '127.0.0.1', allowHalfOpen } as never) as unknown as Socket,
    serverHost: '127.0.0.1',
    async serve(onConnection) {
      const server = net.createServer(onConnection as never);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return { port: server.address()!.port, close: () => new Promise((resolve) => server.close(() => resolve())) };
    },
    async before() {
      host = await VclHost.start(await createHostStack());
      net = await attach({ name: 'peer', runtimeDir: host.stack.runtimeDir });
    },
    async after() {
      net.close();
      await host.close();
    },
    start: (t) => host.startLoop(t),
  };
}

/** The other end is the kernel's TCP, behind a TAP device. Needs a network namespace to itself. */
export function tapSetup(): SocketSetup {
  let host: VclHost;
  return {
    name: 'vcl, TCP over TAP',
    skip: false,
    noPipes: 'VCL has no pipes',
    ...kernelPeer('10.66.0.2', '10.66.0.1'),
    async before() {
      const device = { kind: 'tap', name: 'sluctap', addresses: ['10.66.0.2/24'], hostAddresses: ['10.66.0.1/24'] };
      host = await VclHost.start(await createHostStack({ network: { devices: [device] } }));
    },
    after: () => host.close(),
    start: (t) => host.startLoop(t),
  };
}

function kernelPeer(
  listenHost: string,
  serverHost: string,
): Pick<SocketSetup, 'listenHost' | 'connect' | 'serverHost' | 'serve'> {
  return {
    listenHost,
    connect: (port, allowHalfOpen = false) => connect({ port, host: listenHost, allowHalfOpen }),
    serverHost,
    async serve(onConnection) {
      const server = createServer(onConnection).listen(0, serverHost);
      await once(server, 'listening');
      return {
        port: (server.address() as AddressInfo).port,
        close: () => new Promise((resolve) => server.close(() => resolve())),
      };
    },
  };
}

/** A stack, and an application of it whose further workers are the loops under test. */
class VclHost {
  readonly stack: EmbeddedHostStack;
  private readonly main: VclWorker;

  private constructor(stack: EmbeddedHostStack, main: VclWorker) {
    this.stack = stack;
    this.main = main;
    main.useEventLoop();
  }

  static async start(stack: EmbeddedHostStack): Promise<VclHost> {
    return new VclHost(stack, await VclWorker.attach('proxy', { runtimeDir: stack.runtimeDir }));
  }

  startLoop(t: TestContext): Loop {
    const errors: unknown[] = [];
    const { backend } = chooseBackend();
    const dispatcher = createDispatcher(backend, { name: 'test', onError: (error) => errors.push(error) });
    dispatcher.start();
    const log = { info: () => {}, warn: () => {} };
    const scope = new Store({ memory: createStatsMemory(1), thread: 0 });
    const state = { ticket: this.main.ticket };
    const sockets = new VclSocketInterface({ dispatcher, scope, log, workerIndex: 0 }, state);
    t.after(() => {
      sockets.close();
      dispatcher.stop();
    });
    return { dispatcher, sockets, errors };
  }

  async close(): Promise<void> {
    this.main.destroy();
    await this.stack.close();
  }
}
