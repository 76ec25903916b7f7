/** curl through the proxy onto node:http, and what only a raw socket shows, on both socket interfaces. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, upstreamHttp1, WHY } from './support/config.ts';
import { dial, type RawUpstream, rawUpstream } from './support/raw.ts';
import { type HttpUpstream, httpUpstream, needs } from './support/upstreams.ts';

const run = promisify(execFile);
const noCurl = needs('curl');

interface Echoed {
  method: string;
  path: string;
  headers: Record<string, string>;
  trailers: Record<string, string>;
  length: number;
  sha256: string;
}

for (const backend of BACKENDS) {
  describe(`curl on ${backend}`, { skip: noCurl || skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: HttpUpstream;
    let raw: RawUpstream;
    const curl = async (...args: string[]): Promise<string> =>
      (await run('curl', ['-sS', '--max-time', '20', ...args], { encoding: 'latin1', maxBuffer: 64 << 20 })).stdout;
    const url = (path: string, name = 'main'): string => `http://127.0.0.1:${proxy.port(name)}${path}`;
    const echoed = async (...args: string[]): Promise<Echoed> => JSON.parse(await curl(...args)) as Echoed;

    before(async () => {
      upstream = await httpUpstream();
      raw = await rawUpstream();
      const routes = [
        { match: { prefix: '/direct' }, direct_response: { status: 200, body: { inline_string: 'direct' } } },
        {
          match: { connect_matcher: {} },
          route: { cluster: 'raw', upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }] },
        },
        route('/raw', 'raw'),
        route('/', 'node'),
      ];
      const log = { access_log: [fileLog('main.log', WHY)] };
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('main', [
              http('main', routes, {
                ...log,
                upgrade_configs: [{ upgrade_type: 'websocket' }, { upgrade_type: 'CONNECT' }],
                http_protocol_options: { enable_trailers: true },
              }),
            ]),
            listener('old', [
              http('old', routes, { http_protocol_options: { accept_http_10: true, default_host_for_http_10: 'old.example' } }),
            ]),
            listener('expect', [http('expect', routes, { proxy_100_continue: true })]),
            listener('small', [http('small', routes, { max_request_headers_kb: 8 })]),
          ],
          [
            cluster('node', [upstream.port], upstreamHttp1({ enable_trailers: true })),
            cluster('raw', [raw.port], upstreamHttp1({ enable_trailers: true })),
          ],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
      await raw.close();
    });

    test('every method', async () => {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'REPORT']) {
        const got = await echoed('-X', method, url(`/m?${method}`));
        assert.equal(got.method, method);
        assert.equal(got.path, `/m?${method}`);
      }
      assert.match(await curl('-I', url('/head')), /^HTTP\/1\.1 200 OK\r\n(.+\r\n)*content-length: \d+\r\n(.+\r\n)*\r\n$/);
    });

    test('10 MB up with content-length and chunked, byte for byte', async () => {
      const bytes = randomBytes(10 << 20);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const file = proxy.file('upload');
      writeFileSync(file, bytes);
      const sized = await echoed('-T', file, url('/sized'));
      assert.deepEqual([sized.method, sized.length, sized.sha256], ['PUT', bytes.length, sha256]);
      assert.equal(sized.headers['content-length'], String(bytes.length));
      const chunked = await echoed(
        '-X',
        'POST',
        '-H',
        'Transfer-Encoding: chunked',
        '--data-binary',
        `@${file}`,
        url('/chunked'),
      );
      assert.deepEqual([chunked.method, chunked.length, chunked.sha256], ['POST', bytes.length, sha256]);
      assert.equal(chunked.headers['transfer-encoding'], 'chunked');
    });

    test('10 MB down with and without a length, byte for byte', async () => {
      const bytes = randomBytes(10 << 20);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      for (const sized of [true, false]) {
        const served = await httpUpstream((_, response) => {
          response.writeHead(200, sized ? { 'content-length': bytes.length } : {}).end(bytes);
        });
        const own = await startProxy({
          backend,
          config: bootstrap([listener('main', [http('main', [route('/', 'node')])])], [cluster('node', [served.port])]),
        });
        const file = own.file('download');
        const head = await curl('-D', '-', '-o', file, `http://127.0.0.1:${own.port('main')}/`);
        assert.match(head, sized ? /\r\ncontent-length: 10485760\r\n/ : /\r\ntransfer-encoding: chunked\r\n/);
        const { stdout } = await run('sha256sum', [file]);
        assert.equal(stdout.split(' ')[0], sha256);
        await own.stop();
        await served.close();
      }
    });

    test('expect: 100-continue is answered by the proxy, and not passed on', async () => {
      const client = await dial(proxy.port('main'));
      client.send('POST /e HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n');
      assert.equal((await client.message()).start, 'HTTP/1.1 100 Continue');
      client.send('hello');
      const answer = await client.message();
      const got = JSON.parse(answer.body.toString()) as Echoed;
      assert.equal(got.length, 5);
      assert.equal(got.headers['expect'], undefined);
      client.destroy();
      const big = proxy.file('upload2');
      writeFileSync(big, randomBytes(2 << 20));
      assert.equal((await echoed('-H', 'Expect: 100-continue', '-T', big, url('/e'))).length, 2 << 20);
    });

    test('expect: 100-continue goes through with proxy_100_continue', async () => {
      const at = raw.connections.length;
      const client = await dial(proxy.port('expect'));
      client.send('POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n');
      const server = await raw.connection(at);
      await server.untilText('\r\n\r\n');
      assert.match(server.text, /\r\nexpect: 100-continue\r\n/);
      server.send('HTTP/1.1 100 Continue\r\n\r\n');
      assert.equal((await client.message()).status, 100);
      client.send('hello');
      assert.equal((await server.message()).body.toString(), 'hello');
      server.send('HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n');
      assert.equal((await client.message()).status, 201);
      client.destroy();
      server.destroy();
    });

    test('trailers of requests and responses', async () => {
      const client = await dial(proxy.port('main'));
      client.send(
        'POST /t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\nx-other: two\r\n\r\n',
      );
      const got = JSON.parse((await client.message()).body.toString()) as Echoed;
      assert.deepEqual(got.trailers, { 'x-sum': '1', 'x-other': 'two' });
      const at = raw.connections.length;
      client.send('GET /raw/t HTTP/1.1\r\nhost: x\r\n\r\n');
      const server = await raw.connection(at);
      await server.message();
      server.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: yes\r\n\r\n');
      const answer = await client.message();
      assert.equal(answer.body.toString(), 'hi');
      assert.deepEqual(answer.trailers, { 'x-end': 'yes' });
      client.destroy();
      server.destroy();
    });

    test('HTTP/1.0: 426 without accept_http_10, else answered and closed, or kept alive when asked', async () => {
      assert.match(await curl('-0', '-i', url('/')), /^HTTP\/1\.1 426 Upgrade Required\r\n/);
      const closing = await dial(proxy.port('old'));
      closing.send('GET /a HTTP/1.0\r\n\r\n');
      const first = await closing.message();
      assert.equal(first.status, 200);
      assert.equal((JSON.parse(first.body.toString()) as Echoed).headers['host'], 'old.example');
      await closing.untilClosed();
      const kept = await dial(proxy.port('old'));
      for (let i = 0; i < 2; i++) {
        kept.send('GET /b HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n');
        assert.equal((await kept.message()).status, 200);
      }
      assert.equal(kept.closed, false);
      kept.destroy();
    });

    test('one connection for several requests; connection: close ends it', async () => {
      const before = await proxy.stat('http.main.downstream_cx_total');
      assert.equal(await curl(url('/direct/1'), url('/direct/2'), url('/direct/3')), 'directdirectdirect');
      assert.equal((await proxy.stat('http.main.downstream_cx_total')) - before, 1);
      const client = await dial(proxy.port('main'));
      client.send('GET /direct HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      const answer = await client.message();
      assert.equal(answer.headers['connection'], 'close');
      await client.untilClosed();
    });

    test('pipelined requests are answered in order', async () => {
      const client = await dial(proxy.port('main'));
      const requests = ['/direct/0', '/one', '/direct/1', '/two', '/three'];
      client.send(requests.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join(''));
      for (const path of requests) {
        const answer = await client.message();
        assert.equal(answer.status, 200);
        const body = answer.body.toString();
        assert.equal(
          path.startsWith('/direct') ? 'direct' : path,
          path.startsWith('/direct') ? body : (JSON.parse(body) as Echoed).path,
        );
      }
      client.destroy();
    });

    test('CONNECT makes a tunnel of bytes', async () => {
      const client = await dial(proxy.port('main'));
      const at = raw.connections.length;
      client.send('CONNECT some.example:443 HTTP/1.1\r\nhost: some.example:443\r\n\r\n');
      const answer = await client.message(true);
      assert.equal(answer.status, 200);
      const server = await raw.connection(at);
      client.send('\x00\x01client');
      await server.untilText('\x00\x01client');
      server.send('\xff\xfeserver');
      await client.untilText('\xff\xfeserver');
      server.end();
      await client.until(() => client.ended, 'the end of the tunnel');
      client.destroy();
    });

    test('a websocket handshake and frames both ways; refused where not configured', async () => {
      const handshake = (path: string): string =>
        `GET ${path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n`;
      const client = await dial(proxy.port('main'));
      const at = raw.connections.length;
      client.send(handshake('/raw/ws'));
      const server = await raw.connection(at);
      const request = await server.message();
      assert.equal(request.headers['upgrade'], 'websocket');
      assert.equal(request.headers['connection'].toLowerCase(), 'upgrade');
      server.send(
        'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05hello',
      );
      const answer = await client.message();
      assert.equal(answer.status, 101);
      assert.equal(answer.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
      await client.untilText('\x81\x05hello');
      client.send('\x81\x85\x00\x00\x00\x00world');
      await server.untilText('\x81\x85\x00\x00\x00\x00world');
      client.destroy();
      await server.untilClosed();
      const refused = await dial(proxy.port('old'));
      refused.send(handshake('/raw/ws'));
      assert.equal((await refused.message()).status, 403);
      refused.destroy();
    });

    test('headers that are too large or too many: 431 and closed', async () => {
      for (const headers of [`x: ${'a'.repeat(9000)}\r\n`, Array.from({ length: 101 }, (_, i) => `x-${i}: 1\r\n`).join('')]) {
        const client = await dial(proxy.port('small'));
        client.send(`GET / HTTP/1.1\r\nhost: x\r\n${headers}\r\n`);
        const answer = await client.message();
        assert.equal(answer.status, 431);
        assert.equal(answer.headers['connection'], 'close');
        await client.untilClosed();
      }
      const fits = await dial(proxy.port('main'));
      const at = raw.connections.length;
      const large = 'b'.repeat(50_000);
      fits.send(`GET /raw HTTP/1.1\r\nhost: x\r\nx-large: ${large}\r\n\r\n`);
      const server = await raw.connection(at);
      assert.equal((await server.message()).headers['x-large'], large);
      server.send(`HTTP/1.1 200 OK\r\nx-large: ${large}\r\ncontent-length: 0\r\n\r\n`);
      assert.equal((await fits.message()).headers['x-large'], large);
      fits.destroy();
      server.destroy();
    });

    test('every connection is gone afterwards', async () => {
      for (const name of ['main', 'old', 'expect', 'small'])
        await proxy.untilStat(`http.${name}.downstream_cx_active`, (n) => n === 0);
      await proxy.untilStat('listener.main.downstream_cx_active', (n) => n === 0);
    });
  });
}
