/** The RFCs around 9293, packet in and packet out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import type { TcpConnection } from '../../../src/stack/tcp/connection.ts';
import { initialSequenceNumber } from '../../../src/stack/tcp/isn.ts';
import { RttEstimator } from '../../../src/stack/tcp/rtt.ts';
import { TcpState } from '../../../src/stack/tcp/state.ts';
import { put16, put32 } from '../../../src/stack/wire/bytes.ts';
import { finishChecksum, sumBytes } from '../../../src/stack/wire/checksum.ts';
import { emitIpv4, newIpv4Repr } from '../../../src/stack/wire/ipv4.ts';
import { PEER, Script } from './script.ts';

const FULL = { mss: 1460, windowScale: 7, sackPermitted: true } as const;
const fast = { noDelay: true, delayedAckMs: 0 } as const;

// MAY-12 RFC5961-3.2
test('RFC 5961 3.2: a reset is believed at exactly rcv.nxt, challenged in the window, ignored outside', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'R', seq: 500 });
  assert.deepEqual(s.outText(), ['A 1:1 1']);
  s.in({ flags: 'R', seq: 900_000 });
  assert.deepEqual(s.out(), []);
  assert.equal(c.state, TcpState.established);
  s.in({ flags: 'R', seq: 1 });
  assert.equal(c.state, TcpState.closed);
  assert.equal(c.error, 'reset');
});

// RFC5961-4.2
test('RFC 5961 4.2: a SYN in an established connection is challenged', () => {
  const s = new Script();
  const c = s.accept();
  s.in({ flags: 'S', seq: 100 });
  assert.deepEqual(s.outText(), ['A 1:1 1']);
  assert.equal(c.state, TcpState.established);
});

// RFC5961-5.2
test('RFC 5961 5.2: an acknowledgment older than the largest window is challenged, and what comes with it dropped', () => {
  const s = new Script(fast);
  const c = s.accept();
  c.write(new Uint8Array(1000));
  s.run();
  s.in({ seq: 1, ack: 1001 });
  s.out();
  s.in({ flags: 'A', seq: 1, ack: 1001 - 65_536, data: 10 });
  assert.deepEqual(s.outText(), ['A 1001:1001 1']);
  assert.equal(c.received.peek().length, 0);
  // As old as the window allows: late, not forged.
  s.in({ flags: 'A', seq: 1, ack: 1001 - 65_535, data: 10 });
  assert.deepEqual(s.outText(), ['A 1001:1001 11']);
  assert.equal(c.received.peek().length, 10);
});

// RFC6298-2.1 RFC6298-2.2 RFC6298-2.3 RFC6298-2.5 RFC6298-5.5
test('RFC 6298 2: the timeout follows the round trips, with a ceiling, and doubles', () => {
  const rtt = new RttEstimator(1000, 200, 60_000);
  assert.equal(rtt.rtoUs, 1_000_000);
  rtt.sample(400_000, 0);
  assert.deepEqual([rtt.srttUs, rtt.rttvarUs, rtt.rtoUs], [400_000, 200_000, 1_200_000]);
  rtt.sample(480_000, 1);
  assert.deepEqual([rtt.srttUs, rtt.rttvarUs, rtt.rtoUs], [410_000, 170_000, 1_090_000]);
  for (let i = 1; i <= 4; i++) {
    rtt.backOff();
    assert.equal(rtt.rtoUs, 1_090_000 * 2 ** i);
  }
  for (let i = 0; i < 20; i++) rtt.backOff();
  assert.equal(rtt.rtoUs, 60_000_000);
});

// RFC6298-5.7
test('RFC 6298 5.7: after a lost SYN the first timeout of data is three seconds', () => {
  for (const [lost, expected] of [
    [true, 3000],
    [false, 200],
  ] as const) {
    const s = new Script(fast);
    const c = s.connect();
    if (lost) s.pass(1100);
    assert.equal(s.out().length, lost ? 2 : 1);
    s.in({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
    s.out();
    c.write(new Uint8Array(10));
    s.run();
    s.out();
    let ms = 0;
    for (; s.out().length === 0; ms++) s.pass(1);
    assert.ok(ms >= expected && ms <= expected + 2, `${ms}`);
    c.abort();
  }
});

// RFC5961-7
test('RFC 5961 7: challenges are limited per second', () => {
  const s = new Script({ challengeAcksPerSecond: 10 });
  s.accept();
  for (let i = 0; i < 100; i++) s.in({ flags: 'S', seq: 100 });
  const first = s.out().length;
  assert.ok(first >= 5 && first <= 11, `${first}`);
  s.pass(1001);
  s.in({ flags: 'S', seq: 100 });
  assert.equal(s.out().length, 1);
});

// MUST-8 SHLD-1
test('RFC 6528: sequence numbers differ by connection and grow with time', () => {
  const key = Int32Array.of(1, 2, 3, 4);
  const a = IpAddress.parse('10.0.0.1')!;
  const b = IpAddress.parse('10.0.0.2')!;
  const first = initialSequenceNumber(key, a, 1, b, 2, 0);
  assert.equal((initialSequenceNumber(key, a, 1, b, 2, 4000) - first) | 0, 1000);
  assert.notEqual(initialSequenceNumber(key, a, 3, b, 2, 0), first);
  assert.notEqual(initialSequenceNumber(Int32Array.of(1, 2, 3, 5), a, 1, b, 2, 0), first);
});

test('RFC 7323 5: PAWS drops an old segment and answers it; resets pass', () => {
  const s = new Script();
  const c = s.accept({ ...FULL, ts: [1000, 0] });
  s.in({ flags: 'A', seq: 1, ack: 1, data: 10, ts: [500, 0] });
  assert.equal(c.received.length, 0);
  assert.equal(s.out()[0].repr.tsEcr, 1001);
  s.in({ flags: 'A', seq: 1, ack: 1, data: 10, ts: [1002, 0] });
  assert.equal(c.received.length, 10);
});

test('RFC 7323 2: the window is scaled, but not in a SYN', () => {
  const s = new Script();
  s.listen();
  s.in({ flags: 'S', seq: 0, ...FULL });
  const [synAck] = s.out();
  assert.ok(synAck.window <= 65_535);
  s.iss = synAck.repr.seq;
  s.in({ flags: 'A', seq: 1, ack: 1, window: 100 });
  const c = s.listener!.accept()!;
  assert.equal(c.sndWnd, 100 * 128);
});

test('RFC 2018 4: SACK reports the latest block first, and the blocks disappear as the gap fills', () => {
  const s = new Script(fast);
  s.accept(FULL);
  const blocks = (): string => {
    const repr = s.out().at(-1)!.repr;
    return Array.from({ length: repr.sackCount }, (_, i) => `${repr.sack[2 * i] - 1000}-${repr.sack[2 * i + 1] - 1000}`).join(
      ' ',
    );
  };
  s.in({ flags: 'A', seq: 101, ack: 1, data: 100 });
  assert.equal(blocks(), '101-201');
  s.in({ flags: 'A', seq: 301, ack: 1, data: 100 });
  assert.equal(blocks(), '301-401 101-201');
  s.in({ flags: 'A', seq: 201, ack: 1, data: 100 });
  assert.equal(blocks(), '101-401');
  s.in({ flags: 'A', seq: 1, ack: 1, data: 100 });
  assert.equal(blocks(), '');
});

test('RFC 2883: a duplicate is reported as D-SACK', () => {
  const s = new Script(fast);
  s.accept(FULL);
  s.in({ flags: 'A', seq: 1, ack: 1, data: 100 });
  s.out();
  s.in({ flags: 'A', seq: 1, ack: 1, data: 100 });
  const { repr } = s.out()[0];
  assert.deepEqual([repr.sackCount, repr.sack[0] - 1000, repr.sack[1] - 1000], [1, 1, 101]);
});

// MUST-19
test('RFC 5681 3.1: the initial window, and slow start doubles it', () => {
  const s = new Script(fast);
  const c = s.accept(FULL);
  c.write(new Uint8Array(200_000));
  s.run();
  const first = s.out();
  assert.equal(first.length, 10);
  s.nowUs += 10_000;
  s.in({ flags: 'A', seq: 1, ack: 1 + 14_600, window: 65_535 });
  assert.equal(s.out().length, 20);
});

// RFC8985-6.2 RFC8985-8
test('RFC 8985: a hole behind delivered data is sent again at once, with the window reduced once', () => {
  const s = new Script({ ...fast, congestionControl: 'newreno' });
  const c = s.accept(FULL);
  c.write(new Uint8Array(14_600));
  s.run();
  s.out();
  s.nowUs += 20_000;
  const before = c.cwnd;
  s.in({ flags: 'A', seq: 1, ack: 1, sack: [[1461, 1 + 4 * 1460]] });
  assert.deepEqual(s.outText(), ['A 1:1461 1']);
  assert.equal(c.ssthresh, before >> 1);
  s.in({ flags: 'A', seq: 1, ack: 1, sack: [[1461, 1 + 6 * 1460]] });
  assert.equal(s.out().filter((o) => o.seq === 1).length, 0, 'not sent twice');
  s.in({ flags: 'A', seq: 1, ack: 14_601 });
  assert.equal(c.caState, 0);
  assert.ok(c.cwnd <= before);
});

// RFC8985-7.2 RFC8985-7.3
test('RFC 8985 7: a lost tail is probed before the RTO', () => {
  const s = new Script(fast);
  const c = s.accept(FULL);
  s.nowUs += 1000;
  c.write(new Uint8Array(1460));
  s.run();
  s.nowUs += 10_000;
  s.in({ flags: 'A', seq: 1, ack: 1461 });
  c.write(new Uint8Array(2920));
  s.run();
  s.out();
  s.pass(60);
  assert.deepEqual(s.outText(), ['PA 2921:4381 1']);
  assert.equal(s.tcp.stats.rtoTimeouts, 0);
});

test('RFC 6582: without SACK three duplicate acknowledgments start a recovery, a partial one goes on', () => {
  const s = new Script({ ...fast, sack: false, congestionControl: 'newreno' });
  const c = s.accept({ mss: 1000 });
  c.write(new Uint8Array(10_000));
  s.run();
  s.out();
  s.nowUs += 5000;
  for (let i = 0; i < 2; i++) s.in({ flags: 'A', seq: 1, ack: 1 });
  assert.deepEqual(s.out(), []);
  s.in({ flags: 'A', seq: 1, ack: 1 });
  assert.deepEqual(s.outText(), ['A 1:1001 1']);
  s.in({ flags: 'A', seq: 1, ack: 3001 });
  assert.equal(s.out()[0].seq, 3001);
  s.in({ flags: 'A', seq: 1, ack: 10_001 });
  assert.equal(c.caState, 0);
  assert.ok(c.cwnd <= 7000);
});

test('RFC 3522: a timeout that was spurious is undone by the echoed timestamp', () => {
  const s = new Script({ ...fast, minRtoMs: 200 });
  const c = s.accept({ ...FULL, ts: [1, 0] });
  c.write(new Uint8Array(5000));
  s.run();
  const sentTs = s.out()[0].repr.tsVal;
  const before = c.cwnd;
  s.pass(2500);
  assert.ok(s.tcp.stats.rtoTimeouts > 0);
  assert.ok(c.cwnd < before);
  s.in({ flags: 'A', seq: 1, ack: 1461, ts: [3, sentTs] });
  assert.ok(c.cwnd >= before, `${c.cwnd} of ${before}`);
  assert.equal(s.tcp.stats.undoRecoveries, 1);
});

test('RFC 2018 8: what a receiver takes back is sent again', () => {
  const s = new Script(fast);
  const c = s.accept(FULL);
  c.write(new Uint8Array(4380));
  s.run();
  s.out();
  s.nowUs += 5000;
  // The peer reports everything but never acknowledges it.
  s.in({ flags: 'A', seq: 1, ack: 1, sack: [[1, 1461]] });
  s.in({ flags: 'A', seq: 1, ack: 1, sack: [[1461, 4381]] });
  s.pass(3000);
  assert.ok(s.out().some((o) => o.seq === 1));
});

test('RFC 4987: with the backlog full, SYN cookies that carry the options; a forged ACK is nothing', () => {
  const s = new Script({ synBacklog: 2 });
  const listener = s.listen();
  for (let port = 1; port <= 5; port++) s.in({ flags: 'S', seq: 0, port, ...FULL, ts: [7, 0] });
  const outs = s.out();
  assert.equal(outs.length, 5);
  assert.equal(s.tcp.connections.size, 2);
  assert.equal(s.tcp.stats.synCookiesSent, 3);
  const cookie = outs[4];
  s.iss = cookie.repr.seq;
  s.in({ flags: 'A', seq: 1, ack: 5, port: 5, ts: [8, cookie.repr.tsVal] });
  assert.equal(listener.accept(), null);
  s.in({ flags: 'A', seq: 1, ack: 1, port: 5, window: 100, ts: [8, cookie.repr.tsVal] });
  const c = listener.accept()!;
  assert.equal(c.state, TcpState.established);
  assert.deepEqual([c.sackEnabled, c.timestamps, c.sndScale, c.sndWnd], [true, true, 7, 12_800]);
  s.pass(200_000);
  s.iss = outs[3].repr.seq;
  s.in({ flags: 'A', seq: 1, ack: 1, port: 4 });
  assert.equal(s.tcp.stats.synCookiesAccepted, 1, 'too old');
});

test('a flood of SYNs costs no state beyond the backlog', () => {
  const s = new Script({ synBacklog: 64 });
  s.listen();
  for (let port = 1; port <= 5000; port++) s.in({ flags: 'S', seq: 0, port });
  assert.equal(s.tcp.connections.size, 64);
  assert.equal(s.stack.pool.inUse, 0);
});

test('a full accept queue keeps the handshake open until there is room', () => {
  const s = new Script();
  const listener = s.listen(1);
  const isses = [1, 2].map((port) => {
    s.in({ flags: 'S', seq: 0, port });
    return s.out()[0].repr.seq;
  });
  for (const port of [1, 2]) {
    s.iss = isses[port - 1];
    s.in({ flags: 'A', seq: 1, ack: 1, port });
  }
  assert.equal(listener.queue.length, 1);
  assert.equal(s.tcp.stats.listenOverflows, 1);
  // The peer's first data is not taken either; our SYN-ACK comes again, and by then there is room.
  s.in({ flags: 'PA', seq: 1, ack: 1, data: 10, port: 2 });
  assert.equal(listener.accept()!.remotePort, 1);
  s.pass(3500);
  assert.ok(s.out().some((o) => o.flags === 'SA'));
  s.in({ flags: 'PA', seq: 1, ack: 1, data: 10, port: 2 });
  const c = listener.accept()!;
  assert.equal(c.remotePort, 2);
  assert.equal(c.received.length, 10);
});

test('a listener whose owner has no room keeps the handshake open; one that it closes meanwhile resets it', () => {
  const s = new Script();
  const taken: TcpConnection[] = [];
  let mayAccept = (): boolean => true;
  const listener = s.tcp.listen({
    address: IpAddress.parse('0.0.0.0')!,
    port: 80,
    onAccept: (c) => {
      taken.push(c);
      return {};
    },
    mayAccept: (_local, remote, remotePort) => {
      assert.ok(remote.equals(PEER) && remotePort > 0);
      return mayAccept();
    },
  });
  assert.ok(typeof listener !== 'string');
  const syn = (port: number): void => {
    s.in({ flags: 'S', seq: 0, port });
    s.iss = s.out()[0].repr.seq;
  };
  syn(1);
  mayAccept = () => false;
  s.in({ flags: 'PA', seq: 1, ack: 1, data: 10, port: 1 });
  assert.deepEqual([s.out().length, taken.length, s.tcp.stats.listenOverflows], [0, 0, 1]);
  s.in({ flags: 'S', seq: 0, port: 2 });
  assert.deepEqual([s.out().length, s.tcp.stats.listenDrops, s.tcp.connections.size], [0, 1, 1]);
  mayAccept = () => true;
  s.in({ flags: 'PA', seq: 1, ack: 1, data: 10, port: 1 });
  assert.deepEqual([taken.length, taken[0].received.length], [1, 10]);
  s.pass(500);
  s.out();
  syn(3);
  mayAccept = () => {
    listener.close();
    return true;
  };
  s.in({ flags: 'A', seq: 1, ack: 1, port: 3 });
  assert.ok(s.out().some((o) => o.flags.includes('R')));
  assert.deepEqual([taken.length, s.tcp.connections.size], [1, 1]);
});

// MAY-2 SHLD-4
test('RFC 6191 and 1122: TIME-WAIT is reused by a newer SYN; RFC 1337: not ended by a reset', () => {
  const s = new Script();
  const c = s.accept({ ...FULL, ts: [1000, 0] });
  c.close();
  s.run();
  s.in({ flags: 'FA', seq: 1, ack: 2, ts: [1002, 0] });
  assert.equal(c.state, TcpState.timeWait);
  s.out();
  s.in({ flags: 'R', seq: 2 });
  assert.equal(c.state, TcpState.timeWait);
  s.in({ flags: 'S', seq: 0, ...FULL, ts: [900, 0] });
  assert.equal(s.out().filter((o) => o.flags === 'SA').length, 0, 'an old SYN');
  s.in({ flags: 'S', seq: 5000, ...FULL, ts: [2000, 0] });
  assert.equal(s.out().at(-1)?.flags, 'SA');
  assert.equal(s.tcp.stats.timeWaitReused, 1);
});

// MUST-54
test('RFC 1191: fragmentation needed lowers the segment size and sends again; a guessed one does nothing', () => {
  const s = new Script(fast);
  const c = s.accept(FULL);
  c.write(new Uint8Array(4380));
  s.run();
  s.out();
  const icmp = (seq: number): Uint8Array => {
    const quoted = new Uint8Array(28);
    const inner = newIpv4Repr();
    inner.totalLength = 1500;
    inner.protocol = 6;
    inner.source = IpAddress.parse('10.0.0.2')!.w0;
    inner.destination = IpAddress.parse('10.0.0.1')!.w0;
    emitIpv4(quoted, 0, inner);
    put16(quoted, 20, 80);
    put16(quoted, 22, 4000);
    put32(quoted, 24, seq);
    const bytes = new Uint8Array(20 + 8 + quoted.length);
    const outer = newIpv4Repr();
    outer.totalLength = bytes.length;
    outer.protocol = 1;
    outer.source = IpAddress.parse('10.0.0.254')!.w0;
    outer.destination = IpAddress.parse('10.0.0.2')!.w0;
    emitIpv4(bytes, 0, outer);
    bytes[20] = 3;
    bytes[21] = 4;
    put16(bytes, 26, 1000);
    bytes.set(quoted, 28);
    put16(bytes, 22, finishChecksum(sumBytes(bytes, 20, bytes.length, 0)));
    return bytes;
  };
  s.inRaw(icmp((s.iss + 900_000) | 0));
  assert.equal(c.mss, 1460);
  s.inRaw(icmp((s.iss + 1) | 0));
  assert.equal(c.mss, 960);
  const outs = s.out();
  assert.ok(outs.length > 0 && outs.every((o) => o.length <= 960));
  assert.equal(outs[0].seq, 1);
});

test('RFC 4821: a path that silently drops full segments is found out', () => {
  const s = new Script(fast);
  const c = s.accept(FULL);
  c.write(new Uint8Array(20_000));
  s.run();
  s.out();
  s.pass(20_000);
  assert.ok(s.out().some((o) => o.seq === 1 && o.length > 0 && o.length <= 1024));
});

test('TIME-WAIT is bounded: beyond the limit the oldest go', () => {
  const s = new Script({ maxTimeWait: 3 });
  s.listen();
  for (let port = 1; port <= 10; port++) {
    s.in({ flags: 'S', seq: 0, port });
    s.iss = s.out()[0].repr.seq;
    s.in({ flags: 'A', seq: 1, ack: 1, port });
    s.listener!.accept()!.close();
    s.run();
    s.in({ flags: 'FA', seq: 1, ack: 2, port });
    s.out();
  }
  assert.equal(s.tcp.connections.size, 3);
  assert.deepEqual([...s.tcp.connections.all()].map((c) => c.remotePort).sort(), [10, 8, 9]);
  s.pass(61_000);
  assert.equal(s.tcp.connections.size, 0);
});
