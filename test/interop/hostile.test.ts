/**
 * Hostile bytes over real sockets: request smuggling, slow headers, noise on every listener filter and from upstreams. Each time the
 * proxy lives, nothing hangs, the upstream sees exactly the requests that were sent, and every connection and buffer is given back.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connectionBytes, cut, Random } from '../fuzz/http1_inputs.ts';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import {
  bootstrap,
  cluster,
  fileLog,
  http,
  listener,
  listenerFilter,
  networkFilter,
  route,
  tcpProxy,
  WHY,
} from './support/config.ts';
import { dial, type RawUpstream, rawUpstream, type Wire } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const EVIL = 'GET /evil HTTP/1.1\r\nhost: x\r\n\r\n';
const CHUNKS = '0\r\n\r\n';

/** Name, headers, what follows the head, the status it is refused with. The connection is closed after it. */
const REFUSED: [name: string, headers: string, rest: string, status: number][] = [
  ['length and chunked', 'content-length: 6\r\ntransfer-encoding: chunked\r\n', CHUNKS, 400],
  ['chunked and length', 'transfer-encoding: chunked\r\ncontent-length: 6\r\n', CHUNKS, 400],
  ['length 0 and chunked', 'content-length: 0\r\ntransfer-encoding: chunked\r\n', CHUNKS, 400],
  ['two lengths', 'content-length: 0\r\ncontent-length: 40\r\n', '', 400],
  ['a list of lengths', 'content-length: 0, 40\r\n', '', 400],
  ['length with a sign', 'content-length: +0\r\n', '', 400],
  ['length in hexadecimal', 'content-length: 0x0\r\n', '', 400],
  ['length that wraps', 'content-length: 18446744073709551616\r\n', '', 400],
  ['blank before the colon', 'content-length : 0\r\n', '', 400],
  ['coding xchunked', 'transfer-encoding: xchunked\r\n', CHUNKS, 501],
  ['coding chunked twice', 'transfer-encoding: chunked, chunked\r\n', CHUNKS, 501],
  ['coding identity after chunked', 'transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n', CHUNKS, 501],
  ['coding with a vertical tab', 'transfer-encoding: \x0bchunked\r\n', CHUNKS, 400],
  ['coding with NBSP', 'transfer-encoding: \xa0chunked\r\n', CHUNKS, 501],
  ['coding with blank before the colon', 'transfer-encoding : chunked\r\n', CHUNKS, 400],
  ['coding behind a bare CR', 'x: y\rtransfer-encoding: chunked\r\n', CHUNKS, 400],
  ['coding behind a bare LF', 'x: y\ntransfer-encoding: chunked\r\n', CHUNKS, 400],
  ['folded coding', 'transfer-encoding:\r\n chunked\r\n', CHUNKS, 400],
  ['NUL in a name', 'content\0-length: 0\r\n', '', 400],
  ['connection nominates length', 'content-length: 0\r\nconnection: content-length\r\n', '', 400],
  ['two hosts', 'host: y\r\n', '', 400],
  ['chunk size with a sign', 'transfer-encoding: chunked\r\n', '+0\r\n\r\n', 400],
  ['chunk size with 0x', 'transfer-encoding: chunked\r\n', '0x0\r\n\r\n', 400],
  ['chunk size too large', 'transfer-encoding: chunked\r\n', 'fffffffffffffffff0\r\n\r\n', 400],
  ['chunk size with a bare LF', 'transfer-encoding: chunked\r\n', '1\nx\r\n0\r\n\r\n', 400],
  ['chunk with more data', 'transfer-encoding: chunked\r\n', '1\r\nxy\r\n0\r\n\r\n', 400],
  ['chunk extension with a bare LF', 'transfer-encoding: chunked\r\n', '1;a\nx\r\n0\r\n\r\n', 400],
];

/** Framing that is odd but clear: exactly one request, then the next one. */
const CLEAR: [name: string, headers: string, rest: string][] = [
  ['zeros before the length', 'content-length: 0005\r\n', 'hello'],
  ['chunked in capitals', 'TRANSFER-ENCODING: CHUNKED\r\n', '5\r\nhello\r\n0\r\n\r\n'],
  ['chunk extensions', 'transfer-encoding: chunked\r\n', '5;a=b\r\nhello\r\n0;c\r\n\r\n'],
  [
    'framing fields in trailers',
    'transfer-encoding: chunked\r\n',
    '0\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\n\r\n',
  ],
  ['a request inside of a body', `content-length: ${EVIL.length}\r\n`, EVIL],
  ['a request inside of a chunk', 'transfer-encoding: chunked\r\n', `${EVIL.length.toString(16)}\r\n${EVIL}\r\n0\r\n\r\n`],
];

