/** Urgent data (RFC 9293 3.8.5): what the application hears, how much there is, and what is sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionAttribute } from '../../../src/stack/tcp/attributes.ts';
import type { TcpConnection } from '../../../src/stack/tcp/connection.ts';
import { urgentBytes } from '../../../src/stack/tcp/urgent.ts';
import { Script } from './script.ts';

function heard(c: TcpConnection): number[] {
  const calls: number[] = [];
  c.app = { onUrgent: (each) => void calls.push(urgentBytes(each)) };
  return calls;
}

// MUST-30 MUST-32 MUST-33
test('the application hears of urgent data, of each that follows, and how much is left', () => {
  const s = new Script();
  const c = s.accept();
  const calls = heard(c);
  s.in({ flags: 'UA', seq: 1, ack: 1, data: 5, urgent: 3 });
  assert.deepEqual(calls, [3]);
  // In line.
  assert.equal(c.received.length, 5);
  const to = new Uint8Array(100);
  c.read(to, 0, 2);
  assert.equal(urgentBytes(c), 1);
  // It moves on, beyond what has come.
  s.in({ flags: 'UA', seq: 6, ack: 1, data: 5, urgent: 50 });
  assert.deepEqual(calls, [3, 53]);
  // The same end again is no news, nor one before it.
  s.in({ flags: 'UA', seq: 11, ack: 1, data: 5, urgent: 45 });
  s.in({ flags: 'UA', seq: 16, ack: 1, data: 5, urgent: 2 });
  assert.deepEqual(calls, [3, 53]);
  c.read(to);
  assert.equal(urgentBytes(c), 35);
  s.in({ flags: 'A', seq: 21, ack: 1, data: 40 });
  assert.equal(urgentBytes(c), 35);
  c.read(to);
  assert.equal(urgentBytes(c), 0);
  // After it was read there can be other.
  s.in({ flags: 'UA', seq: 61, ack: 1, data: 1, urgent: 1 });
  assert.deepEqual(calls, [3, 53, 1]);
});

test('a mark that nobody has read past is over before the sequence space comes round', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'UA', seq: 1, ack: 1, data: 1, urgent: 1 });
  c.read(new Uint8Array(10));
  s.in({ flags: 'A', seq: 2, ack: 1, data: 1 });
  assert.equal(c.rcvUrgent, false);
});

// MUST-31 MUST-62
test('urgent data of any length: the pointer is at the octet that follows it, or as far as it can say', () => {
  const s = new Script({ initialWindowSegments: 100 });
  const c = s.accept();
  const total = 70_000;
  connectionAttribute(c, 'urgent', total);
  assert.equal(c.write(new Uint8Array(total + 500)), total + 500);
  s.run();
  let sent = 0;
  for (let round = 0; round < 100 && sent < total + 500; round++) {
    for (const each of s.out()) {
      if (each.length === 0) continue;
      const ahead = total + 1 - each.seq;
      assert.equal(each.flags.includes('U'), ahead > 0, `at ${each.seq}`);
      assert.equal(each.repr.urgent, ahead > 0 ? Math.min(ahead, 65_535) : 0);
      sent = Math.max(sent, each.seq + each.length - 1);
    }
    s.in({ flags: 'A', seq: 1, ack: sent + 1 });
    s.pass(1);
  }
  assert.equal(sent, total + 500);
  s.out();
  c.write(new Uint8Array(10));
  s.run();
  assert.deepEqual(s.outText(), ['PA 70501:70511 1']);
  assert.equal(c.sndUrgent, false);
});
