/** Headers: what is emitted is parsed back, known packets give known fields, and no bytes make a parser throw or read outside. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emitArp, newArpRepr, parseArp } from '../../../src/stack/wire/arp.ts';
import { ParseResult } from '../../../src/stack/wire/bytes.ts';
import { checksumOk, finishChecksum, sumBytes } from '../../../src/stack/wire/checksum.ts';
import { findNdLinkLayer, newIcmpRepr, parseIcmp, parseIcmpv6 } from '../../../src/stack/wire/icmp.ts';
import { emitIpv4, newIpv4Repr, parseIpv4 } from '../../../src/stack/wire/ipv4.ts';
import { newIpv6Repr, parseIpv6 } from '../../../src/stack/wire/ipv6.ts';
import { emitTcp, parseTcp, TcpRepr, tcpHeaderLength } from '../../../src/stack/wire/tcp.ts';
import { newUdpRepr, parseUdp } from '../../../src/stack/wire/udp.ts';

const bytes = fc.uint8Array({ maxLength: 120 });

test('RFC 1071 example and odd lengths, at every alignment', () => {
  const data = Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
  assert.equal(finishChecksum(sumBytes(data, 0, 8, 0)), ~0xddf2 & 0xffff);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 300 }), fc.integer({ min: 0, max: 9 }), (body, shift) => {
      const padded = new Uint8Array(body.length + shift);
      padded.set(body, shift);
      let sum = 0;
      for (let i = 0; i < body.length; i += 2) sum += (body[i] << 8) | (body[i + 1] ?? 0);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      assert.equal(finishChecksum(sumBytes(padded, shift, padded.length, 0)), ~sum & 0xffff);
    }),
  );
  const large = new Uint8Array(65_536).fill(0xff);
  assert.ok(checksumOk(sumBytes(large, 0, large.length, 0)));
});

test('IPv4: a real header', () => {
  const packet = Buffer.from('4500003c1c4640004006b1e6ac100a63ac100a0c', 'hex');
  const repr = newIpv4Repr();
  const whole = Buffer.concat([packet, Buffer.alloc(40)]);
  assert.equal(parseIpv4(whole, 0, whole.length, false, repr), ParseResult.ok);
  assert.deepEqual(
    [repr.headerLength, repr.totalLength, repr.ttl, repr.protocol, repr.dontFragment, repr.identification],
    [20, 60, 64, 6, true, 0x1c46],
  );
  whole[8] ^= 1;
  assert.equal(parseIpv4(whole, 0, whole.length, false, repr), ParseResult.badChecksum);
});

test('IPv4: what is emitted is parsed back', () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff),
      fc.nat(255),
      fc.nat(255),
      fc.integer(),
      fc.integer(),
      fc.boolean(),
      (id, tos, ttl, from, to, df) => {
        const repr = {
          ...newIpv4Repr(),
          totalLength: 20,
          identification: id,
          tos,
          ttl,
          source: from | 0,
          destination: to | 0,
          dontFragment: df,
        };
        const packet = new Uint8Array(20);
        emitIpv4(packet, 0, repr);
        const back = newIpv4Repr();
        assert.equal(parseIpv4(packet, 0, 20, false, back), ParseResult.ok);
        assert.deepEqual(back, repr);
      },
    ),
  );
});

test('TCP: what is emitted is parsed back, with every combination of options', () => {
  const options = fc.record({
    mss: fc.constantFrom(0, 536, 1460, 65_495),
    windowScale: fc.integer({ min: -1, max: 14 }),
    sackPermitted: fc.boolean(),
    hasTimestamps: fc.boolean(),
    tsVal: fc.integer(),
    tsEcr: fc.integer(),
    sack: fc.array(fc.tuple(fc.integer(), fc.integer()), { maxLength: 2 }),
    flags: fc.nat(255),
  });
  fc.assert(
    fc.property(options, (o) => {
      const repr = new TcpRepr();
      Object.assign(repr, { sourcePort: 1, destinationPort: 2, seq: -5, ack: 77, window: 500, flags: o.flags });
      Object.assign(repr, {
        mss: o.mss,
        windowScale: o.windowScale,
        sackPermitted: o.sackPermitted,
        hasTimestamps: o.hasTimestamps,
      });
      repr.tsVal = o.tsVal;
      repr.tsEcr = o.tsEcr;
      repr.sackCount = o.sack.length;
      o.sack.flat().forEach((value, i) => void (repr.sack[i] = value));
      const packet = new Uint8Array(80);
      const length = emitTcp(packet, 0, repr);
      assert.equal(length, tcpHeaderLength(repr));
      if (length > 60) return;
      const back = new TcpRepr();
      assert.equal(parseTcp(packet, 0, length, back), ParseResult.ok);
      for (const key of [
        'seq',
        'ack',
        'flags',
        'window',
        'mss',
        'windowScale',
        'sackPermitted',
        'hasTimestamps',
        'sackCount',
      ] as const)
        assert.equal(back[key], repr[key], key);
      if (o.hasTimestamps) assert.deepEqual([back.tsVal, back.tsEcr], [o.tsVal | 0, o.tsEcr | 0]);
      assert.deepEqual([...back.sack.subarray(0, 2 * o.sack.length)], o.sack.flat());
      assert.equal(back.optionsMalformed, false);
    }),
  );
});

test('TCP: options behind a malformed one are not used; the segment is', () => {
  const packet = new Uint8Array(28);
  packet[12] = 7 << 4;
  packet.set([2, 4, 5, 0xb4, 3, 0, 0, 0], 20);
  const repr = new TcpRepr();
  assert.equal(parseTcp(packet, 0, 28, repr), ParseResult.ok);
  assert.deepEqual([repr.mss, repr.windowScale, repr.optionsMalformed], [1460, -1, true]);
});

test('IPv6: extension headers are walked, bounded, and unknown options obeyed', () => {
  const header = (next: number, payload: number[]): Uint8Array => {
    const packet = new Uint8Array(40 + payload.length);
    packet[0] = 0x60;
    packet[5] = payload.length;
    packet[6] = next;
    packet.set(payload, 40);
    return packet;
  };
  const repr = newIpv6Repr();
  const parse = (packet: Uint8Array): number => parseIpv6(packet, 0, packet.length, repr);
  assert.equal(parse(header(0, [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0, 9, 9])), ParseResult.ok);
  assert.deepEqual([repr.protocol, repr.upper, repr.end], [6, 56, 58]);
  assert.equal(parse(header(60, [6, 0, 0x80, 4, 0, 0, 0, 0])), ParseResult.badOption);
  assert.equal(parse(header(60, [6, 0, 0x3e, 4, 0, 0, 0, 0])), ParseResult.ok);
  assert.equal(parse(header(43, [6, 0, 0, 1, 0, 0, 0, 0])), ParseResult.badField);
  assert.equal(parse(header(60, [6, 9, 1, 4, 0, 0, 0, 0])), ParseResult.truncated);
  const chain = Array.from({ length: 20 }, () => [60, 0, 1, 4, 0, 0, 0, 0]).flat();
  assert.equal(parse(header(60, chain)), ParseResult.badField);
});

test('ARP: what is emitted is parsed back', () => {
  const repr = newArpRepr();
  repr.operation = 1;
  repr.senderIp = 0x0a000001;
  repr.senderMac.set([1, 2, 3, 4, 5, 6]);
  const packet = new Uint8Array(28);
  emitArp(packet, 0, repr);
  const back = newArpRepr();
  assert.equal(parseArp(packet, 0, 28, back), ParseResult.ok);
  assert.deepEqual(back, repr);
});

test('no bytes make a parser throw, or say that something is where it is not', () => {
  const v4 = newIpv4Repr();
  const v6 = newIpv6Repr();
  const tcp = new TcpRepr();
  const udp = newUdpRepr();
  const icmp = newIcmpRepr();
  fc.assert(
    fc.property(bytes, fc.nat(60), (data, first) => {
      const from = Math.min(first, data.length);
      const to = data.length;
      if (parseIpv4(data, from, to, true, v4) === ParseResult.ok)
        assert.ok(from + v4.totalLength <= to && v4.headerLength <= v4.totalLength);
      if (data.length > from) data[from] = 0x60;
      if (parseIpv6(data, from, to, v6) === ParseResult.ok) assert.ok(v6.upper <= v6.end && v6.end <= to);
      if (parseTcp(data, from, to, tcp) === ParseResult.ok)
        assert.ok(tcp.payload <= tcp.end && tcp.end <= to && tcp.sackCount <= 4);
      if (parseUdp(data, from, to, udp) === ParseResult.ok) assert.ok(udp.payload <= udp.end && udp.end <= to);
      parseIcmp(data, from, to, false, icmp);
      if (from >= 40) parseIcmpv6(data, from - 40, from, to, false, icmp);
      parseArp(data, from, to, newArpRepr());
      const option = findNdLinkLayer(data, from, to, 1);
      assert.ok(option < 0 || option + 6 <= to);
    }),
    { numRuns: 3000 },
  );
});