for (const backend of BACKENDS) {
  describe(`hostile peers on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: HttpUpstream;
    let noisy: RawUpstream;
    let noise = new Random(1);
    const seen: string[] = [];

    before(async () => {
      upstream = await httpUpstream((request, response) => {
        seen.push(request.url!);
        request.on('error', () => {});
        request.resume();
        request.on('end', () => response.end('fine'));
      });
      noisy = await rawUpstream(async (wire) => {
        for (;;) {
          await wire.untilText('\r\n\r\n');
          wire.received = Buffer.alloc(0);
          for (const part of cut(noise, responseBytes(noise))) wire.send(part);
          if (noise.chance(0.5)) wire.end();
          else if (noise.chance(0.3)) wire.reset();
        }
      });
      const web = (name: string, extra = {}): Record<string, unknown> =>
        http(name, [route('/noisy', 'noisy', { timeout: '0.3s' }), route('/', 'node')], {
          delayed_close_timeout: '0.2s',
          ...extra,
        });
      const filtered = (name: string, filter: string): Record<string, unknown> =>
        listener(name, [web(name)], { listener_filters: [listenerFilter(filter)], listener_filters_timeout: '0.3s' });
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('web', [
              web('web', { access_log: [fileLog('why.log', WHY)], request_headers_timeout: '0.25s', stream_idle_timeout: '1s' }),
            ]),
            filtered('tls', 'tls_inspector'),
            filtered('pp', 'proxy_protocol'),
            filtered('sniff', 'http_inspector'),
            listener('tcp', [tcpProxy('tcp', 'noisy')]),
            listener('echo', [networkFilter('echo', {})]),
          ],
          [cluster('node', [upstream.port]), cluster('noisy', [noisy.port])],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
      await noisy.close();
    });

    async function quiet(...listeners: string[]): Promise<void> {
      const gauges = [
        ...listeners.flatMap((name) => [`listener.${name}.downstream_cx_active`, `listener.${name}.downstream_pre_cx_active`]),
        ...['node', 'noisy'].flatMap((name) => [`cluster.${name}.upstream_rq_active`, `cluster.${name}.upstream_cx_active`]),
      ];
      let left: string[] = [];
      await until(
        async () => {
          // Connections to upstreams may still come while requests end.
          upstream.server.closeAllConnections();
          for (const wire of noisy.connections) wire.destroy();
          const stats = await proxy.stats('_active$');
          left = gauges.filter((name) => (stats.get(name) ?? 0) !== 0);
          return left.length === 0;
        },
        () => `still there: ${left.join(', ')}`,
      );
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
      assert.equal(await proxy.stat('workers.watchdog_mega_miss'), 0);
      const client = await dial(proxy.port('web'));
      client.send('GET /alive HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      assert.equal((await client.message()).body.toString(), 'fine');
      client.destroy();
    }

    test('ambiguous framing is refused, the connection closed, nothing behind it served', async () => {
      for (const [name, headers, rest, status] of REFUSED) {
        seen.length = 0;
        const client = await dial(proxy.port('web'));
        client.send(`POST /good HTTP/1.1\r\nhost: x\r\n${headers}\r\n${rest}${EVIL}`);
        const answer = await client.message();
        assert.equal(answer.status, status, name);
        assert.equal(answer.headers['connection'], 'close', name);
        await client.until(() => client.ended, 'the end');
        assert.equal(client.text, '', name);
        client.destroy();
        assert.ok(!seen.includes('/evil'), name);
      }
      assert.deepEqual(
        (await proxy.lines('why.log', 0)).filter((line) => line.startsWith('/evil')),
        [],
      );
      await quiet('web');
    });

    test('odd but clear framing is one request', async () => {
      for (const [name, headers, rest] of CLEAR) {
        seen.length = 0;
        const client = await dial(proxy.port('web'));
        client.send(`POST /good HTTP/1.1\r\nhost: x\r\n${headers}\r\n${rest}GET /next HTTP/1.1\r\nhost: x\r\n\r\n`);
        assert.equal((await client.message()).body.toString(), 'fine', name);
        assert.equal((await client.message()).body.toString(), 'fine', name);
        assert.deepEqual(seen, ['/good', '/next'], name);
        client.destroy();
      }
      await quiet('web');
    });

    test('headers that never end: 408', async () => {
      const clients: Wire[] = [];
      for (const start of ['GET', 'GET / HTTP/1.1\r\n', 'GET / HTTP/1.1\r\nhost: x\r\nx-slow: ']) {
        const client = await dial(proxy.port('web'));
        client.send(start);
        clients.push(client);
      }
      for (const client of clients) {
        const dripping = setInterval(() => client.socket.writable && client.send('a'), 20);
        const answer = await client.message();
        clearInterval(dripping);
        assert.deepEqual([answer.status, answer.body.toString()], [408, 'request header timeout']);
        await client.until(() => client.ended, 'the end');
        client.destroy();
      }
      assert.equal(await proxy.stat('http.web.downstream_rq_header_timeout'), 3);
      await quiet('web');
    });

    test('noise on every listener filter and on the HTTP codec', async () => {
      const names = ['tls', 'pp', 'sniff', 'web', 'echo', 'tcp'];
      for (const name of names) {
        const random = new Random(7);
        const open: Wire[] = [];
        for (let i = 0; i < 120; i++) {
          const client = await dial(proxy.port(name));
          client.socket.on('error', () => {});
          open.push(client);
          for (const part of cut(random, inputFor(name, random))) client.send(part);
          const leave = random.below(4);
          if (leave === 0) client.destroy();
          else if (leave === 1) client.reset();
          else if (leave === 2) client.end();
          if (i % 40 === 39) for (const wire of open) if (random.chance(0.7)) wire.destroy();
        }
        // What stays open is closed by a timeout of the proxy, or here where the proxy has none to apply.
        if (name === 'tls' || name === 'pp' || name === 'sniff')
          await proxy.untilStat(`listener.${name}.downstream_pre_cx_active`, (n) => n === 0);
        for (const wire of open) wire.destroy();
        await quiet(name);
      }
      assert.ok(proxy.running);
    });

    test('noise from upstreams: every request has an answer or an end', async () => {
      for (let seed = 1; seed <= 60; seed++) {
        noise = new Random(seed);
        const client = await dial(proxy.port('web'));
        client.send(`GET /noisy?${seed} HTTP/1.1\r\nhost: x\r\n\r\n`);
        await until(
          async () => (await proxy.lines('why.log', 0)).some((line) => line.startsWith(`/noisy?${seed} `)),
          `the end of the request of seed ${seed}`,
        );
        await client.until(() => client.ended || client.text.includes('\r\n\r\n'), `something for seed ${seed}`);
        client.destroy();
      }
      await quiet('web');
    });
  });
}

/** Something that begins like what the listener wants, or not at all. */
function inputFor(name: string, random: Random): string {
  const noise = (length: number): string => Array.from({ length }, () => String.fromCharCode(random.below(256))).join('');
  if (name === 'tls' && random.chance(0.7)) {
    const length = random.below(600);
    return `\x16\x03\x01${word(random.chance(0.5) ? length : random.below(65536))}\x01\0${word(random.below(600))}\x03\x03${noise(length)}`;
  }
  if (name === 'pp' && random.chance(0.7)) {
    return random.chance(0.5)
      ? `PROXY TCP4 ${noise(random.below(120))}\r\n`
      : `\r\n\r\n\0\r\nQUIT\n${String.fromCharCode(random.below(256), random.below(64))}${word(random.below(300))}${noise(random.below(300))}`;
  }
  if (random.chance(0.6)) return connectionBytes(random);
  return noise(1 + random.below(3000));
}

/** A response, often damaged. */
function responseBytes(random: Random): string {
  const body = 'x'.repeat(random.below(200));
  const framing = random.of([
    `content-length: ${body.length}\r\n\r\n${body}`,
    `content-length: ${random.below(300)}\r\n\r\n${body}`,
    `transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    `transfer-encoding: chunked\r\n\r\n${random.below(64).toString(16)}\r\n${body}\r\n`,
    `\r\n${body}`,
  ]);
  const text = `HTTP/1.1 ${random.of(['200 OK', '204 No Content', '304 Not Modified', '100 Continue', '101 Switching Protocols', '999 x', '99', 'OK'])}\r\n${framing}`;
  if (random.chance(0.4)) return text;
  const at = random.below(text.length);
  const damage = String.fromCharCode(random.below(256));
  return text.slice(0, at) + damage + text.slice(at + random.below(3));
}

function word(value: number): string {
  return String.fromCharCode((value >> 8) & 255, value & 255);
}
