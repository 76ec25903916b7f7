/**
 * What HTTP means is the same over HTTP/1.1 and HTTP/2, on either side: one list of exercises for the four ways through the proxy.
 * Clients and upstreams are node:http and node:http2.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import http2, { type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import {
  bootstrap,
  cluster,
  fileLog,
  http as httpManager,
  listener,
  route,
  upstreamAuto,
  upstreamHttp1,
  upstreamHttp2,
} from './support/config.ts';
import { downstreamTls, files, upstreamTls } from './support/tls.ts';

/** From: plain text or, `tls2`, HTTP/2 over TLS by ALPN. */
type From = 'http1' | 'http2' | 'tls2';
/** To: plain text, or an `auto_config` cluster over TLS whose servers speak one of the two. */
type To = 'http1' | 'http2' | 'auto1' | 'auto2';

interface Sent {
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body?: Buffer[];
  trailers?: Record<string, string>;
  /** After the head, before the body: waits for `100 Continue`. */
  expectContinue?: boolean;
}

interface Received {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  trailers: Record<string, string | string[] | undefined>;
  interim: number[];
}

interface Exchange {
  /** Rejects when the response is cut short. */
  readonly response: Promise<Received>;
  readonly headers: Promise<unknown>;
  write(chunk: Buffer): void;
  end(): void;
  abort(): void;
  nextData(): Promise<string>;
}

interface Client {
  open(sent: Sent): Exchange;
  close(): void;
}

function run(client: Client, sent: Sent): Promise<Received> {
  const exchange = client.open(sent);
  if (sent.expectContinue !== true) {
    for (const chunk of sent.body ?? []) exchange.write(chunk);
    exchange.end();
  }
  return exchange.response;
}

function http1Client(port: number): Client {
  const agent = new http.Agent({ keepAlive: true });
  return {
    open({ method = 'GET', path, headers = {}, body, trailers, expectContinue }) {
      const request = http.request({
        host: '127.0.0.1',
        port,
        agent,
        method,
        path,
        headers: {
          ...headers,
          ...(trailers === undefined ? {} : { trailer: Object.keys(trailers).join() }),
          ...(expectContinue === true ? { expect: '100-continue' } : {}),
        },
      });
      const interim: number[] = [];
      const chunks: Buffer[] = [];
      let notify: (() => void) | null = null;
      request.on('information', (information) => interim.push(information.statusCode));
      request.on('continue', () => {
        interim.push(100);
        for (const chunk of body ?? []) request.write(chunk);
        request.end();
      });
      const head = once(request, 'response');
      head.catch(() => {});
      const response = new Promise<Received>((resolve, reject) => {
        request.on('error', reject);
        request.on('response', (incoming) => {
          incoming.on('data', (chunk: Buffer) => {
            chunks.push(chunk);
            notify?.();
          });
          incoming.on('error', reject);
          incoming.on('end', () => {
            resolve({
              status: incoming.statusCode!,
              headers: incoming.headers,
              body: Buffer.concat(chunks),
              trailers: incoming.trailers,
              interim,
            });
          });
        });
      });
      response.catch(() => {});
      return {
        response,
        headers: head,
        write: (chunk) => request.write(chunk),
        end: () => {
          if (trailers !== undefined) request.addTrailers(trailers);
          request.end();
        },
        abort: () => request.destroy(),
        nextData: () =>
          new Promise((resolve) => {
            const seen = chunks.length;
            if (seen > 0) resolve(Buffer.concat(chunks).toString());
            else notify = () => resolve(Buffer.concat(chunks).toString());
          }),
      };
    },
    close: () => agent.destroy(),
  };
}

