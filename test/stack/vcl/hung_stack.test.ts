/** A stack that is alive but does not move: requests fail in time, sessions between local applications go on, and so does all afterwards. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { E } from '../../../src/core/sys/libc.ts';
import { attach } from '../../../src/stack/index.ts';
import { VclState } from '../../../src/stack/vcl/session.ts';
import { VclWorker } from '../../../src/stack/vcl/worker.ts';
import { acceptOn, connectTo, listenOn, until } from '../support.ts';

test('a stopped stack', async () => {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'sluice-hung-'));
  const main = new URL('../../../src/stack/main.ts', import.meta.url).pathname;
  const stack = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, '--runtime-dir', runtimeDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(stack.stdout!, 'data');
  const options = { runtimeDir, heartbeatTimeoutMs: 2000 };
  const server = VclWorker.attachBlocking('server', options);
  const client = VclWorker.attachBlocking('client', options);
  const net = await attach({ name: 'net', ...options });
  try {
    const listener = listenOn(server, '127.0.0.1', 70);
    const session = connectTo(client, '127.0.0.1', 70);
    const peer = acceptOn(server, listener);
    assert.equal(client.stackHung, false);
    stack.kill('SIGSTOP');

    // A blocking wait, and the event loop.
    const failed = connectTo(client, '127.0.0.1', 70);
    assert.equal(failed.error, E.TIMEDOUT);
    assert.equal(failed.state, VclState.bound);
    assert.equal(client.stackHung, true);
    const socket = net.connect(70, '127.0.0.1');
    const [error] = await once(socket, 'error');
    assert.equal((error as NodeJS.ErrnoException).code, 'ETIMEDOUT');

    // Bytes do not pass through the stack.
    const text = Buffer.from('still here');
    assert.equal(session.write(text), text.length);
    until(() => peer.readable === text.length, server);
    assert.equal(peer.read(Buffer.alloc(100)), text.length);

    stack.kill('SIGCONT');
    while (client.stackHung) await new Promise((resolve) => setImmediate(resolve));
    const again = connectTo(client, '127.0.0.1', 70);
    assert.equal(again.error, 0);
    for (const each of [session, failed, again]) client.close(each);
    // The connects that nobody waited for any more were ended.
    const lost = acceptOn(server, listener);
    until(() => lost.error === E.CONNRESET || lost.readClosed, server);
  } finally {
    for (const worker of [server, client]) worker.destroy();
    net.close();
    stack.kill('SIGCONT');
    stack.kill('SIGTERM');
    await once(stack, 'close');
    rmSync(runtimeDir, { recursive: true, force: true });
  }
});
