/** RFC 9293 by section, packet in and packet out. The number in front of a name is the section. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TcpState } from '../../../src/stack/tcp/state.ts';
import { Script } from './script.ts';

const quiet = { delayedAckMs: 40, noDelay: true } as const;

// MUST-14 MUST-4 SHLD-5
test('3.5 three-way handshake, passive: options are answered in kind', () => {
  const s = new Script();
  s.listen();
  s.in({ flags: 'S', seq: 0, mss: 1400, windowScale: 7, sackPermitted: true, ts: [5, 0] });
  const [out] = s.out();
  assert.equal(out.flags, 'SA');
  assert.equal(out.ack, 1);
  assert.equal(out.repr.mss, 1460);
  assert.equal(out.repr.sackPermitted, true);
  assert.equal(out.repr.hasTimestamps, true);
  assert.equal(out.repr.tsEcr, 5);
  assert.ok(out.repr.windowScale >= 0);
});

// MUST-15
test('3.5 options that the peer does not offer are not used', () => {
  const s = new Script();
  s.listen();
  s.in({ flags: 'S', seq: 0 });
  const [out] = s.out();
  assert.deepEqual([out.repr.sackPermitted, out.repr.hasTimestamps, out.repr.windowScale], [false, false, -1]);
});

// MUST-16 MUST-44
test('3.5 active open', () => {
  const s = new Script();
  const c = s.connect();
  const [syn] = s.out();
  assert.equal(syn.flags, 'S');
  assert.equal(syn.repr.mss, 1460);
  s.in({ flags: 'SA', seq: 0, ack: 1, mss: 1000 });
  assert.equal(c.state, TcpState.established);
  assert.deepEqual(s.outText(), ['A 1:1 1']);
  assert.equal(c.mss, 1000);
});

// MUST-10
test('3.5 simultaneous open', () => {
  const s = new Script();
  const c = s.connect();
  s.out();
  s.in({ flags: 'S', seq: 0 });
  assert.deepEqual(s.outText(), ['SA 0:0 1']);
  s.in({ flags: 'SA', seq: 0, ack: 1 });
  assert.equal(c.state, TcpState.established);
});

test('3.5 a repeated SYN in SYN-RECEIVED is answered again', () => {
  const s = new Script();
  s.listen();
  s.in({ flags: 'S', seq: 0 });
  const [first] = s.out();
  s.in({ flags: 'S', seq: 0 });
  const [second] = s.out();
  assert.equal(second.flags, 'SA');
  assert.equal(second.repr.seq, first.repr.seq);
});

test('3.5 an old duplicate SYN-ACK in SYN-SENT is reset', () => {
  const s = new Script();
  s.connect();
  s.out();
  s.in({ flags: 'SA', seq: 0, ack: 999 });
  assert.deepEqual(s.outText(), ['R 999:999 0']);
});

test('3.5.2 a segment for no connection is reset', () => {
  const s = new Script();
  s.in({ flags: 'A', seq: 5, ack: 77 });
  assert.deepEqual(s.outText(), ['R 77:77 0']);
  s.in({ flags: 'S', seq: 5 });
  const [out] = s.out();
  assert.equal(out.flags, 'RA');
  assert.equal(out.ack, 6);
});

test('3.5.2 a reset is never answered', () => {
  const s = new Script();
  s.in({ flags: 'R', seq: 5 });
  s.in({ flags: 'RA', seq: 5, ack: 1 });
  assert.deepEqual(s.out(), []);
});

test('3.5.2 RST answers the SYN: refused', () => {
  const s = new Script();
  const c = s.connect();
  let error = '';
  c.app = { onClosed: (_c, e) => void (error = e) };
  s.in({ flags: 'RA', seq: 0, ack: 1 });
  assert.equal(error, 'refused');
});

// MUST-13
test('3.6 close: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT, and the last FIN is acknowledged again', () => {
  const s = new Script({ timeWaitMs: 1000 });
  const c = s.accept();
  c.close();
  s.run();
  assert.deepEqual(s.outText(), ['FA 1:1 1']);
  assert.equal(c.state, TcpState.finWait1);
  s.in({ flags: 'A', seq: 1, ack: 2 });
  assert.equal(c.state, TcpState.finWait2);
  s.in({ flags: 'FA', seq: 1, ack: 2 });
  assert.equal(c.state, TcpState.timeWait);
  assert.deepEqual(s.outText(), ['A 2:2 2']);
  s.in({ flags: 'FA', seq: 1, ack: 2 });
  assert.deepEqual(s.outText(), ['A 2:2 2']);
  s.pass(1100);
  assert.equal(c.state, TcpState.closed);
  assert.equal(s.tcp.connections.size, 0);
});

test('3.6 simultaneous close goes through CLOSING', () => {
  const s = new Script();
  const c = s.accept();
  c.close();
  s.run();
  s.out();
  s.in({ flags: 'FA', seq: 1, ack: 1 });
  assert.equal(c.state, TcpState.closing);
  assert.deepEqual(s.outText(), ['A 2:2 2']);
  s.in({ flags: 'A', seq: 2, ack: 2 });
  assert.equal(c.state, TcpState.timeWait);
});

test('3.6 passive close: CLOSE-WAIT, LAST-ACK, CLOSED', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'FA', seq: 1, ack: 1 });
  assert.equal(c.state, TcpState.closeWait);
  assert.deepEqual(s.outText(), ['A 1:1 2']);
  c.shutdown();
  s.run();
  assert.equal(c.state, TcpState.lastAck);
  assert.deepEqual(s.outText(), ['FA 1:1 2']);
  s.in({ flags: 'A', seq: 2, ack: 2 });
  assert.equal(c.state, TcpState.closed);
});

test('3.6 a half-closed connection still receives', () => {
  const s = new Script();
  const c = s.accept();
  c.shutdown();
  s.run();
  s.in({ flags: 'A', seq: 1, ack: 2, data: 100 });
  assert.equal(c.received.length, 100);
});

// SHLD-3 MAY-1
test('3.6.1 close with unread data resets (RFC 2525 2.17)', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'PA', seq: 1, ack: 1, data: 10 });
  s.out();
  c.close();
  s.run();
  assert.deepEqual(s.outText(), ['RA 1:1 11']);
});

test('3.6.1 data after close resets', () => {
  const s = new Script();
  const c = s.accept();
  c.close();
  s.run();
  s.out();
  s.in({ flags: 'PA', seq: 1, ack: 2, data: 10 });
  assert.equal(s.out().at(-1)?.flags, 'RA');
  assert.equal(c.state, TcpState.closed);
});

// MUST-15 MUST-16
test('3.7.1 segments are not larger than the MSS of the peer, 536 without the option', () => {
  for (const [mss, expected] of [
    [700, 700],
    [0, 536],
  ] as const) {
    const s = new Script(quiet);
    const c = s.accept({ mss });
    c.write(new Uint8Array(3000));
    s.run();
    assert.equal(Math.max(...s.out().map((o) => o.length)), expected, `mss ${mss}`);
  }
});

// SHLD-7 MUST-17
test('3.7.4 Nagle: a small segment waits for the acknowledgment; without Nagle it does not', () => {
  for (const noDelay of [false, true]) {
    const s = new Script({ noDelay });
    const c = s.accept();
    c.write(new Uint8Array(10));
    s.run();
    c.write(new Uint8Array(10));
    s.run();
    assert.deepEqual(s.outText(), noDelay ? ['PA 1:11 1', 'PA 11:21 1'] : ['PA 1:11 1']);
    s.in({ flags: 'A', seq: 1, ack: 11 });
    if (!noDelay) assert.deepEqual(s.outText(), ['PA 11:21 1']);
  }
});

// MUST-19 MUST-20
test('3.8.1 retransmission with doubled timeouts, and the connection is given up', () => {
  const s = new Script({ ...quiet, dataRetries: 3 });
  const c = s.accept();
  let error = '';
  c.app = { onClosed: (_c, e) => void (error = e) };
  c.write(new Uint8Array(10));
  s.run();
  s.out();
  const times: number[] = [];
  for (let ms = 0; ms < 20_000 && error === ''; ms++) {
    s.pass(1);
    for (const o of s.out()) if (o.length > 0) times.push(ms);
  }
  assert.equal(error, 'timedOut');
  const rto = times.slice(-3);
  assert.ok(rto[2] - rto[1] > 1.8 * (rto[1] - rto[0]), `${times}`);
});

// MUST-24 MUST-26 MUST-27 MUST-29 SHLD-12 MAY-5
test('3.8.4 keepalive: probes below the window, and the end of a silent peer', () => {
  const s = new Script({ keepAlive: true, keepAliveIdleMs: 10_000, keepAliveIntervalMs: 1000, keepAliveProbes: 2 });
  const c = s.accept();
  let error = '';
  c.app = { onClosed: (_c, e) => void (error = e) };
  s.pass(10_100);
  assert.deepEqual(s.outText(), ['A 0:0 1']);
  s.in({ flags: 'A', seq: 1, ack: 1 });
  s.pass(9000);
  assert.deepEqual(s.out(), []);
  s.pass(4000);
  assert.equal(s.out().at(-1)?.flags, 'RA');
  assert.equal(error, 'timedOut');
});

// SHLD-14 MUST-1
test('3.8.6 the window never moves back, and closes when nobody reads', () => {
  const s = new Script({ maxReceiveBufferBytes: 8192, initialReceiveBufferBytes: 8192 });
  const c = s.accept({ windowScale: 0 });
  let edge = 0;
  for (let seq = 1; seq < 20_000; seq += 1000) {
    s.in({ flags: 'A', seq, ack: 1, data: 1000 });
    for (const o of s.out()) {
      assert.ok(o.ack + o.window >= edge, 'right edge moved back');
      edge = o.ack + o.window;
    }
  }
  assert.ok(c.received.length <= 8192);
  assert.equal(edge, c.received.length + 1);
});

// MUST-35 MUST-36 MUST-37 SHLD-29 SHLD-30
test('3.8.6.1 zero window: probes, answered for ever; the window opens and data flows', () => {
  const s = new Script(quiet);
  const c = s.accept({}, 0);
  c.write(new Uint8Array(100));
  s.run();
  assert.deepEqual(s.out(), []);
  for (let i = 0; i < 30; i++) {
    s.pass(61_000);
    assert.ok(s.out().every((o) => o.length === 0));
    s.in({ flags: 'A', seq: 1, ack: 1, window: 0 });
  }
  assert.equal(c.state, TcpState.established);
  s.in({ flags: 'A', seq: 1, ack: 1, window: 1000 });
  assert.deepEqual(s.outText(), ['PA 1:101 1']);
});

// MUST-38
test('3.8.6.2.1 sender: no silly segments into a small window, until the override timer', () => {
  const s = new Script(quiet);
  const c = s.accept({}, 5000);
  c.write(new Uint8Array(20_000));
  s.run();
  s.out();
  // The whole window is in flight: acknowledge it, but open only 100 bytes.
  s.in({ flags: 'A', seq: 1, ack: 4381, window: 100 });
  assert.deepEqual(s.out(), []);
  s.pass(3000);
  const lengths = s.out().map((o) => o.length);
  assert.equal(lengths[0], 100);
});

// MUST-39
test('3.8.6.2.2 receiver: the window is announced again in large steps only', () => {
  const s = new Script({ maxReceiveBufferBytes: 8192, initialReceiveBufferBytes: 8192 });
  const c = s.accept();
  for (let seq = 1; seq <= 8192; seq += 1024) s.in({ flags: 'A', seq, ack: 1, data: 1024 });
  assert.equal(s.out().at(-1)?.window, 0);
  const to = new Uint8Array(8192);
  c.read(to, 0, 100);
  s.run();
  assert.deepEqual(s.out(), [], 'a window of 100 bytes is not worth a segment');
  c.read(to, 0, 8092);
  s.run();
  assert.equal(s.out()[0].window, 8192);
});

// MUST-40 SHLD-18 SHLD-19 MUST-58
test('3.8.6.3 delayed acknowledgment: every second full segment at once, the rest after the delay', () => {
  const s = new Script({ delayedAckMs: 40 });
  const c = s.accept();
  c.quickAcks = 0;
  s.in({ flags: 'A', seq: 1, ack: 1, data: 1000 });
  assert.deepEqual(s.out(), []);
  s.in({ flags: 'A', seq: 1001, ack: 1, data: 1000 });
  assert.deepEqual(s.outText(), ['A 1:1 2001']);
  s.in({ flags: 'A', seq: 2001, ack: 1, data: 10 });
  assert.deepEqual(s.out(), []);
  s.pass(41);
  assert.deepEqual(s.outText(), ['A 1:1 2011']);
});

test('3.10.7.4 out-of-window data is acknowledged and dropped, overlapping data is trimmed', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'A', seq: 900_000, ack: 1, data: 10 });
  assert.deepEqual(s.outText(), ['A 1:1 1']);
  assert.equal(c.received.length, 0);
  s.in({ flags: 'A', seq: 1, ack: 1, data: 100 });
  s.in({ flags: 'A', seq: 51, ack: 1, data: 100 });
  assert.equal(c.received.length, 150);
  const bytes = c.received.peek();
  for (let i = 0; i < 150; i++) assert.equal(bytes[i], (1 + i) & 255);
});

test('3.10.7.4 an ACK of something never sent is answered and ignored', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'A', seq: 1, ack: 5000 });
  assert.deepEqual(s.outText(), ['A 1:1 1']);
  assert.equal(c.state, TcpState.established);
});

// SHLD-31 MUST-59
test('3.10.7.4 a FIN that comes before its data waits for it', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'FA', seq: 11, ack: 1, data: 10 });
  assert.equal(c.state, TcpState.established);
  s.in({ flags: 'A', seq: 1, ack: 1, data: 10 });
  assert.equal(c.state, TcpState.closeWait);
  assert.equal(c.received.length, 20);
  assert.equal(s.out().at(-1)?.ack, 22);
});

// MUST-21
test('user timeout ends a connection whose data is not acknowledged', () => {
  const s = new Script({ ...quiet, userTimeoutMs: 3000 });
  const c = s.accept();
  let error = '';
  c.app = { onClosed: (_c, e) => void (error = e) };
  c.write(new Uint8Array(10));
  s.pass(2500);
  assert.equal(error, '');
  s.pass(10_000);
  assert.equal(error, 'timedOut');
});

test('FIN-WAIT-2 of a closed socket does not last for ever', () => {
  const s = new Script({ finWait2Ms: 5000 });
  const c = s.accept();
  c.close();
  s.run();
  s.in({ flags: 'A', seq: 1, ack: 2 });
  s.pass(5100);
  assert.equal(c.state, TcpState.closed);
});
