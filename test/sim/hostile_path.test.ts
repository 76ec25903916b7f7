/**
 * A path that rewrites packets of live connections: header fields changed and checksums made right again, segments repeated from earlier,
 * ICMP errors forged about them. Data may then be wrong or a connection end; the stacks may not throw, spin, or keep a buffer or timer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Packet } from '../../src/stack/graph/packet.ts';
import { IpAddress } from '../../src/stack/ip/address.ts';
import type { TcpApp, TcpConnection } from '../../src/stack/tcp/connection.ts';
import { put16 } from '../../src/stack/wire/bytes.ts';
import { finishChecksum, pseudoHeaderIpv4, pseudoHeaderIpv6, sumBytes } from '../../src/stack/wire/checksum.ts';
import { World } from './simulator.ts';

const count = Number(process.env['HOSTILE_SEEDS'] ?? 120);
const REMEMBERED = 64;

/** Writes for ever, reads everything, closes at the end of the stream. */
function talker(): TcpApp {
  const block = new Uint8Array(4000);
  const fill = (c: TcpConnection): void => {
    while (c.write(block) === block.length) {}
  };
  const scratch = new Uint8Array(16_384);
  return {
    onConnected: fill,
    onSpace: fill,
    onData: (c) => {
      while (c.read(scratch) > 0) {}
    },
    onEnd: (c) => c.close(),
  };
}

function repair(u8: Uint8Array, l3: number, end: number, isV4: boolean): void {
  const l4 = l3 + (isV4 ? 20 : 40);
  if (isV4) {
    put16(u8, l3 + 10, 0);
    put16(u8, l3 + 10, finishChecksum(sumBytes(u8, l3, l4, 0)));
  }
  if (u8[l3 + (isV4 ? 9 : 6)] !== 6 || end - l4 < 20) return;
  put16(u8, l4 + 16, 0);
  const pseudo = isV4 ? pseudoHeaderIpv4(u8, l3, 6, end - l4) : pseudoHeaderIpv6(u8, l3, 6, end - l4);
  put16(u8, l4 + 16, finishChecksum(sumBytes(u8, l4, end, pseudo)));
}

function run(seed: number): void {
  const isV4 = seed % 3 !== 0;
  const world = new World({
    seed,
    isV4,
    faults: { delayUs: 5000, loss: 0.01 },
    tcp: {
      sack: seed % 5 !== 0,
      timestamps: seed % 7 !== 0,
      congestionControl: seed % 2 === 0 ? 'cubic' : 'bbr',
      ecn: 'active',
      dataRetries: 4,
    },
  });
  const { random } = world;
  const upper = isV4 ? 20 : 40;
  const earlier: Uint8Array[] = [];
  const meddle = (packet: Packet): boolean => {
    const { u8 } = packet.pool;
    const { start, end } = packet;
    if (earlier.length < REMEMBERED) earlier.push(u8.slice(start, end));
    const what = random();
    if (what < 0.04) {
      // Any field of the TCP header and its options.
      const header = Math.min((u8[start + upper + 12] >> 4) * 4, end - start - upper);
      for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
        const at = start + upper + Math.floor(random() * Math.max(header, 1));
        u8[at] = random() < 0.5 ? Math.floor(random() * 256) : u8[at] ^ (1 << Math.floor(random() * 8));
      }
      repair(u8, start, end, isV4);
    } else if (what < 0.06) {
      const old = earlier[Math.floor(random() * earlier.length)];
      if (old.length <= packet.limit - start) {
        u8.set(old, start);
        packet.end = start + old.length;
      }
    } else if (what < 0.07 && isV4) forgeUnreachable(packet, random);
    return false;
  };
  world.linkA.outbound.filter = meddle;
  world.linkB.outbound.filter = meddle;
  const any = IpAddress.parse(isV4 ? '0.0.0.0' : '::')!;
  world.b.tcp.listen({ address: any, port: 80, onAccept: talker });
  const remote = IpAddress.parse(isV4 ? '10.0.0.2' : 'fd00::2')!;
  for (let i = 0; i < 3; i++) world.a.tcp.connect({ remote, remotePort: 80, app: talker() }, world.nowUs);
  world.pass(1e6);
  for (const stack of [world.a, world.b]) for (const c of [...stack.tcp.connections.all()]) c.abort();
  world.pass(900e6);
  for (const stack of [world.a, world.b]) {
    assert.equal(stack.tcp.connections.size, 0, 'connections left');
    assert.equal(stack.tcp.wheel.size, 0, 'timers left');
    assert.equal(stack.pool.inUse, 0, 'buffers left');
    for (const { reason } of stack.graph.errors()) assert.notEqual(reason, 'none');
  }
  world.release();
}

/** Turns the packet into an ICMP error about itself, addressed to who would get it: too big, or unreachable. */
function forgeUnreachable(packet: Packet, random: () => number): void {
  const { u8 } = packet.pool;
  const { start } = packet;
  const quoted = Math.min(packet.length, 48);
  if (packet.limit - start < 28 + quoted) return;
  const quote = u8.slice(start, start + quoted);
  // The quoted packet is the receiver's own: turn its addresses and ports round.
  for (let i = 0; i < 4; i++) [quote[12 + i], quote[16 + i]] = [quote[16 + i], quote[12 + i]];
  for (let i = 0; i < 2; i++) [quote[20 + i], quote[22 + i]] = [quote[22 + i], quote[20 + i]];
  u8[start + 9] = 1;
  u8.fill(0, start + 20, start + 28);
  u8[start + 20] = 3;
  u8[start + 21] = random() < 0.5 ? 4 : Math.floor(random() * 16);
  put16(u8, start + 26, Math.floor(random() * 1600));
  u8.set(quote, start + 28);
  packet.end = start + 28 + quoted;
  put16(u8, start + 2, packet.length);
  put16(u8, start + 22, finishChecksum(sumBytes(u8, start + 20, packet.end, 0)));
  repair(u8, start, packet.end, true);
}

test(`${count} seeds of a path that rewrites live connections`, () => {
  const failures: string[] = [];
  for (let seed = 1; seed <= count; seed++) {
    try {
      run(seed);
    } catch (error) {
      failures.push(`seed ${seed}: ${(error as Error).stack}`);
    }
  }
  assert.deepEqual(failures, []);
});
