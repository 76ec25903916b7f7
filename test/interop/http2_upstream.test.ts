/** HTTP/2 pools onto node:http2: GOAWAY, limits of both sides, refused streams, protocols that follow the client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, httpRequest, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, upstreamAsDownstream, upstreamHttp2 } from './support/config.ts';
import { http2Request, http2Session } from './support/http2_client.ts';
import { upstreamTls } from './support/tls.ts';

const certificate = new CertificateFactory().make('upstream');

async function http2Upstream(
  onStream: (stream: ServerHttp2Stream, path: string, session: ServerHttp2Session) => void,
  settings: http2.Settings = {},
): Promise<number> {
  const server = http2.createServer({ settings });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers[':path'] ?? '', stream.session as ServerHttp2Session);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAtEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

const answer = (stream: ServerHttp2Stream, body: string): void => {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200 });
  stream.end(body);
};

describe('HTTP/2 upstreams', () => {
  let proxy: ProxyProcess;
  let refusals = 0;
  const held: ServerHttp2Stream[] = [];

  before(async () => {
    let served = 0;
    const leaving = await http2Upstream((stream, path, session) => {
      answer(stream, path);
      // Ends politely after every tenth: GOAWAY, then what is under way.
      if (++served % 10 === 0) session.close();
    });
    const few = await http2Upstream((stream) => held.push(stream), { maxConcurrentStreams: 3 });
    const refusing = await http2Upstream((stream, path) => {
      if (refusals-- > 0) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      else answer(stream, path);
    });
    const both = http2.createSecureServer(
      { allowHTTP1: true, cert: certificate.certificate, key: certificate.key },
      (request, response) => response.end(`HTTP/${request.httpVersion}`),
    );
    both.listen(0, '127.0.0.1');
    await once(both, 'listening');
    closeAtEnd(() => both.close());
    const plain = await http2Upstream((stream, path) => answer(stream, path));

    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http('main', [
              route('/leaving', 'leaving', { retry_policy: { retry_on: 'refused-stream,reset', num_retries: 2 } }),
              route('/few', 'few'),
              route('/refusing', 'refusing', { retry_policy: { retry_on: 'refused-stream', num_retries: 3 } }),
              route('/both', 'both'),
              route('/once', 'once'),
              route('/breaker', 'breaker'),
            ]),
          ]),
        ],
        [
          cluster('leaving', [leaving], { ...upstreamHttp2(), circuit_breakers: { thresholds: [{ max_retries: 100 }] } }),
          cluster('few', [few], upstreamHttp2()),
          cluster('refusing', [refusing], upstreamHttp2()),
          cluster('both', [(both.address() as AddressInfo).port], { transport_socket: upstreamTls(), ...upstreamAsDownstream() }),
          cluster('once', [plain], upstreamHttp2({}, { max_requests_per_connection: 4 })),
          cluster('breaker', [few], {
            ...upstreamHttp2({ max_concurrent_streams: 2 }),
            circuit_breakers: { thresholds: [{ max_connections: 1, max_requests: 2, max_pending_requests: 1 }] },
          }),
        ],
      ),
    });
  });

  after(() => proxy.stop());

  test('GOAWAY: what is under way is finished, the next request takes a new connection, none fails', async () => {
    const session = await http2Session(proxy.port('main'));
    for (let round = 0; round < 8; round++) {
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, i) => http2Request(session, { ':path': `/leaving/${round}/${i}` })),
      );
      answers.forEach(({ status, body }, i) => {
        assert.equal(status, 200);
        assert.equal(body.toString(), `/leaving/${round}/${i}`);
      });
    }
    session.close();
    assert.ok((await proxy.stat('cluster.leaving.upstream_cx_close_notify')) >= 4);
    assert.ok((await proxy.stat('cluster.leaving.upstream_cx_http2_total')) >= 5);
  });

  test("the peer's stream limit: more connections, or waiting, not errors", async () => {
    const session = await http2Session(proxy.port('main'));
    // The first tells how many there may be.
    const first = http2Request(session, { ':path': '/few' });
    await until(() => held.length === 1, 'the first request');
    answer(held.pop() as ServerHttp2Stream, 'ok');
    await first;
    const answers = Array.from({ length: 9 }, (_, i) => http2Request(session, { ':path': `/few/${i}` }));
    await proxy.untilStat('cluster.few.upstream_rq_active', (n) => n === 9);
    assert.ok((await proxy.stat('cluster.few.upstream_cx_active')) >= 3);
    await until(() => held.length === 9, 'all to arrive');
    for (const stream of held.splice(0)) answer(stream, 'ok');
    for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
    session.close();
  });

  test('refused streams are tried again', async () => {
    refusals = 2;
    const { status, body } = await httpRequest(proxy.port('main'), '/refusing');
    assert.equal(status, 200);
    assert.equal(body, '/refusing');
    assert.equal(await proxy.stat('cluster.refusing.upstream_rq_retry'), 2);
  });

  test('the protocol follows the client', async () => {
    assert.equal((await httpRequest(proxy.port('main'), '/both')).body, 'HTTP/1.1');
    const session = await http2Session(proxy.port('main'));
    assert.equal((await http2Request(session, { ':path': '/both' })).body.toString(), 'HTTP/2.0');
    session.close();
    assert.equal(await proxy.stat('cluster.both.upstream_cx_http1_total'), 1);
    assert.equal(await proxy.stat('cluster.both.upstream_cx_http2_total'), 1);
  });

  test('max_requests_per_connection', async () => {
    for (let i = 0; i < 9; i++) assert.equal((await httpRequest(proxy.port('main'), '/once')).status, 200);
    assert.equal(await proxy.stat('cluster.once.upstream_cx_total'), 3);
    assert.equal(await proxy.stat('cluster.once.upstream_cx_max_requests'), 2);
  });

  test('circuit breakers count streams', async () => {
    const session = await http2Session(proxy.port('main'));
    const answers = [http2Request(session, { ':path': '/breaker/1' })];
    await proxy.untilStat('cluster.breaker.upstream_rq_active', (n) => n === 1);
    answers.push(http2Request(session, { ':path': '/breaker/2' }));
    await until(() => held.length === 2, 'both to arrive');
    const waiting = http2Request(session, { ':path': '/breaker/waits' });
    await proxy.untilStat('cluster.breaker.upstream_rq_pending_active', (n) => n === 1);
    const refused = await http2Request(session, { ':path': '/breaker/refused' });
    assert.equal(refused.status, 503);
    assert.equal(refused.headers['x-envoy-overloaded'], 'true');
    for (const stream of held.splice(0)) answer(stream, 'ok');
    for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
    await until(() => held.length === 1, 'the one that waited');
    for (const stream of held.splice(0)) answer(stream, 'late');
    assert.equal((await waiting).body.toString(), 'late');
    session.close();
  });
});
