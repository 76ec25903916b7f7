/**
 * HTTP/2 peers that mean no good, against the running proxy, beyond those of `http2_upgrades.test.ts`: clients, and upstreams. Each is
 * counted, ends as RFC 9113 and Envoy say, and costs bounded memory; meanwhile another client is served.
 */
import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { ErrorCode, Flag, FrameType } from '../../src/proxy/http/http2/frame.ts';
import { block, END_BOTH, frame, GET, POST, SETTINGS, START, uint32 } from '../proxy/http/http2/harness.ts';
import { httpRequest, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, upstreamHttp2 } from './support/config.ts';
import { http2Request, http2Session } from './support/http2_client.ts';
import { dial, type RawUpstream, rawUpstream, type Wire } from './support/raw.ts';

/** What warms up counts, too. */
const MEMORY = 128 << 20;
const headers = (id: number, flags: number, payload: number[]): Uint8Array => frame(FrameType.Headers, flags, id, payload);
const setting = (id: number, value: number): Uint8Array => frame(FrameType.Settings, 0, 0, [id >> 8, id & 255, ...uint32(value)]);
const repeat = (count: number, make: (i: number) => Uint8Array): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

/** The last GOAWAY's error code among what came; -1: there is none. */
function goAwayCode(received: Buffer): number {
  let code = -1;
  for (let at = 0; at + 9 <= received.length; at += 9 + received.readUIntBE(at, 3)) {
    if (received[at + 3] === FrameType.GoAway && at + 17 <= received.length) code = received.readUInt32BE(at + 13);
  }
  return code;
}

