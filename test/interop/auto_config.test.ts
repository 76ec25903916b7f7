/** `auto_config`: each host of a cluster speaks what ALPN settles with it, on the connection that settled it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import http2, { type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, upstreamAuto } from './support/config.ts';
import { unusedPort } from './support/raw.ts';
import { upstreamTls } from './support/tls.ts';

const { certificate, key } = new CertificateFactory().make('upstream');
const identity = { cert: certificate, key };

type Kind = 'h2' | 'http/1.1' | 'no ALPN' | 'both';
type Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

class Upstream {
  connections = 0;
  port = 0;
  private readonly sockets = new Set<Socket>();
  private server: Server | null = null;
  private readonly answer: Answer;

  constructor(answer: Answer = (request, response) => response.end(request.httpVersion)) {
    this.answer = answer;
    closeAtEnd(() => void this.stop());
  }

  async start(kind: Kind, port = this.port): Promise<this> {
    const server = serverOf(kind, this.answer);
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.sockets.delete(socket));
    });
    server.on('secureConnection', () => this.connections++);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.server = server;
    this.port = (server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    const { server } = this;
    this.server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

function serverOf(kind: Kind, answer: Answer): Server {
  const onRequest = answer as unknown as RequestListener;
  if (kind === 'h2') return http2.createSecureServer(identity, answer);
  if (kind === 'both') return http2.createSecureServer({ ...identity, allowHTTP1: true }, answer);
  if (kind === 'http/1.1') return createHttpsServer({ ...identity, keepAliveTimeout: 60_000 }, onRequest);
  const plain = createHttpServer({ keepAliveTimeout: 60_000 }, onRequest);
  return createTlsServer(identity, (socket) => plain.emit('connection', socket));
}

const auto = (ports: number[], name: string, extra: Json = {}): Json =>
  cluster(name, ports, { transport_socket: upstreamTls(), ...upstreamAuto(), ...extra });

describe('auto_config', () => {
  let proxy: ProxyProcess;
  const kinds: Kind[] = ['h2', 'http/1.1', 'no ALPN', 'both'];
  const hosts: Upstream[] = [];
  const held: Http2ServerResponse[] = [];
  const hold: Answer = (_, response) => void held.push(response);
  const closing = new Upstream((_, response) => {
    response.setHeader('connection', 'close');
    response.end('closed');
  });
  const slow1 = new Upstream(hold);
  const slow2 = new Upstream(hold);
  const changing = new Upstream();
  const leaving = new Upstream(hold);

  before(async () => {
    for (const kind of kinds) hosts.push(await new Upstream().start(kind));
    await closing.start('http/1.1');
    await slow1.start('http/1.1');
    await slow2.start('h2');
    await leaving.start('http/1.1');
    await changing.start('http/1.1', await unusedPort());
    const names = ['mixed', 'closing', 'slow1', 'slow2', 'changing', 'leaving'];
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http(
              'main',
              names.map((name) => route(`/${name}`, name)),
            ),
          ]),
        ],
        [
          auto(
            hosts.map(({ port }) => port),
            'mixed',
          ),
          auto([closing.port], 'closing'),
          auto([slow1.port], 'slow1'),
          auto([slow2.port], 'slow2'),
          auto([changing.port], 'changing'),
          auto([leaving.port], 'leaving'),
        ],
      ),
    });
  });
  after(() => proxy.stop());

  const get = async (path: string): Promise<string> => {
    const { status, body } = await httpRequest(proxy.port('main'), path);
    assert.equal(status, 200, body);
    return body;
  };
  const stats = async (name: string, ...kinds_: string[]): Promise<number[]> =>
    Promise.all(kinds_.map((kind) => proxy.stat(`cluster.${name}.upstream_${kind}`)));

  test('hosts of one cluster that settle differently: one connection each, and all requests on it', async () => {
    const versions: Record<string, number> = {};
    for (let i = 0; i < 40; i++) {
      const version = await get('/mixed');
      versions[version] = (versions[version] ?? 0) + 1;
    }
    assert.deepEqual(versions, { '1.1': 20, '2.0': 20 });
    assert.deepEqual(
      hosts.map(({ connections }) => connections),
      [1, 1, 1, 1],
    );
    assert.deepEqual(await stats('mixed', 'cx_total', 'cx_http1_total', 'cx_http2_total', 'cx_active'), [4, 2, 2, 4]);
    assert.deepEqual(await stats('mixed', 'rq_total', 'rq_active', 'cx_connect_fail', 'cx_destroy'), [40, 0, 0, 0]);
    assert.equal(await proxy.stat('cluster.mixed.ssl.handshake'), 4);
  });

  test('a host that ends each HTTP/1.1 connection: one for each request', async () => {
    for (let i = 0; i < 6; i++) assert.equal(await get('/closing'), 'closed');
    assert.equal(closing.connections, 6);
    await proxy.untilStat('cluster.closing.upstream_cx_active', (n) => n === 0);
    assert.deepEqual(await stats('closing', 'cx_total', 'cx_http1_total', 'cx_http2_total', 'rq_total'), [6, 6, 0, 6]);
  });

  test('requests at a time: a connection for each with HTTP/1.1, one with HTTP/2', async () => {
    for (const [name, upstream, expected] of [
      ['slow1', slow1, 5],
      ['slow2', slow2, 1],
    ] as const) {
      const answers = Array.from({ length: 5 }, () => get(`/${name}`));
      await until(() => held.length === 5, `5 requests at ${name}`);
      assert.equal(upstream.connections, expected);
      assert.deepEqual(await stats(name, 'cx_total', 'cx_active', 'rq_active', 'rq_pending_active'), [expected, expected, 5, 0]);
      for (const response of held.splice(0)) response.end('late');
      assert.deepEqual(await Promise.all(answers), Array(5).fill('late'));
      await proxy.untilStat(`cluster.${name}.upstream_rq_active`, (n) => n === 0);
      // They are used again.
      const again = get(`/${name}`);
      await until(() => held.length === 1, 'one more');
      held.pop()!.end('again');
      assert.equal(await again, 'again');
      assert.equal(upstream.connections, expected);
    }
  });

  test('a host that speaks something else after a restart', async () => {
    const steps: [Kind, string][] = [
      ['http/1.1', '1.1'],
      ['h2', '2.0'],
      ['no ALPN', '1.1'],
      ['both', '2.0'],
      ['http/1.1', '1.1'],
    ];
    let total = 0;
    for (const [kind, version] of steps) {
      await changing.stop();
      await proxy.untilStat('cluster.changing.upstream_cx_active', (n) => n === 0);
      await changing.start(kind);
      for (let i = 0; i < 3; i++) assert.equal(await get('/changing'), version, kind);
      total++;
      assert.equal(changing.connections, total);
    }
    assert.deepEqual(await stats('changing', 'cx_total', 'cx_http1_total', 'cx_http2_total', 'rq_total'), [5, 3, 2, 15]);
    assert.deepEqual(await stats('changing', 'cx_connect_fail', 'cx_destroy'), [0, 4]);
  });

  test('the connections of a host that is gone while requests are on them', async () => {
    const lost = Array.from({ length: 3 }, () => httpRequest(proxy.port('main'), '/leaving'));
    await until(() => held.length === 3, 'three requests');
    held.length = 0;
    await leaving.stop();
    assert.deepEqual(
      (await Promise.all(lost)).map(({ status }) => status),
      [503, 503, 503],
    );
    assert.deepEqual(await stats('leaving', 'cx_total', 'cx_active', 'rq_active', 'cx_destroy_with_active_rq'), [3, 0, 0, 3]);
    assert.equal((await httpRequest(proxy.port('main'), '/leaving')).status, 503);
    await leaving.start('h2');
    const found = get('/leaving');
    await until(() => held.length === 1, 'a request');
    held.pop()!.end('back');
    assert.equal(await found, 'back');
    assert.deepEqual(await stats('leaving', 'cx_http2_total', 'cx_connect_fail'), [1, 1]);
  });
});
