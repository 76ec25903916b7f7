/** HTTP/2 over TLS with clients that others wrote: curl, nghttp, h2load, openssl s_client and node:http2. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { FrameType } from '../../src/proxy/http/http2/frame.ts';
import { END_BOTH, frame, GET, START } from '../proxy/http/http2/harness.ts';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route } from './support/config.ts';
import { http2Request } from './support/http2_client.ts';
import { downstreamTls, files, tlsConnect } from './support/tls.ts';
import { echo, type HttpUpstream, httpUpstream, needs } from './support/upstreams.ts';

const run = promisify(execFile);
const certificates = new CertificateFactory();
const ca = certificates.make('test ca', { isCa: true });
const certificate = certificates.make('localhost', { san: 'DNS:localhost', issuer: ca });
const BIG = randomBytes(3 << 20);

describe('HTTP/2 over TLS', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  const url = (path: string): string => `https://localhost:${proxy.port('tls')}${path}`;
  const verify = (): string[] => ['--cacert', ca.certificateFile, '--resolve', `localhost:${proxy.port('tls')}:127.0.0.1`];
  const curl = async (...args: string[]): Promise<string> =>
    (
      await run('curl', ['-sS', '--max-time', '20', '--http2', ...verify(), ...args], {
        encoding: 'latin1',
        maxBuffer: 64 << 20,
      })
    ).stdout;

  before(async () => {
    upstream = await httpUpstream((request, response) => {
      if (request.url !== '/big') echo(request, response);
      else response.end(BIG);
    });
    const routes = [
      { match: { prefix: '/direct' }, direct_response: { status: 200, body: { inline_string: 'direct' } } },
      route('/', 'node'),
    ];
    const log = fileLog('tls.log', '%PROTOCOL% %DOWNSTREAM_TLS_VERSION% %RESPONSE_CODE%');
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('tls', [], {
            filter_chains: [
              {
                filters: [http('tls', routes, { access_log: [log] })],
                transport_socket: downstreamTls([files(certificate)], { alpn_protocols: ['h2', 'http/1.1'] }),
              },
            ],
          }),
          listener('no_alpn', [], {
            filter_chains: [{ filters: [http('no_alpn', routes)], transport_socket: downstreamTls([files(certificate)]) }],
          }),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });

  after(async () => {
    await upstream.close();
    await proxy.stop();
  });

  test('curl --http2: the certificate is verified, bodies both ways, TLS 1.2 and 1.3', { skip: needs('curl') }, async () => {
    assert.equal(await curl('-w', ' %{http_version}', url('/direct')), 'direct 2');
    assert.equal(await curl('-w', ' %{http_version}', '--tls-max', '1.2', url('/direct')), 'direct 2');
    writeFileSync(proxy.file('upload'), BIG);
    const got = JSON.parse(await curl('--data-binary', `@${proxy.file('upload')}`, url('/'))) as {
      length: number;
      sha256: string;
    };
    assert.equal(got.length, BIG.length);
    assert.equal(got.sha256, createHash('sha256').update(BIG).digest('hex'));
    assert.ok(Buffer.from(await curl(url('/big')), 'latin1').equals(BIG));
    const lines = await proxy.lines('tls.log', 4);
    assert.ok(lines.includes('HTTP/2 TLSv1.3 200') && lines.includes('HTTP/2 TLSv1.2 200'));
  });

  test('nghttp: many streams on one connection', { skip: needs('nghttp') }, async () => {
    const { stdout } = await run('nghttp', ['-v', '-n', '-m', '10', `https://127.0.0.1:${proxy.port('tls')}/direct`]);
    assert.match(stdout, /The negotiated protocol: h2/);
    assert.equal(stdout.match(/:status: 200/g)?.length, 10);
  });

  test('h2load: many connections, none fails', { skip: needs('h2load') }, async () => {
    const { stdout } = await run('h2load', ['-n', '2000', '-c', '8', '-m', '20', `https://127.0.0.1:${proxy.port('tls')}/`]);
    assert.match(stdout, /Application protocol: h2/);
    assert.match(stdout, /2000 succeeded, 0 failed, 0 errored/);
    assert.match(stdout, /status codes: 2000 2xx/);
  });

  test('openssl s_client: h2 by ALPN, a request of our own bytes', { skip: needs('openssl') }, async () => {
    const target = ['-connect', `127.0.0.1:${proxy.port('tls')}`, '-servername', 'localhost', '-CAfile', ca.certificateFile];
    const client = spawn('openssl', ['s_client', '-alpn', 'h2', '-quiet', '-verify_return_error', ...target]);
    closeAtEnd(() => client.kill('SIGKILL'));
    const chunks: Buffer[] = [];
    client.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    client.stdin.write(Buffer.concat([START, frame(FrameType.Headers, END_BOTH, 1, GET)]));
    await until(() => Buffer.concat(chunks).includes('"path"'), 'the echo');
    client.kill('SIGKILL');
    const { stdout } = await run('sh', ['-c', `openssl s_client -alpn h2,http/1.1 ${target.join(' ')} </dev/null`]);
    assert.match(stdout, /ALPN protocol: h2/);
    assert.match(stdout, /Verify return code: 0 \(ok\)/);
  });

  test('node:http2: concurrent streams, trailers, a session that is resumed', async () => {
    const options = { ca: ca.certificate, servername: 'localhost' };
    const session = http2.connect(`https://127.0.0.1:${proxy.port('tls')}`, options);
    closeAtEnd(() => session.destroy());
    const ticket = once(session.socket, 'session');
    await once(session, 'connect');
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        http2Request(session, { ':path': `/n/${i}`, ':method': 'POST' }, 'x'.repeat(i * 500), { 'x-sum': String(i) }),
      ),
    );
    answers.forEach((answer, i) => {
      const seen = JSON.parse(answer.body.toString()) as { path: string; length: number };
      assert.deepEqual([seen.path, seen.length], [`/n/${i}`, i * 500]);
    });
    const [saved] = (await ticket) as [Buffer];
    session.close();
    const again = http2.connect(`https://127.0.0.1:${proxy.port('tls')}`, { ...options, session: saved });
    closeAtEnd(() => again.destroy());
    assert.equal((await http2Request(again, { ':path': '/direct' })).body.toString(), 'direct');
    assert.ok((await proxy.stat('listener.tls.ssl.session_reused')) >= 1);
    again.close();
  });

  test('without ALPN the preface decides', async () => {
    const socket = await tlsConnect(proxy.port('no_alpn'), { ca: ca.certificate });
    const session = http2.connect('https://localhost', { createConnection: () => socket });
    closeAtEnd(() => session.destroy());
    assert.equal((await http2Request(session, { ':path': '/direct' })).body.toString(), 'direct');
    assert.equal(await proxy.stat('http.no_alpn.downstream_cx_http2_total'), 1);
    session.close();
  });

  test('nothing is left over', async () => {
    for (const name of ['tls', 'no_alpn']) await proxy.untilStat(`http.${name}.downstream_cx_active`, (n) => n === 0);
    await proxy.untilStat('http.tls.http2.streams_active', (n) => n === 0);
    await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
  });
});
