import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRequest, readCheckResponse, SERVING } from '../../../../src/proxy/upstream/health_check/grpc_health.ts';
import { containsPayload, payloadBytes } from '../../../../src/proxy/upstream/health_check/payload.ts';

test('expected parts come in their order, with anything between', () => {
  const parts = (...text: string[]): Buffer[] => text.map((part) => Buffer.from(part));
  assert.ok(containsPayload([], Buffer.alloc(0)));
  assert.ok(containsPayload(parts('ab', 'cd'), Buffer.from('xxabyycdzz')));
  assert.ok(!containsPayload(parts('cd', 'ab'), Buffer.from('xxabyycdzz')));
  assert.ok(!containsPayload(parts('ab', 'bc'), Buffer.from('abc')), 'parts do not overlap');
});

test('text is hex, binary is as it is', () => {
  assert.deepEqual(payloadBytes({ text: '00fF' }, ''), Buffer.from([0, 255]));
  assert.deepEqual(payloadBytes({ binary: Buffer.from('hex') }, ''), Buffer.from('hex'));
  for (const wrong of ['0', '0g', '']) assert.throws(() => payloadBytes({ text: wrong }, 'at'), /invalid hex string/);
});

test('the messages of grpc.health.v1', () => {
  assert.deepEqual(checkRequest(''), Buffer.from([0, 0, 0, 0, 0]));
  assert.deepEqual(checkRequest('ab'), Buffer.from([0, 0, 0, 0, 4, 10, 2, 97, 98]));
  const long = checkRequest('x'.repeat(200));
  assert.deepEqual([...long.subarray(0, 8)], [0, 0, 0, 0, 203, 10, 200, 1]);
  const frame = (...bytes: number[]): Buffer => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]);
  assert.equal(readCheckResponse(frame(8, 1)), SERVING);
  assert.equal(readCheckResponse(frame(8, 2)), 2);
  assert.equal(readCheckResponse(frame()), 0);
  assert.equal(readCheckResponse(frame(18, 1, 7, 8, 1)), SERVING, 'unknown fields are skipped');
  const wrong = [
    frame(8),
    frame(8, 0x80),
    frame(18, 9, 1),
    frame(11),
    Buffer.alloc(3),
    Buffer.from([1, 0, 0, 0, 2, 8, 1]),
    Buffer.concat([frame(8, 1), frame(8, 1)]),
  ];
  for (const bytes of wrong) assert.equal(readCheckResponse(bytes), null, bytes.toString('hex'));
});
