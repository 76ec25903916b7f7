/**
 * Requirements of RFC 9293 that no other test shows, packet in and packet out. The comment above a test names the requirements of appendix B
 * that it shows; `scripts/rfc-requirements.ts` lists them all.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import { DEFAULT_TCP_CONFIG } from '../../../src/stack/tcp/config.ts';
import { TcpState } from '../../../src/stack/tcp/state.ts';
import { ParseResult, put16 } from '../../../src/stack/wire/bytes.ts';
import { finishChecksum, pseudoHeaderIpv4, sumBytes } from '../../../src/stack/wire/checksum.ts';
import { parseTcp, TcpRepr } from '../../../src/stack/wire/tcp.ts';
import { Script } from './script.ts';

/** A segment with these bytes as options, padded with zeros. */
function withOptions(s: Script, segment: Parameters<Script['build']>[0], options: number[]): Uint8Array {
  const plain = s.build({ ...segment, ts: undefined });
  const size = Math.ceil(options.length / 4) * 4;
  const bytes = new Uint8Array(plain.length + size);
  bytes.set(plain.subarray(0, 40));
  bytes.set(options, 40);
  bytes.set(plain.subarray(40), 40 + size);
  put16(bytes, 2, bytes.length);
  bytes[32] = ((20 + size) / 4) << 4;
  put16(bytes, 10, 0);
  put16(bytes, 10, finishChecksum(sumBytes(bytes, 0, 20, 0)));
  put16(bytes, 36, 0);
  put16(bytes, 36, finishChecksum(sumBytes(bytes, 20, bytes.length, pseudoHeaderIpv4(bytes, 0, 6, bytes.length - 20))));
  return bytes;
}

// MUST-2 MUST-3
test('a segment with a wrong checksum is dropped; every segment sent has a right one', () => {
  const s = new Script();
  const c = s.accept();
  const bad = s.build({ seq: 1, ack: 1, data: 100 });
  bad[bad.length - 1] ^= 1;
  s.inRaw(bad);
  assert.equal(s.tcp.stats.inChecksumErrors, 1);
  assert.equal(c.received.length, 0);
  s.in({ seq: 1, ack: 1, data: 100 });
  // `out` checks each checksum.
  s.pass(50);
  assert.equal(s.out().length, 1);
  c.abort();
});

// MUST-5 MUST-6 MUST-7 MUST-64
test('options: in any segment, unknown ones skipped, at any alignment, illegal lengths survived', () => {
  const s = new Script({ delayedAckMs: 0 });
  const c = s.accept();
  let seq = 1;
  for (const options of [
    [253, 4, 1, 2],
    [1, 253, 3, 9, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 0, 0],
    [253, 0, 0, 0],
    [253, 1, 0, 0],
    [8, 200, 0, 0],
    [2, 3, 1, 0],
  ]) {
    s.inRaw(withOptions(s, { seq, ack: 1, data: 10 }, options));
    seq += 10;
    assert.equal(c.received.length, seq - 1, `${options}`);
  }
  c.abort();
});

// MUST-65 MUST-67 MUST-68 MUST-69 MAY-3
test('MSS is sent on a SYN only and says what can be received; options have lengths and are padded with zeros', () => {
  const s = new Script({}, 1400);
  const c = s.accept({ mss: 1000, windowScale: 2, sackPermitted: true, ts: [1, 0] });
  c.write(new Uint8Array(10));
  s.run();
  const [data] = s.out();
  assert.equal(data.repr.mss, 0);
  assert.equal(data.repr.optionsMalformed, false);
  const fresh = new Script({}, 1400);
  fresh.listen();
  fresh.in({ flags: 'S', seq: 0, mss: 1000, windowScale: 2 });
  const bytes = fresh.device.sent[0];
  const repr = new TcpRepr();
  assert.equal(parseTcp(bytes, 20, bytes.length, repr), ParseResult.ok);
  assert.equal(repr.mss, 1360);
  assert.equal(repr.optionsMalformed, false);
  c.abort();
});

// MUST-9
test('sequence numbers of two stacks with different secrets have nothing in common', () => {
  const first = new Script();
  const second = new Script();
  // The second has drawn other keys.
  for (let i = 0; i < 5; i++) second.stack.random32();
  first.connect();
  const a = first.iss;
  second.connect();
  second.tcp.connections.all().next().value!.abort();
  second.connect();
  assert.notEqual(a, second.iss);
});

