/** From HTTP/1.1 to HTTP/2 on one connection (RFC 7540 3.2): curl, nghttp and raw bytes; off unless configuration asks for it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { FrameType, PREFACE } from '../../src/proxy/http/http2/frame.ts';
import { END_BOTH, frame, GET, SETTINGS, uint32 } from '../proxy/http/http2/harness.ts';
import { type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route } from './support/config.ts';
import { dial, type Wire } from './support/raw.ts';
import { echo, type HttpUpstream, httpUpstream, needs } from './support/upstreams.ts';

const run = promisify(execFile);
const H2C = { upgrade_configs: [{ upgrade_type: 'h2c' }] };
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n';

/** What a client sends first: window 65535 x 2 and 100 streams by default. */
function ask(settings = 'AAMAAABkAAQAAP__', path = '/direct', more = ''): string {
  return `GET ${path} HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: ${settings}\r\n${more}\r\n`;
}

interface Frame {
  type: number;
  flags: number;
  id: number;
  payload: Buffer;
}

/** All whole frames in `bytes`. */
function frames(bytes: Buffer): Frame[] {
  const found: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    const payload = bytes.subarray(at + 9, at + 9 + length);
    found.push({ type: bytes[at + 3], flags: bytes[at + 4], id: bytes.readUInt32BE(at + 5), payload });
    at += 9 + length;
  }
  return found;
}

const ended = (wire: Wire, id: number): boolean =>
  frames(wire.received.subarray(SWITCHING.length)).some((f) => f.id === id && f.type <= 1 && (f.flags & 1) !== 0);

