/** Limits reached on purpose: connect timeouts, floods of pipelined requests and of informational responses, churn of connections. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { libc } from '../../src/core/sys/libc.ts';
import { socketName } from '../../src/core/sys/socket.ts';
import { ipAddress } from '../../src/proxy/network/address.ts';
import { fromSocketAddress, openListenSocket } from '../../src/proxy/network/kernel_socket.ts';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, tcpProxy, WHY } from './support/config.ts';
import { dial, type RawUpstream, rawUpstream, type Wire } from './support/raw.ts';
import { type HttpUpstream, httpUpstream, needs } from './support/upstreams.ts';

const run = promisify(execFile);

for (const backend of BACKENDS) {
  describe(`edges on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let node: HttpUpstream;
    let raw: RawUpstream;
    /** A listening socket nobody accepts from, with a full queue: connections to it hang. */
    let full = { fd: -1, port: 0 };
    const queued: Wire[] = [];

    before(async () => {
      node = await httpUpstream((_, response) => response.end('fine'));
      raw = await rawUpstream();
      const fd = openListenSocket({ address: ipAddress('127.0.0.1', 0), backlog: 0, reusePort: false, socketOptions: [] });
      const bound = fromSocketAddress(socketName(fd));
      full = { fd, port: bound.kind === 'ip' ? bound.port : 0 };
      queued.push(await dial(full.port));
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('web', [
              http(
                'web',
                [
                  { match: { prefix: '/direct' }, direct_response: { status: 200, body: { inline_string: 'd'.repeat(4000) } } },
                  route('/full', 'full'),
                  route('/retried', 'full', {
                    retry_policy: { retry_on: 'connect-failure', num_retries: 1, retry_back_off: { base_interval: '0.01s' } },
                  }),
                  route('/raw', 'raw'),
                  route('/', 'node'),
                ],
                { access_log: [fileLog('why.log', WHY)] },
              ),
            ]),
            listener('tcp', [tcpProxy('tcp', 'node')]),
            listener('tcp_full', [tcpProxy('tcp_full', 'full', { access_log: [fileLog('tcp.log', '%RESPONSE_FLAGS%')] })]),
          ],
          [cluster('node', [node.port]), cluster('raw', [raw.port]), cluster('full', [full.port], { connect_timeout: '0.15s' })],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await node.close();
      await raw.close();
      for (const wire of queued) wire.destroy();
      libc.close(full.fd);
    });

    test('connect_timeout', async () => {
      const client = await dial(proxy.port('web'));
      for (const [path, retried] of [
        ['/full', ''],
        ['/retried', 'retried and the latest '],
      ]) {
        client.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
        const answer = await client.message();
        assert.deepEqual(
          [answer.status, answer.body.toString()],
          [503, `upstream connect error or disconnect/reset before headers. ${retried}reset reason: connection timeout`],
        );
      }
      const lines = await proxy.lines('why.log', 2);
      assert.deepEqual(lines.slice(0, 2), [
        '/full 503 UF upstream_reset_before_response_started{connection_timeout}',
        '/retried 503 UF,URX upstream_reset_before_response_started{connection_timeout}',
      ]);
      assert.equal(await proxy.stat('cluster.full.upstream_cx_connect_timeout'), 3);
      client.destroy();
      const tcp = await dial(proxy.port('tcp_full'));
      await tcp.untilClosed();
      assert.deepEqual(await proxy.lines('tcp.log', 1), ['UF,URX']);
    });

    test('pipelined requests of a client that does not read are bounded', async () => {
      const client = await dial(proxy.port('web'), false);
      client.socket.on('error', () => {});
      const many = 'GET /direct HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(1000);
      let sent = 0;
      let stalled = 0;
      await until(async () => {
        if (client.closed) return true;
        if (client.socket.writableLength === 0) {
          client.send(many);
          sent += many.length;
          stalled = 0;
        } else stalled++;
        return stalled > 30;
      }, 'the client to be stopped');
      const held = await proxy.untilStat('workers.buffer_blocks_held', (n) => n < 600);
      assert.ok(held < 600, `${held} blocks`);
      assert.ok(sent < 50 << 20);
      client.destroy();
      await proxy.untilStat('http.web.downstream_cx_active', (n) => n === 0);
    });

    test('informational responses without end are bounded, and the final one arrives', async () => {
      const at = raw.connections.length;
      const client = await dial(proxy.port('web'));
      client.send('GET /raw HTTP/1.1\r\nhost: x\r\n\r\n');
      const server = await raw.connection(at);
      await server.untilText('\r\n\r\n');
      for (let i = 0; i < 2000; i++) server.send(`HTTP/1.1 103 Early Hints\r\nlink: </${i}>; rel=preload\r\n\r\n`);
      server.send('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast');
      for (;;) {
        const answer = await client.message();
        if (answer.status !== 103) {
          assert.deepEqual([answer.status, answer.body.toString()], [200, 'last']);
          break;
        }
      }
      client.destroy();
      server.destroy();
    });

    test('thousands of short connections leave no descriptor behind', { skip: needs('wrk') }, async () => {
      node.server.closeIdleConnections();
      const before = proxy.descriptors();
      for (const name of ['web', 'tcp']) {
        const { stdout } = await run('wrk', [
          '-t',
          '1',
          '-c',
          '20',
          '-d',
          '1s',
          '-H',
          'Connection: close',
          `http://127.0.0.1:${proxy.port(name)}/`,
        ]);
        assert.doesNotMatch(stdout, /Non-2xx/, stdout);
        assert.ok(Number(/(\d+) requests in/.exec(stdout)![1]) > 200, stdout);
      }
      node.server.closeAllConnections();
      for (const name of ['web', 'tcp', 'tcp_full'])
        await proxy.untilStat(`listener.${name}.downstream_cx_active`, (n) => n === 0);
      for (const name of ['node', 'raw', 'full']) await proxy.untilStat(`cluster.${name}.upstream_cx_active`, (n) => n === 0);
      await until(
        () => proxy.descriptors() <= before + 2,
        () => `${proxy.descriptors()} descriptors, ${before} before`,
      );
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
    });
  });
}
