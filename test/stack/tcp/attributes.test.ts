/** Attributes of connections: what applications set changes what is sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionAttribute } from '../../../src/stack/tcp/attributes.ts';
import { Script } from './script.ts';

test('every attribute reads back; unknown congestion controls change nothing', () => {
  const s = new Script();
  const c = s.accept();
  const values = {
    keepalive: 1,
    tcpNodelay: 1,
    tcpKeepidle: 7,
    tcpKeepintvl: 3,
    tcpKeepcnt: 2,
    tcpUserMss: 600,
    dscp: 46,
    tcpUserTimeout: 1234,
    tcpCongestion: 2,
  } as const;
  for (const [name, value] of Object.entries(values)) {
    assert.equal(connectionAttribute(c, name as keyof typeof values, value), value, name);
    assert.equal(connectionAttribute(c, name as keyof typeof values), value, name);
  }
  assert.equal(c.cc.name, 'bbr');
  assert.equal(connectionAttribute(c, 'tcpCongestion', 9), 2);
  assert.equal(connectionAttribute(c, 'nothing' as never, 1), undefined);
  c.abort();
});

// MUST-48 SHLD-21 SHLD-22
test('segment size and code point show in what is sent', () => {
  const s = new Script();
  const c = s.accept();
  connectionAttribute(c, 'tcpUserMss', 500);
  connectionAttribute(c, 'dscp', 46);
  c.write(new Uint8Array(1200));
  s.run();
  const sent = s.out();
  assert.deepEqual(
    sent.map(({ length, tos }) => [length, tos >> 2]),
    [
      [500, 46],
      [500, 46],
    ],
  );
  c.abort();
});

test('keepalive: idle time, interval and count of the connection; a user timeout in their place', () => {
  for (const userTimeout of [0, 9000]) {
    const s = new Script();
    const c = s.accept();
    connectionAttribute(c, 'tcpKeepidle', 5);
    connectionAttribute(c, 'tcpKeepintvl', 2);
    connectionAttribute(c, 'tcpKeepcnt', 1);
    if (userTimeout > 0) connectionAttribute(c, 'tcpUserTimeout', userTimeout);
    connectionAttribute(c, 'keepalive', 1);
    s.pass(4900);
    assert.deepEqual(s.outText(), []);
    s.pass(200);
    assert.equal(s.outText().length, 1);
    s.pass(2000);
    assert.equal(c.error, userTimeout === 0 ? 'timedOut' : 'none');
    s.pass(2100);
    assert.equal(c.error, 'timedOut');
  }
});

test('a user timeout gives up unacknowledged data before the retransmissions are used up', () => {
  const s = new Script();
  const c = s.accept();
  connectionAttribute(c, 'tcpUserTimeout', 3000);
  c.write(new Uint8Array(10));
  s.run();
  s.pass(2500);
  assert.equal(c.error, 'none');
  s.pass(5000);
  assert.equal(c.error, 'timedOut');
});