describe('HTTP/2 attacks', () => {
  let proxy: ProxyProcess;
  let session: ClientHttp2Session;
  let bad: RawUpstream;
  /** What the upstream does with its next connection. */
  let attack: (wire: Wire) => void = () => {};
  let rss = 0;

  before(async () => {
    bad = await rawUpstream((wire) => attack(wire));
    const direct = [
      { match: { prefix: '/up' }, route: { cluster: 'bad', timeout: '5s' } },
      { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'direct'.repeat(100) } } },
    ];
    proxy = await startProxy({
      concurrency: 1,
      config: bootstrap(
        [
          listener('h2', [http('h2', direct)]),
          listener('few', [
            http('few', [route('/', 'bad', { timeout: '0s' })], { http2_protocol_options: { max_concurrent_streams: 10 } }),
          ]),
          listener('errors', [
            http('errors', direct, { http2_protocol_options: { override_stream_error_on_invalid_http_message: true } }),
          ]),
          listener('idle', [http('idle', direct, { stream_idle_timeout: '0.2s' })]),
        ],
        [cluster('bad', [bad.port], upstreamHttp2({ max_concurrent_streams: 100 }))],
      ),
    });
    session = await http2Session(proxy.port('h2'));
    assert.equal((await http2Request(session, { ':path': '/' })).status, 200);
    rss = proxy.rss();
  });
  after(async () => {
    session.close();
    await proxy.stop();
    await bad.close();
  });

  /** Another client is served, memory did not grow. */
  async function stands(): Promise<void> {
    assert.equal((await http2Request(session, { ':path': '/' })).status, 200);
    assert.ok(proxy.rss() - rss < MEMORY, `${(proxy.rss() - rss) >> 20} MB more`);
  }

  /** Sends until the connection closes, without reading when `deaf`. */
  async function flood(port: number, first: Uint8Array, repeated: Buffer, deaf = false, times = 60): Promise<Wire> {
    const wire = await dial(port, !deaf);
    wire.send(Buffer.from(first));
    for (let i = 0; i < times && !wire.closed; i++) {
      wire.send(repeated);
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (deaf) wire.read();
    await wire.untilClosed().catch((error: Error) => {
      if (!wire.closed) throw error;
    });
    return wire;
  }

  test('PINGs, and SETTINGS, whose answers are not read', async () => {
    for (const one of [frame(FrameType.Ping, 0, 0, '12345678'), setting(0x99, 1)]) {
      const before = await proxy.stat('http.h2.http2.outbound_control_flood');
      await flood(
        proxy.port('h2'),
        START,
        repeat(20_000, () => one),
        true,
      );
      await proxy.untilStat('http.h2.http2.outbound_control_flood', (n) => n === before + 1);
    }
    await stands();
  });

  test('requests that make us reset them, and the resets are not read', async () => {
    let id = -1;
    const wrong = block(['a', 'b']);
    const before = await proxy.stat('http.errors.http2.outbound_control_flood');
    await flood(
      proxy.port('errors'),
      START,
      repeat(100_000, () => headers((id += 2), END_BOTH, wrong)),
      true,
      3,
    );
    await proxy.untilStat('http.errors.http2.outbound_control_flood', (n) => n === before + 1);
    assert.ok((await proxy.stat('http.errors.http2.rx_messaging_error')) >= 900);
    await stands();
  });

  test('responses that are not read', async () => {
    let id = -1;
    await flood(
      proxy.port('h2'),
      Buffer.concat([START, frame(FrameType.WindowUpdate, 0, 0, uint32(1 << 30))]),
      repeat(60_000, () => headers((id += 2), END_BOTH, GET)),
      true,
      1,
    );
    await proxy.untilStat('http.h2.http2.outbound_flood', (n) => n >= 1);
    await proxy.untilStat('http.h2.downstream_rq_active', (n) => n === 0);
    await stands();
  });

  test('more streams than allowed: refused, one by one', async () => {
    attack = (wire) => wire.send(Buffer.from(SETTINGS));
    const wire = await dial(proxy.port('few'));
    wire.send(Buffer.concat([START, repeat(500, (i) => headers(2 * i + 1, END_BOTH, GET))]));
    await proxy.untilStat('http.few.http2.stream_refused_errors', (n) => n === 490);
    assert.equal(await proxy.stat('http.few.downstream_rq_active'), 10);
    assert.equal(wire.closed, false);
    wire.reset();
    await proxy.untilStat('http.few.downstream_rq_active', (n) => n === 0);
    await stands();
  });

  test('an HPACK bomb: a large field that is named again and again', async () => {
    const large = block(['x-bomb', 'y'.repeat(3900)]);
    large[0] = 0x40;
    const wire = await dial(proxy.port('h2'));
    wire.send(Buffer.concat([START, headers(1, END_BOTH, [...GET, ...large])]));
    const many = [...GET, ...new Array<number>(16_000).fill(0xbe)];
    // Each is 60 MB when it is spelt out.
    for (let id = 3; id < 203; id += 2) wire.send(Buffer.from(headers(id, END_BOTH, many)));
    await proxy.untilStat('http.h2.http2.header_overflow', (n) => n >= 100);
    await stands();
    assert.equal(wire.closed, false);
    wire.destroy();
  });

  test('Huffman codes that blow up, and integers that never end', async () => {
    for (const [payload, what] of [
      [[0x40, 0xff, ...new Array<number>(16).fill(0xff)], 'an integer'],
      [[0x00, 0x01, 0x61, 0xff, 0xff, 0xff, 0xff, 0x0f], 'a length of 256 MB'],
      [[0x3f, 0xff, 0xff, 0xff, 0x7f, ...GET], 'a table of 256 MB'],
    ] as const) {
      const wire = await dial(proxy.port('h2'));
      wire.send(Buffer.concat([START, headers(1, END_BOTH, [...payload])]));
      await wire.untilClosed();
      assert.equal(goAwayCode(wire.received), ErrorCode.CompressionError, what);
    }
    const dense = [...GET, 0x00, 0x01, 0x61, 0xff, 0x81, 0x7c, ...new Array<number>(16_000).fill(0)];
    const wire = await dial(proxy.port('h2'));
    wire.send(Buffer.concat([START, repeat(50, (i) => headers(2 * i + 1, END_BOTH, dense))]));
    await wire.until(() => wire.received.length > 10_000, 'answers');
    wire.destroy();
    await stands();
  });

  test('windows of nothing: complete responses are given up', async () => {
    const wire = await dial(proxy.port('idle'));
    wire.send(Buffer.concat([START, setting(4, 0), repeat(200, (i) => headers(2 * i + 1, END_BOTH, GET))]));
    await proxy.untilStat('http.idle.http2.tx_flush_timeout', (n) => n === 200);
    await proxy.untilStat('http.idle.http2.streams_active', (n) => n === 0);
    wire.destroy();
    await stands();
  });

  test('bytes beyond the window of a stream: it is reset, and what still comes is dropped', async () => {
    attack = (wire) => wire.send(Buffer.from(SETTINGS));
    const before = await proxy.stat('http.few.http2.tx_reset');
    const wire = await dial(proxy.port('few'));
    wire.send(Buffer.concat([START, headers(1, Flag.EndHeaders, POST)]));
    const big = repeat(64, () => frame(FrameType.Data, 0, 1, new Uint8Array(16384)));
    for (let i = 0; i < 24; i++) wire.send(big);
    await proxy.untilStat('http.few.http2.tx_reset', (n) => n === before + 1);
    await proxy.untilStat('http.few.downstream_rq_active', (n) => n === 0);
    wire.destroy();
    await stands();
  });

  // Upstreams.

  const upstreamAttacks: [what: string, stat: string, attack: (wire: Wire) => void][] = [
    [
      'CONTINUATION without end',
      'header_overflow',
      (wire) => {
        wire.send(Buffer.concat([SETTINGS, headers(1, 0, [0x88])]));
        wire.send(repeat(300, () => frame(FrameType.Continuation, 0, 1, block(['x', 'y'.repeat(1000)]))));
      },
    ],
    [
      'headers beyond the limit',
      'header_overflow',
      (wire) =>
        wire.send(
          Buffer.concat([
            SETTINGS,
            headers(1, Flag.EndHeaders, [0x88, ...block(...Array.from({ length: 300 }, (_, i) => [`x-${i}`, 'v'] as const))]),
          ]),
        ),
    ],
    [
      'empty DATA without end',
      'inbound_empty_frames_flood',
      (wire) =>
        wire.send(Buffer.concat([SETTINGS, headers(1, Flag.EndHeaders, [0x88]), repeat(100, () => frame(FrameType.Data, 0, 1))])),
    ],
    [
      'PRIORITY without end',
      'inbound_priority_frames_flood',
      (wire) => wire.send(Buffer.concat([SETTINGS, repeat(1000, () => frame(FrameType.Priority, 0, 1, [...uint32(0), 1]))])),
    ],
    [
      'WINDOW_UPDATE without end',
      'inbound_window_update_frames_flood',
      (wire) => wire.send(Buffer.concat([SETTINGS, repeat(1000, () => frame(FrameType.WindowUpdate, 0, 1, uint32(1)))])),
    ],
    [
      'a malformed response',
      'rx_messaging_error',
      (wire) => wire.send(Buffer.concat([SETTINGS, headers(1, Flag.EndHeaders, block(['a', 'b']))])),
    ],
    [
      'another body than its length',
      'rx_messaging_error',
      (wire) =>
        wire.send(
          Buffer.concat([
            SETTINGS,
            headers(1, Flag.EndHeaders, [0x88, ...block(['content-length', '1'])]),
            frame(FrameType.Data, 1, 1, 'abc'),
          ]),
        ),
    ],
  ];
  for (const [what, stat, act] of upstreamAttacks) {
    test(`an upstream with ${what}`, async () => {
      // A connection of its own, and an answer that is one: before the request its stream would be idle.
      for (const wire of bad.connections) wire.destroy();
      await proxy.untilStat('cluster.bad.upstream_cx_active', (n) => n === 0);
      attack = (wire) => {
        void wire
          .until(() => wire.received.length > 100, 'a request')
          .then(
            () => act(wire),
            () => {},
          );
      };
      const before = await proxy.stat(`cluster.bad.http2.${stat}`);
      const answer = await httpRequest(proxy.port('h2'), '/up').catch(() => null);
      assert.ok(answer === null || answer.status >= 500 || answer.status === 200);
      await proxy.untilStat(`cluster.bad.http2.${stat}`, (n) => n === before + 1);
      await proxy.untilStat('cluster.bad.upstream_rq_active', (n) => n === 0);
      await stands();
    });
  }

  test('nothing is left over', async () => {
    for (const name of ['h2', 'few', 'errors', 'idle'])
      await proxy.untilStat(`http.${name}.downstream_rq_active`, (n) => n === 0);
    session.close();
    await proxy.untilStat('http.h2.downstream_cx_active', (n) => n === 0);
    await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 4);
  });
});
