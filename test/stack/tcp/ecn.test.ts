/** Explicit congestion notification (RFC 3168): negotiation, marks to echoes, echoes to one reduction per window. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Packet } from '../../../src/stack/graph/packet.ts';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import type { TcpConnection } from '../../../src/stack/tcp/connection.ts';
import { put16 } from '../../../src/stack/wire/bytes.ts';
import { finishChecksum, sumBytes } from '../../../src/stack/wire/checksum.ts';
import { World } from '../../sim/simulator.ts';
import { cannotMakeNamespace, clockUs, KernelPeer } from '../link/namespace.ts';
import { Script } from './script.ts';

const CE = 3;
const ECT0 = 2;
const NOT_ECT = 0;

/** Established with ECN by the peer's wish. */
function established(): { s: Script; c: TcpConnection } {
  const s = new Script({ delayedAckMs: 0 });
  s.listen();
  s.in({ flags: 'SEW', seq: 0, mss: 1460 });
  const [out] = s.out();
  assert.equal(out.flags, 'SAE');
  assert.equal(out.tos, NOT_ECT);
  s.iss = out.repr.seq;
  s.in({ seq: 1, ack: 1 });
  const c = s.listener!.accept()!;
  assert.equal(c.ecn, true);
  return { s, c };
}

test('6.1.1: a SYN that asks is answered with ECE; one that does not is not; off means off', () => {
  established();
  const s = new Script();
  s.listen();
  s.in({ flags: 'S', seq: 0, mss: 1460 });
  assert.equal(s.out()[0].flags, 'SA');
  const off = new Script({ ecn: 'off' });
  off.listen();
  off.in({ flags: 'SEW', seq: 0, mss: 1460 });
  assert.equal(off.out()[0].flags, 'SA');
});

test('6.1.1: active: the SYN asks; ECE alone agrees, both flags are a reflection', () => {
  for (const [answer, ecn] of [
    ['SAE', true],
    ['SA', false],
    ['SAEW', false],
  ] as const) {
    const s = new Script({ ecn: 'active' });
    const c = s.connect();
    assert.equal(s.out()[0].flags, 'SEW');
    s.in({ flags: answer, seq: 0, ack: 1, mss: 1460 });
    assert.equal(c.ecn, ecn, answer);
  }
});

test('6.1.1.1: a SYN that is not answered asks no more', () => {
  const s = new Script({ ecn: 'active' });
  s.connect();
  s.out();
  s.pass(1100);
  assert.equal(s.out()[0].flags, 'S');
});

test('6.1.3: a mark is echoed on every acknowledgment until CWR', () => {
  const { s, c } = established();
  s.in({ seq: 1, ack: 1, data: 100, tos: CE });
  assert.equal(s.out()[0].flags, 'AE');
  s.in({ seq: 101, ack: 1, data: 100, tos: ECT0 });
  assert.equal(s.out()[0].flags, 'AE');
  s.in({ flags: 'AW', seq: 201, ack: 1, data: 100, tos: ECT0 });
  assert.equal(s.out()[0].flags, 'A');
  s.in({ flags: 'AW', seq: 301, ack: 1, data: 100, tos: CE });
  assert.equal(s.out()[0].flags, 'AE', 'a mark on the segment that carries CWR is a new one');
  assert.equal(s.tcp.stats.ecnMarksReceived, 2);
  c.abort();
});

// SHLD-8
test('6.1.2: ECE halves the window once per window of data, new data says CWR; nothing is sent again', () => {
  const { s, c } = established();
  const before = c.cwnd;
  c.write(new Uint8Array(20 * 1460));
  s.run();
  const first = s.out();
  assert.ok(first.length >= 9);
  assert.ok(first.every(({ tos, flags }) => tos === ECT0 && !flags.includes('W')));
  s.in({ flags: 'AE', seq: 1, ack: 1 + 2 * 1460 });
  const reduced = c.cwnd;
  assert.ok(reduced < before * 0.75 && reduced > before * 0.5, `${before} -> ${reduced}`);
  s.in({ flags: 'AE', seq: 1, ack: 1 + 6 * 1460 });
  assert.equal(s.tcp.stats.ecnReductions, 1);
  const next = s.out();
  assert.ok(next.length > 0);
  assert.deepEqual(
    next.map(({ flags }) => flags.includes('W')),
    next.map((_, i) => i === 0),
  );
  assert.equal(s.tcp.stats.retransmittedSegments, 0);
  c.abort();
});

