/** The whole input path with mutated captures of real exchanges: nothing throws, nothing leaks, every drop has a reason. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import type { Packet } from '../../../src/stack/graph/packet.ts';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import { seededRandom } from '../../../src/stack/link/fault_injector.ts';
import { PipeDevice } from '../../../src/stack/link/pipe.ts';
import type { TcpApp, TcpConnection } from '../../../src/stack/tcp/connection.ts';
import { put16 } from '../../../src/stack/wire/bytes.ts';
import { finishChecksum, pseudoHeaderIpv4, sumBytes } from '../../../src/stack/wire/checksum.ts';

function sendSome(c: TcpConnection): TcpApp {
  c.write(new Uint8Array(5000));
  return {};
}

/** Frames of a conversation with ARP or neighbour discovery, UDP, and TCP both ways. */
function capture(isV4: boolean): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const random = seededRandom(3);
  const [a, b] = PipeDevice.pair({ ethernet: true });
  for (const device of [a, b]) {
    const transmit = device.transmit.bind(device);
    device.transmit = (packet: Packet) => {
      frames.push(packet.pool.u8.slice(packet.start, packet.end));
      transmit(packet);
    };
  }
  const make = (device: PipeDevice, last: number): NetStack => {
    const stack = new NetStack({ random32: () => (random() * 2 ** 32) | 0, pool: { small: 256, large: 4 } });
    stack.addInterface(device, [isV4 ? `10.0.0.${last}/24` : `fd00::${last}/64`]);
    return stack;
  };
  const one = make(a, 1);
  const two = make(b, 2);
  const remote = IpAddress.parse(isV4 ? '10.0.0.2' : 'fd00::2')!;
  two.tcp.listen({
    address: IpAddress.parse(isV4 ? '0.0.0.0' : '::')!,
    port: 80,
    onAccept: sendSome,
  });
  one.udp.bind(IpAddress.parse(isV4 ? '0.0.0.0' : '::')!, 0, null)!.send(new Uint8Array(3000), remote, 9);
  const c = one.tcp.connect({ remote, remotePort: 80 }, 0);
  assert.ok(typeof c !== 'string');
  c.write(new Uint8Array(3000));
  for (let i = 1; i < 40; i++) {
    one.poll(i * 1000);
    two.poll(i * 1000);
    if (i === 20) c.abort();
  }
  return frames;
}

const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 20_000);

for (const isV4 of [true, false])
  test(`${ROUNDS} mutated ${isV4 ? 'IPv4' : 'IPv6'} frames`, () => {
    const frames = capture(isV4);
    assert.ok(frames.length > 10);
    const random = seededRandom(isV4 ? 11 : 12);
    const [a, b] = PipeDevice.pair({ ethernet: true });
    const target = new NetStack({ random32: () => (random() * 2 ** 32) | 0, pool: { small: 512, large: 8 } });
    target.addInterface(b, [isV4 ? '10.0.0.2/24' : 'fd00::2/64']);
    target.tcp.listen({ address: IpAddress.parse(isV4 ? '0.0.0.0' : '::')!, port: 80, onAccept: () => ({}) });
    const source = new NetStack({ random32: () => 0, pool: { small: 64, large: 2 } });
    let now = 1e6;
    for (let round = 0; round < ROUNDS; round++) {
      const frame = frames[Math.floor(random() * frames.length)];
      const packet = source.pool.alloc(frame.length)!;
      const { u8 } = packet.pool;
      u8.set(frame, packet.start);
      packet.end = packet.start + frame.length;
      for (let n = Math.floor(random() * 6); n > 0; n--) {
        const at = packet.start + (random() < 0.5 ? 0 : 14) + Math.floor(random() * Math.min(74, frame.length - 14));
        u8[at] = random() < 0.5 ? Math.floor(random() * 256) : u8[at] ^ (1 << Math.floor(random() * 8));
      }
      if (random() < 0.1) packet.end = packet.start + Math.floor(random() * frame.length);
      if (isV4 && random() < 0.8) repairChecksums(u8, packet.start + 14, packet.end);
      // A trusting device gets the rest past the transport checksums.
      if (random() < 0.5) packet.flags = 1;
      a.transmit(packet);
      now += random() < 0.01 ? 100_000 : 10;
      target.poll(now);
      for (let answer = a.receive(source.pool); answer !== null; answer = a.receive(source.pool)) answer.free();
    }
    assert.ok(target.graph.errors().length >= 4, 'drops are counted by reason');
    for (const { reason } of target.graph.errors()) assert.notEqual(reason, 'none');
    target.ethernet.neighbors.clear();
    for (let i = 0; i < 50; i++) {
      target.poll((now += 100e6));
      for (let answer = a.receive(source.pool); answer !== null; answer = a.receive(source.pool)) answer.free();
    }
    assert.equal(target.pool.inUse, 0);
  });

/** Makes the IPv4 header checksum and TCP's right again where the lengths allow, so that the fuzz gets past them. */
function repairChecksums(u8: Uint8Array, l3: number, end: number): void {
  if (end - l3 < 40 || u8[l3] >> 4 !== 4) return;
  const header = (u8[l3] & 15) * 4;
  if (header < 20 || l3 + header + 20 > end) return;
  put16(u8, l3 + 10, 0);
  put16(u8, l3 + 10, finishChecksum(sumBytes(u8, l3, l3 + header, 0)));
  if (u8[l3 + 9] !== 6) return;
  const total = Math.min((u8[l3 + 2] << 8) | u8[l3 + 3], end - l3);
  if (total < header + 20) return;
  put16(u8, l3 + header + 16, 0);
  const sum = sumBytes(u8, l3 + header, l3 + total, pseudoHeaderIpv4(u8, l3, 6, total - header));
  put16(u8, l3 + header + 16, finishChecksum(sum));
}