describe('h2c by upgrade', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  const url = (path: string, name = 'on'): string => `http://127.0.0.1:${proxy.port(name)}${path}`;

  before(async () => {
    upstream = await httpUpstream(echo);
    const routes = [
      { match: { prefix: '/direct' }, direct_response: { status: 200, body: { inline_string: 'direct' } } },
      route('/', 'node'),
    ];
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('on', [
            http('on', routes, { ...H2C, access_log: [fileLog('on.log', '%PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE%')] }),
          ]),
          listener('off', [http('off', routes)]),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });

  after(async () => {
    await upstream.close();
    await proxy.stop();
  });

  test('curl --http2: two requests on one connection, the upstream sees nothing of the upgrade', {
    skip: needs('curl'),
  }, async () => {
    const { stdout } = await run('curl', ['-sS', '--http2', '-w', ' %{http_version}\n', url('/direct'), url('/echo?a=b')]);
    const [first, second] = stdout.split('\n');
    assert.equal(first, 'direct 2');
    const seen = JSON.parse(second.slice(0, second.lastIndexOf('}') + 1)) as { path: string; headers: Record<string, string> };
    assert.equal(seen.path, '/echo?a=b');
    assert.equal(second.endsWith(' 2'), true);
    const alone = JSON.parse((await run('curl', ['-sS', '--http2', url('/echo')])).stdout) as { headers: Record<string, string> };
    assert.equal(alone.headers['upgrade'], undefined);
    assert.equal(alone.headers['http2-settings'], undefined);
    await proxy.untilStat('http.on.downstream_cx_http2_active', (n) => n === 0);
    assert.equal(await proxy.stat('http.on.downstream_cx_http1_active'), 0);
    assert.ok((await proxy.stat('http.on.downstream_cx_http2_total')) >= 2);
    assert.ok((await proxy.lines('on.log', 3)).includes('HTTP/2 /direct 200'));
  });

  test('curl --http2 with a body stays on HTTP/1.1', { skip: needs('curl') }, async () => {
    const { stdout } = await run('curl', ['-sS', '--http2', '-d', 'body', '-w', ' %{http_version}', url('/')]);
    assert.match(stdout, /"length":4.* 1\.1$/);
  });

  test('nghttp -u: the upgraded request and more streams', { skip: needs('nghttp') }, async () => {
    const { stdout } = await run('nghttp', ['-v', '-u', url('/direct'), url('/echo'), url('/direct?2')]);
    assert.match(stdout, /HTTP Upgrade success/);
    assert.equal(stdout.match(/:status: 200/g)?.length, 3);
    assert.doesNotMatch(stdout, /GOAWAY frame <[^>]*>\s+\(last_stream_id=\d+, error_code=(?!NO_ERROR)/);
  });

  test('where it is not configured, the request is answered in HTTP/1.1 (as by Envoy)', { skip: needs('curl') }, async () => {
    const { stdout } = await run('curl', ['-sS', '--http2', '-w', ' %{http_version}', url('/direct', 'off')]);
    assert.equal(stdout, 'direct 1.1');
    assert.equal(await proxy.stat('http.off.downstream_cx_http2_total'), 0);
  });

  test('101, then SETTINGS, then the response on stream 1; the preface and stream 3 in the same segment', async () => {
    const wire = await dial(proxy.port('on'));
    wire.send(Buffer.concat([Buffer.from(ask()), PREFACE, SETTINGS, frame(FrameType.Headers, END_BOTH, 3, GET)]));
    await wire.until(() => ended(wire, 1) && ended(wire, 3), 'both responses');
    assert.ok(wire.text.startsWith(SWITCHING));
    const got = frames(wire.received.subarray(SWITCHING.length));
    assert.equal(got[0].type, FrameType.Settings);
    assert.ok(got.some((f) => f.type === FrameType.Settings && f.flags === 1));
    assert.equal(got.find((f) => f.type === FrameType.Data && f.id === 1)?.payload.toString(), 'direct');
    // Stream 1 is the client's no more.
    wire.send(Buffer.from(frame(FrameType.Headers, END_BOTH, 1, GET)));
    await wire.untilClosed();
  });

  test('the windows of HTTP2-Settings hold for stream 1', async () => {
    const wire = await dial(proxy.port('on'));
    const small = Buffer.from([0, 4, 0, 0, 0, 2]).toString('base64url');
    wire.send(Buffer.concat([Buffer.from(ask(small)), PREFACE, SETTINGS]));
    const data = (): string =>
      frames(wire.received.subarray(SWITCHING.length))
        .filter((f) => f.type === FrameType.Data)
        .map((f) => f.payload.toString())
        .join('|');
    await wire.until(() => data() === 'di', 'two bytes');
    wire.send(Buffer.from(frame(FrameType.WindowUpdate, 0, 1, uint32(100))));
    await wire.until(() => ended(wire, 1), 'the rest');
    assert.equal(data(), 'di|rect');
    wire.destroy();
  });

  const refused: [what: string, request: string][] = [
    ['no HTTP2-Settings', 'GET /direct HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n'],
    ['HTTP2-Settings twice', ask('AAMAAABk', '/direct', 'http2-settings: AAMAAABk\r\n')],
    ['HTTP2-Settings that are no option of the connection', ask().replace(', HTTP2-Settings', '')],
    ['no base64url', ask('AAM+AAB/')],
    ['a part of a setting', ask('AAMAAAA')],
    ['a window beyond the limit', ask(Buffer.from([0, 4, 255, 255, 255, 255]).toString('base64url'))],
    ['a chunked body', `${ask('AAMAAABk', '/direct', 'transfer-encoding: chunked\r\n')}0\r\n\r\n`],
    ['another protocol beside it', ask().replace('upgrade: h2c', 'upgrade: h2')],
  ];
  for (const [what, request] of refused) {
    test(`stays on HTTP/1.1, or is refused there: ${what}`, async () => {
      const wire = await dial(proxy.port('on'));
      wire.send(request);
      const message = await wire.message();
      assert.match(message.start, /^HTTP\/1\.1 (200|403)/);
      wire.destroy();
    });
  }

  test('what follows the upgrade has to be HTTP/2', async () => {
    const wire = await dial(proxy.port('on'));
    wire.send(`${ask()}GET /direct HTTP/1.1\r\nhost: a\r\n\r\n`);
    await wire.untilClosed();
    assert.equal(wire.text.match(/HTTP\/1\.1 /g)?.length, 1);
  });

  test('configuration: AUTO is needed', async () => {
    const filter = http('x', [route('/', 'none')], { ...H2C, codec_type: 'HTTP1' });
    await assert.rejects(
      startProxy({ config: bootstrap([listener('x', [filter])], [cluster('none', [1])]) }),
      /upgrade_configs\[0\].*h2c needs codec_type AUTO|h2c needs codec_type AUTO/,
    );
  });

  test('nothing is left over', async () => {
    await proxy.untilStat('http.on.downstream_cx_active', (n) => n === 0);
    assert.equal(await proxy.stat('http.on.downstream_rq_active'), 0);
    assert.equal(await proxy.stat('http.on.http2.streams_active'), 0);
    assert.equal(await proxy.stat('http.on.downstream_cx_http1_active'), 0);
  });
});
