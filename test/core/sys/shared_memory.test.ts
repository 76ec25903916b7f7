import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { clearEventfd, createEventfd, pollDescriptors, ringEventfd } from '../../../src/core/sys/eventfd.ts';
import { libc, SysError } from '../../../src/core/sys/libc.ts';
import { createSealedMemfd, SharedMemory, sealedSize } from '../../../src/core/sys/memfd.ts';
import {
  acceptSeqpacket,
  closeDescriptor,
  connectSeqpacket,
  listenSeqpacket,
  peerPid,
  receivePacket,
  sendPacket,
} from '../../../src/core/sys/unix_socket.ts';
import { UvPoll } from '../../../src/core/sys/uv_poll.ts';

test('a sealed memfd has its size, cannot shrink, and two mappings share bytes', () => {
  const fd = createSealedMemfd('test', 65536);
  assert.equal(sealedSize(fd), 65536);
  assert.equal(libc.ftruncate(fd, 4096n), -1);
  const a = SharedMemory.map(fd, 65536);
  const b = SharedMemory.map(fd, 65536);
  a.memory.i32[5] = 77;
  assert.equal(Atomics.load(b.memory.i32, 5), 77);
  a.retire();
  assert.equal(a.memory.i32[5], 0);
  a.memory.i32[5] = 1;
  assert.equal(b.memory.i32[5], 77);
  b.punch(0, 4096);
  assert.equal(b.memory.i32[5], 0);
  b.retire();
  closeDescriptor(fd);
});

test('a descriptor without seals is refused', () => {
  const eventfd = createEventfd();
  assert.equal(typeof sealedSize(eventfd), 'string');
  closeDescriptor(eventfd);
});

test('eventfd rings, polls and clears', () => {
  const fd = createEventfd();
  assert.equal(pollDescriptors([fd], 0), 0);
  assert.equal(clearEventfd(fd), false);
  ringEventfd(fd);
  ringEventfd(fd);
  assert.equal(pollDescriptors([fd], -1), 1);
  assert.equal(clearEventfd(fd), true);
  assert.equal(clearEventfd(fd), false);
  closeDescriptor(fd);
});

test('packets and descriptors cross a seqpacket socket', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-sys-'));
  const listener = listenSeqpacket(join(dir, 's'));
  const client = connectSeqpacket(join(dir, 's'));
  const server = acceptSeqpacket(listener);
  assert.ok(server >= 0);
  assert.equal(acceptSeqpacket(listener), -1);
  assert.equal(peerPid(server), process.pid);
  assert.equal(receivePacket(server).kind, 'again');
  const memfd = createSealedMemfd('passed', 4096);
  const mapping = SharedMemory.map(memfd, 4096);
  mapping.memory.i32[0] = 4711;
  assert.equal(sendPacket(client, Buffer.from('one'), [memfd, memfd]), null);
  assert.equal(sendPacket(client, Buffer.from('two')), null);
  const first = receivePacket(server);
  assert.ok(first.kind === 'packet');
  assert.equal(first.data.toString(), 'one');
  assert.equal(first.fds.length, 2);
  const again = SharedMemory.map(first.fds[1], 4096);
  assert.equal(again.memory.i32[0], 4711);
  const second = receivePacket(server);
  assert.ok(second.kind === 'packet');
  assert.equal(second.data.toString(), 'two');
  assert.deepEqual(second.fds, []);
  closeDescriptor(client);
  assert.equal(receivePacket(server).kind, 'closed');
  for (const fd of [...first.fds, server, listener, memfd]) closeDescriptor(fd);
  assert.throws(
    () => connectSeqpacket(join(dir, 'nobody')),
    (error: unknown) => error instanceof SysError && error.code === 'ENOENT',
  );
  rmSync(dir, { recursive: true });
});

test('uv_poll wakes the loop, and a thread that leaves one open exits in peace', async () => {
  const fd = createEventfd();
  await new Promise<void>((resolve) => {
    const poll = new UvPoll(fd, () => {
      clearEventfd(fd);
      poll.close();
      resolve();
    });
    setImmediate(() => ringEventfd(fd));
  });
  const worker = new Worker(new URL('./uv_poll_worker.ts', import.meta.url));
  const code = await new Promise((resolve) => worker.on('exit', resolve));
  assert.equal(code, 7);
  closeDescriptor(fd);
});