// MUST-11
test('a passive connection in SYN-RECEIVED that is reset goes, and its listener goes on; an active one is refused', () => {
  const s = new Script();
  s.listen();
  s.in({ flags: 'S', seq: 0, mss: 1460 });
  s.iss = s.out()[0].repr.seq;
  s.in({ flags: 'R', seq: 1 });
  assert.equal(s.tcp.connections.size, 0);
  s.in({ flags: 'S', seq: 0, mss: 1460 });
  assert.equal(s.out()[0].flags, 'SA');
  const active = new Script();
  const c = active.connect();
  active.out();
  active.in({ flags: 'S', seq: 0, mss: 1460 });
  assert.equal(c.state, TcpState.synReceived);
  active.in({ flags: 'R', seq: 1 });
  assert.equal(c.error, 'refused');
});

// MUST-12 MUST-47
test('the application is told how a connection ended', () => {
  const s = new Script();
  const c = s.accept();
  let told = '';
  c.app = { onClosed: (_c, error) => (told = error) };
  s.in({ flags: 'R', seq: 1 });
  assert.equal(told, 'reset');
});

// MUST-18 RFC6298-3
test('Karn: a retransmitted segment gives no round-trip time without timestamps', () => {
  const s = new Script();
  const c = s.accept();
  c.write(new Uint8Array(100));
  s.run();
  const before = c.rtt.latestUs;
  s.pass(3000);
  assert.ok(c.retransmits > 0);
  s.in({ seq: 1, ack: 101 });
  assert.equal(c.rtt.latestUs, before);
  c.abort();
});

// MUST-22 MUST-23
test('a SYN is repeated with the same backoff, for at least three minutes', () => {
  const s = new Script();
  const c = s.connect();
  s.pass(180_000);
  assert.equal(c.error, 'none');
  assert.ok(DEFAULT_TCP_CONFIG.synRetries >= 6);
  c.abort();
});

// MUST-25 MUST-28
test('keepalive is off by default, and waits two hours', () => {
  const s = new Script();
  const c = s.accept();
  assert.equal(c.keepAlive, false);
  assert.ok(c.keepAliveIdleMs >= 7_200_000);
  c.abort();
});

// MUST-34 SHLD-15 SHLD-16 SHLD-17
test('a peer that takes its window back: nothing new is sent, what is out is sent again, the connection lives', () => {
  const s = new Script();
  const c = s.accept();
  c.write(new Uint8Array(5 * 1460));
  s.run();
  assert.equal(s.out().length, 5);
  c.write(new Uint8Array(1460));
  s.in({ seq: 1, ack: 1 + 1460, window: 1000 });
  s.pass(100_000);
  const sent = s.out();
  assert.ok(sent.length > 3);
  assert.ok(sent.every(({ seq, length }) => seq + length <= 1 + 5 * 1460));
  assert.equal(c.error, 'none');
  s.in({ seq: 1, ack: 1 + 5 * 1460, window: 65_535 });
  s.run();
  assert.ok(s.out().some(({ seq }) => seq === 1 + 5 * 1460));
  c.abort();
});

// MUST-41 MUST-42 MUST-43 MUST-45
test('listeners of different ports and addresses do not disturb each other; the local address may be given', () => {
  const s = new Script();
  const any = IpAddress.parse('0.0.0.0')!;
  const own = IpAddress.parse('10.0.0.2')!;
  assert.ok(typeof s.tcp.listen({ address: any, port: 80 }) !== 'string');
  assert.ok(typeof s.tcp.listen({ address: own, port: 80 }) !== 'string');
  assert.ok(typeof s.tcp.listen({ address: any, port: 81 }) !== 'string');
  assert.equal(s.tcp.listen({ address: any, port: 80 }), 'noPort');
  const c = s.tcp.connect({ remote: IpAddress.parse('10.0.0.1')!, remotePort: 5, local: own, localPort: 4321 }, s.nowUs);
  assert.ok(typeof c !== 'string' && c.local.equals(own) && c.localPort === 4321);
});

