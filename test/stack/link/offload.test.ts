/** Segmentation and merging in software: what is cut adds up, what is merged says the same, and nothing else is touched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Packet, PacketFlag, PacketPool } from '../../../src/stack/graph/packet.ts';
import { Coalescer } from '../../../src/stack/link/coalescer.ts';
import { completeChecksum, segment } from '../../../src/stack/link/segmenter.ts';
import { get16, get32, put16 } from '../../../src/stack/wire/bytes.ts';
import { checksumOk, fold, pseudoHeaderIpv4, pseudoHeaderIpv6, sumBytes } from '../../../src/stack/wire/checksum.ts';
import { emitIpv4, IPV4_HEADER, IpProtocol, newIpv4Repr } from '../../../src/stack/wire/ipv4.ts';
import { emitIpv6, IPV6_HEADER } from '../../../src/stack/wire/ipv6.ts';
import { emitTcp, TcpFlag, TcpRepr } from '../../../src/stack/wire/tcp.ts';

const ETHERNET = 14;

interface Shape {
  isV4?: boolean;
  bytes: number;
  gsoSize?: number;
  flags?: number;
  seq?: number;
  ack?: number;
  port?: number;
  tsVal?: number;
  sack?: boolean;
  tos?: number;
}

/** A segment with Ethernet header whose checksum field holds the pseudo-header's sum, as the stack makes them for a device. */
function build(pool: PacketPool, shape: Shape): Packet {
  const isV4 = shape.isV4 ?? true;
  const tcp = new TcpRepr();
  tcp.sourcePort = shape.port ?? 1000;
  tcp.destinationPort = 80;
  tcp.seq = shape.seq ?? 0x7fff_ff00;
  tcp.ack = shape.ack ?? 77;
  tcp.flags = shape.flags ?? TcpFlag.ack;
  tcp.window = 5000;
  tcp.hasTimestamps = true;
  tcp.tsVal = shape.tsVal ?? 5;
  if (shape.sack) {
    tcp.sackCount = 1;
    tcp.sack[0] = 5;
    tcp.sack[1] = 6;
  }
  const packet = pool.alloc(200 + shape.bytes)!;
  const { u8 } = pool;
  packet.start += 200;
  packet.l4 = packet.start;
  const header = emitTcp(u8, packet.l4, tcp);
  packet.end = packet.l4 + header + shape.bytes;
  for (let i = packet.l4 + header; i < packet.end; i++) u8[i] = ((i - packet.l4 - header + tcp.seq) * 31) >> 3;
  packet.isV4 = isV4;
  packet.protocol = IpProtocol.tcp;
  const length = packet.length;
  if (isV4) {
    const ip = newIpv4Repr();
    ip.totalLength = IPV4_HEADER + length;
    ip.identification = 0xfffe;
    ip.tos = shape.tos ?? 0;
    ip.dontFragment = true;
    ip.protocol = IpProtocol.tcp;
    ip.source = 0x0a00_0001;
    ip.destination = 0x0a00_0002;
    packet.push(IPV4_HEADER);
    emitIpv4(u8, packet.start, ip);
  } else {
    packet.push(IPV6_HEADER);
    emitIpv6(u8, packet.start, length, IpProtocol.tcp, 64, 0);
    for (let i = 8; i < 40; i++) u8[packet.start + i] = i * 7;
  }
  packet.l3 = packet.start;
  const pseudo = isV4
    ? pseudoHeaderIpv4(u8, packet.l3, IpProtocol.tcp, length)
    : pseudoHeaderIpv6(u8, packet.l3, IpProtocol.tcp, length);
  packet.checksumOffset = 16;
  put16(u8, packet.l4 + 16, fold(pseudo));
  packet.flags = PacketFlag.checksumPartial;
  packet.push(ETHERNET);
  packet.gsoSize = shape.gsoSize ?? 0;
  return packet;
}

/** As it comes from the wire. */
function received(pool: PacketPool, shape: Shape): Packet {
  const packet = build(pool, shape);
  completeChecksum(packet);
  packet.flags = 0;
  packet.gsoSize = 0;
  return packet;
}

const payloadAt = (p: Packet): number => p.l4 + (p.pool.u8[p.l4 + 12] >> 4) * 4;

function good(p: Packet): boolean {
  const { u8 } = p.pool;
  const length = p.end - p.l4;
  const pseudo = p.isV4 ? pseudoHeaderIpv4(u8, p.l3, IpProtocol.tcp, length) : pseudoHeaderIpv6(u8, p.l3, IpProtocol.tcp, length);
  const ip = !p.isV4 || checksumOk(sumBytes(u8, p.l3, p.l3 + IPV4_HEADER, 0));
  return ip && checksumOk(sumBytes(u8, p.l4, p.end, pseudo));
}

