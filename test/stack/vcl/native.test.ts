import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';
import type { AppArguments } from '../app.ts';

let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack();
});

after(async () => {
  vcl.appDestroy();
  await stack.close();
});

interface App {
  said: string[];
  next(text: string): Promise<void>;
  ended: Promise<unknown>;
}

function launch(kind: 'thread' | 'process', args: Partial<AppArguments>): App {
  const full = { runtimeDir: stack.runtimeDir, connections: 1, total: 3_000_000, seed: 1, edge: false, port: 80, ...args };
  const said: string[] = [];
  const waiting: { text: string; resolve(): void }[] = [];
  const hear = (text: string): void => {
    said.push(text);
    for (const entry of waiting.splice(0))
      if (entry.text === text) entry.resolve();
      else waiting.push(entry);
  };
  const url = new URL('../app.ts', import.meta.url);
  let ended: Promise<unknown>;
  if (kind === 'thread') {
    const worker = new Worker(url, { workerData: full });
    worker.on('message', hear);
    ended = once(worker, 'exit');
  } else {
    const child: ChildProcess = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', url.pathname, JSON.stringify(full)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    createInterface(child.stdout!).on('line', hear);
    ended = once(child, 'close');
  }
  return {
    said,
    ended,
    next: (text) => (said.includes(text) ? Promise.resolve() : new Promise((resolve) => waiting.push({ text, resolve }))),
  };
}

for (const [serverKind, clientKind, edge] of [
  ['thread', 'thread', false],
  ['thread', 'process', true],
  ['process', 'thread', false],
] as const) {
  test(`echo: server in a ${serverKind}, client in a ${clientKind}, ${edge ? 'edge' : 'level'} triggered`, async () => {
    const server = launch(serverKind, { role: 'server', connections: 6, edge });
    await server.next('listening');
    const clients = [1, 2].map((seed) => launch(clientKind, { role: 'client', connections: 3, seed: seed * 100 }));
    for (const client of clients) {
      await client.ended;
      assert.deepEqual(client.said, ['done']);
    }
    await server.ended;
    assert.deepEqual(server.said, ['listening', 'done']);
    const left = JSON.parse((await stack.command('show session', { json: true })).text);
    assert.equal(left.sessions, 0);
  });
}

test('a spinning client and server', async () => {
  const server = launch('thread', { role: 'server', connections: 1, spinUs: 50 });
  await server.next('listening');
  const client = launch('thread', { role: 'client', total: 300_000, spinUs: 50 });
  await client.ended;
  assert.deepEqual(client.said, ['done']);
  await server.ended;
});

