/**
 * Upstreams that fail in every way, over real sockets: the answer, its body, and what the access log says about it, as Envoy has them
 * (response flags and response code details), on both socket interfaces.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from './support/config.ts';
import { dial, type Message, type RawUpstream, rawUpstream, unusedPort, type Wire } from './support/raw.ts';

const RESET = 'upstream connect error or disconnect/reset before headers.';
const REFUSED = 'delayed connect error: Connection refused';
const CLOSED = 'upstream_reset_before_response_started{connection_termination}';

/** Upstream behaviour by path, once the request's head is there. */
const BEHAVIOUR: Record<string, (wire: Wire) => void> = {
  '/close': (wire) => wire.end(),
  '/reset': (wire) => wire.reset(),
  '/half-head': (wire) => {
    wire.send('HTTP/1.1 200 OK\r\ncontent-le');
    wire.end();
  },
  '/short-body': (wire) => {
    wire.send('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789');
    wire.end();
  },
  '/short-chunk': (wire) => {
    wire.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n');
    wire.end();
  },
  '/reset-body': (wire) => {
    wire.send('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789');
    setImmediate(() => wire.reset());
  },
  '/bad-chunk': (wire) => void wire.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n'),
  '/silent': () => {},
  '/head-only': (wire) => void wire.send('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01'),
  '/close-delimited': (wire) => {
    wire.send('HTTP/1.1 200 OK\r\n\r\nuntil the end');
    wire.end();
  },
  '/extra': (wire) =>
    void wire.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil'),
  '/ok': (wire) => void wire.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'),
  '/early': (wire) => void wire.send('HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig'),
};

const GARBAGE: Record<string, string> = {
  'not http': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
  'bad version': 'HTTX/1.1 200 OK\r\n\r\n',
  'bad status': 'HTTP/1.1 abc OK\r\n\r\n',
  'length and chunked': 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  'two lengths': 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!',
  'length not a number': 'HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\nhello',
  'negative length': 'HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello',
  'nul in header': 'HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n',
  'space in name': 'HTTP/1.1 200 OK\r\nx y: 1\r\ncontent-length: 0\r\n\r\n',
  'unknown coding': 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
  binary: '\x00\x01\x02\x03\xff\xfe\xfd\r\n\r\n\r\n\r\n',
  'headers too large': `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`,
};

