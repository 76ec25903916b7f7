/** Clients and servers as people run them, with the proxy between: ws, undici, fetch, wrk, nginx; on two workers. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { Pool } from 'undici';
import { WebSocket, WebSocketServer } from 'ws';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { type HttpUpstream, httpUpstream, type Nginx, needs, startNginx } from './support/upstreams.ts';

const run = promisify(execFile);
const FILE = randomBytes(3 << 20);
const SHA = createHash('sha256').update(FILE).digest('hex');

for (const backend of BACKENDS) {
  describe(`clients on ${backend}`, { skip: needs('nginx', 'curl', 'wrk') || skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let node: HttpUpstream;
    let nginx: Nginx;
    let sockets: WebSocketServer;
    const url = (path: string): string => `http://127.0.0.1:${proxy.port('web')}${path}`;

    before(async () => {
      node = await httpUpstream((request, response) => {
        if (request.url === '/stream') Readable.from(Array.from({ length: 500 }, (_, i) => `line ${i}\n`)).pipe(response);
        else request.pipe(response);
      });
      sockets = new WebSocketServer({ server: node.server, path: '/ws' });
      sockets.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
      nginx = await startNginx(
        'location = /moved { return 302 /file; } location = /put { client_body_in_file_only off; return 204; }',
        { file: FILE, empty: '' },
      );
      proxy = await startProxy({
        backend,
        concurrency: 2,
        config: bootstrap(
          [
            listener('web', [
              http('web', [route('/nginx/', 'nginx', { prefix_rewrite: '/' }), route('/', 'node')], {
                upgrade_configs: [{ upgrade_type: 'websocket' }],
              }),
            ]),
          ],
          [cluster('nginx', [nginx.port]), cluster('node', [node.port])],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      sockets.close();
      await node.close();
      await nginx.close();
    });

    test('ws: text, a megabyte of binary, ping, and an orderly close', async () => {
      const socket = new WebSocket(url('/ws').replace('http', 'ws'));
      await once(socket, 'open');
      socket.send('hello');
      assert.equal(String((await once(socket, 'message'))[0]), 'hello');
      const bytes = randomBytes(1 << 20);
      socket.send(bytes);
      assert.ok(bytes.equals((await once(socket, 'message'))[0] as Buffer));
      socket.ping('are you there');
      assert.equal(String((await once(socket, 'pong'))[0]), 'are you there');
      socket.close(4000, 'bye');
      const [code, reason] = await once(socket, 'close');
      assert.deepEqual([code, String(reason)], [4000, 'bye']);
      await proxy.untilStat('http.web.downstream_cx_upgrades_active', (n) => n === 0);
      assert.equal(await proxy.stat('http.web.downstream_cx_upgrades_total'), 1);
    });

    test('nginx: whole files, ranges, conditions, redirects, HEAD', async () => {
      const whole = await fetch(url('/nginx/file'));
      const body = Buffer.from(await whole.arrayBuffer());
      assert.equal(createHash('sha256').update(body).digest('hex'), SHA);
      const etag = whole.headers.get('etag')!;
      const same = await fetch(url('/nginx/file'), { headers: { 'if-none-match': etag } });
      assert.deepEqual([same.status, same.headers.get('content-length'), await same.text()], [304, null, '']);
      const part = await fetch(url('/nginx/file'), { headers: { range: 'bytes=1000-1999' } });
      assert.equal(part.status, 206);
      assert.ok(FILE.subarray(1000, 2000).equals(Buffer.from(await part.arrayBuffer())));
      const moved = await fetch(url('/nginx/moved'), { redirect: 'manual' });
      assert.equal(moved.status, 302);
      const head = await fetch(url('/nginx/file'), { method: 'HEAD' });
      assert.deepEqual([head.headers.get('content-length'), await head.text()], [String(FILE.length), '']);
      assert.deepEqual(await (await fetch(url('/nginx/empty'))).text(), '');
      assert.equal((await fetch(url('/nginx/put'), { method: 'PUT', body: FILE })).status, 204);
      assert.equal((await fetch(url('/nginx/none'))).status, 404);
    });

    test('undici with pipelining, and bodies that stream both ways', async () => {
      const pool = new Pool(url(''), { connections: 4, pipelining: 8 });
      const answers = await Promise.all(
        Array.from({ length: 300 }, async (_, i) => {
          const body = `body ${i} ${'z'.repeat(i * 7)}`;
          const answer = await pool.request({ path: `/echo/${i}`, method: 'PUT', body });
          return (await answer.body.text()) === body;
        }),
      );
      assert.ok(answers.every(Boolean));
      const stream = await pool.request({ path: '/stream', method: 'GET' });
      assert.equal((await stream.body.text()).split('\n').length, 501);
      const up = await fetch(url('/echo'), {
        method: 'POST',
        body: Readable.toWeb(Readable.from([FILE])) as ReadableStream,
        duplex: 'half',
      } as RequestInit);
      assert.equal(
        createHash('sha256')
          .update(Buffer.from(await up.arrayBuffer()))
          .digest('hex'),
        SHA,
      );
      await pool.close();
    });

    test('wrk on both workers, without an error', async () => {
      const { stdout } = await run('wrk', ['-t', '1', '-c', '32', '-d', '1s', url('/nginx/empty')]);
      assert.doesNotMatch(stdout, /Non-2xx|Socket errors/);
      assert.ok(Number(/(\d+) requests in/.exec(stdout)![1]) > 200, stdout);
      const stats = await proxy.stats('^listener\\.web\\.worker_');
      assert.ok(stats.get('listener.web.worker_0.downstream_cx_total')! > 0);
      assert.ok(stats.get('listener.web.worker_1.downstream_cx_total')! > 0);
    });

    test('curl in parallel, uploads and downloads at once', async () => {
      const file = proxy.file('up');
      writeFileSync(file, FILE);
      const sums = await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          const out = proxy.file(`down-${i}`);
          await run('curl', ['-sSf', '-X', 'POST', '--data-binary', `@${file}`, '-o', out, url(`/echo/${i}`)]);
          return execFileSync('sha256sum', [out], { encoding: 'utf8' }).split(' ')[0];
        }),
      );
      assert.deepEqual([...new Set(sums)], [SHA]);
    });

    test('every connection and buffer is given back', async () => {
      node.server.closeAllConnections();
      await proxy.untilStat('http.web.downstream_rq_active', (n) => n === 0);
      await proxy.untilStat('cluster.node.upstream_cx_active', (n) => n === 0);
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 4);
    });
  });
}