test('6.1.5, 6.1.4: retransmissions and pure acknowledgments are not marked as capable', () => {
  const { s, c } = established();
  c.write(new Uint8Array(100));
  s.run();
  assert.equal(s.out()[0].tos, ECT0);
  s.pass(1500);
  const again = s.out();
  assert.ok(again.length > 0 && again.every(({ tos }) => tos === NOT_ECT));
  s.in({ seq: 1, ack: 101, data: 10 });
  assert.equal(s.out()[0].tos, NOT_ECT);
  c.abort();
});

test('a queue that marks instead of dropping: the window follows it without a loss', () => {
  const world = new World({
    seed: 5,
    faults: { rateMbps: 20, queueBytes: 1 << 20, delayUs: 10_000 },
    faultsBack: { delayUs: 10_000 },
    tcp: { ecn: 'active' },
    pool: { small: 4096, large: 8 },
  });
  const { a, b } = world;
  let received = 0;
  b.tcp.listen({
    address: IpAddress.parse('0.0.0.0')!,
    port: 80,
    onAccept: () => ({
      onData: (c) => {
        for (let part = c.received.peek(); part.length > 0; part = c.received.peek()) {
          received += part.length;
          c.consume(part.length);
        }
      },
    }),
  });
  const block = new Uint8Array(65_536);
  const fill = (c: TcpConnection): void => {
    while (c.write(block) === block.length) {}
  };
  const app = { onConnected: fill, onSpace: fill };
  const c = a.tcp.connect({ remote: IpAddress.parse('10.0.0.2')!, remotePort: 80, app }, world.nowUs);
  assert.ok(typeof c !== 'string');
  world.linkA.outbound.filter = (packet: Packet): boolean => {
    const { u8 } = packet.pool;
    const { start } = packet;
    // More than a window of 20 ms is queued.
    if ((u8[start + 1] & 3) === NOT_ECT || c.inFlight < 100_000) return false;
    u8[start + 1] |= CE;
    put16(u8, start + 10, 0);
    put16(u8, start + 10, finishChecksum(sumBytes(u8, start, start + 20, 0)));
    return false;
  };
  world.pass(10e6);
  assert.equal(c.ecn, true);
  assert.ok(a.tcp.stats.ecnReductions > 3, `${a.tcp.stats.ecnReductions}`);
  assert.equal(a.tcp.stats.retransmittedSegments, 0);
  assert.ok(received * 8 > 0.85 * 20e6 * 10, `${received}`);
});

const reason = cannotMakeNamespace();

test('the kernel agrees on ECN, asked and asking', { skip: reason === null ? false : reason }, async () => {
  const peer = new KernelPeer({ kind: 'tun', offload: true, tcp: { ecn: 'active' } });
  try {
    const made: TcpConnection[] = [];
    peer.stack.tcp.listen({
      address: IpAddress.parse('0.0.0.0')!,
      port: 80,
      onAccept: (c) => {
        made.push(c);
        return { onEnd: (each) => each.close() };
      },
    });
    const said = peer.python(`
import socket
open('/proc/sys/net/ipv4/tcp_ecn', 'w').write('1')
info = lambda s: s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 100)[5] & 8
l = socket.socket(); l.bind(('', 9000)); l.listen(); l.settimeout(30)
s = socket.create_connection(('10.77.0.2', 80), timeout=10)
first = info(s); s.close()
t, _ = l.accept()
print(first, info(t))`);
    let c: TcpConnection | string = '';
    const timer = setInterval(() => {
      if (made.length === 0 || (typeof c !== 'string' && c.error === 'none')) return;
      c = peer.stack.tcp.connect({ remote: IpAddress.parse('10.77.0.1')!, remotePort: 9000 }, clockUs());
      peer.kick();
    }, 20);
    assert.equal(await said, '8 8');
    clearInterval(timer);
    assert.equal(made[0].ecn, true);
  } finally {
    peer.close();
  }
});
