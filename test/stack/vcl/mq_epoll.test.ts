/** The message queues of a thread as a descriptor in a kernel epoll set, level- and edge-triggered. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { EPOLLET, EPOLLIN, Epoll } from '../../../src/core/sys/epoll.ts';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';
import { VclWorker } from '../../../src/stack/vcl/worker.ts';

const WAIT_MS = 20_000;
const EBUSY = -16;
let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack();
});

after(async () => {
  vcl.appDestroy();
  await stack.close();
});

function listenAt(port: number): number {
  const listener = vcl.sessionCreate(vcl.TransportProto.tcp, true);
  assert.equal(vcl.sessionBind(listener, { ip: '127.0.0.1', port }), 0);
  assert.equal(vcl.sessionListen(listener), 0);
  return listener;
}

test('readable while there is something to do, quiet when all was looked at', () => {
  vcl.appCreate('exposed', { runtimeDir: stack.runtimeDir });
  const { IN } = vcl.EPOLL;
  const outer = new Epoll();
  const fd = vcl.mqEpollFd();
  assert.equal(vcl.mqEpollFd(), fd);
  outer.add(fd, EPOLLIN, 7);
  const set = vcl.epollCreate();
  const events: vcl.EpollEvent[] = [];
  /** What is ready once the descriptor says so; looks in vain are allowed. */
  const next = (): number => {
    for (;;) {
      assert.equal(outer.wait(WAIT_MS), 1, 'never readable');
      const n = vcl.epollWait(set, events, 1, 0);
      if (n > 0) return events[0].data;
    }
  };
  const quiet = (): void => {
    for (let i = 0; outer.wait(0) > 0; i++) {
      assert.equal(vcl.epollWait(set, events, 1, 0), 0);
      assert.ok(i < 5, 'readable for ever');
    }
  };
  const listener = listenAt(70);
  vcl.epollCtl(set, vcl.EPOLL_CTL.ADD, listener, IN);
  quiet();
  const client = VclWorker.attachBlocking('client', { runtimeDir: stack.runtimeDir });
  const far = client.createSession(vcl.TransportProto.tcp);
  far.remote.set('127.0.0.1', 70);
  assert.equal(client.connect(far), 0);
  assert.equal(next(), listener);
  const near = vcl.sessionAccept(listener, true);
  assert.ok(near >= 0);
  vcl.epollCtl(set, vcl.EPOLL_CTL.ADD, near, IN);
  quiet();
  while (far.tx === null) client.wait(100);
  const target = new Uint8Array(10);
  // More rounds than a bell hears before it is emptied.
  for (let i = 0; i < 300; i++) {
    assert.equal(far.write(Uint8Array.of(1, 2, 3)), 3);
    assert.equal(next(), near);
    assert.equal(vcl.sessionRead(near, target, 0, 1), 1);
    assert.equal(next(), near, 'level: two bytes are left');
    assert.equal(vcl.sessionRead(near, target), 2);
    if (i % 3 === 0) quiet();
  }
  quiet();
  // What becomes ready by the application's own doing.
  assert.equal(vcl.epollCtl(set, vcl.EPOLL_CTL.MOD, near, vcl.EPOLL.OUT), 0);
  assert.equal(next(), near);
  client.close(far);
  vcl.epollCtl(set, vcl.EPOLL_CTL.MOD, near, IN);
  assert.equal(next(), near);
  assert.equal(vcl.sessionRead(near, target), 0);
  assert.throws(() => vcl.worker().useEventLoop(), /descriptor/);
  client.useEventLoop();
  assert.equal(client.exposeEvents(), EBUSY);
  client.destroy();
  outer.close();
  vcl.appDestroy();
});

for (const edge of [false, true]) {
  test(`no ring is lost against a peer in another thread, ${edge ? 'edge' : 'level'}-triggered`, async () => {
    vcl.appCreate('echo', { runtimeDir: stack.runtimeDir });
    const outer = new Epoll();
    outer.add(vcl.mqEpollFd(), (EPOLLIN | (edge ? EPOLLET : 0)) >>> 0, 1);
    const set = vcl.epollCreate();
    const listener = listenAt(71);
    vcl.epollCtl(set, vcl.EPOLL_CTL.ADD, listener, vcl.EPOLL.IN);
    const peer = new Worker(new URL('./mq_epoll_peer.ts', import.meta.url), {
      workerData: { runtimeDir: stack.runtimeDir, port: 71, trips: 5000 },
    });
    const ended = once(peer, 'message');
    const events: vcl.EpollEvent[] = [];
    const buffer = new Uint8Array(5000);
    let open = true;
    // Another thread starts only in this one's event loop.
    await once(peer, 'online');
    while (open) {
      assert.equal(outer.wait(WAIT_MS), 1, 'a ring was lost');
      // All that there is, as an edge demands; a set that says 0 has nothing.
      for (let n = vcl.epollWait(set, events, 4, 0); n > 0 && open; n = vcl.epollWait(set, events, 4, 0)) {
        for (let i = 0; i < n && open; i++) {
          const sh = events[i].data;
          if (sh === listener) {
            vcl.epollCtl(set, vcl.EPOLL_CTL.ADD, vcl.sessionAccept(listener, true), vcl.EPOLL.IN);
            continue;
          }
          const got = vcl.sessionRead(sh, buffer);
          if (got > 0) assert.equal(vcl.sessionWrite(sh, buffer, 0, got), got);
          else open = got === -11;
        }
      }
    }
    assert.deepEqual(await ended, ['done']);
    outer.close();
    vcl.appDestroy();
  });
}

test('the end of the stack makes it readable', async () => {
  const short = await createHostStack();
  vcl.appCreate('left', { runtimeDir: short.runtimeDir });
  const outer = new Epoll();
  outer.add(vcl.mqEpollFd(), EPOLLIN, 1);
  const set = vcl.epollCreate();
  await short.close();
  const events: vcl.EpollEvent[] = [];
  for (let i = 0; i < 20 && !vcl.workerIsDetached(); i++) {
    assert.equal(outer.wait(WAIT_MS), 1);
    vcl.epollWait(set, events, 1, 0);
  }
  assert.ok(vcl.workerIsDetached());
  outer.close();
  vcl.appDestroy();
});
