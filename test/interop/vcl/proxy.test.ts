/** The proxy on the host stack: upstreams, listeners, or both, beside the kernel. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../../support/dispatchers.ts';
import { httpRequest, type ProxyProcess, startProxy } from '../../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from '../support/config.ts';
import { httpUpstream } from '../support/upstreams.ts';
import { onVcl, type StackAndApp, startStack, vclExtension, vclRequest, vclUpstream } from '../support/vcl.ts';

const upload = Buffer.alloc(3_000_001);
for (let i = 0; i < upload.length; i++) upload[i] = (i * 31 + (i >> 11)) & 0xff;
const uploadHash = createHash('sha256').update(upload).digest('hex');

for (const backend of BACKENDS) {
  describe(`the proxy on the host stack, kernel sockets by ${backend}`, { skip: skipReason(backend) }, () => {
    let app: StackAndApp;
    let proxy: ProxyProcess;

    before(async () => {
      app = await startStack();
      const upstream = await vclUpstream(app.net);
      const kernel = await httpUpstream();
      proxy = await startProxy({
        backend,
        concurrency: 2,
        config: bootstrap(
          [
            listener('in', [http('in', [route('/kernel', 'kernel'), route('/nobody', 'nobody'), route('/', 'stack')])]),
            listener('vin', [http('vin', [route('/kernel', 'kernel'), route('/', 'stack')])], onVcl),
            listener('tcp', [tcpProxy('tcp', 'stack')]),
            listener('vtcp', [tcpProxy('vtcp', 'stack')], onVcl),
          ],
          [cluster('stack', [upstream.port], onVcl), cluster('nobody', [1], onVcl), cluster('kernel', [kernel.port])],
          vclExtension({ runtime_dir: app.stack.runtimeDir }),
        ),
      });
    });

    after(async () => {
      await proxy.stop();
      await app.close();
    });

    test('kernel listener, upstream over cut-through: requests, keep-alive, uploads', async () => {
      for (let i = 0; i < 20; i++) {
        const answer = await httpRequest(proxy.port('in'), `/a${i}`);
        assert.equal(answer.status, 200);
        assert.equal(JSON.parse(answer.body).path, `/a${i}`);
      }
      const answer = await httpRequest(proxy.port('in'), '/upload', { method: 'POST', body: upload });
      const { length, sha256 } = JSON.parse(answer.body);
      assert.deepEqual({ length, sha256 }, { length: upload.length, sha256: uploadHash });
      assert.equal(await proxy.stat('cluster.stack.upstream_rq_200'), 21);
      assert.ok((await proxy.stat('cluster.stack.upstream_cx_total')) <= 2, 'connections are kept');
      assert.ok((await proxy.stat('vcl.tx_bytes')) > upload.length);
    });

    test('listener on the stack: to the stack and to the kernel', async () => {
      const agent = app.net.createAgent({ keepAlive: true });
      for (const path of ['/x', '/kernel/y']) {
        const answer = await vclRequest(app.net, proxy.port('vin'), path, { method: 'POST', body: upload, agent });
        assert.equal(answer.status, 200);
        const { length, sha256 } = JSON.parse(answer.body);
        assert.deepEqual({ length, sha256 }, { length: upload.length, sha256: uploadHash });
      }
      agent.destroy();
    });

    test('admin shows which interface each connection uses', async () => {
      const agent = app.net.createAgent({ keepAlive: true });
      assert.equal((await vclRequest(app.net, proxy.port('vin'), '/kernel/z', { agent })).status, 200);
      const { connections, total } = JSON.parse((await proxy.admin('/connections?format=json')).body);
      assert.equal(total, connections.length);
      const used = (side: string, owner: string): string[] =>
        connections
          .filter((one: Record<string, string>) => one['side'] === side && one['owner'] === owner)
          .map((one: Record<string, string>) => one['socket_interface']);
      assert.deepEqual(used('downstream', 'vin'), ['vcl']);
      assert.ok(used('upstream', 'kernel').length > 0 && used('upstream', 'kernel').every((name) => name === backend));
      assert.ok(used('upstream', 'stack').length > 0 && used('upstream', 'stack').every((name) => name === 'vcl'));
      const lines = (await proxy.admin('/connections')).body.trim().split('\n');
      const ours = lines.find((line) => line.startsWith('downstream::vin'));
      assert.match(ours!, /^downstream::vin::vcl::127\.0\.0\.1:\d+::127\.0\.0\.1:\d+::open::worker_\d::\d+$/);
      assert.equal((await proxy.admin('/connections?limit=x')).status, 400);
      agent.destroy();
    });

    test('tcp proxy from the kernel and from the stack', async () => {
      assert.equal((await httpRequest(proxy.port('tcp'), '/raw')).status, 200);
      const agent = app.net.createAgent();
      assert.equal((await vclRequest(app.net, proxy.port('vtcp'), '/raw', { agent })).status, 200);
    });

    test('a refused connection is a 503, and counted', async () => {
      const answer = await httpRequest(proxy.port('in'), '/nobody');
      assert.equal(answer.status, 503);
      assert.match(answer.body, /connection refused/i);
      assert.equal(await proxy.stat('vcl.cx_connect_fail'), 1);
      assert.equal(await proxy.stat('cluster.nobody.upstream_cx_connect_fail'), 1);
      assert.equal(await proxy.stat('vcl.workers_attached'), 3, 'the main thread and two workers');
      assert.equal(await proxy.stat('vcl.listeners_active'), 4, 'two listeners on two workers');
    });
  });
}

test('a default socket interface, names from DNS, an own namespace of the stack', async () => {
  const app = await startStack();
  const upstream = await vclUpstream(app.net);
  const byName = cluster('named', [upstream.port], { type: 'STRICT_DNS', dns_lookup_family: 'V4_ONLY' });
  const [group] = (byName['load_assignment'] as { endpoints: { lb_endpoints: unknown[] }[] }).endpoints;
  group.lb_endpoints = [{ endpoint: { address: { socket_address: { address: 'localhost', port_value: upstream.port } } } }];
  const proxy = await startProxy({
    config: bootstrap(
      [listener('all', [http('all', [route('/', 'named')])])],
      [byName],
      vclExtension({ runtime_dir: app.stack.runtimeDir, application_name: 'edge', rx_fifo_size: 65_536 }, true),
    ),
  });
  const answer = await vclRequest(app.net, proxy.port('all'), '/by-name', { method: 'POST', body: upload });
  assert.equal(JSON.parse(answer.body).sha256, uploadHash);
  await assert.rejects(httpRequest(proxy.port('all'), '/'), /ECONNREFUSED/, 'nothing of it is on the kernel');
  const { text } = await app.stack.command('show app', { json: true });
  assert.ok(JSON.parse(text).some((one: { name: string; workers: number }) => one.name === 'edge' && one.workers === 2));
  await proxy.stop();
  await app.close();
});