for (const isV4 of [true, false])
  for (const partial of [true, false])
    test(`IPv${isV4 ? 4 : 6}: a large segment is cut, checksums ${partial ? 'left to the device' : 'filled in'}`, () => {
      const pool = new PacketPool({ small: 100, large: 4 });
      const flags = TcpFlag.ack | TcpFlag.psh | TcpFlag.fin | TcpFlag.cwr;
      const packet = build(pool, { isV4, bytes: 10_001, gsoSize: 1000, flags });
      const whole = Buffer.from(pool.u8.slice(payloadAt(packet), packet.end));
      const seq = get32(pool.u8, packet.l4 + 4);
      const pieces: Packet[] = [];
      assert.equal(
        segment(packet, partial, (p) => pieces.push(p)),
        0,
      );
      assert.equal(pieces.length, 11);
      pieces.forEach((p, i) => {
        const { u8 } = pool;
        assert.equal((p.flags & PacketFlag.checksumPartial) !== 0, partial);
        if (partial) completeChecksum(p);
        assert.ok(good(p), `segment ${i}`);
        assert.equal(get32(u8, p.l4 + 4), (seq + i * 1000) | 0);
        const last = i === 10;
        const expected = TcpFlag.ack | (last ? TcpFlag.psh | TcpFlag.fin : 0) | (i === 0 ? TcpFlag.cwr : 0);
        assert.equal(u8[p.l4 + 13], expected);
        assert.equal(isV4 ? get16(u8, p.l3 + 2) : get16(u8, p.l3 + 4) + IPV6_HEADER, p.end - p.l3);
        if (isV4) assert.equal(get16(u8, p.l3 + 4), (0xfffe + i) & 0xffff);
      });
      assert.deepEqual(Buffer.concat(pieces.map((p) => pool.u8.slice(payloadAt(p), p.end))), whole);
      for (const p of pieces) p.free();
      assert.equal(pool.inUse, 0);
    });

test('without buffers the rest of a large segment is counted as lost', () => {
  const pool = new PacketPool({ small: 3, large: 1 });
  const sent: Packet[] = [];
  const packet = build(pool, { bytes: 10_000, gsoSize: 1000 });
  assert.equal(
    segment(packet, true, (p) => sent.push(p)),
    7,
  );
  assert.equal(sent.length, 3);
  for (const p of sent) p.free();
  assert.equal(pool.inUse, 0);
});

function coalesce(pool: PacketPool, packets: readonly Packet[]): { out: Packet[]; coalescer: Coalescer } {
  const coalescer = new Coalescer(ETHERNET);
  const out: Packet[] = [];
  for (const packet of packets) coalescer.add(packet, pool, out);
  coalescer.flush();
  return { out, coalescer };
}

const tcpAt = (p: Packet, isV4 = true): number => p.start + ETHERNET + (isV4 ? IPV4_HEADER : IPV6_HEADER);

for (const isV4 of [true, false])
  test(`IPv${isV4 ? 4 : 6}: segments that follow each other become one, up to a short one or PSH`, () => {
    const pool = new PacketPool({ small: 200, large: 4 });
    const seqs = Array.from({ length: 100 }, (_, i) => 0x7fff_ff00 + i * 1000);
    const packets = seqs.map((seq, i) =>
      received(pool, { isV4, bytes: i === 30 ? 500 : 1000, seq: i > 30 ? seq - 500 : seq, flags: i === 40 ? 24 : 16 }),
    );
    const bytes = packets.map((p) => Buffer.from(pool.u8.slice(payloadAt(p), p.end)));
    const { out, coalescer } = coalesce(pool, packets);
    assert.equal(out.length, 3);
    assert.equal(coalescer.merged, 97);
    const [first, second, third] = out;
    assert.deepEqual(Buffer.from(pool.u8.slice(tcpAt(first, isV4) + 32, first.end)), Buffer.concat(bytes.slice(0, 31)));
    assert.deepEqual(Buffer.from(pool.u8.slice(tcpAt(second, isV4) + 32, second.end)), Buffer.concat(bytes.slice(31, 41)));
    assert.deepEqual(Buffer.from(pool.u8.slice(tcpAt(third, isV4) + 32, third.end)), Buffer.concat(bytes.slice(41)));
    for (const p of out) {
      const ip = p.start + ETHERNET;
      assert.equal(p.gsoSize, 1000);
      assert.equal(p.flags & PacketFlag.checksumTrusted, PacketFlag.checksumTrusted);
      assert.equal(isV4 ? get16(pool.u8, ip + 2) : get16(pool.u8, ip + 4) + IPV6_HEADER, p.end - ip);
    }
    assert.equal(pool.u8[tcpAt(first, isV4) + 13], TcpFlag.ack);
    assert.equal(pool.u8[tcpAt(second, isV4) + 13], TcpFlag.ack | TcpFlag.psh);
    for (const p of out) p.free();
    assert.equal(pool.inUse, 0);
  });

