/** WebSockets over HTTP/2 (RFC 8441) on either side, keepalive PINGs, and clients that mean no good, against the running proxy. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { FrameType, PREFACE } from '../../src/proxy/http/http2/frame.ts';
import { END_BOTH, frame, GET, START, uint32 } from '../proxy/http/http2/harness.ts';
import { closeAtEnd, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, upstreamHttp2 } from './support/config.ts';
import { http2Request, http2Session } from './support/http2_client.ts';

/** A masked text frame (RFC 6455 5.2), as clients send it. */
function textFrame(text: string): Buffer {
  const mask = [1, 2, 3, 4];
  const payload = Buffer.from(text).map((byte, i) => byte ^ mask[i % 4]);
  return Buffer.from([0x81, 0x80 | payload.length, ...mask, ...payload]);
}

describe('HTTP/2: upgrades, keepalive, floods', () => {
  let proxy: ProxyProcess;
  let silent: { server: ReturnType<typeof createServer>; sockets: Socket[] };

  before(async () => {
    const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(sockets, 'listening');
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${String(data)}`)));
    const tunnels = http2.createServer({ settings: { enableConnectProtocol: true } });
    tunnels.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
      if (headers[':protocol'] !== 'websocket') {
        stream.respond({ ':status': 400 }, { endStream: true });
        return;
      }
      stream.respond({ ':status': 200 });
      // Frames of a client are masked, those of a server are not: unmask and send back.
      stream.on('data', (bytes: Buffer) => {
        const length = bytes[1] & 0x7f;
        const payload = bytes.subarray(6, 6 + length).map((byte, i) => byte ^ bytes[2 + (i % 4)]);
        stream.write(Buffer.from([0x81, length, ...payload]));
      });
      stream.on('end', () => stream.end());
      stream.on('error', () => {});
    });
    tunnels.listen(0, '127.0.0.1');
    await once(tunnels, 'listening');
    closeAtEnd(() => {
      sockets.close();
      tunnels.close();
    });
    silent = { server: createServer((socket) => silent.sockets.push(socket.on('error', () => {}))), sockets: [] };
    silent.server.listen(0, '127.0.0.1');
    await once(silent.server, 'listening');
    closeAtEnd(() => {
      for (const socket of silent.sockets) socket.destroy();
      silent.server.close();
    });
    const upgrades = { upgrade_configs: [{ upgrade_type: 'websocket' }], http2_protocol_options: { allow_connect: true } };
    const direct = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'direct' } } }];
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('h1up', [http('h1up', [route('/', 'sockets')], upgrades)]),
          listener('h2up', [http('h2up', [route('/', 'tunnels')], upgrades)]),
          listener('ping', [
            http('ping', direct, { http2_protocol_options: { connection_keepalive: { interval: '0.05s', timeout: '0.3s' } } }),
          ]),
          listener('pingup', [http('pingup', [route('/', 'silent', { timeout: '0s' })])]),
          listener('plain', [http('plain', [route('/', 'silent', { timeout: '0s' })])]),
        ],
        [
          cluster('sockets', [(sockets.address() as AddressInfo).port]),
          cluster('tunnels', [(tunnels.address() as AddressInfo).port], upstreamHttp2()),
          cluster(
            'silent',
            [(silent.server.address() as AddressInfo).port],
            upstreamHttp2({ connection_keepalive: { interval: '0.05s', timeout: '0.2s' } }),
          ),
        ],
      ),
    });
  });

  after(() => proxy.stop());

  for (const [name, to] of [
    ['h1up', 'HTTP/1.1'],
    ['h2up', 'HTTP/2'],
  ] as const) {
    test(`WebSocket: HTTP/2 client, ${to} upstream`, async () => {
      const session = await http2Session(proxy.port(name));
      if (session.remoteSettings.enableConnectProtocol !== true) await once(session, 'remoteSettings');
      assert.equal(session.remoteSettings.enableConnectProtocol, true);
      const stream = session.request({
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':path': '/chat',
        'sec-websocket-version': '13',
      });
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
      assert.equal(headers[':status'], 200);
      stream.write(textFrame('hi'));
      const [data] = (await once(stream, 'data')) as [Buffer];
      assert.equal(data.subarray(2).toString(), to === 'HTTP/1.1' ? 'echo hi' : 'hi');
      stream.close();
      session.close();
    });

    test(`WebSocket: HTTP/1.1 client, ${to} upstream`, async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${proxy.port(name)}/chat`);
      await once(socket, 'open');
      socket.send('hi');
      const [data] = (await once(socket, 'message')) as [Buffer];
      assert.equal(data.toString(), to === 'HTTP/1.1' ? 'echo hi' : 'hi');
      socket.terminate();
    });
  }

  test('keepalive: a client that answers stays, one that does not is closed', async () => {
    const session = await http2Session(proxy.port('ping'));
    assert.equal((await http2Request(session, { ':path': '/' })).body.toString(), 'direct');
    const mute = connect(proxy.port('ping'), '127.0.0.1');
    mute.write(START);
    mute.resume();
    await once(mute, 'close');
    assert.equal(await proxy.stat('http.ping.http2.keepalive_timeout'), 1);
    assert.equal(session.destroyed, false);
    assert.equal((await http2Request(session, { ':path': '/' })).body.toString(), 'direct');
    session.close();
  });

  test('keepalive: an upstream that says nothing is given up', async () => {
    const session = await http2Session(proxy.port('pingup'));
    const answer = await http2Request(session, { ':path': '/' });
    assert.equal(answer.status, 503);
    assert.equal(await proxy.stat('cluster.silent.http2.keepalive_timeout'), 1);
    session.close();
  });

  test('rapid reset: the connection is closed, the proxy goes on', async () => {
    const client = connect(proxy.port('plain'), '127.0.0.1');
    client.on('error', () => {});
    client.resume();
    client.write(START);
    for (let id = 1; id < 4000; id += 2) {
      client.write(Buffer.concat([frame(FrameType.Headers, END_BOTH, id, GET), frame(FrameType.RstStream, 0, id, uint32(8))]));
    }
    // A reset is no error here, and `once` would make it one.
    await new Promise((resolve) => client.once('close', resolve));
    assert.equal(await proxy.stat('http.plain.downstream_rq_too_many_premature_resets'), 1);
    const rx = await proxy.stat('http.plain.http2.rx_reset');
    assert.ok(rx >= 250 && rx < 1000, String(rx));
    await proxy.untilStat('http.plain.downstream_rq_active', (n) => n === 0);
    await proxy.untilStat('cluster.silent.upstream_rq_active', (n) => n === 0);
  });

  test('floods against the running proxy: counted, closed, memory bounded', async () => {
    const session = await http2Session(proxy.port('ping'));
    const before = proxy.rss();
    const floods: [stat: string, first: Uint8Array, repeated: Uint8Array][] = [
      ['inbound_priority_frames_flood', START, frame(FrameType.Priority, 0, 1, [...uint32(0), 0])],
      ['inbound_empty_frames_flood', Buffer.concat([START, frame(FrameType.Headers, 4, 1, GET)]), frame(FrameType.Data, 0, 1)],
      ['inbound_window_update_frames_flood', START, frame(FrameType.WindowUpdate, 0, 0, uint32(1))],
      [
        'header_overflow',
        Buffer.concat([START, frame(FrameType.Headers, 0, 1, GET)]),
        frame(FrameType.Continuation, 0, 1, new Uint8Array(1000)),
      ],
      ['outbound_control_flood', START, frame(FrameType.Settings, 0, 0)],
    ];
    for (const [stat, first, repeated] of floods) {
      const client = connect(proxy.port('ping'), '127.0.0.1');
      client.on('error', () => {});
      // The last one never reads.
      if (stat !== 'outbound_control_flood') client.resume();
      client.write(first);
      const many = Buffer.concat(Array.from({ length: 2000 }, () => repeated));
      const closed = once(client, 'close');
      let open = true;
      void closed.then(() => {
        open = false;
      });
      for (let i = 0; i < 20 && open; i++) {
        client.write(many);
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (stat === 'outbound_control_flood') client.resume();
      await closed;
      await proxy.untilStat(`http.ping.http2.${stat}`, (n) => n >= 1);
    }
    assert.ok(proxy.rss() - before < 100 << 20);
    assert.equal((await http2Request(session, { ':path': '/' })).body.toString(), 'direct');
    session.close();
  });

  test('a preface and nothing more, or half of one', async () => {
    for (const bytes of [PREFACE, PREFACE.subarray(0, 5), Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n')]) {
      const client = connect(proxy.port('ping'), '127.0.0.1');
      client.on('error', () => {});
      client.write(bytes);
      client.end();
      client.resume();
      await once(client, 'close');
    }
    await until(async () => (await proxy.stat('http.ping.downstream_cx_active')) === 0, 'connections to end');
  });
});
