import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { StreamResetReason } from '../../../../src/proxy/http/codec.ts';
import { bufferOf, headersOf, slab, TestServer } from './harness.ts';

const baseline = slab.blocksInUse;
const servers: TestServer[] = [];

function server(settings: ConstructorParameters<typeof TestServer>[0] = {}): TestServer {
  const created = new TestServer(settings);
  servers.push(created);
  return created;
}

afterEach(() => {
  for (const each of servers) each.close();
  servers.length = 0;
  assert.equal(slab.blocksInUse, baseline, 'every slice was given back');
});

test('requests on one connection, headers in order and lower case, host as :authority', () => {
  const s = server();
  assert.equal(
    s.receive('GET /a?b=c HTTP/1.1\r\nHost: Example.com\r\nX-One:1\r\nX-Two:  two words \t\r\nx-empty:\r\n\r\n'),
    null,
  );
  assert.deepEqual(s.last.message.headers, [
    ':method: GET',
    ':path: /a?b=c',
    ':authority: Example.com',
    'x-one: 1',
    'x-two: two words',
    'x-empty: ',
  ]);
  assert.equal(s.transport.take(), 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  s.receive('GET /second HTTP/1.1\r\nHost: b\r\n\r\n');
  assert.deepEqual(s.last.message.headers, [':method: GET', ':path: /second', ':authority: b']);
  assert.equal(s.transport.readDisabled, 0);
});

test('pipelined requests wait for the response before them, and reading stops only while bytes wait', () => {
  const s = server();
  s.respond = null;
  s.receive('GET /1 HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.transport.readDisabled, 0);
  s.receive('GET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3');
  assert.equal(s.streams.length, 1);
  assert.equal(s.transport.readDisabled, 1);
  s.streams[0].encoder?.encodeHeaders(
    headersOf([
      [':status', '200'],
      ['x', '1'],
    ]),
    true,
  );
  assert.equal(s.transport.readDisabled, 0);
  s.redispatch();
  assert.equal(s.streams.length, 2);
  assert.equal(s.transport.readDisabled, 1);
  s.streams[1].encoder?.encodeHeaders(headersOf([[':status', '404']]), true);
  s.redispatch();
  s.receive(' HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.streams.length, 3);
  assert.equal(
    s.transport.take(),
    'HTTP/1.1 200 OK\r\nx: 1\r\ncontent-length: 0\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n',
  );
});

test('a body by length is delivered as it comes, the end with the last bytes', () => {
  const s = server();
  s.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n123');
  assert.equal(s.last.message.body, '123');
  assert.equal(s.last.message.ended, false);
  s.receive('4567890GET /next HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.streams[0].message.body, '1234567890');
  assert.ok(s.streams[0].message.ended);
  assert.equal(s.streams.length, 2);
});

test('trailers are delivered when enabled, bounded always', () => {
  const request =
    'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n';
  const off = server();
  off.receive(request);
  assert.equal(off.last.message.trailers, null);
  assert.ok(off.last.message.ended);
  const on = server({ enableTrailers: true });
  on.receive(request);
  assert.deepEqual(on.last.message.trailers, ['x-sum: 1', 'x-other: 2']);
  const many = server({ maxHeadersCount: 3 });
  many.receive(`POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n${'a: b\r\n'.repeat(4)}\r\n`);
  assert.equal(many.last.message.localReply, '431 http1.too_many_headers');
  const large = server({ maxHeadersKb: 1 });
  large.receive(`POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: ${'b'.repeat(2000)}`);
  assert.equal(large.last.message.localReply, '431 http1.headers_too_large');
});

test('chunk extensions are bounded', () => {
  const s = server();
  const error = s.receive(`POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;${'x'.repeat(17_000)}`);
  assert.equal(error?.details, 'http1.codec_error');
});

test('limits of the head: size, count, each while it is incomplete', () => {
  const line = `x: ${'y'.repeat(1000)}\r\n`;
  const s = server({ maxHeadersKb: 20 });
  s.receive('GET / HTTP/1.1\r\nhost: a\r\n');
  for (let i = 0; i < 20; i++) assert.equal(s.receive(line), null);
  assert.equal(s.receive(line)?.details, 'http1.headers_too_large');
  assert.equal(s.last.message.localReply, '431 http1.headers_too_large');
  const count = server();
  assert.equal(count.receive(`GET / HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(99)}\r\n`), null);
  assert.equal(count.receive(`GET / HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(100)}`)?.details, 'http1.too_many_headers');
});

test('heads larger than a block are understood up to the limit', () => {
  const s = server();
  const values = Array.from({ length: 50 }, (_, i) => `X-${i}: ${String.fromCharCode(97 + (i % 26)).repeat(1000)}\r\n`);
  const text = `GET /big HTTP/1.1\r\nHost: big\r\n${values.join('')}\r\n`;
  assert.equal(s.receive(text), null);
  assert.equal(s.last.message.headers?.length, 53);
  assert.equal(s.last.message.headers?.[2], ':authority: big');
  assert.equal(s.last.message.headers?.[52], `x-49: ${'x'.repeat(1000)}`);
});

test('a head that trickles in makes its stream at the first byte', () => {
  const s = server();
  s.receive('G');
  assert.equal(s.streams.length, 1);
  assert.equal(s.last.message.headers, null);
  assert.equal(slab.blocksInUse, baseline + 1);
  s.receive('ET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.ok(s.last.message.ended);
});

test('HEAD, 204, 304: no body whatever is encoded; 304 and 204 get no content-length', () => {
  const s = server();
  const answer = (status: string, extra: [string, string][] = []): string => {
    s.respond = (stream) => {
      stream.encoder?.encodeHeaders(headersOf([[':status', status], ...extra]), false);
      stream.encoder?.encodeData(bufferOf('body'), true);
    };
    s.receive(`${status === '200' ? 'HEAD' : 'GET'} / HTTP/1.1\r\nhost: a\r\n\r\n`);
    return s.transport.take();
  };
  assert.equal(answer('200', [['content-length', '4']]), 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n');
  assert.equal(answer('200'), 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
  assert.equal(answer('204'), 'HTTP/1.1 204 No Content\r\n\r\n');
  assert.equal(answer('304'), 'HTTP/1.1 304 Not Modified\r\n\r\n');
});

test('bodies without length are chunked; trailers follow when enabled', () => {
  const s = server({ enableTrailers: true });
  s.respond = (stream) => {
    stream.encoder?.encodeHeaders(
      headersOf([
        [':status', '200'],
        ['transfer-encoding', 'gzip'],
      ]),
      false,
    );
    stream.encoder?.encodeData(bufferOf('0123456789abcdefg'), false);
    stream.encoder?.encodeData(bufferOf(''), false);
    stream.encoder?.encodeTrailers(headersOf([['x-t', '1']]));
  };
  s.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(
    s.transport.take(),
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n0\r\nx-t: 1\r\n\r\n',
  );
  s.respond = (stream) => {
    stream.encoder?.encodeHeaders(headersOf([[':status', '200']]), false);
    stream.encoder?.encodeData(bufferOf('abc'), true);
  };
  s.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.transport.take(), 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
});

test('HTTP/1.0: accepted when allowed, answered as 1.0, without length until close', () => {
  const s = server({ acceptHttp10: true, defaultHostForHttp10: 'default.example' });
  s.respond = (stream) => {
    stream.encoder?.encode1xxHeaders(headersOf([[':status', '103']]));
    stream.encoder?.encodeHeaders(headersOf([[':status', '200']]), false);
    stream.encoder?.encodeData(bufferOf('abc'), true);
  };
  s.receive('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  assert.ok(s.last.message.headers?.includes(':authority: default.example'));
  assert.equal(s.codec.protocol, 'HTTP/1.0');
  assert.equal(s.codec.requestKeepsAlive, true);
  assert.equal(s.transport.take(), 'HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nabc');
  assert.ok(s.codec.finished);
  const old = server({ acceptHttp10: true });
  old.receive('GET /old\r\n');
  assert.deepEqual(old.last.message.headers, [':method: GET', ':path: /old']);
  assert.equal(old.codec.requestKeepsAlive, false);
});

test('connection: close on a response ends reading', () => {
  const s = server();
  s.respond = (stream) =>
    stream.encoder?.encodeHeaders(
      headersOf([
        [':status', '200'],
        ['connection', 'close'],
      ]),
      true,
    );
  s.receive('GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.streams.length, 1);
  assert.equal(s.buffer.length, 0);
});

test('expect: interim heads come before the response', () => {
  const s = server();
  s.receive('POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n');
  s.last.encoder?.encode1xxHeaders(headersOf([[':status', '100']]));
  assert.equal(s.transport.take(), 'HTTP/1.1 100 Continue\r\n\r\n');
  s.receive('ok');
  assert.equal(s.transport.take(), 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
});

test('upgrade: bytes wait until 101, then pass raw', () => {
  const s = server();
  s.receive('GET /ws HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly');
  assert.equal(s.last.message.ended, false);
  assert.equal(s.last.message.body, '');
  assert.equal(s.transport.readDisabled, 1);
  s.last.encoder?.encodeHeaders(
    headersOf([
      [':status', '101'],
      ['connection', 'upgrade'],
      ['upgrade', 'websocket'],
    ]),
    false,
  );
  assert.equal(s.transport.readDisabled, 0);
  s.redispatch();
  s.receive(' GET / HTTP/1.1\r\n\r\n');
  assert.equal(s.last.message.body, 'early GET / HTTP/1.1\r\n\r\n');
  s.last.encoder?.encodeData(bufferOf('frame'), false);
  assert.equal(s.transport.take(), 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nframe');
});

test('a refused upgrade is framed as any response and ends the connection', () => {
  const s = server();
  s.receive('GET /ws HTTP/1.1\r\nhost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n');
  s.last.encoder?.encodeHeaders(headersOf([[':status', '200']]), false);
  s.last.encoder?.encodeData(bufferOf('no'), true);
  assert.equal(s.transport.take(), 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n');
  s.redispatch();
  assert.equal(s.streams.length, 1);
  assert.equal(s.last.message.body, '');
  assert.ok(s.codec.finished);
});

test('h2c, ignored upgrades and upgrades with a chunked body are taken out', () => {
  const s = server({ ignoreHttp11Upgrade: (token) => token === 'TLS/1.2' });
  s.receive('GET / HTTP/1.1\r\nhost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n');
  assert.deepEqual(s.last.message.headers?.slice(3), []);
  s.receive('GET / HTTP/1.1\r\nhost: a\r\nConnection: Upgrade, keep-alive\r\nUpgrade: TLS/1.2\r\n\r\n');
  assert.deepEqual(s.last.message.headers?.slice(3), ['connection: keep-alive']);
  s.receive(
    'POST / HTTP/1.1\r\nhost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
  );
  assert.deepEqual(s.last.message.headers?.slice(3), ['transfer-encoding: chunked']);
  assert.equal(s.last.message.body, 'x');
});

test('CONNECT: authority from the target, raw after a 2xx; body fields are refused', () => {
  const s = server();
  s.receive('CONNECT db.example:5432 HTTP/1.1\r\nhost: other\r\ncontent-length: 0\r\n\r\nhello');
  assert.deepEqual(s.last.message.headers, [':method: CONNECT', ':authority: db.example:5432']);
  s.last.encoder?.encodeHeaders(headersOf([[':status', '200']]), false);
  s.redispatch();
  assert.equal(s.last.message.body, 'hello');
  assert.equal(s.transport.take(), 'HTTP/1.1 200 OK\r\n\r\n');
  const length = server();
  length.receive('CONNECT a:1 HTTP/1.1\r\ncontent-length: 1\r\n\r\n');
  assert.equal(length.last.message.localReply, '400 http1.body_disallowed');
  const coding = server();
  coding.receive('CONNECT a:1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n');
  assert.equal(coding.last.message.localReply, '501 http1.invalid_transfer_encoding');
  const ipv6 = server();
  ipv6.receive('CONNECT [::1]:80 HTTP/1.1\r\n\r\n');
  assert.equal(ipv6.last.message.localReply, null);
});

test('absolute form overrides Host', () => {
  const s = server();
  s.receive('GET HTTP://Real.example:81/p?q HTTP/1.1\r\nhost: other\r\n\r\n');
  assert.deepEqual([...(s.last.message.headers ?? [])].sort(), [
    ':authority: Real.example:81',
    ':method: GET',
    ':path: /p?q',
    ':scheme: http',
  ]);
  s.receive('GET http://real.example?q HTTP/1.1\r\nhost: other\r\n\r\n');
  assert.ok(s.last.message.headers?.includes(':path: /?q'));
  s.receive('GET http://real.example HTTP/1.1\r\nhost: other\r\n\r\n');
  assert.ok(s.last.message.headers?.includes(':path: /'));
  const edge = server({ validateScheme: true });
  edge.receive('GET https://a/ HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(edge.last.message.localReply, '403 http1.https_url_on_plaintext_connection');
  const off = server({ allowAbsoluteUrl: false });
  off.receive('GET http://b/x HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.deepEqual([...(off.last.message.headers ?? [])].sort(), [':authority: a', ':method: GET', ':path: http://b/x']);
});

test('headers with underscores: allowed, dropped, rejected, with their counters', () => {
  const request = 'GET / HTTP/1.1\r\nhost: a\r\nx_y: 1\r\nz: 2\r\n\r\n';
  const allow = server();
  allow.receive(request);
  assert.ok(allow.last.message.headers?.includes('x_y: 1'));
  const drop = server({ headersWithUnderscoresAction: 'DROP_HEADER' });
  drop.receive(request);
  assert.deepEqual(drop.last.message.headers?.slice(3), ['z: 2']);
  assert.equal(drop.stats.droppedHeadersWithUnderscores.value, 1);
  const reject = server({ headersWithUnderscoresAction: 'REJECT_REQUEST' });
  reject.receive(request);
  assert.equal(reject.last.message.localReply, '400 http1.unexpected_underscore');
  assert.equal(reject.stats.requestsRejectedWithUnderscoresInHeaders.value, 1);
});

test('nominated headers are removed with their names', () => {
  const s = server();
  s.receive('GET / HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, X-Hop, TE\r\nX-Hop: 1\r\nTE: gzip, trailers\r\nY: 2\r\n\r\n');
  assert.deepEqual(s.last.message.headers?.slice(3), ['connection: keep-alive,TE', 'te: trailers', 'y: 2']);
});

test('preserve_case keeps the spelling, however the head was cut', () => {
  const text = 'GET / HTTP/1.1\r\nHost: a\r\nX-CamelCase: 1\r\nx-lower: 2\r\n\r\n';
  for (const size of [1, 7, 1000]) {
    const s = server({ headerKeyFormat: 'preserve_case' });
    s.respond = null;
    for (let at = 0; at < text.length; at += size) s.receive(text.slice(at, at + size));
    const map = s.last.maps[0];
    assert.equal(map.nameFormatter?.('x-camelcase'), 'X-CamelCase');
    assert.equal(map.nameFormatter?.('x-lower'), 'x-lower');
    assert.equal(map.nameFormatter?.('x-new'), 'x-new');
    assert.ok(map.has('x-camelcase'));
  }
  const proper = server({ headerKeyFormat: 'proper_case_words' });
  proper.respond = (stream) =>
    stream.encoder?.encodeHeaders(
      headersOf([
        [':status', '200'],
        ['x-request-id', 'z'],
      ]),
      true,
    );
  proper.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(proper.transport.take(), 'HTTP/1.1 200 OK\r\nX-Request-Id: z\r\nContent-Length: 0\r\n\r\n');
});

test('custom methods only when allowed', () => {
  const s = server({ allowCustomMethods: true });
  s.receive('FROBNICATE / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.last.message.headers?.[0], ':method: FROBNICATE');
});

test('responses that nobody reads: the flood is cut off', () => {
  const s = server();
  s.codec.onUnderlyingConnectionAboveWriteBufferHighWatermark();
  const request = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n';
  assert.equal(s.receive(request.repeat(3)), null);
  const error = s.receive(request);
  assert.equal(error?.kind, 'flood');
  assert.equal(s.stats.responseFlood.value, 1);
  assert.equal(s.streams.length, 3);
  const reads = server();
  for (let i = 0; i < 10; i++) {
    reads.codec.onUnderlyingConnectionAboveWriteBufferHighWatermark();
    assert.equal(reads.receive(request), null);
    reads.codec.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  }
});

test('watermarks and resets reach the callbacks of the stream', () => {
  const s = server();
  s.respond = null;
  s.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  const seen: string[] = [];
  const stream = s.last.encoder?.stream;
  s.codec.onUnderlyingConnectionAboveWriteBufferHighWatermark();
  stream?.addCallbacks({
    onResetStream: (reason) => seen.push(`reset ${reason}`),
    onAboveWriteBufferHighWatermark: () => seen.push('above'),
    onBelowWriteBufferLowWatermark: () => seen.push('below'),
  });
  s.codec.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  stream?.resetStream(StreamResetReason.LocalReset);
  stream?.resetStream(StreamResetReason.LocalReset);
  assert.deepEqual(seen, ['above', 'below', 'reset 0']);
  assert.ok(s.codec.finished);
});

test('values cannot break out of their line', () => {
  const s = server();
  s.respond = (stream) =>
    stream.encoder?.encodeHeaders(
      headersOf([
        [':status', '200'],
        ['x', 'a\r\nset-cookie: b\u010a\0'],
      ]),
      true,
    );
  s.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.transport.take(), 'HTTP/1.1 200 OK\r\nx: a??set-cookie: b??\r\ncontent-length: 0\r\n\r\n');
});

test('response heads larger than a block', () => {
  const s = server();
  const big = 'v'.repeat(9000);
  s.respond = (stream) =>
    stream.encoder?.encodeHeaders(
      headersOf([
        [':status', '200'],
        ['x-a', big],
        ['x-b', big],
      ]),
      true,
    );
  s.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(s.transport.take(), `HTTP/1.1 200 OK\r\nx-a: ${big}\r\nx-b: ${big}\r\ncontent-length: 0\r\n\r\n`);
});

test('a connection that closes says whether a stream was cut short', () => {
  const idle = server();
  idle.receive('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  assert.equal(idle.codec.onConnectionClosed(), true);
  const cut = server();
  cut.receive('GET / HTTP/1.1\r\nho');
  assert.equal(cut.codec.onConnectionClosed(), false);
});
