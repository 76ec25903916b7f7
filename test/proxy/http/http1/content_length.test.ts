/** What the encoders do with a body that is not the one its content-length announces. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { StreamResetReason } from '../../../../src/proxy/http/codec.ts';
import { bufferOf, headersOf, type Recorder, slab, TestClient, TestServer } from './harness.ts';

const baseline = slab.blocksInUse;
const RESET = `${StreamResetReason.LocalReset} http1.content_length_mismatch`;
const closes: (() => void)[] = [];

afterEach(() => {
  for (const close of closes.splice(0)) close();
  assert.equal(slab.blocksInUse, baseline, 'every slice was given back');
});

function client(): TestClient {
  const created = new TestClient();
  closes.push(() => created.close());
  return created;
}

/** A server with one complete request, `method`, that waits for its answer. */
function server(method = 'GET'): { server: TestServer; stream: Recorder; reset: () => string } {
  const created = new TestServer();
  closes.push(() => created.close());
  created.respond = null;
  assert.equal(created.receive(`${method} / HTTP/1.1\r\nhost: a\r\n\r\n`), null);
  let reset = '';
  created.last.encoder?.stream.addCallbacks({
    onResetStream: (reason, details) => {
      reset = `${reason} ${details}`;
    },
    onAboveWriteBufferHighWatermark: () => {},
    onBelowWriteBufferLowWatermark: () => {},
  });
  return { server: created, stream: created.last, reset: () => reset };
}

const POST_4: [string, string][] = [
  [':method', 'POST'],
  ['content-length', '4'],
];

/** The pieces of a body after `content-length: 4`, the last one ends it; what of them was written before the reset (null: complete). */
const BODIES: [pieces: string[], written: string | null][] = [
  [['abcd'], null],
  [['ab', 'cd'], null],
  [['ab', 'cd', ''], null],
  [['abcde'], ''],
  [['ab', 'cde'], 'ab'],
  [['abcd', 'GET /next HTTP/1.1\r\n\r\n'], 'abcd'],
  [['abc'], ''],
  [['ab', 'c'], 'ab'],
  [['ab', ''], 'ab'],
];

for (const [pieces, written] of BODIES) {
  const name = JSON.stringify(pieces);
  const whole = written ?? pieces.join('');

  test(`a request of content-length 4 with ${name} is ${written === null ? 'sent' : 'reset'}`, () => {
    const c = client();
    const { stream, encoder } = c.request(POST_4, false);
    c.transport.take();
    pieces.forEach((piece, i) => {
      encoder.encodeData(bufferOf(piece), i === pieces.length - 1);
    });
    assert.equal(c.transport.take(), whole);
    assert.equal(stream.message.reset, written === null ? null : RESET);
    assert.equal(c.stats.contentLengthMismatch.value, written === null ? 0 : 1);
    assert.equal(c.codec.responseKeepsAlive, written === null, 'no other request follows on the connection');
  });

  test(`a response of content-length 4 with ${name} is ${written === null ? 'sent' : 'reset'}`, () => {
    const { server: s, stream, reset } = server();
    const headers = headersOf([
      [':status', '200'],
      ['content-length', '4'],
    ]);
    stream.encoder?.encodeHeaders(headers, false);
    s.transport.take();
    pieces.forEach((piece, i) => {
      stream.encoder?.encodeData(bufferOf(piece), i === pieces.length - 1);
    });
    assert.equal(s.transport.take(), whole);
    assert.equal(reset(), written === null ? '' : RESET);
    assert.equal(s.stats.contentLengthMismatch.value, written === null ? 0 : 1);
    assert.equal(s.codec.finished, written !== null, 'nothing follows on the connection');
  });
}

test('trailers before the announced body is complete reset the stream', () => {
  const c = client();
  const { stream, encoder } = c.request(POST_4, false);
  encoder.encodeData(bufferOf('abc'), false);
  encoder.encodeTrailers(headersOf([['x', 'y']]));
  assert.equal(stream.message.reset, RESET);
  assert.equal(c.stats.contentLengthMismatch.value, 1);
});

test('trailers after the announced body end it', () => {
  const c = client();
  const { stream, encoder } = c.request(POST_4, false);
  encoder.encodeData(bufferOf('abcd'), false);
  encoder.encodeTrailers(headersOf([['x', 'y']]));
  assert.equal(stream.message.reset, null);
  assert.equal(c.stats.contentLengthMismatch.value, 0);
  c.receive('HTTP/1.1 204 No Content\r\n\r\n');
  stream.release();
  assert.ok(c.codec.idle);
});

/** Content-lengths that cannot be true while the head is not out: the codec frames the message. */
const REPLACED: [lengths: string[], endStream: boolean, request: string, response: string][] = [
  [['5'], true, 'content-length: 0', 'content-length: 0'],
  [['x'], true, 'content-length: 0', 'content-length: 0'],
  [['x'], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
  [[''], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
  [['-1'], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
  [['1e3'], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
  [['4, 4'], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
  [['9'.repeat(16)], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
  [['4', '5'], false, 'transfer-encoding: chunked', 'transfer-encoding: chunked'],
];
for (const [lengths, endStream, request, response] of REPLACED) {
  const name = `content-length ${JSON.stringify(lengths)} with${endStream ? 'out' : ''} a body`;
  const length: [string, string][] = lengths.map((value) => ['content-length', value]);

  test(`${name} is replaced in a request`, () => {
    const c = client();
    const stream = { encoder: c.codec.newStream({} as never) };
    const all: [string, string][] = [[':method', 'POST'], [':path', '/'], [':authority', 'a'], ...length];
    assert.equal(stream.encoder.encodeHeaders(headersOf(all), endStream), null);
    assert.equal(c.transport.take(), `POST / HTTP/1.1\r\nhost: a\r\n${request}\r\n\r\n`);
    assert.equal(c.stats.contentLengthMismatch.value, 1);
    stream.encoder.stream.resetStream(StreamResetReason.LocalReset);
  });

  test(`${name} is replaced in a response`, () => {
    const { server: s, stream } = server();
    stream.encoder?.encodeHeaders(headersOf([[':status', '200'], ...length]), endStream);
    assert.equal(s.transport.take(), `HTTP/1.1 200 OK\r\n${response}\r\n\r\n`);
    assert.equal(s.stats.contentLengthMismatch.value, 1);
  });
}

for (const [method, status] of [
  ['HEAD', '200'],
  ['GET', '304'],
] as const) {
  test(`${status} to ${method} keeps the length of the body it does not have`, () => {
    const { server: s, stream } = server(method);
    const headers = headersOf([
      [':status', status],
      ['content-length', '40'],
    ]);
    stream.encoder?.encodeHeaders(headers, true);
    assert.match(s.transport.take(), /\r\ncontent-length: 40\r\n\r\n$/);
    assert.equal(s.stats.contentLengthMismatch.value, 0);
  });
}