function http2Client(port: number, scheme: 'http' | 'https' = 'http'): Client {
  const session = http2.connect(`${scheme}://127.0.0.1:${port}`, { rejectUnauthorized: false });
  session.on('error', () => {});
  closeAtEnd(() => session.destroy());
  return {
    open({ method = 'GET', path, headers = {}, body, trailers, expectContinue }) {
      const stream = session.request(
        { ':method': method, ':path': path, ...headers, ...(expectContinue === true ? { expect: '100-continue' } : {}) },
        { waitForTrailers: trailers !== undefined, endStream: false },
      );
      const interim: number[] = [];
      const chunks: Buffer[] = [];
      let notify: (() => void) | null = null;
      let head: http2.IncomingHttpHeaders = {};
      let tail: http2.IncomingHttpHeaders = {};
      stream.on('headers', (information) => interim.push(Number(information[':status'])));
      stream.on('continue', () => {
        for (const chunk of body ?? []) stream.write(chunk);
        stream.end();
      });
      if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      stream.on('response', (received) => {
        head = received;
      });
      stream.on('trailers', (received) => {
        tail = received;
      });
      stream.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        notify?.();
      });
      const first = once(stream, 'response');
      first.catch(() => {});
      const response = new Promise<Received>((resolve, reject) => {
        stream.on('error', reject);
        stream.on('close', () => {
          if (stream.rstCode !== 0) reject(new Error(`reset with ${stream.rstCode}`));
          const { ':status': status, ...rest } = head;
          resolve({ status: Number(status), headers: rest, body: Buffer.concat(chunks), trailers: tail, interim });
        });
      });
      response.catch(() => {});
      return {
        response,
        headers: first,
        write: (chunk) => stream.write(chunk),
        end: () => stream.end(),
        abort: () => stream.close(8),
        nextData: () =>
          new Promise((resolve) => {
            if (chunks.length > 0) resolve(Buffer.concat(chunks).toString());
            else notify = () => resolve(Buffer.concat(chunks).toString());
          }),
      };
    },
    close: () => session.close(),
  };
}

const big = randomBytes(4 << 20);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
/** Requests that ended before their response did, by path. */
const aborted: string[] = [];
/** Requests for /hang that arrived. */
let hanging = 0;

/** The same for both protocols: node:http2's compatibility API has node:http's shape. */
const upstream = (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse): void => {
  const reply = response as ServerResponse;
  const path = request.url ?? '';
  const received: Buffer[] = [];
  // `destroy` of the compatibility API tells the peer nothing.
  const giveUp = (): void =>
    'stream' in request ? request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR) : void request.socket.destroy();
  response.on('close', () => {
    if (!reply.writableEnded) aborted.push(path);
  });
  request.on('error', () => {});
  request.on('data', (chunk: Buffer) => {
    received.push(chunk);
    if (path === '/stream') reply.write(chunk);
  });
  request.on('end', () => {
    if (path === '/stream') reply.end('last');
    else if (path.startsWith('/echo')) {
      const { ':method': _m, ':path': _p, ':scheme': _s, ':authority': authority, ...headers } = request.headers;
      const body = JSON.stringify({
        version: request.httpVersion,
        method: request.method,
        path,
        host: authority ?? headers['host'],
        headers,
        trailers: request.trailers,
        length: Buffer.concat(received).length,
        sha256: sha256(Buffer.concat(received)),
      });
      reply.writeHead(200, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'set-cookie': ['a=1', 'b=2'],
      });
      reply.end(request.method === 'HEAD' ? undefined : body);
    }
  });
  switch (path) {
    case '/stream':
      reply.writeHead(200);
      reply.write('first,');
      break;
    case '/big':
      reply.writeHead(200, { 'content-length': big.length });
      reply.end(big);
      break;
    case '/chunked':
      reply.writeHead(200);
      for (let i = 0; i < 10; i++) reply.write(`${i},`);
      reply.end();
      break;
    case '/trailers':
      reply.writeHead(200, { trailer: 'x-sum' });
      reply.write('body');
      reply.addTrailers({ 'x-sum': '42', 'x-more': 'yes' });
      reply.end();
      break;
    case '/empty':
      reply.writeHead(204);
      reply.end();
      break;
    case '/not-modified':
      reply.writeHead(304, { etag: '"1"' });
      reply.end();
      break;
    case '/early':
      reply.writeHead(413, { 'content-length': 5 });
      reply.end('early');
      break;
    case '/cut':
      reply.writeHead(200, { 'content-length': 100 });
      reply.write('half', giveUp);
      break;
    case '/refuse':
      giveUp();
      break;
    case '/hang':
      hanging++;
      break;
    case '/hints':
      reply.writeEarlyHints({ link: '</style.css>; rel=preload' });
      reply.writeHead(200);
      reply.end('hinted');
      break;
    default:
  }
};

interface Echoed {
  version: string;
  method: string;
  path: string;
  host: string;
  headers: Record<string, string>;
  trailers: Record<string, string>;
  length: number;
  sha256: string;
}

const TARGETS = ['http1', 'http2', 'auto1', 'auto2'] as const;
const certificate = new CertificateFactory().make('semantics');

