/**
 * Fast senders and readers that do not read: the proxy holds no more than its watermarks allow, in both directions, for HTTP and TCP,
 * on both socket interfaces; afterwards every byte arrives and every buffer is given back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from './support/config.ts';
import { dial } from './support/raw.ts';

const SIZE = 200 << 20;
const LIMIT = 256 << 10;
/** What the proxy may grow by while it holds a body back: some watermarks, and what a JavaScript engine does meanwhile. */
const GROWTH = 48 << 20;
/** 16 KB blocks: both directions full, each up to its limit and what one read adds. */
const BLOCKS = (4 * LIMIT) / (16 << 10) + 64;

for (const backend of BACKENDS) {
  describe(`flow control on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let source: Server;
    let sink: Server;
    /** Connections at the upstreams. */
    let sources: Socket[] = [];
    let sinks: Socket[] = [];
    let produced: { bytes: number; stalled: boolean } = { bytes: 0, stalled: false };

    before(async () => {
      source = createServer((socket) => {
        socket.on('error', () => {});
        sources.push(socket);
        socket.once('data', (data) => {
          if (data.includes('upgrade: websocket'))
            socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
          else if (data.includes('HTTP/1.1')) socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`);
          produce(socket);
        });
      }).listen(0, '127.0.0.1');
      sink = createServer({ pauseOnConnect: true }, (socket) => {
        socket.on('error', () => {});
        sinks.push(socket);
      }).listen(0, '127.0.0.1');
      await Promise.all([once(source, 'listening'), once(sink, 'listening')]);
      const limits = { per_connection_buffer_limit_bytes: LIMIT };
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener(
              'web',
              [
                http('web', [route('/down', 'source', { timeout: '0s' }), route('/up', 'sink', { timeout: '0s' })], {
                  upgrade_configs: [{ upgrade_type: 'websocket' }],
                }),
              ],
              limits,
            ),
            listener('tcp_down', [tcpProxy('tcp_down', 'source')], limits),
            listener('tcp_up', [tcpProxy('tcp_up', 'sink')], limits),
          ],
          [cluster('source', [portOf(source)], limits), cluster('sink', [portOf(sink)], limits)],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      source.close();
      sink.close();
    });

    /** Writes SIZE bytes as fast as the socket takes them. */
    function produce(socket: Socket): void {
      const chunk = Buffer.alloc(64 << 10, 'x');
      const state = { bytes: 0, stalled: false };
      produced = state;
      const write = (): void => {
        state.stalled = false;
        while (state.bytes < SIZE) {
          state.bytes += chunk.length;
          if (!socket.write(chunk)) {
            state.stalled = true;
            return;
          }
        }
      };
      socket.on('drain', write);
      write();
    }

    /** Resolves when nothing moves any more: the sender waits, and its count stays for many looks. */
    async function untilStuck(): Promise<void> {
      let last = -1;
      let same = 0;
      await until(() => {
        same = produced.bytes === last && produced.stalled ? same + 1 : 0;
        last = produced.bytes;
        return same > 25;
      }, 'the sender to stall');
    }

    async function consume(socket: Socket, bytes: number): Promise<void> {
      let got = 0;
      socket.on('data', (data: Buffer) => {
        got += data.length;
      });
      socket.resume();
      await until(
        () => got >= bytes,
        () => `${bytes} bytes, got ${got}`,
      );
      assert.equal(got, bytes);
    }

    async function bounded(base: number): Promise<void> {
      assert.ok(produced.bytes < SIZE / 2, `the sender got rid of ${produced.bytes} bytes`);
      assert.ok(proxy.rss() - base < GROWTH, `grew by ${(proxy.rss() - base) >> 20} MB`);
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n < BLOCKS);
    }

    async function released(): Promise<void> {
      for (const socket of [...sources, ...sinks]) socket.destroy();
      sources = [];
      sinks = [];
      for (const name of ['listener.web', 'listener.tcp_down', 'listener.tcp_up'])
        await proxy.untilStat(`${name}.downstream_cx_active`, (n) => n === 0);
      for (const name of ['source', 'sink']) await proxy.untilStat(`cluster.${name}.upstream_cx_active`, (n) => n === 0);
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
    }

    test('a client that does not read its response', async () => {
      const base = proxy.rss();
      const client = await dial(proxy.port('web'), false);
      client.send('GET /down HTTP/1.1\r\nhost: x\r\n\r\n');
      await proxy.untilStat('cluster.source.upstream_flow_control_paused_reading_total', (n) => n > 0);
      await untilStuck();
      await bounded(base);
      const head = once(client.socket, 'readable');
      await head;
      const first = client.socket.read() as Buffer;
      const bodyStart = first.indexOf('\r\n\r\n') + 4;
      await consume(client.socket, SIZE - (first.length - bodyStart));
      const stats = await proxy.stats('flow_control');
      const paused = stats.get('cluster.source.upstream_flow_control_paused_reading_total')!;
      assert.equal(stats.get('cluster.source.upstream_flow_control_resumed_reading_total'), paused);
      client.destroy();
      await released();
    });

    test('an upstream that does not read the request', async () => {
      const base = proxy.rss();
      const client = await dial(proxy.port('web'));
      client.send(`POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: ${SIZE}\r\n\r\n`);
      produce(client.socket);
      await proxy.untilStat('http.web.downstream_flow_control_paused_reading_total', (n) => n > 0);
      await untilStuck();
      await bounded(base);
      const upstream = sinks[0];
      const readable = once(upstream, 'readable');
      await readable;
      const first = upstream.read() as Buffer;
      await consume(upstream, SIZE - (first.length - (first.indexOf('\r\n\r\n') + 4)));
      upstream.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      assert.equal((await client.message()).status, 200);
      const stats = await proxy.stats('flow_control');
      assert.equal(
        stats.get('http.web.downstream_flow_control_resumed_reading_total'),
        stats.get('http.web.downstream_flow_control_paused_reading_total'),
      );
      client.destroy();
      await released();
    });

    test('a client that does not read its upgraded connection', async () => {
      const base = proxy.rss();
      const client = await dial(proxy.port('web'), false);
      client.send('GET /down HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n');
      await proxy.untilStat('http.web.downstream_cx_upgrades_active', (n) => n === 1);
      await untilStuck();
      await bounded(base);
      await once(client.socket, 'readable');
      const first = client.socket.read() as Buffer;
      assert.match(first.toString('latin1', 0, 40), /^HTTP\/1\.1 101 /);
      await consume(client.socket, SIZE - (first.length - (first.indexOf('\r\n\r\n') + 4)));
      client.destroy();
      await released();
    });

    test('TCP: neither side holds more than its limit', async () => {
      const base = proxy.rss();
      const client = await dial(proxy.port('tcp_down'), false);
      client.send('go');
      await untilStuck();
      await bounded(base);
      await consume(client.socket, SIZE);
      client.destroy();
      await released();

      const sender = await dial(proxy.port('tcp_up'));
      produce(sender.socket);
      await proxy.untilStat('tcp.tcp_up.downstream_flow_control_paused_reading_total', (n) => n > 0);
      await untilStuck();
      await bounded(base);
      await consume(sinks[0], SIZE);
      sender.destroy();
      await released();
    });

    test('a client that leaves with its response half sent', async () => {
      for (let i = 0; i < 5; i++) {
        const client = await dial(proxy.port('web'), false);
        client.send('GET /down HTTP/1.1\r\nhost: x\r\n\r\n');
        await proxy.untilStat('cluster.source.upstream_rq_active', (n) => n === 1);
        await untilStuck();
        if (i % 2 === 0) client.reset();
        else client.destroy();
        await released();
      }
    });
  });
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}
