/** Urgent data between an application of the host stack and a program of the kernel (MSG_OOB), both ways. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attribute } from '../../../src/stack/vcl/attributes.ts';
import { EPOLL, EPOLL_CTL, type EpollEvent, VclEpoll } from '../../../src/stack/vcl/epoll.ts';
import { type VclSession, VclState } from '../../../src/stack/vcl/session.ts';
import { VclWorker } from '../../../src/stack/vcl/worker.ts';
import { cannotMakeNamespace } from '../link/namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const space = `slt-urgent-${process.pid}`;
const E = { NOTCONN: 107, INVAL: 22, OPNOTSUPP: 95 };

/** Sends to us in three parts, the second urgent, and says what it reads of ours, without and with its urgent byte in line. */
const PEER = `
import select, socket, sys
for inline in (0, 1):
    s = socket.create_connection(('10.77.0.2', 80), timeout=20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, inline)
    s.sendall(b'abc'); s.send(b'XY', socket.MSG_OOB); s.sendall(b'def')
    select.select([], [], [s], 20)
    urgent = b'' if inline else s.recv(1, socket.MSG_OOB)
    got = b''
    while piece := s.recv(1000): got += piece
    print(urgent.decode(), got.decode())
`;

let directory = '';
let stack: HostStack;
let worker: VclWorker;

before(async () => {
  if (reason !== null) return;
  directory = mkdtempSync(join(tmpdir(), 'sluice-urgent-'));
  execFileSync('ip', ['netns', 'add', space]);
  const device = {
    kind: 'tun' as const,
    name: 'slu%d',
    addresses: ['10.77.0.2/24'],
    hostAddresses: ['10.77.0.1/24'],
    netns: space,
  };
  stack = new HostStack({ runtimeDir: directory, network: { devices: [device] } });
  worker = await VclWorker.attach('urgent', { runtimeDir: directory });
});

after(() => {
  if (reason !== null) return;
  worker.destroy();
  stack.close();
  execFileSync('ip', ['netns', 'del', space]);
  rmSync(directory, { recursive: true });
});

async function until(done: () => boolean): Promise<void> {
  for (; !done(); worker.poll()) await new Promise((resolve) => setImmediate(resolve));
}

function read(session: VclSession, length: number): string {
  const buffer = Buffer.alloc(length);
  const n = session.read(buffer);
  return n < 0 ? `errno ${-n}` : buffer.toString('latin1', 0, n);
}

// MUST-30 MUST-32 MUST-33 MUST-62
test('MSG_OOB of the kernel is heard of and in line; ours is where the kernel looks for it', {
  skip,
  timeout: 60_000,
}, async () => {
  const listener = worker.createSession(0);
  listener.local.set('10.77.0.2', 80);
  assert.equal(attribute(listener, 'urgent', 1), -E.NOTCONN);
  worker.listen(listener, 5);
  await until(() => listener.state === VclState.listening);
  const peer = promisify(execFile)('ip', ['netns', 'exec', space, 'python3', '-c', PEER], { timeout: 50_000 });
  for (let round = 0; round < 2; round++) {
    await until(() => listener.acceptQueue.length > 0);
    const session = worker.accept(listener)!;
    const epoll = new VclEpoll(worker);
    const events: EpollEvent[] = [];
    assert.equal(epoll.control(EPOLL_CTL.ADD, session, EPOLL.PRI, 0), 0);
    await until(() => epoll.wait(events, 1, 0) === 1);
    assert.equal(events[0].events, EPOLL.PRI);
    await until(() => session.readable === 8);
    assert.equal(attribute(session, 'urgent'), 5);
    assert.equal(read(session, 4), 'abcX');
    assert.equal(attribute(session, 'urgent'), 1);
    assert.equal(read(session, 100), 'Ydef');
    assert.equal(attribute(session, 'urgent'), 0);
    assert.equal(epoll.wait(events, 1, 0), 0);
    epoll.close();
    assert.equal(attribute(session, 'urgent', 0), -E.INVAL);
    assert.equal(session.write(Buffer.from('one')), 3);
    assert.equal(attribute(session, 'urgent', 2), 0);
    assert.equal(session.write(Buffer.from('TW')), 2);
    assert.equal(session.write(Buffer.from('three')), 5);
    worker.shutdownWrite(session);
    await until(() => session.readClosed);
    worker.close(session);
  }
  assert.equal((await peer).stdout, 'W oneTthree\n oneTWthree\n');
  worker.close(listener);
});

test('between applications of one stack there is no mark to be set', { skip, timeout: 30_000 }, async () => {
  const listener = worker.createSession(0);
  listener.local.set('10.77.0.2', 81);
  worker.listen(listener, 5);
  const session = worker.createSession(0);
  session.remote.set('10.77.0.2', 81);
  await until(() => listener.state === VclState.listening);
  worker.connect(session);
  await until(() => session.state === VclState.ready);
  assert.equal(attribute(session, 'urgent', 1), -E.OPNOTSUPP);
  assert.equal(attribute(session, 'urgent'), 0);
  worker.close(session);
  worker.close(listener);
});
