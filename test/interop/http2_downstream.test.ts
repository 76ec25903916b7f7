/** HTTP/2 clients (curl, nghttp, h2load, node:http2) through the proxy onto node:http over HTTP/1.1, on both socket interfaces. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { ClientHttp2Session } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, upstreamHttp1 } from './support/config.ts';
import { http2Answer, http2Request, http2Session } from './support/http2_client.ts';
import { echo, type HttpUpstream, httpUpstream, needs } from './support/upstreams.ts';

const run = promisify(execFile);
const noClients = needs('curl', 'nghttp', 'h2load');

for (const backend of BACKENDS) {
  describe(`HTTP/2 clients on ${backend}`, { skip: noClients || skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: HttpUpstream;
    const big = randomBytes(3 << 20);
    const url = (path: string, name = 'main'): string => `http://127.0.0.1:${proxy.port(name)}${path}`;
    const curl = async (...args: string[]): Promise<string> =>
      (await run('curl', ['-sS', '--max-time', '20', ...args], { encoding: 'latin1', maxBuffer: 64 << 20 })).stdout;
    const session = (name = 'main'): Promise<ClientHttp2Session> => http2Session(proxy.port(name));

    before(async () => {
      upstream = await httpUpstream((request, response) => {
        if (request.url === '/big') {
          response.writeHead(200, { 'content-length': big.length });
          response.end(big);
        } else if (request.url === '/stream') {
          response.writeHead(200);
          response.write('first,');
          request.on('data', (chunk: Buffer) => response.write(chunk));
          request.on('end', () => response.end('last'));
        } else if (request.url === '/trailers') {
          response.writeHead(200, { trailer: 'x-sum' });
          response.write('body');
          response.addTrailers({ 'x-sum': '42' });
          response.end();
        } else if (request.url === '/hang') request.on('close', () => hung.push('closed'));
        else if (request.url === '/cut') {
          response.writeHead(200, { 'content-length': 100 });
          response.write('half');
          setImmediate(() => response.destroy());
        } else if (request.url === '/early') {
          response.writeHead(200, { 'content-length': 5, connection: 'close' });
          response.end('early');
        } else if (request.url === '/fields') {
          const fields: Record<string, string> = {};
          for (let i = 0; i < 60; i++) fields[`x-field-${i}`] = `${i}`.repeat(200);
          response.writeHead(200, fields);
          response.end('fields');
        } else echo(request, response);
      });
      const routes = [
        { match: { prefix: '/direct' }, direct_response: { status: 200, body: { inline_string: 'direct' } } },
        route('/', 'node'),
      ];
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('main', [
              http('main', routes, {
                access_log: [fileLog('main.log', '%PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS%')],
              }),
            ]),
            listener('h2', [http('h2', routes, { codec_type: 'HTTP2', drain_timeout: '0.2s' })]),
            listener('few', [
              http('few', routes, {
                http2_protocol_options: {
                  max_concurrent_streams: 2,
                  initial_stream_window_size: 65535,
                  initial_connection_window_size: 65535,
                },
                common_http_protocol_options: { max_requests_per_connection: 5 },
                drain_timeout: '0.1s',
              }),
            ]),
            listener('small', [http('small', routes, { max_request_headers_kb: 8 })]),
          ],
          [cluster('node', [upstream.port], upstreamHttp1({ enable_trailers: true }))],
        ),
      });
    });
    const hung: string[] = [];

    after(async () => {
      await upstream.close();
      await proxy.stop();
    });

    test('curl with prior knowledge: GET, HEAD, POST, a large body both ways', async () => {
      const h2 = ['--http2-prior-knowledge'];
      assert.equal(await curl(...h2, '-w', ' %{http_version}', url('/direct')), 'direct 2');
      const got = JSON.parse(await curl(...h2, '-H', 'X-Mixed: Case', url('/a?b=c'))) as {
        headers: Record<string, string>;
        path: string;
      };
      assert.equal(got.path, '/a?b=c');
      assert.equal(got.headers['x-mixed'], 'Case');
      assert.equal(got.headers['host'], `127.0.0.1:${proxy.port('main')}`);
      assert.equal(got.headers['x-forwarded-proto'], 'http');
      const head = await curl(...h2, '-I', url('/'));
      assert.match(head, /^HTTP\/2 200 \r\n/);
      const body = randomBytes(2 << 20);
      writeFileSync(proxy.file('upload'), body);
      const posted = JSON.parse(await curl(...h2, '--data-binary', `@${proxy.file('upload')}`, url('/'))) as {
        length: number;
        sha256: string;
      };
      assert.equal(posted.length, body.length);
      assert.equal(posted.sha256, createHash('sha256').update(body).digest('hex'));
      const downloaded = Buffer.from(await curl(...h2, url('/big')), 'latin1');
      assert.ok(downloaded.equals(big));
    });

    test('nghttp: several requests on one connection, HTTP/1.1 on the same listener', async () => {
      const { stdout } = await run('nghttp', ['-v', '-n', '-m', '5', url('/direct')]);
      assert.equal(stdout.match(/:status: 200/g)?.length, 5);
      assert.match(await curl('--http1.1', '-w', ' %{http_version}', url('/direct')), /direct 1\.1/);
      assert.equal((await proxy.stats('http2_total')).has('http.main.downstream_cx_http2_total'), true);
    });

    test('h2load: many streams on many connections, none fails', async () => {
      const { stdout } = await run('h2load', ['-n', '3000', '-c', '8', '-m', '20', url('/')]);
      assert.match(stdout, /3000 succeeded, 0 failed, 0 errored/);
      assert.match(stdout, /status codes: 3000 2xx/);
    });

    test('node:http2: concurrent streams, header fields, cookies, trailers both ways', async () => {
      const client = await session();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          http2Request(
            client,
            { ':path': `/n/${i}`, ':method': 'POST', cookie: ['a=1', 'b=2'], 'x-i': String(i) },
            'x'.repeat(i * 1000),
            {
              'x-trailer': `t${i}`,
            },
          ),
        ),
      );
      answers.forEach((answer, i) => {
        const seen = JSON.parse(answer.body.toString()) as { path: string; length: number; headers: Record<string, string> };
        assert.equal(answer.status, 200);
        assert.equal(seen.path, `/n/${i}`);
        assert.equal(seen.length, i * 1000);
        assert.equal(seen.headers['cookie'], 'a=1; b=2');
        assert.equal(seen.headers['x-i'], String(i));
      });
      const trailers = await http2Request(client, { ':path': '/trailers' });
      assert.equal(trailers.body.toString(), 'body');
      assert.equal(trailers.trailers['x-sum'], '42');
      const fields = await http2Request(client, { ':path': '/fields' });
      assert.equal(fields.headers['x-field-59'], '59'.repeat(200));
      client.close();
    });

    test('a request and a response that stream at the same time', async () => {
      const client = await session();
      const stream = client.request({ ':path': '/stream', ':method': 'POST' });
      const answer = http2Answer(stream);
      await once(stream, 'response');
      stream.write('one,');
      await once(stream, 'data');
      stream.end('two,');
      assert.match((await answer).body.toString(), /one,two,last$/);
      client.close();
    });

    test('small windows: bodies pass in pieces, more streams than allowed are refused by the client itself', async () => {
      const client = await session('few');
      const body = randomBytes(1 << 20);
      const [up, down] = await Promise.all([
        http2Request(client, { ':path': '/', ':method': 'POST' }, body),
        http2Request(client, { ':path': '/big' }),
      ]);
      assert.equal(
        (JSON.parse(up.body.toString()) as { sha256: string }).sha256,
        createHash('sha256').update(body).digest('hex'),
      );
      assert.ok(down.body.equals(big));
      client.close();
    });

    test('max_requests_per_connection: GOAWAY, what is under way is finished, then the connection closes', async () => {
      const client = await session('few');
      const gone = once(client, 'goaway');
      for (let i = 0; i < 5; i++) assert.equal((await http2Request(client, { ':path': '/direct' })).status, 200);
      const [code] = (await gone) as [number];
      assert.equal(code, 0);
      await until(() => client.closed || client.destroyed, 'the session to close');
      assert.ok((await proxy.stat('http.few.downstream_cx_max_requests_reached')) >= 1);
    });

    test('a client that resets: the upstream request ends, the connection lives', async () => {
      const client = await session();
      const stream = client.request({ ':path': '/hang' });
      await proxy.untilStat('cluster.node.upstream_rq_active', (n) => n >= 1);
      stream.close(8);
      await once(stream, 'close');
      await until(() => hung.length > 0, 'the upstream to see the end');
      assert.equal((await http2Request(client, { ':path': '/direct' })).status, 200);
      client.close();
    });

    test('a response that breaks off resets its stream only', async () => {
      const client = await session();
      await assert.rejects(http2Request(client, { ':path': '/cut' }), /INTERNAL_ERROR|reset with 2/);
      assert.equal((await http2Request(client, { ':path': '/direct' })).body.toString(), 'direct');
      client.close();
    });

    test('a response before the request is complete: whole, then the rest is refused without an error', async () => {
      const client = await session();
      const stream = client.request({ ':path': '/early', ':method': 'POST' });
      stream.write('never ended');
      const answer = await http2Answer(stream);
      assert.equal(answer.body.toString(), 'early');
      client.close();
    });

    test('headers beyond the limit: 431, and the connection lives', async () => {
      const client = await session('small');
      const answer = await http2Request(client, { ':path': '/', 'x-large': 'x'.repeat(9000) });
      assert.equal(answer.status, 431);
      assert.equal((await http2Request(client, { ':path': '/direct' })).status, 200);
      assert.equal(await proxy.stat('http.small.http2.header_overflow'), 1);
      client.close();
    });

    test('a slow reader stops the upstream, memory stays bounded', async () => {
      const client = await http2Session(proxy.port('main'), { settings: { initialWindowSize: 65535 } });
      const stream = client.request({ ':path': '/big' });
      stream.pause();
      await once(stream, 'response');
      await proxy.untilStat('cluster.node.upstream_flow_control_paused_reading_total', (n) => n >= 1);
      const answer = http2Answer(stream);
      stream.resume();
      assert.ok((await answer).body.equals(big));
      client.close();
    });

    test('the access log tells the protocol', async () => {
      await proxy.untilLine('main.log', 'HTTP/2 /direct 200 -');
    });

    test('draining by /drain_listeners: GOAWAY before the end', async () => {
      const client = await session('h2');
      assert.equal((await http2Request(client, { ':path': '/direct' })).status, 200);
      let gone = false;
      client.once('goaway', () => (gone = true));
      await proxy.admin('/healthcheck/fail', 'POST');
      // Any response on a draining worker begins the sequence; the worker hears of it a moment after the main thread.
      await until(async () => {
        if (!gone) assert.equal((await http2Request(client, { ':path': '/direct' })).status, 200);
        return gone;
      }, 'GOAWAY');
      await until(() => client.closed || client.destroyed, 'the session to close');
      await proxy.admin('/healthcheck/ok', 'POST');
    });

    test('nothing is left over', async () => {
      await proxy.untilStat('http.main.downstream_rq_active', (n) => n === 0);
      await proxy.untilStat('http.main.http2.streams_active', (n) => n === 0);
      await proxy.untilStat('http.main.downstream_cx_http2_active', (n) => n === 0);
    });
  });
}
