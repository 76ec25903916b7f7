import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { StreamResetReason } from '../../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import { ErrorCode, Flag, FrameType, Setting } from '../../../../src/proxy/http/http2/frame.ts';
import { block, END_BOTH, frame, SETTINGS, slab, TestClient, uint32 } from './harness.ts';

let blocks = 0;
let clients: TestClient[] = [];

function client(...given: ConstructorParameters<typeof TestClient>): TestClient {
  const made = new TestClient(...given);
  clients.push(made);
  return made;
}

beforeEach(() => {
  blocks = slab.blocksInUse;
  clients = [];
});

afterEach(() => {
  for (const one of clients) one.close(StreamResetReason.ConnectionTermination);
  assert.equal(slab.blocksInUse, blocks, 'blocks are left');
});

const headers = (id: number, flags: number, payload: number[]): Uint8Array => frame(FrameType.Headers, flags, id, payload);
const data = (id: number, flags: number, payload: string): Uint8Array => frame(FrameType.Data, flags, id, payload);
const OK = [0x88];

test('requests and responses, however the bytes are cut', () => {
  for (const cut of [0, 1, 5]) {
    const c = client().started();
    const first = c.request(true);
    const second = c.request(false, ['te', 'trailers']);
    second.send('body', true);
    const heads = c.transport.frames.filter((f) => f.type === FrameType.Headers);
    assert.deepEqual(c.transport.fields(heads[0]), [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':authority', 'a.test'],
      [':path', '/'],
    ]);
    assert.deepEqual(c.transport.log(), ['HEADERS 1 ES', 'HEADERS 3', 'DATA 3 4 ES']);
    c.receive(
      Buffer.concat([
        headers(3, Flag.EndHeaders, block([':status', '103'], ['link', 'x'])),
        headers(3, Flag.EndHeaders, OK),
        headers(1, END_BOTH, block([':status', '404'])),
        data(3, 0, 'abc'),
        headers(3, END_BOTH, block(['grpc-status', '0'])),
      ]),
      cut,
    );
    assert.equal(c.error, null);
    assert.deepEqual(first.headers, [':status: 404']);
    assert.deepEqual(second.interim, [[':status: 103', 'link: x']]);
    assert.equal(second.body, 'abc');
    assert.deepEqual(second.trailers, ['grpc-status: 0']);
    assert.equal(c.closedStreams, 2);
    assert.equal(c.codec.activeStreams, 0);
  }
});

test('the preface announces that pushes are not wanted', () => {
  const c = client();
  c.codec.start();
  c.codec.flush();
  const [settings] = c.transport.take();
  assert.deepEqual([...settings.payload.subarray(0, 6)], [0, Setting.EnablePush, 0, 0, 0, 0]);
});

test('a complete response to an incomplete request: the rest is not sent', () => {
  const c = client().started();
  const response = c.request(false);
  c.receive(Buffer.concat([headers(1, END_BOTH, OK)]));
  assert.ok(response.ended);
  assert.deepEqual(c.transport.log(), ['HEADERS 1', 'RST 1 8']);
  response.send('late', true);
  assert.deepEqual(c.transport.log(), []);
});

test('GOAWAY: what was not processed is refused, the rest goes on', () => {
  const c = client().started();
  const kept = c.request(true);
  const lost = c.request(true);
  c.receive(frame(FrameType.GoAway, 0, 0, [...uint32(1), ...uint32(0)]));
  assert.equal(c.goAways, 1);
  assert.equal(c.codec.streamLimit, 0);
  assert.equal(lost.reset, StreamResetReason.RemoteRefusedStreamReset);
  c.receive(headers(1, END_BOTH, OK));
  assert.ok(kept.ended);
});

test('resets by the peer', () => {
  const reasons: [number, StreamResetReason][] = [
    [ErrorCode.Cancel, StreamResetReason.RemoteReset],
    [ErrorCode.RefusedStream, StreamResetReason.RemoteRefusedStreamReset],
    [ErrorCode.ConnectError, StreamResetReason.ConnectError],
  ];
  for (const [code, reason] of reasons) {
    const c = client().started();
    const response = c.request(true);
    c.receive(frame(FrameType.RstStream, 0, 1, uint32(code)));
    assert.equal(response.reset, reason);
  }
});

test('the peer decides how many streams there may be', () => {
  const c = client({ maxConcurrentStreams: 100 });
  c.codec.start();
  assert.equal(c.codec.streamLimit, 100);
  c.receive(frame(FrameType.Settings, 0, 0, [0, 3, ...uint32(5)]));
  assert.equal(c.codec.streamLimit, 5);
});

const BROKEN: [name: string, bytes: Uint8Array][] = [
  ['PUSH_PROMISE', frame(FrameType.PushPromise, Flag.EndHeaders, 1, [...uint32(2), ...OK])],
  ['no status', headers(1, END_BOTH, block(['a', 'b']))],
  ['status that is no number', headers(1, END_BOTH, block([':status', '2x0']))],
  ['a request pseudo header', headers(1, END_BOTH, block([':status', '200'], [':path', '/']))],
  ['101', headers(1, Flag.EndHeaders, block([':status', '101']))],
  ['interim response that ends', headers(1, END_BOTH, block([':status', '103']))],
  [
    'body shorter than content-length',
    Buffer.concat([headers(1, Flag.EndHeaders, block([':status', '200'], ['content-length', '9'])), data(1, 1, 'abc')]),
  ],
  ['HEADERS on an idle stream', headers(9, END_BOTH, OK)],
  ['first frame is no SETTINGS', frame(FrameType.Ping, 0, 0, '12345678')],
];

