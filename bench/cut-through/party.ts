/** One party of a measurement, as a thread (workerData) or a process (argv): says 'ready' and its results as JSON lines or messages. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { isMainThread, type MessagePort, parentPort, workerData } from 'node:worker_threads';
import * as vcl from '../../src/stack/vcl/native.ts';
import { netOf } from '../../src/stack/vcl/net.ts';

export interface PartyArguments {
  role: 'receive' | 'send' | 'pong' | 'ping' | 'accept' | 'dial' | 'hold' | 'idle';
  means: 'vcl' | 'net' | 'tcp' | 'unix' | 'port';
  runtimeDir: string;
  /** Port of the stack or of the kernel, or a path. */
  at: number | string;
  bytes: number;
  seconds: number;
  spinUs: number;
  count: number;
  fifo: number;
  channel?: MessagePort;
}

const args: PartyArguments = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const address = { ip: '127.0.0.1', port: Number(args.at) };
const options = { runtimeDir: args.runtimeDir, rxFifoSize: args.fifo, txFifoSize: args.fifo, spinUs: args.spinUs };

const ROLES: Record<PartyArguments['means'], Partial<Record<PartyArguments['role'], () => void | Promise<void>>>> = {
  vcl: {
    receive: vclReceive,
    send: vclSend,
    pong: vclPong,
    ping: vclPing,
    accept: vclAccept,
    dial: vclDial,
    hold: vclHold,
    idle: vclIdle,
  },
  net: { receive: netReceive, send: netSend, pong: netPong, ping: netPing, accept: netAccept, dial: netDial },
  tcp: { receive: netReceive, send: netSend, pong: netPong, ping: netPing, accept: netAccept, dial: netDial },
  unix: { receive: netReceive, send: netSend, pong: netPong, ping: netPing, accept: netAccept, dial: netDial },
  port: { receive: portReceive, send: portSend, pong: portPong, ping: portPing },
};
await ROLES[args.means][args.role]!();

function say(value: unknown): void {
  if (parentPort !== null) parentPort.postMessage(value);
  else process.stdout.write(`${JSON.stringify(value)}\n`);
}

// --- native VCL ---

function vclListen(): number {
  vcl.appCreate(args.role, options);
  const listener = vcl.sessionCreate();
  vcl.sessionBind(listener, address);
  if (vcl.sessionListen(listener, 4096) !== 0) throw new Error('listen failed');
  say({ ready: true });
  return listener;
}

function vclConnect(): number {
  vcl.appCreate(args.role, options);
  const session = vcl.sessionCreate();
  if (vcl.sessionConnect(session, address) !== 0) throw new Error('connect failed');
  return session;
}

function vclReceive(): void {
  const session = vcl.sessionAccept(vclListen());
  const target = new Uint8Array(Math.max(args.bytes, 65536));
  let received = vcl.sessionRead(session, target);
  const start = performance.now();
  received = 0;
  for (;;) {
    const n = vcl.sessionRead(session, target);
    if (n <= 0) break;
    received += n;
  }
  say({ bytes: received, seconds: (performance.now() - start) / 1000 });
  vcl.appDestroy();
}

function vclSend(): void {
  const session = vclConnect();
  const source = new Uint8Array(args.bytes).fill(7);
  const until = performance.now() + args.seconds * 1000;
  const batch = args.bytes < 4096 ? 256 : 8;
  while (performance.now() < until) for (let i = 0; i < batch; i++) vcl.sessionWrite(session, source);
  vcl.sessionShutdown(session, vcl.SHUT.WR);
  vcl.sessionRead(session, source);
  vcl.appDestroy();
  say({ done: true });
}

function vclPong(): void {
  const session = vcl.sessionAccept(vclListen());
  const buffer = new Uint8Array(args.bytes);
  while (vcl.sessionRead(session, buffer) > 0) vcl.sessionWrite(session, buffer);
  vcl.appDestroy();
}

function vclPing(): void {
  const session = vclConnect();
  const buffer = new Uint8Array(args.bytes);
  const once = (): void => {
    vcl.sessionWrite(session, buffer);
    vcl.sessionRead(session, buffer);
  };
  for (let i = 0; i < 2000; i++) once();
  const start = performance.now();
  let trips = 0;
  while (performance.now() - start < args.seconds * 1000) {
    for (let i = 0; i < 20; i++) once();
    trips += 20;
  }
  say({ trips, seconds: (performance.now() - start) / 1000 });
  vcl.appDestroy();
}

