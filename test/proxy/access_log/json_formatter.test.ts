import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonFormatter, parseFormat } from '../../../src/proxy/access_log/formatter.ts';
import { escapeJson } from '../../../src/proxy/access_log/json_text.ts';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import { context, EMPTY, headers, streamInfo } from './support.ts';

function json(format: Record<string, unknown>, omit = false, log = context()): string {
  return jsonFormatter(format, omit).format(log, streamInfo());
}

test('keys sorted, one operator keeps its type, a mix is text, literals stay', () => {
  assert.equal(
    json({
      zeta: 'literal "q"',
      code: '%RESPONSE_CODE%',
      Method: '%REQ(:METHOD)%',
      mix: '%PROTOCOL% %REQ(x-none)% %BYTES_SENT%',
      none: '%REQ(x-none)%',
      nested: { b: '%DYNAMIC_METADATA(ns:n)%', a: ['%DURATION%', 'x', { y: true }] },
      number: 1.5,
      nothing: null,
    }),
    '{"Method":"POST","code":204,"mix":"HTTP/2 - 7","nested":{"a":[226,"x",{"y":true}],"b":{"a":true,"b":[1,"x"]}},' +
      '"none":null,"nothing":null,"number":1.5,"zeta":"literal \\"q\\""}\n',
  );
});

test('typed values', () => {
  assert.equal(
    json({
      flags: '%RESPONSE_FLAGS%',
      host: '%UPSTREAM_HOST%',
      meta: '%DYNAMIC_METADATA(ns:num)%',
      port: '%DOWNSTREAM_LOCAL_PORT%',
      time: '%START_TIME%',
      tls: '%DOWNSTREAM_TLS_VERSION%',
    }),
    '{"flags":"-","host":"10.0.2.1:80","meta":4,"port":443,"time":"2016-04-15T20:17:00.310Z","tls":null}\n',
  );
});

test('omit_empty_values leaves members without a value out', () => {
  assert.equal(
    json({ a: '%REQ(x-none)%', b: ['%REQ(x-none)%', 'y'], c: 'v%REQ(x-none)%', d: { e: '%REQ(x-none)%' } }, true),
    '{"b":["y"],"c":"v","d":{}}\n',
  );
  assert.equal(json({ a: '%REQ(x-none)%' }, true), '{}\n');
});

test('whatever a client sends gives valid JSON', () => {
  const format = jsonFormatter({ value: '%REQ(x-any)%', mix: '<%REQ(x-any)%>' });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const value = Buffer.from(bytes).toString('latin1');
      const line = Buffer.from(format.format({ ...EMPTY, requestHeaders: headers({ 'x-any': value }) }, streamInfo()), 'latin1');
      const parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
      const decoded = Buffer.from(bytes).toString('utf8');
      const expected = decoded.includes('\ufffd') ? value : decoded;
      assert.equal(parsed.value, expected);
      assert.equal(parsed.mix, `<${expected}>`);
    }),
    { numRuns: 300, seed: 3 },
  );
  assert.equal(escapeJson('a\u0001\n"\\\x7f'), 'a\\u0001\\n\\"\\\\\\u007f');
});

test('text formats print bytes as they came', () => {
  const requestHeaders = headers({ 'x-any': '\xc3\xbc\xff' });
  assert.equal(parseFormat('%REQ(x-any)%').format(context({ requestHeaders }), streamInfo()), '\xc3\xbc\xff');
});

test('mistakes are found when the format is compiled', () => {
  assert.throws(() => jsonFormatter({ a: { b: ['%NOPE%'] } }), ConfigError);
});
