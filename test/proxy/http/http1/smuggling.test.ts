/** Requests that two parsers could read differently: each is refused, or understood in the one way that is written here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Http1Settings } from '../../../../src/proxy/http/http1/settings.ts';
import { slab, TestServer } from './harness.ts';

const HOST = 'Host: a\r\n';
/** A second request that must never appear when the first one is refused. */
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';

interface Case {
  name: string;
  head: string;
  body?: string;
  settings?: Partial<Http1Settings>;
  /** `status details` of the refusal, or the body that was understood (then the request after it is seen too). */
  refused?: string;
  body_seen?: string;
}

const codec = '400 http1.codec_error';
const chars = '400 http1.invalid_characters';
const te = '501 http1.invalid_transfer_encoding';
const both = '400 http1.content_length_and_chunked_not_allowed';
const chunkedBody = '5\r\nhello\r\n0\r\n\r\n';

const CASES: Case[] = [
  // Content-Length
  { name: 'plain length', head: 'Content-Length: 5\r\n', body: 'hello', body_seen: 'hello' },
  { name: 'leading zeros', head: 'Content-Length: 005\r\n', body: 'hello', body_seen: 'hello' },
  { name: 'blanks around', head: 'Content-Length:  \t5 \t\r\n', body: 'hello', body_seen: 'hello' },
  { name: 'equal lengths', head: 'Content-Length: 5\r\nContent-Length: 5\r\n', body: 'hello', refused: codec },
  { name: 'different lengths', head: 'Content-Length: 5\r\nContent-Length: 6\r\n', body: 'hello', refused: codec },
  { name: 'list of equal lengths', head: 'Content-Length: 5, 5\r\n', body: 'hello', refused: codec },
  { name: 'plus sign', head: 'Content-Length: +5\r\n', body: 'hello', refused: codec },
  { name: 'minus sign', head: 'Content-Length: -5\r\n', body: 'hello', refused: codec },
  { name: 'hexadecimal', head: 'Content-Length: 0x5\r\n', body: 'hello', refused: codec },
  { name: 'exponent', head: 'Content-Length: 5e0\r\n', body: 'hello', refused: codec },
  { name: 'inner blank', head: 'Content-Length: 1 5\r\n', body: 'hello', refused: codec },
  { name: 'empty', head: 'Content-Length:\r\n', refused: codec },
  { name: 'no digits', head: 'Content-Length: five\r\n', refused: codec },
  { name: 'beyond 2^53', head: 'Content-Length: 99999999999999999999\r\n', refused: codec },
  { name: 'wraps to 5 in 64 bits', head: 'Content-Length: 18446744073709551621\r\n', body: 'hello', refused: codec },
  { name: 'quoted', head: 'Content-Length: "5"\r\n', body: 'hello', refused: codec },
  { name: 'blank before colon', head: 'Content-Length : 5\r\n', body: 'hello', refused: codec },
  { name: 'tab before colon', head: 'Content-Length\t: 5\r\n', body: 'hello', refused: codec },
  { name: 'NUL in the name', head: 'Content-Length\0: 5\r\n', body: 'hello', refused: codec },
  { name: 'NUL in the value', head: 'Content-Length: 5\0\r\n', body: 'hello', refused: chars },
  { name: 'other name with a length', head: 'Content_Length: 5\r\n', body_seen: '' },
  // Transfer-Encoding
  { name: 'chunked', head: 'Transfer-Encoding: chunked\r\n', body: chunkedBody, body_seen: 'hello' },
  { name: 'chunked in capitals', head: 'TRANSFER-ENCODING: CHUNKED\r\n', body: chunkedBody, body_seen: 'hello' },
  { name: 'chunked after a tab', head: 'Transfer-Encoding:\tchunked\r\n', body: chunkedBody, body_seen: 'hello' },
  { name: 'chunked twice', head: 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', body: chunkedBody, refused: te },
  { name: 'chunked, chunked', head: 'Transfer-Encoding: chunked, chunked\r\n', body: chunkedBody, refused: te },
  { name: 'identity', head: 'Transfer-Encoding: identity\r\n', body: chunkedBody, refused: te },
  {
    name: 'chunked, identity',
    head: 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
    body: chunkedBody,
    refused: te,
  },
  { name: 'gzip, chunked', head: 'Transfer-Encoding: gzip, chunked\r\n', body: chunkedBody, refused: te },
  { name: 'xchunked', head: 'Transfer-Encoding: xchunked\r\n', body: chunkedBody, refused: te },
  { name: 'quoted chunked', head: 'Transfer-Encoding: "chunked"\r\n', body: chunkedBody, refused: te },
  { name: 'empty coding', head: 'Transfer-Encoding:\r\n', body: chunkedBody, refused: te },
  { name: 'trailing comma', head: 'Transfer-Encoding: chunked,\r\n', body: chunkedBody, refused: te },
  { name: 'vertical tab before', head: 'Transfer-Encoding: \vchunked\r\n', body: chunkedBody, refused: chars },
  { name: 'form feed after', head: 'Transfer-Encoding: chunked\f\r\n', body: chunkedBody, refused: chars },
  { name: 'NBSP', head: 'Transfer-Encoding: \xa0chunked\r\n', body: chunkedBody, refused: te },
  { name: 'blank before colon', head: 'Transfer-Encoding : chunked\r\n', body: chunkedBody, refused: codec },
  { name: 'bare CR before the name', head: 'X: y\rTransfer-Encoding: chunked\r\n', body: chunkedBody, refused: chars },
  { name: 'bare LF before the name', head: 'X: y\nTransfer-Encoding: chunked\r\n', body: chunkedBody, refused: codec },
  { name: 'folded', head: 'Transfer-Encoding:\r\n chunked\r\n', body: chunkedBody, refused: codec },
  { name: 'folded with a tab', head: 'X: y\r\n\tTransfer-Encoding: chunked\r\n', body: chunkedBody, refused: codec },
  { name: 'underscore name', head: 'Transfer_Encoding: chunked\r\n', body_seen: '' },
  { name: 'first line is folded', head: ' Transfer-Encoding: chunked\r\n', body: chunkedBody, refused: codec },
  // Both
  { name: 'length and chunked', head: 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', body: chunkedBody, refused: both },
  { name: 'chunked and length', head: 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', body: chunkedBody, refused: both },
  { name: 'length 0 and chunked', head: 'Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', body: chunkedBody, refused: both },
  { name: 'length and identity', head: 'Content-Length: 5\r\nTransfer-Encoding: identity\r\n', body: 'hello', refused: both },
  {
    name: 'length and chunked, allowed',
    head: 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n',
    body: chunkedBody,
    settings: { allowChunkedLength: true },
    body_seen: 'hello',
  },
  {
    name: 'length and gzip although chunked length is allowed',
    head: 'Content-Length: 5\r\nTransfer-Encoding: gzip\r\n',
    settings: { allowChunkedLength: true },
    refused: both,
  },
  // Chunks
  ...Object.entries({
    'plus sign': '+5\r\nhello\r\n0\r\n\r\n',
    'minus sign': '-5\r\nhello\r\n0\r\n\r\n',
    '0x': '0x5\r\nhello\r\n0\r\n\r\n',
    'leading blank': ' 5\r\nhello\r\n0\r\n\r\n',
    'trailing blank': '5 \r\nhello\r\n0\r\n\r\n',
    'no size': '\r\nhello\r\n0\r\n\r\n',
    'bare LF after the size': '5\nhello\r\n0\r\n\r\n',
    'bare CR after the size': '5\rhello\r\n0\r\n\r\n',
    'bare LF after the data': '5\r\nhello\n0\r\n\r\n',
    'data too long': '5\r\nhelloo\r\n0\r\n\r\n',
    'extension with LF': '5;x\nhello\r\n0\r\n\r\n',
    'extension with NUL': '5;x\0\r\nhello\r\n0\r\n\r\n',
    '17 digits': '00000000000000005\r\nhello\r\n0\r\n\r\n',
    'beyond 2^53': 'ffffffffffffffff\r\nhello\r\n0\r\n\r\n',
    'folded trailer': '5\r\nhello\r\n0\r\n x: y\r\n\r\n',
    'trailer without colon': '5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n',
  }).map(([name, body]): Case => ({ name: `chunk: ${name}`, head: 'Transfer-Encoding: chunked\r\n', body, refused: codec })),
  {
    name: 'chunk extension',
    head: 'Transfer-Encoding: chunked\r\n',
    body: '5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n',
    body_seen: 'hello',
  },
  {
    name: 'chunk sizes in capitals',
    head: 'Transfer-Encoding: chunked\r\n',
    body: 'A\r\n0123456789\r\n00\r\n\r\n',
    body_seen: '0123456789',
  },
  {
    name: 'framing fields in trailers',
    head: 'Transfer-Encoding: chunked\r\n',
    body: '0\r\nContent-Length: 9\r\nHost: b\r\n\r\n',
    body_seen: '',
  },
  // Host and Connection
  { name: 'two hosts', head: 'Host: b\r\n', refused: '400 http.invalid_authority' },
  { name: 'host with a blank', head: '', settings: {}, refused: '400 http.invalid_authority', body: '' },
  {
    name: 'connection nominates length',
    head: 'Content-Length: 5\r\nConnection: content-length\r\n',
    body: 'hello',
    refused: '400 http1.connection_header_rejected',
  },
  {
    name: 'connection nominates x-forwarded-for',
    head: 'Connection: close, X-Forwarded-For\r\n',
    refused: '400 http1.connection_header_rejected',
  },
  { name: 'ten nominated', head: `Connection: ${'a,b,c,d,e,f,g,h,i,j'}\r\n`, refused: '400 http1.connection_header_rejected' },
];

for (const { name, head, body = '', settings, refused, body_seen } of CASES) {
  test(`${name}: ${refused ?? 'understood'}`, () => {
    const before = slab.blocksInUse;
    const server = new TestServer(settings);
    const host = name === 'host with a blank' ? 'Host: a b\r\n' : HOST;
    const error = server.receive(`POST /first HTTP/1.1\r\n${host}${head}\r\n${body}${SMUGGLED}`);
    const first = server.streams[0].message;
    if (refused !== undefined) {
      assert.equal(first.localReply, refused);
      assert.equal(error?.kind, 'protocol');
      assert.equal(server.streams.length, 1);
      assert.ok(server.codec.finished);
      assert.equal(server.receive(SMUGGLED), null, 'what follows is dropped');
      assert.equal(server.streams.length, 1);
    } else {
      assert.equal(error, null);
      assert.equal(first.localReply, null);
      assert.ok(first.ended);
      assert.equal(first.body, body_seen);
      assert.equal(first.trailers, null);
      assert.equal(server.streams.length, 2);
      assert.ok(server.last.message.headers?.includes(':path: /smuggled'));
    }
    server.close();
    assert.equal(slab.blocksInUse, before);
  });
}

const LINES: [line: string, outcome: string][] = [
  ['GET / HTTP/1.1\r\n', ''],
  ['OPTIONS * HTTP/1.1\r\n', ''],
  ['PROPFIND / HTTP/1.1\r\n', ''],
  ['\r\n\r\nGET / HTTP/1.1\r\n', ''],
  ['GET  / HTTP/1.1\r\n', codec],
  ['GET /  HTTP/1.1\r\n', codec],
  ['GET /a b HTTP/1.1\r\n', codec],
  [' GET / HTTP/1.1\r\n', codec],
  ['\nGET / HTTP/1.1\r\n', codec],
  ['GET\t/ HTTP/1.1\r\n', codec],
  ['get / HTTP/1.1\r\n', codec],
  ['FOO / HTTP/1.1\r\n', codec],
  ['G<T / HTTP/1.1\r\n', codec],
  ['GET / HTTP/1.1\n', codec],
  ['GET / HTTP/1.1 \r\n', codec],
  ['GET / HTTP/11\r\n', codec],
  ['GET / http/1.1\r\n', codec],
  ['GET / HTTP/1.0\r\n', '426 low_version'],
  ['GET / HTTP/0.9\r\n', '426 low_version'],
  ['GET / HTTP/2.0\r\n', '426 low_version'],
  ['GET /\r\n', '426 low_version'],
  ['GET /\x7f HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['GET /\xe4 HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['GET /\0 HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['GET * HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['GET example.com HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['GET http:///x HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['GET http://a b/ HTTP/1.1\r\n', codec],
  ['GET ftp://a/x HTTP/1.1\r\n', '400 http1.invalid_scheme'],
  ['CONNECT / HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['CONNECT a HTTP/1.1\r\n', '400 http1.invalid_url'],
  ['CONNECT http://a:1 HTTP/1.1\r\n', '400 http1.invalid_url'],
];

for (const [line, outcome] of LINES) {
  test(`request line ${JSON.stringify(line)}: ${outcome === '' ? 'understood' : outcome}`, () => {
    const server = new TestServer();
    server.receive(`${line}Host: a\r\n\r\n`);
    assert.equal(server.streams[0].message.localReply ?? '', outcome);
    assert.equal(server.streams[0].message.ended, outcome === '');
    server.close();
  });
}

test('bytes of a TLS handshake are refused at once', () => {
  const server = new TestServer();
  assert.notEqual(server.receive('\x16\x03\x01\x02\x00\x01\x00'), null);
  assert.match(server.transport.take(), /^HTTP\/1\.1 400 Bad Request\r\n/);
});