test('what differs in more than its place in the stream stays apart, in order', () => {
  const pool = new PacketPool({ small: 64, large: 4 });
  const first = { bytes: 100, seq: 0 };
  const others: Shape[] = [
    { bytes: 100, seq: 200 },
    { bytes: 100, seq: 0 },
    { bytes: 100, seq: 100, ack: 78 },
    { bytes: 100, seq: 100, tsVal: 6 },
    { bytes: 100, seq: 100, flags: TcpFlag.ack | TcpFlag.fin },
    { bytes: 100, seq: 100, flags: TcpFlag.ack | TcpFlag.ece },
    { bytes: 100, seq: 100, sack: true },
    { bytes: 100, seq: 100, tos: 3 },
    { bytes: 101, seq: 100 },
    { bytes: 100, seq: 100, port: 1001 },
    { bytes: 100, seq: 100, isV4: false },
    { bytes: 0, seq: 100 },
  ];
  for (const other of others) {
    const packets = [received(pool, first), received(pool, other)];
    const { out } = coalesce(pool, packets);
    assert.deepEqual(out, packets, JSON.stringify(other));
    for (const p of out) p.free();
  }
  assert.equal(pool.inUse, 0);
});

test('a segment with a bad checksum is never merged, nor does it end a run', () => {
  const pool = new PacketPool({ small: 64, large: 4 });
  const packets = [0, 100, 100, 200].map((seq) => received(pool, { bytes: 100, seq }));
  pool.u8[packets[1].end - 1] ^= 1;
  const { out } = coalesce(pool, packets);
  assert.equal(out.length, 2);
  assert.equal(out[1], packets[1]);
  assert.equal(out[1].flags, 0);
  assert.equal(out[0].end - tcpAt(out[0]) - 32, 300);
});

test('a fragment, a truncated header and other protocols pass as they are', () => {
  const pool = new PacketPool({ small: 64, large: 4 });
  const fragment = received(pool, { bytes: 100 });
  put16(pool.u8, fragment.l3 + 6, 0x2000);
  const truncated = received(pool, { bytes: 100 });
  truncated.end = truncated.l4 + 10;
  const offset = received(pool, { bytes: 10 });
  pool.u8[offset.l4 + 12] = 0xf0;
  const arp = received(pool, { bytes: 100 });
  pool.u8[arp.l3] = 0;
  const long = received(pool, { bytes: 100 });
  put16(pool.u8, long.l3 + 2, 5000);
  const packets = [fragment, truncated, offset, arp, long];
  const ends = packets.map((p) => p.end);
  const { out } = coalesce(pool, packets);
  assert.deepEqual(out, packets);
  assert.deepEqual(
    out.map((p) => p.end),
    ends,
  );
});

test('of pure acknowledgments the last stays, but repeated ones all do', () => {
  const pool = new PacketPool({ small: 64, large: 4 });
  const acks = [10, 20, 30, 30, 30, 25].map((ack) => received(pool, { bytes: 0, ack }));
  const { out, coalescer } = coalesce(pool, acks);
  assert.deepEqual(
    out.map((p) => get32(pool.u8, tcpAt(p) + 8)),
    [30, 30, 30, 25],
  );
  assert.equal(coalescer.superseded, 2);
  const sacked = [10, 20].map((ack) => received(pool, { bytes: 0, ack, sack: true }));
  assert.equal(coalesce(pool, sacked).out.length, 2);
});

test('more connections than are looked at in turn, interleaved: each stays in order', () => {
  const pool = new PacketPool({ small: 600, large: 40 });
  const packets: Packet[] = [];
  for (let i = 0; i < 10; i++)
    for (let port = 0; port < 12; port++) packets.push(received(pool, { bytes: 100, seq: i * 100, port: 2000 + port }));
  const { out } = coalesce(pool, packets);
  for (let port = 0; port < 12; port++) {
    let next = 0;
    for (const p of out.filter((q) => get16(pool.u8, tcpAt(q)) === 2000 + port)) {
      assert.equal(get32(pool.u8, tcpAt(p) + 4), next);
      next += p.end - tcpAt(p) - 32;
    }
    assert.equal(next, 1000);
  }
});

test('merging over random batches keeps every byte and frees every packet', () => {
  const pool = new PacketPool({ small: 400, large: 40 });
  let state = 12345;
  const random = (n: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
  for (let round = 0; round < 200; round++) {
    const count = 1 + random(60);
    const next = [0, 0, 0];
    const packets: Packet[] = [];
    for (let i = 0; i < count; i++) {
      const flow = random(3);
      const bytes = random(4) === 0 ? random(1400) : 1400;
      packets.push(received(pool, { bytes, seq: next[flow], port: 3000 + flow, flags: random(10) === 0 ? 24 : 16 }));
      next[flow] += bytes;
    }
    const { out } = coalesce(pool, packets);
    const seen = [0, 0, 0];
    for (const p of out) {
      const at = tcpAt(p);
      const flow = get16(pool.u8, at) - 3000;
      assert.equal(get32(pool.u8, at + 4), seen[flow]);
      for (let i = at + 32; i < p.end; i += 97)
        assert.equal(pool.u8[i], (((i - at - 32 + seen[flow]) * 31) >> 3) & 255, `round ${round}`);
      seen[flow] += p.end - at - 32;
      p.free();
    }
    assert.deepEqual(seen, next);
    assert.equal(pool.inUse, 0);
  }
});