/** Accepts and closes until the client has gone for good. */
function vclAccept(): void {
  const listener = vclListen();
  const cpu = process.threadCpuUsage();
  for (let i = 0; i < args.count; i++) {
    const session = vcl.sessionAccept(listener);
    if (session < 0) throw new Error(`accept ${session}`);
    vcl.sessionClose(session);
  }
  const used = process.threadCpuUsage(cpu);
  say({ serverCpuUs: used.user + used.system });
  vcl.appDestroy();
}

/** Keeps a window of connects on their way. */
function vclDial(): void {
  vcl.appCreate(args.role, options);
  const epoll = vcl.epollCreate();
  const events: vcl.EpollEvent[] = [];
  const dial = (): void => {
    const session = vcl.sessionCreate(0, true);
    vcl.sessionConnect(session, address);
    vcl.epollCtl(epoll, vcl.EPOLL_CTL.ADD, session, vcl.EPOLL.OUT);
  };
  const cpu = process.threadCpuUsage();
  const start = performance.now();
  const window = Math.min(64, args.count);
  let started = 0;
  for (; started < window; started++) dial();
  for (let done = 0; done < args.count; ) {
    const n = vcl.epollWait(epoll, events, 64, -1);
    for (let i = 0; i < n; i++) {
      if ((events[i].events & vcl.EPOLL.ERR) !== 0) throw new Error('connect failed');
      vcl.sessionClose(events[i].data);
      done++;
      if (started < args.count) {
        started++;
        dial();
      }
    }
  }
  const used = process.threadCpuUsage(cpu);
  say({ connections: args.count, seconds: (performance.now() - start) / 1000, clientCpuUs: used.user + used.system });
  vcl.appDestroy();
}

/** Accepts `count` sessions and keeps them. */
function vclHold(): void {
  const listener = vclListen();
  for (let i = 0; i < args.count; i++) if (vcl.sessionAccept(listener) < 0) throw new Error('accept failed');
  say({ held: args.count });
  setInterval(() => {}, 1000);
}

/** Opens `count` sessions and keeps them. */
function vclIdle(): void {
  vcl.appCreate(args.role, options);
  say({ ready: true });
  for (let i = 0; i < args.count; i++) {
    if (vcl.sessionConnect(vcl.sessionCreate(), address) !== 0) throw new Error(`connect ${i} failed`);
  }
  say({ open: args.count });
  setInterval(() => {}, 1000);
}

// --- Node streams: VCL's, kernel TCP, unix ---

interface Net {
  listen(handler: (socket: Socket) => void): Promise<{ close(): void }>;
  dial(): Socket;
  leave(): void;
}

function net(): Net {
  if (args.means === 'net') {
    vcl.appCreate(args.role, options);
    const own = netOf(vcl.worker());
    return {
      listen: (handler) =>
        new Promise((resolve) => {
          const server = own.createServer((socket) => handler(socket as unknown as Socket));
          server.listen({ port: address.port, host: address.ip, backlog: 4096 }, () => resolve(server));
        }),
      dial: () => own.connect({ port: address.port, host: address.ip }) as unknown as Socket,
      leave: () => own.close(),
    };
  }
  const where = args.means === 'unix' ? { path: String(args.at) } : { port: address.port, host: address.ip };
  return {
    listen: (handler) =>
      new Promise((resolve) => {
        const server: Server = createServer(handler);
        server.listen({ ...where, backlog: 4096 }, () => resolve(server));
      }),
    dial: () => connect(where).setNoDelay(true),
    leave() {},
  };
}

async function netReceive(): Promise<void> {
  const means = net();
  const server = await means.listen((socket) => {
    let bytes = 0;
    let start = 0;
    socket.on('data', (data) => {
      if (start === 0) start = performance.now();
      else bytes += data.length;
    });
    socket.on('end', () => {
      say({ bytes, seconds: (performance.now() - start) / 1000 });
      socket.end();
      server.close();
      socket.on('close', () => means.leave());
    });
  });
  say({ ready: true });
}