// MUST-46 MUST-57 MUST-63
test('no connection to or from multicast and broadcast addresses', () => {
  const s = new Script();
  for (const text of ['224.0.0.1', '255.255.255.255'])
    assert.equal(typeof s.tcp.connect({ remote: IpAddress.parse(text)!, remotePort: 80 }, s.nowUs), 'string', text);
  s.listen();
  for (const [at, address] of [
    [16, [10, 0, 0, 255]],
    [16, [224, 0, 0, 1]],
    [12, [224, 0, 0, 1]],
    [12, [255, 255, 255, 255]],
    [12, [10, 0, 0, 255]],
  ] as const) {
    const syn = s.build({ flags: 'S', seq: 0, mss: 1460 });
    syn.set(address, at);
    put16(syn, 10, 0);
    put16(syn, 10, finishChecksum(sumBytes(syn, 0, 20, 0)));
    put16(syn, 36, 0);
    put16(syn, 36, finishChecksum(sumBytes(syn, 20, syn.length, pseudoHeaderIpv4(syn, 0, 6, syn.length - 20))));
    s.inRaw(syn);
    assert.deepEqual(s.outText(), [], `${at} ${address}`);
    assert.equal(s.tcp.connections.size, 0);
  }
});

// MUST-49
test('the time to live is configurable', () => {
  const s = new Script({ hopLimit: 3 });
  s.connect();
  assert.equal(s.device.sent[0][8], 3);
});

// MUST-50
test('IP options are skipped', () => {
  const s = new Script();
  s.listen();
  const plain = s.build({ flags: 'S', seq: 0, mss: 1460 });
  const bytes = new Uint8Array(plain.length + 4);
  bytes.set(plain.subarray(0, 20));
  bytes.set([1, 1, 1, 0], 20);
  bytes.set(plain.subarray(20), 24);
  bytes[0] = 0x46;
  put16(bytes, 2, bytes.length);
  put16(bytes, 10, 0);
  put16(bytes, 10, finishChecksum(sumBytes(bytes, 0, 24, 0)));
  s.inRaw(bytes);
  assert.equal(s.out()[0].flags, 'SA');
});

/** An ICMP message about what was sent first. */
function icmp(s: Script, type: number, code: number, about: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(28 + 28);
  bytes.set(about.subarray(0, 20));
  bytes.set([10, 0, 0, 1], 12);
  bytes.set([10, 0, 0, 2], 16);
  bytes[9] = 1;
  bytes[20] = type;
  bytes[21] = code;
  bytes.set(about.subarray(0, 28), 28);
  put16(bytes, 2, bytes.length);
  put16(bytes, 10, 0);
  put16(bytes, 10, finishChecksum(sumBytes(bytes, 0, 20, 0)));
  put16(bytes, 22, finishChecksum(sumBytes(bytes, 20, bytes.length, 0)));
  assert.ok(s.iss !== undefined);
  return bytes;
}

// MUST-54 MUST-55 MUST-56 SHLD-26
test('ICMP: soft errors, time exceeded, parameter problems and source quench end nothing; hard ones a connection that is opening', () => {
  const s = new Script();
  const c = s.connect();
  const about = s.device.sent[0];
  for (const [type, code] of [
    [3, 0],
    [3, 1],
    [3, 5],
    [4, 0],
    [11, 0],
    [11, 1],
    [12, 0],
  ]) {
    s.inRaw(icmp(s, type, code, about));
    assert.equal(c.error, 'none', `${type} ${code}`);
  }
  s.inRaw(icmp(s, 3, 3, about));
  assert.equal(c.error, 'unreachable');
});

// MUST-60 MUST-61 SHLD-27 SHLD-28
test('what is written is sent without a push, the last segment carries PSH', () => {
  const s = new Script();
  const c = s.accept();
  c.write(new Uint8Array(3 * 1460 + 10));
  s.run();
  s.in({ seq: 1, ack: 1 + 3 * 1460 });
  const sent = s.out();
  assert.deepEqual(
    sent.map(({ flags, length }) => [flags, length]),
    [
      ['A', 1460],
      ['A', 1460],
      ['A', 1460],
      ['PA', 10],
    ],
  );
  c.abort();
});

// MUST-66
test('a reset is obeyed although the window is closed', () => {
  const s = new Script({ maxReceiveBufferBytes: 4096, initialReceiveBufferBytes: 4096, delayedAckMs: 0 });
  const c = s.accept();
  s.in({ seq: 1, ack: 1, data: 1460 });
  s.in({ seq: 1461, ack: 1, data: 1460 });
  s.in({ seq: 2921, ack: 1, data: 1176 });
  assert.equal(s.out().at(-1)!.window, 0);
  s.in({ flags: 'R', seq: 4097 });
  assert.equal(c.error, 'reset');
});