for (const [name, bytes] of BROKEN) {
  test(`connection error: ${name}`, () => {
    const c = client();
    c.codec.start();
    c.request(true);
    if (!name.startsWith('first')) c.receive(SETTINGS);
    c.receive(bytes);
    assert.equal(c.error?.kind, 'protocol');
  });
}

test('a response to HEAD may have a content-length and no body', () => {
  const c = client().started();
  const response = c.request(true, [':method', 'HEAD']);
  c.receive(headers(1, END_BOTH, block([':status', '200'], ['content-length', '9'])));
  assert.equal(c.error?.details ?? (response.ended ? 'ended' : ''), 'ended');
});

test('headers that are too large end their stream only', () => {
  const c = client({ maxHeadersKb: 1 }).started();
  const large = c.request(true);
  const other = c.request(true);
  c.receive(headers(1, END_BOTH, block([':status', '200'], ['x', 'y'.repeat(2000)])));
  c.receive(headers(3, END_BOTH, OK));
  assert.equal(large.reset, StreamResetReason.ProtocolError);
  assert.ok(other.ended);
});

test('an upgrade goes out as extended CONNECT when the peer takes it', () => {
  const c = client();
  c.codec.start();
  c.receive(frame(FrameType.Settings, 0, 0, [0, Setting.EnableConnectProtocol, ...uint32(1)]));
  c.transport.take();
  const response = c.request(false, ['upgrade', 'websocket'], ['connection', 'Upgrade']);
  const [head] = c.transport.take();
  const fields = new Map(c.transport.fields(head));
  assert.equal(fields.get(':method'), 'CONNECT');
  assert.equal(fields.get(':protocol'), 'websocket');
  assert.equal(fields.has('upgrade'), false);
  c.receive(headers(1, Flag.EndHeaders, OK));
  assert.ok(response.headers?.includes(':status: 101'));
  assert.ok(response.headers?.includes('upgrade: websocket'));

  const without = client().started();
  const refused = without.request(false, ['upgrade', 'websocket'], ['connection', 'Upgrade']);
  assert.equal(refused.reset, StreamResetReason.ConnectError);
});

test('an upgrade before the SETTINGS of the peer waits for them, with what follows it; others do not', () => {
  const upgrade: [string, string][] = [
    ['upgrade', 'websocket'],
    ['connection', 'Upgrade'],
  ];
  for (const end of ['open', 'data', 'empty', 'trailers']) {
    const c = client();
    c.codec.start();
    c.transport.take();
    const waiting = c.request(false, ...upgrade);
    waiting.send('first', end === 'data');
    if (end === 'empty') waiting.send('', true);
    if (end === 'trailers') {
      const trailers = HeaderMap.of(slab, [['x-sum', '1']]);
      waiting.encoder!.encodeTrailers(trailers);
      trailers.release();
    }
    const other = c.request(true);
    assert.deepEqual(c.transport.log(), ['HEADERS 1 ES']);
    c.receive(frame(FrameType.Settings, 0, 0, [0, Setting.EnableConnectProtocol, ...uint32(1), 0, 4, ...uint32(3)]));
    assert.deepEqual(c.transport.log(), ['HEADERS 3', 'DATA 3 3']);
    c.receive(frame(FrameType.WindowUpdate, 0, 3, uint32(100)));
    const rest = { open: ['DATA 3 2'], data: ['DATA 3 2 ES'], empty: ['DATA 3 2 ES'], trailers: ['DATA 3 2', 'HEADERS 3 ES'] };
    assert.deepEqual(c.transport.log(), rest[end as keyof typeof rest]);
    c.receive(Buffer.concat([headers(3, Flag.EndHeaders, OK), headers(1, END_BOTH, OK)]));
    assert.ok(waiting.headers?.includes(':status: 101'));
    assert.ok(other.ended);
    c.close(StreamResetReason.ConnectionTermination);
  }
});

test('an upgrade that waits: refused by the SETTINGS, by GOAWAY, by the end, reset by its owner', () => {
  const ends: [(c: TestClient) => unknown, StreamResetReason][] = [
    [(c) => c.receive(SETTINGS), StreamResetReason.ConnectError],
    [(c) => c.codec.onConnectionClosed(StreamResetReason.ConnectionTermination, ''), StreamResetReason.ConnectionTermination],
  ];
  for (const [happens, reason] of ends) {
    const c = client();
    c.codec.start();
    const waiting = c.request(false, ['upgrade', 'websocket'], ['connection', 'Upgrade']);
    waiting.send('held', false);
    const before = c.closedStreams;
    happens(c);
    assert.equal(waiting.reset, reason);
    assert.equal(c.closedStreams, before + 1);
  }
  const c = client();
  c.codec.start();
  c.transport.take();
  const waiting = c.request(false, ['upgrade', 'websocket'], ['connection', 'Upgrade']);
  waiting.encoder!.stream.resetStream(StreamResetReason.LocalReset);
  const again = c.request(false, ['upgrade', 'websocket'], ['connection', 'Upgrade']);
  c.receive(frame(FrameType.Settings, 0, 0, [0, Setting.EnableConnectProtocol, ...uint32(1)]));
  assert.deepEqual(c.transport.log(), ['HEADERS 1']);
  assert.equal(waiting.reset, StreamResetReason.LocalReset);
  assert.equal(again.reset, null);
  c.receive(frame(FrameType.GoAway, 0, 0, [...uint32(0), ...uint32(0)]));
  assert.equal(again.reset, StreamResetReason.RemoteRefusedStreamReset);
});

test('the connection ends: streams are told why', () => {
  const c = client().started();
  const response = c.request(true);
  c.codec.onConnectionClosed(StreamResetReason.ConnectionTermination, 'gone');
  assert.equal(response.reset, StreamResetReason.ConnectionTermination);
  assert.equal(c.closedStreams, 1);
});