test('blocking calls, zero-copy, attributes, select, in one thread', () => {
  vcl.appCreate('native', { runtimeDir: stack.runtimeDir, rxFifoSize: 50_000, txFifoSize: 40_000 });
  assert.throws(() => vcl.appCreate('again', { runtimeDir: stack.runtimeDir }), /attached already/);
  const listener = vcl.sessionCreate();
  assert.equal(vcl.sessionBind(listener, { ip: '::', port: 0 }), 0);
  assert.equal(vcl.sessionListen(listener), 0);
  assert.equal(vcl.sessionAttr(listener, 'listen'), 1);
  const { port } = vcl.sessionLocalAddress(listener)!;
  const a = vcl.sessionCreate();
  assert.equal(vcl.sessionConnect(a, { ip: '127.0.0.1', port }), 0);
  const b = vcl.sessionAccept(listener);
  assert.ok(b >= 0);
  assert.deepEqual(vcl.sessionPeerAddress(b), vcl.sessionLocalAddress(a));
  assert.equal(vcl.sessionAttr(b, 'rxFifoLen'), 50_000);
  assert.equal(vcl.sessionAttr(a, 'txFifoLen'), 50_000);
  assert.equal(vcl.sessionAttr(b, 'txFifoLen'), 40_000);
  assert.equal(vcl.sessionAttr(b, 'rxFifoLen', 60_000), 0);
  vcl.sessionAttr(a, 'flags', 0x800);
  assert.equal(vcl.sessionWrite(a, new Uint8Array(70_000)), 60_000);
  vcl.sessionAttr(a, 'flags', 0);
  assert.equal(vcl.sessionRead(b, new Uint8Array(60_000)), 60_000);
  assert.equal(vcl.sessionAttr(a, 'keepalive', 1), 0);
  assert.equal(vcl.sessionAttr(a, 'keepalive'), 1);
  assert.equal(vcl.sessionAttr(a, 'nread', 1), -95);

  const views: Uint8Array[] = [];
  assert.equal(vcl.sessionWriteSegments(a, views, 10_000), 10_000);
  let at = 0;
  for (const view of views) for (let i = 0; i < view.length; i++) view[i] = at++;
  vcl.sessionWriteCommit(a, 10_000);
  assert.equal(vcl.sessionAttr(a, 'nwriteq'), 10_000);
  const seen: Uint8Array[] = [];
  assert.equal(vcl.sessionReadSegments(b, seen), 10_000);
  assert.ok(Buffer.concat(seen).every((byte, i) => byte === (i & 255)));
  vcl.sessionFreeSegments(b, 9_990);
  const ten = Buffer.alloc(10);
  assert.equal(vcl.sessionPeek(b, ten), 10);
  assert.equal(vcl.sessionRead(b, ten), 10);
  assert.deepEqual(
    [...ten],
    [6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map((i) => (9_984 + i) & 255),
  );

  const read = new Set([b, listener]);
  const write = new Set([a, b]);
  assert.equal(vcl.select(read, write, new Set(), 0), 2);
  assert.deepEqual([[...read], [...write]], [[], [a, b]]);
  assert.equal(vcl.select(new Set([b]), new Set(), new Set(), 5), 0);

  const epoll = vcl.epollCreate();
  const events: vcl.EpollEvent[] = [];
  const { IN, OUT, ET, ONESHOT, HUP, RDHUP } = vcl.EPOLL;
  assert.equal(vcl.epollCtl(epoll, vcl.EPOLL_CTL.ADD, b, IN | ET, 42), 0);
  assert.equal(vcl.epollCtl(epoll, vcl.EPOLL_CTL.ADD, b, IN), -17);
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 0);
  vcl.sessionWrite(a, Buffer.from('x'));
  assert.equal(vcl.epollWait(epoll, events, 4, 1000), 1);
  assert.deepEqual(events[0], { events: IN, data: 42 });
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 0, 'edge: said once');
  vcl.epollCtl(epoll, vcl.EPOLL_CTL.MOD, b, IN | ONESHOT, 43);
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 1);
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 0, 'one shot');
  vcl.epollCtl(epoll, vcl.EPOLL_CTL.MOD, b, IN | OUT, 44);
  for (let i = 0; i < 3; i++) assert.equal(vcl.epollWait(epoll, events, 4, 0), 1, 'level: said again');
  assert.deepEqual(events[0], { events: IN | OUT, data: 44 });
  vcl.sessionClose(a);
  vcl.epollCtl(epoll, vcl.EPOLL_CTL.MOD, b, RDHUP);
  assert.equal(vcl.epollWait(epoll, events, 4, 1000), 1);
  assert.equal(events[0].events, RDHUP | HUP);
  assert.equal(vcl.sessionRead(b, ten), 1);
  assert.equal(vcl.sessionRead(b, ten), 0);
  vcl.sessionClose(b);
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 0);
  assert.equal(vcl.epollClose(epoll), 0);
  assert.equal(vcl.sessionRead(b, ten), -9);
  vcl.appDestroy();
});

test('where a redirected connection was going', async () => {
  vcl.appCreate('taker', { runtimeDir: stack.runtimeDir });
  const listener = vcl.sessionCreate();
  vcl.sessionBind(listener, { ip: '0.0.0.0', port: 8443 });
  assert.equal(vcl.sessionListen(listener), 0);
  const apps = JSON.parse((await stack.command('show app', { json: true })).text) as { name: string; index: number }[];
  const { index } = apps.find((app) => app.name === 'taker')!;
  assert.ok((await stack.command(`session rule add proto tcp 0.0.0.0/0 0 10.9.9.9/32 443 action ${index}`)).ok);
  const going = vcl.sessionCreate();
  assert.equal(vcl.sessionConnect(going, { ip: '10.9.9.9', port: 443 }), 0);
  const taken = vcl.sessionAccept(listener);
  assert.deepEqual(vcl.sessionOriginalDst(taken), { ip: '10.9.9.9', port: 443 });
  assert.equal(vcl.sessionOriginalDst(going), null);
  const direct = vcl.sessionCreate();
  assert.equal(vcl.sessionConnect(direct, { ip: '127.0.0.1', port: 8443 }), 0);
  assert.equal(vcl.sessionOriginalDst(vcl.sessionAccept(listener)), null);
  assert.equal(vcl.sessionOriginalDst(1000), null);
  vcl.appDestroy();
});

for (const kind of ['thread', 'process'] as const) {
  test(`another ${kind} becomes a worker of the application`, async () => {
    vcl.appCreate('many', { runtimeDir: stack.runtimeDir });
    const other = launch(kind, { role: 'server', connections: 1, ticket: vcl.workerTicket(), port: 90 });
    await other.next('listening');
    const apps = JSON.parse((await stack.command('show app', { json: true })).text) as { name: string; workers: number }[];
    assert.equal(apps.find((app) => app.name === 'many')!.workers, 2);
    const client = launch('thread', { role: 'client', port: 90 });
    await client.ended;
    assert.deepEqual(client.said, ['done']);
    await other.ended;
    vcl.appDestroy();
  });
}