describe('HTTP semantics', () => {
  let proxy: ProxyProcess;

  before(async () => {
    const one = http.createServer(upstream as RequestListener).listen(0, '127.0.0.1');
    const two = http2.createServer(upstream as Parameters<typeof http2.createServer>[1]).listen(0, '127.0.0.1');
    one.on('checkContinue', upstream as RequestListener);
    const keys = { cert: certificate.certificate, key: certificate.key };
    const secure1 = https.createServer(keys, upstream as RequestListener).listen(0, '127.0.0.1');
    secure1.on('checkContinue', upstream as RequestListener);
    const secure2 = http2.createSecureServer(keys, upstream as Parameters<typeof http2.createServer>[1]).listen(0, '127.0.0.1');
    await Promise.all([one, two, secure1, secure2].map((server) => once(server, 'listening')));
    closeAtEnd(() => {
      one.closeAllConnections();
      secure1.closeAllConnections();
      for (const server of [one, two, secure1, secure2]) server.close();
    });
    const filters = (to: To): Json[] => [
      httpManager(to, [route('/', to)], {
        http_protocol_options: { enable_trailers: true },
        access_log: [fileLog(`${to}.log`, '%PROTOCOL% %UPSTREAM_PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS%')],
      }),
    ];
    const tls = downstreamTls([files(certificate)], { alpn_protocols: ['h2', 'http/1.1'] });
    const listeners = TARGETS.flatMap((to) => [
      listener(to, filters(to)),
      listener(`${to}-tls`, [], { filter_chains: [{ filters: filters(to), transport_socket: tls }] }),
    ]);
    const auto = { transport_socket: upstreamTls(), ...upstreamAuto({ enable_trailers: true }) };
    const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
    proxy = await startProxy({
      config: bootstrap(listeners, [
        cluster('http1', [(one.address() as AddressInfo).port], upstreamHttp1({ enable_trailers: true })),
        cluster('http2', [(two.address() as AddressInfo).port], upstreamHttp2()),
        cluster('auto1', [portOf(secure1)], auto),
        cluster('auto2', [portOf(secure2)], auto),
      ]),
    });
  });

  after(() => proxy.stop());

  for (const from of ['http1', 'http2'] as const) {
    for (const to of ['http1', 'http2'] as const) exercises(from, to);
  }
  exercises('tls2', 'http1');
  exercises('tls2', 'auto2');
  exercises('http1', 'auto1');

  function exercises(from: From, to: To): void {
    describe(`${from} to ${to}`, () => {
      let client: Client;
      before(() => {
        client =
          from === 'tls2'
            ? http2Client(proxy.port(`${to}-tls`), 'https')
            : (from === 'http1' ? http1Client : http2Client)(proxy.port(to));
      });
      after(() => client.close());
      const echo = async (sent: Sent): Promise<Echoed> => JSON.parse((await run(client, sent)).body.toString()) as Echoed;

      test('method, path, authority, header fields', async () => {
        const seen = await echo({
          method: 'DELETE',
          path: '/echo/a%20b?q=1&r',
          headers: { 'x-one': '1', 'x-empty': '', accept: 'a, b' },
        });
        assert.equal(seen.version, to.endsWith('1') ? '1.1' : '2.0');
        assert.equal(seen.method, 'DELETE');
        assert.equal(seen.path, '/echo/a%20b?q=1&r');
        assert.equal(seen.host, `127.0.0.1:${proxy.port(from === 'tls2' ? `${to}-tls` : to)}`);
        assert.equal(seen.headers['x-forwarded-proto'], from === 'tls2' ? 'https' : 'http');
        assert.equal(seen.headers['x-one'], '1');
        assert.equal(seen.headers['x-empty'], '');
        assert.equal(seen.headers['accept'], 'a, b');
        assert.equal(seen.headers['connection'] ?? 'keep-alive', 'keep-alive');
        assert.match(seen.headers['x-request-id'], /^[0-9a-f-]{36}$/);
      });

      test('several fields of one name', async () => {
        const { headers } = await run(client, { path: '/echo' });
        assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
      });

      test('HEAD, 204 and 304 have no body', async () => {
        const head = await run(client, { method: 'HEAD', path: '/echo' });
        assert.equal(head.status, 200);
        assert.ok(Number(head.headers['content-length']) > 0);
        assert.equal(head.body.length, 0);
        assert.equal((await run(client, { path: '/empty' })).status, 204);
        const unchanged = await run(client, { path: '/not-modified' });
        assert.equal(unchanged.status, 304);
        assert.equal(unchanged.headers['etag'], '"1"');
      });

      test('bodies of every size, with and without a length', async () => {
        for (const size of [0, 1, 100, 16_384, 65_536, 1_000_000]) {
          const body = big.subarray(0, size);
          const counted = await echo({
            method: 'POST',
            path: '/echo',
            headers: { 'content-length': String(size) },
            body: size === 0 ? [] : [body],
          });
          assert.equal(counted.sha256, sha256(body));
          const parts = [body.subarray(0, size >> 1), body.subarray(size >> 1)].filter((part) => part.length > 0);
          const streamed = await echo({
            method: 'POST',
            path: '/echo',
            headers: from === 'http1' ? { 'transfer-encoding': 'chunked' } : {},
            body: parts,
          });
          assert.equal(streamed.sha256, sha256(body));
        }
        assert.equal((await run(client, { path: '/chunked' })).body.toString(), '0,1,2,3,4,5,6,7,8,9,');
        assert.ok((await run(client, { path: '/big' })).body.equals(big));
      });

      test('trailers both ways', async () => {
        const { trailers, body } = await run(client, { path: '/trailers' });
        assert.equal(body.toString(), 'body');
        assert.equal(trailers['x-sum'], '42');
        assert.equal(trailers['x-more'], 'yes');
        const seen = await echo({
          method: 'POST',
          path: '/echo',
          headers: from === 'http1' ? { 'transfer-encoding': 'chunked' } : {},
          body: [Buffer.from('x')],
          trailers: { 'x-check': 'sum' },
        });
        assert.equal(seen.trailers['x-check'], 'sum');
      });

      test('request and response stream at the same time', async () => {
        const exchange = client.open({
          method: 'POST',
          path: '/stream',
          headers: from === 'http1' ? { 'transfer-encoding': 'chunked' } : {},
        });
        exchange.write(Buffer.from('one,'));
        assert.match(await exchange.nextData(), /^first,/);
        exchange.write(Buffer.from('two,'));
        exchange.end();
        assert.equal((await exchange.response).body.toString(), 'first,one,two,last');
      });

      test('many at once', async () => {
        const all = await Promise.all(
          Array.from({ length: 60 }, (_, i) =>
            echo({ method: 'POST', path: `/echo/${i}`, headers: { 'x-i': String(i) }, body: [big.subarray(0, i * 500)] }),
          ),
        );
        all.forEach((seen, i) => {
          assert.equal(seen.headers['x-i'], String(i));
          assert.equal(seen.length, i * 500);
        });
      });

      test('expect: 100-continue', async () => {
        const seen = await echo({
          method: 'POST',
          path: '/echo',
          headers: { 'content-length': '4' },
          body: [Buffer.from('late')],
          expectContinue: true,
        });
        assert.equal(seen.length, 4);
      });

      test('early hints', async () => {
        const { interim, body } = await run(client, { path: '/hints' });
        assert.deepEqual(interim, [103]);
        assert.equal(body.toString(), 'hinted');
      });

      test('a response before the request is complete', async () => {
        const exchange = client.open({ method: 'POST', path: '/early', headers: { 'content-length': '100' } });
        exchange.write(Buffer.from('some'));
        const answer = await exchange.response;
        assert.equal(answer.status, 413);
        assert.equal(answer.body.toString(), 'early');
        exchange.abort();
      });

      test('a response that breaks off is no complete one', async () => {
        await assert.rejects(run(client, { path: '/cut' }));
      });

      test('an upstream that gives up before it answers: 503', async () => {
        const answer = await run(client, { path: '/refuse' });
        assert.equal(answer.status, 503);
        assert.match(answer.body.toString(), /reset reason: (connection termination|remote reset)/);
      });

      test('a client that gives up', async () => {
        const before = aborted.length;
        const exchange = client.open({ path: '/hang' });
        exchange.end();
        await until(() => hanging > 0, 'the request to arrive');
        hanging = 0;
        assert.equal(await proxy.stat(`cluster.${to}.upstream_rq_active`), 1);
        exchange.abort();
        await until(() => aborted.length > before, 'the upstream to see it');
        assert.equal((await run(client, { path: '/echo' })).status, 200);
      });

      test('protocols in the access log', async () => {
        const name = (protocol: From | To): string => (protocol.endsWith('1') ? 'HTTP/1.1' : 'HTTP/2');
        const wanted = `${name(from)} ${name(to)} /echo 200 -`;
        await until(async () => (await proxy.lines(`${to}.log`, 1)).includes(wanted), wanted);
      });
    });
  }

  test('one connection carries all HTTP/2 requests, and nothing is left over', async () => {
    assert.ok((await proxy.stat('cluster.http2.upstream_cx_http2_total')) <= 2);
    for (const name of TARGETS) {
      await proxy.untilStat(`cluster.${name}.upstream_rq_active`, (n) => n === 0);
      await proxy.untilStat(`http.${name}.downstream_rq_active`, (n) => n === 0);
    }
    await proxy.untilStat('cluster.http2.http2.streams_active', (n) => n === 0);
    assert.equal(await proxy.stat('cluster.http2.upstream_cx_protocol_error'), 0);
  });
});
