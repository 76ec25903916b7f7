/**
 * A small application for tests, as a process (arguments as JSON in argv) or a thread (workerData). Uses the native, blocking API.
 *
 * server: echoes every connection, a worker of an application or one of its own. client: streams seeded bytes and checks their echo.
 */
import assert from 'node:assert/strict';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import type { WorkerTicket } from '../../src/stack/vcl/attach.ts';
import * as vcl from '../../src/stack/vcl/native.ts';
import { random, streamByte } from './svm/support.ts';

export interface AppArguments {
  role: 'server' | 'client';
  runtimeDir: string;
  port: number;
  /** Server: another worker of this application. */
  ticket?: WorkerTicket;
  /** Server: how many connections to serve before it leaves; 0: for ever. Client: how many to make. */
  connections: number;
  total: number;
  seed: number;
  edge: boolean;
  spinUs?: number;
}

const EAGAIN = -11;
const args: AppArguments = isMainThread ? JSON.parse(process.argv[2]) : workerData;

try {
  attach();
} catch (error) {
  // The stack may have been killed before this process was up.
  say(`attach ${(error as NodeJS.ErrnoException).code}`);
  process.exit(0);
}
if (args.role === 'server') server();
else {
  for (let i = 0; i < args.connections; i++) {
    const failure = client(i);
    if (failure !== null) say(failure);
  }
}
vcl.appDestroy();
say('done');

function attach(): void {
  if (args.ticket === undefined)
    vcl.appCreate(args.role, { runtimeDir: args.runtimeDir, rxFifoSize: 100_000, txFifoSize: 60_000, spinUs: args.spinUs });
  else vcl.workerRegister(args.ticket);
}

/** An epoll loop over non-blocking sessions. */
function server(): void {
  const { IN, OUT, ET } = vcl.EPOLL;
  const epoll = vcl.epollCreate();
  const listener = vcl.sessionCreate(vcl.TransportProto.tcp, true);
  assert.equal(vcl.sessionBind(listener, { ip: '0.0.0.0', port: args.port }), 0);
  assert.equal(vcl.sessionListen(listener), 0);
  vcl.epollCtl(epoll, vcl.EPOLL_CTL.ADD, listener, IN);
  say('listening');
  const echoes = new Map<number, { buffer: Uint8Array; from: number; to: number }>();
  const events: vcl.EpollEvent[] = [];
  const mode = args.edge ? ET : 0;
  let served = 0;
  while (args.connections === 0 || served < args.connections) {
    const n = vcl.epollWait(epoll, events, 16, -1);
    if (vcl.workerIsDetached()) return;
    for (let i = 0; i < n; i++) {
      const sh = events[i].data;
      if (sh === listener) {
        for (let next = vcl.sessionAccept(listener, true); next >= 0; next = vcl.sessionAccept(listener, true)) {
          echoes.set(next, { buffer: new Uint8Array(50_000), from: 0, to: 0 });
          vcl.epollCtl(epoll, vcl.EPOLL_CTL.ADD, next, args.edge ? IN | OUT | mode : IN);
        }
        continue;
      }
      const echo = echoes.get(sh)!;
      let open = true;
      for (;;) {
        if (echo.from < echo.to) {
          const wrote = vcl.sessionWrite(sh, echo.buffer, echo.from, echo.to - echo.from);
          if (wrote === EAGAIN) break;
          if (wrote < 0) open = false;
          else echo.from += wrote;
          if (!open) break;
          continue;
        }
        const read = vcl.sessionRead(sh, echo.buffer);
        if (read === EAGAIN) break;
        echo.from = 0;
        echo.to = Math.max(read, 0);
        if (read <= 0) {
          open = false;
          break;
        }
      }
      if (!open) {
        vcl.sessionClose(sh);
        echoes.delete(sh);
        served++;
      } else if (!args.edge) vcl.epollCtl(epoll, vcl.EPOLL_CTL.MOD, sh, echo.from < echo.to ? OUT : IN);
    }
  }
}

/** Writes and reads in random pieces with poll; every byte of the echo is checked. */
function client(index: number): string | null {
  const seed = args.seed + index;
  const rnd = random(seed);
  const sh = vcl.sessionCreate();
  const connected = vcl.sessionConnect(sh, { ip: '127.0.0.1', port: args.port });
  if (connected !== 0) return `connect ${connected}`;
  vcl.sessionAttr(sh, 'flags', 0x800);
  const out = new Uint8Array(1 << 18);
  for (let i = 0; i < out.length; i++) out[i] = streamByte(seed, i);
  const back = new Uint8Array(60_000);
  let sent = 0;
  let received = 0;
  const entry = { sh, events: 0, revents: 0 };
  while (received < args.total) {
    const at = sent % out.length;
    const want = Math.min(1 + rnd(rnd(2) === 0 ? 100 : 80_000), out.length - at, args.total - sent);
    let progress = false;
    if (want > 0) {
      const n = vcl.sessionWrite(sh, out, at, want);
      if (n < 0 && n !== EAGAIN) return `write ${n}`;
      if (n > 0) {
        sent += n;
        progress = true;
        if (sent === args.total) vcl.sessionShutdown(sh, vcl.SHUT.WR);
      }
    }
    const n = vcl.sessionRead(sh, back, 0, 1 + rnd(back.length));
    if (n < 0 && n !== EAGAIN) return `read ${n}`;
    if (n === 0) return `short ${received}`;
    for (let i = 0; i < n; i++) if (back[i] !== out[(received + i) % out.length]) return `byte ${received + i} differs`;
    if (n > 0) {
      received += n;
      progress = true;
    }
    if (progress) continue;
    entry.events = vcl.EPOLL.IN | (sent < args.total ? vcl.EPOLL.OUT : 0);
    vcl.poll([entry], -1);
  }
  vcl.sessionAttr(sh, 'flags', 0);
  const end = vcl.sessionRead(sh, back);
  vcl.sessionClose(sh);
  return end === 0 ? null : `end ${end}`;
}

function say(text: string): void {
  if (parentPort !== null) parentPort.postMessage(text);
  else process.stdout.write(`${text}\n`);
}
