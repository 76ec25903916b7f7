import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { StreamResetReason } from '../../../../src/proxy/http/codec.ts';
import { bufferOf, headersOf, type Recorder, slab, TestClient } from './harness.ts';

const baseline = slab.blocksInUse;
const clients: TestClient[] = [];
const streams: Recorder[] = [];

function client(settings: ConstructorParameters<typeof TestClient>[0] = {}): TestClient {
  const created = new TestClient(settings);
  clients.push(created);
  return created;
}

function get(c: TestClient, entries: [string, string][] = [], endStream = true): Recorder {
  const { stream } = c.request(entries, endStream);
  streams.push(stream);
  return stream;
}

afterEach(() => {
  for (const each of clients) each.close();
  for (const each of streams) each.release();
  clients.length = 0;
  streams.length = 0;
  assert.equal(slab.blocksInUse, baseline, 'every slice was given back');
});

const REQUESTS: [entries: [string, string][], endStream: boolean, written: string][] = [
  [[], true, 'GET / HTTP/1.1\r\nhost: upstream\r\n\r\n'],
  [
    [
      [':path', '/p?q'],
      ['x', 'y'],
    ],
    true,
    'GET /p?q HTTP/1.1\r\nhost: upstream\r\nx: y\r\n\r\n',
  ],
  [[[':method', 'POST']], true, 'POST / HTTP/1.1\r\nhost: upstream\r\ncontent-length: 0\r\n\r\n'],
  [[[':method', 'OPTIONS']], true, 'OPTIONS / HTTP/1.1\r\nhost: upstream\r\ncontent-length: 0\r\n\r\n'],
  [[[':method', 'DELETE']], true, 'DELETE / HTTP/1.1\r\nhost: upstream\r\n\r\n'],
  [
    [
      [':method', 'POST'],
      ['content-length', '3'],
    ],
    false,
    'POST / HTTP/1.1\r\nhost: upstream\r\ncontent-length: 3\r\n\r\n',
  ],
  [[[':method', 'POST']], false, 'POST / HTTP/1.1\r\nhost: upstream\r\ntransfer-encoding: chunked\r\n\r\n'],
  [
    [
      [':method', 'CONNECT'],
      [':authority', 'a:1'],
    ],
    false,
    'CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n',
  ],
  [
    [
      ['connection', 'Upgrade'],
      ['upgrade', 'websocket'],
    ],
    false,
    'GET / HTTP/1.1\r\nhost: upstream\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
  ],
];
for (const [entries, endStream, written] of REQUESTS) {
  test(`writes ${JSON.stringify(written)}`, () => {
    const c = client();
    get(c, entries, endStream);
    assert.equal(c.transport.take(), written);
  });
}

test('missing pseudo headers are told, nothing is sent', () => {
  const c = client();
  const recorder = get(c);
  recorder.release();
  c.receive('HTTP/1.1 204 No Content\r\n\r\n');
  c.transport.take();
  const encoder = c.codec.newStream(recorder);
  assert.equal(encoder.encodeHeaders(headersOf([[':path', '/']]), true), 'missing required header: :method');
  assert.equal(encoder.encodeHeaders(headersOf([[':method', 'GET']]), true), 'missing required header: :path');
  assert.equal(encoder.encodeHeaders(headersOf([[':method', 'CONNECT']]), true), 'missing required header: :authority');
  assert.equal(c.transport.take(), '');
});

test('fully qualified targets when configured; host added by a filter becomes the authority', () => {
  const c = client({ sendFullyQualifiedUrl: true });
  get(c, [
    [':scheme', 'https'],
    ['host', 'other'],
  ]);
  assert.equal(c.transport.take(), 'GET https://upstream/ HTTP/1.1\r\nhost: upstream\r\n\r\n');
  const set = headersOf([[':authority', 'a']]);
  set.set('host', 'b');
  assert.equal(set.get(':authority'), 'b');
  assert.equal(set.size, 1);
});