async function netSend(): Promise<void> {
  const means = net();
  const socket = means.dial();
  const source = Buffer.alloc(args.bytes, 7);
  await new Promise((resolve) => socket.once('connect', resolve));
  const until = performance.now() + args.seconds * 1000;
  const batch = args.bytes < 4096 ? 64 : 1;
  const more = (): void => {
    while (performance.now() < until) {
      let room = true;
      for (let i = 0; i < batch; i++) room = socket.write(source);
      if (!room) return void socket.once('drain', more);
    }
    socket.end();
  };
  socket.resume();
  socket.on('close', () => {
    say({ done: true });
    means.leave();
  });
  more();
}

async function netPong(): Promise<void> {
  const means = net();
  const server = await means.listen((socket) => {
    socket.setNoDelay(true);
    socket.on('data', (data) => socket.write(data));
    socket.on('close', () => {
      server.close();
      means.leave();
    });
    socket.on('error', () => {});
  });
  say({ ready: true });
}

async function netPing(): Promise<void> {
  const means = net();
  const socket = means.dial();
  const message = Buffer.alloc(args.bytes, 1);
  await new Promise((resolve) => socket.once('connect', resolve));
  let trips = -500;
  let start = 0;
  socket.on('data', () => {
    if (++trips === 0) start = performance.now();
    if (trips > 0 && trips % 16 === 0 && performance.now() - start > args.seconds * 1000) {
      say({ trips, seconds: (performance.now() - start) / 1000 });
      socket.destroy();
      setImmediate(() => means.leave());
    } else socket.write(message);
  });
  socket.write(message);
}

async function netAccept(): Promise<void> {
  const means = net();
  let accepted = 0;
  const server = await means.listen((socket) => {
    socket.on('error', () => {});
    socket.resume();
    socket.on('close', () => {
      if (++accepted < args.count) return;
      server.close();
      means.leave();
    });
  });
  say({ ready: true });
}

function netDial(): void {
  const means = net();
  const start = performance.now();
  let started = 0;
  let done = 0;
  const dial = (): void => {
    started++;
    const socket = means.dial();
    socket.once('connect', () => socket.end());
    socket.resume();
    socket.once('close', () => {
      if (++done === args.count) {
        say({ connections: done, seconds: (performance.now() - start) / 1000 });
        means.leave();
      } else if (started < args.count) dial();
    });
  };
  for (let i = 0; i < Math.min(64, args.count); i++) dial();
}

// --- MessagePort ---

function portReceive(): void {
  let bytes = 0;
  let start = 0;
  args.channel!.on('message', (data: Uint8Array | null) => {
    if (data === null) {
      say({ bytes, seconds: (performance.now() - start) / 1000 });
      args.channel!.close();
      return;
    }
    if (start === 0) start = performance.now();
    else bytes += data.length;
    // A window, or the queue would grow without bound.
    if (data[0] === 1) args.channel!.postMessage(0);
  });
  say({ ready: true });
}

function portSend(): void {
  const source = new Uint8Array(args.bytes);
  const marked = new Uint8Array(args.bytes).fill(1);
  const until = performance.now() + args.seconds * 1000;
  const window = args.bytes < 4096 ? 256 : 16;
  const more = (): void => {
    if (performance.now() > until) {
      args.channel!.postMessage(null);
      args.channel!.close();
      say({ done: true });
      return;
    }
    for (let i = 1; i < window; i++) args.channel!.postMessage(source);
    args.channel!.postMessage(marked);
  };
  args.channel!.on('message', more);
  more();
  more();
}

function portPong(): void {
  args.channel!.on('message', (data) => args.channel!.postMessage(data));
  args.channel!.on('close', () => {});
  say({ ready: true });
}

function portPing(): void {
  const message = new Uint8Array(args.bytes);
  let trips = -500;
  let start = 0;
  args.channel!.on('message', () => {
    if (++trips === 0) start = performance.now();
    if (trips > 0 && performance.now() - start > args.seconds * 1000) {
      say({ trips, seconds: (performance.now() - start) / 1000 });
      args.channel!.close();
    } else args.channel!.postMessage(message);
  });
  args.channel!.postMessage(message);
}
