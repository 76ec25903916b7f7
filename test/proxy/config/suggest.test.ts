import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../../src/proxy/config/suggest.ts';

const NAMES = ['connect_timeout', 'load_assignment', 'lb_policy', 'name', 'type', 'http2_protocol_options'];

test('the nearest name, whatever the case; swaps count once; far ones are none', () => {
  assert.equal(nearest('conect_timeout', NAMES), 'connect_timeout');
  assert.equal(nearest('connectTimeOut', NAMES), 'connect_timeout');
  assert.equal(nearest('load_assginment', NAMES), 'load_assignment');
  assert.equal(nearest('tpye', NAMES), 'type');
  assert.equal(nearest('lb-policy', NAMES), 'lb_policy');
  assert.equal(nearest('health_checks', NAMES), undefined);
  assert.equal(nearest('x', NAMES), undefined);
});
