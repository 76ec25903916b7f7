import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Endpoint, formatPrefix, parsePrefix } from '../../../src/stack/session/endpoint.ts';
import { SESSION_ERRORS } from '../../../src/stack/session/errors.ts';
import { LookupTables } from '../../../src/stack/session/lookup.ts';
import { RulesTable, type SessionRule } from '../../../src/stack/session/rules_table.ts';
import { decodeSapi } from '../../../src/stack/session/sapi.ts';
import { TupleTable } from '../../../src/stack/session/tuple_table.ts';
import { random } from '../svm/support.ts';

test('addresses parse and print', () => {
  for (const ip of [
    '1.2.3.4',
    '255.255.255.255',
    '::',
    '::1',
    '2001:db8::1',
    'fe80::1:2:3:4',
    '1:2:3:4:5:6:7:8',
    '2001:db8:0:1::',
  ]) {
    const endpoint = Endpoint.parse(ip, 80);
    assert.ok(endpoint !== null);
    assert.equal(endpoint.ip, ip);
  }
  assert.equal(Endpoint.parse('::ffff:10.0.0.1', 1)!.toString(), '10.0.0.1:1');
  assert.equal(Endpoint.parse('64:ff9b::1.2.3.4', 1)!.toString(), '[64:ff9b::102:304]:1');
  assert.equal(Endpoint.parse('1:0:0:2:0:0:0:3', 0)!.ip, '1:0:0:2::3');
  for (const bad of ['1.2.3', 'x', '1.2.3.4.5', ':::']) assert.equal(Endpoint.parse(bad, 80), null);
  assert.equal(Endpoint.parse('1.1.1.1', 65536), null);
  assert.equal(formatPrefix(parsePrefix('10.9.8.7/8')!), '10.0.0.0/8');
  assert.equal(formatPrefix(parsePrefix('2001:db8:ffff::/33')!), '2001:db8:8000::/33');
  assert.equal(formatPrefix(parsePrefix('::1')!), '::1/128');
  for (const bad of ['10.0.0.0/33', '1.1.1.1/', '::/129', '1.1.1.1/-1']) assert.equal(parsePrefix(bad), null);
});

test('the tuple table equals a map under random inserts and deletes', () => {
  const table = new TupleTable(4, 77, 16);
  const model = new Map<string, number>();
  const rnd = random(3);
  const key = new Int32Array(4);
  for (let step = 0; step < 40_000; step++) {
    for (let i = 0; i < 4; i++) key[i] = rnd(6) - 3;
    const name = key.join();
    const value = rnd(1 << 30);
    if (rnd(3) > 0) {
      table.set(key, value);
      model.set(name, value);
    } else assert.equal(table.delete(key), model.delete(name));
    for (let i = 0; i < 4; i++) key[i] = rnd(6) - 3;
    assert.equal(table.get(key), model.get(key.join()) ?? -1);
    assert.equal(table.size, model.size);
  }
});

test('listeners: exact before any, IPv6 any takes IPv4 unless it must not, port 0 takes the rest', () => {
  const tables = new LookupTables();
  const at = (ip: string, port: number) => Endpoint.parse(ip, port)!;
  tables.addListener(0, at('10.0.0.1', 80), 1, false);
  tables.addListener(0, at('0.0.0.0', 80), 2, false);
  tables.addListener(0, at('::', 81), 3, true);
  tables.addListener(0, at('::', 82), 4, false);
  tables.addListener(0, at('10.0.0.9', 0), 5, false);
  assert.equal(tables.findListener(0, at('10.0.0.1', 80), true), 1);
  assert.equal(tables.findListener(0, at('10.0.0.2', 80), true), 2);
  assert.equal(tables.findListener(0, at('10.0.0.2', 80), false), -1);
  assert.equal(tables.findListener(1, at('10.0.0.1', 80), true), -1);
  assert.equal(tables.findListener(0, at('10.0.0.2', 81), true), 3);
  assert.equal(tables.findListener(0, at('fe80::1', 81), true), 3);
  assert.equal(tables.findListener(0, at('10.0.0.2', 82), true), -1);
  assert.equal(tables.findListener(0, at('10.0.0.9', 1234), false), 5);
  tables.deleteListener(0, at('::', 81));
  assert.equal(tables.findListener(0, at('10.0.0.2', 81), true), -1);
  tables.addSession(0, at('10.0.0.1', 5), at('10.0.0.2', 6), 9);
  assert.equal(tables.findSession(0, at('10.0.0.1', 5), at('10.0.0.2', 6)), 9);
  assert.equal(tables.findSession(0, at('10.0.0.1', 6), at('10.0.0.2', 5)), -1);
  assert.deepEqual(tables.counts, { established: 1, halfOpen: 0, listeners: 4 });
});

test('the most specific rule wins, and rules can be replaced and removed', () => {
  const table = new RulesTable();
  const rule = (remote: string, remotePort: number, action: SessionRule['action']): SessionRule => {
    const prefix = parsePrefix(remote)!;
    return {
      proto: 0,
      local: parsePrefix(prefix.isV4 ? '0.0.0.0/0' : '::/0')!,
      localPort: 0,
      remote: prefix,
      remotePort,
      action,
      tag: '',
    };
  };
  const any = Endpoint.parse('0.0.0.0', 0)!;
  const look = (ip: string, port: number) => table.lookup(0, any, Endpoint.parse(ip, port)!)?.kind ?? 'none';
  table.add(rule('10.0.0.0/8', 0, { kind: 'deny' }));
  table.add(rule('10.1.0.0/16', 0, { kind: 'allow' }));
  table.add(rule('10.1.0.0/16', 22, { kind: 'redirect', appIndex: 3 }));
  table.add(rule('::/0', 0, { kind: 'deny' }));
  assert.equal(look('11.0.0.1', 1), 'none');
  assert.equal(look('10.9.9.9', 1), 'deny');
  assert.equal(look('10.1.9.9', 1), 'allow');
  assert.equal(look('10.1.9.9', 22), 'redirect');
  assert.equal(look('::5', 1), 'deny');
  table.add(rule('10.0.0.0/8', 0, { kind: 'allow' }));
  assert.equal(look('10.9.9.9', 1), 'allow');
  assert.equal(table.list.length, 4);
  assert.equal(table.delete(rule('10.1.0.0/16', 22, { kind: 'deny' })), true);
  assert.equal(table.delete(rule('10.1.0.0/16', 22, { kind: 'deny' })), false);
  assert.equal(look('10.1.9.9', 22), 'allow');
});

test('error codes are distinct and fit a message', () => {
  const codes = Object.values(SESSION_ERRORS).map((entry) => entry.code);
  assert.equal(new Set(codes).size, codes.length);
  assert.ok(Math.max(...codes) < 256);
});

test('socket messages that are malformed are none', () => {
  const texts = [
    '',
    '{',
    'null',
    '[]',
    '{"type":"attach"}',
    '{"type":"segment","id":"1","side":0}',
    '{"type":"__proto__"}',
    '\u0000',
  ];
  for (const text of texts) assert.equal(decodeSapi(Buffer.from(text)), null);
  assert.deepEqual(decodeSapi(Buffer.from('{"type":"segment","id":1,"side":0}')), { type: 'segment', id: 1, side: 0 });
});