interface ResponseCase {
  name: string;
  entries?: [string, string][];
  endStream?: boolean;
  bytes: string;
  body?: string;
  /** How it ended: with the bytes, only when the peer closed, or an error's details. */
  ends: 'complete' | 'by close' | string;
  keepsAlive?: boolean;
}
const RESPONSES: ResponseCase[] = [
  { name: 'length', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', body: 'ok', ends: 'complete', keepsAlive: true },
  { name: 'length 0', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ends: 'complete', keepsAlive: true },
  {
    name: 'chunked',
    bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    body: 'ok',
    ends: 'complete',
    keepsAlive: true,
  },
  { name: 'until close', bytes: 'HTTP/1.1 200 OK\r\n\r\nok', body: 'ok', ends: 'by close' },
  { name: 'no reason phrase', bytes: 'HTTP/1.1 204\r\n\r\n', ends: 'complete', keepsAlive: true },
  {
    name: 'reason with obs-text',
    bytes: 'HTTP/1.1 404 \xe9 caf\xe9\r\ncontent-length: 0\r\n\r\n',
    ends: 'complete',
    keepsAlive: true,
  },
  {
    name: '304 with length',
    bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
    ends: 'complete',
    keepsAlive: true,
  },
  {
    name: 'HEAD',
    entries: [[':method', 'HEAD']],
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n',
    ends: 'complete',
    keepsAlive: true,
  },
  {
    name: 'HEAD, chunked',
    entries: [[':method', 'HEAD']],
    bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    ends: 'complete',
    keepsAlive: true,
  },
  {
    name: 'close',
    bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok',
    ends: 'complete',
    keepsAlive: false,
  },
  { name: '1.0', bytes: 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok', body: 'ok', ends: 'complete', keepsAlive: false },
  {
    name: '1.0 keep-alive',
    bytes: 'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok',
    ends: 'complete',
    keepsAlive: true,
  },
  {
    name: 'CONNECT 200',
    entries: [[':method', 'CONNECT']],
    endStream: false,
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw',
    body: 'raw',
    ends: 'by close',
  },
  {
    name: 'CONNECT 403',
    entries: [[':method', 'CONNECT']],
    endStream: false,
    bytes: 'HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno',
    body: 'no',
    ends: 'complete',
  },
  {
    name: '101',
    entries: [
      ['connection', 'upgrade'],
      ['upgrade', 'websocket'],
    ],
    endStream: false,
    bytes: 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nraw',
    body: 'raw',
    ends: 'by close',
  },
  { name: '101 unasked', bytes: 'HTTP/1.1 101 Switching Protocols\r\n\r\n', ends: 'http1.codec_error' },
  { name: '204 with length', bytes: 'HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok', ends: 'http1.content_length_not_allowed' },
  { name: '204 with length 0', bytes: 'HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n', ends: 'complete', keepsAlive: true },
  {
    name: '204 chunked',
    bytes: 'HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ends: 'http1.transfer_encoding_not_allowed',
  },
  {
    name: 'both lengths',
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n',
    ends: 'http1.content_length_and_chunked_not_allowed',
  },
  { name: 'gzip coding', bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n', ends: 'http1.invalid_transfer_encoding' },
  {
    name: 'bytes too many',
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n',
    ends: 'http1.premature_response',
  },
  { name: 'no HTTP', bytes: 'SSH-2.0-OpenSSH\r\n', ends: 'http1.codec_error' },
  { name: 'status of two digits', bytes: 'HTTP/1.1 20 OK\r\n\r\n', ends: 'http1.codec_error' },
  { name: 'bare LF', bytes: 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', ends: 'http1.codec_error' },
  { name: 'too many headers', bytes: `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(101)}\r\n`, ends: 'http1.too_many_headers' },
];
for (const { name, entries = [], endStream = true, bytes, body = '', ends, keepsAlive } of RESPONSES) {
  test(`response, ${name}: ${ends}`, () => {
    const c = client();
    const stream = get(c, entries, endStream);
    const error = c.receive(bytes);
    if (ends === 'complete' || ends === 'by close') {
      assert.equal(error, null);
      assert.equal(stream.message.body, body);
      assert.equal(stream.message.ended, ends === 'complete');
      if (keepsAlive !== undefined) {
        assert.equal(c.codec.responseKeepsAlive, keepsAlive);
        assert.equal(c.codec.idle, true);
      }
      assert.equal(c.codec.onConnectionClosed(StreamResetReason.ConnectionTermination, ''), true);
      assert.ok(stream.message.ended);
      assert.equal(stream.message.reset, null);
    } else {
      assert.equal(error?.details, ends);
      assert.equal(c.codec.idle, false);
      assert.equal(c.receive('more'), null);
    }
  });
}

test('interim responses come before the response', () => {
  const c = client();
  const stream = get(c);
  assert.equal(
    c.receive(
      'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 199 What\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
    ),
    null,
  );
  assert.deepEqual(stream.message.interim, [[':status: 103', 'link: x'], [':status: 100']]);
  assert.deepEqual(stream.message.headers, [':status: 200', 'content-length: 0']);
  assert.ok(stream.message.ended);
});

test('a connection that closes in the middle resets the stream', () => {
  const c = client();
  const stream = get(c);
  c.receive('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc');
  assert.equal(c.codec.onConnectionClosed(StreamResetReason.ConnectionTermination, 'why'), false);
  assert.equal(stream.message.reset, '7 why');
  assert.equal(stream.message.ended, false);
});

test('a send buffer that drains after the end of the request is told, as long as the response is not complete', () => {
  const c = client();
  const { stream, encoder } = c.request([[':method', 'POST']], false);
  streams.push(stream);
  const marks: string[] = [];
  encoder.stream.addCallbacks({
    onResetStream: () => {},
    onAboveWriteBufferHighWatermark: () => marks.push('above'),
    onBelowWriteBufferLowWatermark: () => marks.push('below'),
  });
  c.codec.onUnderlyingConnectionAboveWriteBufferHighWatermark();
  encoder.encodeData(bufferOf('x'), true);
  assert.deepEqual(marks, ['above']);
  c.codec.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  assert.deepEqual(marks, ['above', 'below']);
  c.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  c.codec.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  assert.deepEqual(marks, ['above', 'below'], 'nobody listens any more');
});

test('bytes on an idle connection, or before the request, are an error', () => {
  assert.equal(client().receive('HTTP/1.1 408 Request Timeout\r\n\r\n')?.kind, 'premature_response');
});

test('one connection carries many requests, with bodies and trailers', () => {
  const c = client({ enableTrailers: true });
  for (let i = 0; i < 5; i++) {
    const { stream, encoder } = c.request(
      [
        [':method', 'PUT'],
        ['n', String(i)],
      ],
      false,
    );
    streams.push(stream);
    encoder.encodeData(bufferOf('ab'), false);
    encoder.encodeData(bufferOf('c'), true);
    assert.equal(
      c.transport.take(),
      `PUT / HTTP/1.1\r\nhost: upstream\r\nn: ${i}\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n`,
    );
    c.receive('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: 1\r\n\r\n');
    assert.equal(stream.message.body, 'x');
    assert.deepEqual(stream.message.trailers, ['t: 1']);
    stream.release();
  }
});

test('a response that is complete before its request leaves the connection busy', () => {
  const c = client();
  const { stream, encoder } = c.request([[':method', 'POST']], false);
  streams.push(stream);
  c.receive('HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n');
  assert.ok(stream.message.ended);
  assert.equal(c.codec.idle, false);
  encoder.encodeData(bufferOf('x'), true);
  assert.equal(c.codec.idle, true);
});
