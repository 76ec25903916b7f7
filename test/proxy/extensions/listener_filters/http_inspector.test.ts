import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { factory } from '../../../../src/proxy/extensions/listener_filters/http_inspector/config.ts';
import { ListenerFilterStatus } from '../../../../src/proxy/network/listener_filter.ts';
import { cut, FilterHarness } from './support.ts';

const text = (value: string) => Buffer.from(value, 'latin1');

const CASES: [string, string, string[], string][] = [
  ['HTTP/1.1', 'GET /x HTTP/1.1\r\nhost: a\r\n\r\n', ['http/1.1'], 'http11_found'],
  ['HTTP/1.1 with a bare LF', 'GET /x HTTP/1.1\n', ['http/1.1'], 'http11_found'],
  ['HTTP/1.0', 'GET /x HTTP/1.0\r\n', ['http/1.0'], 'http10_found'],
  ['a version of the future', 'GET /x HTTP/1.2\r\n', ['http/1.0'], 'http10_found'],
  ['a custom method', 'BREW+it pot HTTP/1.1\r\n', ['http/1.1'], 'http11_found'],
  ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest', ['h2c'], 'http2_found'],
  ['PRI that is no preface', 'PRI * HTTP/1.1\r\n', ['http/1.1'], 'http11_found'],
  ['a preface that breaks off', 'PRI * HTTP/2.0\r\n\r\nXX', [], 'http_not_found'],
  ['TLS', '\x16\x03\x01', [], 'http_not_found'],
  ['a line break first', '\r\nGET / HTTP/1.1\r\n', [], 'http_not_found'],
  ['no version', 'GET /\r\n', [], 'http_not_found'],
  ['another protocol', 'GET / ICAP/1.0\r\n', [], 'http_not_found'],
  ['a control character in the target', 'GET /\x01 HTTP/1.1\r\n', [], 'http_not_found'],
];

for (const [title, input, protocols, stat] of CASES) {
  test(`http_inspector: ${title}`, () => {
    for (const size of [1, 5, 1000]) {
      const run = new FilterHarness(factory).run(cut(text(input), size));
      assert.equal(run.status, ListenerFilterStatus.Continue);
      assert.deepEqual(run.socket.requestedApplicationProtocols, protocols);
      assert.equal(run.counter(`http_inspector.${stat}`), 1);
      assert.equal(Buffer.from(run.rest).toString('latin1'), input);
    }
  });
}

test('http_inspector: waits for a line that is not complete', () => {
  const run = new FilterHarness(factory).run([text('GET /abc HTT')]);
  assert.equal(run.status, ListenerFilterStatus.StopIteration);
});

test('http_inspector: leaves TLS alone', () => {
  const run = new FilterHarness(factory).run([text('GET / HTTP/1.1\r\n')], (socket) => {
    socket.detectedTransportProtocol = 'tls';
  });
  assert.equal(run.pieces, 0);
  assert.deepEqual(run.socket.requestedApplicationProtocols, []);
});

test('http_inspector: a line without an end is cut at 64 KiB', () => {
  const run = new FilterHarness(factory).run(cut(text(`GET /${'a'.repeat(70_000)}`), 4096));
  assert.equal(run.status, ListenerFilterStatus.Close);
  assert.equal(run.counter('http_inspector.read_error'), 1);
  assert.ok(run.pieces <= 17);
});

test('http_inspector: random bytes, in any pieces, give the same answer as at once', () => {
  const harness = new FilterHarness(factory);
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 60 }),
    fc.stringMatching(/^(GET|PRI) [ -~]{0,30}\r?\n?$/).map(text),
  );
  fc.assert(
    fc.property(bytes, fc.integer({ min: 1, max: 9 }), (input, size) => {
      const whole = harness.run([input]);
      const pieces = harness.run(cut(input, size));
      assert.equal(pieces.status, whole.status);
      assert.deepEqual(pieces.socket.requestedApplicationProtocols, whole.socket.requestedApplicationProtocols);
    }),
    { numRuns: 500 },
  );
});
