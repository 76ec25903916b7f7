/** Ten thousand idle keep-alive connections: all still answer, all are given back. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { httpUpstream } from './support/upstreams.ts';

const COUNT = 10_000;
const AT_ONCE = 200;
const REQUEST = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';

/** Descriptors that one process may have: node raises its own limit to the hard one. */
function noDescriptors(): string | false {
  const limit = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout.trim();
  return limit === 'unlimited' || Number(limit) >= COUNT + 1000
    ? false
    : `needs ${COUNT + 1000} open files, the limit is ${limit}`;
}

for (const backend of BACKENDS) {
  describe(`many connections on ${backend}`, { skip: noDescriptors() || skipReason(backend) }, () => {
    test(`${COUNT} idle connections`, async (t) => {
      const upstream = await httpUpstream((_, response) => response.end('fine'));
      const proxy = await startProxy({
        backend,
        config: bootstrap([listener('web', [http('web', [route('/', 'node')])])], [cluster('node', [upstream.port])]),
      });
      const sockets: Socket[] = [];
      t.after(async () => {
        for (const socket of sockets) socket.destroy();
        await proxy.stop();
        await upstream.close();
      });
      const ask = (socket: Socket): Promise<void> =>
        new Promise((resolve, reject) => {
          const failed = (): void => reject(new Error('a connection ended'));
          socket.once('close', failed);
          socket.once('data', (data: Buffer) => {
            socket.removeListener('close', failed);
            if (data.toString('latin1').startsWith('HTTP/1.1 200 OK')) resolve();
            else reject(new Error(data.toString('latin1')));
          });
          socket.write(REQUEST);
        });
      const open = async (i: number): Promise<void> => {
        // Several source addresses: one has fewer ports than this needs after other tests.
        const socket = connect({ port: proxy.port('web'), host: '127.0.0.1', localAddress: `127.0.1.${1 + (i % 4)}` });
        socket.on('error', () => {});
        sockets.push(socket);
        await ask(socket);
      };
      await open(0);
      const base = proxy.rss();
      for (let i = 1; i < COUNT; i += AT_ONCE) {
        await Promise.all(Array.from({ length: Math.min(AT_ONCE, COUNT - i) }, (_, k) => open(i + k)));
      }
      assert.equal(await proxy.stat('http.web.downstream_cx_active'), COUNT);
      t.diagnostic(`${((proxy.rss() - base) / COUNT / 1024).toFixed(1)} KB per idle connection`);
      const held = await proxy.untilStat('workers.buffer_blocks_held', (n) => n < 64);
      t.diagnostic(`${held} blocks held`);
      for (let i = 0; i < COUNT; i += 50) await ask(sockets[i]);
      for (const socket of sockets) socket.destroy();
      await proxy.untilStat('http.web.downstream_cx_active', (n) => n === 0);
      await proxy.untilStat('listener.web.downstream_cx_active', (n) => n === 0);
      upstream.server.closeAllConnections();
      await proxy.untilStat('cluster.node.upstream_cx_active', (n) => n === 0);
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
      assert.equal(await proxy.stat('http.web.downstream_cx_destroy'), COUNT);
    });
  });
}
