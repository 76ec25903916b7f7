/** A stack that is alive and does not move: what needs it fails in time and is counted, what does not goes on, and all is well afterwards. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAtEnd, httpRequest, startProxy } from '../../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from '../support/config.ts';
import { StackProcess } from '../support/stack_process.ts';
import { onVcl, vclExtension } from '../support/vcl.ts';

const SERVER = fileURLToPath(new URL('../support/vcl_server.ts', import.meta.url));
const UPSTREAM_PORT = 7002;

test('a stopped stack', { timeout: 120_000 }, async () => {
  const stack = await new StackProcess().start();
  const args = ['--disable-warning=ExperimentalWarning', SERVER, stack.runtimeDir, String(UPSTREAM_PORT)];
  const upstream = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  closeAtEnd(() => upstream.kill('SIGKILL'));
  await once(upstream.stdout!, 'data');
  const proxy = await startProxy({
    config: bootstrap(
      [listener('in', [http('in', [route('/fresh', 'fresh'), route('/', 'pooled')])])],
      [cluster('pooled', [UPSTREAM_PORT], onVcl), cluster('fresh', [UPSTREAM_PORT], { ...onVcl, connect_timeout: '1s' })],
      vclExtension({ runtime_dir: stack.runtimeDir }),
    ),
  });
  const ask = async (path: string): Promise<number> => (await httpRequest(proxy.port('in'), path)).status;
  try {
    assert.equal(await ask('/'), 200);
    process.kill(stack.pid, 'SIGSTOP');
    // The pooled connection is cut through: its bytes do not pass the stack.
    assert.equal(await ask('/'), 200);
    // A new connection needs the stack.
    assert.equal(await ask('/fresh'), 503);
    assert.equal(await proxy.stat('cluster.fresh.upstream_cx_connect_timeout'), 1);
    await proxy.untilStat('vcl.stack_stalled', (n) => n === 1);
    process.kill(stack.pid, 'SIGCONT');
    await proxy.untilStat('vcl.stack_stalled', (n) => n === 0);
    assert.equal(await ask('/fresh'), 200);
    assert.equal(await ask('/'), 200);
  } finally {
    process.kill(stack.pid, 'SIGCONT');
    await proxy.stop();
    upstream.kill('SIGKILL');
    await stack.close();
  }
});
