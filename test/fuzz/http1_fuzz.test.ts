import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from './http1_fuzz.ts';
import { oracle, oracleVersion } from './llhttp.ts';

test('the oracle understands a request', { skip: oracleVersion === null ? 'this Node offers no llhttp' : false }, () => {
  const { messages, error } = oracle('POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET');
  assert.equal(error, null);
  assert.deepEqual(messages, [
    {
      url: '/a',
      headers: [
        ['host', 'a'],
        ['content-length', '2'],
      ],
      body: 'ok',
      ended: true,
    },
  ]);
});

test('two seconds of inputs: cut anyhow, no throw, no leak, as llhttp', (t) => {
  const seed = Date.now() >>> 0;
  const count = fuzz(2000, seed);
  t.diagnostic(`seed ${seed}: ${count} inputs`);
  assert.ok(count > 0);
});