for (const backend of BACKENDS) {
  describe(`failing upstreams on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: RawUpstream;
    let garbage = '';
    let tags = 0;

    before(async () => {
      upstream = await rawUpstream(async (wire) => {
        for (;;) {
          await wire.untilText('\r\n\r\n');
          const path = wire.text.split(' ')[1].split('?')[0];
          wire.received = wire.received.subarray(wire.received.indexOf('\r\n\r\n') + 4);
          if (path === '/garbage') wire.send(Buffer.from(garbage, 'latin1'));
          else (BEHAVIOUR[path] ?? BEHAVIOUR['/silent'])(wire);
        }
      });
      const routes = [
        route('/refused', 'refused'),
        route('/empty', 'empty'),
        { match: { prefix: '/unknown' }, route: { cluster_header: 'x-cluster' } },
        { match: { path: '/silent', query_parameters: [{ name: 'global' }] }, route: { cluster: 'raw', timeout: '0.15s' } },
        {
          match: { path: '/silent', query_parameters: [{ name: 'try' }] },
          route: { cluster: 'raw', retry_policy: { retry_on: '5xx', num_retries: 1, per_try_timeout: '0.1s' } },
        },
        {
          match: { path: '/silent', query_parameters: [{ name: 'tryidle' }] },
          route: { cluster: 'raw', retry_policy: { per_try_idle_timeout: '0.1s' } },
        },
        {
          match: { path: '/silent', query_parameters: [{ name: 'idle' }] },
          route: { cluster: 'raw', timeout: '0s', idle_timeout: '0.15s' },
        },
        { match: { path: '/head-only', query_parameters: [{ name: 'global' }] }, route: { cluster: 'raw', timeout: '0.15s' } },
        {
          match: { path: '/head-only', query_parameters: [{ name: 'idle' }] },
          route: { cluster: 'raw', timeout: '0s', idle_timeout: '0.15s' },
        },
        {
          match: { path: '/close', query_parameters: [{ name: 'retry' }] },
          route: { cluster: 'raw', retry_policy: { retry_on: 'reset', num_retries: 2 } },
        },
        { match: { path: '/silent', query_parameters: [{ name: 'one' }] }, route: { cluster: 'one', timeout: '0s' } },
        { match: { safe_regex: { regex: '/(nothing)' } }, route: { cluster: 'raw' } },
        ...Object.keys(BEHAVIOUR).map((path) => ({ match: { path }, route: { cluster: 'raw' } })),
        route('/garbage', 'raw'),
      ];
      const breakers = { thresholds: [{ max_connections: 1, max_pending_requests: 1 }] };
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [listener('main', [http('main', routes, { access_log: [fileLog('why.log', WHY)] })])],
          [
            cluster('raw', [upstream.port]),
            cluster('one', [upstream.port], { circuit_breakers: breakers }),
            cluster('refused', [await unusedPort()]),
            cluster('empty', []),
          ],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
    });

    const send = async (path: string, headers = ''): Promise<{ client: Wire; answer: Message }> => {
      const client = await dial(proxy.port('main'));
      client.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n${headers}\r\n`);
      return { client, answer: await client.message() };
    };
    /** The path made unique, so that its line in the access log can be found. */
    const tag = (path: string): string => `${path}${path.includes('?') ? '&' : '?'}n=${tags++}`;
    /** What the access log says after this path. */
    const why = async (path: string): Promise<string> => {
      let line: string | undefined;
      await until(
        async () => (line = (await proxy.lines('why.log', 0)).find((l) => l.startsWith(`${path} `))) !== undefined,
        `an access log line of ${path}`,
      );
      return line!.slice(path.length + 1);
    };
    const check = async (path: string, status: number, body: string, log: string, headers = ''): Promise<Message> => {
      const tagged = tag(path);
      const { client, answer } = await send(tagged, headers);
      assert.deepEqual([answer.status, answer.body.toString()], [status, body], path);
      assert.equal(await why(tagged), log, path);
      client.destroy();
      return answer;
    };

    test('refused, closed, reset before the response', async () => {
      const reason = REFUSED.replaceAll(' ', '_');
      await check(
        '/refused',
        503,
        `${RESET} reset reason: remote connection failure, transport failure reason: ${REFUSED}`,
        `503 UF upstream_reset_before_response_started{remote_connection_failure|${reason}}`,
      );
      for (const path of ['/close', '/reset', '/half-head'])
        await check(path, 503, `${RESET} reset reason: connection termination`, `503 UC ${CLOSED}`);
      await check(
        '/close?retry',
        503,
        `${RESET} retried and the latest reset reason: connection termination`,
        `503 UC,URX ${CLOSED}`,
      );
    });

    test('no host, no cluster, no route', async () => {
      await check('/empty', 503, 'no healthy upstream', '503 UH no_healthy_upstream');
      await check('/unknown', 503, '', '503 NC cluster_not_found', 'x-cluster: nobody\r\n');
      await check('/nowhere', 404, '', '404 NR route_not_found');
    });

    test('a response that breaks off breaks off for the client too', async () => {
      for (const path of ['/short-body', '/short-chunk', '/reset-body']) {
        const client = await dial(proxy.port('main'));
        const tagged = tag(path);
        client.send(`GET ${tagged} HTTP/1.1\r\nhost: x\r\n\r\n`);
        await client.until(() => client.ended, 'the end');
        assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n/, path);
        assert.ok(!client.text.endsWith('0\r\n\r\n'), path);
        assert.equal(await why(tagged), '200 UC upstream_reset_after_response_started{connection_termination}', path);
        client.destroy();
      }
      const client = await dial(proxy.port('main'));
      const path = tag('/bad-chunk');
      client.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
      await client.until(() => client.ended, 'the end');
      assert.equal(await why(path), '200 UPE upstream_reset_after_response_started{protocol_error}');
      client.destroy();
    });

    test('a response until the end of the connection is whole', async () => {
      await check('/close-delimited', 200, 'until the end', '200 - via_upstream');
    });

    test('responses that are not HTTP: 502 and UPE, never a hang', async () => {
      for (const [name, bytes] of Object.entries(GARBAGE)) {
        garbage = bytes;
        const path = tag('/garbage');
        const { client, answer } = await send(path);
        const line = await why(path);
        assert.equal(answer.status, 502, name);
        assert.match(
          answer.body.toString(),
          /^upstream connect error or disconnect\/reset before headers\. reset reason: protocol error/,
          name,
        );
        assert.match(line, /^502 UPE upstream_reset_before_response_started\{protocol_error/, name);
        client.destroy();
      }
    });

    test('timeouts: of the route, of a try, idle', async () => {
      await check('/silent?global', 504, 'upstream request timeout', '504 UT response_timeout');
      await check('/silent?try', 504, 'upstream request timeout', '504 UT,URX upstream_per_try_timeout');
      await check('/silent?tryidle', 504, 'upstream request timeout', '504 UT upstream_per_try_idle_timeout');
      await check('/silent?idle', 504, 'stream timeout', '504 SI stream_idle_timeout');
      for (const [query, log] of [
        ['global', '200 UT response_timeout'],
        ['idle', '200 SI stream_idle_timeout'],
      ]) {
        const client = await dial(proxy.port('main'));
        const path = tag(`/head-only?${query}`);
        client.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
        await client.until(() => client.ended, 'the end');
        assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n(.+\r\n)*\r\n01$/);
        assert.equal(await why(path), log);
        client.destroy();
      }
    });

    test('overflow of the pending requests', async () => {
      const waiting = [await dial(proxy.port('main')), await dial(proxy.port('main'))];
      const active = 'cluster.one.upstream_rq_active';
      const paths = [tag('/silent?one'), tag('/silent?one')];
      waiting[0].send(`GET ${paths[0]} HTTP/1.1\r\nhost: x\r\n\r\n`);
      await proxy.untilStat(active, (n) => n === 1);
      waiting[1].send(`GET ${paths[1]} HTTP/1.1\r\nhost: x\r\n\r\n`);
      await proxy.untilStat('cluster.one.upstream_rq_pending_active', (n) => n === 1);
      const answer = await check(
        '/silent?one',
        503,
        `${RESET} reset reason: overflow`,
        '503 UO upstream_reset_before_response_started{overflow}',
      );
      assert.equal(answer.headers['x-envoy-overloaded'], 'true');
      assert.equal(await proxy.stat('cluster.one.upstream_rq_pending_overflow'), 1);
      for (const wire of waiting) wire.destroy();
      for (const path of paths) assert.equal(await why(path), '0 DC downstream_remote_disconnect');
      await proxy.untilStat(active, (n) => n === 0);
    });

    test('a client that goes away, or half away, ends its request', async () => {
      for (const leave of [(wire: Wire) => wire.destroy(), (wire: Wire) => wire.reset(), (wire: Wire) => wire.end()]) {
        const client = await dial(proxy.port('main'));
        const path = tag('/silent');
        client.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
        await proxy.untilStat('cluster.raw.upstream_rq_active', (n) => n === 1);
        leave(client);
        assert.equal(await why(path), '0 DC downstream_remote_disconnect');
        await client.until(() => client.ended, 'the end');
        client.destroy();
      }
      await proxy.untilStat('cluster.raw.upstream_rq_active', (n) => n === 0);
    });

    test('a response before the request is complete is passed on, then both connections end', async () => {
      const client = await dial(proxy.port('main'));
      const path = tag('/early');
      client.send(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc`);
      const answer = await client.message();
      assert.deepEqual([answer.status, answer.body.toString()], [413, 'big']);
      assert.equal(answer.headers['connection'], 'close');
      await client.until(() => client.ended, 'the end');
      client.destroy();
      assert.match(await why(path), /^413 /);
      assert.equal(await proxy.stat('http.main.downstream_rq_response_before_rq_complete'), 1);
      await proxy.untilStat('cluster.raw.upstream_rq_active', (n) => n === 0);
    });

    test('bytes after a response, or without a request, close the connection and reach nobody', async () => {
      await check('/extra', 200, 'ok', '200 - via_upstream');
      await check('/ok', 200, 'ok', '200 - via_upstream');
      const idle = upstream.connections.filter((wire) => !wire.ended).at(-1)!;
      idle.send('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil');
      await idle.until(() => idle.ended, 'the end');
      await check('/ok', 200, 'ok', '200 - via_upstream');
    });

    test('every connection and buffer is given back', async () => {
      for (const wire of upstream.connections) wire.destroy();
      for (const name of [
        'http.main.downstream_cx_active',
        'http.main.downstream_rq_active',
        'cluster.raw.upstream_cx_active',
        'cluster.one.upstream_cx_active',
      ])
        await proxy.untilStat(name, (n) => n === 0);
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
    });
  });
}
